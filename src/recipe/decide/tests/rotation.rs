//! Seal keys change while images and records are there that an older one has sealed.

use super::small_world::SmallWorld;
use crate::api::READY;
use crate::recipe::plan::Effect;
use crate::recipe::seal::SealKeys;
use crate::world::SEAL;

fn keys(bytes: &[u8]) -> SealKeys {
    SealKeys::new(bytes.iter().map(|byte| vec![*byte; 32]).collect()).expect("keys of 32 bytes")
}

#[test]
fn once_all_is_sealed_anew_the_old_key_is_not_missed() {
    let mut world = SmallWorld::new();
    world.settle();
    let seal = world.view.images[0].tags.get(SEAL).cloned();
    world.keys = keys(&[9, 7]);
    world.sealed_before = vec![1];
    world.settle();
    assert!(world.journal.contains(&Effect::SealRecord { build: 1 }));
    assert_ne!(world.view.images[0].tags.get(SEAL).cloned(), seal);
    world.keys = keys(&[9]);
    world.settle();
    assert_eq!(world.condition(READY), Some((true, "ImageProven".into())));
    assert_eq!(world.status().latest.map(|latest| latest.build), Some(1));
    assert_eq!(world.records.len(), 1, "nothing is built again");
}

#[test]
fn a_seal_that_fits_no_key_is_not_made_good() {
    let mut world = SmallWorld::new();
    world.settle();
    world.keys = keys(&[9]);
    world.sealed_before = Vec::new();
    let seal = world.view.images[0].tags.get(SEAL).cloned();
    world.pass();
    assert_eq!(world.view.images[0].tags.get(SEAL).cloned(), seal);
}

#[test]
fn a_seal_is_put_on_once() {
    let mut world = SmallWorld::new();
    world.settle();
    world.keys = keys(&[9, 7]);
    world.settle();
    let before = world.journal.len();
    world.settle();
    assert_eq!(world.journal.len(), before);
}
