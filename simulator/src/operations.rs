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

fn ec2(request: &Request<'_>, call: &mut Call<'_>) -> Result<String, Error> {
    match request.operation {
        "AttachVolume" => request.ec2(call, volumes::attach_volume),
        "CopyImage" => request.ec2(call, images::copy_image),
        "CreateImage" => request.ec2(call, images::create_image),
        "CreateSnapshot" => request.ec2(call, snapshots::create_snapshot),
        "CreateTags" => request.ec2(call, tags::create_tags),
        "CreateVolume" => request.ec2(call, volumes::create_volume),
        "DeleteSnapshot" => request.ec2(call, snapshots::delete_snapshot),
        "DeleteTags" => request.ec2(call, tags::delete_tags),
        "DeleteVolume" => request.ec2(call, volumes::delete_volume),
        "DeregisterImage" => request.ec2(call, images::deregister_image),
        "DescribeAvailabilityZones" => request.ec2(call, availability_zones::describe_availability_zones),
        "DescribeImageAttribute" => request.ec2(call, images::describe_image_attribute),
        "DescribeImages" => request.ec2(call, images::describe_images),
        "DescribeInstanceAttribute" => request.ec2(call, instances::describe_instance_attribute),
        "DescribeInstanceStatus" => request.ec2(call, instances::describe_instance_status),
        "DescribeInstanceTypeOfferings" => request.ec2(call, instance_types::describe_instance_type_offerings),
        "DescribeInstanceTypes" => request.ec2(call, instance_types::describe_instance_types),
        "DescribeInstances" => request.ec2(call, instances::describe_instances),
        "DescribeKeyPairs" => request.ec2(call, key_pairs::describe_key_pairs),
        "DescribeNetworkInterfaces" => request.ec2(call, network_interfaces::describe_network_interfaces),
        "DescribeRegions" => request.ec2(call, regions::describe_regions),
        "DescribeSecurityGroups" => request.ec2(call, security_groups::describe_security_groups),
        "DescribeSnapshotAttribute" => request.ec2(call, snapshots::describe_snapshot_attribute),
        "DescribeSnapshots" => request.ec2(call, snapshots::describe_snapshots),
        "DescribeSubnets" => request.ec2(call, subnets::describe_subnets),
        "DescribeTags" => request.ec2(call, tags::describe_tags),
        "DescribeVolumes" => request.ec2(call, volumes::describe_volumes),
        "DescribeVpcs" => request.ec2(call, vpcs::describe_vpcs),
        "DetachVolume" => request.ec2(call, volumes::detach_volume),
        "DisableImage" => request.ec2(call, images::disable_image),
        "DisableImageDeprecation" => request.ec2(call, images::disable_image_deprecation),
        "DisableImageDeregistrationProtection" => request.ec2(call, images::disable_image_deregistration_protection),
        "EnableImage" => request.ec2(call, images::enable_image),
        "EnableImageDeprecation" => request.ec2(call, images::enable_image_deprecation),
        "EnableImageDeregistrationProtection" => request.ec2(call, images::enable_image_deregistration_protection),
        "GetConsoleOutput" => request.ec2(call, instances::get_console_output),
        "ModifyImageAttribute" => request.ec2(call, images::modify_image_attribute),
        "ModifyInstanceAttribute" => request.ec2(call, instances::modify_instance_attribute),
        "ModifySnapshotAttribute" => request.ec2(call, snapshots::modify_snapshot_attribute),
        "RebootInstances" => request.ec2(call, instances::reboot_instances),
        "RegisterImage" => request.ec2(call, images::register_image),
        "ResetImageAttribute" => request.ec2(call, images::reset_image_attribute),
        "RunInstances" => request.ec2(call, instances::run_instances),
        "StartInstances" => request.ec2(call, instances::start_instances),
        "StopInstances" => request.ec2(call, instances::stop_instances),
        "TerminateInstances" => request.ec2(call, instances::terminate_instances),
        other => Err(invalid_action(other)),
    }
}

fn invalid_action(operation: &str) -> Error {
    Error::new(
        "InvalidAction",
        format!("The action {operation} is not valid for this web service."),
    )
}
