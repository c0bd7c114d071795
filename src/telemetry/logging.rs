//! The log, on standard error.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What is logged unless RUST_LOG says otherwise. The Kubernetes client names every pass at `info`, as we do ourselves.
const DEFAULT: &str = "info,kube_client=warn,kube_runtime=warn";

/// Starts the log; what comes before is lost. `RUST_LOG` chooses what is written, for example `goldsmith=debug`.
///
/// # Errors
/// When RUST_LOG is not understood, or the log was started before.
pub fn start(format: LogFormat) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(wanted) if !wanted.is_empty() => {
            EnvFilter::try_new(&wanted).map_err(|error| format!("RUST_LOG={wanted}: {error}"))?
        }
        _ => EnvFilter::new(DEFAULT),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).try_init(),
        LogFormat::Text => builder.with_ansi(false).with_target(false).try_init(),
    }
}
