//! What the simulator itself says there is: everything made since it began, but for terminated instances.

use std::collections::{BTreeMap, BTreeSet};

use goldsmith_lab::{Lab, REGION, Result};
use serde_json::Value;

/// Tag of an image that is proven.
const PROVEN: &str = "goldsmith.dev/proven";

pub struct Inventory(Value);

impl Inventory {
    pub fn read(lab: &Lab) -> Result<Self> {
        Ok(Self(lab.simulator_get("inventory")?[REGION].take()))
    }

    fn list(&self, kind: &str) -> &[Value] {
        self.0[kind].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    pub fn images(&self) -> usize {
        self.list("images").len()
    }

    /// Whether each image has a snapshot, and each snapshot is of one image.
    pub fn pairs(&self) -> bool {
        let images = self.list("images").iter();
        let of_images: Vec<&str> = images
            .flat_map(|image| image["snapshots"].as_array().into_iter().flatten())
            .filter_map(Value::as_str)
            .collect();
        let all = self
            .list("snapshots")
            .iter()
            .filter_map(|snapshot| snapshot["id"].as_str());
        let all: BTreeSet<&str> = all.collect();
        of_images.len() == self.images() && of_images.len() == all.len() && of_images.iter().all(|id| all.contains(id))
    }

    /// Whatever is temporary and still there: instances, volumes, images that are not proven.
    pub fn leaked(&self) -> Vec<String> {
        let unproven = self
            .list("images")
            .iter()
            .filter(|image| image["tags"][PROVEN].is_null());
        let temporary = self.list("instances").iter().chain(self.list("volumes"));
        temporary.chain(unproven).map(described).collect()
    }

    /// Names of images that are there more than once for one owner and build.
    pub fn doubled(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let key = |image: &Value| {
            let tag = |name: &str| image["tags"][name].as_str().unwrap_or_default().to_owned();
            (tag("goldsmith.dev/owner"), tag("goldsmith.dev/build"))
        };
        self.list("images")
            .iter()
            .filter(|image| !seen.insert(key(image)))
            .map(described)
            .collect()
    }
}

/// What the controller has launched since the simulator began, by what each instance was for.
pub struct Launches(BTreeMap<String, BTreeSet<String>>);

impl Launches {
    /// Reads them from the journal of calls, where instances are that have gone long since, too.
    pub fn read(lab: &Lab) -> Result<Self> {
        let journal = lab.simulator_get("journal")?;
        let calls = journal.as_array().into_iter().flatten();
        let mut launches = BTreeMap::<String, BTreeSet<String>>::new();
        for call in calls.filter(|call| call["operation"] == "RunInstances") {
            let made = call["made"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let instances = made.filter(|id| id.starts_with("i-")).map(str::to_owned);
            launches
                .entry(purpose(&call["parameters"]))
                .or_default()
                .extend(instances);
        }
        Ok(Self(launches))
    }

    /// How many instances.
    pub fn count(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// For what more than one was launched.
    pub fn doubled(&self) -> Vec<&str> {
        let doubled = self.0.iter().filter(|(_, instances)| instances.len() > 1);
        doubled.map(|(purpose, _)| purpose.as_str()).collect()
    }
}

/// Recipe, build, attempt and role, by the tags that a launch asks for.
fn purpose(parameters: &Value) -> String {
    let parameters = parameters.as_object();
    let tag = |name: &str| {
        let mut keys = parameters.into_iter().flatten();
        let (key, _) = keys.find(|(_, value)| *value == &format!("goldsmith.dev/{name}"))?;
        parameters?.get(&format!("{}Value", key.strip_suffix("Key")?))?.as_str()
    };
    let parts = ["owner", "build", "attempt", "role"].map(|name| tag(name).unwrap_or_default());
    parts.join(" ")
}

fn described(thing: &Value) -> String {
    let text = |field: &str| thing[field].as_str().unwrap_or_default();
    format!("{} {} ({})", text("id"), text("name"), text("state"))
}
