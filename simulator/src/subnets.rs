//! Subnets: DescribeSubnets.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::describe::{Bounds, Described, Field, Filter, Page, ids_or_page, page};
use crate::ids::Kind;
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::named;
use crate::tags::Tags;

/// A subnet, as it is kept and, with its free addresses counted, as it is described.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subnet {
    pub subnet_id: String,
    pub subnet_arn: String,
    pub state: String,
    pub vpc_id: String,
    pub cidr_block: String,
    /// Addresses that no instance holds; counted when it is described.
    #[serde(default)]
    pub available_ip_address_count: usize,
    pub availability_zone: String,
    pub availability_zone_id: String,
    pub default_for_az: bool,
    pub map_public_ip_on_launch: bool,
    pub assign_ipv6_address_on_creation: bool,
    #[serde(default)]
    pub enable_dns64: bool,
    #[serde(default)]
    pub ipv6_native: bool,
    /// None: IPv6 is not simulated.
    #[serde(default)]
    pub ipv6_cidr_block_association_set: Vec<String>,
    #[serde(default)]
    pub map_customer_owned_ip_on_launch: bool,
    #[serde(default)]
    pub private_dns_name_options_on_launch: PrivateDnsNameOptions,
    pub owner_id: String,
    pub tag_set: Tags,
}

/// How the names of instances are made, and which records there are for them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrivateDnsNameOptions {
    pub hostname_type: String,
    pub enable_resource_name_dns_a_record: bool,
    #[serde(rename = "enableResourceNameDnsAAAARecord")]
    pub enable_resource_name_dns_aaaa_record: bool,
}

impl Default for PrivateDnsNameOptions {
    fn default() -> Self {
        Self {
            hostname_type: "ip-name".to_owned(),
            enable_resource_name_dns_a_record: false,
            enable_resource_name_dns_aaaa_record: false,
        }
    }
}

impl Subnet {
    /// The addresses that instances can have; the first four and the last are AWS's own.
    pub fn hosts(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let (network, prefix) = self.cidr_block.split_once('/').unwrap_or((&self.cidr_block, "32"));
        let network = network.parse::<Ipv4Addr>().map(u32::from).unwrap_or_default();
        let bits = 32 - prefix.parse::<u32>().unwrap_or(32).min(32);
        let size = 1_u32.checked_shl(bits).unwrap_or(u32::MAX);
        (4..size.saturating_sub(1)).map(move |host| Ipv4Addr::from(network.wrapping_add(host)))
    }
}

impl Described for Subnet {
    const FILTERS: &'static [Field<Self>] = &[
        ("availability-zone", |s| vec![s.availability_zone.clone()]),
        ("availabilityZone", |s| vec![s.availability_zone.clone()]),
        ("availability-zone-id", |s| vec![s.availability_zone_id.clone()]),
        ("availabilityZoneId", |s| vec![s.availability_zone_id.clone()]),
        ("available-ip-address-count", |s| {
            vec![s.available_ip_address_count.to_string()]
        }),
        ("cidr", |s| vec![s.cidr_block.clone()]),
        ("cidr-block", |s| vec![s.cidr_block.clone()]),
        ("cidrBlock", |s| vec![s.cidr_block.clone()]),
        ("default-for-az", |s| vec![s.default_for_az.to_string()]),
        ("defaultForAz", |s| vec![s.default_for_az.to_string()]),
        ("enable-dns64", |s| vec![s.enable_dns64.to_string()]),
        ("ipv6-native", |s| vec![s.ipv6_native.to_string()]),
        ("map-customer-owned-ip-on-launch", |s| {
            vec![s.map_customer_owned_ip_on_launch.to_string()]
        }),
        ("map-public-ip-on-launch", |s| {
            vec![s.map_public_ip_on_launch.to_string()]
        }),
        ("owner-id", |s| vec![s.owner_id.clone()]),
        (
            "private-dns-name-options-on-launch.enable-resource-name-dns-a-record",
            |s| {
                let options = &s.private_dns_name_options_on_launch;
                vec![options.enable_resource_name_dns_a_record.to_string()]
            },
        ),
        (
            "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record",
            |s| {
                let options = &s.private_dns_name_options_on_launch;
                vec![options.enable_resource_name_dns_aaaa_record.to_string()]
            },
        ),
        ("private-dns-name-options-on-launch.hostname-type", |s| {
            vec![s.private_dns_name_options_on_launch.hostname_type.clone()]
        }),
        ("state", |s| vec![s.state.clone()]),
        ("subnet-arn", |s| vec![s.subnet_arn.clone()]),
        ("subnet-id", |s| vec![s.subnet_id.clone()]),
        ("vpc-id", |s| vec![s.vpc_id.clone()]),
    ];

    const EMPTY_FILTERS: &'static [&'static str] = &[
        "customer-owned-ipv4-pool",
        "enable-lni-at-device-index",
        "ipv6-cidr-block-association.association-id",
        "ipv6-cidr-block-association.ipv6-cidr-block",
        "ipv6-cidr-block-association.state",
        "outpost-arn",
    ];

    fn id(&self) -> String {
        self.subnet_id.clone()
    }

    fn tags(&self) -> &Tags {
        &self.tag_set
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeSubnetsRequest {
    #[serde(rename = "SubnetId", default)]
    subnet_ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeSubnetsResponse {
    subnet_set: Vec<Subnet>,
    next_token: Option<String>,
}

pub fn describe_subnets(
    call: &mut Call<'_>,
    request: DescribeSubnetsRequest,
) -> Result<DescribeSubnetsResponse, Error> {
    let wanted = Page {
        max_results: request.max_results,
        next_token: request.next_token,
    };
    ids_or_page(&request.subnet_ids, "subnetIds", &wanted)?;
    let region = &*call.region;
    let counted = region.subnets.iter().cloned().map(|subnet| {
        let held = region.held_addresses(&subnet.subnet_id).len();
        Subnet {
            available_ip_address_count: subnet.hosts().count().saturating_sub(held),
            ..subnet
        }
    });
    let items = named(Kind::Subnet, &request.subnet_ids, counted)?;
    let (subnet_set, next_token) = page(items, &request.filters, &wanted, Bounds::strict(5, 1000))?;
    Ok(DescribeSubnetsResponse { subnet_set, next_token })
}
