//! What faults do to the world around a request, and what of it lasts beyond that request.

use std::collections::VecDeque;
use std::fmt;

use goldsmith_simulator::engine::{Simulator, State};
use goldsmith_simulator::faults::{self, FaultKind};
use goldsmith_simulator::tcp;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::api_server::Answer;
use crate::history::Step;
use crate::interference;
use crate::plan::Fault;
use crate::story::{suspend, write};
use crate::world::World;

/// Reads to which an effect does not show, of each kind: those of the first looks of the next process, pages included.
const UNSEEN: u32 = 6;
const READS: [&str; 4] = [
    "DescribeInstances",
    "DescribeVolumes",
    "DescribeImages",
    "DescribeSnapshots",
];
/// Requests that are refused: more than any client sends again by itself.
const REFUSED: u32 = 5;
/// How long nobody answers: longer than the Lease lasts.
const OUTAGE: SignedDuration = SignedDuration::from_secs(20);
/// How long a call is answered with an error: longer than something may be out of EC2's answers.
const CALL_UNAVAILABLE: SignedDuration = SignedDuration::from_mins(2);
/// The same where a recipe is deleted: longer than what does not show is waited for.
const CALL_UNAVAILABLE_LONG: SignedDuration = SignedDuration::from_mins(6);
/// How long nobody can read or write the Lease: longer than it lasts, and than whoever has lost it may not know yet.
const LEASE_UNAVAILABLE: SignedDuration = SignedDuration::from_secs(40);
/// Launches for which there is no capacity.
const LAUNCHES: u32 = 3;
/// How late a request arrives: while the next process does the same, or when the build has ended without it.
const LATE: [SignedDuration; 2] = [SignedDuration::from_secs(4), SignedDuration::from_secs(30)];
/// How late watches are.
const DELAYED: SignedDuration = SignedDuration::from_secs(10);
/// How long a user suspends an object.
const SUSPENDED: SignedDuration = SignedDuration::from_mins(3);
/// Earlier states that are kept.
const KEPT: usize = 3;

/// Something that happens later by itself.
pub type Later = Box<dyn FnOnce(&World) + Send>;

/// What lasts beyond the request that was struck.
#[derive(Default)]
pub struct InForce {
    later: VecDeque<(Timestamp, Later)>,
    /// With what Kubernetes answers, and how often yet.
    refuses: Option<(Fault, u32)>,
    /// Until when nobody answers.
    outage: Option<Timestamp>,
    /// The call that AWS answers with an error, and until when.
    call_unavailable: Option<(String, Timestamp)>,
    /// Until when nobody can read or write the Lease.
    lease_unavailable: Option<Timestamp>,
    watches: Option<(Timestamp, Fault)>,
    /// The recipe is deleted in the middle of its build.
    pub recipe_goes: bool,
    /// The namespace is being deleted, and its RoleBindings went first.
    namespace_goes: bool,
    /// Statuses as they were written, the latest last.
    statuses: VecDeque<Value>,
    /// EC2 as it was before its latest changes, the latest last.
    earlier: VecDeque<(Timestamp, State)>,
}

impl fmt::Debug for InForce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("InForce").finish_non_exhaustive()
    }
}

impl InForce {
    /// Has `happens` happen at `time`.
    pub fn at(&mut self, time: Timestamp, happens: Later) {
        self.later.push_back((time, happens));
    }

    /// Has request `number` arrive when it is late, in turns less and more so.
    pub fn arrives_late(&mut self, number: usize, now: Timestamp, happens: Later) {
        self.at(now + LATE[number % LATE.len()], happens);
    }

    /// Whether nothing is still to happen or to pass.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let call = self.call_unavailable.as_ref().map(|(_, until)| *until);
        let watches = self.watches.map(|(until, _)| until);
        let lasting = [self.outage, self.lease_unavailable, call, watches];
        self.later.is_empty() && lasting.into_iter().flatten().all(|until| until <= now)
    }

    /// The first that is due.
    pub fn due(&mut self, now: Timestamp) -> Option<Later> {
        let position = self.later.iter().position(|(at, _)| *at <= now)?;
        self.later.remove(position).map(|(_, happens)| happens)
    }

    /// Until when watches are not told anything, and whether they will be told the last state alone.
    pub fn watches_held(&self, now: Timestamp) -> Option<(Timestamp, bool)> {
        let (until, fault) = self.watches?;
        (now < until).then_some((until, fault == Fault::WatchCoalesced))
    }

    /// From now on nothing is made in the namespace of the recipes, and nobody lets the controller at their records.
    pub fn namespace_goes(&mut self) {
        self.namespace_goes = true;
    }

    /// What Kubernetes says instead of doing what `step` asks.
    pub fn refusal(&mut self, step: &Step) -> Option<Answer> {
        let in_namespace = step.request.contains("/namespaces/platform/");
        let makes = step.request.starts_with("POST ") || step.request.contains("/configmaps");
        if self.namespace_goes && in_namespace && makes {
            return Some(refused(403, "Forbidden"));
        }
        if self.is_out(step) {
            return Some(refused(503, "ServiceUnavailable"));
        }
        if let Some(fault @ (Fault::Throttled | Fault::Unavailable | Fault::Denied | Fault::RecordRefused)) = step.fault
        {
            self.refuses = Some((fault, REFUSED));
        }
        let (fault, times) = self.refuses.as_mut()?;
        if *fault == Fault::RecordRefused && !step.changes_record() {
            return None;
        }
        *times = times.checked_sub(1)?;
        let (code, reason) = match fault {
            Fault::Throttled => (429, "TooManyRequests"),
            Fault::Denied => (403, "Forbidden"),
            Fault::RecordRefused => (422, "Invalid"),
            _ => (503, "ServiceUnavailable"),
        };
        Some(refused(code, reason))
    }

    /// Whether nobody answers `step`.
    fn is_out(&mut self, step: &Step) -> bool {
        match step.fault {
            Some(Fault::Outage) => self.outage = Some(step.time + OUTAGE),
            Some(Fault::LeaseUnavailable) => self.lease_unavailable = Some(step.time + LEASE_UNAVAILABLE),
            Some(Fault::CallUnavailable) => {
                let until = step.time + self.call_lasts();
                self.call_unavailable = Some((step.request.clone(), until));
            }
            _ => {}
        }
        let without_lease = self.lease_unavailable.is_some_and(|until| step.time < until);
        let mut call = self.call_unavailable.iter();
        self.outage.is_some_and(|until| step.time < until)
            || without_lease && step.request.contains("/leases")
            || call.any(|(call, until)| *call == step.request && step.time < *until)
    }

    fn call_lasts(&self) -> SignedDuration {
        match self.recipe_goes {
            true => CALL_UNAVAILABLE_LONG,
            false => CALL_UNAVAILABLE,
        }
    }

    /// For how long a single call was not answered, if one was: nobody could go on meanwhile.
    pub fn unanswered(&self) -> SignedDuration {
        let struck = self.call_unavailable.as_ref();
        struck.map_or(SignedDuration::ZERO, |_| self.call_lasts())
    }

    /// EC2 as it was before its latest change or some before, and when that was.
    pub fn earlier(&self, fault: Fault) -> Option<(Timestamp, Simulator)> {
        let back = match fault {
            Fault::OlderByOne => 1,
            Fault::OlderByThree => KEPT,
            _ => return None,
        };
        let position = self.earlier.len().saturating_sub(back);
        let (then, state) = self.earlier.get(position)?;
        Some((*then, Simulator::resume(state.clone())))
    }
}

fn refused(code: u16, reason: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": "refused on purpose",
    });
    Answer::Value(code, status)
}

/// What is done to EC2 before it is asked.
pub fn before_aws(world: &World, step: &Step) {
    let fault = |kind, code: Option<&str>, count| faults::Fault {
        operation: "*".into(),
        region: None,
        value: None,
        kind,
        code: code.map(str::to_owned),
        message: None,
        status: None,
        seconds: None,
        count: Some(count),
        probability: 1.0,
    };
    let added = match step.fault {
        Some(Fault::Throttled) => Some(fault(FaultKind::Throttle, None, REFUSED)),
        _ if world.state().in_force.is_out(step) => Some(fault(FaultKind::Error, Some("Unavailable"), 1)),
        Some(Fault::Unavailable) => Some(fault(FaultKind::Error, Some("Unavailable"), REFUSED)),
        Some(Fault::Denied) => Some(fault(FaultKind::Error, Some("UnauthorizedOperation"), REFUSED)),
        Some(Fault::NoCapacity) => Some(faults::Fault {
            operation: "RunInstances".into(),
            ..fault(FaultKind::Capacity, None, LAUNCHES)
        }),
        Some(Fault::QuotaExceeded) => Some(faults::Fault {
            operation: "RunInstances".into(),
            ..fault(FaultKind::Error, Some("VcpuLimitExceeded"), LAUNCHES)
        }),
        Some(Fault::RequestRefused) => Some(fault(FaultKind::Error, Some("InvalidParameterValue"), 1)),
        Some(Fault::ImageFailed) => Some(faults::Fault {
            operation: "CreateImage".into(),
            ..fault(FaultKind::Failed, None, 1)
        }),
        Some(Fault::ImageErrored) => Some(faults::Fault {
            operation: "CreateImage".into(),
            ..fault(FaultKind::Errored, None, 1)
        }),
        Some(Fault::VolumeStuck) => Some(fault(FaultKind::Stuck, None, 1)),
        _ => None,
    };
    let mut simulator = tcp::lock(&world.simulator);
    let unseen = READS.iter().filter(|_| step.fault == Some(Fault::DiesUnseen));
    let unseen = unseen.map(|read| faults::Fault {
        operation: (*read).into(),
        ..fault(FaultKind::Stale, None, UNSEEN)
    });
    for fault in added.into_iter().chain(unseen) {
        let added = simulator.faults.add(fault);
        debug_assert_eq!(added, Ok(()));
    }
    if step.mutates && world.state().answers_older() {
        simulator.advance(step.time);
        let state = simulator.state.clone();
        let earlier = &mut world.state().in_force.earlier;
        earlier.push_back((step.time, state));
        if earlier.len() > KEPT {
            earlier.pop_front();
        }
    }
}

/// What others do once the request has had its effect.
pub fn after(world: &World, step: &Step, fault: Fault) {
    let now = step.time;
    match fault {
        Fault::StatusEmptied => set_status(world, &step.request, &Value::Null),
        Fault::StatusSetBack | Fault::StatusSetFarBack => {
            let back = if fault == Fault::StatusSetBack { 1 } else { KEPT };
            let earlier = {
                let state = world.state();
                let statuses = &state.in_force.statuses;
                let position = statuses.len().checked_sub(1 + back);
                position.and_then(|position| statuses.get(position)).cloned()
            };
            set_status(world, &step.request, &earlier.unwrap_or_default());
        }
        Fault::Suspended => {
            suspend(world, true);
            let later: Later = Box::new(move |world| suspend(world, false));
            world.state().in_force.later.push_back((now + SUSPENDED, later));
        }
        _ => interference::interfere(world, step, fault),
    }
}

/// Watches are held, or end, before what people write as a request comes, and before the request itself has its effect.
pub fn before_people(world: &World, step: &Step) {
    match step.fault {
        Some(fault @ (Fault::WatchDelayed | Fault::WatchCoalesced)) => {
            world.state().in_force.watches = Some((step.time + DELAYED, fault));
        }
        Some(Fault::WatchExpired) => world.state().api.expire(),
        _ => {}
    }
}

/// Keeps the status that was written.
pub fn wrote(world: &World, step: &Step, answer: &Answer) {
    if let Answer::Value(200, object) = answer
        && step.mutates
        && step.request.contains("/imagerecipes/")
        && step.request.ends_with("/status")
    {
        let statuses = &mut world.state().in_force.statuses;
        statuses.push_back(object["status"].clone());
        if statuses.len() > KEPT + 1 {
            statuses.pop_front();
        }
    }
}

fn set_status(world: &World, request: &str, status: &Value) {
    let path = request.split(' ').next_back().unwrap_or_default();
    let recipe = json!({"apiVersion": "goldsmith.dev/v1alpha1", "kind": "ImageRecipe", "status": status});
    write(world, "PUT", path, &recipe);
}
