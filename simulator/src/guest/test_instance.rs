//! The test instance: checks, boot errors.

use std::time::Duration;

use super::console::{end, word};
use super::instruction::{Instruction, Outside};
use super::linux;
use super::timeline::Timeline;
use super::user_data::Script;

/// Of one try at a check that says nothing else, and the pause before the next.
const TRY_SECONDS: f64 = 0.2;
const PAUSE: Duration = Duration::from_millis(200);

pub(super) fn run(timeline: &mut Timeline<'_>, script: &Script, outside: &Outside) {
    timeline.speak_as(script.text("NONCE"));
    timeline.record("booted");
    let mut of_boot = linux::of_image(timeline.boot());
    of_boot.extend(outside.boot.iter().cloned());
    let mut passed = true;
    for index in 1..=script.number("CHECKS") {
        let datum = |name: &str| format!("CHECK_{index}_{name}");
        let name = script.text(&datum("NAME"));
        let instructions = outside
            .with(name, script.text(&datum("RUN")))
            .unwrap_or_else(|message| vec![Instruction::Print(message), Instruction::Exit(2)]);
        of_boot.extend(
            instructions
                .iter()
                .filter(|instruction| instruction.of_boots().is_some())
                .cloned(),
        );
        let unhealthy = of_boot.contains(&Instruction::Unhealthy);
        let (status, output) = check(timeline, &instructions, unhealthy, script.seconds(&datum("TIMEOUT")));
        timeline.obey_console(&instructions);
        passed = status == 0;
        let (result, output) = if passed {
            ("passed", "-".to_owned())
        } else {
            ("failed", end(&output, 4096))
        };
        timeline.record(&format!("check {index} {} {result} {status} {output}", word(name)));
        if !passed {
            break;
        }
    }
    if passed {
        timeline.record(&format!("passed {}", timeline.timestamp().as_millisecond()));
    }
    for instruction in of_boot {
        if let Instruction::BootError(message) = instruction {
            let message = if message.is_empty() {
                "unit failed: simulated.service"
            } else {
                &message
            };
            timeline.record(&format!("boot-error {}", word(message)));
        }
    }
    for index in 1..=script.number("FILES") {
        let file = timeline.files().get(script.text(&format!("FILE_{index}")));
        let fingerprint = linux::fingerprint(file);
        timeline.record(&format!("file {index} {}", word(&fingerprint)));
    }
    timeline.record("tested");
    timeline.repeat(6, Duration::from_secs(5));
}

/// Repeats a check until it passes or its time is over: status and output of the last try.
fn check(
    timeline: &mut Timeline<'_>,
    instructions: &[Instruction],
    unhealthy: bool,
    timeout: Duration,
) -> (i32, String) {
    let deadline = timeline.now().saturating_add(timeout);
    let mut length = timeline.scaled(TRY_SECONDS);
    let mut failures = 0;
    let mut status = i32::from(unhealthy);
    let mut output = String::new();
    for instruction in instructions {
        match instruction {
            Instruction::After(duration) => length = *duration,
            Instruction::Hang => length = Duration::MAX,
            Instruction::Exit(number) => status = *number,
            Instruction::FailTimes(times) => failures = *times,
            Instruction::Print(text) => output.push_str(&format!("{text}\n")),
            _ => {}
        }
    }
    for attempt in 0_u64.. {
        let left = deadline.saturating_sub(timeline.now());
        if length >= left {
            timeline.pass(left);
            return (if status == 0 { 124 } else { status }, output);
        }
        timeline.pass(length);
        if timeline.ended() {
            break;
        }
        if status == 0 && attempt >= failures {
            return (0, output);
        }
        timeline.pass(PAUSE);
    }
    (1, output)
}
