//! What `kubectl apply` says of good and of bad recipes: every bad one is refused with the field that is wrong and a way out.

use goldsmith_lab::{Error, Lab, NAMESPACE, Options};
use serde::Deserialize;
use serde_json::{Value, json};

const MINIMAL: &str = include_str!("minimal.yaml");

/// A recipe that differs from the minimal one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Also the recipe's name.
    name: String,
    /// A merge patch (RFC 7386).
    change: Value,
    /// What the API server must name, where it is to refuse it.
    field: Option<String>,
    /// A part of what it must say.
    message: Option<String>,
}

impl Case {
    fn all(text: &str) -> Vec<Self> {
        serde_saphyr::from_str(text).expect("the table of cases")
    }

    fn manifest(&self) -> Value {
        let mut manifest = serde_saphyr::from_str(MINIMAL).expect("the minimal manifest");
        merge(&mut manifest, &self.change);
        merge(&mut manifest, &json!({"metadata": {"name": self.name}}));
        manifest
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.as_object_mut().expect("just made one").remove(key)),
            _ => merge(&mut target[key], value),
        }
    }
}

/// Applies the cases in one call, a file for each, and returns what kubectl complained of: one paragraph an object.
fn apply(lab: &Lab, cases: &[Case]) -> Vec<String> {
    let folder = lab.directory().join(format!("manifests-{}", cases[0].name));
    std::fs::create_dir(&folder).expect("a folder of its own");
    for case in cases {
        std::fs::write(folder.join(format!("{}.json", case.name)), case.manifest().to_string()).expect("a file in it");
    }
    let complaints = match lab.kubectl(&["apply", "--filename", &folder.to_string_lossy()]) {
        Ok(_) => String::new(),
        Err(Error::Command { stderr, .. }) => stderr,
        Err(other) => panic!("{other}"),
    };
    let mut paragraphs: Vec<String> = Vec::new();
    for line in complaints.lines() {
        match paragraphs.last_mut() {
            Some(last) if line.starts_with('*') => last.push_str(&format!("\n{line}")),
            _ => paragraphs.push(line.to_owned()),
        }
    }
    paragraphs
}

/// All cases have the lab in common: starting one takes longer than all of them.
#[test]
fn recipes_on_a_real_api_server() {
    let lab = Lab::start(&Options::default()).expect("a lab");
    good_manifests_are_accepted(&lab);
    examples_are_accepted(&lab);
    bad_manifests_are_refused_with_the_field_and_a_way_out(&lab);
    immutable_fields_stay(&lab);
    a_recipe_that_nobody_has_looked_at_is_not_taken_for_finished(&lab);
    columns_say_whether_it_is_fine_and_what_it_runs(&lab);
}

fn good_manifests_are_accepted(lab: &Lab) {
    let complaints = apply(lab, &Case::all(include_str!("right.yaml")));
    assert!(
        complaints.is_empty(),
        "good manifests are refused:\n{}",
        complaints.join("\n")
    );
}

/// People copy them; the demo applies the others, and machines boot for one of these only when somebody asks for it.
fn examples_are_accepted(lab: &Lab) {
    for manifests in [["--kustomize", "examples/demo"], ["--filename", "examples/debian-12"]] {
        let arguments = [&["apply", "--dry-run=server"], &manifests[..]].concat();
        let answer = lab.kubectl(&arguments).expect("an example is refused");
        assert!(answer.contains("imagerecipe.goldsmith.dev/web"), "{answer}");
    }
}

fn bad_manifests_are_refused_with_the_field_and_a_way_out(lab: &Lab) {
    let cases = Case::all(include_str!("wrong.yaml"));
    let complaints = apply(lab, &cases);
    let mut failures = Vec::new();
    for case in &cases {
        let field = case.field.as_deref().expect("a wrong manifest has a field");
        let message = case.message.as_deref().expect("a wrong manifest has a message");
        // An object that can't even be read is called by its file.
        let names = [format!("\"{}\"", case.name), format!("/{}.json", case.name)];
        match complaints
            .iter()
            .find(|complaint| names.iter().any(|name| complaint.contains(name)))
        {
            None => failures.push(format!("{}: accepted, but {field} is wrong", case.name)),
            Some(text) if text.lines().any(|line| line.contains(field) && line.contains(message)) => {}
            Some(text) => failures.push(format!(
                "{}: no line has both {field:?} and {message:?}:\n{text}",
                case.name
            )),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A good one.
const RECIPE: [&str; 4] = ["imagerecipe", "nothing-but-the-minimum", "--namespace", NAMESPACE];

fn immutable_fields_stay(lab: &Lab) {
    for (field, value) in [("account", "another"), ("region", "eu-west-1")] {
        let patch = json!({"spec": {field: value}}).to_string();
        let arguments = [&["patch"], &RECIPE[..], &["--type=merge", "--patch", &patch]].concat();
        let error = lab
            .kubectl(&arguments)
            .expect_err("an immutable field was changed")
            .to_string();
        assert!(
            error.contains(&format!("spec.{field}")) && error.contains("create another recipe"),
            "{error}"
        );
    }
}

/// kstatus takes an object without any status for finished, and a pipeline would go on.
fn a_recipe_that_nobody_has_looked_at_is_not_taken_for_finished(lab: &Lab) {
    let recipe = lab
        .object("imagerecipe/nothing-but-the-minimum", NAMESPACE)
        .expect("the recipe");
    assert_eq!(recipe["status"], json!({"observedGeneration": -1}));
}

fn columns_say_whether_it_is_fine_and_what_it_runs(lab: &Lab) {
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "Rebuilding", "message": "busy", "lastTransitionTime": "2026-11-23T08:00:00Z",
    });
    let status = json!({"status": {
        "conditions": [ready],
        "source": {"x86_64": {"imageId": "ami-0a"}},
        "latest": {"name": "web-v6", "build": 6, "images": {"eu-central-1": {"x86_64": "ami-0b"}}},
        "build": {"number": 7, "architectures": [{"architecture": "x86_64", "phase": "Proving"}]},
    }});
    let status = status.to_string();
    let patch = ["--subresource=status", "--type=merge", "--patch", &status];
    lab.kubectl(&[&["patch"], &RECIPE[..], &patch].concat())
        .expect("a status");
    let table = lab
        .kubectl(&[&["get"], &RECIPE[..], &["--output=wide"]].concat())
        .expect("a table");
    let mut rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let (header, mut row) = (rows.next().expect("a header"), rows.next().expect("a row"));
    let expected = [
        "NAME", "READY", "REASON", "LATEST", "IMAGE", "BUILD", "PHASE", "AGE", "REGION", "SOURCE", "MESSAGE",
    ];
    assert_eq!(header, expected);
    row.remove(7); // The age, in seconds.
    let expected = [
        "nothing-but-the-minimum",
        "True",
        "Rebuilding",
        "web-v6",
        "ami-0b",
        "7",
        "Proving",
        "eu-central-1",
        "ami-0a",
        "busy",
    ];
    assert_eq!(row, expected);
}
