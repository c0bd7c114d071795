//! EC2's resources, with what decisions need of them and no more.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Tags of a resource, by key.
pub type Tags = BTreeMap<String, String>;

macro_rules! resource_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as AWS writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = MalformedId;

            fn try_from(text: String) -> Result<Self, MalformedId> {
                match text.strip_prefix($prefix) {
                    Some(rest) if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(Self(text)),
                    _ => Err(MalformedId { text, prefix: $prefix }),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

/// A text that should have been an AWS id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not an id of the form {prefix}0123456789abcdef0")]
pub struct MalformedId {
    text: String,
    prefix: &'static str,
}

resource_id!(
    /// Id of an Amazon machine image.
    ImageId, "ami-");
resource_id!(
    /// Id of an instance.
    InstanceId, "i-");
resource_id!(
    /// Id of an EBS snapshot.
    SnapshotId, "snap-");
resource_id!(
    /// Id of an EBS volume.
    VolumeId, "vol-");
resource_id!(
    /// Id of a subnet.
    SubnetId, "subnet-");
resource_id!(
    /// Id of a security group.
    SecurityGroupId, "sg-");

/// An image, its own account's or another's.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// `ami-` and hexadecimal digits, given by EC2.
    pub id: ImageId,
    /// 3 to 128 characters; no other image of its account and region has it. Rule: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImage.html>
    pub name: String,
    /// At most 255 characters; none where EC2 gives an empty one.
    pub description: Option<String>,
    /// Number of the account that it belongs to: twelve digits.
    pub owner_id: String,
    /// For example `amazon`; absent for ordinary accounts.
    pub owner_alias: Option<String>,
    /// Whether everyone may launch it.
    pub public: bool,
    /// Only an available one can be launched. Rule: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Image.html>
    pub state: ImageState,
    /// AWS's words on a failed state.
    pub state_reason: Option<String>,
    /// As EC2 names it; `i386` and `x86_64_mac` exist too.
    pub architecture: String,
    /// `ebs` or `instance-store`.
    pub root_device_type: String,
    /// For example `/dev/xvda`.
    pub root_device_name: Option<String>,
    /// `hvm` or `paravirtual`.
    pub virtualization_type: String,
    /// `windows`, or absent.
    pub platform: Option<String>,
    /// Of AWS Marketplace; whoever launches it has to be subscribed.
    pub product_codes: Vec<String>,
    /// The root device and further ones, in EC2's order.
    pub block_devices: Vec<BlockDevice>,
    /// None where EC2 says nothing that can be read.
    pub creation_time: Option<Timestamp>,
    /// The instance that CreateImage made it from; EC2 says so, no tag does.
    pub source_instance_id: Option<InstanceId>,
    /// Its `ImdsSupport` is `v2.0`: instances require IMDSv2 unless told otherwise at launch.
    pub imds_v2_required: bool,
    /// EC2's `deregistrationProtection`: `disabled`, `enabled-without-cooldown`, `enabled-with-cooldown`, or empty.
    pub deregistration_protection: String,
    /// Those of this account; tags are not shared with an image.
    pub tags: Tags,
}

impl Image {
    /// The snapshot behind the root device.
    pub fn root_snapshot(&self) -> Option<&SnapshotId> {
        let root = self.root_device_name.as_deref()?;
        self.block_devices
            .iter()
            .find(|device| device.device_name == root)?
            .snapshot_id
            .as_ref()
    }

    /// Every snapshot behind the image, in the order of its devices.
    pub fn snapshots(&self) -> impl Iterator<Item = &SnapshotId> {
        self.block_devices
            .iter()
            .filter_map(|device| device.snapshot_id.as_ref())
    }

    /// Whether deregistration is fenced off by EC2 itself.
    pub fn is_protected(&self) -> bool {
        self.deregistration_protection.starts_with("enabled")
    }
}

/// States of an image, by EC2's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageState {
    /// Being created.
    Pending,
    /// Registered, and can be launched.
    Available,
    /// Cannot be launched.
    Invalid,
    /// Gone for new launches.
    Deregistered,
    /// Between two states; waited for as if pending.
    Transient,
    /// Could not be created.
    Failed,
    /// Cannot be launched; `state_reason` may say why.
    Error,
    /// By DisableImage: cannot be launched until it is enabled again.
    Disabled,
    /// A state that EC2 has introduced since.
    Unknown,
}

impl fmt::Display for ImageState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pending => "pending",
            Self::Available => "available",
            Self::Invalid => "invalid",
            Self::Deregistered => "deregistered",
            Self::Transient => "transient",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Disabled => "disabled",
            Self::Unknown => "in an unknown state",
        })
    }
}

/// A block device of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockDevice {
    /// For example `/dev/xvda`.
    pub device_name: String,
    /// What its volume is made from; none for instance store.
    pub snapshot_id: Option<SnapshotId>,
    /// Size of the volume in GiB.
    pub size_gib: Option<i32>,
    /// EBS volume type, for example `gp3`.
    pub volume_type: Option<String>,
    /// Whether the volume is encrypted; none for instance store.
    pub encrypted: Option<bool>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// `i-` and hexadecimal digits, given by EC2.
    pub id: InstanceId,
    /// What it was launched from.
    pub image_id: Option<ImageId>,
    /// A state that EC2 has introduced since reads as pending. States: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceState.html>
    pub state: InstanceState,
    /// EC2's code of why it stopped or ended, for example `Client.InstanceInitiatedShutdown`.
    pub state_reason: Option<StateReason>,
    /// For example `m7i.large`.
    pub instance_type: String,
    /// None for one that is terminated.
    pub subnet_id: Option<SubnetId>,
    /// For example `eu-central-1a`; empty where EC2 does not say.
    pub availability_zone: String,
    /// When it was last started.
    pub launch_time: Timestamp,
    /// The client token of the call that launched it. EC2 sets it; nothing can change it.
    pub client_token: Option<String>,
    /// All of them, whoever set them.
    pub tags: Tags,
}

/// Why an instance left the running state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateReason {
    /// For example `Client.UserInitiatedShutdown`.
    pub code: String,
    /// Without the code, with which EC2 begins it too.
    pub message: String,
}

impl StateReason {
    /// A reason as EC2 gives it.
    pub fn new(code: String, message: &str) -> Self {
        let said = message.strip_prefix(code.as_str());
        let said = said.and_then(|said| said.strip_prefix(':')).unwrap_or(message);
        Self {
            message: said.trim().to_owned(),
            code,
        }
    }
}

/// States of an instance, by EC2's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// Being started.
    Pending,
    /// Started; its operating system may still be booting.
    Running,
    /// On its way to terminated.
    ShuttingDown,
    /// Gone; EC2 shows it for about an hour.
    Terminated,
    /// On its way to stopped.
    Stopping,
    /// Powered off; its EBS volumes remain.
    Stopped,
}

/// A volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// `vol-` and hexadecimal digits, given by EC2.
    pub id: VolumeId,
    /// A state that EC2 has introduced since reads as creating. States: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Volume.html>
    pub state: VolumeState,
    /// What it was made from.
    pub snapshot_id: Option<SnapshotId>,
    /// Instance that it is attached to, or being attached to.
    pub instance_id: Option<InstanceId>,
    /// Whether it goes with the instance that it is attached to; false when it is attached to none.
    pub delete_on_termination: bool,
    /// None where EC2 does not say.
    pub create_time: Option<Timestamp>,
    /// All of them, whoever set them.
    pub tags: Tags,
}

/// States of a volume, by EC2's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeState {
    /// Not usable yet.
    Creating,
    /// Ready, and attached to nothing.
    Available,
    /// Attached to an instance, or being attached or detached.
    InUse,
    /// On its way to deleted.
    Deleting,
    /// Gone.
    Deleted,
    /// The hardware behind it has failed, or it could not be created.
    Error,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// `snap-` and hexadecimal digits, given by EC2.
    pub id: SnapshotId,
    /// A state that EC2 has introduced since reads as pending. States: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Snapshot.html>
    pub state: SnapshotState,
    /// 0 to 100.
    pub progress_percent: u8,
    /// When it was begun.
    pub start_time: Option<Timestamp>,
    /// All of them, whoever set them.
    pub tags: Tags,
}

/// States of a snapshot, by EC2's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotState {
    /// Being copied to S3.
    Pending,
    /// All of it is there.
    Completed,
    /// Could not be completed.
    Error,
    /// One of those that go with the Recycle Bin.
    Recoverable,
    /// On its way out of the Recycle Bin.
    Recovering,
}

/// A subnet.
#[derive(Clone, Debug, PartialEq)]
pub struct Subnet {
    /// `subnet-` and hexadecimal digits, given by EC2.
    pub id: SubnetId,
    /// The VPC that it is a part of, `vpc-` and digits.
    pub vpc_id: String,
    /// All of them, whoever set them.
    pub tags: Tags,
}

/// A security group.
#[derive(Clone, Debug, PartialEq)]
pub struct SecurityGroup {
    /// `sg-` and hexadecimal digits, given by EC2.
    pub id: SecurityGroupId,
    /// Instances of this VPC alone can have it; empty for EC2-Classic.
    pub vpc_id: String,
}

/// An instance type, as offered in a region.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceType {
    /// For example `m7i.large`.
    pub name: String,
    /// As EC2 names them.
    pub architectures: Vec<String>,
    /// On the Nitro system, bare metal included.
    pub nitro: bool,
}
