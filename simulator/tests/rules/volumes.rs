use crate::aws::Aws;

fn create(aws: &mut Aws, zone: &str) -> String {
    let id = aws
        .call("CreateVolume", &[("AvailabilityZone", zone), ("Size", "4")])
        .get("volumeId")
        .to_owned();
    aws.wait(6);
    id
}

fn attach(volume: &str, instance: &str, device: &'static str) -> [(&'static str, String); 3] {
    [("VolumeId", volume), ("InstanceId", instance), ("Device", device)].map(|(name, value)| (name, value.to_owned()))
}

fn pairs<'a>(list: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    list.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[test]
fn a_volume_is_attached_in_its_zone_at_a_free_device() {
    let mut aws = Aws::new();
    let instance = aws.running(&[]);
    let (here, there) = (create(&mut aws, "eu-central-1a"), create(&mut aws, "eu-central-1b"));
    let table = [
        (attach(&there, &instance, "/dev/sdf"), "InvalidVolume.ZoneMismatch"),
        (attach(&here, &instance, "/dev/sda"), "InvalidParameterValue"),
        (attach(&here, &instance, "/dev/nvme1n1"), "InvalidParameterValue"),
        (
            attach("vol-0123456789abcdef0", &instance, "/dev/sdf"),
            "InvalidVolume.NotFound",
        ),
        (
            attach(&here, "i-0123456789abcdef0", "/dev/sdf"),
            "InvalidInstanceID.NotFound",
        ),
    ];
    for (parameters, code) in &table {
        assert_eq!(aws.code("AttachVolume", &pairs(parameters)), *code, "{parameters:?}");
    }
    let good = attach(&here, &instance, "/dev/sdf");
    assert_eq!(aws.call("AttachVolume", &pairs(&good)).get("status"), "attaching");
    assert_eq!(aws.code("AttachVolume", &pairs(&good)), "VolumeInUse");
    aws.wait(5);
    assert!(
        aws.call("DescribeVolumes", &[("VolumeId.1", &here)])
            .0
            .contains("<status>attached</status>")
    );
    assert_eq!(aws.code("DeleteVolume", &[("VolumeId", &here)]), "VolumeInUse");
    aws.call("DetachVolume", &[("VolumeId", &here)]);
    aws.wait(7);
    assert_eq!(aws.code("DetachVolume", &[("VolumeId", &here)]), "IncorrectState");
    aws.call("DeleteVolume", &[("VolumeId", &here)]);
    aws.wait(6);
    assert_eq!(
        aws.code("DescribeVolumes", &[("VolumeId.1", &here)]),
        "InvalidVolume.NotFound"
    );
}

#[test]
fn a_volume_that_is_being_detached_can_be_forced_and_is_free_once() {
    let mut aws = Aws::new();
    let instance = aws.running(&[]);
    let volume = create(&mut aws, "eu-central-1a");
    let attached = attach(&volume, &instance, "/dev/sdf");
    aws.call("AttachVolume", &pairs(&attached));
    aws.wait(5);
    aws.call("DetachVolume", &[("VolumeId", &volume)]);
    for (force, code) in [("false", "IncorrectState"), ("true", "")] {
        let parameters = [("VolumeId", volume.as_str()), ("Force", force)];
        match code {
            "" => drop(aws.call("DetachVolume", &parameters)),
            code => assert_eq!(aws.code("DetachVolume", &parameters), code),
        }
    }
    // The end of the first detachment is not the end of the next attachment.
    aws.call("AttachVolume", &pairs(&attached));
    aws.wait(60);
    let described = aws.call("DescribeVolumes", &[("VolumeId.1", &volume)]);
    assert!(described.0.contains("<status>attached</status>"), "{}", described.0);
}

#[test]
fn a_volume_outlives_its_instance_unless_its_attachment_says_otherwise() {
    let mut aws = Aws::new();
    let instance = aws.running(&[]);
    let (kept, gone) = (create(&mut aws, "eu-central-1a"), create(&mut aws, "eu-central-1a"));
    aws.call("AttachVolume", &pairs(&attach(&kept, &instance, "/dev/sdf")));
    aws.call("AttachVolume", &pairs(&attach(&gone, &instance, "/dev/sdg")));
    aws.call(
        "ModifyInstanceAttribute",
        &[
            ("InstanceId", &instance),
            ("BlockDeviceMapping.1.DeviceName", "/dev/sdg"),
            ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        ],
    );
    aws.wait(5);
    aws.call("TerminateInstances", &[("InstanceId.1", &instance)]);
    aws.wait(60);
    let left = aws.call("DescribeVolumes", &[]);
    assert_eq!(left.all("volumeId"), [kept.as_str()]);
    assert_eq!(left.get("status"), "available");
}

#[test]
fn the_root_volume_of_a_running_instance_stays() {
    let mut aws = Aws::new();
    let instance = aws.running(&[]);
    let filter = [
        ("Filter.1.Name", "attachment.instance-id"),
        ("Filter.1.Value.1", instance.as_str()),
    ];
    let root = aws.call("DescribeVolumes", &filter).get("volumeId").to_owned();
    assert_eq!(
        aws.code("DetachVolume", &[("VolumeId", &root)]),
        "OperationNotPermitted"
    );
}

#[test]
fn encryption_goes_from_volume_to_snapshot_to_volume() {
    let mut aws = Aws::new();
    let parameters = [
        ("AvailabilityZone", "eu-central-1a"),
        ("Size", "4"),
        ("Encrypted", "true"),
    ];
    let volume = aws.call("CreateVolume", &parameters).get("volumeId").to_owned();
    aws.wait(6);
    let snapshot = aws.call("CreateSnapshot", &[("VolumeId", &volume)]);
    assert_eq!(snapshot.get("encrypted"), "true");
    let snapshot = snapshot.get("snapshotId").to_owned();
    let from = [("AvailabilityZone", "eu-central-1b"), ("SnapshotId", snapshot.as_str())];
    assert_eq!(aws.code("CreateVolume", &from), "IncorrectState", "not completed");
    aws.wait(61);
    assert_eq!(aws.call("CreateVolume", &from).get("encrypted"), "true");
    assert_eq!(
        aws.code("CreateVolume", &[from[0], from[1], ("Encrypted", "false")]),
        "InvalidParameterCombination"
    );
}

#[test]
fn a_volume_says_where_and_how_large() {
    let mut aws = Aws::new();
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[("Size", "4")], "MissingParameter"),
        (&[("AvailabilityZone", "eu-central-1a")], "MissingParameter"),
        (
            &[("AvailabilityZone", "us-west-2a"), ("Size", "4")],
            "InvalidZone.NotFound",
        ),
        (
            &[
                ("AvailabilityZone", "eu-central-1a"),
                ("Size", "4"),
                ("VolumeType", "gp9"),
            ],
            "UnknownVolumeType",
        ),
        (
            &[
                ("AvailabilityZone", "eu-central-1a"),
                ("Size", "4"),
                ("SnapshotId", "snap-0a200300000000001"),
            ],
            "InvalidParameterValue",
        ),
    ];
    for (parameters, code) in table {
        assert_eq!(aws.code("CreateVolume", parameters), *code, "{parameters:?}");
    }
}

#[test]
fn a_volume_token_repeats_only_itself() {
    let mut aws = Aws::new();
    let parameters = [
        ("AvailabilityZone", "eu-central-1a"),
        ("Size", "4"),
        ("ClientToken", "v-1"),
    ];
    let first = aws.call("CreateVolume", &parameters).get("volumeId").to_owned();
    assert_eq!(aws.call("CreateVolume", &parameters).get("volumeId"), first);
    let other = [parameters[0], ("Size", "5"), parameters[2]];
    assert_eq!(aws.code("CreateVolume", &other), "IdempotentParameterMismatch");
}
