//! Who may change something in EC2: who holds the Lease.

use jiff::{SignedDuration, Timestamp};

use super::Judge;
use super::call::Call;
use crate::api_server::{ApiServer, Kind};
use crate::process::IDENTITY;

/// How long a process may not know yet that it leads no longer: until its next renewal, and the pass in hand comes to its end.
const UNAWARE: SignedDuration = SignedDuration::from_secs(5);

impl Judge {
    /// Learns who leads.
    pub(super) fn learn_of_leases(&mut self, api: &ApiServer, now: Timestamp) {
        for lease in api.objects(Kind::Lease) {
            let spec = &lease["spec"];
            let renewed: Option<Timestamp> = spec["renewTime"].as_str().and_then(|time| time.parse().ok());
            let lasts = SignedDuration::from_secs(spec["leaseDurationSeconds"].as_i64().unwrap_or_default());
            let runs = renewed.is_some_and(|renewed| now <= renewed + lasts);
            if runs && spec["holderIdentity"] == IDENTITY {
                let name = lease["metadata"]["name"].as_str().unwrap_or_default();
                self.led.insert(name.to_owned(), now);
            }
        }
    }

    /// Whether a call comes of a process that does not lead, nor did a moment ago.
    pub(super) fn is_led(&self, call: &Call<'_>) -> Option<String> {
        let led = self.led.get(call.lease);
        let lately = led.is_some_and(|led| self.now.duration_since(*led) <= UNAWARE);
        let (operation, lease) = (call.operation, call.lease);
        let since = led.map_or("ever".to_owned(), |led| format!("since {led}"));
        (!lately).then(|| format!("{operation} of a process that has not held the Lease {lease} {since}"))
    }
}
