//! The builder: runs a recipe's steps, cleans up, writes the manifest, powers itself off.

use std::time::Duration;

use super::user_data::Script;
use super::{Record, Role, Unrenderable, UserData, rules};
use crate::api::{Cleanup, EnvironmentVariable, Step};

/// What a builder is told.
pub struct BuilderGuest<'a> {
    /// Marks the guest's records on its console, see [`nonce`](super::nonce()): 32 hexadecimal digits.
    pub nonce: &'a str,
    /// `namespace/name` of the recipe.
    pub recipe: &'a str,
    /// Number of the build, from 1; the manifest repeats it.
    pub build: i64,
    /// Attempt of the build, 1 for the first; the manifest repeats it.
    pub attempt: i64,
    /// Over everything that shapes the image, 64 hexadecimal digits; the manifest repeats it.
    pub content_hash: &'a str,
    /// Of the power-off timer, which the builder starts before anything else.
    pub timeout: Duration,
    /// Variables that every step sees.
    pub environment: &'a [EnvironmentVariable],
    /// Run in order.
    pub steps: &'a [Step],
    /// Which items are not removed after the last step, and what is beside them.
    pub cleanup: &'a Cleanup,
}

impl BuilderGuest<'_> {
    /// The user data; equal input gives equal bytes.
    pub fn render(&self) -> Result<UserData, Unrenderable> {
        let mut script = Script::new(
            Role::Builder,
            self.nonce,
            self.timeout,
            &[
                include_str!("script/execute.sh"),
                include_str!("script/files.sh"),
                include_str!("script/search.sh"),
                include_str!("script/builder.sh"),
            ],
        );
        script.text("RECIPE", self.recipe);
        script.text("BUILD", &self.build.to_string());
        script.text("ATTEMPT", &self.attempt.to_string());
        script.text("CONTENT_HASH", self.content_hash);
        rules::write(&mut script, self.cleanup);
        script.text("EXTRA_PATHS", &self.cleanup.extra_paths.join("\n"));
        let skipped: Vec<_> = self.cleanup.skip.iter().map(|item| item.to_string()).collect();
        script.text("SKIP", &skipped.join(" "));
        script.number("ENVIRONMENT", self.environment.len() as u64);
        for (index, variable) in (1..).zip(self.environment) {
            script.authored(
                &format!("ENVIRONMENT_{index}"),
                &format!("{}={}", variable.name, variable.value),
                || format!("spec.build.environment[{}].value", index - 1),
            )?;
        }
        script.number("STEPS", self.steps.len() as u64);
        for (index, step) in (1..).zip(self.steps) {
            write_step(&mut script, index, step)?;
        }
        let steps = self.steps.iter().map(|step| {
            let file = step.file.as_ref().map_or(0, |file| file.content.len());
            let bytes = file + step.run.as_ref().map_or(0, String::len);
            (format!("step {} in spec.build.steps", step.name), bytes)
        });
        let environment = self.environment.iter().map(|variable| variable.value.len()).sum();
        script.finish(steps.chain([
            ("spec.build.environment".to_owned(), environment),
            rules::added(self.cleanup),
        ]))
    }
}

fn write_step(script: &mut Script, index: usize, step: &Step) -> Result<(), Unrenderable> {
    script.text(&format!("STEP_{index}_NAME"), &step.name);
    // 0: without a limit.
    script.number(
        &format!("STEP_{index}_TIMEOUT"),
        step.timeout()?.map_or(0, |timeout| timeout.as_secs().max(1)),
    );
    script.number(
        &format!("STEP_{index}_RETRIES"),
        u64::try_from(step.retries).unwrap_or(0),
    );
    if let Some(run) = &step.run {
        let field = || format!("spec.build.steps[{}].run", index - 1);
        script.authored(&format!("STEP_{index}_RUN"), run, field)?;
    }
    if step.reboot.is_some() {
        script.number(&format!("STEP_{index}_REBOOT"), 1);
    }
    if let Some(file) = &step.file {
        script.text(&format!("STEP_{index}_PATH"), &file.path);
        script.text(&format!("STEP_{index}_MODE"), &file.mode);
        script.text(&format!("STEP_{index}_OWNER"), &file.owner);
        let field = || format!("spec.build.steps[{}].file.content", index - 1);
        script.authored(&format!("STEP_{index}_CONTENT"), &file.content, field)?;
    }
    Ok(())
}

/// What a builder has said so far on its console.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuilderReport {
    /// It has begun to work.
    pub started: bool,
    /// Every step that has begun, in order. The last may still be running.
    pub steps: Vec<StepReport>,
    /// Everything has succeeded; it powers off. The verdict is in the manifest on the disk, not here.
    pub finished: bool,
    /// It has given up, for this reason, and powers off. Not filled for a failed step alone: see `failed_step`.
    pub failure: Option<String>,
}

/// One step, as the console tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Place in the recipe, from 1.
    pub index: u32,
    /// As the recipe names it, at most 256 bytes.
    pub name: String,
    /// None while it runs.
    pub outcome: Option<StepOutcome>,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutcome {
    /// One of the tries ended with exit status 0.
    pub succeeded: bool,
    /// The last try was ended by the step's timeout.
    pub timed_out: bool,
    /// Tries that were made.
    pub tries: u32,
    /// Exit status of the last try.
    pub exit: i32,
    /// The end of the last try's output, at most 4 KiB.
    pub output: String,
}

impl BuilderReport {
    /// Sums up the records of a builder.
    pub fn new(records: &[Record]) -> Self {
        let mut report = Self::default();
        for record in records {
            match record {
                Record::Started => report.started = true,
                Record::StepStarted { index, name } => {
                    report.started = true;
                    report.steps.push(StepReport {
                        index: *index,
                        name: name.clone(),
                        outcome: None,
                    });
                }
                Record::StepFinished { index, name, outcome } => {
                    report.started = true;
                    let outcome = Some(outcome.clone());
                    match report.steps.last_mut().filter(|step| step.index == *index) {
                        Some(step) => step.outcome = outcome,
                        None => report.steps.push(StepReport {
                            index: *index,
                            name: name.clone(),
                            outcome,
                        }),
                    }
                }
                Record::Finished => report.finished = true,
                Record::Failed { message } => report.failure = Some(message.clone()),
                _ => {}
            }
        }
        report
    }

    /// The step that runs now.
    pub fn current_step(&self) -> Option<&StepReport> {
        self.steps.last().filter(|step| step.outcome.is_none())
    }

    /// The step that failed the build.
    pub fn failed_step(&self) -> Option<(&StepReport, &StepOutcome)> {
        let ended = self
            .steps
            .iter()
            .filter_map(|step| Some((step, step.outcome.as_ref()?)));
        ended.into_iter().find(|(_, outcome)| !outcome.succeeded)
    }
}
