"""Real guests that go wrong, and a host that does: every instance ends in a state that EC2 shows, and no call waits.

Files of this simulator cannot grow beyond a limit, which is what a full disk looks like."""

import os
import signal
import time
from pathlib import Path

from simulator import client, launch, state, until

MACHINES = Path(os.environ["MACHINES"])
PATIENCE = 240

# What the metadata service answers to what it is asked, one connection each.
QUESTIONS = r"""#!/bin/sh
exec >/dev/ttyS0
answer() { echo "@@ $1: $(nc -w 10 169.254.169.254 80 | head -n 1 | cut -c 1-40)"; }
printf 'GET /latest/meta-data/ HTTP/1.0\r\n\r\n' | answer none
printf 'PUT /latest/api/token HTTP/1.0\r\n\r\n' | answer lifetime
head -c 3000 /dev/urandom | answer garbage
(printf 'GET / HTTP/1.0\r\nX-Long: '; head -c 3000000 /dev/zero | tr '\0' a) | answer huge
mkfifo /run/silence
exec 3<>/run/silence
n=0
while [ $n -lt 300 ]; do nc 169.254.169.254 80 <&3 & n=$((n + 1)); done 2>/dev/null
echo '@@ idle'
sleep 2
exec yes "endless $(printf '\342\202\254')"
"""

ec2 = client(attempts=3)


def described(instance):
    return ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]


def console(instance):
    return ec2.get_console_output(InstanceId=instance, Latest=True).get("Output", "")


def until_console(instance, text):
    until(lambda: text in console(instance), f"{text!r} on the console of {instance}", PATIENCE)


def until_state(instance, wanted):
    until(lambda: state(ec2, instance) == wanted, f"{instance} {wanted}", PATIENCE)


def processes(program, of):
    """Those that this simulator has started for an instance."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if command.startswith(program) and f"{MACHINES}/{of}/" in command:
            found.append(int(process.name))
    return found


def qemu(instance):
    [process] = processes("qemu-system", instance)
    return process


def seconds_of_processor(process):
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# A disk of the host that takes no more: the machine ends, for nobody could believe what it has written.
full = launch(ec2, UserData="#!/bin/sh\ndd if=/dev/zero of=/full bs=1M count=24\nsync\npoweroff\n")
asked = launch(ec2, UserData=QUESTIONS)
until_state(full, "stopped")
reason = described(full)["StateReason"]
assert reason["Code"] == "Server.InternalError" and f"is {MACHINES} full?" in reason["Message"], reason
ec2.terminate_instances(InstanceIds=[full])

# A panic is on the console, and takes no processor from those who still live.
panicked = launch(ec2, UserData="#!/bin/sh\necho 1 >/proc/sys/kernel/sysrq\necho c >/proc/sysrq-trigger\n")
until_console(asked, "@@ idle")
text = console(asked)
for line in ["none: HTTP/1.0 401", "lifetime: HTTP/1.0 400", "garbage:", "huge:"]:
    assert f"@@ {line}" in text, text
assert "socat" not in text, text
connections = len(processes("socat", asked))
assert 0 < connections < 256, connections

until_console(panicked, "---[ end Kernel panic")
dead = qemu(panicked)


def idle(process):
    before = seconds_of_processor(process)
    time.sleep(0.5)
    return seconds_of_processor(process) - before < 0.03


until(lambda: idle(dead), "a machine whose kernel has panicked does nothing", PATIENCE)
assert state(ec2, panicked) == "running"

# Endless output leaves everything as quick as it was, and whole characters.
until(lambda: len(console(asked).encode()) > 65000, "the console is full", PATIENCE)
assert len(console(asked).encode()) <= 65536 and "\ufffd" not in console(asked)[3:]

# A machine that the host has lost.
os.kill(dead, signal.SIGKILL)
until_state(panicked, "stopped")
assert described(panicked)["StateReason"]["Code"] == "Server.InternalError", described(panicked)

# One that the host does not let go on: what it is told does not come back, and nobody waits for that.
volume = ec2.create_volume(AvailabilityZone="eu-central-1a", Size=1)["VolumeId"]
until(lambda: ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available", "the volume")
hung = qemu(asked)
os.kill(hung, signal.SIGSTOP)
ec2.attach_volume(VolumeId=volume, InstanceId=asked, Device="/dev/sdf")
until(lambda: ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Attachments"][0]["State"] == "attached", "attached")
assert "endless" in console(asked) and state(ec2, asked) == "running"
ec2.terminate_instances(InstanceIds=[asked])
until(lambda: state(ec2, asked) == "terminated", "a hung machine has ended", 20)
assert not processes("qemu-system", asked), "its process is there"
ec2.terminate_instances(InstanceIds=[panicked])
until_state(panicked, "terminated")
