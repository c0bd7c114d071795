//! What is observed of AWS, as plain values: the only vocabulary in which decisions speak of the world.

mod ec2;
mod error;
mod grants;
mod ownership;
mod view;

pub use ec2::*;
pub use error::*;
pub use grants::*;
pub use ownership::*;
pub use view::*;
