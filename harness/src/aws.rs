//! The simulated EC2 as the SDK's connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use goldsmith_simulator::faults::FaultKind;
use goldsmith_simulator::in_process::InProcess;
use goldsmith_simulator::journal::Entry;
use goldsmith_simulator::tcp;
use jiff::Timestamp;

use crate::history::{Peer, Step};
use crate::judge::{Call, Wrong};
use crate::process::Member;
use crate::strike;
use crate::turnstile::Turnstile;
use crate::world::World;

/// Tags that say what a thing was made for.
const PURPOSE: [&str; 4] = [
    "goldsmith.dev/owner",
    "goldsmith.dev/build",
    "goldsmith.dev/attempt",
    "goldsmith.dev/role",
];

/// What the SDK of `member` needs to reach the world's EC2, in requests that take their turns.
pub fn config(world: &Arc<World>, turnstile: &Arc<Turnstile>, member: Member) -> SdkConfig {
    let clock = Arc::clone(world);
    let connection = Connection {
        inner: InProcess::new(Arc::clone(&world.simulator), move || clock.now()),
        world: Arc::clone(world),
        turnstile: Arc::clone(turnstile),
        member,
    };
    let credentials = Credentials::new("AKIDHARNESS", "harness", None, None, "harness");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(connection)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

#[derive(Clone, Debug)]
struct Connection {
    inner: InProcess,
    world: Arc<World>,
    turnstile: Arc<Turnstile>,
    member: Member,
}

impl HttpConnector for Connection {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let Self {
            inner,
            world,
            turnstile,
            member,
        } = self.clone();
        HttpConnectorFuture::new(async move {
            if let Some(short) = request.body().bytes().and_then(with_short_pages) {
                *request.body_mut() = SdkBody::from(short);
            }
            let body = request.body().bytes().unwrap_or_default();
            let operation = operation(body);
            let parameters: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
            let what = [b"aws ", body, member.lease.as_bytes(), member.identity.as_bytes()].concat();
            let step = Step {
                number: 0,
                time: Timestamp::UNIX_EPOCH,
                peer: Peer::Aws,
                mutates: !["Describe", "Get"].iter().any(|prefix| operation.starts_with(prefix)),
                request: operation,
                outcome: String::new(),
                fault: None,
                people: false,
                made: Vec::new(),
                purpose: String::new(),
            };
            let asked = world.ask(&turnstile, what, step, move |world, step| {
                strike::before_aws(world, step);
                // A pair's second fault may meet another request than it was drawn for.
                let fault = step.fault.filter(|_| !step.mutates);
                let earlier = fault.and_then(|fault| world.state().in_force.earlier(fault));
                if let Some((then, simulator)) = earlier {
                    step.outcome = "of an earlier state".into();
                    return InProcess::new(Arc::new(Mutex::new(simulator)), move || then).call(request);
                }
                let answer = inner.call(request);
                if let Some(entry) = tcp::lock(&world.simulator).journal.last() {
                    step.outcome.clone_from(&entry.outcome);
                    if entry.fault == Some(FaultKind::Stale) {
                        step.outcome += ", of an earlier state";
                    }
                    step.made.clone_from(&entry.made);
                    step.purpose = purpose(entry);
                }
                judge(world, step, member, parameters);
                answer
            });
            match asked.await {
                Ok(answer) => answer.await,
                Err(lost) => Err(ConnectorError::io(lost.into())),
            }
        })
    }
}

impl HttpClient for Connection {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// The request for pages of five: EC2 may put fewer on a page than it is asked for.
fn with_short_pages(body: &[u8]) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    let parameter = body.split('&').find(|parameter| parameter.starts_with("MaxResults="))?;
    Some(body.replace(parameter, "MaxResults=5"))
}

/// Shows the judge a call that may have changed something, and consoles as they are read.
fn judge(world: &World, step: &Step, member: Member, parameters: BTreeMap<String, String>) {
    let call = Call {
        operation: &step.request,
        member,
        parameters,
        outcome: &step.outcome,
        made: &step.made,
    };
    if step.mutates {
        world.judge(step.number, |judge, api, ec2| judge.called(&call, api, ec2));
    } else if step.request == "GetConsoleOutput" {
        world.judge(step.number, |judge, _, ec2| {
            judge.heard(call.parameter("InstanceId"), ec2);
            Vec::<Wrong>::new()
        });
    }
}

fn operation(body: &[u8]) -> String {
    let action = form_urlencoded::parse(body).find(|(name, _)| name == "Action");
    action.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn purpose(entry: &Entry) -> String {
    let tag = |wanted: &str| {
        let (name, _) = entry.parameters.iter().find(|(_, value)| *value == wanted)?;
        entry.parameters.get(&format!("{}Value", name.strip_suffix("Key")?))
    };
    let of = PURPOSE.iter().filter_map(|name| tag(name));
    let of = of.chain(
        ["SnapshotId", "ClientToken"]
            .into_iter()
            .filter_map(|name| entry.parameters.get(name)),
    );
    let of: Vec<&str> = of.map(String::as_str).collect();
    format!("{} for {}", entry.operation, of.join(" "))
}
