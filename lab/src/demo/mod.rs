//! `goldsmith-lab demo`: the story of one image, told by the real controller on a real API server and the simulated EC2.

mod inventory;
mod real;
mod recipe;
mod story;
mod terminal;

use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Weak};
use std::thread;

use goldsmith_lab::{Error, Guests, Lab, Options, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use story::Story;
use terminal::Terminal;

/// Ctrl-C, a shell that goes, and a polite end.
const SIGNALS: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];
/// How a shell calls a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;
/// So that what two killings leave behind is gone before the end; an installation waits an hour.
const SWEEP_AFTER: &str = "5s";

/// Tells the story. Fails as soon as something is not as it was told.
pub fn demo(guests: Guests) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    let terminal = Terminal::new();
    terminal.heading("Goldsmith: machine images, declared and proven");
    let mut options = Options::with(guests);
    options.controller.sweep_after = SWEEP_AFTER.into();
    let lab = Arc::new(Lab::start(&options)?);
    interrupt.stops(&lab);
    interrupt.ends_the_process();
    let instances = match guests {
        Guests::Scripted => "whose minutes are seconds",
        Guests::Real => "whose instances are virtual machines",
    };
    terminal.progress(&format!(
        "a kube-apiserver with etcd, and a simulated EC2 {instances}, are up"
    ));
    for (name, value) in lab.environment() {
        terminal.command(&format!("export {name}={value}"));
    }
    let story = Story {
        lab: &lab,
        terminal: &terminal,
        guests,
    };
    let told = match guests {
        Guests::Scripted => story.tell(),
        Guests::Real => story.tell_of_machines(),
    };
    interrupt.ends_the_process();
    if told.is_err() {
        // The lab's directory goes with it, and with it the only trace of what went wrong.
        let kept = goldsmith_lab::cache()?.join("demo-controller.log");
        match std::fs::copy(lab.controller_log(), &kept) {
            Ok(_) => eprintln!("\nthe controller's log: {}", kept.display()),
            Err(error) => eprintln!("\nthe controller's log cannot be kept: {error}"),
        }
    }
    let seconds = terminal.seconds();
    lab.stop();
    told?;
    terminal.heading(&format!("All of this was so. The story took {seconds:.0} s."));
    Ok(())
}

/// A signal ends the children in order and removes what they wrote, as the end of the story does. It takes some seconds, whatever
/// further signals come: `timeout`, for one, sends two.
struct Interrupt {
    came: Arc<AtomicBool>,
    lab: Sender<Weak<Lab>>,
}

impl Interrupt {
    fn listen() -> Result<Self> {
        let came = Arc::new(AtomicBool::new(false));
        let failed = || Error::io("listen for signals");
        for signal in SIGNALS {
            flag::register(signal, Arc::clone(&came)).map_err(failed())?;
        }
        let signals = Signals::new(SIGNALS).map_err(failed())?;
        let (lab, started) = mpsc::channel();
        thread::spawn(move || stop_when_interrupted(signals, &started));
        Ok(Self { came, lab })
    }

    /// From now on there is something to stop.
    fn stops(&self, lab: &Arc<Lab>) {
        // The receiver is gone only when the process is on its way out.
        let _ = self.lab.send(Arc::downgrade(lab));
    }

    /// Does not return once a signal has come: whatever failed did so because of it.
    fn ends_the_process(&self) {
        while self.came.load(Ordering::SeqCst) {
            thread::park();
        }
    }
}

fn stop_when_interrupted(mut signals: Signals, started: &Receiver<Weak<Lab>>) {
    if signals.forever().next().is_some() {
        eprintln!("\nstopping");
        // One that is still starting is waited for: its directory can be removed only then.
        if let Some(lab) = started.recv().ok().and_then(|lab| lab.upgrade()) {
            lab.stop();
        }
        exit(INTERRUPTED);
    }
}
