//! An instance as responses show it.

use serde::Serialize;

use super::{Instance, MetadataOptions, StateItem};
use crate::images::StateReason;
use crate::instance_types::{self, InstanceType};
use crate::network_interfaces::{InstanceInterfaceItem, private_dns_name, public_dns_name};
use crate::region::Region;
use crate::security_groups::GroupIdentifier;
use crate::subnets::PrivateDnsNameOptions;
use crate::tags::Tags;
use crate::time::Time;
use crate::volumes::AttachmentState;

/// An instance as it is described.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceItem {
    pub instance_id: String,
    pub image_id: String,
    pub instance_state: StateItem,
    pub private_dns_name: String,
    pub dns_name: String,
    pub reason: String,
    pub key_name: Option<String>,
    pub ami_launch_index: u32,
    pub instance_type: String,
    pub launch_time: Time,
    pub placement: PlacementItem,
    pub monitoring: MonitoringItem,
    pub subnet_id: Option<String>,
    pub vpc_id: Option<String>,
    pub private_ip_address: Option<String>,
    pub ip_address: Option<String>,
    pub source_dest_check: Option<bool>,
    pub group_set: Vec<GroupIdentifier>,
    pub state_reason: Option<StateReason>,
    pub architecture: String,
    pub root_device_type: &'static str,
    pub root_device_name: String,
    pub block_device_mapping: Vec<InstanceBlockDevice>,
    pub virtualization_type: &'static str,
    pub client_token: String,
    pub tag_set: Tags,
    pub hypervisor: &'static str,
    pub network_interface_set: Vec<InstanceInterfaceItem>,
    pub iam_instance_profile: Option<IamInstanceProfileItem>,
    pub ebs_optimized: bool,
    pub ena_support: bool,
    pub cpu_options: CpuOptions,
    pub capacity_reservation_specification: CapacityReservationSpecificationItem,
    pub metadata_options: MetadataOptions,
    pub boot_mode: Option<String>,
    pub current_instance_boot_mode: &'static str,
    pub platform_details: &'static str,
    pub usage_operation: &'static str,
    pub usage_operation_update_time: Time,
    pub tpm_support: Option<String>,
    pub product_codes: Vec<String>,
    pub hibernation_options: HibernationOptionsItem,
    pub enclave_options: EnclaveOptionsItem,
    pub private_dns_name_options: PrivateDnsNameOptions,
    pub maintenance_options: MaintenanceOptionsItem,
    #[serde(skip)]
    pub reservation_id: String,
    #[serde(skip)]
    pub owner_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacementItem {
    pub availability_zone: String,
    pub availability_zone_id: Option<String>,
    pub group_name: &'static str,
    pub tenancy: String,
}

#[derive(Serialize)]
pub struct MonitoringItem {
    pub state: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceBlockDevice {
    pub device_name: String,
    pub ebs: InstanceEbs,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceEbs {
    pub volume_id: String,
    pub status: AttachmentState,
    pub attach_time: Time,
    pub delete_on_termination: bool,
}

#[derive(Serialize)]
pub struct IamInstanceProfileItem {
    pub arn: String,
    pub id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuOptions {
    pub core_count: u32,
    pub threads_per_core: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CapacityReservationSpecificationItem {
    pub capacity_reservation_preference: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceOptionsItem {
    pub auto_recovery: String,
}

#[derive(Serialize)]
pub struct HibernationOptionsItem {
    pub configured: bool,
}

#[derive(Serialize)]
pub struct EnclaveOptionsItem {
    pub enabled: bool,
}

/// An instance's volumes as it lists them, the root first.
pub fn block_devices(region: &Region, instance: &Instance) -> Vec<InstanceBlockDevice> {
    let mut devices: Vec<InstanceBlockDevice> = region
        .attached(&instance.id)
        .map(|(volume, attachment)| InstanceBlockDevice {
            device_name: attachment.device.clone(),
            ebs: InstanceEbs {
                volume_id: volume.id.clone(),
                status: attachment.state,
                attach_time: Time(attachment.attach_time),
                delete_on_termination: attachment.delete_on_termination,
            },
        })
        .collect();
    devices.sort_by_key(|device| {
        (
            device.device_name != instance.root_device_name,
            device.device_name.clone(),
        )
    });
    devices
}

impl InstanceItem {
    pub fn new(region: &Region, instance: &Instance) -> Self {
        let exists = instance.exists();
        let kept = |text: &String| exists.then(|| text.clone());
        let instance_type = instance_types::find(&instance.instance_type);
        let profile = instance.instance_profile.as_ref();
        Self {
            instance_id: instance.id.clone(),
            image_id: instance.image_id.clone(),
            instance_state: instance.state.into(),
            private_dns_name: kept(&private_dns_name(region, &instance.private_ip)).unwrap_or_default(),
            dns_name: instance
                .public_ip
                .as_deref()
                .map(|ip| public_dns_name(region, ip))
                .unwrap_or_default(),
            reason: instance.transition_reason.clone(),
            key_name: instance.key_name.clone(),
            ami_launch_index: instance.launch_index,
            instance_type: instance.instance_type.clone(),
            launch_time: Time(instance.launched),
            placement: PlacementItem {
                availability_zone: instance.zone.clone(),
                availability_zone_id: region.zone_id(&instance.zone),
                group_name: "",
                tenancy: instance.tenancy.clone(),
            },
            monitoring: MonitoringItem {
                state: if instance.monitoring { "enabled" } else { "disabled" },
            },
            subnet_id: kept(&instance.subnet_id),
            vpc_id: kept(&instance.vpc_id),
            private_ip_address: kept(&instance.private_ip),
            ip_address: instance.public_ip.clone(),
            source_dest_check: exists.then_some(instance.source_dest_check),
            group_set: if exists {
                instance.security_groups.clone()
            } else {
                Vec::new()
            },
            state_reason: instance.state_reason.clone(),
            architecture: instance.architecture.clone(),
            root_device_type: "ebs",
            root_device_name: instance.root_device_name.clone(),
            block_device_mapping: block_devices(region, instance),
            virtualization_type: "hvm",
            client_token: instance.client_token.clone().unwrap_or_default(),
            tag_set: instance.tags.clone(),
            hypervisor: "xen",
            network_interface_set: if exists {
                vec![InstanceInterfaceItem::new(region, instance)]
            } else {
                Vec::new()
            },
            iam_instance_profile: profile.map(|name| IamInstanceProfileItem {
                arn: format!("arn:aws:iam::{}:instance-profile/{name}", region.account),
                id: format!(
                    "AIPA{:0>17}",
                    name.to_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "")
                ),
            }),
            ebs_optimized: instance.ebs_optimized,
            ena_support: true,
            cpu_options: CpuOptions {
                core_count: instance_type.map_or(1, InstanceType::cores),
                threads_per_core: instance_type.map_or(1, InstanceType::threads_per_core),
            },
            capacity_reservation_specification: CapacityReservationSpecificationItem {
                capacity_reservation_preference: instance.capacity_reservation_preference.clone(),
            },
            metadata_options: instance.metadata_options.clone(),
            boot_mode: instance.boot_mode.clone(),
            current_instance_boot_mode: match instance.boot_mode.as_deref() {
                Some("uefi" | "uefi-preferred") => "uefi",
                _ if instance.architecture == "arm64" => "uefi",
                _ => "legacy-bios",
            },
            platform_details: "Linux/UNIX",
            usage_operation: "RunInstances",
            usage_operation_update_time: Time(instance.launched),
            tpm_support: instance.tpm_support.clone(),
            product_codes: Vec::new(),
            hibernation_options: HibernationOptionsItem { configured: false },
            enclave_options: EnclaveOptionsItem { enabled: false },
            private_dns_name_options: PrivateDnsNameOptions::default(),
            maintenance_options: MaintenanceOptionsItem {
                auto_recovery: instance.auto_recovery.clone(),
            },
            reservation_id: instance.reservation_id.clone(),
            owner_id: region.account.clone(),
        }
    }

    pub fn devices(&self, field: impl Fn(&InstanceBlockDevice) -> String) -> Vec<String> {
        self.block_device_mapping.iter().map(field).collect()
    }

    pub fn groups(&self, field: impl Fn(&GroupIdentifier) -> String) -> Vec<String> {
        self.group_set.iter().map(field).collect()
    }
}
