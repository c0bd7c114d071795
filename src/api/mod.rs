//! The custom resources of group `goldsmith.dev`, version `v1alpha1`: what users write, and what they read back.
//!
//! Rules that the API server can check are CEL in the generated CRD, next to the field that they are about. Every list
//! of a spec is atomic: order matters in most of them, and a list merged from two appliers would be neither's.

mod build;
mod builder;
mod conditions;
mod definition;
pub mod duration;
mod image;
mod reason;
mod recipe;
mod rule;
mod source;
mod status;
mod step;
mod syntax;
mod test;

pub use build::*;
pub use builder::*;
pub use conditions::*;
pub use definition::crds;
pub use duration::InvalidDuration;
pub use image::*;
pub use reason::Reason;
pub use recipe::*;
pub use source::*;
pub use status::*;
pub use step::*;
pub use test::*;
