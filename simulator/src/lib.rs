//! A deterministic EC2: `(state, request, time, seed) -> (state, response)`, behind the real wire protocol.
//!
//! [`engine::Simulator`] is the engine; [`in_process::InProcess`] and [`tcp::router`] are its doors. An operation is
//! one function in the module of the resource it concerns, named in `operations`.

mod availability_zones;
mod block_devices;
mod caller_identity;
pub mod connection;
pub mod control;
mod describe;
pub mod disk;
mod durations;
pub mod engine;
pub mod faults;
pub mod guest;
mod happen;
mod ids;
mod images;
pub mod in_process;
mod instance_types;
mod instances;
pub mod journal;
mod key_pairs;
mod keys;
pub mod machines;
mod network_interfaces;
mod operations;
mod permissions;
mod protocol;
mod random;
mod region;
mod regions;
mod schedule;
mod security_groups;
mod seed;
mod snapshots;
mod subnets;
mod tags;
pub mod tcp;
mod throttle;
mod time;
mod volumes;
mod vpcs;
