//! Observe: asks Kubernetes and AWS what is. Reads only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::context::{Context, Error};
use super::observation::{Observation, interests};
use super::record_reader::Records;
use crate::api::{Architecture, ImageRecipe};
use crate::aws::Inventory;
use crate::world::{AwsError, InstanceId, InstanceState, Owner, Role, View};

/// Nothing is decided on what AWS said longer ago: three looks at a region in which nothing moves.
const VIEW_LIFETIME: Duration = Duration::from_secs(90);

/// What is known about `recipe`, which comes from a read that is not stale.
pub async fn observe(context: &Context, recipe: ImageRecipe) -> Result<Observation, Error> {
    let owner = owner(&recipe);
    let deleting = recipe.metadata.deletion_timestamp.is_some();
    let build = recipe.status.as_ref().and_then(|status| status.build.as_ref());
    let in_hand = build.map(|build| build.number);
    let (records, without_records) = match context.records.read(&owner, in_hand).await {
        Ok(records) => (records, false),
        // What is left is removed by its tags. Where nobody can look, only records could say that nothing is.
        Err(error @ (Error::RecordsDenied(_) | Error::TooManyRecords { .. }))
            if deleting && context.inventory(&recipe.spec.account, &recipe.spec.region).is_some() =>
        {
            tracing::warn!(%error, "the recipe is let go without its records");
            (Records::default(), true)
        }
        Err(Error::RecordsDenied(denied)) if deleting => return Err(denied.of_a_deleted_recipe().into()),
        Err(error) => return Err(error),
    };
    let Records {
        builds: records,
        sealed_before,
        unreadable,
        foreign_numbers,
    } = records;
    let architecture = recipe
        .spec
        .build
        .architectures
        .first()
        .copied()
        .unwrap_or(Architecture::X86_64);
    let policy = context.config.account(&recipe.spec.account).cloned();
    let mut observed = Observation {
        owner,
        installation: context.installation.clone(),
        now: context.clock.now(),
        keys: context.keys.clone(),
        policy,
        inspector: context.config.inspector.for_architecture(architecture),
        view: Arc::new(View::default()),
        records,
        without_records,
        sealed_before,
        unreadable,
        foreign_numbers,
        consoles: BTreeMap::new(),
        recipe,
    };
    let inventory = context.inventory(&observed.spec().account, &observed.spec().region);
    let granted = super::checks::grants(&observed, observed.spec()).is_ok();
    // What is not granted is not asked of AWS. What the recipe made while it was, it still looks after.
    let has_made = !observed.records.is_empty() || deleting;
    if let Some(inventory) = inventory.filter(|_| granted || has_made) {
        let interests = match granted {
            true => interests(&observed.recipe, &observed.records, &observed.inspector),
            false => Vec::new(),
        };
        inventory.register(&observed.owner, interests);
        let oldest = context.clock.now() - VIEW_LIFETIME;
        observed.view = inventory.view(context.acted(&observed.owner.uid).max(oldest)).await?;
        observed.consoles = consoles(inventory, &observed).await;
        observed.now = context.clock.now();
    }
    Ok(observed)
}

/// Whose the tags, records and Events are.
pub fn owner(recipe: &impl ResourceExt) -> Owner {
    Owner {
        namespace: recipe.namespace().unwrap_or_default(),
        name: recipe.name_any(),
        uid: recipe.uid().unwrap_or_default(),
    }
}

/// The consoles of the instances of the build in hand, but for that of a builder whose image there is: it decides nothing any more.
async fn consoles(inventory: &Inventory, observed: &Observation) -> BTreeMap<InstanceId, Result<String, AwsError>> {
    let mut consoles = BTreeMap::new();
    let Some(record) = observed.active() else {
        return consoles;
    };
    for (instance, claim) in observed.instances().filter(|(_, claim)| claim.build == record.number()) {
        let speaks = matches!(
            instance.state,
            InstanceState::Running | InstanceState::Stopping | InstanceState::Stopped
        );
        let is_imaged = claim.role == Role::Builder
            && observed
                .view
                .images
                .iter()
                .any(|image| image.source_instance_id.as_ref() == Some(&instance.id));
        if speaks && claim.attempt >= record.progress.attempt && !is_imaged {
            match inventory.console(&instance.id).await {
                // It ended between the two reads; the next view shows that.
                Err(error) if error.class.is_absent() => {}
                read => drop(consoles.insert(instance.id.clone(), read)),
            }
        }
    }
    consoles
}
