//! `goldsmith-lab`: the demo, and an environment to work in by hand.

mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Starts API server, simulator and controller in the background, unless they are up, and prints `export` lines for them
    Up,
    /// Ends what `up` has started
    Down,
    /// What `up` leaves running in the background
    #[command(hide = true)]
    Serve,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Up => up::up(),
        Verb::Down => up::down(),
        Verb::Serve => up::serve(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("goldsmith-lab: {error}");
            ExitCode::FAILURE
        }
    }
}
