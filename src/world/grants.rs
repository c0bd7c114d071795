//! Who may use what in an account: the part of the controller's configuration that decisions ask.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Claim, Image, Installation, MANAGED_BY};

/// An account that the controller serves, and what it lets recipes use there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountPolicy {
    /// What `spec.account` says.
    pub name: String,
    /// Regions that are served, at least one.
    pub regions: Vec<String>,
    /// Without one, nobody may build here.
    #[serde(default)]
    pub grants: Vec<Grant>,
}

/// What objects in some namespaces may use, by id or name; `*` in a list is anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// Of the objects that it is for.
    pub namespaces: Vec<String>,
    /// Ids of subnets to launch in.
    #[serde(default)]
    pub subnets: Vec<String>,
    /// Ids of security groups that instances may have.
    #[serde(default)]
    pub security_groups: Vec<String>,
    /// Names, as recipes write them.
    #[serde(default)]
    pub instance_profiles: Vec<String>,
    /// Ids, aliases or ARNs, as recipes write them.
    #[serde(default)]
    pub kms_keys: Vec<String>,
    /// Images that are neither public nor made by a recipe of the same namespace.
    #[serde(default)]
    pub source_images: Vec<String>,
}

/// A kind of thing that has to be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To launch in.
    Subnet,
    /// That an instance has.
    SecurityGroup,
    /// That an instance has; whoever may use it can act as its role.
    InstanceProfile,
    /// That a volume is encrypted with.
    KmsKey,
    /// To start from.
    SourceImage,
}

impl Use {
    /// Name of the list in a grant.
    pub fn list(self) -> &'static str {
        match self {
            Self::Subnet => "subnets",
            Self::SecurityGroup => "securityGroups",
            Self::InstanceProfile => "instanceProfiles",
            Self::KmsKey => "kmsKeys",
            Self::SourceImage => "sourceImages",
        }
    }
}

impl Use {
    /// The field of a recipe that names it.
    pub fn field(self) -> &'static str {
        match self {
            Self::Subnet => "spec.build.builder.subnets",
            Self::SecurityGroup => "spec.build.builder.securityGroupIds",
            Self::InstanceProfile => "spec.build.builder.instanceProfile",
            Self::KmsKey => "spec.build.builder.volumes[].kmsKeyId",
            Self::SourceImage => "spec.build.source",
        }
    }
}

impl std::fmt::Display for Use {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Subnet => "subnet",
            Self::SecurityGroup => "security group",
            Self::InstanceProfile => "instance profile",
            Self::KmsKey => "KMS key",
            Self::SourceImage => "source image",
        })
    }
}

/// A use that no grant covers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGranted {
    /// The region is none of the account's.
    #[error(
        "account {account} is not configured for region {region}; add it to the account's regions in the controller's configuration, or create \
         another recipe for one that it serves ({served})"
    )]
    Region {
        /// As `spec.account` names it.
        account: String,
        /// What was asked for.
        region: String,
        /// The account's regions, separated by commas.
        served: String,
    },
    /// No grant of the account names the namespace.
    #[error(
        "account {account} grants namespace {namespace} nothing; add it to a grant of that account in the controller's configuration"
    )]
    Namespace {
        /// As `spec.account` names it.
        account: String,
        /// Of the object.
        namespace: String,
    },
    /// Grants name the namespace, but none of them this.
    #[error(
        "{field}: {what} {id} is not granted to namespace {namespace} in account {account}; name one that is, or add it to {list} of a grant \
         in the controller's configuration",
        field = what.field(), list = what.list()
    )]
    Use {
        /// As `spec.account` names it.
        account: String,
        /// Of the object.
        namespace: String,
        /// Kind of thing.
        what: Use,
        /// Id or name, as the object has it.
        id: String,
    },
}

impl AccountPolicy {
    /// Whether objects of `namespace` may use the account in `region` at all.
    pub fn admits(&self, namespace: &str, region: &str) -> Result<(), NotGranted> {
        if !self.regions.iter().any(|served| served == region) {
            let served = self.regions.join(", ");
            return Err(NotGranted::Region {
                account: self.name.clone(),
                region: region.to_owned(),
                served,
            });
        }
        match self.of(namespace).next() {
            Some(_) => Ok(()),
            None => Err(NotGranted::Namespace {
                account: self.name.clone(),
                namespace: namespace.to_owned(),
            }),
        }
    }

    /// Whether objects of `namespace` may use the thing of kind `what` that is called `id`.
    pub fn allows(&self, namespace: &str, what: Use, id: &str) -> Result<(), NotGranted> {
        let listed = self.of(namespace).any(|grant| {
            lists(
                match what {
                    Use::Subnet => &grant.subnets,
                    Use::SecurityGroup => &grant.security_groups,
                    Use::InstanceProfile => &grant.instance_profiles,
                    Use::KmsKey => &grant.kms_keys,
                    Use::SourceImage => &grant.source_images,
                },
                id,
            )
        });
        if listed {
            return Ok(());
        }
        Err(NotGranted::Use {
            account: self.name.clone(),
            namespace: namespace.to_owned(),
            what,
            id: id.to_owned(),
        })
    }

    /// Those of `images` that may be the newest one which someone may start from, the newest first. Of all that are alike to whoever asks
    /// that is one, so there are few, however many are found.
    pub fn newest(&self, mut images: Vec<Image>, installation: &Installation) -> Vec<Image> {
        images.sort_by_cached_key(|image| Reverse((image.creation_time, image.id.clone())));
        let mut seen = BTreeSet::new();
        images.retain(|image| {
            let claim = Claim::read(&image.tags, installation);
            let namespace = claim.and_then(|claim| Some(claim.owner.split_once('/')?.0.to_owned()));
            let made = image.tags.contains_key(MANAGED_BY);
            let listed = self.grants.iter().any(|grant| {
                let mut listed = grant.source_images.iter();
                listed.any(|listed| listed == image.id.as_str())
            });
            let id = listed.then(|| image.id.clone());
            seen.insert((image.public, image.owner_id.clone(), made, namespace, id))
        });
        images
    }

    fn of(&self, namespace: &str) -> impl Iterator<Item = &Grant> {
        self.grants
            .iter()
            .filter(move |grant| lists(&grant.namespaces, namespace))
    }
}

fn lists(list: &[String], name: &str) -> bool {
    list.iter().any(|listed| listed == "*" || listed == name)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::world::{ImageState, Role, Tags};

    fn policy() -> AccountPolicy {
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        AccountPolicy {
            name: "default".into(),
            regions: strings(&["eu-central-1", "us-west-2"]),
            grants: vec![
                Grant {
                    namespaces: strings(&["platform"]),
                    subnets: strings(&["subnet-1"]),
                    security_groups: strings(&["*"]),
                    ..Grant::default()
                },
                Grant {
                    namespaces: strings(&["platform", "data"]),
                    subnets: strings(&["subnet-2"]),
                    instance_profiles: strings(&["builder"]),
                    source_images: strings(&["ami-1"]),
                    ..Grant::default()
                },
                Grant {
                    namespaces: strings(&["*"]),
                    kms_keys: strings(&["alias/images"]),
                    ..Grant::default()
                },
            ],
        }
    }

    #[test]
    fn a_namespace_may_use_what_any_of_its_grants_lists_and_nothing_else() {
        for (namespace, what, id, granted) in [
            ("platform", Use::Subnet, "subnet-1", true),
            ("platform", Use::Subnet, "subnet-2", true),
            ("platform", Use::Subnet, "subnet-3", false),
            ("data", Use::Subnet, "subnet-1", false),
            ("data", Use::Subnet, "subnet-2", true),
            ("platform", Use::SecurityGroup, "sg-9", true),
            ("data", Use::SecurityGroup, "sg-9", false),
            ("data", Use::InstanceProfile, "builder", true),
            ("other", Use::InstanceProfile, "builder", false),
            ("other", Use::KmsKey, "alias/images", true),
            ("other", Use::KmsKey, "alias/other", false),
            ("data", Use::SourceImage, "ami-1", true),
            ("data", Use::SourceImage, "ami-2", false),
            ("other", Use::SourceImage, "ami-1", false),
            // The name of a list's item is not a pattern.
            ("platform", Use::Subnet, "*", false),
        ] {
            assert_eq!(
                policy().allows(namespace, what, id).is_ok(),
                granted,
                "{namespace} {what} {id}"
            );
        }
    }

    #[test]
    fn what_is_missing_is_named_with_the_way_out() {
        let refused = policy()
            .allows("data", Use::SecurityGroup, "sg-9")
            .unwrap_err()
            .to_string();
        assert_eq!(
            refused,
            "spec.build.builder.securityGroupIds: security group sg-9 is not granted to namespace data in account default; \
             name one that is, or add it to securityGroups of a grant in the controller's configuration"
        );
    }

    #[test]
    fn a_region_or_namespace_outside_the_configuration_is_refused_as_a_whole() {
        let mut policy = policy();
        assert_eq!(policy.admits("other", "us-west-2"), Ok(()));
        assert!(matches!(
            policy.admits("platform", "us-east-1"),
            Err(NotGranted::Region { .. })
        ));
        policy.grants.pop();
        assert!(matches!(
            policy.admits("other", "us-west-2"),
            Err(NotGranted::Namespace { .. })
        ));
    }

    #[test]
    fn of_what_a_search_finds_everyone_keeps_the_newest_that_is_theirs_and_no_more_is_kept() {
        let installation = Installation {
            name: "test".into(),
            cluster: "cluster".into(),
        };
        let made_by = |owner: &str| {
            let claim = Claim {
                owner: owner.into(),
                owner_uid: "uid".into(),
                build: 1,
                attempt: 1,
                role: Role::Image,
            };
            claim.tags(&installation)
        };
        let image = |number: u32, public: bool, tags: &Tags| Image {
            id: format!("ami-{number}").parse().expect("an id"),
            name: "base".into(),
            description: None,
            owner_id: "123456789012".into(),
            owner_alias: None,
            public,
            state: ImageState::Available,
            state_reason: None,
            architecture: "x86_64".into(),
            root_device_type: "ebs".into(),
            root_device_name: None,
            virtualization_type: "hvm".into(),
            platform: None,
            product_codes: Vec::new(),
            block_devices: Vec::new(),
            creation_time: Timestamp::from_second(number.into()).ok(),
            source_instance_id: None,
            imds_v2_required: false,
            deregistration_protection: String::new(),
            tags: tags.clone(),
        };
        // The older it is, the smaller is its number; ami-1 is listed in a grant.
        let kinds = [
            Tags::new(),
            made_by("platform/base"),
            made_by("data/base"),
            made_by("data/other"),
        ];
        let all: Vec<Image> = (0..80)
            .map(|number| image(number, number % 8 < 4, &kinds[number as usize % 4]))
            .collect();
        // Page by page, as they are found.
        let mut kept = Vec::new();
        for page in all.chunks(7) {
            kept.extend_from_slice(page);
            kept = policy().newest(kept, &installation);
        }
        let ids: Vec<&str> = kept.iter().map(|image| image.id.as_str()).collect();
        assert_eq!(
            ids,
            ["ami-79", "ami-77", "ami-76", "ami-75", "ami-73", "ami-72", "ami-1"]
        );
        assert_eq!(policy().newest(all, &installation), kept);
    }
}
