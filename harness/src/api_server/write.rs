//! Writes: what changes an object, under which conditions, and what then is seen of it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::object::{canonical, desired, finalizers, is_deleted, merge, metadata, set_metadata, time};
use super::watch::Type;
use super::{ApiServer, Key, Kind, Refusal};

/// What the server itself keeps in the metadata, whatever a client writes there.
const KEPT: [&str; 5] = [
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];
const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";

impl ApiServer {
    pub(super) fn create(&mut self, now: Timestamp, key: &Key, mut object: Value) -> Result<Value, Refusal> {
        if key.name.is_empty() {
            return Err(Refusal::invalid(
                key,
                "metadata.name: Required value: name or generateName is required",
            ));
        }
        if self.objects.contains_key(key) {
            return Err(Refusal::exists(key));
        }
        if key.kind == Kind::ImageRecipe
            && let Some(fields) = object.as_object_mut()
        {
            // A subresource: not written with the rest.
            fields.remove("status");
        }
        let mut object = canonical(key.kind, object).map_err(Refusal::bad_request)?;
        for field in KEPT {
            set_metadata(&mut object, field, None);
        }
        set_metadata(&mut object, "name", Some(key.name.clone().into()));
        if !key.namespace.is_empty() {
            set_metadata(&mut object, "namespace", Some(key.namespace.clone().into()));
        }
        set_metadata(&mut object, "creationTimestamp", Some(time(now)));
        self.uids += 1;
        let uid = format!("00000000-0000-4000-8000-{:012x}", self.uids);
        set_metadata(&mut object, "uid", Some(uid.into()));
        if key.kind == Kind::ImageRecipe {
            set_metadata(&mut object, "generation", Some(1.into()));
        }
        Ok(self.store(key, object, Type::Added))
    }

    /// PUT.
    pub(super) fn replace(&mut self, key: &Key, object: Value) -> Result<Value, Refusal> {
        let before = self.present(key)?.clone();
        if key.kind == Kind::ImageRecipe && metadata(&object, "resourceVersion").is_empty() {
            let why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
            return Err(Refusal::invalid(key, why));
        }
        self.expect(key, &before, &object)?;
        self.change(key, &before, object)
    }

    /// PATCH, of everything but status.
    pub(super) fn merge(&mut self, key: &Key, patch: &Value) -> Result<Value, Refusal> {
        let before = self.present(key)?.clone();
        self.expect(key, &before, patch)?;
        let mut object = before.clone();
        merge(&mut object, patch);
        self.change(key, &before, object)
    }

    /// PUT of the status alone: whatever else the object says is passed over.
    pub(super) fn replace_status(&mut self, key: &Key, written: &Value) -> Result<Value, Refusal> {
        let before = self.present(key)?.clone();
        self.expect_version(key, &before, written)?;
        let mut object = before.clone();
        object["status"] = written["status"].clone();
        self.write(key, &before, object)
    }

    /// 409 unless the version that `written` names, if any, is the present one; otherwise 422 if it names another uid.
    fn expect(&self, key: &Key, before: &Value, written: &Value) -> Result<(), Refusal> {
        self.expect_version(key, before, written)?;
        let uid = metadata(written, "uid");
        if uid.is_empty() || uid == metadata(before, "uid") {
            return Ok(());
        }
        let why = format!("metadata.uid: Invalid value: \"{uid}\": field is immutable");
        Err(Refusal::invalid(key, &why))
    }

    fn expect_version(&self, key: &Key, before: &Value, written: &Value) -> Result<(), Refusal> {
        let version = metadata(written, "resourceVersion");
        match version.is_empty() || version == metadata(before, "resourceVersion") {
            true => Ok(()),
            false => Err(Refusal::conflict(key, MODIFIED)),
        }
    }

    /// A change that leaves status as it is.
    fn change(&mut self, key: &Key, before: &Value, mut object: Value) -> Result<Value, Refusal> {
        if key.kind == Kind::ImageRecipe {
            object["status"] = before["status"].clone();
        }
        self.write(key, before, object)
    }

    fn write(&mut self, key: &Key, before: &Value, object: Value) -> Result<Value, Refusal> {
        let mut object = canonical(key.kind, object).map_err(|why| Refusal::invalid(key, &why))?;
        for field in KEPT.into_iter().chain(["name", "namespace", "resourceVersion"]) {
            let kept = before["metadata"].get(field).cloned();
            set_metadata(&mut object, field, kept);
        }
        let added = |finalizer: &&str| !finalizers(before).contains(finalizer);
        if is_deleted(before) && finalizers(&object).iter().any(added) {
            let why = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted";
            return Err(Refusal::invalid(key, why));
        }
        if object == *before {
            // Nothing is written, and nobody sees anything.
            return Ok(object);
        }
        if key.kind == Kind::ImageRecipe && desired(&object) != desired(before) {
            raise_generation(&mut object);
        }
        if is_deleted(&object) && finalizers(&object).is_empty() {
            return Ok(self.remove(key, object));
        }
        Ok(self.store(key, object, Type::Modified))
    }

    pub(super) fn delete(&mut self, now: Timestamp, key: &Key) -> Result<Value, Refusal> {
        let before = self.present(key)?.clone();
        if finalizers(&before).is_empty() {
            let uid = metadata(&before, "uid").to_owned();
            self.remove(key, before);
            let details = json!({"name": key.name, "kind": key.kind.plural(), "uid": uid});
            return Ok(
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
            );
        }
        if is_deleted(&before) {
            return Ok(before);
        }
        let mut object = before;
        set_metadata(&mut object, "deletionTimestamp", Some(time(now)));
        set_metadata(&mut object, "deletionGracePeriodSeconds", Some(0.into()));
        if key.kind == Kind::ImageRecipe {
            raise_generation(&mut object);
        }
        Ok(self.store(key, object, Type::Modified))
    }

    fn store(&mut self, key: &Key, mut object: Value, type_: Type) -> Value {
        self.next_version(&mut object);
        self.objects.insert(key.clone(), object.clone());
        self.tell(key, type_, &object);
        object
    }

    fn remove(&mut self, key: &Key, mut object: Value) -> Value {
        self.next_version(&mut object);
        self.objects.remove(key);
        self.tell(key, Type::Deleted, &object);
        object
    }

    fn next_version(&mut self, object: &mut Value) {
        self.revision += 1;
        set_metadata(object, "resourceVersion", Some(self.revision.to_string().into()));
    }
}

fn raise_generation(object: &mut Value) {
    let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
    set_metadata(object, "generation", Some((generation + 1).into()));
}
