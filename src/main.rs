//! Arguments to subcommand.

use std::process::ExitCode;

use clap::Parser;
use goldsmith::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("goldsmith: {error}");
            ExitCode::FAILURE
        }
    }
}
