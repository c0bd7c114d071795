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
    pub(super) searches: Vec<Searched>,
    pub(super) instance_types: Vec<String>,
}

/// A search, and who asks for it.
#[derive(Clone, Debug)]
pub(super) struct Searched {
    pub(super) search: ImageSearch,
    namespaces: BTreeSet<String>,
}

impl Union {
    /// The namespace on whose account a search is made: of those that ask for it the one with the fewest, so that nobody's search waits
    /// because others ask for it too.
    pub(super) fn on_account_of(&self, search: &ImageSearch) -> &str {
        let asked = self.searches.iter().find(|searched| searched.search == *search);
        let namespaces = asked.into_iter().flat_map(|searched| &searched.namespaces);
        let searches = |namespace: &&String| {
            let asked = self.searches.iter();
            asked
                .filter(|searched| searched.namespaces.contains(*namespace))
                .count()
        };
        namespaces.min_by_key(searches).map_or("", String::as_str)
    }
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
        let owners = self.owners.iter();
        let interests = owners.flat_map(|(owner, registered)| registered.interests.iter().map(move |one| (owner, one)));
        for (owner, interest) in interests {
            match interest {
                Interest::Image(id) => add(&mut union.images, id),
                Interest::ImageName(name) => add(&mut union.names, name),
                Interest::Search(search) => add_search(&mut union.searches, search, owner),
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

fn add_search(list: &mut Vec<Searched>, search: &ImageSearch, owner: &Owner) {
    let namespace = owner.namespace.clone();
    match list.iter_mut().find(|searched| searched.search == *search) {
        Some(known) => drop(known.namespaces.insert(namespace)),
        None => list.push(Searched {
            search: search.clone(),
            namespaces: [namespace].into(),
        }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_of_several_namespaces_is_made_on_account_of_the_one_with_the_fewest() {
        let search = |name: &str| ImageSearch {
            owners: vec!["self".into()],
            name: Some(name.into()),
            tags: BTreeMap::new(),
        };
        let mut interests = Interests::default();
        for (namespace, name, asked) in [
            ("crowd", "a", "one"),
            ("crowd", "b", "two"),
            ("crowd", "c", "shared"),
            ("quiet", "a", "shared"),
        ] {
            let owner = Owner {
                namespace: namespace.into(),
                name: name.into(),
                uid: format!("{namespace}-{name}"),
            };
            interests.register(&owner, vec![Interest::Search(search(asked))]);
        }
        let union = interests.union();
        assert_eq!(union.searches.len(), 3, "each is made once");
        assert_eq!(union.on_account_of(&search("shared")), "quiet");
        assert_eq!(union.on_account_of(&search("one")), "crowd");
    }
}
