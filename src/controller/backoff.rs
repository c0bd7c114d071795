//! How long to leave an object alone after a failed pass. kube has one backoff for all; ours is each object's own.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Delays by object. Objects are told apart by uid: one that was made anew under its old name begins anew.
#[derive(Debug, Default)]
pub struct Backoff(Mutex<HashMap<String, ExponentialBackoff>>);

impl Backoff {
    /// A pass over the object has failed: how long to wait. A second, doubled with each failure in a row up to five
    /// minutes, and lengthened at random by up to as much again below that, so that objects do not return all at once.
    pub fn failed(&self, uid: &str) -> Duration {
        let mut delays = self.delays();
        let delay = delays.entry(uid.to_owned()).or_insert_with(|| {
            let mut seed = DefaultHasher::new();
            uid.hash(&mut seed);
            ExponentialBuilder::new()
                .with_min_delay(FIRST)
                .with_max_delay(LONGEST)
                .without_max_times()
                .with_jitter()
                .with_jitter_seed(seed.finish())
                .build()
        });
        delay.next().unwrap_or(LONGEST).min(LONGEST)
    }

    /// A pass has succeeded, or the object is gone: the next failure is the first.
    pub fn reset(&self, uid: &str) {
        self.delays().remove(uid);
    }

    fn delays(&self) -> MutexGuard<'_, HashMap<String, ExponentialBackoff>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_object_is_left_alone_for_longer_and_longer_but_never_past_five_minutes() {
        let backoff = Backoff::default();
        for failure in 0..40 {
            let least = FIRST.saturating_mul(2_u32.saturating_pow(failure)).min(LONGEST);
            let delay = backoff.failed("uid");
            assert!(
                (least..=least.saturating_mul(2).min(LONGEST)).contains(&delay),
                "failure {failure}: {delay:?}"
            );
        }
    }

    #[test]
    fn one_object_does_not_slow_another_and_success_begins_anew() {
        let backoff = Backoff::default();
        for _ in 0..10 {
            backoff.failed("one");
        }
        assert!(backoff.failed("other") <= FIRST * 2);
        backoff.reset("one");
        assert!(backoff.failed("one") <= FIRST * 2);
    }
}
