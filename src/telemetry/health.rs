//! `/healthz`, `/readyz` and `/metrics`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Metrics;
use crate::controller::Clock;

/// Probes and scrapes come a few at a time; more than that is no reason to run out of file descriptors.
const MOST_CONNECTIONS: usize = 256;
/// For a request to be there, so that nobody holds a connection by sending nothing.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// After a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// From the first byte to the last: Prometheus waits ten seconds by default.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the process still waits for before it is ready. A standby is ready: whether it leads is no question here.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeSet<String>>>);

impl Health {
    /// From now on it waits for `what`, in words that follow "waiting for".
    pub fn wait_for(&self, what: impl Into<String>) {
        self.waiting().insert(what.into());
    }

    /// It no longer waits for `what`.
    pub fn arrived(&self, what: &str) {
        self.waiting().remove(what);
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // Nothing panics while it holds the lock, and a set of words cannot be half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Shown {
    health: Health,
    metrics: Arc<Metrics>,
    clock: Clock,
}

/// Answers on `listener` until dropped, one request a connection. Who is slow is cut off, who comes in crowds waits.
pub async fn serve(listener: TcpListener, health: Health, metrics: Arc<Metrics>, clock: Clock) {
    let router = router(health, metrics, clock);
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut answers = JoinSet::new();
    loop {
        // Nobody closes the semaphore.
        let connection = Arc::clone(&connections).acquire_owned().await;
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            // That connection is gone, or the machine is short of something; neither is for ever.
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection to health and metrics");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let mut server = http1::Builder::new();
        server
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .keep_alive(false);
        let answer = server.serve_connection(TokioIo::new(stream), service);
        answers.spawn(async move {
            // What ails a client is the client's.
            drop(tokio::time::timeout(ANSWER_TIMEOUT, answer).await);
            drop(connection);
        });
        while answers.try_join_next().is_some() {}
    }
}

fn router(health: Health, metrics: Arc<Metrics>, clock: Clock) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_text))
        .with_state(Shown { health, metrics, clock })
}

async fn ready(State(shown): State<Shown>) -> Response {
    let waiting = shown.health.waiting();
    if waiting.is_empty() {
        return "ready\n".into_response();
    }
    let lines: String = waiting.iter().map(|what| format!("waiting for {what}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

async fn metrics_text(State(shown): State<Shown>) -> Response {
    match shown.metrics.text(shown.clock.now()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use jiff::Timestamp;
    use tower::ServiceExt;

    use super::*;

    async fn ask(health: &Health, path: &str) -> (StatusCode, String) {
        let metrics = Arc::new(Metrics::new().unwrap());
        metrics.leads("goldsmith", false);
        let router = router(health.clone(), metrics, Clock::from_fn(|| Timestamp::UNIX_EPOCH));
        let answer = router
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
            .await
            .unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_names_everything_that_it_still_waits_for() {
        let health = Health::default();
        health.wait_for("the watch of imagerecipes");
        health.wait_for("AWS");
        let (status, body) = ask(&health, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, "waiting for AWS\nwaiting for the watch of imagerecipes\n");
        health.arrived("AWS");
        health.arrived("the watch of imagerecipes");
        assert_eq!(ask(&health, "/readyz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_process_that_waits_is_alive_and_has_metrics() {
        let health = Health::default();
        health.wait_for("AWS");
        assert_eq!(ask(&health, "/healthz").await.0, StatusCode::OK);
        let (status, body) = ask(&health, "/metrics").await;
        assert!(
            status == StatusCode::OK && body.contains(r#"leader_election_master_status{name="goldsmith"} 0"#),
            "{body}"
        );
    }
}
