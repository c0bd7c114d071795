//! Volumes: what they are, CreateVolume, DeleteVolume, and what their types allow.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

mod attach;
mod describe;

pub use attach::{attach_volume, detach_volume};
pub use describe::{VolumeItem, describe_volumes};

use crate::disk::Disk;
use crate::durations;
use crate::ids::Kind;
use crate::keys;
use crate::operations::{Call, Return};
use crate::protocol::Error;
use crate::region::Region;
use crate::schedule::Due;
use crate::tags::{TagSpecification, Tags, at_creation};

/// A volume.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    pub id: String,
    pub zone: String,
    pub state: VolumeState,
    pub specification: VolumeSpecification,
    pub snapshot_id: Option<String>,
    pub created: Timestamp,
    pub attachment: Option<Attachment>,
    pub tags: Tags,
    pub disk: Disk,
    /// Makes a repeated CreateVolume answer with this volume.
    pub client_token: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeState {
    Creating,
    Available,
    InUse,
    Deleting,
}

impl VolumeState {
    pub fn name(self) -> &'static str {
        match self {
            VolumeState::Creating => "creating",
            VolumeState::Available => "available",
            VolumeState::InUse => "in-use",
            VolumeState::Deleting => "deleting",
        }
    }
}

/// Size and performance, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSpecification {
    pub size: u32,
    pub volume_type: String,
    pub iops: Option<u32>,
    pub throughput: Option<u32>,
    /// The ARN of its key, where it is encrypted.
    pub kms_key_id: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    pub instance_id: String,
    pub device: String,
    pub state: AttachmentState,
    pub attach_time: Timestamp,
    pub delete_on_termination: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachmentState {
    Attaching,
    Attached,
    Detaching,
}

impl AttachmentState {
    pub fn name(self) -> &'static str {
        match self {
            AttachmentState::Attaching => "attaching",
            AttachmentState::Attached => "attached",
            AttachmentState::Detaching => "detaching",
        }
    }
}

/// What a volume type allows: sizes in GiB, IOPS, and IOPS per GiB.
struct TypeLimits {
    sizes: (u32, u32),
    iops: Option<(u32, u32)>,
    iops_per_gib: u32,
}

fn limits(volume_type: &str) -> Option<TypeLimits> {
    let of = |sizes, iops, iops_per_gib| {
        Some(TypeLimits {
            sizes,
            iops,
            iops_per_gib,
        })
    };
    match volume_type {
        "standard" => of((1, 1024), None, 0),
        "gp2" => of((1, 16_384), None, 0),
        "gp3" => of((1, 65_536), Some((3000, 80_000)), 500),
        "io1" => of((4, 16_384), Some((100, 64_000)), 50),
        "io2" => of((4, 65_536), Some((100, 256_000)), 1000),
        "st1" | "sc1" => of((125, 16_384), None, 0),
        _ => None,
    }
}

/// Checks what a request says against what the volume type allows, and fills in AWS's defaults.
pub fn specify(
    volume_type: Option<&str>,
    size: u32,
    iops: Option<u32>,
    throughput: Option<u32>,
    kms_key_id: Option<String>,
) -> Result<VolumeSpecification, Error> {
    let volume_type = volume_type.unwrap_or("gp2");
    let limits = limits(volume_type).ok_or_else(|| {
        let message = format!("Unsupported volume type '{volume_type}' for volume creation.");
        Error::new("UnknownVolumeType", message)
    })?;
    let (least, most) = limits.sizes;
    if !(least..=most).contains(&size) {
        let message = format!(
            "Volume of {size}GiB is invalid. Volume size for {volume_type} must be between {least} and {most} GiB."
        );
        return Err(Error::new("InvalidParameterValue", message));
    }
    let iops = match (limits.iops, iops) {
        (None, Some(_)) => {
            return Err(Error::combination(format!(
                "The parameter iops is not supported for {volume_type} volumes."
            )));
        }
        (Some(_), None) if volume_type.starts_with("io") => {
            return Err(Error::new(
                "MissingParameter",
                format!("The parameter iops must be specified for {volume_type} volumes."),
            ));
        }
        (Some((least, _)), None) => Some(least),
        (Some((least, most)), Some(iops)) => {
            if !(least..=most).contains(&iops) {
                let message = format!(
                    "Volume iops of {iops} is invalid. It must be between {least} and {most} for {volume_type}."
                );
                return Err(Error::new("InvalidParameterValue", message));
            }
            if iops > 3000 && iops > size.saturating_mul(limits.iops_per_gib) {
                let message = format!(
                    "Iops to volume size ratio of {iops}:{size} is too high; maximum is {} IOPS per GiB.",
                    limits.iops_per_gib
                );
                return Err(Error::combination(message));
            }
            Some(iops)
        }
        (None, None) if volume_type == "gp2" => Some(size.saturating_mul(3).clamp(100, 16_000)),
        (None, None) => None,
    };
    let throughput = match (volume_type, throughput) {
        ("gp3", throughput) => {
            let throughput = throughput.unwrap_or(125);
            if !(125..=2000).contains(&throughput) {
                let message =
                    format!("Throughput of {throughput} MiB/s is invalid. It must be between 125 and 2000 for gp3.");
                return Err(Error::new("InvalidParameterValue", message));
            }
            if throughput > 125 && iops.is_some_and(|iops| throughput * 4 > iops) {
                let message = "Throughput (MiBps) to iops ratio is too high; maximum is 0.25 MiBps per iops.";
                return Err(Error::combination(message));
            }
            Some(throughput)
        }
        (_, Some(_)) => {
            let message = format!("The parameter throughput is not supported for {volume_type} volumes.");
            return Err(Error::combination(message));
        }
        (_, None) => None,
    };
    Ok(VolumeSpecification {
        size,
        volume_type: volume_type.to_owned(),
        iops,
        throughput,
        kms_key_id,
    })
}

impl Region {
    /// The key a new volume is encrypted with: the snapshot's, a named one, or the account's default where asked for.
    pub fn volume_key(
        &self,
        encrypted: Option<bool>,
        named: Option<&str>,
        snapshot: Option<&str>,
    ) -> Result<Option<keys::Key>, Error> {
        match (encrypted, named, snapshot) {
            (Some(false), _, Some(_)) => Err(Error::combination(
                "The parameter encrypted cannot be false when creating a volume from an encrypted snapshot.",
            )),
            (None | Some(false), Some(_), _) => Err(keys::needs_encrypted()),
            (_, Some(name), _) => Ok(Some(keys::resolve(self, Some(name)))),
            (_, None, Some(arn)) => Ok(Some(keys::Key {
                arn: arn.to_owned(),
                usable: true,
            })),
            (Some(true), None, None) => Ok(Some(keys::resolve(self, None))),
            (_, None, None) => Ok(None),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateVolumeRequest {
    availability_zone: Option<String>,
    availability_zone_id: Option<String>,
    size: Option<u32>,
    snapshot_id: Option<String>,
    volume_type: Option<String>,
    iops: Option<u32>,
    throughput: Option<u32>,
    encrypted: Option<bool>,
    kms_key_id: Option<String>,
    client_token: Option<String>,
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
}

pub fn create_volume(call: &mut Call<'_>, request: CreateVolumeRequest) -> Result<VolumeItem, Error> {
    let tags = at_creation(&request.tag_specifications, &["volume"])?;
    let region = &mut *call.region;
    let zone = region.zone(
        request.availability_zone.as_deref(),
        request.availability_zone_id.as_deref(),
    )?;
    let snapshot = request
        .snapshot_id
        .as_deref()
        .map(|id| region.usable_snapshot(id))
        .transpose()?;
    let size = match (request.size, snapshot) {
        (Some(size), Some(snapshot)) if size < snapshot.size => {
            let why = format!("The snapshot {} needs at least {} GiB.", snapshot.id, snapshot.size);
            return Err(Error::invalid(size, "Size", why));
        }
        (Some(size), _) => size,
        (None, Some(snapshot)) => snapshot.size,
        (None, None) => {
            return Err(Error::new(
                "MissingParameter",
                "The request must contain the parameter size or snapshotId",
            ));
        }
    };
    let snapshot_key = snapshot.and_then(|snapshot| snapshot.kms_key_id.as_deref());
    let key = region.volume_key(request.encrypted, request.kms_key_id.as_deref(), snapshot_key)?;
    let usable = key.as_ref().is_none_or(|key| key.usable);
    let key = key.map(|key| key.arn);
    let specification = specify(
        request.volume_type.as_deref(),
        size,
        request.iops,
        request.throughput,
        key,
    )?;
    let disk = snapshot.map(|snapshot| snapshot.disk.clone()).unwrap_or_default();
    if let Some(token) = &request.client_token
        && let Some(earlier) = region
            .volumes
            .values()
            .find(|volume| volume.client_token.as_ref() == Some(token))
    {
        if earlier.specification != specification || earlier.zone != zone || earlier.snapshot_id != request.snapshot_id
        {
            return Err(Error::new(
                "IdempotentParameterMismatch",
                format!("The client token '{token}' was used with other parameters"),
            ));
        }
        return Ok(VolumeItem::new(region, earlier));
    }
    let id = region.new_id(Kind::Volume);
    let volume = Volume {
        id: id.clone(),
        zone,
        state: VolumeState::Creating,
        specification,
        snapshot_id: request.snapshot_id,
        created: call.now,
        attachment: None,
        tags: tags("volume"),
        disk,
        client_token: request.client_token,
    };
    // A key that can't be used is found out only afterwards, and then the volume is gone.
    let due = match usable {
        true => Due::VolumeAvailable { volume: id.clone() },
        false => Due::VolumeGone { volume: id.clone() },
    };
    region.later(call.now, durations::VOLUME_CREATE, due);
    let item = VolumeItem::new(region, &volume);
    region.volumes.insert(id, volume);
    Ok(item)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteVolumeRequest {
    volume_id: String,
}

pub fn delete_volume(call: &mut Call<'_>, request: DeleteVolumeRequest) -> Result<Return, Error> {
    let volume = call.region.volume_mut(&request.volume_id)?;
    if let Some(attachment) = &volume.attachment {
        let message = format!(
            "Volume {} is currently attached to {}",
            volume.id, attachment.instance_id
        );
        return Err(Error::new("VolumeInUse", message));
    }
    match volume.state {
        VolumeState::Creating => Err(Error::new(
            "IncorrectState",
            format!("The volume '{}' is 'creating'", request.volume_id),
        )),
        VolumeState::Deleting => Err(Kind::Volume.not_found(&request.volume_id)),
        VolumeState::Available | VolumeState::InUse => {
            volume.state = VolumeState::Deleting;
            call.region.later(
                call.now,
                durations::VOLUME_DELETE,
                Due::VolumeGone {
                    volume: request.volume_id,
                },
            );
            Ok(Return::TRUE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::specify;

    #[test]
    fn volume_types_have_limits_and_defaults() {
        let table = [
            (None, 8, None, None, Ok((Some(100), None))),
            (Some("gp3"), 8, None, None, Ok((Some(3000), Some(125)))),
            (Some("gp3"), 8, Some(2000), None, Err("InvalidParameterValue")),
            (Some("gp3"), 8, Some(5000), None, Err("InvalidParameterCombination")),
            (
                Some("gp3"),
                100,
                Some(3000),
                Some(1000),
                Err("InvalidParameterCombination"),
            ),
            (Some("gp2"), 8, Some(3000), None, Err("InvalidParameterCombination")),
            (Some("io2"), 8, None, None, Err("MissingParameter")),
            (Some("gp9"), 8, None, None, Err("UnknownVolumeType")),
            (Some("st1"), 8, None, None, Err("InvalidParameterValue")),
        ];
        for (volume_type, size, iops, throughput, expected) in table {
            let outcome = specify(volume_type, size, iops, throughput, None);
            let outcome = outcome.map(|s| (s.iops, s.throughput)).map_err(|e| e.code);
            assert_eq!(
                outcome,
                expected.map_err(str::to_owned),
                "{volume_type:?} {size} {iops:?} {throughput:?}"
            );
        }
    }
}
