//! When builds and attempts may begin, and what they need while they go on.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::aws::newer_source;
use super::call::{Call, Label, recipe};
use super::ec2::Ec2;
use super::kubernetes::{Record, record};
use super::{Judge, PASS};
use crate::api_server::ApiServer;

/// What the second attempt waits for at least; those behind it wait twice as long each, half an hour at most.
const FIRST_WAIT: SignedDuration = SignedDuration::from_mins(1);
/// Times in status are whole seconds, and a pass begins before its last request.
const ROUNDING: SignedDuration = SignedDuration::from_secs(2);
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(30);

/// A build, as the recipe was when it began.
#[derive(Debug)]
pub struct Begun {
    spec: Value,
    /// What asked for it, if anything did.
    request: Value,
    /// What it has made, once it has ended well.
    image: Option<String>,
}

/// Fields of `spec.build` that decide what an image holds.
fn contents(spec: &Value) -> Value {
    let fields = ["architectures", "source", "environment", "steps", "cleanup"];
    let fields = fields.map(|field| spec["build"][field].clone());
    json!([fields, spec["build"]["builder"]["volumes"]])
}

impl Judge {
    /// Learns that a spec has become another.
    pub(super) fn learn_of_spec(&mut self, uid: &str, before: Option<&Value>, after: &Value) {
        if before.is_none_or(|before| contents(before) != contents(after)) {
            self.changed.insert(uid.to_owned(), self.now);
        }
    }

    /// A record is made: whether its build has a reason.
    pub(super) fn begins_build(&mut self, name: &str, new: &Record<'_>, api: &ApiServer, ec2: &Ec2<'_>) -> Vec<String> {
        let Some(uid) = owner(new.object) else {
            return vec![format!("{name} is owned by no recipe")];
        };
        let Some(recipe) = recipe(api, uid) else {
            return Vec::new();
        };
        let number = new.frozen["number"].as_i64().unwrap_or_default();
        let spec = recipe["spec"].clone();
        let request = recipe["metadata"]["annotations"]["goldsmith.dev/build"].clone();
        let from = new.frozen["source"]["imageId"].as_str().unwrap_or_default();
        let mut wrong = Vec::new();
        if self.suspended.contains(uid) {
            wrong.push(format!("{name}: a build begins, and the recipe was read as suspended"));
        }
        let frozen = &new.frozen["spec"];
        if !self.specs.get(uid).is_some_and(|specs| specs.contains(frozen)) {
            wrong.push(format!(
                "{name}: a build begins of a spec that the recipe has never had: {frozen}"
            ));
        }
        let settled = self.settled_since(uid);
        if let Some(since) = settled.filter(|_| contents(frozen) != contents(&spec)) {
            wrong.push(format!("{name}: a build begins of a spec that is none since {since}"));
        }
        let newer = newer_source(&spec, from, ec2).filter(|_| settled.is_some());
        if let Some(newer) = newer.filter(|_| new.frozen["existingImage"].is_null()) {
            wrong.push(format!(
                "{name}: it begins from {from}, and its search finds {newer}, which is newer"
            ));
        }
        let before = self.begun.iter().rfind(|((of, _), _)| of == uid);
        if let Some((_, before)) = before
            && let Some(image) = before.image.as_deref().filter(|image| self.is_available(image, ec2))
        {
            let alike = contents(&before.spec) == contents(&spec) && before.spec["test"] == spec["test"];
            let follows = spec["rebuild"]["onSourceChange"] != false;
            let newer = self
                .sources
                .get(image)
                .and_then(|source| newer_source(&spec, source, ec2));
            if alike && before.request == request && !(follows && newer.is_some()) {
                wrong.push(format!(
                    "{name}: a build begins from {from}, and nobody has asked for another than {image}"
                ));
            }
        }
        let begun = Begun {
            spec: new.frozen["spec"].clone(),
            request,
            image: None,
        };
        self.begun.insert((uid.to_owned(), number), begun);
        wrong
    }

    /// A record says that its build has ended well.
    pub(super) fn ends_well(&mut self, new: &Record<'_>, image: &str) {
        let number = new.frozen["number"].as_i64().unwrap_or_default();
        let build = owner(new.object).map(|uid| (uid.to_owned(), number));
        if let Some(begun) = build.and_then(|build| self.begun.get_mut(&build)) {
            begun.image = Some(image.to_owned());
        }
    }

    /// That `latest` of a recipe at rest was built from what its spec does not say any more.
    pub(super) fn other_contents(&self, recipe: &Value) -> Option<String> {
        if super::status::kstatus(recipe) != "Current" {
            return None;
        }
        let name = &recipe["metadata"]["name"];
        let latest = super::kubernetes::images(&recipe["status"]["latest"]);
        let made = |image: &str| self.begun.values().find(|begun| begun.image.as_deref() == Some(image));
        let other = |image: &&&str| made(image).is_some_and(|begun| contents(&begun.spec) != contents(&recipe["spec"]));
        let id = latest.iter().find(other)?;
        Some(format!("latest of {name} is {id}, which was built from another spec"))
    }

    /// A launch found no capacity before: whether enough time has passed for some to have come back.
    pub(super) fn tries_again(&mut self, call: &Call<'_>, label: &Label) -> Option<String> {
        let launch = format!(
            "{label:?} {} {}",
            call.parameter("InstanceType"),
            call.parameter("SubnetId")
        );
        let before = self.without_capacity.get(&launch).copied();
        if call.outcome == "InsufficientInstanceCapacity" {
            self.without_capacity.insert(launch, self.now);
        }
        let waited = self.now.duration_since(before?);
        let text =
            || format!("a launch that found no capacity is tried again after {waited:#}, {FIRST_WAIT:#} at least");
        (waited + ROUNDING < FIRST_WAIT).then(text)
    }

    /// Something is made for a build: whether its recipe still wants it, and may have it.
    pub(super) fn goes_on(&self, call: &Call<'_>, label: &Label, api: &ApiServer) -> Vec<String> {
        let mut wrong = Vec::new();
        let Some(recipe) = recipe(api, &label.uid) else {
            return wrong;
        };
        let (operation, build) = (call.operation, label.build);
        if !super::kubernetes::finalized(recipe) {
            wrong.push(format!(
                "invariant 3: {operation} for {}, which has no finalizer: nobody would remove it",
                label.owner
            ));
        }
        let begun = self.begun_of(label);
        let outdated = begun.is_some_and(|begun| contents(begun) != contents(&recipe["spec"]));
        // While it is suspended nothing else would come of it.
        let outdated = outdated && recipe["spec"]["suspend"] != true;
        if let Some(since) = self.settled_since(&label.uid).filter(|_| outdated) {
            wrong.push(format!(
                "{operation} for build {build}, and the spec asks for another since {since}"
            ));
        }
        wrong
    }

    /// Since when a spec asks for the image that it asks for now, if every pass knows.
    fn settled_since(&self, uid: &str) -> Option<Timestamp> {
        let changed = self.changed.get(uid).copied()?;
        (self.now.duration_since(changed) > PASS).then_some(changed)
    }

    /// An attempt begins: whether it is time.
    pub(super) fn waits(&self, operation: &str, label: &Label) -> Option<String> {
        let before = (label.uid.clone(), label.build, label.attempt - 1);
        let last = *self.lasted.get(&before)?;
        let doublings = u32::try_from(label.attempt - 2).ok()?;
        let wait = FIRST_WAIT
            .checked_mul(2_i32.saturating_pow(doublings))
            .unwrap_or(LONGEST_WAIT)
            .min(LONGEST_WAIT);
        let waited = self.now.duration_since(last);
        (waited + ROUNDING < wait).then(|| {
            format!(
                "{operation} begins attempt {} {waited:#} after the one before was at work, {wait:#} at least",
                label.attempt
            )
        })
    }

    /// An attempt is at work: it makes something, or the first of what it has made is removed.
    pub(super) fn is_at_work(&mut self, label: &Label) {
        let attempt = (label.uid.clone(), label.build, label.attempt);
        self.lasted.insert(attempt, self.now);
    }

    /// An attempt has failed: what is removed after that says nothing of it.
    pub(super) fn fails(&mut self, label: &Label) {
        self.is_at_work(label);
        let attempt = (label.uid.clone(), label.build, label.attempt);
        self.removed.insert(attempt.clone());
        self.failed.entry(attempt).or_insert(self.now);
    }

    /// Something is made: whether its attempt has failed before. What a pass had in hand beside it may come a moment later.
    pub(super) fn has_failed(&self, operation: &str, label: &Label) -> Option<String> {
        let failed = *self.failed.get(&(label.uid.clone(), label.build, label.attempt))?;
        let attempt = label.attempt;
        let late = self.now.duration_since(failed) > SignedDuration::from_secs(1);
        late.then(|| {
            format!("{operation} for attempt {attempt}, of which EC2 has taken a call as invalid at {failed:#}")
        })
    }

    /// Something is removed: whether an attempt at work still needs it.
    pub(super) fn needs(&mut self, call: &Call<'_>, api: &ApiServer, ec2: &Ec2<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        for id in call.ids() {
            let Some(label) = self.made.get(id).cloned() else {
                continue;
            };
            let at_work = self.removed.insert((label.uid.clone(), label.build, label.attempt));
            if at_work {
                self.is_at_work(&label);
            }
            let asks = recipe(api, &label.uid).filter(|recipe| recipe["metadata"]["deletionTimestamp"].is_null());
            let (Some(recipe), Some(record)) = (asks, record(api, &label)) else {
                continue;
            };
            let begun = self.begun_of(&label);
            let progress = &record.progress;
            let goes_on = progress["outcome"].is_null()
                && progress["attempt"] == label.attempt
                && progress["failed"]["attempt"] != label.attempt
                && begun.is_some_and(|begun| contents(begun) == contents(&recipe["spec"]));
            let works = match id.split_once('-').map(|(kind, _)| kind) {
                Some("i") => ec2.instances.get(id).is_some_and(|one| {
                    let is_done = match label.role.as_str() {
                        "builder" => one.state == "stopped" && self.has_image(id),
                        "test" => one.says("tested") || one.says("failed"),
                        _ => one.says("inspected") || one.says("failed") || one.says("unsupported"),
                    };
                    ["pending", "running", "stopped"].contains(&one.state) && !is_done
                }),
                Some("vol") => ec2.volumes.get(id).is_some_and(|volume| {
                    let inspector = ec2.instances.get(volume.instance);
                    inspector.is_some_and(|one| one.state == "running" && !one.says("inspected"))
                }),
                Some("ami") => ec2.images.get(id).is_some_and(|image| image.state == "available"),
                _ => false,
            };
            if goes_on && works && call.succeeded() {
                wrong.push(format!(
                    "{} of {id}, which attempt {} of build {} of {} is at work with",
                    call.operation, label.attempt, label.build, label.owner
                ));
            }
        }
        wrong
    }

    /// The spec of the build that something was made for.
    pub(super) fn begun_of(&self, label: &Label) -> Option<&Value> {
        Some(&self.begun.get(&(label.uid.clone(), label.build))?.spec)
    }

    /// What of a spec's steps the builder of an image has not done, by its console and by what is on the image's disks.
    pub(super) fn not_done(
        &self,
        image: &str,
        snapshots: &BTreeSet<String>,
        spec: &Value,
        ec2: &Ec2<'_>,
    ) -> Option<String> {
        let steps: Vec<&Value> = spec["build"]["steps"].as_array().into_iter().flatten().collect();
        let files = steps.iter().map(|step| &step["file"]).filter(|file| !file.is_null());
        let disks: Vec<_> = snapshots
            .iter()
            .filter_map(|id| ec2.snapshots.get(id.as_str()))
            .map(|snapshot| snapshot.disk)
            .collect();
        for file in files {
            let path = file["path"].as_str().unwrap_or_default();
            let laid = disks.iter().filter_map(|disk| disk.files.get(path));
            if !laid
                .into_iter()
                .any(|laid| Some(laid.content.as_str()) == file["content"].as_str())
            {
                return Some(format!("has no {path} as its spec says"));
            }
        }
        // EC2 forgets it in the end, and of one that says nothing the disk tells.
        let builder = ec2.instances.get(self.builders.get(image)?.as_str())?;
        let builder = Some(builder).filter(|builder| builder.says("started"))?;
        let done: BTreeSet<&str> = builder
            .records("step-finished")
            .filter_map(|mut words| words.next())
            .collect();
        (done.len() < steps.len()).then(|| format!("its builder has finished {} steps of {}", done.len(), steps.len()))
    }

    /// Whether an image was made of an instance.
    fn has_image(&self, instance: &str) -> bool {
        self.builders.values().any(|of| of == instance)
    }

    /// Whether an image is there and vouched for.
    pub(super) fn is_available(&self, image: &str, ec2: &Ec2<'_>) -> bool {
        self.kept.contains_key(image) && !self.edited.contains(image) && ec2.is_available(image)
    }
}

/// The uid of the recipe that owns an object.
pub(super) fn owner(object: &Value) -> Option<&str> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find_map(|owner| owner["uid"].as_str())
}
