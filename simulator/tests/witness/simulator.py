"""What the witnesses share: clients, expectations, and a check of every response against botocore's own model."""

import json
import os
import time
import urllib.request
import xml.etree.ElementTree as ElementTree

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
SOURCE = "ami-0a200300000000001"
SOURCE_ARM64 = "ami-0a300300000000001"
SUBNET_A = "subnet-0a100000000000001"
SUBNET_B = "subnet-0b200000000000001"
BUILDERS = "sg-0d200000000000001"
# Several times what an emulated machine takes to boot.
PATIENCE = 240


def client(service="ec2", region="eu-central-1", attempts=1):
    """A client that tries once, so that every error is seen, unless more attempts are asked for."""
    config = Config(retries={"total_max_attempts": attempts, "mode": "standard"}, read_timeout=10)
    made = boto3.client(service, region_name=region, config=config)
    if service == "ec2":
        made.meta.events.register("before-parse.ec2", check_against_model)
    return made


def check_against_model(operation_model, response_dict, **_):
    """Every element of a response must be one that botocore knows at that place."""
    if response_dict["status_code"] != 200 or operation_model.output_shape is None:
        return
    root = ElementTree.fromstring(response_dict["body"])
    unknown = list(unknown_elements(root, operation_model.output_shape, operation_model.name))
    assert not unknown, f"elements that EC2's model doesn't have: {unknown}"


def unknown_elements(element, shape, path):
    if shape.type_name == "structure":
        known = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        for child in element:
            name = child.tag.split("}")[-1]
            if name == "requestId":
                continue
            if name not in known:
                yield f"{path}.{name}"
            else:
                yield from unknown_elements(child, known[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for item in element:
            if item.tag.split("}")[-1] != "item":
                yield f"{path}.{item.tag}"
            else:
                yield from unknown_elements(item, shape.member, f"{path}[]")
    elif len(element):
        yield f"{path} has children"


def refused(code, call, **parameters):
    """The call must fail with that code."""
    try:
        call(**parameters)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, f"{code} expected: {error}"
        assert error.response["Error"]["Message"], f"{code} has no message"
        return error
    raise AssertionError(f"{code} expected of {call.__name__}({parameters}), and it succeeded")


def until(condition, what, seconds=20):
    """Polls until the condition holds; what isn't visible yet is looked for again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            outcome = condition()
            if outcome:
                return outcome
        except ClientError as error:
            if not error.response["Error"]["Code"].endswith(".NotFound"):
                raise
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def control(method, path, body=None):
    """Asks the simulator itself."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{ENDPOINT}/_simulator/{path}", data=data, method=method)
    with urllib.request.urlopen(request) as response:
        text = response.read()
        return json.loads(text) if text else None


def launch(ec2, **parameters):
    """Launches one instance and returns its id."""
    defaults = {"ImageId": SOURCE, "InstanceType": "m7i.large", "MinCount": 1, "MaxCount": 1, "SubnetId": SUBNET_A}
    return ec2.run_instances(**{**defaults, **parameters})["Instances"][0]["InstanceId"]


def state(ec2, instance):
    return ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["State"]["Name"]


def until_state(ec2, instance, wanted, seconds=20):
    until(lambda: state(ec2, instance) == wanted, f"{instance} {wanted}", seconds)


def console(ec2, instance):
    return ec2.get_console_output(InstanceId=instance, Latest=True).get("Output", "")


def until_console(ec2, instance, text, times=1):
    """Waits until a machine has said something so often."""
    said = lambda: console(ec2, instance).count(text) >= times
    until(said, f"{times} times {text!r} on the console of {instance}", PATIENCE)
