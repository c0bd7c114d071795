//! From what is to what is to be done. Pure: no clock, no randomness, no I/O.
//!
//! Read top down: a pass either lets a deleted recipe go, or goes on with the build in hand, or begins one, or keeps what is there up to date.
//! Whatever carries the recipe's tags and has no part in that is a leftover, and removed in every one of these cases by the same few lines.

mod attempt;
mod begin;
mod builder;
mod draft;
mod launch;
mod leftovers;
mod proof;
mod upkeep;

#[cfg(test)]
pub(super) mod tests;

use crate::api::Reason;
use std::time::Duration;

use self::draft::Decision;
use super::checks;
use super::inputs::{self, Inputs};
use super::observation::Observation;
use super::plan::{Effect, Plan};
use super::record::{BuildRecord, Failure};
use crate::world::{AwsError, Image};

pub use attempt::retry_delay;
pub use draft::history;
pub use launch::slot_mut;
use leftovers::Claims;
pub use leftovers::{has_no_image, may_be_removed};

/// A pause while EC2 works: things change on their own, and the inventory says so earlier when it notices.
const SOON: Duration = Duration::from_secs(2);
/// With nothing to do but to wait for EC2, of whose changes it is told.
const WAITING: Duration = Duration::from_secs(10);
/// With nothing to do: often enough that a changed source is noticed within a minute.
const IDLE: Duration = Duration::from_secs(30);

/// The present inputs of a recipe: its source image and what follows from it.
struct Present<'a> {
    source: &'a Image,
    inputs: Inputs,
    content_hash: String,
    test_hash: String,
}

/// Decides what a pass does.
pub fn decide(observed: &Observation) -> Plan {
    if observed.is_being_deleted() {
        return deleted(observed);
    }
    let mut decision = Decision::new(observed);
    if let Some(malformed) = observed.unreadable.first() {
        // Whatever it records may still be needed, and what was announced may be out.
        decision.build = observed.status().build;
        decision.refuse(Failure::new(Reason::RecordUnreadable, malformed.to_string()));
        return decision.into_plan();
    }
    match present(&mut decision) {
        Err(absent) => {
            upkeep::adopt(&mut decision, None);
            without_present(&mut decision, absent);
        }
        Ok(present) => {
            upkeep::adopt(&mut decision, Some(&present));
            match observed.active() {
                // What runs is finished while nothing new may begin.
                Some(record) if !observed.spec().suspend && begin::is_superseded(observed, record, &present) => {
                    decision.abandon(record, "its inputs have changed");
                }
                Some(record) => attempt::go_on(&mut decision, record),
                None => begin::begin_if_due(&mut decision, &present),
            }
        }
    }
    upkeep::keep_up_to_date(&mut decision);
    upkeep::protect(&mut decision);
    upkeep::seal_anew(&mut decision);
    upkeep::prune_records(&mut decision);
    leftovers::remove(&mut decision);
    decision.into_plan()
}

/// Why there are no present inputs.
enum Absent<'a> {
    /// The spec names what is not granted.
    Ungranted(Failure),
    /// Nothing can be built from the spec as it is.
    Refused(Failure),
    /// AWS does not say what the spec refers to.
    Unanswered(&'a AwsError),
}

impl From<Failure> for Absent<'_> {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// The present inputs of the recipe.
fn present<'a>(decision: &mut Decision<'a>) -> Result<Present<'a>, Absent<'a>> {
    let observed = decision.observed;
    checks::grants(observed, observed.spec()).map_err(Absent::Ungranted)?;
    if let Some(error) = observed.unanswered() {
        return Err(Absent::Unanswered(error));
    }
    let source = match checks::source(observed) {
        Ok(source) => source,
        Err(failure) => {
            decision.found_no_source(failure.clone());
            return Err(failure.into());
        }
    };
    decision.found_source(source);
    checks::check(observed, source)?;
    let inputs = inputs::inputs(observed.spec(), source.id.as_str());
    let content_hash = inputs::content_hash(&inputs);
    decision.content_hash = Some(content_hash.clone());
    Ok(Present {
        source,
        inputs,
        content_hash,
        test_hash: inputs::test_hash(&observed.spec().test),
    })
}

/// Nothing new can begin. A build in hand goes on from what was frozen, unless it uses what is not granted.
fn without_present(decision: &mut Decision<'_>, absent: Absent<'_>) {
    let active = decision.observed.active();
    if let Absent::Ungranted(failure) | Absent::Refused(failure) = &absent
        && failure.reason == Reason::NotGranted
    {
        // What was made while it was granted is kept as it is.
        decision.answer = None;
    }
    match (active, absent) {
        (_, Absent::Ungranted(failure)) => {
            if let Some(record) = active {
                decision.abandon(record, &failure.message);
            }
            decision.refuse(failure);
        }
        // What the search finds now is no concern of it: whether it may use its own source it asks itself.
        (Some(record), _) => attempt::go_on(decision, record),
        (None, Absent::Refused(failure)) => decision.refuse(failure),
        (None, Absent::Unanswered(error)) => decision.unanswered(error),
    }
}

/// The recipe goes: everything temporary goes with it, its images stay.
fn deleted(observed: &Observation) -> Plan {
    let mut decision = Decision::new(observed);
    decision.claims = Claims::none();
    decision.build = attempt::abandoned(observed);
    let left = match &leftovers::left(observed)[..] {
        [] => String::new(),
        [id] => format!(" ({id})"),
        [id, others @ ..] => format!(" ({id} and {} more)", others.len()),
    };
    let is_out = decision
        .build
        .as_ref()
        .is_some_and(|build| attempt::answer_may_be_out(observed, build));
    let message = match is_out && left.is_empty() {
        true => "what EC2 was asked for last may not show yet; it is waited for, at most five minutes".to_owned(),
        false => format!("removing what the recipe's builds have left{left}; its images stay"),
    };
    decision.progressing(Reason::Deleting, message);
    leftovers::remove(&mut decision);
    if decision.effects.is_empty() && !leftovers::any_left(observed) && !is_out {
        let records = observed.records.iter();
        let records = records.map(|record| BuildRecord::config_map_name(&observed.owner.name, record.number()));
        let unreadable = observed.unreadable.iter().map(|malformed| malformed.name.clone());
        let forget = records
            .chain(unreadable)
            .map(|config_map| Effect::ForgetRecord { config_map });
        decision.effects.extend(forget);
        decision.effects.push(Effect::RemoveFinalizer);
    }
    // What EC2 has to do itself is heard of when it is done.
    decision.look_again = match decision.effects.is_empty() && !is_out {
        true => WAITING,
        false => SOON,
    };
    decision.into_plan()
}
