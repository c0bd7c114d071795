//! The sweep: removes what objects that are gone have left. What a living object has left it removes itself, see `decide::leftovers`.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::decide::{has_no_image, may_be_removed};
use super::plan::Removal;
use super::since;
use crate::world::{
    ATTEMPT, BUILD, CLUSTER, Claim, ImageState, Installation, InstanceState, MANAGED_BY, OWNER, OWNER_UID, ROLE,
    Snapshot, Tags, View, VolumeState, are_of_an_image,
};

/// What may be leaked.
pub const KINDS: [&str; 4] = ["instance", "volume", "image", "snapshot"];

/// What a sweep found in one account and region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Swept {
    /// Old enough to be removed.
    pub removals: Vec<Removal>,
    /// Of any age.
    pub leaked: Vec<Leaked>,
}

/// What carries our tags, and no living object's.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaked {
    /// One of [`KINDS`].
    pub kind: &'static str,
    /// As EC2 writes it.
    pub id: String,
    /// `<namespace>/<name>` of the object that it was made for, as its tag says; empty without one.
    pub owner: String,
    /// What it lacks, and what follows from that.
    pub lacks: String,
}

impl Leaked {
    fn new(kind: &'static str, id: String, tags: &Tags, installation: &Installation) -> Self {
        let lacks = match Claim::read(tags, installation) {
            Some(claim) => format!(
                "no object has the uid {}; it is removed once it is old enough",
                claim.owner_uid
            ),
            None => {
                let mut needed = vec![OWNER, OWNER_UID, BUILD, ATTEMPT, ROLE];
                needed.retain(|key| !tags.contains_key(*key));
                let needed = needed.join(", ");
                let what = match needed.is_empty() {
                    true => "a tag goldsmith.dev/build, attempt or role that makes sense",
                    false => needed.as_str(),
                };
                format!("it lacks {what}, so nobody but you removes it")
            }
        };
        Self {
            kind,
            id,
            owner: tags.get(OWNER).cloned().unwrap_or_default(),
            lacks,
        }
    }
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
    let leaked = |kind, id: &dyn ToString, tags: &Tags| Leaked::new(kind, id.to_string(), tags, installation);
    for instance in view.instances.iter().filter(|instance| {
        instance.state != InstanceState::Terminated && !are_of_an_image(&instance.tags) && orphaned(&instance.tags)
    }) {
        swept.leaked.push(leaked("instance", &instance.id, &instance.tags));
        if instance.state != InstanceState::ShuttingDown && removable(&instance.tags, Some(instance.launch_time)) {
            swept.removals.push(Removal::Instance(instance.id.clone()));
        }
    }
    for volume in view.volumes.iter().filter(|volume| {
        matches!(volume.state, VolumeState::Available | VolumeState::Error)
            && !are_of_an_image(&volume.tags)
            && orphaned(&volume.tags)
    }) {
        swept.leaked.push(leaked("volume", &volume.id, &volume.tags));
        if removable(&volume.tags, volume.create_time) {
            swept.removals.push(Removal::Volume(volume.id.clone()));
        }
    }
    for image in view
        .images
        .iter()
        .filter(|image| orphaned(&image.tags) && may_be_removed(image))
    {
        swept.leaked.push(leaked("image", &image.id, &image.tags));
        if image.state != ImageState::Pending && removable(&image.tags, image.creation_time) {
            swept.removals.push(Removal::Image(image.id.clone()));
        }
    }
    let without_image = |snapshot: &&Snapshot| orphaned(&snapshot.tags) && has_no_image(view, snapshot);
    for snapshot in view.snapshots.iter().filter(without_image) {
        swept.leaked.push(leaked("snapshot", &snapshot.id, &snapshot.tags));
        if removable(&snapshot.tags, snapshot.start_time) {
            swept.removals.push(Removal::Snapshot(snapshot.id.clone()));
        }
    }
    swept
}
