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
    #[error(
        "user data takes {size} bytes compressed and EC2 accepts {USER_DATA_LIMIT}{}: let a step fetch what is large",
        largest(.step)
    )]
    TooLarge {
        size: usize,
        /// Name of the step with the most text, and its bytes before compression.
        step: Option<(String, usize)>,
    },
    #[error(transparent)]
    Duration(#[from] InvalidDuration),
    #[error("{field} contains a NUL character, which a shell script cannot hold: remove it")]
    Nul { field: String },
}

fn largest(step: &Option<(String, usize)>) -> String {
    match step {
        Some((name, bytes)) => format!(" (the largest step, {name}, has {bytes} bytes before compression)"),
        None => String::new(),
    }
}

/// A script in the making.
pub(super) struct Script {
    text: String,
    nul: Option<String>,
}

impl Script {
    /// Begins the script of a guest with the functions in `parts`.
    pub(super) fn new(role: Role, nonce: &str, lifetime: Duration, parts: &[&str]) -> Self {
        let mut script = Self {
            text: String::from("#!/bin/sh\n"),
            nul: None,
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

    pub(super) fn text(&mut self, name: &str, value: &str) {
        if value.contains('\0') {
            self.nul.get_or_insert_with(|| name.to_owned());
        }
        self.text
            .push_str(&format!("GOLDSMITH_{name}='{}'\n", value.replace('\'', r"'\''")));
    }

    /// Compresses the script. `steps` are names with the bytes that each contributes, to blame the largest.
    pub(super) fn finish<'a>(
        mut self,
        steps: impl Iterator<Item = (&'a str, usize)>,
    ) -> Result<UserData, Unrenderable> {
        if let Some(field) = self.nul {
            return Err(Unrenderable::Nul { field });
        }
        self.text.push_str("main \"$@\"\n");
        // No file name, no time, and "unknown" for the operating system.
        let mut gzip = GzBuilder::new()
            .mtime(0)
            .operating_system(255)
            .write(Vec::new(), Compression::best());
        let bytes = gzip
            .write_all(self.text.as_bytes())
            .and_then(|()| gzip.finish())
            .unwrap_or_default();
        if bytes.len() > USER_DATA_LIMIT {
            let step = steps
                .max_by_key(|(_, bytes)| *bytes)
                .map(|(name, bytes)| (name.to_owned(), bytes));
            return Err(Unrenderable::TooLarge {
                size: bytes.len(),
                step,
            });
        }
        Ok(UserData(bytes))
    }
}
