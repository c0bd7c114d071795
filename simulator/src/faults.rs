//! Faults: what goes wrong on purpose.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::operations::is_known;
use crate::protocol::Error;
use crate::random::Random;
use crate::throttle::is_read;

/// A fault that strikes matching calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// An operation's name, or `*`.
    pub operation: String,
    /// Only in this region.
    #[serde(default)]
    pub region: Option<String>,
    /// Only of calls one of whose parameters has this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What it does.
    pub kind: FaultKind,
    /// Of an `error`: AWS's code, `InternalError` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Of an `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Of an `error`: the HTTP status, by default what the code has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Of a `slow` response: how much later it comes, in unscaled seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// How many calls it strikes before it is spent; none: it never is.
    #[serde(default)]
    pub count: Option<u32>,
    /// From 0 to 1: the chance with which it strikes a matching call, drawn from the seed.
    #[serde(default = "certain")]
    pub probability: f64,
}

fn certain() -> f64 {
    1.0
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// `RequestLimitExceeded`, and the bucket is empty.
    Throttle,
    /// An error instead of the effect.
    Error,
    /// The effect happens, and the connection closes without a response.
    Lost,
    /// A read shows the world as it was before the latest change.
    Stale,
    /// A launch finds no capacity.
    Capacity,
    /// The response comes later.
    Slow,
    /// What the call sets going never ends: an image stays `pending`, a volume `attaching`, an instance `shutting-down`.
    Stuck,
    /// The image that the call makes ends in `failed`.
    Failed,
    /// The image that the call makes ends in `error`.
    Errored,
}

/// The calls whose images can fail.
const MAKE_IMAGES: [&str; 2] = ["CreateImage", "CopyImage"];

impl Fault {
    /// The error it answers with before any effect.
    pub fn error(&self) -> Option<Error> {
        match self.kind {
            FaultKind::Throttle => Some(Error::new("RequestLimitExceeded", "Request limit exceeded.")),
            FaultKind::Error => {
                let code = self.code.as_deref().unwrap_or("InternalError");
                let mut error = Error::new(
                    code,
                    self.message.as_deref().unwrap_or("An internal error has occurred"),
                );
                error.status = self.status.unwrap_or(error.status);
                Some(error)
            }
            FaultKind::Lost
            | FaultKind::Stale
            | FaultKind::Capacity
            | FaultKind::Slow
            | FaultKind::Stuck
            | FaultKind::Failed
            | FaultKind::Errored => None,
        }
    }

    /// How much later the response comes.
    pub fn delay(&self) -> Duration {
        self.seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .unwrap_or_default()
    }

    /// Why it could not strike as it says, if so.
    fn wrong(&self) -> Option<String> {
        let of_error = self.code.is_some() || self.message.is_some() || self.status.is_some();
        if self.operation != "*" && !is_known(&self.operation) {
            Some(format!(
                "operation is '{}'; it must be * or an operation that is simulated, such as RunInstances",
                self.operation
            ))
        } else if self.kind == FaultKind::Capacity && !["*", "RunInstances"].contains(&self.operation.as_str()) {
            Some("the kind capacity strikes RunInstances only".to_owned())
        } else if self.kind == FaultKind::Stale && self.operation != "*" && !is_read(&self.operation) {
            Some(format!(
                "the kind stale strikes reads only, which {} is not",
                self.operation
            ))
        } else if self.kind == FaultKind::Stuck && is_read(&self.operation) {
            Some(format!(
                "the kind stuck strikes calls that set something going, which {} does not",
                self.operation
            ))
        } else if [FaultKind::Failed, FaultKind::Errored].contains(&self.kind)
            && !MAKE_IMAGES.contains(&self.operation.as_str())
        {
            Some("the kinds failed and errored strike CreateImage and CopyImage only".to_owned())
        } else if !(0.0..=1.0).contains(&self.probability) {
            Some(format!("probability is {}; it must be from 0 to 1", self.probability))
        } else if self.count == Some(0) {
            Some("count is 0; it must be at least 1, or absent".to_owned())
        } else if let Some(status) = self.status.filter(|status| !(400..600).contains(status)) {
            Some(format!("status is {status}; it must be from 400 to 599"))
        } else if of_error && self.kind != FaultKind::Error {
            Some("code, message and status belong to the kind error only".to_owned())
        } else if self.seconds.is_some() != (self.kind == FaultKind::Slow) {
            Some("seconds belongs to the kind slow, which needs it".to_owned())
        } else if self.seconds.is_some_and(|seconds| !(0.0..=3600.0).contains(&seconds)) {
            Some("seconds must be from 0 to 3600".to_owned())
        } else {
            None
        }
    }
}

/// The faults in force, in the order in which they were set.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Puts a fault in force, or says why it could not strike.
    pub fn add(&mut self, fault: Fault) -> Result<(), String> {
        match fault.wrong() {
            Some(message) => Err(message),
            None => {
                self.0.push(fault);
                Ok(())
            }
        }
    }

    /// Ends all faults.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether any fault makes reads stale, so that the world before a change is kept.
    pub fn any_stale(&self) -> bool {
        self.0.iter().any(|fault| fault.kind == FaultKind::Stale)
    }

    /// The fault that strikes this call, if any does: the first that matches and whose chance comes up.
    pub fn strike(
        &mut self,
        operation: &str,
        region: &str,
        parameters: &BTreeMap<String, String>,
        random: &mut Random,
    ) -> Option<Fault> {
        let position = self.0.iter().position(|fault| {
            (fault.operation == "*" || fault.operation == operation)
                && fault.region.as_ref().is_none_or(|wanted| wanted == region)
                && fault
                    .value
                    .as_ref()
                    .is_none_or(|wanted| parameters.values().any(|value| value == wanted))
                && (fault.probability >= 1.0 || random.fraction() < fault.probability)
        })?;
        let fault = &mut self.0[position];
        let struck = fault.clone();
        if let Some(count) = &mut fault.count {
            *count -= 1;
            if *count == 0 {
                self.0.remove(position);
            }
        }
        Some(struck)
    }
}
