//! Clients that nobody here wrote judge the simulator: boto3 and the aws CLI, over TCP.
//!
//! Each script of `tests/witness/` gets a simulator of its own, and must end well.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// A simulator that ends with the test.
struct Simulator {
    child: Child,
    endpoint: String,
}

impl Simulator {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(Command::new(env!("CARGO_BIN_EXE_goldsmith-simulator")).args(arguments))
    }

    /// None of its files, nor of its machines', can grow beyond 16 MiB.
    fn start_short_of_room(arguments: &[&str]) -> Self {
        let limited = r#"trap '' XFSZ; ulimit -f 32768; exec "$0" "$@""#;
        let program = env!("CARGO_BIN_EXE_goldsmith-simulator");
        Self::start_with(Command::new("sh").args(["-c", limited, program]).args(arguments))
    }

    fn start_with(command: &mut Command) -> Self {
        let mut child = command
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

/// Where everything is that the computer keeps for Goldsmith.
fn cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    cache.expect("HOME").join("goldsmith")
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
    let environment = cache().join(format!("python-{hash}"));
    assert!(
        environment.join("complete").exists(),
        "boto3 and the aws CLI are not in {}: run `make tools`",
        environment.display()
    );
    environment.join("bin/python")
}

fn witness(script: &str) {
    witness_of(&Simulator::start(&[]), script);
}

fn witness_of(simulator: &Simulator, script: &str) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = python(here.parent().expect("a workspace"));
    let output = Command::new(python)
        .arg(here.join("tests/witness").join(script))
        .env("AWS_ENDPOINT_URL", &simulator.endpoint)
        .env("AWS_ACCESS_KEY_ID", "witness")
        .env("AWS_SECRET_ACCESS_KEY", "unchecked")
        .env("AWS_DEFAULT_REGION", "eu-central-1")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("MACHINES", machines(simulator))
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
fn boto3_makes_key_pairs_and_security_groups() {
    witness("access.py");
}

#[test]
fn boto3_gets_along_with_others() {
    witness("crowd.py");
}

#[test]
fn boto3_lives_through_faults() {
    witness("faults.py");
}

/// The files of a simulator's machines.
fn machines(simulator: &Simulator) -> PathBuf {
    cache().join("machines").join(simulator.child.id().to_string())
}

/// The machines that use these files.
fn running(machines: &Path) -> Vec<String> {
    let machines = machines.display().to_string();
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let commands = processes.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok());
    commands
        .filter(|command| command.starts_with("qemu-system") && command.contains(&machines))
        .collect()
}

/// All in one, for two machines are all that there may be at a time.
#[test]
fn boto3_sees_machines_boot_and_go_wrong_and_nothing_of_them_survives_their_simulator() {
    witness_of(&Simulator::start(&["--guests", "qemu"]), "machines.py");
    witness_of(&Simulator::start_short_of_room(&["--guests", "qemu"]), "hardships.py");

    let mut killed = Simulator::start(&["--guests", "qemu"]);
    let files = machines(&killed);
    let endpoint = ["--endpoint-url", &killed.endpoint];
    let launch = "ec2 run-instances --image-id ami-0a200300000000001 --instance-type m7i.large --subnet-id subnet-0a100000000000001";
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let launched = Command::new(python(here.parent().expect("a workspace")).with_file_name("aws"))
        .args(endpoint)
        .args(launch.split(' '))
        .env("AWS_ACCESS_KEY_ID", "witness")
        .env("AWS_SECRET_ACCESS_KEY", "unchecked")
        .env("AWS_DEFAULT_REGION", "eu-central-1")
        .output()
        .expect("the aws CLI runs");
    assert!(
        launched.status.success(),
        "{}",
        String::from_utf8_lossy(&launched.stderr)
    );
    until("a machine runs", || running(&files).len() == 1);
    killed.child.kill().expect("it can be killed");
    killed.child.wait().expect("it ends");
    until("its machine is gone", || running(&files).is_empty());
    assert!(files.exists(), "nobody was there to remove its files");
    let next = Simulator::start(&["--guests", "qemu"]);
    assert!(!files.exists(), "the next one has removed them");
    drop(next);
}

fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_aws_cli_does_what_a_person_types() {
    witness("cli.py");
}
