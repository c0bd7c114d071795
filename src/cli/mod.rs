//! The subcommands.

mod controller;
mod crds;
mod plan;

use std::error::Error;
use std::io::{self, ErrorKind, Write};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// Machine images as declared, reconciled Kubernetes resources.
#[derive(Debug, Parser)]
#[command(name = "goldsmith", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller, until SIGTERM or SIGINT
    Controller(controller::Arguments),
    /// Print what the controller would do next for an ImageRecipe; reads only
    Plan(plan::Arguments),
    /// Print the CustomResourceDefinitions as YAML
    Crds,
    /// Print the completion script of a shell
    Completion {
        /// Whose
        shell: Shell,
    },
}

impl Cli {
    /// Does what the arguments say.
    ///
    /// # Errors
    /// Whatever is to be told to the one who typed it.
    pub async fn run(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        match self.command {
            Command::Controller(arguments) => controller::run(arguments).await,
            Command::Plan(arguments) => plan::run(arguments).await,
            Command::Crds => crds::run(),
            Command::Completion { shell } => {
                let mut command = Self::command();
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut command, "goldsmith", &mut script);
                Ok(print(&script)?)
            }
        }
    }
}

/// Writes to standard output; a reader that has seen enough, such as `head`, is no error.
fn print(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
