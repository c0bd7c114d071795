//! What tests and the demo do to the world from outside: the JSON of `/_simulator/`.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::Layout;
use crate::engine::Simulator;
use crate::faults::Fault;
use crate::guest;
use crate::ids::Kind;
use crate::images::check_image_name;
use crate::instance_types;
use crate::instances::Instance;
use crate::seed::{AMAZON, Finished};
use crate::tags::Tags;

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
    /// An image's snapshots.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<String>,
}

impl Found {
    fn of(id: &str, state: &str, created: Timestamp, tags: &Tags) -> Self {
        Self {
            id: id.to_owned(),
            state: state.to_owned(),
            name: tags.0.get("Name").cloned(),
            created,
            tags: tags.0.clone(),
            snapshots: Vec::new(),
        }
    }
}

impl fmt::Display for Inventory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("instances", &self.instances),
            ("volumes", &self.volumes),
            ("images", &self.images),
            ("snapshots", &self.snapshots),
        ];
        for (kind, found) in kinds {
            writeln!(formatter, "{kind}: {}", found.len())?;
            for found in found {
                writeln!(formatter, "  {found}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.id, self.state)?;
        if let Some(name) = &self.name {
            write!(formatter, "  {name}")?;
        }
        if !self.snapshots.is_empty() {
            write!(formatter, "  of {}", self.snapshots.join(", "))?;
        }
        Ok(())
    }
}

fn no_region(name: &str) -> String {
    format!("there is no region '{name}'; DescribeRegions lists them")
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
                    .map(|i| Found::of(&i.id, i.state.name(), i.launched, &i.tags))
                    .collect(),
                volumes: region
                    .volumes
                    .values()
                    .filter(|volume| new(&volume.id))
                    .map(|v| Found::of(&v.id, v.state.name(), v.created, &v.tags))
                    .collect(),
                images: region
                    .images
                    .values()
                    .filter(|image| new(&image.id))
                    .map(|i| Found {
                        name: Some(i.name.clone()),
                        snapshots: i.snapshots().map(str::to_owned).collect(),
                        ..Found::of(&i.id, i.state.name(), i.created, &i.tags)
                    })
                    .collect(),
                snapshots: region
                    .snapshots
                    .values()
                    .filter(|snapshot| new(&snapshot.id))
                    .map(|s| Found::of(&s.id, s.state.name(), s.started, &s.tags))
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
        let region = self.state.regions.get_mut(&region).ok_or_else(|| no_region(&region))?;
        check_image_name(&name).map_err(|error| error.message)?;
        if owner.len() != 12 || !owner.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("owner is '{owner}'; it must be an account id of 12 digits"));
        }
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

    /// Sets how much room zones have for types: all of it, or nothing where one is wrong.
    pub fn set_capacities(&mut self, capacities: Vec<Capacity>) -> Result<(), String> {
        let mut checked = Vec::new();
        for capacity in capacities {
            let Capacity {
                availability_zone,
                instance_type,
                instances,
            } = capacity;
            if instance_types::find(&instance_type).is_none() {
                return Err(format!("there is no instance type '{instance_type}'"));
            }
            let mut regions = self.state.regions.values();
            let region = regions
                .find(|region| region.zone_id(&availability_zone).is_some())
                .ok_or_else(|| format!("there is no availability zone '{availability_zone}'"))?;
            let key = format!("{instance_type} {availability_zone}");
            checked.push((region.name.clone(), key, instances));
        }
        for (region, key, instances) in checked {
            let Some(region) = self.state.regions.get_mut(&region) else {
                continue;
            };
            match instances {
                Some(most) => region.capacity.insert(key, most),
                None => region.capacity.remove(&key),
            };
        }
        Ok(())
    }

    /// Puts faults in force: all, or none where one could not strike.
    pub fn add_faults(&mut self, faults: Vec<Fault>) -> Result<(), String> {
        let mut all = self.faults.clone();
        for fault in faults {
            if let Some(region) = fault
                .region
                .as_ref()
                .filter(|name| !self.state.regions.contains_key(*name))
            {
                return Err(no_region(region));
            }
            all.add(fault)?;
        }
        self.faults = all;
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

    /// Adds rules, all or none; they apply to boots and attachments from now on.
    pub fn add_guest_rules(&mut self, rules: Vec<GuestRule>) -> Result<(), String> {
        for rule in &rules {
            if rule.instructions.is_empty() {
                return Err("instructions is empty; it must hold at least one line".to_owned());
            }
            guest::check_instructions(&rule.instructions)?;
            for (kind, id) in [(Kind::Instance, &rule.instance_id), (Kind::Image, &rule.image_id)] {
                let checked = id.as_ref().map_or(Ok(()), |id| kind.check(id));
                checked.map_err(|error| error.message)?;
            }
        }
        for region in self.state.regions.values_mut() {
            region.guest_rules.extend(rules.iter().cloned());
        }
        Ok(())
    }

    /// Ends all rules.
    pub fn clear_guest_rules(&mut self) {
        self.state
            .regions
            .values_mut()
            .for_each(|region| region.guest_rules.clear());
    }
}
