//! `spec.build.builder`: the temporary instance that is turned into the image.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::{self, InvalidDuration};
use super::rule::{distinct, distinct_by, duration_between};
use super::syntax::{
    DeviceName, InstanceProfileName, InstanceType, KmsKeyId, SecurityGroupId, SubnetId, TagFilter, Tags,
};

/// The temporary On-Demand instance that is turned into the image.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Builder {
    /// When EC2 has no capacity: tried in order in the first subnet, then in the next. Types on the Nitro system only.
    #[schemars(with = "Vec<InstanceType>", length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = ("self.size() > 0", "must name at least one instance type, such as m7i.large"), validation = distinct())]
    pub instance_types: Vec<String>,
    /// Subnets to launch in.
    pub subnets: Subnets,
    /// Security groups of the builder, and of the instances that prove the image. They need no inbound rule.
    #[schemars(with = "Vec<SecurityGroupId>", length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = ("self.size() > 0", "must name at least one security group, such as sg-0123456789abcdef0"), validation = distinct())]
    pub security_group_ids: Vec<String>,
    /// Name of an instance profile. Nothing in a build needs AWS credentials of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<InstanceProfileName>")]
    pub instance_profile: Option<String>,
    /// Put on everything temporary, at birth.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "Tags")]
    pub tags: BTreeMap<String, String>,
    /// Changes to the source's block devices, or further ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 26), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = distinct_by("device"))]
    pub volumes: Vec<Volume>,
    /// From launch to power-off, 10s to 24h, for example `60m`. Enforced by a power-off timer that the builder starts first,
    /// and two minutes later by the controller.
    #[serde(default = "default_timeout")]
    #[schemars(length(max = 16))]
    // No instance boots in less than ten seconds; a build that takes longer than a day hangs.
    #[x_kube(validation = duration_between("10s", "24h"))]
    pub timeout: String,
}

impl Builder {
    /// From launch to power-off.
    pub fn timeout(&self) -> Result<Duration, InvalidDuration> {
        duration::parse("spec.build.builder.timeout", &self.timeout)
    }
}

fn default_timeout() -> String {
    "60m".into()
}

/// Subnets to launch in: exactly one of the fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.ids) != has(self.tags)", "must have exactly one of ids and tags"))]
pub struct Subnets {
    /// Tried in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<SubnetId>>", length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = ("self.size() > 0", "must name at least one subnet"), validation = distinct())]
    pub ids: Option<Vec<String>>,
    /// Every subnet that has all of these tags, in the order of their ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<TagFilter>")]
    #[x_kube(validation = ("self.size() > 0", "must have at least one tag: without one every subnet of the region would match"), validation = ("self.all(key, !self[key].contains('*') && !self[key].contains('?'))", "must have values without * and ?: subnets are found by whole values"))]
    pub tags: Option<BTreeMap<String, String>>,
}

/// A block device of the builder, and so of the image. The bounds are those of EC2's `EbsBlockDevice`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "has(self.sizeGiB) || has(self.type) || has(self.encrypted)",
        "must change something about the device: sizeGiB, type or encrypted",
    ),
    validation = Rule::new(format!("!has(self.sizeGiB) || !has(self.type) || ({SIZES})"))
        .message("must be 1 to 65536 for gp3, 4 to 65536 for io2, 1 to 16384 for gp2, 4 to 16384 for io1, 1 to 1024 for standard")
        .field_path(".sizeGiB"),
    validation = Rule::new(format!("!has(self.iops) || (has(self.type) && ({IOPS}))"))
        .message("needs type: gp3 (3000 to 80000), io1 (100 to 64000) or io2 (100 to 256000)")
        .field_path(".iops"),
    validation = Rule::new(format!("!has(self.iops) || !has(self.type) || !has(self.sizeGiB) || ({IOPS_PER_GIB})"))
        .message("must be at most 500 per GiB of sizeGiB for gp3 (3000 are always allowed), 50 for io1, 1000 for io2: ask for less, or for a larger volume")
        .field_path(".iops"),
    validation = Rule::new("!has(self.type) || !(self.type in ['io1', 'io2']) || has(self.iops)")
        .message("must have iops with the types io1 and io2: add it, or choose gp3"),
    validation = Rule::new("!has(self.throughput) || (has(self.type) && self.type == 'gp3')")
        .message("needs type: gp3; other types take none")
        .field_path(".throughput"),
    validation = Rule::new("!has(self.throughput) || self.throughput * 4 <= (has(self.iops) ? self.iops : 3000)")
        .message("must be at most a quarter of iops, which are 3000 unless set: raise iops, or ask for less")
        .field_path(".throughput"),
    validation = Rule::new("!has(self.kmsKeyId) || (has(self.encrypted) && self.encrypted)")
        .message("needs encrypted: true")
        .field_path(".kmsKeyId"),
)]
pub struct Volume {
    /// Device name as the source image gives it, for example `/dev/xvda`.
    #[schemars(with = "DeviceName")]
    pub device: String,
    /// Size in GiB; at least that of the source's snapshot, which is the default.
    #[serde(default, rename = "sizeGiB", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub size_gib: Option<i32>,
    /// EBS volume type, for example `gp3`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub volume_type: Option<VolumeType>,
    /// Provisioned I/O operations a second: `gp3`, `io1` and `io2` only, and required for the latter two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 256000))]
    pub iops: Option<i32>,
    /// Provisioned throughput in MiB/s; `gp3` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 125, max = 2000))]
    pub throughput: Option<i32>,
    /// True: the volume, and so the image's snapshot, is encrypted, by the account's default key unless `kmsKeyId` names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
    /// Id, ARN or alias of the KMS key; needs `encrypted: true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<KmsKeyId>")]
    pub kms_key_id: Option<String>,
}

const SIZES: &str = "self.type == 'gp3' ? true : self.type == 'io2' ? self.sizeGiB >= 4 : self.type == 'gp2' ? self.sizeGiB <= 16384 : \
    self.type == 'io1' ? self.sizeGiB >= 4 && self.sizeGiB <= 16384 : self.sizeGiB <= 1024";

const IOPS: &str = "self.type == 'gp3' ? self.iops >= 3000 && self.iops <= 80000 : self.type == 'io1' ? self.iops <= 64000 : self.type == 'io2'";

const IOPS_PER_GIB: &str = "self.type == 'gp3' ? self.iops <= 3000 || self.iops <= self.sizeGiB * 500 : \
    self.iops <= self.sizeGiB * (self.type == 'io1' ? 50 : 1000)";

/// EBS volume type, for example `gp3`.
// Those that an image can be built on. Users read this text: in the generated schema it takes the place of the field's.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum VolumeType {
    /// General Purpose SSD of the generation before gp3.
    Gp2,
    /// General Purpose SSD; IOPS and throughput are chosen apart from the size.
    Gp3,
    /// Provisioned IOPS SSD of the generation before io2.
    Io1,
    /// Provisioned IOPS SSD.
    Io2,
    /// Magnetic, of the previous generation.
    Standard,
}

impl VolumeType {
    /// EC2's name, for example `gp3`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gp2 => "gp2",
            Self::Gp3 => "gp3",
            Self::Io1 => "io1",
            Self::Io2 => "io2",
            Self::Standard => "standard",
        }
    }
}
