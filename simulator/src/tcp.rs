//! The door over TCP: the AWS endpoint, and `/_simulator/` beside it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{self, ConnectInfo, DefaultBodyLimit, Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::control::{Capacity, GuestRule, NewImage};
use crate::engine::{self, Reply, Request, Simulator};
use crate::faults::Fault;
use crate::machines::Machines;
use crate::protocol::Error;

/// Far more than EC2 takes, so that what is too much of something is refused by that something's name.
const MOST_BODY_BYTES: usize = 16 << 20;
/// What is read all the same before it is refused: who is still sending when the connection closes does not hear why.
const MOST_READ_BYTES: usize = 64 << 20;

/// The simulator, shared by those who ask it.
pub type Shared = Arc<Mutex<Simulator>>;

/// A thread that panicked in the middle of a request leaves a world that can still be looked at.
pub fn lock(shared: &Shared) -> MutexGuard<'_, Simulator> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the routes share.
#[derive(Clone)]
struct Door {
    simulator: Shared,
    clock: fn() -> Timestamp,
    machines: Option<Arc<Machines>>,
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, Simulator> {
        lock(&self.simulator)
    }

    fn handle(&self, request: Request<'_>) -> Reply {
        let mut simulator = self.lock();
        let reply = simulator.handle((self.clock)(), request);
        if let Some(machines) = &self.machines {
            machines.follow(&simulator);
        }
        reply
    }

    /// The simulator, brought to now.
    fn now(&self) -> MutexGuard<'_, Simulator> {
        let mut simulator = self.lock();
        simulator.advance((self.clock)());
        simulator
    }
}

/// Every route; `clock` is wall time, `machines` are the guests where these are real.
pub fn router(simulator: Shared, clock: fn() -> Timestamp, machines: Option<Arc<Machines>>) -> Router {
    Router::new()
        .route("/_simulator/", get(index))
        .route("/_simulator/state", get(state))
        .route("/_simulator/journal", get(journal))
        .route("/_simulator/inventory", get(inventory))
        .route("/_simulator/faults", get(faults).post(add_faults).delete(clear_faults))
        .route("/_simulator/guests", get(guests).post(add_guests).delete(clear_guests))
        .route("/_simulator/images", post(publish_image))
        .route("/_simulator/capacity", post(set_capacity))
        .method_not_allowed_fallback(wrong_method)
        .fallback(any(aws))
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .layer(middleware::from_fn(read_whole))
        .layer(middleware::from_fn(no_web_page))
        .with_state(Door {
            simulator,
            clock,
            machines,
        })
}

/// A web page that somebody looks at on this computer can send requests here, and what it says about them is the browser's
/// `Origin`, or the name of its own host, which it has made to mean this computer.
async fn no_web_page(
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: extract::Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let elsewhere = || headers.get(HOST).is_some_and(|host| !is_here(host.as_bytes()));
    if headers.contains_key(ORIGIN) || connection.is_local() && elsewhere() {
        let message = "web pages are not served: a request has no Origin, and names localhost or an IP address as Host";
        return refused(StatusCode::FORBIDDEN, message.to_owned());
    }
    next.run(request).await
}

/// Whether a `Host`, whatever its port, is one that nobody else can be.
fn is_here(host: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(host) else {
        return false;
    };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

async fn read_whole(request: extract::Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match to_bytes(body, MOST_READ_BYTES).await {
        Ok(bytes) => next.run(extract::Request::from_parts(parts, Body::from(bytes))).await,
        Err(error) => refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request can't be read: {error}"),
        ),
    }
}

async fn aws(
    State(door): State<Door>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if uri.path().starts_with("/_simulator") {
        let message = format!("there is no {}; GET /_simulator/ lists what there is", uri.path());
        return refused(StatusCode::NOT_FOUND, message);
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            let error = Error {
                code: "RequestEntityTooLarge".to_owned(),
                message: format!("The request can't be read: {}", rejection.body_text()),
                status: rejection.status().as_u16(),
            };
            return xml(door.lock().refuse(error));
        }
    };
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let query = uri.query().unwrap_or_default().as_bytes();
    let parameters = if body.is_empty() { query } else { &body };
    let Reply { delay, response } = door.handle(Request {
        authorization,
        parameters,
    });
    tokio::time::sleep(delay).await;
    let Some(response) = response else {
        connection.cut();
        return StatusCode::OK.into_response();
    };
    xml(response)
}

fn xml(response: engine::Response) -> Response {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = [
        (CONTENT_TYPE.as_str(), "text/xml;charset=UTF-8".to_owned()),
        ("x-amzn-requestid", response.request_id),
    ];
    (status, headers, response.body).into_response()
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let message = format!("{} takes no {method}; GET /_simulator/ lists what there is", uri.path());
    refused(StatusCode::METHOD_NOT_ALLOWED, message)
}

fn refused(status: StatusCode, message: String) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

async fn index() -> Json<Value> {
    Json(json!({
        "GET /_simulator/state": "everything, as JSON",
        "GET /_simulator/journal?after=SEQUENCE": "the calls so far, oldest first",
        "GET /_simulator/inventory?format=json|text": "what exists and was not there from the beginning, by region",
        "GET, POST, DELETE /_simulator/faults": "what goes wrong on purpose",
        "GET, POST, DELETE /_simulator/guests": "instructions for guests, as after #sim:",
        "POST /_simulator/images": "publishes an image",
        "POST /_simulator/capacity": "how many instances of a type a zone holds",
    }))
}

fn to_json(value: &impl Serialize) -> Response {
    match serde_json::to_value(value) {
        Ok(value) => Json(value).into_response(),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn state(State(door): State<Door>) -> Response {
    to_json(&door.now().state)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn journal(State(door): State<Door>, query: Result<Query<After>, QueryRejection>) -> Response {
    match query {
        Ok(Query(After { after })) => to_json(&door.lock().journal.after(after).collect::<Vec<_>>()),
        Err(rejection) => refused(StatusCode::BAD_REQUEST, rejection.body_text()),
    }
}

/// How something is to be written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Format {
    #[default]
    Json,
    Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Formatted {
    #[serde(default)]
    format: Format,
}

async fn inventory(State(door): State<Door>, query: Result<Query<Formatted>, QueryRejection>) -> Response {
    let inventories = match query {
        Ok(Query(Formatted { format: Format::Json })) => return to_json(&door.now().inventory()),
        Ok(Query(Formatted { format: Format::Text })) => door.now().inventory(),
        Err(rejection) => return refused(StatusCode::BAD_REQUEST, rejection.body_text()),
    };
    let texts = inventories
        .iter()
        .map(|(region, inventory)| format!("{region}\n{inventory}"));
    texts.collect::<String>().into_response()
}

async fn faults(State(door): State<Door>) -> Response {
    to_json(&door.lock().faults)
}

async fn add_faults(State(door): State<Door>, body: Result<Bytes, BytesRejection>) -> Response {
    all::<Fault>(body, |faults| door.lock().add_faults(faults))
}

async fn clear_faults(State(door): State<Door>) -> StatusCode {
    door.lock().faults.clear();
    StatusCode::NO_CONTENT
}

async fn guests(State(door): State<Door>) -> Response {
    to_json(&door.lock().guest_rules())
}

async fn add_guests(State(door): State<Door>, body: Result<Bytes, BytesRejection>) -> Response {
    all::<GuestRule>(body, |rules| door.lock().add_guest_rules(rules))
}

async fn clear_guests(State(door): State<Door>) -> StatusCode {
    door.lock().clear_guest_rules();
    StatusCode::NO_CONTENT
}

async fn publish_image(State(door): State<Door>, body: Result<Bytes, BytesRejection>) -> Response {
    let image = body.map_err(|rejection| rejection.body_text());
    let published = image
        .and_then(|body| serde_json::from_slice::<NewImage>(&body).map_err(|error| error.to_string()))
        .and_then(|image| door.now().publish_image((door.clock)(), image));
    match published {
        Ok(id) => (StatusCode::CREATED, Json(json!({ "imageId": id }))).into_response(),
        Err(message) => refused(StatusCode::BAD_REQUEST, message),
    }
}

async fn set_capacity(State(door): State<Door>, body: Result<Bytes, BytesRejection>) -> Response {
    all::<Capacity>(body, |capacities| door.lock().set_capacities(capacities))
}

/// Takes one object or a list of them.
fn all<T: DeserializeOwned>(
    body: Result<Bytes, BytesRejection>,
    take: impl FnOnce(Vec<T>) -> Result<(), String>,
) -> Response {
    let body = body.map_err(|rejection| rejection.body_text());
    let given = body.and_then(|body| {
        let given = match serde_json::from_slice::<Value>(&body) {
            Ok(Value::Array(list)) => list.into_iter().map(serde_json::from_value).collect(),
            Ok(one) => serde_json::from_value(one).map(|one| vec![one]),
            Err(error) => Err(error),
        };
        given.map_err(|error| error.to_string())
    });
    match given.and_then(take) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(message) => refused(StatusCode::BAD_REQUEST, message),
    }
}
