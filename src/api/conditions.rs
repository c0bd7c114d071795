//! Conditions, and the three of them by which `kstatus` (kubectl, Flux, Helm, Argo CD) tells whether an object is fine.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Whether the object does what its spec says.
pub const READY: &str = "Ready";
/// Present, and True, while the controller works on it or will try again soon.
pub const RECONCILING: &str = "Reconciling";
/// Present, and True, when someone has to change something first.
pub const STALLED: &str = "Stalled";
/// Whether the source image could be found.
pub const SOURCE_RESOLVED: &str = "SourceResolved";

/// Longest message of a condition, in bytes: the API server refuses more.
pub const MESSAGE_LIMIT: usize = 32 * 1024;

/// Where an object stands, by the rules of `kstatus`.
///
/// | | Ready | Reconciling | Stalled |
/// | --- | --- | --- | --- |
/// | `Ready`: done; or waiting for people or a calendar; or making anew what is there and still good | True | absent | absent |
/// | `Progressing`: on its way, held half-way, or about to retry | False | True | absent |
/// | `Stalled`: permanent error; denied by AWS | False | absent | True |
/// | `Suspended` | unchanged | absent | absent |
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready { reason: String, message: String },
    Progressing { reason: String, message: String },
    Stalled { reason: String, message: String },
    Suspended,
}

impl Readiness {
    /// Puts it into the object's conditions, as seen at `generation`; says whether anything has changed.
    pub fn apply(&self, conditions: &mut Vec<Condition>, generation: i64, now: Timestamp) -> bool {
        let mut changed = false;
        let mut put = |type_: &str, status: Option<bool>, reason: &str, message: &str| {
            changed |= match status {
                Some(status) => set(conditions, type_, status, reason, message, generation, now),
                None => remove(conditions, type_),
            }
        };
        match self {
            Self::Ready { reason, message } => {
                put(READY, Some(true), reason, message);
                put(RECONCILING, None, "", "");
                put(STALLED, None, "", "");
            }
            Self::Progressing { reason, message } => {
                put(READY, Some(false), reason, message);
                put(RECONCILING, Some(true), reason, message);
                put(STALLED, None, "", "");
            }
            Self::Stalled { reason, message } => {
                put(READY, Some(false), reason, message);
                put(RECONCILING, None, "", "");
                put(STALLED, Some(true), reason, message);
            }
            Self::Suspended => {
                put(RECONCILING, None, "", "");
                put(STALLED, None, "", "");
            }
        }
        changed
    }
}

/// Sets one condition; says whether anything has changed. The time is that of the last change of `status`, in whole
/// seconds: the API server keeps no more, and a finer one would differ from what is read back.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    status: bool,
    reason: &str,
    message: &str,
    generation: i64,
    now: Timestamp,
) -> bool {
    let wanted = Condition {
        type_: type_.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: truncated(message, MESSAGE_LIMIT).to_owned(),
        observed_generation: Some(generation),
        last_transition_time: Time(whole_seconds(now)),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        None => conditions.push(wanted),
        Some(present) => {
            let since = if present.status == wanted.status {
                present.last_transition_time.clone()
            } else {
                wanted.last_transition_time.clone()
            };
            let wanted = Condition {
                last_transition_time: since,
                ..wanted
            };
            if *present == wanted {
                return false;
            }
            *present = wanted;
        }
    }
    true
}

/// Takes one condition away; says whether it was there.
pub fn remove(conditions: &mut Vec<Condition>, type_: &str) -> bool {
    let before = conditions.len();
    conditions.retain(|condition| condition.type_ != type_);
    conditions.len() != before
}

/// The condition of that type.
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// `time` without its fraction of a second.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    // Every Timestamp's second is in a Timestamp's range, but for the fraction at its far, negative end.
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The longest beginning of `text` that has at most `bytes` bytes and cuts no character.
pub fn truncated(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
