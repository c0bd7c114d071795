//! What is there, read for everyone at once: one poller per account and region.
//!
//! Its cost follows the region and what moves in it, not the number of objects.

mod answers;
mod interests;
mod reader;
mod turns;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use self::interests::Interests;
use self::reader::Reader;
use super::Ec2;
use super::console::Console;
use crate::api::ImageSearch;
use crate::controller::Clock;
use crate::world::{AccountPolicy, AwsError, Installation, InstanceId, Interest, Owner, View};

/// Between two looks while something moves: AWS's own processes take seconds to minutes.
const FAST: Duration = Duration::from_secs(1);
/// The same while nothing has changed for long, as during the steps of a long build: a thirtieth of that time, up to this.
const PATIENT: Duration = Duration::from_secs(5);
/// Between two looks while nothing moves: a changed source is noticed well within a minute.
const SLOW: Duration = Duration::from_secs(30);

/// The picture of one account and region, kept up to date. Clones share it.
#[derive(Clone, Debug)]
pub struct Inventory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ec2: Ec2,
    clock: Clock,
    pokes: mpsc::UnboundedSender<Owner>,
    /// Something has begun to move.
    hurry: Notify,
    interests: Mutex<Interests>,
    latest: Mutex<Latest>,
    /// One poll at a time. Whoever demands a view polls, or shares the poll of someone who did so later.
    reader: tokio::sync::Mutex<Reader>,
    console: Console,
}

/// The last view, and how it came about.
#[derive(Debug, Default)]
struct Latest {
    view: Arc<View>,
    /// Number of the poll that was begun last.
    begun: u64,
    /// Number of the poll that was ended last.
    ended: u64,
    ended_at: Option<Instant>,
    /// When a poll last showed that something had changed, or something began to move.
    changed_at: Option<Instant>,
    /// Which set of interests the view answers.
    interests: u64,
    /// Why the poll that was ended last has failed.
    error: Option<AwsError>,
    /// How many have failed in a row.
    failures: u32,
    /// How many in a row have left something unanswered.
    unanswered: u32,
}

impl Inventory {
    /// Nothing has been read yet. Owners whose part of the view changes are sent over `pokes`. `inspector`: where inspectors boot from.
    pub fn new(
        ec2: &Ec2,
        installation: &Installation,
        policy: &AccountPolicy,
        inspector: &ImageSearch,
        clock: Clock,
        pokes: mpsc::UnboundedSender<Owner>,
    ) -> Self {
        let reader = Reader::new(ec2.clone(), installation.clone(), policy.clone(), inspector);
        Self(Arc::new(Shared {
            clock,
            pokes,
            ec2: ec2.clone(),
            hurry: Notify::new(),
            interests: Mutex::default(),
            latest: Mutex::default(),
            reader: tokio::sync::Mutex::new(reader),
            // What a console says can wait a moment longer than an effect.
            console: Console::new(ec2.polling()),
        }))
    }

    /// What `owner` refers to, in place of what it did before. Without it an object is neither poked nor read for.
    pub fn register(&self, owner: &Owner, interests: Vec<Interest>) {
        self.interests().register(owner, interests);
    }

    /// Whether something of `owner`'s is on its way in AWS: while anything is, the region is looked at every second, and less often once
    /// nothing has changed for half a minute.
    pub fn set_moving(&self, owner: &Owner, moving: bool) {
        if self.interests().set_moving(owner, moving) {
            self.state().changed_at = Some(Instant::now());
            self.0.hurry.notify_one();
        }
    }

    /// The object is gone.
    pub fn forget(&self, owner: &Owner) {
        self.interests().forget(owner);
    }

    /// The client that reads, for whoever acts on what was read.
    pub fn ec2(&self) -> &Ec2 {
        &self.0.ec2
    }

    /// A view that was taken after `newer_than` and answers everything registered before this call; read now if need be.
    ///
    /// # Errors
    /// That of the read which failed.
    pub async fn view(&self, newer_than: Timestamp) -> Result<Arc<View>, AwsError> {
        let wanted = self.interests().version();
        let demanded_after = {
            let latest = self.state();
            if latest.view.taken.is_some_and(|taken| taken > newer_than) && latest.interests >= wanted {
                return Ok(Arc::clone(&latest.view));
            }
            latest.begun
        };
        let mut reader = self.0.reader.lock().await;
        {
            let latest = self.state();
            if latest.ended > demanded_after {
                return latest.outcome();
            }
        }
        self.poll(&mut reader, true).await
    }

    /// The end of the instance's console, at most two seconds old.
    pub async fn console(&self, instance: &InstanceId) -> Result<String, AwsError> {
        self.0.console.read(instance).await
    }

    /// Looks again and again, for ever. Only whoever acts needs to run it.
    pub async fn run(&self) {
        loop {
            let pause = self.pause();
            if !pause.is_zero() {
                // Cut short when something begins to move: then the pause is another.
                let _ = tokio::time::timeout(pause, self.0.hurry.notified()).await;
                continue;
            }
            let mut reader = self.0.reader.lock().await;
            // Someone may have polled while we waited for our turn.
            if self.pause().is_zero()
                && let Err(error) = self.poll(&mut reader, false).await
            {
                tracing::warn!(%error, code = error.code, request_id = error.request_id, "could not look at AWS");
            }
        }
    }

    /// How long to wait before the next look.
    fn pause(&self) -> Duration {
        let pace = self.interests().pace();
        let latest = self.state();
        let interval = match pace {
            Pace::Idle => return SLOW,
            Pace::Slow => SLOW,
            Pace::Fast => {
                let unchanged = latest.changed_at.map(|at| at.elapsed()).unwrap_or_default();
                (unchanged / 30).clamp(FAST, PATIENT)
            }
        };
        // After failures one, two, four ... seconds, so that a region that refuses us isn't asked every second.
        let backoff = |times: u32| FAST * 2_u32.saturating_pow(times.min(6)) / 2;
        let interval = match latest.unanswered {
            0 => interval,
            times => interval.min(backoff(times)),
        };
        let interval = interval.max(backoff(latest.failures)).min(SLOW).max(FAST);
        latest.ended_at.map_or(Duration::ZERO, |at| {
            (at + interval).saturating_duration_since(Instant::now())
        })
    }

    async fn poll(&self, reader: &mut Reader, urgent: bool) -> Result<Arc<View>, AwsError> {
        let asked = self.interests().union();
        let (number, before) = {
            let mut latest = self.state();
            latest.begun += 1;
            (latest.begun, Arc::clone(&latest.view))
        };
        let read = reader.read(&asked, &before, self.0.clock.now(), urgent).await;
        let mut latest = self.state();
        latest.ended = number;
        latest.ended_at = Some(Instant::now());
        match read {
            Ok(view) => {
                latest.view = Arc::new(view);
                latest.interests = asked.version;
                latest.error = None;
                latest.failures = 0;
                latest.unanswered = match latest.view.unanswered.is_empty() {
                    true => 0,
                    false => latest.unanswered.saturating_add(1),
                };
                let affected = self.interests().affected(&before, &latest.view);
                if !affected.is_empty() {
                    latest.changed_at = Some(Instant::now());
                }
                for owner in affected {
                    // An error means that nobody listens any more: the process is about to end.
                    let _ = self.0.pokes.send(owner);
                }
            }
            Err(error) => {
                latest.error = Some(error);
                latest.failures += 1;
            }
        }
        latest.outcome()
    }

    fn interests(&self) -> MutexGuard<'_, Interests> {
        // Each change of it is one assignment, so that a panic leaves nothing half done; `latest` likewise.
        self.0.interests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, Latest> {
        self.0.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latest {
    fn outcome(&self) -> Result<Arc<View>, AwsError> {
        match &self.error {
            None => Ok(Arc::clone(&self.view)),
            Some(error) => Err(error.clone()),
        }
    }
}

/// How often to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Nobody wants to know.
    Idle,
    Slow,
    Fast,
}
