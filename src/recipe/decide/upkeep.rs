//! What is done for images that are there: finding the one that answers the present inputs, and keeping its tags and description as the spec says.

use std::time::Duration;

use super::draft::Decision;
use super::{Present, begin, proof};
use crate::api::{BuildResult, LatestStatus, Reason};
use crate::recipe::inputs;
use crate::recipe::observation::{Observation, content_hash_of};
use crate::recipe::plan::Effect;
use crate::recipe::record::BuildRecord;
use crate::recipe::{since, time};
use crate::world::{BOOT_MILLISECONDS, Claim, Image, ImageId, ImageState, PROVEN, PROVEN_TIME, SEAL, SOURCE, Tags};

/// How long an image may be out of EC2's answers before it counts as gone: one of them may be older than another.
const MISSING: Duration = Duration::from_secs(60);

/// Finds the image that answers the present inputs; a proven one becomes `latest`. As long as there is none, the one before stays.
pub(super) fn adopt(decision: &mut Decision<'_>, present: Option<&Present<'_>>) {
    let observed = decision.observed;
    if observed.view.taken.is_none() {
        return;
    }
    let tested = observed.spec().test.enabled;
    let answers = |image: &&Image| present.is_some_and(|present| begin::is_of(observed, present, image));
    let proven_so = |image: &&Image| present.is_some_and(|present| image.tags.get(PROVEN) == Some(&present.test_hash));
    let finished = observed.finished_images();
    let proven = observed.proven_images();
    let answer = match tested {
        true => proven.iter().copied().find(|image| answers(image) && proven_so(image)),
        false => finished.iter().copied().find(answers),
    };
    let before = decision
        .latest
        .as_ref()
        .and_then(LatestStatus::image_id)
        .map(str::to_owned);
    let expected = before
        .clone()
        .filter(|_| tested)
        .or_else(|| image_on_record(observed, present));
    let is_shown = |id: &String| finished.iter().any(|image| image.id.as_str() == id);
    if answer.is_none() && expected.is_some_and(|id| !is_shown(&id)) {
        let known = observed.status().image_missing_time;
        decision.image_missing_since = Some(known.map_or(observed.now, |time| time.0));
        if may_show_again(decision) {
            return;
        }
    }
    let still = || {
        proven
            .iter()
            .copied()
            .find(|image| Some(image.id.as_str()) == before.as_deref())
    };
    let latest = answer.filter(|_| tested).or_else(still).or(proven.first().copied());
    decision.latest = latest.map(|image| latest_of(observed, image));
    if let Some(image) = latest.filter(|image| before.as_deref() != Some(image.id.as_str())) {
        decision.note("LatestChanged", format!("latest is now {} ({})", image.id, image.name));
    }
    let answer = if tested { latest } else { answer };
    decision.answer = answer.map(|image| image.id.clone());
}

/// Whether the image that is there is what the spec of `record` asks for, but for a newer source that its search has found.
pub(super) fn serves(decision: &Decision<'_>, record: &BuildRecord) -> bool {
    let observed = decision.observed;
    let spec = &record.frozen.spec;
    let latest = decision.latest.as_ref().and_then(LatestStatus::image_id);
    // What the build itself has made serves once the build has ended; until then what was there before it does.
    let own = super::attempt::image(observed, record).map(|image| &image.id);
    let is_own_latest = own.is_some_and(|own| Some(own.as_str()) == latest);
    let mut images = match spec.test.enabled {
        true => observed.proven_images(),
        false => observed.finished_images(),
    }
    .into_iter()
    .filter(|image| Some(&image.id) != own);
    let image = match spec.test.enabled && !is_own_latest {
        true => images.find(|image| Some(image.id.as_str()) == latest),
        false => images.next(),
    };
    let Some(image) = image else {
        return false;
    };
    let source = image.tags.get(SOURCE).map(String::as_str).unwrap_or_default();
    let same_inputs = content_hash_of(image) == Some(&inputs::content_hash(&inputs::inputs(spec, source)));
    let same_test = !spec.test.enabled || image.tags.get(PROVEN) == Some(&record.frozen.test_hash);
    let mut makers = observed.records.iter().rev();
    let maker = makers.find(|record| {
        let outcome = record.ended(BuildResult::Succeeded);
        outcome.and_then(|outcome| outcome.image.as_ref()) == Some(&image.id)
    });
    // Of an image that no record is kept of only the source's id is known.
    let same_source = match maker {
        Some(maker) => maker.frozen.spec.build.source == spec.build.source,
        None => spec.build.source.search.is_some() || source == record.frozen.source.image_id.as_str(),
    };
    same_inputs && same_test && same_source
}

/// The image that the last build made of the present inputs, as its record has it.
fn image_on_record(observed: &Observation, present: Option<&Present<'_>>) -> Option<String> {
    let record = observed.records.last()?;
    let hashes = begin::wanted_hashes(observed, present?, Some(record.frozen.source.image_id.as_str()));
    let made = record.ended(BuildResult::Succeeded)?.image.as_ref()?;
    hashes.contains(&record.frozen.content_hash).then(|| made.to_string())
}

/// Whether the image of the present inputs is missing for so short a time that it is waited for.
pub(super) fn may_show_again(decision: &Decision<'_>) -> bool {
    let missing = decision.image_missing_since;
    missing.is_some_and(|missing| since(missing, decision.observed.now) < MISSING)
}

/// Which image is waited for, and why it does not count as it is.
fn what_is_missing(decision: &Decision<'_>) -> String {
    let observed = decision.observed;
    let tested = observed.spec().test.enabled;
    let latest = decision
        .latest
        .as_ref()
        .filter(|_| tested)
        .and_then(LatestStatus::image_id);
    let made = || observed.records.last()?.ended(BuildResult::Succeeded)?.image.as_ref();
    let id = latest.or_else(|| made().map(ImageId::as_str)).unwrap_or("the image");
    let Some(image) = observed.view.images.iter().find(|image| image.id.as_str() == id) else {
        return format!("EC2 does not show {id} at the moment");
    };
    if image.state != ImageState::Available {
        return format!("{id} is {}", image.state);
    }
    let mut tags = [PROVEN, SEAL].into_iter().skip(usize::from(!tested));
    match tags.find(|key| !image.tags.contains_key(*key)) {
        Some(key) => format!("{id} has lost its tag {key}"),
        None => format!("the tags of {id} are not those that Goldsmith has sealed"),
    }
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

/// Nothing is due: what is there is what the spec asks for.
pub(super) fn at_rest(decision: &mut Decision<'_>) {
    let observed = decision.observed;
    if may_show_again(decision) {
        let reason = match observed.spec().test.enabled {
            true => Reason::ImageProven,
            false => Reason::BuiltUntested,
        };
        let words = format!(
            "{}; it is looked for again, and built again after a minute",
            what_is_missing(decision)
        );
        decision.ready(reason, words);
        decision.look_again = Duration::from_secs(10);
        return;
    }
    let answer = decision.answer.as_ref().and_then(|id| observed.image(id));
    if let Some(image) = answer.filter(|image| !image.tags.contains_key(PROVEN)) {
        let words = format!(
            "{} ({}) is built; it is not proven, because spec.test.enabled is false, so it never becomes latest",
            image.id, image.name
        );
        return decision.ready(Reason::BuiltUntested, words);
    }
    let message = decision.latest.as_ref().map(|latest| {
        let boot = latest
            .boot_milliseconds
            .map(|milliseconds| format!(", which boots in {milliseconds} ms"))
            .unwrap_or_default();
        let image = latest.image_id().unwrap_or_default();
        format!("{image} ({}) of build {} is proven{boot}", latest.name, latest.build)
    });
    decision.ready(Reason::ImageProven, message.unwrap_or_default());
}

/// Name, description and tags do not shape an image, so they are changed in place; the name alone cannot be.
pub(super) fn keep_up_to_date(decision: &mut Decision<'_>) {
    let observed = decision.observed;
    // Not beside a build: one that AWS refuses would delay it.
    if decision.build.is_some() {
        return;
    }
    let Some(image) = decision.answer.as_ref().and_then(|id| observed.image(id)) else {
        return;
    };
    let settings = &observed.spec().image;
    // One that leaves the spec stays: EC2 documents no way to take it off.
    if let Some(description) = settings
        .description
        .as_ref()
        .filter(|wanted| image.description.as_ref() != Some(*wanted))
    {
        decision.effects.push(Effect::SetDescription {
            image: image.id.clone(),
            description: description.clone(),
        });
    }
    tags_up_to_date(decision, image);
}

/// A proven image has the server-side fence, also one whose build did not end well after its proof. Off an older image that came of its build in
/// order people may take it.
pub(super) fn protect(decision: &mut Decision<'_>) {
    let observed = decision.observed;
    if decision.build.is_some() || !observed.spec().image.deregistration_protection {
        return;
    }
    let in_order = |image: &Image| {
        let record = observed.record_of(image);
        record.is_none_or(|record| record.ended(BuildResult::Succeeded).is_some())
    };
    let wanted = |image: &&Image| decision.answer.as_ref() == Some(&image.id) || !in_order(image);
    let proven = observed.proven_images().into_iter();
    let unprotected: Vec<&Image> = proven.filter(|image| !image.is_protected()).filter(wanted).collect();
    for image in unprotected {
        let protect = Effect::Protect {
            image: image.id.clone(),
        };
        if !decision.effects.contains(&protect) {
            decision.effects.push(protect);
        }
    }
}

fn tags_up_to_date(decision: &mut Decision<'_>, image: &Image) {
    let observed = decision.observed;
    let wanted = &observed.spec().image.tags;
    let changed: Tags = wanted
        .iter()
        .filter(|(key, value)| image.tags.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let record = observed.record_of(image);
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

/// What another key than the first has sealed gets the first one's seal, so that the other can leave the configuration.
pub(super) fn seal_anew(decision: &mut Decision<'_>) {
    let observed = decision.observed;
    let records = observed.sealed_before.iter();
    decision
        .effects
        .extend(records.map(|build| Effect::SealRecord { build: *build }));
    // As with tags and description: not beside a build.
    if decision.build.is_some() {
        return;
    }
    for image in observed.finished_images() {
        let seal = observed.keys.seal(&observed.installation, image, &image.tags);
        if image.tags.get(SEAL) != Some(&seal) {
            decision.effects.push(Effect::Tag {
                resources: vec![image.id.to_string()],
                tags: [(SEAL.to_owned(), seal)].into(),
            });
        }
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
        let config_map = BuildRecord::config_map_name(&observed.owner.name, *build);
        decision.effects.push(Effect::ForgetRecord { config_map });
    }
}
