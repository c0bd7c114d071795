//! `goldsmith crds`

use std::error::Error;
use std::io::Write;

use crate::api;

/// Prints every CustomResourceDefinition, as kubectl applies them.
pub fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut stdout = std::io::stdout().lock();
    for definition in api::crds() {
        writeln!(stdout, "---\n{}", serde_saphyr::to_string(&definition)?.trim_end())?;
    }
    Ok(())
}
