use std::sync::Arc;

use axum::http::{Request, Response, StatusCode, header};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::recipe::config_map::to_config_map;
use crate::recipe::decide::tests::small_world::SmallWorld;

/// What a page of the server has; it may have fewer than it is asked for.
const SERVED: usize = 5;

fn owner() -> Owner {
    Owner {
        namespace: "platform".into(),
        name: "web".into(),
        uid: "uid".into(),
    }
}

fn keys() -> SealKeys {
    SealKeys::new(vec![vec![7; 32]]).expect("a key of 32 bytes")
}

/// An API server that has some ConfigMaps and remembers what it was asked for.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    config_maps: Vec<ConfigMap>,
    /// Names of those that were read whole.
    read: Vec<String>,
    lists: usize,
}

impl Server {
    fn reader(&self) -> RecordReader {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = server.answer(&request);
            async move { Ok::<_, std::io::Error>(answer) }
        });
        RecordReader::new(Client::new(service, "platform"), keys())
    }

    fn answer(&self, request: &Request<Body>) -> Response<Body> {
        let mut state = self.0.lock().expect("nobody panics here");
        let uri = request.uri();
        let name = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        let answer: Value = if name == "configmaps" {
            let accept = request.headers()[header::ACCEPT].to_str().expect("text");
            assert!(accept.contains("as=PartialObjectMetadataList"), "{accept}");
            state.lists += 1;
            let query = uri.query().unwrap_or_default();
            let from = query
                .split('&')
                .find_map(|parameter| parameter.strip_prefix("continue="));
            let from: usize = from.map_or(0, |from| from.parse().expect("a number"));
            let items = state.config_maps.iter().skip(from).take(SERVED);
            let items: Vec<Value> = items.map(|one| json!({"metadata": one.metadata})).collect();
            let next = from + items.len();
            let next = (next < state.config_maps.len()).then(|| next.to_string());
            json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {"continue": next}, "items": items})
        } else {
            state.read.push(name.clone());
            let mut config_maps = state.config_maps.iter();
            json!(config_maps.find(|one| one.name_any() == name).expect("what was listed"))
        };
        let body = Body::from(answer.to_string().into_bytes());
        Response::builder()
            .status(StatusCode::OK)
            .body(body)
            .expect("an answer")
    }

    fn add(&self, mut config_map: ConfigMap, version: usize) {
        let mut state = self.0.lock().expect("nobody panics here");
        config_map.metadata.uid = Some(format!("of {}", config_map.name_any()));
        config_map.metadata.resource_version = Some(version.to_string());
        state.config_maps.retain(|one| one.name_any() != config_map.name_any());
        state.config_maps.push(config_map);
    }

    /// Names of what was read whole since it was last asked.
    fn read(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("nobody panics here").read)
    }
}

fn record(number: i64) -> BuildRecord {
    let mut world = SmallWorld::new();
    world.pass();
    let mut record = world.records.remove(0);
    record.frozen.number = number;
    record
}

fn written(record: &BuildRecord) -> ConfigMap {
    let reference = OwnerReference {
        uid: owner().uid,
        ..OwnerReference::default()
    };
    to_config_map(record, &owner(), reference, &keys())
}

/// Labelled as a record; `owned` as one, too.
fn other(name: &str, owned: bool) -> ConfigMap {
    let mut other = written(&record(1));
    other.metadata.name = Some(name.into());
    other.data = Some([("data".to_owned(), "x".repeat(1000))].into());
    other.metadata.owner_references.take_if(|_| !owned);
    other
}

#[tokio::test]
async fn nothing_is_read_whole_but_what_may_be_a_record() {
    let server = Server::default();
    for number in 0..40 {
        server.add(other(&format!("large-{number}"), true), 1);
        server.add(other(&format!("web-build-{}", 100 + number), false), 1);
    }
    server.add(written(&record(2)), 1);
    server.add(written(&record(1)), 1);
    let records = server.reader().read(&owner(), None).await.expect("records");
    assert_eq!(server.read(), ["web-build-1", "web-build-2"]);
    let numbers: Vec<i64> = records.builds.iter().map(BuildRecord::number).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(records.foreign_numbers.len(), 40, "their numbers are not used again");
}

#[tokio::test]
async fn what_has_not_changed_is_not_read_again() {
    let server = Server::default();
    let reader = server.reader();
    server.add(written(&record(1)), 1);
    server.add(written(&record(2)), 2);
    server.add(other("web-build-3", true), 3);
    let first = reader.read(&owner(), None).await.expect("records");
    assert_eq!((first.builds.len(), first.unreadable.len()), (2, 1));
    assert_eq!(server.read().len(), 3);

    let again = reader.read(&owner(), None).await.expect("records");
    assert_eq!((again.builds, again.unreadable), (first.builds, first.unreadable));
    assert_eq!(server.read(), Vec::<String>::new());

    let mut changed = record(2);
    changed.progress.attempt = 7;
    server.add(written(&changed), 4);
    let newer = reader.read(&owner(), None).await.expect("records");
    assert_eq!(server.read(), ["web-build-2"]);
    assert_eq!(newer.builds[1].progress.attempt, 7);

    reader.forget(&owner().uid);
    reader.read(&owner(), None).await.expect("records");
    assert_eq!(server.read().len(), 3);
}

#[tokio::test]
async fn a_large_record_is_read_in_every_pass_and_not_kept() {
    let server = Server::default();
    let reader = server.reader();
    let mut large = record(1);
    large
        .outputs
        .insert("output.1-packages".into(), "x".repeat(LARGEST_KEPT));
    server.add(written(&large), 1);
    for _ in 0..2 {
        let records = reader.read(&owner(), None).await.expect("records");
        assert_eq!(records.builds, [large.clone()]);
        assert_eq!(server.read(), ["web-build-1"]);
    }
}

#[tokio::test]
async fn more_than_can_be_records_are_not_read_at_all() {
    let count = |count: usize, name: &str, owned: bool| {
        let server = Server::default();
        for number in 1..=count {
            server.add(other(&format!("{name}{number}"), owned), 1);
        }
        server
    };
    for server in [
        count(MOST_READ + 1, "web-build-", true),
        count(MOST_LISTED + 1, "other-", false),
    ] {
        let error = server.reader().read(&owner(), None).await.expect_err("too many");
        assert!(matches!(error, Error::TooManyRecords { .. }), "{error}");
        assert_eq!(server.read(), Vec::<String>::new());
    }
    let lists = |server: &Server| server.0.lock().expect("nobody panics here").lists;
    let endless = count(MOST_LISTED * 3, "other-", false);
    endless.reader().read(&owner(), None).await.expect_err("too many");
    assert!(lists(&endless) <= MOST_LISTED / SERVED + 1);
}
