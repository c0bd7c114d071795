//! The program: how it starts, what it says, how it ends.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

fn start(arguments: &[&str]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_goldsmith-simulator"))
        .args(["--port", "0", "--latency-scale", "0.02"])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the simulator starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output is piped"))
        .read_line(&mut line)
        .expect("a line");
    let address = line
        .trim()
        .strip_prefix("listening on http://")
        .expect(&line)
        .to_owned();
    (child, address)
}

fn terminate(mut child: Child) {
    let kill = Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .expect("kill runs");
    assert!(kill.success());
    assert!(child.wait().expect("it ends").success(), "SIGTERM ends it well");
}

fn request(address: &str, method: &str, path: &str, body: &str) -> String {
    request_with("Host: localhost", address, method, path, body)
}

fn request_with(header: &str, address: &str, method: &str, path: &str, body: &str) -> String {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    let head = format!(
        "{method} {path} HTTP/1.1\r\n{header}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .expect("a request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn a_world_survives_in_its_state_file() {
    let directory = std::env::temp_dir().join(format!("goldsmith-simulator-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let file = directory.join("state.json");
    let arguments = ["--state-file", file.to_str().expect("UTF-8")];

    let (child, address) = start(&arguments);
    let published = request(
        &address,
        "POST",
        "/_simulator/images",
        r#"{"region": "us-west-2", "name": "kept"}"#,
    );
    let id = published.split("ami-").nth(1).expect(&published)[..17].to_owned();
    terminate(child);

    let (child, address) = start(&arguments);
    assert!(request(&address, "GET", "/_simulator/state", "").contains(&format!("ami-{id}")));
    terminate(child);
    let mode = std::fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "who else is on this computer does not read it");
    std::fs::remove_dir_all(&directory).expect("the directory goes");
}

#[test]
fn what_is_wrong_is_said_in_json() {
    let (child, address) = start(&[]);
    let huge = "x".repeat(17 << 20);
    for (method, path, body, status, words) in [
        ("GET", "/_simulator/", "", "200", "/_simulator/inventory"),
        ("GET", "/_simulator/nothing", "", "404", "GET /_simulator/ lists"),
        (
            "POST",
            "/_simulator/faults",
            r#"{"operation": "*", "kind": "sulk"}"#,
            "400",
            "unknown variant `sulk`",
        ),
        (
            "POST",
            "/_simulator/faults",
            r#"{"operation": "*", "kind": "slow"}"#,
            "400",
            "seconds",
        ),
        (
            "POST",
            "/_simulator/faults",
            r#"[{"operation": "DescribeVpcs", "kind": "lost"}]"#,
            "204",
            "",
        ),
        ("GET", "/_simulator/faults", "", "200", "DescribeVpcs"),
        ("DELETE", "/_simulator/faults", "", "204", ""),
        ("GET", "/_simulator/faults", "", "200", "[]"),
        ("POST", "/_simulator/guests", r#"{"instructions": ["hang"]}"#, "204", ""),
        ("GET", "/_simulator/guests", "", "200", "hang"),
        (
            "POST",
            "/_simulator/capacity",
            r#"{"availabilityZone": "x", "instanceType": "m7i.large"}"#,
            "400",
            "'x'",
        ),
        ("PUT", "/_simulator/faults", "[]", "405", "takes no PUT"),
        ("GET", "/_simulator/journal?after=soon", "", "400", "error"),
        ("GET", "/_simulator/journal?since=1", "", "400", "error"),
        ("POST", "/_simulator/capacity", "{", "400", "error"),
        ("POST", "/_simulator/capacity", &huge, "400", "limit"),
        ("POST", "/", &huge, "413", "<Code>RequestEntityTooLarge</Code>"),
        ("GET", "/_simulator/inventory", "", "200", "{}"),
        (
            "GET",
            "/_simulator/inventory?format=text",
            "",
            "200",
            "content-length: 0",
        ),
        (
            "GET",
            "/_simulator/inventory?format=yaml",
            "",
            "400",
            "`json` or `text`",
        ),
        ("GET", "/_simulator/journal", "", "200", "[]"),
    ] {
        let answer = request(&address, method, path, body);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(words),
            "{method} {path}: {answer}"
        );
    }
    terminate(child);
}

#[test]
fn no_web_page_drives_it() {
    let (child, address) = start(&[]);
    for (headers, status) in [
        ("Host: localhost", "200"),
        ("Host: LOCALHOST:4566", "200"),
        ("Host: 127.0.0.1:4566", "200"),
        ("Host: [::1]:4566", "200"),
        ("Host: 10.0.0.1", "200"),
        ("Host: attacker.example", "403"),
        ("Host: attacker.example:4566", "403"),
        ("Host: localhost.attacker.example", "403"),
        ("Host: 127.0.0.1.attacker.example", "403"),
        ("Host:", "403"),
        ("Host: localhost\r\nOrigin: http://attacker.example", "403"),
        ("Host: localhost\r\nOrigin: null", "403"),
    ] {
        for (method, path) in [("GET", "/_simulator/state"), ("DELETE", "/_simulator/faults")] {
            let answer = request_with(headers, &address, method, path, "");
            let expected = if (method, status) == ("DELETE", "200") {
                "204"
            } else {
                status
            };
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {expected}")),
                "{headers}: {answer}"
            );
        }
        let call = "Action=DescribeRegions&Version=2016-11-15";
        let answer = request_with(headers, &address, "POST", "/", call);
        assert_eq!(answer.contains("web pages"), status == "403", "{headers}: {answer}");
    }
    terminate(child);
}

#[test]
fn a_taken_port_is_named() {
    let (child, address) = start(&[]);
    let port = address.rsplit(':').next().expect("a port");
    let output = Command::new(env!("CARGO_BIN_EXE_goldsmith-simulator"))
        .args(["--port", port])
        .output()
        .expect("it runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("can't listen on 127.0.0.1:{port}")));
    terminate(child);
}
