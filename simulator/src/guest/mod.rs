//! The guest model: what an instance does between power-on and power-off, told from its user data without running any of it.
//!
//! It knows the user data of Goldsmith's three guests by their own data section and answers on the console in the same protocol.
//! Anything else boots to a login prompt. `#sim:` lines say where a guest departs from the good course; see `README.md`, "Guests".

mod builder;
mod console;
mod inspector;
mod instruction;
mod linux;
mod rules;
mod test_instance;
mod timeline;
mod user_data;

use std::time::Duration;

pub use instruction::check_instructions;

use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use timeline::Timeline;
use user_data::Script;

/// What an instance is inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guests {
    /// This model.
    #[default]
    Scripted,
    /// Machines outside the engine, which report what they do; see `README.md`, "Real guests".
    Machines,
}

/// An instance that has entered `running`.
pub struct Boot<'a> {
    pub instance_id: &'a str,
    /// As the instance sees it: decoded from base64, perhaps compressed.
    pub user_data: &'a [u8],
    pub root: &'a Disk,
    /// False on a later start of the same instance: cloud-init runs user data once.
    pub first_boot: bool,
    pub booted: jiff::Timestamp,
    /// Of the boot and of steps that say nothing about their length. What a script or a timer names is not scaled.
    pub scale: f64,
    /// `#sim:` lines from outside.
    pub instructions: &'a [String],
}

/// What a guest does.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Writes to the serial console.
    Console(String),
    /// Writes a file on the root volume.
    Write { path: String, mode: u32, content: String },
    /// Removes a file on the root volume.
    Remove { path: String },
    /// Powers off from inside.
    PowerOff,
}

/// An event, and when it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduled {
    /// Since the instance was booted, or the volume attached.
    pub after: Duration,
    pub event: Event,
}

/// Everything that a guest does of itself, in order.
pub fn boot(boot: &Boot<'_>) -> Vec<Scheduled> {
    let mut timeline = Timeline::new(boot);
    let script = Script::read(boot.user_data).filter(|_| boot.first_boot);
    let instructions = instruction::from_outside(boot.instructions);
    linux::boot(&mut timeline, &instructions.boot);
    if let Some(script) = &script {
        timeline.power_off_at(script.seconds("LIFETIME"));
        match script.text("ROLE") {
            "builder" => builder::run(&mut timeline, script, &instructions),
            "test" => test_instance::run(&mut timeline, script, &instructions),
            "inspector" => inspector::wait(&mut timeline, script),
            role => timeline.console(&format!("this guest model knows no role {role:?}")),
        }
        timeline.wait_for_timer();
    }
    timeline.events()
}

/// What a guest does once a further volume is attached while it runs: an inspector that has all the `volumes` it waits for reads them.
pub fn volume_attached(boot: &Boot<'_>, since_boot: Duration, volume_id: &str, volumes: &[&Disk]) -> Vec<Scheduled> {
    let mut timeline = Timeline::since(boot, since_boot);
    let instructions = instruction::from_outside(boot.instructions).boot;
    timeline.obey_console(&instructions);
    timeline.pass_scaled(0.2);
    timeline.console(&format!(
        "nvme nvme1: Amazon Elastic Block Store {}",
        volume_id.replace('-', "")
    ));
    let script = Script::read(boot.user_data).filter(|script| script.text("ROLE") == "inspector");
    // The inspector looks for disks that were not there when it came up.
    if let Some(script) = script.filter(|_| since_boot >= linux::boot_time(boot, &instructions)) {
        inspector::inspect(&mut timeline, &script, volumes);
    }
    timeline.events()
}
