//! The present attempt of a build: from the builder's launch to the end. Where it stands is read from AWS each time, not remembered.

use std::time::Duration;

use backon::BackoffBuilder;

use super::draft::Decision;
use super::launch::{self, Found, YOUNG, find_or_launch};
use super::{SOON, begin, proof};
use crate::api::{ArchitectureStatus, AttemptFailure, BuildResult, ImdsSupport, Phase};
use crate::guest::{self, BuilderReport};
use crate::recipe::observation::Observation;
use crate::recipe::plan::Effect;
use crate::recipe::record::{BuildRecord, Failure, GuestKey};
use crate::recipe::{checks, since, time};
use crate::world::{
    BUILD, CONTENT_HASH, Image, ImageState, Instance, InstanceState, Role, SOURCE, Snapshot, SnapshotState, StateReason, Tags,
};

/// What a builder may need beyond its timeout to power itself off and be seen stopped.
const GRACE: Duration = Duration::from_secs(120);
/// How much later than the power-off its last words may show on the console.
const CONSOLE_LAG: Duration = Duration::from_secs(30);

/// Goes on with the build in hand.
pub(super) fn go_on(decision: &mut Decision<'_>, record: &BuildRecord) {
    let observed = decision.observed;
    let kept = observed.status().build.filter(|build| build.number == record.number());
    let mut build = kept.unwrap_or_else(|| begin::status_of(record));
    build.attempt = build.attempt.max(record.progress.attempt);
    let failed = build.failure.as_ref().is_some_and(|failure| failure.attempt == build.attempt);
    if build.attempt == 0 || failed {
        if let Some(failure) = build.failure.clone().filter(|_| failed)
            && !may_retry(decision, record, &failure)
        {
            decision.build = Some(build);
            decision.set_phase(Phase::CleaningUp);
            return;
        }
        build.attempt += 1;
        build.architectures.clear();
    }
    if build.architectures.is_empty() {
        let architecture = record.frozen.spec.build.architectures.first().copied().unwrap_or(crate::api::Architecture::X86_64);
        build.architectures = vec![ArchitectureStatus::new(architecture)];
    }
    let mut record = record.clone();
    record.progress.attempt = build.attempt;
    decision.build = Some(build);
    decision.claims = super::Claims::of(record.number(), record.progress.attempt, &[Role::Builder, Role::Image, Role::Test, Role::Inspector]);
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
    let wait = failure.retry_time.as_ref().map(|retry| since(observed.now, retry.0)).unwrap_or_default();
    if wait.is_zero() {
        return true;
    }
    let message = format!(
        "attempt {} of {} of build {} failed, the next begins at {}: {}",
        failure.attempt,
        observed.spec().failure_limit,
        record.number(),
        failure.retry_time.as_ref().map(|retry| retry.0.to_string()).unwrap_or_default(),
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
    decision.warn("AttemptFailed", format!("attempt {attempt} of build {}: {}: {}", record.number(), failure.reason, failure.message));
    if attempt >= i64::from(observed.spec().failure_limit) {
        decision.warn("BuildFailed", format!("build {} failed: {}", record.number(), failure.message));
        decision.end(record, BuildResult::Failed, None, Some(failure.clone()));
        decision.stalled(&failure);
        return;
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

/// A minute after the first attempt, doubling to thirty.
fn retry_delay(attempt: i64) -> Duration {
    let delays = backon::ExponentialBuilder::new()
        .with_min_delay(Duration::from_secs(60))
        .with_max_delay(Duration::from_secs(1800))
        .with_factor(2.0)
        .without_max_times()
        .build();
    let skipped = usize::try_from(attempt - 1).unwrap_or(0).min(16);
    delays.skip(skipped).next().unwrap_or(Duration::from_secs(1800))
}

fn advance(decision: &mut Decision<'_>, record: &BuildRecord) -> Result<(), Failure> {
    let observed = decision.observed;
    let image = match &record.frozen.existing_image {
        Some(id) => Some(observed.image(id).ok_or_else(|| Failure::new("ImageGone", format!("{id}, which was to be proved again, is gone")))?),
        None => image_of_attempt(observed, record),
    };
    let Some(image) = image else { return make_image(decision, record) };
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
        ImageState::Failed | ImageState::Error | ImageState::Invalid | ImageState::Deregistered | ImageState::Disabled => {
            let reason = image.state_reason.as_deref().unwrap_or("EC2 gives no reason");
            return Err(Failure::new("ImageFailed", format!("image {} is {:?}: {reason}", image.id, image.state)));
        }
    }
    if record.frozen.spec.image.imds_support == ImdsSupport::V2 && !image.imds_v2_required {
        decision.effects.push(Effect::RequireImdsV2 { image: image.id.clone() });
    }
    if record.frozen.spec.test.enabled { proof::prove(decision, record, image) } else { proof::finish_untested(decision, record, image) }
}

fn image_of_attempt<'a>(observed: &'a Observation, record: &BuildRecord) -> Option<&'a Image> {
    let is_it = |image: &&Image| {
        let claim = observed.claim(&image.tags);
        claim.is_some_and(|claim| (claim.build, claim.attempt, claim.role) == (record.number(), record.progress.attempt, Role::Image))
    };
    // A name belongs to one image, so there cannot be two; a forged tag could make it seem so, and the name decides.
    observed.view.images.iter().filter(is_it).max_by_key(|image| image.name == record.frozen.image_name)
}

fn progress(observed: &Observation, image: &Image) -> String {
    let of_image = |snapshot: &&Snapshot| image.snapshots().any(|id| *id == snapshot.id) && snapshot.state != SnapshotState::Error;
    let least = observed.view.snapshots.iter().filter(of_image).map(|snapshot| snapshot.progress_percent).min();
    least.map(|percent| format!(": {percent}% of its snapshot")).unwrap_or_default()
}

/// There is no image yet: sees the builder to its end, then asks for it.
fn make_image(decision: &mut Decision<'_>, record: &BuildRecord) -> Result<(), Failure> {
    let observed = decision.observed;
    if let Some(asked) = launch::architecture_status(decision).filter(|status| status.image.is_some()).and_then(|status| status.image_time.clone()) {
        if since(asked.0, observed.now) > YOUNG {
            return Err(Failure::new("ImageGone", format!("image {} vanished before it was finished; see CloudTrail for who deregistered it", record.frozen.image_name)));
        }
        decision.set_phase(Phase::Imaging);
        decision.building(record, "CreatingImage", "EC2 has taken the request for the image, and does not show it yet");
        return Ok(());
    }
    free_name(decision, record)?;
    let builder = match find_or_launch(decision, record, Role::Builder, &record.frozen.source.image_id)? {
        Found::Instance(builder) => builder,
        Found::Coming => {
            decision.set_phase(Phase::Launching);
            return Ok(launching(decision, record));
        }
        Found::Gone => return Err(Failure::new("BuilderGone", "the builder was terminated before it had finished; see CloudTrail for who did it")),
    };
    let report = report(observed, record, builder);
    keep_outputs(decision, record, &report);
    if let Some((step, outcome)) = report.failed_step() {
        set_step(decision, &step.name);
        return Err(step_failure(step, outcome));
    }
    if let Some(failure) = &report.failure {
        return Err(Failure::new("BuilderFailed", format!("the builder gave up: {failure}")));
    }
    match builder.state {
        InstanceState::Pending => {
            decision.set_phase(Phase::Launching);
            launching(decision, record);
            Ok(())
        }
        InstanceState::Running | InstanceState::Stopping => {
            working(decision, record, builder, &report)
        }
        InstanceState::Stopped => {
            stopped(decision, record, builder, &report)
        }
        // `find_or_launch` has told these as gone.
        InstanceState::ShuttingDown | InstanceState::Terminated => Err(Failure::new("BuilderGone", "the builder was terminated")),
    }
}

fn launching(decision: &mut Decision<'_>, record: &BuildRecord) {
    let launch = launch::architecture_status(decision).and_then(|status| status.instance.clone()).unwrap_or_default();
    let message = format!("launching the builder as {} in {}", launch.instance_type, launch.subnet);
    let pause = decision.look_again;
    if launch.candidate > 0 && launch.id.is_none() {
        decision.building(record, "InsufficientCapacity", format!("{message}; EC2 has refused {} launches for want of capacity", launch.candidate));
    } else {
        decision.building(record, "Launching", message);
    }
    decision.look_again = decision.look_again.max(if pause == super::IDLE { SOON } else { pause });
}

fn working(decision: &mut Decision<'_>, record: &BuildRecord, builder: &Instance, report: &BuilderReport) -> Result<(), Failure> {
    let observed = decision.observed;
    let timeout = launch::build_timeout(record)?;
    if since(builder.launch_time, observed.now) > timeout + GRACE {
        let step = report.current_step().map(|step| format!(" in step {}", step.name)).unwrap_or_default();
        return Err(Failure::new(
            "BuildTimedOut",
            format!("the builder has not finished{step} within spec.build.builder.timeout ({})", record.frozen.spec.build.builder.timeout),
        ));
    }
    decision.set_phase(Phase::Building);
    let message = match (report.finished, report.current_step()) {
        (true, _) => "the builder has finished and powers itself off".to_owned(),
        (false, Some(step)) => {
            set_step(decision, &step.name);
            format!("step {} ({} of {}) runs on {}", step.name, step.index, record.frozen.spec.build.steps.len(), builder.id)
        }
        (false, None) => format!("{} boots", builder.id),
    };
    decision.building(record, "Building", message);
    Ok(())
}

fn stopped(decision: &mut Decision<'_>, record: &BuildRecord, builder: &Instance, report: &BuilderReport) -> Result<(), Failure> {
    let observed = decision.observed;
    let by_itself = builder.state_reason.as_ref().is_some_and(|reason| reason.code == "Client.InstanceInitiatedShutdown");
    if !by_itself {
        let StateReason { code, message } = builder.state_reason.clone().unwrap_or(StateReason { code: "unknown".into(), message: String::new() });
        return Err(Failure::new("BuilderStopped", format!("the builder was stopped from outside ({code}: {message}); an image is made only of one that powered itself off")));
    }
    if report.started && !report.finished {
        let status = launch::architecture_status_mut(decision);
        let seen = status.and_then(|status| status.stopped_time.get_or_insert_with(|| time(observed.now)).clone().into()).unwrap_or_else(|| time(observed.now));
        if since(seen.0, observed.now) < CONSOLE_LAG {
            decision.set_phase(Phase::Building);
            decision.building(record, "Building", "the builder has stopped; its last words are not on the console yet");
            return Ok(());
        }
        let step = report.current_step().map(|step| format!("step {}", step.name)).unwrap_or_else(|| "cleanup".to_owned());
        let late = since(builder.launch_time, seen.0) + Duration::from_secs(5) >= launch::build_timeout(record)?;
        return Err(if late {
            Failure::new("BuildTimedOut", format!("the builder powered off in {step}, at the end of spec.build.builder.timeout ({})", record.frozen.spec.build.builder.timeout))
        } else {
            Failure::new("BuilderStopped", format!("the builder powered off in {step}, before it had finished; a step must not shut the machine down"))
        });
    }
    // A builder without a console may have failed: the proof reads the manifest on the disk, and refuses.
    create_image(decision, record, builder);
    Ok(())
}

fn create_image(decision: &mut Decision<'_>, record: &BuildRecord, builder: &Instance) {
    let observed = decision.observed;
    if let Some(status) = launch::architecture_status_mut(decision) {
        status.step = None;
        status.image_time.get_or_insert_with(|| time(observed.now));
    }
    decision.set_phase(Phase::Imaging);
    decision.building(record, "CreatingImage", format!("creating image {} from {}", record.frozen.image_name, builder.id));
    decision.effects.push(Effect::CreateImage {
        instance: builder.id.clone(),
        name: record.frozen.image_name.clone(),
        description: observed.spec().image.description.clone(),
        tags: image_tags(observed, record),
    });
}

/// The tags with which the image is born: the spec's, and what finds and explains it.
fn image_tags(observed: &Observation, record: &BuildRecord) -> Tags {
    let frozen = &record.frozen;
    let mut tags = frozen.spec.image.tags.clone();
    tags.entry("Name".into()).or_insert_with(|| frozen.image_name.clone());
    tags.extend(launch::claim(observed, record, Role::Image).tags(&observed.installation));
    tags.insert(CONTENT_HASH.into(), frozen.content_hash.clone());
    tags.insert(SOURCE.into(), frozen.source.image_id.to_string());
    let skipped = &frozen.spec.build.cleanup.skip;
    if !skipped.is_empty() {
        let items: Vec<String> = skipped.iter().map(|item| format!("{item:?}")).collect();
        tags.insert(crate::world::CLEANUP_SKIPPED.into(), items.join(" "));
    }
    tags
}

/// A name that an earlier attempt of ours holds becomes free with its leftovers; one that a stranger holds never does.
fn free_name(decision: &mut Decision<'_>, record: &BuildRecord) -> Result<(), Failure> {
    let observed = decision.observed;
    let name = &record.frozen.image_name;
    let Some(holder) = observed.view.named_images.iter().find(|image| image.name == *name && image.state != ImageState::Deregistered) else { return Ok(()) };
    let ours = observed.claim(&holder.tags).is_some_and(|claim| claim.build == record.number());
    if ours {
        return Ok(());
    }
    let build = holder.tags.get(BUILD).map(|build| format!(" (build {build} of another object)")).unwrap_or_default();
    Err(Failure::new("NameTaken", format!("spec.image.name: {name:?} is the name of {}{build} already; deregister it or change the template", holder.id)))
}

fn keep_outputs(decision: &mut Decision<'_>, record: &BuildRecord, report: &BuilderReport) {
    for step in &report.steps {
        let Some(outcome) = &step.outcome else { continue };
        let key = format!("output.{}-{}", step.index, step.name);
        if record.outputs.get(&key) != Some(&outcome.output) {
            decision.effects.push(Effect::KeepOutput { build: record.number(), key, text: outcome.output.clone() });
        }
    }
}

fn set_step(decision: &mut Decision<'_>, step: &str) {
    if let Some(status) = launch::architecture_status_mut(decision) {
        status.step = Some(step.to_owned());
    }
}

fn step_failure(step: &guest::StepReport, outcome: &guest::StepOutcome) -> Failure {
    let how = if outcome.timed_out { "took longer than its timeout".to_owned() } else { format!("failed with exit status {}", outcome.exit) };
    let tries = if outcome.tries > 1 { format!(" in each of {} tries", outcome.tries) } else { String::new() };
    let end: String = tail(&outcome.output, 1600);
    Failure::new("StepFailed", format!("step {} {how}{tries}; its output ends with:\n{end}", step.name))
}

fn tail(text: &str, bytes: usize) -> String {
    let start = text.ceil_char_boundary(text.len().saturating_sub(bytes));
    text[start..].trim_end().to_owned()
}

fn report(observed: &Observation, record: &BuildRecord, builder: &Instance) -> BuilderReport {
    let nonce = launch::nonce(observed, record, GuestKey { attempt: record.progress.attempt, role: Role::Builder });
    let console = observed.consoles.get(&builder.id).map(String::as_str).unwrap_or_default();
    BuilderReport::new(&guest::parse(console, &nonce))
}

/// Whether a call that makes something was sent, and its answer may not be visible yet.
pub fn answer_may_be_out(observed: &Observation) -> bool {
    let status = observed.status();
    let architectures = status.build.iter().flat_map(|build| &build.architectures);
    architectures.into_iter().any(|status| {
        let launches = [&status.instance, &status.test, &status.inspector].into_iter().flatten();
        let asked = launches.filter_map(|launch| launch.launch_time.as_ref()).chain(&status.image_time);
        asked.into_iter().any(|asked| since(asked.0, observed.now) < SETTLED)
    })
}

/// How long after a call a view shows its effect, with some room.
const SETTLED: Duration = Duration::from_secs(15);

/// The trusted image that the inspector of this attempt boots from.
pub(super) fn inspector_image<'a>(decision: &Decision<'a>) -> Result<&'a Image, Failure> {
    checks::inspector_image(decision.observed)
}
