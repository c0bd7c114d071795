//! CopyImage, called in the destination.

use serde::Deserialize;

use super::create::{ImageIdResponse, check_description};
use super::{Image, ImageState};
use crate::durations;
use crate::ids::Kind;
use crate::keys;
use crate::operations::Call;
use crate::protocol::Error;
use crate::protocol::query::given;
use crate::schedule::Due;
use crate::snapshots::{Snapshot, SnapshotState};
use crate::tags::{TagSpecification, at_creation};

/// Concurrent snapshot copies per destination region.
const MOST_COPIES: usize = 20;
/// What AWS shows as the volume of a copied snapshot.
const NO_VOLUME: &str = "vol-ffffffff";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CopyImageRequest {
    name: String,
    source_image_id: String,
    source_region: String,
    description: Option<String>,
    encrypted: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    kms_key_id: Option<String>,
    client_token: Option<String>,
    copy_image_tags: Option<bool>,
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
}

/// Launch permissions, deprecation and protection are not copied. A key that can't be used is found out later: the
/// call succeeds and the image fails.
pub fn copy_image(call: &mut Call<'_>, request: CopyImageRequest) -> Result<ImageIdResponse, Error> {
    let tags = at_creation(&request.tag_specifications, &["image", "snapshot"])?;
    let (now, fingerprint) = (call.now, call.fingerprint.to_owned());
    let source_region = match call.others.get(&request.source_region) {
        Some(other) => other,
        None if request.source_region == call.region.name => &*call.region,
        None => {
            return Err(Error::invalid(
                &request.source_region,
                "SourceRegion",
                "There is no such region.",
            ));
        }
    };
    if let Some(token) = &request.client_token
        && let Some((image, (_, earlier))) = call
            .region
            .images
            .values()
            .filter_map(|image| Some((image, image.copy_token.as_ref()?)))
            .find(|(_, (used, _))| used == token)
    {
        if *earlier != fingerprint {
            let message = format!("The client token '{token}' was used with other parameters");
            return Err(Error::new("IdempotentParameterMismatch", message));
        }
        return Ok(ImageIdResponse {
            image_id: image.id.clone(),
        });
    }
    let source = source_region.launchable_image(&request.source_image_id)?.clone();
    let snapshots: Vec<Option<Snapshot>> = source
        .block_devices
        .iter()
        .map(|device| {
            device
                .ebs
                .snapshot_id
                .as_ref()
                .and_then(|id| source_region.snapshots.get(id))
                .cloned()
        })
        .collect();

    let region = &mut *call.region;
    region.check_image_name(&request.name, now)?;
    check_description(request.description.as_deref())?;
    let copies = region
        .snapshots
        .values()
        .filter(|s| s.state == SnapshotState::Pending && s.volume_id == NO_VOLUME);
    if copies.count() + snapshots.iter().flatten().count() > MOST_COPIES {
        let message = format!("Too many snapshot copies in progress. The limit is {MOST_COPIES} for this destination.");
        return Err(Error::new("ResourceLimitExceeded", message));
    }
    if request.kms_key_id.is_some() && request.encrypted != Some(true) {
        return Err(keys::needs_encrypted());
    }
    let encrypt = request.encrypted == Some(true) || snapshots.iter().flatten().any(|s| s.kms_key_id.is_some());
    let key = encrypt.then(|| keys::resolve(region, request.kms_key_id.as_deref()));

    let id = region.new_id(Kind::Image);
    let mut block_devices = source.block_devices.clone();
    let mut completes = now;
    for (device, snapshot) in block_devices.iter_mut().zip(&snapshots) {
        let Some(snapshot) = snapshot else { continue };
        let copy = region.new_id(Kind::Snapshot);
        let done = region.later(now, durations::COPY, Due::SnapshotCompleted { snapshot: copy.clone() });
        completes = completes.max(done);
        device.ebs.snapshot_id = Some(copy.clone());
        device.ebs.encrypted = encrypt;
        let description = format!(
            "Copied for DestinationAmi {id} from SourceAmi {} for SourceSnapshot {}",
            source.id, snapshot.id
        );
        let copied = Snapshot {
            id: copy.clone(),
            owner: region.account.clone(),
            volume_id: NO_VOLUME.to_owned(),
            copied_from: Some(snapshot.id.clone()),
            description,
            kms_key_id: key.as_ref().map(|key| key.arn.clone()),
            started: now,
            completes: done,
            state: SnapshotState::Pending,
            visible: region.visible_from(now, Kind::Snapshot),
            shared_with: Vec::new(),
            tags: tags("snapshot"),
            size: snapshot.size,
            disk: snapshot.disk.clone(),
        };
        region.snapshots.insert(copy, copied);
    }
    let mut image_tags = tags("image");
    if request.copy_image_tags == Some(true) && source.owner == region.account {
        for (tag, value) in source.tags.0.iter().filter(|(tag, _)| !tag.starts_with("aws:")) {
            image_tags.0.entry(tag.clone()).or_insert_with(|| value.clone());
        }
    }
    let image = Image {
        id: id.clone(),
        name: request.name,
        description: request.description.filter(|text| !text.is_empty()),
        state: ImageState::Pending,
        created: now,
        visible: region.visible_from(now, Kind::Image),
        block_devices,
        boot_mode: source.boot_mode,
        tpm_support: source.tpm_support,
        imds_support: source.imds_support,
        source_image_id: Some(source.id),
        source_image_region: Some(request.source_region),
        tags: image_tags,
        copy_token: request.client_token.map(|token| (token, fingerprint)),
        ..Image::blank(region, &source.architecture, &source.root_device_name)
    };
    region.images.insert(id.clone(), image);
    match key.filter(|key| !key.usable) {
        Some(key) => {
            let due = Due::ImageFailed {
                state: ImageState::Failed,
                image: id.clone(),
                code: "Client.InvalidKMSKey.InvalidState".to_owned(),
                message: format!("The KMS key {} does not exist or cannot be used", key.arn),
            };
            region.later(now, durations::KEY_VALIDATION, due);
        }
        None => {
            region.later(completes, durations::IMAGE, Due::ImageAvailable { image: id.clone() });
        }
    }
    Ok(ImageIdResponse { image_id: id })
}
