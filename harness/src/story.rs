//! What users do, and where it leads.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::api_server::{Answer, Request};
use crate::history::{Peer, Step};
use crate::people;
use crate::plan::Fault;
use crate::process::Keys;
use crate::world::{BEGAN, World};

/// Names of all stories.
pub const STORIES: [&str; 44] = [
    "proven-image",
    "three-attempts",
    "second-attempt",
    "deleted",
    "deleted-late",
    "deleted-without-image",
    "namespace-deleted",
    "check-fails",
    "secret-left",
    "boot-error",
    "slow-boot",
    "resumed",
    "failing-step",
    "hanging-step",
    "kernel-panic",
    "changed-step",
    "asked-again",
    "adoption",
    "two-recipes",
    "everything-set",
    "untested",
    "source-published",
    "source-ignored",
    "history",
    "long-build",
    "checks-changed",
    "tags-changed",
    "not-granted",
    "record-edited",
    "progress-edited",
    "user-data-edited",
    "record-copied",
    "record-replaced",
    "verdict-taken",
    "verdict-back",
    "verdict-edited",
    "hash-edited",
    "kept-history",
    "corrected",
    "superseded",
    "tried-anew",
    "asked-before",
    "key-rotated",
    "two-replicas",
];

/// Where the recipes of all stories are.
pub const RECIPES: &str = "/apis/goldsmith.dev/v1alpha1/namespaces/platform/imagerecipes";
const ALL_RECIPES: &str = "/apis/goldsmith.dev/v1alpha1/imagerecipes";
const WEB: &str = "/apis/goldsmith.dev/v1alpha1/namespaces/platform/imagerecipes/web";

/// Later than any build ends that one fault delays.
const BUILT: SignedDuration = SignedDuration::from_mins(2);
const SOON_AFTER: SignedDuration = SignedDuration::from_secs(150);
/// The builder is at work then, for long.
const CORRECTED: SignedDuration = SignedDuration::from_secs(30);
/// An attempt that is given a minute has failed by then, and the next one has not begun.
const TIMED_OUT: SignedDuration = SignedDuration::from_secs(100);
/// The third attempt has failed by then.
const GIVEN_UP: SignedDuration = SignedDuration::from_mins(5);

/// Does what the users of `story` do at its beginning, and has them do the rest at its time.
///
/// # Errors
/// When there is no such story, or the API server takes something no user could write.
pub fn begin(story: &str, world: &World) -> Result<(), String> {
    let mut web = recipe("web");
    let spec = &mut web["spec"];
    match story {
        "deleted" | "deleted-late" | "deleted-without-image" => world.state().in_force.recipe_goes = true,
        "proven-image" | "namespace-deleted" | "two-replicas" => {}
        // Until somebody deletes the record, as its message says.
        "record-edited" | "progress-edited" | "user-data-edited" => world.at(BUILT, people::delete_records),
        // Those of builds that ended: another recipe's under a name of this one's, and its own under another number.
        "record-copied" => {
            world.apply(&recipe("api"))?;
            world.at(BUILT, people::copy_records);
        }
        // By another recipe's, in the place of its own.
        "record-replaced" => {
            world.apply(&recipe("api"))?;
            world.at(BUILT, people::replace_record);
        }
        // An image that nothing but its tags protects.
        "verdict-taken" => {
            spec["image"] = json!({"deregistrationProtection": false});
            world.at(BUILT, people::take_verdict);
        }
        // For less than a minute, so that nothing is built.
        "verdict-back" => {
            world.at(BUILT, people::take_seal);
            world.at(SOON_AFTER, people::give_seal_back);
        }
        "verdict-edited" => world.at(BUILT, |world| people::edit_verdict(world, "goldsmith.dev/build", "7")),
        // Somebody has the image of before pass for that of the present spec, which is gone.
        "hash-edited" => {
            world.at(BUILT, |world| {
                install(world, "httpd");
            });
            world.at(BUILT * 2, people::pass_for_newest);
        }
        // While the second attempt is waited for; what is changed decides over no image.
        "corrected" => {
            spec["failureLimit"] = 2.into();
            spec["build"]["steps"] = json!([{"name": "packages", "run": "#sim: after=90s", "timeout": "20m"}]);
            spec["build"]["builder"]["timeout"] = "1m".into();
            world.at(TIMED_OUT, |world| {
                edit(world, &json!({"build": {"builder": {"timeout": "10m"}}}));
            });
        }
        // While the builder is at work, and for longer than a pass may not know of it.
        "superseded" => {
            spec["build"]["steps"] = json!([{"name": "packages", "run": "#sim: after=4m", "timeout": "20m"}]);
            world.at(CORRECTED, |world| {
                install(world, "nginx");
            });
        }
        // What is changed after the last attempt decides over no image.
        "tried-anew" => {
            spec["failureLimit"] = 3.into();
            spec["build"]["steps"][0]["run"] = "#sim: exit=1".into();
            world.at(GIVEN_UP, |world| {
                let builder = json!({"instanceTypes": ["m7i.large", "m6i.large"]});
                edit(world, &json!({"build": {"builder": builder}}));
            });
        }
        // Of what was asked for before the last build nothing is remembered but that it was done.
        "asked-before" => {
            spec["historyLimit"] = 1.into();
            world.at(BUILT, |world| {
                let asked = json!({"goldsmith.dev/build": "now", "goldsmith.dev/reconcile": "now"});
                write(world, "PATCH", WEB, &json!({"metadata": {"annotations": asked}}));
            });
            world.at(BUILT * 2, |world| {
                let steps = json!([{"name": "packages", "run": "dnf -y install httpd"}]);
                let unasked = json!({"annotations": {"goldsmith.dev/build": null}});
                write(
                    world,
                    "PATCH",
                    WEB,
                    &json!({"metadata": unasked, "spec": {"build": {"steps": steps}}}),
                );
            });
            // Who syncs it from a repository asks again for what was done.
            world.at(BUILT * 3, |world| {
                // And has restored the object without its status.
                let status = format!("{WEB}/status");
                let kind = json!({"apiVersion": "goldsmith.dev/v1alpha1", "kind": "ImageRecipe", "status": null});
                write(world, "PUT", &status, &kind);
                let asked = json!({"annotations": {"goldsmith.dev/build": "now"}});
                write(world, "PATCH", WEB, &json!({"metadata": asked}));
            });
        }
        // As the guide says: the new one seals, then the old one leaves the configuration.
        "key-rotated" => {
            world.at(BUILT, |world| world.restart(Keys::Both));
            world.at(BUILT * 2, |world| world.restart(Keys::Second));
        }
        // Nothing goes wrong by itself; something may.
        "three-attempts" => spec["failureLimit"] = 3.into(),
        // Somebody terminates the first builder.
        "second-attempt" => spec["failureLimit"] = 2.into(),
        // Of an image that nobody can vouch for nothing is ever proven.
        "check-fails" => {
            let checks = json!([
                {"name": "nginx", "run": "true", "timeout": "1s"},
                {"name": "site", "run": "#sim: exit=1", "timeout": "1s"},
            ]);
            spec["test"] = json!({"checks": checks});
        }
        "secret-left" => spec["build"]["steps"][0]["run"] = "#sim: leave=/root/.ssh/id_ed25519".into(),
        "boot-error" => {
            spec["test"] = json!({"checks": [{"name": "nginx", "run": "#sim: boot-error=a unit has failed"}]});
        }
        "slow-boot" => {
            spec["build"]["steps"][0]["run"] = "#sim: slow-boot=70s".into();
            spec["test"] = json!({"bootDeadline": "1m"});
        }
        // Suspended from birth, until the user goes on.
        "resumed" => {
            spec["suspend"] = true.into();
            world.at(CORRECTED, |world| suspend(world, false));
        }
        // Nothing ends it but the time that the builder is given.
        "hanging-step" => {
            spec["build"]["steps"][0]["run"] = "#sim: hang".into();
            spec["build"]["builder"]["timeout"] = "1m".into();
        }
        // Not even the timer in the guest.
        "kernel-panic" => {
            spec["build"]["steps"][0]["run"] = "#sim: panic".into();
            spec["build"]["builder"]["timeout"] = "1m".into();
        }
        "failing-step" => {
            spec["failureLimit"] = 2.into();
            spec["build"]["steps"][0]["run"] = "#sim: exit=1".into();
        }
        "changed-step" => world.at(BUILT, |world| {
            install(world, "httpd");
        }),
        // The image that is there serves meanwhile.
        "asked-again" => world.at(BUILT, |world| {
            let asked = json!({"metadata": {"annotations": {"goldsmith.dev/build": "now"}}});
            write(world, "PATCH", WEB, &asked);
        }),
        "adoption" => {
            let again = web.clone();
            world.at(BUILT, |world| write(world, "DELETE", WEB, &Value::Null));
            world.at(SOON_AFTER, move |world| write(world, "POST", RECIPES, &again));
        }
        // The same inputs, another name: what the first has built is not the second's.
        "two-recipes" => {
            let second = recipe("api");
            world.at(BUILT, move |world| write(world, "POST", RECIPES, &second));
        }
        // Most of what a spec may say of machines, steps and image.
        "everything-set" => {
            spec["build"]["builder"]["instanceTypes"] = json!(["m7i.large", "m6i.large"]);
            spec["build"]["builder"]["subnets"] = json!({"tags": {"tier": "build"}});
            spec["build"]["builder"]["instanceProfile"] = "image-builder".into();
            spec["build"]["builder"]["volumes"] = json!([{
                "device": "/dev/sdf", "sizeGiB": 8, "type": "gp3", "iops": 4000, "throughput": 200, "encrypted": true,
            }]);
            spec["build"]["environment"] = json!([{"name": "APP_VERSION", "value": "1.4.2"}]);
            spec["build"]["steps"] = json!([
                {"name": "packages", "run": "dnf -y install nginx"},
                {"name": "page", "file": {"path": "/srv/index.html", "mode": "0644", "owner": "root:root", "content": "hello"}},
                {"name": "enable", "run": "systemctl enable nginx"},
            ]);
            spec["build"]["builder"]["tags"] = json!({"cost-center": "42"});
            spec["test"] =
                json!({"instanceTypes": ["m6i.large"], "checks": [{"name": "nginx", "run": "true", "timeout": "5s"}]});
            spec["image"] = json!({"description": "nginx", "tags": {"team": "web"}, "deregistrationProtection": false});
            web["metadata"]["finalizers"] = json!(["example.com/keep"]);
            web["metadata"]["labels"] = json!({"app": "web"});
        }
        "untested" => spec["test"] = json!({"enabled": false}),
        "source-published" => world.at(BUILT, people::publish_newest),
        "source-ignored" => {
            spec["rebuild"] = json!({"onSourceChange": false});
            world.at(BUILT, people::publish_newest);
        }
        // Longer than what nobody claims is left alone. Its recipe is not the first of those that are listed.
        "long-build" => {
            spec["build"]["steps"] = json!([{"name": "packages", "run": "#sim: after=7m", "timeout": "20m"}]);
            world.apply(&recipe("api"))?;
        }
        // The image that is there is proven again, and none is built.
        "checks-changed" => world.at(BUILT, |world| {
            let test = json!({"checks": [{"name": "nginx", "run": "true", "timeout": "5s"}]});
            edit(world, &json!({"test": test}));
        }),
        "tags-changed" => {
            spec["image"] = json!({"tags": {"team": "web", "tier": "front"}});
            world.at(BUILT, |world| {
                people::tag_images(world);
                let image =
                    json!({"description": "nginx", "tags": {"team": "platform", "tier": null, "stage": "next"}});
                edit(world, &json!({"image": image}));
            });
            // What an edit has put there goes with the next one.
            world.at(SOON_AFTER, |world| {
                edit(world, &json!({"image": {"tags": {"stage": null}}}));
            });
        }
        // Three name what is granted to nobody, the fourth is where nothing is granted.
        "not-granted" => {
            spec["build"]["builder"]["subnets"] = json!({"ids": ["subnet-0c300000000000001"]});
            let mut elsewhere = recipe("api");
            elsewhere["metadata"]["namespace"] = "strangers".into();
            let (mut group, mut profile) = (recipe("group"), recipe("profile"));
            group["spec"]["build"]["builder"]["securityGroupIds"] = json!(["sg-0e300000000000001"]);
            profile["spec"]["build"]["builder"]["instanceProfile"] = "administrator".into();
            for recipe in [elsewhere, group, profile] {
                world.apply(&recipe)?;
            }
        }
        // One build more than is remembered, or two; no image of theirs goes.
        "history" | "kept-history" => {
            spec["historyLimit"] = if story == "history" { 1 } else { 2 }.into();
            for number in 1..=2 {
                world.at(BUILT * number, move |world| {
                    let asked = json!({"metadata": {"annotations": {"goldsmith.dev/build": number.to_string()}}});
                    write(world, "PATCH", WEB, &asked);
                });
            }
        }
        _ => return Err(format!("there is no story {story}; there are {}", STORIES.join(", "))),
    }
    world.apply(&web)
}

/// What kstatus says of a story's recipes at its end, if they are still there, and the reason of `Ready`.
pub fn end(story: &str) -> (&'static str, &'static str) {
    match story {
        "check-fails" => ("Failed", "CheckFailed"),
        "secret-left" => ("Failed", "SecretFound"),
        "boot-error" => ("Failed", "BootErrors"),
        "slow-boot" => ("Failed", "BootDeadlineExceeded"),
        "failing-step" | "tried-anew" => ("Failed", "StepFailed"),
        "hanging-step" | "kernel-panic" => ("Failed", "BuildTimedOut"),
        "untested" => ("Current", "BuiltUntested"),
        "not-granted" => ("Failed", "NotGranted"),
        _ => ("Current", "ImageProven"),
    }
}

/// The reason that `Ready` has to give on the way.
pub fn told(story: &str) -> Option<&'static str> {
    match story {
        "record-edited" | "progress-edited" | "user-data-edited" => Some("RecordUnreadable"),
        _ => None,
    }
}

/// Reasons of the Events that tell of each of a story's recipes when nothing goes wrong, in the order of time.
pub fn events(story: &str) -> &'static str {
    match story {
        "second-attempt" => "BuildStarted AttemptFailed ImageProven LatestChanged BuildSucceeded",
        "check-fails" | "secret-left" | "boot-error" | "slow-boot" | "hanging-step" | "kernel-panic" => {
            "BuildStarted AttemptFailed BuildFailed"
        }
        "failing-step" => "BuildStarted AttemptFailed AttemptFailed BuildFailed",
        "tried-anew" => {
            "BuildStarted AttemptFailed AttemptFailed AttemptFailed BuildFailed \
             BuildStarted AttemptFailed AttemptFailed AttemptFailed BuildFailed"
        }
        "changed-step" | "asked-again" | "source-published" | "verdict-taken" | "verdict-edited" => {
            "BuildStarted ImageProven LatestChanged BuildSucceeded \
             BuildStarted ImageProven LatestChanged BuildSucceeded"
        }
        // Status has been restored as it was before everything.
        "asked-before" => {
            "BuildStarted ImageProven LatestChanged BuildSucceeded \
             BuildStarted ImageProven LatestChanged BuildSucceeded \
             BuildStarted ImageProven LatestChanged BuildSucceeded LatestChanged"
        }
        "history" | "kept-history" | "hash-edited" => {
            "BuildStarted ImageProven LatestChanged BuildSucceeded \
             BuildStarted ImageProven LatestChanged BuildSucceeded \
             BuildStarted ImageProven LatestChanged BuildSucceeded"
        }
        // That of the object of before was told about that.
        "adoption" => "LatestChanged",
        "untested" => "BuildStarted BuildSucceeded",
        "checks-changed" => {
            "BuildStarted ImageProven LatestChanged BuildSucceeded BuildStarted ImageProven BuildSucceeded"
        }
        "tags-changed" => "BuildStarted ImageProven LatestChanged BuildSucceeded TagsChanged",
        "not-granted" => "Refused",
        "record-edited" | "progress-edited" | "user-data-edited" => {
            "BuildStarted Refused BuildStarted ImageProven LatestChanged BuildSucceeded"
        }
        "superseded" => "BuildStarted BuildSuperseded BuildStarted ImageProven LatestChanged BuildSucceeded",
        "corrected" => {
            "BuildStarted AttemptFailed BuildSuperseded BuildStarted ImageProven LatestChanged BuildSucceeded"
        }
        _ => "BuildStarted ImageProven LatestChanged BuildSucceeded",
    }
}

/// An attempt is lost with each of these.
pub const COSTLY: [Fault; 7] = [
    Fault::Away,
    Fault::ImageFailed,
    Fault::ImageErrored,
    Fault::VolumeStuck,
    Fault::ConsoleSilent,
    Fault::InstancesTerminated,
    Fault::ImagesDeregistered,
];
/// The story with attempts to lose, in which none fails by itself.
pub const NOTHING_FAILS: &str = "three-attempts";

const WATCHES: [Fault; 3] = [Fault::WatchDelayed, Fault::WatchCoalesced, Fault::WatchExpired];

/// What may go wrong in `story` without leading to another end; unless `thorough`, as much as there is time for: where the controller's
/// own machinery is the same in every story, one story is enough.
pub fn faults(story: &str, thorough: bool) -> Vec<Fault> {
    const FEW: usize = 2;
    const OTHERS: [Fault; 8] = [
        Fault::DiesUnseen,
        Fault::AnswerLost,
        Fault::DiesAfter,
        Fault::StatusEmptied,
        Fault::ArrivesLate,
        Fault::WatchExpired,
        Fault::OlderByOne,
        Fault::DiesBefore,
    ];
    match (story, thorough) {
        (NOTHING_FAILS, _) => COSTLY.into(),
        ("changed-step" | "adoption" | "tags-changed", false) => {
            [Fault::DiesUnseen].into_iter().chain(WATCHES).collect()
        }
        ("slow-boot" | "kernel-panic" | "untested" | "history" | "checks-changed" | "record-edited", false) => {
            [Fault::DiesUnseen].into()
        }
        ("long-build", false) => [Fault::Unavailable, Fault::CallUnavailable].into(),
        (
            "verdict-taken" | "corrected" | "verdict-back" | "two-recipes" | "source-published" | "key-rotated"
            | "source-ignored" | "not-granted" | "progress-edited" | "user-data-edited" | "record-copied"
            | "record-replaced" | "verdict-edited" | "hash-edited" | "kept-history" | "tried-anew" | "asked-before"
            | "resumed",
            false,
        ) => Vec::new(),
        // An old view of what is gone: nothing has to be made of it.
        ("deleted", false) => OTHERS
            .into_iter()
            .take(FEW)
            .chain([Fault::CallUnavailable, Fault::Frozen])
            .collect(),
        ("deleted-without-image", false) => [Fault::CallUnavailable].into(),
        ("deleted-late", false) => OTHERS.into_iter().take(FEW).chain([Fault::CallUnavailable]).collect(),
        // Long enough for a Lease to run out in the middle.
        ("superseded", false) => [Fault::DiesUnseen, Fault::LeaseUnavailable].into(),
        ("two-replicas", false) => [Fault::Stopped].into(),
        ("two-replicas", true) => [Fault::Stopped, Fault::LeaseUnavailable].into(),
        ("everything-set", false) => [Fault::DiesUnseen, Fault::NoCapacity].into(),
        ("failing-step", false) => {
            let more = [Fault::Suspended, Fault::StatusEmptied];
            OTHERS.into_iter().take(FEW).chain(more).collect()
        }
        ("second-attempt", false) => {
            let more = [Fault::StatusSetBack, Fault::StatusSetFarBack];
            OTHERS.into_iter().take(FEW).chain(more).collect()
        }
        ("asked-again", false) => [Fault::DiesUnseen].into(),
        ("proven-image", _) => Fault::ALL.into_iter().filter(|fault| !COSTLY.contains(fault)).collect(),
        (_, true) => OTHERS.into(),
        (_, false) => OTHERS.into_iter().take(FEW).collect(),
    }
}

/// What has been there for so long is shown: it does not count as too young when it is not.
const LONG_AT_WORK: SignedDuration = SignedDuration::from_mins(6);
/// In which everything is read once.
const A_LOOK: SignedDuration = SignedDuration::from_secs(5);

/// Reads that come later after the last change repeat those before them: everybody waits.
const WAITING: SignedDuration = SignedDuration::from_secs(5);

/// Whether faults strike that request of `story`, `quiet` so long after the last change: all of `proven-image`, of others no reads while
/// everybody waits; and of a long one only those with which a sweep begins and, where `thorough`, those that change something. Watches are
/// struck where people write.
pub fn is_struck(story: &str, fault: Fault, thorough: bool, step: &Step, quiet: SignedDuration) -> bool {
    let of_watches = WATCHES.contains(&fault);
    match story {
        "proven-image" => true,
        _ if of_watches && !thorough => step.people,
        // Of what nothing else tells that it is there.
        "deleted-without-image" if !thorough => step.request == "DescribeSnapshots",
        "long-build" if fault == Fault::CallUnavailable => {
            let look = BEGAN + LONG_AT_WORK..BEGAN + LONG_AT_WORK + A_LOOK;
            step.peer == Peer::Aws && look.contains(&step.time)
        }
        "long-build" => step.request == format!("GET {ALL_RECIPES}") || thorough && step.mutates,
        _ => step.mutates || step.people || quiet <= WAITING,
    }
}

/// A recipe that is built in a few minutes, of which the first failure would be the last.
pub fn recipe(name: &str) -> Value {
    json!({
        "apiVersion": "goldsmith.dev/v1alpha1",
        "kind": "ImageRecipe",
        "metadata": {"name": name, "namespace": "platform"},
        "spec": {
            "region": "eu-central-1",
            "failureLimit": 1,
            "build": {
                "source": {"search": {"owners": ["amazon"], "name": "al2023-ami-2023.*-{{arch}}"}},
                "builder": {
                    "instanceTypes": ["m7i.large"],
                    "subnets": {"ids": ["subnet-0a100000000000001"]},
                    "securityGroupIds": ["sg-0d200000000000001"],
                },
                "steps": [{"name": "packages", "run": "dnf -y install nginx"}],
            },
        },
    })
}

/// What someone other than the controller writes, whatever is there now; what is gone is not written.
pub fn write(world: &World, method: &str, path: &str, body: &Value) {
    let request = Request {
        method: method.into(),
        path: path.into(),
        query: String::new(),
        accept: String::new(),
        content_type: "application/merge-patch+json".into(),
        body: body.to_string().into_bytes(),
    };
    let now = world.now();
    let mut state = world.state();
    state.active = now;
    match state.api.handle(now, &request) {
        Answer::Value(404, _) => {}
        Answer::Value(code @ 400.., why) => state
            .wrong
            .push(format!("{method} {path} is refused with {code}: {why}").into()),
        _ => {}
    }
}

/// Has the user change the spec.
fn edit(world: &World, spec: &Value) {
    write(world, "PATCH", WEB, &json!({"spec": spec}));
}

/// Has the user install something else.
fn install(world: &World, package: &str) {
    let steps = json!([{"name": "packages", "run": format!("dnf -y install {package}")}]);
    edit(world, &json!({"build": {"steps": steps}}));
}

/// Has the user suspend the recipe, or go on.
pub fn suspend(world: &World, suspend: bool) {
    edit(world, &json!({"suspend": suspend}));
}
