"""Key pairs and security groups: what is made, by whom it is used, and when it is refused."""

import base64
import hashlib

import rsa

from simulator import BUILDERS, SOURCE, client, launch, refused, until_state

OTHER_VPC = "vpc-0e200000000000001"
TAGS = [{"Key": "team", "Value": "web"}]

ec2 = client(attempts=10)

# A key that signs, by the fingerprint that AWS documents.
made = ec2.create_key_pair(KeyName="mine", TagSpecifications=[{"ResourceType": "key-pair", "Tags": TAGS}])
private = rsa.PrivateKey.load_pkcs1(made["KeyMaterial"].encode())
assert private.n.bit_length() == 2048 and made["Tags"] == TAGS
public = rsa.PublicKey(private.n, private.e)
assert rsa.verify(b"hello", rsa.sign(b"hello", private, "SHA-256"), public) == "SHA-256"
described = ec2.describe_key_pairs(KeyNames=["mine"], IncludePublicKey=True)["KeyPairs"][0]
assert described["KeyPairId"] == made["KeyPairId"] and described["KeyFingerprint"] == made["KeyFingerprint"]
assert len(made["KeyFingerprint"].split(":")) == 20
assert "PublicKey" not in ec2.describe_key_pairs(KeyNames=["mine"])["KeyPairs"][0]
refused("InvalidKeyPair.Duplicate", ec2.create_key_pair, KeyName="mine")
refused("InvalidParameterValue", ec2.create_key_pair, KeyName="ppk", KeyFormat="ppk")
refused("DryRunOperation", ec2.create_key_pair, KeyName="dry", DryRun=True)
refused("InvalidKeyPair.NotFound", ec2.describe_key_pairs, KeyNames=["dry"])

edwards = ec2.create_key_pair(KeyName="edwards", KeyType="ed25519")
assert edwards["KeyMaterial"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
line = ec2.describe_key_pairs(KeyNames=["edwards"], IncludePublicKey=True)["KeyPairs"][0]["PublicKey"]
blob = base64.b64decode(line.split()[1])
assert base64.b64encode(hashlib.sha256(blob).digest()).decode() == edwards["KeyFingerprint"]



def string(data):
    """A string of RFC 4251, and what follows it."""
    length = int.from_bytes(data[:4], "big")
    return data[4 : 4 + length], data[4 + length :]


whole = base64.b64decode("".join(edwards["KeyMaterial"].splitlines()[1:-1]))
assert whole.startswith(b"openssh-key-v1\0")
rest = whole[len(b"openssh-key-v1\0") :]
for expected in [b"none", b"none", b""]:
    found, rest = string(rest)
    assert found == expected
assert rest[:4] == b"\0\0\0\1"
public, rest = string(rest[4:])
private, rest = string(rest)
assert public == blob and rest == b"" and len(private) % 8 == 0 and private[:4] == private[4:8]
kind, rest = string(private[8:])
point, rest = string(rest)
pair, rest = string(rest)
comment, padding = string(rest)
assert (kind, comment, padding) == (b"ssh-ed25519", b"", bytes(range(1, len(padding) + 1)))
assert point == blob[-32:] == pair[32:] and len(pair) == 64
# Neither half is given twice.
assert ec2.create_key_pair(KeyName="other", KeyType="ed25519")["KeyFingerprint"] != edwards["KeyFingerprint"]

# The one that is there from the beginning is a key as well.
operators = ec2.describe_key_pairs(KeyNames=["operators"], IncludePublicKey=True)["KeyPairs"][0]
again = ec2.import_key_pair(KeyName="again", PublicKeyMaterial=operators["PublicKey"].encode())
assert again["KeyFingerprint"] == operators["KeyFingerprint"]

# Imported, with another fingerprint than if it had been made here.
imported = ec2.import_key_pair(KeyName="theirs", PublicKeyMaterial=described["PublicKey"].encode())
assert len(imported["KeyFingerprint"].split(":")) == 16
for wrong in ["", "ssh-rsa", "ssh-rsa AAAA", "ssh-dss " + described["PublicKey"].split()[1]]:
    refused("InvalidKey.Format", ec2.import_key_pair, KeyName="wrong", PublicKeyMaterial=wrong.encode() or b"?")

# Deleting what is not there is no error by name, and one by id.
assert ec2.delete_key_pair(KeyName="theirs")["KeyPairId"] == imported["KeyPairId"]
assert ec2.delete_key_pair(KeyName="theirs")["Return"]
refused("InvalidKeyPair.NotFound", ec2.delete_key_pair, KeyPairId=imported["KeyPairId"])
refused("MissingParameter", ec2.delete_key_pair)

# Groups: a name is unique in its VPC.
group = ec2.create_security_group(
    GroupName="web", Description="of the web", TagSpecifications=[{"ResourceType": "security-group", "Tags": TAGS}]
)
assert group["Tags"] == TAGS and group["SecurityGroupArn"].endswith(group["GroupId"])
refused("InvalidGroup.Duplicate", ec2.create_security_group, GroupName="web", Description="again")
other = ec2.create_security_group(GroupName="web", Description="elsewhere", VpcId=OTHER_VPC)["GroupId"]
for code, name, vpc in [
    ("InvalidParameterValue", "default", OTHER_VPC),
    ("InvalidParameterValue", "sg-web", OTHER_VPC),
    ("InvalidParameterValue", "wéb", OTHER_VPC),
    ("InvalidVpcID.NotFound", "lost", "vpc-0123456789abcdef0"),
]:
    refused(code, ec2.create_security_group, GroupName=name, Description="x", VpcId=vpc)

# Rules: canonical ranges, none twice.
web = group["GroupId"]
ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
permission = {**ssh, "IpRanges": [{"CidrIp": "10.1.2.3/8", "Description": "us"}]}
rule = ec2.authorize_security_group_ingress(GroupId=web, IpPermissions=[permission])["SecurityGroupRules"][0]
assert rule["CidrIpv4"] == "10.0.0.0/8" and rule["SecurityGroupRuleId"].startswith("sgr-") and not rule["IsEgress"]
error = refused("InvalidPermission.Duplicate", ec2.authorize_security_group_ingress, GroupId=web, IpPermissions=[permission])
assert "peer: 10.0.0.0/8, TCP, from port: 22, to port: 22, ALLOW" in str(error)
ec2.authorize_security_group_ingress(
    GroupName="web", IpPermissions=[{"IpProtocol": "-1", "FromPort": 1, "ToPort": 2, "UserIdGroupPairs": [{"GroupId": BUILDERS}]}]
)
found = ec2.describe_security_groups(Filters=[{"Name": "ip-permission.from-port", "Values": ["22"]}])["SecurityGroups"]
assert [found["GroupId"] for found in found] == [web]
first, second = found[0]["IpPermissions"]
assert first["IpRanges"] == [{"CidrIp": "10.0.0.0/8", "Description": "us"}] and "FromPort" not in second
for code, changes in [
    ("InvalidParameterValue", {"CidrIp": "10.0.0.0/33"}),
    ("InvalidParameterValue", {"IpProtocol": "tpc"}),
    ("InvalidParameterValue", {"FromPort": 23}),
    ("MissingParameter", {"CidrIp": None}),
]:
    given = {**ssh, "CidrIp": "0.0.0.0/0", **changes}
    given = {name: value for name, value in given.items() if value is not None}
    refused(code, ec2.authorize_security_group_ingress, GroupId=web, **given)

# One that is not there is said in the default VPC, and refused in another.
absent = {"IpProtocol": "udp", "FromPort": 53, "ToPort": 53, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
unknown = ec2.revoke_security_group_ingress(GroupId=web, IpPermissions=[permission, absent])["UnknownIpPermissions"]
assert [unknown["FromPort"] for unknown in unknown] == [53]
refused("InvalidPermission.NotFound", ec2.revoke_security_group_ingress, GroupId=other, IpPermissions=[absent])

# Used by an instance, and by another group's rule.
instance = launch(ec2, ImageId=SOURCE, KeyName="mine", SecurityGroupIds=[web])
ec2.delete_key_pair(KeyName="mine")
until_state(ec2, instance, "running")
running = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
assert running["KeyName"] == "mine" and running["SecurityGroups"] == [{"GroupId": web, "GroupName": "web"}]
refused("DependencyViolation", ec2.delete_security_group, GroupId=web)
refused("DependencyViolation", ec2.delete_security_group, GroupName="builders")
refused("CannotDelete", ec2.delete_security_group, GroupName="default")
ec2.terminate_instances(InstanceIds=[instance])
until_state(ec2, instance, "terminated")
assert ec2.delete_security_group(GroupId=web)["GroupId"] == web
refused("InvalidGroup.NotFound", ec2.delete_security_group, GroupId=web)
ec2.delete_security_group(GroupId=other)
