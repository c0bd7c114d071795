//! `spec.build`: everything that shapes the image, and where it is built.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule::{distinct, distinct_by, is_duration};
use super::syntax::{CleanupPath, Expression, Owner};
use super::{Builder, EnvironmentVariable, Source, Step};

/// What shapes the image, and where it is built.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.source.ids) || (self.source.ids.size() == self.architectures.size() && self.architectures.all(architecture, architecture in self.source.ids))")
        .message("must name one image for each of architectures (x86_64 or arm64), and none for any other")
        .field_path(".source.ids"),
    validation = Rule::new("!has(self.steps) || self.steps.map(step, \
        (has(step.run) ? step.run.size() : 0) + (has(step.file) ? step.file.content.size() : 0)).sum() <= 262144")
        .message("must have at most 262144 characters of scripts and contents in all: let a step fetch what is large")
        .field_path(".steps"),
    validation = Rule::new(steps_fit_the_builder())
        .message("must not have a step whose timeout is longer than builder.timeout, which ends the whole build: shorten the one or lengthen the other")
        .field_path(".steps"),
)]
pub struct Build {
    /// Exactly one architecture; default `[x86_64]`.
    #[serde(default = "default_architectures")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = ("self.size() == 1", "must name exactly one architecture: write one recipe for each"))]
    pub architectures: Vec<Architecture>,
    /// Where the build starts from.
    pub source: Source,
    /// Whatever image was resolved must belong to one of these: account ids, or the aliases `self`, `amazon`,
    /// `aws-marketplace`, `aws-backup-vault`. Empty: any owner that `source` allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Owner>", length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = distinct())]
    pub allowed_owners: Vec<String>,
    /// The temporary On-Demand instance that is turned into the image.
    pub builder: Builder,
    /// Variables that every step sees, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = distinct_by("name"))]
    pub environment: Vec<EnvironmentVariable>,
    /// Run in order; a failed step fails the build and names itself in status. All steps together, compressed, must fit
    /// into EC2's 16 KiB of user data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = distinct_by("name"))]
    pub steps: Vec<Step>,
    /// What is removed from the builder after the last step. Everything, unless skipped.
    #[serde(default)]
    pub cleanup: Cleanup,
}

/// Every step's timeout, where it has one, is at most the builder's. Durations that are none have been refused on their own.
fn steps_fit_the_builder() -> String {
    let (step, builder) = (is_duration("step.timeout"), is_duration("self.builder.timeout"));
    format!(
        "!has(self.steps) || !{builder} || self.steps.all(step, !has(step.timeout) || !{step} || duration(step.timeout) <= duration(self.builder.timeout))"
    )
}

fn default_architectures() -> Vec<Architecture> {
    vec![Architecture::X86_64]
}

/// A processor architecture, by EC2's names.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Architecture {
    /// 64-bit x86: Intel and AMD.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm, such as AWS Graviton.
    #[serde(rename = "arm64")]
    Arm64,
}

impl Architecture {
    /// EC2's name: `x86_64` or `arm64`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }
}

/// What is removed from the builder after the last step. Everything, unless skipped.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Cleanup {
    /// Left as they are; named in status and in a tag of the image. The proof still looks for them, and lets them pass. Small files
    /// are those of up to 64 KiB outside of what packages ship (most of `/usr`, `site-packages`, `node_modules`).
    ///
    /// - `SshHostKeys`: `/etc/ssh/ssh_host_*`
    /// - `AuthorizedKeys`: `authorized_keys` in any `.ssh`
    /// - `MachineId`: `/etc/machine-id` and `/var/lib/dbus/machine-id`
    /// - `ShellHistory`: histories of shells, editors and database clients
    /// - `CloudInitState`: `/var/lib/cloud` and cloud-init's logs
    /// - `Logs`: files under `/var/log`, and the journal
    /// - `PrivateKeys`: `id_rsa` and its like in `.ssh`, and private keys in small files; reported, and never removed
    /// - `Credentials`: of AWS, other clouds, git and package managers, by name and in small files; reported, and never removed
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = distinct())]
    pub skip: Vec<CleanupItem>,
    /// Removed as well: files, and directories with all that is in them. The proof looks for their files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<CleanupPath>", length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(
        validation = distinct(),
        validation = ("self.all(path, !('/etc/goldsmith/image.json/').startsWith(path + '/') && path != '/etc/machine-id')", "must not remove /etc/goldsmith/image.json, which the proof reads, nor /etc/machine-id, which cleanup empties by itself: name what is below, or leave it out"),
        validation = ("self.all(path, !path.matches('^/(dev|proc|run|sys|var/run)(/|$)'))", "must not be below /dev, /proc, /run, /sys or /var/run, which are in memory and in no image: leave it out"),
    )]
    pub extra_paths: Vec<String>,
    /// POSIX extended regular expressions, as `grep -E` has them, that no line of a small file may match; looked for where
    /// `Credentials` are, by the builder and by the proof. A file is reported, and never removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Expression>", length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = distinct())]
    pub forbidden_content: Vec<String>,
}

/// One thing that cleanup removes, and that the proof looks for on the finished snapshot.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CleanupItem {
    /// `/etc/ssh/ssh_host_*`.
    SshHostKeys,
    /// `authorized_keys` in any `.ssh`.
    AuthorizedKeys,
    /// `/etc/machine-id` and `/var/lib/dbus/machine-id`.
    MachineId,
    /// Histories of shells, editors and database clients.
    ShellHistory,
    /// `/var/lib/cloud` and cloud-init's logs.
    CloudInitState,
    /// Files under `/var/log`, and the journal.
    Logs,
    /// `id_rsa` and its like in `.ssh`, and private keys in small files; reported, and never removed.
    PrivateKeys,
    /// Those of AWS, other clouds, git and package managers, by name and in small files; reported, and never removed.
    Credentials,
}

impl CleanupItem {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::SshHostKeys,
        Self::AuthorizedKeys,
        Self::MachineId,
        Self::ShellHistory,
        Self::CloudInitState,
        Self::Logs,
        Self::PrivateKeys,
        Self::Credentials,
    ];

    /// Its name in specs, in what guests are told and tell, and in tags that are sealed: another one would break every seal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SshHostKeys => "SshHostKeys",
            Self::AuthorizedKeys => "AuthorizedKeys",
            Self::MachineId => "MachineId",
            Self::ShellHistory => "ShellHistory",
            Self::CloudInitState => "CloudInitState",
            Self::Logs => "Logs",
            Self::PrivateKeys => "PrivateKeys",
            Self::Credentials => "Credentials",
        }
    }
}

impl fmt::Display for CleanupItem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleanup_items_are_called_as_specs_call_them() {
        for item in CleanupItem::ALL {
            assert_eq!(serde_json::to_value(item).ok(), Some(item.as_str().into()));
        }
    }
}
