use kube::core::Status;

use super::*;
use crate::api::{READY, RECONCILING, STALLED, get};
use crate::recipe::decide::tests::small_world::SmallWorld;

fn answer(code: u16, reason: &str, message: &str) -> kube::Error {
    let status = Status::failure(message, reason).with_code(code);
    kube::Error::Api(Box::new(status))
}

/// What the status says once Kubernetes has refused to create a record: the abnormal condition, Ready's reason, and its message.
fn says(recipe: &ImageRecipe, refusal: kube::Error) -> Option<(&'static str, String, String)> {
    let error = Error::changing_record("create", "web-build-1")(refusal);
    let now = "2026-11-23T08:00:00Z".parse().expect("a time");
    let status = told(&error, recipe, now)?;
    assert_eq!(status.observed_generation, recipe.metadata.generation);
    let ready = get(&status.conditions, READY)?;
    let abnormal = [STALLED, RECONCILING]
        .into_iter()
        .find(|type_| get(&status.conditions, type_).is_some())?;
    Some((abnormal, ready.reason.clone(), ready.message.clone()))
}

#[test]
fn a_record_that_kubernetes_refuses_is_told_with_its_words() {
    let recipe = SmallWorld::new().recipe;
    for (code, reason, words) in [
        (400, "BadRequest", "admission webhook \"names\" denied the request"),
        (403, "Forbidden", "exceeded quota: small, requested: count/configmaps=1"),
        (413, "RequestEntityTooLarge", "limit is 3145728"),
        (
            422,
            "Invalid",
            "data: Forbidden: field is immutable when `immutable` is set",
        ),
    ] {
        let (type_, reason, message) = says(&recipe, answer(code, reason, words)).expect("a status");
        assert_eq!((type_, reason.as_str()), (STALLED, "RecordRefused"), "{code}");
        assert!(message.contains(words) && message.contains("web-build-1"), "{message}");
    }
    let endless = says(&recipe, answer(422, "Invalid", &"x".repeat(100_000))).expect("a status");
    assert!(endless.2.len() < 3000, "{}", endless.2.len());
}

#[test]
fn what_passes_by_itself_is_told_only_where_nothing_was_ever_told() {
    let mut world = SmallWorld::new();
    let unavailable = || answer(503, "ServiceUnavailable", "etcd has no leader");
    let (type_, reason, message) = says(&world.recipe, unavailable()).expect("a status");
    assert_eq!((type_, reason.as_str()), (RECONCILING, "Reconciling"));
    assert!(message.contains("etcd has no leader"), "{message}");
    world.settle();
    assert_eq!(says(&world.recipe, unavailable()), None);
    let conflict = || answer(409, "Conflict", "the object has been modified");
    assert_eq!(says(&SmallWorld::new().recipe, conflict()), None);
}
