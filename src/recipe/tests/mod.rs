//! The parts between deciding and acting, each by a table.

mod config_map;
mod report;
mod seal;
mod sweep;
