//! What is wrong with a mutating call to EC2.

use std::collections::BTreeSet;
use std::io::Read as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::call::{Call, Label, label};
use super::ec2::Ec2;
use super::kubernetes::{intent, record, tells_a_key};
use super::{Judge, Wrong};
use crate::api_server::ApiServer;
use crate::people::AMAZON;

/// Files that hold what an image must not give away. What makes them is only in stories that plant secrets.
const SECRETS: [&str; 3] = ["authorized_keys", ".aws/credentials", "id_ed25519"];

/// The version of the metadata service that takes a token.
const V2: &str = "v2.0";
/// `sweepAfter` of `config.yaml`.
const SWEEP_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// Calls that remove what attempts work with.
const REMOVES: [&str; 3] = ["TerminateInstances", "DeregisterImage", "DeleteVolume"];

impl Judge {
    /// Judges a mutating call, right after it.
    pub fn called(&mut self, call: &Call<'_>, api: &ApiServer, ec2: &Ec2<'_>) -> Vec<Wrong> {
        let mut outdated = Vec::new();
        outdated.extend(self.is_led(call.operation, call.member));
        outdated.extend(self.is_late(call.operation, call.member));
        outdated.extend(self.acts_after_stop(call));
        let mut wrong = if call.creates().is_some() {
            self.creates(call, api, ec2, &mut outdated)
        } else {
            self.targets(call, ec2)
        };
        if call.operation.ends_with("Tags") {
            wrong.extend(self.tags_of_others(call));
        }
        if REMOVES.contains(&call.operation) {
            outdated.extend(self.needs(call, api, ec2));
        }
        match call.operation {
            "DeregisterImage" | "DisableImage" | "DeleteSnapshot" => wrong.extend(self.removes(call)),
            "EnableImageDeregistrationProtection" => {
                let unproven = call
                    .ids()
                    .find(|id| !self.kept.contains_key(*id) || !self.tested.contains_key(*id));
                wrong.extend(
                    unproven.map(|id| format!("invariant 4: {id} is protected, and was never declared proven")),
                );
                if call.parameter("WithCooldown") != "true" {
                    let at_once =
                        "an image is protected without a cooldown: whoever takes that off may deregister it at once";
                    wrong.push(at_once.to_owned());
                }
            }
            "CreateTags" if call.succeeded() => wrong.extend(self.declares(call, ec2)),
            "DeleteTags" => {
                let verdict = call
                    .values("Tag.")
                    .any(|key| ["goldsmith.dev/proven", "goldsmith.dev/seal"].contains(&key));
                let proven = call.ids().find(|id| self.kept.contains_key(*id));
                if let Some(id) = proven.filter(|_| verdict) {
                    wrong.push(format!("invariant 1: the verdict is taken off {id}, which is proven"));
                }
            }
            _ => {}
        }
        let outdated = outdated.into_iter().map(Wrong::outdated);
        wrong.into_iter().map(Wrong::from).chain(outdated).collect()
    }

    /// Learns from a console that was read what the guest on it has said, whatever the reader makes of it.
    pub fn heard(&mut self, id: &str, ec2: &Ec2<'_>) {
        let Some(instance) = ec2.instances.get(id) else { return };
        let said = |kind: &str| instance.says(kind);
        let role = self.made.get(id).map_or("", |label| label.role.as_str());
        let has_failed = said("failed") || instance.console.contains(" failed ");
        let passed = instance.records("passed").next();
        let passed = passed.and_then(|mut words| words.next()?.parse().ok());
        let passed = passed.and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok());
        if let Some(passed) = passed.filter(|_| role == "test" && said("tested") && !has_failed && !said("boot-error"))
        {
            let took = passed.duration_since(instance.launched);
            let shortest = self.tested.entry(instance.image.to_owned()).or_insert(took);
            *shortest = took.min(*shortest);
            let so = self.tests.get(id).cloned().unwrap_or_default();
            let checks = so["checks"].as_array().map_or(0, Vec::len);
            let passed = |number: usize| {
                let number = number.to_string();
                let mut records = instance.records("check");
                records.any(|words| {
                    let words: Vec<&str> = words.collect();
                    words.first() == Some(&number.as_str()) && words.get(2) == Some(&"passed")
                })
            };
            if (1..=checks).all(passed) {
                self.tested_so.insert((instance.image.to_owned(), so.to_string()));
            }
        }
        if role == "inspector" && said("inspected") && !said("unsupported") && !said("failed") {
            let attached = ec2.volumes.values().filter(|volume| volume.instance == id);
            self.inspected.extend(attached.map(|volume| volume.snapshot.to_owned()));
        }
    }

    /// Something is made: once, with tags, after it was written down what for, from what a spec names.
    /// What a late request may be by now goes into `outdated`.
    fn creates(&mut self, call: &Call<'_>, api: &ApiServer, ec2: &Ec2<'_>, outdated: &mut Vec<String>) -> Vec<String> {
        let mut wrong = Vec::new();
        let operation = call.operation;
        let mut labels = Vec::new();
        let known = self.known();
        for kind in call.creates().unwrap_or_default() {
            match label(&call.tags(Some(kind)), api, &known) {
                Ok(label) => labels.push(label),
                Err(why) => wrong.push(format!(
                    "invariant 8: {operation} makes a {kind} without its tags: {why}"
                )),
            }
        }
        labels.dedup();
        let [label] = &labels[..] else {
            if labels.len() > 1 {
                wrong.push(format!(
                    "invariant 8: {operation} tags what it makes for different things: {labels:?}"
                ));
            }
            return wrong;
        };
        let roles: &[&str] = match operation {
            "RunInstances" => &["builder", "test", "inspector"],
            "CreateImage" => &["image"],
            _ => &["inspector"],
        };
        if !roles.contains(&label.role.as_str()) {
            wrong.push(format!("invariant 8: {operation} makes something as {}", label.role));
        }
        if operation != "CreateImage" && call.parameter("ClientToken").is_empty() {
            wrong.push(format!(
                "invariant 2: {operation} has no client token: sent again it makes another one"
            ));
        }
        let gone = self.has_gone(&label.uid);
        outdated.extend(gone.then(|| format!("{operation} for {}, which has gone", label.owner)));
        outdated.extend(self.is_intended(call, label, api));
        outdated.extend(self.goes_on(call, label, api));
        wrong.extend(self.comes_from_the_spec(call, label, ec2));
        wrong.extend(self.is_wanted(call, label));
        outdated.extend(self.has_failed(operation, label));
        if call.outcome == "InvalidParameterValue" {
            self.fails(label);
        }
        if call.succeeded() {
            self.is_at_work(label);
            let test = self.specs.get(&label.uid).and_then(|specs| specs.last());
            let test = test.map(|spec| spec["test"].clone()).unwrap_or_default();
            if operation == "CreateImage"
                && let Some(image) = call.made.first()
            {
                let builder = call.parameter("InstanceId").to_owned();
                let source = self.started_from.get(&builder).cloned().unwrap_or_default();
                self.sources.insert(image.clone(), source);
                self.builders.insert(image.clone(), builder);
            }
            if let Some(instance) = call.made.first().filter(|_| label.role == "builder") {
                self.told.insert(instance.clone(), user_data(call));
            }
            for id in call.made {
                self.tests.insert(id.clone(), test.clone());
                self.started_from
                    .insert(id.clone(), call.parameter("ImageId").to_owned());
                self.made.insert(id.clone(), label.clone());
                // The first thing that a call makes is what it is for; the others are part of it.
                let of_it = call.made.first() == Some(id);
                let purpose = (
                    operation.to_owned(),
                    label.clone(),
                    call.parameter("SnapshotId").to_owned(),
                );
                let made = self.once.entry(purpose).or_default();
                if of_it && made.insert(id.clone()) && made.len() > 1 {
                    let doubled = format!("invariant 2: {operation} has made more than one for {label:?}: {made:?}");
                    // A token is good for as long as what it made is there.
                    match made.iter().any(|other| other != id && ec2.has(other)) {
                        true => wrong.push(doubled),
                        false => outdated.push(doubled),
                    }
                }
            }
        }
        wrong
    }

    /// Whether the spec lets it be made now, and the token is of nothing else.
    fn is_wanted(&mut self, call: &Call<'_>, label: &Label) -> Vec<String> {
        let mut wrong = Vec::new();
        let operation = call.operation;
        let specs = self.specs.get(&label.uid).into_iter().flatten();
        let limit = specs.last().and_then(|spec| spec["failureLimit"].as_i64());
        if limit.is_some_and(|limit| label.attempt > limit) {
            wrong.push(format!("{operation} for attempt {} of {limit:?}", label.attempt));
        }
        if tells_the_key(call) {
            wrong.push(format!("{operation} tells the seal key"));
        }
        let begins = !self
            .made
            .values()
            .any(|made| (&made.uid, made.build, made.attempt) == (&label.uid, label.build, label.attempt));
        if begins {
            wrong.extend(self.waits(operation, label));
        }
        if operation == "RunInstances" {
            wrong.extend(self.tries_again(call, label));
        }
        let token = call.parameter("ClientToken");
        let others = call.parameters.iter().filter(|(name, _)| *name != "ClientToken");
        let others: Vec<String> = others.map(|(name, value)| format!("{name}={value}")).collect();
        let others = others.join("&");
        if !token.is_empty()
            && let Some(before) = self
                .tokens
                .insert(token.to_owned(), others.clone())
                .filter(|before| *before != others)
        {
            wrong.push(format!(
                "invariant 2: {operation} is sent with the token of another call: {before}, now {others}"
            ));
        }
        wrong
    }

    /// Whether the API server already knew of it.
    fn is_intended(&self, call: &Call<'_>, label: &Label, api: &ApiServer) -> Vec<String> {
        let mut wrong = Vec::new();
        let (
            operation,
            Label {
                build, attempt, role, ..
            },
        ) = (call.operation, label);
        let intent = intent(label, call.parameter("InstanceType"), call.parameter("SubnetId"));
        if !self.intended.contains(&intent) {
            wrong.push(format!(
                "invariant 2: {operation} before a status has said so: {intent}"
            ));
        }
        let Some(record) = record(api, label) else {
            wrong.push(format!("invariant 2: {operation} without a record of build {build}"));
            return wrong;
        };
        if !record.progress["outcome"].is_null() {
            wrong.push(format!(
                "invariant 3: {operation} for build {build}, whose record says that it has ended"
            ));
        }
        if operation == "RunInstances" {
            let guest = (label.uid.clone(), *build, format!("user-data.{role}.{attempt}"));
            let kept = self.user_data.get(&guest).map(String::as_str);
            if kept != Some(call.parameter("UserData")) {
                wrong.push(format!(
                    "invariant 2: {operation} sends the {role} of attempt {attempt} user data that the record does not keep"
                ));
            }
            if record.progress["attempt"].as_i64() != Some(*attempt) {
                let known = &record.progress["attempt"];
                wrong.push(format!(
                    "invariant 2: {operation} for attempt {attempt}, and the record knows of {known}"
                ));
            }
        }
        wrong
    }

    /// Whatever a call changes or removes was made by one; what carries our tags all the same may be removed.
    fn targets(&self, call: &Call<'_>, ec2: &Ec2<'_>) -> Vec<String> {
        let removes = REMOVES.contains(&call.operation);
        let is_left = |id: &str| self.leftovers.contains(id);
        let may = |id: &str| self.made.contains_key(id) || removes && (self.claimed.contains(id) || is_left(id));
        let strange = call.ids().filter(|id| !may(id));
        let strange = strange.map(|id| format!("invariant 8: {} of {id}, which is somebody else's", call.operation));
        let left = call.ids().filter(|id| is_left(id));
        let left = left.filter_map(|id| Some((id, self.now.duration_since(ec2.instances.get(id)?.launched))));
        let young = left.filter(|(_, age)| *age < SWEEP_AFTER);
        let young = young.map(|(id, age)| format!("{id} is swept when it is {age:#} old"));
        strange.chain(young).collect()
    }

    /// What is kept is not removed.
    fn removes(&self, call: &Call<'_>) -> Vec<String> {
        let kept =
            |id: &&str| self.kept.contains_key(*id) || self.kept.values().any(|snapshots| snapshots.contains(*id));
        let wrong = call.ids().filter(kept);
        wrong
            .map(|id| {
                format!(
                    "invariant 1: {} of {id}, which a build that ended well has made",
                    call.operation
                )
            })
            .collect()
    }

    /// A verdict is put on an image: what the guests have said and what is on the disk bears it out.
    fn declares(&mut self, call: &Call<'_>, ec2: &Ec2<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        let tags = call.tags(None);
        let (proven, finished) = (
            tags.contains_key("goldsmith.dev/proven"),
            tags.contains_key("goldsmith.dev/finished"),
        );
        if !proven && !finished {
            return wrong;
        }
        let owners = call.ids().filter_map(|id| self.made.get(id));
        let deadlines = owners.filter_map(|owner| self.specs.get(&owner.uid)).flatten();
        let deadlines = deadlines.filter_map(|spec| spec["test"]["bootDeadline"].as_str()?.parse().ok());
        let longest = deadlines.max().unwrap_or(SignedDuration::MAX);
        for id in call.ids().filter(|id| id.starts_with("ami-")) {
            let Some(image) = ec2.images.get(id) else { continue };
            let snapshots: BTreeSet<String> = image.snapshots.iter().map(|id| (*id).to_owned()).collect();
            let mut refuse = |why: &str| wrong.push(format!("invariant 4: image {id} is declared proven, and {why}"));
            if image.state != "available" {
                refuse("it is not available");
            }
            if !tags.contains_key("goldsmith.dev/seal") {
                refuse("carries no seal");
            }
            match self.tested.get(id).filter(|_| proven) {
                Some(took) if *took > longest => {
                    refuse(&format!(
                        "its test instance has passed after {took:#}, with {longest:#} at most"
                    ));
                }
                None if proven => refuse("no test instance of it has passed"),
                _ => {}
            }
            let spec = self.made.get(id).and_then(|label| self.begun_of(label));
            let requires = spec.is_some_and(|spec| spec["image"]["imdsSupport"] == V2);
            if requires && image.imds != Some(V2) {
                refuse("its instances answer whoever asks for metadata without a token");
            }
            if let Some(missing) = spec.and_then(|spec| self.not_done(id, &snapshots, spec, ec2)) {
                refuse(&missing);
            }
            if proven && !snapshots.is_subset(&self.inspected) {
                refuse("no inspector has read all of its snapshots");
            }
            for path in secrets(ec2, &snapshots) {
                refuse(&format!("holds {path}"));
            }
            self.kept.insert(id.to_owned(), snapshots);
        }
        wrong
    }
}

/// Whether a search of the spec finds an image of that name.
pub(super) fn is_found(spec: &Value, name: &str) -> bool {
    let search = &spec["build"]["source"]["search"];
    let pattern = search["name"].as_str().unwrap_or("*");
    let is_called = |arch: &str| matches(&pattern.replace("{{arch}}", arch), name);
    let architectures = spec["build"]["architectures"].as_array().into_iter().flatten();
    let mut architectures = architectures.filter_map(Value::as_str);
    !search.is_null() && architectures.any(is_called)
}

/// An available image of Amazon's that the search of a spec finds, and that is newer than the one of that id.
pub fn newer_source<'a>(spec: &Value, id: &str, ec2: &Ec2<'a>) -> Option<&'a str> {
    let begun = ec2.images.get(id).filter(|image| is_found(spec, image.name))?.created;
    let mut others = ec2.images.iter();
    let newer = others.find(|(_, image)| {
        (image.owner, image.state) == (AMAZON, "available") && image.created > begun && is_found(spec, image.name)
    });
    newer.map(|(id, _)| *id)
}

/// Whether `name` is what a pattern with `*` for any characters stands for.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(first) else {
        return false;
    };
    let mut ends = name.char_indices().map(|(index, _)| index).chain([name.len()]);
    ends.any(|end| matches(rest, &name[end..]))
}

/// Paths of files that hold a secret.
fn secrets<'a>(ec2: &Ec2<'a>, snapshots: &BTreeSet<String>) -> Vec<&'a str> {
    let snapshots = snapshots.iter().filter_map(|id| ec2.snapshots.get(id.as_str()));
    let files = snapshots.flat_map(|snapshot| &snapshot.disk.files);
    let secret =
        files.filter(|(path, file)| SECRETS.iter().any(|name| path.ends_with(name)) && !file.content.is_empty());
    secret.map(|(path, _)| path.as_str()).collect()
}

/// Whether a call says what a key file of the configuration holds, as it is or as user data.
fn tells_the_key(call: &Call<'_>) -> bool {
    let user_data = user_data(call);
    let mut said = call.parameters.values().chain([&user_data]);
    said.any(|text| tells_a_key(text))
}

/// What a launch tells its guest, as text.
pub(super) fn user_data(call: &Call<'_>) -> String {
    let bytes = BASE64_STANDARD.decode(call.parameter("UserData")).unwrap_or_default();
    let mut text = String::new();
    match GzDecoder::new(&bytes[..]).read_to_string(&mut text) {
        Ok(_) => text,
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    }
}
