//! The world without what differs from run to run: ids and times.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::{inventory, things};
use crate::api_server::Kind;
use crate::world::World;

/// Kinds that are compared. Events are not: one is lost with the process that was about to write it.
const KINDS: [Kind; 2] = [Kind::ImageRecipe, Kind::ConfigMap];
/// What depends on ids or times without being one.
const VARIES: [&str; 9] = [
    "binaryData",
    "bootMilliseconds",
    "created",
    "goldsmith.dev/birth",
    "goldsmith.dev/boot-milliseconds",
    "goldsmith.dev/seal",
    "resourceVersion",
    "seal",
    "uid",
];

/// The world, as pieces that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture(BTreeMap<String, Vec<String>>);

impl Picture {
    /// What `world` looks like now.
    pub fn of(world: &World) -> Self {
        let inventory = inventory(world);
        let state = world.state();
        let ids: BTreeSet<&str> = state
            .history
            .iter()
            .flat_map(|step| &step.made)
            .map(String::as_str)
            .collect();
        let shown = |value: &Value| {
            let mut value = value.clone();
            mask(&mut value, &ids);
            value.to_string()
        };
        let mut pieces = BTreeMap::<String, Vec<String>>::new();
        for kind in ["instances", "volumes", "images", "snapshots"] {
            pieces
                .entry(kind.to_owned())
                .or_default()
                .extend(things(&inventory, kind).map(shown));
        }
        for kind in KINDS {
            for object in state.api.objects(kind) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let fields = object.as_object().into_iter().flatten();
                for (field, value) in fields {
                    let parts = value.as_object().into_iter().flatten();
                    for (part, value) in parts {
                        let place = format!("{} {name} {field}.{part}", kind.name());
                        let shown = if VARIES.contains(&part.as_str()) {
                            String::new()
                        } else {
                            shown(value)
                        };
                        pieces.entry(place).or_default().push(shown);
                    }
                }
            }
        }
        pieces.values_mut().for_each(|shown| shown.sort());
        Self(pieces)
    }

    /// What is otherwise in `other`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let none = Vec::new();
        let places: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let differs = places.into_iter().filter_map(|place| {
            let (here, there) = (self.0.get(place).unwrap_or(&none), other.0.get(place).unwrap_or(&none));
            (here != there).then(|| format!("{place} is {there:?}, undisturbed {here:?}"))
        });
        differs.collect()
    }
}

/// Puts what does not differ in place of ids and times, also in JSON that is inside of a text.
fn mask(value: &mut Value, ids: &BTreeSet<&str>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match VARIES.contains(&name.as_str()) {
                    true => *field = Value::Null,
                    false => mask(field, ids),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, ids)),
        Value::String(text) => {
            if let Ok(mut inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
                mask(&mut inner, ids);
                *value = inner;
            } else if text.parse::<Timestamp>().is_ok() {
                *value = "a time".into();
            } else {
                for id in ids {
                    if text.contains(id) {
                        let kind = id.split('-').next().unwrap_or_default();
                        *text = text.replace(id, &format!("{kind}-*"));
                    }
                }
                *text = without_durations(text);
            }
        }
        _ => {}
    }
}

/// `text` with `* ms` for every number of milliseconds.
fn without_durations(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let word = |(index, word): (usize, &&str)| {
        let counts = words.get(index + 1).is_some_and(|unit| unit.starts_with("ms"));
        if counts && word.bytes().all(|byte| byte.is_ascii_digit()) {
            "*".to_owned()
        } else {
            (*word).to_owned()
        }
    };
    words.iter().enumerate().map(word).collect::<Vec<_>>().join(" ")
}
