use std::time::Duration;

use super::small_world::SmallWorld;
use crate::api::{BuildResult, CleanupItem, READY, RECONCILING, STALLED};
use crate::recipe::plan::Effect;
use crate::world::*;

fn launches(world: &SmallWorld, role: Role) -> usize {
    world
        .journal
        .iter()
        .filter(|effect| matches!(effect, Effect::Launch(launch) if launch.role == role))
        .count()
}

fn images_created(world: &SmallWorld) -> usize {
    world
        .journal
        .iter()
        .filter(|effect| matches!(effect, Effect::CreateImage { .. }))
        .count()
}

/// Nothing temporary is left, and nothing is there twice.
pub fn nothing_left(world: &SmallWorld) {
    assert!(
        world
            .view
            .instances
            .iter()
            .all(|instance| instance.state == InstanceState::Terminated),
        "{:#?}",
        world.view.instances
    );
    assert_eq!(world.view.volumes, []);
    assert!(
        world
            .view
            .images
            .iter()
            .all(|image| image.tags.contains_key(PROVEN) || image.tags.contains_key(FINISHED)),
        "{:#?}",
        world.view.images
    );
    assert_eq!(world.view.snapshots.len(), world.view.images.len());
}

#[test]
fn a_recipe_becomes_a_proven_image_and_leaves_nothing() {
    let mut world = SmallWorld::new();
    world.settle();
    nothing_left(&world);
    let status = world.status();
    let latest = status.latest.expect("a latest image");
    assert_eq!(
        (latest.build, latest.name.as_str(), latest.boot_milliseconds),
        (1, "web-v1", Some(4321))
    );
    assert_eq!(world.condition(READY), Some((true, "ImageProven".into())));
    assert_eq!(status.history.len(), 1);
    assert_eq!(status.history[0].result, BuildResult::Succeeded);
    // Both name images in the same way, by region and architecture.
    assert_eq!(status.history[0].images, latest.images);
    assert_eq!(latest.images.keys().collect::<Vec<_>>(), ["eu-central-1"]);
    assert_eq!(latest.images["eu-central-1"].keys().collect::<Vec<_>>(), ["x86_64"]);
    assert!(world.view.images[0].is_protected());
    assert!(world.view.images[0].imds_v2_required);
    assert_eq!(
        (
            launches(&world, Role::Builder),
            launches(&world, Role::Test),
            launches(&world, Role::Inspector)
        ),
        (1, 1, 1)
    );
}

#[test]
fn a_tag_is_changed_in_place_and_a_step_is_a_new_build_that_says_so() {
    let mut world = SmallWorld::new();
    world.settle();
    world.recipe.spec.image.tags = [("tier".to_owned(), "web".to_owned())].into();
    world.recipe.metadata.generation = Some(2);
    world.settle();
    assert_eq!(images_created(&world), 1);
    let tags = &world.view.images[0].tags;
    assert_eq!(
        (tags.get("tier").map(String::as_str), tags.get("team")),
        (Some("web"), None)
    );

    world.recipe.spec.build.steps[0].run = Some("false".into());
    world.recipe.metadata.generation = Some(3);
    world.time_goes_by(Duration::from_secs(1));
    world.pass();
    let build = world.status().build.expect("a build");
    assert_eq!(
        (build.number, build.reason.as_str(), build.changed),
        (2, "SpecChanged", vec!["step packages".to_owned()])
    );
    assert_eq!(world.condition(READY).map(|(ready, _)| ready), Some(false));
    world.settle();
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(2));

    world.recipe.spec.build.steps[0].run = Some("true".into());
    world.recipe.metadata.generation = Some(4);
    world.settle();
    assert_eq!(images_created(&world), 2, "a revert adopts the older image");
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
}

#[test]
fn a_failed_step_is_named_with_its_output_tried_again_and_then_stalls_until_the_spec_changes() {
    let mut world = SmallWorld::new();
    world.failing_step = Some(("site", "no space left on device"));
    world.settle();
    let failure = world.status().build.and_then(|build| build.failure).expect("a failure");
    assert_eq!((failure.attempt, failure.reason.as_str()), (1, "StepFailed"));
    assert!(
        failure.message.contains("step site failed with exit status 3")
            && failure.message.ends_with("no space left on device"),
        "{}",
        failure.message
    );
    assert_eq!(world.condition(RECONCILING), Some((true, "StepFailed".into())));
    world.time_goes_by(Duration::from_secs(61));
    world.settle();
    assert_eq!(world.condition(STALLED), Some((true, "StepFailed".into())));
    assert_eq!(launches(&world, Role::Builder), 2);
    nothing_left(&world);
    world.settle();
    assert_eq!(launches(&world, Role::Builder), 2, "a stalled recipe does not try on");

    world.failing_step = None;
    world.recipe.spec.build.builder.timeout = "50m".into();
    world.recipe.metadata.generation = Some(2);
    world.settle();
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(2));
}

#[test]
fn a_secret_in_the_snapshot_keeps_the_image_from_ever_being_latest() {
    let mut world = SmallWorld::new();
    world.recipe.spec.failure_limit = 1;
    world.finding = Some(("PrivateKeys", "/root/.ssh/id_rsa"));
    world.settle();
    assert_eq!(world.condition(STALLED), Some((true, "SecretFound".into())));
    let message = world.status().history[0].message.clone().expect("a message");
    assert!(message.contains("/root/.ssh/id_rsa"), "{message}");
    assert_eq!(world.status().latest, None);
    assert_eq!(world.view.images, []);
    nothing_left(&world);
}

#[test]
fn what_a_recipe_chose_to_leave_in_the_image_passes_and_is_named() {
    let mut world = SmallWorld::new();
    world.recipe.spec.build.cleanup.skip = vec![CleanupItem::ShellHistory];
    world.finding = Some(("ShellHistory", "/root/.bash_history"));
    world.settle();
    assert_eq!(
        world.status().latest.map(|latest| latest.cleanup_skipped),
        Some(vec!["ShellHistory".to_owned()])
    );
}

#[test]
fn last_words_that_show_after_the_power_off_are_waited_for() {
    let mut world = SmallWorld::new();
    world.recipe.spec.failure_limit = 1;
    world.failing_step = Some(("site", "no space left on device"));
    world.consoles_lag = true;
    for _ in 0..5 {
        world.time_goes_by(Duration::from_secs(4));
        world.pass();
    }
    assert_eq!(world.view.instances[0].state, InstanceState::Stopped);
    assert_eq!(images_created(&world), 0, "a failed step is not heard of yet");
    world.consoles_lag = false;
    world.settle();
    assert_eq!(world.condition(STALLED), Some((true, "StepFailed".into())));
    nothing_left(&world);
}

#[test]
fn a_builder_of_which_nothing_is_ever_heard_is_judged_by_its_disk() {
    let mut world = SmallWorld::new();
    world.consoles_lag = true;
    for _ in 0..20 {
        world.time_goes_by(Duration::from_secs(4));
        world.pass();
    }
    assert_eq!(images_created(&world), 1);
    world.consoles_lag = false;
    world.settle();
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
    nothing_left(&world);
}

#[test]
fn a_failed_check_removes_the_image() {
    let mut world = SmallWorld::new();
    world.recipe.spec.failure_limit = 1;
    world.check_fails = true;
    world.settle();
    assert_eq!(world.condition(STALLED), Some((true, "CheckFailed".into())));
    nothing_left(&world);
    assert_eq!(world.view.images, []);
}

#[test]
fn without_capacity_the_next_type_and_then_the_next_subnet_is_tried() {
    let mut world = SmallWorld::new();
    world.refusals = vec![("RunInstances", ErrorClass::Capacity); 3];
    world.settle();
    let builders: Vec<(String, String)> = world
        .journal
        .iter()
        .filter_map(|effect| {
            if let Effect::Launch(launch) = effect {
                Some(launch)
            } else {
                None
            }
        })
        .filter(|launch| launch.role == Role::Builder)
        .map(|launch| (launch.instance_type.clone(), launch.subnet.clone()))
        .collect();
    let expected = [
        ("m7i.large", "subnet-0a"),
        ("m6i.large", "subnet-0a"),
        ("m7i.large", "subnet-0b"),
        ("m6i.large", "subnet-0b"),
    ];
    assert_eq!(
        builders,
        expected.map(|(instance_type, subnet)| (instance_type.to_owned(), subnet.to_owned()))
    );
    nothing_left(&world);
}

#[test]
fn a_crash_after_any_effect_of_any_pass_neither_doubles_nor_leaks() {
    let passes = 30;
    let mut crashed_after = Vec::new();
    for pass in 0..passes {
        for effects in 1..=6 {
            let mut world = SmallWorld::new();
            for _ in 0..pass {
                world.time_goes_by(Duration::from_secs(5));
                world.pass();
            }
            world.time_goes_by(Duration::from_secs(5));
            let plan = world.pass_cut_short(effects);
            if plan.effects.len() < effects {
                continue;
            }
            let last = plan.effects[effects - 1].to_string();
            crashed_after.extend(last.split(' ').next().map(str::to_owned));
            world.settle();
            nothing_left(&world);
            assert_eq!(
                (
                    world.view.images.len(),
                    images_created(&world),
                    world.view.instances.len()
                ),
                (1, 1, 3),
                "crash in pass {pass} after effect {effects}"
            );
            assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
        }
    }
    for effect in [
        "begin",
        "keep",
        "launch",
        "create",
        "attach",
        "tag",
        "protect",
        "end",
        "terminate",
    ] {
        assert!(
            crashed_after.iter().any(|crashed| crashed == effect),
            "no crash after {effect}"
        );
    }
}

#[test]
fn a_lost_status_at_any_moment_neither_doubles_nor_leaks() {
    for pass in 0..20 {
        let mut world = SmallWorld::new();
        for _ in 0..pass {
            world.time_goes_by(Duration::from_secs(5));
            world.pass();
        }
        world.recipe.status = None;
        world.settle();
        nothing_left(&world);
        assert_eq!(
            (world.view.images.len(), world.view.instances.len()),
            (1, 3),
            "status lost before pass {pass}"
        );
        assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
        assert_eq!(world.status().history.len(), 1);
    }
}

#[test]
fn deleting_at_any_moment_leaves_nothing_but_proven_images() {
    for pass in 0..20 {
        let mut world = SmallWorld::new();
        for _ in 0..pass {
            world.time_goes_by(Duration::from_secs(5));
            world.pass();
        }
        world.delete();
        for _ in 0..20 {
            world.time_goes_by(Duration::from_secs(5));
            world.pass();
        }
        assert_eq!(world.recipe.metadata.finalizers, None, "deleted before pass {pass}");
        assert!(world.records.is_empty());
        nothing_left(&world);
    }
}

#[test]
fn a_changed_source_builds_again_while_the_old_image_serves_unless_it_is_told_not_to() {
    for follows in [true, false] {
        let mut world = SmallWorld::new();
        world.recipe.spec.rebuild.on_source_change = follows;
        world.settle();
        let mut newer = world.source();
        newer.id = "ami-0c".parse().expect("an id");
        newer.creation_time = "2026-11-20T00:00:00Z".parse().ok();
        world.view.searches[0].1 = Ok(vec![newer]);
        world.time_goes_by(Duration::from_secs(30));
        world.pass();
        assert_eq!(
            world.status().build.map(|build| build.reason),
            follows.then(|| "SourceChanged".to_owned())
        );
        assert_eq!(
            world.condition(READY).map(|(ready, _)| ready),
            Some(true),
            "the image that is there is still good"
        );
        world.settle();
        assert_eq!(
            world.status().latest.map(|latest| latest.build),
            Some(if follows { 2 } else { 1 })
        );
    }
}

#[test]
fn another_test_proves_the_same_image_again() {
    let mut world = SmallWorld::new();
    world.settle();
    world.recipe.spec.test.boot_deadline = "3m".into();
    world.recipe.metadata.generation = Some(2);
    world.settle();
    assert_eq!(
        (
            images_created(&world),
            launches(&world, Role::Builder),
            launches(&world, Role::Test)
        ),
        (1, 1, 2)
    );
    assert_eq!(world.condition(READY), Some((true, "ImageProven".into())));
    nothing_left(&world);
}

#[test]
fn what_runs_is_finished_while_suspended_also_when_the_spec_changes() {
    let mut world = SmallWorld::new();
    for _ in 0..4 {
        world.time_goes_by(Duration::from_secs(1));
        world.pass();
    }
    world.recipe.spec.suspend = true;
    world.recipe.spec.build.steps[0].run = Some("another".into());
    world.settle();
    assert_eq!(world.status().history[0].result, BuildResult::Succeeded);
    assert_eq!(world.records.len(), 1, "nothing new begins");
    nothing_left(&world);
}

#[test]
fn a_suspended_recipe_that_cannot_be_built_is_not_stalled() {
    let mut world = SmallWorld::new();
    world.recipe.spec.suspend = true;
    world.no_account = true;
    world.settle();
    assert_eq!((world.condition(STALLED), world.condition(READY)), (None, None));
    world.recipe.spec.suspend = false;
    world.settle();
    assert_eq!(world.condition(STALLED), Some((true, "NotGranted".into())));
    world.recipe.spec.suspend = true;
    world.settle();
    assert_eq!(world.condition(STALLED), None);
    assert_eq!(world.condition(READY), Some((false, "Suspended".into())));
}

#[test]
fn suspended_starts_nothing_and_finishes_what_runs() {
    let mut world = SmallWorld::new();
    world.recipe.spec.suspend = true;
    world.settle();
    assert!(world.journal.is_empty());
    world.recipe.spec.suspend = false;
    world.time_goes_by(Duration::from_secs(5));
    world.pass();
    world.recipe.spec.suspend = true;
    world.settle();
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
    assert_eq!(
        world.condition(READY),
        Some((true, "ImageProven".into())),
        "not as if it still ran"
    );
}

#[test]
fn an_image_of_another_spec_is_not_ready_whatever_began_the_build() {
    type Change = fn(&mut SmallWorld);
    let changes: [(&str, Change, bool); 4] = [
        ("nothing", |_| (), true),
        (
            "a step",
            |world| world.recipe.spec.build.steps[0].run = Some("false".into()),
            false,
        ),
        (
            "the test",
            |world| world.recipe.spec.test.boot_deadline = "4m".into(),
            false,
        ),
        (
            "the source",
            |world| {
                let mut other = world.source();
                other.id = "ami-0c".parse().expect("an id");
                other.name = "other-x86_64".into();
                let mut search = world.view.searches[0].0.clone();
                search.name = Some("other-x86_64".into());
                world.view.searches.push((search.clone(), Ok(vec![other])));
                world.recipe.spec.build.source.search = Some(search);
            },
            false,
        ),
    ];
    for requested in [true, false] {
        for (what, change, ready) in changes {
            if what == "nothing" && !requested {
                continue;
            }
            let mut world = SmallWorld::new();
            world.settle();
            change(&mut world);
            world.recipe.metadata.generation = Some(2);
            if requested {
                let asked = ("goldsmith.dev/build".to_owned(), "commit-2".to_owned());
                world.recipe.metadata.annotations = Some([asked].into());
            }
            for _ in 0..3 {
                world.time_goes_by(Duration::from_secs(1));
                world.pass();
                let is_ready = world.condition(READY).map(|(ready, _)| ready);
                assert_eq!(is_ready, Some(ready), "{what}, requested: {requested}");
            }
            world.settle();
            assert_eq!(world.condition(READY), Some((true, "ImageProven".into())));
        }
    }
}

#[test]
fn what_is_not_granted_is_stalled_before_anything_is_made() {
    let mut world = SmallWorld::new();
    world.policy.grants[0].subnets = vec!["subnet-0a".into()];
    world.settle();
    assert_eq!(world.condition(STALLED), Some((true, "NotGranted".into())));
    assert!(world.journal.is_empty());
}

#[test]
fn types_of_a_test_that_is_switched_off_keep_nothing_from_being_built() {
    let mut world = SmallWorld::new();
    world.recipe.spec.test.enabled = false;
    world.recipe.spec.test.instance_types = vec!["m99.large".into()];
    world.settle();
    assert_eq!(world.condition(READY), Some((true, "BuiltUntested".into())));
}

/// No record would hold it, however well it compresses; before, nothing was ever said of it.
#[test]
fn a_recipe_that_no_record_can_hold_is_stalled_before_anything_is_made() {
    let mut world = SmallWorld::new();
    world.recipe.spec.build.steps[0].run = Some(format!("#{}", "\u{1}".repeat(100_000)));
    world.settle();
    assert_eq!(world.condition(STALLED), Some((true, "RecipeTooLarge".into())));
    assert!(world.journal.is_empty() && world.records.is_empty());
}

#[test]
fn a_forged_proof_is_not_adopted() {
    let mut world = SmallWorld::new();
    world.settle();
    let forged = &mut world.view.images[0].tags;
    forged.insert(SEAL.into(), "00".repeat(32));
    world.recipe.status = None;
    world.records.clear();
    world.time_goes_by(Duration::from_secs(5));
    world.pass();
    assert_eq!(world.status().latest, None);
    assert!(world.status().build.is_some(), "it is built again");
}

#[test]
fn a_launch_that_ec2_refuses_as_wrong_is_tried_as_often_as_any_attempt_and_then_stalls() {
    let mut world = SmallWorld::new();
    world.refusals = vec![("RunInstances", ErrorClass::Invalid); 3];
    world.settle();
    assert_eq!(world.condition(RECONCILING), Some((true, "RunInstancesRefused".into())));
    world.time_goes_by(Duration::from_secs(61));
    world.settle();
    assert_eq!(world.condition(STALLED), Some((true, "RunInstancesRefused".into())));
    assert_eq!(world.status().history[0].attempts, 2);
    assert_eq!(world.refusals.len(), 1, "two attempts made two calls");
}

#[test]
fn whoever_asks_for_a_build_does_not_wait_for_the_next_attempt() {
    let mut world = SmallWorld::new();
    world.recipe.spec.failure_limit = 3;
    world.failing_step = Some(("site", "no space left"));
    while world
        .records
        .first()
        .is_none_or(|record| record.progress.failed.is_none())
    {
        world.time_goes_by(Duration::from_secs(2));
        world.pass();
    }
    world.failing_step = None;
    let asked = world.now;
    world.recipe.metadata.annotations = Some([("goldsmith.dev/build".to_owned(), "1".to_owned())].into());
    while world.records.len() < 2 {
        world.time_goes_by(Duration::from_secs(2));
        world.pass();
    }
    assert!(world.now.duration_since(asked).as_secs() < 20);
    world.settle();
    let status = world.status();
    assert_eq!(status.history[1].result, BuildResult::Superseded);
    assert_eq!(status.history[0].reason, "Requested");
    assert_eq!(status.latest.map(|latest| latest.build), Some(2));
}

#[test]
fn what_a_proof_let_pass_is_still_told_when_the_build_has_ended() {
    let mut world = SmallWorld::new();
    world.recipe.spec.build.cleanup.skip = vec![CleanupItem::ShellHistory];
    world.finding = Some(("ShellHistory", "/root/.bash_history"));
    world.settle();
    let message = world.status().history[0].message.clone().expect("a message");
    assert!(message.contains("/root/.bash_history"), "{message}");
}

#[test]
fn a_spec_without_a_type_or_subnet_ends_in_a_condition() {
    let mut world = SmallWorld::new();
    world.recipe.spec.build.builder.instance_types.clear();
    world.pass();
    world.pass();
    let (_, reason) = world.condition(READY).expect("ready");
    assert_eq!(reason, "InvalidSpec");
}
