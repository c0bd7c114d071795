//! Something fails: an attempt, a proof, a whole build.

use jiff::SignedDuration;
use serde_json::json;

use super::{BUILD, SERVES, Story, edit, runs};
use crate::people;
use crate::plan::Fault;

/// An attempt that is given a minute has failed by then, and the next one has not begun.
const TIMED_OUT: SignedDuration = SignedDuration::from_secs(100);
/// The third attempt has failed by then.
const GIVEN_UP: SignedDuration = SignedDuration::from_mins(5);

const FAILS: Story = Story {
    events: &["BuildStarted AttemptFailed BuildFailed"],
    faults: &[Fault::DiesUnseen, Fault::AnswerLost],
    ..SERVES
};

const THREE_TIMES: &str = "BuildStarted AttemptFailed AttemptFailed AttemptFailed BuildFailed";

pub const STORIES: &[Story] = &[
    // Somebody terminates the first builder.
    Story {
        name: "second-attempt",
        begin: |_, web| web["spec"]["failureLimit"] = 2.into(),
        meanwhile: Some(("RunInstances", |world, step| {
            let builder = step.made.first().map(String::as_str).unwrap_or_default();
            let terminates = [("Action", "TerminateInstances"), ("InstanceId.1", builder)];
            people::call(world, world.now(), &terminates);
        })),
        events: &["BuildStarted AttemptFailed ImageProven LatestChanged BuildSucceeded"],
        faults: &[
            Fault::DiesUnseen,
            Fault::AnswerLost,
            Fault::StatusSetBack,
            Fault::StatusSetFarBack,
        ],
        ..SERVES
    },
    // Of an image that nobody can vouch for nothing is ever proven.
    Story {
        name: "check-fails",
        begin: |_, web| {
            let checks = json!([
                {"name": "nginx", "run": "true", "timeout": "1s"},
                {"name": "site", "run": "#sim: exit=1", "timeout": "1s"},
            ]);
            web["spec"]["test"] = json!({"checks": checks});
        },
        end: ("Failed", "CheckFailed"),
        forged_consoles: true,
        ..FAILS
    },
    Story {
        name: "secret-left",
        begin: |_, web| web["spec"]["build"]["steps"] = runs("#sim: leave=/root/.ssh/id_ed25519"),
        end: ("Failed", "SecretFound"),
        forged_consoles: true,
        ..FAILS
    },
    // The builder has not seen it, and no name tells of it.
    Story {
        name: "token-left",
        begin: |_, web| {
            let token = "ghp_abcdefghijklmnopqrstuvwxyz0123456789";
            web["spec"]["build"]["steps"] = runs(&format!("#sim: leave=/srv/app/settings token {token}"));
        },
        end: ("Failed", "SecretFound"),
        faults: &[],
        ..FAILS
    },
    Story {
        name: "host-key-left",
        begin: |_, web| web["spec"]["build"]["steps"] = runs("#sim: leave=/etc/ssh/ssh_host_rsa_key x"),
        end: ("Failed", "CleanupIncomplete"),
        faults: &[],
        ..FAILS
    },
    // By the first boot.
    Story {
        name: "file-changed",
        begin: |_, web| {
            web["spec"]["build"]["steps"] = json!([
                {"name": "hosts", "file": {"path": "/etc/hosts", "content": "10.0.0.1 proxy"}},
                {"name": "cloud", "run": "#sim: boot-write=/etc/hosts 127.0.0.1 localhost"},
            ]);
        },
        end: ("Failed", "FileChanged"),
        faults: &[],
        ..FAILS
    },
    Story {
        name: "boot-error",
        begin: |_, web| {
            let checks = json!([{"name": "nginx", "run": "#sim: boot-error=a unit has failed"}]);
            web["spec"]["test"] = json!({"checks": checks});
        },
        end: ("Failed", "BootErrors"),
        forged_consoles: true,
        ..FAILS
    },
    Story {
        name: "slow-boot",
        begin: |_, web| {
            web["spec"]["build"]["steps"] = runs("#sim: slow-boot=70s");
            web["spec"]["test"] = json!({"bootDeadline": "1m"});
        },
        end: ("Failed", "BootDeadlineExceeded"),
        faults: &[Fault::DiesUnseen],
        ..FAILS
    },
    // Nothing is ever heard of it.
    Story {
        name: "dead-image",
        begin: |_, web| {
            web["spec"]["build"]["steps"] = runs("#sim: slow-boot=20h");
            web["spec"]["test"] = json!({"bootDeadline": "1m"});
        },
        end: ("Failed", "BootDeadlineExceeded"),
        faults: &[],
        ..FAILS
    },
    // By somebody's image, while the builder is at work, and for good.
    Story {
        name: "name-taken",
        meanwhile: Some(("RunInstances", |world, _| people::take_name(world, "web-2026-11-23-v1"))),
        end: ("Failed", "NameTaken"),
        faults: &[],
        ..FAILS
    },
    Story {
        name: "failing-step",
        begin: |_, web| {
            web["spec"]["failureLimit"] = 2.into();
            web["spec"]["build"]["steps"] = runs("#sim: exit=1");
        },
        end: ("Failed", "StepFailed"),
        events: &["BuildStarted AttemptFailed AttemptFailed BuildFailed"],
        faults: &[
            Fault::DiesUnseen,
            Fault::AnswerLost,
            Fault::Suspended,
            Fault::StatusEmptied,
        ],
        forged_consoles: true,
        ..FAILS
    },
    // Nothing ends it but the time that the builder is given.
    Story {
        name: "hanging-step",
        begin: |_, web| {
            web["spec"]["build"]["steps"] = json!([{"name": "packages", "run": "#sim: hang"}]);
            web["spec"]["build"]["builder"]["timeout"] = "1m".into();
        },
        end: ("Failed", "BuildTimedOut"),
        ..FAILS
    },
    // Not even the timer in the guest.
    Story {
        name: "kernel-panic",
        begin: |_, web| {
            web["spec"]["build"]["steps"] = json!([{"name": "packages", "run": "#sim: panic"}]);
            web["spec"]["build"]["builder"]["timeout"] = "1m".into();
        },
        end: ("Failed", "BuildTimedOut"),
        faults: &[Fault::DiesUnseen],
        ..FAILS
    },
    // While the second attempt is waited for; what is changed decides over no image.
    Story {
        name: "corrected",
        begin: |world, web| {
            let spec = &mut web["spec"];
            spec["failureLimit"] = 2.into();
            spec["build"]["steps"] = runs("#sim: after=90s");
            spec["build"]["builder"]["timeout"] = "1m".into();
            world.at(TIMED_OUT, |world| {
                edit(world, &json!({"build": {"builder": {"timeout": "10m"}}}));
            });
        },
        events: &["BuildStarted AttemptFailed BuildSuperseded", BUILD],
        ..SERVES
    },
    // What is changed after the last attempt decides over no image.
    Story {
        name: "tried-anew",
        begin: |world, web| {
            web["spec"]["failureLimit"] = 3.into();
            web["spec"]["build"]["steps"] = runs("#sim: exit=1");
            world.at(GIVEN_UP, |world| {
                let builder = json!({"instanceTypes": ["m7i.large", "m6i.large"]});
                edit(world, &json!({"build": {"builder": builder}}));
            });
        },
        end: ("Failed", "StepFailed"),
        events: &[THREE_TIMES, THREE_TIMES],
        faults: &[],
        ..FAILS
    },
];
