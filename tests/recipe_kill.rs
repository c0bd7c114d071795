//! SIGKILL of the controller, again and again, in the middle of builds and proofs: nothing is lost, left or made twice.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use goldsmith::api::BuildResult;
use goldsmith_lab::{Options, until};
use serde_json::json;
use stage::{Stage, spec, stories, with};

/// How often it is killed.
const KILLS: usize = 40;
/// After this time without the moment that was waited for, any moment will do.
const BORED: Duration = Duration::from_secs(4);
/// As long as EC2 keeps an answer to itself: longer than it takes to notice the call and to kill.
const SLOW: f64 = 3.0;
/// Every call of a build that changes something, and how often its answer is kept back: the builder, the test instance
/// and the inspector are launched by one call each.
const UNANSWERED: [(&str, u32); 8] = [
    ("RunInstances", 3),
    ("CreateImage", 1),
    ("CreateVolume", 1),
    ("AttachVolume", 1),
    ("ModifyInstanceAttribute", 1),
    ("CreateTags", 1),
    ("EnableImageDeregistrationProtection", 1),
    ("TerminateInstances", 1),
];

fn main() -> ExitCode {
    let stories = stories![killed_at_any_moment_it_goes_on_where_it_was];
    stage::tell(&Options::default(), stories)
}

/// When the controller is killed next, if no answer is kept back before.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So many calls that change something were made.
    Calls(usize),
    /// So many states of recipes were written.
    States(u64),
}

/// Always the same ones.
fn moments() -> impl Iterator<Item = Moment> {
    let mut random = 2_u32;
    std::iter::from_fn(move || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(match random >> 28 {
            draw @ 0..8 => Moment::Calls(1 + draw as usize % 3),
            draw => Moment::States(1 + u64::from(draw) % 5),
        })
    })
}

fn killed_at_any_moment_it_goes_on_where_it_was(stage: &Stage) {
    for (operation, count) in UNANSWERED {
        let fault = json!({"operation": operation, "kind": "slow", "seconds": SLOW, "count": count});
        stage.simulate("faults", &fault);
    }
    let names = ["one", "two"];
    for name in names {
        stage.apply(name, with(spec(), &json!({"image": {"tags": {"team": name}}})));
    }
    let mut builds = [1_i64; 2];
    for moment in moments().take(KILLS) {
        for (name, builds) in names.iter().zip(&mut builds) {
            let recipe = stage.recipe(name);
            // It has come through: there is more to come through.
            if recipe.latest_build() == Some(*builds) && recipe.status().build.is_none() {
                *builds += 1;
                stage.request(name, "build", &builds.to_string());
            }
        }
        let (calls, states) = (stage.calls().len(), stage.states_seen());
        let come = || {
            let new = &stage.calls()[calls..];
            let unanswered = new.iter().any(|call| call.fault.is_some());
            let come = match moment {
                Moment::Calls(wanted) => new.iter().filter(|call| call.mutates()).count() >= wanted,
                Moment::States(wanted) => stage.states_seen() >= states + wanted,
            };
            if unanswered || come { Ok(()) } else { Err(()) }
        };
        // A moment that does not come is as good as any other.
        let _ = until(BORED, come);
        stage.lab.kill_controller();
        stage.lab.start_controller().expect("it starts again");
    }
    for (name, builds) in names.into_iter().zip(builds) {
        let recipe = stage.wait(name, "at its last build", |recipe| {
            recipe.latest_build() == Some(builds) && recipe.is_ready() && recipe.status().build.is_none()
        });
        let count = usize::try_from(builds).expect("a few");
        for role in ["builder", "test", "inspector"] {
            assert_eq!(stage.launches(name, role), count, "one {role} a build of {name}");
        }
        let history = recipe.status().history;
        assert_eq!(history.len(), count, "{name}");
        for build in history {
            let ended = (build.result, build.attempts);
            assert_eq!(ended, (BuildResult::Succeeded, 1), "{name}: {:?}", build.message);
        }
        stage.at_rest(name, count);
    }
    let calls = stage.calls();
    let struck: BTreeSet<&str> = calls
        .iter()
        .filter(|call| call.fault.is_some())
        .map(|call| call.operation.as_str())
        .collect();
    assert_eq!(
        struck,
        UNANSWERED.map(|(operation, _)| operation).into(),
        "it was killed in the middle of each call"
    );
}
