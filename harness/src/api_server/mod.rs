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
    /// Of a list, whether metadata alone is wanted.
    pub accept: String,
    pub content_type: String,
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
                let listed = self.list(kind, namespace.as_deref(), &query)?;
                let of_metadata = request.accept.contains("as=PartialObjectMetadataList");
                (
                    200,
                    if of_metadata {
                        object::metadata_alone(&listed)
                    } else {
                        listed
                    },
                )
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
        let limit = match query.get("limit").map(|limit| limit.parse()) {
            None | Some(Ok(0)) => usize::MAX,
            Some(Ok(limit)) => limit,
            Some(Err(error)) => return Err(Refusal::bad_request(format!("limit: {error}"))),
        };
        let from = query.get("continue").map(String::as_str).unwrap_or_default();
        let mut found = self
            .objects
            .iter()
            .filter(|(key, _)| key.kind == kind && namespace.is_none_or(|namespace| namespace == key.namespace))
            .filter(|(key, _)| from < place(key).as_str())
            .filter(|(_, object)| {
                label.is_none_or(|(name, value)| object["metadata"]["labels"][name].as_str() == Some(value))
            })
            .peekable();
        let (mut items, mut next) = (Vec::new(), String::new());
        while let Some((key, object)) = found.next() {
            items.push(object);
            if items.len() == limit && found.peek().is_some() {
                next = place(key);
                break;
            }
        }
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        if !next.is_empty() {
            metadata["continue"] = next.into();
        }
        Ok(json!({
            "apiVersion": kind.api_version(),
            "kind": format!("{}List", kind.name()),
            "metadata": metadata,
            "items": items,
        }))
    }
}

/// Where in a list of its kind an object is: what a page ends with.
fn place(key: &Key) -> String {
    format!("{}/{}", key.namespace, key.name)
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
