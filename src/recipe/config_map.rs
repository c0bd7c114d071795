//! A build's record as a ConfigMap, there and back.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::de::DeserializeOwned;

use super::record::{BuildRecord, Frozen, GuestKey, Progress};
use super::seal::SealKeys;
use crate::world::{Owner, Role};

/// Label by which a recipe's records are found; its value is the recipe's name.
pub const RECIPE_LABEL: &str = "goldsmith.dev/recipe";

const FROZEN: &str = "frozen.json";
const PROGRESS: &str = "progress.json";
const SEAL: &str = "seal";
const OUTPUT: &str = "output.";
const USER_DATA: &str = "user-data.";

/// A ConfigMap that is labelled as a record and is none.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("ConfigMap {name}: {key} {problem}; delete the ConfigMap{consequence}")]
pub struct Malformed {
    /// Of the ConfigMap.
    pub name: String,
    pub(super) key: &'static str,
    pub(super) problem: String,
    /// What follows from that, as the end of a sentence.
    pub(super) consequence: &'static str,
    /// Whether it says that its build has ended: then nothing stands on it any more but its entry in the history.
    pub ended: bool,
}

const FORGOTTEN: &str = ", and the build that it records is forgotten";

/// The ConfigMap of `record`, owned by the recipe and sealed: who may write ConfigMaps in its namespace is granted nothing by that.
pub fn to_config_map(record: &BuildRecord, owner: &Owner, reference: OwnerReference, keys: &SealKeys) -> ConfigMap {
    let mut data: BTreeMap<String, String> = record.outputs.clone();
    // Strings, numbers, lists and maps with string keys: JSON always holds them.
    data.insert(FROZEN.into(), serde_json::to_string(&record.frozen).unwrap_or_default());
    data.insert(
        PROGRESS.into(),
        serde_json::to_string(&record.progress).unwrap_or_default(),
    );
    let user_data = record
        .user_data
        .iter()
        .map(|(guest, bytes)| (user_data_key(*guest), ByteString(bytes.clone())));
    let mut config_map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(BuildRecord::config_map_name(&owner.name, record.number())),
            namespace: Some(owner.namespace.clone()),
            labels: Some([(RECIPE_LABEL.to_owned(), owner.name.clone())].into()),
            owner_references: Some(vec![reference]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        binary_data: Some(user_data.collect()),
        immutable: None,
    };
    // That of a build in hand stays with its key: without that nothing of it could be told from what others make.
    let keys = match record.is_active() {
        true => keys.led_by(&record.frozen.key),
        false => keys.clone(),
    };
    let seal = keys.seal_record(&sealed(&config_map, owner));
    config_map.data.get_or_insert_default().insert(SEAL.into(), seal);
    config_map
}

/// What the seal covers: everything that decides what is launched and what is removed; not the outputs, which are for people.
fn sealed<'a>(config_map: &'a ConfigMap, owner: &'a Owner) -> Vec<&'a [u8]> {
    let data = |key: &str| {
        config_map
            .data
            .as_ref()
            .and_then(|data| data.get(key))
            .map_or("", String::as_str)
    };
    let mut parts = vec![owner.uid.as_bytes(), data(FROZEN).as_bytes(), data(PROGRESS).as_bytes()];
    for (key, bytes) in config_map.binary_data.iter().flatten() {
        parts.extend([key.as_bytes(), &bytes.0]);
    }
    parts
}

/// Whether the first key has sealed the record in `config_map`.
pub fn is_sealed_by_first_key(config_map: &ConfigMap, owner: &Owner, keys: &SealKeys) -> bool {
    seal(config_map) == keys.seal_record(&sealed(config_map, owner))
}

fn seal(config_map: &ConfigMap) -> &str {
    let data = config_map.data.as_ref();
    data.and_then(|data| data.get(SEAL)).map_or("", String::as_str)
}

/// Whether something is `owner`'s, and not another object's, an earlier one of the same name say.
pub fn is_owned(metadata: &ObjectMeta, owner: &Owner) -> bool {
    let mut references = metadata.owner_references.iter().flatten();
    references.any(|reference| reference.uid == owner.uid)
}

/// The record in `config_map`; none when it belongs to another object, an earlier one of the same name say.
pub fn from_config_map(
    config_map: &ConfigMap,
    owner: &Owner,
    keys: &SealKeys,
) -> Result<Option<BuildRecord>, Malformed> {
    if !is_owned(&config_map.metadata, owner) {
        return Ok(None);
    }
    let ended = || read::<Progress>(config_map, PROGRESS).is_ok_and(|progress| progress.outcome.is_some());
    let Some(key) = keys.sealed_record(&sealed(config_map, owner), seal(config_map)) else {
        return Err(Malformed {
            name: config_map.metadata.name.clone().unwrap_or_default(),
            key: SEAL,
            problem: "does not fit: someone has changed the record, or its key is no longer in the configuration"
                .into(),
            consequence: FORGOTTEN,
            ended: ended(),
        });
    };
    let empty = BTreeMap::new();
    let data = config_map.data.as_ref().unwrap_or(&empty);
    let outputs = data
        .iter()
        .filter(|(key, _)| key.starts_with(OUTPUT))
        .map(|(key, text)| (key.clone(), text.clone()))
        .collect();
    let user_data = config_map
        .binary_data
        .iter()
        .flatten()
        .filter_map(|(key, bytes)| Some((guest_key(key)?, bytes.0.clone())))
        .collect();
    let mut frozen = read::<Frozen>(config_map, FROZEN)?;
    // Of before records told: it began with the key that has sealed it.
    if frozen.key.is_empty() {
        frozen.key = key;
    }
    let name = config_map.metadata.name.clone().unwrap_or_default();
    if name != BuildRecord::config_map_name(&owner.name, frozen.number) {
        return Err(Malformed {
            name,
            key: FROZEN,
            problem: format!("is a copy of that of build {}", frozen.number),
            consequence: ": nothing depends on it",
            ended: ended(),
        });
    }
    Ok(Some(BuildRecord {
        frozen,
        progress: read::<Progress>(config_map, PROGRESS)?,
        user_data,
        outputs,
    }))
}

fn read<T: DeserializeOwned>(config_map: &ConfigMap, key: &'static str) -> Result<T, Malformed> {
    let malformed = |problem: String| Malformed {
        name: config_map.metadata.name.clone().unwrap_or_default(),
        key,
        problem,
        consequence: FORGOTTEN,
        ended: false,
    };
    let text = config_map
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .ok_or_else(|| malformed("is missing".into()))?;
    serde_json::from_str(text).map_err(|error| malformed(format!("cannot be read: {error}")))
}

fn user_data_key(guest: GuestKey) -> String {
    format!("{USER_DATA}{}.{}", guest.role.as_str(), guest.attempt)
}

fn guest_key(key: &str) -> Option<GuestKey> {
    let (role, attempt) = key.strip_prefix(USER_DATA)?.split_once('.')?;
    let role = Role::GUESTS.into_iter().find(|guest| guest.as_str() == role)?;
    Some(GuestKey {
        attempt: attempt.parse().ok()?,
        role,
    })
}
