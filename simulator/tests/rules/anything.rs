use crate::aws::{Answer, Aws, SOURCE, SUBNET_A};

const OPERATIONS: [&str; 44] = [
    "AttachVolume",
    "CopyImage",
    "CreateImage",
    "CreateSnapshot",
    "CreateTags",
    "CreateVolume",
    "DeleteSnapshot",
    "DeleteTags",
    "DeleteVolume",
    "DeregisterImage",
    "DescribeAvailabilityZones",
    "DescribeImageAttribute",
    "DescribeImages",
    "DescribeInstanceAttribute",
    "DescribeInstanceStatus",
    "DescribeInstanceTypeOfferings",
    "DescribeInstanceTypes",
    "DescribeInstances",
    "DescribeKeyPairs",
    "DescribeNetworkInterfaces",
    "DescribeRegions",
    "DescribeSecurityGroups",
    "DescribeSnapshotAttribute",
    "DescribeSnapshots",
    "DescribeSubnets",
    "DescribeTags",
    "DescribeVolumes",
    "DescribeVpcs",
    "DetachVolume",
    "DisableImage",
    "DisableImageDeprecation",
    "DisableImageDeregistrationProtection",
    "EnableImage",
    "EnableImageDeprecation",
    "EnableImageDeregistrationProtection",
    "GetConsoleOutput",
    "ModifyImageAttribute",
    "ModifyInstanceAttribute",
    "ModifySnapshotAttribute",
    "RebootInstances",
    "RegisterImage",
    "RunInstances",
    "StopInstances",
    "TerminateInstances",
];

const NAMES: [&str; 34] = [
    "Attribute",
    "AvailabilityZone",
    "BlockDeviceMapping.1.DeviceName",
    "BlockDeviceMapping.1.Ebs.SnapshotId",
    "BlockDeviceMapping.1.Ebs.VolumeSize",
    "ClientToken",
    "DeprecateAt",
    "Device",
    "Filter.1.Name",
    "Filter.1.Value.1",
    "ImageId",
    "ImageId.1",
    "InstanceId",
    "InstanceId.1",
    "InstanceType",
    "Iops",
    "MaxCount",
    "MaxResults",
    "MinCount",
    "Name",
    "NextToken",
    "NoReboot",
    "Owner.1",
    "PrivateIpAddress",
    "ResourceId.1",
    "Size",
    "SnapshotId",
    "SourceImageId",
    "SourceRegion",
    "SubnetId",
    "Tag.1.Key",
    "UserData",
    "Value",
    "VolumeId",
];

const VALUES: [&str; 16] = [
    "",
    "0",
    "1",
    "4294967295",
    "-1",
    "true",
    "/dev/xvda",
    "/dev/sdf",
    "m7i.large",
    "eu-central-1a",
    "us-west-2",
    "9999-12-31T23:59:59Z",
    "-9999-01-01T00:00:00Z",
    "instance-state-name",
    "\u{0}<&>*\\",
    "launchPermission",
];

/// A linear congruential generator: any will do, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

#[test]
fn nothing_that_is_asked_breaks_the_world() {
    let mut aws = Aws::new();
    let mut dice = Dice(1);
    let mut ids: Vec<String> = vec![SOURCE.into(), SUBNET_A.into(), "snap-0b100100000000001".into()];
    ids.push(aws.launch(&[]));
    let mut succeeded = 0;
    for _ in 0..20_000 {
        let operation = dice.pick(&OPERATIONS);
        let parameters: Vec<(&str, String)> = (0..dice.below(6))
            .map(|_| {
                let value = match dice.below(2) {
                    0 => ids[dice.below(ids.len())].clone(),
                    _ => dice.pick(&VALUES).to_owned(),
                };
                (dice.pick(&NAMES), value)
            })
            .collect();
        let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let response = aws.reply("ec2", operation, &parameters).response.unwrap();
        let internal = response.body.contains("<Code>InternalError</Code>");
        assert!(!internal, "{operation} {parameters:?}: {}", response.body);
        if response.status == 200 {
            succeeded += 1;
            let answer = Answer(response.body);
            for element in ["volumeId", "imageId", "snapshotId", "instanceId"] {
                ids.extend(
                    answer
                        .all(element)
                        .first()
                        .map(|id| (*id).to_owned())
                        .filter(|id| !ids.contains(id)),
                );
            }
        }
        aws.wait(1);
    }
    assert!(succeeded > 1000, "{succeeded} calls succeeded: the dice say too little");
    for region in aws.simulator.state.regions.values() {
        for volume in region.volumes.values() {
            if let Some(attachment) = &volume.attachment {
                assert!(
                    region.instances.contains_key(&attachment.instance_id),
                    "{} is attached to nothing",
                    volume.id
                );
            }
        }
        for image in region.images.values() {
            for device in &image.block_devices {
                let snapshot = device.ebs.snapshot_id.as_ref().unwrap();
                assert!(
                    region.snapshots.contains_key(snapshot),
                    "{} has lost {snapshot}",
                    image.id
                );
            }
        }
    }
}
