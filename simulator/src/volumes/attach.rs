//! AttachVolume and DetachVolume.

use serde::Deserialize;

use super::describe::AttachmentItem;
use super::{Attachment, AttachmentState, VolumeState};
use crate::durations;
use crate::instances::{Machine, State};
use crate::operations::Call;
use crate::protocol::Error;
use crate::schedule::Due;

/// Nitro instances share 28 attachments between volumes and network interfaces.
const MOST_ATTACHMENTS: usize = 27;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachVolumeRequest {
    device: String,
    instance_id: String,
    volume_id: String,
}

pub fn attach_volume(call: &mut Call<'_>, request: AttachVolumeRequest) -> Result<AttachmentItem, Error> {
    let AttachVolumeRequest {
        device,
        instance_id,
        volume_id,
    } = request;
    let region = &mut *call.region;
    let volume = region.volume_mut(&volume_id)?;
    let (state, zone) = (volume.state, volume.zone.clone());
    if let Some(attachment) = &volume.attachment {
        let message = format!(
            "{volume_id} is already attached to an instance ({})",
            attachment.instance_id
        );
        return Err(Error::new("VolumeInUse", message));
    }
    if state != VolumeState::Available {
        return Err(Error::new(
            "IncorrectState",
            format!("The volume '{volume_id}' is not 'available'."),
        ));
    }
    let instance = region.instance(&instance_id)?;
    if !matches!(instance.state, State::Running | State::Stopped) {
        return Err(Error::new(
            "IncorrectState",
            format!("Instance '{instance_id}' is not 'running'."),
        ));
    }
    if instance.zone != zone {
        let message = format!(
            "The volume '{volume_id}' is not in the same availability zone as instance '{instance_id}' \
             ({zone} and {})",
            instance.zone
        );
        return Err(Error::new("InvalidVolume.ZoneMismatch", message));
    }
    if !is_device(&device) {
        return Err(Error::invalid(
            &device,
            "device",
            "It is not a valid EBS device name, such as /dev/sdf.",
        ));
    }
    let attached: Vec<&str> = region
        .attached(&instance_id)
        .map(|(_, attachment)| attachment.device.as_str())
        .collect();
    if attached.iter().any(|other| same_device(other, &device)) {
        let message = format!("Invalid value '{device}' for unixDevice. Attachment point {device} is already in use");
        return Err(Error::new("InvalidParameterValue", message));
    }
    if attached.len() >= MOST_ATTACHMENTS {
        let message = format!("Instance '{instance_id}' has the most attachments its type allows");
        return Err(Error::new("AttachmentLimitExceeded", message));
    }
    let attachment = Attachment {
        instance_id,
        device,
        state: AttachmentState::Attaching,
        attach_time: call.now,
        delete_on_termination: false,
    };
    let item = AttachmentItem::new(&volume_id, &attachment);
    let volume = region.volume_mut(&volume_id)?;
    volume.state = VolumeState::InUse;
    volume.attachment = Some(attachment);
    region.later(call.now, durations::ATTACH, Due::VolumeAttached { volume: volume_id });
    Ok(item)
}

/// `/dev/sdf`, `/dev/xvdf`, `/dev/sdf1`, `xvdf`.
fn is_device(device: &str) -> bool {
    let letters = device.strip_prefix("/dev/").unwrap_or(device);
    let rest = letters.strip_prefix("sd").or_else(|| letters.strip_prefix("xvd"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && rest.len() <= 3
            && rest.starts_with(|c: char| c.is_ascii_lowercase())
            && rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
}

/// The kernel knows `/dev/sdf` and `/dev/xvdf` as one.
fn same_device(one: &str, other: &str) -> bool {
    let bare = |device: &str| {
        let name = device.strip_prefix("/dev/").unwrap_or(device);
        name.strip_prefix("xvd")
            .or_else(|| name.strip_prefix("sd"))
            .unwrap_or(name)
            .to_owned()
    };
    bare(one) == bare(other)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DetachVolumeRequest {
    volume_id: String,
    instance_id: Option<String>,
    device: Option<String>,
    /// Detaches at once, without waiting for the guest.
    force: Option<bool>,
}

pub fn detach_volume(call: &mut Call<'_>, request: DetachVolumeRequest) -> Result<AttachmentItem, Error> {
    let volume_id = request.volume_id;
    let region = &mut *call.region;
    let Some(attachment) = region.volume_mut(&volume_id)?.attachment.clone() else {
        return Err(Error::new(
            "IncorrectState",
            format!("Volume '{volume_id}' is in the 'available' state."),
        ));
    };
    let named = request
        .instance_id
        .as_ref()
        .is_none_or(|id| *id == attachment.instance_id)
        && request
            .device
            .as_ref()
            .is_none_or(|device| *device == attachment.device);
    if !named {
        let message = format!(
            "The volume '{volume_id}' is attached to instance '{}' as device '{}', not as the request says",
            attachment.instance_id, attachment.device
        );
        return Err(Error::new("InvalidAttachment.NotFound", message));
    }
    // Force is for a guest that does not let go of it.
    if attachment.state == AttachmentState::Detaching && request.force != Some(true) {
        return Err(Error::new(
            "IncorrectState",
            format!("Volume '{volume_id}' is already being detached."),
        ));
    }
    let instance = region.instance(&attachment.instance_id)?;
    if instance.state != State::Stopped && same_device(&instance.root_device_name, &attachment.device) {
        let message = format!(
            "Unable to detach root volume '{volume_id}' from instance '{}'",
            instance.id
        );
        return Err(Error::new("OperationNotPermitted", message));
    }
    let detaching = Attachment {
        state: AttachmentState::Detaching,
        ..attachment
    };
    let item = AttachmentItem::new(&volume_id, &detaching);
    // A machine lets go of a disk when its guest does.
    let released = instance.machine != Machine::On || request.force == Some(true);
    region.volume_mut(&volume_id)?.attachment = Some(detaching);
    if !released {
        return Ok(item);
    }
    let due = Due::VolumeDetached {
        volume: volume_id.clone(),
    };
    match request.force {
        Some(true) => {
            // It may have been about to be free, and attached again by then.
            region.schedule.drop_all_of([&volume_id].into_iter());
            region.schedule.put(call.now, due);
        }
        _ => {
            region.later(call.now, durations::DETACH, due);
        }
    }
    Ok(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names() {
        for (device, expected) in [
            ("/dev/sdf", true),
            ("/dev/xvdba", true),
            ("xvdf", true),
            ("/dev/nvme1n1", false),
            ("/dev/sd", false),
        ] {
            assert_eq!(is_device(device), expected, "{device}");
        }
        assert!(same_device("/dev/sdf", "/dev/xvdf") && !same_device("/dev/sdf", "/dev/sdg"));
    }
}
