//! Faults: what goes wrong on purpose.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::Error;
use crate::random::Random;

/// A fault that strikes matching calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// An operation's name, or `*`.
    pub operation: String,
    /// Only in this region.
    #[serde(default)]
    pub region: Option<String>,
    #[serde(flatten)]
    pub kind: FaultKind,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FaultKind {
    /// `RequestLimitExceeded`, and the bucket is empty.
    Throttle,
    /// An error instead of the effect; `InternalError` (500) unless said otherwise.
    Error {
        code: Option<String>,
        message: Option<String>,
        status: Option<u16>,
    },
    /// The effect happens, and the connection closes without a response.
    Lost,
    /// A read shows the world as it was before the latest change.
    Stale,
    /// A launch finds no capacity.
    Capacity,
    /// The response comes this much later, in unscaled seconds.
    Slow { seconds: f64 },
}

impl FaultKind {
    pub fn name(&self) -> &'static str {
        match self {
            FaultKind::Throttle => "throttle",
            FaultKind::Error { .. } => "error",
            FaultKind::Lost => "lost",
            FaultKind::Stale => "stale",
            FaultKind::Capacity => "capacity",
            FaultKind::Slow { .. } => "slow",
        }
    }

    /// The error it answers with before any effect.
    pub fn error(&self) -> Option<Error> {
        match self {
            FaultKind::Throttle => Some(Error::new("RequestLimitExceeded", "Request limit exceeded.")),
            FaultKind::Error { code, message, status } => {
                let code = code.clone().unwrap_or_else(|| "InternalError".to_owned());
                let message = message
                    .clone()
                    .unwrap_or_else(|| "An internal error has occurred".to_owned());
                let mut error = Error::new(code, message);
                error.status = status.unwrap_or(error.status);
                Some(error)
            }
            FaultKind::Lost | FaultKind::Stale | FaultKind::Capacity | FaultKind::Slow { .. } => None,
        }
    }

    pub fn delay(&self) -> Duration {
        match self {
            FaultKind::Slow { seconds } => Duration::try_from_secs_f64(*seconds).unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }
}

/// The faults in force, in the order in which they were set.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub fn add(&mut self, fault: Fault) -> Result<(), String> {
        if !(0.0..=1.0).contains(&fault.probability) {
            return Err(format!("probability is {}; it must be from 0 to 1", fault.probability));
        }
        if fault.count == Some(0) {
            return Err("count is 0; it must be at least 1, or absent".to_owned());
        }
        if let FaultKind::Error {
            status: Some(status), ..
        } = fault.kind
            && !(400..600).contains(&status)
        {
            return Err(format!("status is {status}; it must be from 400 to 599"));
        }
        self.0.push(fault);
        Ok(())
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether any fault makes reads stale, so that the world before a change is kept.
    pub fn any_stale(&self) -> bool {
        self.0.iter().any(|fault| fault.kind == FaultKind::Stale)
    }

    /// The fault that strikes this call, if any does: the first that matches and whose chance comes up.
    pub fn strike(&mut self, operation: &str, region: &str, random: &mut Random) -> Option<FaultKind> {
        let position = self.0.iter().position(|fault| {
            (fault.operation == "*" || fault.operation == operation)
                && fault.region.as_ref().is_none_or(|wanted| wanted == region)
                && (fault.probability >= 1.0 || random.fraction() < fault.probability)
        })?;
        let fault = &mut self.0[position];
        let kind = fault.kind.clone();
        if let Some(count) = &mut fault.count {
            *count -= 1;
            if *count == 0 {
                self.0.remove(position);
            }
        }
        Some(kind)
    }
}
