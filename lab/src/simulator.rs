//! The EC2 simulator as a child.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use crate::child::Child;
use crate::cluster::on_free_port;
use crate::directory::{Directory, cache};
use crate::lab::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use crate::{Result, tools};

const READY_WITHIN: Duration = Duration::from_secs(20);

/// Owner and name of Debian's own images, which real guests boot if `tools/guests/make debian-12` has made their disk.
pub const DEBIAN: (&str, &str) = ("136693071363", "debian-12-amd64-*");

/// What instances are inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Guests {
    /// The simulator's model, which runs nothing.
    #[default]
    Scripted,
    /// Virtual machines, two at a time.
    // As the simulator calls it.
    #[value(alias = "qemu")]
    Real,
}

impl fmt::Display for Guests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Guests::Scripted => "scripted",
            Guests::Real => "real",
        })
    }
}

/// The simulator alone, on a port of its own; it ends with the value.
#[derive(Debug)]
pub struct Simulator {
    pub(crate) child: Child,
    /// Base URL, for `AWS_ENDPOINT_URL`.
    pub url: String,
}

impl Simulator {
    /// Starts it, with its log in `directory`. Durations of AWS's processes are multiplied by `latency_scale`.
    ///
    /// # Errors
    /// A binary that is not built, a child that ends or does not get ready.
    pub fn start(directory: &Directory, latency_scale: f64, guests: Guests) -> Result<Self> {
        // Where the disks of real guests are.
        let cache = cache()?;
        let environment = [("XDG_CACHE_HOME", cache.parent().unwrap_or(&cache))];
        on_free_port(|port| {
            let arguments = [
                format!("--port={port}"),
                format!("--latency-scale={latency_scale}"),
                format!("--guests={guests}"),
            ];
            let log = directory.path().join("simulator.log");
            let program = tools::workspace_binary("goldsmith-simulator")?;
            let mut child = Child::spawn("goldsmith-simulator", &program, arguments, environment, &log)?;
            let url = format!("http://127.0.0.1:{port}");
            child.ready(READY_WITHIN, || get(&format!("{url}/_simulator/state")).map(drop))?;
            Ok(Self { child, url })
        })
    }

    /// What the aws CLI and the SDKs need to work with it.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.url.clone()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY.into()),
            // The SDKs read the one, the aws CLI 1 and boto3 the other.
            ("AWS_REGION", REGION.into()),
            ("AWS_DEFAULT_REGION", REGION.into()),
        ]
    }

    /// JSON from its own interface, for example `state`, `journal`.
    ///
    /// # Errors
    /// An answer that is none, or no JSON.
    pub fn get(&self, what: &str) -> Result<Value> {
        get(&format!("{}/_simulator/{what}", self.url))
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
