//! Regions: DescribeRegions.

use serde::{Deserialize, Serialize};

use crate::describe::{Described, Field, Filter, select};
use crate::operations::Call;
use crate::protocol::Error;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeRegionsRequest {
    #[serde(rename = "RegionName", default)]
    names: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    /// Every region here is enabled, so that this changes nothing in the answer.
    #[serde(rename = "AllRegions")]
    _all_regions: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeRegionsResponse {
    region_info: Vec<RegionInfo>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RegionInfo {
    region_name: String,
    region_endpoint: String,
    opt_in_status: &'static str,
}

impl Described for RegionInfo {
    const FILTERS: &'static [Field<Self>] = &[
        ("endpoint", |r| vec![r.region_endpoint.clone()]),
        ("opt-in-status", |r| vec![r.opt_in_status.to_owned()]),
        ("region-name", |r| vec![r.region_name.clone()]),
    ];

    fn id(&self) -> String {
        self.region_name.clone()
    }
}

pub fn describe_regions(
    call: &mut Call<'_>,
    request: DescribeRegionsRequest,
) -> Result<DescribeRegionsResponse, Error> {
    let known: Vec<&String> = call.others.keys().chain([&call.region.name]).collect();
    if let Some(unknown) = request.names.iter().find(|name| !known.contains(name)) {
        return Err(Error::new(
            "InvalidParameterValue",
            format!("Invalid region names: [{unknown}]"),
        ));
    }
    let items = known
        .into_iter()
        .filter(|name| request.names.is_empty() || request.names.contains(name))
        .map(|name| RegionInfo {
            region_name: name.clone(),
            region_endpoint: format!("ec2.{name}.amazonaws.com"),
            opt_in_status: "opt-in-not-required",
        })
        .collect();
    Ok(DescribeRegionsResponse {
        region_info: select(items, &request.filters)?,
    })
}
