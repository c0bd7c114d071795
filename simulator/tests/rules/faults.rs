use goldsmith_simulator::faults::Fault;
use serde_json::json;

use crate::aws::{Answer, Aws, SUBNET_A, launch};

fn set(aws: &mut Aws, fault: serde_json::Value) {
    let fault: Fault = serde_json::from_value(fault).unwrap();
    aws.simulator.faults.add(fault).unwrap();
}

#[test]
fn an_error_of_choice_strikes_as_often_as_asked() {
    let mut aws = Aws::new();
    set(
        &mut aws,
        json!({"operation": "DescribeVpcs", "kind": "error", "code": "Unavailable", "count": 2}),
    );
    assert_eq!(aws.code("DescribeVpcs", &[]), "Unavailable");
    aws.call("DescribeSubnets", &[]);
    assert_eq!(aws.code("DescribeVpcs", &[]), "Unavailable");
    aws.call("DescribeVpcs", &[]);
}

#[test]
fn a_lost_response_has_had_its_effect() {
    let mut aws = Aws::new();
    set(
        &mut aws,
        json!({"operation": "RunInstances", "kind": "lost", "count": 1}),
    );
    let parameters = [&launch(SUBNET_A)[..], &[("ClientToken", "t")]].concat();
    assert!(aws.reply("ec2", "RunInstances", &parameters).response.is_none());
    let again = aws.call("RunInstances", &parameters);
    aws.wait(20);
    assert_eq!(
        aws.call("DescribeInstances", &[]).all("instanceId").first(),
        Some(&again.get("instanceId"))
    );
    assert_eq!(aws.call("DescribeInstances", &[]).all("instanceState").len(), 1);
}

#[test]
fn a_stale_read_shows_the_world_before_the_latest_change() {
    let mut aws = Aws::new();
    let id = aws.running(&[]);
    set(
        &mut aws,
        json!({"operation": "DescribeInstances", "kind": "stale", "count": 1}),
    );
    aws.call("TerminateInstances", &[("InstanceId.1", &id)]);
    assert_eq!(aws.state(&id), "running");
    assert_eq!(aws.state(&id), "shutting-down");
}

#[test]
fn no_capacity_is_a_server_error() {
    let mut aws = Aws::new();
    set(
        &mut aws,
        json!({"operation": "RunInstances", "kind": "capacity", "count": 1}),
    );
    let response = aws.reply("ec2", "RunInstances", &launch(SUBNET_A)).response.unwrap();
    assert_eq!(
        (response.status, Answer(response.body).get("Code")),
        (500, "InsufficientInstanceCapacity")
    );
    aws.launch(&[]);
}

#[test]
fn a_throttle_empties_the_bucket() {
    let mut aws = Aws::new();
    set(
        &mut aws,
        json!({"operation": "RunInstances", "kind": "throttle", "count": 1}),
    );
    assert_eq!(aws.code("RunInstances", &launch(SUBNET_A)), "RequestLimitExceeded");
    assert_eq!(aws.code("RunInstances", &launch(SUBNET_A)), "RequestLimitExceeded");
    aws.wait(1);
    aws.launch(&[]);
}

#[test]
fn what_is_stuck_stays_as_it_is() {
    let mut aws = Aws::new();
    let id = aws.running(&[]);
    set(
        &mut aws,
        json!({"operation": "TerminateInstances", "kind": "stuck", "count": 1}),
    );
    aws.call("TerminateInstances", &[("InstanceId.1", &id)]);
    aws.wait(3600);
    assert_eq!(aws.state(&id), "shutting-down");
}

#[test]
fn an_image_that_fails_says_so_once_it_was_pending() {
    let mut aws = Aws::new();
    let id = aws.running(&[]);
    set(
        &mut aws,
        json!({"operation": "CreateImage", "kind": "failed", "count": 1}),
    );
    let made = aws.call("CreateImage", &[("InstanceId", &id), ("Name", "one")]);
    let image = made.get("imageId").to_owned();
    aws.wait(3600);
    let described = aws.call("DescribeImages", &[("ImageId.1", &image)]);
    assert_eq!(described.get("imageState"), "failed");
    assert!(described.get("stateReason").contains("InternalError"));
}

#[test]
fn a_slow_answer_comes_later_and_a_probable_fault_by_the_seed() {
    let mut aws = Aws::new();
    set(
        &mut aws,
        json!({"operation": "*", "kind": "slow", "seconds": 1.5, "probability": 0.5}),
    );
    let slow = (0..100)
        .filter(|_| !aws.reply("ec2", "DescribeVpcs", &[]).delay.is_zero())
        .count();
    assert!((30..70).contains(&slow), "{slow} of 100");
}

#[test]
fn a_fault_that_could_not_strike_is_refused() {
    for fault in [
        json!({"operation": "*", "kind": "lost", "probability": 2.0}),
        json!({"operation": "*", "kind": "lost", "count": 0}),
        json!({"operation": "*", "kind": "error", "status": 200}),
        json!({"operation": "RunInstance", "kind": "lost"}),
        json!({"operation": "StopInstances", "kind": "stale"}),
        json!({"operation": "StopInstances", "kind": "capacity"}),
        json!({"operation": "DescribeVolumes", "kind": "stuck"}),
        json!({"operation": "StopInstances", "kind": "failed"}),
    ] {
        let fault: Fault = serde_json::from_value(fault).unwrap();
        assert!(Aws::new().simulator.faults.add(fault).is_err());
    }
    assert!(serde_json::from_value::<Fault>(json!({"operation": "*", "kind": "sulk"})).is_err());
}
