//! Who is let in: AuthorizeSecurityGroupIngress, RevokeSecurityGroupIngress.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::create::find;
use super::{IpPermission, IpRange, SecurityGroup, UserIdGroupPair};
use crate::ids::Kind;
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::Region;

/// Of a group and direction; EC2's default quota.
const MOST_RULES: usize = 60;

/// Of both operations. IPv6, prefix lists, and rules by id are not simulated.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IngressRequest {
    group_id: Option<String>,
    group_name: Option<String>,
    #[serde(default)]
    ip_permissions: Vec<IpPermissionRequest>,
    ip_protocol: Option<String>,
    from_port: Option<i32>,
    to_port: Option<i32>,
    cidr_ip: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IpPermissionRequest {
    ip_protocol: String,
    from_port: Option<i32>,
    to_port: Option<i32>,
    #[serde(default)]
    ip_ranges: Vec<IpRangeRequest>,
    #[serde(default)]
    groups: Vec<UserIdGroupPairRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IpRangeRequest {
    cidr_ip: String,
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UserIdGroupPairRequest {
    group_id: String,
    user_id: Option<String>,
    description: Option<String>,
}

/// One rule: a protocol and ports, and who.
struct Rule {
    ip_protocol: String,
    from_port: Option<i32>,
    to_port: Option<i32>,
    source: Source,
}

enum Source {
    Range(IpRange),
    Group(UserIdGroupPair),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizeResponse {
    #[serde(rename = "return")]
    value: bool,
    security_group_rule_set: Vec<SecurityGroupRule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecurityGroupRule {
    security_group_rule_id: String,
    group_id: String,
    group_owner_id: String,
    is_egress: bool,
    ip_protocol: String,
    from_port: i32,
    to_port: i32,
    cidr_ipv4: Option<String>,
    referenced_group_info: Option<ReferencedGroup>,
    description: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferencedGroup {
    group_id: String,
    user_id: String,
}

/// Adds all rules or none; one that is there already is an error.
pub fn authorize_security_group_ingress(
    call: &mut Call<'_>,
    request: IngressRequest,
) -> Result<AuthorizeResponse, Error> {
    let region = &mut *call.region;
    let (id, rules) = read(region, request)?;
    let described = rules.iter().map(|rule| rule.describe(region, &id)).collect();
    let group = find(region, Some(&id), None)?;
    let mut permissions = group.ip_permissions.clone();
    for rule in rules {
        if rule.is_in(&permissions) {
            let message = format!("the specified rule \"{rule}\" already exists");
            return Err(Error::new("InvalidPermission.Duplicate", message));
        }
        rule.add_to(&mut permissions);
    }
    if permissions.iter().map(IpPermission::rules).sum::<usize>() > MOST_RULES {
        let message = "The maximum number of rules per security group has been reached.";
        return Err(Error::new("RulesPerSecurityGroupLimitExceeded", message));
    }
    group.ip_permissions = permissions;
    Ok(AuthorizeResponse {
        value: true,
        security_group_rule_set: described,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokeResponse {
    #[serde(rename = "return")]
    value: bool,
    unknown_ip_permission_set: Vec<IpPermission>,
}

/// Takes rules away. One that is not there is said in a default VPC, and an error in another.
pub fn revoke_security_group_ingress(call: &mut Call<'_>, request: IngressRequest) -> Result<RevokeResponse, Error> {
    let region = &mut *call.region;
    let (id, rules) = read(region, request)?;
    let defaults: Vec<String> = region
        .vpcs
        .iter()
        .filter(|vpc| vpc.is_default)
        .map(|vpc| vpc.vpc_id.clone())
        .collect();
    let group = find(region, Some(&id), None)?;
    let mut permissions = group.ip_permissions.clone();
    let mut unknown = Vec::new();
    for rule in rules {
        if rule.is_in(&permissions) {
            rule.take_from(&mut permissions);
        } else if defaults.contains(&group.vpc_id) {
            rule.add_to(&mut unknown);
        } else {
            let message = "The specified rule does not exist in this security group.";
            return Err(Error::new("InvalidPermission.NotFound", message));
        }
    }
    group.ip_permissions = permissions;
    Ok(RevokeResponse {
        value: true,
        unknown_ip_permission_set: unknown,
    })
}

/// The id of the group that is meant, and the rules, each by itself.
fn read(region: &mut Region, request: IngressRequest) -> Result<(String, Vec<Rule>), Error> {
    let group = find(region, request.group_id.as_ref(), request.group_name.as_ref())?;
    let (id, vpc_id) = (group.group_id.clone(), group.vpc_id.clone());
    let mut permissions = request.ip_permissions;
    let alone = request.cidr_ip.is_some() || request.from_port.is_some() || request.to_port.is_some();
    match request.ip_protocol {
        given if (alone || given.is_some()) && !permissions.is_empty() => {
            let message = "The parameter ipPermissions cannot be used with ipProtocol, fromPort, toPort and cidrIp";
            return Err(Error::combination(message));
        }
        Some(ip_protocol) => permissions.push(IpPermissionRequest {
            ip_protocol,
            from_port: request.from_port,
            to_port: request.to_port,
            ip_ranges: request
                .cidr_ip
                .into_iter()
                .map(|cidr_ip| IpRangeRequest {
                    cidr_ip,
                    description: None,
                })
                .collect(),
            groups: Vec::new(),
        }),
        None if permissions.is_empty() => return Err(Error::missing("ipPermissions")),
        None => {}
    }
    let mut rules = Vec::new();
    for permission in permissions {
        let ip_protocol = protocol(&permission.ip_protocol)?;
        let (from_port, to_port) = ports(&ip_protocol, permission.from_port, permission.to_port)?;
        let ranges = permission.ip_ranges.into_iter().map(|range| {
            Ok(Source::Range(IpRange {
                cidr_ip: canonical(&range.cidr_ip)?,
                description: range.description,
            }))
        });
        let groups = permission.groups.into_iter().map(|pair| {
            Kind::SecurityGroup.check(&pair.group_id)?;
            let there = |group: &SecurityGroup| group.group_id == pair.group_id && group.vpc_id == vpc_id;
            // Groups of other accounts are not simulated.
            let ours = pair.user_id.is_none_or(|account| account == region.account);
            if !ours || !region.security_groups.iter().any(there) {
                return Err(Kind::SecurityGroup.not_found(&pair.group_id));
            }
            Ok(Source::Group(UserIdGroupPair {
                group_id: pair.group_id,
                user_id: region.account.clone(),
                description: pair.description,
            }))
        });
        let sources = ranges.chain(groups).collect::<Result<Vec<_>, Error>>()?;
        if sources.is_empty() {
            let message = "Missing source specification: include source security group or CIDR information";
            return Err(Error::new("MissingParameter", message));
        }
        rules.extend(sources.into_iter().map(|source| Rule {
            ip_protocol: ip_protocol.clone(),
            from_port,
            to_port,
            source,
        }));
    }
    Ok((id, rules))
}

/// A protocol by its name, if EC2 has one for it, else its number.
fn protocol(given: &str) -> Result<String, Error> {
    let name = match given.to_ascii_lowercase().as_str() {
        "-1" | "all" => "-1",
        "6" | "tcp" => "tcp",
        "17" | "udp" => "udp",
        "1" | "icmp" => "icmp",
        "58" | "icmpv6" => "icmpv6",
        // Written as EC2 does; one with a name was met above.
        number if number.parse::<u8>().is_ok_and(|parsed| parsed.to_string() == number) => return Ok(number.to_owned()),
        _ => {
            let message = format!("Invalid value '{given}' for IP protocol. Unknown protocol.");
            return Err(Error::new("InvalidParameterValue", message));
        }
    };
    Ok(name.to_owned())
}

/// Ports of TCP and UDP, type and code of ICMP; any other protocol has none, whatever is given.
fn ports(protocol: &str, from: Option<i32>, to: Option<i32>) -> Result<(Option<i32>, Option<i32>), Error> {
    let invalid = |message: String| Err(Error::new("InvalidParameterValue", message));
    match (protocol, from, to) {
        ("tcp" | "udp", Some(from), Some(to)) => {
            if !(0..=65_535).contains(&from) || !(from..=65_535).contains(&to) {
                let protocol = protocol.to_uppercase();
                return invalid(format!("Invalid {protocol} port range ({from}:{to})"));
            }
            Ok((Some(from), Some(to)))
        }
        ("tcp" | "udp", ..) => {
            let message = "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.";
            invalid(message.to_owned())
        }
        ("icmp" | "icmpv6", from, to) => {
            let (from, to) = (from.unwrap_or(-1), to.unwrap_or(-1));
            if !(-1..=255).contains(&from) || !(-1..=255).contains(&to) {
                return invalid(format!("ICMP type ({from}) or code ({to}) out of range"));
            }
            Ok((Some(from), Some(to)))
        }
        _ => Ok((None, None)),
    }
}

/// A range as EC2 keeps it: the bits that it does not fix are zero.
fn canonical(cidr: &str) -> Result<String, Error> {
    let malformed = || Error::new("InvalidParameterValue", format!("CIDR block {cidr} is malformed"));
    let (address, length) = cidr.split_once('/').ok_or_else(malformed)?;
    let address: Ipv4Addr = address.parse().map_err(|_| malformed())?;
    let length: u32 = length.parse().map_err(|_| malformed())?;
    let free = 32_u32.checked_sub(length).ok_or_else(malformed)?;
    let mask = u32::MAX.checked_shl(free).unwrap_or(0);
    Ok(format!("{}/{length}", Ipv4Addr::from_bits(address.to_bits() & mask)))
}

impl Rule {
    fn fits(&self, permission: &IpPermission) -> bool {
        (&self.ip_protocol, self.from_port, self.to_port)
            == (&permission.ip_protocol, permission.from_port, permission.to_port)
    }

    /// Whether there is such a rule, however it is described.
    fn is_in(&self, permissions: &[IpPermission]) -> bool {
        let mut fitting = permissions.iter().filter(|permission| self.fits(permission));
        fitting.any(|permission| match &self.source {
            Source::Range(range) => permission.ip_ranges.iter().any(|other| other.cidr_ip == range.cidr_ip),
            Source::Group(pair) => permission.groups.iter().any(|other| other.group_id == pair.group_id),
        })
    }

    fn add_to(self, permissions: &mut Vec<IpPermission>) {
        let position = permissions.iter().position(|permission| self.fits(permission));
        let mut permission = match position {
            Some(position) => permissions.remove(position),
            None => IpPermission {
                ip_protocol: self.ip_protocol,
                from_port: self.from_port,
                to_port: self.to_port,
                ..IpPermission::of_all_traffic()
            },
        };
        match self.source {
            Source::Range(range) => permission.ip_ranges.push(range),
            Source::Group(pair) => permission.groups.push(pair),
        }
        permissions.push(permission);
    }

    fn take_from(&self, permissions: &mut Vec<IpPermission>) {
        for permission in permissions.iter_mut().filter(|permission| self.fits(permission)) {
            match &self.source {
                Source::Range(range) => permission.ip_ranges.retain(|other| other.cidr_ip != range.cidr_ip),
                Source::Group(pair) => permission.groups.retain(|other| other.group_id != pair.group_id),
            }
        }
        permissions.retain(|permission| permission.rules() > 0);
    }

    fn describe(&self, region: &mut Region, group_id: &str) -> SecurityGroupRule {
        let (range, pair) = match &self.source {
            Source::Range(range) => (Some(range), None),
            Source::Group(pair) => (None, Some(pair)),
        };
        SecurityGroupRule {
            security_group_rule_id: region.random.id("sgr"),
            group_id: group_id.to_owned(),
            group_owner_id: region.account.clone(),
            is_egress: false,
            ip_protocol: self.ip_protocol.clone(),
            from_port: self.from_port.unwrap_or(-1),
            to_port: self.to_port.unwrap_or(-1),
            cidr_ipv4: range.map(|range| range.cidr_ip.clone()),
            referenced_group_info: pair.map(|pair| ReferencedGroup {
                group_id: pair.group_id.clone(),
                user_id: pair.user_id.clone(),
            }),
            description: range
                .and_then(|range| range.description.clone())
                .or_else(|| pair.and_then(|pair| pair.description.clone())),
        }
    }
}

/// As EC2 writes a rule in its messages.
impl std::fmt::Display for Rule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let peer = match &self.source {
            Source::Range(range) => &range.cidr_ip,
            Source::Group(pair) => &pair.group_id,
        };
        let protocol = match self.ip_protocol.as_str() {
            "-1" => "ALL".to_owned(),
            other => other.to_uppercase(),
        };
        write!(formatter, "peer: {peer}, {protocol}, ")?;
        if let (Some(from), Some(to)) = (self.from_port, self.to_port) {
            write!(formatter, "from port: {from}, to port: {to}, ")?;
        }
        write!(formatter, "ALLOW")
    }
}

impl IpPermission {
    /// How many rules it stands for.
    fn rules(&self) -> usize {
        self.ip_ranges.len() + self.groups.len()
    }
}
