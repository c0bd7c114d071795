//! Events: what a person would want to be told of an object.
//!
//! Written directly and not by kube's recorder, which reads its own clock and forgets a new note under an old reason.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest, Sha256};

use super::Clock;
use crate::api::truncated;

/// What Events name as their reporter.
const REPORTING_CONTROLLER: &str = "goldsmith.dev/controller";
/// Longest note, in bytes, that the API server takes.
const NOTE_LIMIT: usize = 1024;
/// Longest name of the instance that reports.
const INSTANCE_LIMIT: usize = 128;
/// Longest name of an object.
const NAME_LIMIT: usize = 253;

/// Whether an Event tells of something good or bad, by Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteType {
    /// Nothing that anyone has to act on.
    Normal,
    /// Something has gone wrong, or is about to.
    Warning,
}

impl NoteType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What an Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The Event's `type`.
    pub type_: NoteType,
    /// Why, in one word, for example `BuildStarted`.
    pub reason: String,
    /// What was done, in one word, for example `Launch`.
    pub action: String,
    /// For people; shortened to 1,024 bytes.
    pub note: String,
    /// Number of the build that it is about; the same reason and note are told once a build. 0: about none.
    pub build: i64,
}

/// Publishes Events.
#[derive(Clone)]
pub struct Recorder {
    client: Client,
    clock: Clock,
    instance: String,
}

impl Recorder {
    /// Events that name `instance` (the identity that holds the Lease) as the one who reports.
    pub fn new(client: Client, clock: Clock, instance: &str) -> Self {
        Self {
            client,
            clock,
            instance: truncated(instance, INSTANCE_LIMIT).to_owned(),
        }
    }

    /// Tells people of something that happened to `regarding`. An Event is never worth a failed pass: what goes wrong
    /// is logged and forgotten.
    pub async fn publish(&self, regarding: &ObjectReference, note: Note) {
        let event = event(regarding, &note, &self.instance, self.clock.now());
        let events: Api<Event> =
            Api::namespaced(self.client.clone(), regarding.namespace.as_deref().unwrap_or("default"));
        match events.create(&PostParams::default(), &event).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => tracing::warn!(reason = note.reason, %error, "cannot publish an Event"),
        }
    }
}

/// The Event for `note`. Its name is made of what it says, so that saying it again within a build changes nothing.
fn event(regarding: &ObjectReference, note: &Note, instance: &str, now: Timestamp) -> Event {
    let said = format!("{:?}", (&regarding.uid, note.build, &note.reason, &note.note));
    let digest = hex::encode(&Sha256::digest(said.as_bytes())[..8]);
    let name = truncated(
        regarding.name.as_deref().unwrap_or_default(),
        NAME_LIMIT - digest.len() - 1,
    );
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{digest}")),
            namespace: regarding.namespace.clone(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        reporting_controller: Some(REPORTING_CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        regarding: Some(regarding.clone()),
        type_: Some(note.type_.as_str().to_owned()),
        reason: Some(note.reason.clone()),
        action: Some(note.action.clone()),
        note: Some(truncated(&note.note, NOTE_LIMIT).to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regarding() -> ObjectReference {
        ObjectReference {
            api_version: Some("goldsmith.dev/v1alpha1".into()),
            kind: Some("ImageRecipe".into()),
            namespace: Some("platform".into()),
            name: Some("web".into()),
            uid: Some("11111111-2222-3333-4444-555555555555".into()),
            ..ObjectReference::default()
        }
    }

    fn note(text: &str, build: i64) -> Note {
        let (reason, action) = ("StepFailed".to_owned(), "Build".to_owned());
        Note {
            type_: NoteType::Warning,
            reason,
            action,
            note: text.to_owned(),
            build,
        }
    }

    fn name(regarding: &ObjectReference, note: &Note) -> String {
        event(regarding, note, "one", Timestamp::UNIX_EPOCH)
            .metadata
            .name
            .unwrap()
    }

    #[test]
    fn the_same_words_are_told_once_a_build_and_different_ones_always() {
        let first = name(&regarding(), &note("step packages failed", 1));
        assert_eq!(name(&regarding(), &note("step packages failed", 1)), first);
        let recreated = ObjectReference {
            uid: Some("another".into()),
            ..regarding()
        };
        for other in [
            name(&regarding(), &note("step packages failed", 2)),
            name(&regarding(), &note("step site failed", 1)),
            name(
                &regarding(),
                &Note {
                    reason: "CheckFailed".into(),
                    ..note("step packages failed", 1)
                },
            ),
            name(&recreated, &note("step packages failed", 1)),
        ] {
            assert_ne!(other, first);
        }
    }

    #[test]
    fn the_longest_words_and_names_are_accepted_by_the_api_server() {
        let long = ObjectReference {
            name: Some("n".repeat(253)),
            ..regarding()
        };
        let event = event(&long, &note(&"語".repeat(1000), 1), "one", Timestamp::UNIX_EPOCH);
        assert_eq!(event.metadata.name.unwrap().len(), NAME_LIMIT);
        assert!((NOTE_LIMIT - 2..=NOTE_LIMIT).contains(&event.note.unwrap().len()));
        assert_eq!(
            (event.type_.as_deref(), event.metadata.namespace.as_deref()),
            (Some("Warning"), Some("platform"))
        );
    }
}
