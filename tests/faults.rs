//! EC2 on its bad days: answers that are lost, errors, throttling, stale reads, refusals. Each build ends as on a good day, and
//! nothing is left or made twice.

use std::collections::BTreeSet;
use std::process::ExitCode;

use goldsmith_lab::Options;
use serde_json::{Value, json};
use stage::{Recipe, Stage, spec, stories, with};

/// Every call of a build that changes something.
const MUTATING: [&str; 9] = [
    "RunInstances",
    "CreateImage",
    "CreateVolume",
    "AttachVolume",
    "ModifyInstanceAttribute",
    "CreateTags",
    "EnableImageDeregistrationProtection",
    "TerminateInstances",
    "DeregisterImage",
];
const READING: [&str; 5] = [
    "DescribeInstances",
    "DescribeImages",
    "DescribeVolumes",
    "DescribeSnapshots",
    "GetConsoleOutput",
];

fn main() -> ExitCode {
    stage::tell(&Options::default(), stories![a_build_comes_through_whatever_ec2_does])
}

/// Faults strike whoever calls, so what they are about is told one after the other.
fn a_build_comes_through_whatever_ec2_does(stage: &Stage) {
    let all = |kind: &str, operations: &[&str], more: &Value| {
        let fault = |operation: &&str| with(json!({"operation": operation, "kind": kind}), more);
        Value::from(operations.iter().map(fault).collect::<Vec<_>>())
    };
    let once = json!({"count": 1});
    // Without the answer to AttachVolume the inspector may have read the volume before anyone knows that it is attached; then
    // ModifyInstanceAttribute is not called any more, and the volume is removed by itself.
    let answers: Vec<&str> = MUTATING.into_iter().filter(|name| *name != "AttachVolume").collect();
    comes_through(stage, "lost", &all("lost", &answers, &once), &answers);
    let attach = ["AttachVolume"];
    comes_through(stage, "unattached", &all("lost", &attach, &once), &attach);
    comes_through(stage, "error", &all("error", &MUTATING, &once), &MUTATING);
    comes_through(stage, "throttle", &all("throttle", &MUTATING, &once), &MUTATING);
    let sometimes = json!({"probability": 0.2});
    comes_through(stage, "stale", &all("stale", &READING, &sometimes), &[]);
    comes_through(stage, "unread", &all("error", &READING, &json!({"count": 2})), &READING);
    what_is_denied_is_told_and_heals(stage);
    a_quota_is_told_and_waited_for(stage);
}

/// A build that succeeds and one that fails in its proof do so although these faults strike, and each of `strikes` is struck.
fn comes_through(stage: &Stage, name: &str, faults: &Value, strikes: &[&str]) {
    let before = stage.calls().len();
    stage.simulate("faults", faults);
    let (good, bad) = (format!("{name}-good"), format!("{name}-bad"));
    let check = json!({"name": "active", "run": "systemctl is-active nginx\n#sim: exit=3", "timeout": "1s"});
    stage.apply(&good, spec());
    stage.apply(&bad, with(spec(), &json!({"test": {"checks": [check]}})));
    let recipe = stage.wait_ready(&good);
    assert_eq!(
        (recipe.latest_build(), recipe.status().history[0].attempts),
        (Some(1), 1),
        "{good}"
    );
    stage.wait_stalled(&bad, "CheckFailed");
    stage.at_rest(&good, 1);
    stage.at_rest(&bad, 0);
    for name in [&good, &bad] {
        for role in ["builder", "test", "inspector"] {
            assert!(stage.launches(name, role) <= 1, "{name}: {role}");
        }
    }
    let calls = stage.calls();
    let struck = calls[before..].iter().filter(|call| call.fault.is_some());
    let struck: BTreeSet<&str> = struck.map(|call| call.operation.as_str()).collect();
    for operation in strikes {
        assert!(struck.contains(operation), "{name}: {operation} was never struck");
    }
    stage.lab.simulator_delete("faults").expect("no more faults");
}

fn what_is_denied_is_told_and_heals(stage: &Stage) {
    let message = "You are not authorized to perform this operation.";
    stage.simulate(
        "faults",
        &json!({"operation": "RunInstances", "kind": "error", "code": "UnauthorizedOperation", "message": message}),
    );
    stage.apply("denied", spec());
    let recipe = stage.wait_stalled("denied", "Denied");
    for word in ["RunInstances", "UnauthorizedOperation", message, "IAM policy"] {
        assert!(
            recipe.message().contains(word),
            "{word:?} is not in {:?}",
            recipe.message()
        );
    }
    stage.lab.simulator_delete("faults").expect("no more faults");
    stage.request("denied", "reconcile", "mended");
    stage.wait("denied", "healed", |recipe| !recipe.is_stalled());
    stage.wait_ready("denied");
    stage.at_rest("denied", 1);
}

fn a_quota_is_told_and_waited_for(stage: &Stage) {
    stage.simulate(
        "faults",
        &json!({"operation": "RunInstances", "kind": "error", "code": "InstanceLimitExceeded"}),
    );
    stage.apply("quota", spec());
    let recipe = stage.wait("quota", "told", |recipe: &Recipe| recipe.reason() == "QuotaExceeded");
    assert!(
        !recipe.is_stalled() && recipe.message().contains("InstanceLimitExceeded"),
        "{}",
        recipe.message()
    );
    stage.lab.simulator_delete("faults").expect("no more faults");
    stage.request("quota", "reconcile", "raised");
    stage.wait_ready("quota");
    stage.at_rest("quota", 1);
}
