//! Every story, undisturbed and under every fault at every request.
//!
//! With `FIRST_FAILURE` set the first plan that fails ends it all.
//!
//! `PLAN=STORY/FAULT/REQUEST cargo test -p goldsmith-harness --test plans` carries out that plan alone.

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use goldsmith_harness::history::Peer;
use goldsmith_harness::judge;
use goldsmith_harness::plan::{Fault, Plan};
use goldsmith_harness::run::run;
use goldsmith_harness::story::STORIES;
use goldsmith_harness::world::World;
use libtest_mimic::{Arguments, Trial};

/// Failures that are told in full; the others would repeat them.
const MOST_TOLD: usize = 3;
/// Requests before the end of a failed run that are shown with those that changed something.
const LAST_SHOWN: usize = 5;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each of them takes all processors.
    arguments.test_threads = Some(1);
    let trials = match std::env::var("PLAN") {
        Ok(plan) => vec![Trial::test(plan.clone(), move || alone(&plan).map_err(Into::into))],
        Err(_) => trials(),
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What takes the least time comes first.
fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = STORIES
        .map(|story| {
            Trial::test(format!("{story}/undisturbed"), move || {
                undisturbed_and_the_same_every_time(story).map_err(Into::into)
            })
        })
        .into();
    for fault in Fault::ALL {
        trials.extend(STORIES.map(|story| {
            Trial::test(format!("{story}/{}", fault.as_str()), move || {
                at_every_request(story, fault).map_err(Into::into)
            })
        }));
    }
    trials
}

fn undisturbed_and_the_same_every_time(story: &str) -> Result<(), String> {
    let plan = Plan::undisturbed(story);
    let (first, second) = (run(&plan)?, run(&plan)?);
    judged(&plan, &first, &first)?;
    let (first, second) = (&first.state().history, &second.state().history);
    match first.iter().zip(second).find(|(first, second)| first != second) {
        Some((first, second)) => fail(format!(
            "plan {plan}:\n  two runs differ, first at\n{first} {}\n{second} {}",
            first.purpose, second.purpose
        )),
        None if first.len() != second.len() => fail(format!("plan {plan}:\n  two runs differ in length")),
        None => Ok(()),
    }
}

/// Carries out one plan for each request of the undisturbed run that `fault` can strike, until the world is at rest. To die after
/// a request that changes nothing is to die before the next one.
fn at_every_request(story: &str, fault: Fault) -> Result<(), String> {
    let undisturbed = run(&Plan::undisturbed(story))?;
    let plans: Vec<Plan> = {
        let state = undisturbed.state();
        let last = state
            .history
            .iter()
            .rposition(|step| step.is_activity())
            .unwrap_or_default();
        // One more, so that the process also dies when all is done.
        let struck = state.history.iter().take(last + 2);
        let struck = struck.filter(|step| match fault {
            Fault::DiesBefore => true,
            Fault::DiesAfter | Fault::AnswerLost => step.mutates,
            Fault::DiesUnseen => step.mutates && step.peer == Peer::Aws,
        });
        struck.map(|step| Plan::with(story, fault, step.number)).collect()
    };
    let began = Instant::now();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run(plan).and_then(|world| judged(plan, &undisturbed, &world));
                    if let Err(failure) = outcome {
                        failures
                            .lock()
                            .expect("nobody panics here")
                            .push((plan.to_string(), failure));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("nobody panics here");
    failures.sort_by_key(|(plan, _)| plans.iter().position(|known| known.to_string() == *plan));
    let (count, failed) = (plans.len(), failures.len());
    println!(
        "{story}/{}: {count} plans, {failed} failed, {:.1?}",
        fault.as_str(),
        began.elapsed()
    );
    if failures.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = failures.iter().map(|(plan, _)| plan.as_str()).collect();
    let told = failures.iter().take(MOST_TOLD).map(|(_, failure)| failure.as_str());
    let told: Vec<&str> = told.collect();
    Err(format!(
        "{failed} of {count} plans failed: {}\n{}",
        names.join(" "),
        told.join("\n")
    ))
}

fn alone(plan: &str) -> Result<(), String> {
    let plan: Plan = plan.parse()?;
    let undisturbed = run(&Plan::undisturbed(&plan.story))?;
    let world = run(&plan)?;
    judged(&plan, &undisturbed, &world)?;
    println!("{}", history(&world));
    Ok(())
}

/// What is wrong with the end of a run, with the requests that lead there.
fn judged(plan: &Plan, undisturbed: &World, world: &World) -> Result<(), String> {
    let mut wrong = judge::wrong(world);
    wrong.extend(judge::differences(undisturbed, world));
    if wrong.is_empty() {
        return Ok(());
    }
    let (wrong, history) = (wrong.join("\n  "), history(world));
    fail(format!(
        "plan {plan}:\n  {wrong}\nThe requests that change something, and those around the fault:\n{history}\
         again: PLAN={plan} cargo test -p goldsmith-harness --test plans"
    ))
}

/// The failure of a plan; the end of it all if that is asked for.
fn fail(failure: String) -> Result<(), String> {
    if std::env::var_os("FIRST_FAILURE").is_some() {
        println!("\n{failure}");
        std::process::exit(1);
    }
    Err(failure)
}

fn history(world: &World) -> String {
    let state = world.state();
    let struck = state
        .history
        .iter()
        .find(|step| step.fault.is_some())
        .map(|step| step.number);
    let near = |number: usize| struck.is_some_and(|struck| number.abs_diff(struck) <= LAST_SHOWN);
    let mut text = String::new();
    for step in &state.history {
        if step.is_activity() || near(step.number) {
            // A String takes all.
            let _ = writeln!(text, "{step}");
        }
    }
    text
}
