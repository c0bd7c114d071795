//! The simulator as a program.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use goldsmith_simulator::connection::{Connection, Cuttable};
use goldsmith_simulator::engine::Simulator;
use goldsmith_simulator::machines::Machines;
use goldsmith_simulator::tcp::{Shared, lock, router};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long responses under way may still take after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// A deterministic EC2 behind the real wire protocol.
///
/// Point any AWS client at it with `AWS_ENDPOINT_URL=http://127.0.0.1:4566` and any credentials. The seeded account
/// and its ids are listed in simulator/README.md; `GET /_simulator/` lists what tests can do from outside.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on.
    #[arg(long, env = "GOLDSMITH_SIMULATOR_LISTEN_ADDRESS", default_value = "127.0.0.1")]
    listen_address: IpAddr,

    /// Port to listen on; 0 takes a free one, which the first line of output names.
    #[arg(long, env = "GOLDSMITH_SIMULATOR_PORT", default_value_t = 4566)]
    port: u16,

    /// What the durations of AWS's processes (boot, image, snapshot, stop) are multiplied by. Throttling and
    /// cooldowns stay in wall time.
    #[arg(long, env = "GOLDSMITH_SIMULATOR_LATENCY_SCALE", default_value_t = 1.0, value_parser = latency_scale)]
    latency_scale: f64,

    /// Seed of ids, durations and fault probabilities.
    #[arg(long, env = "GOLDSMITH_SIMULATOR_SEED", default_value_t = 0)]
    seed: u64,

    /// What instances are inside: a model that needs nothing, or virtual machines, for which `make tools` installs QEMU.
    #[arg(long, env = "GOLDSMITH_SIMULATOR_GUESTS", value_enum, default_value_t = Guests::Scripted)]
    guests: Guests,

    /// Keep the world in this file: read at the start where it exists, written at the end.
    #[arg(long, env = "GOLDSMITH_SIMULATOR_STATE_FILE")]
    state_file: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Guests {
    Scripted,
    // As the lab calls it.
    #[value(alias = "real")]
    Qemu,
}

fn latency_scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(scale) if (0.0..=1000.0).contains(&scale) => Ok(scale),
        _ => Err("it must be a number from 0 to 1000".to_owned()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match serve(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("goldsmith-simulator: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> Result<(), String> {
    #[expect(clippy::disallowed_methods, reason = "this is where the clock is handed in")]
    let clock = jiff::Timestamp::now;
    let shared: Shared = Arc::new(Mutex::new(load(&arguments)?));
    let machines = match arguments.guests {
        Guests::Scripted => None,
        Guests::Qemu if arguments.state_file.is_some() => {
            return Err("--state-file cannot be kept with --guests qemu: machines end with the simulator".to_owned());
        }
        Guests::Qemu => Some(Machines::open(shared.clone(), clock)?),
    };
    let address = (arguments.listen_address, arguments.port);
    let listener = TcpListener::bind(address).await.map_err(|error| {
        format!(
            "can't listen on {}:{}: {error}",
            arguments.listen_address, arguments.port
        )
    })?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("listening on http://{address}");

    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Only fails when the server has ended already.
        let _ = stop.send(true);
    });
    if let Some(machines) = &machines {
        tokio::spawn(machines.clone().run());
    }
    let service = router(shared.clone(), clock, machines).into_make_service_with_connect_info::<Connection>();
    let server = axum::serve(Cuttable(listener), service).with_graceful_shutdown(wait(stopped.clone()));
    tokio::select! {
        outcome = server => outcome.map_err(|error| error.to_string())?,
        () = async { wait(stopped).await; tokio::time::sleep(GRACE).await } => {}
    }
    match &arguments.state_file {
        Some(path) => save(&shared, path),
        None => Ok(()),
    }
}

async fn wait(mut stopped: tokio::sync::watch::Receiver<bool>) {
    // Only fails when the sender is gone, and then there is nothing to wait for.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn load(arguments: &Arguments) -> Result<Simulator, String> {
    let Some(path) = arguments.state_file.as_ref().filter(|path| path.exists()) else {
        return Ok(Simulator::new(arguments.seed, arguments.latency_scale));
    };
    let wrong = |error: &dyn std::fmt::Display| format!("can't read the state file {}: {error}", path.display());
    let text = std::fs::read(path).map_err(|error| wrong(&error))?;
    let mut simulator = Simulator::resume(serde_json::from_slice(&text).map_err(|error| wrong(&error))?);
    simulator.set_latency_scale(arguments.latency_scale);
    Ok(simulator)
}

fn save(shared: &Shared, path: &Path) -> Result<(), String> {
    let wrong = |error: &dyn std::fmt::Display| format!("can't write the state file {}: {error}", path.display());
    let text = serde_json::to_vec(&lock(shared).state).map_err(|error| wrong(&error))?;
    let partial = path.with_extension("partial");
    // What is in it, user data for one, is nobody else's to read. One that was left has a mode of its own.
    let _ = std::fs::remove_file(&partial);
    let file = File::options().write(true).create_new(true).mode(0o600).open(&partial);
    file.and_then(|mut file| file.write_all(&text))
        .map_err(|error| wrong(&error))?;
    std::fs::rename(&partial, path).map_err(|error| wrong(&error))
}
