use jiff::ToSpan;

use crate::aws::{Answer, Aws, SOURCE, SUBNET_A, launch};

fn state(aws: &mut Aws, image: &str) -> String {
    let parameters = [("ImageId.1", image), ("IncludeDisabled", "true")];
    aws.call("DescribeImages", &parameters).get("imageState").to_owned()
}

#[test]
fn an_image_is_pending_until_its_snapshots_are_done() {
    let mut aws = Aws::new();
    let instance = aws.stopped();
    let image = aws.create_image(&instance, "web v1");
    aws.wait(20);
    let described = aws.call("DescribeImages", &[("ImageId.1", &image)]);
    assert_eq!(described.get("imageState"), "pending");
    assert_eq!(described.get("sourceInstanceId"), instance);
    assert_eq!(described.get("sourceImageId"), SOURCE);
    let snapshot = described.get("snapshotId").to_owned();
    let progress = aws.call("DescribeSnapshots", &[("SnapshotId.1", &snapshot)]);
    assert_eq!(progress.get("status"), "pending");
    let percent: u32 = progress.get("progress").trim_end_matches('%').parse().unwrap();
    assert!((20..80).contains(&percent), "{percent}");
    let parameters: Vec<_> = launch(SUBNET_A)
        .into_iter()
        .map(|(n, v)| if n == "ImageId" { (n, image.as_str()) } else { (n, v) })
        .collect();
    assert_eq!(aws.code("RunInstances", &parameters), "InvalidAMIID.Unavailable");
    aws.wait(60);
    assert_eq!(state(&mut aws, &image), "available");
    assert_eq!(
        aws.call("DescribeSnapshots", &[("SnapshotId.1", &snapshot)])
            .get("progress"),
        "100%"
    );
}

#[test]
fn a_running_source_reboots_unless_told_otherwise() {
    let mut aws = Aws::new();
    let instance = aws.running(&[]);
    aws.wait(60);
    let boots = |aws: &Aws| {
        aws.simulator.state.regions["eu-central-1"]
            .instances
            .values()
            .next()
            .unwrap()
            .boot
    };
    aws.call(
        "CreateImage",
        &[("InstanceId", &instance), ("Name", "quiet"), ("NoReboot", "true")],
    );
    assert_eq!(boots(&aws), 1);
    aws.wait(120);
    aws.create_image(&instance, "loud");
    assert_eq!(boots(&aws), 2);
}

#[test]
fn a_name_belongs_to_one_image() {
    let mut aws = Aws::new();
    let image = aws.image("web v1");
    let instance = aws.stopped();
    let create = [("InstanceId", instance.as_str()), ("Name", "web v1")];
    assert_eq!(aws.code("CreateImage", &create), "InvalidAMIName.Duplicate");
    aws.call("DeregisterImage", &[("ImageId", &image)]);
    assert_eq!(
        aws.code("CreateImage", &create),
        "InvalidAMIName.Duplicate",
        "not free at once"
    );
    aws.wait(11);
    aws.call("CreateImage", &create);
    for name in ["ab", &"x".repeat(129), "web:v1", "wéb"] {
        let create = [("InstanceId", instance.as_str()), ("Name", name)];
        assert_eq!(aws.code("CreateImage", &create), "InvalidAMIName.Malformed", "{name}");
    }
}

#[test]
fn what_was_deregistered_is_unavailable_and_its_snapshots_stay_unless_asked() {
    let mut aws = Aws::new();
    let image = aws.image("web v1");
    let snapshot = aws
        .call("DescribeImages", &[("ImageId.1", &image)])
        .get("snapshotId")
        .to_owned();
    assert_eq!(
        aws.code("DeleteSnapshot", &[("SnapshotId", &snapshot)]),
        "InvalidSnapshot.InUse"
    );
    let other = aws.call(
        "RegisterImage",
        &[
            ("Name", "second"),
            ("RootDeviceName", "/dev/xvda"),
            ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
            ("BlockDeviceMapping.1.Ebs.SnapshotId", &snapshot),
        ],
    );
    let with_snapshots = |id| [("ImageId", id), ("DeleteAssociatedSnapshots", "true")];
    let answer = aws.call("DeregisterImage", &with_snapshots(&image));
    assert_eq!(
        (answer.get("snapshotId"), answer.get("returnCode")),
        (snapshot.as_str(), "skipped")
    );
    assert_eq!(
        aws.code("DeregisterImage", &[("ImageId", &image)]),
        "InvalidAMIID.Unavailable"
    );
    let gone = ("ImageId.1", image.as_str());
    assert!(aws.call("DescribeImages", &[gone]).all("imageId").is_empty());
    let with_a_living_one = aws.call("DescribeImages", &[gone, ("ImageId.2", SOURCE)]);
    assert_eq!(with_a_living_one.all("imageId"), [SOURCE]);
    let answer = aws.call("DeregisterImage", &with_snapshots(other.get("imageId")));
    assert_eq!(answer.get("returnCode"), "success");
    assert_eq!(
        aws.code("DescribeSnapshots", &[("SnapshotId.1", &snapshot)]),
        "InvalidSnapshot.NotFound"
    );
}

#[test]
fn an_image_has_the_devices_that_its_request_adds_and_not_those_it_leaves_out() {
    let mut aws = Aws::new();
    let instance = aws.running(&[
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "4"),
    ]);
    let base = [("InstanceId", instance.as_str()), ("Name", "mapped")];
    let root = ("BlockDeviceMapping.1.DeviceName", "/dev/xvda");
    for wrong in [
        ("BlockDeviceMapping.1.NoDevice", ""),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "12"),
        ("BlockDeviceMapping.1.Ebs.VolumeType", "gp2"),
        ("BlockDeviceMapping.1.Ebs.Encrypted", "true"),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", "snap-0b100100000000001"),
    ] {
        let parameters = [&base[..], &[root, wrong]].concat();
        assert_eq!(
            aws.code("CreateImage", &parameters),
            "InvalidBlockDeviceMapping",
            "{wrong:?}"
        );
    }
    let mappings = [
        root,
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "false"),
        ("BlockDeviceMapping.2.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.2.NoDevice", ""),
        ("BlockDeviceMapping.3.DeviceName", "/dev/sdg"),
        ("BlockDeviceMapping.3.Ebs.VolumeSize", "20"),
    ];
    let made = aws.call("CreateImage", &[&base[..], &mappings].concat());
    aws.wait(120);
    let described = aws.call("DescribeImages", &[("ImageId.1", made.get("imageId"))]);
    assert_eq!(described.all("deviceName"), ["/dev/xvda", "/dev/sdg"]);
    assert_eq!(described.all("volumeSize"), ["8", "20"]);
    assert_eq!(described.all("deleteOnTermination"), ["false", "true"]);
    assert_eq!(described.all("snapshotId").len(), 1, "an added device is empty");
}

#[test]
fn protection_with_cooldown_outlives_its_disabling_by_a_day() {
    let mut aws = Aws::new();
    let image = aws.image("web v1");
    let id = [("ImageId", image.as_str())];
    aws.call(
        "EnableImageDeregistrationProtection",
        &[id[0], ("WithCooldown", "true")],
    );
    let described = aws.call("DescribeImages", &[("ImageId.1", &image)]);
    assert_eq!(described.get("deregistrationProtection"), "enabled-with-cooldown");
    assert_eq!(aws.code("DeregisterImage", &id), "OperationNotPermitted");
    aws.call("DisableImageDeregistrationProtection", &id);
    aws.wait(23 * 3600);
    assert_eq!(aws.code("DeregisterImage", &id), "OperationNotPermitted");
    aws.wait(3600);
    aws.call("DeregisterImage", &id);
}

#[test]
fn protection_without_cooldown_ends_at_once() {
    let mut aws = Aws::new();
    let image = aws.image("web v1");
    let id = [("ImageId", image.as_str())];
    aws.call("EnableImageDeregistrationProtection", &id);
    assert_eq!(aws.code("DeregisterImage", &id), "OperationNotPermitted");
    aws.call("DisableImageDeregistrationProtection", &id);
    aws.call("DeregisterImage", &id);
}

#[test]
fn disabling_takes_launch_permissions_away_for_good() {
    let mut aws = Aws::new();
    let shared = "ami-0b100300000000001";
    let permissions = [("ImageId", shared), ("Attribute", "launchPermission")];
    assert!(
        aws.call("DescribeImageAttribute", &permissions)
            .0
            .contains("210987654321")
    );
    aws.call("DisableImage", &[("ImageId", shared)]);
    assert!(
        aws.call("DescribeImages", &[("ImageId.1", shared)])
            .all("imageId")
            .is_empty(),
        "hidden"
    );
    assert_eq!(state(&mut aws, shared), "disabled");
    aws.call("EnableImage", &[("ImageId", shared)]);
    assert_eq!(state(&mut aws, shared), "available");
    assert!(
        aws.call("DescribeImageAttribute", &permissions)
            .all("userId")
            .is_empty()
    );
}

#[test]
fn deprecation_is_never_in_the_past_and_rounds_to_the_minute() {
    let mut aws = Aws::new();
    let own = "ami-0b100100000000001";
    let deprecate = |at: &str| [("ImageId", own.to_owned()), ("DeprecateAt", at.to_owned())];
    for (at, code) in [
        ("2026-11-22T08:00:00Z", "InvalidParameterValue"),
        ("2037-11-23T08:00:00Z", "InvalidParameterValue"),
        ("tomorrow", "InvalidParameterValue"),
    ] {
        let parameters = deprecate(at);
        let parameters: Vec<(&str, &str)> = parameters.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(aws.code("EnableImageDeprecation", &parameters), code, "{at}");
    }
    aws.call(
        "EnableImageDeprecation",
        &[("ImageId", own), ("DeprecateAt", "2026-11-23T09:00:31Z")],
    );
    let described = aws.call("DescribeImages", &[("ImageId.1", own)]);
    assert_eq!(described.get("deprecationTime"), "2026-11-23T09:01:00.000Z");
    aws.call(
        "ModifyImageAttribute",
        &[("ImageId", own), ("LaunchPermission.Add.1.Group", "all")],
    );
    for (at, allowed) in [("2028-09-01T00:00:00Z", true), ("2029-01-01T00:00:00Z", false)] {
        let parameters = [("ImageId", own), ("DeprecateAt", at), ("DryRun", "true")];
        let expected = if allowed {
            "DryRunOperation"
        } else {
            "InvalidParameterValue"
        };
        assert_eq!(
            aws.code("EnableImageDeprecation", &parameters),
            expected,
            "public, {at}"
        );
    }
    aws.now += 2.hours();
    let listed = aws.call("DescribeImages", &[("Owner.1", "self")]);
    assert!(listed.all("imageId").contains(&own), "an owner sees deprecated images");
}

#[test]
fn the_last_launch_shows_a_day_late() {
    let mut aws = Aws::new();
    aws.launch(&[]);
    let shown = |aws: &mut Aws| {
        aws.call("DescribeImages", &[("ImageId.1", SOURCE)])
            .all("lastLaunchedTime")
            .len()
    };
    aws.wait(23 * 3600);
    assert_eq!(shown(&mut aws), 0);
    aws.wait(3600);
    assert_eq!(shown(&mut aws), 1);
}

#[test]
fn a_name_alone_can_be_spoofed_and_an_owner_can_not() {
    let mut aws = Aws::new();
    let name = [
        ("Filter.1.Name", "name"),
        ("Filter.1.Value.1", "al2023-ami-2023.*-x86_64"),
    ];
    let anyone = aws.call("DescribeImages", &name);
    assert!(anyone.all("imageOwnerId").contains(&"999988887777"));
    assert_eq!(
        aws.code("DescribeImages", &[("Owner.1", "me")]),
        "InvalidUserID.Malformed"
    );
    for owner in ["amazon", "137112412989"] {
        let answer = aws.call("DescribeImages", &[&name[..], &[("Owner.1", owner)]].concat());
        assert_eq!(answer.all("imageId").len(), 3);
        assert!(answer.all("imageOwnerAlias").iter().all(|alias| *alias == "amazon"));
    }
}

#[test]
fn imds_support_is_irreversible_and_one_attribute_a_call() {
    let mut aws = Aws::new();
    let own = "ami-0b100100000000001";
    assert_eq!(
        aws.code(
            "ModifyImageAttribute",
            &[("ImageId", own), ("ImdsSupport.Value", "v1.0")]
        ),
        "InvalidParameterValue"
    );
    assert_eq!(
        aws.code(
            "ModifyImageAttribute",
            &[
                ("ImageId", own),
                ("ImdsSupport.Value", "v2.0"),
                ("Description.Value", "x")
            ]
        ),
        "InvalidParameterCombination"
    );
    assert_eq!(
        aws.code("ModifyImageAttribute", &[("ImageId", own)]),
        "MissingParameter"
    );
    assert_eq!(
        aws.code(
            "ModifyImageAttribute",
            &[("ImageId", SOURCE), ("Description.Value", "x")]
        ),
        "AuthFailure"
    );
    aws.call(
        "ModifyImageAttribute",
        &[("ImageId", own), ("Description.Value", "better")],
    );
    assert_eq!(
        aws.call("DescribeImages", &[("ImageId.1", own)]).get("description"),
        "better"
    );
}

#[test]
fn sharing_is_idempotent_and_checked() {
    let mut aws = Aws::new();
    let own = "ami-0b100100000000001";
    let add = [("ImageId", own), ("LaunchPermission.Add.1.UserId", "210987654321")];
    aws.call("ModifyImageAttribute", &add);
    aws.call("ModifyImageAttribute", &add);
    let permissions = [("ImageId", own), ("Attribute", "launchPermission")];
    assert_eq!(
        aws.call("DescribeImageAttribute", &permissions).all("userId"),
        ["210987654321"]
    );
    let wrong = [("ImageId", own), ("LaunchPermission.Add.1.UserId", "me")];
    assert_eq!(aws.code("ModifyImageAttribute", &wrong), "InvalidAMIAttributeItemValue");
    // Clients repeat whom they have named, and must not be made to believe that others are let in as well.
    let [image, named] = add;
    aws.call("ModifyImageAttribute", &[image, named, ("UserId.1", "210987654321")]);
    let another = [image, named, ("UserId.1", "999988887777")];
    assert_eq!(
        aws.code("ModifyImageAttribute", &another),
        "InvalidParameterCombination"
    );
    let all = [
        ("ImageId", "ami-0b100600000000001"),
        ("LaunchPermission.Add.1.Group", "all"),
    ];
    assert_eq!(
        aws.code("ModifyImageAttribute", &all),
        "InvalidParameterValue",
        "encrypted"
    );
    let arn = "arn:aws:organizations::123456789012:organization/o-abc123";
    aws.call(
        "ModifyImageAttribute",
        &[("ImageId", own), ("OperationType", "add"), ("OrganizationArn.1", arn)],
    );
    aws.call("ResetImageAttribute", &permissions);
    assert!(aws.call("DescribeImageAttribute", &permissions).all("item").is_empty());
}

#[test]
fn a_copy_is_made_in_its_destination_and_fails_later_for_a_wrong_key() {
    let mut aws = Aws::new();
    aws.region = "us-west-2";
    let copy = |name: &'static str| {
        [
            ("Name", name),
            ("SourceRegion", "eu-central-1"),
            ("SourceImageId", "ami-0b100300000000001"),
        ]
    };
    let good = aws.call("CopyImage", &[&copy("copy")[..], &[("ClientToken", "c-1")]].concat());
    let again = aws.call("CopyImage", &[&copy("copy")[..], &[("ClientToken", "c-1")]].concat());
    assert_eq!(good.get("imageId"), again.get("imageId"));
    assert_eq!(
        aws.code("CopyImage", &[&copy("other")[..], &[("ClientToken", "c-1")]].concat()),
        "IdempotentParameterMismatch"
    );
    let bad = [&copy("bad")[..], &[("Encrypted", "true"), ("KmsKeyId", "alias/nobody")]].concat();
    let bad = aws.call("CopyImage", &bad);
    aws.wait(300);
    let described = aws.call("DescribeImages", &[("ImageId.1", good.get("imageId"))]);
    assert_eq!(
        (described.get("imageState"), described.get("sourceImageRegion")),
        ("available", "eu-central-1")
    );
    let permissions = [("ImageId", good.get("imageId")), ("Attribute", "launchPermission")];
    assert!(
        aws.call("DescribeImageAttribute", &permissions)
            .all("userId")
            .is_empty(),
        "not copied"
    );
    let failed = aws.call("DescribeImages", &[("ImageId.1", bad.get("imageId"))]);
    assert_eq!(failed.get("imageState"), "failed");
    assert_eq!(
        Answer(failed.get("stateReason").to_owned()).get("code"),
        "Client.InvalidKMSKey.InvalidState"
    );
}
