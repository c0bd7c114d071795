//! Who leads, by a Lease as client-go uses it.
//!
//! A Lease is no fence: one who has lost it may not know yet. Every effect is safe with two leaders; the Lease only
//! makes that rare.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{Clock, Stop};
use crate::telemetry::Metrics;

/// How long others wait for the holder, how long the holder tries to renew, and how often either tries.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub lease: Duration,
    /// Shorter than `lease`, so that the holder has given up before another begins.
    pub renew: Duration,
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
    #[error("Lease {lease} was taken by {holder}; this process ends, so that only one leads")]
    Taken { lease: String, holder: String },
    #[error("Lease {lease} could not be renewed for {} s; this process ends before another may lead", .tried.as_secs())]
    NotRenewed { lease: String, tried: Duration },
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

/// What a candidate does about a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    /// Take it, or keep it.
    Hold,
    Wait,
}

/// Others' clocks are never compared with ours: what counts is for how long this process has seen the Lease unchanged.
fn decide(lease: &Lease, unchanged: Duration, identity: &str) -> Step {
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

fn holder(lease: &Lease) -> Option<&str> {
    lease
        .spec
        .as_ref()?
        .holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty())
}

/// `lease` as `identity` writes it to have it; its resourceVersion stays, so that only one of two can.
fn held(lease: &Lease, identity: &str, duration: Duration, now: Timestamp) -> Lease {
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
fn released(lease: &Lease, now: Timestamp) -> Lease {
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
    use std::sync::{Arc, Mutex};

    use axum::http::{Method, Request, Response, StatusCode};
    use kube::client::{Body, Client};
    use serde_json::json;

    use super::*;
    use crate::controller::stop;

    const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);
    const PATIENCE: Duration = Duration::from_secs(20);
    const TERMS: Terms = Terms {
        lease: Duration::from_secs(15),
        renew: Duration::from_millis(500),
        retry: Duration::from_millis(10),
    };

    fn lease(holder: Option<&str>, seconds: Option<i32>) -> Lease {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: seconds,
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        };
        Lease {
            metadata: ObjectMeta::default(),
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
        let taken = held(&lease(Some("other"), Some(60)), "me", TERMS.lease, NOW);
        assert_eq!(spec(&taken).holder_identity.as_deref(), Some("me"));
        assert_eq!(
            (spec(&taken).lease_transitions, spec(&taken).lease_duration_seconds),
            (Some(4), Some(15))
        );
        assert_eq!(spec(&taken).acquire_time, Some(MicroTime(NOW)));
        let later = NOW + Duration::from_secs(2);
        let renewed = held(&taken, "me", TERMS.lease, later);
        assert_eq!(spec(&renewed).lease_transitions, Some(4));
        assert_eq!(
            (spec(&renewed).acquire_time, spec(&renewed).renew_time),
            (Some(MicroTime(NOW)), Some(MicroTime(later)))
        );
        assert_eq!(
            spec(&held(&Lease::default(), "me", TERMS.lease, NOW)).lease_transitions,
            Some(0)
        );
        assert_eq!(decide(&released(&renewed, later), Duration::ZERO, "other"), Step::Hold);
    }

    /// An API server that knows one Lease.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<State>>);

    #[derive(Default)]
    struct State {
        lease: Option<Lease>,
        version: u64,
        down: bool,
    }

    impl Server {
        fn client(&self) -> Client {
            let server = self.clone();
            Client::new(
                tower::service_fn(move |request: Request<Body>| {
                    let server = server.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect_bytes().await.unwrap();
                        Ok::<_, std::io::Error>(server.answer(&head.method, &body))
                    }
                }),
                "goldsmith-system",
            )
        }

        fn answer(&self, method: &Method, body: &[u8]) -> Response<Body> {
            let mut state = self.0.lock().unwrap();
            let status = |code: StatusCode, reason: &str| {
                let status = json!({"kind": "Status", "status": "Failure", "reason": reason, "message": reason, "code": code.as_u16()});
                (code, serde_json::to_vec(&status).unwrap())
            };
            let (code, body) = match (state.down, method, &state.lease) {
                (true, ..) => status(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
                (_, &Method::GET, Some(lease)) => (StatusCode::OK, serde_json::to_vec(lease).unwrap()),
                (_, &Method::GET, None) => status(StatusCode::NOT_FOUND, "NotFound"),
                (_, &Method::POST, Some(_)) => status(StatusCode::CONFLICT, "AlreadyExists"),
                (_, &Method::PUT, None) => status(StatusCode::NOT_FOUND, "NotFound"),
                _ => {
                    let wanted: Lease = serde_json::from_slice(body).unwrap();
                    let known = state
                        .lease
                        .as_ref()
                        .and_then(|lease| lease.metadata.resource_version.clone());
                    if method == Method::PUT && wanted.metadata.resource_version != known {
                        status(StatusCode::CONFLICT, "Conflict")
                    } else {
                        let written = serde_json::to_vec(state.write(wanted)).unwrap();
                        (StatusCode::OK, written)
                    }
                }
            };
            Response::builder().status(code).body(Body::from(body)).unwrap()
        }

        fn holder(&self) -> Option<String> {
            self.0
                .lock()
                .unwrap()
                .lease
                .as_ref()
                .and_then(|lease| holder(lease).map(str::to_owned))
        }
    }

    impl State {
        fn write(&mut self, mut lease: Lease) -> &Lease {
            self.version += 1;
            lease.metadata.resource_version = Some(self.version.to_string());
            self.lease.insert(lease)
        }
    }

    /// A candidate that runs, how to end it, and whether it leads.
    struct Running {
        task: tokio::task::JoinHandle<Result<(), LeaseLost>>,
        stopper: stop::Stopper,
        leads: watch::Receiver<bool>,
    }

    fn start(server: &Server, identity: &str) -> Running {
        let (stopper, finished) = stop::channel();
        let (sender, leads) = watch::channel(false);
        let leases = Api::namespaced(server.client(), "goldsmith-system");
        let metrics = Arc::new(Metrics::new().unwrap());
        let candidate = Candidate::new(leases, "goldsmith", identity, Clock::from_fn(|| NOW), metrics, TERMS);
        Running {
            task: tokio::spawn(candidate.run(sender, finished)),
            stopper,
            leads,
        }
    }

    impl Running {
        async fn leads(&mut self) {
            timeout(PATIENCE, self.leads.wait_for(|leads| *leads))
                .await
                .unwrap()
                .unwrap();
        }

        async fn ended(self) -> Result<(), LeaseLost> {
            timeout(PATIENCE, self.task).await.unwrap().unwrap()
        }
    }

    #[tokio::test]
    async fn the_next_one_leads_at_once_when_the_first_has_ended_well() {
        let server = Server::default();
        let mut first = start(&server, "first");
        first.leads().await;
        let mut second = start(&server, "second");
        assert!(!*second.leads.borrow() && server.holder().as_deref() == Some("first"));
        first.stopper.stop();
        first.ended().await.unwrap();
        second.leads().await;
        assert_eq!(server.holder().as_deref(), Some("second"));
    }

    #[tokio::test]
    async fn one_that_was_killed_takes_its_lease_back_under_its_name() {
        let server = Server::default();
        let mut first = start(&server, "lab");
        first.leads().await;
        first.task.abort();
        start(&server, "lab").leads().await;
    }

    #[tokio::test]
    async fn a_leader_ends_when_it_cannot_renew() {
        let server = Server::default();
        let mut leader = start(&server, "first");
        leader.leads().await;
        server.0.lock().unwrap().down = true;
        assert!(matches!(leader.ended().await, Err(LeaseLost::NotRenewed { .. })));
    }

    #[tokio::test]
    async fn a_leader_ends_when_another_has_taken_its_lease() {
        let server = Server::default();
        let mut leader = start(&server, "first");
        leader.leads().await;
        server.0.lock().unwrap().write(lease(Some("second"), Some(15)));
        let lost = leader.ended().await.unwrap_err();
        assert!(lost.to_string().contains("taken by second"), "{lost}");
        assert_eq!(server.holder().as_deref(), Some("second"));
    }

    #[tokio::test]
    async fn a_leader_outlives_a_lease_that_was_deleted() {
        let server = Server::default();
        let mut leader = start(&server, "first");
        leader.leads().await;
        server.0.lock().unwrap().lease = None;
        let again = async {
            while server.holder().is_none() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, again).await.unwrap();
        assert_eq!(server.holder().as_deref(), Some("first"));
        leader.stopper.stop();
        leader.ended().await.unwrap();
    }
}
