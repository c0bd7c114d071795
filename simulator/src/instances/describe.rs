//! DescribeInstances, and the reservation that RunInstances answers with.

use serde::{Deserialize, Serialize};

use super::Instance;
use super::item::InstanceItem;
use crate::describe::{Bounds, Described, Field, Filter, Page, ids_or_page, page};
use crate::ids::Kind;
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::{Region, shown};
use crate::security_groups::GroupIdentifier;
use crate::tags::Tags;

/// Instances launched by one call.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReservationItem {
    reservation_id: String,
    owner_id: String,
    group_set: Vec<GroupIdentifier>,
    instances_set: Vec<InstanceItem>,
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
