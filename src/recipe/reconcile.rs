//! The four verbs, one after the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Resource, ResourceExt};

use super::act::{act, remove, write_status};
use super::checks;
use super::context::{Context, Error};
use super::decide::decide;
use super::observe::{observe, owner};
use super::plan::{Effect, Plan};
use super::record::Failure;
use super::record_reader::next_page;
use super::report::{Outcomes, ends_attempt, halted, report, unobserved, waiting};
use super::sweep::{Leaked, sweep};
use crate::api::{ImageRecipe, ImageRecipeStatus, Reason};
use crate::aws::Inventory;
use crate::controller::{Note, NoteType, finalizers};
use crate::world::ErrorClass;

/// A grant comes with another configuration, so with a new process that looks at all of them; until then there is nothing to see.
const UNGRANTED_AGAIN: Duration = Duration::from_secs(600);

/// Recipes that one page of a list has. Of each of them only the metadata is read.
const PAGE: u32 = 500;

/// Looks at one recipe and does what is due. Answers with when to look again.
///
/// # Errors
/// When Kubernetes or AWS could not be asked, or the object changed meanwhile; [`Error::retry_after`] says what then.
pub async fn reconcile(recipe: Arc<PartialObjectMeta<ImageRecipe>>, context: Arc<Context>) -> Result<Duration, Error> {
    let api: Api<ImageRecipe> = Api::namespaced(context.client.clone(), &recipe.namespace().unwrap_or_default());
    // The watch may lag behind our own last write; what is decided on must not.
    let Some(mut recipe) = api
        .get_opt(&recipe.name_any())
        .await
        .map_err(Error::kubernetes("reading the recipe"))?
    else {
        return Ok(gone(&context, &*recipe));
    };
    clear_unreadable(&context, &mut recipe).await?;
    let deleting = recipe.metadata.deletion_timestamp.is_some();
    let kept = is_kept(&recipe);
    if deleting && !kept {
        return Ok(gone(&context, &recipe));
    }
    // Nothing was made for it yet, and without records nothing can be: it is not kept.
    if !kept && let Err(denied @ Error::RecordsDenied(_)) = context.records.read(&owner(&recipe), None).await {
        return blind(&context, recipe, denied).await;
    }
    let recipe = match deleting {
        true => recipe,
        false => finalizers::ensure(&api, &recipe)
            .await
            .map_err(Error::kubernetes("adding the finalizer"))?
            .unwrap_or(recipe),
    };
    let observed = match observe(&context, recipe.clone()).await {
        Ok(observed) => observed,
        Err(error) => return blind(&context, recipe, error).await,
    };
    let plan = decide(&observed);
    let mut recipe = observed.recipe.clone();
    let outcomes = match context.inventory(&recipe.spec.account, &recipe.spec.region) {
        Some(inventory) => {
            let answer = act(&context, &observed, &plan, inventory.ec2(), &mut recipe).await;
            if !plan.effects.is_empty() {
                // Whatever became of it: what was read before says nothing any more.
                context.has_acted(&observed.owner.uid);
            }
            match answer {
                Ok(outcomes) => outcomes,
                Err(error) => return blind(&context, recipe, error).await,
            }
        }
        // Nothing was ever made for it, so it may go though nobody can look.
        None if plan.effects == [Effect::RemoveFinalizer] && is_untouched(&recipe) => {
            let removed = finalizers::remove(&api, &recipe).await;
            removed.map_err(Error::kubernetes("removing the finalizer"))?;
            return Ok(gone(&context, &recipe));
        }
        // What was made cannot be seen or removed without the account; the guide says what to do.
        None => Outcomes::default(),
    };
    let released = outcomes
        .made
        .iter()
        .any(|(effect, _)| *effect == Effect::RemoveFinalizer);
    if released {
        return Ok(gone(&context, &recipe));
    }
    let report = report(&observed, &plan, &outcomes);
    if let Some(inventory) = context.inventory(&recipe.spec.account, &recipe.spec.region) {
        inventory.set_moving(&observed.owner, report.is_moving());
    }
    write_status(&context, &mut recipe, report.status).await?;
    say(&context, &observed.recipe, &plan, &outcomes).await;
    match report.backoff {
        Some(error) => Err(error.into()),
        None => Ok(report.look_again),
    }
}

/// Whether status says of no build.
fn is_untouched(recipe: &ImageRecipe) -> bool {
    let status = recipe.status.as_ref();
    status.is_none_or(|status| status.build.is_none() && status.latest.is_none() && status.history.is_empty())
}

/// Says why the pass ended early, where a person has to do something about it, or wonders. Nothing is done on half a view.
async fn blind(context: &Context, mut recipe: ImageRecipe, error: Error) -> Result<Duration, Error> {
    let now = context.clock.now();
    if let Some(inventory) = context.inventory(&recipe.spec.account, &recipe.spec.region) {
        inventory.set_moving(&owner(&recipe), false);
    }
    if let (Error::RecordsDenied(_), Some(failure)) = (&error, ungranted(context, &recipe)) {
        let status = halted(&recipe, failure, now);
        write_status(context, &mut recipe, status).await?;
        return Ok(UNGRANTED_AGAIN);
    }
    let status = told(&error, &recipe, now);
    if let Some(status) = status {
        write_status(context, &mut recipe, status).await?;
    }
    Err(error)
}

/// Status of a recipe whose pass ended early by `error`, where that says something.
fn told(error: &Error, recipe: &ImageRecipe, now: Timestamp) -> Option<ImageRecipeStatus> {
    let reason = match error {
        Error::Record(_) | Error::TooManyRecords { .. } => Some(Reason::RecordUnreadable),
        Error::RecordNameTaken(_) => Some(Reason::RecordNameTaken),
        Error::RecordRefused(_) => Some(Reason::RecordRefused),
        Error::RecordsDenied(_) => Some(Reason::RecordsDenied),
        _ => None,
    };
    let is_silent = recipe.status.as_ref().is_none_or(|status| status.conditions.is_empty());
    match (error, reason) {
        (_, Some(reason)) => Some(halted(recipe, Failure::new(reason, error.to_string()), now)),
        (Error::Aws(refused), _) => Some(unobserved(recipe, refused, now)),
        (Error::Kubernetes { source, .. }, _) if is_silent => Some(waiting(recipe, &format!("{error}: {source}"), now)),
        _ => None,
    }
}

/// Why records of the recipe are rightly denied: nothing is granted where it is. If something was made for it, they are needed nevertheless.
fn ungranted(context: &Context, recipe: &ImageRecipe) -> Option<Failure> {
    let policy = context.config.account(&recipe.spec.account);
    let admitted = checks::admits(policy, &recipe.namespace().unwrap_or_default(), &recipe.spec);
    admitted.err().filter(|_| !is_kept(recipe))
}

/// Clears a status that makes no sense: it is made anew from records and tags.
async fn clear_unreadable(context: &Context, recipe: &mut ImageRecipe) -> Result<(), Error> {
    let Some(problem) = recipe.status.as_ref().and_then(|status| status.unreadable.as_ref()) else {
        return Ok(());
    };
    tracing::warn!(problem, "the status cannot be read; it is cleared and made anew");
    write_status(context, recipe, ImageRecipeStatus::default()).await
}

/// Whether something may have been made for the recipe.
fn is_kept(recipe: &ImageRecipe) -> bool {
    recipe
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == finalizers::FINALIZER)
}

/// What a pass would do now. Reads only.
///
/// # Errors
/// As [`reconcile`].
pub async fn plan(recipe: ImageRecipe, context: &Context) -> Result<Plan, Error> {
    Ok(decide(&observe(context, recipe).await?))
}

/// Removes what objects that are gone have left, in every account and region. Answers with all that there is of it.
///
/// # Errors
/// The first one met, when the living objects could not be listed, or AWS could not be read. Nothing is removed where that was so; the
/// other regions are swept all the same.
pub async fn sweep_leftovers(context: &Context) -> Result<Vec<Leaked>, Error> {
    let mut leaked = Vec::new();
    let mut failure = None;
    for inventory in context.inventories.values() {
        match sweep_region(context, inventory).await {
            Ok(found) => leaked.extend(found),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(leaked), Err)
}

async fn sweep_region(context: &Context, inventory: &Inventory) -> Result<Vec<Leaked>, Error> {
    let began = context.clock.now();
    let view = inventory.view(began).await?;
    // Listed after the view was taken: whoever made something that is in it is either in the list, or gone.
    let living = living(context).await?;
    let swept = sweep(
        &view,
        &context.installation,
        &living,
        context.config.sweep_after,
        context.clock.now(),
    );
    let ec2 = inventory.ec2();
    for removal in &swept.removals {
        context.permit(began)?;
        tracing::warn!(%removal, account = ec2.account(), region = ec2.region(), "sweeping what no object claims");
        if let Err(error) = remove(ec2, removal).await {
            tracing::warn!(%removal, %error, "the sweep could not remove something; it is tried again");
        }
    }
    Ok(swept.leaked)
}

/// The uids of all recipes.
async fn living(context: &Context) -> Result<BTreeSet<String>, Error> {
    let api: Api<ImageRecipe> = Api::all(context.client.clone());
    let mut uids = BTreeSet::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let listed = api.list_metadata(&page).await;
        let listed = listed.map_err(Error::kubernetes("listing recipes"))?;
        uids.extend(listed.items.iter().filter_map(ResourceExt::uid));
        match next_page(page, listed.metadata) {
            Some(next) => page = next,
            None => return Ok(uids),
        }
    }
}

/// The object is no more; nothing of it is remembered, and AWS is looked at for it no longer.
pub fn forget(recipe: &impl ResourceExt, context: &Context) {
    let owner = owner(recipe);
    context.forget(&owner.uid);
    context
        .inventories
        .values()
        .for_each(|inventory| inventory.forget(&owner));
}

fn gone(context: &Context, recipe: &impl ResourceExt) -> Duration {
    forget(recipe, context);
    Duration::from_secs(3600)
}

/// Tells people what was carried out, and what AWS has refused.
async fn say(context: &Context, recipe: &ImageRecipe, plan: &Plan, outcomes: &Outcomes) {
    let regarding = recipe.object_ref(&());
    let before = recipe.status.as_ref().and_then(|status| status.build.as_ref());
    let build = plan.draft.build.as_ref().or(before).map_or(0, |build| build.number);
    // Good news of a plan that was not carried out would be untrue.
    let told = plan.notes.iter().filter(|note| note.warning || outcomes.complete(plan));
    let told = told.map(|note| (note.warning, note.reason, note.text.clone()));
    let lasting = |class| {
        matches!(
            class,
            ErrorClass::Denied | ErrorClass::Invalid | ErrorClass::Quota | ErrorClass::Token
        )
    };
    let refused = outcomes.failed.iter().filter(|(_, error)| lasting(error.class));
    let refused = refused.map(|(effect, error)| {
        let reason = match ends_attempt(effect, error) {
            true => "AttemptFailed",
            false => "AWSRefused",
        };
        (true, reason, format!("{effect}: {error}"))
    });
    for (warning, reason, text) in told.chain(refused) {
        tracing::info!(reason, text, "event");
        let type_ = if warning { NoteType::Warning } else { NoteType::Normal };
        let note = Note {
            type_,
            reason: reason.to_owned(),
            action: "Reconcile".to_owned(),
            note: text,
            build,
        };
        context.recorder.publish(&regarding, note).await;
    }
}

#[cfg(test)]
mod tests;
