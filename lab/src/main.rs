//! `goldsmith-lab`: the demo, and an environment to work in by hand.

mod demo;
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
    /// Tells the story of one image, in about a minute; succeeds if all of it was so
    Demo,
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
        Verb::Demo => demo::demo(),
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
