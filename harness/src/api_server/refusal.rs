//! What the server says when it does not do what it was asked: a Status, as Kubernetes words and codes it.

use serde_json::{Value, json};

use super::address::Key;

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// In one word, for example `Conflict`.
    pub reason: &'static str,
    pub message: String,
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: String) -> Self {
        Self { code, reason, message }
    }

    pub fn not_served(path: &str) -> Self {
        Self::new(404, "NotFound", format!("the server could not find {path}"))
    }

    pub fn not_found(key: &Key) -> Self {
        let (kind, name) = (key.kind.qualified(), &key.name);
        Self::new(404, "NotFound", format!("{kind} \"{name}\" not found"))
    }

    pub fn exists(key: &Key) -> Self {
        let (kind, name) = (key.kind.qualified(), &key.name);
        Self::new(409, "AlreadyExists", format!("{kind} \"{name}\" already exists"))
    }

    pub fn conflict(key: &Key, why: &str) -> Self {
        let (kind, name) = (key.kind.qualified(), &key.name);
        let message = format!("Operation cannot be fulfilled on {kind} \"{name}\": {why}");
        Self::new(409, "Conflict", message)
    }

    pub fn invalid(key: &Key, why: &str) -> Self {
        let (kind, name) = (key.kind.qualified(), &key.name);
        Self::new(422, "Invalid", format!("{kind} \"{name}\" is invalid: {why}"))
    }

    pub fn bad_request(message: String) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn method(method: &str) -> Self {
        Self::new(405, "MethodNotAllowed", format!("{method} is not served here"))
    }

    pub fn media_type(given: &str) -> Self {
        let message = format!("the body of the request was in an unknown format: {given}");
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub fn expired(revision: u64, oldest: u64) -> Self {
        Self::new(
            410,
            "Expired",
            format!("too old resource version: {revision} ({oldest})"),
        )
    }

    /// As it is in a body.
    pub fn status(&self) -> Value {
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        })
    }
}
