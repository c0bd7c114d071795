//! Carries a plan out.

use std::sync::Arc;
use std::time::Duration;

use goldsmith::controller::Config;
use jiff::SignedDuration;
use tokio::time::sleep;

use crate::people;
use crate::plan::Plan;
use crate::process;
use crate::story;
use crate::turnstile::Turnstile;
use crate::world::World;

/// The world is at rest once nothing has been changed for this long.
pub const QUIET: SignedDuration = SignedDuration::from_hours(1);
/// Longer than what is missing or young is waited for, and than what the controller looks at by itself is left alone. Where it
/// still waits for something else, its status says so, and the world is not the undisturbed one.
pub const BRIEF: SignedDuration = SignedDuration::from_mins(3);
/// A story that goes on for longer never ends.
const LONGEST: SignedDuration = SignedDuration::from_hours(6);
/// Between the death of a process and the start of the next.
const RESTART: SignedDuration = SignedDuration::from_millis(200);
/// A process that cannot live is restarted this often.
const MOST_LIVES: usize = 10;

/// How a process has ended.
enum End {
    /// The plan has killed it.
    Killed,
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
    let world = World::new(plan);
    story::begin(&plan.story, &world)?;
    people::settle(&world);
    for _ in 0..MOST_LIVES {
        match live(&world, &config, is_known)? {
            End::Killed if world.is_exhausted() => return Ok(world),
            End::Killed => {}
            End::ByItself(why) => world
                .state()
                .wrong
                .push(format!("the process has ended by itself: {why}")),
            End::AtRest => return Ok(world),
            End::Restless => {
                let wrong = format!("something is still changed after {LONGEST:#}");
                world.state().wrong.push(wrong);
                return Ok(world);
            }
        }
    }
    world.state().wrong.push(format!("{MOST_LIVES} processes have ended"));
    Ok(world)
}

/// One life of the process. With its runtime everything is dropped that it knew and was about to do.
fn live(world: &Arc<World>, config: &Config, is_known: &dyn Fn(&World) -> bool) -> Result<End, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| format!("cannot make a runtime: {error}"))?;
    let end = runtime.block_on(async {
        world.begin();
        let turnstile = Arc::new(Turnstile::default());
        let end = tokio::select! {
            biased;
            () = world.died() => End::Killed,
            ended = process::run(world, &turnstile, config.clone()) => End::ByItself(format!("{ended:?}")),
            at_rest = rest(world, is_known) => if at_rest { End::AtRest } else { End::Restless },
            () = turnstile.drive() => End::Restless,
        };
        world.end(RESTART);
        end
    });
    Ok(end)
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
            if is_known(world) {
                return true;
            }
        }
        if now >= active + QUIET {
            return true;
        }
        if now.duration_since(began) > LONGEST {
            return false;
        }
        let next = if now < brief { brief } else { active + QUIET };
        sleep(next.duration_since(now).unsigned_abs().max(Duration::from_millis(1))).await;
    }
}
