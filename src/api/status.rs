//! What the controller says of an `ImageRecipe`. Every list but `conditions` is atomic.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Architecture;

/// What is known of an `ImageRecipe`.
// What cannot be read of it is read as an empty status, with `unreadable`: others may write status too, a newer version of the controller among
// them, and one object that does not parse would keep every other from being listed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct ImageRecipeStatus {
    /// Why the status that the API server has makes no sense; never written.
    #[serde(skip)]
    #[schemars(skip)]
    pub unreadable: Option<String>,
    /// Generation of the spec that this status is about; -1 before the controller has seen the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled` by kstatus' rules, and `SourceResolved`.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The source image as last resolved, by architecture.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub source: BTreeMap<String, SourceStatus>,
    /// Hash of everything that shapes the image, of the present inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// The build in hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildStatus>,
    /// The proven image of the present inputs; while another is being made, the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<LatestStatus>,
    /// Since when EC2 has not shown the image that was made of the present inputs, or not as a finished one; absent while it does. After a
    /// minute it counts as gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_missing_time: Option<Time>,
    /// Ended builds, newest first.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
    /// Token of each verb (annotation) that has been carried out, by the verb's name: `build`, `reconcile`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub handled_requests: BTreeMap<String, String>,
}

impl Serialize for ImageRecipeStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for ImageRecipeStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self::deserialize(value).unwrap_or_else(|error| Self {
            unreadable: Some(error.to_string()),
            ..Self::default()
        }))
    }
}

/// A resolved source image.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceStatus {
    /// Id of the image.
    pub image_id: String,
    /// Name of the image.
    pub name: String,
    /// Id of the account that owns it.
    pub owner_id: String,
    /// When it was made, as EC2 says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_time: Option<Time>,
}

/// The build in hand: a set of frozen inputs, and how far its attempt is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildStatus {
    /// Counts the builds of this recipe from 1; a number is used once.
    pub number: i64,
    /// Why it began: `FirstBuild`, `SpecChanged`, `SourceChanged`, `Requested`, `TestChanged`, `ImageGone`.
    pub reason: String,
    /// Which inputs differ from the build before, for example `step packages` or `source`.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Hash of everything that shapes the image, of the inputs that this build was frozen with.
    pub content_hash: String,
    /// Name of the image, rendered once.
    pub name: String,
    /// When the build began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// 1 for the first.
    pub attempt: i64,
    /// How the last attempt ended, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<AttemptFailure>,
    /// One entry an architecture.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<ArchitectureStatus>,
}

/// A failed attempt of a build.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct AttemptFailure {
    /// Number of the attempt.
    pub attempt: i64,
    /// For example `StepFailed`, `BuildTimedOut`, `SecretFound`, `CheckFailed`.
    pub reason: String,
    /// With the failed step and the end of its output, at most 2 KiB.
    pub message: String,
    /// When it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// When the next attempt may begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_time: Option<Time>,
}

/// How far the image of one architecture is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ArchitectureStatus {
    /// The architecture of the image.
    pub architecture: Architecture,
    /// How far it is.
    pub phase: Phase,
    /// The step that runs, or that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Id of the image, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// When the builder was first seen stopped with its work unfinished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_time: Option<Time>,
    /// When the image was last asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_time: Option<Time>,
    /// Since when EC2 has refused the image's name as taken, and shown no image that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_taken_time: Option<Time>,
    /// Since when EC2 has not shown the image any more; absent while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_missing_time: Option<Time>,
    /// The builder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<LaunchStatus>,
    /// The test instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<LaunchStatus>,
    /// The inspector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inspector: Option<LaunchStatus>,
    /// The volumes made from the image's snapshots, for the inspector to read.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// When the last of them was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_time: Option<Time>,
    /// Launch call of the test instance to the first moment at which every check had passed, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_milliseconds: Option<i64>,
    /// True once the inspector has found nothing wrong with the snapshot.
    #[serde(default)]
    pub inspected: bool,
    /// What the proof found and let pass: skipped cleanup, boot errors and changed files under `Warn`. At most 20.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl ArchitectureStatus {
    /// The instances that were asked for.
    pub fn launches(&self) -> impl Iterator<Item = &LaunchStatus> {
        [&self.instance, &self.test, &self.inspector].into_iter().flatten()
    }

    /// Adds a volume that was made for the inspector, once.
    pub fn remember_volume(&mut self, id: &str) {
        if !self.volumes.iter().any(|known| known == id) {
            self.volumes.push(id.to_owned());
        }
    }

    /// An attempt of which nothing is known yet.
    pub fn new(architecture: Architecture) -> Self {
        Self {
            architecture,
            phase: Phase::default(),
            step: None,
            image: None,
            stopped_time: None,
            image_time: None,
            name_taken_time: None,
            image_missing_time: None,
            instance: None,
            test: None,
            inspector: None,
            volumes: Vec::new(),
            volume_time: None,
            boot_milliseconds: None,
            inspected: false,
            warnings: Vec::new(),
        }
    }
}

/// An instance as it was asked for, written before the call that launches it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct LaunchStatus {
    /// Known once EC2 has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Counts through instance types and subnets; a full round without capacity is followed by a wait and another round.
    pub candidate: i64,
    /// Instance type that was asked for.
    pub instance_type: String,
    /// Id of the subnet that was asked for.
    pub subnet: String,
    /// EC2's code for why it has refused the launch before this one, for example `InsufficientInstanceCapacity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// When the launch was first asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_time: Option<Time>,
    /// When EC2 has refused it, if it has: then no instance will show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_time: Option<Time>,
    /// Since when EC2 has not shown the instance any more; absent while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_time: Option<Time>,
}

/// Where one architecture of a build stands.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The builder is launched.
    #[default]
    Launching,
    /// The builder runs the steps and cleans up.
    Building,
    /// The image is created from the stopped builder.
    Imaging,
    /// The test instance and the inspector are at work.
    Proving,
    /// Proven; protection is put on and everything temporary is removed.
    Finishing,
    /// The attempt has failed; what it left is removed.
    CleaningUp,
}

/// The proven image of the present inputs; while another is being made, the one before.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct LatestStatus {
    /// Number of the build that made it.
    pub build: i64,
    /// Name of the image.
    pub name: String,
    /// Image id by region, then by architecture.
    pub images: BTreeMap<String, BTreeMap<String, String>>,
    /// Launch call to the first moment at which every check had passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_milliseconds: Option<i64>,
    /// When it was proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proven_time: Option<Time>,
    /// Cleanup that the recipe chose to skip, so that its traces are in the image.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cleanup_skipped: Vec<String>,
}

impl LatestStatus {
    /// Id of the image: there is one architecture and one region.
    pub fn image_id(&self) -> Option<&str> {
        let mut images = self.images.values().flat_map(|images| images.values());
        images.next().map(String::as_str)
    }
}

/// A build that has ended.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Number of the build.
    pub build: i64,
    /// How it ended.
    pub result: BuildResult,
    /// Why it began.
    pub reason: String,
    /// Which inputs differed from the build before, or from an older one whose image had been adopted since.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Hash of everything that shaped the image.
    pub content_hash: String,
    /// Name of the image.
    pub name: String,
    /// Image id by region, then by architecture, where there is one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, BTreeMap<String, String>>,
    /// Attempts that it took.
    pub attempts: i64,
    /// When the build began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
    /// What a person should know of its end: why it failed, or what the proof found and let pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a build ended.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BuildResult {
    /// Built, and proven where the test is enabled.
    Succeeded,
    /// Its attempts are used up.
    Failed,
    /// Its inputs changed before it ended.
    Superseded,
}

impl fmt::Display for BuildResult {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Superseded => "Superseded",
        })
    }
}
