//! What is on a volume: its layout and its files, as far as guests write and inspect them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a disk is laid out, which decides whether an inspector can mount it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// The layout of most images.
    #[default]
    Ext4,
    /// As Amazon Linux has it.
    Xfs,
    /// Not inspectable.
    Lvm,
    /// Not inspectable.
    Luks,
}

/// A volume's or a snapshot's content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// Of the whole disk.
    pub layout: Layout,
    /// By absolute path.
    pub files: BTreeMap<String, File>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Permission bits, such as 0o644.
    pub mode: u32,
    /// Text; guests write nothing else.
    pub content: String,
    /// When it was last written.
    pub modified: Timestamp,
}
