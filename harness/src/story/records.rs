//! Somebody changes records of builds by hand.

use super::{BUILD, BUILT, SERVES, Story, also, recipe};
use crate::people::{self, Edit};
use crate::plan::Fault;

/// The record of the build in hand, until somebody deletes it, as its message says.
const EDITED: Story = Story {
    begin: |world, _| world.at(BUILT, people::delete_records),
    told: Some("RecordUnreadable"),
    events: &["BuildStarted Refused", BUILD],
    ..SERVES
};

pub const STORIES: &[Story] = &[
    Story {
        name: "record-edited",
        meanwhile: Some(("RunInstances", |world, _| people::edit_records(world, Edit::Subnet))),
        faults: &[Fault::DiesUnseen],
        ..EDITED
    },
    Story {
        name: "progress-edited",
        meanwhile: Some(("RunInstances", |world, _| people::edit_records(world, Edit::Attempt))),
        ..EDITED
    },
    Story {
        name: "user-data-edited",
        meanwhile: Some(("RunInstances", |world, _| people::edit_records(world, Edit::UserData))),
        ..EDITED
    },
    // Until somebody deletes it, as the message says.
    Story {
        name: "record-name-taken",
        begin: |world, _| {
            people::take_record_name(world);
            world.at(BUILT, people::delete_records);
        },
        told: Some("RecordNameTaken"),
        ..SERVES
    },
    // Those of builds that ended: another recipe's under a name of this one's, and its own under another number.
    Story {
        name: "record-copied",
        begin: |world, _| {
            also(world, &recipe("api"));
            world.at(BUILT, people::copy_records);
        },
        ..SERVES
    },
    // By another recipe's, in the place of its own.
    Story {
        name: "record-replaced",
        begin: |world, _| {
            also(world, &recipe("api"));
            world.at(BUILT, people::replace_record);
        },
        ..SERVES
    },
];
