//! What can go wrong in the lab, worded for the person at the terminal.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// [`std::result::Result`] with the lab's error unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the lab itself, or of a command run in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path} is missing: run `{remedy}`", path = path.display())]
    Missing { path: PathBuf, remedy: &'static str },
    #[error("cannot {action}: {source}")]
    Io { action: String, source: io::Error },
    #[error("{name} ended with {status}; the end of its log, {log}:\n{tail}", log = log.display())]
    Ended {
        name: &'static str,
        status: String,
        log: PathBuf,
        tail: String,
    },
    #[error("{name} was not ready within {within:?}: {problem}; the end of its log, {log}:\n{tail}", log = log.display())]
    NotReady {
        name: &'static str,
        within: Duration,
        problem: String,
        log: PathBuf,
        tail: String,
    },
    #[error("`{command}` failed with {status}: {stderr}")]
    Command {
        command: String,
        status: String,
        stderr: String,
    },
    #[error("{0}")]
    Http(#[from] Box<ureq::Error>),
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    /// For `map_err` on an I/O result; `action` completes "cannot ...".
    pub fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action: action.into(),
            source,
        }
    }
}

impl From<ureq::Error> for Error {
    fn from(error: ureq::Error) -> Self {
        Self::Http(Box::new(error))
    }
}
