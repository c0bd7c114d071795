//! What the simulator itself says there is: everything made since it began, but for terminated instances.

use std::collections::BTreeSet;
use std::fmt;

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

    pub fn snapshots(&self) -> usize {
        self.list("snapshots").len()
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

fn described(thing: &Value) -> String {
    let text = |field: &str| thing[field].as_str().unwrap_or_default();
    format!("{} {} ({})", text("id"), text("name"), text("state"))
}

impl fmt::Display for Inventory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kind in ["instances", "volumes", "images", "snapshots"] {
            writeln!(formatter, "{kind}: {}", self.list(kind).len())?;
            for thing in self.list(kind) {
                writeln!(formatter, "  {}", described(thing))?;
            }
        }
        Ok(())
    }
}
