//! What all kinds share: how the process runs, who leads, what it was configured with, and how it speaks of objects.

mod backoff;
pub mod clock;
pub mod config;
pub mod connect;
pub mod events;
pub mod finalizers;
pub mod leader;
mod lease;
mod pass;
mod recipes;
pub mod run;
pub mod stop;

pub use clock::Clock;
pub use config::{Config, ConfigError, SealKey};
pub use events::{Note, NoteType, Recorder};
pub use stop::Stop;

/// What ends the process, in words for the one who runs it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
