//! Every request of a run, in order.

use std::fmt;

use jiff::Timestamp;

use crate::plan::Fault;

/// Whom a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Aws,
    Kubernetes,
}

/// A request, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Counts from 1 through all lives of the process.
    pub number: usize,
    pub time: Timestamp,
    pub peer: Peer,
    /// For example `RunInstances`, or `PATCH /apis/…/status`.
    pub request: String,
    /// Whether it may change something.
    pub mutates: bool,
    /// AWS's code, or the HTTP status; empty for one that never arrived.
    pub outcome: String,
    pub fault: Option<Fault>,
    /// Whether people did something as it came.
    pub people: bool,
    /// Ids of what it made in AWS.
    pub made: Vec<String>,
    /// What that was made for, and by which token.
    pub purpose: String,
}

impl Step {
    /// Whether it changes what people see: renewing the Lease does not.
    pub fn is_activity(&self) -> bool {
        self.mutates && !self.renews_lease()
    }

    /// Whether it creates, replaces or deletes a build's record.
    pub fn changes_record(&self) -> bool {
        self.mutates && self.request.contains("/configmaps")
    }

    /// Whether it writes the Lease.
    pub fn renews_lease(&self) -> bool {
        self.mutates && self.request.contains("/leases")
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            time,
            request,
            outcome,
            made,
            ..
        } = self;
        let time = time.strftime("%H:%M:%S%.3f");
        write!(formatter, "{number:>6} {time} {request}: {outcome}")?;
        if !made.is_empty() {
            write!(formatter, " ({})", made.join(", "))?;
        }
        match self.fault {
            Some(fault) => write!(formatter, "   <- {}", fault.as_str()),
            None => Ok(()),
        }
    }
}
