//! DescribeInstanceAttribute, ModifyInstanceAttribute.

use serde::{Deserialize, Serialize};

use super::item::{EnclaveOptionsItem, InstanceBlockDevice, block_devices};
use super::placement::security_group;
use super::run::{check_user_data, find_type};
use super::{ShutdownBehavior, State};
use crate::operations::{Call, Return, Value};
use crate::protocol::Error;
use crate::region::Region;
use crate::security_groups::GroupIdentifier;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeInstanceAttributeRequest {
    instance_id: String,
    attribute: String,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeInstanceAttributeResponse {
    instance_id: String,
    block_device_mapping: Option<Vec<InstanceBlockDevice>>,
    disable_api_stop: Option<Value<bool>>,
    disable_api_termination: Option<Value<bool>>,
    ebs_optimized: Option<Value<bool>>,
    ena_support: Option<Value<bool>>,
    enclave_options: Option<EnclaveOptionsItem>,
    group_set: Option<Vec<GroupIdentifier>>,
    instance_initiated_shutdown_behavior: Option<Value<ShutdownBehavior>>,
    instance_type: Option<Value<String>>,
    kernel: Option<Value<Option<String>>>,
    product_codes: Option<Vec<String>>,
    ramdisk: Option<Value<Option<String>>>,
    root_device_name: Option<Value<String>>,
    source_dest_check: Option<Value<bool>>,
    sriov_net_support: Option<Value<&'static str>>,
    user_data: Option<Value<Option<String>>>,
}

pub fn describe_instance_attribute(
    call: &mut Call<'_>,
    request: DescribeInstanceAttributeRequest,
) -> Result<DescribeInstanceAttributeResponse, Error> {
    let region = &*call.region;
    let instance = region.instance(&request.instance_id)?.clone();
    let devices = block_devices(region, &instance);
    let mut response = DescribeInstanceAttributeResponse {
        instance_id: instance.id,
        ..Default::default()
    };
    match request.attribute.as_str() {
        "blockDeviceMapping" => response.block_device_mapping = Some(devices),
        "disableApiStop" => {
            response.disable_api_stop = Some(Value {
                value: instance.disable_api_stop,
            })
        }
        "disableApiTermination" => {
            response.disable_api_termination = Some(Value {
                value: instance.disable_api_termination,
            });
        }
        "ebsOptimized" => {
            response.ebs_optimized = Some(Value {
                value: instance.ebs_optimized,
            })
        }
        "enaSupport" => response.ena_support = Some(Value { value: true }),
        "enclaveOptions" => response.enclave_options = Some(EnclaveOptionsItem { enabled: false }),
        "groupSet" => response.group_set = Some(instance.security_groups),
        "instanceInitiatedShutdownBehavior" => {
            response.instance_initiated_shutdown_behavior = Some(Value {
                value: instance.shutdown_behavior,
            });
        }
        "instanceType" => {
            response.instance_type = Some(Value {
                value: instance.instance_type,
            })
        }
        // No instance here has its own kernel or product codes.
        "kernel" => response.kernel = Some(Value { value: None }),
        "productCodes" => response.product_codes = Some(Vec::new()),
        "ramdisk" => response.ramdisk = Some(Value { value: None }),
        "rootDeviceName" => {
            response.root_device_name = Some(Value {
                value: instance.root_device_name,
            })
        }
        "sourceDestCheck" => {
            response.source_dest_check = Some(Value {
                value: instance.source_dest_check,
            })
        }
        "sriovNetSupport" => response.sriov_net_support = Some(Value { value: "simple" }),
        "userData" => {
            response.user_data = Some(Value {
                value: instance.user_data,
            })
        }
        other => {
            let why = "It must be one of blockDeviceMapping, disableApiStop, disableApiTermination, ebsOptimized, \
                       enaSupport, enclaveOptions, groupSet, instanceInitiatedShutdownBehavior, instanceType, kernel, \
                       productCodes, ramdisk, rootDeviceName, sourceDestCheck, sriovNetSupport, userData.";
            return Err(Error::invalid(other, "attribute", why));
        }
    }
    Ok(response)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyInstanceAttributeRequest {
    instance_id: String,
    attribute: Option<String>,
    value: Option<String>,
    #[serde(rename = "BlockDeviceMapping", default)]
    block_device_mappings: Vec<AttachedDevice>,
    disable_api_stop: Option<Value<bool>>,
    disable_api_termination: Option<Value<bool>>,
    ebs_optimized: Option<Value<bool>>,
    ena_support: Option<Value<bool>>,
    #[serde(rename = "GroupId", default)]
    group_ids: Vec<String>,
    instance_initiated_shutdown_behavior: Option<Value<ShutdownBehavior>>,
    instance_type: Option<Value<String>>,
    source_dest_check: Option<Value<bool>>,
    sriov_net_support: Option<Value<String>>,
    user_data: Option<Value<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttachedDevice {
    device_name: String,
    ebs: AttachedEbs,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttachedEbs {
    volume_id: Option<String>,
    delete_on_termination: Option<bool>,
}

enum Change {
    BlockDevices(Vec<AttachedDevice>),
    DisableApiStop(bool),
    DisableApiTermination(bool),
    EbsOptimized(bool),
    EnaSupport(bool),
    Groups(Vec<String>),
    InstanceType(String),
    ShutdownBehavior(ShutdownBehavior),
    SourceDestCheck(bool),
    SriovNetSupport(String),
    UserData(String),
}

/// The one attribute that a call changes, in either of the two forms in which AWS takes it.
fn change(request: ModifyInstanceAttributeRequest) -> Result<Change, Error> {
    let mut changes = Vec::new();
    let devices = Some(request.block_device_mappings).filter(|devices| !devices.is_empty());
    changes.extend(devices.map(Change::BlockDevices));
    changes.extend(request.disable_api_stop.map(|v| Change::DisableApiStop(v.value)));
    changes.extend(
        request
            .disable_api_termination
            .map(|v| Change::DisableApiTermination(v.value)),
    );
    changes.extend(request.ebs_optimized.map(|v| Change::EbsOptimized(v.value)));
    changes.extend(request.ena_support.map(|v| Change::EnaSupport(v.value)));
    changes.extend(
        Some(request.group_ids)
            .filter(|ids| !ids.is_empty())
            .map(Change::Groups),
    );
    changes.extend(
        request
            .instance_initiated_shutdown_behavior
            .map(|v| Change::ShutdownBehavior(v.value)),
    );
    changes.extend(request.instance_type.map(|v| Change::InstanceType(v.value)));
    changes.extend(request.source_dest_check.map(|v| Change::SourceDestCheck(v.value)));
    changes.extend(request.sriov_net_support.map(|v| Change::SriovNetSupport(v.value)));
    changes.extend(request.user_data.map(|v| Change::UserData(v.value)));
    match (request.attribute, request.value) {
        (Some(attribute), Some(value)) => changes.push(named(&attribute, value)?),
        (Some(attribute), None) if changes.is_empty() => {
            return Err(Error::missing(format_args!("Value for the attribute {attribute}")));
        }
        (None, Some(_)) => return Err(Error::missing("Attribute")),
        _ => {}
    }
    match (changes.len(), changes.pop()) {
        (1, Some(change)) => Ok(change),
        (0, _) => Err(Error::missing("Attribute")),
        _ => Err(Error::combination(
            "Fields for multiple attribute types specified; modify one in a call.",
        )),
    }
}

fn named(attribute: &str, value: String) -> Result<Change, Error> {
    let boolean = |value: &str| match value {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(Error::invalid(other, "Value", "It must be true or false.")),
    };
    Ok(match attribute {
        "disableApiStop" => Change::DisableApiStop(boolean(&value)?),
        "disableApiTermination" => Change::DisableApiTermination(boolean(&value)?),
        "ebsOptimized" => Change::EbsOptimized(boolean(&value)?),
        "instanceType" => Change::InstanceType(value),
        "sourceDestCheck" => Change::SourceDestCheck(boolean(&value)?),
        "userData" => Change::UserData(value),
        "instanceInitiatedShutdownBehavior" => Change::ShutdownBehavior(match value.as_str() {
            "stop" => ShutdownBehavior::Stop,
            "terminate" => ShutdownBehavior::Terminate,
            other => return Err(Error::invalid(other, "Value", "It must be stop or terminate.")),
        }),
        other => {
            let why = "It must be one of disableApiStop, disableApiTermination, ebsOptimized, \
                       instanceInitiatedShutdownBehavior, instanceType, sourceDestCheck, userData.";
            return Err(Error::invalid(other, "attribute", why));
        }
    })
}

pub fn modify_instance_attribute(
    call: &mut Call<'_>,
    request: ModifyInstanceAttributeRequest,
) -> Result<Return, Error> {
    let id = request.instance_id.clone();
    let change = change(request)?;
    let region = &mut *call.region;
    let instance = region.instance(&id)?;
    if instance.state.ends() {
        let message = format!("The instance '{id}' is '{}'", instance.state.name());
        return Err(Error::new("IncorrectInstanceState", message));
    }
    let stopped = instance.state == State::Stopped;
    let needs_stop = matches!(
        change,
        Change::EbsOptimized(_)
            | Change::EnaSupport(_)
            | Change::InstanceType(_)
            | Change::SriovNetSupport(_)
            | Change::UserData(_)
    );
    if needs_stop && !stopped {
        let message = format!("The instance '{id}' is not in the 'stopped' state.");
        return Err(Error::new("IncorrectInstanceState", message));
    }
    match change {
        Change::BlockDevices(devices) => return delete_on_termination(region, &id, &devices),
        Change::DisableApiStop(value) => region.instance_mut(&id)?.disable_api_stop = value,
        Change::DisableApiTermination(value) => region.instance_mut(&id)?.disable_api_termination = value,
        Change::EbsOptimized(value) => region.instance_mut(&id)?.ebs_optimized = value,
        // Every instance has both.
        Change::EnaSupport(true) => {}
        Change::EnaSupport(false) => {
            let message = "An instance without enhanced networking is not simulated; EnaSupport must be true";
            return Err(Error::new("UnsupportedOperation", message));
        }
        Change::SriovNetSupport(value) if value == "simple" => {}
        Change::SriovNetSupport(value) => {
            return Err(Error::invalid(value, "sriovNetSupport", "It must be simple."));
        }
        Change::Groups(ids) => {
            let vpc_id = instance.vpc_id.clone();
            let groups = ids
                .iter()
                .map(|group| security_group(region, group, &vpc_id))
                .collect::<Result<_, _>>()?;
            region.instance_mut(&id)?.security_groups = groups;
        }
        Change::InstanceType(name) => {
            let wanted = find_type(Some(&name)).map_err(|error| Error {
                code: "InvalidInstanceAttributeValue".to_owned(),
                ..error
            })?;
            if wanted.architecture != instance.architecture {
                let message = format!(
                    "The architecture '{}' of the instance type '{name}' does not match '{}' of the instance '{id}'",
                    wanted.architecture, instance.architecture
                );
                return Err(Error::new("InvalidParameterValue", message));
            }
            region.instance_mut(&id)?.instance_type = name;
        }
        Change::ShutdownBehavior(value) => region.instance_mut(&id)?.shutdown_behavior = value,
        Change::SourceDestCheck(value) => region.instance_mut(&id)?.source_dest_check = value,
        Change::UserData(text) => {
            check_user_data(Some(&text))?;
            region.instance_mut(&id)?.user_data = Some(text).filter(|text| !text.is_empty());
        }
    }
    Ok(Return::TRUE)
}

/// Whether volumes go with the instance.
fn delete_on_termination(region: &mut Region, id: &str, devices: &[AttachedDevice]) -> Result<Return, Error> {
    let mut found = Vec::new();
    for AttachedDevice { device_name, ebs } in devices {
        let volume = region.attached(id).find(|(volume, attachment)| {
            attachment.device == *device_name && ebs.volume_id.as_ref().is_none_or(|wanted| *wanted == volume.id)
        });
        let (volume, _) = volume.ok_or_else(|| {
            let message = format!("No device is currently mapped at {device_name} of instance '{id}'");
            Error::new("InvalidInstanceAttributeValue", message)
        })?;
        found.push((volume.id.clone(), ebs.delete_on_termination.unwrap_or(true)));
    }
    for (volume, value) in found {
        if let Some(attachment) = region.volume_mut(&volume)?.attachment.as_mut() {
            attachment.delete_on_termination = value;
        }
    }
    Ok(Return::TRUE)
}
