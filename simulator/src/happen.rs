//! Time passes: what is due in a region happens, in order, each at its own moment.

use jiff::Timestamp;

use crate::images::{ImageState, StateReason};
use crate::region::Region;
use crate::schedule::Due;
use crate::snapshots::SnapshotState;
use crate::volumes::VolumeState;

impl Region {
    /// Brings the region to `now`.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some((at, due)) = self.schedule.take(now) {
            self.happen(at, due);
        }
    }

    fn happen(&mut self, at: Timestamp, due: Due) {
        match due {
            Due::InstanceRunning { instance } => self.instance_running(at, &instance),
            Due::InstanceStopped { instance } => self.instance_stopped(at, &instance),
            Due::InstanceTerminated { instance } => self.instance_terminated(at, &instance),
            Due::InstanceForgotten { instance } => {
                self.instances.remove(&instance);
            }
            Due::Guest { instance, boot, act } => self.guest_acts(at, &instance, boot, act),
            Due::ConsoleCaptured { instance, boot } => {
                if let Some(instance) = self.instances.get_mut(&instance).filter(|i| i.boot == boot) {
                    instance.capture_console(at);
                }
            }
            Due::VolumeAvailable { volume } => {
                if let Some(volume) = self.volumes.get_mut(&volume) {
                    volume.state = VolumeState::Available;
                }
            }
            Due::VolumeAttached { volume } => self.volume_attached(at, &volume),
            Due::VolumeDetached { volume } => {
                if let Some(volume) = self.volumes.get_mut(&volume) {
                    volume.attachment = None;
                    volume.state = VolumeState::Available;
                }
            }
            Due::VolumeGone { volume } => {
                self.volumes.remove(&volume);
            }
            Due::SnapshotCompleted { snapshot } => {
                let pending = self
                    .snapshots
                    .get_mut(&snapshot)
                    .filter(|s| s.state == SnapshotState::Pending);
                if let Some(snapshot) = pending {
                    snapshot.state = SnapshotState::Completed;
                }
            }
            Due::ImageAvailable { image } => {
                if let Some(image) = self.images.get_mut(&image).filter(|i| i.state == ImageState::Pending) {
                    image.state = ImageState::Available;
                }
            }
            Due::ImageFailed {
                image,
                state,
                code,
                message,
            } => self.image_failed(at, &image, state, StateReason { code, message }),
        }
    }

    /// The images that the call in hand has made fail soon.
    pub(crate) fn fail_images(&mut self, now: Timestamp, state: ImageState) {
        for image in self.made.iter().filter(|id| self.images.contains_key(*id)) {
            let due = Due::ImageFailed {
                image: image.clone(),
                state,
                code: "Client.InternalError".to_owned(),
                message: "Client.InternalError: An internal error has occurred".to_owned(),
            };
            self.schedule.put(now, due);
        }
    }

    /// An image that can't be finished: its snapshots end in error.
    fn image_failed(&mut self, at: Timestamp, id: &str, state: ImageState, reason: StateReason) {
        let Some(image) = self
            .images
            .get_mut(id)
            .filter(|image| image.state == ImageState::Pending)
        else {
            return;
        };
        image.state = state;
        image.state_reason = Some(reason);
        for device in &image.block_devices {
            let snapshot = device
                .ebs
                .snapshot_id
                .as_ref()
                .and_then(|id| self.snapshots.get_mut(id));
            if let Some(snapshot) = snapshot.filter(|snapshot| snapshot.state == SnapshotState::Pending) {
                snapshot.state = SnapshotState::Error;
                snapshot.completes = at;
            }
        }
    }
}
