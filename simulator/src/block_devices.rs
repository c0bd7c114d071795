//! Block device mappings, as requests give them and as images keep them.

use serde::{Deserialize, Serialize};

use crate::protocol::Error;
use crate::region::Region;
use crate::volumes::{VolumeSpecification, specify};

/// `BlockDeviceMapping.N` of a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BlockDeviceMapping {
    pub device_name: String,
    pub ebs: Option<EbsBlockDevice>,
    /// Given, with whatever value: the device of the image is left out.
    pub no_device: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EbsBlockDevice {
    pub delete_on_termination: Option<bool>,
    pub iops: Option<u32>,
    pub snapshot_id: Option<String>,
    pub volume_size: Option<u32>,
    pub volume_type: Option<String>,
    pub kms_key_id: Option<String>,
    pub throughput: Option<u32>,
    pub encrypted: Option<bool>,
}

/// A block device of an image, as it is kept and as it is described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageBlockDevice {
    pub device_name: String,
    pub ebs: ImageEbs,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageEbs {
    pub delete_on_termination: bool,
    pub snapshot_id: Option<String>,
    pub volume_size: u32,
    pub volume_type: String,
    pub iops: Option<u32>,
    pub throughput: Option<u32>,
    pub encrypted: bool,
}

/// A volume that a launch is going to make.
#[derive(Clone, Debug)]
pub struct PlannedVolume {
    pub device: String,
    pub specification: VolumeSpecification,
    pub snapshot_id: Option<String>,
    pub delete_on_termination: bool,
    /// Whether its key exists; if not, the launch fails after the call has succeeded.
    pub key_usable: bool,
}

impl From<PlannedVolume> for ImageBlockDevice {
    fn from(planned: PlannedVolume) -> Self {
        Self {
            device_name: planned.device,
            ebs: ImageEbs {
                delete_on_termination: planned.delete_on_termination,
                snapshot_id: planned.snapshot_id,
                volume_size: planned.specification.size,
                volume_type: planned.specification.volume_type,
                iops: planned.specification.iops,
                throughput: planned.specification.throughput,
                encrypted: planned.specification.kms_key_id.is_some(),
            },
        }
    }
}

/// The volumes of a launch: the image's devices, changed, left out and added to by the request's.
pub fn plan(
    region: &Region,
    image: &[ImageBlockDevice],
    requested: &[BlockDeviceMapping],
) -> Result<Vec<PlannedVolume>, Error> {
    for (position, mapping) in requested.iter().enumerate() {
        if requested[..position]
            .iter()
            .any(|earlier| earlier.device_name == mapping.device_name)
        {
            let message = format!(
                "The device '{}' is used in more than one block-device mapping",
                mapping.device_name
            );
            return Err(Error::new("InvalidBlockDeviceMapping", message));
        }
    }
    let mut planned = Vec::new();
    for device in image {
        let change = requested
            .iter()
            .find(|mapping| mapping.device_name == device.device_name);
        if change.is_some_and(|change| change.no_device.is_some()) {
            continue;
        }
        let change = change.and_then(|change| change.ebs.clone()).unwrap_or_default();
        if change.snapshot_id.is_some() && change.snapshot_id != device.ebs.snapshot_id {
            let message = format!(
                "snapshotId can only be modified on EBS devices; '{}' is the image's",
                device.device_name
            );
            return Err(Error::new("InvalidBlockDeviceMapping", message));
        }
        let same_type = change
            .volume_type
            .as_ref()
            .is_none_or(|wanted| *wanted == device.ebs.volume_type);
        let kept = |value: Option<u32>| value.filter(|_| same_type && device.ebs.volume_type != "gp2");
        let merged = EbsBlockDevice {
            delete_on_termination: Some(change.delete_on_termination.unwrap_or(device.ebs.delete_on_termination)),
            iops: change.iops.or(kept(device.ebs.iops)),
            snapshot_id: device.ebs.snapshot_id.clone(),
            volume_size: Some(change.volume_size.unwrap_or(device.ebs.volume_size)),
            volume_type: Some(change.volume_type.unwrap_or_else(|| device.ebs.volume_type.clone())),
            throughput: change.throughput.or(kept(device.ebs.throughput)),
            ..change
        };
        planned.push(plan_one(region, &device.device_name, &merged)?);
    }
    for mapping in requested {
        if image.iter().any(|device| device.device_name == mapping.device_name) || mapping.no_device.is_some() {
            continue;
        }
        let ebs = mapping.ebs.as_ref().ok_or_else(|| {
            let message = format!("The device '{}' of the request has no Ebs", mapping.device_name);
            Error::new("InvalidBlockDeviceMapping", message)
        })?;
        planned.push(plan_one(region, &mapping.device_name, ebs)?);
    }
    Ok(planned)
}

fn plan_one(region: &Region, device: &str, ebs: &EbsBlockDevice) -> Result<PlannedVolume, Error> {
    // Launches read an image's snapshots on the strength of the image, whoever owns them.
    let snapshot = ebs.snapshot_id.as_ref().and_then(|id| region.snapshots.get(id));
    if let (Some(id), None) = (&ebs.snapshot_id, snapshot) {
        return Err(crate::ids::Kind::Snapshot.not_found(id));
    }
    let size = match (ebs.volume_size, snapshot) {
        (Some(size), Some(snapshot)) if size < snapshot.size => {
            let message = format!(
                "Volume of size {size}GB is smaller than snapshot '{}', expect size >= {}GB",
                snapshot.id, snapshot.size
            );
            return Err(Error::new("InvalidBlockDeviceMapping", message));
        }
        (Some(size), _) => size,
        (None, Some(snapshot)) => snapshot.size,
        (None, None) => return Err(Error::missing(format_args!("size or snapshotId of device '{device}'"))),
    };
    let of_snapshot = snapshot.and_then(|snapshot| snapshot.kms_key_id.as_deref());
    let key = region.volume_key(ebs.encrypted, ebs.kms_key_id.as_deref(), of_snapshot)?;
    let key_usable = key.as_ref().is_none_or(|key| key.usable);
    Ok(PlannedVolume {
        device: device.to_owned(),
        specification: specify(
            ebs.volume_type.as_deref(),
            size,
            ebs.iops,
            ebs.throughput,
            key.map(|key| key.arn),
        )?,
        snapshot_id: ebs.snapshot_id.clone(),
        delete_on_termination: ebs.delete_on_termination.unwrap_or(true),
        key_usable,
    })
}
