//! DescribeImageAttribute, ModifyImageAttribute, ResetImageAttribute.

use serde::{Deserialize, Serialize};

use super::create::{check_description, one_of};
use super::{ImageState, LaunchPermission};
use crate::block_devices::ImageBlockDevice;
use crate::operations::{Call, Return, Value};
use crate::permissions::PermissionChanges;
use crate::protocol::Error;

/// How many entities an image can be shared with.
const MOST_PERMISSIONS: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeImageAttributeRequest {
    image_id: String,
    attribute: String,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeImageAttributeResponse {
    image_id: String,
    block_device_mapping: Option<Vec<ImageBlockDevice>>,
    boot_mode: Option<Value<Option<String>>>,
    deregistration_protection: Option<Value<&'static str>>,
    description: Option<Value<Option<String>>>,
    imds_support: Option<Value<Option<String>>>,
    kernel: Option<Value<Option<String>>>,
    last_launched_time: Option<Value<Option<String>>>,
    launch_permission: Option<Vec<LaunchPermission>>,
    product_codes: Option<Vec<String>>,
    ramdisk: Option<Value<Option<String>>>,
    sriov_net_support: Option<Value<&'static str>>,
    tpm_support: Option<Value<Option<String>>>,
    uefi_data: Option<Value<Option<String>>>,
}

pub fn describe_image_attribute(
    call: &mut Call<'_>,
    request: DescribeImageAttributeRequest,
) -> Result<DescribeImageAttributeResponse, Error> {
    let now = call.now;
    let image = call.region.own_image(&request.image_id)?.clone();
    let mut response = DescribeImageAttributeResponse {
        image_id: image.id.clone(),
        ..Default::default()
    };
    match request.attribute.as_str() {
        "blockDeviceMapping" => response.block_device_mapping = Some(image.block_devices),
        "bootMode" => response.boot_mode = Some(Value { value: image.boot_mode }),
        "deregistrationProtection" => {
            response.deregistration_protection = Some(Value {
                value: image.protection.name(),
            });
        }
        "description" => {
            response.description = Some(Value {
                value: image.description,
            })
        }
        "imdsSupport" => {
            response.imds_support = Some(Value {
                value: image.imds_support,
            })
        }
        // No image here has its own kernel, product codes or keys of UEFI.
        "kernel" => response.kernel = Some(Value { value: None }),
        "productCodes" => response.product_codes = Some(Vec::new()),
        "ramdisk" => response.ramdisk = Some(Value { value: None }),
        "uefiData" => response.uefi_data = Some(Value { value: None }),
        "lastLaunchedTime" => {
            let value = image
                .told_last_launched(now)
                .map(|time| crate::time::Time(time).to_string());
            response.last_launched_time = Some(Value { value });
        }
        "launchPermission" => response.launch_permission = Some(image.launch_permissions),
        "sriovNetSupport" => response.sriov_net_support = Some(Value { value: "simple" }),
        "tpmSupport" => {
            response.tpm_support = Some(Value {
                value: image.tpm_support,
            })
        }
        other => {
            let why = "It must be one of blockDeviceMapping, bootMode, deregistrationProtection, description, \
                       imdsSupport, kernel, lastLaunchedTime, launchPermission, productCodes, ramdisk, \
                       sriovNetSupport, tpmSupport, uefiData.";
            return Err(Error::invalid(other, "attribute", why));
        }
    }
    Ok(response)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyImageAttributeRequest {
    image_id: String,
    attribute: Option<String>,
    value: Option<String>,
    description: Option<Value<String>>,
    imds_support: Option<Value<String>>,
    launch_permission: Option<PermissionChanges<LaunchPermission>>,
    operation_type: Option<String>,
    #[serde(rename = "UserId", default)]
    user_ids: Vec<String>,
    #[serde(rename = "UserGroup", default)]
    user_groups: Vec<String>,
    #[serde(rename = "OrganizationArn", default)]
    organization_arns: Vec<String>,
    #[serde(rename = "OrganizationalUnitArn", default)]
    organizational_unit_arns: Vec<String>,
}

enum Change {
    Description(String),
    ImdsSupport(String),
    LaunchPermissions(PermissionChanges<LaunchPermission>),
}

/// The one attribute that a call changes, in either of the two forms in which AWS takes it.
fn change(request: ModifyImageAttributeRequest) -> Result<Change, Error> {
    let mut changes = Vec::new();
    changes.extend(request.description.map(|value| Change::Description(value.value)));
    changes.extend(request.imds_support.map(|value| Change::ImdsSupport(value.value)));
    let named = request.attribute.as_deref();
    let value = || request.value.clone().ok_or_else(|| Error::missing("Value"));
    match named {
        None | Some("launchPermission") => {}
        Some("description") if changes.is_empty() => changes.push(Change::Description(value()?)),
        Some("imdsSupport") if changes.is_empty() => changes.push(Change::ImdsSupport(value()?)),
        Some("description" | "imdsSupport") => {}
        Some(other) => {
            let why = "It must be description, imdsSupport or launchPermission.";
            return Err(Error::invalid(other, "attribute", why));
        }
    }
    let entities: Vec<LaunchPermission> = [
        request
            .user_ids
            .into_iter()
            .map(|id| LaunchPermission {
                user_id: Some(id),
                ..Default::default()
            })
            .collect(),
        request
            .user_groups
            .into_iter()
            .map(|g| LaunchPermission {
                group: Some(g),
                ..Default::default()
            })
            .collect(),
        request
            .organization_arns
            .into_iter()
            .map(|arn| LaunchPermission {
                organization_arn: Some(arn),
                ..Default::default()
            })
            .collect(),
        request
            .organizational_unit_arns
            .into_iter()
            .map(|arn| LaunchPermission {
                organizational_unit_arn: Some(arn),
                ..Default::default()
            })
            .collect::<Vec<_>>(),
    ]
    .concat();
    let permissions = PermissionChanges::read(
        request.launch_permission,
        request.operation_type.as_deref(),
        entities,
        "Launch permissions are given either as LaunchPermission, or as OperationType (add or remove) with \
         UserId, UserGroup, OrganizationArn or OrganizationalUnitArn.",
    )?;
    changes.extend(permissions.map(Change::LaunchPermissions));
    match (changes.len(), changes.pop()) {
        (1, Some(change)) => Ok(change),
        (0, _) => Err(Error::missing("Attribute")),
        _ => Err(Error::combination("Only one attribute can be modified in a call.")),
    }
}

pub fn modify_image_attribute(call: &mut Call<'_>, request: ModifyImageAttributeRequest) -> Result<Return, Error> {
    let id = request.image_id.clone();
    let change = change(request)?;
    let image = call.region.own_image(&id)?.clone();
    let unshareable = call.region.snapshot_under_default_key(&image);
    let image = call.region.own_image(&id)?;
    match change {
        Change::Description(description) => {
            check_description(Some(&description))?;
            image.description = Some(description).filter(|text| !text.is_empty());
        }
        Change::ImdsSupport(version) => {
            one_of("imdsSupport", Some(&version), &["v2.0"])?;
            image.imds_support = Some(version);
        }
        Change::LaunchPermissions(PermissionChanges { add, remove }) => {
            for permission in add.iter().chain(&remove) {
                check(permission)?;
            }
            if image.state != ImageState::Available {
                let message = format!("The image ID '[{id}]' is {}, not available", image.state.name());
                return Err(Error::new("InvalidAMIID.Unavailable", message));
            }
            if let Some(snapshot) = unshareable.filter(|_| !add.is_empty()) {
                let message = format!(
                    "Snapshots encrypted with the AWS Managed CMK can't be shared. Specify another snapshot; {snapshot} \
                     of {id} is."
                );
                return Err(Error::new("InvalidParameter", message));
            }
            let encrypted = image.block_devices.iter().any(|device| device.ebs.encrypted);
            if encrypted && add.contains(&LaunchPermission::everyone()) {
                let message = format!("The image {id} has encrypted snapshots and cannot be made public");
                return Err(Error::new("InvalidParameterValue", message));
            }
            let mut permissions = image.launch_permissions.clone();
            for permission in add {
                if !permissions.contains(&permission) {
                    permissions.push(permission);
                }
            }
            permissions.retain(|permission| !remove.contains(permission));
            if permissions.len() > MOST_PERMISSIONS {
                let message = format!("The image {id} can be shared with at most {MOST_PERMISSIONS} entities");
                return Err(Error::new("ResourceLimitExceeded", message));
            }
            image.launch_permissions = permissions;
        }
    }
    Ok(Return::TRUE)
}

fn check(permission: &LaunchPermission) -> Result<(), Error> {
    let LaunchPermission {
        user_id,
        group,
        organization_arn,
        organizational_unit_arn,
    } = permission;
    let arn = |arn: &str, kind: &str| arn.starts_with("arn:aws:organizations::") && arn.contains(kind);
    let (valid, value) = match (user_id, group, organization_arn, organizational_unit_arn) {
        (Some(id), None, None, None) => (id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit()), id),
        (None, Some(group), None, None) => (group == "all", group),
        (None, None, Some(organization), None) => (arn(organization, ":organization/"), organization),
        (None, None, None, Some(unit)) => (arn(unit, ":ou/"), unit),
        _ => {
            let message = "A launch permission names one of UserId, Group, OrganizationArn, OrganizationalUnitArn";
            return Err(Error::combination(message));
        }
    };
    if valid {
        return Ok(());
    }
    let why = "It must be an account id of 12 digits, the group all, or the ARN of an organization or its unit.";
    Err(Error::new(
        "InvalidAMIAttributeItemValue",
        format!("Invalid attribute item value \"{value}\". {why}"),
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResetImageAttributeRequest {
    image_id: String,
    attribute: String,
}

pub fn reset_image_attribute(call: &mut Call<'_>, request: ResetImageAttributeRequest) -> Result<Return, Error> {
    one_of("attribute", Some(&request.attribute), &["launchPermission"])?;
    call.region.own_image(&request.image_id)?.launch_permissions.clear();
    Ok(Return::TRUE)
}
