//! Objects as the server keeps them.

use goldsmith::api::ImageRecipe;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::events::v1::Event;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::address::Kind;

/// `object` with its defaults, without what its kind does not have; why not, if it is none of its kind.
pub fn canonical(kind: Kind, object: Value) -> Result<Value, String> {
    match kind {
        Kind::ConfigMap => through::<ConfigMap>(object),
        Kind::Event => through::<Event>(object),
        Kind::ImageRecipe => {
            let mut recipe = through::<ImageRecipe>(object)?;
            if recipe["status"].is_null() {
                // The one default of the definition that is not in the type.
                recipe["status"] = json!({"observedGeneration": -1});
            }
            Ok(recipe)
        }
        Kind::Lease => through::<Lease>(object),
        Kind::Namespace => through::<Namespace>(object),
    }
}

fn through<T: Serialize + DeserializeOwned>(object: Value) -> Result<Value, String> {
    let read: T = serde_json::from_value(object).map_err(|error| error.to_string())?;
    let mut written = serde_json::to_value(read).map_err(|error| error.to_string())?;
    strip_nulls(&mut written);
    Ok(written)
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// Leaves of the objects of a list what is said of every kind.
pub fn to_metadata_alone(list: &mut Value) {
    list["apiVersion"] = "meta.k8s.io/v1".into();
    list["kind"] = "PartialObjectMetadataList".into();
    for object in list["items"].as_array_mut().into_iter().flatten() {
        *object = json!({
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadata",
            "metadata": object["metadata"].take(),
        });
    }
}

/// `value` changed by a JSON Merge Patch (RFC 7386).
pub fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    let Value::Object(fields) = value else { return };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

/// A text of the metadata, empty if it is not there.
pub fn metadata<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Puts `value` into the metadata, or takes the field out.
pub fn set_metadata(object: &mut Value, field: &str, value: Option<Value>) {
    let metadata = match object.get_mut("metadata") {
        Some(Value::Object(metadata)) => metadata,
        _ => {
            object["metadata"] = json!({});
            return set_metadata(object, field, value);
        }
    };
    match value {
        Some(value) => metadata.insert(field.to_owned(), value),
        None => metadata.remove(field),
    };
}

/// The finalizers, in their order.
pub fn finalizers(object: &Value) -> Vec<&str> {
    let list = object["metadata"]["finalizers"].as_array();
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether its deletion has been asked for.
pub fn is_deleted(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Everything but `metadata` and `status`: a change of it is a new generation.
pub fn desired(object: &Value) -> Map<String, Value> {
    let fields = object.as_object().into_iter().flatten();
    let fields = fields.filter(|(name, _)| !["metadata", "status"].contains(&name.as_str()));
    fields.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A time of the metadata: whole seconds.
pub fn time(now: Timestamp) -> Value {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}
