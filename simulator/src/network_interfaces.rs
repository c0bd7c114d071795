//! Network interfaces: DescribeNetworkInterfaces. There is one an instance, made and deleted with it.

use serde::{Deserialize, Serialize};

use crate::describe::{Bounds, Described, Field, Filter, Page, ids_or_page, page};
use crate::ids::Kind;
use crate::instances::Instance;
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::{Region, named};
use crate::security_groups::GroupIdentifier;
use crate::tags::Tags;
use crate::time::Time;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkInterfaceItem {
    network_interface_id: String,
    subnet_id: String,
    vpc_id: String,
    availability_zone: String,
    availability_zone_id: Option<String>,
    description: String,
    owner_id: String,
    requester_managed: bool,
    status: &'static str,
    mac_address: String,
    private_ip_address: String,
    private_dns_name: String,
    source_dest_check: bool,
    group_set: Vec<GroupIdentifier>,
    attachment: InterfaceAttachment,
    association: Option<Association>,
    private_ip_addresses_set: Vec<PrivateAddress>,
    interface_type: &'static str,
    tag_set: Tags,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceAttachment {
    pub attachment_id: String,
    pub instance_id: Option<String>,
    pub instance_owner_id: Option<String>,
    pub device_index: u32,
    pub network_card_index: u32,
    pub status: &'static str,
    pub attach_time: Time,
    pub delete_on_termination: bool,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Association {
    pub public_ip: String,
    pub public_dns_name: String,
    pub ip_owner_id: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PrivateAddress {
    private_ip_address: String,
    private_dns_name: String,
    primary: bool,
    association: Option<Association>,
}

/// An interface as its instance lists it: without zone, tags and instance.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceInterfaceItem {
    pub network_interface_id: String,
    pub subnet_id: String,
    pub vpc_id: String,
    pub description: String,
    pub owner_id: String,
    pub status: &'static str,
    pub mac_address: String,
    pub private_ip_address: String,
    pub private_dns_name: String,
    pub source_dest_check: bool,
    group_set: Vec<GroupIdentifier>,
    pub attachment: InterfaceAttachment,
    pub association: Option<Association>,
    private_ip_addresses_set: Vec<PrivateAddress>,
    interface_type: &'static str,
    /// For the filters alone.
    #[serde(skip)]
    pub tags: Tags,
}

impl InstanceInterfaceItem {
    pub fn new(region: &Region, instance: &Instance) -> Self {
        let item = NetworkInterfaceItem::new(region, instance);
        Self {
            network_interface_id: item.network_interface_id,
            subnet_id: item.subnet_id,
            vpc_id: item.vpc_id,
            description: item.description,
            owner_id: item.owner_id,
            status: item.status,
            mac_address: item.mac_address,
            private_ip_address: item.private_ip_address,
            private_dns_name: item.private_dns_name,
            source_dest_check: item.source_dest_check,
            group_set: item.group_set,
            attachment: InterfaceAttachment {
                instance_id: None,
                instance_owner_id: None,
                ..item.attachment
            },
            association: item.association,
            private_ip_addresses_set: item.private_ip_addresses_set,
            interface_type: item.interface_type,
            tags: item.tag_set,
        }
    }
}

impl NetworkInterfaceItem {
    fn new(region: &Region, instance: &Instance) -> Self {
        let interface = &instance.network_interface;
        let association = instance.public_ip.as_ref().map(|ip| Association {
            public_ip: ip.clone(),
            public_dns_name: public_dns_name(region, ip),
            ip_owner_id: "amazon",
        });
        let private_dns_name = private_dns_name(region, &instance.private_ip);
        Self {
            network_interface_id: interface.id.clone(),
            subnet_id: instance.subnet_id.clone(),
            vpc_id: instance.vpc_id.clone(),
            availability_zone: instance.zone.clone(),
            availability_zone_id: region.zone_id(&instance.zone),
            description: interface.description.clone(),
            owner_id: region.account.clone(),
            requester_managed: false,
            status: "in-use",
            mac_address: interface.mac_address.clone(),
            private_ip_address: instance.private_ip.clone(),
            private_dns_name: private_dns_name.clone(),
            source_dest_check: instance.source_dest_check,
            group_set: instance.security_groups.clone(),
            attachment: InterfaceAttachment {
                attachment_id: interface.attachment_id.clone(),
                instance_id: Some(instance.id.clone()),
                instance_owner_id: Some(region.account.clone()),
                device_index: 0,
                network_card_index: 0,
                status: "attached",
                attach_time: Time(instance.launched),
                delete_on_termination: true,
            },
            association: association.clone(),
            private_ip_addresses_set: vec![PrivateAddress {
                private_ip_address: instance.private_ip.clone(),
                private_dns_name,
                primary: true,
                association,
            }],
            interface_type: "interface",
            tag_set: interface.tags.clone(),
        }
    }
}

/// The name that a region's DNS gives a private address.
pub fn private_dns_name(region: &Region, ip: &str) -> String {
    format!("ip-{}.{}.compute.internal", ip.replace('.', "-"), region.name)
}

/// The name that a region's DNS gives a public address.
pub fn public_dns_name(region: &Region, ip: &str) -> String {
    format!("ec2-{}.{}.compute.amazonaws.com", ip.replace('.', "-"), region.name)
}

impl Described for NetworkInterfaceItem {
    const FILTERS: &'static [Field<Self>] = &[
        ("addresses.association.owner-id", |n| {
            n.association.iter().map(|a| a.ip_owner_id.to_owned()).collect()
        }),
        ("addresses.association.public-ip", |n| {
            n.association.iter().map(|a| a.public_ip.clone()).collect()
        }),
        ("addresses.primary", |_| vec!["true".to_owned()]),
        ("addresses.private-ip-address", |n| vec![n.private_ip_address.clone()]),
        ("association.ip-owner-id", |n| {
            n.association.iter().map(|a| a.ip_owner_id.to_owned()).collect()
        }),
        ("association.public-dns-name", |n| {
            n.association.iter().map(|a| a.public_dns_name.clone()).collect()
        }),
        ("association.public-ip", |n| {
            n.association.iter().map(|a| a.public_ip.clone()).collect()
        }),
        ("attachment.attach-time", |n| vec![n.attachment.attach_time.to_string()]),
        ("attachment.attachment-id", |n| vec![n.attachment.attachment_id.clone()]),
        ("attachment.delete-on-termination", |n| {
            vec![n.attachment.delete_on_termination.to_string()]
        }),
        ("attachment.device-index", |n| {
            vec![n.attachment.device_index.to_string()]
        }),
        ("attachment.instance-id", |n| {
            n.attachment.instance_id.iter().cloned().collect()
        }),
        ("attachment.instance-owner-id", |n| {
            n.attachment.instance_owner_id.iter().cloned().collect()
        }),
        ("attachment.status", |n| vec![n.attachment.status.to_owned()]),
        ("availability-zone", |n| vec![n.availability_zone.clone()]),
        ("availability-zone-id", |n| {
            n.availability_zone_id.iter().cloned().collect()
        }),
        ("description", |n| vec![n.description.clone()]),
        ("group-id", |n| n.group_set.iter().map(|g| g.group_id.clone()).collect()),
        ("interface-type", |n| vec![n.interface_type.to_owned()]),
        ("mac-address", |n| vec![n.mac_address.clone()]),
        ("network-interface-id", |n| vec![n.network_interface_id.clone()]),
        ("operator.managed", |_| vec!["false".to_owned()]),
        ("owner-id", |n| vec![n.owner_id.clone()]),
        ("private-dns-name", |n| vec![n.private_dns_name.clone()]),
        ("private-ip-address", |n| vec![n.private_ip_address.clone()]),
        ("requester-managed", |n| vec![n.requester_managed.to_string()]),
        ("source-dest-check", |n| vec![n.source_dest_check.to_string()]),
        ("status", |n| vec![n.status.to_owned()]),
        ("subnet-id", |n| vec![n.subnet_id.clone()]),
        ("vpc-id", |n| vec![n.vpc_id.clone()]),
    ];

    const EMPTY_FILTERS: &'static [&'static str] = &[
        "association.allocation-id",
        "association.association-id",
        "ipv6-addresses.ipv6-address",
        "operator.principal",
        "requester-id",
    ];

    fn id(&self) -> String {
        self.network_interface_id.clone()
    }

    fn tags(&self) -> &Tags {
        &self.tag_set
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeNetworkInterfacesRequest {
    #[serde(rename = "NetworkInterfaceId", default)]
    ids: Vec<String>,
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
pub struct DescribeNetworkInterfacesResponse {
    network_interface_set: Vec<NetworkInterfaceItem>,
    next_token: Option<String>,
}

pub fn describe_network_interfaces(
    call: &mut Call<'_>,
    request: DescribeNetworkInterfacesRequest,
) -> Result<DescribeNetworkInterfacesResponse, Error> {
    let wanted = Page {
        max_results: request.max_results,
        next_token: request.next_token,
    };
    ids_or_page(&request.ids, "networkInterfaceIds", &wanted)?;
    let (region, now) = (&*call.region, call.now);
    let instances = region
        .instances
        .values()
        .filter(|instance| instance.exists() && instance.visible <= now);
    let items = instances.map(|instance| NetworkInterfaceItem::new(region, instance));
    let items = named(Kind::NetworkInterface, &request.ids, items)?;
    let (network_interface_set, next_token) = page(items, &request.filters, &wanted, Bounds::strict(5, 1000))?;
    Ok(DescribeNetworkInterfacesResponse {
        network_interface_set,
        next_token,
    })
}
