//! Observe: asks Kubernetes and AWS what is. Reads only.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::context::{Context, Error};
use super::observation::{Observation, interests};
use super::records::{RECIPE_LABEL, from_config_map};
use crate::api::{Architecture, ImageRecipe};
use crate::aws::Inventory;
use crate::world::{InstanceId, InstanceState, Owner, View};

/// What is known about `recipe`, which comes from a read that is not stale.
pub async fn observe(context: &Context, recipe: ImageRecipe) -> Result<Observation, Error> {
    let owner = owner(&recipe);
    let config_maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), &owner.namespace);
    let listed = config_maps
        .list(&ListParams::default().labels(&format!("{RECIPE_LABEL}={}", owner.name)))
        .await;
    let mut records = Vec::new();
    for config_map in &listed
        .map_err(Error::kubernetes("listing the records of builds"))?
        .items
    {
        records.extend(from_config_map(config_map, &owner, &context.keys)?);
    }
    records.sort_by_key(super::record::BuildRecord::number);
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
        consoles: BTreeMap::new(),
        recipe,
    };
    let inventory = context.inventory(&observed.spec().account, &observed.spec().region);
    // What is not granted is not asked of AWS either, but for what a deleted recipe has left.
    let asks = super::checks::grants(&observed, observed.spec()).is_ok()
        || observed.recipe.metadata.deletion_timestamp.is_some()
        || observed.active().is_some();
    if let Some(inventory) = inventory.filter(|_| asks) {
        let interests = interests(&observed.recipe, &observed.records, &observed.inspector);
        inventory.register(&observed.owner, interests.clone());
        observed.view = inventory.view(context.acted(&observed.owner.uid)).await?;
        // What is removed depends on nothing that the spec refers to.
        if observed.recipe.metadata.deletion_timestamp.is_none()
            && let Some(error) = observed.view.unanswered(&interests)
        {
            return Err(error.clone().into());
        }
        observed.consoles = consoles(inventory, &observed).await?;
        observed.now = context.clock.now();
    }
    Ok(observed)
}

/// Whose the tags, records and Events are.
pub fn owner(recipe: &ImageRecipe) -> Owner {
    Owner {
        namespace: recipe.namespace().unwrap_or_default(),
        name: recipe.name_any(),
        uid: recipe.uid().unwrap_or_default(),
    }
}

/// The consoles of the instances of the build in hand.
async fn consoles(inventory: &Inventory, observed: &Observation) -> Result<BTreeMap<InstanceId, String>, Error> {
    let mut consoles = BTreeMap::new();
    let Some(record) = observed.active() else {
        return Ok(consoles);
    };
    for (instance, claim) in observed.instances().filter(|(_, claim)| claim.build == record.number()) {
        let speaks = matches!(
            instance.state,
            InstanceState::Running | InstanceState::Stopping | InstanceState::Stopped
        );
        if speaks && claim.attempt >= record.progress.attempt {
            match inventory.console(&instance.id).await {
                Ok(text) => drop(consoles.insert(instance.id.clone(), text)),
                // It ended between the two reads; the next view shows that.
                Err(error) if error.class.is_absent() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(consoles)
}
