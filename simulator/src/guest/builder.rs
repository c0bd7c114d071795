//! The builder: steps, cleanup, manifest, power-off.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::console::{end, word};
use super::instruction::{BOOT_FILE, Instruction, Outside};
use super::linux;
use super::rules;
use super::timeline::Timeline;
use super::user_data::Script;

/// Of a step that says nothing else.
const STEP_SECONDS: f64 = 1.0;
/// Between tries of a step, between repetitions of the last words.
const PAUSE_SECONDS: f64 = 2.0;

pub(super) fn run(timeline: &mut Timeline<'_>, script: &Script, outside: &Outside) {
    timeline.speak_as(script.text("NONCE"));
    timeline.record("started");
    if let Some(wrong) = rules::unknown(script) {
        timeline.record(&format!("failed {}", word(&wrong)));
        give_up(timeline);
        return;
    }
    let mut results = Vec::new();
    let mut left = Vec::new();
    for index in 1..=script.number("STEPS") {
        let step = Step::read(script, index, outside);
        let (result, tries) = step.run(timeline);
        if result != "succeeded" {
            give_up(timeline);
            return;
        }
        results.push(json!({"name": step.name, "result": result, "tries": tries}));
        left.extend(
            step.instructions
                .into_iter()
                .filter(|instruction| matches!(instruction, Instruction::Leave { .. })),
        );
    }
    let findings = search(timeline, script);
    timeline.pass_scaled(STEP_SECONDS);
    clean(timeline, script);
    for instruction in left {
        if let Instruction::Leave { path, content } = instruction {
            timeline.write(&path, mode(&path), &content);
        }
    }
    let laid: Vec<String> = (1..=script.number("STEPS"))
        .map(|index| script.text(&format!("STEP_{index}_PATH")))
        .filter(|path| !path.is_empty())
        .map(|path| linux::fingerprint(timeline.files().get(path)))
        .collect();
    let manifest = json!({
        "recipe": script.text("RECIPE"),
        "build": script.number("BUILD"),
        "attempt": script.number("ATTEMPT"),
        "contentHash": script.text("CONTENT_HASH"),
        "steps": results,
        "files": laid,
        "skipped": skipped(script).collect::<Vec<_>>(),
        "findings": findings,
    });
    timeline.write("/etc/goldsmith/image.json", 0o644, &format!("{manifest}\n"));
    timeline.record("finished");
    timeline.repeat(1, Duration::ZERO);
    timeline.power_off();
}

fn give_up(timeline: &mut Timeline<'_>) {
    let pause = timeline.scaled(PAUSE_SECONDS);
    timeline.repeat(3, pause);
    timeline.power_off();
}

fn skipped(script: &Script) -> impl Iterator<Item = &str> {
    script.text("SKIP").split_whitespace()
}

/// The search for secrets; what cleanup is about to remove does not count.
fn search(timeline: &Timeline<'_>, script: &Script) -> Vec<Value> {
    let removed: Vec<_> = removed(timeline, script).collect();
    let mut found = rules::secrets(script, &timeline.disk, Timestamp::MIN);
    found.retain(|(_, path)| !removed.contains(path));
    rules::first(found)
        .map(|(item, path)| json!({"item": item, "path": path}))
        .collect()
}

fn removed(timeline: &Timeline<'_>, script: &Script) -> impl Iterator<Item = String> {
    let traces = rules::named(script, "TRACES", &timeline.disk);
    traces
        .into_iter()
        .filter(|(item, _)| !skipped(script).any(|skipped| skipped == *item))
        .map(|(_, path)| path)
}

fn clean(timeline: &mut Timeline<'_>, script: &Script) {
    for path in removed(timeline, script).collect::<Vec<_>>() {
        match path.as_str() {
            "/etc/machine-id" => timeline.write(&path, 0o444, ""),
            _ => timeline.remove(&path),
        }
    }
}

fn mode(path: &str) -> u32 {
    if path.contains("/.ssh/") { 0o600 } else { 0o644 }
}

struct Step {
    index: u64,
    name: String,
    timeout: Option<Duration>,
    retries: u64,
    /// Path, mode and content of a file step.
    file: Option<(String, u32, String)>,
    reboots: bool,
    instructions: Vec<Instruction>,
}

impl Step {
    fn read(script: &Script, index: u64, outside: &Outside) -> Self {
        let datum = |name: &str| format!("STEP_{index}_{name}");
        let name = script.text(&datum("NAME")).to_owned();
        let file = script.has(&datum("PATH")).then(|| {
            let mode = u32::from_str_radix(script.text(&datum("MODE")), 8).unwrap_or(0o644);
            (
                script.text(&datum("PATH")).to_owned(),
                mode,
                script.text(&datum("CONTENT")).to_owned(),
            )
        });
        let text = file
            .as_ref()
            .map_or_else(|| script.text(&datum("RUN")), |(_, _, content)| content);
        let instructions = outside
            .with(&name, text)
            .unwrap_or_else(|message| vec![Instruction::Print(message), Instruction::Exit(2)]);
        Self {
            index,
            name,
            timeout: Some(script.seconds(&datum("TIMEOUT"))).filter(|timeout| !timeout.is_zero()),
            retries: script.number(&datum("RETRIES")),
            file,
            reboots: script.has(&datum("REBOOT")),
            instructions,
        }
    }

    /// Result, and tries that it took.
    fn run(&self, timeline: &mut Timeline<'_>) -> (&'static str, u64) {
        timeline.record(&format!("step-started {} {}", self.index, word(&self.name)));
        if self.reboots {
            linux::reboot(timeline);
        }
        let mut tries = 0;
        let (status, timed_out, output) = loop {
            tries += 1;
            let (status, timed_out, output) = self.attempt(timeline, tries);
            if status == 0 || tries > self.retries || timeline.ended() {
                break (status, timed_out, output);
            }
            timeline.pass_scaled(PAUSE_SECONDS);
        };
        let result = match status {
            0 => "succeeded",
            _ if timed_out => "timed-out",
            _ => "failed",
        };
        let output = end(&output, 4096);
        timeline.record(&format!(
            "step-finished {} {} {result} {tries} {status} {output}",
            self.index,
            word(&self.name)
        ));
        (result, tries)
    }

    /// Status, whether the timeout ended it, and output of one try.
    fn attempt(&self, timeline: &mut Timeline<'_>, tries: u64) -> (i32, bool, String) {
        let mut status = 0;
        let mut output = String::new();
        let mut length = None;
        for instruction in &self.instructions {
            match instruction {
                Instruction::After(duration) => length = Some(*duration),
                Instruction::Hang => length = Some(Duration::MAX),
                Instruction::Exit(number) => status = *number,
                Instruction::FailTimes(times) if tries <= *times => status = 1,
                Instruction::Print(text) => output.push_str(&format!("{text}\n")),
                _ => {}
            }
        }
        let length = length.unwrap_or_else(|| timeline.scaled(STEP_SECONDS));
        if let Some(timeout) = self.timeout.filter(|timeout| *timeout <= length) {
            timeline.pass(timeout);
            return (124, true, output);
        }
        timeline.pass(length);
        self.leave_marks(timeline);
        timeline.obey_console(&self.instructions);
        (status, false, output)
    }

    fn leave_marks(&self, timeline: &mut Timeline<'_>) {
        if let Some((path, mode, content)) = &self.file {
            timeline.write(path, *mode, content);
        }
        let mut boots = timeline
            .files()
            .get(BOOT_FILE)
            .map(|file| file.content.clone())
            .unwrap_or_default();
        for instruction in &self.instructions {
            match instruction {
                Instruction::Write { path, content } => timeline.write(path, mode(path), content),
                Instruction::Remove { path } => timeline.remove(path),
                _ => {}
            }
            if let Some(line) = instruction.of_boots() {
                boots.push_str(&format!("{line}\n"));
                timeline.write(BOOT_FILE, 0o644, &boots);
            }
        }
    }
}
