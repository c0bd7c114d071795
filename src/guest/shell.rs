//! The rendered scripts, run by a real shell in a directory of their own. Only what would touch the machine is replaced: consoles,
//! power-off, systemd, the root directory.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use flate2::read::GzDecoder;
use jiff::Timestamp;

use super::*;
use crate::api::{Check, Cleanup, CleanupItem, EnvironmentVariable, FileStep, HttpCheck, Step};

const NONCE: &str = "00112233445566778899aabbccddeeff";

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "goldsmith-guest-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        for directory in ["work", "root/etc"] {
            fs::create_dir_all(path.join(directory)).unwrap();
        }
        Self(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.join("root").join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.0.join("root").join(path.trim_start_matches('/'))).ok()
    }

    /// Runs a guest's script from where it has detached itself, after these replacements, and gives its console.
    fn run(&self, user_data: &UserData, replacements: &str) -> String {
        let script = text(user_data);
        let body = script.strip_suffix("main \"$@\"\n").unwrap();
        let replaced = format!(
            "{body}\nwork={directory}/work\nroot={directory}/root\n\
             consoles() {{ echo {directory}/console; }}\npower_off() {{ :; }}\nshut_down() {{ finish; }}\nrepeat() {{ :; }}\n\
             systemctl() {{ :; }}\njournalctl() {{ :; }}\nsleep() {{ command sleep 0.01; }}\n{replacements}\nmain \"$@\"\n",
            directory = self.0.display()
        );
        let path = self.0.join("script");
        fs::write(&path, replaced).unwrap();
        let console = self.0.join("console");
        // Each guest is another instance.
        let _ = fs::remove_file(&console);
        fs::remove_dir_all(self.0.join("work")).unwrap();
        fs::create_dir(self.0.join("work")).unwrap();
        let output = Command::new("sh")
            .arg(&path)
            .arg("run")
            .current_dir(&self.0)
            .output()
            .unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read_to_string(console).unwrap_or_default()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(user_data: &UserData) -> String {
    let mut text = String::new();
    GzDecoder::new(user_data.as_bytes()).read_to_string(&mut text).unwrap();
    text
}

fn step(name: &str, run: &str) -> Step {
    Step {
        name: name.into(),
        run: Some(run.into()),
        file: None,
        timeout: None,
        retries: 0,
    }
}

/// Who runs the tests, as a file's owner.
fn me() -> String {
    let id = |flag| {
        String::from_utf8(Command::new("id").arg(flag).output().unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned()
    };
    format!("{}:{}", id("-u"), id("-g"))
}

fn builder(steps: &[Step], skip: &[CleanupItem]) -> UserData {
    let environment = [
        EnvironmentVariable {
            name: "QUOTED".into(),
            value: "it's \"$HOME\" `id` \\n\n* end".into(),
        },
        EnvironmentVariable {
            name: "EMPTY".into(),
            value: String::new(),
        },
    ];
    let cleanup = Cleanup { skip: skip.to_vec() };
    let guest = BuilderGuest {
        nonce: NONCE,
        recipe: "platform/it's \"web\"",
        build: 7,
        attempt: 2,
        content_hash: "c0ffee",
        timeout: Duration::from_secs(60),
        environment: &environment,
        steps,
        cleanup: &cleanup,
    };
    guest.render().unwrap()
}

fn build(directory: &Directory, steps: &[Step], skip: &[CleanupItem]) -> BuilderReport {
    BuilderReport::new(&parse(&directory.run(&builder(steps, skip), ""), NONCE))
}

/// What an inspector says of the directory's root.
fn inspect(directory: &Directory, source_created: Timestamp) -> InspectorReport {
    let guest = InspectorGuest {
        nonce: NONCE,
        source_created,
        lifetime: Duration::from_secs(60),
    };
    let look = "run() { record up; inspect \"$root\"; record inspected; }";
    InspectorReport::new(&parse(&directory.run(&guest.render().unwrap(), look), NONCE))
}

fn paths(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| format!("{:?} {}", finding.item, finding.path))
        .collect()
}

#[test]
fn every_script_is_one_that_shells_can_read() {
    let check = Check {
        name: "smoke".into(),
        run: Some("true".into()),
        http: None,
        timeout: "5s".into(),
    };
    let scripts = [
        builder(&[step("packages", "echo 'one'\necho \"two\"")], &[]),
        TestGuest {
            nonce: NONCE,
            checks: &[check],
            lifetime: Duration::from_secs(60),
        }
        .render()
        .unwrap(),
        InspectorGuest {
            nonce: NONCE,
            source_created: Timestamp::UNIX_EPOCH,
            lifetime: Duration::from_secs(60),
        }
        .render()
        .unwrap(),
    ];
    let directory = Directory::new();
    for user_data in &scripts {
        let path = directory.0.join("script");
        fs::write(&path, text(user_data)).unwrap();
        let Output { status, stderr, .. } = Command::new("sh").arg("-n").arg(&path).output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    }
}

#[test]
fn a_build_runs_its_steps_lays_its_files_and_leaves_a_manifest() {
    let directory = Directory::new();
    directory.write("/etc/old", "old");
    let root = directory.0.join("root");
    let content = "line 'one'\n\"two\" $HOME `id` \\\n\n";
    let file = FileStep {
        path: "/etc/app/it's.conf".into(),
        mode: "0640".into(),
        owner: me(),
        content: content.into(),
    };
    let steps = [
        step(
            "first",
            &format!(
                "printf '%s|' \"$QUOTED\" \"${{EMPTY-unset}}\"; pwd >/dev/null; echo done; echo aside >&2; echo x > {}/made",
                root.display()
            ),
        ),
        Step {
            file: Some(file),
            run: None,
            ..step("config", "")
        },
        step("other", "#!/usr/bin/env  sh\necho \"$0\" >/dev/null; exit 0"),
    ];
    let report = build(&directory, &steps, &[]);
    assert!(report.finished, "{report:?}");
    let outcomes: Vec<_> = report
        .steps
        .iter()
        .map(|step| (step.name.as_str(), step.outcome.clone().unwrap()))
        .collect();
    assert_eq!(outcomes[0].1.output, "it's \"$HOME\" `id` \\n\n* end||done\naside\n");
    assert!(
        outcomes
            .iter()
            .all(|(_, outcome)| outcome.succeeded && outcome.tries == 1 && outcome.exit == 0)
    );
    assert_eq!(directory.read("/etc/app/it's.conf").as_deref(), Some(content));
    assert_eq!(
        fs::metadata(root.join("etc/app/it's.conf"))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777,
        0o640
    );
    let manifest: Manifest = serde_json::from_str(&directory.read("/etc/goldsmith/image.json").unwrap()).unwrap();
    let named = |name: &str| ManifestStep {
        name: name.into(),
        result: StepResult::Succeeded,
        tries: 1,
    };
    assert_eq!(
        manifest,
        Manifest {
            recipe: "platform/it's \"web\"".into(),
            build: 7,
            attempt: 2,
            content_hash: "c0ffee".into(),
            steps: vec![named("first"), named("config"), named("other")],
            skipped: vec![],
            findings: vec![],
        }
    );
}

#[test]
fn a_failed_step_ends_the_build_with_its_status_and_the_end_of_its_output() {
    let directory = Directory::new();
    let noisy =
        "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; printf '\\033[31mred\\033[0m\\r\\n'; exit 3";
    let report = build(
        &directory,
        &[step("good", "true"), step("bad", noisy), step("never", "true")],
        &[],
    );
    let (failed, outcome) = report.failed_step().unwrap();
    assert_eq!(
        (failed.index, failed.name.as_str(), outcome.exit, outcome.timed_out),
        (2, "bad", 3, false)
    );
    assert!(
        outcome.output.ends_with("line 1999\nred\n") && outcome.output.len() > 3900,
        "{}",
        outcome.output
    );
    assert_eq!(report.steps.len(), 2);
    assert_eq!(directory.read("/etc/goldsmith/image.json"), None);
}

#[test]
fn steps_have_their_tries_and_their_time() {
    let directory = Directory::new();
    let counted = format!(
        "echo x >> {}/count; [ $(wc -l < {0}/count) -ge 3 ]",
        directory.0.display()
    );
    let steps = [
        Step {
            retries: 2,
            ..step("flaky", &counted)
        },
        Step {
            timeout: Some("1s".into()),
            ..step("stuck", "echo begun; exec sleep 60")
        },
    ];
    let report = build(&directory, &steps, &[]);
    assert_eq!(report.steps[0].outcome.as_ref().unwrap().tries, 3);
    let (failed, outcome) = report.failed_step().unwrap();
    assert_eq!(
        (failed.name.as_str(), outcome.timed_out, outcome.output.as_str()),
        ("stuck", true, "begun\n")
    );
}

#[test]
fn a_file_that_cannot_be_laid_fails_its_step() {
    let directory = Directory::new();
    directory.write("/etc/nginx/keep", "");
    let file = FileStep {
        path: "/etc/nginx".into(),
        mode: "0644".into(),
        owner: me(),
        content: String::new(),
    };
    let report = build(
        &directory,
        &[Step {
            file: Some(file),
            run: None,
            ..step("config", "")
        }],
        &[],
    );
    assert!(report.failed_step().unwrap().1.output.contains("is a directory"));
}

const TRACES: &[&str] = &[
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssh/ssh_host_rsa_key.pub",
    "/home/a b/.ssh/authorized_keys",
    "/root/.bash_history",
    "/var/lib/cloud/instances/i-1/user-data.txt",
    "/var/lib/dbus/machine-id",
    "/var/log/audit/audit.log",
    "/var/log/cloud-init-output.log",
];

const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n";

#[test]
fn cleanup_removes_traces_and_the_inspector_agrees() {
    let directory = Directory::new();
    for path in TRACES {
        directory.write(path, KEY);
    }
    directory.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    directory.write("/var/lib/cloud/scripts/per-boot/mine", "#!/bin/sh\n");
    let before = inspect(&directory, Timestamp::UNIX_EPOCH);
    assert!(before.done && before.manifest.is_none());
    assert_eq!(
        before
            .findings
            .iter()
            .filter(|finding| finding.item != CleanupItem::PrivateKeys)
            .count(),
        TRACES.len() + 1
    );

    let report = build(&directory, &[step("only", "true")], &[]);
    assert_eq!(paths(&report.findings), [""; 0], "what cleanup removes is no finding");
    for path in TRACES {
        assert_eq!(directory.read(path), None, "{path}");
    }
    assert_eq!(
        directory.read("/etc/machine-id").as_deref(),
        Some(""),
        "emptied, not removed"
    );
    assert!(
        directory.read("/var/lib/cloud/scripts/per-boot/mine").is_some(),
        "not state"
    );
    let after = inspect(&directory, Timestamp::UNIX_EPOCH);
    assert_eq!(paths(&after.findings), [""; 0]);
    assert_eq!(after.manifest.unwrap().build, 7);
}

#[test]
fn skipped_items_stay_and_are_reported() {
    let directory = Directory::new();
    for path in TRACES {
        directory.write(path, "x\n");
    }
    build(
        &directory,
        &[step("only", "true")],
        &[CleanupItem::ShellHistory, CleanupItem::SshHostKeys],
    );
    let report = inspect(&directory, Timestamp::UNIX_EPOCH);
    let mut found = paths(&report.findings);
    found.sort();
    let expected = [
        "ShellHistory /root/.bash_history",
        "SshHostKeys /etc/ssh/ssh_host_rsa_key",
        "SshHostKeys /etc/ssh/ssh_host_rsa_key.pub",
    ];
    assert_eq!(found, expected);
    assert_eq!(
        report.manifest.unwrap().skipped,
        [CleanupItem::ShellHistory, CleanupItem::SshHostKeys]
    );
}

#[test]
fn secrets_are_found_by_name_and_by_content_and_are_not_removed() {
    let directory = Directory::new();
    let secrets = [
        ("PrivateKeys", "/root/.ssh/id_rsa", "anything"),
        (
            "PrivateKeys",
            "/srv/tls/server.key",
            "text\n-----BEGIN RSA PRIVATE KEY-----\nAAAA\n",
        ),
        ("PrivateKeys", "/srv/plain.pem", "-----BEGIN PRIVATE KEY-----\n"),
        ("Credentials", "/home/a/.aws/credentials", "[default]\n"),
        ("Credentials", "/srv/one", "key AKIAABCDEFGHIJKLMNOP end\n"),
        (
            "Credentials",
            "/srv/two \"q\" 'p'",
            "aws_secret_access_key = abcdefghijklmnopqrstuvwxyz0123456789ABCD\n",
        ),
        (
            "Credentials",
            "/srv/three",
            "ghp_abcdefghijklmnopqrstuvwxyz0123456789\n",
        ),
        (
            "Credentials",
            "/root/.docker/config.json",
            "{\"auths\": {\"r\": {\"auth\": \"dXNlcjpwYXNzd29yZA==\"}}}",
        ),
    ];
    let innocent = [
        ("/srv/sample", "AKIAIOSFODNN7EXAMPLE"),
        ("/srv/public.pem", "-----BEGIN PUBLIC KEY-----\n"),
        ("/usr/share/doc/x/key.pem", KEY),
        ("/opt/app/site-packages/tests/key.pem", KEY),
        ("/root/.ssh/known_hosts", "host ssh-rsa AAAA\n"),
    ];
    for (path, content) in secrets
        .iter()
        .map(|(_, path, content)| (path, content))
        .chain(innocent.iter().map(|(p, c)| (p, c)))
    {
        directory.write(path, content);
    }
    directory.write("/srv/large", &format!("{KEY}{}", "x".repeat(70_000)));
    let mut expected: Vec<_> = secrets.iter().map(|(item, path, _)| format!("{item} {path}")).collect();
    expected.sort();

    let report = build(&directory, &[step("only", "true")], &[]);
    assert_eq!(paths(&report.findings), expected);
    let report = inspect(&directory, Timestamp::UNIX_EPOCH);
    assert_eq!(paths(&report.findings), expected);
    assert_eq!(paths(&report.manifest.unwrap().findings), expected);
    // A file that the source image had already is known by its name alone.
    let later = Timestamp::now() + Duration::from_secs(3600);
    let report = inspect(&directory, later);
    assert_eq!(
        paths(&report.findings),
        ["Credentials /home/a/.aws/credentials", "PrivateKeys /root/.ssh/id_rsa"]
    );
}

#[test]
fn the_inspector_follows_no_link_out_of_the_volume() {
    let directory = Directory::new();
    let outside = directory.0.join("outside");
    fs::create_dir_all(outside.join("goldsmith")).unwrap();
    fs::write(outside.join("id_rsa"), KEY).unwrap();
    fs::write(outside.join("goldsmith/image.json"), "{}").unwrap();
    fs::create_dir_all(directory.0.join("root/root")).unwrap();
    std::os::unix::fs::symlink(&outside, directory.0.join("root/root/.ssh")).unwrap();
    std::os::unix::fs::symlink(outside.join("goldsmith"), directory.0.join("root/etc/goldsmith")).unwrap();
    let report = inspect(&directory, Timestamp::UNIX_EPOCH);
    assert!(report.done && report.manifest.is_none());
    assert_eq!(paths(&report.findings), [""; 0]);
}

#[test]
fn layouts_are_known_by_their_first_bytes() {
    let directory = Directory::new();
    let disks: [(&str, usize, &[u8]); 6] = [
        ("LUKS", 0, b"LUKS\xba\xbe"),
        ("xfs", 0, b"XFSB"),
        ("LVM", 512, b"LABELONE"),
        ("ext4", 1080, b"\x53\xef"),
        ("btrfs", 65_600, b"_BHRfS_M"),
        ("unknown", 0, b"EFI PART"),
    ];
    for (name, offset, magic) in disks {
        let mut bytes = vec![0; 70_000];
        bytes[offset..offset + magic.len()].copy_from_slice(magic);
        fs::write(directory.0.join(name), bytes).unwrap();
    }
    let guest = InspectorGuest {
        nonce: NONCE,
        source_created: Timestamp::UNIX_EPOCH,
        lifetime: Duration::from_secs(60),
    };
    let names: Vec<_> = disks.iter().map(|(name, ..)| *name).collect();
    let look = format!(
        "run() {{ for disk in {}; do record unsupported \"$(layout \"$root/../$disk\" | word)\"; done; }}",
        names.join(" ")
    );
    let records = parse(&directory.run(&guest.render().unwrap(), &look), NONCE);
    let expected: Vec<_> = names
        .iter()
        .map(|name| Record::Unsupported {
            what: format!("{name}\n"),
        })
        .collect();
    assert_eq!(records, expected);
}

#[test]
fn checks_are_repeated_and_boot_errors_reported() {
    let directory = Directory::new();
    let counted = format!(
        "echo x >> {}/count; [ $(wc -l < {0}/count) -ge 3 ]",
        directory.0.display()
    );
    let check = |name: &str, run: &str| Check {
        name: name.into(),
        run: Some(run.into()),
        http: None,
        timeout: "2s".into(),
    };
    let run = |checks: &[Check]| {
        let user_data = TestGuest {
            nonce: NONCE,
            checks,
            lifetime: Duration::from_secs(60),
        }
        .render()
        .unwrap();
        let errors = "boot_errors() { echo 'unit failed: a.service'; echo 'kernel: BUG: b'; }";
        TestReport::new(&parse(&directory.run(&user_data, errors), NONCE))
    };
    let before = Timestamp::now();
    let report = run(&[check("flaky", &counted), check("good", "true")]);
    let passed = report.passed_at.unwrap();
    assert!(
        report.booted && report.done && before <= passed && passed <= Timestamp::now(),
        "{report:?}"
    );
    assert_eq!(report.boot_errors, ["unit failed: a.service", "kernel: BUG: b"]);

    let nobody = HttpCheck {
        port: 1,
        path: "/".into(),
        status: 200,
    };
    for bad in [
        check("bad", "echo reason; exit 7"),
        Check {
            http: Some(nobody),
            run: None,
            timeout: "1s".into(),
            ..check("bad", "")
        },
    ] {
        let report = run(&[bad, check("never", "true")]);
        let failed = report.failed_check().unwrap();
        assert!(
            report.done && report.passed_at.is_none() && report.checks.len() == 1 && !failed.output.is_empty(),
            "{report:?}"
        );
    }
}

#[test]
fn the_power_off_timer_comes_before_anything_that_can_fail() {
    let script = text(&builder(&[step("only", "true")], &[]));
    let before = &script[..script.find("systemd-run").unwrap()];
    assert!(before.lines().count() <= 10, "{before}");
}
