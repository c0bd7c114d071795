"""Every filter that EC2's documentation names is taken, and every page has EC2's bounds, as botocore's model says both."""

import re

import botocore
from botocore.exceptions import ParamValidationError

from simulator import SOURCE, client, launch, refused, until_state

ec2 = client(attempts=12)
OPERATIONS = [
    "DescribeAvailabilityZones", "DescribeImages", "DescribeInstanceStatus", "DescribeInstanceTypeOfferings",
    "DescribeInstanceTypes", "DescribeInstances", "DescribeKeyPairs", "DescribeNetworkInterfaces", "DescribeRegions",
    "DescribeSecurityGroups", "DescribeSnapshots", "DescribeSubnets", "DescribeTags", "DescribeVolumes", "DescribeVpcs",
]
# Listed like filters: the severities that one of them takes, and how `tag:KEY` is written.
NO_FILTERS = {"informational", "low", "medium", "high", "critical", "tag"}
# Any base64, and the token of another operation.
WRONG_TOKENS = ["bogus", "AAAA", ec2.describe_instance_types(MaxResults=5)["NextToken"] + "AAAA"]

for operation in OPERATIONS:
    call = getattr(ec2, botocore.xform_name(operation))
    members = ec2.meta.service_model.operation_model(operation).input_shape.members
    documented = re.findall(r"<code>([\w.-]+)</code> -", members["Filters"].documentation)
    aliases = re.findall(r"also use (.*?) as the filter name", members["Filters"].documentation)
    documented += [name for alias in aliases for name in re.findall(r"<code>(\w+)</code>", alias)]
    assert len(documented) > 1, operation
    for name in set(documented) - NO_FILTERS:
        call(Filters=[{"Name": name, "Values": ["none such"]}])
    refused("InvalidParameterValue", call, Filters=[{"Name": documented[0] + "x", "Values": ["*"]}])
    refused("InvalidParameterValue", call, Filters=[{"Values": ["*"]}])
    found = call(Filters=[{"Name": documented[0], "Values": []}])
    assert [value for value in found.values() if isinstance(value, list)] == [[]], found
    refused("FilterLimitExceeded", call, Filters=[{"Name": documented[0], "Values": [str(n) for n in range(201)]}])
    refused("DryRunOperation", call, DryRun=True)
    if "MaxResults" not in members:
        continue
    for token in WRONG_TOKENS:
        refused("InvalidNextToken", call, MaxResults=5, NextToken=token)
    if operation != "DescribeImages":
        try:
            refused("InvalidParameterValue", call, MaxResults=4)
        except ParamValidationError:
            # Botocore knows the least itself.
            pass

# A filter over each part of an instance finds it, and finds no other.
instance = launch(
    ec2,
    TagSpecifications=[{"ResourceType": "network-interface", "Tags": [{"Key": "part", "Value": "interface"}]}],
)
until_state(ec2, instance, "running")
found = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
interface = found["NetworkInterfaces"][0]
for name, value, other in [
    ("image-id", SOURCE, "ami-0b100100000000001"),
    ("instance-state-name", "run*", "stopped"),
    ("instance-state-code", "16", "80"),
    ("launch-time", found["LaunchTime"].strftime("%Y-%m-*"), "2001-*"),
    ("private-ip-address", found["PrivateIpAddress"][:-1] + "?", "10.0.0.1"),
    ("block-device-mapping.status", "attached", "detached"),
    ("block-device-mapping.volume-id", found["BlockDeviceMappings"][0]["Ebs"]["VolumeId"], "vol-0123456789abcdef0"),
    ("metadata-options.http-tokens", "required", "optional"),
    ("network-interface.mac-address", interface["MacAddress"], "02:00:00:00:00:00"),
    ("network-interface.association.public-ip", found["PublicIpAddress"], "203.0.113.0"),
    ("network-interface.attachment.attachment-id", interface["Attachment"]["AttachmentId"], "eni-attach-0"),
    ("network-interface.tag-value", "inter*", "volume"),
    ("private-dns-name-options.hostname-type", "ip-name", "resource-name"),
    ("source-dest-check", "true", "false"),
    ("spot-instance-request-id", None, "*"),
]:
    for values, expected in [([value], [instance]), ([other], []), ([other, value], [instance])]:
        if None in values:
            continue
        pages = ec2.describe_instances(Filters=[{"Name": name, "Values": values}])["Reservations"]
        assert [i["InstanceId"] for page in pages for i in page["Instances"]] == expected, (name, values)
