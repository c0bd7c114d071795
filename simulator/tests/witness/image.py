"""An image, as a build makes it: launched, stopped from outside, imaged, protected, inspected, and all taken away."""

from simulator import SOURCE, SUBNET_A, client, control, launch, refused, until, until_state

ec2 = client()
tags = [{"Key": "owner", "Value": "witness"}]


def tagged(*kinds):
    return [{"ResourceType": kind, "Tags": tags} for kind in kinds]


instance = launch(
    ec2,
    SecurityGroupIds=["sg-0d200000000000001"],
    InstanceInitiatedShutdownBehavior="stop",
    IamInstanceProfile={"Name": "image-builder"},
    MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
    CapacityReservationSpecification={"CapacityReservationPreference": "none"},
    BlockDeviceMappings=[
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 16, "VolumeType": "gp3", "Encrypted": True, "KmsKeyId": "alias/images"}}
    ],
    TagSpecifications=tagged("instance", "volume", "network-interface"),
    UserData="#cloud-config\n",
    ClientToken="witness-of-image",
)
until_state(ec2, instance, "running")
described = ec2.describe_instances(Filters=[{"Name": "tag:owner", "Values": ["wit*"]}])
assert [i["InstanceId"] for r in described["Reservations"] for i in r["Instances"]] == [instance]
builder = described["Reservations"][0]["Instances"][0]
assert builder["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
assert (builder["ImageId"], builder["ClientToken"]) == (SOURCE, "witness-of-image"), builder
until(lambda: "login:" in ec2.get_console_output(InstanceId=instance, Latest=True).get("Output", ""), "a login prompt")

ec2.stop_instances(InstanceIds=[instance])
ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
stopped = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
assert stopped["StateReason"]["Code"] == "Client.UserInitiatedShutdown", stopped["StateReason"]

image = ec2.create_image(InstanceId=instance, Name="witness-1", TagSpecifications=tagged("image", "snapshot"))["ImageId"]
refused("InvalidAMIName.Duplicate", ec2.create_image, InstanceId=instance, Name="witness-1")


def available():
    found = ec2.describe_images(ImageIds=[image])["Images"][0]
    assert found["State"] in ("pending", "available"), found
    return found if found["State"] == "available" else None


found = until(available, "the image is available")
assert found["SourceInstanceId"] == instance and found["SourceImageId"] == SOURCE
assert not found["Public"] and ec2.describe_images(ImageIds=[SOURCE])["Images"][0]["Public"]
assert found["Tags"] == tags and found["ImdsSupport"] == "v2.0"
device = found["BlockDeviceMappings"][0]["Ebs"]
assert device["Encrypted"] and device["VolumeSize"] == 16, device
snapshot = ec2.describe_snapshots(SnapshotIds=[device["SnapshotId"]], OwnerIds=["self"])["Snapshots"][0]
assert snapshot["Progress"] == "100%" and snapshot["Encrypted"] and snapshot["Tags"] == tags

assert ec2.enable_image_deregistration_protection(ImageId=image)["Return"] == "enabled-without-cooldown"
refused("OperationNotPermitted", ec2.deregister_image, ImageId=image)
assert ec2.describe_images(ImageIds=[image])["Images"][0]["DeregistrationProtection"] == "enabled-without-cooldown"
refused("InvalidSnapshot.InUse", ec2.delete_snapshot, SnapshotId=snapshot["SnapshotId"])

inspector = launch(ec2)
until_state(ec2, inspector, "running")
zone = ec2.describe_subnets(SubnetIds=[SUBNET_A])["Subnets"][0]["AvailabilityZone"]
volume = ec2.create_volume(
    SnapshotId=snapshot["SnapshotId"], AvailabilityZone=zone, VolumeType="gp3", TagSpecifications=tagged("volume")
)["VolumeId"]
until(lambda: ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available", "the volume is available")
ec2.attach_volume(VolumeId=volume, InstanceId=inspector, Device="/dev/sdf")
ec2.modify_instance_attribute(
    InstanceId=inspector, BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": True}}]
)
until(
    lambda: ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Attachments"][0]["State"] == "attached", "attached"
)

inventory = control("GET", "inventory")["eu-central-1"]
assert {found["id"] for found in inventory["instances"]} == {instance, inspector}, inventory
ec2.terminate_instances(InstanceIds=[instance, inspector])
ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance, inspector], WaiterConfig={"Delay": 1})
refused("InvalidVolume.NotFound", ec2.describe_volumes, VolumeIds=[volume])
assert ec2.disable_image_deregistration_protection(ImageId=image)["Return"] == "disabled"
results = ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)["DeleteSnapshotResults"]
assert results == [{"SnapshotId": snapshot["SnapshotId"], "ReturnCode": "success"}], results
refused("InvalidAMIID.Unavailable", ec2.deregister_image, ImageId=image)
assert control("GET", "inventory") == {}, "something leaked"
