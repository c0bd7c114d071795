//! A client of the engine: sends operations, reads elements of the answer, and moves the clock.

use goldsmith_simulator::engine::{Reply, Request, Simulator};
use jiff::{SignedDuration, Timestamp};

pub const SOURCE: &str = "ami-0a200300000000001";
pub const SUBNET_A: &str = "subnet-0a100000000000001";
pub const SUBNET_B: &str = "subnet-0b200000000000001";

pub struct Aws {
    pub simulator: Simulator,
    pub now: Timestamp,
    pub region: &'static str,
}

/// The XML of an answer.
#[derive(Debug)]
pub struct Answer(pub String);

impl Answer {
    /// The text of every element of that name, in order.
    pub fn all(&self, element: &str) -> Vec<&str> {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        self.0
            .split(&open)
            .skip(1)
            .filter_map(|rest| rest.split(&close).next())
            .collect()
    }

    /// The text of the first element of that name.
    pub fn get(&self, element: &str) -> &str {
        self.all(element)
            .first()
            .copied()
            .unwrap_or_else(|| panic!("no <{element}> in {}", self.0))
    }
}

impl Aws {
    /// A world at latency scale 1.
    pub fn new() -> Self {
        let now = "2026-11-23T08:00:00Z".parse().unwrap();
        Self {
            simulator: Simulator::new(0, 1.0),
            now,
            region: "eu-central-1",
        }
    }

    /// Moves the clock, far enough apart for no throttling.
    pub fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub fn reply(&mut self, service: &str, operation: &str, parameters: &[(&str, &str)]) -> Reply {
        let version = if service == "sts" { "2011-06-15" } else { "2016-11-15" };
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", operation)
            .append_pair("Version", version)
            .extend_pairs(parameters);
        let form = form.finish();
        let scope = format!("AK/20261123/{}/{service}/aws4_request", self.region);
        let authorization = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        let request = Request {
            authorization: Some(&authorization),
            parameters: form.as_bytes(),
        };
        self.simulator.handle(self.now, request)
    }

    /// An operation that succeeds.
    pub fn call(&mut self, operation: &str, parameters: &[(&str, &str)]) -> Answer {
        let response = self.reply("ec2", operation, parameters).response.expect("a response");
        assert_eq!(response.status, 200, "{operation} {parameters:?}: {}", response.body);
        Answer(response.body)
    }

    /// The code of an operation that fails.
    pub fn code(&mut self, operation: &str, parameters: &[(&str, &str)]) -> String {
        let response = self.reply("ec2", operation, parameters).response.expect("a response");
        assert_ne!(response.status, 200, "{operation} {parameters:?} succeeded");
        Answer(response.body).get("Code").to_owned()
    }

    /// Launches one m7i.large from the newest source in zone a, with further parameters. Returns its id.
    pub fn launch(&mut self, further: &[(&str, &str)]) -> String {
        let parameters = [&launch(SUBNET_A), further].concat();
        self.call("RunInstances", &parameters).get("instanceId").to_owned()
    }

    /// [`Aws::launch`], and then until it runs.
    pub fn running(&mut self, further: &[(&str, &str)]) -> String {
        let id = self.launch(further);
        self.wait(20);
        assert_eq!(self.state(&id), "running");
        id
    }

    /// A running instance that is then stopped.
    pub fn stopped(&mut self) -> String {
        let id = self.running(&[]);
        self.call("StopInstances", &[("InstanceId.1", &id)]);
        self.wait(60);
        assert_eq!(self.state(&id), "stopped");
        id
    }

    pub fn state(&mut self, id: &str) -> String {
        let answer = self.call("DescribeInstances", &[("InstanceId.1", id)]);
        let state = answer.get("instanceState");
        Answer(state.to_owned()).get("name").to_owned()
    }

    /// An available image of a stopped instance.
    pub fn image(&mut self, name: &str) -> String {
        let instance = self.stopped();
        let id = self.create_image(&instance, name);
        self.wait(120);
        id
    }

    pub fn create_image(&mut self, instance: &str, name: &str) -> String {
        self.call("CreateImage", &[("InstanceId", instance), ("Name", name)])
            .get("imageId")
            .to_owned()
    }
}

/// What a launch needs at least.
pub fn launch(subnet: &str) -> [(&str, &str); 5] {
    [
        ("ImageId", SOURCE),
        ("InstanceType", "m7i.large"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("SubnetId", subnet),
    ]
}
