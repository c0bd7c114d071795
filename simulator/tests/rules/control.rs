use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use goldsmith_simulator::control::GuestRule;
use goldsmith_simulator::engine::{Simulator, State};
use serde_json::json;

use crate::aws::{Aws, SUBNET_A, launch};

#[test]
fn the_inventory_is_what_was_made_and_is_still_there() {
    let mut aws = Aws::new();
    assert!(aws.simulator.inventory().is_empty());
    let image = aws.image("web v1");
    let found = &aws.simulator.inventory()["eu-central-1"];
    let counts = (
        found.instances.len(),
        found.volumes.len(),
        found.images.len(),
        found.snapshots.len(),
    );
    assert_eq!(counts, (1, 1, 1, 1));
    let text = found.to_string();
    let snapshot = &found.snapshots[0].id;
    for line in [
        format!("  {image} pending  web v1  of {snapshot}\n"),
        format!("  {snapshot} pending\n"),
        "volumes: 1\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{line:?} is not in {text}");
    }
    let instance = found.instances[0].id.clone();
    aws.call("TerminateInstances", &[("InstanceId.1", &instance)]);
    aws.call(
        "DeregisterImage",
        &[("ImageId", &image), ("DeleteAssociatedSnapshots", "true")],
    );
    aws.wait(60);
    aws.call("DescribeVpcs", &[]);
    assert!(aws.simulator.inventory().is_empty());
}

#[test]
fn the_journal_says_who_made_what_and_what_came_of_it() {
    let mut aws = Aws::new();
    let id = aws.launch(&[]);
    aws.code("TerminateInstances", &[("InstanceId.1", "i-1")]);
    let entries: Vec<_> = aws.simulator.journal.after(0).collect();
    assert_eq!(
        (entries[0].operation.as_str(), entries[0].outcome.as_str()),
        ("RunInstances", "Success")
    );
    assert!(entries[0].made.contains(&id));
    assert_eq!(
        (entries[1].sequence, entries[1].outcome.as_str()),
        (2, "InvalidInstanceID.Malformed")
    );
    assert_eq!(aws.simulator.journal.after(1).count(), 1);
}

#[test]
fn a_full_zone_has_no_room_for_one_more() {
    let mut aws = Aws::new();
    let capacity = json!({"availabilityZone": "eu-central-1a", "instanceType": "m7i.large", "instances": 1});
    aws.simulator
        .set_capacities(vec![serde_json::from_value(capacity).unwrap()])
        .unwrap();
    aws.launch(&[]);
    assert_eq!(
        aws.code("RunInstances", &launch(SUBNET_A)),
        "InsufficientInstanceCapacity"
    );
    aws.call("RunInstances", &launch(crate::aws::SUBNET_B));
}

#[test]
fn a_published_image_is_the_newest_of_its_name() {
    let mut aws = Aws::new();
    let image = json!({"region": "eu-central-1", "name": "al2023-ami-2023.9.20261122.0-kernel-6.1-x86_64"});
    let id = aws
        .simulator
        .publish_image(aws.now, serde_json::from_value(image).unwrap())
        .unwrap();
    let found = aws.call("DescribeImages", &[("ImageId.1", &id)]);
    assert_eq!(
        (found.get("imageOwnerAlias"), found.get("imageState")),
        ("amazon", "available")
    );
    assert!(aws.simulator.inventory().is_empty(), "it was not made by the account");
}

#[test]
fn a_guest_does_as_it_is_told_from_outside() {
    let mut aws = Aws::new();
    let rule = json!({"tags": {"role": "chatty"}, "instructions": ["print=hello there"]});
    aws.simulator
        .add_guest_rules(vec![serde_json::from_value(rule).unwrap()])
        .unwrap();
    let mut says = |tags: &[(&str, &str)]| {
        let id = aws.running(tags);
        aws.wait(60);
        let answer = aws.call("GetConsoleOutput", &[("InstanceId", &id), ("Latest", "true")]);
        String::from_utf8(BASE64.decode(answer.get("output")).unwrap()).unwrap()
    };
    assert!(!says(&[]).contains("hello there"));
    assert!(
        says(&[
            ("TagSpecification.1.ResourceType", "instance"),
            ("TagSpecification.1.Tag.1.Key", "role"),
            ("TagSpecification.1.Tag.1.Value", "chatty"),
        ])
        .contains("hello there")
    );
    let misspelt = json!({"instance": "i-0123456789abcdef0", "instructions": []});
    assert!(serde_json::from_value::<GuestRule>(misspelt).is_err());
}

#[test]
fn of_a_list_all_is_taken_or_nothing() {
    let mut aws = Aws::new();
    let fault = |operation: &str, region: &str| {
        serde_json::from_value(json!({"operation": operation, "kind": "lost", "region": region})).unwrap()
    };
    for wrong in [fault("RunInstance", "eu-central-1"), fault("RunInstances", "eu")] {
        let list = vec![fault("DescribeVpcs", "eu-central-1"), wrong];
        assert!(aws.simulator.add_faults(list).is_err());
    }
    let capacity = |zone: &str| {
        let capacity = json!({"availabilityZone": zone, "instanceType": "m7i.large", "instances": 0});
        serde_json::from_value(capacity).unwrap()
    };
    let list = vec![capacity("eu-central-1a"), capacity("eu-central-1z")];
    assert!(aws.simulator.set_capacities(list).is_err());
    let rule = |line: &str| serde_json::from_value(json!({"instructions": [line]})).unwrap();
    assert!(aws.simulator.add_guest_rules(vec![rule("hang"), rule("hnag")]).is_err());
    let someone = json!({"instructions": ["hang"], "instanceId": "someone"});
    let list = vec![rule("hang"), serde_json::from_value(someone).unwrap()];
    assert!(aws.simulator.add_guest_rules(list).is_err());
    aws.call("DescribeVpcs", &[]);
    aws.running(&[]);
    assert!(aws.simulator.guest_rules().is_empty());
}

#[test]
fn an_image_is_published_under_a_name_and_an_owner_that_aws_allows() {
    let mut aws = Aws::new();
    for (field, value) in [
        ("name", "x"),
        ("owner", "amazon"),
        ("region", "eu"),
        ("architecture", "mips"),
    ] {
        let mut image = json!({"region": "eu-central-1", "name": "al2023-next"});
        image[field] = value.into();
        let published = aws
            .simulator
            .publish_image(aws.now, serde_json::from_value(image).unwrap());
        assert!(published.is_err_and(|message| message.contains(value)), "{field}");
    }
}

#[test]
fn a_world_goes_on_from_its_file() {
    let mut aws = Aws::new();
    let id = aws.launch(&[]);
    let text = serde_json::to_string(&aws.simulator.state).unwrap();
    let state: State = serde_json::from_str(&text).unwrap();
    aws.simulator = Simulator::resume(state);
    aws.wait(20);
    assert_eq!(aws.state(&id), "running");
}
