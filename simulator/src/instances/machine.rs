//! Instances whose guests are real: what the engine wants of the machines that stand for them, and what these report.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::State;
use crate::durations;
use crate::engine::Simulator;
use crate::images::StateReason;
use crate::region::Region;
use crate::schedule::Due;
use crate::volumes::AttachmentState;

/// What there is to be of an instance's machine. The engine says so, and learns by a [`Report`] what has become of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    /// None.
    #[default]
    Off,
    /// It is to be started as soon as there is room.
    Wanted,
    /// It runs.
    On,
    /// It was asked to shut down.
    ShuttingDown,
    /// It is to end at once.
    Unplugged,
}

impl Machine {
    /// Ends in this way if there is anything to end. Then a report says when it has.
    pub(super) fn ends(&mut self, way: Machine) -> bool {
        let there = matches!(self, Machine::On | Machine::ShuttingDown | Machine::Unplugged);
        *self = if there { way } else { Machine::Off };
        there
    }
}

/// What a machine tells the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It has been started.
    Started,
    /// It could not be, and why.
    NotStarted(String),
    /// The serial console has shown this.
    Console(String),
    /// A disk that was to be detached is free.
    Released {
        /// The volume's id.
        volume: String,
    },
    /// It has ended.
    Ended {
        /// Why, unless it has powered off or its plug was pulled.
        lost: Option<String>,
    },
}

impl Simulator {
    /// The machine of an instance reports something at `now`.
    pub fn report(&mut self, now: Timestamp, instance: &str, report: Report) {
        self.advance(now);
        let mut regions = self.state.regions.values_mut();
        if let Some(region) = regions.find(|region| region.instances.contains_key(instance)) {
            region.machine_reports(now, instance, report);
        }
    }
}

impl Region {
    fn machine_reports(&mut self, at: Timestamp, id: &str, report: Report) {
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        match report {
            // It may have been terminated meanwhile.
            Report::Started if instance.machine == Machine::Wanted => {
                instance.machine = Machine::On;
                self.instance_running(at, id);
            }
            Report::Started => {}
            Report::NotStarted(why) => {
                instance.machine = Machine::Off;
                if !instance.state.ends() {
                    self.begin_termination(at, id, internal_error(&why));
                }
            }
            Report::Console(text) => instance.print(&text),
            Report::Released { volume } => {
                let detaching = self.volumes.get(&volume).and_then(|volume| volume.attachment.as_ref());
                if detaching.is_some_and(|attachment| attachment.state == AttachmentState::Detaching) {
                    self.later(at, durations::DETACH, Due::VolumeDetached { volume });
                }
            }
            Report::Ended { lost } => {
                if std::mem::take(&mut instance.machine) == Machine::Off {
                    // Nobody waits for it: it ended before it was known to have begun.
                    return;
                }
                let instance = id.to_owned();
                match self.instances.get(id).map(|instance| instance.state) {
                    Some(State::Running) => match lost {
                        None => self.powered_off(at, id),
                        Some(why) => self.begin_stop(at, id, internal_error(&why), true),
                    },
                    Some(State::Stopping) => {
                        self.later(at, durations::STOP, Due::InstanceStopped { instance });
                    }
                    Some(State::ShuttingDown) => {
                        self.later(at, durations::TERMINATE, Due::InstanceTerminated { instance });
                    }
                    _ => {}
                }
            }
        }
    }
}

fn internal_error(why: &str) -> StateReason {
    StateReason {
        code: "Server.InternalError".to_owned(),
        message: format!("Server.InternalError: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::engine::Request;
    use crate::guest::Guests;
    use crate::time::after;

    const REGION: &str = "eu-central-1";

    struct World {
        simulator: Simulator,
        now: Timestamp,
        instance: String,
    }

    impl World {
        /// An instance that has asked for its machine.
        fn launch() -> Self {
            let mut simulator = Simulator::new(0, 1.0);
            for region in simulator.state.regions.values_mut() {
                region.guests = Guests::Machines;
            }
            let mut world = Self {
                simulator,
                now: Timestamp::UNIX_EPOCH,
                instance: String::new(),
            };
            world.call(
                "RunInstances&ImageId=ami-0a200300000000001&InstanceType=m7i.large&MinCount=1&MaxCount=1\
                 &SubnetId=subnet-0a100000000000001",
            );
            let instances = world.simulator.state.regions[REGION].instances.keys();
            world.instance = instances.last().unwrap().clone();
            world.pass(3600);
            world
        }

        fn call(&mut self, action: &str) {
            let parameters = format!("Version=2016-11-15&Action={action}");
            let authorization = format!("AWS4-HMAC-SHA256 Credential=me/20260101/{REGION}/ec2/aws4_request, ");
            let request = Request {
                authorization: Some(&authorization),
                parameters: parameters.as_bytes(),
            };
            let response = self.simulator.handle(self.now, request).response.unwrap();
            assert_eq!(response.status, 200, "{}", response.body);
        }

        fn pass(&mut self, seconds: i64) {
            self.now = after(self.now, SignedDuration::from_secs(seconds));
            self.simulator.advance(self.now);
        }

        fn report(&mut self, report: Report) {
            self.simulator.report(self.now, &self.instance.clone(), report);
        }

        /// State, what there is to be of the machine, and why.
        fn is(&self) -> (State, Machine, String) {
            let instance = &self.simulator.state.regions[REGION].instances[&self.instance];
            let reason = instance.state_reason.as_ref();
            let reason = reason.map_or_else(String::new, |reason| reason.message.clone());
            (instance.state, instance.machine, reason)
        }
    }

    #[test]
    fn an_instance_is_pending_until_its_machine_has_been_started() {
        let mut world = World::launch();
        assert_eq!(world.is().0, State::Pending);
        assert_eq!(world.is().1, Machine::Wanted);
        world.report(Report::Started);
        assert_eq!(world.is(), (State::Running, Machine::On, String::new()));
    }

    #[test]
    fn a_machine_that_cannot_be_started_ends_its_instance() {
        let mut world = World::launch();
        world.report(Report::NotStarted("no room on the disk".to_owned()));
        let reason = "Server.InternalError: no room on the disk".to_owned();
        assert_eq!(world.is(), (State::ShuttingDown, Machine::Off, reason.clone()));
        world.pass(60);
        assert_eq!(world.is(), (State::Terminated, Machine::Off, reason));
    }

    #[test]
    fn a_guest_that_powers_off_stops_its_instance() {
        let mut world = World::launch();
        world.report(Report::Started);
        world.report(Report::Ended { lost: None });
        let (state, machine, reason) = world.is();
        assert_eq!((state, machine), (State::Stopping, Machine::Off));
        assert!(reason.starts_with("Client.InstanceInitiatedShutdown"), "{reason}");
        world.pass(60);
        assert_eq!(world.is().0, State::Stopped);
    }

    #[test]
    fn a_machine_that_is_lost_stops_its_instance_and_says_that_aws_did() {
        let mut world = World::launch();
        world.report(Report::Started);
        world.report(Report::Ended {
            lost: Some("QEMU has ended".to_owned()),
        });
        world.pass(1);
        let (state, _, reason) = world.is();
        assert_eq!(
            (state, reason.as_str()),
            (State::Stopped, "Server.InternalError: QEMU has ended")
        );
    }

    #[test]
    fn an_instance_is_stopping_until_its_machine_has_ended() {
        let mut world = World::launch();
        world.report(Report::Started);
        world.call(&format!("StopInstances&InstanceId.1={}", world.instance));
        world.pass(60);
        assert_eq!((world.is().0, world.is().1), (State::Stopping, Machine::ShuttingDown));
        world.report(Report::Ended { lost: None });
        world.pass(60);
        let (state, machine, reason) = world.is();
        assert_eq!((state, machine), (State::Stopped, Machine::Off));
        assert!(reason.starts_with("Client.UserInitiatedShutdown"), "{reason}");
    }

    #[test]
    fn a_terminated_instance_has_its_plug_pulled_and_what_its_machine_still_says_changes_nothing() {
        let mut world = World::launch();
        world.report(Report::Started);
        world.call(&format!("TerminateInstances&InstanceId.1={}", world.instance));
        world.pass(60);
        assert_eq!((world.is().0, world.is().1), (State::ShuttingDown, Machine::Unplugged));
        world.report(Report::Ended { lost: None });
        world.pass(60);
        assert_eq!((world.is().0, world.is().1), (State::Terminated, Machine::Off));

        let mut waiting = World::launch();
        waiting.call(&format!("TerminateInstances&InstanceId.1={}", waiting.instance));
        waiting.report(Report::Started);
        waiting.report(Report::Ended { lost: None });
        waiting.pass(60);
        assert_eq!((waiting.is().0, waiting.is().1), (State::Terminated, Machine::Off));
    }
}
