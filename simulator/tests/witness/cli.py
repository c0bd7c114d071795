"""The aws CLI, as a person types it."""

import json
import os
import subprocess
import sys

from simulator import SOURCE, SUBNET_A, until

AWS = os.path.join(os.path.dirname(sys.executable), "aws")


def aws(*arguments):
    done = subprocess.run([AWS, *arguments, "--output", "json"], capture_output=True, text=True)
    if done.returncode != 0:
        return done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def query(expression, *arguments):
    return aws(*arguments, "--query", expression)


assert query("Account", "sts", "get-caller-identity") == "123456789012"
newest = query(
    "sort_by(Images, &CreationDate)[-1].ImageId",
    "ec2", "describe-images", "--owners", "amazon", "--filters", "Name=name,Values=al2023-ami-2023.*-x86_64",
)
assert newest == SOURCE, newest
instance = query(
    "Instances[0].InstanceId",
    "ec2", "run-instances", "--image-id", newest, "--instance-type", "m7i.large", "--subnet-id", SUBNET_A,
    "--tag-specifications", "ResourceType=instance,Tags=[{Key=Name,Value=by hand}]",
)
state = ("ec2", "describe-instances", "--filters", "Name=tag:Name,Values=by hand")
until(lambda: query("Reservations[].Instances[].State.Name", *state) == ["running"], "running", 30)
aws("ec2", "modify-instance-attribute", "--instance-id", instance, "--disable-api-termination")
assert "OperationNotPermitted" in aws("ec2", "terminate-instances", "--instance-ids", instance)
assert query(
    "DisableApiTermination.Value",
    "ec2", "describe-instance-attribute", "--instance-id", instance, "--attribute", "disableApiTermination",
)
aws("ec2", "modify-instance-attribute", "--instance-id", instance, "--no-disable-api-termination")
image = query("ImageId", "ec2", "create-image", "--instance-id", instance, "--name", "by hand", "--no-reboot")
until(lambda: query("Images[0].State", "ec2", "describe-images", "--image-ids", image) == "available", "available", 30)
attribute = ("ec2", "modify-image-attribute", "--image-id", image)
aws(*attribute, "--launch-permission", "Add=[{UserId=210987654321}]")
permissions = ("ec2", "describe-image-attribute", "--image-id", image, "--attribute", "launchPermission")
assert query("LaunchPermissions[].UserId", *permissions) == ["210987654321"]
aws(*attribute, "--attribute", "launchPermission", "--operation-type", "remove", "--user-ids", "210987654321")
assert query("LaunchPermissions", *permissions) == []
assert "InvalidAction" in aws("ec2", "describe-launch-templates")
assert "UnknownParameter" in aws("ec2", "stop-instances", "--instance-ids", instance, "--hibernate")
aws("ec2", "terminate-instances", "--instance-ids", instance)
aws("ec2", "deregister-image", "--image-id", image, "--delete-associated-snapshots")
assert "InvalidAMIID.Unavailable" in aws("ec2", "deregister-image", "--image-id", image)
assert query("Images", "ec2", "describe-images", "--image-ids", image) == []
