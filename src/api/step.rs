//! `spec.build.steps` and the environment that they see.

use std::time::Duration;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::duration::{self, InvalidDuration};
use super::rule::{duration_between, not_blank, without_nul};
use super::syntax::{FileMode, FileOwner, FilePath, StepName, VariableName};

/// A variable in the environment of every step.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentVariable {
    /// Name of the variable; a later one may not repeat it.
    #[schemars(with = "VariableName")]
    pub name: String,
    /// Plain text, readable in user data and in the build's ConfigMap: no place for secrets.
    #[schemars(length(max = 4096))]
    #[x_kube(validation = without_nul())]
    pub value: String,
}

/// One step of a build: a name, and exactly one of `run`, `file` and `reboot`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("[has(self.run), has(self.file), has(self.reboot)].filter(is, is).size() == 1", "must have exactly one of run, file and reboot"),
    validation = Rule::new("!has(self.timeout) || has(self.run)")
        .message("is for a step with run alone: leave it out, or bound the whole build by builder.timeout")
        .field_path(".timeout"),
    validation = Rule::new("self.retries == 0 || !has(self.reboot)")
        .message("is not for a step with reboot, which is done once: leave it out")
        .field_path(".retries"),
)]
pub struct Step {
    /// Unique among the steps; named in status when the step runs or fails.
    #[schemars(with = "StepName")]
    pub name: String,
    /// A script for `/bin/sh`, run as root; one with a `#!` line is run by that interpreter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    #[x_kube(validation = not_blank(), validation = without_nul())]
    pub run: Option<String>,
    /// A file to lay down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileStep>,
    /// Reboots the builder; the next step begins when it is up again. For a new kernel, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<RebootStep>,
    /// For one try of a step with `run`, 1s to 24h; the builder's timeout bounds it in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = duration_between("1s", "24h"))]
    pub timeout: Option<String>,
    /// Further tries after a failed one.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub retries: i32,
}

impl Step {
    /// For one try of this step; `None` is bounded by the builder's timeout alone.
    pub fn timeout(&self) -> Result<Option<Duration>, InvalidDuration> {
        let field = || format!("spec.build.steps[{}].timeout", self.name);
        self.timeout
            .as_deref()
            .map(|text| duration::parse(field(), text))
            .transpose()
    }
}

/// A file that the build lays down, in place of one that is there; missing directories are made.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FileStep {
    /// Absolute path.
    #[schemars(with = "FilePath")]
    #[x_kube(
        validation = ("self != '/etc/goldsmith' && !self.startsWith('/etc/goldsmith/image.json')", "must not be in the way of /etc/goldsmith/image.json, which the builder writes after the last step: choose another path"),
        validation = ("!(self + '/').startsWith('/var/lib/goldsmith/') && !(self in ['/etc/systemd/system/goldsmith.service', '/var/lib/cloud/scripts/per-boot/goldsmith'])", "must not be one of the builder's own files, which it removes after a reboot: choose another path"),
    )]
    pub path: String,
    /// Octal, in quotes, for example `"0644"`.
    #[serde(default = "default_file_mode")]
    #[schemars(with = "FileMode")]
    pub mode: String,
    /// `user:group`.
    #[serde(default = "default_file_owner")]
    #[schemars(with = "FileOwner")]
    pub owner: String,
    /// The whole content, as it is.
    #[schemars(length(max = 65536))]
    #[x_kube(validation = without_nul())]
    pub content: String,
}

/// Nothing can be said about a reboot: write `{}`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct RebootStep {}

fn default_file_mode() -> String {
    "0644".into()
}

fn default_file_owner() -> String {
    "root:root".into()
}
