//! The suite. Each part uses objects of its own.

use std::fmt::Debug;

use futures::{StreamExt, TryStreamExt};
use goldsmith::api::ImageRecipe;
use goldsmith_harness::story;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, PartialObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::{Value, json};

const NAMESPACE: &str = "platform";
const OTHER_UID: &str = "00000000-0000-4000-8000-ffffffffffff";

pub async fn run(client: &Client) {
    what_is_asked_at_the_start(client).await;
    a_write_is_seen_by_its_version_and_refused_by_an_older_one(client).await;
    status_is_all_that_was_written_last(client).await;
    a_finalizer_holds_what_is_deleted(client).await;
    records_are_found_by_label_and_replaced_by_version(client).await;
    metadata_is_listed_alone_page_by_page(client).await;
    a_lease_is_one_candidates_and_an_event_is_told_once(client).await;
    a_watch_tells_every_change_in_order(client).await;
    a_list_of_metadata_comes_in_pages(client).await;
}

/// The code and the reason of a refusal.
fn refused<T: Debug>(answer: kube::Result<T>) -> (u16, String) {
    match answer {
        Err(kube::Error::Api(status)) => (status.code, status.reason.clone()),
        other => panic!("it is no refusal: {other:?}"),
    }
}

fn conflict() -> (u16, String) {
    (409, "Conflict".into())
}

fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("it is one of its kind")
}

fn recipes(client: &Client) -> Api<ImageRecipe> {
    Api::namespaced(client.clone(), NAMESPACE)
}

async fn create(client: &Client, name: &str) -> ImageRecipe {
    let recipe: ImageRecipe = object(story::recipe(name));
    recipes(client)
        .create(&PostParams::default(), &recipe)
        .await
        .expect("it is created")
}

async fn merge(client: &Client, name: &str, patch: Value) -> kube::Result<ImageRecipe> {
    recipes(client)
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
}

async fn replace_status(client: &Client, recipe: &ImageRecipe, status: Value) -> kube::Result<ImageRecipe> {
    let mut written = recipe.clone();
    written.status = Some(serde_json::from_value(status).expect("a status"));
    recipes(client)
        .replace_status(&recipe.name_any(), &PostParams::default(), &written)
        .await
}

async fn what_is_asked_at_the_start(client: &Client) {
    let system = Api::<Namespace>::all(client.clone())
        .get("kube-system")
        .await
        .expect("it is there");
    assert!(system.uid().is_some_and(|uid| !uid.is_empty()));
    let served = client
        .list_api_group_resources("goldsmith.dev/v1alpha1")
        .await
        .expect("it is served");
    assert!(served.resources.iter().any(|kind| kind.name == "imagerecipes"));
    let unknown = client.list_api_group_resources("unknown.dev/v1").await;
    assert!(matches!(unknown, Err(kube::Error::Api(status)) if status.code == 404));
}

async fn a_write_is_seen_by_its_version_and_refused_by_an_older_one(client: &Client) {
    let created = create(client, "versions").await;
    assert_eq!(created.metadata.generation, Some(1));
    assert!(created.uid().is_some() && created.resource_version().is_some());
    let unseen = created.status.as_ref().and_then(|status| status.observed_generation);
    assert_eq!(unseen, Some(-1), "kstatus is not to take it for finished");
    let again = recipes(client)
        .create(&PostParams::default(), &object(story::recipe("versions")))
        .await;
    assert_eq!(refused(again), (409, "AlreadyExists".into()));
    assert_eq!(refused(recipes(client).get("absent").await), (404, "NotFound".into()));

    let changed = merge(client, "versions", json!({"spec": {"failureLimit": 2}}))
        .await
        .expect("it is changed");
    assert_eq!(changed.metadata.generation, Some(2));
    assert_ne!(changed.resource_version(), created.resource_version());
    let old = json!({"metadata": {"resourceVersion": created.resource_version()}, "spec": {"failureLimit": 3}});
    assert_eq!(refused(merge(client, "versions", old).await), conflict());
    let other = json!({"metadata": {"uid": OTHER_UID}, "spec": {"failureLimit": 3}});
    assert_eq!(refused(merge(client, "versions", other).await), (422, "Invalid".into()));
    let both = json!({"metadata": {"uid": OTHER_UID, "resourceVersion": created.resource_version()}});
    assert_eq!(refused(merge(client, "versions", both).await), conflict());

    let same = merge(client, "versions", json!({"spec": {"failureLimit": 2}}))
        .await
        .expect("it is taken");
    assert_eq!(
        same.resource_version(),
        changed.resource_version(),
        "nothing was changed"
    );
    let annotated = merge(
        client,
        "versions",
        json!({"metadata": {"annotations": {"goldsmith.dev/build": "1"}}}),
    )
    .await;
    assert_eq!(annotated.expect("it is annotated").metadata.generation, Some(2));
    let status = merge(client, "versions", json!({"status": {"contentHash": "x"}}))
        .await
        .expect("it is taken");
    assert_eq!(status.status, created.status, "status is a resource of its own");
}

async fn status_is_all_that_was_written_last(client: &Client) {
    let created = create(client, "status").await;
    let status = json!({"observedGeneration": 1, "contentHash": "x", "source": {"x86_64": {"imageId": "ami-1", "name": "", "ownerId": ""}}});
    let mut elsewhere = created.clone();
    elsewhere.spec.suspend = true;
    let first = replace_status(client, &elsewhere, status.clone())
        .await
        .expect("it is written");
    assert_eq!(first.metadata.generation, Some(1));
    assert!(!first.spec.suspend, "nothing but status is written");
    let hash = |recipe: &ImageRecipe| recipe.status.as_ref().and_then(|status| status.content_hash.clone());
    assert_eq!(hash(&first).as_deref(), Some("x"));
    let stale = replace_status(client, &created, json!({"observedGeneration": 1})).await;
    assert_eq!(refused(stale), conflict());
    let same = replace_status(client, &first, status).await.expect("it is written");
    assert_eq!(same.resource_version(), first.resource_version(), "nothing was changed");
    let less = replace_status(client, &first, json!({"observedGeneration": 1}))
        .await
        .expect("it is written");
    assert_eq!(hash(&less), None, "what is not said any more goes");
    assert!(less.status.expect("it stays").source.is_empty());

    let mut absent = created;
    absent.metadata.name = Some("absent".into());
    assert_eq!(refused(replace_status(client, &absent, json!({})).await).0, 404);
}

async fn a_finalizer_holds_what_is_deleted(client: &Client) {
    create(client, "held").await;
    let held = merge(
        client,
        "held",
        json!({"metadata": {"finalizers": ["goldsmith.dev/cleanup"]}}),
    )
    .await;
    assert_eq!(held.expect("it is held").metadata.generation, Some(1));
    let deleted = recipes(client)
        .delete("held", &DeleteParams::default())
        .await
        .expect("it is deleted");
    let deleted = deleted.left().expect("it is still there");
    assert!(deleted.metadata.deletion_timestamp.is_some());
    assert_eq!(deleted.metadata.generation, Some(2));
    let more = json!({"metadata": {"finalizers": ["goldsmith.dev/cleanup", "example.com/other"]}});
    assert_eq!(refused(merge(client, "held", more).await), (422, "Invalid".into()));
    merge(client, "held", json!({"metadata": {"finalizers": []}}))
        .await
        .expect("it is let go");
    assert_eq!(
        recipes(client).get_opt("held").await.expect("it can be asked for"),
        None
    );

    create(client, "free").await;
    let deleted = recipes(client)
        .delete("free", &DeleteParams::default())
        .await
        .expect("it is deleted");
    assert!(deleted.is_right());
    assert_eq!(
        refused(recipes(client).delete("free", &DeleteParams::default()).await),
        (404, "NotFound".into())
    );
}

async fn records_are_found_by_label_and_replaced_by_version(client: &Client) {
    let api = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let record = |name: &str, recipe: &str| {
        object::<ConfigMap>(json!({
            "metadata": {"name": name, "labels": {"goldsmith.dev/recipe": recipe}},
            "data": {"frozen.json": "{}"},
            "binaryData": {"user-data.builder.1": "AAEC"},
        }))
    };
    let parameters = PostParams::default();
    let created = api
        .create(&parameters, &record("one", "records"))
        .await
        .expect("it is created");
    api.create(&parameters, &record("two", "others"))
        .await
        .expect("it is created");
    let listed = api
        .list(&ListParams::default().labels("goldsmith.dev/recipe=records"))
        .await
        .expect("they are listed");
    let names: Vec<String> = listed.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["one"]);
    assert!(listed.metadata.resource_version.is_some());

    let same = api.replace("one", &parameters, &created).await.expect("it is taken");
    assert_eq!(
        same.resource_version(),
        created.resource_version(),
        "nothing was changed"
    );
    let mut changed = created.clone();
    changed
        .data
        .get_or_insert_default()
        .insert("progress.json".into(), "{}".into());
    let replaced = api.replace("one", &parameters, &changed).await.expect("it is replaced");
    assert_eq!((replaced.uid(), &replaced.data), (created.uid(), &changed.data));
    assert_eq!(replaced.binary_data, created.binary_data);
    assert_eq!(refused(api.replace("one", &parameters, &created).await), conflict());
    api.delete("one", &DeleteParams::default())
        .await
        .expect("it is deleted");
    assert_eq!(
        refused(api.delete("one", &DeleteParams::default()).await),
        (404, "NotFound".into())
    );
}

/// The metadata of what is asked for, through all pages, and how many objects each of them has.
async fn metadata_of<K>(api: &Api<K>, mut asked: ListParams) -> (Vec<PartialObjectMeta<K>>, Vec<usize>)
where
    K: Resource + Clone + Debug + serde::de::DeserializeOwned,
{
    let (mut listed, mut pages) = (Vec::new(), Vec::new());
    loop {
        let page = api.list_metadata(&asked).await.expect("a page");
        pages.push(page.items.len());
        listed.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => asked = asked.continue_token(&token),
            None => return (listed, pages),
        }
    }
}

async fn metadata_is_listed_alone_page_by_page(client: &Client) {
    let api = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    for number in 1..=5 {
        let config_map = object::<ConfigMap>(json!({
            "metadata": {"name": format!("paged-{number}"), "labels": {"goldsmith.dev/recipe": "paged"}},
            "data": {"frozen.json": "{}"},
        }));
        api.create(&PostParams::default(), &config_map)
            .await
            .expect("it is created");
    }
    let asked = ListParams::default().labels("goldsmith.dev/recipe=paged").limit(2);
    let (listed, pages) = metadata_of(&api, asked).await;
    for found in &listed {
        let whole = api.get(&found.name_any()).await.expect("what was listed");
        let same = (whole.uid(), whole.resource_version());
        assert_eq!((found.uid(), found.resource_version()), same);
    }
    let names: Vec<_> = listed.iter().map(ResourceExt::name_any).collect();
    assert_eq!(pages, [2, 2, 1]);
    assert_eq!(names, ["paged-1", "paged-2", "paged-3", "paged-4", "paged-5"]);
}

async fn a_lease_is_one_candidates_and_an_event_is_told_once(client: &Client) {
    let api = Api::<Lease>::namespaced(client.clone(), NAMESPACE);
    let lease = object::<Lease>(json!({"metadata": {"name": "lead"}, "spec": {"holderIdentity": "one"}}));
    let parameters = PostParams::default();
    let created = api.create(&parameters, &lease).await.expect("it is created");
    assert_eq!(
        refused(api.create(&parameters, &lease).await),
        (409, "AlreadyExists".into())
    );
    let mut taken = created.clone();
    taken.spec.get_or_insert_default().holder_identity = Some("two".into());
    api.replace("lead", &parameters, &taken).await.expect("it is taken");
    assert_eq!(refused(api.replace("lead", &parameters, &created).await), conflict());

    let api = Api::<Event>::namespaced(client.clone(), NAMESPACE);
    let event = object::<Event>(json!({
        "metadata": {"name": "web.1", "namespace": NAMESPACE},
        "eventTime": "2026-11-23T12:00:00.000001Z",
        "reportingController": "goldsmith.dev/controller",
        "reportingInstance": "one",
        "regarding": {"kind": "ImageRecipe", "name": "web", "namespace": NAMESPACE},
        "type": "Normal", "reason": "BuildStarted", "action": "Reconcile", "note": "build 1",
    }));
    api.create(&parameters, &event).await.expect("it is created");
    assert_eq!(
        refused(api.create(&parameters, &event).await),
        (409, "AlreadyExists".into())
    );
}

async fn a_list_of_metadata_comes_in_pages(client: &Client) {
    create(client, "page-one").await;
    create(client, "page-two").await;
    let whole = recipes(client)
        .list(&ListParams::default())
        .await
        .expect("it is listed");
    let whole: Vec<_> = whole
        .items
        .iter()
        .map(|recipe| (recipe.name_any(), recipe.uid()))
        .collect();
    let (listed, pages) = metadata_of(&recipes(client), ListParams::default().limit(1)).await;
    let listed: Vec<_> = listed.iter().map(|recipe| (recipe.name_any(), recipe.uid())).collect();
    assert_eq!(listed, whole);
    assert_eq!(pages, vec![1; whole.len()]);
}

async fn a_watch_tells_every_change_in_order(client: &Client) {
    let listed = recipes(client)
        .list(&ListParams::default())
        .await
        .expect("they are listed");
    let from = listed.metadata.resource_version.expect("a list has one");
    create(client, "watched").await;
    let changed = merge(client, "watched", json!({"spec": {"failureLimit": 2}}))
        .await
        .expect("it is changed");
    merge(client, "watched", json!({"spec": {"failureLimit": 2}}))
        .await
        .expect("it is taken");
    let parameters = WatchParams::default().timeout(10);
    let watch = recipes(client)
        .watch(&parameters, &from)
        .await
        .expect("it is watched")
        .boxed();
    recipes(client)
        .delete("watched", &DeleteParams::default())
        .await
        .expect("it is deleted");
    let told: Vec<(&str, Option<i64>, u64)> = watch
        .try_filter_map(async |event| {
            let (type_, recipe) = match event {
                WatchEvent::Added(recipe) => ("ADDED", recipe),
                WatchEvent::Modified(recipe) => ("MODIFIED", recipe),
                WatchEvent::Deleted(recipe) => ("DELETED", recipe),
                WatchEvent::Bookmark(_) => return Ok(None),
                WatchEvent::Error(status) => panic!("{status:?}"),
            };
            let version = recipe.resource_version().and_then(|version| version.parse().ok());
            Ok(Some((type_, recipe.metadata.generation, version.expect("a number"))))
        })
        .take(3)
        .try_collect()
        .await
        .expect("it is told");
    let told_of: Vec<_> = told
        .iter()
        .map(|(type_, generation, _)| (*type_, *generation))
        .collect();
    assert_eq!(
        told_of,
        [("ADDED", Some(1)), ("MODIFIED", Some(2)), ("DELETED", Some(2))]
    );
    assert_eq!(Some(told[1].2.to_string()), changed.resource_version());
    assert!(told[2].2 > told[1].2, "the end has a version too");

    let mut old = recipes(client)
        .watch(&parameters, "1")
        .await
        .expect("it is watched")
        .boxed();
    match old.next().await {
        Some(Ok(WatchEvent::Error(status))) => assert_eq!(status.code, 410),
        other => panic!("a version that is long gone: {other:?}"),
    }
}
