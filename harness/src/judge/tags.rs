//! Whose tags are changed, and what is on an image that serves.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Judge;
use super::call::Call;
use super::ec2::Image;

/// What Goldsmith calls its own, beside its prefix: the name that consoles show.
const NAME: &str = "Name";
const PREFIX: &str = "goldsmith.dev/";

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
    pub(super) fn tags_at_rest(&self, id: &str, image: &Image<'_>, recipe: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        let name = &recipe["metadata"]["name"];
        let wanted = &recipe["spec"]["image"]["tags"];
        for (key, value) in wanted.as_object().into_iter().flatten() {
            if image.tags.get(key).map(String::as_str) != value.as_str() {
                wrong.push(format!(
                    "image {id} of {name} has not the tag {key}={value} of its spec"
                ));
            }
        }
        let uid = recipe["metadata"]["uid"].as_str().unwrap_or_default();
        let before = self.specs.get(uid).into_iter().flatten();
        for key in before.flat_map(|spec| keys(&spec["image"]["tags"])) {
            if wanted[key].is_null() && image.tags.contains_key(key) {
                wrong.push(format!(
                    "image {id} of {name} still has the tag {key}, which has left its spec"
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

    /// Somebody else has put a tag on something.
    pub fn tagged_by_others(&mut self, id: &str, key: &str, value: &str) {
        self.of_others.insert((id.to_owned(), key.to_owned(), value.to_owned()));
    }
}

fn keys(tags: &Value) -> impl Iterator<Item = &str> {
    tags.as_object().into_iter().flatten().map(|(key, _)| key.as_str())
}
