//! From which images a recipe may start.

use super::small_world::SmallWorld;
use crate::api::{BuildResult, READY, SOURCE_RESOLVED, STALLED};
use crate::world::*;

/// The account that recipes are built in.
const OWN: &str = "123456789012";
const OTHER: &str = "210987654321";

/// Tags of an image that a recipe has made.
fn made_by(owner: &str, installation: &str) -> Tags {
    let claim = Claim {
        owner: owner.into(),
        owner_uid: "6a4a0f9e-0000-4000-8000-000000000002".into(),
        build: 3,
        attempt: 1,
        role: Role::Image,
    };
    let installation = Installation {
        name: installation.into(),
        cluster: "cluster".into(),
    };
    claim.tags(&installation)
}

fn found(world: &mut SmallWorld) -> &mut Image {
    &mut world.view.searches[0].1.as_mut().expect("an answer")[0]
}

/// The search finds another image from now on; the one before is still there, for whoever knows its id.
fn replace(world: &mut SmallWorld, newer: Image) {
    let before = std::mem::replace(found(world), newer);
    world.view.images_by_id.insert(before.id.clone(), before);
}

#[test]
fn what_is_neither_public_nor_of_the_same_namespace_has_to_be_granted() {
    let nobody = Tags::new();
    let ours = |owner: &str| made_by(owner, "test");
    let (neighbour, namesake) = (ours("platform/base"), ours("platform-two/base"));
    let (another, mangled) = (made_by("platform/base", "another"), {
        let mut tags = ours("platform/base");
        tags.remove(ROLE);
        tags
    });
    for (name, public, owner, tags, listed, granted) in [
        ("public", true, OTHER, &nobody, "", true),
        ("public, of another namespace", true, OWN, &namesake, "", true),
        ("of the namespace itself", false, OWN, &neighbour, "", true),
        ("private", false, OWN, &nobody, "", false),
        ("shared", false, OTHER, &nobody, "", false),
        ("of another namespace", false, OWN, &namesake, "", false),
        ("of another installation", false, OWN, &another, "", false),
        ("with half of the tags", false, OWN, &mangled, "", false),
        ("tagged, and not ours", false, OTHER, &neighbour, "", false),
        ("private and listed", false, OWN, &nobody, "ami-0a", true),
        ("shared and listed", false, OTHER, &nobody, "ami-0a", true),
        ("of another namespace, any", false, OWN, &namesake, "*", true),
        ("private, another listed", false, OWN, &nobody, "ami-0b", false),
    ] {
        let mut world = SmallWorld::new();
        let source = found(&mut world);
        (source.public, source.owner_id, source.tags) = (public, owner.into(), tags.clone());
        world.policy.grants[0].source_images = vec![listed.into()];
        world.pass();
        if granted {
            assert_eq!(world.condition(READY), Some((false, "BuildStarted".into())), "{name}");
            continue;
        }
        assert_eq!(world.condition(STALLED), Some((true, "NotGranted".into())), "{name}");
        assert_eq!(
            world.condition(SOURCE_RESOLVED),
            Some((false, "NotGranted".into())),
            "{name}"
        );
        assert_eq!(world.records, [], "{name}");
        let conditions = world.status().conditions;
        let message = &crate::api::get(&conditions, READY).expect("it is said").message;
        for word in [
            "source image ami-0a is not granted to namespace platform",
            "add it to sourceImages of a grant",
            "spec.build.source",
        ] {
            assert!(message.contains(word), "{name}: {message}");
        }
    }
}

/// A newer match of the search, which is neither public nor granted.
fn newer(world: &SmallWorld, tags: &Tags) -> Image {
    Image {
        id: "ami-0c".parse().expect("an id"),
        creation_time: Some(world.now),
        public: false,
        owner_id: OWN.into(),
        tags: tags.clone(),
        ..world.source()
    }
}

#[test]
fn a_newer_match_that_may_not_be_started_from_keeps_nobody_from_an_older_one() {
    let nobody = Tags::new();
    let namesake = made_by("platform-two/base", "test");
    for (name, tags) in [("private", &nobody), ("of another namespace", &namesake)] {
        for built in [false, true] {
            let mut world = SmallWorld::new();
            if built {
                world.settle();
            }
            let newer = newer(&world, tags);
            world.view.searches[0].1.as_mut().expect("an answer").insert(0, newer);
            world.settle();
            assert_eq!(world.condition(READY), Some((true, "ImageProven".into())), "{name}");
            assert_eq!(world.status().latest.map(|latest| latest.build), Some(1), "{name}");
            assert_eq!(world.condition(SOURCE_RESOLVED).map(|(found, _)| found), Some(true));

            world.policy.grants[0].source_images = vec!["ami-0c".into()];
            world.settle();
            assert_eq!(world.status().latest.map(|latest| latest.build), Some(2), "{name}");
        }
    }
}

#[test]
fn where_no_match_may_be_started_from_what_is_there_serves() {
    let mut world = SmallWorld::new();
    world.settle();
    let newer = newer(&world, &Tags::new());
    replace(&mut world, newer);
    world.settle();
    assert_eq!(world.condition(STALLED), Some((true, "NotGranted".into())));
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
}

#[test]
fn a_build_in_hand_does_not_end_for_what_its_search_finds_meanwhile() {
    let mut world = SmallWorld::new();
    world.pass();
    world.pass();
    assert_eq!(world.view.instances.len(), 1, "it builds");
    let newer = newer(&world, &Tags::new());
    replace(&mut world, newer);
    world.settle();
    let history = world.status().history;
    let results: Vec<_> = history.iter().map(|entry| entry.result).collect();
    assert_eq!(results, [BuildResult::Succeeded]);
    assert_eq!(world.condition(STALLED), Some((true, "NotGranted".into())));
}

#[test]
fn nothing_that_a_recipe_has_made_looks_at_other_images() {
    let mut mangled = made_by("platform/base", "test");
    mangled.retain(|key, _| key == MANAGED_BY);
    for (name, tags) in [
        ("of the namespace itself", made_by("platform/base", "test")),
        ("of another namespace", made_by("platform-two/base", "test")),
        ("of another installation", made_by("platform/base", "another")),
        ("with the rest of the tags", mangled),
    ] {
        for public in [false, true] {
            let mut world = SmallWorld::new();
            let product = Image {
                public,
                ..newer(&world, &tags)
            };
            let found = world.view.searches[1].1.as_mut().expect("an answer");
            found.insert(0, product.clone());
            world.settle();
            assert_eq!(world.condition(READY), Some((true, "ImageProven".into())), "{name}");
            let launched = world.view.instances.iter().filter_map(|one| one.image_id.as_ref());
            let launched: Vec<&str> = launched.map(ImageId::as_str).collect();
            assert!(
                launched.contains(&"ami-0b") && !launched.contains(&"ami-0c"),
                "{name}: {launched:?}"
            );

            let mut world = SmallWorld::new();
            world.view.searches[1].1 = Ok(vec![product]);
            world.settle();
            assert_eq!(
                world.condition(STALLED),
                Some((true, "InspectorImageNotFound".into())),
                "{name}"
            );
            assert_eq!(world.journal, []);
        }
    }
}

#[test]
fn a_build_whose_source_is_no_longer_granted_is_abandoned() {
    for follows in [true, false] {
        let mut world = SmallWorld::new();
        world.recipe.spec.rebuild.on_source_change = follows;
        found(&mut world).public = false;
        world.policy.grants[0].source_images = vec!["ami-0a".into()];
        world.pass();
        world.pass();
        assert_eq!(world.view.instances.len(), 1, "it builds");
        // The build goes on from its own source when a newer one is no reason to build.
        let mut newer = world.source();
        newer.id = "ami-0c".parse().expect("an id");
        newer.creation_time = Some(world.now);
        newer.public = true;
        replace(&mut world, newer);
        world.policy.grants[0].source_images.clear();
        world.settle();
        let history = world.status().history;
        let results: Vec<_> = history.iter().rev().map(|entry| entry.result).collect();
        assert_eq!(
            results,
            [BuildResult::Superseded, BuildResult::Succeeded],
            "follows: {follows}"
        );
        assert_eq!(world.condition(READY), Some((true, "ImageProven".into())));
    }
}
