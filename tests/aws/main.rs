//! The production client and inventory, SDK and all, against the simulator's door in process.

mod client;
mod inventory;
mod simulated;
