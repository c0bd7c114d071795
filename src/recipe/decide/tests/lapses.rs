//! What EC2 does not show, does not let us read, or shows late is not gone; and what people take away by mistake is not removed.

use std::time::Duration;

use super::small_world::SmallWorld;
use super::stories::nothing_left;
use crate::api::{BuildResult, READY, RECONCILING, Reason, STALLED, get};
use crate::recipe::config_map::Malformed;
use crate::recipe::plan::{Effect, Removal};
use crate::world::*;

fn images_created(world: &SmallWorld) -> usize {
    let effects = world.journal.iter();
    effects
        .filter(|effect| matches!(effect, Effect::CreateImage { .. }))
        .count()
}

/// The process has died with its first launch, which status has announced.
fn launched_without_an_answer() -> SmallWorld {
    let mut world = SmallWorld::new();
    while world.view.instances.is_empty() {
        world.pass_cut_short(2);
    }
    world
}

/// One pass every `pause` seconds, so often.
fn passes(world: &mut SmallWorld, count: usize, pause: u64) {
    for _ in 0..count {
        world.time_goes_by(Duration::from_secs(pause));
        world.pass();
    }
}

#[test]
fn an_image_that_has_lost_our_tags_is_not_removed() {
    for lost in [&[PROVEN][..], &[SEAL], &[PROVEN, SEAL, PROVEN_TIME]] {
        for status_is_lost in [false, true] {
            let mut world = SmallWorld::new();
            world.recipe.spec.image.deregistration_protection = false;
            world.settle();
            for key in lost {
                world.view.images[0].tags.remove(*key);
            }
            if status_is_lost {
                world.recipe.status = None;
            }
            passes(&mut world, 40, 30);
            assert!(
                world.view.images.iter().any(|image| image.name == "web-v1"),
                "without {lost:?}, status lost: {status_is_lost}"
            );
        }
    }
}

#[test]
fn an_image_that_ec2_does_not_show_for_a_moment_is_not_built_again() {
    let mut world = SmallWorld::new();
    world.settle();
    let image = world.view.images.pop().expect("an image");
    passes(&mut world, 2, 20);
    assert_eq!(world.condition(READY), Some((true, "ImageProven".into())));
    assert!(world.status().image_missing_time.is_some());
    world.view.images.push(image);
    world.settle();
    assert_eq!(images_created(&world), 1);
    assert_eq!(world.status().image_missing_time, None);
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));

    world.view.images.clear();
    world.view.named_images.clear();
    world.settle();
    world.time_goes_by(Duration::from_secs(61));
    world.settle();
    assert_eq!(images_created(&world), 2, "one that stays away is gone");
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(2));
}

#[test]
fn an_image_that_does_not_count_for_a_moment_is_named_with_what_it_lacks() {
    type Change = fn(&mut Vec<Image>);
    let cases: [(bool, Change, &str); 6] = [
        (true, Vec::clear, "EC2 does not show AMI at the moment"),
        (true, |images| images[0].state = ImageState::Disabled, "AMI is disabled"),
        (
            true,
            |images| drop(images[0].tags.remove(PROVEN)),
            "AMI has lost its tag goldsmith.dev/proven",
        ),
        (
            true,
            |images| drop(images[0].tags.remove(SEAL)),
            "AMI has lost its tag goldsmith.dev/seal",
        ),
        (
            true,
            |images| drop(images[0].tags.insert(SOURCE.into(), "ami-0e".into())),
            "the tags of AMI are not those that Goldsmith has sealed",
        ),
        (
            false,
            |images| drop(images[0].tags.remove(SEAL)),
            "AMI has lost its tag goldsmith.dev/seal",
        ),
    ];
    for (tested, change, expected) in cases {
        let mut world = SmallWorld::new();
        world.recipe.spec.test.enabled = tested;
        world.settle();
        let id = world.view.images[0].id.to_string();
        change(&mut world.view.images);
        passes(&mut world, 1, 20);
        let status = world.status();
        let ready = crate::api::get(&status.conditions, READY).expect("a condition");
        let expected = expected.replace("AMI", &id);
        assert_eq!(
            (ready.status.as_str(), ready.message.as_str()),
            (
                "True",
                format!("{expected}; it is looked for again, and built again after a minute").as_str()
            )
        );
    }
}

#[test]
fn an_instance_that_ec2_does_not_show_for_a_moment_ends_no_attempt() {
    let mut world = SmallWorld::new();
    world.consoles_lag = true;
    passes(&mut world, 4, 1);
    let instances = std::mem::take(&mut world.view.instances);
    passes(&mut world, 1, 400);
    passes(&mut world, 2, 20);
    assert_eq!(world.status().build.expect("a build").failure, None);
    world.view.instances = instances;
    world.consoles_lag = false;
    world.settle();
    assert_eq!(world.view.instances.len(), 3);
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
}

#[test]
fn a_console_that_cannot_be_read_is_said_and_neither_fails_nor_leaks_anything() {
    let mut world = SmallWorld::new();
    world.consoles_refused = Some(ErrorClass::Denied);
    passes(&mut world, 20, 5);
    assert_eq!(world.condition(STALLED), Some((true, "Denied".into())));
    assert_eq!(world.status().build.expect("a build").failure, None);
    world.consoles_refused = Some(ErrorClass::Server);
    passes(&mut world, 2, 5);
    assert_eq!(world.condition(RECONCILING), Some((true, "ConsoleUnavailable".into())));
    world.consoles_refused = None;
    world.settle();
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));

    let mut world = SmallWorld::new();
    world.consoles_refused = Some(ErrorClass::Denied);
    passes(&mut world, 5, 5);
    world.delete();
    passes(&mut world, 10, 5);
    assert_eq!(world.recipe.metadata.finalizers, None);
    assert!(
        world
            .view
            .instances
            .iter()
            .all(|instance| instance.state == InstanceState::Terminated)
    );
}

#[test]
fn a_spec_that_changes_while_there_is_no_capacity_is_tried_at_once() {
    let mut world = SmallWorld::new();
    world.refusals = vec![("RunInstances", ErrorClass::Capacity); 40];
    passes(&mut world, 20, 5);
    assert_eq!(world.condition(READY), Some((false, "InsufficientCapacity".into())));
    world.recipe.spec.build.builder.instance_types = vec!["m6i.large".into()];
    world.recipe.metadata.generation = Some(2);
    world.refusals.clear();
    world.settle();
    let types = world.journal.iter().rev().find_map(|effect| match effect {
        Effect::Launch(launch) if launch.role == Role::Builder => Some(launch.instance_type.as_str()),
        _ => None,
    });
    assert_eq!(types, Some("m6i.large"));
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(2));
}

#[test]
fn a_name_whose_holder_nobody_sees_is_said_waited_for_and_given_up() {
    let mut world = SmallWorld::new();
    world.refusals = vec![("CreateImage", ErrorClass::Exists); 20];
    passes(&mut world, 6, 5);
    assert_eq!(world.condition(RECONCILING), Some((true, "NameTaken".into())));
    world.refusals.clear();
    world.settle();
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));

    let mut world = SmallWorld::new();
    world.refusals = vec![("CreateImage", ErrorClass::Exists); 200];
    passes(&mut world, 30, 30);
    assert_eq!(world.condition(STALLED), Some((true, "NameTaken".into())));
    assert!(
        world
            .view
            .instances
            .iter()
            .all(|instance| instance.state == InstanceState::Terminated)
    );
}

#[test]
fn a_record_that_cannot_be_read_stops_what_stands_on_it_and_no_removal_of_the_recipe() {
    let mut world = SmallWorld::new();
    world.settle();
    world.unreadable = vec![Malformed {
        name: "web-build-2".into(),
        key: "seal",
        problem: "does not fit".into(),
        consequence: "",
        ended: false,
    }];
    let before = world.journal.len();
    world.recipe.spec.build.steps[0].run = Some("false".into());
    passes(&mut world, 5, 30);
    assert_eq!(world.condition(STALLED), Some((true, "RecordUnreadable".into())));
    assert_eq!(world.journal.len(), before);
    world.delete();
    passes(&mut world, 10, 5);
    assert_eq!(world.recipe.metadata.finalizers, None);
    assert_eq!(world.unreadable, vec![]);
    assert_eq!(world.view.images.len(), 1, "its image stays");
}

#[test]
fn a_builder_whose_console_ends_half_way_is_judged_by_its_disk() {
    let mut world = SmallWorld::new();
    world.console_ends_after = Some(2);
    passes(&mut world, 30, 4);
    assert_eq!(images_created(&world), 1);
    world.settle();
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
}

#[test]
fn what_a_recipe_made_before_its_grant_was_taken_away_is_still_removed() {
    let mut world = SmallWorld::new();
    passes(&mut world, 2, 1);
    assert_eq!(world.view.instances.len(), 1);
    world.policy.grants.clear();
    passes(&mut world, 4, 5);
    assert_eq!(world.condition(STALLED), Some((true, "NotGranted".into())));
    assert!(
        world
            .view
            .instances
            .iter()
            .all(|instance| instance.state == InstanceState::Terminated)
    );
}

#[test]
fn upkeep_that_aws_refuses_does_not_delay_a_build() {
    let mut world = SmallWorld::new();
    world.settle();
    world.recipe.spec.image.tags.insert("tier".into(), "web".into());
    world.recipe.spec.build.steps[0].run = Some("false".into());
    world.recipe.metadata.generation = Some(2);
    world.refusals = vec![("CreateTags", ErrorClass::Denied)];
    passes(&mut world, 20, 5);
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(2));
}

#[test]
fn a_failure_is_told_though_the_status_that_said_so_was_lost() {
    for cut_short in [false, true] {
        let mut world = SmallWorld::new();
        world.failing_step = Some(("site", "no space left on device"));
        for _ in 0..20 {
            world.time_goes_by(Duration::from_secs(1));
            let observed = world.observe();
            let plan = crate::recipe::decide::decide(&observed);
            let fails = plan
                .effects
                .iter()
                .position(|effect| matches!(effect, Effect::KeepFailure { .. }));
            match fails {
                // The process dies after the clean-up, before the status is written.
                Some(_) if cut_short => drop(world.pass_cut_short(plan.effects.len())),
                Some(_) => {
                    world.pass();
                    world.recipe.status = None;
                }
                None => {
                    world.pass();
                    continue;
                }
            }
            break;
        }
        passes(&mut world, 1, 2);
        let failure = world.status().build.and_then(|build| build.failure).expect("a failure");
        assert_eq!(
            (failure.attempt, failure.reason.as_str()),
            (1, "StepFailed"),
            "cut short: {cut_short}"
        );
        assert!(failure.message.contains("no space left on device"));
    }
}

#[test]
fn another_image_for_inspectors_or_none_ends_no_inspection() {
    for found in [vec!["ami-0e"], vec![]] {
        let mut world = SmallWorld::new();
        while !world
            .view
            .instances
            .iter()
            .any(|one| one.tags.get(ROLE).is_some_and(|role| role == "inspector"))
        {
            passes(&mut world, 1, 1);
        }
        let newer = |id: &&str| Image {
            id: id.parse().expect("an id"),
            ..world.source()
        };
        world.view.searches[1].1 = Ok(found.iter().map(newer).collect());
        world.settle();
        assert_eq!(world.view.instances.len(), 3, "{found:?}: none was launched twice");
        assert_eq!(world.status().latest.map(|latest| latest.build), Some(1), "{found:?}");
    }
}

#[test]
fn a_leftover_that_nobody_can_remove_does_not_keep_the_region_busy() {
    let mut world = SmallWorld::new();
    while world.view.volumes.is_empty() {
        passes(&mut world, 1, 1);
    }
    let mut volume = world.view.volumes[0].clone();
    world.settle();
    volume.id = "vol-0b0b".parse().expect("an id");
    volume.state = VolumeState::InUse;
    volume.instance_id = "i-0b0b".parse().ok();
    world.view.volumes.push(volume);
    world.time_goes_by(Duration::from_secs(30));
    assert!(world.pass().look_again >= Duration::from_secs(10));
    world.delete();
    passes(&mut world, 5, 5);
    assert!(
        world.recipe.metadata.finalizers.is_some(),
        "not gone while something of it is there"
    );
    world.view.volumes.clear();
    passes(&mut world, 5, 5);
    assert_eq!(world.recipe.metadata.finalizers, None);
}

#[test]
fn a_volume_that_has_lost_its_tags_is_not_asked_for_again_and_again() {
    let mut world = SmallWorld::new();
    while world.view.volumes.is_empty() {
        passes(&mut world, 1, 2);
    }
    world.view.volumes[0].tags.clear();
    let asked = world.journal.len();
    passes(&mut world, 100, 2);
    let again = world.journal[asked..]
        .iter()
        .filter(|effect| matches!(effect, Effect::CreateVolume { .. }));
    assert_eq!(again.count(), 0);
    for _ in 0..60 {
        passes(&mut world, 1, 30);
        if let Some(failed) = &world.records[0].progress.failed {
            assert_eq!(failed.failure.reason, Reason::InspectionTimedOut);
            return;
        }
    }
    panic!("the inspection has not ended: {:#?}", world.status());
}

#[test]
fn a_call_that_is_denied_is_tried_soon_and_then_ever_less_often() {
    let mut world = SmallWorld::new();
    world.refusals = vec![("RunInstances", ErrorClass::Denied); 12];
    let mut pauses = Vec::new();
    let began = world.now;
    while world.now.duration_since(began).as_secs() < 3 * 3600 {
        world.pass();
        let look_again = world.look_again;
        if world.condition(STALLED) == Some((true, "Denied".into())) {
            pauses.push(look_again.as_secs());
        }
        world.time_goes_by(look_again.max(Duration::from_secs(1)));
    }
    assert_eq!(&pauses[..8], [15, 15, 30, 60, 120, 240, 480, 600]);
    assert_eq!(world.condition(READY), Some((true, "ImageProven".into())), "it heals");
}

#[test]
fn a_call_that_ec2_refuses_is_on_record_before_anything_of_its_attempt_is_removed() {
    let mut world = SmallWorld::new();
    world.recipe.spec.failure_limit = 2;
    world.refusals = vec![("CreateImage", ErrorClass::Invalid)];
    while world
        .records
        .first()
        .is_none_or(|record| record.progress.failed.is_none())
    {
        passes(&mut world, 1, 2);
        assert!(world.journal.len() < 50, "{:#?}", world.status());
    }
    let removed = |effect: &Effect| matches!(effect, Effect::Remove(Removal::Instance(_)));
    assert!(!world.journal.iter().any(removed) || world.journal.iter().position(removed) > kept(&world));
    // Whoever loses the status now still knows why the attempt has failed.
    world.recipe.status = None;
    passes(&mut world, 2, 2);
    let failure = world.status().build.and_then(|build| build.failure).expect("a failure");
    assert_eq!(failure.reason, "CreateImageRefused");
}

fn kept(world: &SmallWorld) -> Option<usize> {
    let mut journal = world.journal.iter();
    journal.position(|effect| matches!(effect, Effect::KeepFailure { .. }))
}

#[test]
fn a_leftover_that_may_not_be_removed_makes_a_good_recipe_no_worse() {
    let mut world = SmallWorld::new();
    world.refusals = vec![("TerminateInstances", ErrorClass::Denied); 5000];
    passes(&mut world, 200, 2);
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
    assert_eq!(world.condition(READY), Some((true, "ImageProven".into())));
    let ready = get(&world.status().conditions, READY).cloned().expect("ready");
    assert!(ready.message.contains("could not be removed"), "{}", ready.message);
    assert!(world.look_again >= Duration::from_secs(60), "not every two seconds");
    world.delete();
    passes(&mut world, 3, 2);
    assert_eq!(world.condition(STALLED), Some((true, "Denied".into())));
    world.refusals.clear();
    passes(&mut world, 5, 600);
    assert_eq!(world.recipe.metadata.finalizers, None);
}

#[test]
fn a_build_that_failed_is_not_begun_again_for_less_than_it_was_given() {
    type Change = fn(&mut SmallWorld);
    let changes: [(&str, Change, usize); 5] = [
        ("fewer attempts", |world| world.recipe.spec.failure_limit = 1, 1),
        ("more attempts", |world| world.recipe.spec.failure_limit = 3, 2),
        ("a shorter history", |world| world.recipe.spec.history_limit = 2, 1),
        (
            "another timeout",
            |world| world.recipe.spec.build.builder.timeout = "50m".into(),
            2,
        ),
        (
            "a tag",
            |world| drop(world.recipe.spec.image.tags.insert("tier".into(), "web".into())),
            2,
        ),
    ];
    for (what, change, builds) in changes {
        let mut world = SmallWorld::new();
        world.recipe.spec.failure_limit = 2;
        world.check_fails = true;
        passes(&mut world, 200, 10);
        assert_eq!(world.condition(STALLED), Some((true, "CheckFailed".into())), "{what}");
        change(&mut world);
        world.recipe.metadata.generation = Some(2);
        passes(&mut world, 5, 2);
        assert_eq!(world.records.len(), builds, "{what}");
    }
}

#[test]
fn a_proven_image_is_protected_also_when_its_build_was_superseded_right_after() {
    let mut world = SmallWorld::new();
    world.settle();
    world.recipe.spec.build.steps[0].run = Some("false".into());
    world.recipe.metadata.generation = Some(2);
    world.settle();
    let first = world
        .view
        .images
        .iter()
        .position(|image| image.name == "web-v1")
        .expect("it is kept");
    world.view.images[first].deregistration_protection = "disabled".into();
    world.settle();
    assert!(
        !world.view.images[first].is_protected(),
        "people may take it off an older image"
    );
    world.records[0].progress.outcome.as_mut().expect("ended").result = BuildResult::Superseded;
    world.settle();
    assert!(world.view.images[first].is_protected());
}

#[test]
fn an_attempt_that_the_record_has_begun_and_status_has_not_is_begun_anew() {
    let mut world = SmallWorld::new();
    world.recipe.spec.failure_limit = 2;
    world.check_fails = true;
    while world
        .records
        .first()
        .is_none_or(|record| record.progress.failed.is_none())
    {
        passes(&mut world, 1, 5);
    }
    passes(&mut world, 2, 5);
    let before = world.recipe.status.clone();
    world.check_fails = false;
    while world.records[0].progress.attempt < 2 {
        passes(&mut world, 1, 5);
    }
    // The process died once the record was written.
    world.recipe.status = before;
    let second = |instance: &Instance| instance.tags.get(ATTEMPT).map(String::as_str) == Some("2");
    world.view.instances.retain(|instance| !second(instance));
    passes(&mut world, 60, 10);
    assert_eq!(world.status().history[0].attempts, 2);
    assert_eq!(world.condition(READY), Some((true, "ImageProven".into())));
}

/// The process that launched it has died, and EC2 takes its time.
#[test]
fn a_recipe_that_is_deleted_waits_for_what_was_launched_and_does_not_show_yet() {
    let mut world = launched_without_an_answer();
    let hidden = std::mem::take(&mut world.view.instances);
    world.delete();
    for _ in 0..8 {
        world.time_goes_by(Duration::from_secs(5));
        world.pass();
        assert_ne!(world.recipe.metadata.finalizers, None, "at {}", world.now);
    }
    world.view.instances = hidden;
    passes(&mut world, 20, 5);
    assert_eq!(world.recipe.metadata.finalizers, None);
    nothing_left(&world);
}

#[test]
fn a_recipe_that_is_deleted_does_not_wait_for_what_ec2_has_refused_nor_for_a_time_that_is_not_to_come() {
    for class in [ErrorClass::Quota, ErrorClass::Denied, ErrorClass::Capacity] {
        let mut world = SmallWorld::new();
        world.refusals = vec![("RunInstances", class); 40];
        passes(&mut world, 4, 5);
        assert!(world.view.instances.is_empty());
        world.delete();
        passes(&mut world, 3, 5);
        assert_eq!(world.recipe.metadata.finalizers, None, "{class:?}");
    }
    // The clock of who wrote it was ahead, or it was not us.
    let mut world = launched_without_an_answer();
    world.view.instances.clear();
    let day = Duration::from_secs(24 * 60 * 60);
    let status = world.recipe.status.as_mut().and_then(|status| status.build.as_mut());
    let architecture = status.and_then(|build| build.architectures.first_mut());
    let launch = architecture.and_then(|architecture| architecture.instance.as_mut());
    launch.expect("a launch").launch_time = Some(crate::recipe::time(world.now + day));
    world.delete();
    passes(&mut world, 10, 60);
    assert_eq!(world.recipe.metadata.finalizers, None);
}

/// Nobody knows of the first launch whether it was made: that the second is refused says nothing of it.
#[test]
fn a_refusal_settles_nothing_of_a_launch_before_it_of_which_no_answer_came() {
    let mut world = launched_without_an_answer();
    let hidden = std::mem::take(&mut world.view.instances);
    world.refusals = vec![("RunInstances", ErrorClass::Denied); 40];
    passes(&mut world, 3, 5);
    world.delete();
    passes(&mut world, 3, 5);
    assert_ne!(world.recipe.metadata.finalizers, None);
    world.view.instances = hidden;
    passes(&mut world, 10, 5);
    assert_eq!(world.recipe.metadata.finalizers, None);
    nothing_left(&world);
}

/// Somebody has deregistered it, or it does not show yet.
#[test]
fn a_recipe_that_is_deleted_waits_until_a_snapshot_without_an_image_is_old_enough_to_go() {
    let mut world = SmallWorld::new();
    while images_created(&world) == 0 {
        passes(&mut world, 1, 5);
    }
    world.view.images.clear();
    world.delete();
    while world.recipe.metadata.finalizers.is_some() {
        passes(&mut world, 1, 30);
    }
    assert_eq!(world.view.snapshots, []);
}
