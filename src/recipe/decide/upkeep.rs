//! What is done for images that are there: finding the one that answers the present inputs, and keeping its tags and description as the spec says.

use super::draft::Decision;
use super::{Present, begin, proof};
use crate::api::LatestStatus;
use crate::recipe::observation::Observation;
use crate::recipe::plan::Effect;
use crate::recipe::time;
use crate::world::{BOOT_MILLISECONDS, Claim, Image, ImageId, PROVEN, PROVEN_TIME, Tags};

/// Finds the image that answers the present inputs; a proven one becomes `latest`. As long as there is none, the one before stays.
pub(super) fn adopt(decision: &mut Decision<'_>, present: &Present<'_>) {
    let observed = decision.observed;
    let proven = observed.proven_images();
    let answers =
        |image: &&&Image| begin::is_of(observed, present, image) && image.tags.get(PROVEN) == Some(&present.test_hash);
    let before = decision.latest.as_ref().and_then(latest_image);
    let still = || proven.iter().find(|image| Some(&image.id) == before.as_ref());
    let latest = proven.iter().find(answers).or_else(still).or(proven.first());
    decision.latest = latest.map(|image| latest_of(observed, image));
    if let Some(image) = latest.filter(|image| before.as_ref() != Some(&image.id)) {
        decision.note("LatestChanged", format!("latest is now {} ({})", image.id, image.name));
    }
    let untested = kept_images(observed)
        .into_iter()
        .find(|image| begin::is_of(observed, present, image));
    let answer = if observed.spec().test.enabled {
        latest.copied()
    } else {
        untested
    };
    decision.answer = answer.map(|image| image.id.clone());
}

fn latest_of(observed: &Observation, image: &Image) -> LatestStatus {
    let claim = Claim::read(&image.tags, &observed.installation);
    let spec = observed.spec();
    LatestStatus {
        build: claim.map_or(0, |claim| claim.build),
        name: image.name.clone(),
        images: [(
            spec.region.clone(),
            [(image.architecture.clone(), image.id.to_string())].into(),
        )]
        .into(),
        boot_milliseconds: image.tags.get(BOOT_MILLISECONDS).and_then(|text| text.parse().ok()),
        proven_time: image.tags.get(PROVEN_TIME).and_then(|text| text.parse().ok()).map(time),
        cleanup_skipped: image
            .tags
            .get(crate::world::CLEANUP_SKIPPED)
            .map(|items| items.split(' ').map(str::to_owned).collect())
            .unwrap_or_default(),
    }
}

/// The image that `latest` names; one architecture, one region.
pub(super) fn latest_image(latest: &LatestStatus) -> Option<ImageId> {
    latest
        .images
        .values()
        .flat_map(|images| images.values())
        .next()?
        .parse()
        .ok()
}

/// Nothing is due: what is there is what the spec asks for.
pub(super) fn at_rest(decision: &mut Decision<'_>) {
    let observed = decision.observed;
    if observed.spec().suspend {
        return decision.suspended();
    }
    let answer = decision.answer.as_ref().and_then(|id| observed.image(id));
    if let Some(image) = answer.filter(|image| !image.tags.contains_key(PROVEN)) {
        let words = format!(
            "{} ({}) is built; it is not proven, because spec.test.enabled is false, so it never becomes latest",
            image.id, image.name
        );
        return decision.ready("BuiltUntested", words);
    }
    let message = decision.latest.as_ref().map(|latest| {
        let boot = latest
            .boot_milliseconds
            .map(|milliseconds| format!(", which boots in {milliseconds} ms"))
            .unwrap_or_default();
        let image = latest_image(latest).map(|image| image.to_string()).unwrap_or_default();
        format!("{image} ({}) of build {} is proven{boot}", latest.name, latest.build)
    });
    decision.ready("ImageProven", message.unwrap_or_default());
}

/// Images that a recipe without a test keeps: proven ones made earlier, and untested ones; newest first.
pub(super) fn kept_images(observed: &Observation) -> Vec<&Image> {
    let mut images = observed.untested_images();
    images.extend(observed.proven_images());
    images.sort_by_key(|image| std::cmp::Reverse(image.creation_time));
    images
}

/// Name, description and tags do not shape an image, so they are changed in place; the name alone cannot be.
pub(super) fn keep_up_to_date(decision: &mut Decision<'_>) {
    let observed = decision.observed;
    let Some(image) = decision.answer.as_ref().and_then(|id| observed.image(id)) else {
        return;
    };
    let settings = &observed.spec().image;
    let description = settings.description.clone().unwrap_or_default();
    if image.description.clone().unwrap_or_default() != description {
        decision.effects.push(Effect::SetDescription {
            image: image.id.clone(),
            description,
        });
    }
    let protect = Effect::Protect {
        image: image.id.clone(),
    };
    let unprotected = settings.deregistration_protection && image.tags.contains_key(PROVEN) && !image.is_protected();
    if unprotected && !decision.effects.contains(&protect) {
        decision.effects.push(protect);
    }
    tags_up_to_date(decision, image);
}

fn tags_up_to_date(decision: &mut Decision<'_>, image: &Image) {
    let observed = decision.observed;
    let wanted = &observed.spec().image.tags;
    let changed: Tags = wanted
        .iter()
        .filter(|(key, value)| image.tags.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let build = Claim::read(&image.tags, &observed.installation).map(|claim| claim.build);
    let record = observed.records.iter().find(|record| Some(record.number()) == build);
    // Tags that others have put on the image are theirs; only what a spec of ours has put there is taken away.
    let put = record
        .map(|record| {
            record
                .frozen
                .spec
                .image
                .tags
                .keys()
                .chain(&record.progress.tag_keys)
                .cloned()
                .collect::<Vec<_>>()
        })
        .unwrap_or_default();
    let mut stale: Vec<String> = put
        .iter()
        .filter(|key| !wanted.contains_key(*key) && image.tags.contains_key(*key))
        .cloned()
        .collect();
    stale.sort();
    stale.dedup();
    if !changed.is_empty() {
        let new: Vec<String> = changed.keys().filter(|key| !put.contains(key)).cloned().collect();
        if let (Some(record), false) = (record, new.is_empty()) {
            let keys = record.progress.tag_keys.iter().cloned().chain(new).collect();
            decision.effects.push(Effect::KeepTagKeys {
                build: record.number(),
                keys,
            });
        }
        decision.note(
            "TagsChanged",
            format!(
                "tags of {} are brought up to date: {}",
                image.id,
                changed.keys().cloned().collect::<Vec<_>>().join(", ")
            ),
        );
        decision.effects.push(Effect::Tag {
            resources: proof::with_snapshots(image),
            tags: changed,
        });
    }
    if !stale.is_empty() {
        decision.effects.push(Effect::Untag {
            resources: proof::with_snapshots(image),
            keys: stale,
        });
    }
}

/// Records past `historyLimit`, but never the newest one: what an unchanged recipe has tried is known by it.
pub(super) fn prune_records(decision: &mut Decision<'_>) {
    let observed = decision.observed;
    let limit = observed.history_limit();
    let ended: Vec<i64> = observed
        .records
        .iter()
        .filter(|record| !record.is_active())
        .map(|record| record.number())
        .collect();
    let past = ended.len().saturating_sub(limit);
    for build in &ended[..past] {
        decision.effects.push(Effect::ForgetBuild { build: *build });
    }
}
