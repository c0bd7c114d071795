//! Calls that change something. Each has its effect at most once, by token, by name or by nature; removing what is gone succeeds.

use aws_sdk_ec2::types::{
    AttributeValue, BlockDeviceMapping, CapacityReservationPreference, CapacityReservationSpecification,
    EbsBlockDevice, EbsInstanceBlockDeviceSpecification, HttpTokensState, IamInstanceProfileSpecification,
    InstanceBlockDeviceMappingSpecification, InstanceMetadataOptionsRequest, InstanceType, ResourceType,
    ShutdownBehavior as SdkShutdownBehavior, SnapshotReturnCodes, Tag, TagSpecification, VolumeType as SdkVolumeType,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::from_sdk;
use super::{Ec2, error};
use crate::api::{Volume, VolumeType};
use crate::aws::operation::Operation;
use crate::world::{AwsError, ImageId, InstanceId, SnapshotId, Tags, VolumeId};

/// An instance to be launched: one, On-Demand, without key pair or capacity reservation, IMDSv2 only.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Client token, at most 64 characters. AWS remembers it per zone.
    pub token: String,
    /// What it boots from.
    pub image: ImageId,
    /// EC2's name, for example `m7i.large`.
    pub instance_type: String,
    /// Id of the subnet, which also decides the Availability Zone.
    pub subnet: String,
    /// Ids, all of the subnet's VPC.
    pub security_groups: Vec<String>,
    /// Name of an instance profile.
    pub instance_profile: Option<String>,
    /// As the instance is to see it, at most 16,384 bytes.
    pub user_data: Vec<u8>,
    /// Changes to the image's block devices, or further ones. All are deleted with the instance.
    pub volumes: Vec<Volume>,
    /// What a power-off from inside does.
    pub shutdown_behavior: ShutdownBehavior,
    /// Put on the instance, its volumes and its network interface at birth.
    pub tags: Tags,
}

/// What a power-off from inside does to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownBehavior {
    /// The instance stays, with its volumes.
    Stop,
    /// The instance goes, and every volume that is deleted on termination.
    Terminate,
}

/// What became of a snapshot of a deregistered image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotDeletion {
    /// It is gone; EC2's return code `success`.
    Deleted,
    /// Another image uses it.
    Skipped,
    /// EC2's return code: `missing-permissions`, `internal-error` or `client-error`.
    Failed(String),
}

impl Ec2 {
    /// Launches an instance. The same token again, with the same parameters, answers with the same instance.
    pub async fn run_instance(&self, launch: &Launch) -> Result<InstanceId, AwsError> {
        const OPERATION: Operation = Operation::RunInstances;
        let born = [
            ResourceType::Instance,
            ResourceType::Volume,
            ResourceType::NetworkInterface,
        ];
        let request = self
            .sdk()
            .run_instances()
            .client_token(&launch.token)
            .image_id(launch.image.as_str())
            .instance_type(InstanceType::from(launch.instance_type.as_str()))
            .subnet_id(&launch.subnet)
            .set_security_group_ids(Some(launch.security_groups.clone()))
            .set_iam_instance_profile(
                launch
                    .instance_profile
                    .as_ref()
                    .map(|name| IamInstanceProfileSpecification::builder().name(name).build()),
            )
            .user_data(BASE64_STANDARD.encode(&launch.user_data))
            .set_block_device_mappings(Some(launch.volumes.iter().map(block_device).collect()))
            .instance_initiated_shutdown_behavior(match launch.shutdown_behavior {
                ShutdownBehavior::Stop => SdkShutdownBehavior::Stop,
                ShutdownBehavior::Terminate => SdkShutdownBehavior::Terminate,
            })
            .metadata_options(
                InstanceMetadataOptionsRequest::builder()
                    .http_tokens(HttpTokensState::Required)
                    .http_put_response_hop_limit(1)
                    .build(),
            )
            .capacity_reservation_specification(
                CapacityReservationSpecification::builder()
                    .capacity_reservation_preference(CapacityReservationPreference::None)
                    .build(),
            )
            .set_tag_specifications(Some(born.map(|kind| tag_specification(kind, &launch.tags)).into()))
            .min_count(1)
            .max_count(1);
        let instance = self
            .call(OPERATION, request.send())
            .await?
            .instances
            .unwrap_or_default()
            .into_iter()
            .next();
        from_sdk::id("instanceId", instance.and_then(|instance| instance.instance_id))
            .map_err(|reason| error::malformed(OPERATION, reason))
    }

    /// Creates an image from a stopped instance; a second one of its name is refused (`Exists`). `tags` are put on the image and
    /// on its snapshots.
    pub async fn create_image(
        &self,
        instance: &InstanceId,
        name: &str,
        description: Option<&str>,
        tags: &Tags,
    ) -> Result<ImageId, AwsError> {
        const OPERATION: Operation = Operation::CreateImage;
        let born = [ResourceType::Image, ResourceType::Snapshot];
        let request = self
            .sdk()
            .create_image()
            .instance_id(instance.as_str())
            .name(name)
            .set_description(description.map(str::to_owned))
            .set_tag_specifications(Some(born.map(|kind| tag_specification(kind, tags)).into()));
        from_sdk::id("imageId", self.call(OPERATION, request.send()).await?.image_id)
            .map_err(|reason| error::malformed(OPERATION, reason))
    }

    /// Creates a gp3 volume from a snapshot. The same token again answers with the same volume.
    pub async fn create_volume(
        &self,
        token: &str,
        snapshot: &SnapshotId,
        availability_zone: &str,
        tags: &Tags,
    ) -> Result<VolumeId, AwsError> {
        const OPERATION: Operation = Operation::CreateVolume;
        let request = self
            .sdk()
            .create_volume()
            .client_token(token)
            .snapshot_id(snapshot.as_str())
            .availability_zone(availability_zone)
            .volume_type(SdkVolumeType::Gp3)
            .tag_specifications(tag_specification(ResourceType::Volume, tags));
        from_sdk::id("volumeId", self.call(OPERATION, request.send()).await?.volume_id)
            .map_err(|reason| error::malformed(OPERATION, reason))
    }

    /// Attaches a volume, which outlives its instance until [`Self::delete_on_termination`] is called.
    pub async fn attach_volume(&self, volume: &VolumeId, instance: &InstanceId, device: &str) -> Result<(), AwsError> {
        let request = self
            .sdk()
            .attach_volume()
            .volume_id(volume.as_str())
            .instance_id(instance.as_str())
            .device(device);
        self.call(Operation::AttachVolume, request.send()).await.map(drop)
    }

    /// From now on the volume that is attached as `device` is deleted together with its instance.
    pub async fn delete_on_termination(&self, instance: &InstanceId, device: &str) -> Result<(), AwsError> {
        let ebs = EbsInstanceBlockDeviceSpecification::builder()
            .delete_on_termination(true)
            .build();
        let mapping = InstanceBlockDeviceMappingSpecification::builder()
            .device_name(device)
            .ebs(ebs)
            .build();
        let request = self
            .sdk()
            .modify_instance_attribute()
            .instance_id(instance.as_str())
            .block_device_mappings(mapping);
        self.call(Operation::ModifyInstanceAttribute, request.send())
            .await
            .map(drop)
    }

    /// Terminates an instance.
    pub async fn terminate_instance(&self, instance: &InstanceId) -> Result<(), AwsError> {
        let request = self.sdk().terminate_instances().instance_ids(instance.as_str());
        absent_is_done(self.call(Operation::TerminateInstances, request.send()).await.map(drop))
    }

    /// Deletes a volume, which must not be attached (`InUse`).
    pub async fn delete_volume(&self, volume: &VolumeId) -> Result<(), AwsError> {
        let request = self.sdk().delete_volume().volume_id(volume.as_str());
        absent_is_done(self.call(Operation::DeleteVolume, request.send()).await.map(drop))
    }

    /// Deregisters an image and deletes its snapshots, and says what became of each; nothing of an image that is gone.
    pub async fn deregister_image(&self, image: &ImageId) -> Result<Vec<(SnapshotId, SnapshotDeletion)>, AwsError> {
        const OPERATION: Operation = Operation::DeregisterImage;
        let request = self
            .sdk()
            .deregister_image()
            .image_id(image.as_str())
            .delete_associated_snapshots(true);
        let answer = match self.call(OPERATION, request.send()).await {
            Err(error) if error.class.is_absent() => return Ok(Vec::new()),
            answer => answer?,
        };
        let results = answer.delete_snapshot_results.into_iter().flatten().map(|result| {
            let snapshot = from_sdk::id("snapshotId", result.snapshot_id)?;
            let deletion = match result.return_code {
                Some(SnapshotReturnCodes::Success) => SnapshotDeletion::Deleted,
                Some(SnapshotReturnCodes::WarnSkipped) => SnapshotDeletion::Skipped,
                Some(code) => SnapshotDeletion::Failed(code.as_str().to_owned()),
                None => return Err(from_sdk::Malformed::Missing("returnCode")),
            };
            Ok((snapshot, deletion))
        });
        results
            .collect::<Result<_, _>>()
            .map_err(|reason| error::malformed(OPERATION, reason))
    }

    /// Deletes a snapshot; one that an image uses is refused (`InUse`).
    pub async fn delete_snapshot(&self, snapshot: &SnapshotId) -> Result<(), AwsError> {
        let request = self.sdk().delete_snapshot().snapshot_id(snapshot.as_str());
        absent_is_done(self.call(Operation::DeleteSnapshot, request.send()).await.map(drop))
    }

    /// Puts tags on resources of any kind, over what they had under the same keys.
    pub async fn create_tags(&self, resources: &[String], tags: &Tags) -> Result<(), AwsError> {
        let request = self
            .sdk()
            .create_tags()
            .set_resources(Some(resources.to_vec()))
            .set_tags(Some(sdk_tags(tags)));
        self.call(Operation::CreateTags, request.send()).await.map(drop)
    }

    /// Takes tags off resources, whatever their values.
    pub async fn delete_tags(&self, resources: &[String], keys: &[String]) -> Result<(), AwsError> {
        let tags = keys.iter().map(|key| Tag::builder().key(key).build()).collect();
        let request = self
            .sdk()
            .delete_tags()
            .set_resources(Some(resources.to_vec()))
            .set_tags(Some(tags));
        self.call(Operation::DeleteTags, request.send()).await.map(drop)
    }

    /// Makes instances of the image require IMDSv2 by default. Irreversible.
    pub async fn require_imds_v2(&self, image: &ImageId) -> Result<(), AwsError> {
        let request = self.sdk().modify_image_attribute().image_id(image.as_str());
        let request = request.imds_support(AttributeValue::builder().value("v2.0").build());
        self.call(Operation::ModifyImageAttribute, request.send())
            .await
            .map(drop)
    }

    /// Replaces the description of an image.
    pub async fn set_image_description(&self, image: &ImageId, description: &str) -> Result<(), AwsError> {
        let request = self.sdk().modify_image_attribute().image_id(image.as_str());
        let request = request.description(AttributeValue::builder().value(description).build());
        self.call(Operation::ModifyImageAttribute, request.send())
            .await
            .map(drop)
    }

    /// Fences an image off from being deregistered, up to 24 hours after the fence is taken away.
    pub async fn enable_deregistration_protection(&self, image: &ImageId) -> Result<(), AwsError> {
        let request = self
            .sdk()
            .enable_image_deregistration_protection()
            .image_id(image.as_str())
            .with_cooldown(true);
        self.call(Operation::EnableImageDeregistrationProtection, request.send())
            .await
            .map(drop)
    }
}

fn absent_is_done(answer: Result<(), AwsError>) -> Result<(), AwsError> {
    match answer {
        Err(error) if error.class.is_absent() => Ok(()),
        answer => answer,
    }
}

fn block_device(volume: &Volume) -> BlockDeviceMapping {
    let ebs = EbsBlockDevice::builder()
        .set_volume_size(volume.size_gib)
        .set_volume_type(volume.volume_type.map(|kind| match kind {
            VolumeType::Gp2 => SdkVolumeType::Gp2,
            VolumeType::Gp3 => SdkVolumeType::Gp3,
            VolumeType::Io1 => SdkVolumeType::Io1,
            VolumeType::Io2 => SdkVolumeType::Io2,
            VolumeType::Standard => SdkVolumeType::Standard,
        }))
        .set_iops(volume.iops)
        .set_throughput(volume.throughput)
        .set_encrypted(volume.encrypted)
        .set_kms_key_id(volume.kms_key_id.clone())
        .delete_on_termination(true)
        .build();
    BlockDeviceMapping::builder()
        .device_name(&volume.device)
        .ebs(ebs)
        .build()
}

fn tag_specification(kind: ResourceType, tags: &Tags) -> TagSpecification {
    TagSpecification::builder()
        .resource_type(kind)
        .set_tags(Some(sdk_tags(tags)))
        .build()
}

fn sdk_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}
