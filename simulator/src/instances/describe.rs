//! DescribeInstances, and the reservation that RunInstances answers with.

use serde::{Deserialize, Serialize};

use super::Instance;
use super::item::InstanceItem;
use crate::describe::{Bounds, Filter, Page, ids_or_page, page};
use crate::ids::Kind;
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::{Region, shown};
use crate::security_groups::GroupIdentifier;

/// Instances launched by one call.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReservationItem {
    reservation_id: String,
    owner_id: String,
    group_set: Vec<GroupIdentifier>,
    instances_set: Vec<InstanceItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeInstancesRequest {
    #[serde(rename = "InstanceId", default)]
    instance_ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    /// Nothing here is managed by a service provider, so that this changes nothing in the answer.
    #[serde(rename = "IncludeManagedResources")]
    _include_managed_resources: Option<bool>,
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
