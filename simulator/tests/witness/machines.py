"""Real guests: what a machine sees, what becomes of its disks, and what EC2 says of it meanwhile."""

import os
from pathlib import Path

from simulator import PATIENCE, client, console, launch, state, until, until_console, until_state

MACHINES = Path(os.environ["MACHINES"])
USER_DATA = r"""#!/bin/sh
say() { echo "@@ $*" >/dev/ttyS0; }
echo ran >>/root/runs
token=$(printf 'PUT /latest/api/token HTTP/1.0\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n' | nc 169.254.169.254 80 | tail -n 1)
get() { wget -q -O - --header "X-aws-ec2-metadata-token: $token" "http://169.254.169.254/$1"; }
id=$(get latest/meta-data/instance-id)
say "without a token: $(wget -q -O - http://169.254.169.254/latest/meta-data/ 2>&1)"
say "role: $(get 2021-03-23/meta-data/tags/instance/role)"
say "document: $(get latest/dynamic/instance-identity/document | grep instanceId)"
say "outside: $(nc -w 2 169.254.2.2 80 </dev/null 2>&1)"
echo "left by $id" >>/root/mark
sync
say "mark: $(head -n 1 /root/mark)"
while sleep 0.5; do
    for disk in /sys/block/nvme[1-9]*; do
        [ -e "$disk" ] || { [ -z "$there" ] || say "gone"; there=; continue; }
        [ -z "$there" ] || continue
        there=yes
        mkdir -p /run/volume
        mount -t ext4 -o ro,noload "/dev/${disk##*/}p1" /run/volume
        say "volume $(cat "$disk/device/serial"): $(cat /run/volume/root/mark)"
        umount /run/volume
    done
done &
say "ready"
"""

ec2 = client(attempts=3)


def run(image="ami-0a200300000000001"):
    return launch(
        ec2,
        ImageId=image,
        UserData=USER_DATA,
        MetadataOptions={"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "role", "Value": "witness"}]}],
    )


def layers():
    return len(list(MACHINES.glob("layer-*")))


first = run()
until_console(ec2, first, "tiny-cloud: finished")
text = console(ec2, first)
for line in ["without a token: wget: server returned error: HTTP/1.1 401", "role: witness", f'"instanceId": "{first}"', "outside: nc:"]:
    assert f"@@ {line}" in text or line in text, f"{line!r} is not in {text}"

# A reboot is a boot of the same instance, and user data is not run again.
ec2.reboot_instances(InstanceIds=[first])
until_console(ec2, first, "tiny-cloud: finished", 2)
assert console(ec2, first).count("@@ ready") == 1 and state(ec2, first) == "running"

# Its power button is pressed.
ec2.stop_instances(InstanceIds=[first])
until_state(ec2, first, "stopped", PATIENCE)
described = ec2.describe_instances(InstanceIds=[first])["Reservations"][0]["Instances"][0]
assert described["StateReason"]["Code"] == "Client.UserInitiatedShutdown", described["StateReason"]
assert "Power down" in console(ec2, first)

image = ec2.create_image(InstanceId=first, Name="machines-1")["ImageId"]
until(lambda: ec2.describe_images(ImageIds=[image])["Images"][0]["State"] == "available", "the image", PATIENCE)
snapshot = ec2.describe_images(ImageIds=[image])["Images"][0]["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]

# What the first writes from now on is not in the image. Two machines run, so the third has to wait.
ec2.start_instances(InstanceIds=[first])
inspector = run()
until_state(ec2, first, "running", PATIENCE)
until_state(ec2, inspector, "running", PATIENCE)
third = run(image)
until_console(ec2, inspector, "@@ ready")
assert state(ec2, third) == "pending", state(ec2, third)
volume = ec2.create_volume(AvailabilityZone="eu-central-1a", SnapshotId=snapshot)["VolumeId"]
until(lambda: ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available", "the volume")
ec2.attach_volume(VolumeId=volume, InstanceId=inspector, Device="/dev/sdf")
until_console(ec2, inspector, f"@@ volume {volume.replace('-', '')}: left by {first}")
ec2.detach_volume(VolumeId=volume)
until(lambda: ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available", "the volume is free", PATIENCE)
until_console(ec2, inspector, "@@ gone")

# A snapshot of a disk that is in use, and goes on being used.
root = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [inspector]}])["Volumes"][0]["VolumeId"]
live = ec2.create_snapshot(VolumeId=root)["SnapshotId"]
until(lambda: ec2.describe_snapshots(SnapshotIds=[live])["Snapshots"][0]["State"] == "completed", "the snapshot", PATIENCE)
ec2.delete_volume(VolumeId=volume)
second = ec2.create_volume(AvailabilityZone="eu-central-1a", SnapshotId=live)["VolumeId"]
until(lambda: ec2.describe_volumes(VolumeIds=[second])["Volumes"][0]["State"] == "available", "the volume")
ec2.attach_volume(VolumeId=second, InstanceId=inspector, Device="/dev/sdg")
until_console(ec2, inspector, f"@@ volume {second.replace('-', '')}: left by {inspector}")

assert "Formatting" not in console(ec2, inspector), "QEMU has written on the console"

ec2.terminate_instances(InstanceIds=[first, inspector])
until_state(ec2, inspector, "terminated", PATIENCE)
until_console(ec2, third, "@@ ready")
assert f"@@ mark: left by {first}" in console(ec2, third), console(ec2, third)
ec2.terminate_instances(InstanceIds=[third])
until_state(ec2, third, "terminated", PATIENCE)

until(lambda: ec2.describe_volumes(VolumeIds=[second])["Volumes"][0]["State"] == "available", "the volume is left")
ec2.delete_volume(VolumeId=second)
copy = ec2.copy_image(Name="machines-2", SourceImageId=image, SourceRegion="eu-central-1")["ImageId"]
ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
ec2.delete_snapshot(SnapshotId=live)
until(lambda: layers() == 1, "only what the copy stands on is kept")
until(lambda: ec2.describe_images(ImageIds=[copy])["Images"][0]["State"] == "available", "the copy", PATIENCE)
ec2.deregister_image(ImageId=copy, DeleteAssociatedSnapshots=True)
until(lambda: layers() == 0, "nothing is kept")
