//! The dispatch table: every operation, in one place.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::protocol::query::Parameters;
use crate::protocol::{Error, xml};
use crate::region::Region;
use crate::{
    availability_zones, caller_identity, images, instance_types, instances, key_pairs, network_interfaces, regions,
    security_groups, snapshots, subnets, tags, volumes, vpcs,
};

/// What an operation works on.
pub struct Call<'a> {
    pub now: Timestamp,
    pub region: &'a mut Region,
    /// The other regions, by name.
    pub others: &'a BTreeMap<String, Region>,
    pub access_key: &'a str,
    /// The request's parameters but for its client token: what a repeated token must come with.
    pub fingerprint: &'a str,
}

/// `<return>true</return>`: what an operation answers that has nothing else to say.
#[derive(Serialize)]
pub struct Return {
    #[serde(rename = "return")]
    value: bool,
}

impl Return {
    pub const TRUE: Self = Self { value: true };
}

/// An attribute's value, in a structure of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Value<T> {
    #[serde(alias = "Value")]
    pub value: T,
}

/// Which service a request was signed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Ec2,
    Sts,
}

/// Carries an operation out and writes its response.
pub fn run(
    service: Service,
    operation: &str,
    parameters: &Parameters,
    request_id: &str,
    call: &mut Call<'_>,
) -> Result<String, Error> {
    let request = Request {
        operation,
        parameters,
        request_id,
    };
    match service {
        Service::Ec2 => ec2(&request, call),
        Service::Sts => sts(&request, call),
    }
}

struct Request<'a> {
    operation: &'a str,
    parameters: &'a Parameters,
    request_id: &'a str,
}

type Operation<'c, Q, R> = fn(&mut Call<'c>, Q) -> Result<R, Error>;

impl Request<'_> {
    fn ec2<'c, Q: DeserializeOwned, R: Serialize>(
        &self,
        call: &mut Call<'c>,
        operation: Operation<'c, Q, R>,
    ) -> Result<String, Error> {
        let response = operation(call, self.parameters.read()?)?;
        xml::ec2(self.operation, self.request_id, &response)
    }
}

fn sts(request: &Request<'_>, call: &mut Call<'_>) -> Result<String, Error> {
    match request.operation {
        "GetCallerIdentity" => {
            let response = caller_identity::get_caller_identity(call, request.parameters.read()?)?;
            xml::sts(request.operation, request.request_id, &response)
        }
        other => Err(invalid_action(other)),
    }
}

/// Writes the table down once: as what is carried out, and as what is known.
macro_rules! ec2_operations {
    ($($name:literal => $function:path,)*) => {
        const EC2: &[&str] = &[$($name),*];

        fn ec2(request: &Request<'_>, call: &mut Call<'_>) -> Result<String, Error> {
            match request.operation {
                $($name => request.ec2(call, $function),)*
                other => Err(invalid_action(other)),
            }
        }
    };
}

ec2_operations! {
    "AttachVolume" => volumes::attach_volume,
    "AuthorizeSecurityGroupIngress" => security_groups::authorize_security_group_ingress,
    "CopyImage" => images::copy_image,
    "CreateImage" => images::create_image,
    "CreateKeyPair" => key_pairs::create_key_pair,
    "CreateSecurityGroup" => security_groups::create_security_group,
    "CreateSnapshot" => snapshots::create_snapshot,
    "CreateTags" => tags::create_tags,
    "CreateVolume" => volumes::create_volume,
    "DeleteKeyPair" => key_pairs::delete_key_pair,
    "DeleteSecurityGroup" => security_groups::delete_security_group,
    "DeleteSnapshot" => snapshots::delete_snapshot,
    "DeleteTags" => tags::delete_tags,
    "DeleteVolume" => volumes::delete_volume,
    "DeregisterImage" => images::deregister_image,
    "DescribeAvailabilityZones" => availability_zones::describe_availability_zones,
    "DescribeImageAttribute" => images::describe_image_attribute,
    "DescribeImages" => images::describe_images,
    "DescribeInstanceAttribute" => instances::describe_instance_attribute,
    "DescribeInstanceStatus" => instances::describe_instance_status,
    "DescribeInstanceTypeOfferings" => instance_types::describe_instance_type_offerings,
    "DescribeInstanceTypes" => instance_types::describe_instance_types,
    "DescribeInstances" => instances::describe_instances,
    "DescribeKeyPairs" => key_pairs::describe_key_pairs,
    "DescribeNetworkInterfaces" => network_interfaces::describe_network_interfaces,
    "DescribeRegions" => regions::describe_regions,
    "DescribeSecurityGroups" => security_groups::describe_security_groups,
    "DescribeSnapshotAttribute" => snapshots::describe_snapshot_attribute,
    "DescribeSnapshots" => snapshots::describe_snapshots,
    "DescribeSubnets" => subnets::describe_subnets,
    "DescribeTags" => tags::describe_tags,
    "DescribeVolumes" => volumes::describe_volumes,
    "DescribeVpcs" => vpcs::describe_vpcs,
    "DetachVolume" => volumes::detach_volume,
    "DisableImage" => images::disable_image,
    "DisableImageDeprecation" => images::disable_image_deprecation,
    "DisableImageDeregistrationProtection" => images::disable_image_deregistration_protection,
    "EnableImage" => images::enable_image,
    "EnableImageDeprecation" => images::enable_image_deprecation,
    "EnableImageDeregistrationProtection" => images::enable_image_deregistration_protection,
    "GetConsoleOutput" => instances::get_console_output,
    "ImportKeyPair" => key_pairs::import_key_pair,
    "ModifyImageAttribute" => images::modify_image_attribute,
    "ModifyInstanceAttribute" => instances::modify_instance_attribute,
    "ModifySnapshotAttribute" => snapshots::modify_snapshot_attribute,
    "RebootInstances" => instances::reboot_instances,
    "RegisterImage" => images::register_image,
    "ResetImageAttribute" => images::reset_image_attribute,
    "RevokeSecurityGroupIngress" => security_groups::revoke_security_group_ingress,
    "RunInstances" => instances::run_instances,
    "StartInstances" => instances::start_instances,
    "StopInstances" => instances::stop_instances,
    "TerminateInstances" => instances::terminate_instances,
}

/// Whether there is an operation of that name, of whichever service.
pub fn is_known(operation: &str) -> bool {
    EC2.contains(&operation) || operation == "GetCallerIdentity"
}

fn invalid_action(operation: &str) -> Error {
    Error::new(
        "InvalidAction",
        format!("The action {operation} is not valid for this web service."),
    )
}
