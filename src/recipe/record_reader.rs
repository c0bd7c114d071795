//! Reads the records of builds. Whoever may write ConfigMaps in a namespace decides how many of them carry the label, and how large they are:
//! so metadata is read first, page by page, and of the rest only what may be a record and has changed, one after the other.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Semaphore;

use super::config_map::{Malformed, RECIPE_LABEL, from_config_map, is_owned, is_sealed_by_first_key};
use super::context::Error;
use super::record::BuildRecord;
use super::seal::SealKeys;
use crate::world::Owner;

/// ConfigMaps whose metadata is read at once. It may be as large as an object.
const PAGE: u32 = 16;
/// Most ConfigMaps with the label of one recipe.
const MOST_LISTED: usize = 512;
/// Most records of one recipe: the longest history, the build in hand, and some that are about to be deleted.
const MOST_READ: usize = 112;
/// Largest data, in bytes, that is kept until it changes; what is larger is read in every pass.
const LARGEST_KEPT: usize = 64 * 1024;
/// How many recipes' records are read at once.
const AT_ONCE: usize = 2;

/// What the ConfigMaps in its namespace tell of an object's builds.
#[derive(Debug, Default)]
pub struct Records {
    /// Oldest first.
    pub builds: Vec<BuildRecord>,
    /// Numbers of those that another key than the first has sealed.
    pub sealed_before: Vec<i64>,
    /// Labelled as records, and none.
    pub unreadable: Vec<Malformed>,
    /// Of builds of an earlier object of the name.
    pub foreign_numbers: Vec<i64>,
}

/// Reads records, and keeps what has not changed since it was read.
pub struct RecordReader {
    client: Client,
    keys: SealKeys,
    at_once: Semaphore,
    /// By the uid of the recipe, then by that of the ConfigMap.
    kept: Mutex<HashMap<String, HashMap<String, Kept>>>,
}

struct Kept {
    resource_version: String,
    found: Found,
}

/// What a ConfigMap turned out to be.
#[derive(Clone)]
enum Found {
    Record {
        record: Box<BuildRecord>,
        by_first_key: bool,
    },
    Unreadable(Malformed),
}

/// A ConfigMap that may be a record, by its metadata.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    number: i64,
    name: String,
    uid: String,
    resource_version: String,
}

impl RecordReader {
    pub fn new(client: Client, keys: SealKeys) -> Self {
        Self {
            client,
            keys,
            at_once: Semaphore::new(AT_ONCE),
            kept: Mutex::default(),
        }
    }

    /// Reads the records of the builds of `owner`, of which status says that the one of the number `in_hand` goes on.
    ///
    /// # Errors
    /// When Kubernetes denies them or cannot be asked, or when there are more than can be records.
    pub async fn read(&self, owner: &Owner, in_hand: Option<i64>) -> Result<Records, Error> {
        // It is never closed.
        let _turn = self.at_once.acquire().await;
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &owner.namespace);
        let mut records = Records::default();
        let candidates = candidates(&api, owner, &mut records.foreign_numbers).await?;
        self.lock()
            .entry(owner.uid.clone())
            .or_default()
            .retain(|uid, _| candidates.iter().any(|candidate| candidate.uid == *uid));
        for candidate in candidates {
            let found = match self.kept(owner, &candidate) {
                Some(found) => Some(found),
                None => self.get(&api, owner, &candidate.name).await?,
            };
            match found {
                Some(Found::Record { record, by_first_key }) => {
                    if !by_first_key {
                        records.sealed_before.push(record.number());
                    }
                    records.builds.push(*record);
                }
                // Forgotten, and its number is not used again: whoever could write this could as well have deleted it. But not in place of the
                // build in hand, which would be forgotten without a word.
                Some(Found::Unreadable(malformed)) if malformed.ended && in_hand != Some(candidate.number) => {
                    records.foreign_numbers.push(candidate.number);
                }
                Some(Found::Unreadable(malformed)) => records.unreadable.push(malformed),
                // It is another's by now, or gone.
                None => records.foreign_numbers.push(candidate.number),
            }
        }
        Ok(records)
    }

    /// Nothing of the recipe of that uid is kept any longer.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn kept(&self, owner: &Owner, candidate: &Candidate) -> Option<Found> {
        let kept = self.lock();
        let kept = kept.get(&owner.uid)?.get(&candidate.uid)?;
        (kept.resource_version == candidate.resource_version).then(|| kept.found.clone())
    }

    async fn get(&self, api: &Api<ConfigMap>, owner: &Owner, name: &str) -> Result<Option<Found>, Error> {
        let read = api.get_opt(name).await;
        let Some(config_map) = read.map_err(Error::reading_records(&owner.namespace))? else {
            return Ok(None);
        };
        let found = match from_config_map(&config_map, owner, &self.keys) {
            Ok(Some(record)) => Found::Record {
                // One of a build in hand stays with its own until that has ended.
                by_first_key: record.is_active() || is_sealed_by_first_key(&config_map, owner, &self.keys),
                record: Box::new(record),
            },
            Ok(None) => return Ok(None),
            Err(malformed) => {
                tracing::warn!(%malformed, "a record cannot be read; that of an ended build is left out of the history");
                Found::Unreadable(malformed)
            }
        };
        // Why something is none is short, whatever it is.
        let is_small = matches!(found, Found::Unreadable(_)) || size(&config_map) <= LARGEST_KEPT;
        if let (true, Some(uid), Some(resource_version)) = (is_small, config_map.uid(), config_map.resource_version()) {
            let found = found.clone();
            self.lock().entry(owner.uid.clone()).or_default().insert(
                uid,
                Kept {
                    resource_version,
                    found,
                },
            );
        }
        Ok(Some(found))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, Kept>>> {
        // What was put in is whole at every moment, whoever panicked.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may be a record of `owner`'s, oldest first; the numbers of what an earlier object of the name has left are added to `foreign`.
async fn candidates(api: &Api<ConfigMap>, owner: &Owner, foreign: &mut Vec<i64>) -> Result<Vec<Candidate>, Error> {
    let label = format!("{RECIPE_LABEL}={}", owner.name);
    let mut parameters = ListParams::default().labels(&label).limit(PAGE);
    let (mut listed, mut candidates) = (0, Vec::new());
    loop {
        let page = api.list_metadata(&parameters).await;
        let page = page.map_err(Error::reading_records(&owner.namespace))?;
        listed += page.items.len();
        for found in page.items {
            match candidate(found.metadata, owner) {
                Some(Ok(candidate)) => candidates.push(candidate),
                Some(Err(number)) => foreign.push(number),
                None => {}
            }
        }
        let too_many = |what: &str| Error::TooManyRecords {
            namespace: owner.namespace.clone(),
            what: what.to_owned(),
        };
        if listed > MOST_LISTED {
            return Err(too_many(&format!("more than {MOST_LISTED} carry the label {label}")));
        }
        if candidates.len() > MOST_READ {
            return Err(too_many(&format!(
                "more than {MOST_READ} are called as records of builds of {}",
                owner.name
            )));
        }
        match next_page(parameters, page.metadata) {
            Some(next) => parameters = next,
            None => break,
        }
    }
    candidates.sort();
    Ok(candidates)
}

/// What asks for the page after the one that was `listed`, if there is one.
pub fn next_page(asked: ListParams, listed: ListMeta) -> Option<ListParams> {
    let token = listed.continue_.filter(|token| !token.is_empty())?;
    Some(asked.continue_token(&token))
}

/// What may be a record of `owner`'s; the number alone of one that is another's.
fn candidate(metadata: ObjectMeta, owner: &Owner) -> Option<Result<Candidate, i64>> {
    let is_owned = is_owned(&metadata, owner);
    let name = metadata.name.unwrap_or_default();
    let number = BuildRecord::number_in(&name, &owner.name)?;
    Some(match is_owned {
        true => Ok(Candidate {
            number,
            name,
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata.resource_version.unwrap_or_default(),
        }),
        false => Err(number),
    })
}

/// How much a ConfigMap holds, in bytes.
fn size(config_map: &ConfigMap) -> usize {
    let text = config_map.data.iter().flatten().map(|(_, text)| text.len());
    let bytes = config_map.binary_data.iter().flatten().map(|(_, bytes)| bytes.0.len());
    text.chain(bytes).sum()
}

#[cfg(test)]
mod tests;
