//! What an image is made from changes, or is given in full.

use serde_json::{Value, json};

use super::{
    AT_WORK, BUILD, BUILT, PROOF, SERVES, Story, UNSEEN_AND_WATCHES, WEB, also, ask, edit, install, recipe, runs,
    suspend, write,
};
use crate::people;
use crate::plan::Fault;

pub const STORIES: &[Story] = &[
    Story {
        name: "changed-step",
        begin: |world, _| world.at(BUILT, |world| install(world, "httpd")),
        events: &[BUILD, BUILD],
        faults: &UNSEEN_AND_WATCHES,
        ..SERVES
    },
    // What steps see changes, and is taken back: the image of before is there still.
    Story {
        name: "taken-back",
        begin: |world, web| {
            let environment = |version: &str| json!([{"name": "APP_VERSION", "value": version}]);
            web["spec"]["build"]["environment"] = environment("1.4.2");
            world.at(BUILT, move |world| {
                edit(world, &json!({"build": {"environment": environment("1.4.3")}}));
            });
            world.at(BUILT * 2, move |world| {
                edit(world, &json!({"build": {"environment": environment("1.4.2")}}));
            });
        },
        events: &[BUILD, BUILD, "LatestChanged"],
        ..SERVES
    },
    // Which is no newer source, but another one.
    Story {
        name: "another-id",
        begin: |world, web| {
            let [older, newer] = people::two_sources(world);
            web["spec"]["rebuild"] = json!({"onSourceChange": false});
            web["spec"]["build"]["source"] = json!({"ids": {"x86_64": older}});
            world.at(BUILT, move |world| {
                edit(world, &json!({"build": {"source": {"ids": {"x86_64": newer}}}}));
            });
        },
        events: &[BUILD, BUILD],
        ..SERVES
    },
    // While the builder is at work, and for longer than a pass may not know of it. No more builds are remembered than one.
    Story {
        name: "superseded",
        begin: |world, web| {
            web["spec"]["historyLimit"] = 1.into();
            web["spec"]["build"]["steps"] = runs("#sim: after=4m");
            world.at(AT_WORK, |world| install(world, "nginx"));
        },
        events: &["BuildStarted BuildSuperseded", BUILD],
        // Long enough for a Lease to run out in the middle.
        faults: &[Fault::DiesUnseen, Fault::LeaseUnavailable],
        ..SERVES
    },
    // The image that is there serves meanwhile.
    Story {
        name: "asked-again",
        begin: |world, _| world.at(BUILT, |world| ask(world, "now")),
        events: &[BUILD, BUILD],
        faults: &[Fault::DiesUnseen],
        ..SERVES
    },
    // Of what was asked for before the last build nothing is remembered but that it was done.
    Story {
        name: "asked-before",
        begin: |world, web| {
            web["spec"]["historyLimit"] = 1.into();
            world.at(BUILT, |world| {
                let asked = json!({"goldsmith.dev/build": "now", "goldsmith.dev/reconcile": "now"});
                write(world, "PATCH", WEB, &json!({"metadata": {"annotations": asked}}));
            });
            world.at(BUILT * 2, |world| {
                let unasked = json!({"annotations": {"goldsmith.dev/build": null}});
                let spec = json!({"build": {"steps": runs("dnf -y install httpd")}});
                write(world, "PATCH", WEB, &json!({"metadata": unasked, "spec": spec}));
            });
            // Who syncs it from a repository asks again for what was done.
            world.at(BUILT * 3, |world| {
                // And has restored the object without its status.
                let kind = json!({"apiVersion": "goldsmith.dev/v1alpha1", "kind": "ImageRecipe", "status": null});
                write(world, "PUT", &format!("{WEB}/status"), &kind);
                ask(world, "now");
            });
        },
        // Status has been restored as it was before everything.
        events: &[BUILD, BUILD, BUILD, "LatestChanged"],
        ..SERVES
    },
    // Most of what a spec may say of machines, steps and image.
    Story {
        name: "everything-set",
        begin: |_, web| set_everything(web),
        faults: &[Fault::DiesUnseen, Fault::NoCapacity],
        ..SERVES
    },
    Story {
        name: "source-published",
        begin: |world, _| world.at(BUILT, people::publish_newest),
        events: &[BUILD, BUILD],
        ..SERVES
    },
    // The image that serves is proven again as what it is: made from the source of before.
    Story {
        name: "source-ignored",
        begin: |world, web| {
            web["spec"]["rebuild"] = json!({"onSourceChange": false});
            world.at(BUILT, people::publish_newest);
            world.at(BUILT * 2, |world| edit(world, &json!({"test": {"bootErrors": "Warn"}})));
        },
        events: &[BUILD, PROOF],
        ..SERVES
    },
    // What is in hand is finished all the same; what is new is built once the user goes on.
    Story {
        name: "suspended-edited",
        begin: |world, web| {
            web["spec"]["build"]["steps"] = runs("#sim: after=2m");
            world.at(AT_WORK, |world| {
                edit(
                    world,
                    &json!({"suspend": true, "build": {"steps": runs("dnf -y install httpd")}}),
                );
            });
            world.at(BUILT * 3, |world| suspend(world, false));
        },
        events: &[BUILD, BUILD],
        ..SERVES
    },
    // Three name what is granted to nobody, the fourth is where nothing is granted.
    Story {
        name: "not-granted",
        begin: |world, web| {
            web["spec"]["build"]["builder"]["subnets"] = json!({"ids": ["subnet-0c300000000000001"]});
            let mut elsewhere = recipe("api");
            elsewhere["metadata"]["namespace"] = "strangers".into();
            let (mut group, mut profile) = (recipe("group"), recipe("profile"));
            group["spec"]["build"]["builder"]["securityGroupIds"] = json!(["sg-0e300000000000001"]);
            profile["spec"]["build"]["builder"]["instanceProfile"] = "administrator".into();
            for recipe in [elsewhere, group, profile] {
                also(world, &recipe);
            }
        },
        end: ("Failed", "NotGranted"),
        events: &["Refused"],
        ..SERVES
    },
];

fn set_everything(web: &mut Value) {
    let spec = &mut web["spec"];
    spec["build"]["builder"]["instanceTypes"] = json!(["m7i.large", "m6i.large"]);
    spec["build"]["builder"]["subnets"] = json!({"tags": {"tier": "build"}});
    spec["build"]["builder"]["instanceProfile"] = "image-builder".into();
    spec["build"]["builder"]["volumes"] = json!([{
        "device": "/dev/sdf", "sizeGiB": 8, "type": "gp3", "iops": 4000, "throughput": 200, "encrypted": true,
    }]);
    spec["build"]["environment"] = json!([{"name": "APP_VERSION", "value": "1.4.2"}]);
    spec["build"]["steps"] = json!([
        {"name": "packages", "run": "dnf -y install nginx"},
        {"name": "page", "file": {"path": "/srv/index.html", "mode": "0600", "owner": "root:adm", "content": "hello"}},
        {"name": "enable", "run": "systemctl enable nginx"},
    ]);
    spec["build"]["builder"]["tags"] = json!({"cost-center": "42"});
    let checks = json!([{"name": "nginx", "run": "true", "timeout": "5s"}]);
    spec["test"] = json!({"instanceTypes": ["m6i.large"], "checks": checks});
    spec["image"] = json!({"description": "nginx", "tags": {"team": "web"}, "deregistrationProtection": false});
    web["metadata"]["finalizers"] = json!(["example.com/keep"]);
    web["metadata"]["labels"] = json!({"app": "web"});
}
