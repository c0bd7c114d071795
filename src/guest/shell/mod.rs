//! The rendered scripts, run by a real shell in a directory of their own. Only what would touch the machine is replaced: consoles,
//! power-off, systemd, the root directory.

mod build;
mod inspector;
mod search;
mod test_instance;

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use flate2::read::GzDecoder;
use jiff::Timestamp;

use super::*;
use crate::api::{Check, Cleanup, CleanupItem, EnvironmentVariable, FileStep, HttpCheck, Step};

/// An inspector that looks at the directory's root, and says all of it again as it does while it waits for its end.
const LOOK: &str = "run() { record up; inspect \"$root\"; report; record inspected; show 40960; }";
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
        // Each guest is another instance.
        let _ = fs::remove_file(self.0.join("console"));
        self.boot(user_data, replacements, "run")
    }

    /// Boots: nothing that was in memory is there. Runs the guest's script from where `verb` says, after these replacements, and gives
    /// its console, which EC2 keeps through reboots.
    fn boot(&self, user_data: &UserData, replacements: &str, verb: &str) -> String {
        let script = text(user_data);
        let body = script.strip_suffix("main \"$@\"\n").unwrap();
        let replaced = format!(
            "{body}\nPATH=${{GUEST_PATH-$PATH}}\nwork={directory}/work\nroot={directory}/root\n\
             consoles() {{ echo {directory}/console; }}\npower_off() {{ :; }}\nshut_down() {{ finish; }}\nrepeat() {{ :; }}\n\
             systemctl() {{ :; }}\njournalctl() {{ :; }}\nsleep() {{ command sleep 0.01; }}\n{replacements}\nmain \"$@\"\n",
            directory = self.0.display()
        );
        let work = self.0.join("work");
        fs::remove_dir_all(&work).unwrap();
        fs::create_dir(&work).unwrap();
        fs::write(work.join("guest"), replaced).unwrap();
        fs::write(work.join("began"), "990\n").unwrap();
        let guest = shell().arg(work.join("guest")).arg(verb).current_dir(&self.0).output();
        let stderr = guest.unwrap().stderr;
        assert!(stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
        fs::read_to_string(self.0.join("console")).unwrap_or_default()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The shell that guests' scripts are run by: `sh` of the folders in GUEST_PATH, or this machine's.
fn shell() -> Command {
    let mut shell = Command::new("sh");
    if let Some(path) = std::env::var_os("GUEST_PATH") {
        shell.env("PATH", path);
    }
    shell
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
        reboot: None,
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
    let cleanup = Cleanup {
        skip: skip.to_vec(),
        ..Cleanup::default()
    };
    builder_of(steps, &cleanup)
}

fn builder_of(steps: &[Step], cleanup: &Cleanup) -> UserData {
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
    let guest = BuilderGuest {
        nonce: NONCE,
        recipe: "platform/it's \"web\"",
        build: 7,
        attempt: 2,
        content_hash: "c0ffee",
        timeout: Duration::from_secs(60),
        environment: &environment,
        steps,
        cleanup,
    };
    guest.render().unwrap()
}

fn build(directory: &Directory, steps: &[Step], skip: &[CleanupItem]) -> BuilderReport {
    BuilderReport::new(&parse(&directory.run(&builder(steps, skip), ""), NONCE))
}

/// What an inspector says of the directory's root.
fn inspect(directory: &Directory, source_created: Timestamp) -> InspectorReport {
    inspect_for(directory, source_created, &Cleanup::default())
}

fn inspect_for(directory: &Directory, source_created: Timestamp, cleanup: &Cleanup) -> InspectorReport {
    inspect_with(directory, source_created, cleanup, "")
}

fn inspect_with(
    directory: &Directory,
    source_created: Timestamp,
    cleanup: &Cleanup,
    replacements: &str,
) -> InspectorReport {
    let guest = InspectorGuest {
        nonce: NONCE,
        source_created,
        cleanup,
        disks: 1,
        lifetime: Duration::from_secs(60),
    };
    let console = directory.run(&guest.render().unwrap(), &format!("{LOOK}\n{replacements}"));
    InspectorReport::new(&parse(&console, NONCE))
}

fn paths(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| format!("{} {}", finding.rule.as_str(), finding.path))
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
            steps: &[],
            lifetime: Duration::from_secs(60),
        }
        .render()
        .unwrap(),
        InspectorGuest {
            nonce: NONCE,
            source_created: Timestamp::UNIX_EPOCH,
            cleanup: &Cleanup::default(),
            disks: 1,
            lifetime: Duration::from_secs(60),
        }
        .render()
        .unwrap(),
    ];
    let directory = Directory::new();
    for user_data in &scripts {
        let path = directory.0.join("script");
        fs::write(&path, text(user_data)).unwrap();
        let Output { status, stderr, .. } = shell().arg("-n").arg(&path).output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    }
}

#[test]
fn the_power_off_timer_comes_before_anything_that_can_fail() {
    let script = text(&builder(&[step("only", "true")], &[]));
    let before = &script[..script.find("systemd-run").unwrap()];
    assert!(before.lines().count() <= 10, "{before}");
}
