//! Every state of every recipe, as a watch through `kubectl` shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use goldsmith::api::{ArchitectureStatus, ImageRecipe, ImageRecipeStatus, Phase, READY, STALLED, get, violations};
use goldsmith_lab::{Error, Lab, NAMESPACE, Result, tools};
use serde_json::Value;

/// A recipe as the API server showed it at one moment.
#[derive(Clone, Debug)]
pub struct Recipe(pub ImageRecipe);

impl Recipe {
    pub fn status(&self) -> ImageRecipeStatus {
        self.0.status.clone().unwrap_or_default()
    }

    pub fn generation(&self) -> i64 {
        self.0.metadata.generation.unwrap_or_default()
    }

    /// Whether the controller has seen the present spec.
    pub fn is_current(&self) -> bool {
        self.status().observed_generation == Some(self.generation())
    }

    fn holds(&self, type_: &str) -> bool {
        let status = self.status();
        self.is_current() && get(&status.conditions, type_).is_some_and(|condition| condition.status == "True")
    }

    pub fn is_ready(&self) -> bool {
        self.holds(READY)
    }

    pub fn is_stalled(&self) -> bool {
        self.holds(STALLED)
    }

    /// Reason of the condition Ready.
    pub fn reason(&self) -> String {
        get(&self.status().conditions, READY).map_or_else(String::new, |condition| condition.reason.clone())
    }

    /// Message of the condition Ready.
    pub fn message(&self) -> String {
        get(&self.status().conditions, READY).map_or_else(String::new, |condition| condition.message.clone())
    }

    /// The one architecture of the build in hand.
    pub fn architecture(&self) -> Option<ArchitectureStatus> {
        self.status().build?.architectures.first().cloned()
    }

    /// How far the build in hand is.
    pub fn phase(&self) -> Option<Phase> {
        self.architecture().map(|architecture| architecture.phase)
    }

    /// Number of the build that made the latest image.
    pub fn latest_build(&self) -> Option<i64> {
        self.status().latest.map(|latest| latest.build)
    }

    /// Id of the latest image.
    pub fn latest_image(&self) -> Option<String> {
        self.status()
            .latest?
            .images
            .values()
            .flat_map(BTreeMap::values)
            .next()
            .cloned()
    }
}

/// What watches have shown so far.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The kubectl that watches; none once all is over.
    watch: Arc<Mutex<Option<Child>>>,
    recipes: Arc<Mutex<Recipes>>,
}

#[derive(Debug, Default)]
struct Recipes {
    present: BTreeMap<String, Recipe>,
    /// Names that a watch has shown while it still lists what there is.
    listed: Option<BTreeSet<String>>,
    /// What was wrong with a state, by recipe.
    wrong: BTreeMap<String, Vec<String>>,
    /// Counts what the watch has shown.
    events: u64,
}

impl Seen {
    /// Begins to watch all recipes of a lab. An API server ends every watch after 30 to 60 minutes, and all watches of
    /// a kind whose definition changes; then another begins, with a list of what there is.
    pub(crate) fn watch(lab: &Lab) -> Result<Self> {
        let mut command = Command::new(tools::kubectl()?);
        let path = format!(
            "/apis/goldsmith.dev/v1alpha1/namespaces/{NAMESPACE}/imagerecipes?watch=true&allowWatchBookmarks=true\
             &sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        );
        command
            .args(["get", "--raw", &path])
            .env("KUBECONFIG", lab.admin_kubeconfig())
            .stdout(Stdio::piped());
        let mut kubectl = command.spawn().map_err(Error::io("start kubectl"))?;
        let mut output = kubectl.stdout.take();
        let watch = Arc::new(Mutex::new(Some(kubectl)));
        let recipes = Arc::<Mutex<Recipes>>::default();
        let (watching, seen) = (Arc::clone(&watch), Arc::clone(&recipes));
        thread::spawn(move || {
            while let Some(shown) = output {
                lock(&seen).listed = Some(BTreeSet::new());
                let events = serde_json::Deserializer::from_reader(shown).into_iter::<Value>();
                for event in events.map_while(Result::ok) {
                    lock(&seen).take(event);
                }
                output = again(&mut lock(&watching), &mut command);
            }
        });
        Ok(Self { watch, recipes })
    }

    /// The last state of a recipe; none before the first and after its end.
    pub(crate) fn recipe(&self, name: &str) -> Option<Recipe> {
        lock(&self.recipes).present.get(name).cloned()
    }

    /// What was wrong with any state of a recipe that was ever seen.
    pub(crate) fn wrong(&self, name: &str) -> Vec<String> {
        lock(&self.recipes).wrong.get(name).cloned().unwrap_or_default()
    }

    /// Grows with every state of any recipe.
    pub(crate) fn events(&self) -> u64 {
        lock(&self.recipes).events
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        if let Some(kubectl) = lock(&self.watch).take() {
            end(kubectl);
        }
    }
}

/// What the next watch shows; nothing once all is over.
fn again(watch: &mut Option<Child>, command: &mut Command) -> Option<ChildStdout> {
    end(watch.take()?);
    let mut kubectl = command
        .spawn()
        .inspect_err(|error| eprintln!("no watch follows the last: {error}"))
        .ok()?;
    let output = kubectl.stdout.take();
    *watch = Some(kubectl);
    output
}

fn end(mut kubectl: Child) {
    // Fails only for one that has ended already.
    let _ = kubectl.kill();
    let _ = kubectl.wait();
}

impl Recipes {
    fn take(&mut self, mut event: Value) {
        let object = event["object"].take();
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str() {
            Some("BOOKMARK") if metadata["annotations"]["k8s.io/initial-events-end"].is_string() => self.end_list(),
            Some("BOOKMARK") => {}
            // The end of the watch, not a state.
            Some("ERROR") => eprintln!("a watch ends: {object}"),
            Some("DELETED") => {
                self.events += 1;
                self.present.remove(&name);
            }
            _ => self.see(name, object),
        }
    }

    /// What a whole list has not shown is gone.
    fn end_list(&mut self) {
        if let Some(listed) = self.listed.take() {
            self.present.retain(|name, _| listed.contains(name));
        }
    }

    fn see(&mut self, name: String, object: Value) {
        self.events += 1;
        if let Some(listed) = &mut self.listed {
            listed.insert(name.clone());
        }
        let wrong = match serde_json::from_value::<ImageRecipe>(object) {
            Ok(recipe) => {
                let wrong = wrong(&recipe);
                self.present.insert(name.clone(), Recipe(recipe));
                wrong
            }
            Err(error) => vec![format!("the API server shows what is no ImageRecipe: {error}")],
        };
        self.wrong.entry(name).or_default().extend(wrong);
    }
}

/// What would mislead those who go by `kstatus`, or claims too much.
fn wrong(recipe: &ImageRecipe) -> Vec<String> {
    let Some(status) = &recipe.status else {
        return Vec::new();
    };
    let mut wrong = violations(&status.conditions, status.observed_generation);
    if status.observed_generation > recipe.metadata.generation {
        wrong.push("status is of a generation that is still to come".into());
    }
    wrong
}

/// What a panicking thread leaves here is whole: nothing panics between two changes that belong together.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
