//! `#sim:` lines: what a step, a check or a whole guest does instead of simply succeeding.

use std::collections::BTreeMap;
use std::time::Duration;

/// One thing that a `#sim:` line says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Instruction {
    /// Takes this long.
    After(Duration),
    /// Ends with this status.
    Exit(i32),
    /// Fails so many times, then succeeds.
    FailTimes(u64),
    /// Never ends by itself.
    Hang,
    /// Prints a line.
    Print(String),
    Write {
        path: String,
        content: String,
    },
    /// Writes once cleanup is done.
    Leave {
        path: String,
        content: String,
    },
    Remove {
        path: String,
    },
    /// The guest powers off without a word.
    Die,
    /// The kernel panics: no further word, and no power-off either.
    Panic,
    /// Something else garbles the console.
    Garbage,
    /// Something else fills the console.
    Noise,
    /// Nothing reaches the console any more.
    NoConsole,
    /// Boots of the image report an error.
    BootError(String),
    /// First boots of the image write a file.
    BootWrite {
        path: String,
        content: String,
    },
    /// Boots of the image take longer.
    SlowBoot(Duration),
    /// Checks on instances of the image fail.
    Unhealthy,
}

/// Where on a disk the model keeps what later boots of the image do: a `#sim:` line each.
pub(super) const BOOT_FILE: &str = "/var/lib/goldsmith-simulator/boot";

impl Instruction {
    /// Whether a boot, and not only a step or check, can do it.
    fn suits_boot(&self) -> bool {
        match self {
            Self::After(_)
            | Self::Exit(_)
            | Self::FailTimes(_)
            | Self::Write { .. }
            | Self::Leave { .. }
            | Self::Remove { .. } => false,
            Self::Hang
            | Self::Print(_)
            | Self::Die
            | Self::Panic
            | Self::Garbage
            | Self::Noise
            | Self::NoConsole
            | Self::BootError(_)
            | Self::BootWrite { .. }
            | Self::SlowBoot(_)
            | Self::Unhealthy => true,
        }
    }

    /// Whether it is about boots of the image, and then its line in [`BOOT_FILE`].
    pub(super) fn of_boots(&self) -> Option<String> {
        match self {
            Self::BootError(message) => Some(format!("boot-error={message}")),
            Self::BootWrite { path, content } => {
                Some(format!("boot-write={path} {}", content.trim_end().replace('\n', "\\n")))
            }
            Self::SlowBoot(duration) => Some(format!("slow-boot={}ms", duration.as_millis())),
            Self::Unhealthy => Some("unhealthy".into()),
            _ => None,
        }
    }
}

/// Instructions from outside (`POST /_simulator/guests`).
pub(super) struct Outside {
    /// For the boot itself.
    pub(super) boot: Vec<Instruction>,
    named: BTreeMap<String, Vec<Instruction>>,
}

impl Outside {
    /// What a step or check does, given its text.
    pub(super) fn with(&self, name: &str, text: &str) -> Result<Vec<Instruction>, String> {
        let mut instructions = in_text(text)?;
        instructions.extend(self.named.get(name).into_iter().flatten().cloned());
        Ok(instructions)
    }
}

/// Reads lines from outside: `INSTRUCTION...` for the boot, `NAME: INSTRUCTION...` for the step or check of that name. What cannot
/// be read ends the guest, and says so on its console.
pub(super) fn from_outside(lines: &[String]) -> Outside {
    let mut outside = Outside {
        boot: Vec::new(),
        named: BTreeMap::new(),
    };
    for line in lines {
        let (name, text) = addressed(line);
        let read = in_line(text).unwrap_or_else(|message| vec![Instruction::Print(message), Instruction::Panic]);
        match name {
            Some(name) => outside.named.entry(name.to_owned()).or_default().extend(read),
            None => outside.boot.extend(read),
        }
    }
    outside
}

/// Whom a line from outside is for, and what it says.
fn addressed(line: &str) -> (Option<&str>, &str) {
    let line = line.trim();
    let line = line.strip_prefix("#sim:").unwrap_or(line).trim();
    match line.split_once(": ") {
        Some((name, text)) if !name.contains([' ', '=']) => (Some(name), text),
        _ => (None, line),
    }
}

/// Whether lines as `POST /_simulator/guests` takes them can be read, and mean something to whom they are for.
pub fn check_instructions(lines: &[String]) -> Result<(), String> {
    for line in lines {
        let (name, text) = addressed(line);
        let instructions = in_line(text)?;
        if instructions.is_empty() {
            return Err(format!("{line:?} holds no instruction"));
        }
        if name.is_none() && !instructions.iter().all(Instruction::suits_boot) {
            return Err(format!(
                "{line:?} means nothing to a boot; begin it with the name of a step or check and a colon"
            ));
        }
    }
    Ok(())
}

/// All `#sim:` lines of a text.
pub(super) fn in_text(text: &str) -> Result<Vec<Instruction>, String> {
    let mut instructions = Vec::new();
    for line in text.lines() {
        if let Some(line) = line.trim_start().strip_prefix("#sim:") {
            instructions.extend(in_line(line)?);
        }
    }
    Ok(instructions)
}

/// Instructions are separated by spaces; `print`, `write`, `leave`, `boot-error` and `boot-write` take the rest of the line.
pub(super) fn in_line(line: &str) -> Result<Vec<Instruction>, String> {
    let mut instructions = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let whole = || rest.split_once('=').map_or("", |(_, value)| value).trim().to_owned();
        let instruction = match name {
            "print" => Instruction::Print(whole()),
            "boot-error" => Instruction::BootError(whole()),
            "write" => Instruction::Write {
                path: path(value)?,
                content: content(value, after),
            },
            "leave" => Instruction::Leave {
                path: path(value)?,
                content: content(value, after),
            },
            "boot-write" => Instruction::BootWrite {
                path: path(value)?,
                content: content(value, after),
            },
            "remove" => Instruction::Remove { path: path(value)? },
            "after" => Instruction::After(duration(value)?),
            "slow-boot" => Instruction::SlowBoot(duration(value)?),
            "exit" => Instruction::Exit(number(value)?),
            "fail-times" => Instruction::FailTimes(number(value)?),
            "hang" => Instruction::Hang,
            "die" => Instruction::Die,
            "panic" => Instruction::Panic,
            "garbage" => Instruction::Garbage,
            "noise" => Instruction::Noise,
            "no-console" => Instruction::NoConsole,
            "unhealthy" => Instruction::Unhealthy,
            _ => return Err(format!("#sim: {word:?} is no instruction that the simulator knows")),
        };
        instructions.push(instruction);
        rest = if matches!(name, "print" | "boot-error" | "write" | "leave" | "boot-write") {
            ""
        } else {
            after.trim_start()
        };
    }
    Ok(instructions)
}

fn number<N: std::str::FromStr>(value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("#sim: {value:?} is not a number"))
}

fn duration(value: &str) -> Result<Duration, String> {
    let duration = value
        .parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| duration.try_into().ok());
    duration.ok_or_else(|| format!("#sim: {value:?} is not a duration such as 3s or 500ms"))
}

fn path(value: &str) -> Result<String, String> {
    if value.starts_with('/') {
        Ok(value.to_owned())
    } else {
        Err(format!("#sim: {value:?} is not an absolute path"))
    }
}

/// `\n` stands for a newline. Without content, a file in `.ssh` named like a key is one.
fn content(path: &str, content: &str) -> String {
    if !content.trim().is_empty() {
        return content.trim().replace("\\n", "\n") + "\n";
    }
    if path.contains("/.ssh/id_") && !path.ends_with(".pub") {
        return "-----BEGIN OPENSSH PRIVATE KEY-----\nc2ltdWxhdGVk\n-----END OPENSSH PRIVATE KEY-----\n".into();
    }
    "written by the guest model\n".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_read() {
        let text = "echo\n  #sim: after=3s exit=2\n#sim: print=no space left on device\n#simple\n#sim:hang\n";
        assert_eq!(
            in_text(text),
            Ok(vec![
                Instruction::After(Duration::from_secs(3)),
                Instruction::Exit(2),
                Instruction::Print("no space left on device".into()),
                Instruction::Hang,
            ])
        );
        assert_eq!(
            in_line("write=/etc/a one\\ntwo"),
            Ok(vec![Instruction::Write {
                path: "/etc/a".into(),
                content: "one\ntwo\n".into()
            }])
        );
    }

    #[test]
    fn a_mistake_is_named_and_not_passed_over() {
        for (line, named) in [
            ("exitt=1", "exitt=1"),
            ("exit=one", "one"),
            ("after=3", "3"),
            ("write=etc", "etc"),
            ("write", ""),
        ] {
            let message = in_line(line).unwrap_err();
            assert!(message.contains(named), "{line}: {message}");
        }
    }

    #[test]
    fn what_cannot_be_done_from_outside_is_refused() {
        for (line, named) in [
            ("packages: exitt=1", Some("exitt=1")),
            ("exit=1", Some("means nothing to a boot")),
            ("", Some("holds no instruction")),
            ("packages: exit=1", None),
            ("#sim: slow-boot=3s", None),
        ] {
            let refusal = check_instructions(&[line.into()]).err();
            assert_eq!(refusal.is_some(), named.is_some(), "{line}: {refusal:?}");
            assert!(
                refusal.unwrap_or_default().contains(named.unwrap_or_default()),
                "{line}"
            );
        }
    }

    #[test]
    fn lines_from_outside_are_for_the_boot_or_for_a_step() {
        let outside = from_outside(&[
            "#sim: no-console".into(),
            "packages: exit=1".into(),
            "print=a: b".into(),
        ]);
        assert_eq!(
            outside.boot,
            [Instruction::NoConsole, Instruction::Print("a: b".into())]
        );
        assert_eq!(
            outside.with("packages", "#sim: hang"),
            Ok(vec![Instruction::Hang, Instruction::Exit(1)])
        );
        assert_eq!(outside.with("site", ""), Ok(vec![]));
    }
}
