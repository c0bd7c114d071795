//! The console protocol: how a guest's records look on its serial console, and how they are found there again.
//!
//! A record is a kind and its words, separated by spaces; a word is a number, a fixed name, or text in base64 (`-` if empty). It
//! travels in one or more lines of at most 800 bytes:
//!
//! ```text
//! @goldsmith1 <sum> <nonce> <sequence>.<part>/<parts> <this part of the record>
//! ```
//!
//! The sum is the first eight hexadecimal digits of the SHA-256 of everything after it. Lines are repeated, garbled by other
//! writers, and pushed out of EC2's window of 64 KiB, so each stands for itself.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{CheckReport, Finding, Rule, StepOutcome};

const MARKER: &str = "@goldsmith1 ";
/// Lines of one record. The longest is a manifest.
const MAXIMUM_PARTS: u32 = 64;
const NAME_BYTES: usize = 256;
const MESSAGE_BYTES: usize = 1024;
const OUTPUT_BYTES: usize = 4096;
const FINGERPRINT_BYTES: usize = 64;
const MANIFEST_BYTES: usize = 16_384;

/// One thing that a guest has said. All text comes from the guest and is untrusted: it is bounded, and what is not to be seen is gone.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Builder: begins.
    Started,
    /// Builder: a step begins.
    StepStarted {
        /// Place in the recipe, from 1.
        index: u32,
        /// As the recipe names it, at most 256 bytes.
        name: String,
    },
    /// Builder: a step has ended.
    StepFinished {
        /// Place in the recipe, from 1.
        index: u32,
        /// As the recipe names it, at most 256 bytes.
        name: String,
        /// Of its last try.
        outcome: StepOutcome,
    },
    /// Builder: everything has succeeded.
    Finished,
    /// Test instance: has booted as far as user data.
    Booted,
    /// Test instance: a check has ended.
    Check(CheckReport),
    /// Test instance: every check has passed.
    Passed {
        /// By the guest's clock, in milliseconds.
        at: Timestamp,
    },
    /// Test instance: something went wrong during boot.
    BootError {
        /// At most 1 KiB.
        message: String,
    },
    /// Test instance: what the next file is like that a step has laid.
    File {
        /// As [`Manifest::files`](super::Manifest) has it, at most 64 bytes.
        fingerprint: String,
    },
    /// Test instance: everything has been looked at, and nothing that it said is missing.
    Tested,
    /// Inspector: the volume can be attached.
    Up,
    /// Inspector: the manifest's text.
    Manifest {
        /// JSON, at most 16 KiB.
        text: String,
    },
    /// Inspector: something that should not be there.
    Finding(Finding),
    /// Inspector: the volume cannot be read.
    Unsupported {
        /// What keeps it from being read, by name, at most 256 bytes.
        what: String,
    },
    /// Inspector: everything has been looked at, and nothing that it said is missing.
    Inspected,
    /// Any: it cannot do its work.
    Failed {
        /// Why, at most 1 KiB.
        message: String,
    },
}

/// The records of the guest with this nonce, in the order in which it wrote them. Whatever is not a whole, intact record of that
/// guest is passed over; a record that is there several times counts once.
pub fn parse(console: &str, nonce: &str) -> Vec<Record> {
    let mut sequences: BTreeMap<u32, BTreeMap<u32, Part<'_>>> = BTreeMap::new();
    for line in console.split(['\n', '\r']) {
        for (at, marker) in line.match_indices(MARKER) {
            if let Some(part) = Part::read(&line[at + marker.len()..], nonce) {
                sequences
                    .entry(part.sequence)
                    .or_default()
                    .entry(part.number)
                    .or_insert(part);
            }
        }
    }
    let mut records = Vec::new();
    let mut missing = false;
    let mut expected = 1;
    for (sequence, parts) in sequences {
        let record = whole(&parts).and_then(|payload| Record::read(&payload));
        missing |= sequence != expected || record.is_none();
        expected = sequence.saturating_add(1);
        match record {
            // The last word of a guest whose other words are not all here: they may have been findings.
            Some(Record::Tested | Record::Inspected) if missing => {}
            Some(record) => records.push(record),
            None => {}
        }
    }
    records
}

/// One line.
struct Part<'a> {
    sequence: u32,
    number: u32,
    count: u32,
    text: &'a str,
}

impl<'a> Part<'a> {
    fn read(line: &'a str, nonce: &str) -> Option<Self> {
        let (sum, body) = line.split_once(' ')?;
        let rest = body.strip_prefix(nonce)?.strip_prefix(' ')?;
        let (position, text) = rest.split_once(' ')?;
        let (sequence, position) = position.split_once('.')?;
        let (number, count) = position.split_once('/')?;
        let part = Self {
            sequence: sequence.parse().ok()?,
            number: number.parse().ok()?,
            count: count.parse().ok()?,
            text,
        };
        let intact = hex::encode(&Sha256::digest(body.as_bytes())[..4]) == sum;
        (intact && part.count <= MAXIMUM_PARTS && (1..=part.count).contains(&part.number)).then_some(part)
    }
}

fn whole(parts: &BTreeMap<u32, Part<'_>>) -> Option<String> {
    let count = parts.values().next()?.count;
    (1..=count)
        .map(|number| {
            parts
                .get(&number)
                .filter(|part| part.count == count)
                .map(|part| part.text)
        })
        .collect()
}

impl Record {
    fn read(payload: &str) -> Option<Self> {
        let words: Vec<&str> = payload.split(' ').collect();
        Some(match *words.as_slice() {
            ["started"] => Self::Started,
            ["step-started", index, name] => Self::StepStarted {
                index: index.parse().ok()?,
                name: text(name, NAME_BYTES)?,
            },
            ["step-finished", index, name, result, tries, exit, output] => Self::StepFinished {
                index: index.parse().ok()?,
                name: text(name, NAME_BYTES)?,
                outcome: StepOutcome {
                    succeeded: result == "succeeded",
                    timed_out: result == "timed-out",
                    tries: tries.parse().ok()?,
                    exit: exit.parse().ok()?,
                    output: text(output, OUTPUT_BYTES)?,
                },
            },
            ["finished"] => Self::Finished,
            ["booted"] => Self::Booted,
            ["check", index, name, result, exit, output] => Self::Check(CheckReport {
                index: index.parse().ok()?,
                name: text(name, NAME_BYTES)?,
                passed: result == "passed",
                exit: exit.parse().ok()?,
                output: text(output, OUTPUT_BYTES)?,
            }),
            ["passed", milliseconds] => Self::Passed {
                at: Timestamp::from_millisecond(milliseconds.parse().ok()?).ok()?,
            },
            ["boot-error", message] => Self::BootError {
                message: text(message, MESSAGE_BYTES)?,
            },
            ["file", _, fingerprint] => Self::File {
                fingerprint: text(fingerprint, FINGERPRINT_BYTES)?,
            },
            ["tested"] => Self::Tested,
            ["up"] => Self::Up,
            ["manifest", manifest] => Self::Manifest {
                text: text(manifest, MANIFEST_BYTES)?,
            },
            ["finding", rule, path] => Self::Finding(Finding {
                rule: Rule::read(rule)?,
                path: text(path, MESSAGE_BYTES)?,
            }),
            ["unsupported", what] => Self::Unsupported {
                what: text(what, NAME_BYTES)?,
            },
            ["inspected"] => Self::Inspected,
            ["failed", message] => Self::Failed {
                message: text(message, MESSAGE_BYTES)?,
            },
            _ => return None,
        })
    }
}

/// Text of a guest: the last `limit` bytes, without terminal sequences and control characters.
fn text(word: &str, limit: usize) -> Option<String> {
    if word == "-" {
        return Some(String::new());
    }
    let bytes = BASE64_STANDARD.decode(word).ok()?;
    let clean = harmless(&String::from_utf8_lossy(&bytes));
    Some(clean[clean.ceil_char_boundary(clean.len().saturating_sub(limit))..].to_owned())
}

/// Text of a guest without what would do something to a terminal, or show it as another text than it is.
pub(super) fn harmless(text: &str) -> String {
    let decoded = text.replace("\r\n", "\n");
    let mut clean = String::with_capacity(decoded.len());
    let mut characters = decoded.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' if characters.next_if_eq(&'[').is_some() => {
                // A terminal's control sequence ends with the first of these.
                characters.by_ref().find(|character| ('@'..='~').contains(character));
            }
            '\r' => clean.push('\n'),
            '\n' | '\t' => clean.push(character),
            character if character.is_control() => {}
            // Marks of direction and order, the mark of byte order, and what has no width or ends lines without being seen.
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => {}
            '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}' => {}
            character => clean.push(character),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "00112233445566778899aabbccddeeff";

    fn line(nonce: &str, position: &str, text: &str) -> String {
        let body = format!("{nonce} {position} {text}");
        format!(
            "\r\n@goldsmith1 {} {body}\r\n",
            hex::encode(&Sha256::digest(body.as_bytes())[..4])
        )
    }

    fn encoded(text: &[u8]) -> String {
        BASE64_STANDARD.encode(text)
    }

    fn step(index: u32) -> Record {
        Record::StepStarted {
            index,
            name: format!("s{index}"),
        }
    }

    fn step_line(sequence: u32) -> String {
        line(
            NONCE,
            &format!("{sequence}.1/1"),
            &format!("step-started {sequence} {}", encoded(format!("s{sequence}").as_bytes())),
        )
    }

    #[test]
    fn records_are_found_whatever_surrounds_them() {
        let one = step_line(1);
        let two = step_line(2);
        let noise = "[    1.0] kernel noise @goldsmith1 and more\n".repeat(2000);
        for (what, console) in [
            ("in order", format!("{one}{two}")),
            ("out of order", format!("{two}{one}")),
            ("repeated", format!("{one}{one}{two}{one}{two}")),
            ("amid noise", format!("{noise}{one}{noise}{two}{noise}")),
            (
                "after a line that never ended",
                format!("login: {}{}", one.trim_start(), two),
            ),
            (
                "torn, then whole",
                format!("{}{one}{}{two}", &one[..30], &two[..two.len() - 9]),
            ),
            (
                "NULs and undecodable bytes around",
                format!("\0\0{one}\u{fffd}\u{fffd}\0{two}\0"),
            ),
            (
                "another marker in the same line",
                format!(
                    "\n@goldsmith1 @goldsmith1 {}{two}",
                    &one.trim_start()["@goldsmith1 ".len()..]
                ),
            ),
            ("bare line feeds", format!("{one}{two}").replace('\r', "")),
        ] {
            assert_eq!(parse(&console, NONCE), [step(1), step(2)], "{what}");
        }
    }

    #[test]
    fn what_is_not_an_intact_record_of_this_guest_is_passed_over() {
        let good = step_line(1);
        let other = line("ffeeddccbbaa99887766554433221100", "1.1/1", "started");
        for (what, console) in [
            ("nothing", String::new()),
            ("another nonce", other),
            ("a changed letter", good.replace("step-started", "step-startet")),
            ("a changed sequence", good.replace(" 1.1/1 ", " 2.1/1 ")),
            (
                "something in the middle",
                good.replace("step-", "step[   1.0] eth0: up-"),
            ),
            ("no end", good[..good.len() - 4].to_owned()),
            ("an unknown kind", line(NONCE, "1.1/1", "reformat now")),
            ("too few words", line(NONCE, "1.1/1", "step-started 1")),
            ("a number that is none", line(NONCE, "1.1/1", "step-started -1 YQ==")),
            ("text that is no base64", line(NONCE, "1.1/1", "unsupported LVM!")),
            ("an unknown item", line(NONCE, "1.1/1", "finding Everything YQ==")),
            ("part 0", line(NONCE, "1.0/1", "started")),
            ("a part too many", line(NONCE, "1.2/1", "started")),
            ("endless parts", line(NONCE, "1.1/4000000000", "started")),
            (
                "a time that is none",
                line(NONCE, "1.1/1", "passed 99999999999999999999"),
            ),
        ] {
            assert_eq!(parse(&console, NONCE), [], "{what}");
        }
    }

    #[test]
    fn long_records_come_in_parts_and_count_when_all_are_there() {
        let manifest = "m".repeat(3000);
        let payload = format!("manifest {}", encoded(manifest.as_bytes()));
        let chunks: Vec<_> = payload
            .as_bytes()
            .chunks(700)
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect();
        let mut lines: Vec<_> = (1..)
            .zip(&chunks)
            .map(|(number, part)| line(NONCE, &format!("1.{number}/{}", chunks.len()), part))
            .collect();
        assert!(lines.len() > 3);
        lines.reverse();
        assert_eq!(parse(&lines.concat(), NONCE), [Record::Manifest { text: manifest }]);
        lines.pop();
        assert_eq!(parse(&lines.concat(), NONCE), []);
    }

    #[test]
    fn a_last_word_counts_only_if_nothing_before_it_is_missing() {
        let [up, finding, done] = [
            line(NONCE, "1.1/1", "up"),
            line(
                NONCE,
                "2.1/1",
                &format!("finding PrivateKeys {}", encoded(b"/root/.ssh/id_rsa")),
            ),
            line(NONCE, "3.1/1", "inspected"),
        ];
        assert!(parse(&format!("{up}{finding}{done}"), NONCE).contains(&Record::Inspected));
        let unreadable = line(NONCE, "2.1/1", "finding Nonsense YQ==");
        for missing in [
            format!("{up}{done}"),
            format!("{finding}{done}"),
            format!("{up}{unreadable}{done}"),
        ] {
            assert!(!parse(&missing, NONCE).contains(&Record::Inspected), "{missing}");
        }
    }

    #[test]
    fn text_is_bounded_and_harmless() {
        for (text, clean) in [
            (
                &b"\x1b[1;31mred\x1b[0m\r\nplain\ttab\r50%\r100%\x00\x07\n"[..],
                "red\nplain\ttab\n50%\n100%\n",
            ),
            (b"\xff\xfebytes\xc3", "\u{fffd}\u{fffd}bytes\u{fffd}"),
            (
                "gpj\u{202e}exe.\u{2066}a\u{2069}\u{200f}\u{61c}\u{feff} \u{5d0}".as_bytes(),
                "gpjexe.a \u{5d0}",
            ),
            (b"\x1b[", ""),
            (b"", ""),
        ] {
            let word = if text.is_empty() { "-".to_owned() } else { encoded(text) };
            assert_eq!(super::text(&word, 100).as_deref(), Some(clean));
        }
        let long = "\u{e4}".repeat(5000);
        let kept = super::text(&encoded(long.as_bytes()), OUTPUT_BYTES).unwrap();
        assert_eq!(kept.len(), OUTPUT_BYTES);
        assert_eq!(super::text(&encoded(b"the end"), 3).as_deref(), Some("end"));
    }
}
