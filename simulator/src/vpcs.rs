//! Virtual private clouds: DescribeVpcs.

use serde::{Deserialize, Serialize};

use crate::describe::{Bounds, Described, Field, Filter, Page, ids_or_page, page};
use crate::ids::Kind;
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::named;
use crate::tags::Tags;

/// A VPC, as it is kept and as it is described.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vpc {
    pub vpc_id: String,
    pub owner_id: String,
    pub state: String,
    pub cidr_block: String,
    #[serde(default)]
    pub cidr_block_association_set: Vec<CidrBlockAssociation>,
    pub dhcp_options_id: String,
    pub instance_tenancy: String,
    pub is_default: bool,
    pub tag_set: Tags,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CidrBlockAssociation {
    pub association_id: String,
    pub cidr_block: String,
    pub cidr_block_state: CidrBlockState,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CidrBlockState {
    pub state: String,
}

impl Vpc {
    fn cidr_blocks(&self, field: impl Fn(&CidrBlockAssociation) -> String) -> Vec<String> {
        self.cidr_block_association_set.iter().map(field).collect()
    }
}

impl Described for Vpc {
    const FILTERS: &'static [Field<Self>] = &[
        ("cidr", |v| vec![v.cidr_block.clone()]),
        ("cidr-block-association.association-id", |v| {
            v.cidr_blocks(|a| a.association_id.clone())
        }),
        ("cidr-block-association.cidr-block", |v| {
            v.cidr_blocks(|a| a.cidr_block.clone())
        }),
        ("cidr-block-association.state", |v| {
            v.cidr_blocks(|a| a.cidr_block_state.state.clone())
        }),
        ("dhcp-options-id", |v| vec![v.dhcp_options_id.clone()]),
        ("is-default", |v| vec![v.is_default.to_string()]),
        ("isDefault", |v| vec![v.is_default.to_string()]),
        ("owner-id", |v| vec![v.owner_id.clone()]),
        ("state", |v| vec![v.state.clone()]),
        ("vpc-id", |v| vec![v.vpc_id.clone()]),
    ];

    const EMPTY_FILTERS: &'static [&'static str] = &[
        "ipv6-cidr-block-association.association-id",
        "ipv6-cidr-block-association.ipv6-cidr-block",
        "ipv6-cidr-block-association.ipv6-pool",
        "ipv6-cidr-block-association.state",
    ];

    fn id(&self) -> String {
        self.vpc_id.clone()
    }

    fn tags(&self) -> &Tags {
        &self.tag_set
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeVpcsRequest {
    #[serde(rename = "VpcId", default)]
    vpc_ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeVpcsResponse {
    vpc_set: Vec<Vpc>,
    next_token: Option<String>,
}

pub fn describe_vpcs(call: &mut Call<'_>, request: DescribeVpcsRequest) -> Result<DescribeVpcsResponse, Error> {
    let wanted = Page {
        max_results: request.max_results,
        next_token: request.next_token,
    };
    ids_or_page(&request.vpc_ids, "vpcIds", &wanted)?;
    let items = named(Kind::Vpc, &request.vpc_ids, call.region.vpcs.iter().cloned())?;
    let (vpc_set, next_token) = page(items, &request.filters, &wanted, Bounds::strict(5, 1000))?;
    Ok(DescribeVpcsResponse { vpc_set, next_token })
}
