//! Records on the console, byte for byte as the shell functions in user data write them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

/// What a guest has recorded so far.
pub(super) struct Records {
    nonce: String,
    sequence: u32,
    lines: String,
}

impl Records {
    pub(super) fn new(nonce: &str) -> Self {
        Self {
            nonce: nonce.to_owned(),
            sequence: 0,
            lines: String::new(),
        }
    }

    /// Adds a record, and gives what is written to the console: its lines, after as many earlier ones as fit.
    pub(super) fn add(&mut self, payload: &str) -> String {
        self.sequence += 1;
        let parts: Vec<&[u8]> = payload.as_bytes().chunks(700).collect();
        let before = self.lines.len();
        for (number, part) in (1..).zip(&parts) {
            // Payloads are ASCII: numbers, names and base64.
            let part = String::from_utf8_lossy(part);
            let body = format!("{} {}.{number}/{} {part}", self.nonce, self.sequence, parts.len());
            let sum: String = Sha256::digest(body.as_bytes())
                .iter()
                .take(4)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            self.lines.push_str(&format!("\n@goldsmith1 {sum} {body}\n"));
        }
        self.show((self.lines.len() - before).max(12_288))
    }

    /// The last bytes of all records, as a terminal line discipline sends them.
    pub(super) fn show(&self, bytes: usize) -> String {
        self.lines[self.lines.len().saturating_sub(bytes)..].replace('\n', "\r\n")
    }
}

/// Text as one word of a record.
pub(super) fn word(text: &str) -> String {
    if text.is_empty() {
        "-".into()
    } else {
        BASE64_STANDARD.encode(text)
    }
}

/// The end of a text, at most so many bytes, as one word of a record.
pub(super) fn end(text: &str, bytes: usize) -> String {
    word(&text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..])
}
