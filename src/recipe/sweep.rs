//! The sweep: removes what objects that are gone have left. What a living object has left it removes itself, see `decide::leftovers`.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::decide::{has_no_image, may_be_removed};
use super::plan::Removal;
use super::since;
use crate::world::{
    CLUSTER, Claim, ImageState, Installation, InstanceState, MANAGED_BY, Snapshot, Tags, View, VolumeState,
    are_of_an_image,
};

/// What a sweep found in one account and region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Swept {
    /// Old enough to be removed.
    pub removals: Vec<Removal>,
    /// Carries our tags, and no living object's: instances, volumes, images, snapshots.
    pub leaked: [(&'static str, usize); 4],
}

/// Decides what is removed. `living` holds the uids of every object there is, from a list that is not stale.
///
/// Never an image that is proven, finished or protected, whatever its other tags say; nothing younger than `after`.
pub fn sweep(
    view: &View,
    installation: &Installation,
    living: &BTreeSet<String>,
    after: Duration,
    now: Timestamp,
) -> Swept {
    let ours = |tags: &Tags| {
        tags.get(MANAGED_BY) == Some(&installation.name) && tags.get(CLUSTER) == Some(&installation.cluster)
    };
    // Tags that were mangled by hand claim nothing, and say too little to remove what carries them: it is reported.
    let orphaned = |tags: &Tags| {
        ours(tags) && Claim::read(tags, installation).is_none_or(|claim| !living.contains(&claim.owner_uid))
    };
    let removable = |tags: &Tags, born: Option<Timestamp>| {
        Claim::read(tags, installation).is_some() && born.is_some_and(|born| since(born, now) >= after)
    };
    let mut swept = Swept::default();
    let mut count = [0; 4];
    for instance in view.instances.iter().filter(|instance| {
        instance.state != InstanceState::Terminated && !are_of_an_image(&instance.tags) && orphaned(&instance.tags)
    }) {
        count[0] += 1;
        if instance.state != InstanceState::ShuttingDown && removable(&instance.tags, Some(instance.launch_time)) {
            swept.removals.push(Removal::Instance(instance.id.clone()));
        }
    }
    for volume in view.volumes.iter().filter(|volume| {
        matches!(volume.state, VolumeState::Available | VolumeState::Error)
            && !are_of_an_image(&volume.tags)
            && orphaned(&volume.tags)
    }) {
        count[1] += 1;
        if removable(&volume.tags, volume.create_time) {
            swept.removals.push(Removal::Volume(volume.id.clone()));
        }
    }
    for image in view
        .images
        .iter()
        .filter(|image| orphaned(&image.tags) && may_be_removed(image))
    {
        count[2] += 1;
        if image.state != ImageState::Pending && removable(&image.tags, image.creation_time) {
            swept.removals.push(Removal::Image(image.id.clone()));
        }
    }
    let without_image = |snapshot: &&Snapshot| orphaned(&snapshot.tags) && has_no_image(view, snapshot);
    for snapshot in view.snapshots.iter().filter(without_image) {
        count[3] += 1;
        if removable(&snapshot.tags, snapshot.start_time) {
            swept.removals.push(Removal::Snapshot(snapshot.id.clone()));
        }
    }
    swept.leaked = [
        ("instance", count[0]),
        ("volume", count[1]),
        ("image", count[2]),
        ("snapshot", count[3]),
    ];
    swept
}
