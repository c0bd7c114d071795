//! The durable record of a build, kept in its ConfigMap `<recipe>-build-<number>`: inputs frozen when it began, what was sent to
//! its guests, the end of each step's output, and how it ended. Status may be lost; from the records it is made anew.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::inputs::Inputs;
use super::plan::Effect;
use crate::api::{BuildResult, ImageRecipeSpec, Reason};
use crate::world::{ImageId, LARGEST_NUMBER, Role};

/// One build.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildRecord {
    /// Written when it began.
    pub frozen: Frozen,
    /// Rewritten as it goes on.
    pub progress: Progress,
    /// User data of the present attempt's guests, so that a repeated launch is byte-identical even after an upgrade.
    pub user_data: BTreeMap<GuestKey, Vec<u8>>,
    /// The end of each step's output by a key such as `output.1-packages`; at most 4 KiB each.
    pub outputs: BTreeMap<String, String>,
}

/// Which guest of which attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestKey {
    /// 1 for the first.
    pub attempt: i64,
    /// Builder, test instance or inspector.
    pub role: Role,
}

/// What never changes once a build has begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Frozen {
    /// From 1; each build of a recipe has the next.
    pub number: i64,
    /// What made it due.
    pub reason: BuildReason,
    /// Inputs that differ from the build before.
    pub changed: Vec<String>,
    /// Digest of each, by name.
    pub inputs: Inputs,
    /// Over all inputs: 64 hexadecimal digits.
    pub content_hash: String,
    /// Over the settings under which the image is proven: 16 hexadecimal digits.
    pub test_hash: String,
    /// Rendered from `spec.image.name`, or that of the existing image.
    pub image_name: String,
    /// When the build was decided on.
    pub start_time: Timestamp,
    /// Generation of the recipe then: once the spec has changed, a build that failed is tried anew.
    pub generation: i64,
    /// The recipe's, as it was then.
    pub spec: ImageRecipeSpec,
    /// What the builder boots from.
    pub source: FrozenSource,
    /// The request (token of the annotation `goldsmith.dev/build`) that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The request that was answered last before it, by whichever build: the record of that one may be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<String>,
    /// Which seal key it began with, see [`SealKeys::led_by`](super::seal::SealKeys::led_by); empty in records of before there was this.
    #[serde(default)]
    pub key: String,
    /// An image that is there already and only has to be proved again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_image: Option<ExistingImage>,
}

impl Frozen {
    /// The request that was answered last, by this build or before it.
    pub fn last_answered(&self) -> Option<&String> {
        self.request.as_ref().or(self.answered.as_ref())
    }
}

/// An image whose verdict was sealed when the build began, and what the sealed tags said of its making.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExistingImage {
    /// It may be gone since.
    pub id: ImageId,
    /// Number of the build that made it.
    pub build: i64,
    /// Attempt of that build.
    pub attempt: i64,
}

/// The source image, as it was when the build began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrozenSource {
    /// It may be gone since.
    pub image_id: ImageId,
    /// When it was made: the inspector reads contents of files that changed later.
    pub creation_time: Timestamp,
}

/// Why a build began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BuildReason {
    /// There is no record of an earlier one.
    FirstBuild,
    /// The spec asks for other inputs than those of the build before, or for the same after that has failed.
    SpecChanged,
    /// The same search finds another image; nothing else differs from the build before.
    SourceChanged,
    /// The annotation `goldsmith.dev/build` asked for it.
    Requested,
    /// The image is there, proven under other test settings.
    TestChanged,
    /// The proven image of these inputs is gone.
    ImageGone,
}

impl BuildReason {
    const ALL: [Self; 6] = [
        Self::FirstBuild,
        Self::SpecChanged,
        Self::SourceChanged,
        Self::Requested,
        Self::TestChanged,
        Self::ImageGone,
    ];

    /// What is written in a status.
    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// As it is written in status and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FirstBuild => "FirstBuild",
            Self::SpecChanged => "SpecChanged",
            Self::SourceChanged => "SourceChanged",
            Self::Requested => "Requested",
            Self::TestChanged => "TestChanged",
            Self::ImageGone => "ImageGone",
        }
    }
}

/// What changes while a build runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Attempt that was last begun; 0 before the first.
    pub attempt: i64,
    /// How that attempt failed, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedAttempt>,
    /// How far the proof of that attempt's image is.
    #[serde(skip_serializing_if = "Proof::is_empty")]
    pub proof: Proof,
    /// Keys of the spec's tags that were put on the image, so that one that leaves the spec leaves the image too.
    pub tag_keys: Vec<String>,
    /// None while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// An attempt that has failed. Kept before anything of it is removed, since what is left afterwards tells another story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedAttempt {
    /// 1 for the first.
    pub attempt: i64,
    /// When it was decided that it had failed.
    pub time: Timestamp,
    /// Why.
    pub failure: Failure,
}

/// What the proof of an image has shown so far. Kept here and not in status alone: an image is sealed for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Proof {
    /// The image that it is about: of no other is any of it believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageId>,
    /// The test instance has passed, in this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_milliseconds: Option<i64>,
    /// The inspector has passed.
    pub inspected: bool,
    /// The files that steps have laid, as the manifest on the image tells them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub laid_files: Vec<String>,
    /// The same after the first boot.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub booted_files: Vec<String>,
    /// What was found and let pass, at most 20.
    pub warnings: Vec<String>,
}

impl Proof {
    /// Most warnings that are kept.
    const WARNINGS: usize = 20;

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is known of `image`.
    pub fn of(&self, image: &ImageId) -> Self {
        match self.image.as_ref() == Some(image) {
            true => self.clone(),
            false => Self {
                image: Some(image.clone()),
                ..Self::default()
            },
        }
    }

    /// Remembers what was found and let pass.
    pub fn warn(&mut self, warning: &str) {
        let warning = super::bounded(warning);
        if !self.warnings.contains(&warning) && self.warnings.len() < Self::WARNINGS {
            self.warnings.push(warning);
        }
    }
}

impl Progress {
    /// Of a new attempt nothing is known yet.
    pub fn begin_attempt(&mut self, attempt: i64) {
        if attempt > self.attempt {
            self.attempt = attempt;
            self.failed = None;
            self.proof = Proof::default();
        }
    }
}

/// How a build ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Well or badly.
    pub result: BuildResult,
    /// When that was decided.
    pub time: Timestamp,
    /// How many were begun.
    pub attempts: i64,
    /// What it has made or proved again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageId>,
    /// Of a failure: a condition's reason and message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Why an attempt failed, as a condition says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// One word, as in a condition.
    pub reason: Reason,
    /// For people: what, where and the way out.
    pub message: String,
}

impl Failure {
    /// `message` is shortened to 2,048 bytes.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: super::bounded(&message.into()),
        }
    }
}

impl BuildRecord {
    /// Of the build, from 1.
    pub fn number(&self) -> i64 {
        self.frozen.number
    }

    /// Whether it has not ended.
    pub fn is_active(&self) -> bool {
        self.progress.outcome.is_none()
    }

    /// How it ended, if it has ended so.
    pub fn ended(&self, result: BuildResult) -> Option<&Outcome> {
        self.progress
            .outcome
            .as_ref()
            .filter(|outcome| outcome.result == result)
    }

    /// Carries out what `effect` changes of it. False when the record is past that: whoever decided on it knew an older one.
    pub fn apply(&mut self, effect: &Effect) -> bool {
        match effect {
            Effect::KeepUserData { guest, user_data, .. } => {
                if !self.is_active() || guest.attempt < self.progress.attempt {
                    return false;
                }
                self.progress.begin_attempt(guest.attempt);
                self.user_data.retain(|kept, _| kept.attempt == guest.attempt);
                self.user_data.insert(*guest, user_data.clone());
            }
            Effect::KeepOutput { key, text, .. } => {
                self.outputs.insert(key.clone(), text.clone());
            }
            Effect::KeepProof { attempt, proof, .. } => {
                if !self.is_active() || *attempt < self.progress.attempt {
                    return false;
                }
                self.progress.begin_attempt(*attempt);
                self.progress.proof.clone_from(proof);
            }
            Effect::KeepFailure { failed, .. } => {
                if !self.is_active() || failed.attempt < self.progress.attempt {
                    return false;
                }
                self.progress.begin_attempt(failed.attempt);
                self.progress.failed = Some(failed.clone());
            }
            Effect::KeepTagKeys { keys, .. } => self.progress.tag_keys.clone_from(keys),
            Effect::EndBuild { outcome, .. } => {
                if !self.is_active() {
                    return false;
                }
                self.progress.outcome = Some(outcome.clone());
                // Nothing is launched for it any more.
                self.user_data.clear();
            }
            _ => {}
        }
        true
    }

    /// Name of the ConfigMap of a build's record.
    pub fn config_map_name(recipe: &str, number: i64) -> String {
        format!("{recipe}-build-{number}")
    }

    /// The number in the name of a ConfigMap, if it is that of a record of `recipe`.
    pub fn number_in(config_map_name: &str, recipe: &str) -> Option<i64> {
        let number = config_map_name
            .strip_prefix(recipe)?
            .strip_prefix("-build-")?
            .parse()
            .ok()?;
        (Self::config_map_name(recipe, number) == config_map_name && (1..=LARGEST_NUMBER).contains(&number))
            .then_some(number)
    }
}
