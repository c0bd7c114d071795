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

/// Reads a volume that has just appeared.
pub(super) fn inspect(timeline: &mut Timeline<'_>, script: &Script, volume: &Disk) {
    timeline.speak_as(script.text("NONCE"));
    timeline.recorded_earlier("up");
    timeline.pass_scaled(READ_SECONDS);
    match obstacle(volume) {
        Some(obstacle) => timeline.record(&format!("unsupported {}", word(obstacle))),
        None => report(timeline, script, volume),
    }
    timeline.record("inspected");
    timeline.repeat(6, Duration::from_secs(5));
}

fn obstacle(volume: &Disk) -> Option<&'static str> {
    match volume.layout {
        Layout::Lvm => Some("LVM"),
        Layout::Luks => Some("LUKS"),
        Layout::Ext4 | Layout::Xfs if !volume.files.keys().any(|path| path.starts_with("/etc/")) => {
            Some("no ext4 or xfs filesystem with an /etc")
        }
        Layout::Ext4 | Layout::Xfs => None,
    }
}

fn report(timeline: &mut Timeline<'_>, script: &Script, volume: &Disk) {
    if let Some(manifest) = volume.files.get("/etc/goldsmith/image.json") {
        timeline.record(&format!("manifest {}", word(&manifest.content)));
    }
    let created = i64::try_from(script.number("SOURCE_CREATED")).unwrap_or(i64::MAX);
    let changed_after = Timestamp::from_second(created).unwrap_or(Timestamp::MAX);
    let found = rules::named(script, "TRACES", volume)
        .into_iter()
        .chain(rules::secrets(script, volume, changed_after));
    for (item, path) in found.take(50) {
        timeline.record(&format!("finding {item} {}", word(&path)));
    }
}
