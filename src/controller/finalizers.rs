//! Our finalizer on an object: put on before anything is made for it, taken off once nothing is left.

use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

/// Keeps a deleted object until what was made for it has been cleaned up.
pub const FINALIZER: &str = "goldsmith.dev/cleanup";

/// Puts our finalizer on `object`, and answers with the object as it is then; with none when it was there already.
///
/// # Errors
/// A 409 when the object has changed since it was read; look again.
pub async fn ensure<K>(api: &Api<K>, object: &K) -> kube::Result<Option<K>>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    if object.finalizers().iter().any(|present| present == FINALIZER) {
        return Ok(None);
    }
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    replace(api, object, &finalizers).await.map(Some)
}

/// Takes our finalizer off `object`; one that is gone, or never had it, is left alone.
///
/// # Errors
/// A 409 when the object has changed since it was read; look again.
pub async fn remove<K>(api: &Api<K>, object: &K) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let others: Vec<_> = object
        .finalizers()
        .iter()
        .filter(|present| *present != FINALIZER)
        .cloned()
        .collect();
    if others.len() == object.finalizers().len() {
        return Ok(());
    }
    match replace(api, object, &others).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        answer => answer.map(drop),
    }
}

/// The list is replaced as a whole, so the resourceVersion must still be the one that it was read at.
async fn replace<K>(api: &Api<K>, object: &K, finalizers: &[String]) -> kube::Result<K>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let metadata = json!({"uid": object.uid(), "resourceVersion": object.resource_version(), "finalizers": finalizers});
    let patch = Patch::Merge(json!({"metadata": metadata}));
    api.patch(&object.name_any(), &PatchParams::default(), &patch).await
}
