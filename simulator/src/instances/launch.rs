//! One instance of a launch: what is made, and what happens next.

use jiff::Timestamp;

use super::run::{RunInstancesRequest, profile_name};
use super::{Instance, Machine, MetadataOptions, NetworkInterface, State};
use crate::block_devices::PlannedVolume;
use crate::durations;
use crate::ids::Kind;
use crate::images::{Image, StateReason};
use crate::instance_types::InstanceType;
use crate::key_pairs::KeyPair;
use crate::protocol::Error;
use crate::region::Region;
use crate::schedule::Due;
use crate::security_groups::GroupIdentifier;
use crate::subnets::Subnet;
use crate::tags::Tags;
use crate::time::to_second;
use crate::volumes::{Attachment, AttachmentState, Volume, VolumeState};

/// What was decided for an instance.
pub struct Placed<'a> {
    pub image: &'a Image,
    pub instance_type: &'a InstanceType,
    pub volumes: &'a [PlannedVolume],
    pub reservation_id: &'a str,
    pub launch_index: u32,
    pub private_ip: String,
    pub subnet: &'a Subnet,
    pub groups: &'a [GroupIdentifier],
}

/// Makes an instance with its network interface and volumes.
pub fn launch(
    region: &mut Region,
    now: Timestamp,
    request: &RunInstancesRequest,
    placed: Placed<'_>,
    tags: &impl Fn(&str) -> Tags,
) -> Result<(), Error> {
    let id = region.new_id(Kind::Instance);
    for planned in placed.volumes {
        attach(
            region,
            now,
            &id,
            planned,
            &placed.subnet.availability_zone,
            tags("volume"),
        );
    }
    let unusable = placed.volumes.iter().find(|volume| !volume.key_usable);
    let interface = request.network_interfaces.first();
    let network_interface = NetworkInterface {
        id: region.new_id(Kind::NetworkInterface),
        attachment_id: region.random.id("eni-attach"),
        description: interface
            .and_then(|interface| interface.description.clone())
            .unwrap_or_default(),
        mac_address: mac_address(region.random.draw()),
        tags: tags("network-interface"),
    };
    let public = interface.and_then(|interface| interface.associate_public_ip_address);
    let public = public.unwrap_or(placed.subnet.map_public_ip_on_launch);
    let chance = region.random.draw();
    let named = |key: &&KeyPair| Some(&key.key_name) == request.key_name.as_ref();
    let public_key = region
        .key_pairs
        .iter()
        .find(named)
        .and_then(|key| key.public_key.clone());
    let instance = Instance {
        id: id.clone(),
        reservation_id: placed.reservation_id.to_owned(),
        launch_index: placed.launch_index,
        client_token: request.client_token.clone(),
        image_id: placed.image.id.clone(),
        image_imds_support: placed.image.imds_support.clone(),
        instance_type: placed.instance_type.name.to_owned(),
        architecture: placed.image.architecture.clone(),
        boot_mode: placed.image.boot_mode.clone(),
        tpm_support: placed.image.tpm_support.clone(),
        root_device_name: placed.image.root_device_name.clone(),
        state: State::Pending,
        state_reason: Some(StateReason {
            code: "pending".to_owned(),
            message: "pending".to_owned(),
        }),
        transition_reason: String::new(),
        launched: to_second(now),
        visible: region.visible_from(now, Kind::Instance),
        running_since: None,
        checks_pass: None,
        zone: placed.subnet.availability_zone.clone(),
        vpc_id: placed.subnet.vpc_id.clone(),
        subnet_id: placed.subnet.subnet_id.clone(),
        private_ip: placed.private_ip,
        public_ip: public.then(|| public_address(chance)),
        security_groups: placed.groups.to_vec(),
        network_interface,
        key_name: request.key_name.clone(),
        public_key,
        instance_profile: profile_name(request)?,
        source_dest_check: true,
        ebs_optimized: request.ebs_optimized.unwrap_or(false),
        monitoring: request.monitoring.as_ref().is_some_and(|monitoring| monitoring.enabled),
        tenancy: "default".to_owned(),
        metadata_options: metadata_options(request, placed.image),
        capacity_reservation_preference: request.capacity_reservation_specification.as_ref().map_or_else(
            || "open".to_owned(),
            |specification| specification.capacity_reservation_preference.clone(),
        ),
        cpu_credits: request
            .credit_specification
            .as_ref()
            .map(|specification| specification.cpu_credits.clone()),
        auto_recovery: request
            .maintenance_options
            .as_ref()
            .map_or_else(|| "default".to_owned(), |options| options.auto_recovery.clone()),
        shutdown_behavior: request.instance_initiated_shutdown_behavior.unwrap_or_default(),
        disable_api_termination: request.disable_api_termination.unwrap_or(false),
        disable_api_stop: request.disable_api_stop.unwrap_or(false),
        user_data: request.user_data.clone(),
        tags: tags("instance"),
        boot: 0,
        machine: Machine::default(),
        has_booted: false,
        console: String::new(),
        captured_console: None,
        launch_fails: unusable.map(|volume| StateReason {
            code: "Client.InvalidKMSKey.InvalidState".to_owned(),
            message: format!(
                "Client error on launch: the KMS key {} of {} does not exist or cannot be used",
                volume.specification.kms_key_id.as_deref().unwrap_or_default(),
                volume.device
            ),
        }),
    };
    region.instances.insert(id.clone(), instance);
    region.later(now, durations::LAUNCH, Due::InstanceRunning { instance: id });
    Ok(())
}

fn attach(region: &mut Region, now: Timestamp, instance: &str, planned: &PlannedVolume, zone: &str, tags: Tags) {
    let id = region.new_id(Kind::Volume);
    let snapshot = planned.snapshot_id.as_ref().and_then(|id| region.snapshots.get(id));
    let volume = Volume {
        id: id.clone(),
        zone: zone.to_owned(),
        state: VolumeState::InUse,
        specification: planned.specification.clone(),
        snapshot_id: planned.snapshot_id.clone(),
        created: now,
        attachment: Some(Attachment {
            instance_id: instance.to_owned(),
            device: planned.device.clone(),
            state: AttachmentState::Attaching,
            attach_time: now,
            delete_on_termination: planned.delete_on_termination,
        }),
        tags,
        disk: snapshot.map(|snapshot| snapshot.disk.clone()).unwrap_or_default(),
        client_token: None,
    };
    region.volumes.insert(id, volume);
}

/// The request's options over what the image asks for.
fn metadata_options(request: &RunInstancesRequest, image: &Image) -> MetadataOptions {
    let tokens_required = image.imds_support.as_deref() == Some("v2.0");
    let options = request.metadata_options.as_ref();
    let chosen = |value: Option<&String>, default: &str| value.cloned().unwrap_or_else(|| default.to_owned());
    MetadataOptions {
        state: "pending".to_owned(),
        http_tokens: chosen(
            options.and_then(|o| o.http_tokens.as_ref()),
            if tokens_required { "required" } else { "optional" },
        ),
        http_put_response_hop_limit: options
            .and_then(|o| o.http_put_response_hop_limit)
            .unwrap_or(if tokens_required { 2 } else { 1 }),
        http_endpoint: chosen(options.and_then(|o| o.http_endpoint.as_ref()), "enabled"),
        http_protocol_ipv6: chosen(options.and_then(|o| o.http_protocol_ipv6.as_ref()), "disabled"),
        instance_metadata_tags: chosen(options.and_then(|o| o.instance_metadata_tags.as_ref()), "disabled"),
    }
}

fn mac_address(chance: u64) -> String {
    let [a, b, c, d, e, ..] = chance.to_be_bytes();
    format!("02:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}")
}

/// Of 203.0.113.0/24, which is kept for documentation.
pub fn public_address(chance: u64) -> String {
    format!("203.0.113.{}", 1 + chance % 254)
}
