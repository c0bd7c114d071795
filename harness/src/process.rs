//! The controller's process, from its start to its end.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use goldsmith::aws::{Account, AwsMetrics};
use goldsmith::controller::connect::Clients;
use goldsmith::controller::run::{Process, Settings};
use goldsmith::controller::{Clock, Config, Failure, stop};
use goldsmith::telemetry::{Health, Metrics};

use crate::turnstile::Turnstile;
use crate::world::World;
use crate::{aws, kubernetes};

/// Who holds the Lease: a process that is started anew in its Pod has the name that it had.
pub const IDENTITY: &str = "goldsmith-0";

/// The configuration of every run.
///
/// # Errors
/// When the file, which is beside this crate, cannot be read.
pub fn config() -> Result<Config, Failure> {
    Ok(Config::load(Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/config.yaml"
    )))?)
}

/// Runs the controller in `world` until it ends by itself, which it should not while it holds the Lease of that name.
pub async fn run(
    world: Arc<World>,
    turnstile: Arc<Turnstile>,
    config: Config,
    lease_name: &'static str,
) -> Result<(), Failure> {
    let metrics = Arc::new(Metrics::new()?);
    let account = Account::new(
        "default",
        &aws::config(&world, &turnstile, lease_name),
        AwsMetrics::register(metrics.registry())?,
    );
    let regions = config.accounts.iter().flat_map(|account| &account.regions);
    let client = kubernetes::client(&world, &turnstile, lease_name);
    let clock = Arc::clone(&world);
    // Nobody asks it to stop: a process that is killed is not asked.
    let (_stopper, stop) = stop::channel();
    let process = Process {
        regions: regions.map(|region| account.ec2(region)).collect(),
        settings: Settings {
            config,
            // Nobody listens.
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            lease_namespace: "goldsmith-system".into(),
            lease_name: lease_name.into(),
            lease_identity: IDENTITY.into(),
        },
        clients: Clients {
            watches: client.clone(),
            calls: client,
        },
        metrics,
        clock: Clock::from_fn(move || clock.now()),
        health: Health::default(),
        stop,
    };
    process.run(pending()).await
}
