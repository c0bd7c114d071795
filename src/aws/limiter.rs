//! AWS's own token buckets, kept on our side, so that it need not throttle us.
//!
//! AWS counts per account and region, over everyone who calls there. So a bucket here is an upper bound; a throttle answer
//! says that the real one is empty.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A class of calls that share a bucket, after "Request throttling for the Amazon EC2 API".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Budget {
    /// Describe, Get and List, filtered or paginated, as all of ours are.
    Describe,
    /// What changes something and has no bucket of its own.
    Mutate,
    RunInstances,
    /// Deregistering, deleting snapshots, terminating; modifying an image's attributes belongs here too.
    Retire,
    /// CreateTags and DeleteTags.
    Tag,
}

impl Budget {
    const ALL: [Self; 5] = [
        Self::Describe,
        Self::Mutate,
        Self::RunInstances,
        Self::Retire,
        Self::Tag,
    ];

    /// Calls that AWS's full bucket holds, and calls that flow into it each second.
    fn bucket(self) -> (f64, f64) {
        match self {
            Self::Describe => (100.0, 20.0),
            Self::Mutate => (50.0, 5.0),
            Self::RunInstances => (5.0, 2.0),
            Self::Retire => (100.0, 5.0),
            Self::Tag => (100.0, 10.0),
        }
    }

    /// For a metric's label.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Mutate => "mutate",
            Self::RunInstances => "run_instances",
            Self::Retire => "retire",
            Self::Tag => "tag",
        }
    }
}

/// Who goes first when a bucket runs low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Effects, and the looks that they wait for.
    Effect,
    /// Looking whether something has happened: leaves a quarter of the bucket to the others.
    Polling,
}

/// The buckets of one account and region.
#[derive(Debug)]
pub(super) struct Limiter {
    buckets: [Mutex<Bucket>; Budget::ALL.len()],
}

impl Limiter {
    /// Full buckets.
    pub(super) fn new() -> Self {
        let now = now();
        Self {
            buckets: Budget::ALL.map(|budget| Mutex::new(Bucket::full(budget, now))),
        }
    }

    /// Waits until a call may be made, and answers with the calls that are left then.
    pub(super) async fn take(&self, budget: Budget, urgency: Urgency) -> f64 {
        loop {
            let taken = self.with(budget, |bucket| bucket.take(urgency, now()));
            match taken {
                Ok(left) => return left,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// AWS says that its bucket is empty.
    pub(super) fn drain(&self, budget: Budget) {
        self.with(budget, |bucket| bucket.drain(now()));
    }

    fn with<T>(&self, budget: Budget, work: impl FnOnce(&mut Bucket) -> T) -> T {
        // The index is the position in ALL, which is the order of declaration; a bucket is whole even after a panic.
        work(
            &mut self.buckets[budget as usize]
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

/// tokio's time, which stands still when a test has paused it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[derive(Debug)]
struct Bucket {
    capacity: f64,
    refill_per_second: f64,
    tokens: f64,
    filled: Instant,
}

/// The part of AWS's bucket that is used: calls that were delayed on their way arrive closer together than they were sent.
const USED: f64 = 0.8;

/// What timers can tell apart.
const SHORTEST: Duration = Duration::from_millis(1);

impl Bucket {
    fn full(budget: Budget, now: Instant) -> Self {
        let (size, refill_per_second) = budget.bucket();
        let capacity = size * USED;
        Self {
            capacity,
            refill_per_second,
            tokens: capacity,
            filled: now,
        }
    }

    /// Takes one call and answers with what is left, or with how long to wait before it can be asked again.
    fn take(&mut self, urgency: Urgency, now: Instant) -> Result<f64, Duration> {
        self.refill(now);
        let reserve = match urgency {
            Urgency::Effect => 0.0,
            Urgency::Polling => self.capacity / 4.0,
        };
        let missing = reserve + 1.0 - self.tokens;
        if missing > 0.0 {
            // Rounding may leave so little missing that it is no time at all: whoever waits for that goes round and round.
            return Err(Duration::from_secs_f64(missing / self.refill_per_second).max(SHORTEST));
        }
        self.tokens -= 1.0;
        Ok(self.tokens)
    }

    fn drain(&mut self, now: Instant) {
        self.tokens = 0.0;
        self.filled = now;
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.refill_per_second).min(self.capacity);
        self.filled = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls that go through at once.
    fn burst(bucket: &mut Bucket, urgency: Urgency, now: Instant) -> usize {
        std::iter::from_fn(|| bucket.take(urgency, now).ok()).count()
    }

    #[test]
    fn a_full_bucket_lets_most_of_aws_burst_through_and_then_the_refill() {
        for budget in Budget::ALL {
            let (capacity, refill) = budget.bucket();
            let start = now();
            let mut bucket = Bucket::full(budget, start);
            assert_eq!(
                burst(&mut bucket, Urgency::Effect, start) as f64,
                capacity * USED,
                "{budget:?}"
            );
            let later = start + Duration::from_secs(2);
            assert_eq!(
                burst(&mut bucket, Urgency::Effect, later) as f64,
                (2.0 * refill).min(capacity * USED),
                "{budget:?}"
            );
        }
    }

    #[test]
    fn polling_leaves_a_quarter_to_effects() {
        let start = now();
        let mut bucket = Bucket::full(Budget::Describe, start);
        assert_eq!(burst(&mut bucket, Urgency::Polling, start), 60);
        assert_eq!(burst(&mut bucket, Urgency::Effect, start), 20);
    }

    #[test]
    fn a_throttle_answer_empties_the_bucket() {
        let start = now();
        let mut bucket = Bucket::full(Budget::Mutate, start);
        bucket.drain(start);
        assert_eq!(bucket.take(Urgency::Effect, start), Err(Duration::from_millis(200)));
        assert_eq!(
            bucket.take(Urgency::Effect, start + Duration::from_millis(200)),
            Ok(0.0)
        );
    }

    #[test]
    fn a_call_that_is_missing_by_a_rounding_error_is_waited_for() {
        let start = now();
        let mut bucket = Bucket::full(Budget::Describe, start);
        bucket.tokens = 1.0 - f64::EPSILON;
        assert_eq!(bucket.take(Urgency::Effect, start), Err(SHORTEST));
        assert!(bucket.take(Urgency::Effect, start + SHORTEST).is_ok());
    }

    #[test]
    fn an_idle_bucket_does_not_overflow() {
        let start = now();
        let mut bucket = Bucket::full(Budget::RunInstances, start);
        assert_eq!(
            burst(&mut bucket, Urgency::Effect, start + Duration::from_secs(3600)),
            4
        );
    }

    #[test]
    fn every_budget_has_its_own_bucket() {
        let limiter = Limiter::new();
        for budget in Budget::ALL {
            assert_eq!(limiter.with(budget, |bucket| bucket.capacity), budget.bucket().0 * USED);
        }
    }
}
