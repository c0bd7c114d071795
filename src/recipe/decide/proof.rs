//! The proof of a finished image: a test instance boots from it, an inspector reads its snapshot. Only both together make it proven.

use std::time::Duration;

use super::builder::printed;
use super::draft::Decision;
use super::launch::{self, CONSOLE_LAG, Found, INSPECTION, find_or_launch};
use super::leftovers::Claims;
use crate::api::{BuildResult, ImageRecipeSpec, Phase, Reason, Verdict};
use crate::guest::{Expected, Inspection, InspectorReport, Refusal, TestReport, changed_files, judge};
use crate::recipe::observation::Observation;
use crate::recipe::plan::Effect;
use crate::recipe::record::{BuildRecord, Failure, Proof};
use crate::recipe::seal::Origin;
use crate::recipe::{checks, since, time};
use crate::world::{
    BOOT_MILLISECONDS, BUILD, CLEANUP_SKIPPED, CONTENT_HASH, FINISHED, Image, Instance, InstanceState, Interest, OWNER,
    PROVEN, PROVEN_TIME, Role, SEAL, SOURCE, SnapshotId, Tags, Volume, VolumeState,
};

/// Where the inspector gets its volumes, in the order of the image's devices. On Nitro the guest sees other names; EC2 wants ones that are free.
const DEVICES: [&str; 11] = [
    "/dev/sdf", "/dev/sdg", "/dev/sdh", "/dev/sdi", "/dev/sdj", "/dev/sdk", "/dev/sdl", "/dev/sdm", "/dev/sdn",
    "/dev/sdo", "/dev/sdp",
];

/// One half of the proof.
enum Half<T> {
    Pending(String),
    Passed(T),
}

pub(super) fn prove(decision: &mut Decision<'_>, record: &BuildRecord, image: &Image) -> Result<(), Failure> {
    let observed = decision.observed;
    let proven = image.tags.get(PROVEN) == Some(&record.frozen.test_hash) && is_sealed(observed, record, image);
    if proven {
        return finish(decision, record, image);
    }
    decision.set_phase(Phase::Proving);
    // The image stands on its own now.
    decision.claims = Claims::of(
        record.number(),
        record.progress.attempt,
        &[Role::Image, Role::Test, Role::Inspector],
    );
    let mut proof = record.progress.proof.of(&image.id);
    let tested = test(decision, record, image, &mut proof)?;
    let inspected = inspect(decision, record, image, &mut proof)?;
    if let (Half::Passed(_), Half::Passed(())) = (&tested, &inspected) {
        compare_files(record, &mut proof)?;
    }
    if let Some(status) = launch::architecture_status_mut(decision) {
        status.boot_milliseconds = proof.boot_milliseconds;
        status.inspected = proof.inspected;
        status.warnings.clone_from(&proof.warnings);
    }
    if proof != record.progress.proof {
        decision.effects.push(Effect::KeepProof {
            build: record.number(),
            attempt: record.progress.attempt,
            proof,
        });
    }
    match (tested, inspected) {
        (Half::Passed(milliseconds), Half::Passed(())) => {
            decision.building(record, Reason::Proving, format!("image {} is proven", image.id));
            declare_proven(decision, record, image, milliseconds);
        }
        (tested, inspected) => {
            let say =
                |what: &str, pending: Option<String>| format!("{what}: {}", pending.unwrap_or_else(|| "passed".into()));
            let pending = |half: Half<i64>| {
                if let Half::Pending(text) = half {
                    Some(text)
                } else {
                    None
                }
            };
            let inspection = if let Half::Pending(text) = inspected {
                Some(text)
            } else {
                None
            };
            let message = format!(
                "{}; {}",
                say("test instance", pending(tested)),
                say("inspector", inspection)
            );
            decision.building(record, Reason::Proving, message);
        }
    }
    Ok(())
}

/// The test is switched off, so the image is what was asked for, and never proven.
pub(super) fn finish_untested(decision: &mut Decision<'_>, record: &BuildRecord, image: &Image) -> Result<(), Failure> {
    let observed = decision.observed;
    let finished = image.tags.contains_key(FINISHED) && is_sealed(observed, record, image);
    if !finished {
        let untested = [
            (FINISHED, "untested".to_owned()),
            (PROVEN, String::new()),
            (PROVEN_TIME, String::new()),
            (BOOT_MILLISECONDS, String::new()),
        ];
        seal(decision, record, image, untested);
        decision.set_phase(Phase::Finishing);
        decision.building(
            record,
            Reason::Finishing,
            format!("image {} is finished, untested as spec.test.enabled says", image.id),
        );
        return Ok(());
    }
    decision.note(
        "BuildSucceeded",
        format!("build {} made {}, untested", record.number(), image.id),
    );
    decision.building(record, Reason::Finishing, "removing what was temporary");
    decision.end(record, BuildResult::Succeeded, Some(image.id.clone()), None);
    Ok(())
}

fn finish(decision: &mut Decision<'_>, record: &BuildRecord, image: &Image) -> Result<(), Failure> {
    decision.set_phase(Phase::Finishing);
    decision.note(
        "BuildSucceeded",
        format!(
            "build {} {} {} ({})",
            record.number(),
            match record.frozen.existing_image {
                Some(_) => "proved once more",
                None => "made and proved",
            },
            image.id,
            image.name
        ),
    );
    decision.building(record, Reason::Finishing, "removing what was temporary");
    decision.end(record, BuildResult::Succeeded, Some(image.id.clone()), None);
    Ok(())
}

fn declare_proven(decision: &mut Decision<'_>, record: &BuildRecord, image: &Image, milliseconds: i64) {
    let now = crate::api::whole_seconds(decision.observed.now);
    let proven = [
        (PROVEN, record.frozen.test_hash.clone()),
        (PROVEN_TIME, now.to_string()),
        (BOOT_MILLISECONDS, milliseconds.to_string()),
        (FINISHED, String::new()),
    ];
    let warnings = launch::architecture_status(decision).map(|status| status.warnings.clone());
    let warnings = warnings.unwrap_or_default();
    let clean = match warnings.is_empty() {
        true => "its snapshot is clean".to_owned(),
        false => format!("this was let pass: {}", warnings.join("; ")),
    };
    let passed = match record.frozen.spec.test.checks.is_empty() {
        true => "booted",
        false => "booted and passed every check",
    };
    decision.note(
        "ImageProven",
        format!("image {} {passed} in {milliseconds} ms, and {clean}", image.id),
    );
    seal(decision, record, image, proven);
}

/// What the record says of the sealed tags; an empty value is a tag that must not be there.
fn recorded(observed: &Observation, record: &BuildRecord) -> [(&'static str, String); 5] {
    let frozen = &record.frozen;
    [
        (OWNER, observed.owner.path()),
        (BUILD, made_by(record).0.to_string()),
        (SOURCE, frozen.source.image_id.to_string()),
        (CONTENT_HASH, frozen.content_hash.clone()),
        (CLEANUP_SKIPPED, skipped(&frozen.spec)),
    ]
}

/// Whether a seal of ours is on the image, and on what the record says.
fn is_sealed(observed: &Observation, record: &BuildRecord, image: &Image) -> bool {
    let says = |(key, value): (&str, String)| image.tags.get(key).map_or("", String::as_str) == value;
    observed.keys.verify(&observed.installation, image) && recorded(observed, record).into_iter().all(says)
}

/// Puts a verdict on an image, together with what the record says of it: whatever others have made of its tags meanwhile is not sealed.
fn seal(decision: &mut Decision<'_>, record: &BuildRecord, image: &Image, verdict: [(&'static str, String); 4]) {
    let observed = decision.observed;
    let all = recorded(observed, record).into_iter().chain(verdict);
    let (absent, tags): (Vec<_>, Vec<_>) = all.partition(|(_, value)| value.is_empty());
    let mut tags: Tags = tags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let seal = observed.keys.seal(&observed.installation, image, &tags);
    tags.insert(SEAL.to_owned(), seal);
    decision.effects.push(Effect::Tag {
        resources: with_snapshots(image),
        tags,
    });
    let absent = absent.into_iter().map(|(key, _)| key.to_owned());
    let stray: Vec<String> = absent.filter(|key| image.tags.contains_key(key)).collect();
    if !stray.is_empty() {
        decision.effects.push(Effect::Untag {
            resources: with_snapshots(image),
            keys: stray,
        });
    }
}

/// Cleanup that was skipped, as an image's tag has it.
pub(super) fn skipped(spec: &ImageRecipeSpec) -> String {
    let items = spec.build.cleanup.skip.iter().map(|item| item.to_string());
    items.collect::<Vec<_>>().join(" ")
}

/// An image's id and those of its snapshots.
pub(super) fn with_snapshots(image: &Image) -> Vec<String> {
    std::iter::once(image.id.to_string())
        .chain(image.snapshots().map(ToString::to_string))
        .collect()
}

/// The test instance's half: milliseconds from launch call to the first moment at which every check had passed.
fn test(
    decision: &mut Decision<'_>,
    record: &BuildRecord,
    image: &Image,
    proof: &mut Proof,
) -> Result<Half<i64>, Failure> {
    let observed = decision.observed;
    if let Some(milliseconds) = proof.boot_milliseconds {
        return Ok(Half::Passed(milliseconds));
    }
    let instance = match find_or_launch(decision, record, Role::Test, Ok(&image.id))? {
        Found::Coming => return Ok(Half::Pending("launching".into())),
        Found::Gone(why) => {
            return Err(Failure::new(
                Reason::TestInstanceGone,
                format!("the test instance ended before it had reported: {why}"),
            ));
        }
        Found::Instance(instance) => instance,
    };
    let report = TestReport::new(&launch::heard(observed, record, Role::Test, instance));
    if let Some(check) = report.failed_check() {
        return Err(Failure::new(
            Reason::CheckFailed,
            format!(
                "check {} did not pass (exit status {}): {}",
                check.name,
                check.exit,
                printed(&check.output)
            ),
        ));
    }
    if let Some(failure) = &report.failure {
        return Err(Failure::new(
            Reason::TestInstanceFailed,
            format!("the test instance could not do its work: {failure}"),
        ));
    }
    let deadline = launch::boot_deadline(record)?;
    let asked = &record.frozen.spec.test.boot_deadline;
    let Some(passed) = report.passed_at else {
        if since(instance.launch_time, observed.now) > deadline + CONSOLE_LAG {
            let how_far = if report.booted {
                "it has booted, and not every check has passed"
            } else {
                "nothing of it was heard on the console"
            };
            return Err(Failure::new(
                Reason::BootDeadlineExceeded,
                format!("the test instance was not through within spec.test.bootDeadline ({asked}): {how_far}"),
            ));
        }
        if instance.state == InstanceState::Stopped {
            return Err(Failure::new(
                Reason::TestInstanceGone,
                "the test instance powered off before every check had passed",
            ));
        }
        return Ok(Half::Pending(match report.booted {
            true => "runs checks".into(),
            false => coming_up(instance),
        }));
    };
    // By the guest's clock, which may be wrong, but not by more than what we have seen ourselves.
    let boot = since(instance.launch_time, passed.min(observed.now));
    let milliseconds = i64::try_from(boot.as_millis()).unwrap_or(i64::MAX);
    if boot > deadline {
        return Err(Failure::new(
            Reason::BootDeadlineExceeded,
            format!("every check had passed after {milliseconds} ms, and spec.test.bootDeadline is {asked}"),
        ));
    }
    if !report.done {
        // Boot errors are complete only then; the instance's own timer bounds the wait.
        if instance.state == InstanceState::Stopped || since(passed, observed.now) > Duration::from_secs(600) {
            return Err(Failure::new(
                Reason::TestInstanceGone,
                "the test instance ended before it had looked through its logs",
            ));
        }
        return Ok(Half::Pending("looks through its logs".into()));
    }
    if !report.boot_errors.is_empty() {
        let errors = report.boot_errors.join("; ");
        match record.frozen.spec.test.boot_errors {
            Verdict::Fail => {
                return Err(Failure::new(
                    Reason::BootErrors,
                    format!(
                        "the test instance's logs show errors (spec.test.bootErrors: Warn lets them pass): {errors}"
                    ),
                ));
            }
            Verdict::Warn => proof.warn(&format!("boot errors: {errors}")),
        }
    }
    proof.boot_milliseconds = Some(milliseconds);
    proof.booted_files = report.files;
    Ok(Half::Passed(milliseconds))
}

/// Compares what both halves tell of the files that steps lay.
fn compare_files(record: &BuildRecord, proof: &mut Proof) -> Result<(), Failure> {
    let spec = &record.frozen.spec;
    if proof.laid_files.len() != proof.booted_files.len() {
        return Err(Failure::new(
            Reason::TestInstanceFailed,
            "the test instance has not told of every file that steps lay",
        ));
    }
    let changed = changed_files(&spec.build.steps, &proof.laid_files, &proof.booted_files);
    if changed.is_empty() {
        return Ok(());
    }
    let changed = format!("after the first boot {}", changed.join("; "));
    match spec.test.changed_files {
        Verdict::Fail => Err(Failure::new(
            Reason::FileChanged,
            format!(
                "{changed}: find out what writes it, cloud-init or a service, and lay it elsewhere, or let it pass by spec.test.changedFiles: Warn"
            ),
        )),
        Verdict::Warn => {
            proof.warn(&changed);
            Ok(())
        }
    }
}

/// The inspector's half.
fn inspect(
    decision: &mut Decision<'_>,
    record: &BuildRecord,
    image: &Image,
    proof: &mut Proof,
) -> Result<Half<()>, Failure> {
    let observed = decision.observed;
    if proof.inspected {
        return Ok(Half::Passed(()));
    }
    let search = Interest::Search(observed.inspector.clone());
    if let Some(error) = observed.view.unanswered(&[search]) {
        return Ok(Half::Pending(format!("waits for its image: {error}")));
    }
    let trusted = checks::inspector_image(observed).map(|image| &image.id);
    let inspector = match find_or_launch(decision, record, Role::Inspector, trusted)? {
        Found::Coming => return Ok(Half::Pending("launching".into())),
        Found::Gone(why) => {
            return Err(Failure::new(
                Reason::InspectorGone,
                format!("the inspector ended before it had reported: {why}"),
            ));
        }
        Found::Instance(instance) => instance,
    };
    let report = InspectorReport::new(&launch::heard(observed, record, Role::Inspector, inspector));
    // The build that made the image is not always this one.
    let made = made_by(record);
    let expected = Expected {
        recipe: &observed.owner.path(),
        build: made.0,
        attempt: made.1,
        content_hash: &record.frozen.content_hash,
        steps: &record.frozen.spec.build.steps,
        skipped: &record.frozen.spec.build.cleanup.skip,
    };
    match judge(&report, &expected) {
        Inspection::Refused { reason, message } => {
            let step = launch::architecture_status(decision).and_then(|status| status.step.as_ref());
            let last_heard = step.filter(|_| reason == Refusal::ManifestMissing);
            let last_heard = last_heard.map(|step| {
                format!("; nothing was heard of it after step {step} began, and a step must not shut the machine down")
            });
            return Err(Failure::new(reason.into(), message + &last_heard.unwrap_or_default()));
        }
        Inspection::Passed { warnings, files } => {
            warnings.iter().for_each(|warning| proof.warn(warning));
            proof.inspected = true;
            proof.laid_files = files;
            return Ok(Half::Passed(()));
        }
        Inspection::Pending => {}
    }
    if since(inspector.launch_time, observed.now) > INSPECTION {
        return Err(Failure::new(
            Reason::InspectionTimedOut,
            format!(
                "the inspector has not reported within {} minutes",
                INSPECTION.as_secs() / 60
            ),
        ));
    }
    if inspector.state == InstanceState::Stopped {
        return Err(Failure::new(
            Reason::InspectorGone,
            "the inspector powered off before it had reported",
        ));
    }
    if !report.up {
        return Ok(Half::Pending(coming_up(inspector)));
    }
    attach(decision, record, image, inspector)
}

fn coming_up(instance: &Instance) -> String {
    match instance.state {
        InstanceState::Pending => "waits for EC2 to start it",
        _ => "boots",
    }
    .into()
}

/// Gives the inspector a volume of each of the image's snapshots, once it is up: two disks with one filesystem UUID at boot, and the kernel may
/// take the wrong one for its root.
fn attach(
    decision: &mut Decision<'_>,
    record: &BuildRecord,
    image: &Image,
    inspector: &Instance,
) -> Result<Half<()>, Failure> {
    let unsupported = |what: String| Err(Failure::new(Reason::ProofUnsupported, what));
    if image.root_snapshot().is_none() {
        return unsupported(format!("image {} has no snapshot of a root device", image.id));
    }
    if image.snapshots().count() > DEVICES.len() {
        let most = DEVICES.len();
        return unsupported(format!(
            "image {} has more than the {most} volumes that are inspected",
            image.id
        ));
    }
    let mut waits_for = None;
    for (snapshot, device) in image.snapshots().zip(DEVICES) {
        let waits = attach_one(decision, record, image, snapshot, inspector, device)?;
        waits_for = waits_for.or(waits);
    }
    Ok(Half::Pending(waits_for.unwrap_or("reads the snapshot").into()))
}

/// One of them; answers with what it still waits for.
fn attach_one(
    decision: &mut Decision<'_>,
    record: &BuildRecord,
    image: &Image,
    snapshot: &SnapshotId,
    inspector: &Instance,
    device: &str,
) -> Result<Option<&'static str>, Failure> {
    let observed = decision.observed;
    let origin = Origin::Volume {
        snapshot: snapshot.as_str(),
    };
    let wanted = launch::claim(observed, record, Role::Inspector);
    let known = launch::architecture_status(decision).map_or(Vec::new(), |status| status.volumes.clone());
    // Tags and mark can be copied to a volume that someone has made of the snapshot before us: ours is what CreateVolume has answered with. Asked
    // again, it answers the same.
    let is_it = |volume: &&Volume| {
        volume.snapshot_id.as_ref() == Some(snapshot)
            && known.iter().any(|id| id == volume.id.as_str())
            && observed.claim(&volume.tags).as_ref() == Some(&wanted)
            && observed.is_born(&wanted, &origin, &volume.tags)
    };
    let mut volumes = observed.view.volumes.iter().filter(is_it);
    let volume = volumes.find(|volume| !matches!(volume.state, VolumeState::Deleting | VolumeState::Deleted));
    let Some(volume) = volume else {
        if known.len() >= image.snapshots().count() {
            // EC2 has made every one; the inspector's own time bounds the wait for it to show them as ours.
            return Ok(Some(
                "waits for EC2 to show its volume with the tags that it was made with",
            ));
        }
        let zone = &inspector.availability_zone;
        if let Some(status) = launch::architecture_status_mut(decision) {
            status.volume_time = Some(time(observed.now));
        }
        decision.effects.push(Effect::CreateVolume {
            token: launch::token(observed, record, Role::Inspector, &format!("volume {snapshot} {zone}")),
            snapshot: snapshot.clone(),
            availability_zone: zone.clone(),
            tags: launch::temporary_tags(observed, record, Role::Inspector, &origin),
        });
        return Ok(Some("waits for its volume"));
    };
    let ends_with_its_instance = Effect::DeleteWithInstance {
        instance: inspector.id.clone(),
        device: device.to_owned(),
    };
    match volume.state {
        VolumeState::Available => {
            decision.effects.push(Effect::AttachVolume {
                volume: volume.id.clone(),
                instance: inspector.id.clone(),
                device: device.to_owned(),
            });
            decision.effects.push(ends_with_its_instance);
            Ok(Some("gets its volume"))
        }
        VolumeState::InUse if volume.instance_id.as_ref() == Some(&inspector.id) => {
            if !volume.delete_on_termination {
                decision.effects.push(ends_with_its_instance);
            }
            Ok(None)
        }
        VolumeState::Error => Err(Failure::new(
            Reason::InspectorFailed,
            format!("EC2 could not make {} from {snapshot}", volume.id),
        )),
        _ => Ok(Some("waits for its volume")),
    }
}

/// Build and attempt that made the image.
fn made_by(record: &BuildRecord) -> (i64, i64) {
    match &record.frozen.existing_image {
        Some(existing) => (existing.build, existing.attempt),
        None => (record.number(), record.progress.attempt),
    }
}
