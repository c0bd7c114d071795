//! How fast the controller's client is through the SDK to the simulated EC2.

use std::sync::Arc;
use std::time::Instant;

use goldsmith::aws::{Account, AwsMetrics};
use goldsmith::telemetry::Metrics;
use goldsmith::world::Installation;

use crate::aws;
use crate::people;
use crate::plan::Plan;
use crate::process::Member;
use crate::turnstile::Turnstile;
use crate::world::World;

/// Describes the instances of the seeded account as often, on one core, and says how many calls a second of real time that makes:
/// request, signature, wire format, simulator and parsing, with the harness's turns and the limiter's tokens.
///
/// # Errors
/// When something of it cannot be made, or a call fails.
pub fn calls_per_second(calls: u32) -> Result<f64, String> {
    let world = World::new(&Plan::undisturbed("proven-image", 0))?;
    people::settle(&world);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        world.begin();
        let turnstile = Arc::new(Turnstile::default());
        let metrics = Metrics::new().map_err(|error| error.to_string())?;
        let registered = AwsMetrics::register(metrics.registry()).map_err(|error| error.to_string())?;
        let account = Account::new("default", &aws::config(&world, &turnstile, Member::FIRST), registered);
        let ec2 = account.ec2("eu-central-1");
        let installation = Installation {
            name: "harness".into(),
            cluster: "none".into(),
        };
        let began = Instant::now();
        let calling = async {
            for _ in 0..calls {
                let read = ec2.describe_instances(&installation).await;
                drop(read.map_err(|error| error.to_string())?);
            }
            Ok(f64::from(calls) / began.elapsed().as_secs_f64())
        };
        tokio::select! {
            result = calling => result,
            () = turnstile.drive() => Err("nobody drives".to_owned()),
        }
    })
}
