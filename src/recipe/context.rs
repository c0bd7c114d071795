//! What the passes over recipes share, and how a pass fails.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;

use super::config_map::Malformed;
use super::denied::{RecordRefused, RecordsDenied};
use super::record_reader::RecordReader;
use super::seal::{NoKey, SealKeys};
use super::since;
use crate::aws::Inventory;
use crate::controller::{Clock, Config, Recorder, Stop};
use crate::world::{AwsError, Installation};

/// A lease is no fence: who was held up this long before an effect may no longer be the leader.
const PLAN_LIFETIME: Duration = Duration::from_secs(60);

/// What the passes share.
pub struct Context {
    /// The API server, for calls.
    pub client: Client,
    /// Wall time.
    pub clock: Clock,
    /// The configuration file, read and checked.
    pub config: Config,
    /// Whose tags what is made carries.
    pub installation: Installation,
    /// Publishes Events.
    pub recorder: Recorder,
    /// Asked between two effects.
    pub(super) stop: Stop,
    pub(super) keys: SealKeys,
    pub(super) records: RecordReader,
    /// One for each account and region that the configuration names.
    pub(super) inventories: HashMap<(String, String), Inventory>,
    /// When the last effects of an object were carried out, by its uid: what was read before says nothing any more.
    acted: Mutex<HashMap<String, Timestamp>>,
}

impl Context {
    /// # Errors
    /// When the configuration has no usable seal key.
    pub fn new(
        client: Client,
        clock: Clock,
        config: Config,
        cluster: String,
        recorder: Recorder,
        inventories: HashMap<(String, String), Inventory>,
        stop: Stop,
    ) -> Result<Self, NoKey> {
        let keys = SealKeys::new(config.seal_keys.iter().map(|key| key.bytes().to_vec()).collect())?;
        let installation = Installation {
            name: config.installation.clone(),
            cluster,
        };
        Ok(Self {
            records: RecordReader::new(client.clone(), keys.clone()),
            client,
            clock,
            config,
            installation,
            recorder,
            stop,
            keys,
            inventories,
            acted: Mutex::default(),
        })
    }

    pub(super) fn inventory(&self, account: &str, region: &str) -> Option<&Inventory> {
        self.inventories.get(&(account.to_owned(), region.to_owned()))
    }

    /// Whether an effect of a plan that was made at `made` may still be carried out by this process.
    pub(super) fn permit(&self, made: Timestamp) -> Result<(), Error> {
        if self.stop.requested() {
            return Err(Error::Stopping);
        }
        let age = since(made, self.clock.now());
        if age > PLAN_LIFETIME {
            Err(Error::StalePlan(age))
        } else {
            Ok(())
        }
    }

    /// A view must be newer than this to decide on.
    pub(super) fn acted(&self, uid: &str) -> Timestamp {
        self.lock().get(uid).copied().unwrap_or(Timestamp::UNIX_EPOCH)
    }

    pub(super) fn has_acted(&self, uid: &str) {
        self.lock().insert(uid.to_owned(), self.clock.now());
    }

    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
        self.records.forget(uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Timestamp>> {
        // A map of times is whole at every moment, whoever panicked.
        self.acted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the API server failed.
    #[error("Kubernetes: {what}")]
    Kubernetes {
        /// What was being done, for example `writing status`.
        what: &'static str,
        /// What the API server or the connection says.
        source: kube::Error,
    },
    /// The object has changed since it was read.
    #[error("the object has changed meanwhile; it is looked at again")]
    Conflict,
    /// A ConfigMap that should be the record of a build cannot be read as one.
    #[error(transparent)]
    Record(#[from] Malformed),
    /// A ConfigMap that is no record of the recipe's has the name that the next build's would have.
    #[error("ConfigMap {0} is not Goldsmith's, and the record of the next build needs its name; delete or rename it")]
    RecordNameTaken(String),
    /// More ConfigMaps look like records of the recipe than are read, so none is.
    #[error(
        "of the ConfigMaps in namespace {namespace} {what}, so none of them is read; delete those that are no records of builds, or take \
         the label off them"
    )]
    TooManyRecords {
        /// Of the recipe.
        namespace: String,
        /// How many, and by which label or name.
        what: String,
    },
    /// The API server does not take a change of a record.
    #[error(transparent)]
    RecordRefused(#[from] RecordRefused),
    /// RBAC does not let the controller read the records of a namespace.
    #[error(transparent)]
    RecordsDenied(#[from] RecordsDenied),
    /// AWS could not be read, or an effect failed in a way after which the object backs off.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The process was asked to stop between two effects.
    #[error("the process is asked to stop; the rest of the plan is made anew by whoever leads next")]
    Stopping,
    /// Between observing and acting too much time went by, so another leader may have acted.
    #[error("the plan is {0:?} old, too old to be carried out; it is made anew")]
    StalePlan(Duration),
}

impl Error {
    /// When to try again after a pass that ended early with nothing wrong; none for a failure.
    pub fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::Conflict | Self::StalePlan(_) | Self::Stopping).then_some(Duration::from_millis(200))
    }

    pub(super) fn kubernetes(what: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| match &source {
            kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => Self::Conflict,
            _ => Self::Kubernetes { what, source },
        }
    }

    /// Of a read of records. That is forbidden for want of a permission alone; other calls also by quotas, or in a namespace that goes.
    pub(super) fn reading_records(namespace: &str) -> impl FnOnce(kube::Error) -> Self {
        move |error| match error {
            kube::Error::Api(status) if status.is_forbidden() => RecordsDenied::new(namespace, &status.message).into(),
            error => Self::kubernetes("reading the records of builds")(error),
        }
    }

    /// Of a change of the record `name`, which `verb` says.
    pub(super) fn changing_record(verb: &'static str, name: &str) -> impl FnOnce(kube::Error) -> Self {
        move |error| match error {
            kube::Error::Api(status) if RecordRefused::is(status.code) => {
                RecordRefused::new(verb, name, &status.message).into()
            }
            error => Self::kubernetes("changing the record of a build")(error),
        }
    }
}
