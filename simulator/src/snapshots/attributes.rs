//! DescribeSnapshotAttribute, ModifySnapshotAttribute.

use serde::{Deserialize, Serialize};

use crate::keys;
use crate::operations::{Call, Return};
use crate::permissions::PermissionChanges;
use crate::protocol::Error;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeSnapshotAttributeRequest {
    attribute: String,
    snapshot_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeSnapshotAttributeResponse {
    snapshot_id: String,
    create_volume_permission: Option<Vec<CreateVolumePermission>>,
    product_codes: Option<Vec<String>>,
}

/// An account, or the group `all`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase", deserialize = "PascalCase"))]
struct CreateVolumePermission {
    user_id: Option<String>,
    group: Option<String>,
}

pub fn describe_snapshot_attribute(
    call: &mut Call<'_>,
    request: DescribeSnapshotAttributeRequest,
) -> Result<DescribeSnapshotAttributeResponse, Error> {
    let snapshot = call.region.own_snapshot(&request.snapshot_id)?;
    let permission = |account: &String| match account.as_str() {
        "all" => CreateVolumePermission {
            user_id: None,
            group: Some("all".to_owned()),
        },
        _ => CreateVolumePermission {
            user_id: Some(account.clone()),
            group: None,
        },
    };
    let mut response = DescribeSnapshotAttributeResponse {
        snapshot_id: request.snapshot_id,
        create_volume_permission: None,
        product_codes: None,
    };
    match request.attribute.as_str() {
        "createVolumePermission" => {
            response.create_volume_permission = Some(snapshot.shared_with.iter().map(permission).collect());
        }
        "productCodes" => response.product_codes = Some(Vec::new()),
        other => {
            return Err(Error::invalid(
                other,
                "attribute",
                "It must be createVolumePermission or productCodes.",
            ));
        }
    }
    Ok(response)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifySnapshotAttributeRequest {
    snapshot_id: String,
    attribute: Option<String>,
    create_volume_permission: Option<PermissionChanges<CreateVolumePermission>>,
    operation_type: Option<String>,
    #[serde(rename = "UserId", default)]
    user_ids: Vec<String>,
    #[serde(rename = "UserGroup", default)]
    groups: Vec<String>,
}

pub fn modify_snapshot_attribute(
    call: &mut Call<'_>,
    request: ModifySnapshotAttributeRequest,
) -> Result<Return, Error> {
    if let Some(other) = request
        .attribute
        .filter(|attribute| attribute != "createVolumePermission")
    {
        return Err(Error::invalid(other, "attribute", "It must be createVolumePermission."));
    }
    let users = request.user_ids.into_iter().map(|id| CreateVolumePermission {
        user_id: Some(id),
        group: None,
    });
    let groups = request.groups.into_iter().map(|group| CreateVolumePermission {
        user_id: None,
        group: Some(group),
    });
    let changes = PermissionChanges::read(
        request.create_volume_permission,
        request.operation_type.as_deref(),
        users.chain(groups).collect(),
        "Permissions are given either as CreateVolumePermission, or as OperationType (add or remove) with \
         UserId or UserGroup.",
    )?
    .ok_or_else(|| Error::missing("CreateVolumePermission"))?;
    if !changes.add.is_empty() && !changes.remove.is_empty() {
        let message = "Permissions are either added or removed in a call, not both";
        return Err(Error::combination(message));
    }
    let default_key = keys::resolve(call.region, None).arn;
    let snapshot = call.region.own_snapshot(&request.snapshot_id)?;
    if !changes.add.is_empty() && snapshot.kms_key_id.as_ref() == Some(&default_key) {
        let message = "Encrypted snapshots with EBS default key cannot be shared";
        return Err(Error::new("OperationNotPermitted", message));
    }
    for permission in changes.add {
        let account = grantee(permission)?;
        if account == "all" && snapshot.kms_key_id.is_some() {
            let message = format!("Encrypted snapshot '{}' cannot be shared publicly", snapshot.id);
            return Err(Error::combination(message));
        }
        if !snapshot.shared_with.contains(&account) {
            snapshot.shared_with.push(account);
        }
    }
    for permission in changes.remove {
        let account = grantee(permission)?;
        snapshot.shared_with.retain(|other| *other != account);
    }
    Ok(Return::TRUE)
}

fn grantee(permission: CreateVolumePermission) -> Result<String, Error> {
    match (permission.user_id, permission.group.as_deref()) {
        (Some(account), None) if account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) => Ok(account),
        (Some(account), None) => Err(Error::invalid(
            account,
            "UserId",
            "It must be an account id of 12 digits.",
        )),
        (None, Some("all")) => Ok("all".to_owned()),
        _ => Err(Error::new(
            "InvalidParameterValue",
            "A permission names one UserId, or the Group 'all'",
        )),
    }
}
