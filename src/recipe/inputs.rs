//! What shapes an image, and the hash by which an unchanged recipe is recognised.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::api::{ImageRecipeSpec, Test};
use crate::guest::RULES_VERSION;

/// Digest of each input that shapes the image, by a name that people recognise (`source`, `step packages`, `environment`, ...).
///
/// Name, description and tags of the image are not among them: they are kept up to date in place. Neither is where and how long
/// it is built, nor how it is tested.
pub type Inputs = BTreeMap<String, String>;

/// The inputs of a recipe that starts from `source_image`.
pub fn inputs(spec: &ImageRecipeSpec, source_image: &str) -> Inputs {
    let build = &spec.build;
    let mut inputs = Inputs::new();
    inputs.insert("source".into(), source_image.to_owned());
    inputs.insert("architecture".into(), digest(&build.architectures));
    inputs.insert("environment".into(), digest(&build.environment));
    inputs.insert("volumes".into(), digest(&build.builder.volumes));
    inputs.insert("imdsSupport".into(), digest(&spec.image.imds_support));
    let mut skipped = build.cleanup.skip.clone();
    skipped.sort();
    let mut extra = build.cleanup.extra_paths.clone();
    extra.sort();
    // What is forbidden decides whether there is an image, not what is in it; one that is there has to be looked at again, though.
    let mut forbidden = build.cleanup.forbidden_content.clone();
    forbidden.sort();
    inputs.insert("cleanup".into(), digest(&(skipped, extra, forbidden, RULES_VERSION)));
    // The order of the steps shapes the image as much as their contents do.
    inputs.insert(
        "order of steps".into(),
        digest(&build.steps.iter().map(|step| &step.name).collect::<Vec<_>>()),
    );
    for step in &build.steps {
        // How often and how long a step is tried does not show in an image on which it has succeeded.
        inputs.insert(
            format!("step {}", step.name),
            digest(&(&step.run, &step.file, &step.reboot)),
        );
    }
    inputs
}

/// One hash over all inputs: 64 hexadecimal digits.
pub fn content_hash(inputs: &Inputs) -> String {
    digest(inputs)
}

/// Hash of the settings under which an image is proven.
pub fn test_hash(test: &Test) -> String {
    digest(&(&test.checks, &test.boot_deadline, test.boot_errors, test.changed_files))[..16].to_owned()
}

/// Names of the inputs that differ, for people.
pub fn changed(before: &Inputs, after: &Inputs) -> Vec<String> {
    let names = before
        .keys()
        .chain(after.keys())
        .collect::<std::collections::BTreeSet<_>>();
    let mut changed: Vec<String> = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .cloned()
        .collect();
    // A step that is added or removed changes the order too, which then says nothing of its own.
    if changed
        .iter()
        .any(|name| name.starts_with("step ") && before.contains_key(name) != after.contains_key(name))
    {
        changed.retain(|name| name != "order of steps");
    }
    changed
}

fn digest<T: Serialize + ?Sized>(value: &T) -> String {
    // Every input is made of strings, numbers, lists and maps with string keys, which JSON always holds.
    let json = serde_json::to_vec(value).unwrap_or_default();
    hex::encode(Sha256::digest(json))
}
