//! The filters of DescribeInstances.

use super::item::InstanceItem;
use crate::describe::{Described, Field};
use crate::network_interfaces::{Association, InstanceInterfaceItem};
use crate::tags::Tags;

fn optional(value: &Option<String>) -> Vec<String> {
    value.iter().cloned().collect()
}

impl InstanceItem {
    fn interfaces(&self, field: impl Fn(&InstanceInterfaceItem) -> String) -> Vec<String> {
        self.network_interface_set.iter().map(field).collect()
    }

    fn associations(&self, field: impl Fn(&Association) -> String) -> Vec<String> {
        let associations = self.network_interface_set.iter().filter_map(|n| n.association.as_ref());
        associations.map(field).collect()
    }

    fn interface_tags(&self) -> impl Iterator<Item = (&String, &String)> {
        self.network_interface_set.iter().flat_map(|n| n.tags.0.iter())
    }
}

impl Described for InstanceItem {
    const FILTERS: &'static [Field<Self>] = &[
        ("architecture", |i| vec![i.architecture.clone()]),
        ("availability-zone", |i| vec![i.placement.availability_zone.clone()]),
        ("availability-zone-id", |i| optional(&i.placement.availability_zone_id)),
        ("block-device-mapping.attach-time", |i| {
            i.devices(|d| d.ebs.attach_time.to_string())
        }),
        ("block-device-mapping.delete-on-termination", |i| {
            i.devices(|d| d.ebs.delete_on_termination.to_string())
        }),
        ("block-device-mapping.device-name", |i| {
            i.devices(|d| d.device_name.clone())
        }),
        ("block-device-mapping.status", |i| {
            i.devices(|d| d.ebs.status.name().to_owned())
        }),
        ("block-device-mapping.volume-id", |i| {
            i.devices(|d| d.ebs.volume_id.clone())
        }),
        (
            "capacity-reservation-specification.capacity-reservation-preference",
            |i| {
                vec![
                    i.capacity_reservation_specification
                        .capacity_reservation_preference
                        .clone(),
                ]
            },
        ),
        ("boot-mode", |i| optional(&i.boot_mode)),
        ("client-token", |i| vec![i.client_token.clone()]),
        ("current-instance-boot-mode", |i| {
            vec![i.current_instance_boot_mode.to_owned()]
        }),
        ("dns-name", |i| vec![i.dns_name.clone()]),
        ("ebs-optimized", |i| vec![i.ebs_optimized.to_string()]),
        ("ena-support", |i| vec![i.ena_support.to_string()]),
        ("enclave-options.enabled", |i| {
            vec![i.enclave_options.enabled.to_string()]
        }),
        ("hibernation-options.configured", |i| {
            vec![i.hibernation_options.configured.to_string()]
        }),
        ("hypervisor", |i| vec![i.hypervisor.to_owned()]),
        ("iam-instance-profile.arn", |i| {
            i.iam_instance_profile.iter().map(|p| p.arn.clone()).collect()
        }),
        ("iam-instance-profile.id", |i| {
            i.iam_instance_profile.iter().map(|p| p.id.clone()).collect()
        }),
        ("image-id", |i| vec![i.image_id.clone()]),
        ("instance-id", |i| vec![i.instance_id.clone()]),
        ("instance-state-code", |i| vec![i.instance_state.code.to_string()]),
        ("instance-state-name", |i| vec![i.instance_state.name.to_owned()]),
        ("instance-type", |i| vec![i.instance_type.clone()]),
        ("instance.group-id", |i| i.groups(|g| g.group_id.clone())),
        ("instance.group-name", |i| i.groups(|g| g.group_name.clone())),
        ("ip-address", |i| optional(&i.ip_address)),
        ("key-name", |i| optional(&i.key_name)),
        ("launch-index", |i| vec![i.ami_launch_index.to_string()]),
        ("launch-time", |i| vec![i.launch_time.to_string()]),
        ("maintenance-options.auto-recovery", |i| {
            vec![i.maintenance_options.auto_recovery.clone()]
        }),
        ("metadata-options.http-endpoint", |i| {
            vec![i.metadata_options.http_endpoint.clone()]
        }),
        ("metadata-options.http-protocol-ipv6", |i| {
            vec![i.metadata_options.http_protocol_ipv6.clone()]
        }),
        ("metadata-options.http-put-response-hop-limit", |i| {
            vec![i.metadata_options.http_put_response_hop_limit.to_string()]
        }),
        ("metadata-options.http-tokens", |i| {
            vec![i.metadata_options.http_tokens.clone()]
        }),
        ("metadata-options.instance-metadata-tags", |i| {
            vec![i.metadata_options.instance_metadata_tags.clone()]
        }),
        ("metadata-options.state", |i| vec![i.metadata_options.state.clone()]),
        ("monitoring-state", |i| vec![i.monitoring.state.to_owned()]),
        ("network-interface.addresses.association.ip-owner-id", |i| {
            i.associations(|a| a.ip_owner_id.to_owned())
        }),
        ("network-interface.addresses.association.public-dns-name", |i| {
            i.associations(|a| a.public_dns_name.clone())
        }),
        ("network-interface.addresses.association.public-ip", |i| {
            i.associations(|a| a.public_ip.clone())
        }),
        ("network-interface.addresses.primary", |i| {
            i.interfaces(|_| "true".to_owned())
        }),
        ("network-interface.addresses.private-dns-name", |i| {
            i.interfaces(|n| n.private_dns_name.clone())
        }),
        ("network-interface.addresses.private-ip-address", |i| {
            i.interfaces(|n| n.private_ip_address.clone())
        }),
        ("network-interface.association.ip-owner-id", |i| {
            i.associations(|a| a.ip_owner_id.to_owned())
        }),
        ("network-interface.association.public-dns-name", |i| {
            i.associations(|a| a.public_dns_name.clone())
        }),
        ("network-interface.association.public-ip", |i| {
            i.associations(|a| a.public_ip.clone())
        }),
        ("network-interface.attachment.attach-time", |i| {
            i.interfaces(|n| n.attachment.attach_time.to_string())
        }),
        ("network-interface.attachment.attachment-id", |i| {
            i.interfaces(|n| n.attachment.attachment_id.clone())
        }),
        ("network-interface.attachment.delete-on-termination", |i| {
            i.interfaces(|n| n.attachment.delete_on_termination.to_string())
        }),
        ("network-interface.attachment.device-index", |i| {
            i.interfaces(|n| n.attachment.device_index.to_string())
        }),
        ("network-interface.attachment.instance-id", |i| {
            i.interfaces(|_| i.instance_id.clone())
        }),
        ("network-interface.attachment.instance-owner-id", |i| {
            i.interfaces(|n| n.owner_id.clone())
        }),
        ("network-interface.attachment.network-card-index", |i| {
            i.interfaces(|n| n.attachment.network_card_index.to_string())
        }),
        ("network-interface.attachment.status", |i| {
            i.interfaces(|n| n.attachment.status.to_owned())
        }),
        ("network-interface.availability-zone", |i| {
            i.interfaces(|_| i.placement.availability_zone.clone())
        }),
        ("network-interface.description", |i| {
            i.interfaces(|n| n.description.clone())
        }),
        ("network-interface.group-id", |i| i.groups(|g| g.group_id.clone())),
        ("network-interface.group-name", |i| i.groups(|g| g.group_name.clone())),
        ("network-interface.mac-address", |i| {
            i.interfaces(|n| n.mac_address.clone())
        }),
        ("network-interface.network-interface-id", |i| {
            i.interfaces(|n| n.network_interface_id.clone())
        }),
        ("network-interface.owner-id", |i| i.interfaces(|n| n.owner_id.clone())),
        ("network-interface.private-dns-name", |i| {
            i.interfaces(|n| n.private_dns_name.clone())
        }),
        ("network-interface.private-ip-address", |i| {
            i.interfaces(|n| n.private_ip_address.clone())
        }),
        ("network-interface.public-dns-name", |i| {
            i.associations(|a| a.public_dns_name.clone())
        }),
        ("network-interface.requester-managed", |i| {
            i.interfaces(|_| "false".to_owned())
        }),
        ("network-interface.source-dest-check", |i| {
            i.interfaces(|n| n.source_dest_check.to_string())
        }),
        ("network-interface.status", |i| i.interfaces(|n| n.status.to_owned())),
        ("network-interface.subnet-id", |i| i.interfaces(|n| n.subnet_id.clone())),
        ("network-interface.tag-key", |i| {
            i.interface_tags().map(|(key, _)| key.clone()).collect()
        }),
        ("network-interface.tag-value", |i| {
            i.interface_tags().map(|(_, value)| value.clone()).collect()
        }),
        ("network-interface.vpc-id", |i| i.interfaces(|n| n.vpc_id.clone())),
        ("operator.managed", |_| vec!["false".to_owned()]),
        ("owner-id", |i| vec![i.owner_id.clone()]),
        ("platform-details", |i| vec![i.platform_details.to_owned()]),
        ("private-dns-name", |i| vec![i.private_dns_name.clone()]),
        ("private-ip-address", |i| optional(&i.private_ip_address)),
        ("private-dns-name-options.enable-resource-name-dns-a-record", |i| {
            vec![i.private_dns_name_options.enable_resource_name_dns_a_record.to_string()]
        }),
        ("private-dns-name-options.enable-resource-name-dns-aaaa-record", |i| {
            vec![
                i.private_dns_name_options
                    .enable_resource_name_dns_aaaa_record
                    .to_string(),
            ]
        }),
        ("private-dns-name-options.hostname-type", |i| {
            vec![i.private_dns_name_options.hostname_type.clone()]
        }),
        ("reason", |i| vec![i.reason.clone()]),
        ("reservation-id", |i| vec![i.reservation_id.clone()]),
        ("root-device-name", |i| vec![i.root_device_name.clone()]),
        ("root-device-type", |i| vec![i.root_device_type.to_owned()]),
        ("source-dest-check", |i| {
            i.source_dest_check.iter().map(bool::to_string).collect()
        }),
        ("state-reason-code", |i| {
            i.state_reason.iter().map(|r| r.code.clone()).collect()
        }),
        ("state-reason-message", |i| {
            i.state_reason.iter().map(|r| r.message.clone()).collect()
        }),
        ("subnet-id", |i| optional(&i.subnet_id)),
        ("tenancy", |i| vec![i.placement.tenancy.clone()]),
        ("tpm-support", |i| optional(&i.tpm_support)),
        ("usage-operation", |i| vec![i.usage_operation.to_owned()]),
        ("usage-operation-update-time", |i| {
            vec![i.usage_operation_update_time.to_string()]
        }),
        ("virtualization-type", |i| vec![i.virtualization_type.to_owned()]),
        ("vpc-id", |i| optional(&i.vpc_id)),
    ];

    const EMPTY_FILTERS: &'static [&'static str] = &[
        "affinity",
        "capacity-reservation-id",
        "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-id",
        "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-resource-group-arn",
        "host-id",
        "instance-lifecycle",
        "ipv6-address",
        "kernel-id",
        "metadata-options.http-protocol-ipv4",
        "network-interface.addresses.association.allocation-id",
        "network-interface.addresses.association.association-id",
        "network-interface.addresses.association.carrier-ip",
        "network-interface.addresses.association.customer-owned-ip",
        "network-interface.association.allocation-id",
        "network-interface.association.association-id",
        "network-interface.association.carrier-ip",
        "network-interface.association.customer-owned-ip",
        "network-interface.deny-all-igw-traffic",
        "network-interface.ipv4-prefixes.ipv4-prefix",
        "network-interface.ipv6-address",
        "network-interface.ipv6-addresses.ipv6-address",
        "network-interface.ipv6-addresses.is-primary-ipv6",
        "network-interface.ipv6-native",
        "network-interface.ipv6-prefixes.ipv6-prefix",
        "network-interface.operator.managed",
        "network-interface.operator.principal",
        "network-interface.outpost-arn",
        "network-interface.requester-id",
        "network-performance-options.bandwidth-weighting",
        "operator.principal",
        "outpost-arn",
        "placement-group-name",
        "placement-partition-number",
        "platform",
        "product-code",
        "product-code.type",
        "ramdisk-id",
        "requester-id",
        "spot-instance-request-id",
    ];

    fn id(&self) -> String {
        self.instance_id.clone()
    }

    fn tags(&self) -> &Tags {
        &self.tag_set
    }
}
