//! What is due when: the only way in which the world moves between two requests.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
        code: String,
        message: String,
    },
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

    /// When the world moves next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }
}
