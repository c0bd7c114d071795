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

#[test]
fn recipes_are_accepted_or_refused_with_the_field_and_a_way_out() {
    let lab = Lab::start(&Options::default()).expect("a lab");

    let right = apply(&lab, &Case::all(include_str!("right.yaml")));
    assert!(right.is_empty(), "good manifests are refused:\n{}", right.join("\n"));

    let cases = Case::all(include_str!("wrong.yaml"));
    let complaints = apply(&lab, &cases);
    let mut failures = Vec::new();
    for case in &cases {
        let (field, message) = (
            case.field.as_deref().expect("a field"),
            case.message.as_deref().expect("a message"),
        );
        let of_this = |paragraph: &&String| {
            paragraph.contains(&format!("\"{}\"", case.name)) || paragraph.contains(&format!("/{}.json", case.name))
        };
        match complaints.iter().find(of_this) {
            None => failures.push(format!("{}: accepted, but {field} is wrong", case.name)),
            Some(text) if text.lines().any(|line| line.contains(field) && line.contains(message)) => {}
            Some(text) => failures.push(format!(
                "{}: no line has both {field:?} and {message:?}:\n{text}",
                case.name
            )),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    for (field, value) in [("account", "another"), ("region", "eu-west-1")] {
        let patch = json!({"spec": {field: value}}).to_string();
        let arguments = [
            "patch",
            "imagerecipe",
            "nothing-but-the-minimum",
            "--namespace",
            NAMESPACE,
            "--type=merge",
            "--patch",
            &patch,
        ];
        let error = lab
            .kubectl(&arguments)
            .expect_err("an immutable field was changed")
            .to_string();
        assert!(
            error.contains(&format!("spec.{field}")) && error.contains("create another recipe"),
            "{error}"
        );
    }

    // What a pipeline sees before the controller has looked: kstatus takes no status at all for finished.
    let recipe = lab
        .object("imagerecipe/nothing-but-the-minimum", NAMESPACE)
        .expect("the recipe");
    assert_eq!(recipe["status"], json!({"observedGeneration": -1}));
}
