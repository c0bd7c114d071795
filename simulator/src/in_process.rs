//! The door in process: an HTTP client for the AWS SDK's configuration, without a socket.

use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use jiff::Timestamp;

use crate::engine::{Reply, Request};
use crate::tcp::{Shared, lock};

/// Hands the SDK's requests to the engine.
///
/// `clock` says what time it is; under tokio's paused clock it counts from an instant of tokio's. A slow response
/// sleeps by tokio's clock.
#[derive(Clone)]
pub struct InProcess {
    simulator: Shared,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl InProcess {
    /// A client of `simulator` that asks `clock` for the time of every request.
    pub fn new(simulator: Shared, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            simulator,
            clock: Arc::new(clock),
        }
    }
}

impl std::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let authorization = request.headers().get("authorization").map(str::to_owned);
        let body = request.body().bytes().map(<[u8]>::to_vec).unwrap_or_default();
        let Reply { delay, response } = lock(&self.simulator).handle(
            (self.clock)(),
            Request {
                authorization: authorization.as_deref(),
                parameters: &body,
            },
        );
        HttpConnectorFuture::new(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let response = response
                .ok_or_else(|| ConnectorError::io("the connection was closed before a response came".into()))?;
            let status = response
                .status
                .try_into()
                .map_err(|error| ConnectorError::other(Box::new(error), None))?;
            let mut answer = HttpResponse::new(status, SdkBody::from(response.body));
            answer.headers_mut().insert("content-type", "text/xml;charset=UTF-8");
            answer.headers_mut().insert("x-amzn-requestid", response.request_id);
            Ok(answer)
        })
    }
}

impl HttpClient for InProcess {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
