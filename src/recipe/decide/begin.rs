//! Whether a build begins, and why.

use jiff::Timestamp;

use super::draft::Decision;
use super::{Present, upkeep};
use crate::api::{BuildResult, BuildStatus, ImageRecipeSpec, Reason};
use crate::recipe::inputs::{self, Inputs};
use crate::recipe::name::{NameParts, image_name};
use crate::recipe::observation::{Observation, content_hash_of};
use crate::recipe::plan::Effect;
use crate::recipe::record::{BuildReason, BuildRecord, ExistingImage, Failure, Frozen, FrozenSource, Progress};
use crate::recipe::time;
use crate::world::{Claim, Image, ImageId, PROVEN, SOURCE, Tags};

/// Whether the build in hand is no longer what the recipe asks for.
pub(super) fn is_superseded(observed: &Observation, record: &BuildRecord, present: &Present<'_>) -> bool {
    !wanted_hashes(observed, present, Some(record.frozen.source.image_id.as_str()))
        .contains(&record.frozen.content_hash)
}

/// Begins a build when the present inputs have no image yet, or when someone asks for one.
pub(super) fn begin_if_due(decision: &mut Decision<'_>, present: &Present<'_>) {
    let observed = decision.observed;
    let Some((reason, existing)) = due(observed, present) else {
        return upkeep::at_rest(decision);
    };
    if reason != BuildReason::Requested && upkeep::may_show_again(decision) {
        return upkeep::at_rest(decision);
    }
    if observed.spec().suspend {
        return decision.suspended();
    }
    if reason != BuildReason::Requested
        && let Some(failure) = failed_already(observed, present)
    {
        return decision.stalled(&failure);
    }
    match record(observed, present, reason, existing) {
        Ok(record) => begin(decision, record),
        Err(failure) => decision.refuse(failure),
    }
}

/// Why a build is due, and the image that only has to be proved again, if there is one.
fn due(observed: &Observation, present: &Present<'_>) -> Option<(BuildReason, Option<Image>)> {
    if observed.request("build").is_some() {
        return Some((BuildReason::Requested, None));
    }
    let tested = observed.spec().test.enabled;
    let images = observed.finished_images();
    let of_these_inputs: Vec<&Image> = images
        .into_iter()
        .filter(|image| is_of(observed, present, image))
        .collect();
    if let Some(newest) = of_these_inputs.first() {
        let proven = |image: &&Image| image.tags.get(PROVEN) == Some(&present.test_hash);
        return (tested && !of_these_inputs.iter().any(proven))
            .then(|| (BuildReason::TestChanged, Some((*newest).clone())));
    }
    let reason = match before(observed) {
        None => BuildReason::FirstBuild,
        Some(record)
            if record.frozen.content_hash == present.content_hash && record.ended(BuildResult::Succeeded).is_some() =>
        {
            BuildReason::ImageGone
        }
        // Another source in the spec itself is a change of the spec.
        Some(record)
            if inputs::changed(&record.frozen.inputs, &present.inputs) == ["source"]
                && record.frozen.spec.build.source == observed.spec().build.source =>
        {
            BuildReason::SourceChanged
        }
        Some(_) => BuildReason::SpecChanged,
    };
    Some((reason, None))
}

/// With what the present inputs are compared: the newest build, or an older one whose image was adopted after that had ended well.
fn before(observed: &Observation) -> Option<&BuildRecord> {
    let newest = observed.records.last()?;
    let adopted = observed.status().latest.map(|latest| latest.build);
    let mut records = observed.records.iter();
    let adopted = records.find(|record| Some(record.number()) == adopted);
    adopted
        .filter(|_| newest.ended(BuildResult::Succeeded).is_some())
        .or(Some(newest))
}

/// Whether `image` was made from the present inputs.
pub(super) fn is_of(observed: &Observation, present: &Present<'_>, image: &Image) -> bool {
    let source = image.tags.get(SOURCE).map(String::as_str);
    content_hash_of(image).is_some_and(|hash| {
        wanted_hashes(observed, present, source)
            .iter()
            .any(|wanted| wanted == hash)
    })
}

/// The content hashes that answer the spec: that of the newest source and, where a changed source is no reason to build, that of `source`.
pub(super) fn wanted_hashes(observed: &Observation, present: &Present<'_>, source: Option<&str>) -> Vec<String> {
    let mut hashes = vec![present.content_hash.clone()];
    let follows = observed.spec().rebuild.on_source_change;
    // Another source in the spec itself is a change of the spec, whatever `onSourceChange` says.
    let searched = observed.spec().build.source.search.is_some();
    if let Some(source) = source.filter(|_| !follows && searched) {
        hashes.push(inputs::content_hash(&inputs::inputs(observed.spec(), source)));
    }
    hashes
}

/// The failure of the same build, when nothing has changed since.
fn failed_already(observed: &Observation, present: &Present<'_>) -> Option<Failure> {
    let last = observed.records.last()?;
    let outcome = last.ended(BuildResult::Failed)?;
    let same = last.frozen.content_hash == present.content_hash
        && last.frozen.test_hash == present.test_hash
        && (last.frozen.generation == observed.generation() || asks_for_no_more(&last.frozen.spec, observed.spec()));
    same.then(|| outcome.failure.clone())?
}

/// Whether a spec differs from the one that has failed in nothing that would make another try of use: fewer attempts, say.
fn asks_for_no_more(failed: &ImageRecipeSpec, spec: &ImageRecipeSpec) -> bool {
    let alike = ImageRecipeSpec {
        suspend: failed.suspend,
        failure_limit: failed.failure_limit,
        history_limit: failed.history_limit,
        ..spec.clone()
    };
    spec.failure_limit <= failed.failure_limit && alike == *failed
}

fn record(
    observed: &Observation,
    present: &Present<'_>,
    reason: BuildReason,
    existing: Option<Image>,
) -> Result<BuildRecord, Failure> {
    let number = next_number(observed);
    let spec = observed.spec();
    let architecture = crate::recipe::checks::architecture(spec)?;
    let parts = NameParts {
        recipe: &observed.owner.name,
        namespace: &observed.owner.namespace,
        build: number,
        architecture: architecture.as_str(),
        content_hash: &present.content_hash,
        start: observed.now,
    };
    let image_name = match &existing {
        Some(image) => image.name.clone(),
        None => image_name(&spec.image.name, &parts)
            .map_err(|error| Failure::new(Reason::InvalidImageName, error.to_string()))?,
    };
    let (source, inputs) = match &existing {
        Some(image) => made_from(observed, present, image),
        None => (frozen_source(present.source), present.inputs.clone()),
    };
    let before = before(observed).map(|record| &record.frozen.inputs);
    let record = BuildRecord {
        frozen: Frozen {
            number,
            reason,
            changed: before
                .map(|before| inputs::changed(before, &inputs))
                .unwrap_or_default(),
            content_hash: inputs::content_hash(&inputs),
            inputs,
            test_hash: present.test_hash.clone(),
            image_name,
            start_time: observed.now,
            generation: observed.generation(),
            spec: spec.clone(),
            source,
            request: observed.request("build").map(str::to_owned),
            answered: observed.last_answered().cloned(),
            key: observed.keys.first_id(),
            existing_image: existing.and_then(|image| existing_image(observed, image)),
        },
        progress: Progress::default(),
        user_data: Default::default(),
        outputs: Default::default(),
    };
    // What cannot be sent to a guest is found before anything is launched.
    super::launch::render_all(observed, &record)?;
    fits_its_config_map(&record)?;
    Ok(record)
}

/// Half of what a ConfigMap holds; the rest is for user data and outputs.
const FROZEN_LIMIT: usize = 512 * 1024;

/// User data is compressed, the record is not.
fn fits_its_config_map(record: &BuildRecord) -> Result<(), Failure> {
    let bytes = serde_json::to_vec(&record.frozen).map_or(0, |json| json.len());
    if bytes <= FROZEN_LIMIT {
        return Ok(());
    }
    Err(Failure::new(
        Reason::RecipeTooLarge,
        format!(
            "spec: it takes {bytes} bytes, and the record of a build, which holds all of it, takes {FROZEN_LIMIT}; \
             let a step fetch what is large in spec.build.steps, spec.build.environment or spec.test.checks"
        ),
    ))
}

fn existing_image(observed: &Observation, image: Image) -> Option<ExistingImage> {
    let claim = Claim::read(&image.tags, &observed.installation)?;
    Some(ExistingImage {
        id: image.id,
        build: claim.build,
        attempt: claim.attempt,
    })
}

fn frozen_source(source: &Image) -> FrozenSource {
    FrozenSource {
        image_id: source.id.clone(),
        creation_time: source.creation_time.unwrap_or(Timestamp::UNIX_EPOCH),
    }
}

/// Source and inputs of an image that is there: not the newest source's, where a changed source is no reason to build.
fn made_from(observed: &Observation, present: &Present<'_>, image: &Image) -> (FrozenSource, Inputs) {
    let id = image
        .tags
        .get(SOURCE)
        .and_then(|id| id.parse::<ImageId>().ok())
        .filter(|id| *id != present.source.id);
    let Some(image_id) = id else {
        return (frozen_source(present.source), present.inputs.clone());
    };
    let known = observed
        .records
        .iter()
        .rev()
        .map(|record| &record.frozen.source)
        .find(|source| source.image_id == image_id);
    // Of a source that nobody remembers every small file counts as changed since: slower, and nothing is missed.
    let creation_time = known.map_or(Timestamp::UNIX_EPOCH, |source| source.creation_time);
    let inputs = inputs::inputs(observed.spec(), image_id.as_str());
    (
        FrozenSource {
            image_id,
            creation_time,
        },
        inputs,
    )
}

fn begin(decision: &mut Decision<'_>, record: BuildRecord) {
    let frozen = &record.frozen;
    let why = if frozen.changed.is_empty() {
        String::new()
    } else {
        format!("; changed: {}", frozen.changed.join(", "))
    };
    decision.note(
        "BuildStarted",
        format!("build {} begins ({}{why})", frozen.number, frozen.reason.as_str()),
    );
    decision.build = Some(status_of(&record));
    decision.building(
        &record,
        Reason::BuildStarted,
        format!("build {} begins", record.number()),
    );
    decision.look_again = std::time::Duration::ZERO;
    decision.effects.push(Effect::BeginBuild(Box::new(record)));
}

/// The status of a build, as its record tells it: nothing of its attempt is known yet.
pub(super) fn status_of(record: &BuildRecord) -> BuildStatus {
    BuildStatus {
        number: record.number(),
        reason: record.frozen.reason.as_str().to_owned(),
        changed: record.frozen.changed.clone(),
        content_hash: record.frozen.content_hash.clone(),
        name: record.frozen.image_name.clone(),
        start_time: Some(time(record.frozen.start_time)),
        attempt: record.progress.attempt,
        failure: None,
        architectures: Vec::new(),
    }
}

/// How far ahead of what we have sealed a number in tags, status or names of ConfigMaps may be: those others can write too.
const BELIEVED: i64 = 1000;

/// One more than any number that was ever used under this name, as far as records, sealed images, status and tags tell.
fn next_number(observed: &Observation) -> i64 {
    let status = observed.status();
    let path = observed.owner.path();
    let view = &observed.view;
    let claimed = |tags: &Tags| {
        let claim = Claim::read(tags, &observed.installation).filter(|claim| claim.owner == path);
        claim.map(|claim| claim.build)
    };
    let sealed = observed
        .finished_images()
        .into_iter()
        .filter_map(|image| claimed(&image.tags));
    let sealed = sealed
        .chain(observed.records.iter().map(BuildRecord::number))
        .max()
        .unwrap_or(0);
    let tags = view.instances.iter().map(|instance| &instance.tags);
    let tags = tags
        .chain(view.images.iter().map(|image| &image.tags))
        .chain(view.snapshots.iter().map(|snapshot| &snapshot.tags));
    let told = status.build.iter().map(|build| build.number);
    let told = told.chain(status.history.iter().map(|entry| entry.build));
    let told = told.chain(status.latest.iter().map(|latest| latest.build));
    tags.filter_map(claimed)
        .chain(told)
        .chain(observed.foreign_numbers.iter().copied())
        .filter(|number| *number <= sealed.saturating_add(BELIEVED))
        .chain([sealed])
        .max()
        .unwrap_or(0)
        .saturating_add(1)
}
