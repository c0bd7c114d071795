//! What the simulator itself says there is: everything made since it began, but for terminated instances.

use std::collections::BTreeSet;

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

/// The controller's launches since the simulator began, terminated instances included.
pub struct Launches(Vec<String>);

impl Launches {
    pub fn read(lab: &Lab) -> Result<Self> {
        let mut state = lab.simulator_get("state")?;
        let instances = state["regions"][REGION]["instances"].take();
        let all = instances
            .as_object()
            .into_iter()
            .flatten()
            .map(|(_, instance)| instance);
        let purpose = |instance: &Value| {
            let tag = |name: &str| instance["tags"][format!("goldsmith.dev/{name}")].as_str();
            let parts = ["owner", "build", "attempt", "role"].map(tag);
            Some(parts.into_iter().collect::<Option<Vec<_>>>()?.join(" "))
        };
        Ok(Self(all.filter_map(purpose).collect()))
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// For what more than one was launched.
    pub fn doubled(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        let doubled = self.0.iter().filter(|purpose| !seen.insert(purpose.as_str()));
        doubled.map(String::as_str).collect()
    }
}

fn described(thing: &Value) -> String {
    let text = |field: &str| thing[field].as_str().unwrap_or_default();
    format!("{} {} ({})", text("id"), text("name"), text("state"))
}
