//! Whose tags are changed, and what is on an image that serves.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Judge;
use super::call::Call;
use super::ec2::{Ec2, Image};

/// What Goldsmith calls its own, beside its prefix: the name that consoles show.
const NAME: &str = "Name";
const PREFIX: &str = "goldsmith.dev/";
/// What says that an image is proven.
const PROVEN: &str = "goldsmith.dev/proven";

impl Judge {
    /// Only our own tags are changed, and those that a spec names or has named.
    pub(super) fn tags_of_others(&self, call: &Call<'_>) -> Vec<String> {
        let specs = || self.specs.values().flatten();
        let named =
            specs().flat_map(|spec| keys(&spec["image"]["tags"]).chain(keys(&spec["build"]["builder"]["tags"])));
        let named: BTreeSet<&str> = named.collect();
        let changed = call.tags(None).into_keys();
        let strange = changed.filter(|key| !key.starts_with(PREFIX) && *key != NAME && !named.contains(key));
        let wrong = strange.map(|key| {
            format!(
                "invariant 8: {} of the tag {key}, which is somebody else's",
                call.operation
            )
        });
        wrong.collect()
    }

    /// The image that serves has the tags of its spec, none that has left the spec, and all that others have put there.
    pub(super) fn tags_at_rest(&self, id: &str, image: &Image<'_>, recipe: &Value, ec2: &Ec2<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        let name = &recipe["metadata"]["name"];
        let wanted = &recipe["spec"]["image"]["tags"];
        let uid = recipe["metadata"]["uid"].as_str().unwrap_or_default();
        let before = || self.specs.get(uid).into_iter().flatten();
        let snapshots = image.snapshots.iter();
        let snapshots = snapshots.filter_map(|id| Some((*id, ec2.snapshots.get(id)?.tags)));
        for (id, tags) in snapshots.chain([(id, image.tags)]) {
            for (key, value) in wanted.as_object().into_iter().flatten() {
                if tags.get(key).map(String::as_str) != value.as_str() {
                    wrong.push(format!("{id} of {name} has not the tag {key}={value} of its spec"));
                }
            }
            for key in before().flat_map(|spec| keys(&spec["image"]["tags"])) {
                if wanted[key].is_null() && tags.contains_key(key) {
                    wrong.push(format!(
                        "{id} of {name} still has the tag {key}, which has left its spec"
                    ));
                }
            }
            if !tags.contains_key(PROVEN) {
                wrong.push(format!(
                    "{id} of {name} is not marked as proven: once its image is deregistered nobody knows that it is wanted"
                ));
            }
        }
        for (of, key, value) in self.of_others.iter().filter(|(of, ..)| of == id) {
            if image.tags.get(key) != Some(value) {
                wrong.push(format!(
                    "image {of} has lost {key}={value}, which somebody else has put there"
                ));
            }
        }
        wrong
    }

    /// Somebody else has edited what is sealed on an image.
    pub fn verdict_edited(&mut self, id: &str) {
        self.edited.insert(id.to_owned());
    }

    /// Somebody else has put a tag on something.
    pub fn tagged_by_others(&mut self, id: &str, key: &str, value: &str) {
        self.of_others.insert((id.to_owned(), key.to_owned(), value.to_owned()));
    }
}

fn keys(tags: &Value) -> impl Iterator<Item = &str> {
    tags.as_object().into_iter().flatten().map(|(key, _)| key.as_str())
}
