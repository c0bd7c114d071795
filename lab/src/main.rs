//! `goldsmith-lab`: the demo, and an environment to work in by hand.

mod demo;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use goldsmith_lab::Guests;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Tells the story of one image, in about a minute, in some four minutes with real guests; succeeds if all of it was so
    Demo(Inside),
    /// Starts API server, simulator and controller in the background, unless they are up, and prints `export` lines for them
    Up(Inside),
    /// Ends what `up` has started
    Down,
    /// What `up` leaves running in the background
    #[command(hide = true)]
    Serve(Inside),
}

#[derive(clap::Args)]
struct Inside {
    /// What instances are inside
    #[arg(long, value_enum, default_value_t)]
    guests: Guests,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Demo(Inside { guests }) => demo::demo(guests),
        Verb::Up(Inside { guests }) => up::up(guests),
        Verb::Down => up::down(),
        Verb::Serve(Inside { guests }) => up::serve(guests),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("goldsmith-lab: {error}");
            ExitCode::FAILURE
        }
    }
}
