//! The parts between deciding and acting, each by a table.

mod records;
mod report;
mod seal;
mod sweep;
