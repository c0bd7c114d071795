//! Series about recipes, read off their status as the watch brings it: level, not edge, so nothing has to be told to
//! the metrics by the reconciler, and a restart begins with the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use kube::ResourceExt;
use prometheus::{GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec, Registry};

use super::metrics::{counters, gauges, histograms, seconds};
use crate::api::{BuildResult, HistoryEntry, ImageRecipe, Phase};

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
        self.builds.with_label_values(&[result, entry.reason.as_str()]).inc();
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
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    const START: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn after(seconds: u64) -> Timestamp {
        START + std::time::Duration::from_secs(seconds)
    }

    /// A recipe with the status that is given, in JSON.
    pub fn recipe(uid: &str, status: serde_json::Value) -> ImageRecipe {
        let builder =
            json!({"instanceTypes": ["m7i.large"], "subnets": {"ids": ["subnet-1"]}, "securityGroupIds": ["sg-1"]});
        serde_json::from_value(json!({
            "apiVersion": "goldsmith.dev/v1alpha1",
            "kind": "ImageRecipe",
            "metadata": {"namespace": "platform", "name": "web", "uid": uid},
            "spec": {
                "region": "eu-central-1",
                "build": {"source": {"ids": {"x86_64": "ami-1"}}, "builder": builder, "steps": [{"name": "a", "run": "true"}]},
                "image": {"name": "web-{{build}}"},
            },
            "status": status,
        }))
        .unwrap()
    }

    fn ready(status: &str) -> serde_json::Value {
        json!([{"type": "Ready", "status": status, "reason": "A", "message": "", "lastTransitionTime": "2023-11-14T22:13:20Z"}])
    }

    fn ended(build: i64) -> serde_json::Value {
        json!({
            "build": build, "result": "Succeeded", "reason": "SpecChanged", "contentHash": "", "name": "", "attempts": 1,
            "startTime": "2023-11-14T22:13:20Z", "endTime": "2023-11-14T22:18:20Z",
        })
    }

    pub fn in_phase(phase: &str) -> serde_json::Value {
        json!({"build": {"number": 1, "architectures": [{"architecture": "x86_64", "phase": phase}]}})
    }

    /// Everything that a status can have.
    pub fn complete() -> serde_json::Value {
        json!({
            "conditions": ready("True"),
            "history": [ended(2), ended(1)],
            "latest": {
                "build": 2, "name": "web-2", "images": {"eu-central-1": {"x86_64": "ami-2"}},
                "bootMilliseconds": 12_500, "provenTime": "2023-11-14T22:13:20Z",
            },
        })
    }

    struct Scraped {
        recipes: Recipes,
        registry: Registry,
    }

    fn scraped() -> Scraped {
        let registry = Registry::new();
        Scraped {
            recipes: Recipes::new(&registry).unwrap(),
            registry,
        }
    }

    impl Scraped {
        /// All series but the buckets of histograms, as Prometheus reads them.
        fn lines(&self, now: Timestamp) -> Vec<String> {
            self.recipes.age(now);
            let text = prometheus::TextEncoder::new()
                .encode_to_string(&self.registry.gather())
                .unwrap();
            let plain = |line: &&str| !line.starts_with('#') && !line.contains("_bucket{");
            text.lines().filter(plain).map(str::to_owned).collect()
        }

        fn has(&self, line: &str) -> bool {
            self.lines(START).iter().any(|found| found == line)
        }
    }

    const BUILDS: &str = r#"goldsmith_builds_total{reason="SpecChanged",result="succeeded"}"#;

    #[test]
    fn dashboards_see_the_condition_that_is_and_not_the_one_that_was() {
        let scraped = scraped();
        scraped
            .recipes
            .seen(&recipe("1", json!({"conditions": ready("False")})), true, START);
        scraped
            .recipes
            .seen(&recipe("1", json!({"conditions": ready("True")})), true, START);
        let series = |status: &str, value: u8| {
            format!(
                r#"goldsmith_status_condition{{kind="ImageRecipe",name="web",namespace="platform",status="{status}",type="Ready"}} {value}"#
            )
        };
        assert_eq!(
            scraped.lines(START),
            [series("False", 0), series("True", 1), series("Unknown", 0)]
        );
        scraped
            .recipes
            .seen(&recipe("1", json!({"conditions": []})), true, START);
        assert_eq!(scraped.lines(START), Vec::<String>::new());
    }

    #[test]
    fn an_image_grows_older_between_two_events() {
        let scraped = scraped();
        scraped.recipes.seen(&recipe("1", complete()), true, START);
        let age =
            |seconds: u64| format!(r#"goldsmith_image_age_seconds{{namespace="platform",recipe="web"}} {seconds}"#);
        assert!(scraped.lines(after(60)).contains(&age(60)));
        assert!(scraped.lines(after(3600)).contains(&age(3600)));
        assert!(
            scraped
                .has(r#"goldsmith_image_boot_seconds{architecture="x86_64",namespace="platform",recipe="web"} 12.5"#)
        );
    }

    #[test]
    fn a_build_is_counted_once_and_by_the_leader_alone() {
        let scraped = scraped();
        let with = |builds: &[i64]| {
            let history: Vec<_> = builds.iter().map(|build| ended(*build)).collect();
            recipe("1", json!({"history": history}))
        };
        // What had ended before this process began was counted by another.
        scraped.recipes.seen(&with(&[1]), true, START);
        assert!(!scraped.lines(START).iter().any(|line| line.starts_with(BUILDS)));
        scraped.recipes.seen(&with(&[2, 1]), true, START);
        scraped.recipes.seen(&with(&[2, 1]), true, START);
        assert!(scraped.has(&format!("{BUILDS} 1")));
        scraped.recipes.seen(&with(&[3, 2, 1]), false, START);
        scraped.recipes.seen(&with(&[3, 2, 1]), true, START);
        assert!(scraped.has(&format!("{BUILDS} 1")));
        assert!(scraped.has(r#"goldsmith_build_duration_seconds_sum{result="succeeded"} 300"#));
    }

    #[test]
    fn only_a_phase_that_was_seen_from_its_beginning_is_measured() {
        let scraped = scraped();
        scraped.recipes.seen(&recipe("1", in_phase("Launching")), true, START);
        scraped
            .recipes
            .seen(&recipe("1", in_phase("Building")), true, after(10));
        scraped
            .recipes
            .seen(&recipe("1", in_phase("Building")), true, after(20));
        scraped
            .recipes
            .seen(&recipe("1", in_phase("Imaging")), true, after(100));
        scraped.recipes.seen(&recipe("1", json!({})), true, after(130));
        let lines = scraped.lines(START);
        assert!(
            lines.contains(&r#"goldsmith_build_phase_duration_seconds_sum{phase="building"} 90"#.to_owned()),
            "{lines:?}"
        );
        assert!(
            lines.contains(&r#"goldsmith_build_phase_duration_seconds_sum{phase="imaging"} 30"#.to_owned()),
            "{lines:?}"
        );
        assert!(!lines.iter().any(|line| line.contains("launching")), "{lines:?}");
    }

    #[test]
    fn nothing_of_an_object_that_is_gone_stays() {
        let gone: [fn(&Recipes); 3] = [
            |recipes| recipes.gone(&recipe("1", complete())),
            |recipes| recipes.listed(&BTreeSet::from(["another".to_owned()])),
            // Deleted and made again while nobody was looking.
            |recipes| recipes.seen(&recipe("2", json!({})), true, START),
        ];
        for gone in gone {
            let scraped = scraped();
            scraped.recipes.seen(&recipe("1", complete()), true, START);
            assert!(!scraped.lines(START).is_empty());
            gone(&scraped.recipes);
            assert_eq!(scraped.lines(START), Vec::<String>::new());
        }
    }
}
