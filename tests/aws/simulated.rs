//! The client on the simulator's door in process, under a clock that the test sets.

use std::sync::{Arc, Mutex};

use aws_config::SdkConfig;
use aws_sdk_ec2::config::{BehaviorVersion, Credentials, ProvideCredentials, SharedCredentialsProvider};
use goldsmith::api::ImageSearch;
use goldsmith::aws::{Account, AwsMetrics, Ec2};
use goldsmith::controller::Clock;
use goldsmith::world::{Claim, Installation, Role, Tags};
use goldsmith_simulator::engine::{Request, Simulator};
use goldsmith_simulator::in_process::InProcess;
use goldsmith_simulator::tcp::lock;
use jiff::{SignedDuration, Timestamp};

pub const REGION: &str = "eu-central-1";
/// Of the seeded account.
pub const BASE_IMAGE: &str = "ami-0b100100000000001";
pub const SUBNET: &str = "subnet-0a100000000000001";
pub const GROUP: &str = "sg-0d200000000000001";

/// AWS, and a client of it.
pub struct Simulated {
    pub ec2: Ec2,
    pub registry: prometheus::Registry,
    simulator: Arc<Mutex<Simulator>>,
    now: Arc<Mutex<Timestamp>>,
}

impl Simulated {
    pub fn new() -> Self {
        Self::with_credentials(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"))
    }

    pub fn with_credentials(credentials: impl ProvideCredentials + 'static) -> Self {
        let now = Arc::new(Mutex::new("2026-11-23T09:00:00Z".parse().unwrap()));
        let simulator = Arc::new(Mutex::new(Simulator::new(0, 1.0)));
        let clock = Arc::clone(&now);
        let door = InProcess::new(Arc::clone(&simulator), move || *clock.lock().unwrap());
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(door)
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        let registry = prometheus::Registry::new();
        let account = Account::new("default", &config.build(), AwsMetrics::register(&registry).unwrap());
        Self {
            ec2: account.ec2(REGION),
            registry,
            simulator,
            now,
        }
    }

    /// The test's own time.
    pub fn clock(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Clock::from_fn(move || *now.lock().unwrap())
    }

    pub fn pass(&self, seconds: i64) {
        *self.now.lock().unwrap() += SignedDuration::from_secs(seconds);
    }

    /// From now on calls fail so; in the words of `POST /_simulator/faults`.
    pub fn fail(&self, fault: serde_json::Value) {
        lock(&self.simulator)
            .faults
            .add(serde_json::from_value(fault).unwrap())
            .unwrap();
    }

    /// From now on nothing fails.
    pub fn heal(&self) {
        lock(&self.simulator).faults.clear();
    }

    /// A call that Goldsmith itself does not make; it must succeed.
    pub fn request(&self, operation: &str, parameters: &[(String, String)]) {
        let mut body = format!("Action={operation}&Version=2016-11-15");
        for (name, value) in parameters {
            body += &format!("&{name}={}", value.replace('/', "%2F"));
        }
        let authorization = format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/{REGION}/ec2/aws4_request");
        let now = *self.now.lock().unwrap();
        let request = Request {
            authorization: Some(&authorization),
            parameters: body.as_bytes(),
        };
        let response = lock(&self.simulator).handle(now, request).response.unwrap();
        assert_eq!(response.status, 200, "{operation}: {}", response.body);
    }

    /// How many calls of one operation have come in, or of all.
    pub fn calls(&self, operation: &str) -> usize {
        let simulator = lock(&self.simulator);
        simulator
            .journal
            .after(0)
            .filter(|entry| operation == "*" || entry.operation == operation)
            .count()
    }
}

pub fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub fn installation() -> Installation {
    Installation {
        name: "demo".into(),
        cluster: "5f0d0a9e".into(),
    }
}

/// The tags of the first attempt of the build `build` of the recipe whose uid is `uid-BUILD`.
pub fn tags(build: &str) -> Tags {
    let claim = Claim {
        owner: "platform/web".into(),
        owner_uid: format!("uid-{build}"),
        build: build.parse().unwrap(),
        attempt: 1,
        role: Role::Builder,
    };
    claim.tags(&installation())
}

pub fn search(owners: &[&str], name: &str) -> ImageSearch {
    let owners = owners.iter().map(|owner| (*owner).to_owned()).collect();
    ImageSearch {
        owners,
        name: Some(name.to_owned()),
        tags: Tags::new(),
    }
}
