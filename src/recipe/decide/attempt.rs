//! The present attempt of a build: from the builder's launch to the end. Where it stands is read from AWS each time, not remembered.

use std::time::Duration;

use backon::BackoffBuilder;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::draft::Decision;
use super::launch::{self, MISSING, YOUNG};
use super::{begin, builder, proof};
use crate::api::{ArchitectureStatus, AttemptFailure, BuildResult, BuildStatus, ImdsSupport, Phase, Reason};
use crate::recipe::observation::Observation;
use crate::recipe::plan::Effect;
use crate::recipe::record::{BuildRecord, FailedAttempt, Failure};
use crate::recipe::seal::Origin;
use crate::recipe::{checks, since, time};
use crate::world::{AwsError, Claim, Image, ImageState, InstanceId, Role, Snapshot, SnapshotState};

/// Reasons that no further attempt would cure.
const PERMANENT: [Reason; 2] = [Reason::NameTaken, Reason::ProofUnsupported];

/// Goes on with the build in hand.
pub(super) fn go_on(decision: &mut Decision<'_>, record: &BuildRecord) {
    let observed = decision.observed;
    let kept = observed.status().build.filter(|build| build.number == record.number());
    let mut build = kept.unwrap_or_else(|| begin::status_of(record));
    // Status may say anything; the record knows the last attempt of which something was made.
    let most = i64::from(observed.spec().failure_limit).max(record.progress.attempt);
    let told = build.attempt;
    build.attempt = build.attempt.clamp(record.progress.attempt, most);
    if build.attempt != told {
        // What it tells is of another attempt.
        build.architectures.clear();
    }
    let granted = checks::grants(observed, &record.frozen.spec);
    let granted = granted.and_then(|()| checks::frozen_source_is_granted(observed, &record.frozen.source.image_id));
    let granted = granted.and_then(|()| checks::subnets_may_be_used(observed, &record.frozen.spec));
    if let Err(failure) = granted {
        decision.abandon(record, &failure.message);
        return decision.stalled(&failure);
    }
    // The record knows it also when the status that said so was lost, or never written.
    if let Some(failed) = record
        .progress
        .failed
        .as_ref()
        .filter(|failed| failed.attempt == build.attempt)
    {
        build.failure = Some(status_of(failed));
    }
    let failed = build.failure.clone().filter(|failure| failure.attempt == build.attempt);
    if let Some(failure) = &failed {
        let cause = Failure::new(reason_of(failure), failure.message.clone());
        let frozen = &record.frozen.spec;
        if (&frozen.build, &frozen.test) != (&observed.spec().build, &observed.spec().test) {
            return decision.abandon(record, "an attempt has failed, and the spec has changed since it began");
        }
        if is_last(decision, failure.attempt, &cause) {
            return give_up(decision, record, failure.attempt, cause);
        }
        if observed.request("build").is_some() {
            return decision.abandon(
                record,
                "an attempt has failed, and goldsmith.dev/build asks for another build",
            );
        }
        if !may_retry(decision, record, failure) {
            keep(decision, record, failure, cause);
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
    record.progress.begin_attempt(build.attempt);
    let frozen = &record.frozen.spec;
    let changed = (&frozen.build, &frozen.test) != (&observed.spec().build, &observed.spec().test);
    if changed && waits_for_capacity(&build) {
        return decision.abandon(
            &record,
            "it waits for capacity, and the spec has changed since it began",
        );
    }
    decision.build = Some(build);
    decision.claims = super::Claims::of(
        record.number(),
        record.progress.attempt,
        &[Role::Builder, Role::Image, Role::Test, Role::Inspector],
    );
    if let Some(error) = unheard(observed, record.number(), record.progress.attempt) {
        return decision.cannot_hear(error);
    }
    if let Err(failure) = advance(decision, &record) {
        fail(decision, &record, failure);
    }
}

/// Why a console of the present attempt cannot be read. What it says may decide, so the attempt neither goes on nor fails meanwhile.
fn unheard(observed: &Observation, build: i64, attempt: i64) -> Option<&AwsError> {
    let of_attempt = observed
        .instances()
        .filter(|(_, claim)| (claim.build, claim.attempt) == (build, attempt));
    let mut consoles = of_attempt.filter_map(|(instance, _)| observed.consoles.get(&instance.id));
    consoles.find_map(|console| console.as_ref().err())
}

/// A call that EC2 has refused has failed the attempt in status alone: the record learns of it before anything of the attempt is removed.
fn keep(decision: &mut Decision<'_>, record: &BuildRecord, failure: &AttemptFailure, cause: Failure) {
    let known = record.progress.failed.as_ref();
    if known.is_some_and(|known| known.attempt == failure.attempt) {
        return;
    }
    decision.effects.push(Effect::KeepFailure {
        build: record.number(),
        failed: FailedAttempt {
            attempt: failure.attempt,
            time: failure.time.as_ref().map_or(decision.observed.now, |time| time.0),
            failure: cause,
        },
    });
}

/// Whether EC2 has refused a launch for want of capacity, and the instance is not there yet.
fn waits_for_capacity(build: &BuildStatus) -> bool {
    let launches = build.architectures.iter().flat_map(ArchitectureStatus::launches);
    launches
        .into_iter()
        .any(|launch| launch.id.is_none() && launch.candidate > 0)
}

fn status_of(failed: &FailedAttempt) -> AttemptFailure {
    AttemptFailure {
        attempt: failed.attempt,
        reason: failed.failure.reason.to_string(),
        message: failed.failure.message.clone(),
        time: Some(time(failed.time)),
        retry_time: Some(time(failed.time + retry_delay(failed.attempt))),
    }
}

/// The reason in a status, which others may write too.
fn reason_of(failure: &AttemptFailure) -> Reason {
    Reason::read(&failure.reason).unwrap_or(Reason::AttemptFailed)
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
    decision.building(record, reason_of(failure), message);
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
    let failed = FailedAttempt {
        attempt,
        time: observed.now,
        failure: failure.clone(),
    };
    if let Some(build) = &mut decision.build {
        build.failure = Some(status_of(&failed));
    }
    decision.effects.push(Effect::KeepFailure {
        build: record.number(),
        failed,
    });
    decision.set_phase(Phase::CleaningUp);
    decision.building(record, failure.reason, failure.message);
}

/// Whether no attempt follows one that failed so.
fn is_last(decision: &Decision<'_>, attempt: i64, failure: &Failure) -> bool {
    attempt >= i64::from(decision.observed.spec().failure_limit) || PERMANENT.contains(&failure.reason)
}

/// Ends the build: its attempts are used up.
fn give_up(decision: &mut Decision<'_>, record: &BuildRecord, attempts: i64, failure: Failure) {
    let mut record = record.clone();
    record.progress.attempt = attempts;
    let words = match attempts {
        1 => "at its one attempt".to_owned(),
        attempts => format!("at each of {attempts} attempts"),
    };
    let words = format!(
        "build {} failed {words} and is given up; change the spec or ask for another by goldsmith.dev/build: {}",
        record.number(),
        failure.message
    );
    let failure = Failure::new(failure.reason, words.clone());
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
    let Some(image) = image(observed, record) else {
        let known = launch::architecture_status(decision).is_some_and(|status| status.image.is_some());
        return match known || record.frozen.existing_image.is_some() {
            true => image_is_missing(decision, record),
            false => builder::make_image(decision, record),
        };
    };
    if let Some(status) = launch::architecture_status_mut(decision) {
        status.image = Some(image.id.to_string());
        status.image_missing_time = None;
    }
    match image.state {
        ImageState::Available => {}
        ImageState::Pending | ImageState::Transient | ImageState::Unknown => {
            decision.set_phase(Phase::Imaging);
            let message = format!("EC2 creates image {}{}", image.id, progress(observed, image));
            decision.building(record, Reason::CreatingImage, message);
            return Ok(());
        }
        ImageState::Failed
        | ImageState::Error
        | ImageState::Invalid
        | ImageState::Deregistered
        | ImageState::Disabled => {
            let reason = image.state_reason.as_deref().unwrap_or("EC2 gives no reason");
            return Err(Failure::new(
                Reason::ImageFailed,
                format!("image {} is {}: {reason}", image.id, image.state),
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

/// The image that was there, or that EC2 said it would make, is not shown.
fn image_is_missing(decision: &mut Decision<'_>, record: &BuildRecord) -> Result<(), Failure> {
    let now = decision.observed.now;
    let name = &record.frozen.image_name;
    let (mut young, mut missing) = (false, now);
    if let Some(status) = launch::architecture_status_mut(decision) {
        let asked = status.image_time.as_ref();
        young = asked.is_some_and(|asked| since(asked.0, now) < YOUNG);
        missing = status.image_missing_time.get_or_insert_with(|| time(now)).0;
    }
    if !young && since(missing, now) >= MISSING {
        return Err(Failure::new(
            Reason::ImageGone,
            format!("image {name} vanished before it was finished; see CloudTrail for who deregistered it"),
        ));
    }
    decision.set_phase(Phase::Imaging);
    decision.building(
        record,
        Reason::CreatingImage,
        format!("EC2 does not show image {name} at the moment"),
    );
    Ok(())
}

/// The image that the build is about, once it is there.
pub(super) fn image<'a>(observed: &'a Observation, record: &BuildRecord) -> Option<&'a Image> {
    match &record.frozen.existing_image {
        Some(existing) => observed.image(&existing.id),
        None => image_of_attempt(observed, record),
    }
}

/// The image that was made from this attempt's builder; nobody can give another one's that name and that origin.
fn image_of_attempt<'a>(observed: &'a Observation, record: &BuildRecord) -> Option<&'a Image> {
    let wanted = launch::claim(observed, record, Role::Image);
    let is_it = |image: &&Image| {
        image.name == record.frozen.image_name
            && observed.claim(&image.tags).as_ref() == Some(&wanted)
            && is_born(observed, &wanted, image)
    };
    observed.view.images.iter().find(is_it)
}

/// Whether an image was made by us for `claim`.
fn is_born(observed: &Observation, claim: &Claim, image: &Image) -> bool {
    let instance = image.source_instance_id.as_ref().map(InstanceId::as_str);
    let origin = Origin::Image {
        name: &image.name,
        instance: instance.unwrap_or_default(),
    };
    observed.is_born(claim, &origin, &image.tags)
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

/// The build in hand of a recipe that is being deleted, as status has it. Of calls whose effect shows it does not tell any more when they were
/// made.
pub fn abandoned(observed: &Observation) -> Option<BuildStatus> {
    let mut build = observed.status().build?;
    let (number, attempt) = (build.number, build.attempt);
    let is_of = |claim: &Claim, role| (claim.build, claim.attempt, claim.role) == (number, attempt, role);
    // The record may be gone.
    let mut images = observed.view.images.iter();
    let image = images.find(|image| {
        let claim = observed.claim(&image.tags).filter(|claim| is_of(claim, Role::Image));
        claim.is_some_and(|claim| is_born(observed, &claim, image))
    });
    let claims = observed
        .view
        .volumes
        .iter()
        .filter_map(|volume| observed.claim(&volume.tags));
    let volumes = claims.filter(|claim| is_of(claim, Role::Inspector));
    // One for each of the image's.
    let all_show = image.is_some_and(|image| volumes.count() >= image.snapshots().count());
    for status in &mut build.architectures {
        status.phase = Phase::CleaningUp;
        status.step = None;
        status.image_time.take_if(|_| image.is_some());
        status.volume_time.take_if(|_| all_show);
    }
    Some(build)
}

/// Whether a call that makes something was sent for `build`, and what it has made may not show yet.
pub fn answer_may_be_out(observed: &Observation, build: &BuildStatus) -> bool {
    let shows = |role: Role| {
        launch::launched(observed, build.number, build.attempt, role)
            .next()
            .is_some()
    };
    let seen = observed.view.taken.unwrap_or(observed.now);
    // Whatever status says: nothing was asked for later than by a pass that had begun before.
    let deleted = observed.recipe.metadata.deletion_timestamp.as_ref();
    let last = deleted.map_or(observed.now, |deleted| deleted.0 + LAST_CALL);
    let is_young = |asked: &Time| since(asked.0.min(last), seen) < YOUNG;
    build.architectures.iter().any(|status| {
        let unseen = Role::GUESTS.into_iter().filter(|role| !shows(*role));
        let launches = unseen.filter_map(|role| launch::slot(status, role).as_ref());
        let launches = launches.filter(|launch| launch.refused_time.is_none());
        let asked = launches.filter_map(|launch| launch.launch_time.as_ref());
        let mut asked = asked.chain(&status.image_time).chain(&status.volume_time);
        asked.any(is_young)
    })
}

/// How long after a recipe's deletion a pass that did not know of it may still call: what it has seen may be a minute old, and the call takes
/// half a minute at most.
const LAST_CALL: Duration = Duration::from_secs(90);
