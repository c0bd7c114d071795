//! A recipe's life: what is changed in place and what is built anew, what is asked for, and what becomes of its images.

use std::process::ExitCode;
use std::time::Duration;

use goldsmith::api::{BuildResult, HistoryEntry, Phase};
use goldsmith_lab::{Options, until};
use serde_json::{Value, json};
use stage::{PATIENCE, Recipe, Stage, long_step, spec, stories, with};

/// How soon a newer source image is noticed.
const NOTICED: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    stage::tell(
        &Options::default(),
        stories![
            // The longest first.
            a_newer_source_is_built_within_a_minute_unless_the_recipe_says_not_to,
            history_is_kept_as_long_as_it_is_asked_for,
            a_suspended_recipe_starts_nothing_and_finishes_what_runs,
            tags_and_description_are_changed_in_place,
            a_changed_step_is_built_and_a_reverted_one_adopted,
            a_request_is_carried_out_once,
            a_change_in_the_middle_of_a_build_abandons_it,
            a_failed_build_is_tried_again_once_the_spec_has_changed,
            a_deleted_recipe_leaves_its_proven_image_and_finds_it_when_it_is_made_again,
            deleted_while_it_builds_it_leaves_nothing,
            deleted_while_ec2_makes_the_image_it_leaves_nothing,
            deleted_while_it_is_proven_it_leaves_nothing,
            a_status_that_is_lost_while_it_builds_is_made_anew,
            a_status_that_is_lost_while_it_is_proven_is_made_anew,
            without_a_test_the_image_is_kept_and_never_latest_until_it_is_proven,
            kubectl_shows_how_it_is_and_what_happened,
        ],
    )
}

fn step(run: &str) -> Value {
    json!({"spec": {"build": {"steps": [{"name": "packages", "run": run}]}}})
}

fn results(recipe: &Recipe) -> Vec<(i64, BuildResult, String)> {
    let entry = |entry: HistoryEntry| (entry.build, entry.result, entry.reason);
    recipe.status().history.into_iter().map(entry).collect()
}

fn wait_phase(stage: &Stage, name: &str, phase: Phase) -> Recipe {
    stage.wait(name, &format!("{phase:?}"), |recipe| recipe.phase() == Some(phase))
}

fn tags_and_description_are_changed_in_place(stage: &Stage) {
    let image = json!({"description": "nginx", "tags": {"team": "platform", "stage": "test"}});
    stage.apply("tags", with(spec(), &json!({"image": image})));
    let before = stage.wait_ready("tags");
    let id = before.latest_image().expect("an image");
    let foreign = [
        "ec2",
        "create-tags",
        "--resources",
        &id,
        "--tags",
        "Key=audited,Value=yes",
    ];
    stage.lab.aws(&foreign).expect("a tag of someone else's");

    let image = json!({"description": "nginx, tuned", "tags": {"team": "web", "stage": null, "tier": "front"}});
    stage.change("tags", &json!({"spec": {"image": image}}));
    until(PATIENCE, || {
        let inventory = stage.inventory("tags");
        let tag = |key: &str| {
            let things = inventory.images.iter().chain(&inventory.snapshots);
            things
                .map(|thing| thing.tags.get(key).cloned().unwrap_or_default())
                .collect::<Vec<_>>()
        };
        let tags = [tag("team"), tag("tier"), tag("stage")];
        let wanted = ["web", "front", ""].map(|value| vec![value.to_owned(); 2]);
        if tags == wanted { Ok(()) } else { Err(tags) }
    })
    .expect("new tags on the image and its snapshot, and the old one gone");
    let after = stage.wait_ready("tags");
    let image = stage.image(&id);
    assert_eq!(image["Description"], "nginx, tuned");
    let audited = json!({"Key": "audited", "Value": "yes"});
    assert!(
        image["Tags"].as_array().expect("tags").contains(&audited),
        "others' tags are theirs"
    );
    assert_eq!(after.latest_image(), Some(id));
    assert_eq!(after.status().content_hash, before.status().content_hash);
    assert_eq!(stage.launches("tags", "builder"), 1);
    stage.at_rest("tags", 1);
}

fn a_changed_step_is_built_and_a_reverted_one_adopted(stage: &Stage) {
    stage.apply("step", with(spec(), &step("dnf -y install nginx")["spec"]));
    let first = stage.wait_ready("step");
    stage.change("step", &step("dnf -y install nginx-mainline"));
    let building = stage.wait("step", "building", |recipe| recipe.status().build.is_some());
    let build = building.status().build.expect("a build");
    assert_eq!((build.number, build.reason.as_str()), (2, "SpecChanged"));
    assert_eq!(build.changed, ["step packages"], "status says which input changed");
    let second = stage.wait_ready("step");
    assert_eq!(second.latest_build(), Some(2));
    assert_ne!(second.status().content_hash, first.status().content_hash);

    stage.change("step", &step("dnf -y install nginx"));
    let reverted = stage.wait_ready("step");
    assert_eq!(
        reverted.latest_image(),
        first.latest_image(),
        "the older image is adopted"
    );
    assert_eq!(reverted.latest_build(), Some(1));
    assert_eq!(stage.launches("step", "builder"), 2);
    stage.at_rest("step", 2);
}

fn a_request_is_carried_out_once(stage: &Stage) {
    stage.apply("request", spec());
    stage.wait_ready("request");
    stage.request("request", "build", "2026-11-23");
    let built = stage.wait("request", "built again", |recipe| {
        recipe.latest_build() == Some(2) && recipe.status().build.is_none()
    });
    let requested = (2, BuildResult::Succeeded, "Requested".to_owned());
    assert_eq!(results(&built)[0], requested);
    assert_eq!(
        built.status().handled_requests.get("build").map(String::as_str),
        Some("2026-11-23")
    );

    stage.request("request", "reconcile", "look");
    let looked = stage.wait("request", "looked at", |recipe| {
        recipe
            .status()
            .handled_requests
            .get("reconcile")
            .is_some_and(|token| token == "look")
    });
    assert!(
        looked.is_ready() && looked.status().build.is_none(),
        "the same token asks for nothing"
    );
    assert_eq!(stage.launches("request", "builder"), 2);
    stage.at_rest("request", 2);
}

fn a_suspended_recipe_starts_nothing_and_finishes_what_runs(stage: &Stage) {
    stage.apply("suspend", with(with(spec(), &long_step()), &json!({"suspend": true})));
    let suspended = stage.wait("suspend", "looked at", Recipe::is_current);
    assert_eq!(suspended.status().build, None);
    assert!(suspended.status().content_hash.is_some(), "status is still written");
    assert_eq!(stage.launches("suspend", "builder"), 0);

    stage.change("suspend", &json!({"spec": {"suspend": false}}));
    wait_phase(stage, "suspend", Phase::Building);
    stage.change("suspend", &json!({"spec": {"suspend": true}}));
    stage.wait("suspend", "finished", |recipe| {
        recipe.latest_build() == Some(1) && recipe.status().build.is_none()
    });
    stage.change("suspend", &step("dnf -y install nginx-mainline"));
    stage.wait("suspend", "looked at", Recipe::is_current);
    stage.at_rest("suspend", 1);

    stage.change("suspend", &json!({"spec": {"suspend": false}}));
    stage.wait("suspend", "built again", |recipe| {
        recipe.latest_build() == Some(2) && recipe.is_ready()
    });
    stage.at_rest("suspend", 2);
}

fn a_newer_source_is_built_within_a_minute_unless_the_recipe_says_not_to(stage: &Stage) {
    let publish = |version: &str| {
        let answer = stage.simulate(
            "images",
            &json!({"region": "eu-central-1", "name": format!("golden-{version}")}),
        );
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        answer["imageId"].as_str().expect("an image id").to_owned()
    };
    let source = json!({"build": {"source": {"search": {"owners": ["amazon"], "name": "golden-*"}}}});
    let old = publish("1");
    stage.apply("follows", with(spec(), &source));
    stage.apply(
        "stays",
        with(with(spec(), &source), &json!({"rebuild": {"onSourceChange": false}})),
    );
    for name in ["follows", "stays"] {
        assert_eq!(stage.wait_ready(name).status().source["x86_64"].image_id, old);
    }
    let new = publish("2");
    let building = until(NOTICED, || {
        let recipe = stage.recipe("follows");
        recipe.status().build.ok_or_else(|| Box::new(recipe.0.status))
    });
    let build = building.expect("a build within a minute");
    assert_eq!(
        (build.reason.as_str(), build.changed),
        ("SourceChanged", vec!["source".to_owned()])
    );
    assert!(
        stage.recipe("follows").is_ready(),
        "the image that is there is still good"
    );
    let follows = stage.wait("follows", "built again", |recipe| {
        recipe.latest_build() == Some(2) && recipe.status().build.is_none()
    });
    assert_eq!(follows.status().source["x86_64"].image_id, new);

    stage.request("stays", "reconcile", "now");
    let stays = stage.wait("stays", "looked at", |recipe| {
        recipe.status().handled_requests.contains_key("reconcile")
    });
    assert_eq!((stays.latest_build(), stays.status().build), (Some(1), None));
    assert!(stays.is_ready());
    assert_eq!(stays.status().source["x86_64"].image_id, new, "noticed all the same");
    stage.at_rest("follows", 2);
    stage.at_rest("stays", 1);
}

fn a_change_in_the_middle_of_a_build_abandons_it(stage: &Stage) {
    stage.apply("superseded", with(spec(), &long_step()));
    wait_phase(stage, "superseded", Phase::Building);
    stage.change("superseded", &step("dnf -y install nginx-mainline"));
    let recipe = stage.wait_ready("superseded");
    let results: Vec<_> = results(&recipe)
        .into_iter()
        .map(|(build, result, _)| (build, result))
        .collect();
    assert_eq!(results, [(2, BuildResult::Succeeded), (1, BuildResult::Superseded)]);
    stage.at_rest("superseded", 1);
}

fn a_failed_build_is_tried_again_once_the_spec_has_changed(stage: &Stage) {
    stage.apply("mended", with(spec(), &step("false\n#sim: exit=1")["spec"]));
    stage.wait_stalled("mended", "StepFailed");
    stage.request("mended", "reconcile", "again");
    let still = stage.wait("mended", "looked at", |recipe| {
        recipe.status().handled_requests.contains_key("reconcile")
    });
    assert!(
        still.is_stalled() && still.status().build.is_none(),
        "what has failed is not tried again by itself"
    );
    stage.change("mended", &step("true"));
    let mended = stage.wait_ready("mended");
    assert_eq!(mended.latest_build(), Some(2));
    stage.at_rest("mended", 1);
}

fn records(stage: &Stage, name: &str) -> Vec<String> {
    let selector = format!("--selector=goldsmith.dev/recipe={name}");
    let names = stage.kubectl(&["get", "configmaps", "--output=name", &selector]);
    names
        .lines()
        .map(|name| name.trim_start_matches("configmap/").to_owned())
        .collect()
}

fn a_deleted_recipe_leaves_its_proven_image_and_finds_it_when_it_is_made_again(stage: &Stage) {
    stage.apply("deleted", spec());
    let before = stage.wait_ready("deleted");
    stage.delete("deleted");
    assert_eq!(records(stage, "deleted"), Vec::<String>::new());
    stage.at_rest("deleted", 1);

    stage.apply("deleted", spec());
    let again = stage.wait_ready("deleted");
    assert_ne!(again.0.metadata.uid, before.0.metadata.uid);
    assert_eq!(again.latest_image(), before.latest_image());
    stage.change("deleted", &step("dnf -y install nginx-mainline"));
    let next = stage.wait_ready("deleted");
    assert_eq!(next.latest_build(), Some(2), "no number is used twice");
    assert_eq!(stage.launches("deleted", "builder"), 2);
    stage.at_rest("deleted", 2);
}

fn deleted_in(stage: &Stage, name: &str, phase: Phase) {
    stage.apply(name, with(spec(), &long_step()));
    wait_phase(stage, name, phase);
    stage.delete(name);
    assert_eq!(records(stage, name), Vec::<String>::new());
    stage.at_rest(name, 0);
}

fn deleted_while_it_builds_it_leaves_nothing(stage: &Stage) {
    deleted_in(stage, "deleted-in-building", Phase::Building);
}

fn deleted_while_ec2_makes_the_image_it_leaves_nothing(stage: &Stage) {
    deleted_in(stage, "deleted-in-imaging", Phase::Imaging);
}

fn deleted_while_it_is_proven_it_leaves_nothing(stage: &Stage) {
    deleted_in(stage, "deleted-in-proving", Phase::Proving);
}

fn status_is_lost_in(stage: &Stage, name: &str, phase: Phase) {
    stage.apply(name, with(spec(), &long_step()));
    wait_phase(stage, name, phase);
    let patch = r#"--patch=[{"op": "remove", "path": "/status"}]"#;
    stage.kubectl(&[
        "patch",
        "imagerecipe",
        name,
        "--subresource=status",
        "--type=json",
        patch,
    ]);
    let recipe = stage.wait_ready(name);
    assert_eq!(recipe.latest_build(), Some(1));
    assert_eq!(results(&recipe), [(1, BuildResult::Succeeded, "FirstBuild".to_owned())]);
    for role in ["builder", "test", "inspector"] {
        assert_eq!(stage.launches(name, role), 1, "{role}");
    }
    stage.at_rest(name, 1);
}

fn a_status_that_is_lost_while_it_builds_is_made_anew(stage: &Stage) {
    status_is_lost_in(stage, "lost-in-building", Phase::Building);
}

fn a_status_that_is_lost_while_it_is_proven_is_made_anew(stage: &Stage) {
    status_is_lost_in(stage, "lost-in-proving", Phase::Proving);
}

fn without_a_test_the_image_is_kept_and_never_latest_until_it_is_proven(stage: &Stage) {
    stage.apply("untested", with(spec(), &json!({"test": {"enabled": false}})));
    let untested = stage.wait_ready("untested");
    assert_eq!(
        (untested.reason().as_str(), untested.latest_image()),
        ("BuiltUntested", None)
    );
    assert_eq!(stage.launches("untested", "test"), 0);
    stage.at_rest("untested", 1);
    let image = &stage.inventory("untested").images[0];
    assert!(!image.tags.contains_key("goldsmith.dev/proven"), "{image:?}");

    stage.change("untested", &json!({"spec": {"test": {"enabled": true}}}));
    let proven = stage.wait_ready("untested");
    assert_eq!(
        proven.latest_image().as_ref(),
        Some(&image.id),
        "the image that was there is proven"
    );
    assert_eq!(stage.launches("untested", "builder"), 1);
    stage.at_rest("untested", 1);
}

fn history_is_kept_as_long_as_it_is_asked_for(stage: &Stage) {
    stage.apply("history", with(spec(), &json!({"historyLimit": 2})));
    stage.wait_ready("history");
    for build in 2..=4 {
        stage.request("history", "build", &format!("build-{build}"));
        stage.wait("history", "built again", |recipe| {
            recipe.latest_build() == Some(build) && recipe.status().build.is_none()
        });
    }
    until(PATIENCE, || match records(stage, "history") {
        kept if kept == ["history-build-3", "history-build-4"] => Ok(()),
        kept => Err(kept),
    })
    .expect("the two newest records");
    let builds: Vec<i64> = results(&stage.recipe("history"))
        .into_iter()
        .map(|(build, ..)| build)
        .collect();
    assert_eq!(builds, [4, 3]);
    stage.at_rest("history", 4);
}

fn kubectl_shows_how_it_is_and_what_happened(stage: &Stage) {
    stage.apply(
        "shown",
        with(spec(), &step("dnf -y install nginx\n#sim: print=Complete!")["spec"]),
    );
    let recipe = stage.wait_ready("shown");
    let image = recipe.latest_image().expect("an image");
    let row = stage.kubectl(&["get", "imgrecipe", "shown", "--no-headers"]);
    let columns: Vec<&str> = row.split_whitespace().collect();
    let name = recipe.status().latest.expect("latest").name;
    assert_eq!(columns[..5], ["shown", "True", "ImageProven", &name, &image], "{row}");
    let wide = stage.kubectl(&["get", "goldsmith", "--output=wide"]);
    let row = wide
        .lines()
        .find(|row| row.starts_with("shown "))
        .expect("a row by the category");
    for shown in ["eu-central-1", "ami-0a200300000000001", "is proven"] {
        assert!(row.contains(shown), "{shown:?} is not in {row:?}");
    }

    let events = stage.kubectl(&[
        "get",
        "events",
        "--field-selector=involvedObject.name=shown",
        "--output=json",
    ]);
    let events: Value = serde_json::from_str(&events).expect("JSON");
    let events = events["items"].as_array().expect("a list");
    for reason in ["BuildStarted", "ImageProven", "BuildSucceeded", "LatestChanged"] {
        let told = events.iter().filter(|event| event["reason"] == reason).count();
        assert_eq!(told, 1, "{reason} is told once: {events:#?}");
    }
    let described = stage.kubectl(&["describe", "imagerecipe", "shown"]);
    assert!(described.contains("BuildSucceeded"), "{described}");

    let output = "--output=jsonpath={.data.output\\.1-packages}";
    assert_eq!(
        stage.kubectl(&["get", "configmap", "shown-build-1", output]).trim(),
        "Complete!"
    );
    stage.at_rest("shown", 1);
}
