//! The present attempt of a build: from the builder's launch to the end. Where it stands is read from AWS each time, not remembered.

use std::time::Duration;

use backon::BackoffBuilder;

use super::draft::Decision;
use super::launch;
use super::{begin, builder, proof};
use crate::api::{ArchitectureStatus, AttemptFailure, BuildResult, ImdsSupport, Phase};
use crate::recipe::observation::Observation;
use crate::recipe::plan::Effect;
use crate::recipe::record::{BuildRecord, Failure};
use crate::recipe::{checks, since, time};
use crate::world::{Image, ImageState, Role, Snapshot, SnapshotState};

/// Reasons that no further attempt would cure.
const PERMANENT: [&str; 2] = ["NameTaken", "ProofUnsupported"];

/// Goes on with the build in hand.
pub(super) fn go_on(decision: &mut Decision<'_>, record: &BuildRecord) {
    let observed = decision.observed;
    let kept = observed.status().build.filter(|build| build.number == record.number());
    let mut build = kept.unwrap_or_else(|| begin::status_of(record));
    build.attempt = build.attempt.max(record.progress.attempt);
    let granted = checks::grants(observed, &record.frozen.spec);
    let granted = granted.and_then(|()| checks::frozen_source_is_granted(observed, &record.frozen.source.image_id));
    if let Err(failure) = granted {
        decision.abandon(record, &failure.message);
        return decision.stalled(&failure);
    }
    let failed = build.failure.clone().filter(|failure| failure.attempt == build.attempt);
    if let Some(failure) = &failed {
        let cause = Failure::new(&failure.reason, failure.message.clone());
        let frozen = &record.frozen.spec;
        if (&frozen.build, &frozen.test) != (&observed.spec().build, &observed.spec().test) {
            return decision.abandon(record, "an attempt has failed, and the spec has changed since it began");
        }
        if is_last(decision, failure.attempt, &cause) {
            return give_up(decision, record, failure.attempt, cause);
        }
        if !may_retry(decision, record, failure) {
            decision.build = Some(build);
            decision.set_phase(Phase::CleaningUp);
            return;
        }
    }
    if build.attempt == 0 || failed.is_some() {
        build.attempt += 1;
        build.architectures.clear();
    }
    if build.architectures.is_empty() {
        let architecture = record
            .frozen
            .spec
            .build
            .architectures
            .first()
            .copied()
            .unwrap_or(crate::api::Architecture::X86_64);
        build.architectures = vec![ArchitectureStatus::new(architecture)];
    }
    let mut record = record.clone();
    record.progress.attempt = build.attempt;
    decision.build = Some(build);
    decision.claims = super::Claims::of(
        record.number(),
        record.progress.attempt,
        &[Role::Builder, Role::Image, Role::Test, Role::Inspector],
    );
    if let Err(failure) = advance(decision, &record) {
        fail(decision, &record, failure);
    }
}

/// Whether the next attempt begins now; if not, says what it waits for.
fn may_retry(decision: &mut Decision<'_>, record: &BuildRecord, failure: &AttemptFailure) -> bool {
    let observed = decision.observed;
    if observed.spec().suspend {
        decision.suspended();
        return false;
    }
    let wait = failure
        .retry_time
        .as_ref()
        .map(|retry| since(observed.now, retry.0))
        .unwrap_or_default();
    if wait.is_zero() {
        return true;
    }
    let message = format!(
        "attempt {} of {} of build {} failed, the next begins at {}: {}",
        failure.attempt,
        observed.spec().failure_limit,
        record.number(),
        failure
            .retry_time
            .as_ref()
            .map(|retry| retry.0.to_string())
            .unwrap_or_default(),
        failure.message
    );
    decision.building(record, &failure.reason, message);
    decision.look_again = wait;
    false
}

/// The attempt has failed: the next one waits, or the build ends.
fn fail(decision: &mut Decision<'_>, record: &BuildRecord, failure: Failure) {
    let observed = decision.observed;
    let attempt = record.progress.attempt;
    decision.claims = super::Claims::none();
    decision.warn(
        "AttemptFailed",
        format!(
            "attempt {attempt} of build {}: {}: {}",
            record.number(),
            failure.reason,
            failure.message
        ),
    );
    if is_last(decision, attempt, &failure) {
        return give_up(decision, record, attempt, failure);
    }
    let retry = observed.now + retry_delay(attempt);
    if let Some(build) = &mut decision.build {
        build.failure = Some(AttemptFailure {
            attempt,
            reason: failure.reason.clone(),
            message: failure.message.clone(),
            time: Some(time(observed.now)),
            retry_time: Some(time(retry)),
        });
    }
    decision.set_phase(Phase::CleaningUp);
    decision.building(record, &failure.reason, failure.message);
}

/// Whether no attempt follows one that failed so.
fn is_last(decision: &Decision<'_>, attempt: i64, failure: &Failure) -> bool {
    attempt >= i64::from(decision.observed.spec().failure_limit) || PERMANENT.contains(&failure.reason.as_str())
}

/// Ends the build: its attempts are used up.
fn give_up(decision: &mut Decision<'_>, record: &BuildRecord, attempts: i64, failure: Failure) {
    let mut record = record.clone();
    record.progress.attempt = attempts;
    let words = format!("build {} failed: {}", record.number(), failure.message);
    decision.warn("BuildFailed", words);
    decision.end(&record, BuildResult::Failed, None, Some(failure.clone()));
    decision.stalled(&failure);
}

/// A minute after the first attempt, doubling to thirty.
pub fn retry_delay(attempt: i64) -> Duration {
    let mut delays = backon::ExponentialBuilder::new()
        .with_min_delay(Duration::from_secs(60))
        .with_max_delay(Duration::from_secs(1800))
        .with_factor(2.0)
        .without_max_times()
        .build();
    let skipped = usize::try_from(attempt - 1).unwrap_or(0).min(16);
    delays.nth(skipped).unwrap_or(Duration::from_secs(1800))
}

fn advance(decision: &mut Decision<'_>, record: &BuildRecord) -> Result<(), Failure> {
    let observed = decision.observed;
    let image = match &record.frozen.existing_image {
        Some(id) => Some(
            observed
                .image(id)
                .ok_or_else(|| Failure::new("ImageGone", format!("{id}, which was to be proved again, is gone")))?,
        ),
        None => image_of_attempt(observed, record),
    };
    let Some(image) = image else {
        return builder::make_image(decision, record);
    };
    if let Some(status) = launch::architecture_status_mut(decision) {
        status.image = Some(image.id.to_string());
    }
    match image.state {
        ImageState::Available => {}
        ImageState::Pending | ImageState::Transient | ImageState::Unknown => {
            decision.set_phase(Phase::Imaging);
            let message = format!("EC2 creates image {}{}", image.id, progress(observed, image));
            decision.building(record, "CreatingImage", message);
            return Ok(());
        }
        ImageState::Failed
        | ImageState::Error
        | ImageState::Invalid
        | ImageState::Deregistered
        | ImageState::Disabled => {
            let reason = image.state_reason.as_deref().unwrap_or("EC2 gives no reason");
            return Err(Failure::new(
                "ImageFailed",
                format!("image {} is {:?}: {reason}", image.id, image.state),
            ));
        }
    }
    if record.frozen.spec.image.imds_support == ImdsSupport::V2 && !image.imds_v2_required {
        decision.effects.push(Effect::RequireImdsV2 {
            image: image.id.clone(),
        });
    }
    if record.frozen.spec.test.enabled {
        proof::prove(decision, record, image)
    } else {
        proof::finish_untested(decision, record, image)
    }
}

fn image_of_attempt<'a>(observed: &'a Observation, record: &BuildRecord) -> Option<&'a Image> {
    let is_it = |image: &&Image| {
        let claim = observed.claim(&image.tags);
        claim.is_some_and(|claim| {
            (claim.build, claim.attempt, claim.role) == (record.number(), record.progress.attempt, Role::Image)
        })
    };
    // A name belongs to one image, so there cannot be two; a forged tag could make it seem so, and the name decides.
    observed
        .view
        .images
        .iter()
        .filter(is_it)
        .max_by_key(|image| image.name == record.frozen.image_name)
}

fn progress(observed: &Observation, image: &Image) -> String {
    let of_image =
        |snapshot: &&Snapshot| image.snapshots().any(|id| *id == snapshot.id) && snapshot.state != SnapshotState::Error;
    let least = observed
        .view
        .snapshots
        .iter()
        .filter(of_image)
        .map(|snapshot| snapshot.progress_percent)
        .min();
    least
        .map(|percent| format!(": {percent}% of its snapshot"))
        .unwrap_or_default()
}

/// Whether a call that makes something was sent, and its answer may not be visible yet.
pub fn answer_may_be_out(observed: &Observation) -> bool {
    let status = observed.status();
    let architectures = status.build.iter().flat_map(|build| &build.architectures);
    architectures.into_iter().any(|status| {
        let launches = [&status.instance, &status.test, &status.inspector]
            .into_iter()
            .flatten();
        let asked = launches
            .filter_map(|launch| launch.launch_time.as_ref())
            .chain(&status.image_time);
        asked.into_iter().any(|asked| since(asked.0, observed.now) < SETTLED)
    })
}

/// How long after a call a view shows its effect, with some room.
const SETTLED: Duration = Duration::from_secs(15);
