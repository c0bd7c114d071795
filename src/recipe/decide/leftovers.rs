//! What carries the recipe's tags and is needed no longer. One rule for every way in which a build can end.

use std::time::Duration;

use jiff::Timestamp;

use super::SOON;
use super::draft::Decision;
use crate::recipe::observation::Observation;
use crate::recipe::plan::{Effect, Removal};
use crate::recipe::record::BuildRecord;
use crate::recipe::since;
use crate::world::{
    Claim, FINISHED, Image, ImageState, InstanceId, InstanceState, PROVEN, Role, Snapshot, View, Volume, VolumeState,
    are_of_an_image,
};

/// A snapshot that no image has is a leftover only once it is older than EC2 may take to show its image.
const SNAPSHOT_AGE: Duration = Duration::from_secs(600);

/// What an attempt unknown to this pass has made may be another leader's; once this old, its record is plainly lost.
const UNKNOWN_AGE: Duration = Duration::from_secs(600);

/// Which temporary things are needed: of one attempt, and of some roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    attempt: Option<(i64, i64)>,
    roles: Vec<Role>,
}

impl Claims {
    /// Nothing temporary is needed.
    pub fn none() -> Self {
        Self::default()
    }

    /// Things with one of these roles, of this attempt of this build.
    pub fn of(build: i64, attempt: i64, roles: &[Role]) -> Self {
        Self {
            attempt: Some((build, attempt)),
            roles: roles.to_vec(),
        }
    }

    fn covers(&self, claim: &Claim) -> bool {
        self.attempt == Some((claim.build, claim.attempt)) && self.roles.contains(&claim.role)
    }
}

/// Adds the removal of every leftover.
pub(super) fn remove(decision: &mut Decision<'_>) {
    let observed = decision.observed;
    let newest = newest_known(observed, decision);
    let claims = decision.claims.clone();
    let leftover = |tags, born: Option<Timestamp>| {
        let old = born.is_some_and(|born| since(born, observed.now) > UNKNOWN_AGE);
        observed
            .claim(tags)
            .is_some_and(|claim| ((claim.build, claim.attempt) <= newest || old) && !claims.covers(&claim))
    };
    let view = &observed.view;
    let mut effects = Vec::new();
    for instance in view
        .instances
        .iter()
        .filter(|instance| leftover(&instance.tags, Some(instance.launch_time)) && !are_of_an_image(&instance.tags))
    {
        if !matches!(instance.state, InstanceState::ShuttingDown | InstanceState::Terminated) {
            effects.push(Effect::Remove(Removal::Instance(instance.id.clone())));
        }
    }
    for volume in view
        .volumes
        .iter()
        .filter(|volume| leftover(&volume.tags, volume.create_time) && !are_of_an_image(&volume.tags))
    {
        // One in use goes with its instance, or comes loose when that is gone.
        if matches!(volume.state, VolumeState::Available | VolumeState::Error) {
            effects.push(Effect::Remove(Removal::Volume(volume.id.clone())));
        }
    }
    for image in view
        .images
        .iter()
        .filter(|image| leftover(&image.tags, image.creation_time) && is_removable(observed, image))
    {
        // A pending image cannot be deregistered; it is looked at again when it is ready, or has failed.
        if image.state != ImageState::Pending {
            effects.push(Effect::Remove(Removal::Image(image.id.clone())));
        }
    }
    for snapshot in view
        .snapshots
        .iter()
        .filter(|snapshot| leftover(&snapshot.tags, snapshot.start_time) && is_orphan(observed, snapshot))
    {
        effects.push(Effect::Remove(Removal::Snapshot(snapshot.id.clone())));
    }
    if !effects.is_empty() || temporary_left(observed, &claims).any(|(_, is_moving)| is_moving) {
        decision.look_again = decision.look_again.min(SOON);
    }
    decision.effects.extend(effects);
}

/// Whether anything temporary of the object is left, on its way out included.
pub fn any_left(observed: &Observation) -> bool {
    temporary_left(observed, &Claims::none()).next().is_some()
}

/// Ids of everything temporary of the object that is left.
pub fn left(observed: &Observation) -> Vec<String> {
    let none = Claims::none();
    temporary_left(observed, &none).map(|(id, _)| id.to_owned()).collect()
}

/// Everything temporary that is not claimed, and whether it goes by itself or by what is done about it: a volume in use by an instance that
/// does not carry our tags does neither, nor does a snapshot whose image may not show yet.
fn temporary_left<'a>(observed: &'a Observation, claims: &'a Claims) -> impl Iterator<Item = (&'a str, bool)> + 'a {
    let leftover = |tags| observed.claim(tags).is_some_and(|claim| !claims.covers(&claim));
    let view = &observed.view;
    let instances = view.instances.iter().filter(move |instance| {
        leftover(&instance.tags) && !are_of_an_image(&instance.tags) && instance.state != InstanceState::Terminated
    });
    let volumes = view.volumes.iter().filter(move |volume| {
        leftover(&volume.tags)
            && !are_of_an_image(&volume.tags)
            && !matches!(volume.state, VolumeState::Deleting | VolumeState::Deleted)
    });
    let is_held = |volume: &Volume| {
        let ours = |id: &InstanceId| view.instances.iter().any(|instance| instance.id == *id);
        volume.state == VolumeState::InUse && !volume.instance_id.as_ref().is_some_and(ours)
    };
    let images = view.images.iter();
    let images = images.filter(move |image| leftover(&image.tags) && is_removable(observed, image));
    let instances = instances.map(|instance| (instance.id.as_str(), true));
    let images = images.map(|image| (image.id.as_str(), true));
    let snapshots = view.snapshots.iter();
    let snapshots = snapshots.filter(move |snapshot| leftover(&snapshot.tags) && has_no_image(view, snapshot));
    let snapshots = snapshots.map(|snapshot| (snapshot.id.as_str(), is_orphan(observed, snapshot)));
    let volumes = volumes.map(move |volume| (volume.id.as_str(), !is_held(volume)));
    instances.chain(images).chain(volumes).chain(snapshots)
}

/// An image that a record or status names as made is kept, even when someone has taken its tags away.
fn is_removable(observed: &Observation, image: &Image) -> bool {
    may_be_removed(image) && !observed.is_on_record(&image.id)
}

/// Whether an image is neither what somebody asked for nor fenced off.
pub fn may_be_removed(image: &Image) -> bool {
    let kept = image.tags.contains_key(PROVEN) || image.tags.contains_key(FINISHED) || image.is_protected();
    !kept && !matches!(image.state, ImageState::Deregistered)
}

fn is_orphan(observed: &Observation, snapshot: &Snapshot) -> bool {
    let old = snapshot
        .start_time
        .is_some_and(|start| since(start, observed.now) > SNAPSHOT_AGE);
    has_no_image(&observed.view, snapshot) && old
}

/// Whether a snapshot was neither part of what somebody asked for, nor is part of any image of ours that is still there.
pub fn has_no_image(view: &View, snapshot: &Snapshot) -> bool {
    let kept = snapshot.tags.contains_key(PROVEN) || snapshot.tags.contains_key(FINISHED);
    let mut images = view.images.iter();
    !kept && !images.any(|image| image.snapshots().any(|id| *id == snapshot.id))
}

/// The newest attempt that this pass knows of. What is newer belongs to a pass that knows more than this one.
fn newest_known(observed: &Observation, decision: &Decision<'_>) -> (i64, i64) {
    if observed.is_being_deleted() {
        return (i64::MAX, i64::MAX);
    }
    let build = decision.build.as_ref().map(|build| (build.number, build.attempt));
    // No attempt of an ended build is still to come.
    let ended = |record: &BuildRecord| {
        if record.is_active() {
            record.progress.attempt
        } else {
            i64::MAX
        }
    };
    let record = observed.records.last().map(|record| (record.number(), ended(record)));
    record.max(build).unwrap_or_default()
}
