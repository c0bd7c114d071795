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
    pub id: ImageId,
    pub name: String,
    pub description: Option<String>,
    pub owner_id: String,
    /// For example `amazon`; absent for ordinary accounts.
    pub owner_alias: Option<String>,
    /// Whether everyone may launch it.
    pub public: bool,
    pub state: ImageState,
    /// AWS's words on a failed state.
    pub state_reason: Option<String>,
    /// As EC2 names it; `i386` and `x86_64_mac` exist too.
    pub architecture: String,
    /// `ebs` or `instance-store`.
    pub root_device_type: String,
    pub root_device_name: Option<String>,
    /// `hvm` or `paravirtual`.
    pub virtualization_type: String,
    /// `windows`, or absent.
    pub platform: Option<String>,
    pub product_codes: Vec<String>,
    pub block_devices: Vec<BlockDevice>,
    pub creation_time: Option<Timestamp>,
    /// The instance that CreateImage made it from; EC2 says so, no tag does.
    pub source_instance_id: Option<InstanceId>,
    pub imds_v2_required: bool,
    /// EC2's `deregistrationProtection`: `disabled`, `enabled-without-cooldown`, `enabled-with-cooldown`, or empty.
    pub deregistration_protection: String,
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
    Pending,
    Available,
    Invalid,
    Deregistered,
    Transient,
    Failed,
    Error,
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
    pub device_name: String,
    pub snapshot_id: Option<SnapshotId>,
    pub size_gib: Option<i32>,
    /// EBS volume type, for example `gp3`.
    pub volume_type: Option<String>,
    pub encrypted: Option<bool>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    pub id: InstanceId,
    /// What it was launched from.
    pub image_id: Option<ImageId>,
    pub state: InstanceState,
    /// EC2's code of why it stopped or ended, for example `Client.InstanceInitiatedShutdown`.
    pub state_reason: Option<StateReason>,
    pub instance_type: String,
    pub subnet_id: Option<SubnetId>,
    pub availability_zone: String,
    pub launch_time: Timestamp,
    /// The client token of the call that launched it. EC2 sets it; nothing can change it.
    pub client_token: Option<String>,
    pub tags: Tags,
}

/// Why an instance left the running state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateReason {
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
    Pending,
    Running,
    ShuttingDown,
    Terminated,
    Stopping,
    Stopped,
}

/// A volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    pub id: VolumeId,
    pub state: VolumeState,
    pub snapshot_id: Option<SnapshotId>,
    /// Instance that it is attached to, or being attached to.
    pub instance_id: Option<InstanceId>,
    pub delete_on_termination: bool,
    pub create_time: Option<Timestamp>,
    pub tags: Tags,
}

/// States of a volume, by EC2's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeState {
    Creating,
    Available,
    InUse,
    Deleting,
    Deleted,
    Error,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub id: SnapshotId,
    pub state: SnapshotState,
    /// 0 to 100.
    pub progress_percent: u8,
    pub start_time: Option<Timestamp>,
    pub tags: Tags,
}

/// States of a snapshot, by EC2's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotState {
    Pending,
    Completed,
    Error,
    Recoverable,
    Recovering,
}

/// A subnet.
#[derive(Clone, Debug, PartialEq)]
pub struct Subnet {
    pub id: SubnetId,
    pub vpc_id: String,
    pub tags: Tags,
}

/// A security group.
#[derive(Clone, Debug, PartialEq)]
pub struct SecurityGroup {
    pub id: SecurityGroupId,
    pub vpc_id: String,
}

/// An instance type, as offered in a region.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceType {
    pub name: String,
    /// As EC2 names them.
    pub architectures: Vec<String>,
    pub nitro: bool,
}
