//! A region: everything in it, and how to find it. Regions know nothing of each other.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::availability_zones::AvailabilityZone;
use crate::control::GuestRule;
use crate::describe::Described;
use crate::durations::{self, Span};
use crate::guest::Guests;
use crate::ids::Kind;
use crate::images::Image;
use crate::instances::{Instance, Launch};
use crate::key_pairs::KeyPair;
use crate::protocol::Error;
use crate::random::Random;
use crate::schedule::{Due, Schedule};
use crate::security_groups::SecurityGroup;
use crate::seed::AMAZON;
use crate::snapshots::Snapshot;
use crate::subnets::Subnet;
use crate::tags::Tags;
use crate::throttle::Buckets;
use crate::time::after;
use crate::volumes::{Attachment, Volume};
use crate::vpcs::Vpc;

/// One region of the account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Region {
    pub name: String,
    /// The one account there is.
    pub account: String,
    /// What durations of AWS's processes are multiplied by.
    pub latency_scale: f64,
    pub random: Random,
    pub schedule: Schedule,
    pub buckets: Buckets,
    pub zones: Vec<AvailabilityZone>,
    pub vpcs: Vec<Vpc>,
    pub subnets: Vec<Subnet>,
    pub security_groups: Vec<SecurityGroup>,
    pub key_pairs: Vec<KeyPair>,
    pub instance_profiles: Vec<String>,
    pub images: BTreeMap<String, Image>,
    pub instances: BTreeMap<String, Instance>,
    pub snapshots: BTreeMap<String, Snapshot>,
    pub volumes: BTreeMap<String, Volume>,
    /// By client token and zone.
    pub launches: BTreeMap<String, Launch>,
    /// Images that once were.
    pub deregistered: BTreeSet<String>,
    /// Names of deregistered images, and when they are free again.
    pub released_names: BTreeMap<String, Timestamp>,
    /// How many instances of a type a zone can hold, by `TYPE ZONE`; what isn't named has room for all.
    pub capacity: BTreeMap<String, u32>,
    pub guest_rules: Vec<GuestRule>,
    #[serde(default)]
    pub guests: Guests,
    /// What was there from the beginning.
    pub seeded: BTreeSet<String>,
    /// Ids given out by the call in hand.
    #[serde(skip)]
    pub made: Vec<String>,
}

impl Region {
    pub fn new_id(&mut self, kind: Kind) -> String {
        let id = self.random.id(kind.prefix());
        self.made.push(id.clone());
        id
    }

    /// How long a process takes this time.
    pub fn lasts(&mut self, span: Span) -> SignedDuration {
        let (least, most) = span;
        let seconds = (least + (most - least) * self.random.fraction()) * self.latency_scale;
        SignedDuration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    /// Puts something in the schedule after a process's duration. Returns when.
    pub fn later(&mut self, now: Timestamp, span: Span, due: Due) -> Timestamp {
        let at = after(now, self.lasts(span));
        self.schedule.put(at, due);
        at
    }

    /// From when on describes show what is created now: for one in so many of its kind, not at once.
    pub fn visible_from(&mut self, now: Timestamp, kind: Kind) -> Timestamp {
        // Boto3's own waiters live with a late instance; with a late image or snapshot they do not.
        let one_in = if kind == Kind::Instance { 5 } else { 20 };
        match self.random.draw() % one_in {
            0 => after(now, self.lasts(durations::VISIBILITY)),
            _ => now,
        }
    }

    /// A zone by name or id; one of them must be given.
    pub fn zone(&self, name: Option<&str>, id: Option<&str>) -> Result<String, Error> {
        let known = |zone: &&AvailabilityZone| name == Some(&zone.zone_name) || id == Some(&zone.zone_id);
        match (name, id) {
            (None, None) => Err(Error::missing("AvailabilityZone")),
            (Some(_), Some(_)) => Err(Error::combination(
                "Only one of AvailabilityZone and AvailabilityZoneId can be given.",
            )),
            (Some(given), None) | (None, Some(given)) => {
                let zone = self.zones.iter().find(known).map(|zone| zone.zone_name.clone());
                let names: Vec<&str> = self.zones.iter().map(|zone| zone.zone_name.as_str()).collect();
                zone.ok_or_else(|| {
                    let why = format!("It must be one of {}.", names.join(", "));
                    let mut error = Error::invalid(given, "AvailabilityZone", why);
                    error.code = "InvalidZone.NotFound".to_owned();
                    error
                })
            }
        }
    }

    /// The id of a zone of this region.
    pub fn zone_id(&self, name: &str) -> Option<String> {
        let zone = self.zones.iter().find(|zone| zone.zone_name == name);
        zone.map(|zone| zone.zone_id.clone())
    }

    pub fn volume_mut(&mut self, id: &str) -> Result<&mut Volume, Error> {
        Kind::Volume.check(id)?;
        self.volumes.get_mut(id).ok_or_else(|| Kind::Volume.not_found(id))
    }

    pub fn instance(&self, id: &str) -> Result<&Instance, Error> {
        Kind::Instance.check(id)?;
        self.instances.get(id).ok_or_else(|| Kind::Instance.not_found(id))
    }

    pub fn instance_mut(&mut self, id: &str) -> Result<&mut Instance, Error> {
        Kind::Instance.check(id)?;
        self.instances.get_mut(id).ok_or_else(|| Kind::Instance.not_found(id))
    }

    /// The volumes attached to an instance.
    pub fn attached<'a>(&'a self, instance: &'a str) -> impl Iterator<Item = (&'a Volume, &'a Attachment)> {
        self.volumes
            .values()
            .filter_map(|volume| Some((volume, volume.attachment.as_ref()?)))
            .filter(move |(_, attachment)| attachment.instance_id == instance)
    }

    /// The addresses of a subnet that instances hold.
    pub fn held_addresses(&self, subnet_id: &str) -> Vec<&str> {
        let holds = |instance: &&Instance| instance.exists() && instance.subnet_id == subnet_id;
        self.instances
            .values()
            .filter(holds)
            .map(|instance| instance.private_ip.as_str())
            .collect()
    }

    /// How many more instances of a type a zone has room for.
    pub fn capacity_left(&self, instance_type: &str, zone: &str) -> u32 {
        let Some(most) = self.capacity.get(&format!("{instance_type} {zone}")) else {
            return u32::MAX;
        };
        let here = |i: &&Instance| i.instance_type == instance_type && i.zone == zone && i.state.runs();
        let here = self.instances.values().filter(here).count();
        most.saturating_sub(u32::try_from(here).unwrap_or(u32::MAX))
    }

    /// Everything of the account's own that can carry tags.
    pub fn tagged(&self) -> Vec<(Kind, &str, &Tags)> {
        let own = |owner: &str| owner == self.account;
        let mut all: Vec<(Kind, &str, &Tags)> = Vec::new();
        all.extend(
            self.images
                .values()
                .filter(|i| own(&i.owner))
                .map(|i| (Kind::Image, i.id.as_str(), &i.tags)),
        );
        all.extend(
            self.instances
                .values()
                .map(|i| (Kind::Instance, i.id.as_str(), &i.tags)),
        );
        all.extend(self.instances.values().filter(|i| i.exists()).map(|i| {
            let interface = &i.network_interface;
            (Kind::NetworkInterface, interface.id.as_str(), &interface.tags)
        }));
        all.extend(
            self.key_pairs
                .iter()
                .map(|k| (Kind::KeyPair, k.key_pair_id.as_str(), &k.tag_set)),
        );
        all.extend(
            self.security_groups
                .iter()
                .map(|g| (Kind::SecurityGroup, g.group_id.as_str(), &g.tag_set)),
        );
        all.extend(
            self.snapshots
                .values()
                .filter(|s| own(&s.owner))
                .map(|s| (Kind::Snapshot, s.id.as_str(), &s.tags)),
        );
        all.extend(
            self.subnets
                .iter()
                .map(|s| (Kind::Subnet, s.subnet_id.as_str(), &s.tag_set)),
        );
        all.extend(self.volumes.values().map(|v| (Kind::Volume, v.id.as_str(), &v.tags)));
        all.extend(self.vpcs.iter().map(|v| (Kind::Vpc, v.vpc_id.as_str(), &v.tag_set)));
        all
    }
}

/// The named items, or all of them; an id that names none is an error.
pub fn named<T: Described>(kind: Kind, ids: &[String], items: impl Iterator<Item = T>) -> Result<Vec<T>, Error> {
    let mut items: Vec<T> = items.collect();
    for id in ids {
        kind.check(id)?;
        if !items.iter().any(|item| item.id() == *id) {
            return Err(kind.not_found(id));
        }
    }
    items.retain(|item| ids.is_empty() || ids.contains(&item.id()));
    Ok(items)
}

/// Of what is kept by id, the named or all, as far as the caller sees it; an id that shows nothing is an error.
pub fn shown<'a, T>(
    kind: Kind,
    ids: &[String],
    all: &'a BTreeMap<String, T>,
    seen: impl Fn(&T) -> bool,
) -> Result<Vec<&'a T>, Error> {
    if ids.is_empty() {
        return Ok(all.values().filter(|item| seen(item)).collect());
    }
    let mut items: BTreeMap<&str, &T> = BTreeMap::new();
    for id in ids {
        kind.check(id)?;
        let item = all
            .get(id)
            .filter(|item| seen(item))
            .ok_or_else(|| kind.not_found(id))?;
        items.insert(id, item);
    }
    Ok(items.into_values().collect())
}

/// Whether every `Owner.N` is an account's id or one of AWS's words for some.
pub fn check_owners(wanted: &[String]) -> Result<(), Error> {
    check_accounts(wanted, &["self", "amazon", "aws-marketplace", "aws-backup-vault"])
}

/// Whether everyone of whom it is asked what they may use is an account's id, `self` or `all`.
pub fn check_grantees(wanted: &[String]) -> Result<(), Error> {
    check_accounts(wanted, &["self", "all"])
}

fn check_accounts(wanted: &[String], known: &[&str]) -> Result<(), Error> {
    let valid = |owner: &str| known.contains(&owner) || owner.len() == 12 && owner.bytes().all(|b| b.is_ascii_digit());
    match wanted.iter().find(|owner| !valid(owner)) {
        Some(owner) => {
            let message = format!(
                "Invalid user id: \"{owner}\" (expecting 12 digits, or one of {})",
                known.join(", ")
            );
            Err(Error::new("InvalidUserID.Malformed", message))
        }
        None => Ok(()),
    }
}

/// `Owner.N`: account ids, `self`, `amazon`; none means any.
pub fn owned_by(wanted: &[String], owner: &str, account: &str) -> bool {
    wanted.is_empty()
        || wanted.iter().any(|wanted| match wanted.as_str() {
            "self" => owner == account,
            "amazon" => owner == AMAZON,
            id => owner == id,
        })
}
