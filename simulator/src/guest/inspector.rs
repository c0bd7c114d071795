//! The inspector: waits for a volume and reads it.

use std::time::Duration;

use jiff::Timestamp;

use super::console::word;
use super::rules;
use super::timeline::Timeline;
use super::user_data::Script;
use crate::disk::{Disk, Layout};

/// Mounting, and looking through a small root volume.
const READ_SECONDS: f64 = 2.0;

/// Comes up and waits until it is ended.
pub(super) fn wait(timeline: &mut Timeline<'_>, script: &Script) {
    timeline.speak_as(script.text("NONCE"));
    timeline.record("up");
}

/// Reads the volumes that have appeared, once they are as many as it was told.
pub(super) fn inspect(timeline: &mut Timeline<'_>, script: &Script, volumes: &[&Disk]) {
    if (volumes.len() as u64) < script.number("DISKS") {
        return;
    }
    timeline.speak_as(script.text("NONCE"));
    timeline.recorded_earlier("up");
    timeline.pass_scaled(READ_SECONDS);
    match obstacle(volumes) {
        Some(obstacle) => timeline.record(&format!("unsupported {}", word(obstacle))),
        None => report(timeline, script, volumes),
    }
    timeline.record("inspected");
    timeline.repeat(6, Duration::from_secs(5));
}

fn has_root(volume: &Disk) -> bool {
    volume.files.keys().any(|path| path.starts_with("/etc/"))
}

fn obstacle(volumes: &[&Disk]) -> Option<&'static str> {
    let of_one = volumes.iter().find_map(|volume| match volume.layout {
        Layout::Lvm => Some("LVM"),
        Layout::Luks => Some("LUKS"),
        Layout::Ext4 | Layout::Xfs => None,
    });
    of_one.or_else(|| match volumes.iter().filter(|volume| has_root(volume)).count() {
        0 => Some("no ext4 or xfs filesystem with an /etc"),
        1 => None,
        _ => Some("several root filesystems"),
    })
}

fn report(timeline: &mut Timeline<'_>, script: &Script, volumes: &[&Disk]) {
    let created = i64::try_from(script.number("SOURCE_CREATED")).unwrap_or(i64::MAX);
    let changed_after = Timestamp::from_second(created).unwrap_or(Timestamp::MAX);
    let mut secrets = Vec::new();
    let mut traces = Vec::new();
    for volume in volumes {
        let place = if has_root(volume) { "" } else { "further volume:" };
        if let Some(manifest) = volume.files.get("/etc/goldsmith/image.json") {
            timeline.record(&format!("manifest {}", word(&manifest.content)));
        }
        for (found, all) in [
            (rules::secrets(script, volume, changed_after), &mut secrets),
            (rules::named(script, "TRACES", volume), &mut traces),
        ] {
            all.extend(found.into_iter().map(|(item, path)| (item, format!("{place}{path}"))));
        }
    }
    if let Some(wrong) = rules::unknown(script) {
        timeline.record(&format!("failed {}", word(&wrong)));
    }
    for (item, path) in rules::first(secrets).chain(rules::first(traces)) {
        timeline.record(&format!("finding {item} {}", word(&path)));
    }
}
