//! `goldsmith controller`

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::controller::Config;
use crate::controller::run::{self, Settings};
use crate::telemetry::logging::{self, LogFormat};

/// Flags of the controller, each also an environment variable.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The configuration file, see docs/reference/configuration.md
    #[arg(long, env = "GOLDSMITH_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Where /healthz, /readyz and /metrics are answered
    #[arg(
        long,
        env = "GOLDSMITH_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080"
    )]
    listen: SocketAddr,
    /// Namespace of the Lease by which one of several controllers leads
    #[arg(
        long,
        env = "GOLDSMITH_LEASE_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = "goldsmith-system"
    )]
    lease_namespace: String,
    /// Name of the Lease
    #[arg(long, env = "GOLDSMITH_LEASE_NAME", value_name = "NAME", default_value = "goldsmith")]
    lease_name: String,
    /// Who holds the Lease; no two processes may use the same. One that comes back under its name takes its Lease back
    /// at once [default: the host's name and a random number]
    #[arg(long, env = "GOLDSMITH_LEASE_IDENTITY", value_name = "NAME")]
    lease_identity: Option<String>,
    /// How log lines are written; what is written, RUST_LOG says
    #[arg(long, env = "GOLDSMITH_LOG_FORMAT", value_name = "FORMAT", default_value = "json")]
    log_format: LogFormat,
}

/// Runs the controller.
pub async fn run(arguments: Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    logging::start(arguments.log_format)?;
    run::run(Settings {
        config: Config::load(&arguments.config)?,
        listen: arguments.listen,
        lease_namespace: arguments.lease_namespace,
        lease_name: arguments.lease_name,
        lease_identity: arguments.lease_identity.unwrap_or_else(unique_identity),
    })
    .await
}

/// A name that no other process has; a pod's HOSTNAME is its own name.
fn unique_identity() -> String {
    let host = std::env::var("HOSTNAME")
        .ok()
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| "goldsmith".into());
    // Keys of a RandomState come from the operating system.
    format!("{host}_{:016x}", RandomState::new().build_hasher().finish())
}
