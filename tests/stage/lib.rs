//! The stage of the end-to-end stories: one lab for a test binary, with the real API server, the real controller and the
//! simulated EC2 over TCP; the recipes in it, of which every status ever written is seen; and what EC2 says there is.

mod account;
mod ends;
mod seen;
mod spec;
mod stage;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use goldsmith_lab::{Guests, Options};
use libtest_mimic::{Arguments, Trial};

pub use account::{Call, Inventory, Thing};
pub use ends::{fails, succeeds};
pub use seen::Recipe;
pub use spec::{long_step, spec, with};
pub use stage::{PATIENCE, Stage};

/// Stories that are told at the same time. They wait, most of the time; beyond this the simulated EC2's request limits
/// are what they would wait for.
const AT_A_TIME: usize = 16;

/// With real guests: a proof takes both machines that there may be, and two proofs with one each would wait for each other.
const REAL_AT_A_TIME: usize = 1;

/// A story with its name, which is that of its function.
pub type Story = (&'static str, fn(&Stage));

/// Tells the stories in one lab with a running controller, ends the lab, and answers as a test harness does.
pub fn tell(options: &Options, stories: &[Story]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(match options.guests {
        Guests::Scripted => AT_A_TIME,
        Guests::Real => REAL_AT_A_TIME,
    });
    let lab = Arc::new(Mutex::new(None::<Arc<Stage>>));
    let trials = stories.iter().map(|&(name, story)| {
        let (lab, options) = (Arc::clone(&lab), options.clone());
        Trial::test(name, move || {
            let stage = {
                // A lab that could not be started is tried again by the next story, and fails it too.
                let mut lab = lab.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(match &*lab {
                    Some(stage) => stage,
                    None => lab.insert(Arc::new(Stage::set(&options)?)),
                })
            };
            story(&stage);
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if let Some(stage) = lab.lock().unwrap_or_else(PoisonError::into_inner).take()
        && conclusion.has_failed()
    {
        stage.keep_logs();
    }
    conclusion.exit_code()
}

/// Lists stories by their functions' names: `tell(options, stories![first, second])`.
#[macro_export]
macro_rules! stories {
    ($($story:ident),+ $(,)?) => { &[$((stringify!($story), $story as fn(&$crate::Stage))),+] };
}
