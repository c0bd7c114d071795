//! An image is built, and serves: what becomes of it.

use jiff::SignedDuration;
use serde_json::json;

use super::{
    ALL_RECIPES, BUILD, BUILT, COSTLY, PROOF, SERVES, SOON_AFTER, Story, Struck, UNSEEN_AND_WATCHES, ask, edit,
    install, runs,
};
use super::{also, delete, recipe, suspend, write};
use crate::history::Peer;
use crate::people;
use crate::plan::Fault;
use crate::story::{AT_WORK, RECIPES};
use crate::world::BEGAN;

pub const STORIES: &[Story] = &[
    Story {
        name: "proven-image",
        faults: &Fault::ALL,
        more_faults: &[],
        struck: Some(|_| true),
        ..SERVES
    },
    Story {
        name: "three-attempts",
        begin: |_, web| web["spec"]["failureLimit"] = 3.into(),
        faults: &COSTLY,
        more_faults: &[],
        nothing_fails: true,
        ..SERVES
    },
    // Longer than what nobody claims is left alone. Its recipe is not the first of those that are listed. What is left meanwhile may still be
    // claimed by one that comes from a backup, say.
    Story {
        name: "long-build",
        begin: |world, web| {
            web["spec"]["build"]["steps"] = runs("#sim: after=7m");
            also(world, &recipe("api"));
            world.at(AT_WORK, |world| people::leave_something(world, SignedDuration::ZERO));
        },
        faults: &[Fault::Unavailable, Fault::CallUnavailable],
        struck: Some(sweeps_and_looks),
        ..SERVES
    },
    // Suspended from birth, until the user goes on.
    Story {
        name: "resumed",
        begin: |world, web| {
            web["spec"]["suspend"] = true.into();
            world.at(AT_WORK, |world| suspend(world, false));
        },
        ..SERVES
    },
    // The same inputs, another name: what the first has built is not the second's.
    Story {
        name: "two-recipes",
        begin: |world, _| world.at(BUILT, |world| write(world, "POST", RECIPES, &recipe("api"))),
        ..SERVES
    },
    Story {
        name: "untested",
        begin: |_, web| web["spec"]["test"] = json!({"enabled": false}),
        end: ("Current", "BuiltUntested"),
        events: &["BuildStarted BuildSucceeded"],
        faults: &[Fault::DiesUnseen],
        ..SERVES
    },
    Story {
        name: "test-switched-on",
        begin: |world, web| {
            web["spec"]["test"] = json!({"enabled": false});
            world.at(BUILT, |world| edit(world, &json!({"test": {"enabled": true}})));
        },
        events: &["BuildStarted BuildSucceeded", BUILD],
        ..SERVES
    },
    // The image of the object of before is found; that one was told about the build.
    Story {
        name: "adoption",
        begin: |world, web| {
            let again = web.clone();
            world.at(BUILT, delete);
            world.at(SOON_AFTER, move |world| write(world, "POST", RECIPES, &again));
        },
        events: &["LatestChanged"],
        faults: &UNSEEN_AND_WATCHES,
        ..SERVES
    },
    Story {
        name: "checks-changed",
        begin: |world, _| {
            world.at(BUILT, |world| {
                let test = json!({"checks": [{"name": "nginx", "run": "true", "timeout": "5s"}]});
                edit(world, &json!({"test": test}));
            });
            world.at(BUILT * 2, |world| edit(world, &json!({"test": {"bootDeadline": "4m"}})));
        },
        events: &[BUILD, PROOF, PROOF],
        faults: &[Fault::DiesUnseen],
        ..SERVES
    },
    Story {
        name: "tags-changed",
        begin: |world, web| {
            web["spec"]["image"] = json!({"tags": {"team": "web", "tier": "front"}});
            world.at(BUILT, |world| {
                people::tag_images(world);
                let tags = json!({"team": "platform", "tier": null, "stage": "next"});
                edit(world, &json!({"image": {"description": "nginx", "tags": tags}}));
            });
            world.at(SOON_AFTER, |world| {
                edit(world, &json!({"image": {"tags": {"cycle": "1"}}}))
            });
            // What an edit has put there goes with one after the next.
            world.at(BUILT * 2, |world| {
                edit(world, &json!({"image": {"tags": {"stage": null}}}))
            });
        },
        events: &[BUILD, "TagsChanged TagsChanged"],
        faults: &UNSEEN_AND_WATCHES,
        ..SERVES
    },
    // An image that nothing but its tags protects.
    Story {
        name: "verdict-taken",
        begin: |world, web| {
            web["spec"]["image"] = json!({"deregistrationProtection": false});
            world.at(BUILT, people::take_verdict);
        },
        events: &[BUILD, BUILD],
        ..SERVES
    },
    // For less than a minute, so that nothing is built.
    Story {
        name: "verdict-back",
        begin: |world, _| {
            world.at(BUILT, people::take_seal);
            world.at(SOON_AFTER, people::give_seal_back);
        },
        ..SERVES
    },
    Story {
        name: "verdict-edited",
        begin: |world, _| world.at(BUILT, |world| people::edit_verdict(world, "goldsmith.dev/build", "7")),
        events: &[BUILD, BUILD],
        ..SERVES
    },
    // Somebody has the image of before pass for that of the present spec, which is gone.
    Story {
        name: "hash-edited",
        begin: |world, _| {
            world.at(BUILT, |world| install(world, "httpd"));
            world.at(BUILT * 2, people::pass_for_newest);
        },
        events: &[BUILD, BUILD, BUILD],
        ..SERVES
    },
    // One build more than is remembered; no image of theirs goes.
    Story {
        name: "history",
        begin: |world, web| {
            web["spec"]["historyLimit"] = 1.into();
            world.at(BUILT, |world| ask(world, "1"));
            world.at(BUILT * 2, |world| ask(world, "2"));
        },
        events: &[BUILD, BUILD, BUILD],
        faults: &[Fault::DiesUnseen],
        ..SERVES
    },
    Story {
        name: "kept-history",
        begin: |world, web| {
            web["spec"]["historyLimit"] = 2.into();
            world.at(BUILT, |world| ask(world, "1"));
            world.at(BUILT * 2, |world| ask(world, "2"));
        },
        events: &[BUILD, BUILD, BUILD],
        ..SERVES
    },
];

/// Of a story that takes long: what a sweep begins with, a look at everything when the builder has been at work for so long that it cannot
/// count as too young to show, and, where there is time, what changes something.
fn sweeps_and_looks(struck: &Struck<'_>) -> bool {
    const LONG_AT_WORK: SignedDuration = SignedDuration::from_mins(6);
    const A_LOOK: SignedDuration = SignedDuration::from_secs(5);
    let step = struck.step;
    if struck.fault == Fault::CallUnavailable {
        let look = BEGAN + LONG_AT_WORK..BEGAN + LONG_AT_WORK + A_LOOK;
        return step.peer == Peer::Aws && look.contains(&step.time);
    }
    step.request == format!("GET {ALL_RECIPES}") || struck.thorough && step.mutates
}
