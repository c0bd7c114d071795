//! What an instance, an image or a volume is made from and with: what the spec names, or what was made for the same build.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Judge;
use super::aws::{is_found, matches, user_data};
use super::call::{Call, Label};
use super::ec2::Ec2;
use crate::people::AMAZON;

/// What every launch asks for: tokens of whoever asks for metadata, from the instance itself and not from a container on it; no capacity
/// that somebody has reserved; one instance.
const ALWAYS: [(&str, &str); 5] = [
    ("MetadataOptions.HttpTokens", "required"),
    ("MetadataOptions.HttpPutResponseHopLimit", "1"),
    ("CapacityReservationSpecification.CapacityReservationPreference", "none"),
    ("MinCount", "1"),
    ("MaxCount", "1"),
];

/// Subnets that `config.yaml` lets recipes use, in the namespace `platform` alone.
const GRANTED: [&str; 2] = ["subnet-0a100000000000001", "subnet-0b200000000000001"];

const GRANTED_GROUP: &str = "sg-0d200000000000001";
const GRANTED_PROFILE: &str = "image-builder";

/// What a spec says of each of its volumes, and how a launch asks for it.
const VOLUME: [(&str, &str); 7] = [
    ("device", "DeviceName"),
    ("sizeGiB", "Ebs.VolumeSize"),
    ("type", "Ebs.VolumeType"),
    ("encrypted", "Ebs.Encrypted"),
    ("kmsKeyId", "Ebs.KmsKeyId"),
    ("iops", "Ebs.Iops"),
    ("throughput", "Ebs.Throughput"),
];

impl Judge {
    /// What it is made from is what the spec names, or was made for the same attempt.
    pub(super) fn comes_from_the_spec(&self, call: &Call<'_>, label: &Label, ec2: &Ec2<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        // That with which the build has begun, which is one that the recipe has had.
        let begun = self.begun_of(label);
        let some = |holds: &dyn Fn(&Value) -> bool| begun.is_some_and(holds);
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
                if groups.iter().any(|group| *group != GRANTED_GROUP) {
                    refuse("security groups that are not granted,", &format!("{groups:?}"));
                }
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
                if !["", GRANTED_PROFILE].contains(&profile) {
                    refuse("an instance profile that is not granted,", profile);
                }
                let wanted = |spec: &Value| match role {
                    "builder" => spec["build"]["builder"]["instanceProfile"].as_str().unwrap_or_default() == profile,
                    _ => profile.is_empty(),
                };
                if !some(&wanted) {
                    refuse("instance profile", profile);
                }
                let text = user_data(call);
                if role == "builder" && !some(&|spec| told(spec).all(|said| text.contains(said))) {
                    refuse("user data that lacks a step or its environment:", label.owner.as_str());
                }
                let asked = volumes_of(call);
                let wanted = |spec: &Value| match role {
                    "builder" => volumes(&spec["build"]["builder"]["volumes"]) == asked,
                    _ => asked.is_empty(),
                };
                if !some(&wanted) {
                    refuse("volumes", &format!("{asked:?}"));
                }
                if let Some(device) =
                    devices(call).find(|device| call.parameter(&format!("{device}.Ebs.DeleteOnTermination")) != "true")
                {
                    refuse("a volume that stays when it is terminated:", device);
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

/// Each of a spec's volumes.
fn volumes(list: &Value) -> BTreeSet<[String; 7]> {
    let items = list.as_array().into_iter().flatten();
    let shown = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    items.map(|item| VOLUME.map(|(field, _)| shown(&item[field]))).collect()
}

/// The same of those that a launch asks for.
fn volumes_of(call: &Call<'_>) -> BTreeSet<[String; 7]> {
    let asked = |mapping: &str| VOLUME.map(|(_, field)| call.parameter(&format!("{mapping}.{field}")).to_owned());
    devices(call).map(asked).collect()
}

/// What a launch calls its volumes' parameters.
fn devices<'a>(call: &'a Call<'_>) -> impl Iterator<Item = &'a str> {
    let names = call.parameters.keys();
    names.filter_map(|name| name.strip_suffix(".DeviceName"))
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

/// What of a spec a builder has to be told: its scripts and the values in their environment. Files travel encoded.
pub(super) fn told<'a>(spec: &'a Value) -> impl Iterator<Item = &'a str> {
    let of = |list: &'a Value, field: &'static str| {
        let items = list.as_array().into_iter().flatten();
        items.filter_map(move |item| item[field].as_str())
    };
    let steps = spec["build"]["steps"].as_array().into_iter().flatten();
    let files = steps.flat_map(|step| ["path", "mode", "owner", "content"].map(|field| step["file"][field].as_str()));
    of(&spec["build"]["steps"], "run")
        .chain(of(&spec["build"]["environment"], "value"))
        .chain(files.flatten())
}

/// The texts of a list.
fn strings(list: &Value) -> BTreeSet<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn holds(list: &Value, wanted: &str) -> bool {
    list.as_array().into_iter().flatten().any(|one| one == wanted)
}
