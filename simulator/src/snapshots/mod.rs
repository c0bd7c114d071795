//! Snapshots: what they are, CreateSnapshot, DeleteSnapshot.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

mod attributes;
mod describe;

pub use attributes::{describe_snapshot_attribute, modify_snapshot_attribute};
pub use describe::{SnapshotItem, describe_snapshots};

use crate::disk::Disk;
use crate::durations;
use crate::ids::Kind;
use crate::images::check_description;
use crate::operations::{Call, Return};
use crate::protocol::Error;
use crate::region::Region;
use crate::schedule::Due;
use crate::tags::{TagSpecification, Tags, at_creation};

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
    /// The snapshot that it is a copy of.
    #[serde(default)]
    pub copied_from: Option<String>,
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

impl SnapshotState {
    pub fn name(self) -> &'static str {
        match self {
            SnapshotState::Pending => "pending",
            SnapshotState::Completed => "completed",
            SnapshotState::Error => "error",
        }
    }
}

impl Snapshot {
    /// Whether an account sees it, and may make volumes of it.
    fn restorable_by(&self, account: &str) -> bool {
        self.owner == account || self.shared_with.iter().any(|with| with == "all" || with == account)
    }

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
            copied_from: None,
            description,
            size: volume.specification.size,
            kms_key_id: volume.specification.kms_key_id,
            started: now,
            completes,
            state: SnapshotState::Pending,
            visible: self.visible_from(now, Kind::Snapshot),
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
        let snapshot = self.snapshots.get(id);
        let snapshot = snapshot.filter(|snapshot| snapshot.restorable_by(&self.account));
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
            Some(snapshot) if snapshot.restorable_by(&account) => {
                Err(Error::new("AuthFailure", format!("Not authorized for snapshot {id}")))
            }
            _ => Err(Kind::Snapshot.not_found(id)),
        }
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
    check_description(request.description.as_deref())?;
    region.volume_mut(&request.volume_id)?;
    region.check_snapshot_rate(now, &request.volume_id)?;
    let description = request.description.unwrap_or_default();
    let (id, _) = region.begin_snapshot(now, &request.volume_id, description, tags("snapshot"))?;
    let mut item = SnapshotItem::new(region.own_snapshot(&id)?, now);
    // Not told yet, as distinct from none.
    item.progress.clear();
    Ok(item)
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
