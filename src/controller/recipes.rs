//! The controller of `ImageRecipe`: what wakes it, and what it does then.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use kube::api::Api;
use kube::runtime::controller::{self, Action};
use kube::runtime::predicates;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Controller, Predicate, WatchStreamExt};
use kube::{Client, Resource, ResourceExt};

use super::pass::Passes;
use super::{Clock, Stop};
use crate::api::ImageRecipe;
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

/// Reconciles recipes until asked to stop and the last pass has ended.
pub async fn run(
    watches: Client,
    context: Arc<Context>,
    passes: Arc<Passes>,
    pokes: impl Stream<Item = ObjectRef<ImageRecipe>> + Send + 'static,
    health: Health,
    clock: Clock,
    stop: Stop,
) {
    let (store, writer) = reflector::store();
    let told = Arc::clone(&passes);
    let looks = Arc::clone(&context);
    let listing = Mutex::default();
    let changes = watcher::watcher(Api::<ImageRecipe>::all(watches), watcher::Config::default())
        .reflect(writer)
        .inspect_ok(move |event| tell(event, &listing, &told, &looks, &clock))
        .applied_objects()
        // Not status: our own writes would wake us. `finalizers` because adding ours changes no generation, and without
        // that change the next pass would never come.
        .predicate_filter(
            predicates::generation
                .combine(predicates::finalizers)
                .combine(predicates::annotations)
                .combine(being_deleted),
            Default::default(),
        );

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

/// Removes what no object claims, again and again while this process leads.
pub async fn sweep(context: Arc<Context>, passes: Arc<Passes>, after: Duration, stop: Stop) {
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
            Ok(leaked) => leaked
                .into_iter()
                .for_each(|(kind, count)| passes.metrics.leaked(kind, count)),
            Err(error) => tracing::warn!(%error, "the sweep failed; it is tried again"),
        }
    }
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

fn being_deleted(object: &ImageRecipe) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    object.meta().deletion_timestamp.is_some().hash(&mut hasher);
    Some(hasher.finish())
}
