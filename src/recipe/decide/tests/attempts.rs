//! How an attempt ends: what the instance is, what it has said and how long it has taken, each just before and just after.

use std::time::Duration;

use super::guests::encode;
use super::small_world::SmallWorld;
use crate::api::{Reason, Verdict};
use crate::recipe::plan::Effect;
use crate::recipe::record::Failure;
use crate::world::*;

/// Of the recipe's builder.
pub(super) const TIMEOUT: u64 = 3600;
/// Of the recipe's test.
const BOOT_DEADLINE: u64 = 300;

/// A world in which `role` has just been launched, and has said nothing.
pub(super) fn launched(role: Role, change: impl Fn(&mut SmallWorld)) -> SmallWorld {
    let mut world = SmallWorld::new();
    change(&mut world);
    for _ in 0..60 {
        let is_it = |instance: &Instance| instance.tags.get(ROLE).map(String::as_str) == Some(role.as_str());
        if world.view.instances.iter().any(is_it) {
            return world;
        }
        world.time_goes_by(Duration::from_secs(2));
        world.pass();
    }
    panic!("no {role:?}: {:#?}", world.status());
}

pub(super) fn instance(world: &mut SmallWorld, role: Role) -> &mut Instance {
    let is_it = |instance: &&mut Instance| instance.tags.get(ROLE).map(String::as_str) == Some(role.as_str());
    world.view.instances.iter_mut().find(is_it).expect("launched")
}

/// Why the present attempt has failed; none while it goes on.
pub(super) fn failed(world: &SmallWorld) -> Option<Failure> {
    let progress = &world.records[0].progress;
    let given_up = progress.outcome.as_ref().and_then(|outcome| outcome.failure.as_ref());
    let failed = progress.failed.as_ref().map(|failed| &failed.failure);
    failed.or(given_up).cloned()
}

fn failure(world: &SmallWorld) -> Option<Reason> {
    failed(world).map(|failure| failure.reason)
}

/// One pass, so many seconds after the instance was launched; nothing happens by itself.
pub(super) fn pass_after(world: &mut SmallWorld, role: Role, seconds: u64) {
    world.now = instance(world, role).launch_time + Duration::from_secs(seconds);
    world.pass();
}

pub(super) fn stop(world: &mut SmallWorld, role: Role, state: InstanceState, code: &str) {
    let stopped = instance(world, role);
    stopped.state = state;
    stopped.state_reason = Some(StateReason::new(code.into(), &format!("{code}: someone")));
}

pub(super) const BY_ITSELF: &str = "Client.InstanceInitiatedShutdown";
const BY_SOMEONE: &str = "Client.UserInitiatedShutdown";

#[test]
fn a_builder_that_does_not_come_to_its_end_fails_the_attempt_by_what_became_of_it() {
    use InstanceState::*;
    let failed_step = format!("step-finished 1 {} failed 1 3 -", encode("packages"));
    let begun = format!("step-started 1 {}", encode("packages"));
    let gave_up = format!("failed {}", encode("no space left"));
    for (said, state, code, seconds, tested, reason) in [
        (vec![], Pending, "", 60, true, None),
        (vec![], Running, "", TIMEOUT + 120, true, None),
        (vec![], Running, "", TIMEOUT + 121, true, Some(Reason::BuildTimedOut)),
        (
            vec!["started", &begun],
            Running,
            "",
            TIMEOUT + 121,
            true,
            Some(Reason::BuildTimedOut),
        ),
        (vec!["started", &begun], Running, "", TIMEOUT, true, None),
        (
            vec!["started", &failed_step],
            Running,
            "",
            60,
            true,
            Some(Reason::StepFailed),
        ),
        (
            vec!["started", &failed_step],
            Stopped,
            BY_ITSELF,
            60,
            true,
            Some(Reason::StepFailed),
        ),
        (
            vec!["started", &gave_up],
            Running,
            "",
            60,
            true,
            Some(Reason::BuilderFailed),
        ),
        (
            vec!["started", "finished"],
            Stopped,
            BY_SOMEONE,
            60,
            true,
            Some(Reason::BuilderStopped),
        ),
        (
            vec!["started", "finished"],
            Stopped,
            "Server.ScheduledStop",
            60,
            true,
            Some(Reason::BuilderStopped),
        ),
        (
            vec!["started"],
            ShuttingDown,
            BY_SOMEONE,
            60,
            true,
            Some(Reason::BuilderGone),
        ),
        (
            vec!["started"],
            Terminated,
            "Server.SpotInstanceTermination",
            60,
            true,
            Some(Reason::BuilderGone),
        ),
        // Its last words are waited for; then the disk decides, where there is a proof that reads it.
        (vec!["started", &begun], Stopped, BY_ITSELF, 60, true, None),
        (vec![], Stopped, BY_ITSELF, 60, true, None),
        (
            vec!["started", &begun],
            Stopped,
            BY_ITSELF,
            60,
            false,
            Some(Reason::BuilderStopped),
        ),
        (vec![], Stopped, BY_ITSELF, 60, false, Some(Reason::BuilderSilent)),
        // The timer's power-off.
        (
            vec!["started", &begun],
            Stopped,
            BY_ITSELF,
            TIMEOUT - 5,
            true,
            Some(Reason::BuildTimedOut),
        ),
        (vec!["started", &begun], Stopped, BY_ITSELF, TIMEOUT - 6, true, None),
        (
            vec!["started", &begun],
            Stopped,
            BY_ITSELF,
            TIMEOUT - 5,
            false,
            Some(Reason::BuildTimedOut),
        ),
    ] {
        let mut world = launched(Role::Builder, |world| world.recipe.spec.test.enabled = tested);
        world.say(Role::Builder, &said);
        stop(&mut world, Role::Builder, state, code);
        pass_after(&mut world, Role::Builder, seconds);
        let waits = state == Stopped && code == BY_ITSELF && !said.contains(&failed_step.as_str());
        if waits {
            assert_eq!(failure(&world), None, "{said:?}: the console may lag");
            pass_after(&mut world, Role::Builder, seconds + 29);
            assert_eq!(failure(&world), None, "{said:?}: the console may still lag");
            pass_after(&mut world, Role::Builder, seconds + 30);
        }
        let case = format!("{said:?} {state:?} {code} after {seconds} s, tested: {tested}");
        assert_eq!(failure(&world), reason, "{case}");
        let imaged = world
            .journal
            .iter()
            .any(|effect| matches!(effect, Effect::CreateImage { .. }));
        assert_eq!(imaged, waits && reason.is_none(), "{case}: an image");
    }
}

#[test]
fn a_builder_that_vanishes_is_waited_for_and_then_gone() {
    let mut world = launched(Role::Builder, |_| ());
    pass_after(&mut world, Role::Builder, 1);
    let launch_time = instance(&mut world, Role::Builder).launch_time;
    world.view.instances.clear();
    for (seconds, reason) in [(299, None), (300, None), (359, Some(Reason::BuilderGone))] {
        world.now = launch_time + Duration::from_secs(seconds);
        world.pass();
        assert_eq!(failure(&world), reason, "{seconds} s after the launch");
    }
}

#[test]
fn a_test_instance_that_does_not_pass_fails_the_attempt_by_what_it_lacks() {
    use InstanceState::*;
    let (checked, not_checked) = (
        format!("check 1 {} passed 0 -", encode("up")),
        format!("check 1 {} failed 1 {}", encode("up"), encode("refused")),
    );
    let gave_up = format!("failed {}", encode("no checks"));
    let error = format!("boot-error {}", encode("unit failed"));
    for (said, passed, state, seconds, verdict, reason) in [
        (vec![], None, Running, BOOT_DEADLINE + 30, Verdict::Fail, None),
        (
            vec![],
            None,
            Running,
            BOOT_DEADLINE + 31,
            Verdict::Fail,
            Some(Reason::BootDeadlineExceeded),
        ),
        (
            vec!["booted"],
            None,
            Running,
            BOOT_DEADLINE + 31,
            Verdict::Fail,
            Some(Reason::BootDeadlineExceeded),
        ),
        (
            vec!["booted"],
            None,
            Stopped,
            60,
            Verdict::Fail,
            Some(Reason::TestInstanceGone),
        ),
        (
            vec!["booted"],
            None,
            Terminated,
            60,
            Verdict::Fail,
            Some(Reason::TestInstanceGone),
        ),
        (
            vec!["booted", &not_checked],
            None,
            Running,
            60,
            Verdict::Warn,
            Some(Reason::CheckFailed),
        ),
        (
            vec!["booted", &gave_up],
            None,
            Running,
            60,
            Verdict::Fail,
            Some(Reason::TestInstanceFailed),
        ),
        (
            vec!["booted", &checked],
            Some(BOOT_DEADLINE),
            Running,
            BOOT_DEADLINE,
            Verdict::Fail,
            None,
        ),
        (
            vec!["booted", &checked],
            Some(BOOT_DEADLINE + 1),
            Running,
            BOOT_DEADLINE + 1,
            Verdict::Fail,
            Some(Reason::BootDeadlineExceeded),
        ),
        // Its clock may be wrong, ours is not.
        (
            vec!["booted", &checked],
            Some(100_000),
            Running,
            60,
            Verdict::Fail,
            None,
        ),
        (
            vec!["booted", &checked],
            Some(60),
            Stopped,
            70,
            Verdict::Fail,
            Some(Reason::TestInstanceGone),
        ),
        (vec!["booted", &checked], Some(60), Running, 660, Verdict::Fail, None),
        (
            vec!["booted", &checked],
            Some(60),
            Running,
            661,
            Verdict::Fail,
            Some(Reason::TestInstanceGone),
        ),
        (
            vec!["booted", &checked, &error, "tested"],
            Some(60),
            Running,
            70,
            Verdict::Fail,
            Some(Reason::BootErrors),
        ),
        (
            vec!["booted", &checked, &error, "tested"],
            Some(60),
            Running,
            70,
            Verdict::Warn,
            None,
        ),
    ] {
        let mut world = launched(Role::Test, |world| world.recipe.spec.test.boot_errors = verdict);
        let launch_time = instance(&mut world, Role::Test).launch_time;
        let passed =
            passed.map(|after: u64| format!("passed {}", (launch_time + Duration::from_secs(after)).as_millisecond()));
        let mut all = said.clone();
        all.extend(passed.as_deref());
        // What it says last is said once it has passed.
        all.sort_by_key(|said| *said == "tested");
        world.say(Role::Test, &all);
        stop(&mut world, Role::Test, state, BY_SOMEONE);
        pass_after(&mut world, Role::Test, seconds);
        assert_eq!(failure(&world), reason, "{all:?} {state:?} after {seconds} s");
        let known = world.records[0].progress.proof.boot_milliseconds.is_some();
        assert_eq!(known, reason.is_none() && all.contains(&"tested"), "{all:?}");
    }
}

#[test]
fn an_inspector_that_does_not_report_fails_the_attempt() {
    use InstanceState::*;
    let unreadable = format!("unsupported {}", encode("LUKS"));
    let gave_up = format!("failed {}", encode("no mount"));
    for (said, state, seconds, reason) in [
        (vec![], Running, 1800, None),
        (vec![], Running, 1801, Some(Reason::InspectionTimedOut)),
        (vec!["up"], Running, 1801, Some(Reason::InspectionTimedOut)),
        (vec!["up"], Stopped, 60, Some(Reason::InspectorGone)),
        (vec!["up"], Terminated, 60, Some(Reason::InspectorGone)),
        (vec!["up", &gave_up], Running, 60, Some(Reason::InspectorFailed)),
        (vec!["up", &unreadable], Running, 60, Some(Reason::ProofUnsupported)),
        (vec!["up", "inspected"], Running, 60, Some(Reason::ManifestMissing)),
    ] {
        let mut world = launched(Role::Inspector, |_| ());
        // The other half has nothing to do with it.
        let image = world.view.images[0].id.clone();
        world.records[0].progress.proof.image = Some(image);
        world.records[0].progress.proof.boot_milliseconds = Some(1);
        world.say(Role::Inspector, &said);
        stop(&mut world, Role::Inspector, state, BY_SOMEONE);
        pass_after(&mut world, Role::Inspector, seconds);
        assert_eq!(failure(&world), reason, "{said:?} {state:?} after {seconds} s");
        assert!(!world.records[0].progress.proof.inspected, "{said:?}");
    }
}

#[test]
fn a_volume_that_ec2_cannot_make_fails_the_inspection() {
    let mut world = launched(Role::Inspector, |_| ());
    while world.view.volumes.is_empty() {
        world.time_goes_by(Duration::from_secs(1));
        world.pass();
    }
    world.view.volumes[0].state = VolumeState::Error;
    world.pass();
    assert_eq!(failure(&world), Some(Reason::InspectorFailed));
}

#[test]
fn an_image_that_fails_or_vanishes_fails_the_attempt() {
    for (state, reason) in [
        (ImageState::Pending, None),
        (ImageState::Failed, Some(Reason::ImageFailed)),
        (ImageState::Error, Some(Reason::ImageFailed)),
        (ImageState::Deregistered, Some(Reason::ImageFailed)),
        (ImageState::Disabled, Some(Reason::ImageFailed)),
    ] {
        let mut world = launched(Role::Test, |_| ());
        world.view.images[0].state = state;
        world.pass();
        assert_eq!(failure(&world), reason, "{state:?}");
    }
    let mut world = launched(Role::Test, |_| ());
    let asked = world.status().build.expect("a build").architectures[0]
        .image_time
        .clone();
    let asked = asked.expect("an image was asked for").0;
    world.view.images.clear();
    for (seconds, reason) in [(299, None), (358, None), (359, Some(Reason::ImageGone))] {
        world.now = asked + Duration::from_secs(seconds);
        world.pass();
        assert_eq!(failure(&world), reason, "{seconds} s after the image was asked for");
    }
}
