use goldsmith_simulator::engine::{Request, Simulator};
use jiff::Timestamp;

use crate::aws::{Answer, Aws};

#[test]
fn what_ec2_does_not_know_is_refused_by_name() {
    let mut aws = Aws::new();
    assert_eq!(aws.code("DescribeUnicorns", &[]), "InvalidAction");
    assert_eq!(
        aws.code("DescribeImages", &[("ImageIds.1", "ami-1")]),
        "UnknownParameter"
    );
    assert_eq!(
        aws.code(
            "DescribeInstances",
            &[("Filter.1.Name", "nmae"), ("Filter.1.Value.1", "x")]
        ),
        "InvalidParameterValue"
    );
    assert_eq!(aws.code("RunInstances", &[("ImageId", "ami-1")]), "MissingParameter");
}

#[test]
fn regions_are_worlds_of_their_own() {
    let mut aws = Aws::new();
    let id = aws.launch(&[]);
    aws.region = "us-west-2";
    assert_eq!(
        aws.code("DescribeInstances", &[("InstanceId.1", &id)]),
        "InvalidInstanceID.NotFound"
    );
    aws.region = "mars-north-1";
    assert_eq!(aws.code("DescribeInstances", &[]), "AuthFailure");
}

#[test]
fn sts_names_the_seeded_account() {
    let mut aws = Aws::new();
    let response = aws.reply("sts", "GetCallerIdentity", &[]).response.unwrap();
    assert_eq!(Answer(response.body).get("Account"), "123456789012");
}

#[test]
fn an_unsigned_request_is_refused() {
    let mut simulator = Simulator::new(0, 1.0);
    let request = Request {
        authorization: None,
        parameters: b"Action=DescribeImages&Version=2016-11-15",
    };
    let response = simulator.handle(Timestamp::UNIX_EPOCH, request).response.unwrap();
    assert_eq!(
        (response.status, Answer(response.body).get("Code")),
        (403, "MissingAuthenticationToken")
    );
}

#[test]
fn an_error_has_the_form_of_its_service() {
    let mut simulator = Simulator::new(0, 1.0);
    for (parameters, form) in [
        (&b"Action=GetCallerIdentity&Version=2011-06-15"[..], "<ErrorResponse "),
        (b"Action=DescribeImages&Version=2016-11-15", "<Response>"),
    ] {
        let request = Request {
            authorization: None,
            parameters,
        };
        let response = simulator.handle(Timestamp::UNIX_EPOCH, request).response.unwrap();
        assert!(response.body.contains(form), "{}", response.body);
    }
}

#[test]
fn a_dry_run_says_what_would_be_and_does_nothing() {
    let mut aws = Aws::new();
    let launch = [&crate::aws::launch(crate::aws::SUBNET_A)[..], &[("DryRun", "true")]].concat();
    let response = aws.reply("ec2", "RunInstances", &launch).response.unwrap();
    assert_eq!(
        (response.status, Answer(response.body).get("Code")),
        (412, "DryRunOperation")
    );
    aws.wait(10);
    assert!(aws.call("DescribeInstances", &[]).all("instanceId").is_empty());
    let wrong = [
        ("DryRun", "true"),
        ("ImageId", "ami-0123456789abcdef0"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("InstanceType", "m7i.large"),
    ];
    assert_eq!(aws.code("RunInstances", &wrong), "InvalidAMIID.NotFound");
}

#[test]
fn the_same_seed_and_calls_give_the_same_answers() {
    let story = || {
        let mut aws = Aws::new();
        let id = aws.running(&[]);
        aws.call("CreateImage", &[("InstanceId", &id), ("Name", "same")]);
        aws.wait(100);
        aws.call("DescribeImages", &[("Owner.1", "self")]).0
    };
    assert_eq!(story(), story());
}

#[test]
fn pages_have_ec2s_bounds_and_refuse_ids() {
    let mut aws = Aws::new();
    assert_eq!(
        aws.code("DescribeInstances", &[("MaxResults", "4")]),
        "InvalidParameterValue"
    );
    assert_eq!(
        aws.code("DescribeVpcs", &[("MaxResults", "1001")]),
        "InvalidParameterValue"
    );
    let id = aws.running(&[]);
    assert_eq!(
        aws.code("DescribeInstances", &[("MaxResults", "5"), ("InstanceId.1", &id)]),
        "InvalidParameterCombination"
    );
    assert_eq!(
        aws.code(
            "DescribeImages",
            &[("MaxResults", "5"), ("ImageId.1", crate::aws::SOURCE)]
        ),
        "InvalidParameterCombination"
    );
    let first = aws.call("DescribeInstanceTypes", &[("MaxResults", "10"), ("NextToken", "")]);
    let second = aws.call(
        "DescribeInstanceTypes",
        &[("MaxResults", "100"), ("NextToken", first.get("nextToken"))],
    );
    assert_eq!(first.all("instanceType").len() + second.all("instanceType").len(), 24);
    for token in ["?", "AAAA", first.get("nextToken")] {
        assert_eq!(aws.code("DescribeImages", &[("NextToken", token)]), "InvalidNextToken");
    }
}

#[test]
fn a_filter_over_what_nothing_has_matches_nothing() {
    let mut aws = Aws::new();
    let filter = [("Filter.1.Name", "platform"), ("Filter.1.Value.1", "*")];
    assert!(aws.call("DescribeImages", &filter).all("imageId").is_empty());
    let values: Vec<(String, String)> = (1..=2)
        .flat_map(|filter| (1..=101).map(move |value| (format!("Filter.{filter}.Value.{value}"), "x".to_owned())))
        .collect();
    let mut parameters: Vec<(&str, &str)> = values.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    parameters.extend([("Filter.1.Name", "name"), ("Filter.2.Name", "state")]);
    assert_eq!(aws.code("DescribeImages", &parameters), "FilterLimitExceeded");
}

#[test]
fn what_is_new_is_not_always_seen_at_once() {
    let mut aws = Aws::new();
    let mut late = 0;
    for _ in 0..40 {
        let id = aws.launch(&[]);
        let named = [("InstanceId.1", id.as_str())];
        let response = aws.reply("ec2", "DescribeInstances", &named).response.unwrap();
        if response.status != 200 {
            assert_eq!(Answer(response.body).get("Code"), "InvalidInstanceID.NotFound");
            late += 1;
        }
        aws.call(
            "ModifyInstanceAttribute",
            &[("InstanceId", &id), ("DisableApiStop.Value", "true")],
        );
        aws.wait(5);
        aws.call("DescribeInstances", &named);
    }
    assert!((2..20).contains(&late), "{late} of 40 were late");
}

#[test]
fn snapshots_are_seldom_late_and_volumes_never() {
    let mut aws = Aws::new();
    let volume = aws
        .call("CreateVolume", &[("AvailabilityZone", "eu-central-1a"), ("Size", "1")])
        .get("volumeId")
        .to_owned();
    aws.call("DescribeVolumes", &[("VolumeId.1", &volume)]);
    let mut late = 0;
    for _ in 0..100 {
        aws.wait(90);
        let snapshot = aws.call("CreateSnapshot", &[("VolumeId", &volume)]);
        let named = [("SnapshotId.1", snapshot.get("snapshotId"))];
        let response = aws.reply("ec2", "DescribeSnapshots", &named).response.unwrap();
        late += usize::from(response.status != 200);
    }
    assert!((1..15).contains(&late), "{late} of 100 were late");
}
