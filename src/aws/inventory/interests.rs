//! Who wants to know of what.

use std::collections::{BTreeMap, BTreeSet};

use super::Pace;
use crate::api::ImageSearch;
use crate::world::{Image, ImageId, Interest, OWNER_UID, Owner, Tags, View};

/// What objects refer to.
#[derive(Debug, Default)]
pub(super) struct Interests {
    owners: BTreeMap<Owner, Registered>,
    /// Counts the changes of what is asked for.
    version: u64,
}

#[derive(Debug, Default)]
struct Registered {
    interests: Vec<Interest>,
    moving: bool,
}

/// What all objects together refer to, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Union {
    pub(super) version: u64,
    pub(super) images: Vec<ImageId>,
    pub(super) names: Vec<String>,
    pub(super) searches: Vec<ImageSearch>,
    pub(super) instance_types: Vec<String>,
}

impl Interests {
    pub(super) fn register(&mut self, owner: &Owner, interests: Vec<Interest>) {
        let known = self
            .owners
            .get(owner)
            .map_or(&[][..], |registered| &registered.interests);
        if interests.iter().any(|interest| !known.contains(interest)) {
            self.version += 1;
        }
        self.owners.entry(owner.clone()).or_default().interests = interests;
    }

    /// Answers whether `owner` has begun to move just now. One that is not registered is not looked at, however it moves.
    pub(super) fn set_moving(&mut self, owner: &Owner, moving: bool) -> bool {
        let Some(registered) = self.owners.get_mut(owner) else {
            return false;
        };
        !std::mem::replace(&mut registered.moving, moving) && moving
    }

    pub(super) fn forget(&mut self, owner: &Owner) {
        self.owners.remove(owner);
    }

    /// Grows with every change that makes an older view incomplete.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn pace(&self) -> Pace {
        match self.owners.values().any(|registered| registered.moving) {
            true => Pace::Fast,
            false if self.owners.is_empty() => Pace::Idle,
            false => Pace::Slow,
        }
    }

    pub(super) fn union(&self) -> Union {
        let mut union = Union {
            version: self.version,
            ..Union::default()
        };
        for interest in self.owners.values().flat_map(|registered| &registered.interests) {
            match interest {
                Interest::Image(id) => add(&mut union.images, id),
                Interest::ImageName(name) => add(&mut union.names, name),
                Interest::Search(search) => add(&mut union.searches, search),
                Interest::InstanceType(name) => add(&mut union.instance_types, name),
            }
        }
        union
    }

    /// The objects whose part of the world differs between two views.
    pub(super) fn affected(&self, before: &View, after: &View) -> Vec<Owner> {
        let network_changed = before.subnets != after.subnets || before.security_groups != after.security_groups;
        let mut uids = BTreeSet::new();
        changed(
            &before.instances,
            &after.instances,
            |one| (&one.id, &one.tags),
            &mut uids,
        );
        changed(&before.volumes, &after.volumes, |one| (&one.id, &one.tags), &mut uids);
        changed(
            &before.snapshots,
            &after.snapshots,
            |one| (&one.id, &one.tags),
            &mut uids,
        );
        changed(&before.images, &after.images, |one| (&one.id, &one.tags), &mut uids);
        self.owners
            .iter()
            .filter(|(owner, registered)| {
                network_changed
                    || uids.contains(owner.uid.as_str())
                    || registered
                        .interests
                        .iter()
                        .any(|interest| answer(interest, before) != answer(interest, after))
            })
            .map(|(owner, _)| owner.clone())
            .collect()
    }
}

/// What a view says on an interest.
#[derive(Debug, PartialEq)]
enum Answer<'a> {
    Image(Option<&'a Image>),
    Images(Vec<&'a Image>),
    Search(Option<&'a [Image]>),
    InstanceType(Option<&'a crate::world::InstanceType>),
    /// In words, which leave out what differs from one error to the next alike.
    Error(String),
}

fn answer<'a>(interest: &Interest, view: &'a View) -> Answer<'a> {
    if let Some(error) = view.unanswered(std::slice::from_ref(interest)) {
        return Answer::Error(error.to_string());
    }
    match interest {
        Interest::Image(id) => Answer::Image(view.images_by_id.get(id)),
        Interest::ImageName(name) => {
            Answer::Images(view.named_images.iter().filter(|image| image.name == *name).collect())
        }
        Interest::Search(search) => match view.searches.iter().find(|(asked, _)| asked == search) {
            Some((_, Err(refused))) => Answer::Error(refused.to_string()),
            Some((_, Ok(found))) => Answer::Search(Some(found)),
            None => Answer::Search(None),
        },
        Interest::InstanceType(name) => Answer::InstanceType(view.instance_types.iter().find(|one| one.name == *name)),
    }
}

fn add<T: Clone + PartialEq>(list: &mut Vec<T>, item: &T) {
    if !list.contains(item) {
        list.push(item.clone());
    }
}

/// Collects the owners' uids of all that has come, gone or changed.
fn changed<'a, T: PartialEq, I: Ord + 'a>(
    before: &'a [T],
    after: &'a [T],
    key: impl Fn(&'a T) -> (&'a I, &'a Tags),
    uids: &mut BTreeSet<&'a str>,
) {
    let index = |list: &'a [T]| list.iter().map(|one| (key(one).0, one)).collect::<BTreeMap<_, _>>();
    let (old, new) = (index(before), index(after));
    let touched = old
        .iter()
        .filter(|(id, one)| new.get(*id) != Some(*one))
        .chain(new.iter().filter(|(id, one)| old.get(*id) != Some(*one)));
    uids.extend(
        touched
            .filter_map(|(_, one)| key(one).1.get(OWNER_UID))
            .map(String::as_str),
    );
}
