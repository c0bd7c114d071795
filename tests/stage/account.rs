//! What the simulated EC2 itself says of a recipe: what there is, and which calls were made.

use std::collections::BTreeMap;

use goldsmith_lab::REGION;
use serde_json::Value;

const OWNER: &str = "goldsmith.dev/owner";
const BUILD: &str = "goldsmith.dev/build";
const ATTEMPT: &str = "goldsmith.dev/attempt";
const ROLE: &str = "goldsmith.dev/role";
/// Tags of images that may stay.
const KEPT: [&str; 2] = ["goldsmith.dev/proven", "goldsmith.dev/finished"];

/// An instance, a volume, an image or a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    pub id: String,
    pub name: String,
    pub state: String,
    pub tags: BTreeMap<String, String>,
}

/// What exists of a recipe; terminated instances do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    pub instances: Vec<Thing>,
    pub volumes: Vec<Thing>,
    pub images: Vec<Thing>,
    pub snapshots: Vec<Thing>,
}

impl Inventory {
    /// What `/_simulator/inventory` says of the recipe `owner`, `<namespace>/<name>`.
    pub(crate) fn read(all: &Value, owner: &str) -> Self {
        let list = |kind: &str| {
            let things = all[REGION][kind].as_array().into_iter().flatten().map(Thing::read);
            things
                .filter(|thing| thing.tags.get(OWNER).is_some_and(|of| of == owner))
                .collect()
        };
        Self {
            instances: list("instances"),
            volumes: list("volumes"),
            images: list("images"),
            snapshots: list("snapshots"),
        }
    }

    /// What must be gone when the recipe is at rest.
    pub fn temporary(&self) -> Vec<&Thing> {
        let kept = |image: &&Thing| KEPT.iter().any(|tag| image.tags.contains_key(*tag));
        let images = self.images.iter().filter(|image| !kept(image));
        let named = |snapshot: &Thing| self.images.iter().any(|image| image.name == snapshot.name);
        let snapshots = self
            .snapshots
            .iter()
            .filter(|snapshot| !kept(snapshot) || !named(snapshot));
        let lasting = images.chain(snapshots);
        self.instances.iter().chain(&self.volumes).chain(lasting).collect()
    }
}

impl Thing {
    fn read(value: &Value) -> Self {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let tags = value["tags"].as_object().into_iter().flatten();
        Self {
            id: text("id"),
            name: text("name"),
            state: text("state"),
            tags: tags
                .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
        }
    }
}

/// A call that EC2 was asked, as its journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub sequence: u64,
    pub operation: String,
    /// `Success`, or an error's code.
    pub outcome: String,
    /// Kind of the fault that struck.
    pub fault: Option<String>,
    /// Ids of all that it has made. A call that is repeated under its token makes nothing again.
    pub made: Vec<String>,
    pub parameters: BTreeMap<String, String>,
}

impl Call {
    pub(crate) fn read(value: &Value) -> Self {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let made = value["made"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let parameters = value["parameters"].as_object().into_iter().flatten();
        Self {
            sequence: value["sequence"].as_u64().unwrap_or_default(),
            operation: text("operation"),
            outcome: text("outcome"),
            fault: value["fault"].as_str().map(str::to_owned),
            made: made.map(str::to_owned).collect(),
            parameters: parameters
                .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
        }
    }

    /// Whether it changes something.
    pub fn mutates(&self) -> bool {
        !["Describe", "Get"]
            .iter()
            .any(|prefix| self.operation.starts_with(prefix))
    }

    /// Whether it tags what it makes as that recipe's.
    pub fn is_of(&self, owner: &str) -> bool {
        self.tag(OWNER) == Some(owner)
    }

    /// The instances, volumes and images that were asked for, without what comes with them.
    pub fn things_made(&self) -> Vec<String> {
        let prefix = match self.operation.as_str() {
            "RunInstances" => "i-",
            "CreateVolume" => "vol-",
            _ => "ami-",
        };
        self.made.iter().filter(|id| id.starts_with(prefix)).cloned().collect()
    }

    /// What it makes, for which attempt of which build, and from which snapshot: of each there may be one.
    pub(crate) fn purpose(&self) -> (String, [Option<&str>; 4]) {
        let [build, attempt, role] = [BUILD, ATTEMPT, ROLE].map(|key| self.tag(key));
        let snapshot = self.parameters.get("SnapshotId").map(String::as_str);
        (self.operation.clone(), [build, attempt, role, snapshot])
    }

    /// A tag that it gives to what it makes.
    pub fn tag(&self, key: &str) -> Option<&str> {
        let named = self.parameters.iter().find(|(_, value)| *value == key)?;
        let value = named.0.strip_suffix("Key")?;
        Some(self.parameters.get(&format!("{value}Value"))?)
    }
}
