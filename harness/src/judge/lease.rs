//! Who may change something in EC2: who holds the Lease.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::call::Call;
use super::{Judge, PASS};
use crate::api_server::{ApiServer, Kind};
use crate::process::Member;

/// How long a process may not know yet that it leads no longer: until its next renewal, and the pass in hand comes to its end.
const UNAWARE: SignedDuration = SignedDuration::from_secs(5);

/// A process as Leases tell it: the Lease, and its holder.
fn holder(member: Member) -> (String, String) {
    (member.lease.to_owned(), member.identity.to_owned())
}

/// When a Lease runs out.
fn lasts_until(lease: &Value) -> Option<Timestamp> {
    let spec = &lease["spec"];
    let renewed: Timestamp = spec["renewTime"].as_str()?.parse().ok()?;
    Some(renewed + SignedDuration::from_secs(spec["leaseDurationSeconds"].as_i64()?))
}

/// Calls that a process may have had in hand.
const IN_HAND: usize = 1;

impl Judge {
    /// Learns who leads.
    pub(super) fn learn_of_leases(&mut self, api: &ApiServer, now: Timestamp) {
        for lease in api.objects(Kind::Lease) {
            let spec = &lease["spec"];
            if lasts_until(lease).is_some_and(|until| now <= until) {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                self.led
                    .insert((text(&lease["metadata"]["name"]), text(&spec["holderIdentity"])), now);
            }
        }
    }

    /// A process that was held up for so long goes on: that it leads no longer it cannot know yet, but how late it is.
    pub fn unaware(&mut self, member: Member, now: Timestamp, held_up: SignedDuration) {
        if held_up > PASS {
            self.late.insert(holder(member));
        }
        self.led.insert(holder(member), now);
    }

    /// It has ended.
    pub fn is_no_more(&mut self, member: Member) {
        self.late.remove(&holder(member));
    }

    /// Whether `request` comes of a process that was held up, beyond the one that it had in hand.
    pub(super) fn is_late(&self, request: &str, member: Member) -> Option<String> {
        let is_late = self.late.contains(&holder(member));
        is_late.then(|| {
            let identity = member.identity;
            format!("{request} of {identity}, which has seen nothing for more than {PASS:#}")
        })
    }

    /// Whether a process has ever led.
    pub fn has_led(&self, member: Member) -> bool {
        self.led.contains_key(&holder(member))
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
    pub(super) fn acts_after_stop(&mut self, call: &Call<'_>) -> Option<String> {
        let calls = self.since_stop.as_mut()?;
        *calls += 1;
        (*calls > IN_HAND).then(|| {
            format!(
                "{} of a process that was asked to stop {calls} calls before",
                call.operation
            )
        })
    }

    /// Whether a Lease is taken from somebody who renews it.
    pub(super) fn takes(&self, before: &Value, after: &Value) -> Option<String> {
        let holds = |lease: &Value| lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        let (from, to) = (holds(before), holds(after));
        let taken = !from.is_empty() && !to.is_empty() && from != to;
        let until = lasts_until(before).filter(|until| taken && self.now < *until)?;
        Some(format!("{to} takes the Lease of {from}, which has it until {until}"))
    }

    /// Whether something is done by a process that does not lead, nor did a moment ago.
    pub(super) fn is_led(&self, what: &str, member: Member) -> Option<String> {
        let Member { lease, identity } = member;
        let led = self.led.get(&holder(member));
        let lately = led.is_some_and(|led| self.now.duration_since(*led) <= UNAWARE);
        let since = led.map_or("ever".to_owned(), |led| format!("since {led}"));
        (!lately).then(|| format!("{what} of {identity}, which has not held the Lease {lease} {since}"))
    }
}
