//! The real controller in one process with everything that it stands on, under a paused clock, and every fault at every point
//! where it can happen.
//!
//! A [`plan::Plan`] says what goes wrong. [`run::run`] carries it out: the reconcilers, kube's runtime and the AWS SDK are the
//! product's own; the API server ([`api_server`]) and EC2 (the simulator) are in memory and outlive the process when it dies.
//! [`judge`] says what is wrong with every request, and with the end.

pub mod api_server;
pub mod history;
pub mod interference;
pub mod judge;
pub mod kubernetes;
pub mod people;
pub mod plan;
pub mod process;
pub mod run;
pub mod speed;
pub mod story;
pub mod strike;
pub mod turnstile;
pub mod world;

mod aws;
