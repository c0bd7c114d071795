//! What is still known, and done, without the records of builds, or without status.

use std::time::Duration;

use super::small_world::SmallWorld;
use crate::recipe::plan::Effect;
use crate::world::*;

fn builds_begun(world: &SmallWorld) -> usize {
    let effects = world.journal.iter();
    effects.filter(|effect| matches!(effect, Effect::BeginBuild(_))).count()
}

/// A namespace's deletion takes the RoleBinding first, and nothing can be bound there again.
#[test]
fn deleting_without_records_leaves_nothing_but_proven_images() {
    for pass in 0..30 {
        let mut world = SmallWorld::new();
        world.recipe.spec.image.deregistration_protection = false;
        for _ in 0..pass {
            world.time_goes_by(Duration::from_secs(5));
            world.pass();
        }
        let finished = world.status().latest.is_some();
        // Someone has taken its tags away; status still names it.
        for image in &mut world.view.images {
            image.tags.remove(PROVEN);
        }
        world.delete();
        world.records_denied = true;
        for _ in 0..20 {
            world.time_goes_by(Duration::from_secs(5));
            world.pass();
        }
        assert_eq!(world.recipe.metadata.finalizers, None, "deleted before pass {pass}");
        assert_eq!(
            world.view.images.len(),
            usize::from(finished),
            "deleted before pass {pass}"
        );
        let temporary = world.view.instances.iter();
        assert!(
            temporary
                .clone()
                .all(|instance| instance.state == InstanceState::Terminated)
        );
        assert!(world.view.volumes.is_empty());
    }
}

#[test]
fn without_records_the_history_stays_as_it_is() {
    let mut world = SmallWorld::new();
    world.settle();
    world.delete();
    world.records_denied = true;
    world.pass();
    assert_eq!(world.status().history.len(), 1);
}

#[test]
fn a_request_builds_once() {
    let mut world = SmallWorld::new();
    world.settle();
    let ask = |world: &mut SmallWorld, token: &str| {
        world.recipe.metadata.annotations = Some([("goldsmith.dev/build".to_owned(), token.to_owned())].into());
    };
    ask(&mut world, "one");
    world.settle();
    world.settle();
    assert_eq!(builds_begun(&world), 2);
    assert_eq!(
        world.status().handled_requests.get("build").map(String::as_str),
        Some("one")
    );
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(2));
    world.recipe.status = None;
    world.settle();
    assert_eq!(builds_begun(&world), 2, "a lost status does not ask again");
}

#[test]
fn a_request_builds_once_though_its_record_is_gone() {
    let mut world = SmallWorld::new();
    world.recipe.spec.history_limit = 1;
    world.recipe.metadata.annotations = Some([("goldsmith.dev/build".to_owned(), "one".to_owned())].into());
    for build in 1..=3 {
        world.recipe.spec.build.steps[0].run = Some(format!("echo {build}"));
        world.recipe.metadata.generation = Some(build);
        world.settle();
    }
    assert_eq!(world.records.len(), 1);
    world.recipe.status = None;
    world.settle();
    assert_eq!(builds_begun(&world), 3, "a lost status does not ask again");
    let handled = world.status().handled_requests;
    assert_eq!(handled.get("build").map(String::as_str), Some("one"));
}
