//! Arguments to subcommand.

use std::process::ExitCode;

use clap::Parser;
use goldsmith::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The controller has a log by then, whose readers may expect JSON.
            if tracing::dispatcher::has_been_set() {
                tracing::error!(%error, "ended");
            } else {
                eprintln!("goldsmith: {error}");
            }
            ExitCode::FAILURE
        }
    }
}
