//! `goldsmith crds`

use std::error::Error;
use std::fmt::Write as _;

use crate::api;

/// Prints every CustomResourceDefinition, as kubectl applies them.
pub fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut text = String::new();
    for definition in api::crds() {
        writeln!(text, "---\n{}", serde_saphyr::to_string(&definition)?.trim_end())?;
    }
    Ok(super::print(text.as_bytes())?)
}
