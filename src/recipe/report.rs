//! From what a pass decided, and what came of it, to the next status. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::blame::blamed_field;
use super::decide::{history, retry_delay, slot_mut};
use super::observation::Observation;
use super::plan::{Effect, Plan};
use super::record::{BuildRecord, Failure};
use super::{bounded, since, time};
use crate::api::{
    ArchitectureStatus, AttemptFailure, ImageRecipe, ImageRecipeStatus, READY, Readiness, Reason, SOURCE_RESOLVED,
    STALLED, get, set,
};
use crate::world::{AwsError, ErrorClass, ImageId, InstanceId, VolumeId};

/// What carrying out an effect has made.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// Nothing that has an id.
    Nothing,
    /// By a launch.
    Instance(InstanceId),
    /// From the stopped builder.
    Image(ImageId),
    /// From a snapshot, for the inspector.
    Volume(VolumeId),
}

/// What came of the effects of a plan: those that were carried out, in order, and the one that was not, if any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcomes {
    /// Those that were carried out.
    pub made: Vec<(Effect, Made)>,
    /// Those that AWS refused: the first, and removals after it.
    pub failed: Vec<(Effect, AwsError)>,
}

impl Outcomes {
    /// Whether `effect` may still be carried out: what follows a failure may stand on what failed, but removals stand on nothing.
    pub fn permit(&self, effect: &Effect) -> bool {
        self.failed.is_empty() || effect.removes()
    }

    /// Whether all of `plan` was carried out.
    pub fn complete(&self, plan: &Plan) -> bool {
        self.failed.is_empty() && self.made.len() == plan.effects.len()
    }
}

/// The next status, and when to look again.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// To be written if it differs.
    pub status: ImageRecipeStatus,
    /// When, should nothing be heard before.
    pub look_again: Duration,
    /// A failure after which the object's own backoff decides when to look again.
    pub backoff: Option<AwsError>,
}

impl Report {
    /// Whether the object waits for something that changes within seconds.
    pub fn is_moving(&self) -> bool {
        self.backoff.is_none() && self.look_again < Duration::from_secs(10)
    }
}

/// AWS does not let us, and it takes a person to change that: tried again after as long as it has been so, within these bounds. A policy that was
/// mended seconds ago, or a denial that passes by itself (a role that IAM has just made), costs little.
const DENIED_AT_FIRST: Duration = Duration::from_secs(15);
const DENIED: Duration = Duration::from_secs(600);
/// A leftover could not be removed.
const LEFT: Duration = Duration::from_secs(60);
const QUOTA: Duration = Duration::from_secs(300);
/// Something is not visible yet, or still in use.
const SOON: Duration = Duration::from_secs(2);

/// Status as the plan wants it, before anything has been done.
pub fn intent(observed: &Observation, plan: &Plan) -> ImageRecipeStatus {
    report(observed, plan, &Outcomes::default()).status
}

/// Status after the plan has been carried out, as far as it was.
pub fn report(observed: &Observation, plan: &Plan, outcomes: &Outcomes) -> Report {
    let mut status = observed.status();
    let draft = &plan.draft;
    let generation = observed.generation();
    let mut report = Report {
        status: ImageRecipeStatus::default(),
        look_again: plan.look_again,
        backoff: None,
    };
    let mut readiness = draft.readiness.clone();
    status.observed_generation = Some(generation);
    status.build = draft.build.clone();
    status.latest = draft.latest.clone();
    status.image_missing_time = draft.image_missing_since.map(time);
    status.content_hash = draft.content_hash.clone();
    match &draft.source {
        Ok(source) => {
            let architecture = observed
                .spec()
                .build
                .architectures
                .first()
                .map(|architecture| architecture.as_str().to_owned());
            let message = format!("{} ({}) of {}", source.image_id, source.name, source.owner_id);
            status.source = architecture
                .into_iter()
                .map(|architecture| (architecture, source.clone()))
                .collect();
            set(
                &mut status.conditions,
                SOURCE_RESOLVED,
                true,
                "Resolved",
                &message,
                generation,
                observed.now,
            );
        }
        Err(failure) => {
            status.source.clear();
            set(
                &mut status.conditions,
                SOURCE_RESOLVED,
                false,
                failure.reason.as_str(),
                &failure.message,
                generation,
                observed.now,
            );
        }
    }
    let ends = |(effect, _): &(Effect, Made)| matches!(effect, Effect::EndBuild { .. });
    let ended = plan
        .effects
        .iter()
        .any(|effect| matches!(effect, Effect::EndBuild { .. }));
    if ended && !outcomes.made.iter().any(ends) {
        // It goes on until its end is on record.
        status.build = observed.status().build;
    }
    for (effect, made) in &outcomes.made {
        carried_out(&mut status, effect, made);
    }
    for (effect, error) in &outcomes.failed {
        failed(observed, &mut status, &mut readiness, &mut report, effect, error);
    }
    let records = records_after(observed, outcomes);
    if !observed.without_records {
        status.history = history(&records, observed.history_limit());
    }
    handle_requests(observed, &records, &mut status);
    readiness.apply(&mut status.conditions, generation, observed.now);
    report.status = status;
    report
}

/// Status when AWS could not be read: what was known stays, and the conditions say that nothing newer is.
pub fn unobserved(recipe: &ImageRecipe, error: &AwsError, now: Timestamp) -> ImageRecipeStatus {
    let message = bounded(&error.to_string());
    let ready = recipe.status.as_ref().and_then(|status| get(&status.conditions, READY));
    let readiness = match error.class {
        ErrorClass::Denied => Some(denied(error)),
        // An image that is there is no worse for a moment in which AWS does not answer.
        _ if ready.is_some_and(|ready| ready.status == "True") => None,
        _ => Some(Readiness::Progressing {
            reason: Reason::AWSUnavailable,
            message,
        }),
    };
    said(recipe, readiness, now)
}

/// Status when a person has to mend something in the cluster before anything else happens.
pub fn halted(recipe: &ImageRecipe, failure: Failure, now: Timestamp) -> ImageRecipeStatus {
    let readiness = Readiness::Stalled {
        reason: failure.reason,
        message: failure.message,
    };
    said(recipe, Some(readiness), now)
}

/// Status of a recipe of which nothing could be said yet, because Kubernetes fails.
pub fn waiting(recipe: &ImageRecipe, problem: &str, now: Timestamp) -> ImageRecipeStatus {
    let readiness = Readiness::Progressing {
        reason: Reason::Reconciling,
        message: bounded(problem),
    };
    said(recipe, Some(readiness), now)
}

/// The status with that said in its conditions; what keeps a suspended recipe from going on matters to nobody.
fn said(recipe: &ImageRecipe, readiness: Option<Readiness>, now: Timestamp) -> ImageRecipeStatus {
    let mut status = recipe.status.clone().unwrap_or_default();
    let generation = recipe.metadata.generation.unwrap_or_default();
    if let Some(readiness) = readiness.filter(|_| !recipe.spec.suspend) {
        readiness.apply(&mut status.conditions, generation, now);
        status.observed_generation = Some(generation);
    }
    status
}

fn carried_out(status: &mut ImageRecipeStatus, effect: &Effect, made: &Made) {
    let Some(architecture) = architecture(status) else {
        return;
    };
    match (effect, made) {
        (Effect::Launch(launch), Made::Instance(id)) => {
            if let Some(slot) = slot_mut(architecture, launch.role) {
                slot.id = Some(id.to_string());
            }
        }
        (_, Made::Image(id)) => architecture.image = Some(id.to_string()),
        (_, Made::Volume(id)) => architecture.remember_volume(id.as_str()),
        _ => {}
    }
}

/// What EC2 has refused to make will not show. Not so where the same was asked for before, and no answer came.
fn refused(observed: &Observation, status: &mut ImageRecipeStatus, effect: &Effect, class: ErrorClass) {
    // Who has the name may be ours.
    if class.leaves_open() || class == ErrorClass::Exists {
        return;
    }
    let before = observed.status().build;
    let attempt = status.build.as_ref().map(|build| (build.number, build.attempt));
    let before = before.filter(|before| Some((before.number, before.attempt)) == attempt);
    let before = before.and_then(|before| before.architectures.into_iter().next());
    let Some(architecture) = architecture(status) else {
        return;
    };
    match effect {
        Effect::Launch(launch) => {
            let before = before.and_then(|mut before| slot_mut(&mut before, launch.role).take());
            let is_out = before.is_some_and(|before| before.id.is_none() && before.refused_time.is_none());
            if let Some(slot) = slot_mut(architecture, launch.role).as_mut().filter(|_| !is_out) {
                slot.refused_time = Some(time(observed.now));
            }
        }
        Effect::CreateImage { .. } => {
            architecture.image_time = before.and_then(|before| before.image_time);
        }
        Effect::CreateVolume { .. } => {
            architecture.volume_time = before.and_then(|before| before.volume_time);
        }
        _ => {}
    }
}

fn failed(
    observed: &Observation,
    status: &mut ImageRecipeStatus,
    readiness: &mut Readiness,
    report: &mut Report,
    effect: &Effect,
    error: &AwsError,
) {
    // An image that serves meanwhile is no worse for what its replacement meets.
    let rebuilds = matches!(
        readiness,
        Readiness::Ready {
            reason: Reason::Rebuilding,
            ..
        }
    );
    let on_its_way = |reason: Reason, message: String| match rebuilds {
        true => Readiness::Ready {
            reason: Reason::Rebuilding,
            message: bounded(&format!("{reason}: {message}")),
        },
        false => Readiness::Progressing {
            reason,
            message: bounded(&message),
        },
    };
    let progressing = |reason: Reason| on_its_way(reason, error.to_string());
    refused(observed, status, effect, error.class);
    match (effect, error.class) {
        (Effect::Launch(launch), ErrorClass::Capacity) => {
            if let Some(slot) =
                architecture(status).and_then(|architecture| slot_mut(architecture, launch.role).as_mut())
            {
                slot.candidate = slot.candidate.saturating_add(1);
                slot.refusal = Some(error.code.clone());
            }
            let where_to = format!(
                "{} in {}: {error}; the next type or subnet is tried",
                launch.instance_type, launch.subnet
            );
            *readiness = on_its_way(Reason::InsufficientCapacity, where_to);
            report.look_again = Duration::ZERO;
        }
        // A leftover that may not be removed makes neither the image nor the build worse: it is told, and tried again. A recipe that is being
        // deleted waits for it.
        (Effect::Remove(_), ErrorClass::Denied) if !observed.is_being_deleted() => {
            if let Readiness::Ready { message, .. } | Readiness::Progressing { message, .. } = readiness {
                *message = bounded(&format!("{message}; what it has left could not be removed: {error}"));
            }
            if matches!(readiness, Readiness::Ready { .. }) {
                report.look_again = LEFT;
            }
        }
        (_, ErrorClass::Denied) => {
            *readiness = denied(error);
            report.look_again = denied_pause(observed);
        }
        (_, ErrorClass::Quota) => {
            *readiness = progressing(Reason::QuotaExceeded);
            report.look_again = QUOTA;
        }
        // A request that EC2 does not take may be about something that is too young to be known there (an instance profile, a key): the attempt
        // fails, and the next one tries again.
        (effect, _) if ends_attempt(effect, error) => {
            let blamed = blamed_field(error).map(|field| format!("; correct {field}"));
            let message = bounded(&format!("{error}{}", blamed.unwrap_or_default()));
            let reason = Reason::refused(error.operation);
            if let Some(build) = status.build.as_mut() {
                let retry = observed.now + retry_delay(build.attempt);
                build.failure = Some(AttemptFailure {
                    attempt: build.attempt,
                    reason: reason.to_string(),
                    message: message.clone(),
                    time: Some(time(observed.now)),
                    retry_time: Some(time(retry)),
                });
            }
            *readiness = on_its_way(reason, message);
            report.look_again = SOON;
        }
        // Whoever holds the name does not show; a name that has just become free is not free at once either.
        (Effect::CreateImage { name, .. }, ErrorClass::Exists) => {
            let message =
                format!("{error}; no image of this account that is called {name:?} can be seen, so it is waited for");
            *readiness = on_its_way(Reason::NameTaken, message);
            if let Some(status) = architecture(status) {
                status.name_taken_time.get_or_insert_with(|| time(observed.now));
            }
            report.backoff = Some(error.clone());
        }
        (_, ErrorClass::Invalid) => {
            *readiness = Readiness::Stalled {
                reason: Reason::refused(error.operation),
                message: bounded(&error.to_string()),
            };
            report.look_again = denied_pause(observed);
        }
        (
            _,
            ErrorClass::NotFound
            | ErrorClass::Gone
            | ErrorClass::WrongState
            | ErrorClass::Exists
            | ErrorClass::InUse
            | ErrorClass::Token
            | ErrorClass::Capacity,
        ) => {
            report.look_again = report.look_again.min(SOON);
        }
        (_, ErrorClass::Throttled | ErrorClass::Server | ErrorClass::Credentials | ErrorClass::NoAnswer) => {
            let serves = matches!(readiness, Readiness::Ready { .. });
            if !serves {
                *readiness = progressing(Reason::AWSUnavailable);
            }
            report.backoff = Some(error.clone());
        }
    }
}

/// AWS does not let us: what was asked, and who can change that.
pub fn denied(error: &AwsError) -> Readiness {
    let way_out = match error.code.as_str() {
        "OperationNotPermitted" => "its cause is not a missing permission: see what protects the resource",
        "OptInRequired" => "the account has not opted in to the region or the service",
        _ => "allow it in the controller's IAM policy",
    };
    Readiness::Stalled {
        reason: Reason::Denied,
        message: bounded(&format!("{error}; {way_out} (tried again, at most ten minutes apart)")),
    }
}

/// When what AWS refuses us is tried again.
pub fn denied_pause(observed: &Observation) -> Duration {
    let status = observed.recipe.status.as_ref();
    let stalled = status.and_then(|status| get(&status.conditions, STALLED));
    let so_far = stalled.map(|stalled| since(stalled.last_transition_time.0, observed.now));
    so_far.unwrap_or_default().clamp(DENIED_AT_FIRST, DENIED)
}

/// Whether the attempt ends with an effect that failed so: what was to be made is refused as it is.
pub fn ends_attempt(effect: &Effect, error: &AwsError) -> bool {
    effect.creates()
        && matches!(
            error.class,
            ErrorClass::Invalid | ErrorClass::Token | ErrorClass::NotFound
        )
}

fn architecture(status: &mut ImageRecipeStatus) -> Option<&mut ArchitectureStatus> {
    status.build.as_mut()?.architectures.first_mut()
}

/// The records as they are once the effects that were carried out are counted in.
fn records_after(observed: &Observation, outcomes: &Outcomes) -> Vec<BuildRecord> {
    let mut records = observed.records.clone();
    for (effect, _) in &outcomes.made {
        match effect {
            Effect::EndBuild { build, .. } => {
                for record in records.iter_mut().filter(|record| record.number() == *build) {
                    record.apply(effect);
                }
            }
            Effect::BeginBuild(record) => records.push((**record).clone()),
            Effect::ForgetRecord { config_map } => records
                .retain(|record| BuildRecord::config_map_name(&observed.owner.name, record.number()) != *config_map),
            _ => {}
        }
    }
    records
}

/// A request to build is known by the record of the build that answers it, and by those of later ones.
fn handle_requests(observed: &Observation, records: &[BuildRecord], status: &mut ImageRecipeStatus) {
    if let Some(token) = records.iter().rev().find_map(|record| record.frozen.last_answered()) {
        status.handled_requests.insert("build".into(), token.clone());
    }
    if let Some(token) = observed.request("reconcile") {
        status.handled_requests.insert("reconcile".into(), token.to_owned());
    }
}
