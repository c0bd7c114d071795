//! The builder: launched, watched until it has powered itself off, and turned into an image.

use std::time::Duration;

use super::SOON;
use super::draft::Decision;
use super::launch::{self, CONSOLE_LAG, Found, find_or_launch};
use crate::api::{Phase, Reason};
use crate::guest::{self, BuilderReport};
use crate::recipe::observation::Observation;
use crate::recipe::plan::Effect;
use crate::recipe::record::{BuildRecord, Failure};
use crate::recipe::seal::Origin;
use crate::recipe::{since, time};
use crate::world::{
    CLEANUP_SKIPPED, CONTENT_HASH, Claim, ImageState, Instance, InstanceState, Role, SOURCE, StateReason, Tags,
};

/// What a builder may need beyond its timeout to power itself off and be seen stopped.
const GRACE: Duration = Duration::from_secs(120);
/// How long EC2 may go on to refuse a name whose holder it does not show: that of an image that was just deregistered, for one.
const NAME_HELD: Duration = Duration::from_secs(600);
/// Between two looks for them.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A power-off this little before the end of the timeout is the timer's: status has whole seconds.
const TIMER_SLACK: Duration = Duration::from_secs(5);

/// There is no image yet: sees the builder to its end, then asks for it.
pub(super) fn make_image(decision: &mut Decision<'_>, record: &BuildRecord) -> Result<(), Failure> {
    let observed = decision.observed;
    free_name(decision, record)?;
    let builder = match find_or_launch(decision, record, Role::Builder, Ok(&record.frozen.source.image_id))? {
        Found::Instance(builder) => builder,
        Found::Coming => {
            decision.set_phase(Phase::Launching);
            launching(decision, record);
            return Ok(());
        }
        Found::Gone(why) => {
            return Err(Failure::new(
                Reason::BuilderGone,
                format!("the builder was terminated before it had finished: {why}"),
            ));
        }
    };
    let report = heard(observed, record, builder);
    keep_outputs(decision, record, &report);
    if let Some((step, outcome)) = report.failed_step() {
        set_step(decision, &step.name);
        return Err(step_failure(record, step, outcome));
    }
    if let Some(failure) = &report.failure {
        return Err(Failure::new(
            Reason::BuilderFailed,
            format!("the builder gave up: {failure}"),
        ));
    }
    match builder.state {
        InstanceState::Pending => {
            decision.set_phase(Phase::Launching);
            launching(decision, record);
            Ok(())
        }
        InstanceState::Running | InstanceState::Stopping => working(decision, record, builder, &report),
        InstanceState::Stopped => stopped(decision, record, builder, &report),
        // `find_or_launch` has told these as gone.
        InstanceState::ShuttingDown | InstanceState::Terminated => {
            Err(Failure::new(Reason::BuilderGone, "the builder was terminated"))
        }
    }
}

/// What the builder has said of the steps that there are; it is root on its machine, so it can say anything.
fn heard(observed: &Observation, record: &BuildRecord, builder: &Instance) -> BuilderReport {
    let mut report = BuilderReport::new(&launch::heard(observed, record, Role::Builder, builder));
    let steps = &record.frozen.spec.build.steps;
    report.steps.retain(|said| {
        let index = usize::try_from(said.index).unwrap_or(0);
        index > 0 && steps.get(index - 1).is_some_and(|step| step.name == said.name)
    });
    report
}

fn launching(decision: &mut Decision<'_>, record: &BuildRecord) {
    let launch = launch::architecture_status(decision)
        .and_then(|status| status.instance.clone())
        .unwrap_or_default();
    let message = format!("launching the builder as {} in {}", launch.instance_type, launch.subnet);
    let pause = decision.look_again;
    if launch.candidate > 0 && launch.id.is_none() {
        decision.building(
            record,
            Reason::InsufficientCapacity,
            format!(
                "{message}; launches refused so far: {}, the last for {}; instanceTypes and subnets are tried in turn, with a pause of a \
                 minute after each round: name more of them",
                launch.candidate,
                launch.refusal.as_deref().unwrap_or("want of capacity")
            ),
        );
    } else {
        decision.building(record, Reason::Launching, message);
    }
    decision.look_again = decision.look_again.max(if pause == super::IDLE { SOON } else { pause });
}

fn working(
    decision: &mut Decision<'_>,
    record: &BuildRecord,
    builder: &Instance,
    report: &BuilderReport,
) -> Result<(), Failure> {
    let observed = decision.observed;
    let timeout = launch::build_timeout(record)?;
    if since(builder.launch_time, observed.now) > timeout + GRACE {
        return Err(Failure::new(
            Reason::BuildTimedOut,
            format!(
                "the builder has not finished within spec.build.builder.timeout ({}); nothing was heard of it after {}",
                record.frozen.spec.build.builder.timeout,
                last_heard(report)
            ),
        ));
    }
    decision.set_phase(Phase::Building);
    let message = match (report.finished, report.current_step()) {
        (true, _) => "the builder has finished and powers itself off".to_owned(),
        (false, Some(step)) => {
            set_step(decision, &step.name);
            format!(
                "step {} ({} of {}) runs on {}",
                step.name,
                step.index,
                record.frozen.spec.build.steps.len(),
                builder.id
            )
        }
        (false, None) if !report.steps.is_empty() => {
            format!("{} has run the steps, looks for secrets and cleans up", builder.id)
        }
        (false, None) => format!("{} boots", builder.id),
    };
    decision.building(record, Reason::Building, message);
    Ok(())
}

fn stopped(
    decision: &mut Decision<'_>,
    record: &BuildRecord,
    builder: &Instance,
    report: &BuilderReport,
) -> Result<(), Failure> {
    let observed = decision.observed;
    let by_itself = builder
        .state_reason
        .as_ref()
        .is_some_and(|reason| reason.code == "Client.InstanceInitiatedShutdown");
    if !by_itself {
        let why = match &builder.state_reason {
            Some(StateReason { code, message }) if message.is_empty() => code.clone(),
            Some(StateReason { code, message }) => format!("{code}: {message}"),
            None => "EC2 gives no reason".to_owned(),
        };
        return Err(Failure::new(
            Reason::BuilderStopped,
            format!(
                "the builder was stopped from outside ({why}); an image is made only of one that powered itself off"
            ),
        ));
    }
    if !report.finished {
        let seen = match launch::architecture_status_mut(decision) {
            Some(status) => status.stopped_time.get_or_insert_with(|| time(observed.now)).0,
            None => observed.now,
        };
        if since(seen, observed.now) < CONSOLE_LAG {
            decision.set_phase(Phase::Building);
            decision.building(
                record,
                Reason::Building,
                "the builder has stopped; its last words are not on the console yet",
            );
            decision.look_again = LAST_WORDS;
            return Ok(());
        }
        let timeout = launch::build_timeout(record)?;
        let late = since(builder.launch_time, seen) + TIMER_SLACK >= timeout;
        if report.started && (late || !record.frozen.spec.test.enabled) {
            return Err(died(record, report, late));
        }
        if !record.frozen.spec.test.enabled {
            return Err(Failure::new(
                Reason::BuilderSilent,
                "the builder has said nothing on its console, and without a test nothing else tells whether it succeeded; \
                 set spec.test.enabled, or build from an image that writes to its serial console",
            ));
        }
    }
    // A builder whose last word was not heard may have failed, or its console may: the proof reads the manifest on the disk, and refuses.
    let unfinished = report.current_step().map(|step| step.name.clone());
    create_image(decision, record, builder, unfinished.filter(|_| !report.finished))
}

/// Why a builder that has begun and powered itself off has not finished; `late`: its time was over.
fn died(record: &BuildRecord, report: &BuilderReport, late: bool) -> Failure {
    let heard = last_heard(report);
    if late {
        Failure::new(
            Reason::BuildTimedOut,
            format!(
                "the builder powered off at the end of spec.build.builder.timeout ({}); nothing was heard of it after {heard}",
                record.frozen.spec.build.builder.timeout
            ),
        )
    } else {
        Failure::new(
            Reason::BuilderStopped,
            format!(
                "the builder powered off, and nothing was heard of it after {heard}; a step must not shut the machine down"
            ),
        )
    }
}

/// What a builder was doing when it was heard of last; its console may have fallen silent before the builder did.
fn last_heard(report: &BuilderReport) -> String {
    match report.steps.last() {
        Some(step) if step.outcome.is_none() => format!("step {} began", step.name),
        Some(step) => format!("step {} ended", step.name),
        None if report.started => "it had begun".to_owned(),
        None => "its launch".to_owned(),
    }
}

fn create_image(
    decision: &mut Decision<'_>,
    record: &BuildRecord,
    builder: &Instance,
    unfinished: Option<String>,
) -> Result<(), Failure> {
    let observed = decision.observed;
    let mut taken = observed.now;
    if let Some(status) = launch::architecture_status_mut(decision) {
        status.step = unfinished;
        status.image_time = Some(time(observed.now));
        taken = status.name_taken_time.as_ref().map_or(taken, |taken| taken.0);
    }
    if since(taken, observed.now) > NAME_HELD {
        return Err(Failure::new(
            Reason::NameTaken,
            format!(
                "spec.image.name: EC2 has refused {:?} for {} minutes and shows no image of this account that is called so; change the template",
                record.frozen.image_name,
                NAME_HELD.as_secs() / 60
            ),
        ));
    }
    decision.set_phase(Phase::Imaging);
    decision.building(
        record,
        Reason::CreatingImage,
        format!("creating image {} from {}", record.frozen.image_name, builder.id),
    );
    decision.effects.push(Effect::CreateImage {
        instance: builder.id.clone(),
        name: record.frozen.image_name.clone(),
        description: record.frozen.spec.image.description.clone(),
        tags: image_tags(observed, record, builder),
    });
    Ok(())
}

/// The tags with which the image is born: the spec's, and what finds and explains it.
fn image_tags(observed: &Observation, record: &BuildRecord, builder: &Instance) -> Tags {
    let frozen = &record.frozen;
    let mut tags = frozen.spec.image.tags.clone();
    tags.entry("Name".into()).or_insert_with(|| frozen.image_name.clone());
    let origin = Origin::Image {
        name: &frozen.image_name,
        instance: builder.id.as_str(),
    };
    tags.extend(launch::birth_tags(observed, record, Role::Image, &origin));
    tags.insert(CONTENT_HASH.into(), frozen.content_hash.clone());
    tags.insert(SOURCE.into(), frozen.source.image_id.to_string());
    let skipped = super::proof::skipped(&frozen.spec);
    if !skipped.is_empty() {
        tags.insert(CLEANUP_SKIPPED.into(), skipped);
    }
    tags
}

/// A name that an earlier attempt of ours holds becomes free with its leftovers; one that a stranger holds never does.
fn free_name(decision: &mut Decision<'_>, record: &BuildRecord) -> Result<(), Failure> {
    let observed = decision.observed;
    let name = &record.frozen.image_name;
    let Some(holder) = observed
        .view
        .named_images
        .iter()
        .find(|image| image.name == *name && image.state != ImageState::Deregistered)
    else {
        return Ok(());
    };
    let ours = observed
        .claim(&holder.tags)
        .is_some_and(|claim| claim.build == record.number());
    if ours {
        return Ok(());
    }
    Err(Failure::new(
        Reason::NameTaken,
        format!(
            "spec.image.name: {name:?} is the name of {} already{}",
            holder.id,
            way_out(observed, record, &holder.tags)
        ),
    ))
}

/// Whose the image is that has the name, and what tells the two recipes apart; only of a stranger's it is worth asking whether it is needed.
fn way_out(observed: &Observation, record: &BuildRecord, tags: &Tags) -> String {
    let claim = Claim::read(tags, &observed.installation);
    let owner = claim.as_ref().and_then(|claim| claim.owner.split_once('/'));
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    };
    let Some((namespace, name)) = owner.filter(|(namespace, name)| is_name(namespace) && is_name(name)) else {
        return "; change the template, or deregister the image if nobody needs it".to_owned();
    };
    let part = match namespace == observed.owner.namespace {
        true => "{{recipe}}",
        false => "{{namespace}}",
    };
    let hint = match record.frozen.spec.image.name.replace(' ', "").contains(part) {
        true => String::new(),
        false => format!(": {part} tells the two apart"),
    };
    format!(", which imagerecipe {namespace}/{name} has made; change the template{hint}")
}

fn keep_outputs(decision: &mut Decision<'_>, record: &BuildRecord, report: &BuilderReport) {
    for step in &report.steps {
        let Some(outcome) = &step.outcome else { continue };
        let key = format!("output.{}-{}", step.index, step.name);
        if record.outputs.get(&key) != Some(&outcome.output) {
            decision.effects.push(Effect::KeepOutput {
                build: record.number(),
                key,
                text: outcome.output.clone(),
            });
        }
    }
}

fn set_step(decision: &mut Decision<'_>, step: &str) {
    if let Some(status) = launch::architecture_status_mut(decision) {
        status.step = Some(step.to_owned());
    }
}

fn step_failure(record: &BuildRecord, step: &guest::StepReport, outcome: &guest::StepOutcome) -> Failure {
    let how = if outcome.timed_out {
        let asked = record
            .frozen
            .spec
            .build
            .steps
            .iter()
            .find(|asked| asked.name == step.name);
        let timeout = asked.and_then(|asked| asked.timeout.as_deref());
        let timeout = timeout.map(|timeout| format!(" ({timeout})")).unwrap_or_default();
        format!("took longer than its timeout{timeout}")
    } else {
        format!("failed with exit status {}", outcome.exit)
    };
    let tries = if outcome.tries > 1 {
        format!(" in each of {} tries", outcome.tries)
    } else {
        String::new()
    };
    Failure::new(
        Reason::StepFailed,
        format!("step {} {how}{tries}: {}", step.name, printed(&outcome.output)),
    )
}

/// What a script printed at its end, the last line first: tables show the first line of a message alone.
pub(super) fn printed(output: &str) -> String {
    let end = tail(output.trim(), 1600);
    let last = end.lines().last().unwrap_or_default();
    match crate::api::truncated(last, 200) {
        _ if end.is_empty() => "it printed nothing".to_owned(),
        short if short == end => short.to_owned(),
        short => format!("{short}; its output ends with:\n{end}"),
    }
}

fn tail(text: &str, bytes: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..]
}
