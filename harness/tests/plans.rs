//! Every story, undisturbed and under every fault at every request.
//!
//! `PLAN=STORY/FAULT/REQUEST cargo test --workspace --test plans` carries out that plan alone, with the controller's log if `RUST_LOG`
//! says what of it. `PAIRS` says how many pairs
//! of faults are drawn for each story, `SEED` from where; EC2's ids and durations come of that seed, too. With `THOROUGH` set
//! more faults strike every story, and more worlds at rest are looked at for an hour, also those that are as the undisturbed run's soon; with `FIRST_FAILURE` set the first plan that fails ends it all.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use goldsmith::telemetry::logging::{self, LogFormat};
use goldsmith_harness::api_server::Kind;
use goldsmith_harness::history::Step;
use goldsmith_harness::judge::{self, Wrong};
use goldsmith_harness::plan::{Fault, Plan};
use goldsmith_harness::run::run;
use goldsmith_harness::story::{self, Story, Struck};
use goldsmith_harness::world::World;
use libtest_mimic::{Arguments, Trial};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Failures that are told in full; the others would repeat them.
const MOST_TOLD: usize = 3;
/// Requests around a fault that are shown with those that changed something.
const SHOWN: usize = 5;
/// Pairs of faults for each story, unless `PAIRS` says how many.
const PAIRS: usize = 5;
/// Writes of the Lease that are struck; the others repeat them, every few seconds.
const RENEWALS: usize = 4;
/// Calls of each kind of which the answer is an error for minutes, where there is not time for all.
const FIRST_CALLS: usize = 4;
/// Requests of a look at everything, once there is nothing more to do.
const AT_REST: usize = 12;
/// One in so many plans is looked at for the whole hour of rest, whatever its world is like; the second where there is time.
const LOOKED_AT_LONG: [usize; 2] = [100, 10];
/// How many plans make a line of progress.
const PROGRESS: usize = 250;
/// Plans that have failed once.
const KEPT: &str = include_str!("kept.txt");

thread_local! {
    /// What has panicked on this thread.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// How many plans have been begun.
static BEGUN: AtomicUsize = AtomicUsize::new(0);
/// Worlds at the end of plans that others are compared with.
static KNOWN: Mutex<BTreeMap<Plan, Known>> = Mutex::new(BTreeMap::new());
/// Of one of them, once it has been carried out.
type Known = Arc<OnceLock<Result<Arc<World>, String>>>;
/// By class: how many plans, how many of them have failed, and how long all took.
static OUTCOMES: Mutex<BTreeMap<String, (usize, usize, Duration)>> = Mutex::new(BTreeMap::new());

fn main() -> ExitCode {
    if let Some(seed) = std::env::var("SEED").ok().filter(|seed| seed.parse::<u64>().is_err()) {
        eprintln!("SEED is {seed:?}; it is a number");
        return ExitCode::FAILURE;
    }
    // A pass that panics is tried again, so the end does not show it. A plan is carried out on one thread.
    panic::set_hook(Box::new(|panic| {
        PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()))
    }));
    let mut arguments = Arguments::from_args();
    // Each of them takes all processors.
    arguments.test_threads = Some(1);
    let trials = match std::env::var("PLAN") {
        Ok(plan) => vec![Trial::test(plan.clone(), move || alone(&plan).map_err(Into::into))],
        Err(_) => trials(),
    };
    if arguments.filter.is_none() && !arguments.list && trials.len() > 1 {
        know_all_stories();
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    summary();
    conclusion.exit_code()
}

/// What takes the least time comes first.
fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = story::all()
        .map(|Story { name, .. }| {
            Trial::test(format!("{name}/undisturbed"), move || {
                undisturbed_and_the_same_every_time(name).map_err(Into::into)
            })
        })
        .collect();
    // Numbers of requests hang on the seed, and on what is asked: another seed strikes others, and a planted fault may.
    if seed() == 0 && std::env::var_os("FIRST_FAILURE").is_none() {
        trials.push(Trial::test("kept", || {
            let kept = kept().inspect_err(|_| counted("kept", 1, 1, Duration::ZERO))?;
            carry_out("kept", &kept).map_err(Into::into)
        }));
    }
    for fault in Fault::ALL {
        let stories = story::all().filter(|story| story.faults(thorough()).contains(&fault));
        trials.extend(stories.map(|story| {
            let name = format!("{}/{}", story.name, fault.as_str());
            Trial::test(name.clone(), move || {
                at_every_request(&name, story, fault).map_err(Into::into)
            })
        }));
    }
    let paired = story::all().filter(|story| paired(story).next().is_some());
    trials.extend(paired.map(|story| {
        let name = format!("{}/pairs", story.name);
        Trial::test(name.clone(), move || in_pairs(&name, story).map_err(Into::into))
    }));
    trials
}

fn thorough() -> bool {
    std::env::var_os("THOROUGH").is_some()
}

/// `SEED` in the environment; [`main`] has seen that it is a number.
fn seed() -> u64 {
    let seed = std::env::var("SEED").ok();
    seed.and_then(|seed| seed.parse().ok()).unwrap_or_default()
}

/// Carries a plan out that others are compared with, once.
fn known(plan: &Plan) -> Result<Arc<World>, String> {
    let known = {
        let mut all = KNOWN.lock().expect("nobody panics here");
        Arc::clone(all.entry(plan.clone()).or_default())
    };
    known.get_or_init(|| carried_out(plan, &|_| false)).clone()
}

/// Carries out every story undisturbed, on all processors: a trial of its own for each would leave all but one idle.
fn know_all_stories() {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(story) = story::all().nth(next.fetch_add(1, Ordering::Relaxed)) {
                    // Its own trial tells of an error.
                    drop(undisturbed(&Plan::undisturbed(story.name, seed())));
                }
            });
        }
    });
}

fn undisturbed(plan: &Plan) -> Result<Arc<World>, String> {
    known(&Plan::undisturbed(&plan.story, plan.seed))
}

/// Carries a plan out; what panics meanwhile is wrong.
fn carried_out(plan: &Plan, is_known: &dyn Fn(&World) -> bool) -> Result<Arc<World>, String> {
    let world = run(plan, is_known).map_err(|why| format!("plan {plan}: {why}"))?;
    let panics = PANICS.take();
    let panics = panics.into_iter().map(Wrong::from);
    world.state().wrong.extend(panics);
    Ok(world)
}

/// With what the end of `plan` is compared: the undisturbed run, in which the user does the same when all is done.
fn reference(plan: &Plan) -> Result<Arc<World>, String> {
    let world = undisturbed(plan)?;
    match plan.decisive().filter(|fault| fault.is_asked_for()) {
        Some(fault) => {
            let last = struck(&world, fault).pop().unwrap_or_default();
            known(&plan.with(fault, last))
        }
        None => Ok(world),
    }
}

fn undisturbed_and_the_same_every_time(story: &str) -> Result<(), String> {
    let plan = Plan::undisturbed(story, seed());
    let (first, second) = thread::scope(|scope| {
        // Of the hour at rest the first says enough.
        let second = scope.spawn(|| carried_out(&plan, &is_settled));
        (undisturbed(&plan), second.join())
    });
    let (first, second) = (first?, second.map_err(|_| "the second run has panicked")??);
    judged(&plan, &first, &first)?;
    same(&plan, &first, &second)
}

/// Whether no recipe says that it is on its way.
fn is_settled(world: &World) -> bool {
    let state = world.state();
    let mut recipes = state.api.objects(Kind::ImageRecipe);
    recipes.all(|recipe| judge::status::kstatus(recipe) != "InProgress")
}

/// Whether two runs of a plan have asked the same at the same time, and were answered the same, until the second was at rest.
fn same(plan: &Plan, first: &World, second: &World) -> Result<(), String> {
    let (first, second) = (&first.state().history, &second.state().history);
    let rest = first.iter().rposition(Step::is_activity);
    match first.iter().zip(second).find(|(first, second)| first != second) {
        Some((first, second)) => fail(format!(
            "plan {plan}:\n  two runs differ, first at\n{first} {}\n{second} {}",
            first.purpose, second.purpose
        )),
        None if second.len() > first.len() || rest.is_some_and(|rest| second.len() <= rest) => {
            fail(format!("plan {plan}:\n  two runs differ in length"))
        }
        None => Ok(()),
    }
}

/// The numbers of the requests of an undisturbed run that `fault` can strike: until the world is at rest, and one more, so that the
/// process also dies when all is done.
fn struck(undisturbed: &World, fault: Fault) -> Vec<usize> {
    let state = undisturbed.state();
    let rest = state.history.iter().rposition(Step::is_activity).unwrap_or_default();
    let more = match fault {
        Fault::CallUnavailable => AT_REST,
        _ => 2,
    };
    let until_rest = state.history.iter().take(rest + more);
    let mut missing = fault.of_what_was_made();
    let until_rest = until_rest.skip_while(|step| {
        missing = missing.filter(|prefix| !step.made.iter().any(|id| id.starts_with(prefix)));
        missing.is_some()
    });
    let mut renewals = 0..RENEWALS;
    let mut active = undisturbed.began();
    // Unless there is time: most cost a second process, and of the last `unavailable` says as much of how the SDK takes it.
    let few = [
        Fault::SecondLeader,
        Fault::Frozen,
        Fault::HeldUp,
        Fault::Throttled,
        Fault::Stopped,
    ];
    let few = few.contains(&fault) && !thorough();
    // The same call at another time says the same.
    let mut calls = BTreeMap::<&str, usize>::new();
    let holds = [Fault::Frozen, Fault::HeldUp].contains(&fault);
    // What is read last before something is done decides; a record is read once more before it is changed.
    let decides = |step: &Step| {
        let next = step.number + 1..=step.number + 2;
        let mut following = state.history.iter().filter(|other| next.contains(&other.number));
        holds && following.any(Step::is_activity)
    };
    let first_calls = fault == Fault::CallUnavailable && !thorough();
    let struck = until_rest
        .filter(|step| {
            if step.is_activity() {
                active = step.time;
            }
            state.story.is_struck(&Struck {
                fault,
                thorough: thorough(),
                step,
                quiet: step.time.duration_since(active),
            })
        })
        .filter(|step| fault.strikes(step) && (step.mutates || !few || decides(step)))
        .filter(|step| !step.renews_lease() || renewals.next().is_some())
        .filter(|step| {
            let times = calls.entry(&step.request).or_default();
            *times += 1;
            // The last ones see what serves.
            !first_calls || *times <= FIRST_CALLS || step.number > rest
        });
    struck.map(|step| step.number).collect()
}

fn at_every_request(name: &str, story: &Story, fault: Fault) -> Result<(), String> {
    let plan = Plan::undisturbed(story.name, seed());
    let requests = struck(&*undisturbed(&plan)?, fault);
    if requests.is_empty() && !thorough() {
        return Err(format!(
            "{name}: strikes no request; the story does not have that fault"
        ));
    }
    let plans: Vec<Plan> = requests.into_iter().map(|request| plan.with(fault, request)).collect();
    carry_out(name, &plans)
}

/// Faults of which pairs are drawn in a story.
fn paired(story: &Story) -> impl Iterator<Item = Fault> + use<> {
    let faults = story.faults(thorough());
    Fault::PAIRED.into_iter().filter(move |fault| faults.contains(fault))
}

/// Draws pairs from `SEED`: both strike requests of the undisturbed run, the second whatever has become of its request by then.
fn in_pairs(name: &str, story: &Story) -> Result<(), String> {
    let pairs = std::env::var("PAIRS").map_or(Ok(PAIRS), |text| text.parse());
    let pairs = pairs.map_err(|error| format!("PAIRS is a number: {error}"))?;
    let undisturbed = undisturbed(&Plan::undisturbed(story.name, seed()))?;
    let singles: Vec<(Fault, usize)> = paired(story)
        .flat_map(|fault| {
            struck(&undisturbed, fault)
                .into_iter()
                .map(move |request| (fault, request))
        })
        .collect();
    let mut random = seed();
    let mut draw = || {
        let drawn = splitmix(&mut random) % u64::try_from(singles.len().max(1)).unwrap_or(1);
        singles.get(usize::try_from(drawn).unwrap_or_default()).copied()
    };
    let mut plans = Vec::new();
    while plans.len() < pairs {
        let (Some(one), Some(other)) = (draw(), draw()) else {
            break;
        };
        if one.1 == other.1 {
            continue;
        }
        let mut faults = vec![one, other];
        faults.sort_by_key(|(_, request)| *request);
        plans.push(Plan {
            story: story.name.to_owned(),
            seed: seed(),
            faults,
        });
    }
    carry_out(name, &plans)
}

/// The next of a sequence that looks random (splitmix64).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The plans of `kept.txt`. Requests may get other numbers when the controller asks for other things, so each line says which one its
/// first fault strikes.
fn kept() -> Result<Vec<Plan>, String> {
    let lines = KEPT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (plans, problems): (Vec<_>, Vec<_>) = lines.map(kept_plan).partition(Result::is_ok);
    let problems: Vec<String> = problems.into_iter().filter_map(Result::err).collect();
    match problems.is_empty() {
        true => Ok(plans.into_iter().flatten().collect()),
        false => Err(problems.join("\n")),
    }
}

fn kept_plan(line: &str) -> Result<Plan, String> {
    let (plan, request) = line.split_once(' ').unwrap_or((line, ""));
    let plan: Plan = plan.parse()?;
    if plan.faults.is_empty() && request.is_empty() {
        return Ok(plan);
    }
    let undisturbed = undisturbed(&plan)?;
    let state = undisturbed.state();
    let number = plan.faults.first().map_or(0, |(_, number)| *number);
    let strikes = state.history.iter().find(|step| step.number == number);
    match strikes {
        Some(step) if step.request == request => Ok(plan),
        other => {
            let others = state.history.iter().filter(|step| step.request == request);
            let others: Vec<String> = others.map(|step| step.number.to_string()).collect();
            let other = other.map_or("nothing", |step| &step.request);
            Err(format!(
                "kept.txt: {plan} was to strike {request}, and strikes {other}; {request} is now request {}",
                others.join(", ")
            ))
        }
    }
}

/// Carries plans out on all processors.
fn carry_out(name: &str, plans: &[Plan]) -> Result<(), String> {
    let thorough = thorough();
    let began = Instant::now();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let before = BEGUN.fetch_add(plans.len(), Ordering::Relaxed);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(plan) = plans.get(index) else { break };
                    // What an image leaves behind is looked at minutes later.
                    let leaves = plan.faults.iter().any(|(fault, _)| *fault == Fault::ImagesDeregistered);
                    let looks_on = leaves && index % 8 == 0
                        || (before + index).is_multiple_of(LOOKED_AT_LONG[usize::from(thorough)]);
                    let outcome = |plan: &Plan| {
                        let reference = reference(plan)?;
                        let is_known = |world: &World| !looks_on && wrong(plan, &reference, world).is_empty();
                        let world = carried_out(plan, &is_known)?;
                        judged(plan, &reference, &world)?;
                        match index {
                            // One of each kind; all of them would take twice as long.
                            0 if plans.len() > 2 => same(plan, &world, &*carried_out(plan, &is_known)?),
                            _ => Ok(()),
                        }
                    };
                    if let Err(failure) = outcome(plan) {
                        // One of several faults may be enough.
                        let failure = plan
                            .each_alone()
                            .find_map(|alone| outcome(&alone).err())
                            .unwrap_or(failure);
                        let mut failures = failures.lock().expect("nobody panics here");
                        failures.push((index, plan.to_string(), failure));
                    }
                    if (index + 1) % PROGRESS == 0 {
                        println!("{name}: {} of {}, {:.0?}", index + 1, plans.len(), began.elapsed());
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("nobody panics here");
    failures.sort();
    let (count, failed) = (plans.len(), failures.len());
    let class = match name {
        "kept" => name,
        _ => plans.first().map_or("", Plan::class),
    };
    counted(class, count, failed, began.elapsed());
    if failures.is_empty() {
        println!("{name}: {count} plans, {:.1?}", began.elapsed());
        return Ok(());
    }
    let names: Vec<&str> = failures.iter().map(|(_, plan, _)| plan.as_str()).collect();
    let told: Vec<&str> = failures
        .iter()
        .take(MOST_TOLD)
        .map(|(_, _, failure)| failure.as_str())
        .collect();
    Err(format!(
        "{failed} of {count} plans failed: {}\n{}",
        names.join(" "),
        told.join("\n")
    ))
}

/// Remembers how plans of a class have ended.
fn counted(class: &str, count: usize, failed: usize, took: Duration) {
    let mut outcomes = OUTCOMES.lock().expect("nobody panics here");
    let outcome = outcomes.entry(class.to_owned()).or_default();
    *outcome = (outcome.0 + count, outcome.1 + failed, outcome.2 + took);
}

/// By class, and in the last line altogether.
fn summary() {
    let outcomes = OUTCOMES.lock().expect("nobody panics here");
    let (mut plans, mut failed) = (0, 0);
    for (class, (count, of_them, took)) in outcomes.iter().filter(|(class, _)| !class.is_empty()) {
        println!("{class:<22} {count:>6} plans {of_them:>4} failed {took:>8.1?}");
        plans += count;
        failed += of_them;
    }
    if !outcomes.is_empty() {
        println!("{plans} plans, {failed} failed");
    }
}

fn alone(plan: &str) -> Result<(), String> {
    let plan: Plan = plan.parse()?;
    let undisturbed = reference(&plan)?;
    // That of the plan alone: its times are of the wall, its order says more.
    if std::env::var_os("RUST_LOG").is_some() {
        logging::start(LogFormat::Text).map_err(|error| error.to_string())?;
    }
    let world = carried_out(&plan, &|_| false)?;
    judged(&plan, &undisturbed, &world)?;
    println!("{}", history(&world, None));
    Ok(())
}

fn wrong(plan: &Plan, reference: &World, world: &World) -> Vec<Wrong> {
    let mut wrong = judge::wrong(world);
    let goes_another_way = plan.decisive().is_some_and(Fault::takes_another_way);
    let differs = match goes_another_way {
        true => judge::other_results(reference, world),
        false => judge::differences(reference, world),
    };
    wrong.extend(differs.into_iter().map(Wrong::from));
    wrong
}

/// What is wrong with the end of a run, with the requests that lead there.
fn judged(plan: &Plan, undisturbed: &World, world: &World) -> Result<(), String> {
    let mut wrong = wrong(plan, undisturbed, world);
    // The second of a pair may meet another request than it was drawn for, or none.
    if let [(fault, request)] = plan.faults[..] {
        let state = world.state();
        let never_arrives = [Fault::DiesBefore, Fault::KeyRotated].contains(&fault);
        let mut struck = state.history.iter().filter(|step| step.number == request);
        let mut struck = struck.by_ref().filter(|step| step.fault == Some(fault));
        if !struck.any(|step| never_arrives || !step.outcome.is_empty()) {
            wrong.push(format!("{} has not struck request {request}", fault.as_str()).into());
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let first = wrong.iter().filter_map(|wrong| wrong.request);
    let history = history(world, first.min());
    let wrong: Vec<String> = wrong.iter().map(Wrong::to_string).collect();
    let wrong = wrong.join("\n  ");
    fail(format!(
        "plan {plan}:\n  {wrong}\nThe requests that change something, and those around the fault:\n{history}\
         again: make plan PLAN={plan}"
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

/// The requests that change something, and those around a fault; up to the `last` that matters, if there is one.
fn history(world: &World, last: Option<usize>) -> String {
    let ends = last.map_or(usize::MAX, |last| last + SHOWN);
    let exhausted = world.is_exhausted();
    let state = world.state();
    let struck: Vec<usize> = state
        .history
        .iter()
        .filter(|step| step.fault.is_some())
        .map(|step| step.number)
        .collect();
    let last = state.history.last().map_or(0, |step| step.number);
    let near = |number: usize| {
        let around = |struck: &usize| number.abs_diff(*struck) <= SHOWN;
        struck.iter().any(around) || exhausted && last - number.min(last) <= 4 * SHOWN
    };
    let mut text = String::new();
    for step in state.history.iter().filter(|step| step.number <= ends) {
        if step.is_activity() || near(step.number) {
            // A String takes all.
            let _ = writeln!(text, "{step}");
        }
    }
    text
}
