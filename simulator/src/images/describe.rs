//! DescribeImages.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Image, ImageState, StateReason};
use crate::block_devices::ImageBlockDevice;
use crate::describe::{Bounds, Described, Field, Filter, Page, ids_or_page, page};
use crate::ids::Kind;
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::{check_grantees, check_owners, owned_by, shown};
use crate::seed::AMAZON;
use crate::tags::Tags;
use crate::time::{Time, to_second};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageItem {
    image_id: String,
    image_location: String,
    image_state: &'static str,
    image_owner_id: String,
    image_owner_alias: Option<&'static str>,
    creation_date: Time,
    is_public: bool,
    architecture: String,
    image_type: &'static str,
    product_codes: Vec<String>,
    name: String,
    description: Option<String>,
    platform_details: String,
    usage_operation: String,
    ena_support: bool,
    sriov_net_support: &'static str,
    hypervisor: &'static str,
    virtualization_type: &'static str,
    boot_mode: Option<String>,
    tpm_support: Option<String>,
    imds_support: Option<String>,
    root_device_name: String,
    root_device_type: &'static str,
    block_device_mapping: Vec<ImageBlockDevice>,
    state_reason: Option<StateReason>,
    deprecation_time: Option<Time>,
    deregistration_protection: &'static str,
    last_launched_time: Option<Time>,
    source_instance_id: Option<String>,
    source_image_id: Option<String>,
    source_image_region: Option<String>,
    tag_set: Tags,
}

impl ImageItem {
    fn new(image: &Image, account: &str, now: Timestamp) -> Self {
        Self {
            image_id: image.id.clone(),
            image_location: match image.owner.as_str() {
                AMAZON => format!("amazon/{}", image.name),
                owner => format!("{owner}/{}", image.name),
            },
            image_state: image.state.name(),
            image_owner_id: image.owner.clone(),
            image_owner_alias: (image.owner == AMAZON).then_some("amazon"),
            creation_date: Time(to_second(image.created)),
            is_public: image.is_public(),
            architecture: image.architecture.clone(),
            image_type: "machine",
            product_codes: Vec::new(),
            name: image.name.clone(),
            description: image.description.clone(),
            platform_details: image.platform_details.clone(),
            usage_operation: image.usage_operation.clone(),
            ena_support: image.ena_support,
            sriov_net_support: "simple",
            hypervisor: "xen",
            virtualization_type: "hvm",
            boot_mode: image.boot_mode.clone(),
            tpm_support: image.tpm_support.clone(),
            imds_support: image.imds_support.clone(),
            root_device_name: image.root_device_name.clone(),
            root_device_type: "ebs",
            block_device_mapping: image.block_devices.clone(),
            state_reason: image.state_reason.clone(),
            deprecation_time: image.deprecates.map(Time),
            deregistration_protection: image.protection.name(),
            last_launched_time: image.told_last_launched(now).map(Time),
            source_instance_id: image.source_instance_id.clone(),
            source_image_id: image.source_image_id.clone(),
            source_image_region: image.source_image_region.clone(),
            // Tags are seen by the account that put them.
            tag_set: if image.owner == account {
                image.tags.clone()
            } else {
                Tags::default()
            },
        }
    }

    fn devices(&self, field: impl Fn(&ImageBlockDevice) -> String) -> Vec<String> {
        self.block_device_mapping.iter().map(field).collect()
    }
}

fn optional(value: &Option<String>) -> Vec<String> {
    value.iter().cloned().collect()
}

impl Described for ImageItem {
    const FILTERS: &'static [Field<Self>] = &[
        ("architecture", |i| vec![i.architecture.clone()]),
        ("block-device-mapping.delete-on-termination", |i| {
            i.devices(|d| d.ebs.delete_on_termination.to_string())
        }),
        ("block-device-mapping.device-name", |i| {
            i.devices(|d| d.device_name.clone())
        }),
        ("block-device-mapping.encrypted", |i| {
            i.devices(|d| d.ebs.encrypted.to_string())
        }),
        ("block-device-mapping.snapshot-id", |i| {
            i.devices(|d| d.ebs.snapshot_id.clone().unwrap_or_default())
        }),
        ("block-device-mapping.volume-size", |i| {
            i.devices(|d| d.ebs.volume_size.to_string())
        }),
        ("block-device-mapping.volume-type", |i| {
            i.devices(|d| d.ebs.volume_type.clone())
        }),
        ("creation-date", |i| vec![i.creation_date.to_string()]),
        ("description", |i| optional(&i.description)),
        ("ena-support", |i| vec![i.ena_support.to_string()]),
        ("hypervisor", |i| vec![i.hypervisor.to_owned()]),
        ("image-id", |i| vec![i.image_id.clone()]),
        ("image-type", |i| vec![i.image_type.to_owned()]),
        ("is-public", |i| vec![i.is_public.to_string()]),
        ("manifest-location", |i| vec![i.image_location.clone()]),
        ("name", |i| vec![i.name.clone()]),
        ("owner-alias", |i| {
            i.image_owner_alias.map(str::to_owned).into_iter().collect()
        }),
        ("owner-id", |i| vec![i.image_owner_id.clone()]),
        ("root-device-name", |i| vec![i.root_device_name.clone()]),
        ("root-device-type", |i| vec![i.root_device_type.to_owned()]),
        ("source-image-id", |i| optional(&i.source_image_id)),
        ("source-image-region", |i| optional(&i.source_image_region)),
        ("source-instance-id", |i| optional(&i.source_instance_id)),
        ("sriov-net-support", |i| vec![i.sriov_net_support.to_owned()]),
        ("state", |i| vec![i.image_state.to_owned()]),
        ("state-reason-code", |i| {
            i.state_reason.iter().map(|r| r.code.clone()).collect()
        }),
        ("state-reason-message", |i| {
            i.state_reason.iter().map(|r| r.message.clone()).collect()
        }),
        ("virtualization-type", |i| vec![i.virtualization_type.to_owned()]),
    ];

    const EMPTY_FILTERS: &'static [&'static str] = &[
        "free-tier-eligible",
        "image-allowed",
        "image-watermark.source-image-creation-time",
        "image-watermark.source-image-id",
        "image-watermark.source-image-region",
        "image-watermark.watermark-creation-time",
        "image-watermark.watermark-key",
        "kernel-id",
        "platform",
        "product-code",
        "product-code.type",
        "public-ssm-parameter-name",
        "ramdisk-id",
        "scan-result.critical-fix-available-since",
        "scan-result.finding-scan-date",
        "scan-result.high-fix-available-since",
        "scan-result.highest-finding-severity-label",
        "scan-result.informational-fix-available-since",
        "scan-result.low-fix-available-since",
        "scan-result.medium-fix-available-since",
    ];

    fn id(&self) -> String {
        self.image_id.clone()
    }

    fn tags(&self) -> &Tags {
        &self.tag_set
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeImagesRequest {
    #[serde(rename = "ImageId", default)]
    image_ids: Vec<String>,
    #[serde(rename = "Owner", default)]
    owners: Vec<String>,
    #[serde(rename = "ExecutableBy", default)]
    executable_by: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    include_deprecated: Option<bool>,
    include_disabled: Option<bool>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeImagesResponse {
    images_set: Vec<ImageItem>,
    next_token: Option<String>,
}

pub fn describe_images(call: &mut Call<'_>, request: DescribeImagesRequest) -> Result<DescribeImagesResponse, Error> {
    let wanted = Page {
        max_results: request.max_results,
        next_token: request.next_token.clone(),
    };
    let (now, account) = (call.now, call.region.account.clone());
    ids_or_page(&request.image_ids, "imageIdSet", &wanted)?;
    check_owners(&request.owners)?;
    check_grantees(&request.executable_by)?;
    // What was deregistered is neither shown nor an error, and does not make the others of the request all there are.
    let asked = &request.image_ids;
    let ids: Vec<String> = asked
        .iter()
        .filter(|id| !call.region.deregistered.contains(*id))
        .cloned()
        .collect();
    let seen = |image: &Image| image.visible <= now && image.launchable_by(&account);
    let found = match ids.is_empty() && !asked.is_empty() {
        true => Vec::new(),
        false => shown(Kind::Image, &ids, &call.region.images, seen)?,
    };
    let items = found
        .into_iter()
        .filter(|image| listed(image, &request, &account, now))
        .map(|image| ImageItem::new(image, &account, now))
        .collect();
    let (images_set, next_token) = page(items, &request.filters, &wanted, Bounds::capped(1, 1000))?;
    Ok(DescribeImagesResponse { images_set, next_token })
}

/// What the request's own switches leave in, before filters.
fn listed(image: &Image, request: &DescribeImagesRequest, account: &str, now: Timestamp) -> bool {
    let disabled = image.state == ImageState::Disabled && request.include_disabled != Some(true);
    // An owner sees deprecated images always, everyone sees them by id.
    let deprecated = image.deprecates.is_some_and(|at| at <= now)
        && image.owner != account
        && request.image_ids.is_empty()
        && request.include_deprecated != Some(true);
    let executable = |by: &String| match by.as_str() {
        "all" => image.is_public(),
        "self" => image
            .launch_permissions
            .iter()
            .any(|p| p.user_id.as_deref() == Some(account)),
        id => image
            .launch_permissions
            .iter()
            .any(|p| p.user_id.as_deref() == Some(id)),
    };
    !disabled
        && !deprecated
        && owned_by(&request.owners, &image.owner, account)
        && (request.executable_by.is_empty() || request.executable_by.iter().any(executable))
}
