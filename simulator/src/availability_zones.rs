//! Availability zones: DescribeAvailabilityZones.

use serde::{Deserialize, Serialize};

use crate::describe::{Described, Field, Filter, select};
use crate::operations::Call;
use crate::protocol::Error;

/// A zone of a region.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AvailabilityZone {
    pub zone_name: String,
    /// The same physical zone in every account.
    pub zone_id: String,
    pub region_name: String,
    pub zone_state: String,
    /// None: nothing is ever wrong with a zone.
    #[serde(default)]
    pub message_set: Vec<String>,
    pub group_name: String,
    pub network_border_group: String,
    pub zone_type: String,
    pub opt_in_status: String,
}

impl Described for AvailabilityZone {
    const FILTERS: &'static [Field<Self>] = &[
        ("group-name", |z| vec![z.group_name.clone()]),
        ("opt-in-status", |z| vec![z.opt_in_status.clone()]),
        ("region-name", |z| vec![z.region_name.clone()]),
        ("state", |z| vec![z.zone_state.clone()]),
        ("zone-id", |z| vec![z.zone_id.clone()]),
        ("zone-name", |z| vec![z.zone_name.clone()]),
        ("zone-type", |z| vec![z.zone_type.clone()]),
    ];

    const EMPTY_FILTERS: &'static [&'static str] =
        &["group-long-name", "message", "parent-zone-id", "parent-zone-name"];

    fn id(&self) -> String {
        self.zone_name.clone()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeAvailabilityZonesRequest {
    #[serde(rename = "ZoneName", default)]
    names: Vec<String>,
    #[serde(rename = "ZoneId", default)]
    ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    /// Every zone here is enabled, so that this changes nothing in the answer.
    #[serde(rename = "AllAvailabilityZones")]
    _all: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeAvailabilityZonesResponse {
    availability_zone_info: Vec<AvailabilityZone>,
}

pub fn describe_availability_zones(
    call: &mut Call<'_>,
    request: DescribeAvailabilityZonesRequest,
) -> Result<DescribeAvailabilityZonesResponse, Error> {
    let zones = &call.region.zones;
    for name in &request.names {
        if !zones.iter().any(|zone| zone.zone_name == *name) {
            return Err(Error::new(
                "InvalidParameterValue",
                format!("Invalid availability zone: [{name}]"),
            ));
        }
    }
    for id in &request.ids {
        if !zones.iter().any(|zone| zone.zone_id == *id) {
            return Err(Error::new(
                "InvalidParameterValue",
                format!("Invalid availability zone-id: [{id}]"),
            ));
        }
    }
    let items = zones
        .iter()
        .filter(|zone| request.names.is_empty() || request.names.contains(&zone.zone_name))
        .filter(|zone| request.ids.is_empty() || request.ids.contains(&zone.zone_id))
        .cloned()
        .collect();
    Ok(DescribeAvailabilityZonesResponse {
        availability_zone_info: select(items, &request.filters)?,
    })
}
