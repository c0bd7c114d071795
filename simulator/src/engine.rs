//! The engine: one request at a time, from state and time to state and reply.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::faults::{Fault, FaultKind, Faults};
use crate::images::ImageState;
use crate::instances::no_capacity;
use crate::journal::{Entry, Journal};
use crate::operations::{Call, Service, run};
use crate::protocol::query::Parameters;
use crate::protocol::signature::scope;
use crate::protocol::{Error, xml};
use crate::random::Random;
use crate::region::Region;
use crate::throttle::is_read;

/// EC2's API version.
const EC2_VERSION: &str = "2016-11-15";
const STS_VERSION: &str = "2011-06-15";

/// An HTTP request, as far as the protocol looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The form body, or the query string.
    pub parameters: &'a [u8],
}

/// What comes back, and when.
#[derive(Clone, Debug)]
pub struct Reply {
    /// How much later it comes, by the caller's clock.
    pub delay: Duration,
    /// None: the connection closes without a response.
    pub response: Option<Response>,
}

#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// What EC2 would be asked about.
    pub request_id: String,
    /// XML.
    pub body: String,
}

/// The world, with the faults and the journal beside it. It has no clock: every request says what time it is.
#[derive(Debug)]
pub struct Simulator {
    /// Everything that a state file keeps.
    pub state: State,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// The calls so far.
    pub journal: Journal,
    /// The regions before their latest change, kept while a fault makes reads stale.
    before: BTreeMap<String, Region>,
}

/// What a state file keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Of request ids and faults; every region has its own.
    pub random: Random,
    /// By name.
    pub regions: BTreeMap<String, Region>,
}

/// A request that has been understood.
struct Incoming {
    service: Service,
    operation: String,
    region: String,
    access_key: String,
    dry_run: bool,
    pairs: BTreeMap<String, String>,
}

impl Simulator {
    /// The seeded world. `latency_scale` multiplies the durations of AWS's processes.
    pub fn new(seed: u64, latency_scale: f64) -> Self {
        let regions = crate::seed::regions(seed, latency_scale);
        Self::resume(State {
            random: Random::named(seed, "requests"),
            regions,
        })
    }

    /// A world from a state file.
    pub fn resume(state: State) -> Self {
        Self {
            state,
            faults: Faults::default(),
            journal: Journal::default(),
            before: BTreeMap::new(),
        }
    }

    /// What durations are multiplied by from now on.
    pub fn set_latency_scale(&mut self, latency_scale: f64) {
        self.state
            .regions
            .values_mut()
            .for_each(|region| region.latency_scale = latency_scale);
    }

    /// Brings the world to `now`.
    pub fn advance(&mut self, now: Timestamp) {
        self.state.regions.values_mut().for_each(|region| region.advance(now));
    }

    /// When the world moves next by itself.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.state
            .regions
            .values()
            .filter_map(|region| region.schedule.next_due())
            .min()
    }

    /// Answers a request made at `now`.
    pub fn handle(&mut self, now: Timestamp, request: Request<'_>) -> Reply {
        self.advance(now);
        let request_id = self.state.random.uuid();
        match Incoming::read(request) {
            Ok(incoming) => self.answer(now, incoming, request_id),
            Err((service, error)) => {
                let response = Response::new(service, request_id, Err(error));
                Reply {
                    delay: Duration::ZERO,
                    response: Some(response),
                }
            }
        }
    }

    /// Answers a request that could not even be read.
    pub(crate) fn refuse(&mut self, error: Error) -> Response {
        Response::new(Service::Ec2, self.state.random.uuid(), Err(error))
    }

    fn answer(&mut self, now: Timestamp, incoming: Incoming, request_id: String) -> Reply {
        let mut fault = None;
        let mut made = Vec::new();
        // The region is taken out of the map while it changes, so that it can look at the others.
        let outcome = match self.state.regions.remove(&incoming.region) {
            Some(mut region) => {
                let outcome = incoming.throttle(&mut region, now).and_then(|()| {
                    let random = &mut self.state.random;
                    let Incoming {
                        operation,
                        region: name,
                        pairs,
                        ..
                    } = &incoming;
                    fault = self.faults.strike(operation, name, pairs, random);
                    self.carry_out(now, &incoming, &request_id, fault.as_ref(), &mut region)
                });
                made = Some(std::mem::take(&mut region.made))
                    .filter(|_| outcome.is_ok())
                    .unwrap_or_default();
                self.state.regions.insert(incoming.region.clone(), region);
                outcome
            }
            None => {
                let known: Vec<&str> = self.state.regions.keys().map(String::as_str).collect();
                let (given, known) = (&incoming.region, known.join(", "));
                let message = format!("Credential is scoped to '{given}'; the regions here are {known}.");
                Err(Error::new("AuthFailure", message))
            }
        };
        let error = outcome.as_ref().err();
        self.journal.write(Entry {
            sequence: 0,
            time: now,
            region: incoming.region,
            operation: incoming.operation,
            parameters: incoming.pairs,
            outcome: error.map_or_else(|| "Success".to_owned(), |error| error.code.clone()),
            message: error.map(|error| error.message.clone()),
            fault: fault.as_ref().map(|fault| fault.kind),
            made,
        });
        let delay = fault.as_ref().map(Fault::delay).unwrap_or_default();
        let lost = fault.is_some_and(|fault| fault.kind == FaultKind::Lost);
        let response = (!lost).then(|| Response::new(incoming.service, request_id, outcome));
        Reply { delay, response }
    }

    /// Runs the operation in its region, under the fault that strikes it.
    fn carry_out(
        &mut self,
        now: Timestamp,
        incoming: &Incoming,
        request_id: &str,
        fault: Option<&Fault>,
        region: &mut Region,
    ) -> Result<String, Error> {
        let kind = fault.map(|fault| fault.kind);
        if kind == Some(FaultKind::Throttle) {
            region.buckets.empty(&incoming.operation, now);
        }
        if kind == Some(FaultKind::Capacity) && incoming.operation == "RunInstances" {
            let instance_type = incoming.pairs.get("InstanceType").map_or("m1.small", String::as_str);
            return Err(no_capacity(instance_type, "every zone"));
        }
        if let Some(error) = fault.and_then(Fault::error) {
            return Err(error);
        }
        let others = &self.state.regions;
        if incoming.dry_run {
            // On a copy that is thrown away.
            execute(&mut region.clone(), others, incoming, request_id, now)?;
            let message = "Request would have succeeded, but DryRun flag is set.";
            return Err(Error::new("DryRunOperation", message));
        }
        if is_read(&incoming.operation) {
            let mut before = self
                .before
                .get(&region.name)
                .filter(|_| kind == Some(FaultKind::Stale))
                .cloned();
            return execute(before.as_mut().unwrap_or(region), others, incoming, request_id, now);
        }
        let before = self.faults.any_stale().then(|| region.clone());
        let outcome = execute(region, others, incoming, request_id, now);
        match kind.filter(|_| outcome.is_ok()) {
            Some(FaultKind::Stuck) => {
                let made = region.made.iter().chain(incoming.pairs.values());
                region.schedule.drop_all_of(made);
            }
            Some(FaultKind::Failed) => region.fail_images(now, ImageState::Failed),
            Some(FaultKind::Errored) => region.fail_images(now, ImageState::Error),
            _ => {}
        }
        match before.filter(|_| outcome.is_ok()) {
            Some(before) => drop(self.before.insert(region.name.clone(), before)),
            // What was before that is no matter of a fault that comes later.
            None if outcome.is_ok() => drop(self.before.remove(&region.name)),
            None => {}
        }
        outcome
    }
}

fn execute(
    region: &mut Region,
    others: &BTreeMap<String, Region>,
    incoming: &Incoming,
    request_id: &str,
    now: Timestamp,
) -> Result<String, Error> {
    let pairs = incoming
        .pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let parameters = Parameters::new(pairs)?;
    let fingerprint: String = incoming
        .pairs
        .iter()
        .filter(|(name, _)| *name != "ClientToken")
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    let mut call = Call {
        now,
        region,
        others,
        access_key: &incoming.access_key,
        fingerprint: &fingerprint,
    };
    run(
        incoming.service,
        &incoming.operation,
        &parameters,
        request_id,
        &mut call,
    )
}

impl Incoming {
    /// Takes a token of the operation's bucket.
    fn throttle(&self, region: &mut Region, now: Timestamp) -> Result<(), Error> {
        if self.service == Service::Sts {
            return Ok(());
        }
        let plain = !self.pairs.keys().any(|name| {
            let parameter = name.split('.').next().unwrap_or_default();
            parameter == "Filter" || parameter == "MaxResults" || parameter.ends_with("Id")
        });
        region.buckets.take(&self.operation, plain, now)
    }

    /// Takes what is common to all operations out of a request.
    fn read(request: Request<'_>) -> Result<Self, (Service, Error)> {
        let mut pairs = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(request.parameters) {
            if pairs.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                let message = format!("The parameter {name} is given more than once");
                return Err((Service::Ec2, Error::new("InvalidParameter", message)));
            }
        }
        // Which service it is for, and so how it reads errors, is known of an unsigned request by its version only.
        let service = match pairs.get("Version").map(String::as_str) {
            Some(STS_VERSION) => Service::Sts,
            _ => Service::Ec2,
        };
        let fail = |error| (service, error);
        let credential = pairs.get("X-Amz-Credential").cloned();
        let scope = scope(request.authorization, credential.as_deref()).map_err(fail)?;
        pairs.retain(|name, _| !name.starts_with("X-Amz-"));
        let (service, known_version) = match scope.service.as_str() {
            "ec2" => (Service::Ec2, EC2_VERSION),
            "sts" => (Service::Sts, STS_VERSION),
            other => {
                let message = format!("The service '{other}' is not simulated; ec2 and sts are");
                return Err(fail(Error::new("InvalidAction", message)));
            }
        };
        let fail = |error| (service, error);
        let mut take = |name: &str| pairs.remove(name);
        let operation = take("Action").ok_or_else(|| {
            fail(Error::new(
                "MissingAction",
                "The request must contain the parameter Action",
            ))
        })?;
        let version = take("Version").ok_or_else(|| fail(Error::missing("Version")))?;
        if version != known_version {
            let message =
                format!("The requested version ({version}) of the service does not exist; {known_version} does");
            return Err(fail(Error::new("NoSuchVersion", message)));
        }
        let dry_run = match (service, take("DryRun").as_deref()) {
            (_, None | Some("false")) => false,
            (Service::Ec2, Some("true")) => true,
            (_, Some(other)) => {
                return Err(fail(Error::invalid(other, "DryRun", "It must be true or false.")));
            }
        };
        Ok(Self {
            service,
            operation,
            region: scope.region,
            access_key: scope.access_key,
            dry_run,
            pairs,
        })
    }
}

impl Response {
    fn new(service: Service, request_id: String, outcome: Result<String, Error>) -> Self {
        let (status, body) = match outcome {
            Ok(body) => (200, body),
            Err(error) => {
                let body = match service {
                    Service::Ec2 => xml::ec2_error(&error, &request_id),
                    Service::Sts => xml::sts_error(&error, &request_id),
                };
                (error.status, body)
            }
        };
        Self {
            status,
            request_id,
            body,
        }
    }
}
