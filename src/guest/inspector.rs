//! The inspector: boots from a trusted image and reads a volume made from the finished snapshot.

use std::time::Duration;

use jiff::Timestamp;

use super::user_data::Script;
use super::{Finding, Manifest, Record, Role, Unrenderable, UserData, rules};
use crate::api::Cleanup;

/// What an inspector is told. What it finds is judged by the controller, so it knows nothing of what is expected.
pub struct InspectorGuest<'a> {
    /// Marks the guest's records on its console, see [`nonce`](super::nonce()): 32 hexadecimal digits.
    pub nonce: &'a str,
    /// When the source image was made: contents are read of files that changed later.
    pub source_created: Timestamp,
    /// What the recipe adds to the rules.
    pub cleanup: &'a Cleanup,
    /// Disks that it is to wait for: one for each snapshot of the image.
    pub disks: usize,
    /// Of the power-off timer, which the inspector starts before anything else.
    pub lifetime: Duration,
}

impl InspectorGuest<'_> {
    /// The user data; equal input gives equal bytes.
    pub fn render(&self) -> Result<UserData, Unrenderable> {
        let mut script = Script::new(
            Role::Inspector,
            self.nonce,
            self.lifetime,
            &[include_str!("script/search.sh"), include_str!("script/inspector.sh")],
        );
        rules::write(&mut script, self.cleanup);
        script.number("DISKS", self.disks as u64);
        // Before 1970 there were no images.
        script.number(
            "SOURCE_CREATED",
            u64::try_from(self.source_created.as_second()).unwrap_or(0),
        );
        script.finish(std::iter::once(rules::added(self.cleanup)))
    }
}

/// What an inspector has said so far on its console.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InspectorReport {
    /// It is ready for the volume to be attached; never attach before.
    pub up: bool,
    /// `/etc/goldsmith/image.json`, if the volume has one that can be read.
    pub manifest: Option<Manifest>,
    /// At most 50 secrets, then at most 50 traces.
    pub findings: Vec<Finding>,
    /// What keeps it from reading a volume, by name: `LVM`, `swap`, `an unknown filesystem on a further volume`, ...
    pub unsupported: Option<String>,
    /// Everything has been looked at.
    pub done: bool,
    /// Why the inspector could not do its work.
    pub failure: Option<String>,
}

impl InspectorReport {
    /// Sums up the records of an inspector.
    pub fn new(records: &[Record]) -> Self {
        let mut report = Self::default();
        for record in records {
            match record {
                Record::Up => report.up = true,
                Record::Manifest { text } => report.manifest = serde_json::from_str(text).ok(),
                Record::Finding(finding) => report.findings.push(finding.clone()),
                Record::Unsupported { what } => report.unsupported = Some(what.clone()),
                Record::Inspected => report.done = true,
                Record::Failed { message } => report.failure = Some(message.clone()),
                _ => {}
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_manifest_says_is_shown_as_it_is() {
        let text = r#"{"recipe": "a\u001b[2Jb\u202e", "build": 1, "attempt": 1, "contentHash": "\u0007c", "steps": [],
            "findings": [{"item": "Logs", "path": "/var/log/\u2066x"}]}"#;
        let report = InspectorReport::new(&[Record::Manifest { text: text.into() }]);
        let manifest = report.manifest.unwrap();
        assert_eq!((manifest.recipe.as_str(), manifest.content_hash.as_str()), ("ab", "c"));
        assert_eq!(manifest.findings[0].path, "/var/log/x");
    }
}
