//! Who leads, by a Lease as client-go uses it.
//!
//! A Lease is no fence: one who has lost it may not know yet. Every effect is safe with two leaders; the Lease only
//! makes that rare.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::lease::{Step, decide, held, holder, released};
use super::{Clock, Stop};
use crate::telemetry::Metrics;

/// How long others wait for the holder, how long the holder tries to renew, and how often either tries.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long others wait for a holder of whom nothing is heard: `leaseDurationSeconds`, in whole seconds.
    pub lease: Duration,
    /// Shorter than `lease`, so that the holder has given up before another begins.
    pub renew: Duration,
    /// Pause between two tries to take the Lease, or to renew it.
    pub retry: Duration,
}

impl Default for Terms {
    /// client-go's own.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// The Lease is no longer ours, or may not be; the process has to end.
#[derive(Debug, thiserror::Error)]
pub enum LeaseLost {
    /// It names someone else as its holder.
    #[error("Lease {lease} was taken by {holder}; this process ends, so that only one leads")]
    Taken {
        /// Name of the Lease.
        lease: String,
        /// Identity of the other, or `nobody`.
        holder: String,
    },
    /// The API server has taken no renewal in time.
    #[error("Lease {lease} could not be renewed for {} s; this process ends before another may lead", .tried.as_secs())]
    NotRenewed {
        /// Name of the Lease.
        lease: String,
        /// For how long: [`Terms::renew`].
        tried: Duration,
    },
}

/// A candidate for a Lease.
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    clock: Clock,
    metrics: Arc<Metrics>,
    terms: Terms,
    /// The Lease as it was last read or written, and since when this process has seen it unchanged.
    seen: Option<(Lease, Instant)>,
}

impl Candidate {
    /// One who has asked for nothing yet. Under an `identity` of its own choice it takes its Lease back at once after a
    /// restart, so no other process may use the same.
    pub fn new(
        leases: Api<Lease>,
        name: &str,
        identity: &str,
        clock: Clock,
        metrics: Arc<Metrics>,
        terms: Terms,
    ) -> Self {
        metrics.leads(name, false);
        Self {
            leases,
            name: name.to_owned(),
            identity: identity.to_owned(),
            clock,
            metrics,
            terms,
            seen: None,
        }
    }

    /// Waits for the Lease, tells `leads`, keeps it until `finished`, and gives it back.
    ///
    /// # Errors
    /// When the Lease is lost.
    pub async fn run(mut self, leads: watch::Sender<bool>, finished: Stop) -> Result<(), LeaseLost> {
        while !self.acquired().await {
            tokio::select! {
                () = sleep(self.terms.retry) => {}
                () = finished.clone().wait() => return Ok(()),
            }
        }
        tracing::info!(lease = self.name, identity = self.identity, "leading");
        self.metrics.leads(&self.name, true);
        leads.send_replace(true);
        let kept = self.keep(finished).await;
        leads.send_replace(false);
        self.metrics.leads(&self.name, false);
        if kept.is_ok() {
            self.release().await;
        }
        kept
    }

    async fn acquired(&mut self) -> bool {
        match self.attempt().await {
            Ok(holds) => holds,
            Err(error) => {
                tracing::warn!(lease = self.name, %error, "cannot ask for the Lease");
                false
            }
        }
    }

    async fn keep(&mut self, finished: Stop) -> Result<(), LeaseLost> {
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                () = sleep(self.terms.retry) => {}
                () = finished.clone().wait() => return Ok(()),
            }
            // From before the request: it is when the server wrote it, at the latest.
            let asked = Instant::now();
            let deadline = renewed + self.terms.renew;
            match timeout_at(deadline, self.attempt()).await {
                Ok(Ok(true)) => renewed = asked,
                Ok(Ok(false)) => {
                    let holder = self
                        .seen
                        .as_ref()
                        .and_then(|(lease, _)| holder(lease))
                        .unwrap_or("nobody")
                        .to_owned();
                    return Err(LeaseLost::Taken {
                        lease: self.name.clone(),
                        holder,
                    });
                }
                Ok(Err(error)) if Instant::now() < deadline => {
                    tracing::warn!(lease = self.name, %error, "cannot renew the Lease yet");
                    // Perhaps it was written nevertheless: read it again.
                    self.seen = None;
                }
                Ok(Err(_)) | Err(_) => {
                    return Err(LeaseLost::NotRenewed {
                        lease: self.name.clone(),
                        tried: self.terms.renew,
                    });
                }
            }
        }
    }

    /// Whether the Lease is ours now.
    async fn attempt(&mut self) -> kube::Result<bool> {
        let own = self
            .seen
            .as_ref()
            .is_some_and(|(lease, _)| holder(lease) == Some(self.identity.as_str()));
        if !own {
            self.look().await?;
        }
        let step = match &self.seen {
            None => Step::Create,
            Some((lease, since)) => decide(lease, since.elapsed(), &self.identity),
        };
        let now = self.clock.now();
        let written = match (step, &self.seen) {
            (Step::Wait, _) => return Ok(false),
            (Step::Hold, Some((lease, _))) => {
                let wanted = held(lease, &self.identity, self.terms.lease, now);
                self.leases.replace(&self.name, &PostParams::default(), &wanted).await
            }
            (Step::Create, _) | (Step::Hold, None) => {
                let named = ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                };
                let wanted = held(
                    &Lease {
                        metadata: named,
                        spec: None,
                    },
                    &self.identity,
                    self.terms.lease,
                    now,
                );
                self.leases.create(&PostParams::default(), &wanted).await
            }
        };
        match written {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                Ok(true)
            }
            // Someone was faster, or has removed it. Whose it is now, the next look tells.
            Err(kube::Error::Api(status)) if own && (status.is_conflict() || status.is_not_found()) => {
                self.seen = None;
                Box::pin(self.attempt()).await
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads the Lease; one that is as it was keeps the time since when it is so.
    async fn look(&mut self) -> kube::Result<()> {
        let lease = self.leases.get_opt(&self.name).await?;
        self.seen = lease.map(|lease| match self.seen.take() {
            Some((before, since)) if before.spec == lease.spec => (lease, since),
            _ => (lease, Instant::now()),
        });
        Ok(())
    }

    /// Gives the Lease back, so that the next one need not wait until it runs out. If that fails, it runs out.
    async fn release(&mut self) {
        let Some((lease, _)) = self.seen.take() else { return };
        let given_back = released(&lease, self.clock.now());
        let params = PostParams::default();
        match timeout(self.terms.retry, self.leases.replace(&self.name, &params, &given_back)).await {
            Ok(Ok(_)) => tracing::info!(lease = self.name, "gave the Lease back"),
            Ok(Err(error)) => {
                tracing::warn!(lease = self.name, %error, "cannot give the Lease back; it runs out by itself")
            }
            Err(_) => tracing::warn!(
                lease = self.name,
                "no answer to giving the Lease back; it runs out by itself"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
