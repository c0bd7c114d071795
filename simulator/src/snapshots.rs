//! Snapshots: CreateSnapshot, DescribeSnapshots, DescribeSnapshotAttribute, ModifySnapshotAttribute, DeleteSnapshot.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::describe::{Bounds, Described, Field, Filter, Page, ids_or_page, page};
use crate::disk::Disk;
use crate::durations;
use crate::ids::Kind;
use crate::operations::{Call, Return};
use crate::protocol::Error;
use crate::region::{Region, owned_by, shown};
use crate::schedule::Due;
use crate::tags::{TagSpecification, Tags, at_creation};
use crate::time::Time;

/// The account's quotas.
const MOST_PENDING: usize = 100;
const MOST_PENDING_PER_VOLUME: usize = 5;

/// A snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    pub id: String,
    pub owner: String,
    /// The volume's id; for a copy, AWS's placeholder `vol-ffffffff`.
    pub volume_id: String,
    pub description: String,
    /// In GiB.
    pub size: u32,
    pub kms_key_id: Option<String>,
    pub started: Timestamp,
    /// When it is, or will be, complete.
    pub completes: Timestamp,
    pub state: SnapshotState,
    /// From when on every describe shows it.
    pub visible: Timestamp,
    /// Accounts that may make volumes of it, and `all`.
    pub shared_with: Vec<String>,
    pub tags: Tags,
    pub disk: Disk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotState {
    Pending,
    Completed,
    Error,
}

impl Snapshot {
    /// Percent done: told from the time, so that it moves between two looks.
    fn progress(&self, now: Timestamp) -> i64 {
        let whole = self.completes.duration_since(self.started).as_millis().max(1);
        let done = now.duration_since(self.started).as_millis();
        match self.state {
            SnapshotState::Completed => 100,
            SnapshotState::Pending | SnapshotState::Error => (done * 100 / whole).clamp(0, 99) as i64,
        }
    }
}

impl Region {
    /// Begins a snapshot of a volume as it is now. Returns its id and when it will be complete.
    pub fn begin_snapshot(
        &mut self,
        now: Timestamp,
        volume_id: &str,
        description: String,
        tags: Tags,
    ) -> Result<(String, Timestamp), Error> {
        let volume = self.volume_mut(volume_id)?.clone();
        let id = self.new_id(Kind::Snapshot);
        let completes = self.later(
            now,
            durations::SNAPSHOT,
            Due::SnapshotCompleted { snapshot: id.clone() },
        );
        let snapshot = Snapshot {
            id: id.clone(),
            owner: self.account.clone(),
            volume_id: volume.id,
            description,
            size: volume.specification.size,
            kms_key_id: volume.specification.kms_key_id,
            started: now,
            completes,
            state: SnapshotState::Pending,
            visible: self.visible_from(now),
            shared_with: Vec::new(),
            tags,
            disk: volume.disk,
        };
        self.snapshots.insert(id.clone(), snapshot);
        Ok((id, completes))
    }

    /// Whether a volume may have one more snapshot now.
    pub fn check_snapshot_rate(&self, now: Timestamp, volume_id: &str) -> Result<(), Error> {
        let pending = || {
            self.snapshots
                .values()
                .filter(|snapshot| snapshot.state == SnapshotState::Pending)
        };
        let of_volume = || pending().filter(|snapshot| snapshot.volume_id == volume_id);
        let interval = SignedDuration::from_secs(durations::SNAPSHOT_INTERVAL_SECONDS);
        if of_volume().any(|snapshot| now.duration_since(snapshot.started) < interval) {
            let message = format!(
                "The rate limit for creating concurrent snapshots of volume '{volume_id}' has been exceeded. \
                 Wait at least 15 seconds between concurrent snapshots, or until the one in progress is completed."
            );
            return Err(Error::new("SnapshotCreationPerVolumeRateExceeded", message));
        }
        if of_volume().count() >= MOST_PENDING_PER_VOLUME {
            let message = format!("Maximum allowed in-progress snapshots for volume '{volume_id}' exceeded.");
            return Err(Error::new("ConcurrentSnapshotLimitExceeded", message));
        }
        if pending().filter(|snapshot| snapshot.owner == self.account).count() >= MOST_PENDING {
            let message = format!("You have reached the limit of {MOST_PENDING} pending snapshots.");
            return Err(Error::new("PendingSnapshotLimitExceeded", message));
        }
        Ok(())
    }

    /// A completed snapshot that the account may make volumes of.
    pub fn usable_snapshot(&self, id: &str) -> Result<&Snapshot, Error> {
        Kind::Snapshot.check(id)?;
        let snapshot = self.snapshots.get(id).filter(|snapshot| {
            snapshot.owner == self.account
                || snapshot
                    .shared_with
                    .iter()
                    .any(|account| account == "all" || *account == self.account)
        });
        let snapshot = snapshot.ok_or_else(|| Kind::Snapshot.not_found(id))?;
        if snapshot.state != SnapshotState::Completed {
            return Err(Error::new(
                "IncorrectState",
                format!("Snapshot '{id}' is not 'completed'."),
            ));
        }
        Ok(snapshot)
    }

    fn own_snapshot(&mut self, id: &str) -> Result<&mut Snapshot, Error> {
        Kind::Snapshot.check(id)?;
        let account = self.account.clone();
        match self.snapshots.get_mut(id) {
            Some(snapshot) if snapshot.owner == account => Ok(snapshot),
            Some(_) => Err(Error::new("AuthFailure", format!("Not authorized for snapshot {id}"))),
            None => Err(Kind::Snapshot.not_found(id)),
        }
    }
}

/// A snapshot as it is described.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotItem {
    snapshot_id: String,
    volume_id: String,
    status: SnapshotState,
    start_time: Time,
    completion_time: Option<Time>,
    progress: String,
    owner_id: String,
    owner_alias: Option<&'static str>,
    volume_size: u32,
    description: String,
    encrypted: bool,
    kms_key_id: Option<String>,
    storage_tier: &'static str,
    tag_set: Tags,
}

impl SnapshotItem {
    fn new(snapshot: &Snapshot, now: Timestamp) -> Self {
        let completed = snapshot.state == SnapshotState::Completed;
        Self {
            snapshot_id: snapshot.id.clone(),
            volume_id: snapshot.volume_id.clone(),
            status: snapshot.state,
            start_time: Time(snapshot.started),
            completion_time: completed.then_some(Time(snapshot.completes)),
            progress: format!("{}%", snapshot.progress(now)),
            owner_id: snapshot.owner.clone(),
            owner_alias: (snapshot.owner == crate::seed::AMAZON).then_some("amazon"),
            volume_size: snapshot.size,
            description: snapshot.description.clone(),
            encrypted: snapshot.kms_key_id.is_some(),
            kms_key_id: snapshot.kms_key_id.clone(),
            storage_tier: "standard",
            tag_set: snapshot.tags.clone(),
        }
    }

    fn status_name(&self) -> &'static str {
        match self.status {
            SnapshotState::Pending => "pending",
            SnapshotState::Completed => "completed",
            SnapshotState::Error => "error",
        }
    }
}

impl Described for SnapshotItem {
    const FILTERS: &'static [Field<Self>] = &[
        ("description", |s| vec![s.description.clone()]),
        ("encrypted", |s| vec![s.encrypted.to_string()]),
        ("owner-alias", |s| {
            s.owner_alias.map(str::to_owned).into_iter().collect()
        }),
        ("owner-id", |s| vec![s.owner_id.clone()]),
        ("progress", |s| vec![s.progress.clone()]),
        ("snapshot-id", |s| vec![s.snapshot_id.clone()]),
        ("start-time", |s| vec![s.start_time.to_string()]),
        ("status", |s| vec![s.status_name().to_owned()]),
        ("storage-tier", |s| vec![s.storage_tier.to_owned()]),
        ("volume-id", |s| vec![s.volume_id.clone()]),
        ("volume-size", |s| vec![s.volume_size.to_string()]),
    ];

    fn id(&self) -> String {
        self.snapshot_id.clone()
    }

    fn tags(&self) -> &Tags {
        &self.tag_set
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateSnapshotRequest {
    volume_id: String,
    description: Option<String>,
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
}

pub fn create_snapshot(call: &mut Call<'_>, request: CreateSnapshotRequest) -> Result<SnapshotItem, Error> {
    let tags = at_creation(&request.tag_specifications, &["snapshot"])?;
    let now = call.now;
    let region = &mut *call.region;
    region.volume_mut(&request.volume_id)?;
    region.check_snapshot_rate(now, &request.volume_id)?;
    let description = request.description.unwrap_or_default();
    let (id, _) = region.begin_snapshot(now, &request.volume_id, description, tags("snapshot"))?;
    Ok(SnapshotItem::new(region.own_snapshot(&id)?, now))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeSnapshotsRequest {
    #[serde(rename = "SnapshotId", default)]
    snapshot_ids: Vec<String>,
    #[serde(rename = "Owner", default)]
    owners: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeSnapshotsResponse {
    snapshot_set: Vec<SnapshotItem>,
    next_token: Option<String>,
}

pub fn describe_snapshots(
    call: &mut Call<'_>,
    request: DescribeSnapshotsRequest,
) -> Result<DescribeSnapshotsResponse, Error> {
    let wanted = Page {
        max_results: request.max_results,
        next_token: request.next_token,
    };
    ids_or_page(&request.snapshot_ids, "snapshotIds", &wanted)?;
    let (now, account) = (call.now, call.region.account.clone());
    let seen = |snapshot: &Snapshot| {
        let ours = snapshot.owner == account || snapshot.shared_with.iter().any(|a| a == "all" || *a == account);
        snapshot.visible <= now && ours
    };
    let items = shown(Kind::Snapshot, &request.snapshot_ids, &call.region.snapshots, seen)?
        .into_iter()
        .filter(|snapshot| owned_by(&request.owners, &snapshot.owner, &account))
        .map(|snapshot| SnapshotItem::new(snapshot, now))
        .collect();
    let (snapshot_set, next_token) = page(items, &request.filters, &wanted, Bounds::capped(5, 1000))?;
    Ok(DescribeSnapshotsResponse {
        snapshot_set,
        next_token,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeSnapshotAttributeRequest {
    attribute: String,
    snapshot_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeSnapshotAttributeResponse {
    snapshot_id: String,
    create_volume_permission: Option<Vec<CreateVolumePermission>>,
    product_codes: Option<Vec<String>>,
}

/// An account, or the group `all`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase", deserialize = "PascalCase"))]
struct CreateVolumePermission {
    user_id: Option<String>,
    group: Option<String>,
}

pub fn describe_snapshot_attribute(
    call: &mut Call<'_>,
    request: DescribeSnapshotAttributeRequest,
) -> Result<DescribeSnapshotAttributeResponse, Error> {
    let snapshot = call.region.own_snapshot(&request.snapshot_id)?;
    let permission = |account: &String| match account.as_str() {
        "all" => CreateVolumePermission {
            user_id: None,
            group: Some("all".to_owned()),
        },
        _ => CreateVolumePermission {
            user_id: Some(account.clone()),
            group: None,
        },
    };
    let mut response = DescribeSnapshotAttributeResponse {
        snapshot_id: request.snapshot_id,
        create_volume_permission: None,
        product_codes: None,
    };
    match request.attribute.as_str() {
        "createVolumePermission" => {
            response.create_volume_permission = Some(snapshot.shared_with.iter().map(permission).collect());
        }
        "productCodes" => response.product_codes = Some(Vec::new()),
        other => {
            return Err(Error::invalid(
                other,
                "attribute",
                "It must be createVolumePermission or productCodes.",
            ));
        }
    }
    Ok(response)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifySnapshotAttributeRequest {
    snapshot_id: String,
    attribute: Option<String>,
    create_volume_permission: Option<PermissionChanges>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PermissionChanges {
    #[serde(default)]
    add: Vec<CreateVolumePermission>,
    #[serde(default)]
    remove: Vec<CreateVolumePermission>,
}

pub fn modify_snapshot_attribute(
    call: &mut Call<'_>,
    request: ModifySnapshotAttributeRequest,
) -> Result<Return, Error> {
    if let Some(other) = request
        .attribute
        .filter(|attribute| attribute != "createVolumePermission")
    {
        return Err(Error::invalid(other, "attribute", "It must be createVolumePermission."));
    }
    let changes = request
        .create_volume_permission
        .ok_or_else(|| Error::missing("CreateVolumePermission"))?;
    let snapshot = call.region.own_snapshot(&request.snapshot_id)?;
    for permission in changes.add {
        let account = grantee(permission)?;
        if account == "all" && snapshot.kms_key_id.is_some() {
            let message = format!("Encrypted snapshot '{}' cannot be shared publicly", snapshot.id);
            return Err(Error::combination(message));
        }
        if !snapshot.shared_with.contains(&account) {
            snapshot.shared_with.push(account);
        }
    }
    for permission in changes.remove {
        let account = grantee(permission)?;
        snapshot.shared_with.retain(|other| *other != account);
    }
    Ok(Return::TRUE)
}

fn grantee(permission: CreateVolumePermission) -> Result<String, Error> {
    match (permission.user_id, permission.group.as_deref()) {
        (Some(account), None) if account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) => Ok(account),
        (Some(account), None) => Err(Error::invalid(
            account,
            "UserId",
            "It must be an account id of 12 digits.",
        )),
        (None, Some("all")) => Ok("all".to_owned()),
        _ => Err(Error::new(
            "InvalidParameterValue",
            "A permission names one UserId, or the Group 'all'",
        )),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteSnapshotRequest {
    snapshot_id: String,
}

pub fn delete_snapshot(call: &mut Call<'_>, request: DeleteSnapshotRequest) -> Result<Return, Error> {
    let id = request.snapshot_id;
    let region = &mut *call.region;
    region.own_snapshot(&id)?;
    if let Some(image) = region.images_of_snapshot(&id).next() {
        let message = format!("The snapshot {id} is currently in use by {image}");
        return Err(Error::new("InvalidSnapshot.InUse", message));
    }
    region.snapshots.remove(&id);
    Ok(Return::TRUE)
}
