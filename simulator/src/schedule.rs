//! What is due when: the only way in which the world moves between two requests.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::images::ImageState;

/// Something that happens by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Due {
    InstanceRunning {
        instance: String,
    },
    InstanceStopped {
        instance: String,
    },
    InstanceTerminated {
        instance: String,
    },
    InstanceForgotten {
        instance: String,
    },
    /// An event inside the guest; dropped when the instance has stopped or booted again since.
    Guest {
        instance: String,
        boot: u32,
        act: GuestAct,
    },
    ConsoleCaptured {
        instance: String,
        boot: u32,
    },
    VolumeAvailable {
        volume: String,
    },
    VolumeAttached {
        volume: String,
    },
    VolumeDetached {
        volume: String,
    },
    VolumeGone {
        volume: String,
    },
    SnapshotCompleted {
        snapshot: String,
    },
    ImageAvailable {
        image: String,
    },
    /// A copy whose key can't be used fails after its call has succeeded.
    ImageFailed {
        image: String,
        /// `failed` or `error`.
        state: ImageState,
        code: String,
        message: String,
    },
}

impl Due {
    /// Id of what it happens to; none for what a guest does.
    fn thing(&self) -> Option<&String> {
        match self {
            Due::InstanceRunning { instance: id }
            | Due::InstanceStopped { instance: id }
            | Due::InstanceTerminated { instance: id }
            | Due::InstanceForgotten { instance: id }
            | Due::VolumeAvailable { volume: id }
            | Due::VolumeAttached { volume: id }
            | Due::VolumeDetached { volume: id }
            | Due::VolumeGone { volume: id }
            | Due::SnapshotCompleted { snapshot: id }
            | Due::ImageAvailable { image: id }
            | Due::ImageFailed { image: id, .. } => Some(id),
            Due::Guest { .. } | Due::ConsoleCaptured { .. } => None,
        }
    }
}

/// What a guest does to the world around it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum GuestAct {
    Console(String),
    Write { path: String, mode: u32, content: String },
    Remove { path: String },
    PowerOff,
}

/// The queue, ordered by time and then by when something was put in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Schedule(Vec<(Timestamp, Due)>);

impl Schedule {
    pub fn put(&mut self, at: Timestamp, due: Due) {
        let position = self.0.partition_point(|(other, _)| *other <= at);
        self.0.insert(position, (at, due));
    }

    /// Takes the first that is due at `now`.
    pub fn take(&mut self, now: Timestamp) -> Option<(Timestamp, Due)> {
        let (at, _) = self.0.first()?;
        (*at <= now).then(|| self.0.remove(0))
    }

    /// Whatever these things were about to become, they do not.
    pub fn drop_all_of<'a>(&mut self, ids: impl Iterator<Item = &'a String>) {
        let ids: BTreeSet<&String> = ids.collect();
        self.0
            .retain(|(_, due)| due.thing().is_none_or(|thing| !ids.contains(thing)));
    }

    /// When the world moves next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }
}
