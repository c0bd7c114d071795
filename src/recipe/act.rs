//! Act: carries a plan's effects out, in order. Before the first one that creates something, the intent is in status.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Resource, ResourceExt};

use super::config_map::{RECIPE_LABEL, from_config_map, to_config_map};
use super::context::{Context, Error};
use super::observation::Observation;
use super::plan::{Effect, Launch, Plan, Removal};
use super::record::BuildRecord;
use super::report::{self, Made, Outcomes};
use crate::api::{ImageRecipe, ImageRecipeStatus};
use crate::aws::{self, Ec2, ShutdownBehavior};
use crate::controller::finalizers;
use crate::world::{AwsError, Role};

/// Carries out `plan`. `recipe` is brought up to date with every write of its status.
pub async fn act(
    context: &Context,
    observed: &Observation,
    plan: &Plan,
    ec2: &Ec2,
    recipe: &mut ImageRecipe,
) -> Result<Outcomes, Error> {
    let mut outcomes = Outcomes::default();
    let mut intended = false;
    // Not the pass, but what it has seen must not be old.
    let seen = observed.view.taken.unwrap_or(observed.now);
    for effect in &plan.effects {
        if !outcomes.permit(effect) {
            continue;
        }
        context.permit(seen)?;
        if effect.creates() && !intended {
            write_status(context, recipe, report::intent(observed, plan)).await?;
            intended = true;
        }
        tracing::info!(%effect, "acting");
        match carry_out(context, observed, ec2, recipe, effect).await? {
            Ok(made) => outcomes.made.push((effect.clone(), made)),
            Err(error) => {
                let request_id = error.request_id.as_deref().unwrap_or_default();
                tracing::warn!(%effect, %error, request_id, "an effect failed");
                outcomes.failed.push((effect.clone(), error));
            }
        }
    }
    Ok(outcomes)
}

/// Writes status, if it differs, under the version that was observed: a write that would lose another's is refused.
///
/// The whole of it is replaced: applying would leave what others have written there, a stale condition say, for good.
pub async fn write_status(context: &Context, recipe: &mut ImageRecipe, status: ImageRecipeStatus) -> Result<(), Error> {
    if recipe.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<ImageRecipe> = Api::namespaced(context.client.clone(), &recipe.namespace().unwrap_or_default());
    let mut wanted = recipe.clone();
    wanted.status = Some(status);
    *recipe = api
        .replace_status(&recipe.name_any(), &PostParams::default(), &wanted)
        .await
        .map_err(Error::kubernetes("writing status"))?;
    Ok(())
}

/// The outer error is Kubernetes' and ends the pass; the inner is AWS's and is reported.
async fn carry_out(
    context: &Context,
    observed: &Observation,
    ec2: &Ec2,
    recipe: &ImageRecipe,
    effect: &Effect,
) -> Result<Result<Made, AwsError>, Error> {
    let nothing = |answer: Result<(), AwsError>| answer.map(|()| Made::Nothing);
    Ok(match effect {
        Effect::BeginBuild(record) => {
            begin(context, observed, record).await?;
            Ok(Made::Nothing)
        }
        Effect::KeepUserData { build, .. }
        | Effect::KeepOutput { build, .. }
        | Effect::KeepProof { build, .. }
        | Effect::KeepFailure { build, .. }
        | Effect::KeepTagKeys { build, .. }
        | Effect::EndBuild { build, .. }
        | Effect::SealRecord { build } => {
            change_record(context, observed, *build, effect).await?;
            Ok(Made::Nothing)
        }
        Effect::ForgetRecord { config_map } => {
            forget(context, observed, config_map).await?;
            Ok(Made::Nothing)
        }
        Effect::RemoveFinalizer => {
            let api: Api<ImageRecipe> = Api::namespaced(context.client.clone(), &observed.owner.namespace);
            finalizers::remove(&api, recipe)
                .await
                .map_err(Error::kubernetes("removing the finalizer"))?;
            Ok(Made::Nothing)
        }
        Effect::Launch(launch) => ec2.run_instance(&request(launch)).await.map(Made::Instance),
        Effect::CreateImage {
            instance,
            name,
            description,
            tags,
        } => ec2
            .create_image(instance, name, description.as_deref(), tags)
            .await
            .map(Made::Image),
        Effect::CreateVolume {
            token,
            snapshot,
            availability_zone,
            tags,
        } => ec2
            .create_volume(token, snapshot, availability_zone, tags)
            .await
            .map(Made::Volume),
        Effect::AttachVolume {
            volume,
            instance,
            device,
        } => nothing(ec2.attach_volume(volume, instance, device).await),
        Effect::DeleteWithInstance { instance, device } => nothing(ec2.delete_on_termination(instance, device).await),
        Effect::RequireImdsV2 { image } => nothing(ec2.require_imds_v2(image).await),
        Effect::SetDescription { image, description } => nothing(ec2.set_image_description(image, description).await),
        Effect::Tag { resources, tags } => nothing(ec2.create_tags(resources, tags).await),
        Effect::Untag { resources, keys } => nothing(ec2.delete_tags(resources, keys).await),
        Effect::Protect { image } => nothing(ec2.enable_deregistration_protection(image).await),
        Effect::Remove(removal) => nothing(remove(ec2, removal).await),
    })
}

/// Removes something; what is gone already is removed.
pub async fn remove(ec2: &Ec2, removal: &Removal) -> Result<(), AwsError> {
    match removal {
        Removal::Instance(id) => ec2.terminate_instance(id).await,
        Removal::Volume(id) => ec2.delete_volume(id).await,
        Removal::Snapshot(id) => ec2.delete_snapshot(id).await,
        Removal::Image(image) => {
            for (snapshot, deletion) in ec2.deregister_image(image).await? {
                if let aws::SnapshotDeletion::Failed(code) = deletion {
                    // It carries our tags, so it is found and tried again as a snapshot without an image.
                    tracing::warn!(%image, %snapshot, code, "the image is deregistered, and its snapshot could not be deleted");
                }
            }
            Ok(())
        }
    }
}

fn request(launch: &Launch) -> aws::Launch {
    aws::Launch {
        token: launch.token.clone(),
        image: launch.image.clone(),
        instance_type: launch.instance_type.clone(),
        subnet: launch.subnet.clone(),
        security_groups: launch.security_groups.clone(),
        instance_profile: launch.instance_profile.clone(),
        user_data: launch.user_data.clone(),
        volumes: launch.volumes.clone(),
        // The builder's disk becomes the image; of the others nothing is wanted once they have powered off.
        shutdown_behavior: if launch.role == Role::Builder {
            ShutdownBehavior::Stop
        } else {
            ShutdownBehavior::Terminate
        },
        tags: launch.tags.clone(),
    }
}

async fn begin(context: &Context, observed: &Observation, record: &BuildRecord) -> Result<(), Error> {
    let reference = observed.recipe.controller_owner_ref(&()).unwrap_or_default();
    let config_map = to_config_map(record, &observed.owner, reference, &observed.keys);
    let api = config_maps(context, observed);
    let name = BuildRecord::config_map_name(&observed.owner.name, record.number());
    match api.create(&PostParams::default(), &config_map).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        answer => return answer.map(drop).map_err(Error::changing_record("create", &name)),
    }
    let holder = api.get_opt(&name).await;
    match holder.map_err(Error::kubernetes("reading the record of a build"))? {
        // Another leader has begun it, or it is gone again: the next pass sees.
        None => Err(Error::Conflict),
        Some(holder) if holder.labels().get(RECIPE_LABEL) == Some(&observed.owner.name) => Err(Error::Conflict),
        // Not labelled as one of ours: observing does not see it, and the number never becomes free by itself.
        Some(_) => Err(Error::RecordNameTaken(name)),
    }
}

/// Reads, changes and replaces a record; whoever changes it at the same time makes one of the two look again.
async fn change_record(context: &Context, observed: &Observation, build: i64, effect: &Effect) -> Result<(), Error> {
    let api = config_maps(context, observed);
    let name = BuildRecord::config_map_name(&observed.owner.name, build);
    let config_map = api
        .get(&name)
        .await
        .map_err(Error::kubernetes("reading the record of a build"))?;
    let Some(mut record) = from_config_map(&config_map, &observed.owner, &observed.keys)? else {
        return Err(Error::Conflict);
    };
    if !record.apply(effect) {
        return Err(Error::Conflict);
    }
    let reference = observed.recipe.controller_owner_ref(&()).unwrap_or_default();
    let mut changed = to_config_map(&record, &observed.owner, reference, &observed.keys);
    changed.metadata.resource_version = config_map.metadata.resource_version;
    api.replace(&name, &PostParams::default(), &changed)
        .await
        .map(drop)
        .map_err(Error::changing_record("change", &name))
}

async fn forget(context: &Context, observed: &Observation, config_map: &str) -> Result<(), Error> {
    match config_maps(context, observed)
        .delete(config_map, &DeleteParams::default())
        .await
    {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        // It is owned by the recipe, so Kubernetes deletes it once that is gone.
        Err(kube::Error::Api(status)) if status.is_forbidden() && observed.is_being_deleted() => Ok(()),
        answer => answer.map(drop).map_err(Error::changing_record("delete", config_map)),
    }
}

fn config_maps(context: &Context, observed: &Observation) -> Api<ConfigMap> {
    Api::namespaced(context.client.clone(), &observed.owner.namespace)
}
