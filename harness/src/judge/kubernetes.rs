//! What is wrong with a write to the API server.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::attempts::owner;
use super::call::{Label, path};
use super::ec2::Ec2;
use super::{Judge, Wrong, status};
use crate::api_server::{ApiServer, Kind};
use crate::process::Member;

const FINALIZER: &str = "goldsmith.dev/cleanup";
/// More writes of one object's status within [`BRIEFLY`] come of a pass that wakes itself.
const MOST_WRITES: usize = 40;
const BRIEFLY: SignedDuration = SignedDuration::from_secs(10);
/// What the configuration's key files hold; it is for nobody's eyes.
const SEAL_KEYS: [&str; 2] = [include_str!("../../seal-key"), include_str!("../../next-seal-key")];

/// A write, and what it made of the object.
#[derive(Debug)]
pub struct Write<'a> {
    pub now: Timestamp,
    /// Whose it is.
    pub member: Member,
    pub method: &'a str,
    pub path: &'a str,
    /// What was sent.
    pub body: &'a Value,
    /// Null for an object that was not there.
    pub before: &'a Value,
    /// Null for one that is no more.
    pub after: &'a Value,
}

impl Write<'_> {
    fn is_of(&self, kind: &str) -> bool {
        self.before["kind"] == kind || self.after["kind"] == kind
    }
}

/// A build's record.
#[derive(Debug)]
pub struct Record<'a> {
    pub object: &'a Value,
    pub frozen: Value,
    pub progress: Value,
}

impl<'a> Record<'a> {
    /// Reads one; none when the object is none.
    pub fn read(object: &'a Value) -> Option<Self> {
        let part = |name: &str| serde_json::from_str(object["data"][name].as_str()?).ok();
        Some(Self {
            object,
            frozen: part("frozen.json")?,
            progress: part("progress.json")?,
        })
    }
}

/// The record of the build that a thing was made for.
pub fn record<'a>(api: &'a ApiServer, label: &Label) -> Option<Record<'a>> {
    let (namespace, name) = label.owner.split_once('/')?;
    let name = format!("{name}-build-{}", label.build);
    let mut maps = api.objects(Kind::ConfigMap);
    let object =
        maps.find(|map| map["metadata"]["name"] == name.as_str() && map["metadata"]["namespace"] == namespace)?;
    let mut owners = object["metadata"]["ownerReferences"].as_array()?.iter();
    owners.any(|owner| owner["uid"] == label.uid.as_str()).then_some(())?;
    Record::read(object)
}

/// The records of all builds of a recipe.
pub fn records_of<'a>(api: &'a ApiServer, recipe: &'a Value) -> impl Iterator<Item = Record<'a>> {
    let is_of = |map: &&Value| {
        let mut owners = map["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        owners.any(|owner| owner["uid"] == recipe["metadata"]["uid"])
    };
    api.objects(Kind::ConfigMap).filter(is_of).filter_map(Record::read)
}

/// What a status has to say before that thing is made.
pub fn intent(label: &Label, instance_type: &str, subnet: &str) -> String {
    let Label {
        uid,
        build,
        attempt,
        role,
        ..
    } = label;
    match (role.as_str(), instance_type) {
        ("inspector", "") => format!("volume for {uid} {build} {attempt}"),
        _ => format!("{role} for {uid} {build} {attempt} {instance_type} {subnet}"),
    }
}

/// What of an object's metadata is for others to change.
fn of_others(object: &Value) -> [Value; 3] {
    let metadata = &object["metadata"];
    let mut finalizers: Vec<Value> = metadata["finalizers"].as_array().cloned().unwrap_or_default();
    finalizers.retain(|one| *one != FINALIZER);
    [
        finalizers.into(),
        metadata["labels"].clone(),
        metadata["annotations"].clone(),
    ]
}

/// Whether a text has what a key file holds.
pub(super) fn tells_a_key(text: &str) -> bool {
    SEAL_KEYS.iter().any(|key| text.contains(key.trim()))
}

impl Judge {
    /// Judges a write that the API server has taken, right after it.
    pub fn written(&mut self, write: &Write<'_>, api: &ApiServer, ec2: &Ec2<'_>) -> Vec<Wrong> {
        let what = format!("{} {}", write.method, write.path);
        let needs_lease = write.is_of("ImageRecipe") || write.is_of("ConfigMap");
        let led = self.is_led(&what, write.member).filter(|_| needs_lease);
        // What changes an object names the version that it has seen.
        let begins = write.is_of("ConfigMap") && write.method == "POST";
        let late = self.is_late(&what, write.member).filter(|_| begins);
        let outdated = led.into_iter().chain(late).map(Wrong::outdated);
        let wrong = self.wrong_write(write, api, ec2).into_iter().map(Wrong::from);
        outdated.chain(wrong).collect()
    }

    fn wrong_write(&mut self, write: &Write<'_>, api: &ApiServer, ec2: &Ec2<'_>) -> Vec<String> {
        let Write {
            method,
            before,
            after,
            body,
            ..
        } = write;
        let mut wrong = Vec::new();
        let is = |kind| write.is_of(kind);
        let versioned = body["metadata"]["resourceVersion"]
            .as_str()
            .is_some_and(|version| !version.is_empty());
        if ["PUT", "PATCH"].contains(method) && !versioned && (is("ImageRecipe") || is("ConfigMap")) {
            wrong.push(format!(
                "{method} {} names no resourceVersion: it overwrites what it has not seen",
                write.path
            ));
        }
        if !is("Lease") && tells_a_key(&body.to_string()) {
            wrong.push(format!("{method} {} tells the seal key", write.path));
        }
        if is("ConfigMap") {
            wrong.extend(self.records(write, api, ec2));
        }
        if is("Lease") {
            wrong.extend(self.takes(before, after));
        }
        if is("ImageRecipe") && !before.is_null() && !after.is_null() && of_others(before) != of_others(after) {
            wrong.push(format!(
                "{method} {} changes finalizers, labels or annotations of others",
                write.path
            ));
        }
        if is("ImageRecipe") && write.path.ends_with("/status") {
            wrong.extend(self.status(write, ec2));
        } else if is("ImageRecipe") && finalized(before) && !finalized(after) {
            wrong.extend(self.released(before, ec2));
        }
        wrong
    }

    fn records(&mut self, write: &Write<'_>, api: &ApiServer, ec2: &Ec2<'_>) -> Vec<String> {
        let Write { before, after, .. } = write;
        let mut wrong = Vec::new();
        let name = write.path;
        match (Record::read(before), Record::read(after)) {
            (Some(old), Some(new)) => {
                if old.frozen != new.frozen {
                    wrong.push(format!("{name}: what was frozen when the build began is changed"));
                }
                if !old.progress["outcome"].is_null() && old.progress["outcome"] != new.progress["outcome"] {
                    wrong.push(format!("{name}: the build has ended, and its end is written anew"));
                }
                if old.progress["attempt"].as_i64() > new.progress["attempt"].as_i64() {
                    wrong.push(format!("{name}: the attempt goes back"));
                }
                // What has begun is finished.
                let begins = old.progress["attempt"].as_i64() < new.progress["attempt"].as_i64();
                let owner = owner(new.object).unwrap_or_default();
                if begins && new.progress["attempt"] != 1 && self.suspended.contains(owner) {
                    wrong.push(format!(
                        "{name}: an attempt begins, and the recipe was read as suspended"
                    ));
                }
            }
            (Some(old), None) => {
                let owners = old.object["metadata"]["ownerReferences"]
                    .as_array()
                    .into_iter()
                    .flatten();
                let living = owners
                    .filter_map(|owner| owner["uid"].as_str())
                    .any(|uid| !self.deleted.contains(uid));
                if living && old.progress["outcome"].is_null() {
                    wrong.push(format!("{name}: the record of a build that runs is deleted"));
                }
            }
            (None, Some(new)) => {
                if self.since_stop.is_some() {
                    wrong.push(format!("{name}: a process that was asked to stop begins a build"));
                }
                wrong.extend(self.begins_build(name, &new, api, ec2));
            }
            _ => {}
        }
        if let Some(new) = Record::read(after) {
            self.learn_of_record(&new);
            let image = new.progress["outcome"]["image"].as_str();
            let succeeded = new.progress["outcome"]["result"] == "Succeeded";
            if let Some(image) = image.filter(|_| succeeded) {
                self.ends_well(&new, image);
            }
            if let Some(of) = self
                .attempts_of(&new)
                .filter(|of| *of != new.progress["outcome"]["attempts"])
            {
                let says = &new.progress["outcome"]["attempts"];
                wrong.push(format!(
                    "{name} says that it took {says} attempts, and things were made for {of}"
                ));
            }
            if let Some(image) = image.filter(|image| succeeded && !self.kept.contains_key(*image)) {
                wrong.push(format!(
                    "invariant 7: {name} says that {image} came of it, which was never declared proven"
                ));
            }
        }
        wrong
    }

    fn status(&mut self, write: &Write<'_>, ec2: &Ec2<'_>) -> Vec<String> {
        let Write { now, before, after, .. } = write;
        let mut wrong = status::wrong(after);
        let reason = status::condition(after, "Ready").and_then(|ready| ready["reason"].as_str());
        self.reasons.extend(reason.map(str::to_owned));
        wrong.extend(status::changes(before, after, *now));
        let uid = after["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        if before == after {
            wrong.push("a status is written that is there already".to_owned());
        }
        let writes = self.writes.entry(uid.clone()).or_default();
        writes.push_back(*now);
        while writes.front().is_some_and(|first| now.duration_since(*first) > BRIEFLY) {
            writes.pop_front();
        }
        if writes.len() > MOST_WRITES {
            wrong.push(format!(
                "invariant 9: more than {MOST_WRITES} writes of a status within {BRIEFLY:#}"
            ));
        }
        wrong.extend(self.build(&uid, &after["status"]["build"]));
        let (latest, had) = (images(&after["status"]["latest"]), images(&before["status"]["latest"]));
        for id in &latest {
            if !self.kept.contains_key(*id) {
                wrong.push(format!("invariant 7: latest is {id}, which was never declared proven"));
            }
            let of = self.made.get(*id);
            if let Some(of) = of.filter(|of| of.owner != path(after)) {
                wrong.push(format!("invariant 7: latest is {id}, which was made for {}", of.owner));
            }
            let build = &after["status"]["latest"]["build"];
            if let Some(of) = of.filter(|of| *build != of.build) {
                wrong.push(format!(
                    "latest is {id} of build {build}, which build {} has made",
                    of.build
                ));
            }
            if !ec2.is_available(id) && !had.contains(id) && !self.was_available_lately(id) {
                wrong.push(format!(
                    "invariant 7: latest becomes {id}, which EC2 does not have available"
                ));
            }
        }
        let ready = |object: &Value| status::condition(object, "Ready").is_some_and(|ready| ready["status"] == "True");
        let stalled = status::condition(after, "Stalled").is_some();
        let same_spec = before["status"]["observedGeneration"] == after["status"]["observedGeneration"];
        let there = !had.is_empty() && had.iter().all(|id| self.is_available(id, ec2));
        if ready(before) && !ready(after) && !stalled && same_spec && there {
            let said =
                status::condition(after, "Ready").map(|ready| format!("{}: {}", ready["reason"], ready["message"]));
            wrong.push(format!(
                "Ready ends though neither the spec nor the image has changed, {}",
                said.unwrap_or_default()
            ));
        }
        wrong
    }

    /// Learns what the controller has written into a record: others may write there, too.
    fn learn_of_record(&mut self, new: &Record<'_>) {
        let uid = owner(new.object).unwrap_or_default();
        let number = new.frozen["number"].as_i64().unwrap_or_default();
        for (guest, user_data) in new.object["binaryData"].as_object().into_iter().flatten() {
            let user_data = user_data.as_str().unwrap_or_default().to_owned();
            self.user_data
                .entry((uid.to_owned(), number, guest.clone()))
                .or_insert(user_data);
        }
        let outcome = &new.progress["outcome"];
        if !outcome.is_null() {
            self.outcomes.entry((uid.to_owned(), number)).or_insert(outcome.clone());
        }
    }

    /// Others delete the record of a build.
    pub fn forgets(&mut self, object: &Value) {
        if let (Some(uid), Some(record)) = (owner(object), Record::read(object)) {
            let number = record.frozen["number"].as_i64().unwrap_or_default();
            self.forgotten.insert((uid.to_owned(), number));
        }
    }

    /// For how many attempts of a build that has ended things were made, if any were.
    fn attempts_of(&self, record: &Record<'_>) -> Option<i64> {
        record.progress["outcome"].as_object()?;
        let number = record.frozen["number"].as_i64()?;
        let uid = owner(record.object)?;
        let of_it = self
            .made
            .values()
            .filter(|label| label.uid == uid && label.build == number);
        of_it.map(|label| label.attempt).max()
    }

    /// The history in a status is what the records have said of builds that ended, the last ones, newest first.
    pub(super) fn history_differs(&self, recipe: &Value, api: &ApiServer) -> Option<String> {
        let uid = recipe["metadata"]["uid"].as_str().unwrap_or_default();
        let told = recipe["status"]["history"].as_array().into_iter().flatten();
        let told = told.map(|entry| {
            let fields = ["build", "reason", "name", "contentHash", "result", "attempts"].map(|field| &entry[field]);
            json!([fields, images(entry), entry["message"].is_null()])
        });
        let told: Vec<Value> = told.collect();
        let mut known: Vec<Value> = self
            .outcomes
            .iter()
            .filter(|((of, number), _)| of == uid && !self.forgotten.contains(&(of.clone(), *number)))
            .filter_map(|((_, number), outcome)| {
                // Somebody may have copied one.
                let name = format!("{}-build-{number}", recipe["metadata"]["name"].as_str()?);
                let mut records = records_of(api, recipe);
                let Some(record) = records.find(|record| record.object["metadata"]["name"] == name) else {
                    return Some(json!([[number, "has no record"]]));
                };
                let frozen = ["number", "reason", "imageName", "contentHash"].map(|field| &record.frozen[field]);
                let ended = ["result", "attempts"].map(|field| &outcome[field]);
                let fields = frozen.into_iter().chain(ended);
                let image: Vec<&str> = outcome["image"].as_str().into_iter().collect();
                let says_nothing = outcome["failure"].is_null() && record.progress["proof"]["warnings"][0].is_null();
                Some(json!([fields.collect::<Vec<_>>(), image, says_nothing]))
            })
            .collect();
        known.sort_by_key(|build| std::cmp::Reverse(build[0][0].as_i64()));
        let limit = recipe["spec"]["historyLimit"]
            .as_u64()
            .and_then(|limit| usize::try_from(limit).ok());
        known.truncate(limit.unwrap_or_default());
        (told != known).then(|| {
            format!(
                "the history of {} is {told:?}, and its records say {known:?}",
                path(recipe)
            )
        })
    }

    /// The build in a status: where it stands goes forward, what it names was made, and what it announces may be made now.
    fn build(&mut self, uid: &str, build: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        // What it does not announce any more may not be made any more.
        let of_it = format!(" for {uid} ");
        self.intended.retain(|intent| !intent.contains(&of_it));
        let (Some(number), Some(attempt)) = (build["number"].as_i64(), build["attempt"].as_i64()) else {
            return wrong;
        };
        let furthest = self.furthest.entry(uid.to_owned()).or_default();
        if (number, attempt) < *furthest {
            wrong.push(format!(
                "status goes back from build and attempt {furthest:?} to {:?}",
                (number, attempt)
            ));
        }
        *furthest = (*furthest).max((number, attempt));
        for architecture in build["architectures"].as_array().into_iter().flatten() {
            let ids = ["instance", "test", "inspector"].map(|role| &architecture[role]["id"]);
            let ids = ids.into_iter().chain([&architecture["image"]]);
            for id in ids.filter_map(Value::as_str).filter(|id| !self.made.contains_key(*id)) {
                wrong.push(format!("invariant 7: status names {id}, which nobody has made for it"));
            }
            let label = |role: &str| Label {
                uid: uid.to_owned(),
                owner: String::new(),
                build: number,
                attempt,
                role: role.to_owned(),
            };
            for (slot, role) in [("instance", "builder"), ("test", "test"), ("inspector", "inspector")] {
                let text = |field: &str| architecture[slot][field].as_str().unwrap_or_default();
                if architecture[slot].is_object() {
                    self.intended
                        .insert(intent(&label(role), text("instanceType"), text("subnet")));
                }
            }
            if !architecture["volumeTime"].is_null() {
                self.intended.insert(intent(&label("inspector"), "", ""));
            }
            if !architecture["imageTime"].is_null() {
                self.intended.insert(intent(&label("image"), "", ""));
            }
        }
        wrong
    }

    /// The finalizer goes: nothing temporary of the object may be left.
    fn released(&self, object: &Value, ec2: &Ec2<'_>) -> Vec<String> {
        let left = self.left(object["metadata"]["uid"].as_str(), ec2);
        match left.is_empty() {
            true => Vec::new(),
            false => vec![format!(
                "invariant 3: {} is let go, and {left:?} of it are left",
                path(object)
            )],
        }
    }
}

/// Whether it is let go only once nothing of it is left.
pub(super) fn finalized(object: &Value) -> bool {
    let mut finalizers = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    finalizers.any(|one| one == FINALIZER)
}

/// Ids of the images of a `latest`, of all regions and architectures.
pub fn images(latest: &Value) -> Vec<&str> {
    let regions = latest["images"].as_object().into_iter().flatten();
    let images = regions.flat_map(|(_, images)| images.as_object().into_iter().flatten());
    images.filter_map(|(_, id)| id.as_str()).collect()
}
