//! DescribeSnapshots.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Snapshot, SnapshotState};
use crate::describe::{Bounds, Described, Field, Filter, Page, ids_or_page, page};
use crate::ids::Kind;
use crate::operations::Call;
use crate::protocol::Error;
use crate::region::{check_grantees, check_owners, owned_by, shown};
use crate::tags::Tags;
use crate::time::Time;

/// A snapshot as it is described.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotItem {
    snapshot_id: String,
    volume_id: String,
    status: SnapshotState,
    start_time: Time,
    completion_time: Option<Time>,
    pub progress: String,
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
    pub fn new(snapshot: &Snapshot, now: Timestamp) -> Self {
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
        ("status", |s| vec![s.status.name().to_owned()]),
        ("storage-tier", |s| vec![s.storage_tier.to_owned()]),
        ("volume-id", |s| vec![s.volume_id.clone()]),
        ("volume-size", |s| vec![s.volume_size.to_string()]),
    ];

    const EMPTY_FILTERS: &'static [&'static str] = &["transfer-type"];

    fn id(&self) -> String {
        self.snapshot_id.clone()
    }

    fn tags(&self) -> &Tags {
        &self.tag_set
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeSnapshotsRequest {
    #[serde(rename = "SnapshotId", default)]
    snapshot_ids: Vec<String>,
    #[serde(rename = "Owner", default)]
    owners: Vec<String>,
    #[serde(rename = "RestorableBy", default)]
    restorable_by: Vec<String>,
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
    check_owners(&request.owners)?;
    check_grantees(&request.restorable_by)?;
    let (now, account) = (call.now, call.region.account.clone());
    let seen = |snapshot: &Snapshot| snapshot.visible <= now && snapshot.restorable_by(&account);
    let items = shown(Kind::Snapshot, &request.snapshot_ids, &call.region.snapshots, seen)?
        .into_iter()
        .filter(|snapshot| owned_by(&request.owners, &snapshot.owner, &account))
        .filter(|snapshot| {
            let restorable = |by: &String| match by.as_str() {
                "self" => true,
                by => snapshot.owner == by || snapshot.shared_with.iter().any(|with| with == by),
            };
            request.restorable_by.is_empty() || request.restorable_by.iter().any(restorable)
        })
        .map(|snapshot| SnapshotItem::new(snapshot, now))
        .collect();
    let (snapshot_set, next_token) = page(items, &request.filters, &wanted, Bounds::capped(5, 1000))?;
    Ok(DescribeSnapshotsResponse {
        snapshot_set,
        next_token,
    })
}
