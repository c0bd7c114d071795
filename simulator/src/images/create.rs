//! CreateImage from an instance, RegisterImage from snapshots.

use serde::{Deserialize, Serialize};

use super::{Image, ImageState, Protection};
use crate::block_devices::{BlockDeviceMapping, ImageBlockDevice, ImageEbs, plan};
use crate::durations;
use crate::ids::Kind;
use crate::instances::State;
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::Region;
use crate::schedule::Due;
use crate::tags::{TagSpecification, Tags, at_creation};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIdResponse {
    pub image_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateImageRequest {
    instance_id: String,
    name: String,
    description: Option<String>,
    no_reboot: Option<bool>,
    #[serde(rename = "BlockDeviceMapping", default)]
    block_device_mappings: Vec<BlockDeviceMapping>,
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
}

pub fn create_image(call: &mut Call<'_>, request: CreateImageRequest) -> Result<ImageIdResponse, Error> {
    let tags = at_creation(&request.tag_specifications, &["image", "snapshot"])?;
    let now = call.now;
    let region = &mut *call.region;
    let instance = region.instance(&request.instance_id)?.clone();
    if !matches!(instance.state, State::Running | State::Stopped) {
        let message = format!("Instance '{}' is not 'running' or 'stopped'.", instance.id);
        return Err(Error::new("IncorrectState", message));
    }
    region.check_image_name(&request.name, now)?;
    let attached: Vec<(String, String, bool)> = region
        .attached(&instance.id)
        .map(|(volume, a)| (volume.id.clone(), a.device.clone(), a.delete_on_termination))
        .collect();
    let mapping = |device: &str| request.block_device_mappings.iter().find(|m| m.device_name == device);
    let wanted = attached
        .iter()
        .filter(|(_, device, _)| mapping(device).is_none_or(|m| m.no_device.is_none()));
    let wanted: Vec<_> = wanted.cloned().collect();
    for (volume, ..) in &wanted {
        region.check_snapshot_rate(now, volume)?;
    }

    let id = region.new_id(Kind::Image);
    let mut completes = now;
    let mut block_devices = Vec::new();
    for (volume_id, device, delete_on_termination) in wanted {
        let description = format!("Created by CreateImage({}) for {id}", instance.id);
        let (snapshot_id, done) = region.begin_snapshot(now, &volume_id, description, tags("snapshot"))?;
        completes = completes.max(done);
        let specification = region.volume_mut(&volume_id)?.specification.clone();
        let change = mapping(&device).and_then(|m| m.ebs.clone()).unwrap_or_default();
        block_devices.push(ImageBlockDevice {
            device_name: device,
            ebs: ImageEbs {
                delete_on_termination: change.delete_on_termination.unwrap_or(delete_on_termination),
                snapshot_id: Some(snapshot_id),
                volume_size: change.volume_size.unwrap_or(specification.size).max(specification.size),
                volume_type: change.volume_type.unwrap_or(specification.volume_type),
                iops: change.iops.or(specification.iops),
                throughput: change.throughput.or(specification.throughput),
                encrypted: specification.kms_key_id.is_some(),
            },
        });
    }
    block_devices.sort_by_key(|device| device.device_name != instance.root_device_name);
    let image = Image {
        id: id.clone(),
        name: request.name,
        description: request.description.filter(|text| !text.is_empty()),
        block_devices,
        created: now,
        visible: region.visible_from(now),
        tags: tags("image"),
        source_instance_id: Some(instance.id.clone()),
        source_image_id: Some(instance.image_id.clone()),
        source_image_region: Some(region.name.clone()),
        ..Image::blank(region, &instance.architecture, &instance.root_device_name)
    };
    let image = Image {
        boot_mode: instance.boot_mode.clone(),
        tpm_support: instance.tpm_support.clone(),
        imds_support: instance.image_imds_support.clone(),
        ..image
    };
    region.images.insert(id.clone(), image);
    region.later(completes, durations::IMAGE, Due::ImageAvailable { image: id.clone() });
    if instance.state == State::Running && request.no_reboot != Some(true) {
        region.reboot(now, &instance.id);
    }
    Ok(ImageIdResponse { image_id: id })
}

impl Image {
    /// A pending Linux image of the account's own, with nothing in it.
    pub fn blank(region: &Region, architecture: &str, root_device_name: &str) -> Self {
        Self {
            id: String::new(),
            name: String::new(),
            description: None,
            owner: region.account.clone(),
            state: ImageState::Pending,
            state_reason: None,
            created: jiff::Timestamp::UNIX_EPOCH,
            visible: jiff::Timestamp::UNIX_EPOCH,
            architecture: architecture.to_owned(),
            boot_mode: None,
            ena_support: true,
            tpm_support: None,
            imds_support: None,
            root_device_name: root_device_name.to_owned(),
            block_devices: Vec::new(),
            launch_permissions: Vec::new(),
            platform_details: "Linux/UNIX".to_owned(),
            usage_operation: "RunInstances".to_owned(),
            deprecates: None,
            protection: Protection::Disabled,
            source_instance_id: None,
            source_image_id: None,
            source_image_region: None,
            last_launched: None,
            tags: Tags::default(),
            copy_token: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RegisterImageRequest {
    name: String,
    description: Option<String>,
    architecture: Option<String>,
    root_device_name: Option<String>,
    boot_mode: Option<String>,
    tpm_support: Option<String>,
    imds_support: Option<String>,
    virtualization_type: Option<String>,
    ena_support: Option<bool>,
    #[serde(rename = "BlockDeviceMapping", default)]
    block_device_mappings: Vec<BlockDeviceMapping>,
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
}

/// Registers a snapshot-backed image, available at once. Paravirtual images are refused, for no type here runs them.
pub fn register_image(call: &mut Call<'_>, request: RegisterImageRequest) -> Result<ImageIdResponse, Error> {
    let tags = at_creation(&request.tag_specifications, &["image"])?;
    let now = call.now;
    let region = &mut *call.region;
    region.check_image_name(&request.name, now)?;
    let root = request
        .root_device_name
        .ok_or_else(|| Error::missing("RootDeviceName"))?;
    one_of("Architecture", request.architecture.as_deref(), &["x86_64", "arm64"])?;
    one_of("VirtualizationType", request.virtualization_type.as_deref(), &["hvm"])?;
    one_of(
        "BootMode",
        request.boot_mode.as_deref(),
        &["legacy-bios", "uefi", "uefi-preferred"],
    )?;
    one_of("ImdsSupport", request.imds_support.as_deref(), &["v2.0"])?;
    one_of("TpmSupport", request.tpm_support.as_deref(), &["v2.0"])?;
    let ebs = request
        .block_device_mappings
        .iter()
        .filter_map(|mapping| mapping.ebs.as_ref());
    for id in ebs.filter_map(|ebs| ebs.snapshot_id.as_ref()) {
        region.usable_snapshot(id)?;
    }
    let planned = plan(region, &[], &request.block_device_mappings)?;
    if !planned
        .iter()
        .any(|volume| volume.device == root && volume.snapshot_id.is_some())
    {
        let message = format!("No snapshot was given for the root device {root}");
        return Err(Error::new("InvalidBlockDeviceMapping", message));
    }
    let block_devices = planned
        .into_iter()
        .map(|volume| ImageBlockDevice {
            device_name: volume.device,
            ebs: ImageEbs {
                delete_on_termination: volume.delete_on_termination,
                snapshot_id: volume.snapshot_id,
                volume_size: volume.specification.size,
                volume_type: volume.specification.volume_type,
                iops: volume.specification.iops,
                throughput: volume.specification.throughput,
                encrypted: volume.specification.kms_key_id.is_some(),
            },
        })
        .collect();
    let id = region.new_id(Kind::Image);
    let image = Image {
        id: id.clone(),
        name: request.name,
        description: request.description,
        state: ImageState::Available,
        created: now,
        visible: region.visible_from(now),
        boot_mode: request.boot_mode,
        tpm_support: request.tpm_support,
        imds_support: request.imds_support,
        ena_support: request.ena_support.unwrap_or(false),
        block_devices,
        tags: tags("image"),
        ..Image::blank(region, request.architecture.as_deref().unwrap_or("x86_64"), &root)
    };
    region.images.insert(id.clone(), image);
    Ok(ImageIdResponse { image_id: id })
}

/// Refuses a value that AWS, or this simulator, doesn't know.
pub fn one_of(parameter: &str, value: Option<&str>, known: &[&str]) -> Result<(), Error> {
    match value {
        Some(value) if !known.contains(&value) => Err(Error::invalid(
            value,
            parameter,
            format_args!("It must be one of {}.", known.join(", ")),
        )),
        _ => Ok(()),
    }
}
