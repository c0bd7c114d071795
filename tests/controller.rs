//! The controller as those see it who run it: its Lease, its metrics, its end.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use goldsmith_lab::{Lab, NAMESPACE, Options, until};

/// Series that a good run has no reason to show.
const ONLY_IN_TROUBLE: [&str; 3] = [
    "controller_runtime_reconcile_errors_total",
    "controller_runtime_reconcile_panics_total",
    "goldsmith_aws_throttles_total",
];
/// More than the controller serves at a time.
const SILENT: usize = 300;
const PATIENCE: Duration = Duration::from_secs(10);
const RECIPE: &str = include_str!("../examples/recipes/web.yaml");

fn get(lab: &Lab, path: &str) -> String {
    let url = lab.controller_url().expect("it runs");
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers in text");
    answer
}

/// Clients that connect and say nothing.
fn silent_clients(lab: &Lab) -> Vec<TcpStream> {
    let url = lab.controller_url().expect("it runs");
    let connect = |_| TcpStream::connect(url.trim_start_matches("http://")).expect("it listens");
    (0..SILENT).map(connect).collect()
}

fn holder(lab: &Lab) -> Option<String> {
    let lease = lab.object("lease/goldsmith", "goldsmith-system").expect("the Lease");
    lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

/// Names of the metrics that the reference promises.
fn promised() -> BTreeSet<String> {
    let lines = include_str!("../docs/reference/metrics.md").lines();
    lines
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect()
}

#[test]
fn it_leads_shows_what_the_reference_promises_and_gives_its_lease_back_in_time() {
    let lab = Lab::start(&Options::default()).expect("a lab");
    lab.start_controller().expect("a ready controller");
    let silent = silent_clients(&lab);
    lab.apply(RECIPE).expect("a recipe");
    let ready = [
        "wait",
        "--namespace",
        NAMESPACE,
        "--for=condition=Ready",
        "imagerecipe/web",
        "--timeout=120s",
    ];
    lab.kubectl(&ready).expect("an image");
    assert_eq!(holder(&lab).as_deref(), Some("lab"));

    // More of them than it serves at a time: it has hung up on each, or nobody would be answered now.
    let text = get(&lab, "/metrics");
    drop(silent);
    let families = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let shown: BTreeSet<String> = families.map(str::to_owned).collect();
    let promised = promised();
    assert_eq!(
        shown.difference(&promised).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "shown, and in no reference"
    );
    let missing = promised
        .difference(&shown)
        .filter(|name| !ONLY_IN_TROUBLE.contains(&name.as_str()));
    assert_eq!(
        missing.collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "promised, and never shown"
    );
    assert!(
        text.contains(r#"goldsmith_builds_total{reason="FirstBuild",result="succeeded"} 1"#),
        "{text}"
    );

    assert!(lab.stop_controller(), "it ends by itself after SIGTERM");
    assert_eq!(holder(&lab), None, "the next one need not wait");
    lab.start_controller().expect("a ready controller");
    lab.kubectl(&["delete", "--namespace", NAMESPACE, "--timeout=60s", "imagerecipe/web"])
        .expect("a finalizer that is taken off");
    let forgotten = until(PATIENCE, || {
        let text = get(&lab, "/metrics");
        if text.contains(r#"name="web""#) {
            Err(text)
        } else {
            Ok(())
        }
    });
    forgotten.expect("series of an object that is gone go with it");
}
