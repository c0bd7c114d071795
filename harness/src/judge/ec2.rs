//! What EC2 has, whether or not anyone has looked: taken from the simulator's own state and not from its answers.

use std::collections::BTreeMap;

use goldsmith_simulator::disk::Disk;
use goldsmith_simulator::engine::Simulator;
use jiff::Timestamp;

use crate::people::FORGED_NONCE;

/// Everything that is there, by id.
#[derive(Debug, Default)]
pub struct Ec2<'a> {
    pub images: BTreeMap<&'a str, Image<'a>>,
    pub instances: BTreeMap<&'a str, Instance<'a>>,
    pub volumes: BTreeMap<&'a str, Volume<'a>>,
    /// Tags of the subnets.
    pub subnets: BTreeMap<&'a str, &'a BTreeMap<String, String>>,
    pub snapshots: BTreeMap<&'a str, Snapshot<'a>>,
}

#[derive(Debug)]
pub struct Snapshot<'a> {
    /// What is on it.
    pub disk: &'a Disk,
    pub tags: &'a BTreeMap<String, String>,
}

#[derive(Debug)]
pub struct Image<'a> {
    pub state: &'static str,
    pub name: &'a str,
    pub created: Timestamp,
    /// Account number.
    pub owner: &'a str,
    pub protected: bool,
    pub description: Option<&'a str>,
    /// Of the versions of the metadata service the one alone that instances of it offer, if it says so.
    pub imds: Option<&'a str>,
    pub snapshots: Vec<&'a str>,
    pub tags: &'a BTreeMap<String, String>,
}

#[derive(Debug)]
pub struct Instance<'a> {
    pub state: &'static str,
    /// The code of why it is in that state.
    pub reason: &'a str,
    pub image: &'a str,
    pub launched: Timestamp,
    pub console: &'a str,
}

#[derive(Debug)]
pub struct Volume<'a> {
    pub state: &'static str,
    pub snapshot: &'a str,
    /// The instance that it is attached to.
    pub instance: &'a str,
}

impl Instance<'_> {
    /// The words of each record of that kind that the guest has written in one line; what people have forged is not its word.
    pub fn records(&self, kind: &str) -> impl Iterator<Item = std::str::SplitWhitespace<'_>> {
        let lines = self.console.lines().filter(|line| !line.contains(FORGED_NONCE));
        // Marker, sum, nonce and place come first.
        lines.filter_map(move |line| {
            let mut words = line.split_whitespace();
            (words.nth(4) == Some(kind)).then_some(words)
        })
    }

    /// Whether it has written one.
    pub fn says(&self, kind: &str) -> bool {
        self.records(kind).next().is_some()
    }
}

impl<'a> Ec2<'a> {
    /// Whether that instance, volume or image is there and not on its way out.
    pub fn has(&self, id: &str) -> bool {
        let instance = self.instances.get(id).map(|instance| instance.state);
        let volume = self.volumes.get(id).map(|volume| volume.state);
        let state = instance.or(volume).or(self.images.get(id).map(|image| image.state));
        state.is_some_and(|state| {
            !["shutting-down", "terminated", "deleting", "deleted", "deregistered"].contains(&state)
        })
    }

    /// Whether instances can be launched from that image.
    pub fn is_available(&self, image: &str) -> bool {
        self.images.get(image).is_some_and(|image| image.state == "available")
    }

    /// What there is now.
    pub fn of(simulator: &'a Simulator) -> Self {
        let mut ec2 = Self::default();
        for region in simulator.state.regions.values() {
            ec2.images.extend(region.images.values().map(|image| {
                let devices = image.block_devices.iter();
                let image_now = Image {
                    state: image.state.name(),
                    name: &image.name,
                    created: image.created,
                    owner: &image.owner,
                    tags: &image.tags.0,
                    description: image.description.as_deref(),
                    imds: image.imds_support.as_deref(),
                    protected: image.protection.name() != "disabled",
                    snapshots: devices.filter_map(|device| device.ebs.snapshot_id.as_deref()).collect(),
                };
                (image.id.as_str(), image_now)
            }));
            ec2.instances.extend(region.instances.values().map(|instance| {
                let instance_now = Instance {
                    state: instance.state.name(),
                    reason: instance.state_reason.as_ref().map_or("", |reason| &reason.code),
                    image: &instance.image_id,
                    launched: instance.launched,
                    console: &instance.console,
                };
                (instance.id.as_str(), instance_now)
            }));
            ec2.volumes.extend(region.volumes.values().map(|volume| {
                let attachment = volume.attachment.as_ref();
                let volume_now = Volume {
                    state: volume.state.name(),
                    snapshot: volume.snapshot_id.as_deref().unwrap_or_default(),
                    instance: attachment.map_or("", |attachment| &attachment.instance_id),
                };
                (volume.id.as_str(), volume_now)
            }));
            let subnets = region.subnets.iter();
            ec2.subnets
                .extend(subnets.map(|subnet| (subnet.subnet_id.as_str(), &subnet.tag_set.0)));
            let snapshots = region.snapshots.values();
            ec2.snapshots.extend(snapshots.map(|snapshot| {
                let snapshot_now = Snapshot {
                    disk: &snapshot.disk,
                    tags: &snapshot.tags.0,
                };
                (snapshot.id.as_str(), snapshot_now)
            }));
        }
        ec2
    }
}
