//! Builders and test instances that misbehave: each ends in the right condition or in an image, never in a stuck recipe.

use std::process::ExitCode;

use goldsmith_lab::Options;
use serde_json::{Value, json};
use stage::{Recipe, Stage, fails, spec, stories, succeeds, with};

fn main() -> ExitCode {
    stage::tell(
        &Options::default(),
        stories![
            // The longest first.
            an_attempt_that_fails_is_followed_by_one_that_succeeds,
            without_any_capacity_it_waits_and_says_so,
            a_builder_that_dies_is_told_with_its_step,
            a_builder_that_hangs_is_ended_by_its_own_timer,
            a_step_that_hangs_fails_when_its_time_is_over,
            a_step_that_fails_at_first_is_tried_again,
            a_step_that_always_fails_is_told_with_its_tries_and_output,
            garbage_on_the_console_is_not_taken_for_progress,
            noise_on_the_console_hides_no_success,
            noise_on_the_console_hides_no_failure,
            without_a_console_the_manifest_on_the_disk_decides,
            without_a_console_a_failed_build_is_never_proven,
            a_console_that_ends_in_the_middle_is_judged_by_its_disk,
            a_builder_that_someone_terminates_is_told,
            a_builder_that_someone_stops_makes_no_image,
            without_capacity_the_next_type_and_subnet_are_tried,
            a_secret_that_was_left_is_found_and_the_image_removed,
            a_check_that_fails_is_told_and_the_image_removed,
            a_check_that_hangs_fails_when_its_time_is_over,
            a_test_instance_that_dies_fails_the_proof,
            a_test_instance_without_a_console_fails_the_proof,
            an_image_that_boots_too_slowly_is_not_proven,
            an_image_that_boots_with_errors_is_not_proven,
            boot_errors_that_may_be_are_told_as_warnings,
            volumes_are_as_they_were_asked_for,
        ],
    )
}

/// Applies a recipe whose one step does what the instructions say.
fn build(stage: &Stage, name: &str, instructions: &str, change: &Value) {
    let steps = json!([{"name": "packages", "run": format!("dnf -y install nginx\n#sim: {instructions}")}]);
    stage.apply(name, with(with(spec(), &json!({"build": {"steps": steps}})), change));
}

/// A check that does what the instructions say, for two seconds.
fn check(instructions: &str) -> Value {
    let run = format!("systemctl is-active nginx\n#sim: {instructions}");
    json!({"test": {"bootDeadline": "10s", "checks": [{"name": "active", "run": run, "timeout": "2s"}]}})
}

fn a_builder_that_dies_is_told_with_its_step(stage: &Stage) {
    build(stage, "dies", "die", &json!({}));
    fails(
        stage,
        "dies",
        "ManifestMissing",
        &["step packages", "must not shut the machine down"],
    );
}

fn a_builder_that_hangs_is_ended_by_its_own_timer(stage: &Stage) {
    build(
        stage,
        "hangs",
        "hang",
        &json!({"build": {"builder": {"timeout": "10s"}}}),
    );
    fails(
        stage,
        "hangs",
        "BuildTimedOut",
        &["step packages", "spec.build.builder.timeout (10s)"],
    );
}

fn a_step_that_hangs_fails_when_its_time_is_over(stage: &Stage) {
    let steps = json!([{"name": "packages", "run": "sleep infinity\n#sim: hang", "timeout": "2s"}]);
    stage.apply("step-hangs", with(spec(), &json!({"build": {"steps": steps}})));
    fails(
        stage,
        "step-hangs",
        "StepFailed",
        &["step packages took longer than its timeout"],
    );
}

fn a_step_that_fails_at_first_is_tried_again(stage: &Stage) {
    let steps = json!([{"name": "packages", "run": "dnf -y install nginx\n#sim: fail-times=2", "retries": 2}]);
    stage.apply("retries", with(spec(), &json!({"build": {"steps": steps}})));
    succeeds(stage, "retries");
}

fn a_step_that_always_fails_is_told_with_its_tries_and_output(stage: &Stage) {
    let run = "dnf -y install nginx\n#sim: exit=7\n#sim: print=no package nginx";
    let steps = json!([{"name": "first", "run": "true"}, {"name": "packages", "run": run, "retries": 1}]);
    stage.apply("retries-in-vain", with(spec(), &json!({"build": {"steps": steps}})));
    let words = [
        "step packages failed with exit status 7 in each of 2 tries",
        "no package nginx",
    ];
    fails(stage, "retries-in-vain", "StepFailed", &words);
}

fn garbage_on_the_console_is_not_taken_for_progress(stage: &Stage) {
    build(stage, "garbage", "garbage", &json!({}));
    succeeds(stage, "garbage");
}

fn noise_on_the_console_hides_no_success(stage: &Stage) {
    build(stage, "noise", "noise", &json!({}));
    succeeds(stage, "noise");
}

fn noise_on_the_console_hides_no_failure(stage: &Stage) {
    build(stage, "noise-and-failure", "noise exit=3", &json!({}));
    fails(
        stage,
        "noise-and-failure",
        "StepFailed",
        &["step packages failed with exit status 3"],
    );
}

/// Nothing of the recipe's builders ever reaches the console.
fn mute(stage: &Stage, name: &str) {
    let builders = json!({"goldsmith.dev/owner": format!("platform/{name}"), "goldsmith.dev/role": "builder"});
    stage.simulate("guests", &json!({"tags": builders, "instructions": ["no-console"]}));
}

fn without_a_console_the_manifest_on_the_disk_decides(stage: &Stage) {
    mute(stage, "no-console");
    build(stage, "no-console", "after=1s", &json!({}));
    succeeds(stage, "no-console");
}

fn without_a_console_a_failed_build_is_never_proven(stage: &Stage) {
    mute(stage, "no-console-and-failure");
    build(stage, "no-console-and-failure", "exit=1", &json!({}));
    fails(
        stage,
        "no-console-and-failure",
        "ManifestMissing",
        &["/etc/goldsmith/image.json"],
    );
}

fn a_console_that_ends_in_the_middle_is_judged_by_its_disk(stage: &Stage) {
    build(stage, "console-ends", "no-console", &json!({}));
    succeeds(stage, "console-ends");
}

fn an_attempt_that_fails_is_followed_by_one_that_succeeds(stage: &Stage) {
    let first = json!({"goldsmith.dev/owner": "platform/attempts", "goldsmith.dev/attempt": "1"});
    stage.simulate("guests", &json!({"tags": first, "instructions": ["packages: exit=1"]}));
    stage.apply("attempts", with(spec(), &json!({"failureLimit": 2})));
    let failed = stage.wait("attempts", "after its first attempt", |recipe| {
        recipe.reason() == "StepFailed"
    });
    assert!(failed.message().contains("step packages"), "{}", failed.message());
    assert!(!failed.is_stalled(), "it will try again");
    let recipe = stage.wait_ready("attempts");
    assert_eq!(recipe.status().history[0].attempts, 2);
    assert_eq!(stage.launches("attempts", "builder"), 2, "one for each attempt");
    stage.at_rest("attempts", 1);
}

/// The builder of the build in hand, once it runs a step that takes its time.
fn builder_at_work(stage: &Stage, name: &str) -> String {
    build(stage, name, "after=60s", &json!({}));
    let at_work = |recipe: &Recipe| {
        recipe
            .architecture()
            .is_some_and(|architecture| architecture.step.is_some())
    };
    let recipe = stage.wait(name, "at work", at_work);
    let builder = recipe.architecture().and_then(|architecture| architecture.instance?.id);
    builder.expect("the builder's id")
}

fn a_builder_that_someone_terminates_is_told(stage: &Stage) {
    let builder = builder_at_work(stage, "terminated");
    let terminated = stage
        .lab
        .aws(&["ec2", "terminate-instances", "--instance-ids", &builder]);
    terminated.expect("it can be terminated");
    fails(stage, "terminated", "BuilderGone", &["terminated", "CloudTrail"]);
}

fn a_builder_that_someone_stops_makes_no_image(stage: &Stage) {
    let builder = builder_at_work(stage, "stopped");
    let stopped = stage.lab.aws(&["ec2", "stop-instances", "--instance-ids", &builder]);
    stopped.expect("it can be stopped");
    fails(
        stage,
        "stopped",
        "BuilderStopped",
        &["stopped from outside", "Client.UserInitiatedShutdown"],
    );
}

fn capacity(stage: &Stage, zone: &str, instance_type: &str, instances: Option<u32>) {
    let zone = format!("eu-central-1{zone}");
    stage.simulate(
        "capacity",
        &json!({"availabilityZone": zone, "instanceType": instance_type, "instances": instances}),
    );
}

fn without_capacity_the_next_type_and_subnet_are_tried(stage: &Stage) {
    for (zone, instance_type) in [("a", "r7i.large"), ("a", "c6i.large")] {
        capacity(stage, zone, instance_type, Some(0));
    }
    let subnets = json!({"ids": ["subnet-0a100000000000001", "subnet-0b200000000000001"]});
    let builder = json!({"instanceTypes": ["r7i.large", "c6i.large"], "subnets": subnets});
    stage.apply("capacity", with(spec(), &json!({"build": {"builder": builder}})));
    succeeds(stage, "capacity");
    let calls = stage.creating_calls("capacity").into_iter();
    let launches = calls.filter(|call| call.tag("goldsmith.dev/role") == Some("builder"));
    let tried: Vec<_> = launches
        .filter(|call| call.operation == "RunInstances")
        .map(|call| (call.parameters["InstanceType"].clone(), call.outcome))
        .collect();
    let refused = "InsufficientInstanceCapacity";
    let expected = [("r7i.large", refused), ("c6i.large", refused), ("r7i.large", "Success")];
    assert_eq!(
        tried,
        expected.map(|(instance_type, outcome)| (instance_type.to_owned(), outcome.to_owned()))
    );
}

fn without_any_capacity_it_waits_and_says_so(stage: &Stage) {
    capacity(stage, "a", "m6i.xlarge", Some(0));
    stage.apply(
        "no-capacity",
        with(
            spec(),
            &json!({"build": {"builder": {"instanceTypes": ["m6i.xlarge"]}}}),
        ),
    );
    let recipe = stage.wait("no-capacity", "waiting", |recipe| {
        recipe.reason() == "InsufficientCapacity"
    });
    assert!(recipe.message().contains("m6i.xlarge"), "{}", recipe.message());
    capacity(stage, "a", "m6i.xlarge", None);
    succeeds(stage, "no-capacity");
}

fn a_secret_that_was_left_is_found_and_the_image_removed(stage: &Stage) {
    build(stage, "secret", "leave=/root/.ssh/id_ed25519", &json!({}));
    fails(stage, "secret", "SecretFound", &["/root/.ssh/id_ed25519"]);
}

fn a_check_that_fails_is_told_and_the_image_removed(stage: &Stage) {
    stage.apply("check-fails", with(spec(), &check("print=inactive\n#sim: exit=3")));
    fails(
        stage,
        "check-fails",
        "CheckFailed",
        &["check active", "exit status 3", "inactive"],
    );
}

fn a_check_that_hangs_fails_when_its_time_is_over(stage: &Stage) {
    stage.apply("check-hangs", with(spec(), &check("hang")));
    fails(stage, "check-hangs", "CheckFailed", &["check active"]);
}

fn a_test_instance_that_dies_fails_the_proof(stage: &Stage) {
    stage.apply("test-dies", with(spec(), &check("die")));
    fails(stage, "test-dies", "TestInstanceGone", &["test instance"]);
}

fn a_test_instance_without_a_console_fails_the_proof(stage: &Stage) {
    stage.apply("test-mute", with(spec(), &check("no-console")));
    fails(
        stage,
        "test-mute",
        "BootDeadlineExceeded",
        &["spec.test.bootDeadline (10s)"],
    );
}

fn an_image_that_boots_too_slowly_is_not_proven(stage: &Stage) {
    build(stage, "slow", "slow-boot=15s", &check("print=active"));
    fails(stage, "slow", "BootDeadlineExceeded", &["spec.test.bootDeadline"]);
}

fn an_image_that_boots_with_errors_is_not_proven(stage: &Stage) {
    build(stage, "boot-error", "boot-error=nginx.service failed", &json!({}));
    fails(
        stage,
        "boot-error",
        "BootErrors",
        &["nginx.service failed", "spec.test.bootErrors: Warn"],
    );
}

fn boot_errors_that_may_be_are_told_as_warnings(stage: &Stage) {
    build(
        stage,
        "boot-warning",
        "boot-error=nginx.service failed",
        &json!({"test": {"bootErrors": "Warn"}}),
    );
    let warned = |recipe: &Recipe| {
        let warnings = recipe
            .architecture()
            .map(|architecture| architecture.warnings)
            .unwrap_or_default();
        warnings.iter().any(|warning| warning.contains("nginx.service failed"))
    };
    stage.wait("boot-warning", "warning", warned);
    succeeds(stage, "boot-warning");
}

fn volumes_are_as_they_were_asked_for(stage: &Stage) {
    let root =
        json!({"device": "/dev/xvda", "sizeGiB": 12, "type": "gp3", "encrypted": true, "kmsKeyId": "alias/images"});
    let data = json!({"device": "/dev/sdb", "sizeGiB": 2});
    stage.apply(
        "volumes",
        with(spec(), &json!({"build": {"builder": {"volumes": [root, data]}}})),
    );
    let recipe = stage.wait_ready("volumes");
    let image = stage.image(&recipe.latest_image().expect("an image"));
    let devices = image["BlockDeviceMappings"].as_array().expect("devices");
    let device = |name: &str| {
        devices
            .iter()
            .find(|device| device["DeviceName"] == name)
            .map(|device| &device["Ebs"])
    };
    let root = device("/dev/xvda").expect("the root device");
    assert_eq!(
        (root["VolumeSize"].as_i64(), root["Encrypted"].as_bool()),
        (Some(12), Some(true)),
        "{root}"
    );
    assert_eq!(device("/dev/sdb").and_then(|data| data["VolumeSize"].as_i64()), Some(2));
    stage.at_rest("volumes", 1);
}
