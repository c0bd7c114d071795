//! DescribeInstanceStatus.

use serde::{Deserialize, Serialize};

use super::{Instance, State, StateItem};
use crate::describe::{Bounds, Described, Field, Filter, Page, ids_or_page, page};
use crate::ids::Kind;
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::shown;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeInstanceStatusRequest {
    #[serde(rename = "InstanceId", default)]
    instance_ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    include_all_instances: Option<bool>,
    /// Nothing here is managed by a service provider, so that this changes nothing in the answer.
    #[serde(rename = "IncludeManagedResources")]
    _include_managed_resources: Option<bool>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeInstanceStatusResponse {
    instance_status_set: Vec<StatusItem>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusItem {
    instance_id: String,
    availability_zone: String,
    availability_zone_id: Option<String>,
    instance_state: StateItem,
    system_status: Summary,
    instance_status: Summary,
}

#[derive(Clone, Serialize)]
struct Summary {
    status: &'static str,
    details: Vec<Detail>,
}

#[derive(Clone, Serialize)]
struct Detail {
    name: &'static str,
    status: &'static str,
}

impl Described for StatusItem {
    const FILTERS: &'static [Field<Self>] = &[
        ("availability-zone", |s| vec![s.availability_zone.clone()]),
        ("availability-zone-id", |s| {
            s.availability_zone_id.iter().cloned().collect()
        }),
        ("instance-state-code", |s| vec![s.instance_state.code.to_string()]),
        ("instance-state-name", |s| vec![s.instance_state.name.to_owned()]),
        ("instance-status.reachability", |s| {
            s.instance_status.details.iter().map(|d| d.status.to_owned()).collect()
        }),
        ("instance-status.status", |s| vec![s.instance_status.status.to_owned()]),
        ("system-status.reachability", |s| {
            s.system_status.details.iter().map(|d| d.status.to_owned()).collect()
        }),
        ("system-status.status", |s| vec![s.system_status.status.to_owned()]),
        ("operator.managed", |_| vec!["false".to_owned()]),
    ];

    const EMPTY_FILTERS: &'static [&'static str] = &[
        "application-status.status",
        "attached-ebs-status.status",
        "event.code",
        "event.description",
        "event.instance-event-id",
        "event.not-after",
        "event.not-before",
        "event.not-before-deadline",
        "operator.principal",
    ];

    fn id(&self) -> String {
        self.instance_id.clone()
    }
}

/// Without `IncludeAllInstances`, running instances only.
pub fn describe_instance_status(
    call: &mut Call<'_>,
    request: DescribeInstanceStatusRequest,
) -> Result<DescribeInstanceStatusResponse, Error> {
    let wanted = Page {
        max_results: request.max_results,
        next_token: request.next_token,
    };
    ids_or_page(&request.instance_ids, "instancesSet", &wanted)?;
    let now = call.now;
    let seen = |instance: &Instance| instance.visible <= now;
    let region = &*call.region;
    let items = shown(Kind::Instance, &request.instance_ids, &region.instances, seen)?
        .into_iter()
        .filter(|instance| request.include_all_instances == Some(true) || instance.state == State::Running)
        .map(|instance| {
            let (status, detail) = match (instance.state, instance.checks_pass) {
                (State::Running, Some(pass)) if now >= pass => ("ok", Some("passed")),
                (State::Running, _) => ("initializing", Some("initializing")),
                _ => ("not-applicable", None),
            };
            let details = detail
                .map(|status| Detail {
                    name: "reachability",
                    status,
                })
                .into_iter()
                .collect();
            let summary = Summary { status, details };
            StatusItem {
                instance_id: instance.id.clone(),
                availability_zone: instance.zone.clone(),
                availability_zone_id: region.zone_id(&instance.zone),
                instance_state: instance.state.into(),
                system_status: summary.clone(),
                instance_status: summary,
            }
        })
        .collect();
    let (instance_status_set, next_token) = page(items, &request.filters, &wanted, Bounds::capped(5, 1000))?;
    Ok(DescribeInstanceStatusResponse {
        instance_status_set,
        next_token,
    })
}
