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
    /// What the conditions say.
    pub readiness: Readiness,
    /// The source image, or why there is none that can be built on.
    pub source: Result<SourceStatus, Failure>,
    /// Of the present inputs; none before they are known.
    pub content_hash: Option<String>,
    /// The build in hand; none between builds.
    pub build: Option<BuildStatus>,
    /// The proven image of the present inputs; while another is being made, the one before.
    pub latest: Option<LatestStatus>,
    /// Since when EC2 has not shown the image of the present inputs.
    pub image_missing_since: Option<Timestamp>,
}

/// An Event in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its type is `Warning`, otherwise `Normal`.
    pub warning: bool,
    /// Why, in one word, for example `BuildStarted`.
    pub reason: &'static str,
    /// For people.
    pub text: String,
}

/// One change of the world. Each is idempotent, by token, by name or by nature.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Writes the record of a new build.
    BeginBuild(Box<BuildRecord>),
    /// Keeps what a guest is sent, before it is launched.
    KeepUserData {
        /// Number of the build.
        build: i64,
        /// Whose it is.
        guest: GuestKey,
        /// Compressed, before base64.
        user_data: Vec<u8>,
    },
    /// Keeps the end of a step's output.
    KeepOutput {
        /// Number of the build.
        build: i64,
        /// Key in the ConfigMap, for example `output.1-packages`.
        key: String,
        /// At most 4 KiB.
        text: String,
    },
    /// Keeps how far the proof is, before anything is sealed on it.
    KeepProof {
        /// Number of the build.
        build: i64,
        /// Attempt whose image it is about.
        attempt: i64,
        /// All that is known, in place of what was kept before.
        proof: Proof,
    },
    /// Keeps why an attempt failed, before its leftovers are removed.
    KeepFailure {
        /// Number of the build.
        build: i64,
        /// Which attempt, when and why.
        failed: FailedAttempt,
    },
    /// Remembers which of the spec's tags the image carries.
    KeepTagKeys {
        /// Number of the build.
        build: i64,
        /// All of them, in place of those that were kept before.
        keys: Vec<String>,
    },
    /// Writes into the record how the build ended; nothing is launched for it any more.
    EndBuild {
        /// Number of the build.
        build: i64,
        /// Result, time, image or failure.
        outcome: Outcome,
    },
    /// Seals a record with the first key, in place of one that is on its way out.
    SealRecord {
        /// Number of the build.
        build: i64,
    },
    /// Deletes a record: that of an ended build past `historyLimit`, or all of them before the object goes.
    ForgetRecord {
        /// Its name, `<recipe>-build-<number>`.
        config_map: String,
    },
    /// RunInstances: one instance, for a role of the present attempt.
    Launch(Box<Launch>),
    /// CreateImage from the stopped builder; refused where its name is taken.
    CreateImage {
        /// The builder.
        instance: InstanceId,
        /// 3 to 128 characters, unique in the account and region.
        name: String,
        /// As the spec has it.
        description: Option<String>,
        /// Put on the image and its snapshots from birth.
        tags: Tags,
    },
    /// A volume from the image's snapshot, for the inspector.
    CreateVolume {
        /// Client token: the same for the same attempt, snapshot and zone.
        token: String,
        /// The image's, of one of its devices.
        snapshot: SnapshotId,
        /// That of the inspector, for no other can attach it.
        availability_zone: String,
        /// Put on it from birth.
        tags: Tags,
    },
    /// AttachVolume: gives the inspector a volume to read.
    AttachVolume {
        /// In the state `available`.
        volume: VolumeId,
        /// The inspector, which has said that it is up.
        instance: InstanceId,
        /// Device name, for example `/dev/sdf`.
        device: String,
    },
    /// So that the attached volume ends with its instance, whatever becomes of us.
    DeleteWithInstance {
        /// The inspector.
        instance: InstanceId,
        /// Device name that it was attached as.
        device: String,
    },
    /// ModifyImageAttribute: sets `ImdsSupport` to `v2.0`, which cannot be undone.
    RequireImdsV2 {
        /// The one that lacks it.
        image: ImageId,
    },
    /// ModifyImageAttribute: replaces the description.
    SetDescription {
        /// The one whose description differs.
        image: ImageId,
        /// As the spec has it.
        description: String,
    },
    /// CreateTags: adds tags, or replaces those of the same keys.
    Tag {
        /// Ids of any kind.
        resources: Vec<String>,
        /// What all of them get.
        tags: Tags,
    },
    /// DeleteTags: takes tags off, whatever their values.
    Untag {
        /// Ids of any kind.
        resources: Vec<String>,
        /// What all of them lose.
        keys: Vec<String>,
    },
    /// Deregistration protection with cooldown.
    Protect {
        /// A proven one.
        image: ImageId,
    },
    /// Takes something of ours away for good.
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
    /// What it is for.
    pub role: Role,
    /// Client token: the same for the same attempt, role, type and subnet.
    pub token: String,
    /// What it boots from.
    pub image: ImageId,
    /// EC2's name, for example `m7i.large`.
    pub instance_type: String,
    /// Id of the subnet.
    pub subnet: String,
    /// Ids of security groups.
    pub security_groups: Vec<String>,
    /// Name of an instance profile; only builders have one.
    pub instance_profile: Option<String>,
    /// Which user data of the build's record it gets.
    pub guest: GuestKey,
    /// Compressed, before base64.
    pub user_data: Vec<u8>,
    /// Changes to the image's block devices, or further ones; only builders have any.
    pub volumes: Vec<VolumeSettings>,
    /// Put on the instance, its volumes and its network interface at birth.
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
