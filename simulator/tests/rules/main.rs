//! EC2's rules, asked of the engine in its own protocol, under a clock that the test moves.

mod anything;
mod aws;
mod control;
mod faults;
mod images;
mod instances;
mod protocol;
mod snapshots;
mod tags;
mod volumes;
