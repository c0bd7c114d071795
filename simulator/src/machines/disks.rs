//! What is on volumes and snapshots: layers, each a file that holds what differs from the one below it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use tokio::process::Command;

/// One file. It is removed when nothing stands on it and nobody refers to it any more.
#[derive(Debug)]
pub struct Layer {
    path: PathBuf,
    below: Option<Arc<Layer>>,
    /// Of a guest, in the cache: never written to, never removed.
    lasting: bool,
}

impl Layer {
    /// The disk of a guest.
    pub fn of_guest(path: PathBuf) -> Self {
        Self {
            path,
            below: None,
            lasting: true,
        }
    }

    /// An empty one, of which [`Layer::make`] makes the file.
    pub fn new(path: PathBuf, below: Option<Arc<Layer>>) -> Self {
        Self {
            path,
            below,
            lasting: false,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// Makes its file, unless that is there already. It looks like the layer below, and is as large as its volume.
    pub async fn make(&self, gibibytes: u32) -> Result<(), String> {
        if self.path.exists() {
            return Ok(());
        }
        // Under another name until it is whole.
        let partial = self.path.with_extension("partial");
        let mut command = Command::new("qemu-img");
        command.args(["create", "-q", "-f", "qcow2"]);
        if let Some(below) = &self.below {
            // Unseen, for a machine may be about to give it up.
            command.args(["-u", "-F", "qcow2", "-b"]).arg(below.path());
        }
        command
            .arg(&partial)
            .arg(format!("{gibibytes}G"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command.output().await.map_err(|error| format!("qemu-img: {error}"))?;
        if !output.status.success() {
            // So that nothing is taken up by what is of no use.
            let _ = std::fs::remove_file(&partial);
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        std::fs::rename(&partial, &self.path).map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        if !self.lasting {
            // It may never have been made.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
