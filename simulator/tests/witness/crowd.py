"""Many clients at once: a token launches once, a name is given once, a bucket is shared, and every answer is whole."""

from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

from simulator import client, control, launch, until_state

CLIENTS = 12


def outcomes(call):
    """What a call comes to for each of many clients at the same time: an answer or an error's code."""

    def one(ec2):
        try:
            return call(ec2)
        except ClientError as error:
            return error.response["Error"]["Code"]

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(one, [client(region="us-west-2", attempts=10) for _ in range(CLIENTS)]))


here = {"ImageId": "ami-0a200300000000004", "SubnetId": "subnet-0a100000000000004"}
launched = outcomes(lambda ec2: launch(ec2, ClientToken="all together", **here))
assert len(set(launched)) == 1 and launched[0].startswith("i-"), launched

until_state(client(region="us-west-2", attempts=10), launched[0], "running")
named = outcomes(
    lambda ec2: ec2.create_image(InstanceId=launched[0], Name="the one name", NoReboot=True)["ImageId"]
)
assert sorted(set(named))[0] == "InvalidAMIName.Duplicate" and len(set(named)) == 2, named
assert len(control("GET", "inventory")["us-west-2"]["images"]) == 1

# One bucket for all: a hundred reads, and what comes back at twenty a second meanwhile.
once = client(region="eu-west-1")
with ThreadPoolExecutor(CLIENTS) as pool:

    def read(_):
        try:
            once.describe_vpcs(MaxResults=5)
            return "Success"
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503, error
            return error.response["Error"]["Code"]

    answers = list(pool.map(read, range(300)))
assert set(answers) == {"Success", "RequestLimitExceeded"} and answers.count("Success") >= 100, answers
journal = control("GET", "journal")
assert [entry["sequence"] for entry in journal] == list(range(1, len(journal) + 1)), "the journal has gaps"
