//! A Kubernetes API server in memory, for the kinds that the controller touches and for what it asks of them.
//!
//! A test double, kept as small as that; `tests/conformance` runs on it and on a real one. It has no clock: every request says
//! what time it is.

mod address;
mod object;
mod refusal;
mod watch;
mod write;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use address::{Key, Kind};
pub use refusal::Refusal;
pub use watch::Events;

use self::address::{Address, query};
use self::watch::{Change, Watcher};

/// A request, as far as the server looks at it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// What is behind the `?`.
    pub query: String,
    pub content_type: String,
    pub accept: String,
    pub body: Vec<u8>,
}

/// What comes back.
#[derive(Debug)]
pub enum Answer {
    /// HTTP status and JSON.
    Value(u16, Value),
    /// The lines of a watch, as they come.
    Events(Events),
}

/// The objects, and how they came about.
#[derive(Debug, Default)]
pub struct ApiServer {
    /// The latest resourceVersion.
    revision: u64,
    /// What was before is forgotten: a watch that begins there is answered with 410.
    oldest: u64,
    objects: BTreeMap<Key, Value>,
    changes: Vec<Change>,
    watchers: Vec<Watcher>,
    uids: u64,
}

impl ApiServer {
    /// One in which nothing is but the namespace `kube-system`.
    pub fn new(now: Timestamp) -> Self {
        let mut server = Self {
            // As in a real one, nothing ever has a version of 0 or 1.
            revision: 1,
            ..Self::default()
        };
        let key = Key {
            kind: Kind::Namespace,
            namespace: String::new(),
            name: "kube-system".into(),
        };
        let created = server.create(now, &key, json!({"apiVersion": "v1", "kind": "Namespace"}));
        debug_assert!(created.is_ok(), "a namespace needs nothing but its name");
        server.oldest = server.revision;
        server
    }

    /// Answers a request made at `now`.
    pub fn handle(&mut self, now: Timestamp, request: &Request) -> Answer {
        self.answer(now, request)
            .unwrap_or_else(|refusal| Answer::Value(refusal.code, refusal.status()))
    }

    /// Forgets how the present came about: watches that begin earlier are answered with 410.
    pub fn compact(&mut self) {
        self.oldest = self.revision;
        self.changes.clear();
    }

    /// The objects of a kind.
    pub fn objects(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        let of_kind = self.objects.iter().filter(move |(key, _)| key.kind == kind);
        of_kind.map(|(_, object)| object)
    }

    fn answer(&mut self, now: Timestamp, request: &Request) -> Result<Answer, Refusal> {
        let query = query(&request.query);
        let address = Address::parse(&request.path)?;
        let body = || {
            serde_json::from_slice::<Value>(&request.body)
                .map_err(|error| Refusal::bad_request(format!("the body is no JSON: {error}")))
        };
        let (code, value) = match (request.method.as_str(), address) {
            ("GET", Address::Kinds(api_version)) => (200, kinds(&api_version, &request.path)?),
            ("GET", Address::Collection { kind, namespace }) if query.contains_key("watch") => {
                let events = self.watch(kind, namespace, &query)?;
                return Ok(Answer::Events(events));
            }
            ("GET", Address::Collection { kind, namespace }) => {
                let mut list = self.list(kind, namespace.as_deref(), &query)?;
                if request.accept.contains("as=PartialObjectMetadataList") {
                    object::to_metadata_alone(&mut list);
                }
                (200, list)
            }
            ("GET", Address::Object { key, .. }) => (200, self.present(&key)?.clone()),
            ("POST", Address::Collection { kind, namespace }) => {
                let body = body()?;
                let key = Key {
                    kind,
                    namespace: namespace.unwrap_or_default(),
                    name: object::metadata(&body, "name").to_owned(),
                };
                (201, self.create(now, &key, body)?)
            }
            ("PUT", Address::Object { key, status: false }) => (200, self.replace(&key, body()?)?),
            ("PUT", Address::Object { key, status: true }) => (200, self.replace_status(&key, &body()?)?),
            ("PATCH", Address::Object { key, status: false }) => match request.content_type.as_str() {
                "application/merge-patch+json" => (200, self.merge(&key, &body()?)?),
                other => return Err(Refusal::media_type(other)),
            },
            ("DELETE", Address::Object { key, status: false }) => (200, self.delete(now, &key)?),
            (method, _) => return Err(Refusal::method(method)),
        };
        Ok(Answer::Value(code, value))
    }

    fn present(&self, key: &Key) -> Result<&Value, Refusal> {
        self.objects.get(key).ok_or_else(|| Refusal::not_found(key))
    }

    fn list(&self, kind: Kind, namespace: Option<&str>, query: &BTreeMap<String, String>) -> Result<Value, Refusal> {
        let label = label(query)?;
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(key, _)| key.kind == kind && namespace.is_none_or(|namespace| namespace == key.namespace))
            .map(|(_, object)| object)
            .filter(|object| {
                label.is_none_or(|(name, value)| object["metadata"]["labels"][name].as_str() == Some(value))
            })
            .collect();
        let first = self.first_of_page(query)?;
        let limit = query.get("limit").and_then(|limit| limit.parse().ok());
        let limit = limit.filter(|limit| *limit > 0).unwrap_or(items.len());
        let page: Vec<&Value> = items.iter().copied().skip(first).take(limit).collect();
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        let next = first + page.len();
        if next < items.len() {
            metadata["continue"] = format!("{}.{next}", self.revision).into();
            metadata["remainingItemCount"] = (items.len() - next).into();
        }
        Ok(json!({
            "apiVersion": kind.api_version(),
            "kind": format!("{}List", kind.name()),
            "metadata": metadata,
            "items": page,
        }))
    }

    /// How many objects the pages before have had. A list whose objects have changed meanwhile is not gone on with, as if what they were
    /// were forgotten.
    fn first_of_page(&self, query: &BTreeMap<String, String>) -> Result<usize, Refusal> {
        let Some(token) = query.get("continue") else {
            return Ok(0);
        };
        let read = token.split_once('.');
        let read = read.and_then(|(revision, first)| Some((revision.parse::<u64>().ok()?, first.parse().ok()?)));
        match read {
            Some((revision, first)) if revision == self.revision => Ok(first),
            Some((revision, _)) => Err(Refusal::expired(revision, self.revision)),
            None => Err(Refusal::bad_request(format!("continue key is not valid: {token}"))),
        }
    }
}

/// The one label that is asked for, if any is.
fn label(query: &BTreeMap<String, String>) -> Result<Option<(&str, &str)>, Refusal> {
    let Some(selector) = query.get("labelSelector") else {
        return Ok(None);
    };
    let unknown = || {
        Refusal::bad_request(format!(
            "label selectors other than name=value are not served: {selector}"
        ))
    };
    selector.split_once('=').map(Some).ok_or_else(unknown)
}

/// Which kinds a group has; only our own is ever asked for.
fn kinds(api_version: &str, path: &str) -> Result<Value, Refusal> {
    let kind = Kind::ImageRecipe;
    if api_version != kind.api_version() {
        return Err(Refusal::not_served(path));
    }
    let named = json!({
        "name": kind.plural(),
        "singularName": "imagerecipe",
        "namespaced": true,
        "kind": kind.name(),
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
    });
    Ok(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": [named]}))
}
