//! Security groups: what they are, and DescribeSecurityGroups.

mod create;
mod rules;

pub use create::{create_security_group, delete_security_group};
pub use rules::{authorize_security_group_ingress, revoke_security_group_ingress};

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

/// Rules of one protocol and range of ports.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpPermission {
    /// A protocol's name or number, or -1 for all.
    pub ip_protocol: String,
    /// Of TCP and UDP, or ICMP's type; -1 is any type.
    #[serde(default)]
    pub from_port: Option<i32>,
    /// Of TCP and UDP, or ICMP's code; -1 is any code.
    #[serde(default)]
    pub to_port: Option<i32>,
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
    #[serde(default)]
    pub description: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserIdGroupPair {
    pub group_id: String,
    pub user_id: String,
    #[serde(default)]
    pub description: Option<String>,
}

/// A group as instances and network interfaces name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupIdentifier {
    pub group_id: String,
    pub group_name: String,
}

impl IpPermission {
    /// Every protocol and port, to or from nobody yet.
    pub fn of_all_traffic() -> Self {
        Self {
            ip_protocol: "-1".to_owned(),
            from_port: None,
            to_port: None,
            ip_ranges: Vec::new(),
            groups: Vec::new(),
            ipv6_ranges: Vec::new(),
            prefix_list_ids: Vec::new(),
        }
    }
}

fn ranges(rules: &[IpPermission]) -> Vec<String> {
    let ranges = rules.iter().flat_map(|rule| &rule.ip_ranges);
    ranges.map(|range| range.cidr_ip.clone()).collect()
}

fn protocols(rules: &[IpPermission]) -> Vec<String> {
    rules.iter().map(|rule| rule.ip_protocol.clone()).collect()
}

fn ports(rules: &[IpPermission], port: impl Fn(&IpPermission) -> Option<i32>) -> Vec<String> {
    rules.iter().filter_map(port).map(|port| port.to_string()).collect()
}

fn pairs(rules: &[IpPermission], field: impl Fn(&UserIdGroupPair) -> String) -> Vec<String> {
    rules.iter().flat_map(|rule| &rule.groups).map(field).collect()
}

impl SecurityGroup {
    /// Lets nobody in and everything out, as EC2 makes groups.
    pub fn new(region: &str, owner_id: &str, id: String, name: &str, description: &str, vpc_id: &str) -> Self {
        let mut out = IpPermission::of_all_traffic();
        out.ip_ranges.push(IpRange {
            cidr_ip: "0.0.0.0/0".to_owned(),
            description: None,
        });
        Self {
            security_group_arn: format!("arn:aws:ec2:{region}:{owner_id}:security-group/{id}"),
            group_id: id,
            group_name: name.to_owned(),
            group_description: description.to_owned(),
            owner_id: owner_id.to_owned(),
            vpc_id: vpc_id.to_owned(),
            ip_permissions: Vec::new(),
            ip_permissions_egress: vec![out],
            tag_set: Tags::default(),
        }
    }

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
        ("egress.ip-permission.from-port", |g| {
            ports(&g.ip_permissions_egress, |rule| rule.from_port)
        }),
        ("egress.ip-permission.group-id", |g| {
            pairs(&g.ip_permissions_egress, |pair| pair.group_id.clone())
        }),
        ("egress.ip-permission.protocol", |g| protocols(&g.ip_permissions_egress)),
        ("egress.ip-permission.to-port", |g| {
            ports(&g.ip_permissions_egress, |rule| rule.to_port)
        }),
        ("egress.ip-permission.user-id", |g| {
            pairs(&g.ip_permissions_egress, |pair| pair.user_id.clone())
        }),
        ("group-id", |g| vec![g.group_id.clone()]),
        ("group-name", |g| vec![g.group_name.clone()]),
        ("ip-permission.cidr", |g| ranges(&g.ip_permissions)),
        ("ip-permission.from-port", |g| {
            ports(&g.ip_permissions, |rule| rule.from_port)
        }),
        ("ip-permission.group-id", |g| {
            pairs(&g.ip_permissions, |pair| pair.group_id.clone())
        }),
        ("ip-permission.protocol", |g| protocols(&g.ip_permissions)),
        ("ip-permission.to-port", |g| {
            ports(&g.ip_permissions, |rule| rule.to_port)
        }),
        ("ip-permission.user-id", |g| {
            pairs(&g.ip_permissions, |pair| pair.user_id.clone())
        }),
        ("owner-id", |g| vec![g.owner_id.clone()]),
        ("vpc-id", |g| vec![g.vpc_id.clone()]),
    ];

    const EMPTY_FILTERS: &'static [&'static str] = &[
        "egress.ip-permission.group-name",
        "egress.ip-permission.ipv6-cidr",
        "egress.ip-permission.prefix-list-id",
        "ip-permission.group-name",
        "ip-permission.ipv6-cidr",
        "ip-permission.prefix-list-id",
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
