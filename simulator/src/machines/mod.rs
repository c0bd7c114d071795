//! Real guests: a virtual machine for each instance, beside the engine.
//!
//! The engine stays what it is. It says of every instance what there is to be of its machine
//! ([`crate::instances::Machine`]); [`Machines::follow`] compares that with the machines that there are, under the engine's
//! own lock and without waiting for anything; and what a machine does comes back as a [`Report`].

mod bounded;
mod directory;
mod disks;
mod guest_image;
mod machine;
mod metadata;
mod qmp;
mod room;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::engine::Simulator;
use crate::guest::Guests;
use crate::instances::Report;
use crate::tcp::{Shared, lock};
use directory::Directory;
use guest_image::GuestImages;
use room::Room;

/// How often the world is looked at if nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// All machines of a simulator.
#[derive(Debug)]
pub struct Machines {
    simulator: Shared,
    clock: fn() -> Timestamp,
    /// Locked only by who holds the simulator's lock.
    room: Mutex<Room>,
    directory: Directory,
    changed: Notify,
}

impl Machines {
    /// Makes the guests of a simulator real.
    ///
    /// # Errors
    /// What is missing on this machine, with the way out.
    pub fn open(simulator: Shared, clock: fn() -> Timestamp) -> Result<Arc<Self>, String> {
        machine::check_programs()?;
        let images = GuestImages::find()?;
        let directory = Directory::create()?;
        {
            let mut simulator = lock(&simulator);
            images.publish(clock(), &mut simulator)?;
            for region in simulator.state.regions.values_mut() {
                region.guests = Guests::Machines;
            }
        }
        Ok(Arc::new(Self {
            simulator,
            clock,
            room: Mutex::new(Room::new(images)),
            directory,
            changed: Notify::new(),
        }))
    }

    /// Keeps the world moving while nobody asks anything of it, so that machines start when their time has come.
    pub async fn run(self: Arc<Self>) {
        loop {
            let due = {
                let mut simulator = lock(&self.simulator);
                simulator.advance((self.clock)());
                self.arrange(&simulator);
                simulator.next_due()
            };
            let now = (self.clock)();
            let wait = due.map_or(IDLE, |due| {
                Duration::try_from(due.duration_since(now)).unwrap_or_default()
            });
            tokio::select! {
                () = tokio::time::sleep(wait.min(IDLE)) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Does with machines and their disks what the world now asks for. To be called after whatever may have changed it, before
    /// its lock is given back: a snapshot is of this moment.
    pub fn follow(self: &Arc<Self>, simulator: &Simulator) {
        self.arrange(simulator);
        // Something else may be due first now.
        self.changed.notify_one();
    }

    fn arrange(self: &Arc<Self>, simulator: &Simulator) {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        room.follow(simulator, self);
    }

    /// A machine tells the world something.
    fn report(self: &Arc<Self>, instance: &str, report: Report) {
        let ended = matches!(report, Report::Ended { .. } | Report::NotStarted(_));
        let mut simulator = lock(&self.simulator);
        simulator.report((self.clock)(), instance, report);
        if ended {
            self.room
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .forget(instance);
        }
        self.follow(&simulator);
    }
}
