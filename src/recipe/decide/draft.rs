//! A decision in the making: collects effects, notes and the next status.

use std::time::Duration;

use jiff::Timestamp;

use super::leftovers::Claims;
use super::{IDLE, SOON};
use crate::api::{BuildResult, BuildStatus, HistoryEntry, LatestStatus, Phase, Readiness, Reason, SourceStatus};
use crate::recipe::observation::Observation;
use crate::recipe::plan::{Draft, Effect, Note, Plan};
use crate::recipe::record::{BuildRecord, Failure, Outcome};
use crate::recipe::report::{denied, denied_pause};
use crate::recipe::{bounded, time};
use crate::world::{AwsError, ErrorClass, Image, ImageId};

/// Between two tries to read what EC2 does not tell. What the region's reads bring in between wakes the recipe.
const UNANSWERED: Duration = Duration::from_secs(15);

pub(super) struct Decision<'a> {
    pub observed: &'a Observation,
    pub effects: Vec<Effect>,
    pub notes: Vec<Note>,
    pub look_again: Duration,
    /// Which temporary things the build in hand still needs.
    pub claims: Claims,
    pub build: Option<BuildStatus>,
    pub latest: Option<LatestStatus>,
    readiness: Option<Readiness>,
    source: Result<SourceStatus, Failure>,
    pub content_hash: Option<String>,
    /// The image that answers the present inputs, or did last.
    pub answer: Option<ImageId>,
    /// Since when EC2 has not shown the image that was made of the present inputs.
    pub image_missing_since: Option<Timestamp>,
}

impl<'a> Decision<'a> {
    pub fn new(observed: &'a Observation) -> Self {
        let status = observed.status();
        Self {
            observed,
            effects: Vec::new(),
            notes: Vec::new(),
            look_again: IDLE,
            claims: Claims::none(),
            build: None,
            latest: status.latest.clone(),
            readiness: None,
            source: status
                .source
                .values()
                .next()
                .cloned()
                .ok_or_else(|| Failure::new(Reason::Unknown, "the source has not been looked up yet")),
            content_hash: status.content_hash,
            answer: None,
            image_missing_since: None,
        }
    }

    pub fn found_source(&mut self, image: &Image) {
        self.source = Ok(SourceStatus {
            image_id: image.id.to_string(),
            name: image.name.clone(),
            owner_id: image.owner_id.clone(),
            creation_time: image.creation_time.map(time),
        });
    }

    pub fn found_no_source(&mut self, failure: Failure) {
        self.source = Err(failure);
    }

    pub fn ready(&mut self, reason: Reason, message: impl Into<String>) {
        self.readiness = Some(Readiness::Ready {
            reason,
            message: message.into(),
        });
    }

    pub fn progressing(&mut self, reason: Reason, message: impl Into<String>) {
        self.readiness = Some(Readiness::Progressing {
            reason,
            message: message.into(),
        });
        self.look_again = SOON;
    }

    /// A console cannot be read, so nobody knows how far its instance is.
    pub fn cannot_hear(&mut self, error: &AwsError) {
        self.waits_for_answer(error, Reason::ConsoleUnavailable);
    }

    /// AWS does not say what the spec refers to. An image that is there is no worse for that.
    pub fn unanswered(&mut self, error: &AwsError) {
        if self.observed.spec().suspend {
            self.look_again = UNANSWERED;
            return self.suspended();
        }
        let status = self.observed.status();
        let ready = crate::api::get(&status.conditions, crate::api::READY).filter(|ready| ready.status == "True");
        match ready.filter(|_| error.class != ErrorClass::Denied) {
            Some(ready) => {
                let reason = Reason::read(&ready.reason).unwrap_or(Reason::ImageProven);
                self.ready(reason, ready.message.clone());
                self.look_again = UNANSWERED;
            }
            None => self.waits_for_answer(error, Reason::AWSUnavailable),
        }
    }

    fn waits_for_answer(&mut self, error: &AwsError, reason: Reason) {
        if error.class == ErrorClass::Denied {
            self.readiness = Some(denied(error));
            self.look_again = denied_pause(self.observed);
        } else {
            self.progressing(reason, error.to_string());
            self.look_again = UNANSWERED;
        }
    }

    /// On the way to an image that replaces a good one for no reason of the spec's: what is wanted is there meanwhile.
    pub fn building(&mut self, record: &BuildRecord, reason: Reason, message: impl Into<String>) {
        if super::upkeep::serves(self, record) {
            self.ready(Reason::Rebuilding, format!("{reason}: {}", message.into()));
            self.look_again = SOON;
        } else {
            self.progressing(reason, message);
        }
    }

    pub fn stalled(&mut self, failure: &Failure) {
        self.readiness = Some(Readiness::Stalled {
            reason: failure.reason,
            message: failure.message.clone(),
        });
    }

    pub fn suspended(&mut self) {
        self.readiness = Some(Readiness::Suspended);
    }

    /// The spec cannot be built from as it is; nothing is begun anyway while it is suspended.
    pub fn refuse(&mut self, failure: Failure) {
        if self.observed.spec().suspend {
            return self.suspended();
        }
        self.stalled(&failure);
        if self.changes_reason(failure.reason) {
            self.warn("Refused", failure.message.clone());
        }
    }

    fn changes_reason(&self, reason: Reason) -> bool {
        let status = self.observed.status();
        crate::api::get(&status.conditions, crate::api::READY)
            .is_none_or(|condition| condition.reason != reason.as_str())
    }

    pub fn note(&mut self, reason: &'static str, text: impl Into<String>) {
        self.notes.push(Note {
            warning: false,
            reason,
            text: text.into(),
        });
    }

    pub fn warn(&mut self, reason: &'static str, text: impl Into<String>) {
        self.notes.push(Note {
            warning: true,
            reason,
            text: text.into(),
        });
    }

    /// The build is no longer what the recipe asks for.
    pub fn abandon(&mut self, record: &BuildRecord, why: &str) {
        let words = format!("build {} is abandoned: {why}", record.number());
        self.end(record, BuildResult::Superseded, None, None);
        self.note("BuildSuperseded", words.clone());
        self.progressing(Reason::Superseded, words);
    }

    /// Writes how the build ended; nothing of it is claimed any longer.
    pub fn end(&mut self, record: &BuildRecord, result: BuildResult, image: Option<ImageId>, failure: Option<Failure>) {
        let outcome = Outcome {
            result,
            time: self.observed.now,
            attempts: record.progress.attempt,
            image,
            failure,
        };
        self.effects.push(Effect::EndBuild {
            build: record.number(),
            outcome,
        });
        self.build = None;
        self.claims = Claims::none();
        self.look_again = SOON;
    }

    pub fn set_phase(&mut self, phase: Phase) {
        if let Some(architecture) = self.build.as_mut().and_then(|build| build.architectures.first_mut()) {
            architecture.phase = phase;
        }
    }

    pub fn into_plan(self) -> Plan {
        // Every way through `decide` says something; one that did not would leave the object looking finished.
        let readiness = self.readiness.unwrap_or(Readiness::Progressing {
            reason: Reason::Reconciling,
            message: "the recipe is being looked at".to_owned(),
        });
        Plan {
            effects: self.effects,
            draft: Draft {
                readiness,
                source: self.source,
                content_hash: self.content_hash,
                build: self.build,
                latest: self.latest,
                image_missing_since: self.image_missing_since,
            },
            notes: self.notes,
            look_again: self.look_again,
        }
    }
}

/// The history that the records tell, newest first.
pub fn history(records: &[BuildRecord], limit: usize) -> Vec<HistoryEntry> {
    let ended = records
        .iter()
        .rev()
        .filter_map(|record| Some((record, record.progress.outcome.as_ref()?)));
    ended
        .take(limit)
        .map(|(record, outcome)| HistoryEntry {
            build: record.number(),
            result: outcome.result,
            reason: record.frozen.reason.as_str().to_owned(),
            changed: record.frozen.changed.clone(),
            content_hash: record.frozen.content_hash.clone(),
            name: record.frozen.image_name.clone(),
            images: outcome
                .image
                .iter()
                .filter_map(|image| {
                    let spec = &record.frozen.spec;
                    let architecture = spec.build.architectures.first()?.as_str().to_owned();
                    Some((spec.region.clone(), [(architecture, image.to_string())].into()))
                })
                .collect(),
            attempts: outcome.attempts,
            start_time: Some(time(record.frozen.start_time)),
            end_time: Some(time(outcome.time)),
            message: ended_how(record, outcome),
        })
        .collect()
}

/// What a person should know of a build's end.
fn ended_how(record: &BuildRecord, outcome: &Outcome) -> Option<String> {
    let warnings = &record.progress.proof.warnings;
    match &outcome.failure {
        Some(failure) => Some(format!("{}: {}", failure.reason, failure.message)),
        None if outcome.result == BuildResult::Succeeded && !warnings.is_empty() => {
            Some(bounded(&format!("this was let pass: {}", warnings.join("; "))))
        }
        None => None,
    }
}
