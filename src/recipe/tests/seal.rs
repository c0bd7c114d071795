//! A seal fits what it was made for, by any of the keys, and nothing else.

use crate::recipe::decide::tests::small_world::SmallWorld;
use crate::recipe::seal::{NoKey, Origin, SealKeys};
use crate::world::*;

fn keys(bytes: &[u8]) -> SealKeys {
    SealKeys::new(bytes.iter().map(|byte| vec![*byte; 32]).collect()).expect("keys of 32 bytes")
}

fn installation() -> Installation {
    Installation {
        name: "test".into(),
        cluster: "cluster".into(),
    }
}

fn sealed() -> Image {
    let mut world = SmallWorld::new();
    world.settle();
    world.view.images[0].clone()
}

#[test]
fn a_key_is_needed_and_a_short_one_is_none() {
    assert_eq!(SealKeys::new(Vec::new()).err(), Some(NoKey));
    assert_eq!(SealKeys::new(vec![vec![1; 31]]).err(), Some(NoKey));
    assert_eq!(SealKeys::new(vec![vec![1; 32], Vec::new()]).err(), Some(NoKey));
}

#[test]
fn every_part_of_a_verdict_is_under_the_seal() {
    let image = sealed();
    let (keys, installation) = (keys(&[7]), installation());
    assert!(keys.verify(&installation, &image));
    for key in [
        OWNER,
        BUILD,
        SOURCE,
        CONTENT_HASH,
        PROVEN,
        PROVEN_TIME,
        BOOT_MILLISECONDS,
        SEAL,
    ] {
        let mut changed = image.clone();
        changed.tags.insert(key.to_owned(), "0".to_owned());
        assert!(!keys.verify(&installation, &changed), "{key} changed");
        changed.tags.remove(key);
        assert!(!keys.verify(&installation, &changed), "{key} removed");
    }
    for key in [FINISHED, CLEANUP_SKIPPED] {
        let mut changed = image.clone();
        changed.tags.insert(key.to_owned(), "Logs".to_owned());
        assert!(!keys.verify(&installation, &changed), "{key} added");
    }
    let other = Image {
        id: "ami-0bad".parse().expect("an id"),
        ..image.clone()
    };
    assert!(!keys.verify(&installation, &other), "another image with these tags");
    let mut other = image.clone();
    other.block_devices[0].snapshot_id = "snap-0bad".parse().ok();
    assert!(!keys.verify(&installation, &other), "another snapshot");
    for other in [
        Installation {
            name: "other".into(),
            ..installation.clone()
        },
        Installation {
            cluster: "other".into(),
            ..installation
        },
    ] {
        assert!(!keys.verify(&other, &image), "{other:?}");
    }
}

#[test]
fn tags_that_people_put_on_an_image_are_theirs() {
    let mut image = sealed();
    image.tags.insert("team".into(), "other".into());
    image.tags.insert("goldsmith.dev/attempt".into(), "9".into());
    assert!(keys(&[7]).verify(&installation(), &image));
}

#[test]
fn an_older_key_still_verifies_and_a_lost_one_does_not() {
    let image = sealed();
    assert!(keys(&[8, 7]).verify(&installation(), &image));
    assert!(!keys(&[8]).verify(&installation(), &image));
}

#[test]
fn a_birth_mark_fits_one_claim_and_one_origin() {
    let claim = Claim {
        owner: "platform/web".into(),
        owner_uid: "uid".into(),
        build: 1,
        attempt: 1,
        role: Role::Image,
    };
    let origin = Origin::Image {
        name: "web-v1",
        instance: "i-1",
    };
    let (keys, installation) = (keys(&[7]), installation());
    let tags = Tags::from([(BIRTH.to_owned(), keys.birth(&installation, &claim, &origin))]);
    let fits = |claim: &Claim, origin: &Origin<'_>| keys.verify_birth(&installation, claim, origin, &tags);
    assert!(fits(&claim, &origin));
    let change = |change: fn(&mut Claim)| {
        let mut claim = claim.clone();
        change(&mut claim);
        claim
    };
    for claim in [
        change(|claim| claim.owner_uid = "other".into()),
        change(|claim| claim.build = 2),
        change(|claim| claim.attempt = 2),
        change(|claim| claim.role = Role::Test),
    ] {
        assert!(!fits(&claim, &origin), "{claim:?}");
    }
    for origin in [
        Origin::Image {
            name: "web-v1",
            instance: "i-2",
        },
        Origin::Image {
            name: "web-v2",
            instance: "i-1",
        },
        Origin::Instance {
            image: "web-v1",
            instance_type: "i-1",
            client_token: "",
        },
        Origin::Volume { snapshot: "web-v1" },
    ] {
        assert!(!fits(&claim, &origin), "{origin:?}");
    }
    let launched = |client_token| Origin::Instance {
        image: "ami-1",
        instance_type: "m7i.large",
        client_token,
    };
    let tags = Tags::from([(BIRTH.to_owned(), keys.birth(&installation, &claim, &launched("ours")))]);
    assert!(keys.verify_birth(&installation, &claim, &launched("ours"), &tags));
    assert!(
        !keys.verify_birth(&installation, &claim, &launched("theirs"), &tags),
        "copied to an instance that someone else has launched"
    );
    assert!(
        !keys.verify_birth(&installation, &claim, &origin, &Tags::new()),
        "no mark"
    );
}

#[test]
fn a_client_token_is_64_characters_and_follows_its_key_and_its_purpose() {
    let claim = Claim {
        owner: "platform/web".into(),
        owner_uid: "uid".into(),
        build: 1,
        attempt: 1,
        role: Role::Builder,
    };
    let token = |bytes: &[u8], what: &str| keys(bytes).token(&installation(), &claim, what);
    assert_eq!(token(&[7], "m7i.large subnet-0a 0").len(), 64);
    assert_eq!(token(&[7], "one"), token(&[7], "one"));
    assert_ne!(token(&[7], "one"), token(&[7], "two"));
    assert_ne!(token(&[7], "one"), token(&[8], "one"));
}

#[test]
fn a_build_keeps_the_key_with_which_it_began_when_keys_are_rotated() {
    let began_with = keys(&[7]).first_id();
    assert_eq!(
        keys(&[8, 7]).led_by(&began_with).first_id(),
        began_with,
        "the old one still verifies"
    );
    assert_eq!(
        keys(&[8]).led_by(&began_with).first_id(),
        keys(&[8]).first_id(),
        "it has left"
    );
    assert_eq!(
        keys(&[8, 9]).led_by("").first_id(),
        keys(&[8]).first_id(),
        "a record of before"
    );
}
