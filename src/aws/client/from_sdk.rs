//! From the SDK's values to ours.

use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types;
use jiff::Timestamp;

use crate::world::{
    BlockDevice, Image, ImageState, Instance, InstanceState, InstanceType, SecurityGroup, Snapshot, SnapshotState,
    StateReason, Subnet, Tags, Volume, VolumeState,
};

/// What AWS always sends, and did not, or not in its usual form.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("{0} is missing in the answer")]
    Missing(&'static str),
    #[error(transparent)]
    Id(#[from] crate::world::MalformedId),
}

/// An id that must be there.
pub(super) fn id<T>(field: &'static str, value: Option<String>) -> Result<T, Malformed>
where
    T: TryFrom<String>,
    Malformed: From<T::Error>,
{
    Ok(T::try_from(value.ok_or(Malformed::Missing(field))?)?)
}

/// An id that may be missing.
fn optional_id<T>(value: Option<String>) -> Result<Option<T>, Malformed>
where
    T: TryFrom<String>,
    Malformed: From<T::Error>,
{
    Ok(value.filter(|id| !id.is_empty()).map(T::try_from).transpose()?)
}

pub(super) fn instance(from: types::Instance) -> Result<Instance, Malformed> {
    let state = from
        .state
        .and_then(|state| state.name)
        .ok_or(Malformed::Missing("instanceState"))?;
    let launch_time = from
        .launch_time
        .and_then(timestamp)
        .ok_or(Malformed::Missing("launchTime"))?;
    let reason = from.state_reason;
    Ok(Instance {
        id: id("instanceId", from.instance_id)?,
        image_id: optional_id(from.image_id)?,
        state: match state {
            types::InstanceStateName::Running => InstanceState::Running,
            types::InstanceStateName::ShuttingDown => InstanceState::ShuttingDown,
            types::InstanceStateName::Terminated => InstanceState::Terminated,
            types::InstanceStateName::Stopping => InstanceState::Stopping,
            types::InstanceStateName::Stopped => InstanceState::Stopped,
            // One that EC2 has introduced since reads as pending: it is waited for, and its deadline ends the wait.
            _ => InstanceState::Pending,
        },
        state_reason: reason
            .map(|reason| StateReason::new(reason.code.unwrap_or_default(), &reason.message.unwrap_or_default())),
        instance_type: from
            .instance_type
            .ok_or(Malformed::Missing("instanceType"))?
            .as_str()
            .to_owned(),
        subnet_id: optional_id(from.subnet_id)?,
        availability_zone: from
            .placement
            .and_then(|placement| placement.availability_zone)
            .unwrap_or_default(),
        launch_time,
        client_token: from.client_token.filter(|token| !token.is_empty()),
        tags: tags(from.tags),
    })
}

pub(super) fn volume(from: types::Volume) -> Result<Volume, Malformed> {
    // Volumes with several attachments are none of ours.
    let attachment = from.attachments.unwrap_or_default().into_iter().next();
    Ok(Volume {
        id: id("volumeId", from.volume_id)?,
        state: match from.state.ok_or(Malformed::Missing("status"))? {
            types::VolumeState::Available => VolumeState::Available,
            types::VolumeState::InUse => VolumeState::InUse,
            types::VolumeState::Deleting => VolumeState::Deleting,
            types::VolumeState::Deleted => VolumeState::Deleted,
            types::VolumeState::Error => VolumeState::Error,
            // A new one is waited for.
            _ => VolumeState::Creating,
        },
        snapshot_id: optional_id(from.snapshot_id)?,
        delete_on_termination: attachment
            .as_ref()
            .and_then(|to| to.delete_on_termination)
            .unwrap_or_default(),
        instance_id: optional_id(attachment.and_then(|to| to.instance_id))?,
        create_time: from.create_time.and_then(timestamp),
        tags: tags(from.tags),
    })
}

pub(super) fn snapshot(from: types::Snapshot) -> Result<Snapshot, Malformed> {
    Ok(Snapshot {
        id: id("snapshotId", from.snapshot_id)?,
        state: match from.state.ok_or(Malformed::Missing("status"))? {
            types::SnapshotState::Completed => SnapshotState::Completed,
            types::SnapshotState::Error => SnapshotState::Error,
            types::SnapshotState::Recoverable => SnapshotState::Recoverable,
            types::SnapshotState::Recovering => SnapshotState::Recovering,
            // A new one is waited for.
            _ => SnapshotState::Pending,
        },
        // Written as "87%"; empty at the very beginning.
        progress_percent: from
            .progress
            .and_then(|text| text.trim_end_matches('%').parse().ok())
            .unwrap_or_default(),
        start_time: from.start_time.and_then(timestamp),
        tags: tags(from.tags),
    })
}

pub(super) fn image(from: types::Image) -> Result<Image, Malformed> {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    Ok(Image {
        id: id("imageId", from.image_id)?,
        name: from.name.unwrap_or_default(),
        description: from.description.filter(|description| !description.is_empty()),
        owner_id: from.owner_id.unwrap_or_default(),
        owner_alias: from.image_owner_alias,
        public: from.public.unwrap_or_default(),
        state: match from.state.ok_or(Malformed::Missing("imageState"))? {
            types::ImageState::Pending => ImageState::Pending,
            types::ImageState::Available => ImageState::Available,
            types::ImageState::Invalid => ImageState::Invalid,
            types::ImageState::Deregistered => ImageState::Deregistered,
            types::ImageState::Transient => ImageState::Transient,
            types::ImageState::Failed => ImageState::Failed,
            types::ImageState::Error => ImageState::Error,
            types::ImageState::Disabled => ImageState::Disabled,
            _ => ImageState::Unknown,
        },
        state_reason: from.state_reason.and_then(|reason| reason.message),
        architecture: text(from.architecture.as_ref().map(|value| value.as_str())),
        root_device_type: text(from.root_device_type.as_ref().map(|value| value.as_str())),
        root_device_name: from.root_device_name,
        virtualization_type: text(from.virtualization_type.as_ref().map(|value| value.as_str())),
        platform: from.platform.as_ref().map(|value| value.as_str().to_lowercase()),
        product_codes: from
            .product_codes
            .unwrap_or_default()
            .into_iter()
            .filter_map(|code| code.product_code_id)
            .collect(),
        block_devices: from
            .block_device_mappings
            .unwrap_or_default()
            .into_iter()
            .map(block_device)
            .collect::<Result<_, Malformed>>()?,
        creation_time: from.creation_date.and_then(|text| text.parse().ok()),
        source_instance_id: optional_id(from.source_instance_id)?,
        imds_v2_required: from.imds_support == Some(types::ImdsSupportValues::V20),
        deregistration_protection: from.deregistration_protection.unwrap_or_default(),
        tags: tags(from.tags),
    })
}

fn block_device(from: types::BlockDeviceMapping) -> Result<BlockDevice, Malformed> {
    let ebs = from.ebs;
    Ok(BlockDevice {
        device_name: from.device_name.unwrap_or_default(),
        size_gib: ebs.as_ref().and_then(|ebs| ebs.volume_size),
        volume_type: ebs
            .as_ref()
            .and_then(|ebs| Some(ebs.volume_type.as_ref()?.as_str().to_owned())),
        encrypted: ebs.as_ref().and_then(|ebs| ebs.encrypted),
        snapshot_id: optional_id(ebs.and_then(|ebs| ebs.snapshot_id))?,
    })
}

pub(super) fn subnet(from: types::Subnet) -> Result<Subnet, Malformed> {
    Ok(Subnet {
        id: id("subnetId", from.subnet_id)?,
        vpc_id: from.vpc_id.ok_or(Malformed::Missing("vpcId"))?,
        tags: tags(from.tags),
    })
}

pub(super) fn security_group(from: types::SecurityGroup) -> Result<SecurityGroup, Malformed> {
    Ok(SecurityGroup {
        id: id("groupId", from.group_id)?,
        // Absent for the groups of EC2-Classic, in which nothing can be launched any more.
        vpc_id: from.vpc_id.unwrap_or_default(),
    })
}

pub(super) fn instance_type(from: types::InstanceTypeInfo) -> Result<InstanceType, Malformed> {
    let processor = from.processor_info.ok_or(Malformed::Missing("processorInfo"))?;
    Ok(InstanceType {
        name: from
            .instance_type
            .ok_or(Malformed::Missing("instanceType"))?
            .as_str()
            .to_owned(),
        architectures: processor
            .supported_architectures
            .unwrap_or_default()
            .iter()
            .map(|architecture| architecture.as_str().to_owned())
            .collect(),
        // Bare metal has no hypervisor to name.
        nitro: from.hypervisor == Some(types::InstanceTypeHypervisor::Nitro) || from.bare_metal == Some(true),
    })
}

fn tags(from: Option<Vec<types::Tag>>) -> Tags {
    from.unwrap_or_default()
        .into_iter()
        .filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())))
        .collect()
}

fn timestamp(from: DateTime) -> Option<Timestamp> {
    // Below 10^9 by DateTime's own rule.
    Timestamp::new(from.secs(), i32::try_from(from.subsec_nanos()).ok()?).ok()
}
