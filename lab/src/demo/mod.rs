//! `goldsmith-lab demo`: the story of one image, told by the real controller on a real API server and the simulated EC2.

mod inventory;
mod recipe;
mod story;
mod terminal;

use std::process::exit;
use std::sync::Arc;
use std::thread;

use goldsmith_lab::{ControllerOptions, Error, Lab, Options, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use story::Story;
use terminal::Terminal;

/// How a shell calls a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;
/// So that what two killings leave behind is gone before the end; an installation waits an hour.
const SWEEP_AFTER: &str = "5s";

/// Tells the story. Fails as soon as something is not as it was told.
pub fn demo() -> Result<()> {
    let terminal = Terminal::new();
    terminal.heading("Goldsmith: machine images, declared and proven");
    let controller = ControllerOptions {
        sweep_after: SWEEP_AFTER.into(),
        ..ControllerOptions::default()
    };
    let lab = Arc::new(Lab::start(&Options {
        controller,
        ..Options::default()
    })?);
    stop_when_interrupted(&lab)?;
    terminal.progress("a kube-apiserver with etcd, and a simulated EC2 whose minutes are seconds, are up");
    lab.start_controller()?;
    terminal.progress("the controller is ready, under the service account and RBAC of deploy/");
    let told = Story {
        lab: &lab,
        terminal: &terminal,
    }
    .tell();
    if told.is_err() {
        // The lab's directory goes with it, and with it the only trace of what went wrong.
        let kept = std::env::temp_dir().join("goldsmith-demo-controller.log");
        if std::fs::copy(lab.controller_log(), &kept).is_ok() {
            eprintln!("\nthe controller's log: {}", kept.display());
        }
    }
    let seconds = terminal.seconds();
    lab.stop();
    told?;
    terminal.heading(&format!("All of this was so. The story took {seconds:.0} s."));
    Ok(())
}

/// Ctrl-C ends the children in order, as the end of the story does.
fn stop_when_interrupted(lab: &Arc<Lab>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Error::io("listen for signals"))?;
    let lab = Arc::downgrade(lab);
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            if let Some(lab) = lab.upgrade() {
                lab.stop();
            }
            exit(INTERRUPTED);
        }
    });
    Ok(())
}
