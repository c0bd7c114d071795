use crate::aws::Aws;

#[test]
fn one_volume_has_one_snapshot_in_fifteen_seconds() {
    let mut aws = Aws::new();
    let volume = aws
        .call("CreateVolume", &[("AvailabilityZone", "eu-central-1a"), ("Size", "4")])
        .get("volumeId")
        .to_owned();
    aws.wait(6);
    let made = aws.call("CreateSnapshot", &[("VolumeId", &volume)]);
    assert_eq!((made.get("status"), made.get("progress")), ("pending", ""));
    aws.wait(5);
    assert_eq!(
        aws.code("CreateSnapshot", &[("VolumeId", &volume)]),
        "SnapshotCreationPerVolumeRateExceeded"
    );
    aws.wait(11);
    aws.call("CreateSnapshot", &[("VolumeId", &volume)]);
}

#[test]
fn a_strangers_snapshot_is_neither_changed_nor_deleted() {
    let mut aws = Aws::new();
    let amazons = "snap-0a200300000000001";
    assert_eq!(aws.code("DeleteSnapshot", &[("SnapshotId", amazons)]), "AuthFailure");
    let attribute = [("SnapshotId", amazons), ("Attribute", "createVolumePermission")];
    assert_eq!(aws.code("DescribeSnapshotAttribute", &attribute), "AuthFailure");
    let own = aws.call("DescribeSnapshots", &[("Owner.1", "self")]);
    assert!(own.all("ownerId").iter().all(|owner| *owner == "123456789012"));
}

#[test]
fn permissions_are_either_added_or_removed() {
    let both = [
        ("SnapshotId", "snap-0b100100000000001"),
        ("CreateVolumePermission.Add.1.UserId", "210987654321"),
        ("CreateVolumePermission.Remove.1.UserId", "210987654322"),
    ];
    assert_eq!(
        Aws::new().code("ModifySnapshotAttribute", &both),
        "InvalidParameterCombination"
    );
}

#[test]
fn what_is_under_the_default_key_is_never_shared() {
    let mut aws = Aws::new();
    let copy = aws.call(
        "CopyImage",
        &[
            ("Name", "under the default key"),
            ("SourceRegion", "eu-central-1"),
            ("SourceImageId", "ami-0b100100000000001"),
            ("Encrypted", "true"),
        ],
    );
    aws.wait(300);
    let image = copy.get("imageId");
    let described = aws.call("DescribeImages", &[("ImageId.1", image)]);
    let share = [
        ("SnapshotId", described.get("snapshotId")),
        ("CreateVolumePermission.Add.1.UserId", "210987654321"),
    ];
    assert_eq!(aws.code("ModifySnapshotAttribute", &share), "OperationNotPermitted");
    let share = [("ImageId", image), ("LaunchPermission.Add.1.UserId", "210987654321")];
    assert_eq!(aws.code("ModifyImageAttribute", &share), "InvalidParameter");
    let vault = [("ImageId", "ami-0b100600000000001"), share[1]];
    aws.call("ModifyImageAttribute", &vault);
}

#[test]
fn who_may_restore_a_snapshot_is_asked_for() {
    let mut aws = Aws::new();
    let mut found = |who: &str| {
        aws.call("DescribeSnapshots", &[("RestorableBy.1", who)])
            .all("snapshotId")
            .len()
    };
    let (everything, public, own) = (found("self"), found("all"), found("123456789012"));
    assert_eq!(everything, public + own);
    assert_eq!(own, 6);
    assert_eq!(
        aws.code("DescribeSnapshots", &[("RestorableBy.1", "me")]),
        "InvalidUserID.Malformed"
    );
}

#[test]
fn sharing_a_snapshot_shows_in_its_attribute() {
    let mut aws = Aws::new();
    let own = "snap-0b100100000000001";
    for (change, left) in [("Add", 1), ("Add", 1), ("Remove", 0)] {
        let parameter = format!("CreateVolumePermission.{change}.1.UserId");
        aws.call(
            "ModifySnapshotAttribute",
            &[("SnapshotId", own), (&parameter, "210987654321")],
        );
        let attribute = [("SnapshotId", own), ("Attribute", "createVolumePermission")];
        assert_eq!(
            aws.call("DescribeSnapshotAttribute", &attribute).all("userId").len(),
            left,
            "{change}"
        );
    }
}
