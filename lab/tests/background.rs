//! `goldsmith-lab up` and `down`: one lab in the background, and nothing of it once it is gone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use goldsmith_lab::{tools, until};

const WITHIN: Duration = Duration::from_secs(30);

/// A cache of its own, so that the developer's own `make up` is left alone; ended with the value.
struct Background {
    cache: PathBuf,
}

impl Background {
    fn new() -> Self {
        let cache = std::env::temp_dir().join(format!("goldsmith-lab-test-{}", std::process::id()));
        let assets = cache.join("assets");
        fs::create_dir_all(&assets).expect("a new directory");
        for tool in [tools::etcd(), tools::kube_apiserver(), tools::kubectl()] {
            let tool = tool.expect("make tools has put it there");
            symlink(&tool, assets.join(tool.file_name().expect("a file"))).expect("a new link");
        }
        let python = tools::python("python").expect("make tools has put it there");
        let environment = python.ancestors().nth(2).expect("bin and the environment around it");
        let name = environment.file_name().expect("a directory");
        let guests = cache.join("goldsmith/guests");
        fs::create_dir_all(&guests).expect("a new directory");
        // The tiny one, without which there are no real guests, and not Debian's.
        let disks = fs::read_dir(goldsmith_lab::cache().expect("a cache").join("guests"));
        for disk in disks.expect("make tools has put them there").flatten() {
            let name = disk.file_name();
            if name.to_string_lossy().starts_with("tiny-") {
                symlink(disk.path(), guests.join(name)).expect("a new link");
            }
        }
        symlink(environment, cache.join("goldsmith").join(name)).expect("a new link");
        Self { cache }
    }

    fn run(&self, verb: &str) -> Output {
        self.run_with(&[verb])
    }

    fn run_with(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_goldsmith-lab"));
        command
            .args(arguments)
            .env("XDG_CACHE_HOME", &self.cache)
            .env("KUBEBUILDER_ASSETS", self.cache.join("assets"));
        command.output().expect("goldsmith-lab runs")
    }

    fn up(&self) -> BTreeMap<String, String> {
        let output = self.run("up");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let exports = String::from_utf8(output.stdout).expect("text");
        exports
            .lines()
            .map(|line| {
                let export = line.strip_prefix("export ").and_then(|export| export.split_once('='));
                let (name, value) = export.unwrap_or_else(|| panic!("not an export: {line}"));
                (name.to_owned(), value.to_owned())
            })
            .collect()
    }

    /// `up` fails, says why, and hands nothing out.
    fn not_up(&self, guests: &str, why: &str) {
        let output = self.run_with(&["up", "--guests", guests]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{said}");
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    fn server(&self) -> u32 {
        let pid = fs::read_to_string(self.cache.join("goldsmith/up/pid")).expect("a pid file");
        pid.parse().expect("a number")
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.run("down");
        fs::remove_dir_all(&self.cache).expect("nothing else is in it");
    }
}

/// Ids of the processes that a process has started.
fn children(parent: u32) -> Vec<u32> {
    let of_parent = |process: &u32| stat(*process).is_some_and(|(_, its)| its == parent);
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(of_parent)
        .collect()
}

/// State and parent of a process.
fn stat(process: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it is in parentheses and may hold anything.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn ended(process: u32) -> bool {
    // A zombie has ended; whether someone has read its status is not for us to say.
    stat(process).is_none_or(|(state, _)| state == 'Z')
}

fn signal(signal: &str, process: u32) {
    let status = Command::new("sh")
        .args(["-c", r#"kill -s "$0" "$1""#, signal])
        .arg(process.to_string())
        .status();
    assert!(status.expect("sh runs").success());
}

#[test]
fn up_is_idempotent_survives_a_dead_controller_and_leaves_nothing() {
    let background = Background::new();
    background.not_up("real", "the disk of Debian 12 is not there: make tools GUESTS=real");
    let first = background.up();
    assert_eq!(background.up(), first, "a second `up` finds the first");
    background.not_up("qemu", "up with scripted guests: goldsmith-lab down (make down) first");

    let kubectl = Command::new(tools::kubectl().expect("make tools has put it there"))
        .args(["get", "namespace", "platform", "--output=name"])
        .env("KUBECONFIG", &first["KUBECONFIG"])
        .output()
        .expect("kubectl runs");
    assert_eq!(String::from_utf8_lossy(&kubectl.stdout), "namespace/platform\n");

    let server = background.server();
    let before = children(server);
    assert_eq!(before.len(), 4, "etcd, API server, simulator, controller");
    let controller = before
        .iter()
        .copied()
        .find(|&process| runs(process, "goldsmith"))
        .expect("a controller");
    signal("KILL", controller);
    until(WITHIN, || {
        match children(server).into_iter().find(|&process| runs(process, "goldsmith")) {
            Some(again) if again != controller => Ok(()),
            _ => Err("the controller was not started again"),
        }
    })
    .unwrap();

    let children = children(server);
    signal("KILL", server);
    until(WITHIN, || match children.iter().find(|&&process| !ended(process)) {
        None => Ok(()),
        Some(process) => Err(format!("process {process} has outlived the lab")),
    })
    .unwrap();

    assert_ne!(
        background.up()["AWS_ENDPOINT_URL"],
        first["AWS_ENDPOINT_URL"],
        "what was killed is not handed out again"
    );
    let server = background.server();
    let simulator = self::children(server)
        .into_iter()
        .find(|&process| runs(process, "goldsmith-simulator"))
        .expect("a simulator");
    signal("KILL", simulator);
    until(WITHIN, || match ended(server) {
        true => Ok(()),
        false => Err("the lab has outlived its simulator"),
    })
    .unwrap();
    let log = fs::read_to_string(background.cache.join("goldsmith/up/log")).expect("a log");
    assert!(log.contains("goldsmith-simulator ended with"), "{log}");
    background.up();
    let server = background.server();
    assert!(background.run("down").status.success());
    assert!(ended(server));
    assert!(
        background.run("down").status.success(),
        "a second `down` has nothing to do"
    );
    let left: Vec<_> = directories(&background.cache.join("goldsmith/labs"));
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// Whether a process runs the program of that name.
fn runs(process: u32, program: &str) -> bool {
    fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|path| path.file_name().is_some_and(|name| name == program))
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).expect("a directory").flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
