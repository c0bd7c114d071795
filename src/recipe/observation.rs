//! What one pass knows: the object, its builds' records, and AWS as of one view. A plain value, so that decisions can be tested from tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::record::BuildRecord;
use super::seal::SealKeys;
use crate::api::{ImageRecipe, ImageRecipeSpec, ImageRecipeStatus, ImageSearch};
use crate::world::{
    AccountPolicy, CONTENT_HASH, Claim, FINISHED, Image, ImageId, ImageState, Installation, Instance, InstanceId,
    Interest, Owner, PROVEN, View,
};

/// Everything that a decision about one recipe may look at.
#[derive(Clone, Debug)]
pub struct Observation {
    pub recipe: ImageRecipe,
    pub owner: Owner,
    pub installation: Installation,
    pub now: Timestamp,
    pub keys: SealKeys,
    /// The account that the recipe names; none when the configuration has no such account.
    pub policy: Option<AccountPolicy>,
    /// Where inspectors boot from, `{{arch}}` filled in.
    pub inspector: ImageSearch,
    pub view: Arc<View>,
    /// Oldest first.
    pub records: Vec<BuildRecord>,
    /// What the instances of the present attempt have written.
    pub consoles: BTreeMap<InstanceId, String>,
}

impl Observation {
    pub fn spec(&self) -> &ImageRecipeSpec {
        &self.recipe.spec
    }

    /// Ended builds of which the record is kept, at least one.
    pub fn history_limit(&self) -> usize {
        usize::try_from(self.spec().history_limit).unwrap_or(1).max(1)
    }

    pub fn status(&self) -> ImageRecipeStatus {
        self.recipe.status.clone().unwrap_or_default()
    }

    pub fn generation(&self) -> i64 {
        self.recipe.metadata.generation.unwrap_or_default()
    }

    /// The value of the annotation `goldsmith.dev/<verb>`, if it asks for something that has not been done.
    pub fn request(&self, verb: &str) -> Option<&str> {
        let token = self.recipe.annotations().get(&format!("goldsmith.dev/{verb}"))?;
        let handled = self
            .recipe
            .status
            .as_ref()
            .and_then(|status| status.handled_requests.get(verb))
            == Some(token);
        // Status may be lost; the record of the build that answered is not.
        let answered = verb == "build"
            && self
                .records
                .iter()
                .any(|record| record.frozen.request.as_ref() == Some(token));
        (!handled && !answered && !token.is_empty()).then_some(token.as_str())
    }

    /// The build in hand.
    pub fn active(&self) -> Option<&BuildRecord> {
        self.records.last().filter(|record| record.is_active())
    }

    /// What the tags of a resource say, if it is this object's.
    pub fn claim(&self, tags: &crate::world::Tags) -> Option<Claim> {
        Claim::read(tags, &self.installation).filter(|claim| claim.owner_uid == self.owner.uid)
    }

    /// This object's instances, with what their tags say.
    pub fn instances(&self) -> impl Iterator<Item = (&Instance, Claim)> {
        self.view
            .instances
            .iter()
            .filter_map(|instance| Some((instance, self.claim(&instance.tags)?)))
    }

    /// Images that a proof of ours stands behind, of any object of this name (a re-created recipe finds its images again), newest build first.
    pub fn proven_images(&self) -> Vec<&Image> {
        let path = self.owner.path();
        let mut images: Vec<(&Image, i64)> = self
            .view
            .images
            .iter()
            .filter(|image| image.state == ImageState::Available && image.tags.contains_key(PROVEN))
            .filter_map(|image| {
                Some((
                    image,
                    Claim::read(&image.tags, &self.installation)
                        .filter(|claim| claim.owner == path)?
                        .build,
                ))
            })
            .filter(|(image, _)| self.keys.verify(&self.installation, image))
            .collect();
        images.sort_by(|one, other| {
            other
                .1
                .cmp(&one.1)
                .then_with(|| other.0.creation_time.cmp(&one.0.creation_time))
        });
        images.into_iter().map(|(image, _)| image).collect()
    }

    /// Images of this object whose build ended without a test, because the recipe said so; newest build first.
    pub fn untested_images(&self) -> Vec<&Image> {
        let mut images: Vec<(&Image, i64)> = self
            .view
            .images
            .iter()
            .filter(|image| {
                image.state == ImageState::Available
                    && image.tags.contains_key(FINISHED)
                    && !image.tags.contains_key(PROVEN)
            })
            .filter_map(|image| Some((image, self.claim(&image.tags)?.build)))
            .collect();
        images.sort_by_key(|(_, build)| std::cmp::Reverse(*build));
        images.into_iter().map(|(image, _)| image).collect()
    }

    pub fn image(&self, id: &ImageId) -> Option<&Image> {
        self.view.images.iter().find(|image| image.id == *id)
    }
}

/// The content hash that an image's tags carry.
pub fn content_hash_of(image: &Image) -> Option<&str> {
    image.tags.get(CONTENT_HASH).map(String::as_str)
}

/// What a recipe refers to, beside what carries its tags.
pub fn interests(recipe: &ImageRecipe, records: &[BuildRecord], inspector: &ImageSearch) -> Vec<Interest> {
    let build = &recipe.spec.build;
    let Some(&architecture) = build.architectures.first() else {
        return Vec::new();
    };
    let mut interests = Vec::new();
    if let Some(id) = build.source.ids.as_ref().and_then(|ids| ids.get(architecture.as_str())) {
        interests.extend(id.parse().ok().map(Interest::Image));
    }
    if let Some(search) = &build.source.search {
        interests.push(Interest::Search(search.for_architecture(architecture)));
    }
    if recipe.spec.test.enabled {
        interests.push(Interest::Search(inspector.clone()));
    }
    let types = build
        .builder
        .instance_types
        .iter()
        .chain(&recipe.spec.test.instance_types);
    interests.extend(types.cloned().map(Interest::InstanceType));
    if let Some(record) = records.last().filter(|record| record.is_active()) {
        interests.push(Interest::ImageName(record.frozen.image_name.clone()));
    }
    interests
}
