//! What every Linux does when it boots.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Boot;
use super::instruction::{BOOT_FILE, Instruction, in_line};
use super::timeline::Timeline;
use crate::disk::File;

/// From running to the end of cloud-init.
const BOOT_SECONDS: f64 = 12.0;

/// How long this instance takes until user data runs.
pub(super) fn boot_time(boot: &Boot<'_>, outside: &[Instruction]) -> Duration {
    let image = of_image(boot);
    let slower = outside.iter().chain(&image).map(|instruction| match instruction {
        Instruction::SlowBoot(duration) => *duration,
        _ => Duration::ZERO,
    });
    slower.sum::<Duration>() + Duration::try_from_secs_f64(BOOT_SECONDS * boot.scale).unwrap_or_default()
}

/// What the steps that made the image said about its boots.
pub(super) fn of_image(boot: &Boot<'_>) -> Vec<Instruction> {
    let file = boot.root.files.get(BOOT_FILE);
    file.into_iter()
        .flat_map(|file| file.content.lines())
        .flat_map(|line| in_line(line).unwrap_or_default())
        .collect()
}

/// Kernel, services and cloud-init; makes what a first boot makes.
pub(super) fn boot(timeline: &mut Timeline<'_>, outside: &[Instruction]) {
    let boot = timeline.boot();
    timeline.console("Linux version 6.1.0 (simulator)");
    timeline.pass(boot_time(boot, outside));
    for instruction in outside {
        if let Instruction::Print(text) = instruction {
            timeline.console(text);
        }
    }
    timeline.obey_console(outside);
    if outside.contains(&Instruction::Hang) {
        timeline.wait_for_timer();
    }
    make_identity(timeline);
    if boot.first_boot {
        for instruction in outside.iter().chain(&of_image(boot)) {
            if let Instruction::BootWrite { path, content } = instruction {
                timeline.write(path, 0o644, content);
            }
        }
        let id = boot.instance_id;
        timeline.write("/var/lib/cloud/data/instance-id", 0o644, &format!("{id}\n"));
        timeline.write(
            &format!("/var/lib/cloud/instances/{id}/boot-finished"),
            0o644,
            "finished\n",
        );
        timeline.write("/var/log/cloud-init.log", 0o640, "cloud-init: modules:final\n");
        timeline.write("/var/log/cloud-init-output.log", 0o640, "Cloud-init finished\n");
    }
    timeline.write("/var/log/messages", 0o600, "systemd: Startup finished\n");
    timeline.console("cloud-init: Cloud-init finished");
    timeline.raw(format!("\r\nLinux on an x86_64\r\n\r\n{} login: ", boot.instance_id));
}

/// Down and up again; user data is not run anew.
pub(super) fn reboot(timeline: &mut Timeline<'_>) {
    timeline.console("reboot: Restarting system");
    timeline.console("Linux version 6.1.0 (simulator)");
    timeline.pass(boot_time(timeline.boot(), &[]));
}

/// What a guest tells of a file that a step has laid; all are root's.
pub(super) fn fingerprint(file: Option<&File>) -> String {
    file.map_or_else(
        || "missing".to_owned(),
        |file| {
            let digest = Sha256::digest(file.content.as_bytes());
            let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            format!("{digits}:{:o}:0:0", file.mode)
        },
    )
}

/// Host keys and machine id, where there are none.
fn make_identity(timeline: &mut Timeline<'_>) {
    let digits = timeline.boot().instance_id.trim_start_matches("i-").to_owned();
    let missing = |timeline: &Timeline<'_>, path: &str| {
        timeline
            .files()
            .get(path)
            .is_none_or(|file| file.content.is_empty() || file.content.starts_with("uninitialized"))
    };
    if missing(timeline, "/etc/machine-id") {
        timeline.write("/etc/machine-id", 0o444, &format!("{digits:0>32}\n"));
    }
    if missing(timeline, "/etc/ssh/ssh_host_ed25519_key") {
        let key = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{digits}\n-----END OPENSSH PRIVATE KEY-----\n");
        timeline.write("/etc/ssh/ssh_host_ed25519_key", 0o600, &key);
        timeline.write(
            "/etc/ssh/ssh_host_ed25519_key.pub",
            0o644,
            &format!("ssh-ed25519 {digits}\n"),
        );
    }
}
