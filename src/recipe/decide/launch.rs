//! Launching an instance for a role: what it is told, where it is tried, and under which token.

use std::time::Duration;

use super::draft::Decision;
use crate::api::{ArchitectureStatus, LaunchStatus, Reason, Volume};
use crate::guest::{self, BuilderGuest, InspectorGuest, TestGuest, UserData};
use crate::recipe::observation::Observation;
use crate::recipe::plan::{Effect, Launch, Removal};
use crate::recipe::record::{BuildRecord, Failure, GuestKey};
use crate::recipe::seal::{Origin, SealKeys, guest_role};
use crate::recipe::{since, time};
use crate::world::{BIRTH, Claim, ImageId, Instance, InstanceState, Role, Tags};

/// Between two rounds through all types and subnets, when none of them had capacity.
const ROUND_PAUSE: Duration = Duration::from_secs(60);
/// Beyond its work, before an instance of ours powers itself off.
const SPARE: Duration = Duration::from_secs(600);
/// How much later than it was said a guest's word may show on the console.
pub(super) const CONSOLE_LAG: Duration = Duration::from_secs(30);
/// How long EC2 may take to show what it has made.
pub(super) const YOUNG: Duration = Duration::from_secs(300);
/// How long something that was there before may be out of EC2's answers: one of them may be older than another.
pub(super) const MISSING: Duration = Duration::from_secs(60);

/// The instance of a role of the present attempt.
pub(super) enum Found<'a> {
    /// It is there.
    Instance(&'a Instance),
    /// It is being launched, or not visible yet.
    Coming,
    /// It was there, and is gone or on its way out; why, as far as EC2 says.
    Gone(String),
}

/// Instances that we have launched for `role` of an attempt, by their marks.
pub(super) fn launched(
    observed: &Observation,
    build: i64,
    attempt: i64,
    role: Role,
) -> impl Iterator<Item = &Instance> {
    let of_it = observed.instances().filter(move |(instance, claim)| {
        let Some(from) = &instance.image_id else { return false };
        let client_token = instance.client_token.as_deref().unwrap_or_default();
        let origin = origin(from, &instance.instance_type, client_token);
        (claim.build, claim.attempt, claim.role) == (build, attempt, role)
            && observed.is_born(claim, &origin, &instance.tags)
    });
    of_it.map(|(instance, _)| instance)
}

/// Finds the instance of `role`, or launches it from `image`; why there is none matters only then.
pub(super) fn find_or_launch<'a>(
    decision: &mut Decision<'a>,
    record: &BuildRecord,
    role: Role,
    image: Result<&ImageId, Failure>,
) -> Result<Found<'a>, Failure> {
    let observed = decision.observed;
    let attempt = record.progress.attempt;
    let slot = architecture_status(decision).and_then(|status| slot(status, role).clone());
    // A newer image for inspectors is no reason to give up one that is at work: its mark says that we launched it from what was trusted then.
    let is_from = |instance: &Instance| {
        let from = instance.image_id.as_ref();
        role == Role::Inspector || image.as_ref().is_ok_and(|image| Some(*image) == from)
    };
    let mut ours: Vec<&Instance> = launched(observed, record.number(), attempt, role)
        .filter(|instance| is_from(instance))
        .collect();
    // Two of a kind can only come of a token that a zone did not know, or that someone has read on ours and launched with in another zone:
    // the one that was there first is ours in every pass, whatever status says, and the others are leftovers.
    ours.sort_by_key(|instance| (instance.launch_time, instance.id.clone()));
    if let Some(instance) = ours.first() {
        for double in &ours[1..] {
            if !matches!(double.state, InstanceState::Terminated | InstanceState::ShuttingDown) {
                decision
                    .effects
                    .push(Effect::Remove(Removal::Instance(double.id.clone())));
            }
        }
        remember(decision, role, slot, instance);
        return Ok(match instance.state {
            InstanceState::ShuttingDown | InstanceState::Terminated => Found::Gone(match &instance.state_reason {
                // Everything else EC2 or the guest has done itself.
                Some(reason) if reason.code == "Client.UserInitiatedShutdown" => {
                    format!("{}; see CloudTrail for who did it", reason.message)
                }
                Some(reason) => format!("{}: {}", reason.code, reason.message),
                None => "EC2 gives no reason; see CloudTrail for who terminated it".to_owned(),
            }),
            _ => Found::Instance(instance),
        });
    }
    if let Some(launch) = &slot
        && launch.id.is_some()
    {
        let launched = launch.launch_time.as_ref();
        let young = launched.is_some_and(|launched| since(launched.0, observed.now) < YOUNG);
        let missing = launch.missing_time.as_ref().map_or(observed.now, |missing| missing.0);
        if young || since(missing, observed.now) < MISSING {
            let launch = LaunchStatus {
                missing_time: Some(time(missing)),
                ..launch.clone()
            };
            set_slot(decision, role, launch);
            return Ok(Found::Coming);
        }
        return Ok(Found::Gone("EC2 does not show it any more".to_owned()));
    }
    launch(decision, record, role, image?, slot)?;
    Ok(Found::Coming)
}

fn launch(
    decision: &mut Decision<'_>,
    record: &BuildRecord,
    role: Role,
    image: &ImageId,
    slot: Option<LaunchStatus>,
) -> Result<(), Failure> {
    let observed = decision.observed;
    let spec = &record.frozen.spec;
    let builder = &spec.build.builder;
    let types = match role {
        Role::Test if !spec.test.instance_types.is_empty() => &spec.test.instance_types,
        _ => &builder.instance_types,
    };
    let subnets = crate::recipe::checks::subnets(observed, spec)?;
    let candidates = i64::try_from(types.len() * subnets.len()).unwrap_or(1).max(1);
    let number = slot.as_ref().map_or(0, |launch| launch.candidate);
    let waited = slot
        .as_ref()
        .and_then(|launch| launch.launch_time.as_ref())
        .map(|launched| since(launched.0, observed.now));
    // Every type in every subnet was without capacity once more.
    let again = number > 0 && number % candidates == 0;
    if again && waited.is_some_and(|waited| waited < ROUND_PAUSE) {
        decision.look_again = ROUND_PAUSE;
        return Ok(());
    }
    let place = usize::try_from(number % candidates).unwrap_or(0);
    let subnet = subnets.get(place / types.len().max(1));
    let (Some(instance_type), Some(subnet)) = (types.get(place % types.len().max(1)), subnet) else {
        return Err(Failure::new(
            Reason::InvalidSpec,
            "spec.build.builder: instanceTypes and subnets are needed, and one of them is empty",
        ));
    };
    let guest = GuestKey {
        attempt: record.progress.attempt,
        role,
    };
    let user_data = match record.user_data.get(&guest) {
        Some(kept) => kept.clone(),
        None => {
            let user_data = render(observed, record, guest)?.as_bytes().to_vec();
            decision.effects.push(Effect::KeepUserData {
                build: record.number(),
                guest,
                user_data: user_data.clone(),
            });
            user_data
        }
    };
    let intent = LaunchStatus {
        id: None,
        candidate: number,
        instance_type: instance_type.clone(),
        subnet: subnet.id.to_string(),
        refusal: slot.and_then(|launch| launch.refusal),
        // Of this call: the answer to it may be out for a while, also when earlier ones were refused.
        launch_time: Some(time(observed.now)),
        refused_time: None,
        missing_time: None,
    };
    set_slot(decision, role, intent);
    let token = token(
        observed,
        record,
        role,
        &format!("{instance_type} {} {number}", subnet.id),
    );
    let mut tags = temporary_tags(observed, record, role, &origin(image, instance_type, &token));
    tags.entry("Name".into()).or_insert_with(|| {
        format!(
            "{} {} of build {}",
            observed.owner.path(),
            role.as_str(),
            record.number()
        )
    });
    decision.effects.push(Effect::Launch(Box::new(Launch {
        role,
        token,
        image: image.clone(),
        instance_type: instance_type.clone(),
        subnet: subnet.id.to_string(),
        security_groups: builder.security_group_ids.clone(),
        // Only steps may need credentials; an instance that proves an image has no business with any.
        instance_profile: builder.instance_profile.clone().filter(|_| role == Role::Builder),
        guest,
        user_data,
        volumes: if role == Role::Builder {
            builder.volumes.clone()
        } else {
            Vec::<Volume>::new()
        },
        tags,
    })));
    Ok(())
}

/// Renders what every guest of the build would be sent, so that what does not fit is found before the first launch.
pub(super) fn render_all(observed: &Observation, record: &BuildRecord) -> Result<(), Failure> {
    let tested = record.frozen.spec.test.enabled;
    for role in [Role::Builder, Role::Test, Role::Inspector]
        .into_iter()
        .filter(|role| tested || *role == Role::Builder)
    {
        render(observed, record, GuestKey { attempt: 1, role })?;
    }
    Ok(())
}

fn render(observed: &Observation, record: &BuildRecord, guest: GuestKey) -> Result<UserData, Failure> {
    let frozen = &record.frozen;
    let spec = &frozen.spec;
    // There is always a first key.
    let nonce = nonces(observed, record, guest).into_iter().next().unwrap_or_default();
    let rendered = match guest.role {
        Role::Builder | Role::Image => BuilderGuest {
            nonce: &nonce,
            recipe: &observed.owner.path(),
            build: record.number(),
            attempt: guest.attempt,
            content_hash: &frozen.content_hash,
            timeout: build_timeout(record)?,
            environment: &spec.build.environment,
            steps: &spec.build.steps,
            cleanup: &spec.build.cleanup,
        }
        .render(),
        Role::Test => TestGuest {
            nonce: &nonce,
            checks: &spec.test.checks,
            steps: &spec.build.steps,
            lifetime: test_lifetime(record)?,
        }
        .render(),
        Role::Inspector => InspectorGuest {
            nonce: &nonce,
            source_created: frozen.source.creation_time,
            cleanup: &spec.build.cleanup,
            // Before there is an image nothing is launched for it; its number is one digit then too.
            disks: super::attempt::image(observed, record).map_or(1, |image| image.snapshots().count()),
            lifetime: INSPECTION + SPARE,
        }
        .render(),
    };
    rendered.map_err(|error| {
        Failure::new(
            Reason::UserDataRefused,
            format!("{} instance: {error}", guest.role.as_str()),
        )
    })
}

/// From the inspector's launch to its last word.
pub(super) const INSPECTION: Duration = Duration::from_secs(1800);

pub(super) fn build_timeout(record: &BuildRecord) -> Result<Duration, Failure> {
    record.frozen.spec.build.builder.timeout().map_err(invalid)
}

pub(super) fn boot_deadline(record: &BuildRecord) -> Result<Duration, Failure> {
    record.frozen.spec.test.boot_deadline().map_err(invalid)
}

fn test_lifetime(record: &BuildRecord) -> Result<Duration, Failure> {
    let mut lifetime = boot_deadline(record)? + SPARE;
    for check in &record.frozen.spec.test.checks {
        lifetime += check.timeout().map_err(invalid)?;
    }
    Ok(lifetime)
}

fn invalid(error: crate::api::InvalidDuration) -> Failure {
    Failure::new(Reason::InvalidSpec, error.to_string())
}

/// What the guest on `instance` has said so far.
pub(super) fn heard(
    observed: &Observation,
    record: &BuildRecord,
    role: Role,
    instance: &Instance,
) -> Vec<guest::Record> {
    let console = match observed.consoles.get(&instance.id) {
        Some(Ok(console)) => console,
        _ => "",
    };
    let nonces = nonces(
        observed,
        record,
        GuestKey {
            attempt: record.progress.attempt,
            role,
        },
    );
    let heard = nonces.iter().map(|nonce| guest::parse(console, nonce));
    heard
        .into_iter()
        .find(|records| !records.is_empty())
        .unwrap_or_default()
}

/// The keys by which what is made for a build is marked, named and known: that with which it began comes first.
fn keys(observed: &Observation, record: &BuildRecord) -> SealKeys {
    observed.keys.led_by(&record.frozen.key)
}

fn nonces(observed: &Observation, record: &BuildRecord, guest: GuestKey) -> Vec<String> {
    keys(observed, record).nonces(
        &observed.owner.uid,
        record.number(),
        guest.attempt,
        guest_role(guest.role),
    )
}

/// What the tags of something made for the present attempt say.
pub(super) fn claim(observed: &Observation, record: &BuildRecord, role: Role) -> Claim {
    Claim {
        owner: observed.owner.path(),
        owner_uid: observed.owner.uid.clone(),
        build: record.number(),
        attempt: record.progress.attempt,
        role,
    }
}

/// The tags with which something that comes from `origin` is born, for the present attempt.
pub(super) fn birth_tags(observed: &Observation, record: &BuildRecord, role: Role, origin: &Origin<'_>) -> Tags {
    let claim = claim(observed, record, role);
    let mut tags = claim.tags(&observed.installation);
    let mark = keys(observed, record).birth(&observed.installation, &claim, origin);
    tags.insert(BIRTH.to_owned(), mark);
    tags
}

/// Tags of something temporary made for the present attempt.
pub(super) fn temporary_tags(observed: &Observation, record: &BuildRecord, role: Role, origin: &Origin<'_>) -> Tags {
    let mut tags = record.frozen.spec.build.builder.tags.clone();
    tags.extend(birth_tags(observed, record, role, origin));
    tags
}

fn origin<'a>(image: &'a ImageId, instance_type: &'a str, client_token: &'a str) -> Origin<'a> {
    Origin::Instance {
        image: image.as_str(),
        instance_type,
        client_token,
    }
}

/// The client token of what is made for `role` in the present attempt.
pub(super) fn token(observed: &Observation, record: &BuildRecord, role: Role, what: &str) -> String {
    let claim = claim(observed, record, role);
    keys(observed, record).token(&observed.installation, &claim, what)
}

fn remember(decision: &mut Decision<'_>, role: Role, slot: Option<LaunchStatus>, instance: &Instance) {
    let launch = LaunchStatus {
        id: Some(instance.id.to_string()),
        candidate: slot.as_ref().map_or(0, |launch| launch.candidate),
        instance_type: instance.instance_type.clone(),
        subnet: instance.subnet_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        launch_time: Some(time(instance.launch_time)),
        refused_time: None,
        missing_time: None,
        refusal: None,
    };
    set_slot(decision, role, launch);
}

fn set_slot(decision: &mut Decision<'_>, role: Role, launch: LaunchStatus) {
    if let Some(status) = architecture_status_mut(decision) {
        *slot_mut(status, role) = Some(launch);
    }
}

pub(super) fn architecture_status<'d>(decision: &'d Decision<'_>) -> Option<&'d ArchitectureStatus> {
    decision.build.as_ref()?.architectures.first()
}

pub(super) fn architecture_status_mut<'d>(decision: &'d mut Decision<'_>) -> Option<&'d mut ArchitectureStatus> {
    decision.build.as_mut()?.architectures.first_mut()
}

/// The launch of a role, as status keeps it.
pub(super) fn slot(status: &ArchitectureStatus, role: Role) -> &Option<LaunchStatus> {
    match role {
        Role::Builder | Role::Image => &status.instance,
        Role::Test => &status.test,
        Role::Inspector => &status.inspector,
    }
}

/// Where status keeps the launch of a role.
pub fn slot_mut(status: &mut ArchitectureStatus, role: Role) -> &mut Option<LaunchStatus> {
    match role {
        Role::Builder | Role::Image => &mut status.instance,
        Role::Test => &mut status.test,
        Role::Inspector => &mut status.inspector,
    }
}
