//! What `deploy/` ships, on a real API server: all of it is valid there, and it allows the controller what it does and no more.

use std::time::Duration;

use goldsmith_lab::{ControllerOptions, Error, Grant, Lab, NAMESPACE, Options, RECORDS_EVERYWHERE, until};
use serde_json::{Value, json};
use stage::{spec, with};

/// Several times what anything takes here but the wait for a recipe that was denied, which is tried again ever more rarely.
const PATIENCE: Duration = Duration::from_secs(100);
/// Granted something, and not bound.
const UNBOUND: &str = "unbound";
/// Granted nothing, and not bound.
const UNGRANTED: &str = "ungranted";

#[test]
fn what_deploy_ships_is_valid_and_is_what_the_controller_needs() {
    let mut controller = ControllerOptions::default();
    let everywhere = controller.grants[0].clone();
    controller.grants = vec![Grant {
        namespaces: vec![NAMESPACE.into(), UNBOUND.into()],
        ..everywhere
    }];
    let options = Options {
        controller,
        ..Options::default()
    };
    let lab = Lab::start(&options).expect("a lab");
    all_of_it_is_taken_by_the_api_server(&lab);

    lab.kubectl(&["delete", "clusterrolebinding", RECORDS_EVERYWHERE])
        .expect("the RBAC of deploy/ and nothing else");
    for namespace in [UNBOUND, UNGRANTED] {
        lab.kubectl(&["create", "namespace", namespace]).expect("a namespace");
    }
    lab.start_controller().expect("a ready controller");
    for namespace in [NAMESPACE, UNBOUND, UNGRANTED] {
        apply(&lab, namespace);
    }
    records_are_kept_where_the_role_is_bound_and_nowhere_else(&lab);
    where_nothing_is_granted_that_is_said_and_the_recipe_can_go(&lab);
    without_the_binding_the_condition_says_how_to_make_it(&lab);
    where_it_is_bound_a_recipe_is_built_changed_and_deleted(&lab);
}

fn apply(lab: &Lab, namespace: &str) {
    // Image names are the account's: without the namespace the recipes would take them from each other.
    let named = json!({"image": {"name": "{{namespace}}-{{recipe}}-v{{build}}"}});
    let recipe = json!({
        "apiVersion": "goldsmith.dev/v1alpha1",
        "kind": "ImageRecipe",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": with(spec(), &named),
    });
    lab.apply(&recipe.to_string()).expect("a recipe");
}

/// Status, reason and message of Ready, once its reason is as wanted.
fn wait(lab: &Lab, namespace: &str, reason: &str) -> Value {
    let ready = until(PATIENCE, || {
        let recipe = lab
            .object("imagerecipe/web", namespace)
            .map_err(|error| error.to_string())?;
        let conditions = recipe["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
        ready
            .filter(|ready| ready["reason"] == reason)
            .cloned()
            .ok_or_else(|| recipe["status"].to_string())
    });
    ready.unwrap_or_else(|last| panic!("{namespace} is not {reason}: {last}"))
}

fn all_of_it_is_taken_by_the_api_server(lab: &Lab) {
    let shown = lab
        .kubectl(&["apply", "--dry-run=server", "--kustomize=deploy"])
        .unwrap_or_else(|error| panic!("{error}"));
    for object in [
        "namespace/goldsmith-system",
        "namespace/platform",
        "imagerecipes.goldsmith.dev",
        "rolebinding.rbac.authorization.k8s.io/goldsmith-records",
        "configmap/goldsmith",
        "resourcequota/goldsmith",
        "deployment.apps/goldsmith",
        "networkpolicy.networking.k8s.io/goldsmith",
    ] {
        assert!(shown.contains(object), "{object} is not among\n{shown}");
    }
    // A fresh cluster has none of them: what lives in a namespace must not come before it.
    let text = lab.kubectl(&["kustomize", "deploy"]).expect("the manifests");
    let kinds: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
    let namespaces = kinds.iter().take_while(|kind| **kind == "Namespace").count();
    assert_eq!(namespaces, 2, "{kinds:?}");
}

fn records_are_kept_where_the_role_is_bound_and_nowhere_else(lab: &Lab) {
    let account = "--as=system:serviceaccount:goldsmith-system:goldsmith";
    let may = |verb: &str, namespace: &str| {
        let answer = lab.kubectl(&["auth", "can-i", verb, "configmaps", "--namespace", namespace, account]);
        match answer {
            Ok(_) => true,
            // kubectl says no by its exit status too.
            Err(Error::Command { .. }) => false,
            Err(other) => panic!("{other}"),
        }
    };
    for verb in ["get", "list", "create", "update", "delete"] {
        assert!(may(verb, NAMESPACE), "{verb}");
        for namespace in [UNBOUND, UNGRANTED, "goldsmith-system", "kube-system"] {
            assert!(!may(verb, namespace), "{verb} in {namespace}");
        }
    }
}

fn where_nothing_is_granted_that_is_said_and_the_recipe_can_go(lab: &Lab) {
    let ready = wait(lab, UNGRANTED, "NotGranted");
    let message = ready["message"].as_str().expect("a message");
    assert!(message.contains("grants namespace ungranted nothing"), "{message}");
    lab.kubectl(&["delete", "imagerecipe/web", "--namespace", UNGRANTED, "--timeout=60s"])
        .expect("nothing was made for it, so nothing holds it");
}

fn without_the_binding_the_condition_says_how_to_make_it(lab: &Lab) {
    let ready = wait(lab, UNBOUND, "RecordsDenied");
    let message = ready["message"].as_str().expect("a message");
    let command = message
        .split_once("kubectl ")
        .and_then(|(_, rest)| Some(rest.split_once(" (")?.0));
    let command = command.unwrap_or_else(|| panic!("no command in {message}"));
    let arguments: Vec<_> = command.split(' ').collect();
    lab.kubectl(&arguments).unwrap_or_else(|error| panic!("{error}"));
    wait(lab, UNBOUND, "ImageProven");

    // Taken away again, as by the deletion of the namespace: what was made for it is known by its tags.
    let rolebinding = ["delete", "rolebinding/goldsmith-records", "--namespace", UNBOUND];
    lab.kubectl(&rolebinding).expect("no binding");
    lab.kubectl(&["delete", "imagerecipe/web", "--namespace", UNBOUND, "--timeout=100s"])
        .expect("nothing holds it");
}

fn where_it_is_bound_a_recipe_is_built_changed_and_deleted(lab: &Lab) {
    wait(lab, NAMESPACE, "ImageProven");
    // A record more than is kept, so that one is deleted.
    let patch = json!({"spec": {"historyLimit": 1, "build": {"steps": [{"name": "packages", "run": "true"}]}}});
    let patch = format!("--patch={patch}");
    lab.kubectl(&[
        "patch",
        "imagerecipe/web",
        "--namespace",
        NAMESPACE,
        "--type=merge",
        &patch,
    ])
    .expect("a changed recipe");
    let pruned = until(PATIENCE, || {
        let listed = lab.kubectl(&["get", "configmaps", "--namespace", NAMESPACE, "--output=name"]);
        let listed = listed.map_err(|error| error.to_string())?;
        let records = listed.lines().filter(|name| name.contains("/web-build-"));
        if records.collect::<Vec<_>>() == ["configmap/web-build-2"] {
            Ok(())
        } else {
            Err(listed)
        }
    });
    pruned.expect("one record");
    wait(lab, NAMESPACE, "ImageProven");
    lab.kubectl(&["delete", "imagerecipe/web", "--namespace", NAMESPACE, "--timeout=60s"])
        .expect("a finalizer that is taken off");
    let log = std::fs::read_to_string(lab.controller_log()).expect("a log");
    let forbidden = log.lines().filter(|line| line.contains("is forbidden"));
    let elsewhere: Vec<_> = forbidden.filter(|line| !line.contains(UNBOUND)).collect();
    assert_eq!(elsewhere, Vec::<&str>::new(), "it lacks a permission");
}
