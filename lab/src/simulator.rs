//! The EC2 simulator as a child.

use std::time::Duration;

use serde_json::Value;

use crate::child::Child;
use crate::cluster::{NO_ENVIRONMENT, on_free_port};
use crate::directory::Directory;
use crate::{Result, tools};

const READY_WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Simulator {
    pub child: Child,
    /// Base URL, for `AWS_ENDPOINT_URL`.
    pub url: String,
}

impl Simulator {
    pub fn start(directory: &Directory, latency_scale: f64) -> Result<Self> {
        on_free_port(|port| {
            let arguments = [format!("--port={port}"), format!("--latency-scale={latency_scale}")];
            let log = directory.path().join("simulator.log");
            let program = tools::workspace_binary("goldsmith-simulator")?;
            let mut child = Child::spawn("goldsmith-simulator", &program, arguments, NO_ENVIRONMENT, &log)?;
            let url = format!("http://127.0.0.1:{port}");
            child.ready(READY_WITHIN, || get(&format!("{url}/_simulator/state")).map(drop))?;
            Ok(Self { child, url })
        })
    }
}

/// The JSON at a URL.
pub fn get(url: &str) -> Result<Value> {
    Ok(ureq::get(url).call()?.body_mut().read_json()?)
}

/// The text at a URL.
pub fn text(url: &str) -> Result<String> {
    Ok(ureq::get(url).call()?.body_mut().read_to_string()?)
}

/// Posts JSON to a URL; the answer's text.
pub fn post(url: &str, body: &Value) -> Result<String> {
    Ok(ureq::post(url).send_json(body)?.body_mut().read_to_string()?)
}

/// Deletes what is at a URL.
pub fn delete(url: &str) -> Result<()> {
    ureq::delete(url).call()?;
    Ok(())
}
