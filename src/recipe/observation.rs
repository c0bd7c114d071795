//! What one pass knows: the object, its builds' records, and AWS as of one view. A plain value, so that decisions can be tested from tables.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::config_map::Malformed;
use super::record::BuildRecord;
use super::seal::{Origin, SealKeys};
use crate::api::{BuildResult, ImageRecipe, ImageRecipeSpec, ImageRecipeStatus, ImageSearch};
use crate::world::{
    AccountPolicy, AwsError, CONTENT_HASH, Claim, Image, ImageId, ImageState, Installation, Instance, InstanceId,
    Interest, Owner, PROVEN, Tags, View,
};

/// Everything that a decision about one recipe may look at.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The object, as this pass has read it.
    pub recipe: ImageRecipe,
    /// Its namespace, name and uid.
    pub owner: Owner,
    /// Whose tags are believed.
    pub installation: Installation,
    /// The present, by which deadlines and ages are judged.
    pub now: Timestamp,
    /// What seals, births and client tokens are made and verified with.
    pub keys: SealKeys,
    /// The account that the recipe names; none when the configuration has no such account.
    pub policy: Option<AccountPolicy>,
    /// Where inspectors boot from, `{{arch}}` filled in.
    pub inspector: ImageSearch,
    /// AWS in the recipe's account and region.
    pub view: Arc<View>,
    /// Oldest first.
    pub records: Vec<BuildRecord>,
    /// The object is being deleted and its records may not be read: what its builds left is known by tags, and what they made by status.
    pub without_records: bool,
    /// Numbers of the builds whose record another key than the first has sealed.
    pub sealed_before: Vec<i64>,
    /// ConfigMaps of this object that are labelled as records and are none.
    pub unreadable: Vec<Malformed>,
    /// Numbers of builds that an earlier object of this name has left ConfigMaps of.
    pub foreign_numbers: Vec<i64>,
    /// What the instances of the present attempt have written, or why EC2 does not show it.
    pub consoles: BTreeMap<InstanceId, Result<String, AwsError>>,
}

impl Observation {
    /// What the object asks for.
    pub fn spec(&self) -> &ImageRecipeSpec {
        &self.recipe.spec
    }

    /// Ended builds of which the record is kept, at least one.
    pub fn history_limit(&self) -> usize {
        usize::try_from(self.spec().history_limit).unwrap_or(1).max(1)
    }

    /// What it says at present; empty before the first pass.
    pub fn status(&self) -> ImageRecipeStatus {
        self.recipe.status.clone().unwrap_or_default()
    }

    /// `metadata.generation`, which the API server raises with every change of the spec.
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
        // Status may be lost; the record of the build that answered, or of a later one, is not.
        let answered = verb == "build"
            && self.records.iter().any(|record| {
                let frozen = &record.frozen;
                [&frozen.request, &frozen.answered].contains(&&Some(token.clone()))
            });
        (!handled && !answered && !token.is_empty()).then_some(token.as_str())
    }

    /// Whether someone has asked for the object's deletion.
    pub fn is_being_deleted(&self) -> bool {
        self.recipe.metadata.deletion_timestamp.is_some()
    }

    /// The record of the build that the tags of `image` say it came of.
    pub fn record_of(&self, image: &Image) -> Option<&BuildRecord> {
        let build = Claim::read(&image.tags, &self.installation)?.build;
        self.records.iter().find(|record| record.number() == build)
    }

    /// The token of the request to build that was answered last.
    pub fn last_answered(&self) -> Option<&String> {
        let recorded = self.records.iter().rev();
        let recorded = recorded.filter_map(|record| record.frozen.last_answered()).next();
        let status = self.recipe.status.as_ref();
        recorded.or_else(|| status?.handled_requests.get("build"))
    }

    /// The build in hand.
    pub fn active(&self) -> Option<&BuildRecord> {
        self.records.iter().rev().find(|record| record.is_active())
    }

    /// What the tags of a resource say, if it is this object's.
    pub fn claim(&self, tags: &Tags) -> Option<Claim> {
        Claim::read(tags, &self.installation).filter(|claim| claim.owner_uid == self.owner.uid)
    }

    /// This object's instances, with what their tags say.
    pub fn instances(&self) -> impl Iterator<Item = (&Instance, Claim)> {
        self.view
            .instances
            .iter()
            .filter_map(|instance| Some((instance, self.claim(&instance.tags)?)))
    }

    /// Images whose build ended well, by our seal, of any object of this name (a re-created recipe finds its images again); newest build first.
    pub fn finished_images(&self) -> Vec<&Image> {
        let path = self.owner.path();
        let mut images: Vec<(&Image, i64)> = self
            .view
            .images
            .iter()
            .filter(|image| image.state == ImageState::Available)
            .filter_map(|image| Some((image, Claim::read(&image.tags, &self.installation)?)))
            .filter(|(image, claim)| claim.owner == path && self.keys.verify(&self.installation, image))
            .map(|(image, claim)| (image, claim.build))
            .collect();
        images.sort_by_key(|(image, build)| Reverse((*build, image.creation_time)));
        images.into_iter().map(|(image, _)| image).collect()
    }

    /// Those of them that a proof stands behind.
    pub fn proven_images(&self) -> Vec<&Image> {
        let mut images = self.finished_images();
        images.retain(|image| image.tags.contains_key(PROVEN));
        images
    }

    /// Whether the thing with these tags, of which EC2 says `origin`, was made for `claim`.
    pub fn is_born(&self, claim: &Claim, origin: &Origin<'_>, tags: &Tags) -> bool {
        self.keys.verify_birth(&self.installation, claim, origin, tags)
    }

    /// Whether a build that ended well, by its record or by status, or `latest`, is this image: it is kept, whatever has become of its tags.
    pub fn is_on_record(&self, image: &ImageId) -> bool {
        let recorded = self
            .records
            .iter()
            .filter_map(|record| record.ended(BuildResult::Succeeded)?.image.as_ref());
        let status = self.recipe.status.as_ref();
        let latest = status.and_then(|status| status.latest.as_ref()?.image_id());
        let history = status.into_iter().flat_map(|status| &status.history);
        let history = history
            .filter(|entry| entry.result == BuildResult::Succeeded)
            .flat_map(|entry| entry.images.values().flat_map(BTreeMap::values));
        recorded
            .map(ImageId::as_str)
            .chain(latest)
            .chain(history.map(String::as_str))
            .any(|kept| kept == image.as_str())
    }

    /// Why AWS does not say what the spec, or the build in hand, refers to.
    pub fn unanswered(&self) -> Option<&AwsError> {
        let interests = interests(&self.recipe, &self.records, &self.inspector);
        self.view.unanswered(&interests)
    }

    /// An image that carries our tags, by its id.
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
        // Its grant is asked again, whatever the search finds meanwhile.
        interests.push(Interest::Image(record.frozen.source.image_id.clone()));
    }
    interests
}
