//! One lab with its controller, and what every story does in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use goldsmith_lab::{Guests, Lab, NAMESPACE, Options, Result, until};
use serde_json::{Value, json};

use crate::account::{Call, Inventory};
use crate::seen::{Recipe, Seen};

/// For any single wait: several times what it takes with many stories at once on two processors.
pub const PATIENCE: Duration = Duration::from_secs(100);
/// The same where guests are real: five times what a build of Debian and its proof take.
const REAL_PATIENCE: Duration = Duration::from_secs(900);

/// The lab of a test binary.
#[derive(Debug)]
pub struct Stage {
    seen: Seen,
    journal: Mutex<Vec<Call>>,
    /// For any single wait.
    patience: Duration,
    pub lab: Lab,
}

/// In stories a failure of the lab fails the story.
impl Stage {
    pub(crate) fn set(options: &Options) -> Result<Self> {
        let lab = Lab::start(options)?;
        let seen = Seen::watch(&lab)?;
        lab.start_controller()?;
        Ok(Self {
            seen,
            journal: Mutex::default(),
            patience: match options.guests {
                Guests::Scripted => PATIENCE,
                Guests::Real => REAL_PATIENCE,
            },
            lab,
        })
    }

    /// Runs kubectl as an administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.lab.kubectl(arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Applies a recipe of this spec.
    pub fn apply(&self, name: &str, spec: Value) {
        let recipe = json!({
            "apiVersion": "goldsmith.dev/v1alpha1",
            "kind": "ImageRecipe",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        });
        let path = self.lab.directory().join(format!("{name}.json"));
        std::fs::write(&path, recipe.to_string()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let object = self.kubectl(&["apply", "--output=json", "--filename", &path.to_string_lossy()]);
        self.wait_seen(name, &object);
    }

    /// Changes a recipe as `kubectl patch --type=merge` does.
    pub fn change(&self, name: &str, change: &Value) {
        let patch = format!("--patch={change}");
        let object = self.kubectl(&["patch", "imagerecipe", name, "--type=merge", "--output=json", &patch]);
        self.wait_seen(name, &object);
    }

    /// Asks for something by an annotation `goldsmith.dev/<verb>`.
    pub fn request(&self, name: &str, verb: &str, token: &str) {
        self.change(
            name,
            &json!({"metadata": {"annotations": {format!("goldsmith.dev/{verb}"): token}}}),
        );
    }

    /// Until the watch has shown what was just written, so that nothing older is taken for its effect.
    fn wait_seen(&self, name: &str, written: &str) {
        let written: Value = serde_json::from_str(written).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (uid, generation) = (&written["metadata"]["uid"], written["metadata"]["generation"].as_i64());
        self.wait(name, "as it was written", |recipe| {
            recipe.0.metadata.uid.as_deref() == uid.as_str() && recipe.0.metadata.generation >= generation
        });
    }

    /// Waits until a recipe is as wanted.
    pub fn wait(&self, name: &str, wanted: &str, is: impl Fn(&Recipe) -> bool) -> Recipe {
        let state = until(self.patience, || match self.seen.recipe(name) {
            Some(recipe) if is(&recipe) => Ok(recipe),
            other => Err(described(other)),
        });
        state.unwrap_or_else(|last| panic!("{name} is not {wanted}; last seen: {last}"))
    }

    /// Waits until the present spec has its image and nothing is under way. One that has given up will not get there.
    pub fn wait_ready(&self, name: &str) -> Recipe {
        let is_done = |recipe: &Recipe| recipe.is_ready() && recipe.status().build.is_none();
        let recipe = self.wait(name, "ready", |recipe| is_done(recipe) || recipe.is_stalled());
        assert!(is_done(&recipe), "{name} is not ready: {}", described(Some(recipe)));
        recipe
    }

    /// Waits until the controller has given up, and checks why.
    pub fn wait_stalled(&self, name: &str, reason: &str) -> Recipe {
        let recipe = self.wait(name, "stalled", Recipe::is_stalled);
        assert_eq!(recipe.reason(), reason, "{name}: {}", recipe.message());
        recipe
    }

    /// Deletes a recipe and waits until it is gone.
    pub fn delete(&self, name: &str) {
        self.kubectl(&["delete", "imagerecipe", name, "--wait=false"]);
        self.wait_gone(name);
    }

    /// Waits until a recipe is gone, finalizer and all.
    pub fn wait_gone(&self, name: &str) {
        let there = |recipe| Err(described(Some(recipe)));
        let gone = until(self.patience, || self.seen.recipe(name).map_or(Ok(()), there));
        gone.unwrap_or_else(|last| panic!("{name} is still there: {last}"));
    }

    /// A recipe as it was last seen.
    pub fn recipe(&self, name: &str) -> Recipe {
        self.seen
            .recipe(name)
            .unwrap_or_else(|| panic!("there is no recipe {name}"))
    }

    /// Grows whenever a state of any recipe is seen.
    pub fn states_seen(&self) -> u64 {
        self.seen.events()
    }

    /// What EC2 has of a recipe.
    pub fn inventory(&self, name: &str) -> Inventory {
        let all = self
            .lab
            .simulator_get("inventory")
            .unwrap_or_else(|error| panic!("{error}"));
        Inventory::read(&all, &owner(name))
    }

    /// Every call that was made so far.
    pub fn calls(&self) -> Vec<Call> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let after = journal.last().map_or(0, |call| call.sequence);
        let path = format!("journal?after={after}");
        let new = self.lab.simulator_get(&path).unwrap_or_else(|error| panic!("{error}"));
        journal.extend(new.as_array().into_iter().flatten().map(Call::read));
        journal.clone()
    }

    /// The calls so far that make something for a recipe.
    pub fn creating_calls(&self, name: &str) -> Vec<Call> {
        let owner = owner(name);
        self.calls().into_iter().filter(|call| call.is_of(&owner)).collect()
    }

    /// How many instances of a role were launched for a recipe.
    pub fn launches(&self, name: &str, role: &str) -> usize {
        let launches = self.creating_calls(name).into_iter();
        let launches = launches.filter(|call| call.operation == "RunInstances");
        let of_role = launches.filter(|call| call.tag("goldsmith.dev/role") == Some(role));
        of_role.flat_map(|call| call.things_made()).count()
    }

    /// Posts to the simulator's own interface.
    pub fn simulate(&self, what: &str, body: &Value) -> String {
        self.lab
            .simulator_post(what, body)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// An image as `aws ec2 describe-images` has it.
    pub fn image(&self, id: &str) -> Value {
        let answer = self
            .lab
            .aws(&["ec2", "describe-images", "--image-ids", id, "--output=json"]);
        let answer = answer.unwrap_or_else(|error| panic!("{error}"));
        let mut answer: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}"));
        answer["Images"][0].take()
    }

    /// How every story ends: of the recipe EC2 has `images` finished images with their snapshots and nothing else, nothing
    /// was ever made twice, and no status that was ever seen would have misled anyone.
    pub fn at_rest(&self, name: &str, images: usize) {
        let inventory = until(self.patience, || {
            let inventory = self.inventory(name);
            if inventory.temporary().is_empty() && inventory.snapshots.len() >= inventory.images.len() {
                Ok(inventory)
            } else {
                Err(format!("{name} has left something behind: {inventory:#?}"))
            }
        })
        .unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(
            inventory.images.len(),
            images,
            "{name} has other images: {:#?}",
            inventory.images
        );
        assert_eq!(self.made_twice(name), Vec::<String>::new(), "{name} was made twice");
        assert_eq!(
            self.seen.wrong(name),
            Vec::<String>::new(),
            "{name} has shown a wrong status"
        );
    }

    /// What was made more than once for one purpose of one attempt.
    fn made_twice(&self, name: &str) -> Vec<String> {
        let mut made = BTreeMap::<_, BTreeSet<String>>::new();
        let calls = self.creating_calls(name);
        for call in &calls {
            made.entry(call.purpose()).or_default().extend(call.things_made());
        }
        let twice = made.into_iter().filter(|(_, ids)| ids.len() > 1);
        twice.map(|(purpose, ids)| format!("{purpose:?}: {ids:?}")).collect()
    }

    /// Puts the children's logs where they outlast the lab.
    pub(crate) fn keep_logs(&self) {
        let kept = std::env::temp_dir().join(format!("goldsmith-{}-controller.log", std::process::id()));
        if std::fs::copy(self.lab.controller_log(), &kept).is_ok() {
            eprintln!("the controller's log: {}", kept.display());
        }
    }
}

/// A state for the one who reads why a story has failed.
fn described(recipe: Option<Recipe>) -> String {
    recipe.map_or_else(
        || "there is no such recipe".to_owned(),
        |recipe| {
            format!(
                "{}: {}\n{:#?}",
                recipe.reason(),
                recipe.message(),
                recipe.status().build
            )
        },
    )
}

/// As tags and the journal call a recipe of the stories.
fn owner(name: &str) -> String {
    format!("{NAMESPACE}/{name}")
}
