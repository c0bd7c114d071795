//! What a pass is about to do, as a value: carried out, printed by `goldsmith plan`, asserted in tests, written to Events.

use std::time::Duration;

use jiff::Timestamp;

use super::record::{BuildRecord, FailedAttempt, Failure, GuestKey, Outcome, Proof};
use crate::api::{BuildStatus, LatestStatus, Readiness, SourceStatus, Volume as VolumeSettings};
use crate::world::{ImageId, InstanceId, Role, SnapshotId, Tags, VolumeId};

/// The decision of one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Carried out in order.
    pub effects: Vec<Effect>,
    /// Status as it is to be, written before the first effect that creates something, and completed by what the effects return.
    pub draft: Draft,
    /// Told to people once the effects have been carried out.
    pub notes: Vec<Note>,
    /// When to look again, should nothing be heard before.
    pub look_again: Duration,
}

/// The part of status that a decision makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub readiness: Readiness,
    /// The source image, or why there is none that can be built on.
    pub source: Result<SourceStatus, Failure>,
    pub content_hash: Option<String>,
    pub build: Option<BuildStatus>,
    pub latest: Option<LatestStatus>,
    /// Since when EC2 has not shown the image of the present inputs.
    pub image_missing_since: Option<Timestamp>,
}

/// An Event in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub warning: bool,
    pub reason: &'static str,
    pub text: String,
}

/// One change of the world. Each is idempotent, by token, by name or by nature.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Writes the record of a new build.
    BeginBuild(Box<BuildRecord>),
    /// Keeps what a guest is sent, before it is launched.
    KeepUserData {
        build: i64,
        guest: GuestKey,
        user_data: Vec<u8>,
    },
    /// Keeps the end of a step's output.
    KeepOutput {
        build: i64,
        key: String,
        text: String,
    },
    /// Keeps how far the proof is, before anything is sealed on it.
    KeepProof {
        build: i64,
        attempt: i64,
        proof: Proof,
    },
    /// Keeps why an attempt failed, before its leftovers are removed.
    KeepFailure {
        build: i64,
        failed: FailedAttempt,
    },
    /// Remembers which of the spec's tags the image carries.
    KeepTagKeys {
        build: i64,
        keys: Vec<String>,
    },
    EndBuild {
        build: i64,
        outcome: Outcome,
    },
    /// Seals a record with the first key, in place of one that is on its way out.
    SealRecord {
        build: i64,
    },
    /// Deletes a record: that of an ended build past `historyLimit`, or all of them before the object goes.
    ForgetRecord {
        config_map: String,
    },
    Launch(Box<Launch>),
    CreateImage {
        instance: InstanceId,
        name: String,
        description: Option<String>,
        tags: Tags,
    },
    /// A volume from the image's snapshot, for the inspector.
    CreateVolume {
        token: String,
        snapshot: SnapshotId,
        availability_zone: String,
        tags: Tags,
    },
    AttachVolume {
        volume: VolumeId,
        instance: InstanceId,
        device: String,
    },
    /// So that the attached volume ends with its instance, whatever becomes of us.
    DeleteWithInstance {
        instance: InstanceId,
        device: String,
    },
    RequireImdsV2 {
        image: ImageId,
    },
    SetDescription {
        image: ImageId,
        description: String,
    },
    Tag {
        resources: Vec<String>,
        tags: Tags,
    },
    Untag {
        resources: Vec<String>,
        keys: Vec<String>,
    },
    /// Deregistration protection with cooldown.
    Protect {
        image: ImageId,
    },
    Remove(Removal),
    /// Nothing is left: the object may go.
    RemoveFinalizer,
}

/// What is taken away for good. Each stands on nothing else, and what is gone already is removed.
#[derive(Clone, Debug, PartialEq)]
pub enum Removal {
    /// Terminates an instance.
    Instance(InstanceId),
    /// Deletes a volume.
    Volume(VolumeId),
    /// Deregisters an image and deletes its snapshots.
    Image(ImageId),
    /// Deletes a snapshot.
    Snapshot(SnapshotId),
}

impl std::fmt::Display for Removal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Instance(id) => write!(f, "terminate {id}"),
            Self::Volume(id) => write!(f, "delete {id}"),
            Self::Image(id) => write!(f, "deregister {id} and delete its snapshots"),
            Self::Snapshot(id) => write!(f, "delete {id}"),
        }
    }
}

/// An instance to be launched.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    pub role: Role,
    /// Client token: the same for the same attempt, role, type and subnet.
    pub token: String,
    pub image: ImageId,
    pub instance_type: String,
    pub subnet: String,
    pub security_groups: Vec<String>,
    pub instance_profile: Option<String>,
    /// Which user data of the build's record it gets.
    pub guest: GuestKey,
    pub user_data: Vec<u8>,
    pub volumes: Vec<VolumeSettings>,
    pub tags: Tags,
}

impl Effect {
    /// Whether it makes something that would be made twice if the intent were lost.
    pub fn creates(&self) -> bool {
        matches!(
            self,
            Self::Launch(_) | Self::CreateImage { .. } | Self::CreateVolume { .. }
        )
    }

    /// Whether it removes something, so that one failure does not keep the others from being removed.
    pub fn removes(&self) -> bool {
        matches!(self, Self::Remove(_))
    }
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BeginBuild(record) => {
                write!(f, "begin build {} ({})", record.number(), record.frozen.reason.as_str())
            }
            Self::KeepUserData {
                build,
                guest,
                user_data,
            } => {
                write!(
                    f,
                    "keep the {} bytes of user data of build {build}'s {} (attempt {})",
                    user_data.len(),
                    guest.role.as_str(),
                    guest.attempt
                )
            }
            Self::KeepOutput { build, key, .. } => write!(f, "keep {key} of build {build}"),
            Self::KeepProof { build, attempt, .. } => {
                write!(f, "keep how far the proof of build {build} is (attempt {attempt})")
            }
            Self::KeepFailure { build, failed } => {
                write!(f, "keep why attempt {} of build {build} failed", failed.attempt)
            }
            Self::KeepTagKeys { build, .. } => write!(f, "remember the tags of build {build}'s image"),
            Self::EndBuild { build, outcome } => write!(f, "end build {build}: {}", outcome.result),
            Self::SealRecord { build } => write!(f, "seal the record of build {build} with the first key"),
            Self::ForgetRecord { config_map } => write!(f, "delete the record {config_map}"),
            Self::Launch(launch) => write!(
                f,
                "launch the {} from {} as {} in {}",
                launch.role.as_str(),
                launch.image,
                launch.instance_type,
                launch.subnet
            ),
            Self::CreateImage { instance, name, .. } => write!(f, "create image {name} from {instance}"),
            Self::CreateVolume {
                snapshot,
                availability_zone,
                ..
            } => write!(f, "create a volume from {snapshot} in {availability_zone}"),
            Self::AttachVolume {
                volume,
                instance,
                device,
            } => write!(f, "attach {volume} to {instance} as {device}"),
            Self::DeleteWithInstance { instance, device } => write!(f, "delete {device} together with {instance}"),
            Self::RequireImdsV2 { image } => write!(f, "make {image} require IMDSv2"),
            Self::SetDescription { image, .. } => write!(f, "set the description of {image}"),
            Self::Tag { resources, tags } => {
                write!(
                    f,
                    "tag {} with {}",
                    resources.join(", "),
                    tags.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
                )
            }
            Self::Untag { resources, keys } => {
                write!(f, "remove tags {} from {}", keys.join(", "), resources.join(", "))
            }
            Self::Protect { image } => write!(f, "protect {image} from deregistration"),
            Self::Remove(removal) => removal.fmt(f),
            Self::RemoveFinalizer => write!(f, "let the object go"),
        }
    }
}
