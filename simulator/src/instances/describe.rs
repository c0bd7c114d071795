//! DescribeInstances, and the reservation that RunInstances answers with.

use serde::{Deserialize, Serialize};

use super::{Instance, MetadataOptions, StateItem};
use crate::describe::{Bounds, Described, Field, Filter, Page, ids_or_page, page};
use crate::ids::Kind;
use crate::images::StateReason;
use crate::instance_types;
use crate::network_interfaces::{InstanceInterfaceItem, private_dns_name, public_dns_name};
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::{Region, shown};
use crate::security_groups::GroupIdentifier;
use crate::tags::Tags;
use crate::time::Time;
use crate::volumes::AttachmentState;

/// Instances launched by one call.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReservationItem {
    reservation_id: String,
    owner_id: String,
    group_set: Vec<GroupIdentifier>,
    instances_set: Vec<InstanceItem>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InstanceItem {
    instance_id: String,
    image_id: String,
    instance_state: StateItem,
    private_dns_name: String,
    dns_name: String,
    reason: String,
    key_name: Option<String>,
    ami_launch_index: u32,
    instance_type: String,
    launch_time: Time,
    placement: PlacementItem,
    monitoring: MonitoringItem,
    subnet_id: Option<String>,
    vpc_id: Option<String>,
    private_ip_address: Option<String>,
    ip_address: Option<String>,
    source_dest_check: Option<bool>,
    group_set: Vec<GroupIdentifier>,
    state_reason: Option<StateReason>,
    architecture: String,
    root_device_type: &'static str,
    root_device_name: String,
    block_device_mapping: Vec<InstanceBlockDevice>,
    virtualization_type: &'static str,
    client_token: String,
    tag_set: Tags,
    hypervisor: &'static str,
    network_interface_set: Vec<InstanceInterfaceItem>,
    iam_instance_profile: Option<IamInstanceProfileItem>,
    ebs_optimized: bool,
    ena_support: bool,
    cpu_options: CpuOptions,
    capacity_reservation_specification: CapacityReservationSpecificationItem,
    metadata_options: MetadataOptions,
    boot_mode: Option<String>,
    current_instance_boot_mode: &'static str,
    platform_details: &'static str,
    usage_operation: &'static str,
    maintenance_options: MaintenanceOptionsItem,
    #[serde(skip)]
    reservation_id: String,
    #[serde(skip)]
    owner_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlacementItem {
    availability_zone: String,
    availability_zone_id: Option<String>,
    group_name: &'static str,
    tenancy: String,
}

#[derive(Serialize)]
struct MonitoringItem {
    state: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceBlockDevice {
    device_name: String,
    ebs: InstanceEbs,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InstanceEbs {
    volume_id: String,
    status: AttachmentState,
    attach_time: Time,
    delete_on_termination: bool,
}

#[derive(Serialize)]
struct IamInstanceProfileItem {
    arn: String,
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CpuOptions {
    core_count: u32,
    threads_per_core: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CapacityReservationSpecificationItem {
    capacity_reservation_preference: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MaintenanceOptionsItem {
    auto_recovery: String,
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
    fn new(region: &Region, instance: &Instance) -> Self {
        let exists = instance.exists();
        let kept = |text: &String| exists.then(|| text.clone());
        let instance_type = instance_types::find(&instance.instance_type);
        let vcpus = instance_type.map_or(1, |known| known.vcpus);
        let threads_per_core = if instance.architecture == "arm64" || vcpus == 1 {
            1
        } else {
            2
        };
        let profile = instance.instance_profile.as_ref();
        let zone = region.zones.iter().find(|zone| zone.zone_name == instance.zone);
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
                availability_zone_id: zone.map(|zone| zone.zone_id.clone()),
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
                core_count: vcpus / threads_per_core,
                threads_per_core,
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
            maintenance_options: MaintenanceOptionsItem {
                auto_recovery: instance.auto_recovery.clone(),
            },
            reservation_id: instance.reservation_id.clone(),
            owner_id: region.account.clone(),
        }
    }

    fn devices(&self, field: impl Fn(&InstanceBlockDevice) -> String) -> Vec<String> {
        self.block_device_mapping.iter().map(field).collect()
    }

    fn groups(&self, field: impl Fn(&GroupIdentifier) -> String) -> Vec<String> {
        self.group_set.iter().map(field).collect()
    }
}

fn optional(value: &Option<String>) -> Vec<String> {
    value.iter().cloned().collect()
}

impl Described for InstanceItem {
    const FILTERS: &'static [Field<Self>] = &[
        ("architecture", |i| vec![i.architecture.clone()]),
        ("availability-zone", |i| vec![i.placement.availability_zone.clone()]),
        ("availability-zone-id", |i| optional(&i.placement.availability_zone_id)),
        ("block-device-mapping.attach-time", |i| {
            i.devices(|d| d.ebs.attach_time.to_string())
        }),
        ("block-device-mapping.delete-on-termination", |i| {
            i.devices(|d| d.ebs.delete_on_termination.to_string())
        }),
        ("block-device-mapping.device-name", |i| {
            i.devices(|d| d.device_name.clone())
        }),
        ("block-device-mapping.volume-id", |i| {
            i.devices(|d| d.ebs.volume_id.clone())
        }),
        ("boot-mode", |i| optional(&i.boot_mode)),
        ("client-token", |i| vec![i.client_token.clone()]),
        ("current-instance-boot-mode", |i| {
            vec![i.current_instance_boot_mode.to_owned()]
        }),
        ("dns-name", |i| vec![i.dns_name.clone()]),
        ("ebs-optimized", |i| vec![i.ebs_optimized.to_string()]),
        ("ena-support", |i| vec![i.ena_support.to_string()]),
        ("hypervisor", |i| vec![i.hypervisor.to_owned()]),
        ("iam-instance-profile.arn", |i| {
            i.iam_instance_profile.iter().map(|p| p.arn.clone()).collect()
        }),
        ("iam-instance-profile.id", |i| {
            i.iam_instance_profile.iter().map(|p| p.id.clone()).collect()
        }),
        ("image-id", |i| vec![i.image_id.clone()]),
        ("instance-id", |i| vec![i.instance_id.clone()]),
        ("instance-state-code", |i| vec![i.instance_state.code.to_string()]),
        ("instance-state-name", |i| vec![i.instance_state.name.to_owned()]),
        ("instance-type", |i| vec![i.instance_type.clone()]),
        ("instance.group-id", |i| i.groups(|g| g.group_id.clone())),
        ("instance.group-name", |i| i.groups(|g| g.group_name.clone())),
        ("ip-address", |i| optional(&i.ip_address)),
        ("key-name", |i| optional(&i.key_name)),
        ("launch-index", |i| vec![i.ami_launch_index.to_string()]),
        ("launch-time", |i| vec![i.launch_time.to_string()]),
        ("metadata-options.http-endpoint", |i| {
            vec![i.metadata_options.http_endpoint.clone()]
        }),
        ("metadata-options.http-tokens", |i| {
            vec![i.metadata_options.http_tokens.clone()]
        }),
        ("monitoring-state", |i| vec![i.monitoring.state.to_owned()]),
        ("network-interface.network-interface-id", |i| {
            i.network_interface_set
                .iter()
                .map(|n| n.network_interface_id.clone())
                .collect()
        }),
        ("owner-id", |i| vec![i.owner_id.clone()]),
        ("platform-details", |i| vec![i.platform_details.to_owned()]),
        ("private-dns-name", |i| vec![i.private_dns_name.clone()]),
        ("private-ip-address", |i| optional(&i.private_ip_address)),
        ("reason", |i| vec![i.reason.clone()]),
        ("reservation-id", |i| vec![i.reservation_id.clone()]),
        ("root-device-name", |i| vec![i.root_device_name.clone()]),
        ("root-device-type", |i| vec![i.root_device_type.to_owned()]),
        ("state-reason-code", |i| {
            i.state_reason.iter().map(|r| r.code.clone()).collect()
        }),
        ("state-reason-message", |i| {
            i.state_reason.iter().map(|r| r.message.clone()).collect()
        }),
        ("subnet-id", |i| optional(&i.subnet_id)),
        ("tenancy", |i| vec![i.placement.tenancy.clone()]),
        ("virtualization-type", |i| vec![i.virtualization_type.to_owned()]),
        ("vpc-id", |i| optional(&i.vpc_id)),
    ];

    fn id(&self) -> String {
        self.instance_id.clone()
    }

    fn tags(&self) -> &Tags {
        &self.tag_set
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeInstancesRequest {
    #[serde(rename = "InstanceId", default)]
    instance_ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeInstancesResponse {
    reservation_set: Vec<ReservationItem>,
    next_token: Option<String>,
}

pub fn describe_instances(
    call: &mut Call<'_>,
    request: DescribeInstancesRequest,
) -> Result<DescribeInstancesResponse, Error> {
    let wanted = Page {
        max_results: request.max_results,
        next_token: request.next_token,
    };
    ids_or_page(&request.instance_ids, "instancesSet", &wanted)?;
    let (region, now) = (&*call.region, call.now);
    let seen = |instance: &Instance| instance.visible <= now;
    let instances = shown(Kind::Instance, &request.instance_ids, &region.instances, seen)?;
    let items = instances
        .into_iter()
        .map(|instance| InstanceItem::new(region, instance))
        .collect();
    let (items, next_token) = page(items, &request.filters, &wanted, Bounds::capped(5, 1000))?;
    Ok(DescribeInstancesResponse {
        reservation_set: group(items),
        next_token,
    })
}

/// Instances by their reservation, in the order in which reservations first appear.
fn group(items: Vec<InstanceItem>) -> Vec<ReservationItem> {
    let mut reservations: Vec<ReservationItem> = Vec::new();
    for item in items {
        match reservations
            .iter_mut()
            .find(|reservation| reservation.reservation_id == item.reservation_id)
        {
            Some(reservation) => reservation.instances_set.push(item),
            None => reservations.push(ReservationItem {
                reservation_id: item.reservation_id.clone(),
                owner_id: item.owner_id.clone(),
                group_set: Vec::new(),
                instances_set: vec![item],
            }),
        }
    }
    reservations
}

/// One reservation, as RunInstances answers.
pub fn reservation(region: &Region, id: &str) -> ReservationItem {
    let instances = region
        .instances
        .values()
        .filter(|instance| instance.reservation_id == id);
    let mut items: Vec<InstanceItem> = instances.map(|instance| InstanceItem::new(region, instance)).collect();
    items.sort_by_key(|item| item.ami_launch_index);
    ReservationItem {
        reservation_id: id.to_owned(),
        owner_id: region.account.clone(),
        group_set: Vec::new(),
        instances_set: items,
    }
}
