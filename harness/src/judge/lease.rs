//! Who may change something in EC2: who holds the Lease.

use jiff::{SignedDuration, Timestamp};

use super::Judge;
use super::call::Call;
use crate::api_server::{ApiServer, Kind};
use crate::process::Member;

/// How long a process may not know yet that it leads no longer: until its next renewal, and the pass in hand comes to its end.
const UNAWARE: SignedDuration = SignedDuration::from_secs(5);

/// Calls that a process may have had in hand.
const IN_HAND: usize = 1;

impl Judge {
    /// Learns who leads.
    pub(super) fn learn_of_leases(&mut self, api: &ApiServer, now: Timestamp) {
        for lease in api.objects(Kind::Lease) {
            let spec = &lease["spec"];
            let renewed: Option<Timestamp> = spec["renewTime"].as_str().and_then(|time| time.parse().ok());
            let lasts = SignedDuration::from_secs(spec["leaseDurationSeconds"].as_i64().unwrap_or_default());
            if renewed.is_some_and(|renewed| now <= renewed + lasts) {
                let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                self.led
                    .insert((text(&lease["metadata"]["name"]), text(&spec["holderIdentity"])), now);
            }
        }
    }

    /// A process that was held up goes on: that it leads no longer it cannot know yet.
    pub fn unaware(&mut self, member: Member, now: Timestamp) {
        self.led
            .insert((member.lease.to_owned(), member.identity.to_owned()), now);
    }

    /// The process that leads is asked to stop.
    pub fn stops(&mut self) {
        self.since_stop = Some(0);
    }

    /// It has ended.
    pub fn has_stopped(&mut self) {
        self.since_stop = None;
    }

    /// A call of a process that was asked to stop: what it has in hand it finishes, and begins nothing.
    pub(super) fn has_begun(&mut self, call: &Call<'_>) -> Option<String> {
        let calls = self.since_stop.as_mut()?;
        *calls += 1;
        (*calls > IN_HAND).then(|| {
            format!(
                "{} of a process that was asked to stop {calls} calls before",
                call.operation
            )
        })
    }

    /// Whether a call comes of a process that does not lead, nor did a moment ago.
    pub(super) fn is_led(&self, call: &Call<'_>) -> Option<String> {
        let Member { lease, identity } = call.member;
        let led = self.led.get(&(lease.to_owned(), identity.to_owned()));
        let lately = led.is_some_and(|led| self.now.duration_since(*led) <= UNAWARE);
        let since = led.map_or("ever".to_owned(), |led| format!("since {led}"));
        (!lately).then(|| {
            format!(
                "{} of {identity}, which has not held the Lease {lease} {since}",
                call.operation
            )
        })
    }
}
