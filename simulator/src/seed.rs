//! What is there from the beginning. The ids are fixed, and listed in this crate's README.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;

use crate::availability_zones::AvailabilityZone;
use crate::block_devices::{ImageBlockDevice, ImageEbs};
use crate::disk::{Disk, File, Layout};
use crate::guest::Guests;
use crate::images::{Image, ImageState, LaunchPermission};
use crate::key_pairs::{KeyPair, KeyType, read_public};
use crate::keys;
use crate::random::Random;
use crate::region::Region;
use crate::schedule::Schedule;
use crate::security_groups::{IpPermission, SecurityGroup, UserIdGroupPair};
use crate::snapshots::{Snapshot, SnapshotState};
use crate::subnets::{PrivateDnsNameOptions, Subnet};
use crate::tags::Tags;
use crate::throttle::Buckets;
use crate::time::Time;
use crate::vpcs::{CidrBlockAssociation, CidrBlockState, Vpc};

/// The account that every credential belongs to.
pub const ACCOUNT: &str = "123456789012";
/// Amazon's account for its public images.
pub const AMAZON: &str = "137112412989";
/// A key of which nobody has the private half.
const OPERATORS: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJrjB5NaPBxmvzDO0+c7LmQdh5WPNpV3CGtT6HWtCz2K operators";
/// Someone else, whose public images look like Amazon's.
pub const STRANGER: &str = "999988887777";

/// The regions, and the first part of their zone ids.
const REGIONS: [(&str, &str); 4] = [
    ("eu-central-1", "euc1"),
    ("eu-west-1", "euw1"),
    ("us-east-1", "use1"),
    ("us-west-2", "usw2"),
];

/// Every region as it is at first.
pub fn regions(seed: u64, latency_scale: f64) -> BTreeMap<String, Region> {
    let regions = (1..).zip(REGIONS);
    regions
        .map(|(number, (name, zones))| (name.to_owned(), region(seed, latency_scale, number, name, zones)))
        .collect()
}

/// `subnet-0a1` and zeros, ending in the region's number: 17 digits.
fn id(prefix: &str, digits: &str, region: u32) -> String {
    format!("{prefix}-{digits:0<13}{region:04}")
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    Tags(
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    )
}

/// Midday, UTC.
fn day(year: i16, month: i8, day: i8) -> Timestamp {
    date(year, month, day)
        .at(12, 0, 0, 0)
        .to_zoned(TimeZone::UTC)
        .map(|zoned| zoned.timestamp())
        .unwrap_or_default()
}

fn region(seed: u64, latency_scale: f64, number: u32, name: &str, zone_ids: &str) -> Region {
    let vpc_id = id("vpc", "0e0", number);
    let zone = |letter: char, zone: u32| AvailabilityZone {
        zone_name: format!("{name}{letter}"),
        zone_id: format!("{zone_ids}-az{zone}"),
        region_name: name.to_owned(),
        zone_state: "available".to_owned(),
        message_set: Vec::new(),
        group_name: format!("{name}-zg-1"),
        network_border_group: name.to_owned(),
        zone_type: "availability-zone".to_owned(),
        opt_in_status: "opt-in-not-required".to_owned(),
    };
    let zones = vec![zone('a', 2), zone('b', 3), zone('c', 1)];
    let subnet = |digits: &str, zone: &AvailabilityZone, third: u32, default: bool, tier: &str| {
        let subnet_id = id("subnet", digits, number);
        Subnet {
            subnet_arn: format!("arn:aws:ec2:{name}:{ACCOUNT}:subnet/{subnet_id}"),
            subnet_id,
            state: "available".to_owned(),
            vpc_id: vpc_id.clone(),
            cidr_block: format!("172.31.{third}.0/20"),
            available_ip_address_count: 0,
            availability_zone: zone.zone_name.clone(),
            availability_zone_id: zone.zone_id.clone(),
            default_for_az: default,
            map_public_ip_on_launch: default,
            assign_ipv6_address_on_creation: false,
            enable_dns64: false,
            ipv6_native: false,
            ipv6_cidr_block_association_set: Vec::new(),
            map_customer_owned_ip_on_launch: false,
            private_dns_name_options_on_launch: PrivateDnsNameOptions::default(),
            owner_id: ACCOUNT.to_owned(),
            tag_set: tags(&[("Name", &format!("{tier}-{}", zone.zone_name)), ("tier", tier)]),
        }
    };
    let mut small = subnet("0c3", &zones[0], 48, false, "small");
    small.cidr_block = "172.31.48.0/28".to_owned();
    let mut region = Region {
        name: name.to_owned(),
        account: ACCOUNT.to_owned(),
        latency_scale,
        random: Random::named(seed, name),
        schedule: Schedule::default(),
        buckets: Buckets::default(),
        vpcs: vec![
            vpc(number, "0e0", "172.31.0.0/16", true),
            vpc(number, "0e2", "10.0.0.0/16", false),
        ],
        subnets: vec![
            subnet("0a1", &zones[0], 0, true, "build"),
            subnet("0b2", &zones[1], 16, true, "build"),
            small,
        ],
        zones,
        security_groups: vec![
            security_group(
                name,
                &id("sg", "0d1", number),
                "default",
                "default VPC security group",
                &vpc_id,
            ),
            security_group(
                name,
                &id("sg", "0d2", number),
                "builders",
                "no inbound, all outbound",
                &vpc_id,
            ),
            security_group(
                name,
                &id("sg", "0d3", number),
                "default",
                "default VPC security group",
                &id("vpc", "0e2", number),
            ),
        ],
        key_pairs: vec![KeyPair {
            key_pair_id: id("key", "0f1", number),
            key_name: "operators".to_owned(),
            key_type: KeyType::Ed25519,
            key_fingerprint: read_public(OPERATORS).map(|key| key.fingerprint).unwrap_or_default(),
            create_time: Time(day(2026, 1, 15)),
            public_key: Some(OPERATORS.to_owned()),
            tag_set: Tags::default(),
        }],
        instance_profiles: vec!["image-builder".to_owned(), "web-test".to_owned()],
        images: BTreeMap::new(),
        instances: BTreeMap::new(),
        snapshots: BTreeMap::new(),
        volumes: BTreeMap::new(),
        launches: BTreeMap::new(),
        deregistered: Default::default(),
        released_names: BTreeMap::new(),
        capacity: BTreeMap::new(),
        guest_rules: Vec::new(),
        guests: Guests::default(),
        seeded: Default::default(),
        made: Vec::new(),
    };
    seed_images(&mut region, number);
    let seeded = region.images.keys().chain(region.snapshots.keys()).cloned().collect();
    region.seeded = seeded;
    region
}

fn vpc(number: u32, digits: &str, cidr_block: &str, is_default: bool) -> Vpc {
    Vpc {
        vpc_id: id("vpc", digits, number),
        owner_id: ACCOUNT.to_owned(),
        state: "available".to_owned(),
        cidr_block: cidr_block.to_owned(),
        cidr_block_association_set: vec![CidrBlockAssociation {
            association_id: id("vpc-cidr-assoc", digits, number),
            cidr_block: cidr_block.to_owned(),
            cidr_block_state: CidrBlockState {
                state: "associated".to_owned(),
            },
        }],
        dhcp_options_id: id("dopt", "0e1", number),
        instance_tenancy: "default".to_owned(),
        is_default,
        tag_set: Tags::default(),
    }
}

/// A VPC's default group lets its own instances in, any other nobody.
fn security_group(region: &str, group_id: &str, name: &str, description: &str, vpc_id: &str) -> SecurityGroup {
    let mut group = SecurityGroup::new(region, ACCOUNT, group_id.to_owned(), name, description, vpc_id);
    if name == "default" {
        let mut own = IpPermission::of_all_traffic();
        own.groups.push(UserIdGroupPair {
            group_id: group_id.to_owned(),
            user_id: ACCOUNT.to_owned(),
            description: None,
        });
        group.ip_permissions.push(own);
    }
    group
}

/// A finished image to put into a region.
pub struct Finished<'a> {
    pub image_id: String,
    pub snapshot_id: String,
    pub name: &'a str,
    pub owner: &'a str,
    pub architecture: &'a str,
    pub created: Timestamp,
    pub public: bool,
    pub layout: Layout,
}

impl Region {
    /// Puts a finished Amazon Linux image of one 8 GiB volume into the region, as Amazon publishes them.
    pub fn put_image(&mut self, finished: Finished<'_>) -> &mut Image {
        let Finished {
            image_id,
            snapshot_id,
            name,
            owner,
            architecture,
            created,
            public,
            layout,
        } = finished;
        let snapshot = Snapshot {
            id: snapshot_id.clone(),
            owner: owner.to_owned(),
            volume_id: "vol-ffffffff".to_owned(),
            copied_from: None,
            description: format!("Root volume of {name}"),
            size: 8,
            kms_key_id: None,
            started: created,
            completes: created,
            state: SnapshotState::Completed,
            visible: created,
            shared_with: if public { vec!["all".to_owned()] } else { Vec::new() },
            tags: Tags::default(),
            disk: base_disk(architecture, created, layout),
        };
        self.snapshots.insert(snapshot_id.clone(), snapshot);
        let image = Image {
            id: image_id.clone(),
            name: name.to_owned(),
            description: Some(format!("Amazon Linux 2023 AMI {architecture} HVM kernel-6.1")),
            owner: owner.to_owned(),
            state: ImageState::Available,
            created,
            visible: Timestamp::MIN,
            boot_mode: Some(
                if architecture == "arm64" {
                    "uefi"
                } else {
                    "uefi-preferred"
                }
                .to_owned(),
            ),
            imds_support: Some("v2.0".to_owned()),
            block_devices: vec![ImageBlockDevice {
                device_name: "/dev/xvda".to_owned(),
                ebs: ImageEbs {
                    delete_on_termination: true,
                    snapshot_id: Some(snapshot_id.clone()),
                    volume_size: 8,
                    volume_type: "gp3".to_owned(),
                    iops: Some(3000),
                    throughput: Some(125),
                    encrypted: false,
                },
            }],
            launch_permissions: if public {
                vec![LaunchPermission::everyone()]
            } else {
                Vec::new()
            },
            ..Image::blank(self, architecture, "/dev/xvda")
        };
        if let Some(snapshot) = self.snapshots.get_mut(&snapshot_id) {
            snapshot.visible = Timestamp::MIN;
        }
        self.images.entry(image_id).insert_entry(image).into_mut()
    }
}

/// What a fresh distribution image holds, as far as anyone looks.
fn base_disk(architecture: &str, made: Timestamp, layout: Layout) -> Disk {
    let file = |mode, content: &str| File {
        mode,
        content: content.to_owned(),
        modified: made,
    };
    let os_release = "NAME=\"Amazon Linux\"\nVERSION=\"2023\"\nID=\"amzn\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"2023\"\n";
    let files = [
        ("/etc/machine-id", file(0o444, "")),
        ("/etc/os-release", file(0o644, os_release)),
        ("/etc/ssh/sshd_config", file(0o600, "PermitRootLogin no\n")),
        (
            "/etc/image-id",
            file(0o644, &format!("image_arch=\"{architecture}\"\n")),
        ),
    ];
    Disk {
        layout,
        files: files.into_iter().map(|(path, file)| (path.to_owned(), file)).collect(),
    }
}

fn seed_images(region: &mut Region, number: u32) {
    for (digit, architecture) in [("2", "x86_64"), ("3", "arm64")] {
        let dates = [("1", 2026, 9, 1), ("2", 2026, 10, 5), ("3", 2026, 11, 1)];
        for (position, year, month, of_month) in dates {
            let name = format!("al2023-ami-2023.9.{year}{month:02}{of_month:02}.0-kernel-6.1-{architecture}");
            region.put_image(Finished {
                image_id: id("ami", &format!("0a{digit}00{position}"), number),
                snapshot_id: id("snap", &format!("0a{digit}00{position}"), number),
                name: &name,
                owner: AMAZON,
                architecture,
                created: day(year, month, of_month),
                public: true,
                layout: Layout::Xfs,
            });
        }
    }
    let mut own = |digits: &str, name: &str, architecture: &str, created| {
        let put = region.put_image(Finished {
            image_id: id("ami", digits, number),
            snapshot_id: id("snap", digits, number),
            name,
            owner: ACCOUNT,
            architecture,
            created,
            public: false,
            layout: Layout::Xfs,
        });
        put.description = Some(format!("{name}, by the platform team"));
        put.tags = tags(&[("Name", name), ("team", "platform")]);
        put.id.clone()
    };
    own("0b1001", "base-2026-10-01", "x86_64", day(2026, 10, 1));
    own("0b1002", "base-2026-10-01-arm64", "arm64", day(2026, 10, 1));
    let shared = own("0b1003", "web-2026-10-12-v1", "x86_64", day(2026, 10, 12));
    let deprecated = own("0b1004", "web-2025-03-03-v0", "x86_64", day(2025, 3, 3));
    let disabled = own("0b1005", "legacy-2024-06-10", "x86_64", day(2024, 6, 10));
    let encrypted = own("0b1006", "vault-2026-08-20", "x86_64", day(2026, 8, 20));
    let key = keys::resolve(region, Some("alias/images")).arn;
    for image in region.images.values_mut() {
        if image.id == shared {
            let partner = LaunchPermission {
                user_id: Some("210987654321".to_owned()),
                ..Default::default()
            };
            image.launch_permissions.push(partner);
        } else if image.id == deprecated {
            image.deprecates = Some(day(2025, 9, 3));
        } else if image.id == disabled {
            image.state = ImageState::Disabled;
        } else if image.id == encrypted {
            image
                .block_devices
                .iter_mut()
                .for_each(|device| device.ebs.encrypted = true);
            for snapshot in image
                .block_devices
                .iter()
                .filter_map(|device| device.ebs.snapshot_id.as_ref())
            {
                if let Some(snapshot) = region.snapshots.get_mut(snapshot) {
                    snapshot.kms_key_id = Some(key.clone());
                }
            }
        }
    }
    region.put_image(Finished {
        image_id: id("ami", "0c1001", number),
        snapshot_id: id("snap", "0c1001", number),
        name: "al2023-ami-2023.9.20261115.0-kernel-6.1-x86_64",
        owner: STRANGER,
        architecture: "x86_64",
        created: day(2026, 11, 15),
        public: true,
        layout: Layout::Xfs,
    });
}
