"""Real guests that go wrong, and a host that does: every instance ends in a state that EC2 shows, and no call waits.

Files of this simulator cannot grow beyond a limit, which is what a full disk looks like."""

import os
import signal
import time
from pathlib import Path

from simulator import PATIENCE, client, console, launch, state, until, until_console, until_state

MACHINES = Path(os.environ["MACHINES"])

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

PANIC = "#!/bin/sh\nsync\necho 1 >/proc/sys/kernel/sysrq\necho c >/proc/sysrq-trigger\n"

ec2 = client(attempts=3)


def described(instance):
    return ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]


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


def idle(process):
    """Whether none of its threads runs or wants to, however often one looks."""
    for _ in range(20):
        for thread in Path(f"/proc/{process}/task").glob("*/stat"):
            try:
                state_of_thread = thread.read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                # It has ended meanwhile.
                continue
            if state_of_thread == "R":
                return False
        time.sleep(0.02)
    return True


# A disk of the host that takes no more: the machine ends, for nobody could believe what it has written.
full = launch(ec2, UserData="#!/bin/sh\ndd if=/dev/zero of=/full bs=1M count=24\nsync\npoweroff\n")
asked = launch(ec2, UserData=QUESTIONS)
until_state(ec2, full, "stopped", PATIENCE)
reason = described(full)["StateReason"]
assert reason["Code"] == "Server.InternalError" and f"is {MACHINES} full?" in reason["Message"], reason
ec2.terminate_instances(InstanceIds=[full])

# A panic is on the console, takes no processor from those who still live, and is over with a reboot.
panicked = launch(ec2, UserData=PANIC)
until_console(ec2, asked, "@@ idle")
text = console(ec2, asked)
for line in ["none: HTTP/1.0 401", "lifetime: HTTP/1.0 400", "garbage:", "huge:"]:
    assert f"@@ {line}" in text, text
assert "socat" not in text, text
connections = len(processes("socat", asked))
# Beside those that are open, some that are ending.
assert 0 < connections < 128, connections
until(lambda: not processes("socat", asked), "no connection is held for ever", PATIENCE)

until_console(ec2, panicked, "---[ end Kernel panic")
dead = qemu(panicked)
until(lambda: idle(dead), "a machine whose kernel has panicked does nothing", PATIENCE)
assert state(ec2, panicked) == "running"
assert "tiny-cloud: finished" not in console(ec2, panicked)
ec2.reboot_instances(InstanceIds=[panicked])
until_console(ec2, panicked, "tiny-cloud: finished")
assert state(ec2, panicked) == "running" and qemu(panicked) == dead

# Endless output leaves everything as quick as it was, and whole characters.
until(lambda: len(console(ec2, asked).encode()) > 65000, "the console is full", PATIENCE)
assert len(console(ec2, asked).encode()) <= 65536 and "\ufffd" not in console(ec2, asked)[3:]

# A machine that the host has lost.
os.kill(dead, signal.SIGKILL)
until_state(ec2, panicked, "stopped", PATIENCE)
assert described(panicked)["StateReason"]["Code"] == "Server.InternalError", described(panicked)

# One that the host does not let go on: what it is told does not come back, and nobody waits for that.
volume = ec2.create_volume(AvailabilityZone="eu-central-1a", Size=1)["VolumeId"]
until(lambda: ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available", "the volume")
hung = qemu(asked)
os.kill(hung, signal.SIGSTOP)
ec2.attach_volume(VolumeId=volume, InstanceId=asked, Device="/dev/sdf")
until(lambda: ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Attachments"][0]["State"] == "attached", "attached")
assert "endless" in console(ec2, asked) and state(ec2, asked) == "running"
ec2.terminate_instances(InstanceIds=[asked])
until(lambda: state(ec2, asked) == "terminated", "a hung machine has ended", 20)
assert not processes("qemu-system", asked), "its process is there"
ec2.terminate_instances(InstanceIds=[panicked])
until_state(ec2, panicked, "terminated", PATIENCE)
