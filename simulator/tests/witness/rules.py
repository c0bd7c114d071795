"""EC2's refusals, by their codes, and what it lists and how."""

import uuid

from simulator import BUILDERS, SOURCE, SOURCE_ARM64, SUBNET_A, SUBNET_B, client, launch, refused, until, until_state

ec2 = client()

identity = client("sts").get_caller_identity()
assert identity["Account"] == "123456789012" and identity["Arn"].startswith("arn:aws:iam::123456789012:"), identity

# Launches: what is wrong is named; nothing is launched. A refused launch takes a token of its bucket too.
base = {"ImageId": SOURCE, "InstanceType": "m7i.large", "MinCount": 1, "MaxCount": 1, "SubnetId": SUBNET_A}
patient = client(attempts=10)
for code, changes in [
    ("InvalidAMIID.NotFound", {"ImageId": "ami-0123456789abcdef0"}),
    ("InvalidAMIID.Malformed", {"ImageId": "ami-nonsense"}),
    ("InvalidSubnetID.NotFound", {"SubnetId": "subnet-0123456789abcdef0"}),
    ("InvalidGroup.NotFound", {"SecurityGroupIds": ["sg-0123456789abcdef0"]}),
    ("InvalidParameterValue", {"ImageId": SOURCE_ARM64}),
    ("InvalidParameterValue", {"UserData": "x" * 16385}),
    ("InvalidParameterValue", {"InstanceType": "m7i.nonsense"}),
    ("Unsupported", {"InstanceType": "c7i.large", "SubnetId": SUBNET_B}),
    ("InvalidKeyPair.NotFound", {"KeyName": "nobody"}),
    ("InvalidParameter", {"SecurityGroupIds": ["sg-0d300000000000001"]}),
    ("InvalidParameterCombination", {"SecurityGroups": ["builders"]}),
    ("InvalidParameterCombination", {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": SUBNET_A}]}),
    ("InvalidParameterValue", {"TagSpecifications": [{"Tags": [{"Key": "a", "Value": "b"}]}]}),
    ("InvalidParameterValue", {"TagSpecifications": [{"ResourceType": "instance", "Tags": []}]}),
    ("InvalidParameterValue", {"TagSpecifications": [{"ResourceType": "image", "Tags": [{"Key": "a", "Value": "b"}]}]}),
    ("DryRunOperation", {"DryRun": True}),
]:
    refused(code, patient.run_instances, **{**base, **changes})
anywhere = {name: value for name, value in base.items() if name != "SubnetId"}
refused("InvalidParameterValue", patient.run_instances, **anywhere, Placement={"AvailabilityZone": "eu-central-1z"})
refused("InvalidParameterValue", patient.run_instances, **{**base, "UserData": "x" * (3 << 20)})
assert ec2.describe_instances()["Reservations"] == []

# No instance, a malformed and an unknown one, of each change of state.
for change in [ec2.start_instances, ec2.stop_instances, ec2.reboot_instances, ec2.terminate_instances]:
    refused("InvalidParameterCombination", change, InstanceIds=[])
    refused("InvalidInstanceID.Malformed", change, InstanceIds=["i-nonsense"])
    refused("InvalidInstanceID.NotFound", change, InstanceIds=["i-0123456789abcdef0"])

# Tokens are zonal, repeat only themselves, and die with their instance.
token = str(uuid.uuid4())
first = launch(patient, ClientToken=token)
assert launch(patient, ClientToken=token) == first
refused("IdempotentParameterMismatch", patient.run_instances, **{**base, "ClientToken": token, "EbsOptimized": True})
second = launch(patient, ClientToken=token, SubnetId=SUBNET_B)
assert second != first
until_state(ec2, first, "running")
patient.terminate_instances(InstanceIds=[first])
refused("IdempotentInstanceTerminated", patient.run_instances, **{**base, "ClientToken": token})
until_state(ec2, first, "terminated")
refused("IncorrectInstanceState", ec2.start_instances, InstanceIds=[first])
refused("IncorrectState", ec2.create_image, InstanceId=first, Name="of-the-dead")
ec2.reboot_instances(InstanceIds=[first])

# A protected instance spares those of its zone, and the call fails.
beside = launch(patient, DisableApiTermination=True)
until_state(ec2, beside, "running")
until_state(ec2, second, "running")
refused("OperationNotPermitted", patient.terminate_instances, InstanceIds=[beside, second])
until_state(ec2, second, "terminated")
ec2.modify_instance_attribute(InstanceId=beside, DisableApiTermination={"Value": False})

# Every attribute of an instance that botocore knows can be asked for.
attributes = ec2.meta.service_model.shape_for("InstanceAttributeName").enum
for attribute in attributes:
    ec2.describe_instance_attribute(InstanceId=beside, Attribute=attribute)
refused("InvalidParameterValue", ec2.describe_instance_attribute, InstanceId=beside, Attribute="nonsense")

# Images: found by owner, name and wildcard; the look-alike belongs to a stranger.
name = [{"Name": "name", "Values": ["al2023-ami-2023.*-kernel-6.1-x86_64"]}]
owners = {image["OwnerId"] for image in ec2.describe_images(Filters=name)["Images"]}
assert owners == {"137112412989", "999988887777"}, owners
amazons = ec2.describe_images(Owners=["amazon"], Filters=name)["Images"]
assert len(amazons) == 3 and max(amazons, key=lambda image: image["CreationDate"])["ImageId"] == SOURCE
own = {image["ImageId"] for image in ec2.describe_images(Owners=["self"])["Images"]}
hidden = {image["ImageId"] for image in ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]} - own
assert hidden == {"ami-0b100500000000001"}, hidden
refused("InvalidParameterValue", ec2.describe_images, Filters=[{"Name": "nmae", "Values": ["x"]}])
refused("AuthFailure", ec2.modify_image_attribute, ImageId=SOURCE, Description={"Value": "mine"})

# Sharing, disabling, deprecation.
image = "ami-0b100100000000001"
ec2.modify_image_attribute(ImageId=image, LaunchPermission={"Add": [{"UserId": "210987654321"}]})
permissions = ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")["LaunchPermissions"]
assert permissions == [{"UserId": "210987654321"}], permissions
ec2.disable_image(ImageId=image)
refused("InvalidAMIID.Unavailable", patient.run_instances, **{**base, "ImageId": image})
ec2.enable_image(ImageId=image)
assert ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")["LaunchPermissions"] == []
refused("InvalidParameterValue", ec2.enable_image_deprecation, ImageId=image, DeprecateAt="2001-01-01T00:00:00Z")
refused("InvalidParameterValue", ec2.modify_image_attribute, ImageId=image, Description={"Value": "x" * 256})
for attribute in ec2.meta.service_model.shape_for("ImageAttributeName").enum:
    ec2.describe_image_attribute(ImageId=image, Attribute=attribute)

# What is under the account's default key is never shared; who may restore a snapshot can be asked.
source = {"SourceImageId": image, "SourceRegion": "eu-central-1"}
locked = ec2.copy_image(Name="under the default key", Encrypted=True, **source)["ImageId"]
until(lambda: ec2.describe_images(ImageIds=[locked])["Images"][0]["State"] == "available", "the copy is available")
partner = {"Add": [{"UserId": "210987654321"}]}
refused("InvalidParameter", ec2.modify_image_attribute, ImageId=locked, LaunchPermission=partner)
snapshot = ec2.describe_images(ImageIds=[locked])["Images"][0]["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
refused("OperationNotPermitted", ec2.modify_snapshot_attribute, SnapshotId=snapshot, CreateVolumePermission=partner)
restorable = {who: ec2.describe_snapshots(RestorableByUserIds=[who])["Snapshots"] for who in ("self", "all")}
assert snapshot in {found["SnapshotId"] for found in restorable["self"]}
assert {found["OwnerId"] for found in restorable["all"]} == {"137112412989", "999988887777"}, restorable

# Pages: paginators see everything once.
pages = ec2.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 5})
types = [found["InstanceType"] for page in pages for found in page["InstanceTypes"]]
assert len(types) == len(set(types)) == 24, types
refused("InvalidParameterValue", ec2.describe_instances, MaxResults=4)

# Tags.
refused("InvalidParameterValue", ec2.create_tags, Resources=[image], Tags=[{"Key": "aws:x", "Value": ""}])
refused("InvalidID", ec2.create_tags, Resources=["ami-nonsense"], Tags=[{"Key": "a", "Value": "b"}])
refused("TagLimitExceeded", ec2.create_tags, Resources=[image], Tags=[{"Key": f"k{n}", "Value": ""} for n in range(51)])
ec2.create_tags(Resources=[image, BUILDERS], Tags=[{"Key": "stage", "Value": "prod"}])
found = ec2.describe_tags(Filters=[{"Name": "key", "Values": ["stage"]}])["Tags"]
assert {tag["ResourceId"]: tag["ResourceType"] for tag in found} == {image: "image", BUILDERS: "security-group"}, found
ec2.delete_tags(Resources=[image, BUILDERS], Tags=[{"Key": "stage"}])

# Every other read answers in a shape that botocore knows.
ec2.describe_availability_zones()
ec2.describe_regions()
ec2.describe_vpcs()
ec2.describe_security_groups(GroupIds=[BUILDERS])
ec2.describe_key_pairs()
ec2.describe_instance_type_offerings(LocationType="availability-zone")
ec2.describe_network_interfaces(Filters=[{"Name": "attachment.instance-id", "Values": [beside]}])
ec2.describe_instance_status(IncludeAllInstances=True)
ec2.describe_snapshots(OwnerIds=["self"])
ec2.describe_snapshot_attribute(SnapshotId="snap-0b100100000000001", Attribute="createVolumePermission")

# Regions are apart; copies cross them.
west = client(region="us-west-2")
refused("InvalidInstanceID.NotFound", west.describe_instances, InstanceIds=[second])
copy = west.copy_image(Name="copy", SourceImageId=image, SourceRegion="eu-central-1", ClientToken="c")["ImageId"]
assert west.copy_image(Name="copy", SourceImageId=image, SourceRegion="eu-central-1", ClientToken="c")["ImageId"] == copy
