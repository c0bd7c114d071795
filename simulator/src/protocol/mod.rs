//! EC2's Query protocol: requests are flattened form parameters, responses are XML.
//!
//! Both directions are derived. A request is any `Deserialize` type whose fields are named as AWS names its
//! parameters; a response is any `Serialize` type whose fields are named as AWS names its elements.

pub mod error;
pub mod query;
pub mod signature;
pub mod xml;

pub use error::Error;
