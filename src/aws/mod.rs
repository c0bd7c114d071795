//! AWS: the only place that names a type of the SDK.
//!
//! [`Account`] holds how one account is reached, [`Ec2`] makes the calls in one of its regions, in the words of
//! [`crate::world`], and [`Inventory`] reads for everyone at once what is there.

mod account;
mod client;
mod console;
mod error;
mod inventory;
mod limiter;
mod metrics;
mod operation;

pub use account::Account;
pub use client::{Ec2, ImageQuery, Launch, ShutdownBehavior, SnapshotDeletion};
pub use inventory::Inventory;
pub use metrics::AwsMetrics;
pub use operation::ACTIONS;
