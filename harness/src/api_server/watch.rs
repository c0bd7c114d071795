//! Watches: every change once, in order, from a version on.

use std::collections::{BTreeMap, VecDeque};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use serde_json::{Value, json};

use super::{ApiServer, Key, Kind, Refusal};

/// What has become of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Added,
    Modified,
    Deleted,
}

impl Type {
    fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// A change, as watches that begin earlier are told of it.
#[derive(Clone, Debug)]
pub(super) struct Change {
    revision: u64,
    key: Key,
    type_: Type,
    object: Value,
}

/// Someone who watches.
#[derive(Debug)]
pub(super) struct Watcher {
    kind: Kind,
    namespace: Option<String>,
    sender: UnboundedSender<Value>,
}

impl Watcher {
    /// Whether it still wants to be told.
    fn tell(&self, change: &Change) -> bool {
        let wanted = change.key.kind == self.kind
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == change.key.namespace);
        match wanted {
            true => self
                .sender
                .unbounded_send(event(change.type_.as_str(), &change.object))
                .is_ok(),
            false => !self.sender.is_closed(),
        }
    }
}

/// What a watch is told: first what has been, then what comes.
#[derive(Debug)]
pub struct Events {
    /// Comes at once.
    pub first: VecDeque<Value>,
    /// Comes as it happens; never, where a watch ends with what is in `first`.
    pub later: Option<UnboundedReceiver<Value>>,
    /// The kind whose bookmarks end the watch.
    kind: Kind,
    /// After how many seconds the server ends the watch.
    pub seconds: u64,
}

impl Events {
    /// What says up to which version everything has been told.
    pub fn bookmark(&self, revision: u64) -> Value {
        bookmark(self.kind, revision, false)
    }
}

impl ApiServer {
    /// The latest resourceVersion.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Ends all watches with 410, and forgets how the present came about.
    pub fn expire(&mut self) {
        self.compact();
        let expired = event("ERROR", &Refusal::expired(self.revision, self.oldest).status());
        for watcher in self.watchers.drain(..) {
            // Whoever is gone need not be told.
            let _ = watcher.sender.unbounded_send(expired.clone());
        }
    }

    pub(super) fn tell(&mut self, key: &Key, type_: Type, object: &Value) {
        let change = Change {
            revision: self.revision,
            key: key.clone(),
            type_,
            object: object.clone(),
        };
        self.watchers.retain(|watcher| watcher.tell(&change));
        self.changes.push(change);
    }

    pub(super) fn watch(
        &mut self,
        kind: Kind,
        namespace: Option<String>,
        query: &BTreeMap<String, String>,
    ) -> Result<Events, Refusal> {
        if query.contains_key("labelSelector") || query.contains_key("fieldSelector") {
            return Err(Refusal::bad_request("selectors are not served for watches".into()));
        }
        let number = |name: &str| match query.get(name) {
            None => Ok(None),
            Some(text) => match text.parse::<u64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Refusal::bad_request(format!("{name}: Invalid value: {text:?}"))),
            },
        };
        let from = number("resourceVersion")?.filter(|revision| *revision > 0);
        let mut events = Events {
            first: VecDeque::new(),
            later: None,
            kind,
            seconds: number("timeoutSeconds")?.unwrap_or(1800),
        };
        let here =
            |key: &Key| key.kind == kind && namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
        match from {
            Some(from) if from < self.oldest => {
                let expired = Refusal::expired(from, self.oldest).status();
                events.first.push_back(event("ERROR", &expired));
                return Ok(events);
            }
            Some(from) => {
                let newer = self
                    .changes
                    .iter()
                    .filter(|change| change.revision > from && here(&change.key));
                let newer = newer.map(|change| event(change.type_.as_str(), &change.object));
                events.first.extend(newer);
            }
            // From any version: what is there is told as if it had just been made.
            None => {
                let there = self.objects.iter().filter(|(key, _)| here(key));
                let there = there.map(|(_, object)| event(Type::Added.as_str(), object));
                events.first.extend(there);
            }
        }
        if query.get("sendInitialEvents").is_some_and(|value| value == "true") {
            events.first.push_back(bookmark(kind, self.revision, true));
        }
        let (sender, later) = unbounded();
        events.later = Some(later);
        self.watchers.push(Watcher {
            kind,
            namespace,
            sender,
        });
        Ok(events)
    }
}

fn event(type_: &str, object: &Value) -> Value {
    json!({"type": type_, "object": object})
}

fn bookmark(kind: Kind, revision: u64, ends_list: bool) -> Value {
    let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
    if ends_list {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata});
    event("BOOKMARK", &object)
}
