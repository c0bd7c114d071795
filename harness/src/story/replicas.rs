//! Who carries the controller out, and with which keys, changes.

use jiff::SignedDuration;

use super::{BUILT, SERVES, Story};
use crate::people;
use crate::plan::Fault;
use crate::process::Keys;

pub const STORIES: &[Story] = &[
    // As the guide says: the new one seals, then the old one leaves the configuration.
    Story {
        name: "key-rotated",
        begin: |world, _| {
            world.at(BUILT, |world| world.restart(Keys::Both));
            world.at(BUILT * 2, |world| world.restart(Keys::Second));
        },
        ..SERVES
    },
    // Whoever leads has something to sweep.
    Story {
        name: "two-replicas",
        begin: |world, _| people::leave_something(world, SignedDuration::from_hours(1)),
        faults: &[Fault::Stopped],
        more_faults: &[Fault::LeaseUnavailable],
        two_replicas: true,
        ..SERVES
    },
];
