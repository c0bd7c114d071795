//! Goldsmith: machine images as declared, reconciled Kubernetes resources.

#![warn(missing_docs)]

pub mod api;
pub mod guest;
pub mod recipe;
pub mod world;

#[cfg(feature = "controller")]
pub mod aws;
#[cfg(feature = "controller")]
pub mod cli;
#[cfg(feature = "controller")]
pub mod controller;
#[cfg(feature = "controller")]
pub mod telemetry;
