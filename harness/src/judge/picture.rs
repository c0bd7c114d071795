//! The world without what differs from run to run: ids and times.

use std::collections::{BTreeMap, BTreeSet};

use goldsmith_simulator::tcp;
use jiff::Timestamp;
use serde_json::Value;

use super::call::recipe;
use super::kubernetes::images;
use super::status;
use crate::api_server::{ApiServer, Kind};
use crate::world::World;

/// Kinds that are compared. Events are not: one is lost with the process that was about to write it.
const KINDS: [Kind; 2] = [Kind::ImageRecipe, Kind::ConfigMap];
/// What depends on ids or times without being one.
const VARIES: [&str; 11] = [
    "binaryData",
    "bootMilliseconds",
    "created",
    "goldsmith.dev/birth",
    "goldsmith.dev/boot-milliseconds",
    "goldsmith.dev/owner-uid",
    "goldsmith.dev/seal",
    "key",
    "resourceVersion",
    "seal",
    "uid",
];

/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 17;
/// How ids of the images of the seeded world begin.
const SEEDED: &str = "0a20";

/// The world, as pieces that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture(BTreeMap<String, Vec<String>>);

impl Picture {
    /// What `world` looks like now.
    pub fn of(world: &World) -> Self {
        let inventory = inventory(world);
        let state = world.state();
        let shown = |value: &Value| {
            let mut value = value.clone();
            mask(&mut value);
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
            for object in state.api.objects(kind).filter(|object| !is_garbage(object, &state.api)) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let fields = object.as_object().into_iter().flatten();
                for (field, value) in fields {
                    let parts = value.as_object().into_iter().flatten();
                    for (part, value) in parts {
                        let mut value = value.clone();
                        if part == "conditions"
                            && let Value::Array(conditions) = &mut value
                        {
                            // A map by type, as the definition says: their order says nothing.
                            conditions.sort_by_key(|condition| condition["type"].to_string());
                        }
                        let place = format!("{} {name} {field}.{part}", kind.name());
                        let shown = if VARIES.contains(&part.as_str()) {
                            String::new()
                        } else {
                            shown(&value)
                        };
                        pieces.entry(place).or_default().push(shown);
                    }
                }
            }
        }
        pieces.values_mut().for_each(|shown| shown.sort());
        Self(pieces)
    }

    /// What users have got in the end, without the attempts and builds that lie behind it.
    pub fn of_what_users_have(world: &World) -> Self {
        let inventory = inventory(world);
        let state = world.state();
        let mut pieces = BTreeMap::<String, Vec<String>>::new();
        for recipe in state.api.objects(Kind::ImageRecipe) {
            let name = recipe["metadata"]["name"].as_str().unwrap_or_default();
            let mut add = |what: &str, value: String| pieces.entry(format!("{name} {what}")).or_default().push(value);
            add("spec", recipe["spec"].to_string());
            add("kstatus", status::kstatus(recipe).to_owned());
            add("content hash", recipe["status"]["contentHash"].to_string());
            for id in images(&recipe["status"]["latest"]) {
                let image = things(&inventory, "images").find(|image| image["id"] == id);
                let tags = image.and_then(|image| image["tags"].as_object()).into_iter().flatten();
                // The name counts builds.
                let tags = tags.filter(|(key, _)| {
                    *key != "Name" && (!key.starts_with("goldsmith.dev/") || key.ends_with("/content-hash"))
                });
                add("latest", tags.map(|(key, value)| format!("{key}={value} ")).collect());
            }
        }
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

/// Whether Kubernetes' garbage collector, which the API server in memory is without, deletes it: all its owners have gone.
fn is_garbage(object: &Value, api: &ApiServer) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|owners| {
        let mut uids = owners.iter().filter_map(|owner| owner["uid"].as_str());
        !owners.is_empty() && uids.all(|uid| recipe(api, uid).is_none())
    })
}

/// What EC2 has that was not there from the beginning.
fn inventory(world: &World) -> Value {
    let inventory = tcp::lock(&world.simulator).inventory();
    serde_json::to_value(inventory).unwrap_or_default()
}

/// The things of one kind, in all regions.
fn things<'a>(inventory: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let regions = inventory.as_object().into_iter().flatten();
    regions.flat_map(move |(_, region)| region[kind].as_array().into_iter().flatten())
}

/// Puts what does not differ in place of ids and times, also in JSON that is inside of a text.
fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // How far a proof had come that failed depends on which of its guests was faster.
            if fields
                .get("outcome")
                .is_some_and(|outcome| outcome["result"] == "Failed")
            {
                fields.remove("proof");
            }
            for (name, field) in fields {
                match VARIES.contains(&name.as_str()) {
                    true => *field = Value::Null,
                    false => mask(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::String(text) => {
            if let Ok(mut inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
                mask(&mut inner);
                *value = inner;
            } else if text.parse::<Timestamp>().is_ok() {
                *value = "a time".into();
            } else {
                *text = without_ids(text);
                *text = without_durations(text);
            }
        }
        _ => {}
    }
}

/// `text` with `i-*` for every id of an instance, and so on. Ids of the seeded world are the same in every run.
fn without_ids(text: &str) -> String {
    let mut rest = text;
    let mut masked = String::new();
    while let Some(dash) = rest.find('-') {
        let (before, after) = (&rest[..dash], &rest[dash + 1..]);
        let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
        let of_kind = ["ami", "eni", "i", "snap", "vol"].into_iter().any(|kind| {
            let before = before.strip_suffix(kind);
            before.is_some_and(|before| !before.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '-'))
        });
        masked.push_str(before);
        if of_kind && digits == ID_DIGITS && !after.starts_with(SEEDED) {
            masked.push_str("-*");
            rest = &after[digits..];
        } else {
            masked.push('-');
            rest = after;
        }
    }
    masked + rest
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
