//! What the person in front of the demo sees: plain lines, stamped with the seconds since it began.

use std::io::{Write, stdout};
use std::time::Instant;

/// Prints the demo's progress.
pub struct Terminal {
    began: Instant,
}

impl Terminal {
    pub fn new() -> Self {
        Self { began: Instant::now() }
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub fn heading(&self, text: &str) {
        line(&format!("\n{text}"));
    }

    /// A command as a person would type it.
    pub fn command(&self, command: &str) {
        line(&format!("  $ {command}"));
    }

    /// What a command printed.
    pub fn output(&self, output: &str) {
        for line in output.trim_end().lines() {
            self::line(&format!("    {line}"));
        }
    }

    pub fn progress(&self, text: &str) {
        line(&format!("  {:5.1} s  {text}", self.seconds()));
    }
}

/// Whoever reads may have seen enough, as `head` has; the story goes on.
fn line(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}
