//! How images leave: deprecation, disabling, deregistration, and the protection against it.

use jiff::{SignedDuration, ToSpan};
use serde::{Deserialize, Serialize};

use super::{ImageState, Protection};
use crate::durations;
use crate::operations::{Call, Return};
use crate::protocol::Error;
use crate::time::Time;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageRequest {
    image_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeregisterImageRequest {
    image_id: String,
    delete_associated_snapshots: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeregisterImageResponse {
    #[serde(rename = "return")]
    success: bool,
    delete_snapshot_result_set: Vec<DeleteSnapshotResult>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeleteSnapshotResult {
    snapshot_id: String,
    return_code: &'static str,
}

pub fn deregister_image(
    call: &mut Call<'_>,
    request: DeregisterImageRequest,
) -> Result<DeregisterImageResponse, Error> {
    let (id, now) = (request.image_id, call.now);
    let region = &mut *call.region;
    let image = region.own_image(&id)?.clone();
    match image.protection {
        Protection::Enabled { .. } => {
            let message = format!(
                "The image '{id}' is protected from deregistration. Disable its deregistration protection and try again."
            );
            return Err(Error::new("OperationNotPermitted", message));
        }
        Protection::CoolingDown { until } if now < until => {
            let message = format!(
                "The image '{id}' is protected from deregistration until {}, because its protection had a cooldown period.",
                Time(until)
            );
            return Err(Error::new("OperationNotPermitted", message));
        }
        Protection::CoolingDown { .. } | Protection::Disabled => {}
    }
    let name_is_free = crate::time::after(now, region.lasts(durations::NAME_RELEASE));
    region.images.remove(&id);
    region.deregistered.insert(id);
    region.released_names.insert(image.name.clone(), name_is_free);
    let mut results = Vec::new();
    if request.delete_associated_snapshots == Some(true) {
        for snapshot in image.snapshots() {
            let in_use = region.images_of_snapshot(snapshot).next().is_some();
            let gone = !in_use && region.snapshots.remove(snapshot).is_none();
            let return_code = match (in_use, gone) {
                (true, _) => "skipped",
                (false, true) => "client-error",
                (false, false) => "success",
            };
            results.push(DeleteSnapshotResult {
                snapshot_id: snapshot.to_owned(),
                return_code,
            });
        }
    }
    Ok(DeregisterImageResponse {
        success: true,
        delete_snapshot_result_set: results,
    })
}

/// Disabling takes all launch permissions away, for good.
pub fn disable_image(call: &mut Call<'_>, request: ImageRequest) -> Result<Return, Error> {
    let image = call.region.own_image(&request.image_id)?;
    match image.state {
        ImageState::Available | ImageState::Disabled => {
            image.state = ImageState::Disabled;
            image.launch_permissions.clear();
            Ok(Return::TRUE)
        }
        state => Err(wrong_state(&request.image_id, state)),
    }
}

pub fn enable_image(call: &mut Call<'_>, request: ImageRequest) -> Result<Return, Error> {
    let image = call.region.own_image(&request.image_id)?;
    match image.state {
        ImageState::Available | ImageState::Disabled => {
            image.state = ImageState::Available;
            Ok(Return::TRUE)
        }
        state => Err(wrong_state(&request.image_id, state)),
    }
}

fn wrong_state(id: &str, state: ImageState) -> Error {
    let message = format!(
        "The image ID '[{id}]' is {}; it must be available or disabled",
        state.name()
    );
    Error::new("InvalidAMIID.Unavailable", message)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EnableImageDeprecationRequest {
    image_id: String,
    deprecate_at: Time,
}

/// Rounded to the minute; not in the past; at most ten years ahead, and of a public image two years after it was made.
pub fn enable_image_deprecation(call: &mut Call<'_>, request: EnableImageDeprecationRequest) -> Result<Return, Error> {
    let minute = SignedDuration::from_mins(1).as_secs();
    let rounded = (request.deprecate_at.0.as_second() + minute / 2).div_euclid(minute) * minute;
    let at = jiff::Timestamp::from_second(rounded).unwrap_or(request.deprecate_at.0);
    let years = |from: jiff::Timestamp, count: i64| {
        from.checked_add((count * 366 * 24).hours())
            .unwrap_or(jiff::Timestamp::MAX)
    };
    let decade = years(call.now, 10);
    if request.deprecate_at.0 < call.now {
        let why = "The deprecation time must be in the future.";
        return Err(Error::invalid(request.deprecate_at, "DeprecateAt", why));
    }
    if at > decade {
        let why = "The deprecation time can be at most 10 years from now.";
        return Err(Error::invalid(request.deprecate_at, "DeprecateAt", why));
    }
    let image = call.region.own_image(&request.image_id)?;
    if image.is_public() && at > years(image.created, 2) {
        let why = "The deprecation time of a public image can be at most 2 years from its creation.";
        return Err(Error::invalid(request.deprecate_at, "DeprecateAt", why));
    }
    image.deprecates = Some(at);
    Ok(Return::TRUE)
}

pub fn disable_image_deprecation(call: &mut Call<'_>, request: ImageRequest) -> Result<Return, Error> {
    call.region.own_image(&request.image_id)?.deprecates = None;
    Ok(Return::TRUE)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EnableProtectionRequest {
    image_id: String,
    with_cooldown: Option<bool>,
}

/// What protection there is now, in AWS's words.
#[derive(Serialize)]
pub struct ProtectionResponse {
    #[serde(rename = "return")]
    protection: &'static str,
}

pub fn enable_image_deregistration_protection(
    call: &mut Call<'_>,
    request: EnableProtectionRequest,
) -> Result<ProtectionResponse, Error> {
    let image = call.region.own_image(&request.image_id)?;
    image.protection = Protection::Enabled {
        with_cooldown: request.with_cooldown == Some(true),
    };
    Ok(ProtectionResponse {
        protection: image.protection.name(),
    })
}

pub fn disable_image_deregistration_protection(
    call: &mut Call<'_>,
    request: ImageRequest,
) -> Result<ProtectionResponse, Error> {
    let now = call.now;
    let image = call.region.own_image(&request.image_id)?;
    image.protection = image.protection.disabled(now);
    Ok(ProtectionResponse {
        protection: image.protection.name(),
    })
}
