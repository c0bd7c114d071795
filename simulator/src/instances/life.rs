//! What happens to an instance by itself: it boots, its guest acts, it stops and ends.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::run::decode_user_data;
use super::{Instance, Machine, ShutdownBehavior, State};
use crate::disk::{Disk, File};
use crate::durations::{self, TERMINATED_VISIBLE_SECONDS};
use crate::guest::{self, Boot, Event, Guests, Scheduled};
use crate::images::StateReason;
use crate::region::Region;
use crate::schedule::{Due, GuestAct};
use crate::time::{Time, after};
use crate::volumes::{AttachmentState, VolumeState};

/// What EC2 keeps of a serial console.
const CONSOLE_BYTES: usize = 64 * 1024;

impl Region {
    /// `pending` ends: the guest boots, or the launch turns out to have failed.
    pub fn instance_running(&mut self, at: Timestamp, id: &str) {
        let checks_pass = after(at, self.lasts(durations::STATUS_CHECKS));
        let Some(instance) = self
            .instances
            .get_mut(id)
            .filter(|instance| instance.state == State::Pending)
        else {
            return;
        };
        if let Some(reason) = instance.launch_fails.clone() {
            self.begin_termination(at, id, reason);
            return;
        }
        if self.guests == Guests::Machines && instance.machine != Machine::On {
            // It is pending until its machine has been started.
            instance.machine = Machine::Wanted;
            return;
        }
        instance.state = State::Running;
        instance.state_reason = None;
        instance.running_since = Some(at);
        instance.checks_pass = Some(checks_pass);
        instance.metadata_options.state = "applied".to_owned();
        for volume in self.volumes.values_mut() {
            if let Some(attachment) = volume
                .attachment
                .as_mut()
                .filter(|attachment| attachment.instance_id == id)
            {
                attachment.state = AttachmentState::Attached;
            }
        }
        self.begin_boot(at, id);
    }

    /// Starts the guest; what an earlier boot still had in mind is dropped.
    fn begin_boot(&mut self, at: Timestamp, id: &str) {
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        instance.boot += 1;
        let boot = instance.boot;
        let first_boot = !std::mem::replace(&mut instance.has_booted, true);
        if self.guests == Guests::Scripted {
            let mut events = self.guest(id, at, first_boot, guest::boot);
            let others: Vec<String> = self
                .attached(id)
                .filter(|(_, attachment)| {
                    Some(&attachment.device) != self.instances.get(id).map(|i| &i.root_device_name)
                })
                .map(|(volume, _)| volume.id.clone())
                .collect();
            for volume in others {
                events.extend(self.guest_sees_volume(id, at, at, &volume));
            }
            self.queue(at, id, boot, events);
        }
        self.later(
            at,
            durations::CONSOLE_CAPTURE,
            Due::ConsoleCaptured {
                instance: id.to_owned(),
                boot,
            },
        );
    }

    /// A volume's attachment is complete; a running guest sees it.
    pub fn volume_attached(&mut self, at: Timestamp, volume_id: &str) {
        let attachment = self
            .volumes
            .get_mut(volume_id)
            .and_then(|volume| volume.attachment.as_mut());
        let Some(attachment) = attachment.filter(|attachment| attachment.state == AttachmentState::Attaching) else {
            return;
        };
        attachment.state = AttachmentState::Attached;
        if self.guests == Guests::Machines {
            return;
        }
        let id = attachment.instance_id.clone();
        let Some(Instance {
            boot,
            running_since: Some(booted),
            ..
        }) = self.instances.get(&id)
        else {
            return;
        };
        let (boot, booted) = (*boot, *booted);
        let events = self.guest_sees_volume(&id, booted, at, volume_id);
        self.queue(at, &id, boot, events);
    }

    fn guest_sees_volume(&self, id: &str, booted: Timestamp, at: Timestamp, volume_id: &str) -> Vec<Scheduled> {
        let since_boot = Duration::try_from(at.duration_since(booted)).unwrap_or_default();
        let root = self
            .instances
            .get(id)
            .map(|instance| instance.root_device_name.as_str());
        let further = self.attached(id).filter(|(_, attachment)| {
            attachment.state == AttachmentState::Attached && Some(attachment.device.as_str()) != root
        });
        let further: Vec<&Disk> = further.map(|(volume, _)| &volume.disk).collect();
        self.guest(id, booted, false, |boot| {
            guest::volume_attached(boot, since_boot, volume_id, &further)
        })
    }

    /// Asks the guest model what an instance does.
    fn guest(
        &self,
        id: &str,
        booted: Timestamp,
        first_boot: bool,
        ask: impl FnOnce(&Boot<'_>) -> Vec<Scheduled>,
    ) -> Vec<Scheduled> {
        let Some(instance) = self.instances.get(id) else {
            return Vec::new();
        };
        let user_data = instance
            .user_data
            .as_deref()
            .and_then(|text| decode_user_data(text).ok());
        let empty = Disk::default();
        let root = self
            .attached(id)
            .find(|(_, attachment)| attachment.device == instance.root_device_name);
        let instructions: Vec<String> = self
            .guest_rules
            .iter()
            .filter(|rule| rule.matches(instance))
            .flat_map(|rule| rule.instructions.iter().cloned())
            .collect();
        ask(&Boot {
            instance_id: id,
            user_data: user_data.as_deref().unwrap_or_default(),
            root: root.map_or(&empty, |(volume, _)| &volume.disk),
            first_boot,
            booted,
            scale: self.latency_scale,
            instructions: &instructions,
        })
    }

    fn queue(&mut self, at: Timestamp, id: &str, boot: u32, events: Vec<Scheduled>) {
        for Scheduled { after: delay, event } in events {
            let act = match event {
                Event::Console(text) => GuestAct::Console(text),
                Event::Write { path, mode, content } => GuestAct::Write { path, mode, content },
                Event::Remove { path } => GuestAct::Remove { path },
                Event::PowerOff => GuestAct::PowerOff,
            };
            let due = after(at, SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX));
            self.schedule.put(
                due,
                Due::Guest {
                    instance: id.to_owned(),
                    boot,
                    act,
                },
            );
        }
    }

    /// The guest does something, unless it has stopped or booted again since it had that in mind.
    pub fn guest_acts(&mut self, at: Timestamp, id: &str, boot: u32, act: GuestAct) {
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        if instance.boot != boot || instance.state != State::Running {
            return;
        }
        match act {
            GuestAct::Console(text) => instance.print(&text),
            GuestAct::Write { path, mode, content } => {
                if let Some(disk) = self.root_disk(id) {
                    disk.files.insert(
                        path,
                        File {
                            mode,
                            content,
                            modified: at,
                        },
                    );
                }
            }
            GuestAct::Remove { path } => {
                if let Some(disk) = self.root_disk(id) {
                    disk.files.remove(&path);
                }
            }
            GuestAct::PowerOff => self.powered_off(at, id),
        }
    }

    /// The guest has ended by itself.
    pub(super) fn powered_off(&mut self, at: Timestamp, id: &str) {
        let Some(instance) = self.instances.get(id) else {
            return;
        };
        let reason = StateReason {
            code: "Client.InstanceInitiatedShutdown".to_owned(),
            message: "Client.InstanceInitiatedShutdown: Instance initiated shutdown".to_owned(),
        };
        match instance.shutdown_behavior {
            ShutdownBehavior::Stop => self.begin_stop(at, id, reason, false),
            ShutdownBehavior::Terminate => self.begin_termination(at, id, reason),
        }
    }

    fn root_disk(&mut self, id: &str) -> Option<&mut Disk> {
        let device = &self.instances.get(id)?.root_device_name;
        self.volumes
            .values_mut()
            .find(|v| {
                v.attachment
                    .as_ref()
                    .is_some_and(|a| a.instance_id == id && a.device == *device)
            })
            .map(|volume| &mut volume.disk)
    }

    pub fn reboot(&mut self, now: Timestamp, id: &str) {
        let Some(instance) = self
            .instances
            .get_mut(id)
            .filter(|instance| instance.state == State::Running)
        else {
            return;
        };
        instance.capture_console(now);
        self.begin_boot(now, id);
    }

    pub fn begin_stop(&mut self, now: Timestamp, id: &str, reason: StateReason, at_once: bool) {
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        instance.leave_running(now, State::Stopping, reason);
        if instance.machine.ends(if at_once {
            Machine::Unplugged
        } else {
            Machine::ShuttingDown
        }) {
            return;
        }
        let due = Due::InstanceStopped {
            instance: id.to_owned(),
        };
        match at_once {
            true => self.schedule.put(now, due),
            false => {
                self.later(now, durations::STOP, due);
            }
        }
    }

    pub fn instance_stopped(&mut self, at: Timestamp, id: &str) {
        let Some(instance) = self
            .instances
            .get_mut(id)
            .filter(|instance| instance.state == State::Stopping)
        else {
            return;
        };
        instance.state = State::Stopped;
        instance.public_ip = None;
        instance.capture_console(at);
    }

    pub fn begin_termination(&mut self, now: Timestamp, id: &str, reason: StateReason) {
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        instance.leave_running(now, State::ShuttingDown, reason);
        if instance.machine.ends(Machine::Unplugged) {
            return;
        }
        self.later(
            now,
            durations::TERMINATE,
            Due::InstanceTerminated {
                instance: id.to_owned(),
            },
        );
    }

    /// The instance lets go of its volumes, and is described for another hour.
    pub fn instance_terminated(&mut self, at: Timestamp, id: &str) {
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        instance.state = State::Terminated;
        instance.public_ip = None;
        instance.capture_console(at);
        self.volumes.retain(|_, volume| {
            let ours = |a: &crate::volumes::Attachment| a.instance_id == id;
            !volume
                .attachment
                .as_ref()
                .is_some_and(|a| ours(a) && a.delete_on_termination)
        });
        for volume in self.volumes.values_mut() {
            if volume
                .attachment
                .as_ref()
                .is_some_and(|attachment| attachment.instance_id == id)
            {
                volume.attachment = None;
                volume.state = VolumeState::Available;
            }
        }
        let forgotten = after(at, SignedDuration::from_secs(TERMINATED_VISIBLE_SECONDS));
        self.schedule.put(
            forgotten,
            Due::InstanceForgotten {
                instance: id.to_owned(),
            },
        );
    }
}

impl Instance {
    /// Appends to the serial console, of which the last 64 KiB are kept.
    pub(super) fn print(&mut self, text: &str) {
        self.console.push_str(text);
        if let Some(mut cut) = self.console.len().checked_sub(CONSOLE_BYTES) {
            while !self.console.is_char_boundary(cut) {
                cut += 1;
            }
            self.console.drain(..cut);
        }
    }

    pub fn capture_console(&mut self, at: Timestamp) {
        self.captured_console = Some((at, self.console.clone()));
    }

    fn leave_running(&mut self, now: Timestamp, to: State, reason: StateReason) {
        let who = match reason.code.as_str() {
            "Client.UserInitiatedShutdown" => "User initiated",
            "Client.InstanceInitiatedShutdown" => "Instance initiated",
            _ => "Server initiated",
        };
        self.transition_reason = format!("{who} ({} GMT)", Time(now).0.strftime("%Y-%m-%d %H:%M:%S"));
        self.state = to;
        self.state_reason = Some(reason);
        self.running_since = None;
        self.checks_pass = None;
        self.boot += 1;
    }
}
