//! Clients that nobody here wrote judge the simulator: boto3 and the aws CLI, over TCP.
//!
//! Each script of `tests/witness/` gets a simulator of its own, and must end well.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sha2::{Digest, Sha256};

/// A simulator that ends with the test.
struct Simulator {
    child: Child,
    endpoint: String,
}

impl Simulator {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_goldsmith-simulator"))
            .args(["--port", "0", "--latency-scale", "0.02"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the simulator starts");
        let output = child.stdout.take().expect("its output is piped");
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .expect("it says where it listens");
        let endpoint = line
            .trim()
            .strip_prefix("listening on ")
            .expect("an endpoint")
            .to_owned();
        Self { child, endpoint }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Python of the virtual environment that `make tools` has made for the present requirements.
fn python(repository: &Path) -> PathBuf {
    let requirements = repository.join("tools/python/requirements.txt");
    let text = std::fs::read(&requirements).expect("tools/python/requirements.txt");
    let hash: String = Sha256::digest(text)
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .expect("HOME");
    let environment = cache.join(format!("goldsmith/python-{hash}"));
    assert!(
        environment.join("complete").exists(),
        "boto3 and the aws CLI are not in {}: run `make tools`",
        environment.display()
    );
    environment.join("bin/python")
}

fn witness(script: &str) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = python(here.parent().expect("a workspace"));
    let simulator = Simulator::start();
    let output = Command::new(python)
        .arg(here.join("tests/witness").join(script))
        .env("AWS_ENDPOINT_URL", &simulator.endpoint)
        .env("AWS_ACCESS_KEY_ID", "witness")
        .env("AWS_SECRET_ACCESS_KEY", "unchecked")
        .env("AWS_DEFAULT_REGION", "eu-central-1")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{script} says:\n{text}{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn boto3_builds_an_image_and_leaves_nothing_behind() {
    witness("image.py");
}

#[test]
fn boto3_is_refused_as_ec2_refuses() {
    witness("rules.py");
}

#[test]
fn boto3_filters_by_all_that_is_documented() {
    witness("filters.py");
}

#[test]
fn boto3_gets_along_with_others() {
    witness("crowd.py");
}

#[test]
fn boto3_lives_through_faults() {
    witness("faults.py");
}

#[test]
fn the_aws_cli_does_what_a_person_types() {
    witness("cli.py");
}
