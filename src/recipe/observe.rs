//! Observe: asks Kubernetes and AWS what is. Reads only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::context::{Context, Error};
use super::observation::{Observation, interests};
use super::record::BuildRecord;
use super::records::{Malformed, RECIPE_LABEL, from_config_map, is_sealed_by_first_key};
use crate::api::{Architecture, ImageRecipe};
use crate::aws::Inventory;
use crate::world::{AwsError, InstanceId, InstanceState, Owner, Role, View};

/// Nothing is decided on what AWS said longer ago: three looks at a region in which nothing moves.
const VIEW_LIFETIME: Duration = Duration::from_secs(90);

/// What is known about `recipe`, which comes from a read that is not stale.
pub async fn observe(context: &Context, recipe: ImageRecipe) -> Result<Observation, Error> {
    let owner = owner(&recipe);
    let Records {
        builds: records,
        sealed_before,
        unreadable,
        foreign_numbers,
    } = records(context, &owner).await?;
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
        sealed_before,
        unreadable,
        foreign_numbers,
        consoles: BTreeMap::new(),
        recipe,
    };
    let inventory = context.inventory(&observed.spec().account, &observed.spec().region);
    let granted = super::checks::grants(&observed, observed.spec()).is_ok();
    // What is not granted is not asked of AWS. What the recipe made while it was, it still looks after.
    let has_made = !observed.records.is_empty() || observed.recipe.metadata.deletion_timestamp.is_some();
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

/// What the ConfigMaps in its namespace tell of an object's builds.
#[derive(Default)]
pub struct Records {
    /// Oldest first.
    builds: Vec<BuildRecord>,
    /// Numbers of those that another key than the first has sealed.
    sealed_before: Vec<i64>,
    /// Labelled as records, and none.
    unreadable: Vec<Malformed>,
    /// Of builds of an earlier object of the name.
    foreign_numbers: Vec<i64>,
}

/// Reads the records of the builds of `owner`.
pub async fn records(context: &Context, owner: &Owner) -> Result<Records, Error> {
    let config_maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), &owner.namespace);
    let listed = config_maps
        .list(&ListParams::default().labels(&format!("{RECIPE_LABEL}={}", owner.name)))
        .await;
    let mut records = Records::default();
    for config_map in &listed.map_err(Error::listing_records(&owner.namespace))?.items {
        match from_config_map(config_map, owner, &context.keys) {
            Ok(Some(record)) => {
                if !is_sealed_by_first_key(config_map, owner, &context.keys) {
                    records.sealed_before.push(record.number());
                }
                records.builds.push(record);
            }
            Ok(None) => {
                let number = BuildRecord::number_in(&config_map.name_any(), &owner.name);
                records.foreign_numbers.extend(number);
            }
            // Forgotten, and its number is not used again: whoever could write this could as well have deleted it.
            Err(malformed) if malformed.ended => {
                tracing::warn!(%malformed, "the record of an ended build cannot be read, it is left out of the history");
                let number = BuildRecord::number_in(&malformed.name, &owner.name);
                records.foreign_numbers.extend(number);
            }
            Err(malformed) => records.unreadable.push(malformed),
        }
    }
    records.builds.sort_by_key(BuildRecord::number);
    Ok(records)
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
