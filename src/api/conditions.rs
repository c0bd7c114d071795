//! Conditions, and the three of them by which `kstatus` (kubectl, Flux, Helm, Argo CD) tells whether an object is fine.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Reason;

/// Whether the object does what its spec says.
pub const READY: &str = "Ready";
/// Present, and True, while the controller works on it or will try again soon.
pub const RECONCILING: &str = "Reconciling";
/// Present, and True, when someone has to change something first.
pub const STALLED: &str = "Stalled";
/// Whether the source image could be found.
pub const SOURCE_RESOLVED: &str = "SourceResolved";

/// Longest message of a condition, in bytes: what `metav1.Condition` allows.
pub const CONDITION_MESSAGE_LIMIT: usize = 32 * 1024;

/// Where an object stands, by the rules of `kstatus`.
///
/// | | Ready | Reconciling | Stalled |
/// | --- | --- | --- | --- |
/// | `Ready`: done; or waiting for people or a calendar; or making anew what is there and still good | True | absent | absent |
/// | `Progressing`: on its way, held half-way, or about to retry | False | True | absent |
/// | `Stalled`: permanent error; denied by AWS | False | absent | True |
/// | `Suspended` | unchanged; where False or `Rebuilding`, for that reason | absent | absent |
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// `Ready` is True.
    Ready {
        /// What has been done, or is waited for.
        reason: Reason,
        /// For people.
        message: String,
    },
    /// `Ready` is False, `Reconciling` True.
    Progressing {
        /// What is being done or waited for.
        reason: Reason,
        /// For people.
        message: String,
    },
    /// `Ready` is False, `Stalled` True.
    Stalled {
        /// What is wrong.
        reason: Reason,
        /// For people: object, field and way out.
        message: String,
    },
    /// `Ready` stays as it is, by `spec.suspend`.
    Suspended,
}

impl Readiness {
    /// Puts it into the object's conditions, as seen at `generation`; says whether anything has changed.
    pub fn apply(&self, conditions: &mut Vec<Condition>, generation: i64, now: Timestamp) -> bool {
        let mut changed = false;
        let ready = get(conditions, READY);
        let is_true = ready.is_some_and(|ready| ready.status == "True");
        let has_rested = is_true && ready.is_some_and(|ready| ready.reason != Reason::Rebuilding.as_str());
        let is_there = ready.is_some();
        let mut put = |type_: &str, says: Option<(bool, &Reason, &String)>| {
            changed |= match says {
                Some((status, reason, message)) => {
                    set(conditions, type_, status, reason.as_str(), message, generation, now)
                }
                None => remove(conditions, type_),
            }
        };
        match self {
            Self::Ready { reason, message } => {
                put(READY, Some((true, reason, message)));
                put(RECONCILING, None);
                put(STALLED, None);
            }
            Self::Progressing { reason, message } => {
                put(READY, Some((false, reason, message)));
                put(RECONCILING, Some((true, reason, message)));
                put(STALLED, None);
            }
            Self::Stalled { reason, message } => {
                put(READY, Some((false, reason, message)));
                put(RECONCILING, None);
                put(STALLED, Some((true, reason, message)));
            }
            Self::Suspended => {
                put(RECONCILING, None);
                put(STALLED, None);
                // What it said is over: nothing is tried again, and nobody has to mend anything.
                let message = "nothing is begun while spec.suspend is true".to_owned();
                if is_there && !has_rested {
                    put(READY, Some((is_true, &Reason::Suspended, &message)));
                }
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
        message: truncated(message, CONDITION_MESSAGE_LIMIT).to_owned(),
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

/// What in `conditions` would mislead `kstatus`, people or the API server; empty when all is well. `observed` is the
/// status' own `observedGeneration`. Every test of a status asserts that this is empty.
pub fn violations(conditions: &[Condition], observed: Option<i64>) -> Vec<String> {
    let mut found = Vec::new();
    for (index, condition) in conditions.iter().enumerate() {
        let type_ = &condition.type_;
        if conditions[..index].iter().any(|before| before.type_ == *type_) {
            found.push(format!("{type_} is there twice"));
        }
        if !["True", "False", "Unknown"].contains(&condition.status.as_str()) {
            found.push(format!("{type_} has status {:?}", condition.status));
        }
        if !is_reason(&condition.reason) {
            found.push(format!(
                "{type_} has reason {:?}, which is no CamelCase word",
                condition.reason
            ));
        }
        if condition.message.len() > CONDITION_MESSAGE_LIMIT {
            found.push(format!("{type_} has a message of {} bytes", condition.message.len()));
        }
        if condition.last_transition_time.0 != whole_seconds(condition.last_transition_time.0) {
            found.push(format!(
                "{type_} changed at a fraction of a second, which does not survive the API server"
            ));
        }
        if condition.observed_generation.is_none() || condition.observed_generation > observed {
            found.push(format!(
                "{type_} is of generation {:?}, the status of {observed:?}",
                condition.observed_generation
            ));
        }
        if [RECONCILING, STALLED].contains(&type_.as_str()) && condition.status != "True" {
            found.push(format!("{type_} is {}; it is True or absent", condition.status));
        }
    }
    let is = |type_: &str, status: &str| get(conditions, type_).is_some_and(|condition| condition.status == status);
    if is(RECONCILING, "True") && is(STALLED, "True") {
        found.push("Reconciling and Stalled at once".to_owned());
    }
    for type_ in [RECONCILING, STALLED] {
        if is(type_, "True") && !is(READY, "False") {
            found.push(format!("{type_}, but Ready is not False"));
        }
    }
    found
}

/// The API server's rule, but for its punctuation, which we don't use.
fn is_reason(reason: &str) -> bool {
    reason.len() <= 1024
        && reason.starts_with(|first: char| first.is_ascii_uppercase())
        && reason.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::new(1_700_000_000 + seconds, 123_456_789).unwrap()
    }

    fn ready() -> Readiness {
        Readiness::Ready {
            reason: Reason::Rebuilding,
            message: "build 2 runs; build 1 serves".into(),
        }
    }

    fn progressing() -> Readiness {
        Readiness::Progressing {
            reason: Reason::Building,
            message: "step packages".into(),
        }
    }

    fn stalled() -> Readiness {
        Readiness::Stalled {
            reason: Reason::NotGranted,
            message: "subnet-1 is not granted".into(),
        }
    }

    /// What `kstatus` makes of an object, by its published rules for kinds that it does not know.
    fn kstatus(conditions: &[Condition], observed: i64, generation: i64) -> &'static str {
        let is = |type_: &str, status: &str| get(conditions, type_).is_some_and(|condition| condition.status == status);
        match () {
            () if observed != generation => "InProgress",
            () if is(RECONCILING, "True") => "InProgress",
            () if is(STALLED, "True") => "Failed",
            () if is(READY, "False") => "InProgress",
            () => "Current",
        }
    }

    #[test]
    fn every_state_reads_as_the_table_says_from_whichever_state_it_came() {
        for before in [None, Some(ready()), Some(progressing()), Some(stalled())] {
            for (state, expected, verdict) in [
                (ready(), [Some("True"), None, None], "Current"),
                (progressing(), [Some("False"), Some("True"), None], "InProgress"),
                (stalled(), [Some("False"), None, Some("True")], "Failed"),
            ] {
                let mut conditions = Vec::new();
                before.iter().for_each(|before| {
                    before.apply(&mut conditions, 1, at(0));
                });
                state.apply(&mut conditions, 2, at(1));
                let shown = [READY, RECONCILING, STALLED]
                    .map(|type_| get(&conditions, type_).map(|condition| condition.status.as_str()));
                assert_eq!(shown, expected, "{before:?} -> {state:?}");
                assert_eq!(kstatus(&conditions, 2, 2), verdict, "{before:?} -> {state:?}");
                assert_eq!(
                    kstatus(&conditions, 2, 3),
                    "InProgress",
                    "a spec that nobody has looked at yet"
                );
                assert_eq!(
                    violations(&conditions, Some(2)),
                    Vec::<String>::new(),
                    "{before:?} -> {state:?}"
                );
            }
        }
    }

    #[test]
    fn suspending_keeps_what_was_said_of_ready_and_ends_the_rest() {
        let rebuilding = Readiness::Ready {
            reason: Reason::Rebuilding,
            message: "the next attempt begins at noon".to_owned(),
        };
        for (before, verdict) in [
            (ready(), "Current"),
            (rebuilding, "Current"),
            (progressing(), "InProgress"),
            (stalled(), "InProgress"),
        ] {
            let mut conditions = Vec::new();
            before.apply(&mut conditions, 1, at(0));
            let said = get(&conditions, READY).cloned().unwrap();
            Readiness::Suspended.apply(&mut conditions, 2, at(60));
            let ready = get(&conditions, READY).unwrap();
            assert_eq!(
                (&ready.status, &ready.last_transition_time),
                (&said.status, &said.last_transition_time)
            );
            // What is True is still true; what was tried or had to be mended is over.
            match (said.status.as_str(), said.reason.as_str()) {
                ("True", reason) if reason != "Rebuilding" => assert_eq!(*ready, said),
                _ => assert_eq!(ready.reason, "Suspended"),
            }
            assert_eq!(conditions.len(), 1);
            assert_eq!(kstatus(&conditions, 2, 2), verdict);
            assert_eq!(violations(&conditions, Some(2)), Vec::<String>::new());
        }
    }

    #[test]
    fn saying_the_same_again_changes_nothing_so_that_no_write_wakes_us() {
        for state in [ready(), progressing(), stalled(), Readiness::Suspended] {
            let mut conditions = Vec::new();
            state.apply(&mut conditions, 1, at(0));
            let before = conditions.clone();
            assert!(!state.apply(&mut conditions, 1, at(3600)), "{state:?}");
            assert_eq!(conditions, before);
        }
    }

    #[test]
    fn the_time_is_that_of_the_last_change_of_status_not_of_words() {
        let mut conditions = Vec::new();
        let since = |conditions: &[Condition]| conditions[0].last_transition_time.0.as_second() - 1_700_000_000;
        assert!(set(&mut conditions, READY, false, "Building", "step 1", 1, at(0)));
        assert!(set(&mut conditions, READY, false, "Proving", "inspector", 2, at(5)));
        assert_eq!((since(&conditions), conditions[0].observed_generation), (0, Some(2)));
        assert!(set(&mut conditions, READY, true, "Succeeded", "", 2, at(9)));
        assert_eq!(since(&conditions), 9);
        assert!(remove(&mut conditions, READY) && !remove(&mut conditions, READY));
    }

    #[test]
    fn a_message_of_any_length_in_any_script_is_accepted_by_the_api_server() {
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            READY,
            false,
            "StepFailed",
            &"語".repeat(CONDITION_MESSAGE_LIMIT),
            1,
            at(0),
        );
        assert!(conditions[0].message.len() > CONDITION_MESSAGE_LIMIT - 4);
        assert_eq!(violations(&conditions, Some(1)), Vec::<String>::new());
    }

    #[test]
    fn what_would_mislead_is_found() {
        let good = |type_: &str, status: &str| Condition {
            type_: type_.into(),
            status: status.into(),
            reason: "Because".into(),
            message: String::new(),
            observed_generation: Some(1),
            last_transition_time: Time(whole_seconds(at(0))),
        };
        for (conditions, word) in [
            (vec![good(READY, "True"), good(READY, "True")], "twice"),
            (vec![good(READY, "Maybe")], "status"),
            (
                vec![Condition {
                    reason: "not a word".into(),
                    ..good(READY, "True")
                }],
                "CamelCase",
            ),
            (
                vec![Condition {
                    message: "x".repeat(CONDITION_MESSAGE_LIMIT + 1),
                    ..good(READY, "True")
                }],
                "bytes",
            ),
            (
                vec![Condition {
                    last_transition_time: Time(at(0)),
                    ..good(READY, "True")
                }],
                "fraction",
            ),
            (
                vec![Condition {
                    observed_generation: None,
                    ..good(READY, "True")
                }],
                "generation",
            ),
            (
                vec![Condition {
                    observed_generation: Some(2),
                    ..good(READY, "True")
                }],
                "generation",
            ),
            (vec![good(READY, "False"), good(RECONCILING, "False")], "absent"),
            (
                vec![good(READY, "False"), good(RECONCILING, "True"), good(STALLED, "True")],
                "at once",
            ),
            (vec![good(READY, "True"), good(STALLED, "True")], "Ready is not False"),
            (vec![good(RECONCILING, "True")], "Ready is not False"),
        ] {
            let found = violations(&conditions, Some(1));
            assert!(found.len() == 1 && found[0].contains(word), "{conditions:?}: {found:?}");
        }
    }
}
