//! Whole builds through `decide` and `report` alone, on a world of plain values that does at once what EC2 does in minutes.

mod attempts;
mod forgeries;
mod guests;
mod lapses;
mod messages;
mod refusals;
mod rotation;
pub(in crate::recipe) mod small_world;
mod sources;
mod stories;
mod without_records;
