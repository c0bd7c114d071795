//! What is wrong with the world: after every request that changes it, and at the end of a run.
//!
//! Shares nothing with the controller's own logic. It knows EC2 from the simulator's state and the calls that were made, and
//! the objects from the API server, as JSON. What the controller ought to have done follows from the specs, from what was made
//! by which call, and from what the guests have said and left on their disks; never from what the controller makes of them.

mod attempts;
mod aws;
mod call;
mod ec2;
mod inputs;
mod kubernetes;
mod lease;
mod picture;
pub mod status;
mod tags;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use goldsmith_simulator::tcp;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::api_server::{ApiServer, Kind};
use crate::plan::Fault;
use crate::story;
use crate::world::{State, World};

pub use attempts::Begun;
pub use call::{Call, Label};
pub use ec2::Ec2;
pub use kubernetes::Write;
pub use picture::Picture;

/// How many times as many requests a world at rest may see after a fault.
const MORE_AT_REST: usize = 2;
/// Requests an hour, renewals of the Lease not counted, that a world at rest may see without any fault.
const MOST_AT_REST: usize = 2_500;
/// How many times as many after a fault: what EC2 never brings to an end is looked at every few seconds for half an hour.
const STUCK: usize = 4;
/// Events that one recipe may have.
const MOST_EVENTS: usize = 60;
/// What a pass takes at most from its look to its last call.
const PASS: SignedDuration = SignedDuration::from_mins(1);
/// How much later than undisturbed a world comes to rest after one fault: a few looks, a retry, and what may not show for five minutes.
const LATER: SignedDuration = SignedDuration::from_mins(6);

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The request with which it came to be so; none for what is so at the end.
    pub request: Option<usize>,
    /// A request that was sent when it was right may be so: what it was decided on has changed since.
    pub is_outdated: bool,
    /// What it is.
    pub text: String,
}

impl From<String> for Wrong {
    fn from(text: String) -> Self {
        Self {
            request: None,
            is_outdated: false,
            text,
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(request) = self.request {
            write!(formatter, "request {request}: ")?;
        }
        formatter.write_str(&self.text)
    }
}

/// What has been seen of a run so far.
#[derive(Debug, Default)]
pub struct Judge {
    /// What the calls have made, and whose tags it was born with.
    made: BTreeMap<String, Label>,
    /// Things of strangers that carry our tags all the same.
    claimed: BTreeSet<String>,
    /// What was made, by what it was made for.
    once: BTreeMap<(String, Label, String), BTreeSet<String>>,
    /// What the last status of each recipe that the controller has written announces.
    intended: BTreeSet<String>,
    /// Images on which a verdict was put, with their snapshots.
    kept: BTreeMap<String, BTreeSet<String>>,
    /// Images of which a test instance has passed, and how long after its launch; of several the shortest.
    tested: BTreeMap<String, SignedDuration>,
    /// Images of which a test instance has passed, and what the spec said of tests then.
    tested_so: BTreeSet<(String, String)>,
    /// Snapshots that an inspector has read.
    inspected: BTreeSet<String>,
    /// Every spec that a recipe has had, by uid.
    specs: BTreeMap<String, Vec<Value>>,
    /// When a recipe was last there, by uid, and its name.
    seen: BTreeMap<String, (Timestamp, String)>,
    /// When an image that is kept was last available.
    available: BTreeMap<String, Timestamp>,
    /// The time of day.
    now: Timestamp,
    /// Uids of recipes that were suspended when the controller last read them.
    suspended: BTreeSet<String>,
    /// What was sent with each client token.
    tokens: BTreeMap<String, String>,
    /// When somebody last held a Lease, by its name and theirs.
    led: BTreeMap<(String, String), Timestamp>,
    /// Every build that has begun, by uid and number.
    begun: BTreeMap<(String, i64), Begun>,
    /// From what image an instance was launched.
    started_from: BTreeMap<String, String>,
    /// From what image that was launched which an image was made of.
    sources: BTreeMap<String, String>,
    /// Of what instance an image was made.
    builders: BTreeMap<String, String>,
    /// When what decides over an image's contents has last changed in a spec, by uid.
    changed: BTreeMap<String, Timestamp>,
    /// When an attempt was last at work, by uid, build and attempt.
    lasted: BTreeMap<(String, i64, i64), Timestamp>,
    /// Attempts of which something was removed.
    removed: BTreeSet<(String, i64, i64)>,
    /// What the spec said of tests when a test instance was launched.
    tests: BTreeMap<String, Value>,
    /// Tags that others have put on what is ours: id, key and value.
    of_others: BTreeSet<(String, String, String)>,
    /// Images of which others have edited what says that they are proven.
    edited: BTreeSet<String>,
    /// Uids of recipes whose deletion was asked for.
    deleted: BTreeSet<String>,
    /// The last build and attempt in a status, by uid.
    furthest: BTreeMap<String, (i64, i64)>,
    /// Every reason that a Ready has had.
    reasons: BTreeSet<String>,
    /// When a launch of that kind last found no capacity.
    without_capacity: BTreeMap<String, Timestamp>,
    /// What each guest was to be told when that was first written down, by uid, build and name in the record.
    user_data: BTreeMap<(String, i64, String), String>,
    /// How builds have ended, when that was first written down.
    outcomes: BTreeMap<(String, i64), Value>,
    /// How many calls have come since the process was asked to stop, if it was.
    since_stop: Option<usize>,
    /// When the status was last written, by uid.
    writes: BTreeMap<String, VecDeque<Timestamp>>,
}

impl Judge {
    /// Learns what users have asked for, and what there is: called after every request.
    pub fn learn(&mut self, api: &ApiServer, ec2: &Ec2<'_>, now: Timestamp) {
        self.now = now;
        self.learn_of_leases(api, now);
        for id in self.kept.keys() {
            if ec2.is_available(id) {
                self.available.insert(id.clone(), now);
            }
        }
        for recipe in api.objects(Kind::ImageRecipe) {
            let uid = recipe["metadata"]["uid"].as_str().unwrap_or_default();
            self.seen.insert(uid.to_owned(), (now, call::path(recipe)));
            let specs = self.specs.entry(uid.to_owned()).or_default();
            if specs.last() != Some(&recipe["spec"]) {
                let before = specs.last().cloned();
                specs.push(recipe["spec"].clone());
                self.learn_of_spec(uid, before.as_ref(), &recipe["spec"]);
            }
            if !recipe["metadata"]["deletionTimestamp"].is_null() {
                self.deleted.insert(uid.to_owned());
            }
        }
    }

    /// Learns what the controller has read of a recipe.
    pub fn read(&mut self, recipe: &Value) {
        let uid = recipe["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        match recipe["spec"]["suspend"] == true {
            true => self.suspended.insert(uid),
            false => self.suspended.remove(&uid),
        };
    }

    /// Uids and names of recipes that were there a moment ago: a pass may not know yet that they have gone.
    fn gone_lately(&self) -> BTreeSet<(String, String)> {
        let lately = self
            .seen
            .iter()
            .filter(|(_, (seen, _))| self.now.duration_since(*seen) < PASS);
        lately.map(|(uid, (_, name))| (uid.clone(), name.clone())).collect()
    }

    /// Whether an image was available a moment ago.
    fn was_available_lately(&self, id: &str) -> bool {
        let last = self.available.get(id);
        last.is_some_and(|last| self.now.duration_since(*last) < PASS)
    }

    /// What is temporary, was made for the recipe of that uid, or for any, and is still there.
    fn left(&self, uid: Option<&str>, ec2: &Ec2<'_>) -> Vec<&str> {
        let of_images: BTreeSet<&str> = ec2
            .images
            .values()
            .flat_map(|image| image.snapshots.iter().copied())
            // Of an image that someone else has deregistered: they may still want it.
            .chain(self.kept.values().flatten().map(String::as_str))
            .collect();
        let left = self.made.iter().filter(|(id, label)| {
            let id = id.as_str();
            let there = match id.split('-').next() {
                Some("i") => ec2
                    .instances
                    .get(id)
                    .is_some_and(|instance| instance.state != "terminated"),
                // EC2 deletes none that it is still creating.
                Some("vol") => ec2
                    .volumes
                    .get(id)
                    .is_some_and(|volume| !["creating", "deleting"].contains(&volume.state)),
                Some("ami") => ec2.images.contains_key(id) && !self.kept.contains_key(id),
                Some("snap") => ec2.snapshots.contains_key(id) && !of_images.contains(id),
                _ => false,
            };
            there && uid.is_none_or(|uid| uid == label.uid)
        });
        left.map(|(id, _)| id.as_str()).collect()
    }

    /// Instances that still run though nobody has been there for hours: each ends itself.
    pub fn at_work(&self, ec2: &Ec2<'_>) -> Vec<String> {
        let ours = ec2.instances.iter().filter(|(id, _)| self.made.contains_key(**id));
        let running = ours.filter(|(_, instance)| ["pending", "running"].contains(&instance.state));
        running
            .map(|(id, _)| format!("{id} runs, and nobody has been there for hours"))
            .collect()
    }

    /// Things that nobody may touch unless they carry our tags, as those in `claimed` do: they are a stranger's.
    pub fn strangers(&mut self, claimed: impl IntoIterator<Item = String>) {
        self.claimed.extend(claimed);
    }
}

/// What is wrong at the end, when everything is at rest, and what was wrong on the way.
pub fn wrong(world: &World) -> Vec<Wrong> {
    let simulator = tcp::lock(&world.simulator);
    let ec2 = Ec2::of(&simulator);
    let state = world.state();
    let mut wrong = state.wrong.clone();
    let left = state.judge.left(None, &ec2);
    if !left.is_empty() {
        wrong.push(format!("invariant 3: at rest, and {left:?} are left").into());
    }
    let refused = state
        .history
        .iter()
        .any(|step| step.fault == Some(Fault::RecordRefused));
    if refused && !state.judge.reasons.contains("RecordRefused") {
        let untold = "Kubernetes has refused a record, and no status has said so";
        wrong.push(untold.to_owned().into());
    }
    let edited = ["record-edited", "progress-edited", "user-data-edited"].contains(&state.story.as_str());
    if edited && !state.judge.reasons.contains("RecordUnreadable") {
        let untold = "somebody has edited the record of a build in hand, and no status has said so";
        wrong.push(untold.to_owned().into());
    }
    let undisturbed = state.history.iter().all(|step| step.fault.is_none());
    // Each of those that believe that they lead looks on.
    let leaders = state.api.objects(Kind::Lease).count();
    let most = MOST_AT_REST * leaders * if undisturbed { 1 } else { STUCK };
    let asked = at_rest(&state);
    if asked > most {
        wrong.push(format!("{asked} requests an hour at rest, {most} at most").into());
    }
    for recipe in state.api.objects(Kind::ImageRecipe) {
        // One is lost with the process that was about to write it.
        if undisturbed {
            wrong.extend(untold(&state.api, recipe).map(Wrong::from));
            let (told, expected) = (events(&state.api, recipe), story::events(&state.story));
            if told != expected {
                let name = &recipe["metadata"]["name"];
                wrong.push(format!("Events tell of {name} {told:?}, expected {expected:?}").into());
            }
        }
        wrong.extend(unanswered(recipe).map(Wrong::from));
        wrong.extend(
            state
                .judge
                .history_differs(recipe, &state.api)
                .into_iter()
                .map(Wrong::from),
        );
        let (name, said) = (&recipe["metadata"]["name"], status::kstatus(recipe));
        let (end, reason) = story::end(&state.story);
        let conditions = &recipe["status"]["conditions"];
        if said != end {
            wrong.push(format!("{name} is {said} at the end: {conditions}").into());
        } else if status::condition(recipe, "Ready").is_some_and(|ready| ready["reason"] != reason) {
            wrong.push(format!("{name} does not end for the reason {reason}: {conditions}").into());
        }
        let events = events_of(&state.api, recipe).count();
        if events > MOST_EVENTS {
            wrong.push(format!("{events} Events tell of {name}, {MOST_EVENTS} at most").into());
        }
        if let Some(other) = state.judge.other_contents(recipe) {
            wrong.push(other.into());
        }
        let limit = recipe["spec"]["historyLimit"].as_u64().unwrap_or_default();
        let records = kubernetes::records_of(&state.api, recipe).count();
        if u64::try_from(records).is_ok_and(|records| records > limit.max(1)) {
            wrong.push(format!("{records} records of {name} are kept, {limit} at most").into());
        }
        for id in kubernetes::images(&recipe["status"]["latest"]) {
            let image = ec2.images.get(id);
            if image.is_none_or(|image| image.state != "available") {
                let claims =
                    format!("invariant 7: the status of {name} claims image {id}, which EC2 does not have available");
                wrong.push(claims.into());
            }
            if recipe["spec"]["test"]["enabled"] == false {
                wrong.push(format!("invariant 4: latest of {name} is {id}, and its spec proves nothing").into());
            }
            let tests = recipe["spec"]["test"].to_string();
            if recipe["spec"]["test"]["enabled"] != false && !state.judge.tested_so.contains(&(id.to_owned(), tests)) {
                wrong.push(
                    format!("invariant 4: latest of {name} is {id}, which was never tested as its spec says").into(),
                );
            }
            let source = state.judge.sources.get(id).map(String::as_str);
            let newer = source.and_then(|source| aws::newer_source(&recipe["spec"], source, &ec2));
            if let Some(newer) = newer.filter(|_| recipe["spec"]["rebuild"]["onSourceChange"] != false) {
                wrong.push(
                    format!("latest of {name} is {id}, which is not made from {newer}, its newest source").into(),
                );
            }
            if state.judge.edited.contains(id) {
                wrong.push(format!("latest of {name} is {id}, whose verdict somebody has edited").into());
            }
            let tags = image.map(|image| state.judge.tags_at_rest(id, image, recipe, &ec2));
            wrong.extend(tags.into_iter().flatten().map(Wrong::from));
            let wanted = recipe["spec"]["image"]["description"].as_str();
            // One that leaves the spec stays on the image.
            if image.is_some_and(|image| wanted.is_some() && image.description != wanted) {
                wrong.push(format!("the description of {id} is not that of {name}, {wanted:?}").into());
            }
            let protects = recipe["spec"]["image"]["deregistrationProtection"] != false;
            if protects && image.is_some_and(|image| !image.protected) {
                let unprotected = format!("invariant 1: image {id} of {name} is not protected, and its spec says so");
                wrong.push(unprotected.into());
            }
            if !protects && image.is_some_and(|image| image.protected) {
                wrong.push(format!("image {id} of {name} is protected, and its spec says not to").into());
            }
        }
    }
    wrong
}

fn events_of<'a>(api: &'a ApiServer, recipe: &'a Value) -> impl Iterator<Item = &'a Value> {
    let events = api.objects(Kind::Event);
    events.filter(|event| event["regarding"]["uid"] == recipe["metadata"]["uid"])
}

/// Reasons of a recipe's Events, in the order of time.
fn events(api: &ApiServer, recipe: &Value) -> String {
    let mut events: Vec<(String, &str)> = events_of(api, recipe)
        .map(|event| {
            (
                event["eventTime"].to_string(),
                event["reason"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    events.sort();
    let reasons: Vec<&str> = events.into_iter().map(|(_, reason)| reason).collect();
    reasons.join(" ")
}

/// That status does not answer a request of an annotation, which others wait for.
fn unanswered(recipe: &Value) -> Option<String> {
    let asked = |name: &str| &recipe["metadata"]["annotations"][format!("goldsmith.dev/{name}")];
    let mut requests = ["build", "reconcile"].into_iter();
    let name =
        requests.find(|name| !asked(name).is_null() && recipe["status"]["handledRequests"][name] != *asked(name))?;
    let (recipe, asked) = (&recipe["metadata"]["name"], asked(name));
    Some(format!(
        "{recipe} asks by goldsmith.dev/{name} for {asked}, and its status does not say that this was handled"
    ))
}

/// That no Event tells people of how a recipe has ended.
fn untold(api: &ApiServer, recipe: &Value) -> Option<String> {
    let latest = kubernetes::images(&recipe["status"]["latest"]);
    let failed = status::kstatus(recipe) == "Failed";
    let mut events = events_of(api, recipe);
    let note = |event: &Value| event["note"].as_str().unwrap_or_default().to_owned();
    let told = events.any(|event| match failed {
        true => event["type"] == "Warning",
        // One that nothing has proven is never latest.
        false => event["type"] == "Normal" && latest.iter().all(|id| note(event).contains(*id)),
    });
    let name = &recipe["metadata"]["name"];
    (!told).then(|| format!("no Event tells people of how {name} has ended: {latest:?}"))
}

/// What users have otherwise than in the world of another run, whatever lies behind it.
pub fn other_results(reference: &World, world: &World) -> Vec<String> {
    Picture::of_what_users_have(reference).differences(&Picture::of_what_users_have(world))
}

/// What differs from the world of the undisturbed run, and from the way it came to rest.
pub fn differences(undisturbed: &World, world: &World) -> Vec<String> {
    let mut differences = Picture::of(undisturbed).differences(&Picture::of(world));
    let usual = at_rest(&undisturbed.state());
    let asked = at_rest(&world.state());
    // Each of those that believe that they lead looks on.
    let leaders = world.state().api.objects(Kind::Lease).count();
    if asked > usual * MORE_AT_REST * leaders {
        differences.push(format!("{asked} requests an hour at rest, undisturbed {usual}"));
    }
    // One after the other: both may be the same world.
    let usual = undisturbed.state().active;
    let active = world.state().active;
    // One that was frozen goes on once the others have been at rest.
    let frozen = world
        .state()
        .history
        .iter()
        .any(|step| step.fault == Some(Fault::Frozen));
    if active.duration_since(usual) > LATER && !frozen {
        differences.push(format!("it came to rest at {active}, undisturbed at {usual}"));
    }
    differences
}

/// Requests an hour after the last one that changed something: passes that never end show here. The Lease is read and renewed all the time.
fn at_rest(state: &State) -> usize {
    let after = state.history.iter().rev().take_while(|step| !step.is_activity());
    let asked = after
        .filter(|step| !step.mutates && !step.request.contains("/leases"))
        .count();
    let lasted = state.history.last().map(|last| last.time.duration_since(state.active));
    let seconds = lasted.map_or(0, |lasted| lasted.unsigned_abs().as_secs());
    asked * 3600 / usize::try_from(seconds.max(1)).unwrap_or(usize::MAX)
}

/// What EC2 has that was not there from the beginning.
fn inventory(world: &World) -> Value {
    let inventory = tcp::lock(&world.simulator).inventory();
    serde_json::to_value(inventory).unwrap_or_default()
}

/// The things of one kind, in all regions.
fn things<'a>(inventory: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let regions = inventory.as_object().into_iter().flatten();
    regions.flat_map(move |(_, region)| region[kind].as_array().into_iter().flatten())
}
