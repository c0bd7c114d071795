"""Faults, as a client lives through them."""

from botocore.exceptions import ConnectionClosedError, ConnectionError, ResponseStreamingError

from simulator import SOURCE, SUBNET_A, client, control, refused

ec2 = client()
base = {"ImageId": SOURCE, "InstanceType": "m7i.large", "MinCount": 1, "MaxCount": 1, "SubnetId": SUBNET_A}

# The response is lost, the effect is not: a repetition with the same token finds the instance.
control("POST", "faults", {"operation": "RunInstances", "kind": "lost", "count": 1})
try:
    ec2.run_instances(**base, ClientToken="attempt-1")
    raise AssertionError("a response came that was to be lost")
except (ConnectionClosedError, ConnectionError, ResponseStreamingError):
    pass
again = ec2.run_instances(**base, ClientToken="attempt-1")["Instances"][0]["InstanceId"]
made = [entry for entry in control("GET", "journal") if entry["operation"] == "RunInstances" and entry["made"]]
assert len(made) == 1 and again in made[0]["made"] and made[0]["fault"] == "lost", made

# botocore repeats what EC2 says can be repeated, and gets through; a throttle has emptied the bucket of all reads.
control("POST", "faults", [
    {"operation": "DescribeVpcs", "kind": "error", "code": "InternalError", "count": 1},
    {"operation": "DescribeImages", "kind": "throttle", "count": 1},
])
patient = client(attempts=8)
patient.describe_vpcs()
outcomes = [entry["outcome"] for entry in control("GET", "journal") if entry["operation"] == "DescribeVpcs"]
assert outcomes == ["InternalError", "Success"], outcomes
refused("RequestLimitExceeded", ec2.describe_images, ImageIds=[SOURCE])
patient.describe_images(ImageIds=[SOURCE])

# A zone without room.
control("POST", "capacity", {"availabilityZone": "eu-central-1a", "instanceType": "m6i.large", "instances": 0})
error = refused("InsufficientInstanceCapacity", ec2.run_instances, **{**base, "InstanceType": "m6i.large"})
assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 500

# A source that has changed.
name = "al2023-ami-2023.9.20261122.0-kernel-6.1-x86_64"
published = control("POST", "images", {"region": "eu-central-1", "name": name})["imageId"]
found = patient.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": [name]}])["Images"]
assert [image["ImageId"] for image in found] == [published], found
