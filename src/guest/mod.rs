//! What runs inside an instance: user data, steps, cleanup, checks, and the protocol in which a guest reports on its serial
//! console. Rendering and parsing only; nothing here does I/O.
//!
//! Three guests: the **builder** runs a recipe's steps and cleans up, the **test instance** boots from the finished image and
//! runs its checks, the **inspector** boots from a trusted image and reads a volume made from the finished snapshot.

mod builder;
mod console;
mod finding;
mod inspector;
mod manifest;
mod nonce;
mod rules;
#[cfg(test)]
mod shell;
mod test_instance;
mod user_data;
mod verdict;

pub use builder::{BuilderGuest, BuilderReport, StepOutcome, StepReport};
pub use console::{Record, parse};
pub use finding::{Finding, Rule};
pub use inspector::{InspectorGuest, InspectorReport};
pub use manifest::{Manifest, ManifestStep, StepResult};
pub use nonce::{Role, nonce};
pub use rules::RULES_VERSION;
pub use test_instance::{CheckReport, TestGuest, TestReport};
pub use user_data::{USER_DATA_LIMIT, Unrenderable, UserData};
pub use verdict::{Expected, Inspection, Refusal, changed_files, judge};
