//! Request throttling: EC2's published token buckets, per account, region and class of operation.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::protocol::Error;

/// A bucket's size, and how many tokens come back a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    pub size: f64,
    pub refill: f64,
}

const fn limit(size: f64, refill: f64) -> Limit {
    Limit { size, refill }
}

/// The buckets' levels, by class.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Buckets(BTreeMap<String, Level>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Level {
    tokens: f64,
    at: Timestamp,
}

/// The class of an operation, and its limit. Classes are shared by their operations; what AWS lists by name has a
/// bucket of its own.
fn class(operation: &str, plain: bool) -> (&str, Limit) {
    match operation {
        "DescribeInstances" | "DescribeSnapshots" | "DescribeVolumes" if plain => {
            ("unfiltered and unpaginated", limit(50.0, 10.0))
        }
        "RunInstances" | "StartInstances" => (operation, limit(5.0, 2.0)),
        "CopyImage" => (operation, limit(100.0, 1.0)),
        "DeregisterImage"
        | "ModifyImageAttribute"
        | "ModifySnapshotAttribute"
        | "DeleteSnapshot"
        | "TerminateInstances" => (operation, limit(100.0, 5.0)),
        "CreateTags" | "DeleteTags" => (operation, limit(100.0, 10.0)),
        _ if is_read(operation) => ("read", limit(100.0, 20.0)),
        _ => ("mutating", limit(50.0, 5.0)),
    }
}

/// Whether an operation changes nothing.
pub fn is_read(operation: &str) -> bool {
    operation.starts_with("Describe") || operation.starts_with("Get")
}

const INSTANCES: Limit = limit(1000.0, 2.0);

impl Buckets {
    /// Takes a token for a request; `plain` says that it has neither filter nor page nor id.
    pub fn take(&mut self, operation: &str, plain: bool, now: Timestamp) -> Result<(), Error> {
        let (class, limit) = class(operation, plain);
        self.draw(class, limit, 1.0, now)
    }

    /// Takes tokens for instances launched or started.
    pub fn take_instances(&mut self, count: u32, now: Timestamp) -> Result<(), Error> {
        self.draw("instances", INSTANCES, f64::from(count), now)
    }

    /// As if the class's tokens had all been used.
    pub fn empty(&mut self, operation: &str, now: Timestamp) {
        let (class, _) = class(operation, false);
        self.0.insert(class.to_owned(), Level { tokens: 0.0, at: now });
    }

    fn draw(&mut self, class: &str, limit: Limit, count: f64, now: Timestamp) -> Result<(), Error> {
        let level = self.0.entry(class.to_owned()).or_insert(Level {
            tokens: limit.size,
            at: now,
        });
        let elapsed = now.duration_since(level.at).as_secs_f64().max(0.0);
        level.tokens = (level.tokens + elapsed * limit.refill).min(limit.size);
        level.at = level.at.max(now);
        if level.tokens < count {
            return Err(Error::new("RequestLimitExceeded", "Request limit exceeded."));
        }
        level.tokens -= count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    #[test]
    fn launches_are_throttled_after_five_and_come_back_at_two_a_second() {
        let mut buckets = Buckets::default();
        let now = Timestamp::UNIX_EPOCH;
        for _ in 0..5 {
            buckets.take("RunInstances", true, now).unwrap();
        }
        let error = buckets.take("RunInstances", true, now).unwrap_err();
        assert_eq!((error.code.as_str(), error.status), ("RequestLimitExceeded", 503));
        assert!(
            buckets.take("StartInstances", true, now).is_ok(),
            "another operation has its own bucket"
        );
        let later = now + 1.second();
        assert!(buckets.take("RunInstances", true, later).is_ok());
        assert!(buckets.take("RunInstances", true, later).is_ok());
        assert!(buckets.take("RunInstances", true, later).is_err());
    }

    #[test]
    fn a_describe_of_everything_costs_more_than_a_filtered_one() {
        let mut buckets = Buckets::default();
        let now = Timestamp::UNIX_EPOCH;
        let allowed = |buckets: &mut Buckets, plain| {
            (0..200)
                .take_while(|_| buckets.take("DescribeInstances", plain, now).is_ok())
                .count()
        };
        assert_eq!(allowed(&mut buckets, true), 50);
        assert_eq!(allowed(&mut buckets, false), 100);
    }
}
