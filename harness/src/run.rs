//! Carries a plan out.

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::future::OptionFuture;
use goldsmith::controller::stop::{self, Stopper};
use goldsmith::controller::{Config, Failure};
use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Runtime;
use tokio::time::{advance, sleep};

use crate::people;
use crate::plan::{Fault, Plan};
use crate::process::{self, Member};
use crate::turnstile::Turnstile;
use crate::world::World;

/// The world is at rest once nothing has been changed for this long.
pub const QUIET: SignedDuration = SignedDuration::from_hours(1);
/// Longer than what is missing or young is waited for, and than what the controller looks at by itself is left alone. Where it
/// still waits for something else, its status says so, and the world is not the undisturbed one.
pub const BRIEF: SignedDuration = SignedDuration::from_secs(90);
/// A story that goes on for longer never ends.
const LONGEST: SignedDuration = SignedDuration::from_hours(6);
/// A process that cannot live is restarted this often.
const MOST_LIVES: usize = 10;

/// For how long one that goes on does not ask who leads.
const GOES_ON: Duration = Duration::from_millis(50);

/// How a stretch of a process's life has ended.
enum End {
    /// The plan has killed it.
    Killed,
    /// The plan has frozen it.
    Frozen,
    /// It is time for a frozen one to go on.
    Waking,
    /// It was asked to stop, and has.
    Stopped,
    /// By itself, and why.
    ByItself(String),
    AtRest,
    /// Things still change.
    Restless,
}

/// Carries out `plan`, from an empty world to one that is at rest. What came of it is in the world; what went wrong on the way, so
/// that there was no rest, is in its `wrong`.
///
/// `is_known` may say, after a [`BRIEF`] rest, that the world is one of which the rest of the hour is known.
///
/// # Errors
/// When it cannot be begun.
pub fn run(plan: &Plan, is_known: &dyn Fn(&World) -> bool) -> Result<Arc<World>, String> {
    let config = process::config().map_err(|error| error.to_string())?;
    let world = World::new(plan)?;
    let story = world.state().story;
    story.begin(&world)?;
    people::settle(&world);
    let mut frozen: Option<(Life, Timestamp)> = None;
    let mut life = Life::begin(&world, &config, Member::FIRST)?;
    for _ in 0..MOST_LIVES {
        match life.go_on(&world, is_known) {
            End::Killed if world.is_exhausted() => return Ok(world),
            End::Killed => {
                let last = world.state().history.last().and_then(|step| step.fault);
                let member = match last.is_some_and(Fault::moves_processes) {
                    true => life.first.member.other(),
                    false => life.first.member,
                };
                life = Life::begin(&world, &config, member)?;
            }
            End::Frozen => {
                let held = std::mem::replace(&mut life, Life::begin(&world, &config, Member::STANDBY)?);
                frozen = Some((held, world.now()));
            }
            End::Stopped => life = Life::begin(&world, &config, life.first.member.other())?,
            End::ByItself(why) => {
                if !life.may_end {
                    let wrong = format!("the process has ended by itself: {why}");
                    world.state().wrong.push(wrong.into());
                }
                life = Life::begin(&world, &config, life.first.member)?;
            }
            End::AtRest | End::Waking => match frozen.take() {
                Some((mut held, since)) => {
                    let paused = world.now();
                    let has_led = world.state().judge.has_led(held.first.member);
                    held.thaw(&world, since);
                    // Until it finds that it does not lead any more; the other one waits meanwhile.
                    let ends = held.go_on(&world, is_known);
                    if has_led && matches!(ends, End::AtRest | End::Restless | End::Waking) {
                        let wrong = "a process that was held up goes on, and another holds the Lease";
                        world.state().wrong.push(wrong.to_owned().into());
                    }
                    world.state().judge.is_no_more(held.first.member);
                    drop(held);
                    life.catch_up(&world, paused);
                }
                None => return Ok(world),
            },
            End::Restless => {
                let wrong = format!("something is still changed after {LONGEST:#}");
                world.state().wrong.push(wrong.into());
                return Ok(world);
            }
        }
    }
    world
        .state()
        .wrong
        .push(format!("{MOST_LIVES} processes have ended").into());
    Ok(world)
}

/// A process that runs.
struct Running {
    member: Member,
    ends: Pin<Box<dyn Future<Output = Result<(), Failure>>>>,
    stopper: Stopper,
    /// When it was asked to stop.
    stops: Option<Timestamp>,
}

impl Running {
    fn begin(world: &Arc<World>, turnstile: &Arc<Turnstile>, config: &Config, member: Member) -> Self {
        let (stopper, stop) = stop::channel();
        let ends = process::run(Arc::clone(world), Arc::clone(turnstile), config.clone(), member, stop);
        Self {
            member,
            ends: Box::pin(ends),
            stopper,
            stops: None,
        }
    }
}

/// Whether it waits for the same Lease as the first; one that believes that it leads does not.
fn is_replica(running: &Running) -> bool {
    running.member.lease == Member::FIRST.lease
}

/// One life of the process. With its runtime everything is dropped that it knew and was about to do.
struct Life {
    first: Running,
    /// One that runs beside it.
    second: Option<Running>,
    driver: Pin<Box<dyn Future<Output = ()>>>,
    turnstile: Arc<Turnstile>,
    config: Config,
    /// Whether a process may end by itself.
    may_end: bool,
    // Last: the others are dropped while it is there.
    runtime: Runtime,
}

impl Life {
    /// Of `member`, and in a story of two replicas of another one that waits for the Lease.
    fn begin(world: &Arc<World>, config: &Config, member: Member) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|error| format!("cannot make a runtime: {error}"))?;
        let turnstile = Arc::new(Turnstile::default());
        let (keys, two) = {
            let state = world.state();
            (state.keys, state.story.two_replicas)
        };
        let config = process::with_keys(config, keys);
        let begin = |member| Running::begin(world, &turnstile, &config, member);
        let driven = Arc::clone(&turnstile);
        Ok(Self {
            first: begin(member),
            second: two.then(|| begin(member.other())),
            driver: Box::pin(async move { driven.drive().await }),
            turnstile,
            config,
            may_end: world.state().ends_processes(),
            runtime,
        })
    }

    /// Until something ends or freezes it, or the world is at rest.
    fn go_on(&mut self, world: &Arc<World>, is_known: &dyn Fn(&World) -> bool) -> End {
        let Self {
            first,
            second,
            driver,
            turnstile,
            config,
            may_end,
            runtime,
        } = self;
        runtime.block_on(async {
            world.begin();
            let mut rest = pin!(rest(world, is_known));
            let end = loop {
                let beside = OptionFuture::from(second.as_mut().map(|second| &mut second.ends));
                tokio::select! {
                    biased;
                    () = world.died() => break End::Killed,
                    () = world.frozen() => break End::Frozen,
                    () = waking(world) => break End::Waking,
                    () = world.doubled() => {
                        *second = Some(Running::begin(world, turnstile, config, Member::DOUBLE));
                    }
                    () = world.stopped() => {
                        first.stopper.stop();
                        first.stops = Some(world.now());
                    }
                    ended = &mut first.ends => {
                        if let Some(since) = first.stops {
                            let took = world.now().duration_since(since);
                            world.state().judge_stop(&ended, first.member, took);
                        }
                        let why = format!("{ended:?}");
                        match (second.take(), first.stops.is_some()) {
                            // It takes over as it is, and another one waits from now on.
                            (Some(other), is_asked) if is_replica(&other) && (is_asked || *may_end) => {
                                let member = std::mem::replace(first, other).member;
                                *second = Some(Running::begin(world, turnstile, config, member));
                            }
                            (_, true) => break End::Stopped,
                            (_, false) => break End::ByItself(why),
                        }
                    }
                    Some(ended) = beside => break End::ByItself(format!("{ended:?}")),
                    at_rest = &mut rest => break if at_rest { End::AtRest } else { End::Restless },
                    () = &mut *driver => break End::Restless,
                }
            };
            world.end();
            end
        })
    }

    /// It was frozen, and goes on with the request in hand; only then it sees how late it is.
    fn thaw(&mut self, world: &World, since: Timestamp) {
        let held_up = world.now().duration_since(since);
        let passed = held_up.unsigned_abs();
        self.runtime.block_on(async {
            world.begin();
            world.thaw(self.first.member, held_up);
            // What is under way goes on as it was, until whoever holds the Lease is asked.
            tokio::select! {
                () = sleep(GOES_ON) => {}
                () = &mut self.driver => {}
            }
            world.stop_the_clock();
            advance(passed).await;
        });
    }

    /// It did nothing since then, and is as late as the world is.
    fn catch_up(&mut self, world: &World, since: Timestamp) {
        let passed = world.now().duration_since(since).unsigned_abs();
        self.runtime.block_on(advance(passed));
    }
}

/// Waits until it is time for a frozen process to go on, if that time is known.
async fn waking(world: &World) {
    let wakes = world.state().wakes;
    match wakes {
        Some(wakes) => {
            sleep(wakes.duration_since(world.now()).unsigned_abs()).await;
            world.state().wakes = None;
        }
        None => pending().await,
    }
}

/// Waits until nothing has been changed for long; false when that does not come.
async fn rest(world: &World, is_known: &dyn Fn(&World) -> bool) -> bool {
    let began = world.began();
    let mut looked = None;
    loop {
        let now = world.now();
        let active = world.state().active;
        let brief = active + BRIEF;
        if now >= brief && looked != Some(active) {
            looked = Some(active);
            // What people are still to do decides, too.
            if world.state().in_force.is_over(now) && is_known(world) {
                return true;
            }
        }
        if now >= active + QUIET {
            return true;
        }
        if now.duration_since(began) > LONGEST {
            return false;
        }
        // Someone may change something meanwhile, and then another rest begins.
        let next = if now < brief {
            brief
        } else {
            (now + BRIEF).min(active + QUIET)
        };
        sleep(next.duration_since(now).unsigned_abs().max(Duration::from_millis(1))).await;
    }
}
