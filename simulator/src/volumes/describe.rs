//! DescribeVolumes.

use serde::{Deserialize, Serialize};

use super::{Attachment, AttachmentState, Volume, VolumeState};
use crate::describe::{Bounds, Described, Field, Filter, Page, ids_or_page, page};
use crate::ids::Kind;
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::{Region, shown};
use crate::tags::Tags;
use crate::time::Time;

/// A volume as it is described.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeItem {
    volume_id: String,
    size: u32,
    snapshot_id: String,
    availability_zone: String,
    availability_zone_id: Option<String>,
    status: VolumeState,
    create_time: Time,
    attachment_set: Vec<AttachmentItem>,
    volume_type: String,
    iops: Option<u32>,
    throughput: Option<u32>,
    encrypted: bool,
    kms_key_id: Option<String>,
    multi_attach_enabled: bool,
    tag_set: Tags,
}

/// An attachment as it is described.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentItem {
    volume_id: String,
    instance_id: String,
    device: String,
    status: AttachmentState,
    attach_time: Time,
    delete_on_termination: bool,
}

impl AttachmentItem {
    pub fn new(volume_id: &str, attachment: &Attachment) -> Self {
        Self {
            volume_id: volume_id.to_owned(),
            instance_id: attachment.instance_id.clone(),
            device: attachment.device.clone(),
            status: attachment.state,
            attach_time: Time(attachment.attach_time),
            delete_on_termination: attachment.delete_on_termination,
        }
    }
}

impl VolumeItem {
    pub fn new(region: &Region, volume: &Volume) -> Self {
        let specification = volume.specification.clone();
        Self {
            volume_id: volume.id.clone(),
            size: specification.size,
            snapshot_id: volume.snapshot_id.clone().unwrap_or_default(),
            availability_zone: volume.zone.clone(),
            availability_zone_id: region.zone_id(&volume.zone),
            status: volume.state,
            create_time: Time(volume.created),
            attachment_set: volume
                .attachment
                .iter()
                .map(|a| AttachmentItem::new(&volume.id, a))
                .collect(),
            volume_type: specification.volume_type,
            iops: specification.iops,
            throughput: specification.throughput,
            encrypted: specification.kms_key_id.is_some(),
            kms_key_id: specification.kms_key_id,
            multi_attach_enabled: false,
            tag_set: volume.tags.clone(),
        }
    }

    fn attachments(&self, field: impl Fn(&AttachmentItem) -> String) -> Vec<String> {
        self.attachment_set.iter().map(field).collect()
    }
}

impl Described for VolumeItem {
    const FILTERS: &'static [Field<Self>] = &[
        ("attachment.attach-time", |v| {
            v.attachments(|a| a.attach_time.to_string())
        }),
        ("attachment.delete-on-termination", |v| {
            v.attachments(|a| a.delete_on_termination.to_string())
        }),
        ("attachment.device", |v| v.attachments(|a| a.device.clone())),
        ("attachment.instance-id", |v| v.attachments(|a| a.instance_id.clone())),
        ("attachment.status", |v| v.attachments(|a| a.status.name().to_owned())),
        ("availability-zone", |v| vec![v.availability_zone.clone()]),
        ("availability-zone-id", |v| {
            v.availability_zone_id.iter().cloned().collect()
        }),
        ("create-time", |v| vec![v.create_time.to_string()]),
        ("encrypted", |v| vec![v.encrypted.to_string()]),
        ("multi-attach-enabled", |v| vec![v.multi_attach_enabled.to_string()]),
        ("size", |v| vec![v.size.to_string()]),
        ("snapshot-id", |v| vec![v.snapshot_id.clone()]),
        ("status", |v| vec![v.status.name().to_owned()]),
        ("volume-id", |v| vec![v.volume_id.clone()]),
        ("volume-type", |v| vec![v.volume_type.clone()]),
        ("operator.managed", |_| vec!["false".to_owned()]),
    ];

    const EMPTY_FILTERS: &'static [&'static str] = &["fast-restored", "operator.principal"];

    fn id(&self) -> String {
        self.volume_id.clone()
    }

    fn tags(&self) -> &Tags {
        &self.tag_set
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeVolumesRequest {
    #[serde(rename = "VolumeId", default)]
    volume_ids: Vec<String>,
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
pub struct DescribeVolumesResponse {
    volume_set: Vec<VolumeItem>,
    next_token: Option<String>,
}

pub fn describe_volumes(
    call: &mut Call<'_>,
    request: DescribeVolumesRequest,
) -> Result<DescribeVolumesResponse, Error> {
    let wanted = Page {
        max_results: request.max_results,
        next_token: request.next_token,
    };
    ids_or_page(&request.volume_ids, "volumeIds", &wanted)?;
    let region = &*call.region;
    let items = shown(Kind::Volume, &request.volume_ids, &region.volumes, |_| true)?;
    let items = items
        .into_iter()
        .map(|volume| VolumeItem::new(region, volume))
        .collect();
    let (volume_set, next_token) = page(items, &request.filters, &wanted, Bounds::capped(5, 1000))?;
    Ok(DescribeVolumesResponse { volume_set, next_token })
}
