//! Security groups: DescribeSecurityGroups.

use serde::{Deserialize, Serialize};

use crate::describe::{Bounds, Described, Field, Filter, Page, ids_or_page, page};
use crate::ids::Kind;
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::named;
use crate::tags::Tags;

/// A security group, as it is kept and as it is described.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityGroup {
    pub group_id: String,
    pub group_name: String,
    pub group_description: String,
    pub security_group_arn: String,
    pub owner_id: String,
    pub vpc_id: String,
    pub ip_permissions: Vec<IpPermission>,
    pub ip_permissions_egress: Vec<IpPermission>,
    pub tag_set: Tags,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpPermission {
    /// A protocol's name, or -1 for all.
    pub ip_protocol: String,
    pub ip_ranges: Vec<IpRange>,
    /// Whose instances are let in.
    #[serde(default)]
    pub groups: Vec<UserIdGroupPair>,
    /// None: IPv6 is not simulated.
    #[serde(default)]
    pub ipv6_ranges: Vec<String>,
    /// None: prefix lists are not simulated.
    #[serde(default)]
    pub prefix_list_ids: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpRange {
    pub cidr_ip: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserIdGroupPair {
    pub group_id: String,
    pub user_id: String,
}

/// A group as instances and network interfaces name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupIdentifier {
    pub group_id: String,
    pub group_name: String,
}

fn ranges(rules: &[IpPermission]) -> Vec<String> {
    let ranges = rules.iter().flat_map(|rule| &rule.ip_ranges);
    ranges.map(|range| range.cidr_ip.clone()).collect()
}

fn protocols(rules: &[IpPermission]) -> Vec<String> {
    rules.iter().map(|rule| rule.ip_protocol.clone()).collect()
}

fn pairs(rules: &[IpPermission], field: impl Fn(&UserIdGroupPair) -> String) -> Vec<String> {
    rules.iter().flat_map(|rule| &rule.groups).map(field).collect()
}

impl SecurityGroup {
    pub fn identifier(&self) -> GroupIdentifier {
        GroupIdentifier {
            group_id: self.group_id.clone(),
            group_name: self.group_name.clone(),
        }
    }
}

impl Described for SecurityGroup {
    const FILTERS: &'static [Field<Self>] = &[
        ("description", |g| vec![g.group_description.clone()]),
        ("egress.ip-permission.cidr", |g| ranges(&g.ip_permissions_egress)),
        ("egress.ip-permission.group-id", |g| {
            pairs(&g.ip_permissions_egress, |pair| pair.group_id.clone())
        }),
        ("egress.ip-permission.protocol", |g| protocols(&g.ip_permissions_egress)),
        ("egress.ip-permission.user-id", |g| {
            pairs(&g.ip_permissions_egress, |pair| pair.user_id.clone())
        }),
        ("group-id", |g| vec![g.group_id.clone()]),
        ("group-name", |g| vec![g.group_name.clone()]),
        ("ip-permission.cidr", |g| ranges(&g.ip_permissions)),
        ("ip-permission.group-id", |g| {
            pairs(&g.ip_permissions, |pair| pair.group_id.clone())
        }),
        ("ip-permission.protocol", |g| protocols(&g.ip_permissions)),
        ("ip-permission.user-id", |g| {
            pairs(&g.ip_permissions, |pair| pair.user_id.clone())
        }),
        ("owner-id", |g| vec![g.owner_id.clone()]),
        ("vpc-id", |g| vec![g.vpc_id.clone()]),
    ];

    const EMPTY_FILTERS: &'static [&'static str] = &[
        "egress.ip-permission.from-port",
        "egress.ip-permission.group-name",
        "egress.ip-permission.ipv6-cidr",
        "egress.ip-permission.prefix-list-id",
        "egress.ip-permission.to-port",
        "ip-permission.from-port",
        "ip-permission.group-name",
        "ip-permission.ipv6-cidr",
        "ip-permission.prefix-list-id",
        "ip-permission.to-port",
    ];

    fn id(&self) -> String {
        self.group_id.clone()
    }

    fn tags(&self) -> &Tags {
        &self.tag_set
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeSecurityGroupsRequest {
    #[serde(rename = "GroupId", default)]
    group_ids: Vec<String>,
    #[serde(rename = "GroupName", default)]
    group_names: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeSecurityGroupsResponse {
    security_group_info: Vec<SecurityGroup>,
    next_token: Option<String>,
}

pub fn describe_security_groups(
    call: &mut Call<'_>,
    request: DescribeSecurityGroupsRequest,
) -> Result<DescribeSecurityGroupsResponse, Error> {
    let wanted = Page {
        max_results: request.max_results,
        next_token: request.next_token,
    };
    ids_or_page(&request.group_ids, "groupIds", &wanted)?;
    let mut items = named(
        Kind::SecurityGroup,
        &request.group_ids,
        call.region.security_groups.iter().cloned(),
    )?;
    for name in &request.group_names {
        if !items.iter().any(|group| group.group_name == *name) {
            return Err(Kind::SecurityGroup.not_found(name));
        }
    }
    items.retain(|group| request.group_names.is_empty() || request.group_names.contains(&group.group_name));
    let (security_group_info, next_token) = page(items, &request.filters, &wanted, Bounds::strict(5, 1000))?;
    Ok(DescribeSecurityGroupsResponse {
        security_group_info,
        next_token,
    })
}
