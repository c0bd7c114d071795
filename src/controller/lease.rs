//! What a Lease says and what a candidate does about it, as values.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// What a candidate does about a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Create,
    /// Take it, or keep it.
    Hold,
    Wait,
}

/// Others' clocks are never compared with ours: what counts is for how long this process has seen the Lease unchanged.
pub fn decide(lease: &Lease, unchanged: Duration, identity: &str) -> Step {
    let spec = lease.spec.as_ref();
    let seconds = spec
        .and_then(|spec| spec.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok());
    match holder(lease) {
        None => Step::Hold,
        Some(holder) if holder == identity => Step::Hold,
        Some(_) if unchanged >= Duration::from_secs(seconds.unwrap_or(0)) => Step::Hold,
        Some(_) => Step::Wait,
    }
}

/// Who has `lease`, if anyone.
pub fn holder(lease: &Lease) -> Option<&str> {
    lease
        .spec
        .as_ref()?
        .holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty())
}

/// `lease` as `identity` writes it to have it; its resourceVersion stays, so that only one of two can.
pub fn held(lease: &Lease, identity: &str, duration: Duration, now: Timestamp) -> Lease {
    let before = lease.spec.clone().unwrap_or_default();
    let own = holder(lease) == Some(identity);
    let transitions = before.lease_transitions.unwrap_or(0);
    let spec = LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)),
        acquire_time: if own { before.acquire_time } else { Some(MicroTime(now)) },
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(match (own, &lease.spec) {
            (true, _) | (_, None) => transitions,
            (false, Some(_)) => transitions.saturating_add(1),
        }),
        ..LeaseSpec::default()
    };
    Lease {
        metadata: lease.metadata.clone(),
        spec: Some(spec),
    }
}

/// `lease` as its holder leaves it behind.
pub fn released(lease: &Lease, now: Timestamp) -> Lease {
    let before = lease.spec.clone().unwrap_or_default();
    let spec = LeaseSpec {
        holder_identity: None,
        // As client-go: nobody has to wait for a Lease that nobody holds.
        lease_duration_seconds: Some(1),
        renew_time: Some(MicroTime(now)),
        ..before
    };
    Lease {
        metadata: lease.metadata.clone(),
        spec: Some(spec),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);
    const DURATION: Duration = Duration::from_secs(15);

    fn lease(holder: Option<&str>, seconds: Option<i32>) -> Lease {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: seconds,
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        };
        Lease {
            metadata: Default::default(),
            spec: Some(spec),
        }
    }

    #[test]
    fn a_lease_is_taken_only_when_nobody_can_still_believe_to_hold_it() {
        for (lease, unchanged, step) in [
            (lease(None, Some(15)), 0, Step::Hold),
            (lease(Some(""), Some(15)), 0, Step::Hold),
            // Ours from before a restart: nobody else uses our name.
            (lease(Some("me"), Some(15)), 0, Step::Hold),
            (lease(Some("other"), Some(15)), 0, Step::Wait),
            (lease(Some("other"), Some(15)), 14, Step::Wait),
            (lease(Some("other"), Some(15)), 15, Step::Hold),
            // The holder's own word counts, not ours.
            (lease(Some("other"), Some(60)), 15, Step::Wait),
            (lease(Some("other"), None), 0, Step::Hold),
            (Lease::default(), 0, Step::Hold),
        ] {
            assert_eq!(
                decide(&lease, Duration::from_secs(unchanged), "me"),
                step,
                "{lease:?} after {unchanged} s"
            );
        }
    }

    #[test]
    fn whoever_looks_at_the_lease_sees_since_when_it_is_whose_and_how_often_it_changed_hands() {
        let spec = |lease: &Lease| lease.spec.clone().unwrap();
        let taken = held(&lease(Some("other"), Some(60)), "me", DURATION, NOW);
        assert_eq!(spec(&taken).holder_identity.as_deref(), Some("me"));
        assert_eq!(
            (spec(&taken).lease_transitions, spec(&taken).lease_duration_seconds),
            (Some(4), Some(15))
        );
        assert_eq!(spec(&taken).acquire_time, Some(MicroTime(NOW)));
        let later = NOW + Duration::from_secs(2);
        let renewed = held(&taken, "me", DURATION, later);
        assert_eq!(spec(&renewed).lease_transitions, Some(4));
        assert_eq!(
            (spec(&renewed).acquire_time, spec(&renewed).renew_time),
            (Some(MicroTime(NOW)), Some(MicroTime(later)))
        );
        assert_eq!(
            spec(&held(&Lease::default(), "me", DURATION, NOW)).lease_transitions,
            Some(0)
        );
        assert_eq!(decide(&released(&renewed, later), Duration::ZERO, "other"), Step::Hold);
    }
}
