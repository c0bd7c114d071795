//! User data as EC2 takes it: a shell script for cloud-init, compressed.
//!
//! The script is functions first, then the guest's data, then the call of `main`. A datum is an assignment that begins a line:
//! `GOLDSMITH_<NAME>=<digits>` or `GOLDSMITH_<NAME>='<text>'`, where the text may span lines and `'\''` stands for a quote. No
//! other line of the script begins with `GOLDSMITH_`. Single quotes, because base64 would cost a recipe a third of the 16 KiB.

use std::io::Write;
use std::time::Duration;

use flate2::{Compression, GzBuilder};

use super::Role;
use crate::api::InvalidDuration;

/// Bytes of user data that EC2 accepts, before base64.
pub const USER_DATA_LIMIT: usize = 16_384;

/// Compressed user data, at most [`USER_DATA_LIMIT`] bytes; equal input gives equal bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserData(Vec<u8>);

impl UserData {
    /// The bytes as EC2 gets them, before base64.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Why a guest cannot be given its work.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrenderable {
    /// The compressed script is larger than [`USER_DATA_LIMIT`].
    #[error(
        "user data takes {size} bytes compressed and EC2 accepts {USER_DATA_LIMIT}{}: let a step fetch what is large",
        largest(.part)
    )]
    TooLarge {
        /// Compressed, in bytes.
        size: usize,
        /// The part of the recipe with the most text, and its bytes before compression.
        part: Option<(String, usize)>,
    },
    /// The timeout of a step or a check is no duration.
    #[error(transparent)]
    Duration(#[from] InvalidDuration),
    /// Text of the recipe's author holds a NUL character.
    #[error("{field} contains a NUL character, which a shell script cannot hold: remove it")]
    Nul {
        /// Path of the field, for example `spec.build.steps[0].run`.
        field: String,
    },
}

fn largest(part: &Option<(String, usize)>) -> String {
    match part {
        Some((name, bytes)) => format!(" (the largest part, {name}, has {bytes} bytes before compression)"),
        None => String::new(),
    }
}

/// A script in the making.
pub(super) struct Script {
    text: String,
}

impl Script {
    /// Begins the script of a guest with the functions in `parts`.
    pub(super) fn new(role: Role, nonce: &str, lifetime: Duration, parts: &[&str]) -> Self {
        let mut script = Self {
            text: String::from("#!/bin/sh\n"),
        };
        script.number("LIFETIME", lifetime.as_secs().max(1));
        for part in [
            include_str!("script/timer.sh"),
            include_str!("script/console.sh"),
            include_str!("script/detach.sh"),
        ]
        .iter()
        .chain(parts)
        {
            script.functions(part);
        }
        script.text("ROLE", role.as_str());
        script.text("NONCE", nonce);
        script
    }

    /// Comments stay at home: every byte counts.
    fn functions(&mut self, part: &str) {
        for line in part
            .lines()
            .filter(|line| !line.is_empty() && !line.trim_start().starts_with('#'))
        {
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.text.push_str(&format!("GOLDSMITH_{name}={value}\n"));
    }

    /// Text of which it is known that it holds no NUL.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.text
            .push_str(&format!("GOLDSMITH_{name}='{}'\n", value.replace('\'', r"'\''")));
    }

    /// Text of the recipe's author that no rule of the API restricts, from the field at this path.
    pub(super) fn authored(
        &mut self,
        name: &str,
        value: &str,
        field: impl FnOnce() -> String,
    ) -> Result<(), Unrenderable> {
        if value.contains('\0') {
            return Err(Unrenderable::Nul { field: field() });
        }
        self.text(name, value);
        Ok(())
    }

    /// Compresses the script. `parts` are what the recipe's author put in, with the bytes of each, to blame the largest.
    pub(super) fn finish(mut self, parts: impl Iterator<Item = (String, usize)>) -> Result<UserData, Unrenderable> {
        self.text.push_str("main \"$@\"\n");
        // No file name, no time, and "unknown" for the operating system.
        let mut gzip = GzBuilder::new()
            .mtime(0)
            .operating_system(255)
            .write(Vec::new(), Compression::best());
        let bytes = gzip
            .write_all(self.text.as_bytes())
            .and_then(|()| gzip.finish())
            .unwrap_or_else(|error| unreachable!("a vector takes every byte: {error}"));
        if bytes.len() > USER_DATA_LIMIT {
            return Err(Unrenderable::TooLarge {
                size: bytes.len(),
                part: parts.max_by_key(|(_, bytes)| *bytes),
            });
        }
        Ok(UserData(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BuilderGuest, Unrenderable};
    use super::*;
    use crate::api::{Cleanup, EnvironmentVariable, Step};

    fn render(steps: &[Step]) -> Result<UserData, Unrenderable> {
        guest(steps).render()
    }

    static CLEANUP: Cleanup = Cleanup {
        skip: Vec::new(),
        extra_paths: Vec::new(),
        forbidden_content: Vec::new(),
    };

    fn guest(steps: &[Step]) -> BuilderGuest<'_> {
        BuilderGuest {
            nonce: "00112233445566778899aabbccddeeff",
            recipe: "platform/web",
            build: 7,
            attempt: 1,
            content_hash: "c0ffee",
            timeout: Duration::from_secs(3600),
            environment: &[],
            steps,
            cleanup: &CLEANUP,
        }
    }

    fn step(name: &str, run: impl Into<String>) -> Step {
        Step {
            name: name.into(),
            run: Some(run.into()),
            file: None,
            reboot: None,
            timeout: None,
            retries: 0,
        }
    }

    /// Text that does not compress well.
    fn random(bytes: usize) -> String {
        let mut state = 1_u32;
        let next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'!' + (state >> 24) as u8 % 90)
        };
        std::iter::repeat_with(next).take(bytes).collect()
    }

    #[test]
    fn equal_input_gives_equal_bytes() {
        let steps = [step("one", "echo 1"), step("two", "echo 2")];
        assert_eq!(render(&steps), render(&steps));
        assert_ne!(render(&steps), render(&steps[..1]));
    }

    #[test]
    fn a_recipe_has_most_of_the_16_kib_for_itself() {
        let bare = render(&[]).unwrap().as_bytes().len();
        assert!(bare < 6_000, "the scripts alone take {bare} bytes");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_size_and_the_largest_step() {
        let error = render(&[
            step("small", "true"),
            step("large", random(20_000)),
            step("other", random(100)),
        ])
        .unwrap_err();
        let Unrenderable::TooLarge { size, part } = &error else {
            panic!("{error}")
        };
        assert!(*size > USER_DATA_LIMIT);
        assert_eq!(
            part.as_ref().unwrap(),
            &("step large in spec.build.steps".to_owned(), 20_000)
        );
        assert!(error.to_string().contains("16384"), "{error}");
    }

    /// Whoever has short steps and a long environment would look for the fault in the wrong place.
    #[test]
    fn an_environment_that_does_not_fit_is_blamed_and_no_step() {
        let text = random(40_000);
        let environment: Vec<EnvironmentVariable> = (0..10)
            .map(|number| EnvironmentVariable {
                name: format!("A{number}"),
                value: text[number * 4_000..][..4_000].to_owned(),
            })
            .collect();
        let steps = [step("one", "true")];
        let error = BuilderGuest {
            environment: &environment,
            ..guest(&steps)
        }
        .render()
        .unwrap_err();
        let words = error.to_string();
        assert!(
            words.contains("spec.build.environment") && !words.contains("step one"),
            "{words}"
        );
    }

    #[test]
    fn what_a_shell_script_cannot_hold_is_refused() {
        assert_eq!(
            render(&[step("nul", "a\0b")]),
            Err(Unrenderable::Nul {
                field: "spec.build.steps[0].run".into()
            })
        );
        let endless = Step {
            timeout: Some("tomorrow".into()),
            ..step("slow", "true")
        };
        assert!(matches!(render(&[endless]), Err(Unrenderable::Duration(_))));
    }

    /// cloud-init takes user data with this header in its first 4 KiB for a mail with attachments.
    #[test]
    fn a_recipe_cannot_turn_its_script_into_something_else() {
        let data = render(&[step("mail", "MIME-Version: 1.0")]).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(data.as_bytes()), &mut text).unwrap();
        assert!(text.starts_with("#!/bin/sh\n") && text.find("MIME-Version").unwrap() > 4096);
    }
}
