//! The manifest that a builder writes to the disk it makes.

use serde::{Deserialize, Deserializer};

/// `/etc/goldsmith/image.json`. Written as the last thing before power-off, so its presence says that the build came to its end.
/// People find there, too, which cleanup the recipe chose to skip.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// `namespace/name`.
    #[serde(deserialize_with = "harmless")]
    pub recipe: String,
    /// Number of the build.
    pub build: i64,
    /// Attempt of the build that the disk was made in.
    pub attempt: i64,
    /// Over everything that shaped the image.
    #[serde(deserialize_with = "harmless")]
    pub content_hash: String,
    /// Every step that was run, in order.
    pub steps: Vec<ManifestStep>,
    /// What each file is like that a step has laid, in their order: `<16 digits of its SHA-256>:<mode>:<uid>:<gid>`, or `missing`.
    #[serde(default)]
    pub files: Vec<String>,
    /// What the search for secrets found on the builder.
    pub findings: Vec<super::Finding>,
}

/// JSON can spell any character, and the builder's steps can write any manifest.
pub(super) fn harmless<'de, D: Deserializer<'de>>(text: D) -> Result<String, D::Error> {
    String::deserialize(text).map(|text| super::console::harmless(&text))
}

/// One step's result.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ManifestStep {
    /// As the recipe names it.
    #[serde(deserialize_with = "harmless")]
    pub name: String,
    /// After its last try.
    pub result: StepResult,
    /// How often it was run, at least once.
    pub tries: u32,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepResult {
    /// Exit status 0.
    Succeeded,
    /// Any other exit status, in the last try.
    Failed,
    /// The last try was ended by the step's timeout.
    TimedOut,
}
