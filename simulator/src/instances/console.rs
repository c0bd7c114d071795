//! GetConsoleOutput.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::instance_types;
use crate::operations::Call;
use crate::protocol::Error;
use crate::time::Time;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetConsoleOutputRequest {
    instance_id: String,
    latest: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GetConsoleOutputResponse {
    instance_id: String,
    timestamp: Time,
    output: Option<String>,
}

/// With `Latest`, what the console shows now, on Nitro types only; without, what EC2 captured of it by itself some
/// minutes after the boot and at the last transition.
pub fn get_console_output(
    call: &mut Call<'_>,
    request: GetConsoleOutputRequest,
) -> Result<GetConsoleOutputResponse, Error> {
    let instance = call.region.instance(&request.instance_id)?;
    let (timestamp, text) = if request.latest == Some(true) {
        if !instance_types::find(&instance.instance_type).is_some_and(|known| known.nitro) {
            let message = format!(
                "The latest console output is available for instances built on the Nitro System only; '{}' is a {}",
                instance.id, instance.instance_type
            );
            return Err(Error::new("UnsupportedOperation", message));
        }
        (call.now, Some(&instance.console))
    } else {
        match &instance.captured_console {
            Some((at, text)) => (*at, Some(text)),
            None => (call.now, None),
        }
    };
    let output = text.filter(|text| !text.is_empty()).map(|text| BASE64.encode(text));
    Ok(GetConsoleOutputResponse {
        instance_id: instance.id.clone(),
        timestamp: Time(timestamp),
        output,
    })
}
