use std::sync::{Arc, Mutex};

use axum::http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
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
    server
        .0
        .lock()
        .unwrap()
        .write(held(&Lease::default(), "second", TERMS.lease, NOW));
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
