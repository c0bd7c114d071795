//! Goldsmith's whole surroundings on one machine, without a container engine: etcd, a real API server, the EC2 simulator
//! and the controller, as child processes on free ports that never outlive the process that started them.
//!
//! `make demo`, `make up` and the end-to-end tests all stand on [`Lab`].

mod child;
mod cluster;
mod controller;
mod directory;
mod error;
mod lab;
mod simulator;
pub mod tools;
mod wait;

pub use controller::{ControllerOptions, Grant};
pub use directory::{Directory, cache, lock_file};
pub use error::{Error, Result};
pub use lab::{Lab, NAMESPACE, Options, RECORDS_EVERYWHERE, REGION};
pub use simulator::{DEBIAN, Guests, Simulator};
pub use wait::until;
