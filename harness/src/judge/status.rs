//! What kstatus would make of an object, and whether it would be misled.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// How much earlier than its write a time in a status may have been taken: a pass takes some requests.
const PASS: SignedDuration = SignedDuration::from_mins(2);

/// Conditions that are True or absent.
const ABNORMAL: [&str; 2] = ["Reconciling", "Stalled"];

/// What is wrong with the status of `object`, as of any moment; nothing of one that no controller has
/// seen.
pub fn wrong(object: &Value) -> Vec<String> {
    let status = &object["status"];
    let unseen = status["observedGeneration"] == -1 && status["conditions"].is_null();
    if object["kind"] != "ImageRecipe" || status.is_null() || unseen {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
    let observed = status["observedGeneration"].as_i64().unwrap_or(-1);
    if observed > generation {
        wrong.push(format!(
            "status is of generation {observed}, the object of {generation}"
        ));
    }
    let conditions: Vec<&Value> = status["conditions"].as_array().into_iter().flatten().collect();
    let state = |type_: &str| {
        conditions
            .iter()
            .find(|one| one["type"] == type_)
            .map(|one| &one["status"])
    };
    // One that was suspended from birth has been tried at nothing.
    let unborn = object["spec"]["suspend"] == true && status["build"].is_null() && status["history"].is_null();
    if state("Ready").is_none() && !unborn {
        wrong.push("there is no condition Ready".to_owned());
    }
    let ready = condition(object, "Ready");
    if ready.is_some_and(|ready| ready["reason"] == "Suspended") && state("Reconciling").is_some() {
        wrong.push("it is suspended, and says that it is on its way".to_owned());
    }
    for type_ in ABNORMAL {
        let abnormal = state(type_);
        if let Some(status) = abnormal.filter(|status| **status != "True") {
            wrong.push(format!("{type_} is {status}; it is True or absent"));
        } else if abnormal.is_some() && state("Ready").is_none_or(|ready| ready != "False") {
            wrong.push(format!("{type_} is True, and Ready is not False"));
        }
    }
    if ABNORMAL.iter().all(|type_| state(type_).is_some()) {
        wrong.push("it is Reconciling and Stalled at once".to_owned());
    }
    for (index, condition) in conditions.iter().enumerate() {
        let type_ = &condition["type"];
        if conditions[..index].iter().any(|before| before["type"] == *type_) {
            wrong.push(format!("{type_} is there twice"));
        }
        if condition["reason"].as_str().is_none_or(str::is_empty) {
            wrong.push(format!("{type_} has no reason"));
        }
        let of = condition["observedGeneration"].as_i64();
        if of.is_none_or(|of| of > observed) {
            wrong.push(format!("{type_} is of generation {of:?}, the status of {observed}"));
        }
    }
    wrong
}

/// What is wrong with the way from one status to the next, written at `now`.
pub fn changes(before: &Value, after: &Value, now: Timestamp) -> Vec<String> {
    let mut wrong = Vec::new();
    let observed = |object: &Value| object["status"]["observedGeneration"].as_i64().unwrap_or(-1);
    if observed(after) < observed(before) {
        wrong.push(format!(
            "observedGeneration goes back from {} to {}",
            observed(before),
            observed(after)
        ));
    }
    for condition_now in after["status"]["conditions"].as_array().into_iter().flatten() {
        let type_ = condition_now["type"].as_str().unwrap_or_default();
        let time = &condition_now["lastTransitionTime"];
        match condition(before, type_) {
            Some(was) if was["status"] == condition_now["status"] => {
                if was["lastTransitionTime"] != *time {
                    wrong.push(format!(
                        "{type_} is {} as before, and its lastTransitionTime moves",
                        was["status"]
                    ));
                }
            }
            _ => {
                let at: Option<Timestamp> = time.as_str().and_then(|time| time.parse().ok());
                if at.is_none_or(|at| at > now || now.duration_since(at) > PASS) {
                    wrong.push(format!("{type_} has changed now, and its lastTransitionTime is {time}"));
                }
            }
        }
    }
    wrong
}

/// The condition of that type.
pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    let mut conditions = object["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == type_)
}

/// What kstatus says of the status of an object that is not being deleted: `Current`, `InProgress` or `Failed`.
pub fn kstatus(object: &Value) -> &'static str {
    let status = &object["status"];
    let conditions = status["conditions"].as_array();
    let holds = |type_: &str, wanted: &str| {
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|one| one["type"] == type_ && one["status"] == wanted)
    };
    if status["observedGeneration"] != object["metadata"]["generation"] || holds("Reconciling", "True") {
        "InProgress"
    } else if holds("Stalled", "True") {
        "Failed"
    } else if holds("Ready", "True") {
        "Current"
    } else {
        "InProgress"
    }
}
