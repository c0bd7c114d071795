//! Series about recipes, read off their status as the watch brings it: level, not edge, so nothing has to be told to
//! the metrics by the reconciler, and a restart begins with the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use kube::ResourceExt;
use prometheus::{GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec, Registry};

use super::metrics::{counters, gauges, histograms, seconds};
use crate::api::{BuildResult, HistoryEntry, ImageRecipe, Phase};
use crate::recipe::record::BuildReason;

const KIND: &str = "ImageRecipe";
const MINUTE: f64 = 60.0;
/// Builds take minutes to an hour; the last bound is the longest timeout that anyone writes.
const BUILD_SECONDS: &[f64] = &[
    MINUTE,
    2.0 * MINUTE,
    5.0 * MINUTE,
    10.0 * MINUTE,
    20.0 * MINUTE,
    40.0 * MINUTE,
    60.0 * MINUTE,
    120.0 * MINUTE,
    240.0 * MINUTE,
];
const PHASE_SECONDS: &[f64] = &[
    5.0,
    15.0,
    30.0,
    MINUTE,
    2.0 * MINUTE,
    5.0 * MINUTE,
    10.0 * MINUTE,
    30.0 * MINUTE,
    60.0 * MINUTE,
];
/// Every status that a condition can have, in the label's words.
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// The series, and what has to be remembered of each recipe to count its builds once and to take its series away.
pub struct Recipes {
    conditions: IntGaugeVec,
    builds: IntCounterVec,
    build_seconds: HistogramVec,
    phase_seconds: HistogramVec,
    boot_seconds: GaugeVec,
    age_seconds: GaugeVec,
    known: Mutex<BTreeMap<Key, Known>>,
}

/// Namespace and name.
type Key = (String, String);

#[derive(Debug, Default)]
struct Known {
    uid: String,
    /// Types of the conditions that have series.
    conditions: BTreeSet<String>,
    /// Architectures that have a boot time.
    booted: BTreeSet<String>,
    proven: Option<Timestamp>,
    /// Number of the newest build that has ended.
    ended: i64,
    /// Phase by architecture, with the time at which it was seen to begin; none for one that was met half-way.
    phases: BTreeMap<&'static str, (Phase, Option<Timestamp>)>,
}

impl Recipes {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            conditions: gauges(
                registry,
                "goldsmith_status_condition",
                "1 for the status that a condition of the object has, 0 for the others.",
                &["kind", "namespace", "name", "type", "status"],
            )?,
            builds: counters(
                registry,
                "goldsmith_builds_total",
                "Builds that have ended while this process led, by how they ended and why they had begun.",
                &["result", "reason"],
            )?,
            build_seconds: histograms(
                registry,
                "goldsmith_build_duration_seconds",
                "How long builds took, all attempts together.",
                &["result"],
                BUILD_SECONDS,
            )?,
            phase_seconds: histograms(
                registry,
                "goldsmith_build_phase_duration_seconds",
                "How long the phases of builds took; only phases that this process saw begin and end.",
                &["phase"],
                PHASE_SECONDS,
            )?,
            boot_seconds: seconds(
                registry,
                "goldsmith_image_boot_seconds",
                "Launch call to the first moment at which every check had passed, of the newest proven image.",
                &["namespace", "recipe", "architecture"],
            )?,
            age_seconds: seconds(
                registry,
                "goldsmith_image_age_seconds",
                "Age of the newest proven image.",
                &["namespace", "recipe"],
            )?,
            known: Mutex::default(),
        })
    }

    /// The watch has brought `recipe`. Only a process that leads counts builds: standbys see the same objects.
    pub fn seen(&self, recipe: &ImageRecipe, leads: bool, now: Timestamp) {
        let key = key(recipe);
        let uid = recipe.uid().unwrap_or_default();
        let mut known = self.known();
        if known.get(&key).is_some_and(|known| known.uid != uid) {
            self.forget(&key, known.remove(&key));
        }
        match known.get_mut(&key) {
            Some(known) => self.changed(&key, known, recipe, leads, now),
            None => {
                let mut met = Known {
                    uid,
                    ended: newest_ended(recipe),
                    phases: phases(recipe),
                    ..Known::default()
                };
                self.changed(&key, &mut met, recipe, leads, now);
                known.insert(key, met);
            }
        }
    }

    /// The recipe is gone, and so are its series.
    pub fn gone(&self, recipe: &ImageRecipe) {
        let key = key(recipe);
        let known = self.known().remove(&key);
        self.forget(&key, known);
    }

    /// The watch has listed everything anew: what is not in `uids` has gone while nobody was looking.
    pub fn listed(&self, uids: &BTreeSet<String>) {
        let mut known = self.known();
        let gone: Vec<Key> = known
            .iter()
            .filter(|(_, known)| !uids.contains(&known.uid))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.forget(&key, known.remove(&key));
        }
    }

    /// Brings the ages up to `now`.
    pub(super) fn age(&self, now: Timestamp) {
        for ((namespace, name), known) in self.known().iter() {
            if let Some(proven) = known.proven {
                self.age_seconds
                    .with_label_values(&[namespace, name])
                    .set(now.duration_since(proven).as_secs_f64());
            }
        }
    }

    fn changed(&self, key: &Key, known: &mut Known, recipe: &ImageRecipe, leads: bool, now: Timestamp) {
        self.conditions_changed(key, known, recipe);
        self.latest_changed(key, known, recipe);
        let ended = newest_ended(recipe);
        if leads {
            let new = recipe
                .status
                .iter()
                .flat_map(|status| &status.history)
                .filter(|entry| entry.build > known.ended);
            new.for_each(|entry| self.count(entry));
        }
        known.ended = known.ended.max(ended);
        self.phases_changed(known, recipe, leads, now);
    }

    fn conditions_changed(&self, (namespace, name): &Key, known: &mut Known, recipe: &ImageRecipe) {
        let conditions = recipe.status.as_ref().map_or(&[][..], |status| &status.conditions);
        for condition in conditions {
            for status in STATUSES {
                let labels = [KIND, namespace, name, &condition.type_, status];
                self.conditions
                    .with_label_values(&labels)
                    .set((condition.status == status).into());
            }
        }
        let present: BTreeSet<String> = conditions.iter().map(|condition| condition.type_.clone()).collect();
        for type_ in known.conditions.difference(&present) {
            self.remove_condition(namespace, name, type_);
        }
        known.conditions = present;
    }

    fn latest_changed(&self, (namespace, name): &Key, known: &mut Known, recipe: &ImageRecipe) {
        let latest = recipe.status.as_ref().and_then(|status| status.latest.as_ref());
        known.proven = latest.and_then(|latest| latest.proven_time.as_ref()).map(|time| time.0);
        if known.proven.is_none() {
            // An error says that there was none.
            let _ = self.age_seconds.remove_label_values(&[namespace, name]);
        }
        let mut booted = BTreeSet::new();
        if let Some((latest, milliseconds)) = latest.and_then(|latest| Some((latest, latest.boot_milliseconds?))) {
            for architecture in latest.images.values().flat_map(BTreeMap::keys) {
                self.boot_seconds
                    .with_label_values(&[namespace, name, architecture])
                    .set(milliseconds as f64 / 1000.0);
                booted.insert(architecture.clone());
            }
        }
        for architecture in known.booted.difference(&booted) {
            let _ = self.boot_seconds.remove_label_values(&[namespace, name, architecture]);
        }
        known.booted = booted;
    }

    fn phases_changed(&self, known: &mut Known, recipe: &ImageRecipe, leads: bool, now: Timestamp) {
        let present = phases(recipe);
        known.phases.retain(|architecture, (phase, since)| {
            let stays = present.get(architecture).is_some_and(|(present, _)| present == phase);
            if let (false, true, Some(since)) = (stays, leads, *since) {
                let took = now.duration_since(since).as_secs_f64();
                self.phase_seconds
                    .with_label_values(&[phase_label(*phase)])
                    .observe(took);
            }
            stays
        });
        for (architecture, (phase, _)) in present {
            known.phases.entry(architecture).or_insert((phase, Some(now)));
        }
    }

    fn count(&self, entry: &HistoryEntry) {
        let result = result_label(entry.result);
        // Status can be written by others, and every new word would be a new series.
        let reason = BuildReason::read(&entry.reason).map_or("other", BuildReason::as_str);
        self.builds.with_label_values(&[result, reason]).inc();
        if let (Some(start), Some(end)) = (&entry.start_time, &entry.end_time) {
            self.build_seconds
                .with_label_values(&[result])
                .observe(end.0.duration_since(start.0).as_secs_f64());
        }
    }

    fn forget(&self, (namespace, name): &Key, known: Option<Known>) {
        let Some(known) = known else { return };
        for type_ in &known.conditions {
            self.remove_condition(namespace, name, type_);
        }
        for architecture in &known.booted {
            let _ = self.boot_seconds.remove_label_values(&[namespace, name, architecture]);
        }
        let _ = self.age_seconds.remove_label_values(&[namespace, name]);
    }

    fn remove_condition(&self, namespace: &str, name: &str, type_: &str) {
        for status in STATUSES {
            let _ = self
                .conditions
                .remove_label_values(&[KIND, namespace, name, type_, status]);
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Key, Known>> {
        // A panic in between leaves a series too many or too few, which the next event mends.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(recipe: &ImageRecipe) -> Key {
    (recipe.namespace().unwrap_or_default(), recipe.name_any())
}

fn newest_ended(recipe: &ImageRecipe) -> i64 {
    recipe
        .status
        .iter()
        .flat_map(|status| &status.history)
        .map(|entry| entry.build)
        .max()
        .unwrap_or(0)
}

fn phases(recipe: &ImageRecipe) -> BTreeMap<&'static str, (Phase, Option<Timestamp>)> {
    let build = recipe.status.as_ref().and_then(|status| status.build.as_ref());
    let architectures = build.iter().flat_map(|build| &build.architectures);
    architectures
        .map(|status| (status.architecture.as_str(), (status.phase, None)))
        .collect()
}

fn result_label(result: BuildResult) -> &'static str {
    match result {
        BuildResult::Succeeded => "succeeded",
        BuildResult::Failed => "failed",
        BuildResult::Superseded => "superseded",
    }
}

fn phase_label(phase: Phase) -> &'static str {
    match phase {
        Phase::Launching => "launching",
        Phase::Building => "building",
        Phase::Imaging => "imaging",
        Phase::Proving => "proving",
        Phase::Finishing => "finishing",
        Phase::CleaningUp => "cleaning_up",
    }
}

#[cfg(test)]
pub(super) mod tests;
