//! Instances: what they are, and what follows from their state.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

mod attributes;
mod console;
mod describe;
mod filters;
mod item;
mod launch;
mod life;
mod machine;
mod placement;
mod run;
mod states;
mod status;

pub use attributes::{describe_instance_attribute, modify_instance_attribute};
pub use console::get_console_output;
pub use describe::describe_instances;
pub use machine::{Machine, Report};
pub use placement::no_capacity;
pub use run::{Launch, decode_user_data, run_instances};
pub use states::{reboot_instances, start_instances, stop_instances, terminate_instances};
pub use status::describe_instance_status;

use crate::images::StateReason;
use crate::security_groups::GroupIdentifier;
use crate::tags::Tags;

/// An instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    pub id: String,
    pub reservation_id: String,
    pub launch_index: u32,
    pub client_token: Option<String>,
    pub image_id: String,
    /// The image's own, carried into images made from the instance.
    pub image_imds_support: Option<String>,
    pub instance_type: String,
    pub architecture: String,
    pub boot_mode: Option<String>,
    pub tpm_support: Option<String>,
    pub root_device_name: String,
    pub state: State,
    pub state_reason: Option<StateReason>,
    /// Why and when it last changed its state, as AWS words it for people.
    pub transition_reason: String,
    pub launched: Timestamp,
    /// From when on every describe shows it.
    pub visible: Timestamp,
    /// When it entered `running` this time.
    pub running_since: Option<Timestamp>,
    pub checks_pass: Option<Timestamp>,
    pub zone: String,
    pub vpc_id: String,
    pub subnet_id: String,
    pub private_ip: String,
    pub public_ip: Option<String>,
    pub security_groups: Vec<GroupIdentifier>,
    pub network_interface: NetworkInterface,
    pub key_name: Option<String>,
    /// The key pair's, whatever becomes of that: a line of OpenSSH's `authorized_keys`.
    #[serde(default)]
    pub public_key: Option<String>,
    /// The instance profile's name.
    pub instance_profile: Option<String>,
    pub source_dest_check: bool,
    pub ebs_optimized: bool,
    pub monitoring: bool,
    pub tenancy: String,
    pub metadata_options: MetadataOptions,
    pub capacity_reservation_preference: String,
    pub cpu_credits: Option<String>,
    pub auto_recovery: String,
    pub shutdown_behavior: ShutdownBehavior,
    pub disable_api_termination: bool,
    pub disable_api_stop: bool,
    /// In base64, as it was given.
    pub user_data: Option<String>,
    pub tags: Tags,
    /// How often it has begun to boot, and stopped: an event of an earlier boot is dropped.
    pub boot: u32,
    /// What stands for it outside the engine, where guests are real.
    #[serde(default)]
    pub machine: Machine,
    pub has_booted: bool,
    /// The last 64 KiB the serial console has shown.
    pub console: String,
    /// What EC2 captured of it by itself, and when.
    pub captured_console: Option<(Timestamp, String)>,
    /// Why the launch is going to fail once EC2 tries, if it is.
    pub launch_fails: Option<StateReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Pending,
    Running,
    ShuttingDown,
    Terminated,
    Stopping,
    Stopped,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Running => "running",
            State::ShuttingDown => "shutting-down",
            State::Terminated => "terminated",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
        }
    }

    pub fn code(self) -> u16 {
        match self {
            State::Pending => 0,
            State::Running => 16,
            State::ShuttingDown => 32,
            State::Terminated => 48,
            State::Stopping => 64,
            State::Stopped => 80,
        }
    }
}

/// A state as it is described.
#[derive(Clone, Debug, Serialize)]
pub struct StateItem {
    pub code: u16,
    pub name: &'static str,
}

impl From<State> for StateItem {
    fn from(state: State) -> Self {
        Self {
            code: state.code(),
            name: state.name(),
        }
    }
}

/// What a power-off from inside leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShutdownBehavior {
    #[default]
    Stop,
    Terminate,
}

/// The one network interface of an instance, which ends with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkInterface {
    pub id: String,
    pub attachment_id: String,
    pub description: String,
    pub mac_address: String,
    pub tags: Tags,
}

/// Of the instance metadata service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataOptions {
    pub state: String,
    /// `optional` or `required`.
    pub http_tokens: String,
    /// 1 to 64.
    pub http_put_response_hop_limit: u32,
    pub http_endpoint: String,
    #[serde(rename = "httpProtocolIpv6")]
    pub http_protocol_ipv6: String,
    pub instance_metadata_tags: String,
}

impl State {
    /// Whether it takes room in its zone and of the quota.
    pub fn runs(self) -> bool {
        matches!(self, State::Pending | State::Running)
    }

    /// Whether there is no way back.
    pub fn ends(self) -> bool {
        matches!(self, State::ShuttingDown | State::Terminated)
    }
}

impl Instance {
    /// Whether it holds an address, and room in its zone.
    pub fn exists(&self) -> bool {
        self.state != State::Terminated
    }
}
