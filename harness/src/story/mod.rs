//! What users do, what has to come of it when nothing goes wrong, and what may go wrong meanwhile.

mod deletions;
mod failures;
mod images;
mod inputs;
mod records;
mod replicas;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::api_server::{Answer, Request};
use crate::history::Step;
use crate::plan::Fault;
use crate::world::World;

/// Where the recipes of all stories are.
pub const RECIPES: &str = "/apis/goldsmith.dev/v1alpha1/namespaces/platform/imagerecipes";
const ALL_RECIPES: &str = "/apis/goldsmith.dev/v1alpha1/imagerecipes";
const WEB: &str = "/apis/goldsmith.dev/v1alpha1/namespaces/platform/imagerecipes/web";

/// Later than any build ends that one fault delays.
const BUILT: SignedDuration = SignedDuration::from_mins(2);
const SOON_AFTER: SignedDuration = SignedDuration::from_secs(150);
/// The builder is at work then, if it works for long.
const AT_WORK: SignedDuration = SignedDuration::from_secs(30);

/// A story of one recipe, `web`, and in some of others beside it.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// Its name in plans.
    pub name: &'static str,
    /// What its users do at the beginning, before `web` is there, and to it; and what they do later, which they are told to at its time.
    begin: fn(&World, &mut Value),
    /// What people do in the middle of it.
    pub meanwhile: Option<Meanwhile>,
    /// What kstatus says of the recipes at the end, if they are still there, and the reason of `Ready`.
    pub end: (&'static str, &'static str),
    /// The reason that `Ready` has to give on the way.
    pub told: Option<&'static str>,
    /// Reasons of the Events that tell of each recipe when nothing goes wrong, in the order of time.
    events: &'static [&'static str],
    /// What may go wrong without leading to another end.
    faults: &'static [Fault],
    /// What else may, where there is time. What is the controller's own machinery is the same in every story.
    more_faults: &'static [Fault],
    /// Which requests faults strike, other than [`while_something_happens`].
    struck: Option<fn(&Struck<'_>) -> bool>,
    /// People launch what carries the recipe's tags: it is waited for, and would hide what is not.
    pub decoys: bool,
    /// People who can write to consoles say there that all is well: what a guest says is not what they would have it say.
    pub forged_consoles: bool,
    /// Nothing fails by itself, and there are attempts to lose.
    pub nothing_fails: bool,
    /// Two replicas of the controller run.
    pub two_replicas: bool,
}

/// What people do, once, as soon as a request of that name has succeeded.
pub type Meanwhile = (&'static str, fn(&World, &Step));

/// A request that a fault may strike, as it was in the undisturbed run.
#[derive(Clone, Copy, Debug)]
pub struct Struck<'a> {
    /// What would strike it.
    pub fault: Fault,
    /// There is time for more.
    pub thorough: bool,
    /// The request.
    pub step: &'a Step,
    /// How long ago something was changed.
    pub quiet: SignedDuration,
}

/// An attempt is lost with each of these.
pub const COSTLY: [Fault; 8] = [
    Fault::Away,
    Fault::RequestRefused,
    Fault::ImageFailed,
    Fault::ImageErrored,
    Fault::VolumeStuck,
    Fault::ConsoleSilent,
    Fault::InstancesTerminated,
    Fault::ImagesDeregistered,
];

const WATCHES: [Fault; 3] = [Fault::WatchDelayed, Fault::WatchCoalesced, Fault::WatchExpired];

const UNSEEN_AND_WATCHES: [Fault; 4] = [Fault::DiesUnseen, WATCHES[0], WATCHES[1], WATCHES[2]];

/// An image is built and proven.
const BUILD: &str = "BuildStarted ImageProven LatestChanged BuildSucceeded";

/// The image that is there is proven again, and none is built.
const PROOF: &str = "BuildStarted ImageProven BuildSucceeded";

/// Of a story in which an image is built and serves.
const SERVES: Story = Story {
    name: "",
    begin: |_, _| {},
    meanwhile: None,
    end: ("Current", "ImageProven"),
    told: None,
    events: &[BUILD],
    faults: &[],
    more_faults: &[
        Fault::DiesUnseen,
        Fault::AnswerLost,
        Fault::DiesAfter,
        Fault::StatusEmptied,
        Fault::ArrivesLate,
        Fault::WatchExpired,
        Fault::OlderByOne,
        Fault::DiesBefore,
    ],
    struck: None,
    decoys: true,
    forged_consoles: false,
    nothing_fails: false,
    two_replicas: false,
};

/// Every story.
pub fn all() -> impl Iterator<Item = &'static Story> {
    let of_all = [
        images::STORIES,
        deletions::STORIES,
        failures::STORIES,
        inputs::STORIES,
        records::STORIES,
        replicas::STORIES,
    ];
    of_all.into_iter().flatten()
}

/// The story of that name.
///
/// # Errors
/// When there is none.
pub fn named(name: &str) -> Result<&'static Story, String> {
    all().find(|story| story.name == name).ok_or_else(|| {
        let names: Vec<&str> = all().map(|story| story.name).collect();
        format!("there is no story {name}; there are {}", names.join(", "))
    })
}

impl Story {
    /// Does what its users do at its beginning, and has them do the rest at its time.
    ///
    /// # Errors
    /// When the API server takes something no user could write.
    pub fn begin(&self, world: &World) -> Result<(), String> {
        let mut web = recipe("web");
        (self.begin)(world, &mut web);
        world.apply(&web)
    }

    /// Reasons of the Events that tell of each of its recipes when nothing goes wrong, in the order of time.
    pub fn events(&self) -> String {
        self.events.join(" ")
    }

    /// What may go wrong without leading to another end; unless `thorough`, as much as there is time for. What costs an attempt only where
    /// there are some to lose.
    pub fn faults(&self, thorough: bool) -> Vec<Fault> {
        let more = self
            .more_faults
            .iter()
            .filter(|fault| thorough && !self.faults.contains(fault));
        let faults = self.faults.iter().chain(more).copied();
        faults
            .filter(|fault| self.nothing_fails || !COSTLY.contains(fault))
            .collect()
    }

    /// Whether that fault is to strike that request.
    pub fn is_struck(&self, struck: &Struck<'_>) -> bool {
        self.struck.unwrap_or(while_something_happens)(struck)
    }
}

/// No reads while everybody waits: those repeat the ones before. Watches, unless there is time, where people write.
fn while_something_happens(struck: &Struck<'_>) -> bool {
    const WAITING: SignedDuration = SignedDuration::from_secs(5);
    let Struck {
        fault,
        thorough,
        step,
        quiet,
    } = struck;
    match WATCHES.contains(fault) && !thorough {
        true => step.people,
        false => step.mutates || step.people || *quiet <= WAITING,
    }
}

/// A recipe that is built in a few minutes, of which the first failure would be the last.
pub fn recipe(name: &str) -> Value {
    json!({
        "apiVersion": "goldsmith.dev/v1alpha1",
        "kind": "ImageRecipe",
        "metadata": {"name": name, "namespace": "platform"},
        "spec": {
            "region": "eu-central-1",
            "failureLimit": 1,
            "build": {
                "source": {"search": {"owners": ["amazon"], "name": "al2023-ami-2023.*-{{arch}}"}},
                "builder": {
                    "instanceTypes": ["m7i.large"],
                    "subnets": {"ids": ["subnet-0a100000000000001"]},
                    "securityGroupIds": ["sg-0d200000000000001"],
                },
                "steps": [{"name": "packages", "run": "dnf -y install nginx"}],
            },
        },
    })
}

/// What someone other than the controller writes, whatever is there now; what is gone is not written.
pub fn write(world: &World, method: &str, path: &str, body: &Value) {
    let request = Request {
        method: method.into(),
        path: path.into(),
        query: String::new(),
        accept: String::new(),
        content_type: "application/merge-patch+json".into(),
        body: body.to_string().into_bytes(),
    };
    let now = world.now();
    let mut state = world.state();
    state.active = now;
    match state.api.handle(now, &request) {
        Answer::Value(404, _) => {}
        Answer::Value(code @ 400.., why) => state
            .wrong
            .push(format!("{method} {path} is refused with {code}: {why}").into()),
        _ => {}
    }
}

/// Has the user write another recipe, too.
fn also(world: &World, recipe: &Value) {
    let applied = world.apply(recipe);
    world.state().wrong.extend(applied.err().map(Into::into));
}

/// Has the user change the spec.
fn edit(world: &World, spec: &Value) {
    write(world, "PATCH", WEB, &json!({"spec": spec}));
}

/// Has the user install something else.
fn install(world: &World, package: &str) {
    edit(
        world,
        &json!({"build": {"steps": runs(&format!("dnf -y install {package}"))}}),
    );
}

/// Steps of which the only one runs that.
fn runs(command: &str) -> Value {
    json!([{"name": "packages", "run": command, "timeout": "20m"}])
}

/// Has the user ask for a build.
fn ask(world: &World, token: &str) {
    let asked = json!({"metadata": {"annotations": {"goldsmith.dev/build": token}}});
    write(world, "PATCH", WEB, &asked);
}

/// Has the user delete the recipe.
fn delete(world: &World) {
    write(world, "DELETE", WEB, &Value::Null);
}

/// Has the user suspend the recipe, or go on.
pub fn suspend(world: &World, suspend: bool) {
    edit(world, &json!({"suspend": suspend}));
}
