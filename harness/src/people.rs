//! What people do beside the controller: in every story they put our tags where they do not belong, and in some they interfere.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use goldsmith_simulator::control::NewImage;
use goldsmith_simulator::disk::Layout;
use goldsmith_simulator::engine;
use goldsmith_simulator::tcp;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::api_server::Kind;
use crate::history::Step;
use crate::interference::{self, made};
use crate::story::write;
use crate::world::World;

const REGION: &str = "eu-central-1";
/// The number of the account that everything is in.
const ACCOUNT: &str = "123456789012";
/// Amazon's account number.
pub const AMAZON: &str = "137112412989";
/// Uid of a recipe and of a cluster that are not there.
const GONE: &str = "00000000-0000-4000-8000-00000000dead";

/// Most images that Amazon has published lately, how many are on a page, and how many instances have mangled tags.
const SOURCES: i64 = 20;
const PAGE: usize = 5;
const MANGLED: usize = 4;

/// The nonce of what people forge on consoles.
pub const FORGED_NONCE: &str = "00000000000000000000000000000000";

/// The tag that vouches for the others.
const SEAL: &str = "goldsmith.dev/seal";
const CONFIG_MAPS: &str = "/api/v1/namespaces/platform/configmaps";

/// The name of an image until it is published.
const UNPUBLISHED: &str = "al2024-ami-to-come";

/// What they have done so far.
#[derive(Clone, Debug, Default)]
pub struct People {
    /// An instance that was there before everything, and is given the tags of the first builder.
    double: Option<String>,
    has_launched: bool,
    has_copied: bool,
    has_forged: bool,
    pub has_interfered: bool,
    /// Seals that they have taken off images.
    seals: Vec<(String, String)>,
}

/// Before the controller starts, others already use tags like ours: another installation, and another cluster.
pub fn settle(world: &World) {
    publish_sources(world);
    let (cluster, _) = uids(world);
    let earlier = world.began() - SignedDuration::from_hours(1);
    launch(world, earlier, 1, &tags("another", &cluster, GONE));
    launch(world, earlier, 1, &tags("harness", GONE, GONE));
    let double = launch(world, earlier, 1, &BTreeMap::new());
    world.state().people.double = double.first().cloned();
    // It will carry our tags.
    world.state().judge.strangers(double);
    // Tags that were mangled by hand say too little to remove what carries them; with the double and the forged one they are more than fit on one page.
    let mut mangled = tags("harness", &cluster, GONE);
    mangled.retain(|name, _| name.ends_with("managed-by") || name.ends_with("cluster"));
    launch(world, earlier, MANGLED, &mangled);
}

/// Somebody has a ConfigMap of the name that the record of the first build would have.
pub fn take_record_name(world: &World) {
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "web-build-1", "namespace": "platform"},
        "data": {"settings": "mine"},
    });
    write(world, "POST", CONFIG_MAPS, &map);
}

/// Somebody has an image of that name in the account.
pub fn take_name(world: &World, name: &str) {
    let image = NewImage {
        region: REGION.into(),
        name: name.into(),
        architecture: "x86_64".into(),
        owner: ACCOUNT.into(),
        layout: Layout::Xfs,
    };
    let published = tcp::lock(&world.simulator).publish_image(world.began(), image);
    debug_assert!(published.is_ok(), "{published:?}");
}

/// Ids of the oldest and of the newest image of Amazon's that is there from the beginning.
pub fn two_sources(world: &World) -> [String; 2] {
    let simulator = tcp::lock(&world.simulator);
    let images = simulator.state.regions.get(REGION).map(|region| region.images.values());
    let images = images.into_iter().flatten();
    let images = images.filter(|image| image.owner == AMAZON && image.architecture == "x86_64");
    let mut images: Vec<_> = images.map(|image| (image.created, image.id.clone())).collect();
    images.sort();
    let id = |image: Option<&(Timestamp, String)>| image.map_or_else(String::new, |(_, id)| id.clone());
    [id(images.first()), id(images.last())]
}

/// There is a leftover for the sweep, so old.
pub fn leave_something(world: &World, age: SignedDuration) {
    let (cluster, _) = uids(world);
    let left = launch(world, world.now() - age, 1, &tags("harness", &cluster, GONE));
    world.state().judge.leftovers(left);
}

/// The uids of the cluster and of the recipe.
fn uids(world: &World) -> (String, String) {
    let state = world.state();
    let uid = |kind: Kind| {
        let object = state.api.objects(kind).next();
        let uid = object.and_then(|object| object["metadata"]["uid"].as_str());
        uid.unwrap_or_default().to_owned()
    };
    (uid(Kind::Namespace), uid(Kind::ImageRecipe))
}

/// Tags like those of the first builder.
fn tags(installation: &str, cluster: &str, uid: &str) -> BTreeMap<String, String> {
    let tags = [
        ("managed-by", installation),
        ("cluster", cluster),
        ("owner", "platform/web"),
        ("owner-uid", uid),
        ("build", "1"),
        ("attempt", "1"),
        ("role", "builder"),
        (
            "birth",
            "0000000000000000000000000000000000000000000000000000000000000000",
        ),
    ];
    tags.map(|(name, value)| (format!("goldsmith.dev/{name}"), value.to_owned()))
        .into()
}

/// Amazon publishes more images than fit on one page, until the newest of them is not on the first: pages are in the order of ids.
fn publish_sources(world: &World) {
    let source = |name: &str, at: Timestamp| {
        let image = NewImage {
            region: REGION.into(),
            name: name.into(),
            architecture: "x86_64".into(),
            owner: AMAZON.into(),
            layout: Layout::Xfs,
        };
        let published = tcp::lock(&world.simulator).publish_image(at, image);
        debug_assert!(published.is_ok(), "{published:?}");
        published.unwrap_or_default()
    };
    source(UNPUBLISHED, world.began());
    let mut ids = Vec::new();
    for number in 0..SOURCES {
        let at = world.began() - SignedDuration::from_hours(24 * (SOURCES - number));
        let newest = source(
            &format!("al2023-ami-2023.9.202611{:02}.0-kernel-6.1-x86_64", 10 + number),
            at,
        );
        if ids.iter().filter(|id| **id < newest).count() >= PAGE {
            return;
        }
        ids.push(newest);
    }
}

/// Amazon publishes an image that is newer than all. It was there under another name, so that its id is the same in every run.
pub fn publish_newest(world: &World) {
    let now = world.now();
    world.is_not_at_rest();
    let mut simulator = tcp::lock(&world.simulator);
    let images = simulator
        .state
        .regions
        .get_mut(REGION)
        .map(|region| region.images.values_mut());
    for image in images.into_iter().flatten().filter(|image| image.name == UNPUBLISHED) {
        "al2023-ami-2023.10.20261201.0-kernel-6.1-x86_64".clone_into(&mut image.name);
        image.created = now;
    }
}

/// Somebody puts a tag of their own on every image that is proven.
pub fn tag_images(world: &World) {
    let (key, value) = ("cost-center", "42");
    for id in proven(world) {
        tag(world, &id, key, value);
        world.state().judge.tagged_by_others(&id, key, value);
    }
}

/// What somebody changes of a record.
#[derive(Clone, Copy, Debug)]
pub enum Edit {
    /// In what subnet its next instance would be.
    Subnet,
    /// Which attempt it is at.
    Attempt,
    /// What that attempt's instance is told.
    UserData,
}

/// Somebody changes by hand the record of a build in hand.
pub fn edit_records(world: &World, edit: Edit) {
    for record in records(world) {
        let data = |name: &str| record["data"][name].as_str().unwrap_or_default();
        let change = match edit {
            Edit::Attempt => {
                let progress = data("progress.json").replace("\"attempt\":1", "\"attempt\":2");
                json!({"data": {"progress.json": progress}})
            }
            Edit::UserData => {
                let guests = record["binaryData"].as_object().into_iter().flatten();
                let told: serde_json::Map<String, Value> = guests
                    .map(|(guest, _)| (guest.clone(), BASE64_STANDARD.encode("#!/bin/sh\n").into()))
                    .collect();
                json!({"binaryData": told})
            }
            Edit::Subnet => json!({"data": {"frozen.json": data("frozen.json").replace("subnet-0a1", "subnet-0b2")}}),
        };
        write(world, "PATCH", &path_of(&record), &change);
    }
}

/// Somebody copies records of builds that have ended: another recipe's to this one, and one of this one's to another number.
pub fn copy_records(world: &World) {
    let records = records(world);
    let named = |name: &str| records.iter().find(|record| record["metadata"]["name"] == name);
    let (Some(own), Some(other)) = (named("web-build-1"), named("api-build-1")) else {
        let wrong = "there are no records of two recipes to copy".to_owned();
        return world.state().wrong.push(wrong.into());
    };
    for (name, record) in [("web-build-2", own), ("web-build-3", other)] {
        let metadata = &own["metadata"];
        let copy = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": metadata["labels"],
                "ownerReferences": metadata["ownerReferences"],
            },
            "data": record["data"],
        });
        write(world, "POST", CONFIG_MAPS, &copy);
    }
}

/// Somebody copies what another recipe's record says over this one's.
pub fn replace_record(world: &World) {
    let records = records(world);
    let named = |name: &str| records.iter().find(|record| record["metadata"]["name"] == name);
    let (Some(own), Some(other)) = (named("web-build-1"), named("api-build-1")) else {
        let wrong = "there are no records of two recipes to mix up".to_owned();
        return world.state().wrong.push(wrong.into());
    };
    world.state().judge.forgets(own);
    let copy = json!({"data": other["data"], "binaryData": other["binaryData"]});
    write(world, "PATCH", &path_of(own), &copy);
}

fn records(world: &World) -> Vec<Value> {
    world.state().api.objects(Kind::ConfigMap).cloned().collect()
}

fn path_of(record: &Value) -> String {
    format!(
        "{CONFIG_MAPS}/{}",
        record["metadata"]["name"].as_str().unwrap_or_default()
    )
}

/// Somebody takes off every image what says that it is proven.
pub fn take_verdict(world: &World) {
    for id in proven(world) {
        untag(world, &id, &["goldsmith.dev/proven", "goldsmith.dev/finished", SEAL]);
        touched(world, &id);
    }
}

/// Somebody takes the seal off every image that is proven, for a moment.
pub fn take_seal(world: &World) {
    for (_, id, seal) in proven_with(world, SEAL) {
        untag(world, &id, &[SEAL]);
        world.state().people.seals.push((id, seal));
    }
    world.is_not_at_rest();
}

/// And puts it back.
pub fn give_seal_back(world: &World) {
    let seals = std::mem::take(&mut world.state().people.seals);
    for (id, seal) in seals {
        tag(world, &id, SEAL, &seal);
    }
    world.is_not_at_rest();
}

/// Somebody changes a tag of every image that is proven.
pub fn edit_verdict(world: &World, key: &str, value: &str) {
    for id in proven(world) {
        tag(world, &id, key, value);
        touched(world, &id);
    }
}

/// Somebody deregisters the newest image, and gives the one before what says from which inputs that was made.
pub fn pass_for_newest(world: &World) {
    let key = "goldsmith.dev/content-hash";
    let images = proven_with(world, key);
    let (Some((_, newest, hash)), Some((_, oldest, _))) = (images.iter().max(), images.iter().min()) else {
        return;
    };
    interference::deregister(world, newest);
    tag(world, oldest, key, hash);
    touched(world, oldest);
}

fn tag(world: &World, id: &str, key: &str, value: &str) {
    let parameters = [
        ("Action", "CreateTags"),
        ("ResourceId.1", id),
        ("Tag.1.Key", key),
        ("Tag.1.Value", value),
    ];
    call(world, world.now(), &parameters);
}

fn untag(world: &World, id: &str, keys: &[&str]) {
    let mut parameters = vec![
        ("Action".to_owned(), "DeleteTags".to_owned()),
        ("ResourceId.1".to_owned(), id.to_owned()),
    ];
    parameters.extend(
        (1..)
            .zip(keys)
            .map(|(number, key)| (format!("Tag.{number}.Key"), (*key).to_owned())),
    );
    call(world, world.now(), &parameters);
}

fn touched(world: &World, id: &str) {
    world.is_not_at_rest();
    world.state().judge.verdict_edited(id);
}

/// Ids of the controller's images that are proven.
fn proven(world: &World) -> Vec<String> {
    let proven = proven_with(world, "goldsmith.dev/proven");
    proven.into_iter().map(|(_, id, _)| id).collect()
}

/// The same in the order of ids, with when each was made and what a tag of it says.
fn proven_with(world: &World, key: &str) -> Vec<(Timestamp, String, String)> {
    let made = made(world, "ami-");
    let simulator = tcp::lock(&world.simulator);
    let regions = simulator.state.regions.values();
    let images = regions.flat_map(|region| region.images.values());
    let proven = images.filter(|image| image.tags.0.contains_key("goldsmith.dev/proven") && made.contains(&image.id));
    let shown = proven.filter_map(|image| Some((image.created, image.id.clone(), image.tags.0.get(key)?.clone())));
    shown.collect()
}

/// Somebody who can write to the console of a guest says there that all is well, under a nonce that is not the guest's.
fn forge_console(world: &World, id: &str) {
    let passed = format!("passed {}", world.now().as_millisecond());
    let records = [
        "booted",
        "check 1 bmdpbng= passed 0 -",
        &passed,
        "tested",
        "inspected",
        "finished",
    ];
    let mut simulator = tcp::lock(&world.simulator);
    let regions = simulator.state.regions.values_mut();
    let Some(instance) = regions.filter_map(|region| region.instances.get_mut(id)).next() else {
        return;
    };
    for (sequence, record) in (1..).zip(records) {
        let body = format!("{FORGED_NONCE} {sequence}.1/1 {record}");
        let sum = hex::encode(&Sha256::digest(body.as_bytes())[..4]);
        instance.console.push_str(&format!("\r\n@goldsmith1 {sum} {body}\r\n"));
    }
}

/// Does what people do once they see what `step` has done.
pub fn react(world: &World, step: &Step) {
    if !["Success", "201"].contains(&step.outcome.as_str()) || !step.mutates {
        return;
    }
    let (story, people) = {
        let state = world.state();
        (state.story, state.people.clone())
    };
    let People {
        double,
        has_launched,
        has_copied,
        has_forged,
        has_interfered,
        ..
    } = people;
    if step.request.ends_with("/configmaps") && !has_launched && story.decoys {
        world.state().people.has_launched = true;
        let (cluster, recipe) = uids(world);
        let forged = launch(world, world.now(), 1, &tags("harness", &cluster, &recipe));
        // Who carries our tags, down to the uid, is taken for a leftover.
        world.state().judge.strangers(forged);
    }
    if let Some((double, builder)) = double.as_ref().zip(step.made.first())
        && step.request == "RunInstances"
        && !has_copied
        && story.decoys
    {
        world.state().people.has_copied = true;
        copy_tags(world, builder, double);
    }
    if step.request == "CreateTags" && !has_forged {
        forge_verdict(world);
    }
    if step.request == "RunInstances" && story.forged_consoles {
        step.made.iter().for_each(|id| forge_console(world, id));
    }
    if let Some((request, interfere)) = story.meanwhile
        && step.request == request
        && !has_interfered
    {
        world.state().people.has_interfered = true;
        interfere(world, step);
    }
}

/// Gives an instance that was there before the builder every tag that the builder was born with.
fn copy_tags(world: &World, builder: &str, double: &str) {
    let (tags, there) = {
        let simulator = tcp::lock(&world.simulator);
        let mut regions = simulator.state.regions.values();
        let Some(region) = regions.find(|region| region.instances.contains_key(builder)) else {
            return;
        };
        let tags = region.instances.get(builder).map(|builder| builder.tags.0.clone());
        (tags.unwrap_or_default(), region.instances.contains_key(double))
    };
    if !there {
        return;
    }
    let mut parameters = vec![
        ("Action".to_owned(), "CreateTags".to_owned()),
        ("ResourceId.1".to_owned(), double.to_owned()),
    ];
    parameters.extend(numbered("", &tags));
    call(world, world.now(), &parameters);
}

/// Copies the verdict of a proven image to images that nobody has looked at: as it is, and as that of a later build. An instance and a
/// volume that somebody uses are given the image's tags, too: they are no leftovers of its build.
fn forge_verdict(world: &World) {
    let (mut tags, instances) = {
        let simulator = tcp::lock(&world.simulator);
        let regions = || simulator.state.regions.values();
        let mut images = regions().flat_map(|region| region.images.values());
        let proven = images.find(|image| {
            let says = |key: &str| image.tags.0.get(key).map(String::as_str);
            // Where there are two recipes, always of the same one: which is faster is not theirs to say.
            says("goldsmith.dev/proven").is_some() && says("goldsmith.dev/owner") == Some("platform/web")
        });
        let Some(tags) = proven.map(|image| image.tags.0.clone()) else {
            return;
        };
        let instances = regions().flat_map(|region| region.instances.values());
        // Those of another installation and of another cluster: EC2 makes no two images of one at a time.
        let strangers = instances.filter(|instance| {
            let tag = |name: &str| {
                instance
                    .tags
                    .0
                    .get(&format!("goldsmith.dev/{name}"))
                    .map(String::as_str)
            };
            tag("managed-by") == Some("another") || tag("cluster") == Some(GONE)
        });
        (tags, strangers.map(|instance| instance.id.clone()).collect::<Vec<_>>())
    };
    world.state().people.has_forged = true;
    launch(world, world.now(), 1, &tags);
    let mut volume = vec![
        ("Action".to_owned(), "CreateVolume".to_owned()),
        ("AvailabilityZone".to_owned(), format!("{REGION}a")),
        ("Size".to_owned(), "8".to_owned()),
    ];
    volume.extend(specification("volume", &tags));
    call(world, world.now(), &volume);
    for (name, instance) in ["forged", "forged as a later one"].into_iter().zip(instances) {
        let mut parameters = vec![
            ("Action".to_owned(), "CreateImage".to_owned()),
            ("Name".to_owned(), name.to_owned()),
            ("InstanceId".to_owned(), instance),
        ];
        parameters.extend(specification("image", &tags));
        call(world, world.now(), &parameters);
        tags.insert("goldsmith.dev/build".into(), "2".into());
    }
}

/// Deletes all records: Kubernetes when the namespace goes, or somebody.
pub fn delete_records(world: &World) {
    for record in records(world) {
        world.state().judge.forgets(&record);
        write(world, "DELETE", &path_of(&record), &Value::Null);
    }
}

/// Instances of the image that recipes are built from.
fn launch(world: &World, at: Timestamp, count: usize, tags: &BTreeMap<String, String>) -> Vec<String> {
    let image = {
        let simulator = tcp::lock(&world.simulator);
        let images = simulator.state.regions.get(REGION).map(|region| region.images.values());
        let sources = images.into_iter().flatten();
        // Strangers have images of such names, too.
        let sources = sources.filter(|image| image.owner == AMAZON && image.architecture == "x86_64");
        let sources = sources.filter(|image| image.name.starts_with("al2023-ami-2023."));
        sources
            .max_by_key(|image| image.created)
            .map(|image| image.id.clone())
            .unwrap_or_default()
    };
    let count = count.to_string();
    let parameters = [
        ("Action", "RunInstances"),
        ("ImageId", &image),
        ("InstanceType", "m7i.large"),
        ("SubnetId", "subnet-0a100000000000001"),
        ("MinCount", &count),
        ("MaxCount", &count),
    ];
    let parameters = parameters
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter();
    call(
        world,
        at,
        &parameters.chain(specification("instance", tags)).collect::<Vec<_>>(),
    )
}

fn specification(kind: &str, tags: &BTreeMap<String, String>) -> Vec<(String, String)> {
    if tags.is_empty() {
        return Vec::new();
    }
    let mut parameters = vec![("TagSpecification.1.ResourceType".to_owned(), kind.to_owned())];
    parameters.extend(numbered("TagSpecification.1.", tags));
    parameters
}

/// Tags as the parameters of a call, `prefix` before each.
fn numbered(prefix: &str, tags: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    for (number, (key, value)) in (1..).zip(tags) {
        parameters.push((format!("{prefix}Tag.{number}.Key"), key.clone()));
        parameters.push((format!("{prefix}Tag.{number}.Value"), value.clone()));
    }
    parameters
}

/// A call to EC2 that is not the controller's; answers with the ids of what it made.
pub fn call<T: AsRef<str>>(world: &World, at: Timestamp, parameters: &[(T, T)]) -> Vec<String> {
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("Version", "2016-11-15")
        .append_pair(
            "X-Amz-Credential",
            &format!("AKIDPEOPLE/20261123/{REGION}/ec2/aws4_request"),
        )
        .extend_pairs(parameters.iter().map(|(name, value)| (name.as_ref(), value.as_ref())))
        .finish();
    let request = engine::Request {
        authorization: None,
        parameters: body.as_bytes(),
    };
    let mut simulator = tcp::lock(&world.simulator);
    simulator.handle(at, request);
    let Some(entry) = simulator.journal.last() else {
        return Vec::new();
    };
    debug_assert_eq!(entry.outcome, "Success", "{entry:?}");
    entry.made.clone()
}
