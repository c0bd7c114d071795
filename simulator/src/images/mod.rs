//! Images: what they are, and who may see and use them.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

mod attributes;
mod copy;
mod create;
mod describe;
mod retire;

pub use attributes::{describe_image_attribute, modify_image_attribute, reset_image_attribute};
pub use copy::copy_image;
pub use create::{check_description, create_image, one_of, register_image};
pub use describe::describe_images;
pub use retire::{
    deregister_image, disable_image, disable_image_deprecation, disable_image_deregistration_protection, enable_image,
    enable_image_deprecation, enable_image_deregistration_protection,
};

use crate::block_devices::ImageBlockDevice;
use crate::durations::{LAST_LAUNCHED_DELAY_SECONDS, PROTECTION_COOLDOWN_SECONDS};
use crate::ids::Kind;
use crate::keys;
use crate::protocol::Error;
use crate::region::Region;
use crate::tags::Tags;
use crate::time::after;

/// An image.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub owner: String,
    pub state: ImageState,
    pub state_reason: Option<StateReason>,
    pub created: Timestamp,
    /// From when on every describe shows it.
    pub visible: Timestamp,
    pub architecture: String,
    pub boot_mode: Option<String>,
    pub ena_support: bool,
    pub tpm_support: Option<String>,
    /// `v2.0`: instances launched from it require tokens of the metadata service. Can't be taken back.
    pub imds_support: Option<String>,
    pub root_device_name: String,
    pub block_devices: Vec<ImageBlockDevice>,
    pub launch_permissions: Vec<LaunchPermission>,
    pub platform_details: String,
    pub usage_operation: String,
    pub deprecates: Option<Timestamp>,
    pub protection: Protection,
    pub source_instance_id: Option<String>,
    pub source_image_id: Option<String>,
    pub source_image_region: Option<String>,
    pub last_launched: Option<Timestamp>,
    pub tags: Tags,
    /// What makes a repeated CopyImage answer with this image: the token, and the rest of the request.
    pub copy_token: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageState {
    Pending,
    Available,
    Failed,
    Error,
    Disabled,
}

impl ImageState {
    pub fn name(self) -> &'static str {
        match self {
            ImageState::Pending => "pending",
            ImageState::Available => "available",
            ImageState::Failed => "failed",
            ImageState::Error => "error",
            ImageState::Disabled => "disabled",
        }
    }
}

/// Why an image or an instance is in its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateReason {
    pub code: String,
    pub message: String,
}

/// Whom an image is shared with: exactly one of the four.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaunchPermission {
    #[serde(alias = "UserId")]
    pub user_id: Option<String>,
    #[serde(alias = "Group")]
    pub group: Option<String>,
    #[serde(alias = "OrganizationArn")]
    pub organization_arn: Option<String>,
    #[serde(alias = "OrganizationalUnitArn")]
    pub organizational_unit_arn: Option<String>,
}

impl LaunchPermission {
    pub fn everyone() -> Self {
        Self {
            group: Some("all".to_owned()),
            ..Self::default()
        }
    }
}

/// Deregistration protection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase")]
pub enum Protection {
    #[default]
    Disabled,
    Enabled {
        with_cooldown: bool,
    },
    /// Disabled, but still in force for a day.
    CoolingDown {
        until: Timestamp,
    },
}

impl Protection {
    /// As DescribeImages shows it.
    pub fn name(&self) -> &'static str {
        match self {
            Protection::Disabled | Protection::CoolingDown { .. } => "disabled",
            Protection::Enabled { with_cooldown: true } => "enabled-with-cooldown",
            Protection::Enabled { with_cooldown: false } => "enabled-without-cooldown",
        }
    }

    /// What disabling makes of it.
    pub fn disabled(&self, now: Timestamp) -> Self {
        match self {
            Protection::Enabled { with_cooldown: true } => Protection::CoolingDown {
                until: after(now, SignedDuration::from_secs(PROTECTION_COOLDOWN_SECONDS)),
            },
            Protection::Enabled { with_cooldown: false } => Protection::Disabled,
            other => other.clone(),
        }
    }
}

impl Image {
    /// The last launch, as far as EC2 tells: a day late.
    pub fn told_last_launched(&self, now: Timestamp) -> Option<Timestamp> {
        let delay = SignedDuration::from_secs(LAST_LAUNCHED_DELAY_SECONDS);
        self.last_launched.filter(|launched| after(*launched, delay) <= now)
    }

    pub fn is_public(&self) -> bool {
        self.launch_permissions.contains(&LaunchPermission::everyone())
    }

    pub fn launchable_by(&self, account: &str) -> bool {
        self.owner == account
            || self.is_public()
            || self
                .launch_permissions
                .iter()
                .any(|permission| permission.user_id.as_deref() == Some(account))
    }

    pub fn snapshots(&self) -> impl Iterator<Item = &str> {
        self.block_devices
            .iter()
            .filter_map(|device| device.ebs.snapshot_id.as_deref())
    }
}

impl Region {
    /// An image of the account's own, to change.
    pub fn own_image(&mut self, id: &str) -> Result<&mut Image, Error> {
        Kind::Image.check(id)?;
        if self.deregistered.contains(id) {
            return Err(deregistered(id));
        }
        let account = self.account.clone();
        match self.images.get_mut(id) {
            Some(image) if image.owner == account => Ok(image),
            Some(image) if image.launchable_by(&account) => {
                Err(Error::new("AuthFailure", format!("Not authorized for image:{id}")))
            }
            _ => Err(Kind::Image.not_found(id)),
        }
    }

    /// An image that an instance can be launched from now.
    pub fn launchable_image(&self, id: &str) -> Result<&Image, Error> {
        Kind::Image.check(id)?;
        if self.deregistered.contains(id) {
            return Err(deregistered(id));
        }
        let image = self.images.get(id).filter(|image| image.launchable_by(&self.account));
        let image = image.ok_or_else(|| Kind::Image.not_found(id))?;
        match image.state {
            ImageState::Available => Ok(image),
            state => {
                let message = format!("The image ID '[{id}]' is not available: it is {}", state.name());
                Err(Error::new("InvalidAMIID.Unavailable", message))
            }
        }
    }

    /// A snapshot of an image that is encrypted with the account's default key, so that neither can be shared.
    pub fn snapshot_under_default_key(&self, image: &Image) -> Option<String> {
        let default_key = keys::resolve(self, None).arn;
        let under = |id: &&str| {
            let snapshot = self.snapshots.get(*id);
            snapshot.is_some_and(|snapshot| snapshot.kms_key_id.as_ref() == Some(&default_key))
        };
        image.snapshots().find(under).map(str::to_owned)
    }

    /// The images that use a snapshot.
    pub fn images_of_snapshot(&self, snapshot: &str) -> impl Iterator<Item = &str> {
        self.images
            .values()
            .filter(move |image| image.snapshots().any(|id| id == snapshot))
            .map(|image| image.id.as_str())
    }

    /// Whether a new image may have this name: 3 to 128 of AWS's characters, and not taken or just given up.
    pub fn check_image_name(&self, name: &str, now: Timestamp) -> Result<(), Error> {
        check_image_name(name)?;
        let taken = self
            .images
            .values()
            .find(|image| image.name == name && image.owner == self.account);
        if let Some(image) = taken {
            let message = format!("AMI name {name} is already in use by AMI {}", image.id);
            return Err(Error::new("InvalidAMIName.Duplicate", message));
        }
        if self.released_names.get(name).is_some_and(|free| now < *free) {
            let message = format!("AMI name {name} is already in use by an AMI that is being deregistered");
            return Err(Error::new("InvalidAMIName.Duplicate", message));
        }
        Ok(())
    }
}

/// Whether AWS allows a name for an image.
pub fn check_image_name(name: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " ()[]./-'@_".contains(c);
    if !(3..=128).contains(&name.chars().count()) || !name.chars().all(allowed) {
        let message = format!(
            "AMI name '{name}' is invalid. AMI names must be between 3 and 128 characters long, and may contain \
                 letters, numbers, spaces, '(', ')', '[', ']', '.', '-', '/', ''', '@' and '_'"
        );
        return Err(Error::new("InvalidAMIName.Malformed", message));
    }
    Ok(())
}

/// What is said of an image that once was.
pub fn deregistered(id: &str) -> Error {
    Error::new(
        "InvalidAMIID.Unavailable",
        format!("The image ID '[{id}]' is no longer available"),
    )
}
