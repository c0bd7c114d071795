//! `/healthz`, `/readyz` and `/metrics`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::Metrics;
use crate::controller::Clock;

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

/// Answers on `listener` until dropped.
///
/// # Errors
/// When the socket fails.
pub async fn serve(listener: TcpListener, health: Health, metrics: Arc<Metrics>, clock: Clock) -> std::io::Result<()> {
    axum::serve(listener, router(health, metrics, clock)).await
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
