//! The API server as a client's connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use http::Response;
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tower::service_fn;

use crate::api_server::{Answer, Events, Request};
use crate::history::{Peer, Step};
use crate::judge;
use crate::turnstile::Turnstile;
use crate::world::World;

type Answered = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A client of the world's API server, whose requests take their turns.
pub fn client(world: &Arc<World>, turnstile: &Arc<Turnstile>) -> Client {
    let (world, turnstile) = (Arc::clone(world), Arc::clone(turnstile));
    let service = service_fn(move |request| answer(Arc::clone(&world), Arc::clone(&turnstile), request).boxed());
    Client::new(service, "default")
}

async fn answer(
    world: Arc<World>,
    turnstile: Arc<Turnstile>,
    request: http::Request<Body>,
) -> Result<Answered, Box<dyn std::error::Error + Send + Sync>> {
    let request = read(request).await?;
    let step = Step {
        number: 0,
        time: Timestamp::UNIX_EPOCH,
        peer: Peer::Kubernetes,
        request: format!("{} {}", request.method, request.path),
        mutates: request.method != "GET",
        outcome: String::new(),
        fault: None,
        made: Vec::new(),
        purpose: String::new(),
    };
    let mut what = format!("kubernetes {} {}?{}\n", request.method, request.path, request.query).into_bytes();
    what.extend(&request.body);
    let asked = world.ask(&turnstile, what, step, |world, step| {
        let mut state = world.state();
        let answer = state.api.handle(step.time, &request);
        step.outcome = match &answer {
            Answer::Value(code, _) => code.to_string(),
            Answer::Events(_) => "200".to_owned(),
        };
        if let Answer::Value(200, object) = &answer
            && step.mutates
        {
            let wrong = judge::status::wrong(object);
            let number = step.number;
            state
                .wrong
                .extend(wrong.into_iter().map(|wrong| format!("request {number}: {wrong}")));
        }
        answer
    });
    let answered = match asked.await? {
        Answer::Value(code, value) => {
            let body = Full::new(Bytes::from(value.to_string())).boxed_unsync();
            Response::builder()
                .status(code)
                .header("content-type", "application/json")
                .body(body)?
        }
        Answer::Events(events) => {
            let frames = lines(world, events).map(|line| Ok(http_body::Frame::data(line)));
            let body = StreamBody::new(frames).boxed_unsync();
            Response::builder()
                .status(200)
                .header("content-type", "application/json")
                .body(body)?
        }
    };
    Ok(answered)
}

async fn read(request: http::Request<Body>) -> Result<Request, kube::Error> {
    let (parts, body) = request.into_parts();
    let content_type = parts.headers.get("content-type").and_then(|value| value.to_str().ok());
    Ok(Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        content_type: content_type.unwrap_or_default().to_owned(),
        body: body.collect_bytes().await?.to_vec(),
    })
}

/// A watch's events, and a bookmark when the server ends it.
fn lines(world: Arc<World>, mut events: Events) -> BoxStream<'static, Bytes> {
    let line = |event: Value| Bytes::from(format!("{event}\n"));
    let first = stream::iter(std::mem::take(&mut events.first));
    let Some(later) = events.later.take() else {
        return first.map(line).boxed();
    };
    let end = tokio::time::sleep(Duration::from_secs(events.seconds));
    let bookmark = stream::once(async move { events.bookmark(world.state().api.revision()) });
    first.chain(later.take_until(end)).chain(bookmark).map(line).boxed()
}
