//! CreateImage from an instance, RegisterImage from snapshots.

use serde::{Deserialize, Serialize};

use super::{Image, ImageState, Protection};
use crate::block_devices::{BlockDeviceMapping, EbsBlockDevice, ImageBlockDevice, ImageEbs, PlannedVolume, plan};
use crate::durations;
use crate::ids::Kind;
use crate::instances::{Instance, State};
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::Region;
use crate::schedule::Due;
use crate::tags::{TagSpecification, Tags, at_creation};

const MOST_DESCRIPTION: usize = 255;

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
    check_description(request.description.as_deref())?;
    let planned = plan_image(region, &instance, &request.block_device_mappings)?;
    for volume in planned.iter().filter_map(|(volume, _)| volume.as_ref()) {
        region.check_snapshot_rate(now, volume)?;
    }

    let id = region.new_id(Kind::Image);
    let mut completes = now;
    let mut block_devices = Vec::new();
    for (volume, planned) in planned {
        let mut device = ImageBlockDevice::from(planned);
        if let Some(volume) = volume {
            let description = format!("Created by CreateImage({}) for {id}", instance.id);
            let (snapshot_id, done) = region.begin_snapshot(now, &volume, description, tags("snapshot"))?;
            completes = completes.max(done);
            device.ebs.snapshot_id = Some(snapshot_id);
            device.ebs.encrypted = region.volume_mut(&volume)?.specification.kms_key_id.is_some();
        }
        block_devices.push(device);
    }
    block_devices.sort_by_key(|device| device.device_name != instance.root_device_name);
    let image = Image {
        id: id.clone(),
        name: request.name,
        description: request.description.filter(|text| !text.is_empty()),
        block_devices,
        created: now,
        visible: region.visible_from(now, Kind::Image),
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

/// The devices of an image of an instance, each with the volume that it is taken of, if any: the attached ones, less
/// those that the request leaves out, and those that it adds.
fn plan_image(
    region: &Region,
    instance: &Instance,
    requested: &[BlockDeviceMapping],
) -> Result<Vec<(Option<String>, PlannedVolume)>, Error> {
    let wrong = |message: String| Err(Error::new("InvalidBlockDeviceMapping", message));
    let mut devices = Vec::new();
    for (volume, attachment) in region.attached(&instance.id) {
        let device = &attachment.device;
        let change = requested.iter().find(|mapping| mapping.device_name == *device);
        if *device == instance.root_device_name && change.is_some_and(|change| change.no_device.is_some()) {
            return wrong(format!("The root device {device} cannot be left out of an image"));
        }
        let specification = &volume.specification;
        let changes = |ebs: &EbsBlockDevice| {
            let other = |wanted: Option<u32>, is: Option<u32>| wanted.is_some() && wanted != is;
            ebs.encrypted.is_some()
                || ebs.kms_key_id.is_some()
                || ebs.snapshot_id.is_some()
                || other(ebs.volume_size, Some(specification.size))
                || other(ebs.iops, specification.iops)
                || other(ebs.throughput, specification.throughput)
                || ebs
                    .volume_type
                    .as_ref()
                    .is_some_and(|wanted| *wanted != specification.volume_type)
        };
        if change.and_then(|change| change.ebs.as_ref()).is_some_and(changes) {
            return wrong(format!(
                "Of the volume at {device} only DeleteOnTermination can be changed"
            ));
        }
        devices.push(ImageBlockDevice {
            device_name: device.clone(),
            ebs: ImageEbs {
                delete_on_termination: attachment.delete_on_termination,
                snapshot_id: None,
                volume_size: specification.size,
                volume_type: specification.volume_type.clone(),
                iops: specification.iops,
                throughput: specification.throughput,
                encrypted: false,
            },
        });
    }
    check_snapshots(region, requested)?;
    let planned = plan(region, &devices, requested)?.into_iter().map(|planned| {
        let mut attached = region.attached(&instance.id);
        let source = attached.find(|(_, attachment)| attachment.device == planned.device);
        (source.map(|(volume, _)| volume.id.clone()), planned)
    });
    Ok(planned.collect())
}

/// Whether the account may use every snapshot that a request's mappings name, and takes it as it is.
fn check_snapshots(region: &Region, requested: &[BlockDeviceMapping]) -> Result<(), Error> {
    for BlockDeviceMapping { device_name, ebs, .. } in requested {
        let Some(ebs) = ebs else { continue };
        let Some(id) = &ebs.snapshot_id else { continue };
        region.usable_snapshot(id)?;
        if ebs.encrypted.is_some() {
            let message =
                format!("the encrypted flag cannot be specified since device {device_name} has a snapshot specified.");
            return Err(Error::new("InvalidBlockDeviceMapping", message));
        }
    }
    Ok(())
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
    check_description(request.description.as_deref())?;
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
    check_snapshots(region, &request.block_device_mappings)?;
    let planned = plan(region, &[], &request.block_device_mappings)?;
    if !planned
        .iter()
        .any(|volume| volume.device == root && volume.snapshot_id.is_some())
    {
        let message = format!("No snapshot was given for the root device {root}");
        return Err(Error::new("InvalidBlockDeviceMapping", message));
    }
    let block_devices = planned.into_iter().map(ImageBlockDevice::from).collect();
    let id = region.new_id(Kind::Image);
    let image = Image {
        id: id.clone(),
        name: request.name,
        description: request.description,
        state: ImageState::Available,
        created: now,
        visible: region.visible_from(now, Kind::Image),
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

/// Refuses a description that is too long.
pub fn check_description(description: Option<&str>) -> Result<(), Error> {
    let length = description.map_or(0, |text| text.chars().count());
    if length > MOST_DESCRIPTION {
        let message = format!("A description may have {MOST_DESCRIPTION} characters; this has {length}");
        return Err(Error::new("InvalidParameterValue", message));
    }
    Ok(())
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
