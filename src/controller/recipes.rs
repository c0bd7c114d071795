//! The controller of `ImageRecipe`: what wakes it, and what it does then.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use kube::api::{Api, ObjectMeta, PartialObjectMeta, PartialObjectMetaExt};
use kube::runtime::controller::{self, Action};
use kube::runtime::predicates;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::utils;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Controller, Predicate, WatchStreamExt};
use kube::{Client, Resource, ResourceExt};

use super::finalizers::FINALIZER;
use super::pass::Passes;
use super::{Clock, Stop};
use crate::api::ImageRecipe;
use crate::recipe::sweep::{KINDS, Leaked};
use crate::recipe::{self, Context};
use crate::telemetry::Health;

/// Name in metrics.
pub const CONTROLLER: &str = "imagerecipe";
/// What readiness calls the watch.
pub const WATCH: &str = "the watch of imagerecipes";
/// Passes at a time: enough that waiting for AWS's budgets, not this, is what limits many recipes.
const CONCURRENCY: u16 = 32;
/// A leftover is found at most a quarter of its permitted age late.
const SWEEPS_PER_AGE: u32 = 4;
const SWEEP_SHORTEST: Duration = Duration::from_secs(5);
const SWEEP_LONGEST: Duration = Duration::from_secs(5 * 60);

/// What is kept of every recipe there is: what names it, and what wakes a pass when it changes. A pass reads the rest.
pub type Kept = PartialObjectMeta<ImageRecipe>;

/// Annotations by which people ask for something.
const REQUESTS: [&str; 2] = ["goldsmith.dev/build", "goldsmith.dev/reconcile"];

/// Reconciles recipes until asked to stop and the last pass has ended.
pub async fn run(
    watches: Client,
    context: Arc<Context>,
    passes: Arc<Passes>,
    pokes: impl Stream<Item = ObjectRef<Kept>> + Send + 'static,
    health: Health,
    clock: Clock,
    stop: Stop,
) {
    let (store, writer) = reflector::store();
    let told = Arc::clone(&passes);
    let looks = Arc::clone(&context);
    let listing = Mutex::default();
    let changes = watcher::watcher(Api::<ImageRecipe>::all(watches), watcher::Config::default())
        .inspect_ok(move |event| tell(event, &listing, &told, &looks, &clock))
        .map_ok(kept_of)
        .reflect(writer)
        .applied_objects()
        .predicate_filter(wakes(), Default::default());

    let synced = store.clone();
    let until_synced = async move {
        // An error says that the controller has ended before that.
        if synced.wait_until_ready().await.is_ok() {
            health.arrived(WATCH);
        }
    };
    let mut leads = passes.leads.clone();
    let begins_to_lead = async move { leads.wait_for(|leads| *leads).await.map(drop) };

    let outcomes = Controller::for_stream(changes, store)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .trigger_backoff(between_watches())
        .reconcile_on(pokes)
        .reconcile_all_on(stream::once(begins_to_lead).filter_map(async |began| began.ok()))
        .graceful_shutdown_on(stop.wait())
        .run(
            move |recipe, context| {
                let passes = Arc::clone(&passes);
                async move {
                    let pass = recipe::reconcile(Arc::clone(&recipe), context);
                    Ok::<Action, Infallible>(passes.run(&*recipe, pass, recipe::Error::retry_after).await)
                }
            },
            |_, never, _| match *never {},
            context,
        )
        .for_each(async |outcome| match outcome {
            Ok(_) => {}
            // Poked, and gone meanwhile.
            Err(controller::Error::ObjectNotFound(object)) => tracing::debug!(%object, "no such recipe"),
            Err(error) => tracing::warn!(%error, "the watch of recipes is interrupted"),
        });
    futures::join!(outcomes, until_synced);
}

/// How long to wait before a watch that was interrupted is taken up again: kube's default, which is client-go's, without its chance. That
/// is against herds; a controller has two or three replicas.
fn between_watches() -> impl utils::Backoff {
    let delays = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(800))
        .with_max_delay(Duration::from_secs(30))
        .with_factor(2.0)
        .without_max_times();
    utils::ResetTimerBackoff::new(watcher::ExponentialBackoff::from(delays), Duration::from_secs(120))
}

/// Removes what no object claims, again and again while this process leads.
pub async fn sweep(context: Arc<Context>, passes: Arc<Passes>, after: Duration, stop: Stop) {
    let mut told = BTreeSet::new();
    let pause = (after / SWEEPS_PER_AGE).clamp(SWEEP_SHORTEST, SWEEP_LONGEST);
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.clone().wait() => return,
        }
        if !*passes.leads.borrow() {
            continue;
        }
        match recipe::sweep_leftovers(&context).await {
            Ok(leaked) => {
                for kind in KINDS {
                    let count = leaked.iter().filter(|one| one.kind == kind).count();
                    passes.metrics.leaked(kind, count);
                }
                for Leaked { kind, id, owner, lacks } in untold(&mut told, leaked) {
                    tracing::warn!(kind, id, owner, lacks, "nothing claims this");
                }
            }
            Err(error) => tracing::warn!(%error, "the sweep failed; it is tried again"),
        }
    }
}

/// What of it has not been told before. What is there no longer is forgotten, and told if it comes back.
fn untold(told: &mut BTreeSet<String>, leaked: Vec<Leaked>) -> Vec<Leaked> {
    let before = std::mem::replace(told, leaked.iter().map(|one| one.id.clone()).collect());
    let mut leaked = leaked;
    leaked.retain(|one| !before.contains(&one.id));
    leaked
}

/// Tells metrics, backoff and inventories what the watch has brought, status changes and deletions too.
fn tell(
    event: &Event<ImageRecipe>,
    listing: &Mutex<BTreeSet<String>>,
    passes: &Passes,
    context: &Context,
    clock: &Clock,
) {
    let recipes = &passes.metrics.recipes;
    let mut listed = listing.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(recipe) => {
            listed.extend(recipe.uid());
            recipes.seen(recipe, *passes.leads.borrow(), clock.now());
        }
        Event::InitDone => recipes.listed(&listed),
        Event::Apply(recipe) => recipes.seen(recipe, *passes.leads.borrow(), clock.now()),
        Event::Delete(recipe) => {
            recipes.gone(recipe);
            passes.backoff.reset(&recipe.uid().unwrap_or_default());
            // No pass comes for an object that is not in the store any more, whoever took its finalizer off.
            recipe::forget(recipe, context);
        }
    }
}

fn kept_of(event: Event<ImageRecipe>) -> Event<Kept> {
    match event {
        Event::Init => Event::Init,
        Event::InitApply(recipe) => Event::InitApply(kept(recipe)),
        Event::InitDone => Event::InitDone,
        Event::Apply(recipe) => Event::Apply(kept(recipe)),
        Event::Delete(recipe) => Event::Delete(kept(recipe)),
    }
}

/// Of a size that does not depend on what its author writes.
fn kept(recipe: ImageRecipe) -> Kept {
    let given = recipe.metadata;
    let asked = given.annotations.unwrap_or_default();
    let request = |name: &str| Some((name.to_owned(), hash(asked.get(name)?).to_string()));
    let is_ours = |finalizer: &String| finalizer == FINALIZER;
    let metadata = ObjectMeta {
        name: given.name,
        namespace: given.namespace,
        uid: given.uid,
        resource_version: given.resource_version,
        generation: given.generation,
        deletion_timestamp: given.deletion_timestamp,
        finalizers: Some(given.finalizers.into_iter().flatten().filter(is_ours).collect()),
        annotations: Some(REQUESTS.into_iter().filter_map(request).collect()),
        ..ObjectMeta::default()
    };
    metadata.into_response_partial()
}

/// What wakes a pass when it changes. Not status: our own writes would wake us. `finalizers` because adding ours changes no generation,
/// and without that change the next pass would never come.
fn wakes() -> impl Predicate<Kept> {
    predicates::generation
        .combine(predicates::finalizers)
        .combine(predicates::annotations)
        .combine(being_deleted)
}

fn being_deleted(object: &Kept) -> Option<u64> {
    Some(hash(object.meta().deletion_timestamp.is_some()))
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn recipe(metadata: serde_json::Value, size: usize) -> ImageRecipe {
        let mut recipe = json!({
            "metadata": {"name": "web", "namespace": "platform", "uid": "uid", "generation": 1},
            "spec": {
                "region": "eu-central-1",
                "build": {
                    "architectures": ["x86_64"],
                    "source": {"ids": {"x86_64": "ami-1"}},
                    "builder": {"instanceTypes": ["m7i.large"], "subnets": {"ids": ["subnet-1"]}, "securityGroupIds": ["sg-1"]},
                    "steps": [{"name": "long", "run": "#".repeat(size)}],
                },
            },
            "status": {"contentHash": "#".repeat(size)},
        });
        let fields = metadata.as_object().cloned().unwrap_or_default();
        recipe["metadata"].as_object_mut().unwrap().extend(fields);
        serde_json::from_value(recipe).unwrap()
    }

    #[test]
    fn what_is_kept_of_a_recipe_does_not_grow_with_what_its_author_writes() {
        let long = "#".repeat(100_000);
        let large = recipe(
            json!({
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": long, "goldsmith.dev/build": long, "goldsmith.dev/other": long},
                "labels": {"team": "x"},
                "finalizers": [format!("example.com/{long}"), FINALIZER],
                "managedFields": [{"manager": long, "operation": "Update"}],
            }),
            100_000,
        );
        let written = serde_json::to_string(&kept(large)).unwrap();
        assert!(written.len() < 500, "{} bytes: {written:.600}", written.len());
    }

    #[test]
    fn what_is_leaked_is_told_once() {
        let leaked = |ids: &[&str]| -> Vec<Leaked> {
            let one = |id: &&str| Leaked {
                kind: "volume",
                id: (*id).to_owned(),
                owner: "platform/web".into(),
                lacks: "no object has the uid".into(),
            };
            ids.iter().map(one).collect()
        };
        let mut told = BTreeSet::new();
        for (there, new) in [
            (&["vol-1"][..], &["vol-1"][..]),
            (&["vol-1", "vol-2"], &["vol-2"]),
            (&["vol-1", "vol-2"], &[]),
            (&["vol-2"], &[]),
            (&["vol-1", "vol-2"], &["vol-1"]),
        ] {
            assert_eq!(untold(&mut told, leaked(there)), leaked(new), "{there:?}");
        }
    }

    #[test]
    fn what_people_and_other_controllers_ask_by_wakes_a_pass_and_their_other_words_do_not() {
        let seen = |metadata| wakes().hash_property(&kept(recipe(metadata, 1)));
        let before = seen(json!({}));
        for (metadata, woken) in [
            (json!({"generation": 2}), true),
            (json!({"finalizers": [FINALIZER]}), true),
            (json!({"deletionTimestamp": "2026-11-23T08:00:00Z"}), true),
            (json!({"annotations": {"goldsmith.dev/build": "1"}}), true),
            (json!({"annotations": {"goldsmith.dev/reconcile": "1"}}), true),
            (json!({"annotations": {"example.com/seen": "1"}}), false),
            (json!({"labels": {"team": "x"}}), false),
            (json!({"finalizers": ["example.com/hold"]}), false),
        ] {
            assert_eq!(seen(metadata.clone()) != before, woken, "{metadata}");
        }
        let asks = |token: &str| seen(json!({"annotations": {"goldsmith.dev/build": token}}));
        assert_ne!(asks("1"), asks("2"));
    }
}
