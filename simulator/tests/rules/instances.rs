use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::aws::{Answer, Aws, SOURCE, SUBNET_A, SUBNET_B, launch};

const OTHER_VPCS_GROUP: &str = "sg-0d300000000000001";

#[test]
fn an_instance_takes_its_time_through_every_state() {
    let mut aws = Aws::new();
    let id = aws.launch(&[]);
    aws.wait(2);
    assert_eq!(aws.state(&id), "pending");
    assert_eq!(
        aws.code("CreateImage", &[("InstanceId", &id), ("Name", "too early")]),
        "IncorrectState"
    );
    aws.wait(15);
    assert_eq!(aws.state(&id), "running");
    let status = aws.call("DescribeInstanceStatus", &[("InstanceId.1", &id)]);
    assert!(status.0.contains("initializing"));
    aws.wait(120);
    assert!(
        !aws.call("DescribeInstanceStatus", &[("InstanceId.1", &id)])
            .0
            .contains("initializing")
    );
    aws.call("StopInstances", &[("InstanceId.1", &id)]);
    assert_eq!(aws.state(&id), "stopping");
    assert_eq!(
        aws.code("StartInstances", &[("InstanceId.1", &id)]),
        "IncorrectInstanceState"
    );
    aws.wait(60);
    assert_eq!(aws.state(&id), "stopped");
    assert_eq!(
        aws.call("DescribeInstances", &[("InstanceId.1", &id)]).get("code"),
        "80",
        "a stopped instance's code"
    );
    aws.call("StartInstances", &[("InstanceId.1", &id)]);
    aws.wait(20);
    aws.call("TerminateInstances", &[("InstanceId.1", &id)]);
    assert_eq!(aws.state(&id), "shutting-down");
    aws.wait(60);
    assert_eq!(aws.state(&id), "terminated");
    aws.wait(3600);
    assert_eq!(
        aws.code("DescribeInstances", &[("InstanceId.1", &id)]),
        "InvalidInstanceID.NotFound"
    );
}

#[test]
fn a_launch_is_refused_for_what_is_wrong_with_it() {
    let user_data = BASE64.encode(vec![b'x'; 16_385]);
    let profile = "IamInstanceProfile.Name";
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[("ImageId", "ami-0123456789abcdef0")], "InvalidAMIID.NotFound"),
        (&[("ImageId", "ami-xyz")], "InvalidAMIID.Malformed"),
        (&[("ImageId", "ami-0b100500000000001")], "InvalidAMIID.Unavailable"),
        (&[("SubnetId", "subnet-0123456789abcdef0")], "InvalidSubnetID.NotFound"),
        (
            &[("SecurityGroupId.1", "sg-0123456789abcdef0")],
            "InvalidGroup.NotFound",
        ),
        (&[("SecurityGroupId.1", "builders")], "InvalidGroupId.Malformed"),
        (&[("SecurityGroupId.1", OTHER_VPCS_GROUP)], "InvalidParameter"),
        (&[("SecurityGroup.1", "builders")], "InvalidParameterCombination"),
        (&[("KeyName", "nobody")], "InvalidKeyPair.NotFound"),
        (&[("InstanceType", "m7g.large")], "InvalidParameterValue"),
        (&[("InstanceType", "z9.huge")], "InvalidParameterValue"),
        (&[("UserData", &user_data)], "InvalidParameterValue"),
        (&[("UserData", "not base64!")], "InvalidParameterValue"),
        (&[(profile, "nobody")], "InvalidParameterValue"),
        (&[("MinCount", "0")], "InvalidParameterValue"),
        (&[("MinCount", "2")], "InvalidParameterCombination"),
        (&[("MaxCount", "0")], "InvalidParameterValue"),
        (
            &[
                ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
                ("BlockDeviceMapping.1.Ebs.KmsKeyId", "alias/images"),
            ],
            "InvalidParameterDependency",
        ),
        (
            &[("InstanceType", "m7i.24xlarge"), ("MinCount", "7"), ("MaxCount", "7")],
            "VcpuLimitExceeded",
        ),
        (&[("MetadataOptions.HttpTokens", "maybe")], "InvalidParameterValue"),
        (
            &[("InstanceInitiatedShutdownBehavior", "hibernate")],
            "InvalidParameterValue",
        ),
        (
            &[
                ("TagSpecification.1.ResourceType", "image"),
                ("TagSpecification.1.Tag.1.Key", "a"),
            ],
            "InvalidParameterValue",
        ),
        (
            &[
                ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
                ("BlockDeviceMapping.1.Ebs.VolumeSize", "4"),
            ],
            "InvalidBlockDeviceMapping",
        ),
        (&[("SubnetId", SUBNET_B), ("InstanceType", "c7i.large")], "Unsupported"),
        (
            &[
                ("SubnetId", "subnet-0c300000000000001"),
                ("MinCount", "12"),
                ("MaxCount", "12"),
            ],
            "InsufficientFreeAddressesInSubnet",
        ),
        (
            &[("TagSpecification.1.ResourceType", "instance")],
            "InvalidParameterValue",
        ),
        (&[("TagSpecification.1.Tag.1.Key", "a")], "InvalidParameterValue"),
        (&[("CpuOptions.CoreCount", "1")], "UnknownParameter"),
    ];
    let mut aws = Aws::new();
    for (changes, code) in table {
        aws.wait(5);
        let mut parameters: Vec<(&str, &str)> = launch(SUBNET_A)
            .into_iter()
            .filter(|(name, _)| !changes.iter().any(|(n, _)| n == name))
            .collect();
        parameters.extend(*changes);
        assert_eq!(aws.code("RunInstances", &parameters), *code, "{changes:?}");
    }
    aws.wait(60);
    assert!(
        aws.call("DescribeInstances", &[]).all("instanceId").is_empty(),
        "a refused launch launches nothing"
    );
}

#[test]
fn a_zone_that_is_not_there_is_a_wrong_value_of_a_launch() {
    let mut aws = Aws::new();
    let without_subnet = launch(SUBNET_A).into_iter().filter(|(name, _)| *name != "SubnetId");
    let mut parameters: Vec<(&str, &str)> = without_subnet.collect();
    parameters.push(("Placement.AvailabilityZone", "eu-central-1z"));
    assert_eq!(aws.code("RunInstances", &parameters), "InvalidParameterValue");
    let volume = [("AvailabilityZone", "eu-central-1z"), ("Size", "1")];
    assert_eq!(aws.code("CreateVolume", &volume), "InvalidZone.NotFound");
}

#[test]
fn no_instances_are_no_request() {
    let mut aws = Aws::new();
    for operation in [
        "StartInstances",
        "StopInstances",
        "RebootInstances",
        "TerminateInstances",
    ] {
        assert_eq!(aws.code(operation, &[]), "InvalidParameterCombination", "{operation}");
    }
}

#[test]
fn a_subnet_counts_its_free_addresses() {
    let mut aws = Aws::new();
    let small = "subnet-0c300000000000001";
    let free = |aws: &mut Aws| {
        aws.call("DescribeSubnets", &[("SubnetId.1", small)])
            .get("availableIpAddressCount")
            .to_owned()
    };
    assert_eq!(free(&mut aws), "11");
    aws.call("RunInstances", &launch(small));
    assert_eq!(free(&mut aws), "10");
}

#[test]
fn a_stopped_instance_may_find_no_room_to_start() {
    let mut aws = Aws::new();
    let id = aws.stopped();
    let capacity =
        serde_json::json!({"availabilityZone": "eu-central-1a", "instanceType": "m7i.large", "instances": 0});
    aws.simulator
        .set_capacities(vec![serde_json::from_value(capacity).unwrap()])
        .unwrap();
    assert_eq!(
        aws.code("StartInstances", &[("InstanceId.1", &id)]),
        "InsufficientInstanceCapacity"
    );
    assert_eq!(aws.state(&id), "stopped");
}

#[test]
fn a_client_token_repeats_only_itself() {
    let mut aws = Aws::new();
    let token = ("ClientToken", "attempt-1");
    let first = aws.launch(&[token]);
    assert_eq!(aws.launch(&[token]), first);
    assert_eq!(
        aws.code(
            "RunInstances",
            &[&launch(SUBNET_A)[..], &[token, ("EbsOptimized", "true")]].concat()
        ),
        "IdempotentParameterMismatch"
    );
    // The same token in another zone is another launch.
    let other = aws.call("RunInstances", &[&launch(SUBNET_B)[..], &[token]].concat());
    assert_ne!(other.get("instanceId"), first);
    aws.wait(20);
    aws.call("TerminateInstances", &[("InstanceId.1", &first)]);
    assert_eq!(
        aws.code("RunInstances", &[&launch(SUBNET_A)[..], &[token]].concat()),
        "IdempotentInstanceTerminated"
    );
    let long = "x".repeat(65);
    assert_eq!(
        aws.code(
            "RunInstances",
            &[&launch(SUBNET_A)[..], &[("ClientToken", &long)]].concat()
        ),
        "InvalidParameterValue"
    );
}

#[test]
fn launches_are_throttled() {
    let mut aws = Aws::new();
    for _ in 0..5 {
        aws.launch(&[]);
    }
    assert_eq!(aws.code("RunInstances", &launch(SUBNET_A)), "RequestLimitExceeded");
    aws.wait(1);
    aws.launch(&[]);
}

#[test]
fn tags_are_there_from_birth() {
    let mut aws = Aws::new();
    let mut tags: Vec<(String, String)> = Vec::new();
    for (position, kind) in (1..).zip(["instance", "volume", "network-interface"]) {
        let name = |rest: &str| format!("TagSpecification.{position}.{rest}");
        tags.push((name("ResourceType"), kind.to_owned()));
        tags.push((name("Tag.1.Key"), "owner".to_owned()));
        tags.push((name("Tag.1.Value"), kind.to_owned()));
    }
    let tags: Vec<(&str, &str)> = tags
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    aws.launch(&tags);
    aws.wait(2);
    for (operation, kind) in [
        ("DescribeInstances", "instance"),
        ("DescribeVolumes", "volume"),
        ("DescribeNetworkInterfaces", "network-interface"),
    ] {
        let answer = aws.call(operation, &[("Filter.1.Name", "tag:owner"), ("Filter.1.Value.1", kind)]);
        assert!(answer.0.contains(&format!("<value>{kind}</value>")), "{operation}");
    }
}

#[test]
fn metadata_tokens_are_required_where_the_image_says_so() {
    let mut aws = Aws::new();
    let id = aws.running(&[]);
    assert_eq!(
        aws.call("DescribeInstances", &[("InstanceId.1", &id)])
            .get("httpTokens"),
        "required"
    );
    let id = aws.running(&[("MetadataOptions.HttpTokens", "optional")]);
    assert_eq!(
        aws.call("DescribeInstances", &[("InstanceId.1", &id)])
            .get("httpTokens"),
        "optional"
    );
}

#[test]
fn a_protected_instance_is_not_terminated() {
    let mut aws = Aws::new();
    let id = aws.running(&[("DisableApiTermination", "true"), ("DisableApiStop", "true")]);
    assert_eq!(
        aws.code("TerminateInstances", &[("InstanceId.1", &id)]),
        "OperationNotPermitted"
    );
    assert_eq!(
        aws.code("StopInstances", &[("InstanceId.1", &id)]),
        "OperationNotPermitted"
    );
    aws.call(
        "ModifyInstanceAttribute",
        &[("InstanceId", &id), ("DisableApiTermination.Value", "false")],
    );
    aws.call("TerminateInstances", &[("InstanceId.1", &id)]);
}

#[test]
fn a_refusal_for_one_instance_spares_the_others() {
    let mut aws = Aws::new();
    let id = aws.running(&[]);
    let ids = [("InstanceId.1", id.as_str()), ("InstanceId.2", "i-0123456789abcdef0")];
    assert_eq!(aws.code("TerminateInstances", &ids), "InvalidInstanceID.NotFound");
    assert_eq!(aws.state(&id), "running");
}

#[test]
fn a_protected_instance_spares_those_of_its_zone_only() {
    let mut aws = Aws::new();
    let protected = aws.running(&[("DisableApiTermination", "true")]);
    let beside = aws.running(&[]);
    let elsewhere = aws.call("RunInstances", &launch(SUBNET_B)).get("instanceId").to_owned();
    aws.wait(20);
    let ids = [
        ("InstanceId.1", elsewhere.as_str()),
        ("InstanceId.2", protected.as_str()),
        ("InstanceId.3", beside.as_str()),
    ];
    assert_eq!(aws.code("TerminateInstances", &ids), "OperationNotPermitted");
    assert_eq!(aws.state(&protected), "running");
    assert_eq!(aws.state(&beside), "running");
    assert_eq!(aws.state(&elsewhere), "shutting-down");
    aws.wait(60);
    aws.call("RebootInstances", &[("InstanceId.1", &elsewhere)]);
    assert_eq!(aws.state(&elsewhere), "terminated", "a reboot of it is passed over");
}

#[test]
fn a_volume_goes_with_its_instance_where_the_call_does_not_say_otherwise() {
    let mut aws = Aws::new();
    let id = aws.running(&[
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "false"),
    ]);
    let volume = aws.call("DescribeVolumes", &[]).get("volumeId").to_owned();
    let mapping = [
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.VolumeId", volume.as_str()),
    ];
    let shown = |aws: &mut Aws| {
        let answer = aws.call("DescribeVolumes", &[("VolumeId.1", &volume)]);
        answer.get("deleteOnTermination").to_owned()
    };
    assert_eq!(shown(&mut aws), "false");
    let instance = [("InstanceId", id.as_str())];
    aws.call("ModifyInstanceAttribute", &[&instance[..], &mapping].concat());
    assert_eq!(shown(&mut aws), "true");
}

#[test]
fn an_unknown_type_is_an_invalid_value_of_the_attribute() {
    let mut aws = Aws::new();
    let id = aws.stopped();
    for (name, code) in [
        ("z9.huge", "InvalidInstanceAttributeValue"),
        ("m7g.large", "InvalidParameterValue"),
    ] {
        let change = [("InstanceId", id.as_str()), ("InstanceType.Value", name)];
        assert_eq!(aws.code("ModifyInstanceAttribute", &change), code, "{name}");
    }
}

#[test]
fn one_attribute_is_modified_in_a_call_and_some_only_when_stopped() {
    let mut aws = Aws::new();
    let id = aws.running(&[]);
    let modify = |aws: &mut Aws, rest: &[(&str, &str)]| {
        aws.code(
            "ModifyInstanceAttribute",
            &[&[("InstanceId", id.as_str())], rest].concat(),
        )
    };
    let two = [
        ("DisableApiStop.Value", "true"),
        ("DisableApiTermination.Value", "true"),
    ];
    assert_eq!(modify(&mut aws, &two), "InvalidParameterCombination");
    assert_eq!(
        modify(&mut aws, &[("InstanceType.Value", "m6i.large")]),
        "IncorrectInstanceState"
    );
    assert_eq!(modify(&mut aws, &[]), "MissingParameter");
    assert_eq!(
        modify(&mut aws, &[("Attribute", "kernel"), ("Value", "x")]),
        "InvalidParameterValue"
    );
    aws.call(
        "ModifyInstanceAttribute",
        &[
            ("InstanceId", &id),
            ("Attribute", "instanceInitiatedShutdownBehavior"),
            ("Value", "terminate"),
        ],
    );
    let attribute = [
        ("InstanceId", id.as_str()),
        ("Attribute", "instanceInitiatedShutdownBehavior"),
    ];
    assert!(
        aws.call("DescribeInstanceAttribute", &attribute)
            .0
            .contains("<value>terminate</value>")
    );
}

#[test]
fn the_console_without_latest_is_only_what_was_captured() {
    let mut aws = Aws::new();
    let id = aws.running(&[]);
    aws.wait(60);
    let output = |aws: &mut Aws, further: &[(&str, &str)]| {
        let answer = aws.call("GetConsoleOutput", &[&[("InstanceId", id.as_str())], further].concat());
        answer
            .all("output")
            .first()
            .map(|text| String::from_utf8(BASE64.decode(text).unwrap()).unwrap())
    };
    assert_eq!(output(&mut aws, &[]), None);
    assert!(output(&mut aws, &[("Latest", "true")]).unwrap().contains("login:"));
    aws.call("StopInstances", &[("InstanceId.1", &id)]);
    aws.wait(60);
    assert!(output(&mut aws, &[]).unwrap().contains("login:"));
    let xen = [
        ("InstanceType", "t2.micro"),
        ("ImageId", SOURCE),
        ("MinCount", "1"),
        ("MaxCount", "1"),
    ];
    let id = aws.call("RunInstances", &xen).get("instanceId").to_owned();
    aws.wait(20);
    assert_eq!(
        aws.code("GetConsoleOutput", &[("InstanceId", &id), ("Latest", "true")]),
        "UnsupportedOperation"
    );
}

#[test]
fn a_launch_with_an_unknown_key_fails_after_its_call_has_succeeded() {
    let mut aws = Aws::new();
    let id = aws.launch(&[
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.Encrypted", "true"),
        ("BlockDeviceMapping.1.Ebs.KmsKeyId", "alias/nobody"),
    ]);
    aws.wait(100);
    let answer = aws.call("DescribeInstances", &[("InstanceId.1", &id)]);
    assert_eq!(Answer(answer.get("instanceState").to_owned()).get("name"), "terminated");
    assert!(answer.get("stateReason").contains("Client.InvalidKMSKey.InvalidState"));
}

#[test]
fn filters_find_instances_by_what_is_shown_of_them() {
    let mut aws = Aws::new();
    let id = aws.running(&[("ClientToken", "t-1")]);
    for (name, value) in [
        ("instance-state-name", "run*"),
        ("image-id", SOURCE),
        ("subnet-id", SUBNET_A),
        ("availability-zone", "eu-central-1?"),
        ("client-token", "t-1"),
        ("instance.group-name", "default"),
        ("block-device-mapping.device-name", "/dev/xvda"),
    ] {
        let found = aws.call(
            "DescribeInstances",
            &[("Filter.1.Name", name), ("Filter.1.Value.1", value)],
        );
        assert_eq!(found.all("instanceId").first(), Some(&id.as_str()), "{name}");
        let none = aws.call(
            "DescribeInstances",
            &[("Filter.1.Name", name), ("Filter.1.Value.1", "nothing")],
        );
        assert!(none.all("reservationId").is_empty(), "{name}");
    }
}
