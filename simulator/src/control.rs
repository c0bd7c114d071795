//! What tests and the demo do to the world from outside: the JSON of `/_simulator/`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::Layout;
use crate::engine::Simulator;
use crate::ids::Kind;
use crate::instance_types;
use crate::instances::Instance;
use crate::seed::{AMAZON, Finished};

/// Instructions for the guests of some instances: those that every given field matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GuestRule {
    /// The one instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// What the instance was launched from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// Tags that the instance has, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// As after `#sim:`.
    pub instructions: Vec<String>,
}

impl GuestRule {
    /// Whether every given field fits the instance.
    pub fn matches(&self, instance: &Instance) -> bool {
        self.instance_id.as_ref().is_none_or(|id| *id == instance.id)
            && self.image_id.as_ref().is_none_or(|id| *id == instance.image_id)
            && self
                .tags
                .iter()
                .all(|(key, value)| instance.tags.0.get(key) == Some(value))
    }
}

/// A public image to add, as if its owner had just published it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewImage {
    /// Where it is published.
    pub region: String,
    /// As AWS allows names; it may be one that exists.
    pub name: String,
    /// `x86_64` or `arm64`.
    #[serde(default = "x86_64")]
    pub architecture: String,
    /// An account id; Amazon's by default.
    #[serde(default = "amazon")]
    pub owner: String,
    /// How its disk is laid out: an inspector can mount `xfs` and `ext4` only.
    #[serde(default = "xfs")]
    pub layout: Layout,
}

fn x86_64() -> String {
    "x86_64".to_owned()
}

fn xfs() -> Layout {
    Layout::Xfs
}

fn amazon() -> String {
    AMAZON.to_owned()
}

/// How many instances of a type a zone holds at most; none: any number.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capacity {
    /// Such as `eu-central-1a`.
    pub availability_zone: String,
    /// Such as `m7i.large`.
    pub instance_type: String,
    /// Pending and running ones count.
    pub instances: Option<u32>,
}

/// What exists in a region and was not there from the beginning.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// All but the terminated.
    pub instances: Vec<Found>,
    /// Attached or not.
    pub volumes: Vec<Found>,
    /// In any state.
    pub images: Vec<Found>,
    /// Of images or not.
    pub snapshots: Vec<Found>,
}

/// Something that exists.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// Its id.
    pub id: String,
    /// In EC2's words.
    pub state: String,
    /// An image's name, else the tag `Name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    pub tags: BTreeMap<String, String>,
}

impl Simulator {
    /// What was made and is still there, by region; regions with nothing are left out.
    pub fn inventory(&self) -> BTreeMap<String, Inventory> {
        let mut inventories = BTreeMap::new();
        for region in self.state.regions.values() {
            let new = |id: &str| !region.seeded.contains(id);
            let inventory = Inventory {
                instances: region
                    .instances
                    .values()
                    .filter(|instance| instance.exists() && new(&instance.id))
                    .map(|i| Found {
                        id: i.id.clone(),
                        state: i.state.name().to_owned(),
                        name: i.tags.0.get("Name").cloned(),
                        created: i.launched,
                        tags: i.tags.0.clone(),
                    })
                    .collect(),
                volumes: region
                    .volumes
                    .values()
                    .filter(|volume| new(&volume.id))
                    .map(|v| Found {
                        id: v.id.clone(),
                        state: v.state.name().to_owned(),
                        name: v.tags.0.get("Name").cloned(),
                        created: v.created,
                        tags: v.tags.0.clone(),
                    })
                    .collect(),
                images: region
                    .images
                    .values()
                    .filter(|image| new(&image.id))
                    .map(|i| Found {
                        id: i.id.clone(),
                        state: i.state.name().to_owned(),
                        name: Some(i.name.clone()),
                        created: i.created,
                        tags: i.tags.0.clone(),
                    })
                    .collect(),
                snapshots: region
                    .snapshots
                    .values()
                    .filter(|snapshot| new(&snapshot.id))
                    .map(|s| Found {
                        id: s.id.clone(),
                        state: s.state.name().to_owned(),
                        name: s.tags.0.get("Name").cloned(),
                        created: s.started,
                        tags: s.tags.0.clone(),
                    })
                    .collect(),
            };
            let Inventory {
                instances,
                volumes,
                images,
                snapshots,
            } = &inventory;
            if [instances, volumes, images, snapshots]
                .iter()
                .any(|found| !found.is_empty())
            {
                inventories.insert(region.name.clone(), inventory);
            }
        }
        inventories
    }

    /// Publishes an image. Returns its id. It counts as seeded.
    pub fn publish_image(&mut self, now: Timestamp, image: NewImage) -> Result<String, String> {
        let NewImage {
            region,
            name,
            architecture,
            owner,
            layout,
        } = image;
        let region = self
            .state
            .regions
            .get_mut(&region)
            .ok_or_else(|| format!("there is no region '{region}'"))?;
        if !["x86_64", "arm64"].contains(&architecture.as_str()) {
            return Err(format!("architecture is '{architecture}'; it must be x86_64 or arm64"));
        }
        let (image_id, snapshot_id) = (
            region.random.id(Kind::Image.prefix()),
            region.random.id(Kind::Snapshot.prefix()),
        );
        region.seeded.extend([image_id.clone(), snapshot_id.clone()]);
        region.put_image(Finished {
            image_id: image_id.clone(),
            snapshot_id,
            name: &name,
            owner: &owner,
            architecture: &architecture,
            created: now,
            public: true,
            layout,
        });
        Ok(image_id)
    }

    /// Sets how much room a zone has for a type.
    pub fn set_capacity(&mut self, capacity: Capacity) -> Result<(), String> {
        let Capacity {
            availability_zone,
            instance_type,
            instances,
        } = capacity;
        if instance_types::find(&instance_type).is_none() {
            return Err(format!("there is no instance type '{instance_type}'"));
        }
        let region = self
            .state
            .regions
            .values_mut()
            .find(|region| region.zones.iter().any(|zone| zone.zone_name == availability_zone))
            .ok_or_else(|| format!("there is no availability zone '{availability_zone}'"))?;
        let key = format!("{instance_type} {availability_zone}");
        match instances {
            Some(most) => region.capacity.insert(key, most),
            None => region.capacity.remove(&key),
        };
        Ok(())
    }

    /// The rules for guests, the same in every region.
    pub fn guest_rules(&self) -> &[GuestRule] {
        self.state
            .regions
            .values()
            .next()
            .map(|region| region.guest_rules.as_slice())
            .unwrap_or_default()
    }

    /// Adds a rule; it applies to boots and attachments from now on.
    pub fn add_guest_rule(&mut self, rule: GuestRule) {
        self.state
            .regions
            .values_mut()
            .for_each(|region| region.guest_rules.push(rule.clone()));
    }

    /// Ends all rules.
    pub fn clear_guest_rules(&mut self) {
        self.state
            .regions
            .values_mut()
            .for_each(|region| region.guest_rules.clear());
    }
}
