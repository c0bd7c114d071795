//! The user deletes the recipe, or its namespace, while something is under way.

use super::{SERVES, Story, Struck, delete};
use crate::interference;
use crate::people;
use crate::plan::Fault;

pub const STORIES: &[Story] = &[
    Story {
        name: "deleted",
        begin: |world, _| world.state().in_force.recipe_goes = true,
        meanwhile: Some(("RunInstances", |world, _| delete(world))),
        // An old view of what is gone: nothing has to be made of it.
        faults: &[
            Fault::DiesUnseen,
            Fault::AnswerLost,
            Fault::CallUnavailable,
            Fault::Frozen,
        ],
        decoys: false,
        ..SERVES
    },
    Story {
        name: "deleted-late",
        begin: |world, _| world.state().in_force.recipe_goes = true,
        meanwhile: Some(("CreateVolume", |world, _| delete(world))),
        faults: &[Fault::DiesUnseen, Fault::AnswerLost, Fault::CallUnavailable],
        decoys: false,
        ..SERVES
    },
    // The image is made, and may not show.
    Story {
        name: "deleted-imaging",
        begin: |world, _| world.state().in_force.recipe_goes = true,
        meanwhile: Some(("CreateImage", |world, _| delete(world))),
        faults: &[Fault::DiesUnseen],
        decoys: false,
        ..SERVES
    },
    // Somebody has deregistered its image; the snapshot stays.
    Story {
        name: "deleted-without-image",
        begin: |world, _| world.state().in_force.recipe_goes = true,
        meanwhile: Some(("CreateVolume", |world, _| {
            interference::deregister_images(world);
            delete(world);
        })),
        faults: &[Fault::CallUnavailable],
        // Of what nothing else tells that it is there.
        struck: Some(|Struck { step, .. }| step.request == "DescribeSnapshots"),
        decoys: false,
        ..SERVES
    },
    Story {
        name: "namespace-deleted",
        meanwhile: Some(("CreateVolume", |world, _| {
            world.state().in_force.namespace_goes();
            delete(world);
            people::delete_records(world);
        })),
        faults: &[Fault::DiesUnseen, Fault::AnswerLost],
        ..SERVES
    },
];
