//! The five points of the story. Every command is shown as a person would type it, and every claim is looked up.

use std::thread;
use std::time::Duration;

use goldsmith_lab::{Error, Guests, Lab, NAMESPACE, Result, until};
use serde_json::Value;

use super::inventory::{Inventory, Launches};
use super::recipe::Recipe;
use super::terminal::Terminal;

/// For any single wait; each takes a few seconds when all is well.
const WITHIN: Duration = Duration::from_secs(45);
/// The same where a machine has to boot, under emulation perhaps and beside other work.
const WITHIN_OF_MACHINES: Duration = Duration::from_mins(15);

pub struct Story<'a> {
    pub lab: &'a Lab,
    pub terminal: &'a Terminal,
    pub guests: Guests,
}

impl Story<'_> {
    pub fn tell(&self) -> Result<()> {
        self.start_controller()?;
        let first = self.a_manifest_becomes_a_proven_image()?;
        let second = self.only_what_shapes_the_image_is_built(&first)?;
        self.what_is_wrong_is_named_and_never_kept()?;
        self.killed_twice_and_nothing_lost(&second)?;
        self.nothing_is_left_and_nothing_is_there_twice()
    }

    fn a_manifest_becomes_a_proven_image(&self) -> Result<Recipe> {
        self.terminal.heading("1. A manifest becomes a proven image");
        self.kubectl(&["apply", "--kustomize", "examples/demo"])?;
        let web = self.follow("web", "is ready", Recipe::at_rest)?;
        self.image_is_proven(&web)?;
        Ok(web)
    }

    /// What EC2 says of the latest image.
    pub fn image_is_proven(&self, web: &Recipe) -> Result<()> {
        let image = self.image(web.latest_image())?;
        let shown = "Images[].[ImageId,Name,State,DeregistrationProtection,Tags[?Key=='goldsmith.dev/proven'].Key|[0]]";
        self.show_image(web.latest_image(), shown)?;
        self.claim(
            "latest is an image that EC2 knows as available",
            image["State"] == "available",
        )?;
        self.claim("it is proven, by its tag", has_tag(&image, "goldsmith.dev/proven"))?;
        let protection = image["DeregistrationProtection"].as_str().unwrap_or_default();
        self.claim("it is protected from deregistration", protection.starts_with("enabled"))?;
        self.kubectl(&["get", "imagerecipes"])
    }

    fn only_what_shapes_the_image_is_built(&self, before: &Recipe) -> Result<Recipe> {
        self.terminal
            .heading("2. What does not shape the image builds nothing; a changed step does");
        let launches = self.calls("RunInstances")?;
        self.patch(
            "web",
            r#"[{"op": "replace", "path": "/spec/image/tags/team", "value": "web"}, {"op": "add", "path": "/spec/historyLimit", "value": 5}]"#,
        )?;
        let image = before.latest_image().to_owned();
        until(WITHIN, || match self.image(&image) {
            Ok(found) if tag(&found, "team") == Some("web") => Ok(()),
            Ok(_) => Err(Error::Unexpected(format!("the tag team=web did not arrive on {image}"))),
            Err(error) => Err(error),
        })?;
        let web = self.follow("web", "is ready", Recipe::at_rest)?;
        self.show_image(&image, "Images[].[ImageId,Tags[?Key=='team'].Value|[0]]")?;
        self.claim(
            "the tag is on the image",
            tag(&self.image(&image)?, "team") == Some("web"),
        )?;
        self.claim(
            &format!("the content hash is the same, {}", web.content_hash()),
            web.content_hash() == before.content_hash(),
        )?;
        self.terminal.command("curl \"$AWS_ENDPOINT_URL/_simulator/journal\"");
        let now = self.calls("RunInstances")?;
        self.claim(
            &format!("no instance was launched: RunInstances was called {launches} times before, {now} times now"),
            now == launches,
        )?;

        let step = r#"[{"op": "replace", "path": "/spec/build/steps/2/run", "value": "systemctl enable nginx"}]"#;
        self.patch("web", step)?;
        let next = self.follow("web", "has another image", |web| {
            web.at_rest() && !web.latest_image().is_empty() && web.latest_image() != image
        })?;
        self.claim(
            "it is the next build",
            next.latest_build() == before.latest_build().map(|build| build + 1),
        )?;
        let changed = "jsonpath={.status.history[0].changed}";
        self.kubectl(&["get", "imagerecipe", "web", "--output", changed])?;
        self.claim("status says what changed", next.changed() == ["step enable"])?;
        Ok(next)
    }

    fn what_is_wrong_is_named_and_never_kept(&self) -> Result<()> {
        self.terminal
            .heading("3. A step that fails, and a secret that was left behind");
        let broken = self.follow("broken-step", "has given up", Recipe::stalled)?;
        self.show_message("broken-step")?;
        self.claim("the condition names the step", broken.message().contains("compile"))?;
        self.claim(
            "and shows the end of its output",
            broken.message().contains("fatal error: app.c"),
        )?;
        let forgotten = self.follow("forgotten-key", "has given up", Recipe::stalled)?;
        self.show_message("forgotten-key")?;
        self.claim(
            "the proof names the file",
            forgotten.message().contains("/root/.ssh/id_ed25519"),
        )?;
        self.claim("the image never became the latest", forgotten.latest_image().is_empty())
    }

    fn killed_twice_and_nothing_lost(&self, before: &Recipe) -> Result<()> {
        self.terminal
            .heading("4. The controller is killed, in a build and in a proof");
        self.kubectl(&[
            "annotate",
            "imagerecipe",
            "web",
            "--overwrite",
            "goldsmith.dev/build=again",
        ])?;
        for phase in ["Building", "Proving"] {
            self.follow("web", phase, |web| web.phase() == phase)?;
            self.kill()?;
        }
        let old = before.latest_image();
        let web = self.follow("web", "has another image", |web| {
            web.at_rest() && web.latest_image() != old
        })?;
        self.claim(
            "its build is the next one",
            web.latest_build() == before.latest_build().map(|build| build + 1),
        )
    }

    fn nothing_is_left_and_nothing_is_there_twice(&self) -> Result<()> {
        self.terminal.heading("5. What EC2 has at the end");
        let inventory = self.nothing_is_left()?;
        self.terminal.command("curl \"$AWS_ENDPOINT_URL/_simulator/journal\"");
        let launches = Launches::read(self.lab)?;
        self.claim(
            &format!(
                "{} instances were launched, none twice for one attempt",
                launches.count()
            ),
            launches.count() > 0 && launches.doubled().is_empty(),
        )?;
        self.claim("every image has one snapshot of its own", inventory.pairs())?;
        self.claim("no image is there twice", inventory.doubled().is_empty())?;
        self.claim("three builds of web made three images", inventory.images() == 3)
    }

    /// Waits until nothing temporary is there any more, and shows what is.
    pub fn nothing_is_left(&self) -> Result<Inventory> {
        let inventory = until(WITHIN, || {
            let inventory = Inventory::read(self.lab)?;
            match inventory.leaked() {
                leaked if leaked.is_empty() => Ok(inventory),
                leaked => Err(Error::Unexpected(format!("left behind: {}", leaked.join(", ")))),
            }
        })?;
        let shown = "inventory?format=text";
        self.terminal
            .command(&format!("curl \"$AWS_ENDPOINT_URL/_simulator/{shown}\""));
        self.terminal.output(&self.lab.simulator_text(shown)?);
        let leaked = inventory.leaked();
        self.claim(
            "no instance, no volume and no image without its proof is left",
            leaked.is_empty(),
        )?;
        Ok(inventory)
    }

    /// Starts the controller and shows with what.
    pub fn start_controller(&self) -> Result<()> {
        self.lab.start_controller()?;
        let command = self.lab.controller_command().unwrap_or_default();
        self.terminal.command(&format!("{command} &"));
        self.terminal
            .progress("the controller is ready, under the service account and RBAC of deploy/");
        Ok(())
    }

    /// SIGKILL and a new start, with the commands that do the same by hand.
    fn kill(&self) -> Result<()> {
        let id = self
            .lab
            .controller_id()
            .ok_or_else(|| Error::Unexpected("the controller does not run".into()))?;
        self.terminal.command(&format!("kill -KILL {id}"));
        self.lab.kill_controller();
        self.start_controller()
    }

    /// Runs kubectl as shown.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        self.terminal.command(&typed("kubectl", arguments));
        self.terminal.output(&self.lab.kubectl(arguments)?);
        Ok(())
    }

    /// Shows what the condition Ready of a recipe says.
    fn show_message(&self, name: &str) -> Result<()> {
        let message = r#"jsonpath={.status.conditions[?(@.type=="Ready")].message}"#;
        self.kubectl(&["get", "imagerecipe", name, "--output", message])
    }

    /// Shows some fields of an image.
    fn show_image(&self, id: &str, query: &str) -> Result<()> {
        self.aws(&["describe-images", "--image-ids", id], query).map(drop)
    }

    /// Asks EC2 as shown.
    pub fn aws(&self, arguments: &[&str], query: &str) -> Result<String> {
        let arguments = [&["ec2"], arguments, &["--query", query, "--output", "text"]].concat();
        self.terminal.command(&typed("aws", &arguments));
        let answer = self.lab.aws(&arguments)?;
        self.terminal.output(&answer);
        Ok(answer)
    }

    fn patch(&self, name: &str, patch: &str) -> Result<()> {
        self.kubectl(&["patch", "imagerecipe", name, "--type", "json", "--patch", patch])
    }

    fn recipe(&self, name: &str) -> Result<Recipe> {
        self.lab.object(&format!("imagerecipe/{name}"), NAMESPACE).map(Recipe)
    }

    /// Watches a recipe until it is as wanted, with a line for whatever is new.
    pub fn follow(&self, name: &str, wanted: &str, mut is: impl FnMut(&Recipe) -> bool) -> Result<Recipe> {
        let (within, pause) = match self.guests {
            Guests::Scripted => (WITHIN, Duration::ZERO),
            // kubectl would take from the machines what they need of the processor.
            Guests::Real => (WITHIN_OF_MACHINES, Duration::from_secs(1)),
        };
        let mut told = String::new();
        self.terminal
            .command(&format!("kubectl get imagerecipe {name} --watch"));
        until(within, || {
            thread::sleep(pause);
            let recipe = self.recipe(name)?;
            let summary = recipe.summary();
            if told != summary {
                self.terminal.progress(&format!("{name}: {summary}"));
                told = summary;
            }
            if is(&recipe) {
                return Ok(recipe);
            }
            Err(Error::Unexpected(format!(
                "{name}: not \"{wanted}\" within {within:?}; it says: {}",
                recipe.message()
            )))
        })
    }

    /// An image as DescribeImages has it.
    fn image(&self, id: &str) -> Result<Value> {
        let text = self
            .lab
            .aws(&["ec2", "describe-images", "--image-ids", id, "--output", "json"])?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| Error::Unexpected(format!("aws ec2 describe-images: {error}")))?;
        Ok(value["Images"][0].clone())
    }

    /// How many calls of an operation the simulator has answered with success.
    fn calls(&self, operation: &str) -> Result<usize> {
        let journal = self.lab.simulator_get("journal")?;
        let entries = journal.as_array();
        let entries = entries.ok_or_else(|| Error::Unexpected("the simulator's journal is no list".into()))?;
        Ok(entries
            .iter()
            .filter(|entry| entry["operation"] == operation && entry["outcome"] == "Success")
            .count())
    }

    /// Says what was shown; the story ends where it is not so.
    pub fn claim(&self, claim: &str, holds: bool) -> Result<()> {
        if !holds {
            return Err(Error::Unexpected(format!("this is not so: {claim}")));
        }
        self.terminal.progress(&format!("ok: {claim}"));
        Ok(())
    }
}

fn tag<'a>(image: &'a Value, key: &str) -> Option<&'a str> {
    image["Tags"].as_array()?.iter().find(|tag| tag["Key"] == key)?["Value"].as_str()
}

fn has_tag(image: &Value, key: &str) -> bool {
    tag(image, key).is_some()
}

/// A command as it is typed in a shell.
pub fn typed(program: &str, arguments: &[&str]) -> String {
    let words = std::iter::once(program).chain(arguments.iter().copied());
    // Only a word with a NUL cannot be typed, and none of these has one.
    shlex::try_join(words).unwrap_or_default()
}
