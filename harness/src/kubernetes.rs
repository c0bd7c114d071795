//! The API server as a client's connection.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc::UnboundedReceiver;
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
use crate::judge::Write;
use crate::process::Member;
use crate::strike;
use crate::turnstile::Turnstile;
use crate::world::World;

/// Who asks for no more than that wants to see pages.
const LONGEST_PAGE: u64 = 5;

type Answered = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A client of the world's API server, whose requests take their turns, for `member`.
pub fn client(world: &Arc<World>, turnstile: &Arc<Turnstile>, member: Member) -> Client {
    let (world, turnstile) = (Arc::clone(world), Arc::clone(turnstile));
    let service =
        service_fn(move |request| answer(Arc::clone(&world), Arc::clone(&turnstile), member, request).boxed());
    Client::new(service, "default")
}

async fn answer(
    world: Arc<World>,
    turnstile: Arc<Turnstile>,
    member: Member,
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
        people: false,
        made: Vec::new(),
        purpose: String::new(),
    };
    let mut what = format!("kubernetes {} {}?{}\n", request.method, request.path, request.query).into_bytes();
    what.extend(&request.body);
    what.extend([member.lease, member.identity].concat().as_bytes());
    let asked = world.ask(&turnstile, what, step, move |world, step| {
        let before = if step.mutates {
            object(world, &request.path)
        } else {
            Value::Null
        };
        let refusal = world.state().in_force.refusal(step);
        let answer = refusal.unwrap_or_else(|| world.state().api.handle(step.time, &request));
        strike::wrote(world, step, &answer);
        step.outcome = match &answer {
            Answer::Value(code, _) => code.to_string(),
            Answer::Events(_) => "200".to_owned(),
        };
        if let (false, Answer::Value(200, object)) = (step.mutates, &answer)
            && object["kind"] == "ImageRecipe"
        {
            world.state().judge.read(object);
        }
        if step.mutates && step.outcome.starts_with('2') {
            let write = Write {
                now: step.time,
                member,
                method: &request.method,
                path: &request.path,
                body: &serde_json::from_slice(&request.body).unwrap_or_default(),
                before: &before,
                after: &match &answer {
                    Answer::Value(201, made) => made.clone(),
                    _ => object(world, &request.path),
                },
            };
            world.judge(step.number, |judge, api, ec2| judge.written(&write, api, ec2));
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

/// The object at that path, or of which it is a part.
fn object(world: &World, path: &str) -> Value {
    let request = Request {
        method: "GET".into(),
        path: path.trim_end_matches("/status").to_owned(),
        query: String::new(),
        accept: String::new(),
        content_type: String::new(),
        body: Vec::new(),
    };
    match world.state().api.handle(world.now(), &request) {
        Answer::Value(200, object) => object,
        _ => Value::Null,
    }
}

async fn read(request: http::Request<Body>) -> Result<Request, kube::Error> {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let header = |name: &str| header(name).unwrap_or_default().to_owned();
    Ok(Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: with_short_pages(parts.uri.query().unwrap_or_default()),
        accept: header("accept"),
        content_type: header("content-type"),
        body: body.collect_bytes().await?.to_vec(),
    })
}

/// The query for pages of one object where the controller asks for its own, so that its lists have more than one.
fn with_short_pages(query: &str) -> String {
    let is_long = |limit: &str| limit.parse().is_ok_and(|limit: u64| limit > LONGEST_PAGE);
    let parameters = query.split('&').map(
        |parameter| match parameter.strip_prefix("limit=").is_some_and(is_long) {
            true => "limit=1",
            false => parameter,
        },
    );
    parameters.collect::<Vec<_>>().join("&")
}

/// A watch's events, and a bookmark when the server ends it.
fn lines(world: Arc<World>, mut events: Events) -> BoxStream<'static, Bytes> {
    let line = |event: Value| Bytes::from(format!("{event}\n"));
    let first = stream::iter(std::mem::take(&mut events.first));
    let Some(later) = events.later.take() else {
        return first.map(line).boxed();
    };
    let end = tokio::time::sleep(Duration::from_secs(events.seconds));
    let told = Arc::clone(&world);
    let later = stream::unfold(later, move |later| batch(Arc::clone(&told), later)).flat_map(stream::iter);
    let bookmark = stream::once(async move { events.bookmark(world.state().api.revision()) });
    first.chain(later.take_until(end)).chain(bookmark).map(line).boxed()
}

/// The next events that are told: one, or after a pause of the watch all that have come meanwhile.
async fn batch(
    world: Arc<World>,
    mut events: UnboundedReceiver<Value>,
) -> Option<(Vec<Value>, UnboundedReceiver<Value>)> {
    let mut batch = vec![events.next().await?];
    let held = world.state().in_force.watches_held(world.now());
    if let Some((until, last_alone)) = held {
        tokio::time::sleep(until.duration_since(world.now()).unsigned_abs()).await;
        while let Some(Some(event)) = events.next().now_or_never() {
            batch.push(event);
        }
        if last_alone {
            let of = |event: &Value| event["object"]["metadata"]["uid"].clone();
            let last: BTreeMap<String, usize> = batch
                .iter()
                .enumerate()
                .map(|(index, event)| (of(event).to_string(), index))
                .collect();
            let mut index = 0;
            batch.retain(|event| {
                let keeps = last.get(&of(event).to_string()) == Some(&index);
                index += 1;
                keeps
            });
        }
    }
    Some((batch, events))
}
