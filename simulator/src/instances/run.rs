//! RunInstances.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::describe::{ReservationItem, reservation};
use super::launch::{Placed, launch};
use super::placement::{find_groups, find_subnet, free_addresses, room};
use super::{Instance, ShutdownBehavior, State};
use crate::block_devices::{BlockDeviceMapping, plan};
use crate::ids::Kind;
use crate::images::{Image, one_of};
use crate::instance_types::{self, InstanceType};
use crate::operations::Call;
use crate::protocol::Error;
use crate::protocol::query::given;
use crate::region::Region;
use crate::tags::{TagSpecification, at_creation};

/// Before base64.
const MOST_USER_DATA: usize = 16_384;

/// What a client token was used for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Launch {
    pub fingerprint: String,
    pub reservation_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunInstancesRequest {
    pub image_id: Option<String>,
    pub instance_type: Option<String>,
    pub min_count: u32,
    pub max_count: u32,
    #[serde(default, deserialize_with = "given")]
    pub subnet_id: Option<String>,
    #[serde(rename = "SecurityGroupId", default)]
    pub security_group_ids: Vec<String>,
    #[serde(rename = "SecurityGroup", default)]
    pub security_groups: Vec<String>,
    #[serde(rename = "NetworkInterface", default)]
    pub network_interfaces: Vec<NetworkInterfaceSpecification>,
    pub private_ip_address: Option<String>,
    pub key_name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub user_data: Option<String>,
    pub client_token: Option<String>,
    pub iam_instance_profile: Option<IamInstanceProfile>,
    pub placement: Option<Placement>,
    #[serde(rename = "BlockDeviceMapping", default)]
    pub block_device_mappings: Vec<BlockDeviceMapping>,
    #[serde(rename = "TagSpecification", default)]
    pub tag_specifications: Vec<TagSpecification>,
    pub instance_initiated_shutdown_behavior: Option<ShutdownBehavior>,
    pub disable_api_termination: Option<bool>,
    pub disable_api_stop: Option<bool>,
    pub ebs_optimized: Option<bool>,
    pub monitoring: Option<Monitoring>,
    pub metadata_options: Option<MetadataOptionsRequest>,
    pub capacity_reservation_specification: Option<CapacityReservationSpecification>,
    pub credit_specification: Option<CreditSpecification>,
    pub maintenance_options: Option<MaintenanceOptions>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkInterfaceSpecification {
    pub device_index: u32,
    pub subnet_id: Option<String>,
    #[serde(rename = "SecurityGroupId", default)]
    pub security_group_ids: Vec<String>,
    pub associate_public_ip_address: Option<bool>,
    pub delete_on_termination: Option<bool>,
    pub description: Option<String>,
    pub private_ip_address: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IamInstanceProfile {
    #[serde(default, deserialize_with = "given")]
    pub arn: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Placement {
    #[serde(default, deserialize_with = "given")]
    pub availability_zone: Option<String>,
    pub availability_zone_id: Option<String>,
    pub tenancy: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Monitoring {
    pub enabled: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetadataOptionsRequest {
    pub http_tokens: Option<String>,
    pub http_put_response_hop_limit: Option<u32>,
    pub http_endpoint: Option<String>,
    #[serde(rename = "HttpProtocolIpv6")]
    pub http_protocol_ipv6: Option<String>,
    pub instance_metadata_tags: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CapacityReservationSpecification {
    pub capacity_reservation_preference: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreditSpecification {
    pub cpu_credits: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MaintenanceOptions {
    pub auto_recovery: String,
}

pub fn run_instances(call: &mut Call<'_>, request: RunInstancesRequest) -> Result<ReservationItem, Error> {
    let now = call.now;
    let tags = at_creation(
        &request.tag_specifications,
        &["instance", "volume", "network-interface"],
    )?;
    check_counts(&request)?;
    check_choices(&request)?;
    check_user_data(request.user_data.as_deref())?;
    let instance_type = find_type(request.instance_type.as_deref())?;
    let region = &mut *call.region;

    // A token belongs to a zone where the request names one, by its subnet or its placement.
    let (subnet, zone_named) = find_subnet(region, &request, instance_type)?;
    let token = request.client_token.as_deref().filter(|token| !token.is_empty());
    if token.is_some_and(|token| token.len() > 64) {
        return Err(Error::invalid(
            token.unwrap_or_default(),
            "ClientToken",
            "It may have at most 64 characters.",
        ));
    }
    let token_key = token.map(|token| format!("{token} {}", if zone_named { &subnet.availability_zone } else { "" }));
    if let Some(launch) = token_key.as_ref().and_then(|key| region.launches.get(key)) {
        return repeated(region, launch, call.fingerprint, token.unwrap_or_default());
    }

    let image_id = request.image_id.as_deref().ok_or_else(|| Error::missing("ImageId"))?;
    let image = region.launchable_image(image_id)?.clone();
    check_architecture(&image, instance_type)?;
    let groups = find_groups(region, &request, &subnet)?;
    check_names(region, &request)?;
    let volumes = plan(region, &image.block_devices, &request.block_device_mappings)?;
    let count = room(region, &request, instance_type, &subnet)?;
    let address = request.private_ip_address.as_ref();
    let address = address.or(request
        .network_interfaces
        .first()
        .and_then(|interface| interface.private_ip_address.as_ref()));
    let addresses = free_addresses(region, &subnet, count, address)?;
    region.buckets.take_instances(count, now)?;

    let reservation_id = region.random.id("r");
    for (launch_index, private_ip) in (0..count).zip(addresses) {
        let placed = Placed {
            image: &image,
            instance_type,
            volumes: &volumes,
            reservation_id: &reservation_id,
            launch_index,
            private_ip,
            subnet: &subnet,
            groups: &groups,
        };
        launch(region, now, &request, placed, &tags)?;
    }
    if let Some(image) = region.images.get_mut(&image.id) {
        image.last_launched = Some(now);
    }
    if let Some(key) = token_key {
        let launch = Launch {
            fingerprint: call.fingerprint.to_owned(),
            reservation_id: reservation_id.clone(),
        };
        region.launches.insert(key, launch);
    }
    Ok(reservation(region, &reservation_id))
}

/// The answer to a token that was used before in the same zone.
fn repeated(region: &Region, launch: &Launch, fingerprint: &str, token: &str) -> Result<ReservationItem, Error> {
    if launch.fingerprint != fingerprint {
        let message = format!(
            "Arguments on this idempotent request are inconsistent with arguments used in previous request(s) with client token '{token}'."
        );
        return Err(Error::new("IdempotentParameterMismatch", message));
    }
    let ended = |instance: &&Instance| matches!(instance.state, State::ShuttingDown | State::Terminated);
    let mut instances = region
        .instances
        .values()
        .filter(|i| i.reservation_id == launch.reservation_id)
        .peekable();
    if instances.peek().is_none() || instances.any(|instance| ended(&instance)) {
        let message = format!("The client token '{token}' belongs to an instance that has been terminated.");
        return Err(Error::new("IdempotentInstanceTerminated", message));
    }
    Ok(reservation(region, &launch.reservation_id))
}

fn check_counts(request: &RunInstancesRequest) -> Result<(), Error> {
    if request.min_count == 0 {
        return Err(Error::invalid(request.min_count, "MinCount", "It must be at least 1."));
    }
    if request.max_count == 0 {
        return Err(Error::invalid(request.max_count, "MaxCount", "It must be at least 1."));
    }
    if request.max_count < request.min_count {
        return Err(Error::combination(format!(
            "MaxCount ({}) must be at least MinCount ({}).",
            request.max_count, request.min_count
        )));
    }
    Ok(())
}

/// Everything that is one of a few words.
fn check_choices(request: &RunInstancesRequest) -> Result<(), Error> {
    let switch = &["enabled", "disabled"];
    if let Some(options) = &request.metadata_options {
        one_of(
            "MetadataOptions.HttpTokens",
            options.http_tokens.as_deref(),
            &["optional", "required"],
        )?;
        one_of("MetadataOptions.HttpEndpoint", options.http_endpoint.as_deref(), switch)?;
        one_of(
            "MetadataOptions.HttpProtocolIpv6",
            options.http_protocol_ipv6.as_deref(),
            switch,
        )?;
        one_of(
            "MetadataOptions.InstanceMetadataTags",
            options.instance_metadata_tags.as_deref(),
            switch,
        )?;
        if let Some(limit) = options
            .http_put_response_hop_limit
            .filter(|limit| !(1..=64).contains(limit))
        {
            return Err(Error::invalid(
                limit,
                "MetadataOptions.HttpPutResponseHopLimit",
                "It must be 1 to 64.",
            ));
        }
    }
    let preference = request.capacity_reservation_specification.as_ref();
    let preference = preference.map(|specification| specification.capacity_reservation_preference.as_str());
    one_of(
        "CapacityReservationSpecification.CapacityReservationPreference",
        preference,
        &["open", "none"],
    )?;
    let credits = request
        .credit_specification
        .as_ref()
        .map(|specification| specification.cpu_credits.as_str());
    one_of("CreditSpecification.CpuCredits", credits, &["standard", "unlimited"])?;
    let recovery = request
        .maintenance_options
        .as_ref()
        .map(|options| options.auto_recovery.as_str());
    one_of("MaintenanceOptions.AutoRecovery", recovery, &["default", "disabled"])?;
    let tenancy = request
        .placement
        .as_ref()
        .and_then(|placement| placement.tenancy.as_deref());
    one_of("Placement.Tenancy", tenancy, &["default"])
}

/// What base64 stands for; broken lines are whole again.
pub fn decode_user_data(text: &str) -> Result<Vec<u8>, Error> {
    let joined: String = text.split_ascii_whitespace().collect();
    let decoded = BASE64.decode(joined);
    decoded.map_err(|_| Error::new("InvalidParameterValue", "Invalid BASE64 encoding of user data."))
}

pub fn check_user_data(user_data: Option<&str>) -> Result<(), Error> {
    let length = user_data.map(decode_user_data).transpose()?.unwrap_or_default().len();
    if length > MOST_USER_DATA {
        let message = format!("User data is limited to {MOST_USER_DATA} bytes; this has {length}");
        return Err(Error::new("InvalidParameterValue", message));
    }
    Ok(())
}

pub fn find_type(name: Option<&str>) -> Result<&'static InstanceType, Error> {
    let name = name.unwrap_or("m1.small");
    instance_types::find(name).ok_or_else(|| {
        let why = "There is no such instance type; DescribeInstanceTypes lists them.";
        Error::invalid(name, "InstanceType", why)
    })
}

fn check_architecture(image: &Image, instance_type: &InstanceType) -> Result<(), Error> {
    if image.architecture == instance_type.architecture {
        return Ok(());
    }
    let message = format!(
        "The architecture '{}' of the specified instance type '{}' does not match the architecture '{}' of the \
         specified AMI '{}'. Specify an instance type and an AMI that have matching architectures, and try again.",
        instance_type.architecture, instance_type.name, image.architecture, image.id
    );
    Err(Error::new("InvalidParameterValue", message))
}

fn check_names(region: &Region, request: &RunInstancesRequest) -> Result<(), Error> {
    if let Some(name) = &request.key_name
        && !region.key_pairs.iter().any(|key| key.key_name == *name)
    {
        return Err(Kind::KeyPair.not_found(name));
    }
    let Some(name) = profile_name(request)? else {
        return Ok(());
    };
    if region.instance_profiles.contains(&name) {
        return Ok(());
    }
    let why = format!(
        "Invalid IAM Instance Profile name. Known are {}.",
        region.instance_profiles.join(", ")
    );
    Err(Error::invalid(name, "iamInstanceProfile.name", why))
}

pub fn profile_name(request: &RunInstancesRequest) -> Result<Option<String>, Error> {
    match &request.iam_instance_profile {
        None | Some(IamInstanceProfile { name: None, arn: None }) => Ok(None),
        Some(IamInstanceProfile {
            name: Some(name),
            arn: None,
        }) => Ok(Some(name.clone())),
        Some(IamInstanceProfile {
            name: None,
            arn: Some(arn),
        }) => match arn.split_once(":instance-profile/") {
            Some((_, path)) => Ok(path.rsplit('/').next().map(str::to_owned)),
            None => Err(Error::invalid(
                arn,
                "iamInstanceProfile.arn",
                "Invalid IAM Instance Profile ARN.",
            )),
        },
        Some(_) => Err(Error::combination(
            "An instance profile is named by either its Name or its Arn.",
        )),
    }
}
