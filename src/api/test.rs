//! `spec.test`: how the image is proved on a fresh boot.

use std::time::Duration;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::{self, InvalidDuration};
use super::rule::{distinct, distinct_by, duration_between, not_blank, without_nul};
use super::syntax::{HttpPath, InstanceType, StepName};

/// How the image is proved on a fresh boot. On by default.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.checks) || self.checks.map(check, has(check.run) ? check.run.size() : 0).sum() <= 262144")
        .message("must have at most 262144 characters of scripts in all: let a check fetch what is large, or a step lay it down")
        .field_path(".checks"),
)]
pub struct Test {
    /// False: the image is never proven, so never `latest`, and nothing else in `test` has an effect.
    #[serde(default = "default_enabled")]
    pub enabled: bool,
    /// Default: the builder's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<InstanceType>", length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = distinct())]
    pub instance_types: Vec<String>,
    /// Run on the freshly booted test instance, in order; all must pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = distinct_by("name"))]
    pub checks: Vec<Check>,
    /// Launch call to the first moment at which every check has passed, 10s to 1h; measured, recorded, enforced.
    #[serde(default = "default_boot_deadline")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = duration_between("10s", "1h"))]
    pub boot_deadline: String,
    /// What errors of cloud-init, failed units and kernel faults in the test instance's logs do.
    #[serde(default)]
    pub boot_errors: Verdict,
    /// What a file does that a step lays and that is another after the first boot: cloud-init or a service has changed it back.
    #[serde(default)]
    pub changed_files: Verdict,
}

impl Test {
    /// Launch call to the first moment at which every check has passed.
    pub fn boot_deadline(&self) -> Result<Duration, InvalidDuration> {
        duration::parse("spec.test.bootDeadline", &self.boot_deadline)
    }
}

impl Default for Test {
    fn default() -> Self {
        Self {
            enabled: default_enabled(),
            instance_types: Vec::new(),
            checks: Vec::new(),
            boot_deadline: default_boot_deadline(),
            boot_errors: Verdict::default(),
            changed_files: Verdict::default(),
        }
    }
}

fn default_enabled() -> bool {
    true
}

fn default_boot_deadline() -> String {
    "5m".into()
}

/// Whether a finding fails the proof or is only reported.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// The image is not proven.
    #[default]
    Fail,
    /// It is reported in status, and the image may be proven.
    Warn,
}

/// A check on the test instance: a name, and exactly one of `run` and `http`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.run) != has(self.http)", "must have exactly one of run and http"))]
pub struct Check {
    /// Unique among the checks; named in status when the check fails.
    #[schemars(with = "StepName")]
    pub name: String,
    /// A script for `/bin/sh`, run as root; exit status 0 passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    #[x_kube(validation = not_blank(), validation = without_nul())]
    pub run: Option<String>,
    /// A request to the test instance itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// The check is repeated until it passes or this time is over, 1s to 1h; `bootDeadline` bounds it in any case.
    #[serde(default = "default_check_timeout")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = duration_between("1s", "1h"))]
    pub timeout: String,
}

impl Check {
    /// For how long the check is repeated.
    pub fn timeout(&self) -> Result<Duration, InvalidDuration> {
        duration::parse(format!("spec.test.checks[{}].timeout", self.name), &self.timeout)
    }
}

fn default_check_timeout() -> String {
    "60s".into()
}

/// A request from inside the test instance to itself, by curl, wget or python3.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpCheck {
    /// Port on the test instance.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Path and query of the request.
    #[serde(default = "default_http_path")]
    #[schemars(with = "HttpPath")]
    pub path: String,
    /// Expected status code.
    #[serde(default = "default_http_status")]
    #[schemars(range(min = 100, max = 599))]
    pub status: i32,
}

fn default_http_path() -> String {
    "/".into()
}

fn default_http_status() -> i32 {
    200
}
