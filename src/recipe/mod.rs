//! `ImageRecipe`: builds, proves and keeps an image.
//!
//! A pass is four verbs. **Observe** asks Kubernetes and AWS what is. **Decide**, which is pure, makes a [`plan::Plan`] of it. **Act** carries the
//! plan's effects out, in order, writing the intent into status before anything is created. **Report** turns what happened into status.
//! Nothing waits in process: a build that takes forty minutes is many short passes over what AWS says now.

pub mod checks;
pub mod config_map;
pub mod decide;
pub mod denied;
pub mod inputs;
pub mod name;
pub mod observation;
pub mod plan;
pub mod record;
pub mod report;
pub mod seal;
pub mod sweep;

mod blame;
mod volumes;

#[cfg(test)]
mod tests;

#[cfg(feature = "controller")]
mod act;
#[cfg(feature = "controller")]
mod context;
#[cfg(feature = "controller")]
mod observe;
#[cfg(feature = "controller")]
mod reconcile;
#[cfg(feature = "controller")]
mod record_reader;

#[cfg(feature = "controller")]
pub use context::{Context, Error};
#[cfg(feature = "controller")]
pub use reconcile::{forget, plan, reconcile, sweep_leftovers};

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Longest message in a condition, an Event's cause or a record: what guests and AWS say is as long as they like.
const MESSAGE_LIMIT: usize = 2048;

fn bounded(text: &str) -> String {
    crate::api::truncated(text, MESSAGE_LIMIT).to_owned()
}

/// A time as status has it: the API server keeps whole seconds, and a finer one would differ from what is read back.
fn time(timestamp: Timestamp) -> Time {
    Time(crate::api::whole_seconds(timestamp))
}

/// From `start` to `now`; zero when that lies in the past of it.
fn since(start: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(start).try_into().unwrap_or_default()
}
