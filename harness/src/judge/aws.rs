//! What is wrong with a mutating call to EC2.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::call::{Call, Label, label};
use super::ec2::Ec2;
use super::kubernetes::{intent, record};
use super::{Judge, Wrong};
use crate::api_server::ApiServer;
use crate::people::{AMAZON, FORGED_NONCE};

/// Files that hold what an image must not give away. What makes them is only in stories that plant secrets.
const SECRETS: [&str; 3] = ["authorized_keys", ".aws/credentials", "id_ed25519"];

/// What every launch asks for: tokens of whoever asks for metadata, no capacity that somebody has reserved, one instance.
const ALWAYS: [(&str, &str); 4] = [
    ("MetadataOptions.HttpTokens", "required"),
    ("CapacityReservationSpecification.CapacityReservationPreference", "none"),
    ("MinCount", "1"),
    ("MaxCount", "1"),
];

/// Subnets that `config.yaml` lets recipes use, in the namespace `platform` alone.
const GRANTED: [&str; 2] = ["subnet-0a100000000000001", "subnet-0b200000000000001"];

impl Judge {
    /// Judges a mutating call, right after it.
    pub fn called(&mut self, call: &Call<'_>, api: &ApiServer, ec2: &Ec2<'_>) -> Vec<Wrong> {
        let mut outdated = Vec::new();
        outdated.extend(self.is_led(call));
        let mut wrong = if call.creates().is_some() {
            self.creates(call, api, ec2, &mut outdated)
        } else {
            self.targets(call)
        };
        if call.operation.ends_with("Tags") {
            wrong.extend(self.tags_of_others(call));
        }
        if ["TerminateInstances", "DeregisterImage", "DeleteVolume"].contains(&call.operation) {
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
        let outdated = outdated.into_iter().map(|text| Wrong {
            is_outdated: true,
            ..Wrong::from(text)
        });
        wrong.into_iter().map(Wrong::from).chain(outdated).collect()
    }

    /// Learns from a console that was read what the guest on it has said, whatever the reader makes of it.
    pub fn heard(&mut self, id: &str, ec2: &Ec2<'_>) {
        let Some(instance) = ec2.instances.get(id) else { return };
        // The kind of a record that fits in one line is the fifth word of that line; what it says follows.
        let words = |kind: &str| {
            let lines = instance.console.lines();
            // What people have forged is not the guest's word.
            let lines = lines.filter(|line| !line.contains(FORGED_NONCE));
            let mut lines = lines.map(|line| line.split_whitespace().skip(4));
            lines.find_map(|mut words| (words.next() == Some(kind)).then_some(words))
        };
        let said = |kind: &str| words(kind).is_some();
        let role = self.made.get(id).map_or("", |label| label.role.as_str());
        let has_failed = said("failed") || instance.console.contains(" failed ");
        let passed = words("passed").and_then(|mut words| words.next()?.parse().ok());
        let passed = passed.and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok());
        if let Some(passed) = passed.filter(|_| role == "test" && said("tested") && !has_failed && !said("boot-error"))
        {
            let took = passed.duration_since(instance.launched);
            let shortest = self.tested.entry(instance.image.to_owned()).or_insert(took);
            *shortest = took.min(*shortest);
            let so = self.tests.get(id).cloned().unwrap_or_default();
            self.tested_so.insert((instance.image.to_owned(), so));
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
        let gone = self.gone_lately();
        for kind in call.creates().unwrap_or_default() {
            match label(&call.tags(Some(kind)), api, &gone) {
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
        outdated.extend(self.is_intended(call, label, api));
        outdated.extend(self.goes_on(call, label, api));
        wrong.extend(self.comes_from_the_spec(call, label, ec2));
        wrong.extend(self.is_wanted(call, label));
        if call.succeeded() {
            self.is_at_work(label);
            let test = self.specs.get(&label.uid).and_then(|specs| specs.last());
            let test = test.map(|spec| spec["test"].to_string()).unwrap_or_default();
            for id in call.made {
                self.tests.insert(id.clone(), test.clone());
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
        let limit = specs.filter_map(|spec| spec["failureLimit"].as_i64()).max();
        if limit.is_some_and(|limit| label.attempt > limit) {
            wrong.push(format!("{operation} for attempt {} of {limit:?}", label.attempt));
        }
        let begins = !self
            .made
            .values()
            .any(|made| (&made.uid, made.build, made.attempt) == (&label.uid, label.build, label.attempt));
        if begins && self.suspended.contains(&label.uid) {
            wrong.push(format!(
                "{operation} begins an attempt, and the recipe was read as suspended"
            ));
        }
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
            let kept = &record.object["binaryData"][format!("user-data.{role}.{attempt}")];
            if kept.as_str() != Some(call.parameter("UserData")) {
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

    /// What it is made from is what the spec names, or was made for the same attempt.
    fn comes_from_the_spec(&self, call: &Call<'_>, label: &Label, ec2: &Ec2<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        let specs = self.specs.get(&label.uid).map(Vec::as_slice).unwrap_or_default();
        let some = |holds: &dyn Fn(&Value) -> bool| specs.iter().any(holds);
        let (operation, role) = (call.operation, label.role.as_str());
        let is_ours = |id: &str| {
            self.made
                .get(id)
                .is_some_and(|of| (&of.uid, of.build) == (&label.uid, label.build))
        };
        let mut refuse =
            |what: &str, id: &str| wrong.push(format!("invariant 8: {operation} of a {role} with {what} {id}"));
        match operation {
            "RunInstances" => {
                let image = call.parameter("ImageId");
                let expected = match role {
                    "builder" => some(&|spec| is_source(spec, image, ec2)),
                    "test" => is_proof_of(self, label, image),
                    // A stranger's image would vouch for what it likes.
                    _ => {
                        !self.made.contains_key(image)
                            && ec2.images.get(image).is_some_and(|image| image.owner == AMAZON)
                    }
                };
                if !expected {
                    refuse("image", image);
                }
                let subnet = call.parameter("SubnetId");
                let subnets = |spec: &Value| spec["build"]["builder"]["subnets"].clone();
                let tags = ec2.subnets.get(subnet).copied();
                let is_tagged = |wanted: &Value| {
                    let mut wanted = wanted.as_object().into_iter().flatten();
                    let on = |key: &str| tags.and_then(|tags| tags.get(key)).map(String::as_str);
                    wanted.all(|(key, value)| on(key) == value.as_str())
                };
                let named = |spec: &Value| {
                    let subnets = subnets(spec);
                    holds(&subnets["ids"], subnet) || !subnets["tags"].is_null() && is_tagged(&subnets["tags"])
                };
                if !some(&named) {
                    refuse("subnet", subnet);
                }
                if !GRANTED.contains(&subnet) {
                    refuse("a subnet that is not granted,", subnet);
                }
                if !label.owner.starts_with("platform/") {
                    refuse("an owner to whom nothing is granted,", &label.owner);
                }
                let groups: BTreeSet<&str> = call.values("SecurityGroupId.").collect();
                if !some(&|spec| strings(&spec["build"]["builder"]["securityGroupIds"]) == groups) {
                    refuse("security groups", &format!("{groups:?}"));
                }
                let type_ = call.parameter("InstanceType");
                let types = |spec: &Value| {
                    let tests = strings(&spec["test"]["instanceTypes"]);
                    match role == "test" && !tests.is_empty() {
                        true => tests.contains(type_),
                        false => strings(&spec["build"]["builder"]["instanceTypes"]).contains(type_),
                    }
                };
                if !some(&types) {
                    refuse("instance type", type_);
                }
                let profile = call.parameter("IamInstanceProfile.Name");
                let wanted = |spec: &Value| match role {
                    "builder" => spec["build"]["builder"]["instanceProfile"].as_str().unwrap_or_default() == profile,
                    _ => profile.is_empty(),
                };
                if !some(&wanted) {
                    refuse("instance profile", profile);
                }
                let asked = volumes_of(call);
                if role == "builder" && !some(&|spec| volumes(&spec["build"]["builder"]["volumes"]) == asked) {
                    refuse("volumes", &format!("{asked:?}"));
                }
                // The builder's disk is still wanted.
                let shutdown = match role {
                    "builder" => "stop",
                    _ => "terminate",
                };
                let shutdown = ("InstanceInitiatedShutdownBehavior", shutdown);
                for (parameter, expected) in ALWAYS.into_iter().chain([shutdown]) {
                    if call.parameter(parameter) != expected {
                        refuse(parameter, call.parameter(parameter));
                    }
                }
                let born = call.tags(Some("instance"));
                let has = |(key, value): (&String, &Value)| born.get(key.as_str()).copied() == value.as_str();
                let wanted = |spec: &Value| {
                    spec["build"]["builder"]["tags"]
                        .as_object()
                        .is_none_or(|tags| tags.iter().all(has))
                };
                if !some(&wanted) {
                    refuse("tags", &format!("{born:?}"));
                }
            }
            "CreateImage" => {
                let name = call.parameter("Name");
                if !some(&|spec| is_name(spec, label, name)) {
                    refuse("the name", name);
                }
                let id = call.parameter("InstanceId");
                let finished = ec2.instances.get(id).is_some_and(|instance| {
                    (instance.state, instance.reason) == ("stopped", "Client.InstanceInitiatedShutdown")
                });
                // EC2 makes none of an instance that someone has terminated this moment.
                if !is_ours(id) || call.succeeded() && !finished {
                    refuse(
                        "an instance that is not its builder, or has not powered itself off:",
                        id,
                    );
                }
                let has_failed = |console: &str| {
                    console
                        .lines()
                        .any(|line| line.contains(" step-finished ") && line.contains(" failed "))
                };
                if ec2
                    .instances
                    .get(id)
                    .is_some_and(|instance| has_failed(instance.console))
                {
                    refuse("a builder of which a step has failed:", id);
                }
            }
            _ => {
                // Made with the image, which someone may have deregistered this moment.
                let snapshot = call.parameter("SnapshotId");
                if !is_proof_of(self, label, snapshot) {
                    refuse("snapshot", snapshot);
                }
            }
        }
        wrong
    }

    /// Whatever a call changes or removes was made by one, or carries our tags.
    fn targets(&self, call: &Call<'_>) -> Vec<String> {
        let strange = call
            .ids()
            .filter(|id| !self.made.contains_key(*id) && !self.claimed.contains(*id));
        let wrong = strange.map(|id| format!("invariant 8: {} of {id}, which is somebody else's", call.operation));
        wrong.collect()
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

/// An image that was made for the recipe of `label`: by this build, or by one that this one proves again.
fn is_proof_of(judge: &Judge, label: &Label, image: &str) -> bool {
    let made = judge.made.get(image);
    made.is_some_and(|of| of.owner == label.owner && (of.uid != label.uid || of.build <= label.build))
}

fn is_source(spec: &Value, id: &str, ec2: &Ec2<'_>) -> bool {
    let source = &spec["build"]["source"];
    let mut ids = source["ids"].as_object().into_iter().flatten();
    if ids.any(|(_, named)| named == id) {
        return true;
    }
    ec2.images
        .get(id)
        .is_some_and(|image| image.owner == AMAZON && is_found(spec, image.name))
}

/// Whether a search of the spec finds an image of that name.
fn is_found(spec: &Value, name: &str) -> bool {
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
fn matches(pattern: &str, name: &str) -> bool {
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
    let disks = snapshots.iter().filter_map(|id| ec2.snapshots.get(id.as_str()));
    let files = disks.flat_map(|disk| &disk.files);
    let secret =
        files.filter(|(path, file)| SECRETS.iter().any(|name| path.ends_with(name)) && !file.content.is_empty());
    secret.map(|(path, _)| path.as_str()).collect()
}

/// The texts of a list.
fn strings(list: &Value) -> BTreeSet<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Device, size and type of each of a spec's volumes.
fn volumes(list: &Value) -> BTreeSet<[String; 3]> {
    let items = list.as_array().into_iter().flatten();
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    items
        .map(|item| ["device", "sizeGiB", "type"].map(|field| shown(&item[field])))
        .collect()
}

/// The same of those that a launch asks for.
fn volumes_of(call: &Call<'_>) -> BTreeSet<[String; 3]> {
    let devices = call
        .parameters
        .keys()
        .filter_map(|name| name.strip_suffix(".DeviceName"));
    let asked = |mapping: &str| {
        ["DeviceName", "Ebs.VolumeSize", "Ebs.VolumeType"]
            .map(|field| call.parameter(&format!("{mapping}.{field}")).to_owned())
    };
    devices.map(asked).collect()
}

/// Whether an image of that build may be called so, as far as a name says only whose it is, when and which.
fn is_name(spec: &Value, label: &Label, name: &str) -> bool {
    let template = spec["image"]["name"].as_str().unwrap_or_default();
    let (_, recipe) = label.owner.split_once('/').unwrap_or_default();
    let known = template
        .replace("{{recipe}}", recipe)
        .replace("{{build}}", &label.build.to_string());
    matches(&known.replace("{{date}}", "*"), name)
}

fn holds(list: &Value, wanted: &str) -> bool {
    list.as_array().into_iter().flatten().any(|one| one == wanted)
}
