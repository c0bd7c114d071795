//! A deterministic EC2: `(state, request, time, seed) -> (state, response)`, behind the real wire protocol.
//!
//! [`engine::Simulator`] is the engine; [`in_process::InProcess`] and [`tcp::router`] are its doors. An operation is
//! one function in the module of the resource it concerns, named in [`operations`].

pub mod availability_zones;
pub mod block_devices;
pub mod caller_identity;
pub mod connection;
pub mod control;
pub mod describe;
pub mod disk;
pub mod durations;
pub mod engine;
pub mod faults;
pub mod guest;
mod happen;
pub mod ids;
pub mod images;
pub mod in_process;
pub mod instance_types;
pub mod instances;
pub mod journal;
pub mod key_pairs;
pub mod keys;
pub mod network_interfaces;
pub mod operations;
pub mod protocol;
pub mod random;
pub mod region;
pub mod regions;
pub mod schedule;
pub mod security_groups;
pub mod seed;
pub mod snapshots;
pub mod subnets;
pub mod tags;
pub mod tcp;
pub mod throttle;
pub mod time;
pub mod volumes;
pub mod vpcs;
