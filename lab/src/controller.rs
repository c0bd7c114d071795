//! The controller as a child: its configuration file, its identity, its environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::child::Child;
use crate::cluster::on_free_port;
use crate::directory::Directory;
use crate::lab::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use crate::{Error, Result, tools};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// What the controller's configuration file says; the default is what the examples need.
#[derive(Debug, Clone)]
pub struct ControllerOptions {
    /// Name of the installation, on everything that it makes.
    pub installation: String,
    /// Who may use what in the account `default`.
    pub grants: Vec<Grant>,
    /// Age at which an unclaimed leftover is removed, for example `10s`.
    pub sweep_after: String,
    /// Owner and name of the image that inspectors boot from; the controller's own choice by default.
    pub inspector: Option<(String, String)>,
}

/// What recipes in some namespaces may use, by id; `*` is anything.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    pub namespaces: Vec<String>,
    pub subnets: Vec<String>,
    pub security_groups: Vec<String>,
    pub instance_profiles: Vec<String>,
    pub kms_keys: Vec<String>,
    pub source_images: Vec<String>,
}

impl Default for ControllerOptions {
    /// Grants what is in the simulator's account from the beginning, but for its subnet of tier `small`.
    fn default() -> Self {
        let list = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect();
        Self {
            installation: "demo".into(),
            grants: vec![Grant {
                namespaces: list(&["*"]),
                subnets: list(&["subnet-0a100000000000001", "subnet-0b200000000000001"]),
                security_groups: list(&["sg-0d100000000000001", "sg-0d200000000000001"]),
                instance_profiles: list(&["image-builder", "web-test"]),
                kms_keys: list(&["*"]),
                source_images: list(&["*"]),
            }],
            sweep_after: "10s".into(),
            inspector: None,
        }
    }
}

#[derive(Debug)]
pub struct Controller {
    pub child: Child,
    /// What it was started with.
    pub arguments: Vec<String>,
    /// Where `/healthz`, `/readyz` and `/metrics` are.
    pub url: String,
}

impl Controller {
    /// Starts it and waits until it calls itself ready.
    pub fn start(directory: &Directory, config: &Path, kubeconfig: &Path, endpoint: &str) -> Result<Self> {
        let program = tools::workspace_binary("goldsmith")?;
        let log = log(directory);
        let kubeconfig = kubeconfig.to_string_lossy();
        // No AWS_REGION: regions come from recipes, and one from the surroundings would hide that.
        let environment = [
            ("KUBECONFIG", &*kubeconfig),
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        on_free_port(|port| {
            let arguments: Vec<String> = vec![
                "controller".into(),
                "--config".into(),
                config.display().to_string(),
                "--listen".into(),
                format!("127.0.0.1:{port}"),
                // The same after a restart, so that it need not wait until its own lease runs out.
                "--lease-identity".into(),
                "lab".into(),
                "--log-format".into(),
                "text".into(),
            ];
            let mut child = Child::spawn("goldsmith", &program, &arguments, environment, &log)?;
            let url = format!("http://127.0.0.1:{port}");
            child.ready(READY_WITHIN, || ready(&url))?;
            Ok(Self { child, arguments, url })
        })
    }
}

/// Where the controller's log goes, of all its runs.
pub fn log(directory: &Directory) -> PathBuf {
    directory.path().join("controller.log")
}

/// Writes the configuration file and the seal key that it names.
pub fn configure(directory: &Directory, options: &ControllerOptions) -> Result<PathBuf> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| Error::Unexpected("cannot generate a seal key".into()))?;
    let key = directory.write("seal-key", key)?;
    let grants: Vec<_> = options
        .grants
        .iter()
        .map(|grant| {
            json!({
                "namespaces": grant.namespaces,
                "subnets": grant.subnets,
                "securityGroups": grant.security_groups,
                "instanceProfiles": grant.instance_profiles,
                "kmsKeys": grant.kms_keys,
                "sourceImages": grant.source_images,
            })
        })
        .collect();
    let mut config = json!({
        "installation": options.installation,
        "seal": {"keyFiles": [key]},
        "sweepAfter": options.sweep_after,
        "accounts": [{"name": "default", "regions": [REGION], "grants": grants}],
    });
    if let Some((owner, name)) = &options.inspector {
        config["inspector"] = json!({"search": {"owners": [owner], "name": name}});
    }
    // JSON is YAML.
    directory.write("config.yaml", format!("{config:#}\n"))
}

/// The controller names in the body what it still waits for.
fn ready(url: &str) -> Result<()> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.get(format!("{url}/readyz")).call()?;
    let body = response.body_mut().read_to_string()?;
    if response.status().is_success() {
        Ok(())
    } else {
        Err(Error::Unexpected(format!("not ready: {body}")))
    }
}
