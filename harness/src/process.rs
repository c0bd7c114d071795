//! The controller's process, from its start to its end.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use goldsmith::aws::{Account, AwsMetrics};
use goldsmith::controller::connect::Clients;
use goldsmith::controller::run::{Process, Settings};
use goldsmith::controller::{Clock, Config, Failure, Stop};
use goldsmith::telemetry::{Health, Metrics};

use crate::turnstile::Turnstile;
use crate::world::World;
use crate::{aws, kubernetes};

/// One of several processes: which Lease it wants, and under what name. One that is started anew in its Pod has the name that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub lease: &'static str,
    pub identity: &'static str,
}

impl Member {
    /// The one that is there from the beginning.
    pub const FIRST: Self = Self {
        lease: "goldsmith",
        identity: "goldsmith-0",
    };
    /// One that takes the place of the first while nothing is heard of that.
    pub const STANDBY: Self = Self {
        lease: "goldsmith",
        identity: "goldsmith-1",
    };
    /// One that believes that it leads beside the first: it takes another Lease for the one.
    pub const DOUBLE: Self = Self {
        lease: "goldsmith-of-another",
        identity: "goldsmith-0",
    };

    /// The one that waits for the same Lease.
    pub fn other(self) -> Self {
        match self {
            Self::FIRST => Self::STANDBY,
            _ => Self::FIRST,
        }
    }
}

/// The keys of a process. They are rotated as the guide on running the controller says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The first of the configuration alone.
    First,
    /// The second seals, the first verifies.
    Both,
    /// The second alone.
    Second,
}

/// The configuration of every run, with both keys.
///
/// # Errors
/// When the file, which is beside this crate, cannot be read.
pub fn config() -> Result<Config, Failure> {
    Ok(Config::load(Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/config.yaml"
    )))?)
}

/// The same with those keys alone.
pub fn with_keys(config: &Config, keys: Keys) -> Config {
    let mut config = config.clone();
    match keys {
        Keys::First => config.seal_keys.truncate(1),
        Keys::Both => config.seal_keys.reverse(),
        Keys::Second => drop(config.seal_keys.remove(0)),
    }
    config
}

/// Runs `member` in `world` until `stop` asks it to stop, or it ends by itself, which it should not while it holds its Lease.
pub async fn run(
    world: Arc<World>,
    turnstile: Arc<Turnstile>,
    config: Config,
    member: Member,
    stop: Stop,
) -> Result<(), Failure> {
    let metrics = Arc::new(Metrics::new()?);
    let account = Account::new(
        "default",
        &aws::config(&world, &turnstile, member),
        AwsMetrics::register(metrics.registry())?,
    );
    let regions = config.accounts.iter().flat_map(|account| &account.regions);
    let client = kubernetes::client(&world, &turnstile, member);
    let clock = Arc::clone(&world);
    let process = Process {
        regions: regions.map(|region| account.ec2(region)).collect(),
        settings: Settings {
            config,
            // Nobody listens.
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            lease_namespace: "goldsmith-system".into(),
            lease_name: member.lease.into(),
            lease_identity: member.identity.into(),
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
