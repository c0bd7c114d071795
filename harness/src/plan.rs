//! What goes wrong in a run, and at which request.

use std::fmt;
use std::str::FromStr;

use crate::history::{Peer, Step};

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process dies; the request never arrives.
    DiesBefore,
    /// The process dies once the request has had its effect, before the answer comes; the next one has another name, and waits for the Lease.
    DiesAfter,
    /// The process is asked to stop (SIGTERM) as it makes the request, and another takes its place once it has ended.
    Stopped,
    /// The process dies before the request, and the next seals with another key: the one of before only verifies.
    KeyRotated,
    /// The process dies once the request has had its effect, and the next one begins three hours later.
    Away,
    /// The process dies once the request has had its effect, and what AWS is asked next shows the world as it was before that effect.
    DiesUnseen,
    /// The request has its effect, and the connection closes without an answer.
    AnswerLost,
    /// The process dies, another takes its place, and the request arrives four or thirty seconds after that.
    ArrivesLate,
    /// AWS answers as it would have before the latest change.
    OlderByOne,
    /// AWS answers as it would have three changes ago.
    OlderByThree,
    /// Whom it asks refuses it, and what comes next, as too much at a time.
    Throttled,
    /// Whom it asks answers it, and what comes next, with an error of its own.
    Unavailable,
    /// AWS and Kubernetes answer with errors alone for twenty seconds: the Lease is lost meanwhile.
    Outage,
    /// Whom it asks answers that call, whoever makes it, with an error of its own for two minutes, and all others as ever; for six where the
    /// recipe is deleted.
    CallUnavailable,
    /// Nobody can read or write the Lease for longer than it lasts; everything else goes on.
    LeaseUnavailable,
    /// Whom it asks denies it, and what comes next.
    Denied,
    /// Kubernetes does not take this change of a record, nor the next ones: a quota, a policy.
    RecordRefused,
    /// What this write changes, or people beside it, and what comes next, reaches watches late.
    WatchDelayed,
    /// As `WatchDelayed`, and of each object the last state alone is told.
    WatchCoalesced,
    /// All watches end with 410 instead of telling of it: what is there has to be listed anew.
    WatchExpired,
    /// The status that was just written is emptied.
    StatusEmptied,
    /// The status that was just written is set back to the one before.
    StatusSetBack,
    /// The status that was just written is set back to one of three writes ago.
    StatusSetFarBack,
    /// The user suspends the object for three minutes.
    Suspended,
    /// The process is frozen with this request in hand; another takes its place and comes to rest; then the first goes on with what it
    /// was about to do.
    Frozen,
    /// As `Frozen`, but the first goes on while the other, which has just taken the Lease, is at work.
    HeldUp,
    /// Another process takes the Lease, holds it for most of a minute, and is heard of no more.
    LeaseTaken,
    /// From now on a second process believes that it leads, as the first does.
    SecondLeader,
    /// The object is deleted, without its finalizer, and made anew with another uid.
    Recreated,
    /// The user changes a tag of the image.
    TagEdited,
    /// The user changes a step.
    StepEdited,
    /// The user deletes the object.
    Deleted,
    /// EC2 has no capacity, for this launch and the next two.
    NoCapacity,
    /// The account has no vCPUs left, for this launch and the next two.
    QuotaExceeded,
    /// EC2 takes what it is asked for as invalid.
    RequestRefused,
    /// Someone terminates the controller's instances.
    InstancesTerminated,
    /// Someone takes the protection off the controller's images and deregisters them.
    ImagesDeregistered,
    /// The image that is being made ends in `failed`.
    ImageFailed,
    /// The image that is being made ends in `error`.
    ImageErrored,
    /// The volume never becomes available, or attached.
    VolumeStuck,
    /// Nothing that the instance says reaches its console.
    ConsoleSilent,
}

impl Fault {
    /// Every one; what takes the least time comes first.
    pub const ALL: [Self; 41] = [
        Self::DiesUnseen,
        Self::AnswerLost,
        Self::DiesAfter,
        Self::ArrivesLate,
        Self::WatchDelayed,
        Self::WatchCoalesced,
        Self::WatchExpired,
        Self::StatusEmptied,
        Self::StatusSetBack,
        Self::StatusSetFarBack,
        Self::Suspended,
        Self::NoCapacity,
        Self::QuotaExceeded,
        Self::RequestRefused,
        Self::ImageFailed,
        Self::ImageErrored,
        Self::VolumeStuck,
        Self::ConsoleSilent,
        Self::Away,
        Self::Outage,
        Self::LeaseTaken,
        Self::LeaseUnavailable,
        Self::KeyRotated,
        Self::CallUnavailable,
        Self::TagEdited,
        Self::StepEdited,
        Self::Deleted,
        Self::Recreated,
        Self::InstancesTerminated,
        Self::ImagesDeregistered,
        Self::OlderByOne,
        Self::OlderByThree,
        Self::DiesBefore,
        Self::Stopped,
        Self::Throttled,
        Self::Unavailable,
        Self::Denied,
        Self::RecordRefused,
        Self::Frozen,
        Self::HeldUp,
        Self::SecondLeader,
    ];

    /// Those of which pairs are drawn.
    pub const PAIRED: [Self; 6] = [
        Self::DiesBefore,
        Self::DiesAfter,
        Self::DiesUnseen,
        Self::AnswerLost,
        Self::OlderByOne,
        Self::OlderByThree,
    ];

    /// Its name in plans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DiesBefore => "dies-before",
            Self::DiesAfter => "dies-after",
            Self::DiesUnseen => "dies-unseen",
            Self::Stopped => "stopped",
            Self::KeyRotated => "key-rotated",
            Self::Away => "away",
            Self::AnswerLost => "answer-lost",
            Self::ArrivesLate => "arrives-late",
            Self::OlderByOne => "older-by-one",
            Self::OlderByThree => "older-by-three",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::CallUnavailable => "call-unavailable",
            Self::LeaseUnavailable => "lease-unavailable",
            Self::Denied => "denied",
            Self::Outage => "outage",
            Self::RecordRefused => "record-refused",
            Self::WatchDelayed => "watch-delayed",
            Self::WatchCoalesced => "watch-coalesced",
            Self::WatchExpired => "watch-expired",
            Self::StatusEmptied => "status-emptied",
            Self::StatusSetBack => "status-set-back",
            Self::StatusSetFarBack => "status-set-far-back",
            Self::Suspended => "suspended",
            Self::Frozen => "frozen",
            Self::HeldUp => "held-up",
            Self::SecondLeader => "second-leader",
            Self::LeaseTaken => "lease-taken",
            Self::Recreated => "recreated",
            Self::TagEdited => "tag-edited",
            Self::StepEdited => "step-edited",
            Self::Deleted => "deleted",
            Self::NoCapacity => "no-capacity",
            Self::QuotaExceeded => "quota-exceeded",
            Self::RequestRefused => "request-refused",
            Self::InstancesTerminated => "instances-terminated",
            Self::ImagesDeregistered => "images-deregistered",
            Self::ImageFailed => "image-failed",
            Self::ImageErrored => "image-errored",
            Self::VolumeStuck => "volume-stuck",
            Self::ConsoleSilent => "console-silent",
        }
    }

    /// Whether it can strike `step`, as that was in the undisturbed run. To die after a request that changes nothing is to die
    /// before the next one.
    pub fn strikes(self, step: &Step) -> bool {
        let aws = step.peer == Peer::Aws;
        let recipes = step.mutates && step.request.contains("/imagerecipes/");
        match self {
            Self::DiesBefore
            | Self::Stopped
            | Self::Throttled
            | Self::Unavailable
            | Self::Denied
            | Self::Frozen
            | Self::HeldUp
            | Self::SecondLeader => true,
            Self::DiesAfter | Self::AnswerLost | Self::ArrivesLate => step.mutates,
            Self::RecordRefused => step.changes_record(),
            Self::DiesUnseen => step.mutates && aws,
            Self::OlderByOne | Self::OlderByThree => !step.mutates && aws,
            Self::CallUnavailable => !step.mutates && !step.request.contains("/leases"),
            Self::WatchDelayed | Self::WatchCoalesced | Self::WatchExpired => recipes || step.people,
            Self::StatusEmptied | Self::StatusSetBack | Self::StatusSetFarBack | Self::Recreated => {
                recipes && step.request.ends_with("/status")
            }
            Self::Suspended
            | Self::Outage
            | Self::LeaseTaken
            | Self::LeaseUnavailable
            | Self::KeyRotated
            | Self::TagEdited
            | Self::StepEdited
            | Self::Deleted
            | Self::InstancesTerminated
            | Self::ImagesDeregistered => step.is_activity(),
            Self::NoCapacity | Self::QuotaExceeded | Self::ConsoleSilent | Self::Away => step.request == "RunInstances",
            Self::ImageFailed | Self::ImageErrored => step.request == "CreateImage",
            Self::VolumeStuck => ["CreateVolume", "AttachVolume"].contains(&step.request.as_str()),
            Self::RequestRefused => ["RunInstances", "CreateImage", "CreateVolume"].contains(&step.request.as_str()),
        }
    }

    /// How the id begins of what has to have been made before it makes a difference.
    pub fn of_what_was_made(self) -> Option<&'static str> {
        match self {
            Self::InstancesTerminated => Some("i-"),
            Self::ImagesDeregistered => Some("ami-"),
            _ => None,
        }
    }

    /// Whether it is something that a user asks for: the end is what it is when the user asks for it once all is done.
    pub fn is_asked_for(self) -> bool {
        matches!(
            self,
            Self::Suspended | Self::TagEdited | Self::StepEdited | Self::Deleted | Self::Recreated
        )
    }

    /// Whether other attempts or builds lie behind the world at the end: it is compared by what users have got, and not object by
    /// object.
    pub fn takes_another_way(self) -> bool {
        self.is_asked_for() && self != Self::Suspended
            || matches!(
                self,
                Self::InstancesTerminated
                    | Self::ImagesDeregistered
                    | Self::RequestRefused
                    | Self::ImageFailed
                    | Self::ImageErrored
                    | Self::Away
                    | Self::VolumeStuck
                    | Self::ConsoleSilent
            )
    }

    /// Whether a process may end by itself under it: it is not the leader any more.
    pub fn ends_processes(self) -> bool {
        matches!(
            self,
            Self::Frozen | Self::HeldUp | Self::SecondLeader | Self::LeaseTaken | Self::LeaseUnavailable | Self::Outage
        )
    }

    /// Whether the process that comes next has another name: its Pod is another one.
    pub fn moves_processes(self) -> bool {
        self == Self::DiesAfter
    }

    /// Whether the process is gone with it.
    pub fn kills(self) -> bool {
        matches!(
            self,
            Self::DiesBefore | Self::DiesAfter | Self::DiesUnseen | Self::ArrivesLate | Self::KeyRotated | Self::Away
        )
    }
}

/// A run: which story, and what goes wrong in it. Written `STORY`, `STORY/FAULT/REQUEST`, or with more of the latter behind; `STORY@SEED`
/// where the seed is not 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Plan {
    pub story: String,
    /// Of EC2's ids and durations.
    pub seed: u64,
    /// Each with the number of the request that it strikes, counted from 1 through all lives of the process.
    pub faults: Vec<(Fault, usize)>,
}

impl Plan {
    /// The story as it goes when nothing goes wrong.
    pub fn undisturbed(story: &str, seed: u64) -> Self {
        Self {
            story: story.to_owned(),
            seed,
            faults: Vec::new(),
        }
    }

    /// The same story with one thing that goes wrong.
    pub fn with(&self, fault: Fault, request: usize) -> Self {
        Self {
            story: self.story.clone(),
            seed: self.seed,
            faults: vec![(fault, request)],
        }
    }

    /// Each of its faults for itself, if there are several.
    pub fn each_alone(&self) -> impl Iterator<Item = Self> {
        let several = Some(&self.faults).filter(|faults| faults.len() > 1);
        let faults = several.into_iter().flatten();
        faults.map(|(fault, request)| self.with(*fault, *request))
    }

    /// The fault that decides with what the end is compared, if not with the undisturbed run.
    pub fn decisive(&self) -> Option<Fault> {
        let mut faults = self.faults.iter().map(|(fault, _)| *fault);
        faults.find(|fault| fault.is_asked_for() || fault.takes_another_way())
    }

    /// What it is counted under: the fault, or `pairs`.
    pub fn class(&self) -> &'static str {
        match self.faults[..] {
            [] => "undisturbed",
            [(fault, _)] => fault.as_str(),
            _ => "pairs",
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.story)?;
        if self.seed != 0 {
            write!(formatter, "@{}", self.seed)?;
        }
        self.faults
            .iter()
            .try_for_each(|(fault, request)| write!(formatter, "/{}/{request}", fault.as_str()))
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let faults = Fault::ALL.map(Fault::as_str).join(", ");
            format!(
                "{text:?} is no plan; write STORY or STORY/FAULT/REQUEST, or STORY@SEED in place of STORY, where FAULT is one of {faults}"
            )
        };
        let mut parts = text.split('/');
        let story = parts.next().unwrap_or_default();
        let (story, seed) = story.split_once('@').unwrap_or((story, "0"));
        let mut plan = Self::undisturbed(story, seed.parse().map_err(|_| wrong())?);
        while let Some(name) = parts.next() {
            let fault = Fault::ALL.into_iter().find(|known| known.as_str() == name);
            let request = parts.next().and_then(|number| number.parse().ok());
            plan.faults.push(fault.zip(request).ok_or_else(wrong)?);
        }
        Ok(plan)
    }
}
