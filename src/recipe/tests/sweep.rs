//! The sweep takes what no object claims, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::recipe::decide::tests::small_world::SmallWorld;
use crate::recipe::plan::Removal;
use crate::recipe::sweep::{Swept, sweep};
use crate::world::*;

const AFTER: Duration = Duration::from_secs(3600);

/// A world with one of each, whose recipe is gone for two hours.
fn orphaned() -> (View, Timestamp) {
    let mut world = SmallWorld::new();
    // The inspector has its volume, and nothing is proven yet.
    for _ in 0..60 {
        world.time_goes_by(Duration::from_secs(1));
        world.pass();
        if !world.view.volumes.is_empty() {
            break;
        }
    }
    let now = world.now + Duration::from_secs(7200);
    let mut view = world.view;
    view.volumes[0].state = VolumeState::Available;
    (view, now)
}

fn swept(view: &View, living: &[&str], now: Timestamp) -> Swept {
    let installation = Installation {
        name: "test".into(),
        cluster: "cluster".into(),
    };
    let living: BTreeSet<String> = living.iter().map(|uid| (*uid).to_owned()).collect();
    sweep(view, &installation, &living, AFTER, now)
}

fn kinds(swept: &Swept) -> Vec<&'static str> {
    let kind = |removal: &Removal| match removal {
        Removal::Instance(_) => "instance",
        Removal::Volume(_) => "volume",
        Removal::Image(_) => "image",
        Removal::Snapshot(_) => "snapshot",
    };
    let mut kinds: Vec<_> = swept.removals.iter().map(kind).collect();
    kinds.dedup();
    kinds
}

/// Every bag of tags in the view.
fn tags(view: &mut View) -> Vec<&mut Tags> {
    let instances = view.instances.iter_mut().map(|one| &mut one.tags);
    let volumes = view.volumes.iter_mut().map(|one| &mut one.tags);
    let images = view.images.iter_mut().map(|one| &mut one.tags);
    let snapshots = view.snapshots.iter_mut().map(|one| &mut one.tags);
    instances.chain(volumes).chain(images).chain(snapshots).collect()
}

#[test]
fn what_no_object_claims_goes_once_it_is_old() {
    let (view, now) = orphaned();
    assert_eq!(kinds(&swept(&view, &[], now)), ["instance", "volume", "image"]);
    let mut of_no_image = view.clone();
    of_no_image.images.clear();
    assert_eq!(
        kinds(&swept(&of_no_image, &[], now)),
        ["instance", "volume", "snapshot"]
    );
}

#[test]
fn what_is_claimed_young_or_not_ours_stays() {
    let (view, now) = orphaned();
    let uid = view.instances[0].tags[OWNER_UID].clone();
    assert_eq!(swept(&view, &[&uid], now), Swept::default());
    let young = swept(&view, &[], now - Duration::from_secs(7000));
    assert_eq!(
        (young.removals.len(), young.leaked[0].kind == "instance"),
        (0, true),
        "counted, and left alone"
    );
    for (key, value) in [(MANAGED_BY, "other"), (CLUSTER, "other")] {
        let mut foreign = view.clone();
        tags(&mut foreign)
            .into_iter()
            .for_each(|tags| drop(tags.insert(key.into(), value.into())));
        let swept = swept(&foreign, &[], now);
        assert_eq!(swept, Swept::default(), "{key}");
    }
}

#[test]
fn what_carries_half_of_our_tags_is_counted_and_left_alone() {
    let (view, now) = orphaned();
    for key in [OWNER, OWNER_UID, BUILD, ATTEMPT, ROLE] {
        let mut mangled = view.clone();
        tags(&mut mangled).into_iter().for_each(|tags| drop(tags.remove(key)));
        let swept = swept(&mangled, &[], now);
        assert_eq!(swept.removals, [], "without {key}");
        let kinds: BTreeSet<&str> = swept.leaked.iter().map(|one| one.kind).collect();
        assert_eq!(kinds, ["image", "instance", "volume"].into(), "without {key}");
        assert!(swept.leaked.iter().any(|one| one.id == mangled.volumes[0].id.as_str()));
        for one in swept.leaked {
            assert_eq!(one.lacks, format!("it lacks {key}, so nobody but you removes it"));
            assert_eq!(one.owner, if key == OWNER { "" } else { "platform/web" });
        }
    }
}

#[test]
fn an_image_that_someone_may_want_is_never_swept() {
    type Change = fn(&mut Image);
    let changes: [(&str, Change); 5] = [
        ("proven", |image| {
            drop(image.tags.insert(PROVEN.into(), "forged".into()))
        }),
        ("finished", |image| {
            drop(image.tags.insert(FINISHED.into(), "untested".into()))
        }),
        ("protected", |image| {
            image.deregistration_protection = "enabled-with-cooldown".into()
        }),
        ("pending", |image| image.state = ImageState::Pending),
        ("of unknown age", |image| image.creation_time = None),
    ];
    for (what, change) in changes {
        let (mut view, now) = orphaned();
        change(&mut view.images[0]);
        assert_eq!(kinds(&swept(&view, &[], now)), ["instance", "volume"], "{what}");
    }
}

#[test]
fn what_is_on_its_way_out_is_not_asked_to_go_again() {
    let (mut view, now) = orphaned();
    view.instances
        .iter_mut()
        .for_each(|instance| instance.state = InstanceState::ShuttingDown);
    view.volumes[0].state = VolumeState::InUse;
    assert_eq!(kinds(&swept(&view, &[], now)), ["image"]);
}
