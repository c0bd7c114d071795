//! What the process tells those who run it: logs, metrics, health.

pub mod health;
pub mod logging;
pub mod metrics;
pub mod recipes;

pub use health::Health;
pub use metrics::Metrics;
