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
mod rest;
pub mod status;
mod tags;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::api_server::{ApiServer, Kind};

pub use attempts::Begun;
pub use call::{Call, Label};
pub use ec2::Ec2;
pub use kubernetes::Write;
pub use rest::{differences, other_results, wrong};

/// What a pass takes at most from its look to its last call.
const PASS: SignedDuration = SignedDuration::from_mins(1);

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

impl Wrong {
    /// What a request that was late could not know.
    fn outdated(text: String) -> Self {
        Self {
            is_outdated: true,
            ..Self::from(text)
        }
    }
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
    /// Attempts of which EC2 has taken a call as invalid, and since when: uid, build and attempt.
    failed: BTreeMap<(String, i64, i64), Timestamp>,
    /// Instances that no recipe is there for.
    leftovers: BTreeSet<String>,
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
    /// What each builder was told.
    told: BTreeMap<String, String>,
    /// Builds whose records others have deleted.
    forgotten: BTreeSet<(String, i64)>,
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
    /// Processes that were held up, and go on: their Lease and name.
    late: BTreeSet<(String, String)>,
    /// How many calls have come since the process was asked to stop, if it was.
    since_stop: Option<usize>,
    /// When the status was last written, by uid.
    writes: BTreeMap<String, VecDeque<Timestamp>>,
}

impl Judge {
    /// Learns what users have asked for, and what there is: called after every request.
    pub fn learn(&mut self, api: &ApiServer, ec2: &Ec2<'_>, now: Timestamp) {
        self.learn_of_objects(api, now);
        for id in self.kept.keys() {
            if ec2.is_available(id) {
                self.available.insert(id.clone(), now);
            }
        }
    }

    /// Learns what users have asked for, and who leads: as every request comes, before anything is done for it.
    pub fn learn_of_objects(&mut self, api: &ApiServer, now: Timestamp) {
        self.now = now;
        self.learn_of_leases(api, now);
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

    /// Uids and names of recipes that are or were there.
    fn known(&self) -> BTreeSet<(&str, &str)> {
        let known = self.seen.iter();
        known.map(|(uid, (_, name))| (uid.as_str(), name.as_str())).collect()
    }

    /// Whether the recipe of that uid has gone, and not just now: a pass may not know that yet.
    fn has_gone(&self, uid: &str) -> bool {
        let seen = self.seen.get(uid);
        seen.is_some_and(|(seen, _)| self.now.duration_since(*seen) >= PASS)
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

    /// Instances are there that carry our tags, and no recipe is.
    pub fn leftovers(&mut self, left: impl IntoIterator<Item = String>) {
        self.leftovers.extend(left);
    }

    /// Things that nobody may touch unless they carry our tags, as those in `claimed` do: they are a stranger's.
    pub fn strangers(&mut self, claimed: impl IntoIterator<Item = String>) {
        self.claimed.extend(claimed);
    }
}
