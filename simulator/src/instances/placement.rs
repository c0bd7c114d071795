//! Where an instance goes: subnet, security groups, room and addresses.

use super::run::RunInstancesRequest;
use crate::ids::Kind;
use crate::instance_types::{self, InstanceType};
use crate::protocol::Error;
use crate::region::Region;
use crate::security_groups::GroupIdentifier;
use crate::subnets::Subnet;

/// The account's quota of running On-Demand standard instances.
const VCPU_LIMIT: u32 = 640;

/// The subnet to launch in, and whether the request names its zone.
pub fn find_subnet(
    region: &Region,
    request: &RunInstancesRequest,
    instance_type: &InstanceType,
) -> Result<(Subnet, bool), Error> {
    if let [first, second, ..] = &request.network_interfaces[..] {
        let message = format!(
            "One network interface is supported, not two (DeviceIndex {} and {})",
            first.device_index, second.device_index
        );
        return Err(Error::new("AttachmentLimitExceeded", message));
    }
    let interface = request.network_interfaces.first();
    if let Some(interface) = interface {
        if interface.device_index != 0 {
            return Err(Error::invalid(
                interface.device_index,
                "NetworkInterface.1.DeviceIndex",
                "It must be 0.",
            ));
        }
        if interface.delete_on_termination == Some(false) {
            let message =
                "A network interface that outlives its instance is not simulated; DeleteOnTermination must be true";
            return Err(Error::new("UnsupportedOperation", message));
        }
        if request.subnet_id.is_some() || !request.security_group_ids.is_empty() || !request.security_groups.is_empty()
        {
            let message = "Network interfaces and an instance-level subnet ID or security groups may not be specified on the same request";
            return Err(Error::combination(message));
        }
    }
    if request.subnet_id.is_some() && !request.security_groups.is_empty() {
        let message = "The parameter groupName cannot be used with the parameter subnet";
        return Err(Error::combination(message));
    }
    let wanted = request
        .subnet_id
        .as_ref()
        .or(interface.and_then(|interface| interface.subnet_id.as_ref()));
    let placement = request.placement.as_ref();
    let (name, id) = placement.map_or((None, None), |p| {
        (p.availability_zone.as_deref(), p.availability_zone_id.as_deref())
    });
    let zone = if name.is_some() || id.is_some() {
        let zone = region.zone(name, id).map_err(|error| match error.code.as_str() {
            // What CreateVolume calls not found is a wrong value here.
            "InvalidZone.NotFound" => {
                let given = name.or(id).unwrap_or_default();
                Error::new("InvalidParameterValue", format!("Invalid availability zone: [{given}]"))
            }
            _ => error,
        });
        Some(zone?)
    } else {
        None
    };
    if let Some(wanted) = wanted {
        Kind::Subnet.check(wanted)?;
        let subnet = region.subnets.iter().find(|subnet| subnet.subnet_id == *wanted);
        let subnet = subnet.ok_or_else(|| Kind::Subnet.not_found(wanted))?;
        if let Some(zone) = zone.filter(|zone| *zone != subnet.availability_zone) {
            let message = format!(
                "The subnet {wanted} is in {}, not in the requested zone {zone}",
                subnet.availability_zone
            );
            return Err(Error::combination(message));
        }
        return Ok((subnet.clone(), true));
    }
    let default = region
        .subnets
        .iter()
        .filter(|subnet| subnet.default_for_az)
        .find(|subnet| match &zone {
            Some(zone) => subnet.availability_zone == *zone,
            None => instance_type.offered_in(&subnet.availability_zone),
        });
    let subnet = default.cloned().ok_or_else(|| {
        let message = format!(
            "No default subnet for availability zone: '{}'.",
            zone.as_deref().unwrap_or("any")
        );
        Error::new("MissingInput", message)
    })?;
    Ok((subnet, zone.is_some()))
}

/// The groups a request names, or the VPC's default.
pub fn find_groups(
    region: &Region,
    request: &RunInstancesRequest,
    subnet: &Subnet,
) -> Result<Vec<GroupIdentifier>, Error> {
    let ids = request
        .network_interfaces
        .first()
        .map_or(&request.security_group_ids, |i| &i.security_group_ids);
    let in_vpc = || {
        region
            .security_groups
            .iter()
            .filter(|group| group.vpc_id == subnet.vpc_id)
    };
    let mut groups = Vec::new();
    for id in ids {
        groups.push(security_group(region, id, &subnet.vpc_id)?);
    }
    for name in &request.security_groups {
        let group = in_vpc().find(|group| group.group_name == *name);
        groups.push(group.ok_or_else(|| Kind::SecurityGroup.not_found(name))?.identifier());
    }
    if groups.is_empty() {
        groups.extend(
            in_vpc()
                .find(|group| group.group_name == "default")
                .map(|group| group.identifier()),
        );
    }
    Ok(groups)
}

/// A group by id, which must be in the instance's VPC.
pub fn security_group(region: &Region, id: &str, vpc_id: &str) -> Result<GroupIdentifier, Error> {
    Kind::SecurityGroup.check(id)?;
    let group = region.security_groups.iter().find(|group| group.group_id == id);
    let group = group.ok_or_else(|| Kind::SecurityGroup.not_found(id))?;
    if group.vpc_id != vpc_id {
        let message = format!("Security group {id} and the subnet belong to different networks.");
        return Err(Error::new("InvalidParameter", message));
    }
    Ok(group.identifier())
}

/// How many instances can be launched: what the zone offers, the quota, the room set from outside.
pub fn room(
    region: &Region,
    request: &RunInstancesRequest,
    instance_type: &InstanceType,
    subnet: &Subnet,
) -> Result<u32, Error> {
    let (name, zone) = (instance_type.name, &subnet.availability_zone);
    if !instance_type.offered_in(zone) {
        let others: Vec<&str> = region
            .zones
            .iter()
            .map(|z| z.zone_name.as_str())
            .filter(|z| instance_type.offered_in(z))
            .collect();
        let message = format!(
            "Your requested instance type ({name}) is not supported in your requested Availability Zone ({zone}). \
             Please retry your request by not specifying an Availability Zone or choosing {}.",
            others.join(", ")
        );
        return Err(Error::new("Unsupported", message));
    }
    let running = region.instances.values().filter(|instance| instance.state.runs());
    let used: u32 = running
        .filter_map(|instance| instance_types::find(&instance.instance_type))
        .map(|t| t.vcpus)
        .sum();
    let by_quota = VCPU_LIMIT.saturating_sub(used) / instance_type.vcpus;
    if by_quota < request.min_count {
        let message = format!(
            "You have requested more vCPU capacity than your current vCPU limit of {VCPU_LIMIT} allows for the \
             instance bucket that the specified instance type {name} belongs to; {used} are in use."
        );
        return Err(Error::new("VcpuLimitExceeded", message));
    }
    let by_capacity = region.capacity_left(name, zone);
    if by_capacity < request.min_count {
        return Err(no_capacity(name, zone));
    }
    Ok(request.max_count.min(by_quota).min(by_capacity))
}

/// What EC2 says when a zone is full.
pub fn no_capacity(instance_type: &str, zone: &str) -> Error {
    let message = format!(
        "We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested ({zone}). \
         Our system will be working on provisioning additional capacity. You can currently get {instance_type} capacity \
         by not specifying an Availability Zone in your request or choosing another one."
    );
    Error::new("InsufficientInstanceCapacity", message)
}

/// Addresses of the subnet that nothing holds; the first four and the last are AWS's own.
pub fn free_addresses(
    region: &Region,
    subnet: &Subnet,
    count: u32,
    wanted: Option<&String>,
) -> Result<Vec<String>, Error> {
    let held = region.held_addresses(&subnet.subnet_id);
    let mut free = subnet
        .hosts()
        .map(|address| address.to_string())
        .filter(|address| !held.contains(&address.as_str()));
    if let Some(wanted) = wanted {
        if count > 1 {
            return Err(Error::combination(
                "A private IP address can be given for a single instance only.",
            ));
        }
        return match (held.contains(&wanted.as_str()), free.any(|address| address == *wanted)) {
            (false, true) => Ok(vec![wanted.clone()]),
            (true, _) => Err(Error::new(
                "InvalidIPAddress.InUse",
                format!("Address {wanted} is in use."),
            )),
            (false, false) => {
                let why = format!(
                    "Address does not fall within the subnet's address range {}.",
                    subnet.cidr_block
                );
                Err(Error::invalid(wanted, "PrivateIpAddress", why))
            }
        };
    }
    let free: Vec<String> = free.take(count as usize).collect();
    if free.len() < count as usize {
        let message = format!(
            "The subnet {} does not have enough free addresses for {count} instances",
            subnet.subnet_id
        );
        return Err(Error::new("InsufficientFreeAddressesInSubnet", message));
    }
    Ok(free)
}
