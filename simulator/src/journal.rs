//! The journal: every call, in order, with what came of it.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::Serialize;

use crate::faults::FaultKind;

/// How many calls are remembered.
const MOST_ENTRIES: usize = 10_000;
/// Longer parameters, such as user data, are cut to this.
const LONGEST_PARAMETER: usize = 256;

/// One call.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Counts from 1, without gaps.
    pub sequence: u64,
    /// When it was made.
    pub time: Timestamp,
    /// The region it was signed for.
    pub region: String,
    /// The action.
    pub operation: String,
    /// By their flattened names, but for what all requests have.
    pub parameters: BTreeMap<String, String>,
    /// `Success`, or the error's code.
    pub outcome: String,
    /// The error's message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The fault that struck.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultKind>,
    /// Ids of what the call created.
    pub made: Vec<String>,
}

/// The latest calls.
#[derive(Debug, Default)]
pub struct Journal {
    entries: VecDeque<Entry>,
    written: u64,
}

impl Journal {
    /// Adds an entry; its sequence is given here.
    pub fn write(&mut self, mut entry: Entry) {
        self.written += 1;
        entry.sequence = self.written;
        for value in entry.parameters.values_mut() {
            if let Some((cut, _)) = value.char_indices().nth(LONGEST_PARAMETER) {
                let whole = value.chars().count();
                value.truncate(cut);
                value.push_str(&format!("... ({whole} characters)"));
            }
        }
        if self.entries.len() == MOST_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// The latest call.
    pub fn last(&self) -> Option<&Entry> {
        self.entries.back()
    }

    /// The entries after a sequence, oldest first.
    pub fn after(&self, sequence: u64) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.sequence > sequence)
    }
}
