//! What others may write, tags and status and what a guest says, finds things and decides nothing.

use std::time::Duration;

use super::small_world::SmallWorld;
use crate::api::READY;
use crate::recipe::plan::Effect;
use crate::world::*;

/// Passes until the build has a builder that is at work.
fn building() -> SmallWorld {
    let mut world = SmallWorld::new();
    for _ in 0..4 {
        world.time_goes_by(Duration::from_secs(1));
        world.pass();
        if !world.view.instances.is_empty() {
            return world;
        }
    }
    panic!("no builder: {:#?}", world.status());
}

fn proven(world: &SmallWorld) -> Vec<&Image> {
    let images = world.view.images.iter();
    images.filter(|image| image.tags.contains_key(PROVEN)).collect()
}

#[test]
fn an_image_that_only_has_the_tags_of_an_attempt_is_not_its_image() {
    let claim = |world: &SmallWorld, role: Role| {
        let observed = world.observe();
        let mut claim = observed.claim(&world.view.instances[0].tags).expect("a claim");
        claim.role = role;
        claim.tags(&observed.installation)
    };
    for (name, origin) in [("web-v1", None), ("web-v1", Some("i-1")), ("other", Some("i-1"))] {
        let mut world = building();
        let mut forged = world.source();
        forged.id = "ami-0bad".parse().expect("an id");
        forged.name = name.into();
        forged.source_instance_id = origin.map(|id| id.parse().expect("an id"));
        forged.tags = claim(&world, Role::Image);
        forged
            .tags
            .insert(BIRTH.into(), world.view.instances[0].tags[BIRTH].clone());
        world.view.images.push(forged.clone());
        if name == "web-v1" {
            world.view.named_images.push(forged);
        }
        for _ in 0..60 {
            world.time_goes_by(Duration::from_secs(5));
            world.pass();
        }
        let forged = |image: &&&Image| image.id.as_str() == "ami-0bad";
        assert_eq!(proven(&world).iter().find(forged), None, "{name} {origin:?}");
        let launched_from = |id: &str| {
            world
                .journal
                .iter()
                .any(|effect| matches!(effect, Effect::Launch(launch) if launch.image.as_str() == id))
        };
        assert!(!launched_from("ami-0bad"), "{name} {origin:?}");
    }
}

#[test]
fn an_instance_with_copied_tags_of_another_origin_is_not_the_builder() {
    let mut world = building();
    let mut forged = world.view.instances[0].clone();
    forged.id = "i-0bad".parse().expect("an id");
    forged.image_id = "ami-0bad".parse().ok();
    forged.launch_time -= Duration::from_secs(3600);
    world.view.instances.insert(0, forged);
    world.recipe.status = None;
    world.settle();
    assert_eq!(made_from(&world), Some("i-1"));
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
}

fn made_from(world: &SmallWorld) -> Option<&str> {
    world.journal.iter().find_map(|effect| match effect {
        Effect::CreateImage { instance, .. } => Some(instance.as_str()),
        _ => None,
    })
}

#[test]
fn an_instance_that_someone_launched_before_us_and_gave_copied_tags_is_not_the_builder() {
    let mut world = building();
    let mut forged = world.view.instances[0].clone();
    forged.id = "i-0bad".parse().expect("an id");
    forged.launch_time -= Duration::from_secs(3600);
    forged.client_token = Some("theirs".into());
    world.view.instances.insert(0, forged);
    world.recipe.status = None;
    world.settle();
    assert_eq!(made_from(&world), Some("i-1"));
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
}

#[test]
fn a_volume_that_someone_made_before_us_and_gave_copied_tags_is_not_inspected_in_place_of_ours() {
    let mut world = SmallWorld::new();
    while world.view.volumes.is_empty() {
        world.time_goes_by(Duration::from_secs(2));
        world.pass();
    }
    let mut forged = world.view.volumes[0].clone();
    forged.id = "vol-0bad".parse().expect("an id");
    forged.create_time = forged.create_time.map(|time| time - Duration::from_secs(5));
    world.view.volumes.insert(0, forged);
    world.recipe.status = None;
    world.settle();
    let attached = world.journal.iter().filter_map(|effect| match effect {
        Effect::AttachVolume { volume, .. } => Some(volume.as_str()),
        _ => None,
    });
    assert!(!attached.collect::<Vec<_>>().contains(&"vol-0bad"));
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
}

#[test]
fn a_verdict_in_status_proves_nothing() {
    let mut world = building();
    let status = world.recipe.status.as_mut().expect("a status");
    let architecture = &mut status.build.as_mut().expect("a build").architectures[0];
    architecture.boot_milliseconds = Some(1);
    architecture.inspected = true;
    world.check_fails = true;
    world.recipe.spec.failure_limit = 1;
    world.settle();
    assert_eq!(proven(&world), Vec::<&Image>::new());
    assert_eq!(world.condition(READY), Some((false, "CheckFailed".into())));
}

#[test]
fn a_latest_that_someone_wrote_into_status_is_neither_tagged_nor_believed_for_long() {
    let mut world = SmallWorld::new();
    world.settle();
    let mut stranger = world.source();
    stranger.id = "ami-0bad".parse().expect("an id");
    world.view.images.push(stranger);
    let latest = world.recipe.status.as_mut().and_then(|status| status.latest.as_mut());
    for images in latest.expect("a latest image").images.values_mut() {
        images.insert("x86_64".into(), "ami-0bad".into());
    }
    world.recipe.spec.image.tags.insert("tier".into(), "web".into());
    world.settle();
    let status = world.status();
    assert_eq!(status.latest.expect("a latest image").image_id(), Some("ami-2"));
    let stranger = world.view.images.iter().find(|image| image.id.as_str() == "ami-0bad");
    assert_eq!(stranger.expect("still there").tags, Tags::new());
}

#[test]
fn a_step_that_the_recipe_does_not_have_is_not_kept() {
    let mut world = building();
    world.foreign_step = Some("../../etc/passwd");
    world.settle();
    let kept: Vec<_> = world.records[0].outputs.keys().map(String::as_str).collect();
    assert_eq!(kept, ["output.1-packages", "output.2-site"]);
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
}

#[test]
fn numbers_of_builds_that_others_have_used_are_passed_over_and_absurd_ones_ignored() {
    let mut world = SmallWorld::new();
    world.foreign_numbers = vec![3, 7];
    let mut forged = world.source();
    forged.id = "ami-0bad".parse().expect("an id");
    let claim = Claim {
        owner: "platform/web".into(),
        owner_uid: world.uid(),
        build: i64::MAX,
        attempt: 1,
        role: Role::Image,
    };
    forged.tags = claim.tags(&world.observe().installation);
    world.view.images.push(forged);
    world.settle();
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(8));
}

fn made(world: &mut SmallWorld) -> &mut Image {
    let mut images = world.view.images.iter_mut();
    images.find(|image| image.name.starts_with("web-v")).expect("an image")
}

/// Passes until the image is there, and not sealed yet.
fn imaged(mut world: SmallWorld) -> SmallWorld {
    for _ in 0..20 {
        world.time_goes_by(Duration::from_secs(1));
        world.pass();
        if world.view.images.iter().any(|image| image.name == "web-v1") {
            assert!(!made(&mut world).tags.contains_key(SEAL));
            return world;
        }
    }
    panic!("no image: {:#?}", world.status());
}

#[test]
fn tags_of_a_proof_on_an_untested_image_are_not_sealed() {
    let mut world = SmallWorld::new();
    world.recipe.spec.test.enabled = false;
    let test_hash = crate::recipe::inputs::test_hash(&world.recipe.spec.test);
    let mut world = imaged(world);
    let tags = &mut made(&mut world).tags;
    tags.insert(PROVEN.into(), test_hash);
    tags.insert(BOOT_MILLISECONDS.into(), "1".into());
    tags.insert(PROVEN_TIME.into(), "2026-11-23T08:00:00Z".into());
    world.settle();
    assert_eq!(proven(&world), Vec::<&Image>::new());
    assert_eq!(world.condition(READY), Some((true, "BuiltUntested".into())));
    world.recipe.spec.test.enabled = true;
    world.recipe.metadata.generation = Some(2);
    world.settle();
    let tested = |effect: &&Effect| matches!(effect, Effect::Launch(launch) if launch.role == Role::Test);
    assert_eq!(
        world.journal.iter().filter(tested).count(),
        1,
        "it is proved all the same"
    );
    assert!(!made(&mut world).tags.contains_key(FINISHED));
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
}

#[test]
fn inputs_and_owners_that_others_write_on_an_image_are_not_sealed() {
    let mut world = imaged(SmallWorld::new());
    made(&mut world).tags.insert(CONTENT_HASH.into(), "0".repeat(64));
    world.settle();
    let recorded = world.records[0].frozen.content_hash.clone();
    assert_eq!(made(&mut world).tags.get(CONTENT_HASH), Some(&recorded));

    world.recipe.spec.test.boot_deadline = "4m".into();
    world.recipe.metadata.generation = Some(2);
    for _ in 0..3 {
        world.time_goes_by(Duration::from_secs(5));
        world.pass();
    }
    made(&mut world).tags.insert(CONTENT_HASH.into(), "0".repeat(64));
    world.settle();
    assert_eq!(made(&mut world).tags.get(CONTENT_HASH), Some(&recorded));
    assert_eq!(made(&mut world).tags[OWNER], "platform/web");
}

#[test]
fn an_attempt_that_status_makes_up_is_bounded() {
    let mut world = building();
    let build = world.recipe.status.as_mut().and_then(|status| status.build.as_mut());
    build.expect("a build").attempt = i64::MAX;
    for _ in 0..200 {
        world.time_goes_by(Duration::from_secs(5));
        world.pass();
    }
    let known = |instance: &Instance| world.observe().claim(&instance.tags).is_some();
    assert!(world.view.instances.iter().all(known), "what is made is found again");
    assert!(
        world
            .view
            .instances
            .iter()
            .all(|instance| instance.state == InstanceState::Terminated)
    );
}

#[test]
fn what_carries_the_tags_of_an_image_and_is_none_is_not_removed() {
    let mut world = SmallWorld::new();
    world.settle();
    let mut server = world.view.instances[0].clone();
    server.id = "i-0b0b".parse().expect("an id");
    server.state = InstanceState::Running;
    server.launch_time = world.now;
    let tags = made(&mut world).tags.clone();
    server.tags.clone_from(&tags);
    world.view.instances.push(server);
    world.view.volumes.push(Volume {
        id: "vol-0b0b".parse().expect("an id"),
        state: VolumeState::Available,
        snapshot_id: None,
        instance_id: None,
        delete_on_termination: false,
        create_time: Some(world.now),
        tags,
    });
    for _ in 0..50 {
        world.time_goes_by(Duration::from_secs(30));
        world.pass();
    }
    let server = world.view.instances.last().expect("the server");
    assert_eq!((server.id.as_str(), server.state), ("i-0b0b", InstanceState::Running));
    assert_eq!(world.view.volumes.len(), 1);
}
