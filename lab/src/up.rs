//! One lab in the background for each user, for working by hand.
//!
//! Its files are in the cache, under `up/`. The process that serves holds `lock` for as long as it lives, so whether the
//! lab is up never depends on a process id that may be another's by now.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use goldsmith_lab::{Error, Guests, Lab, Options, Result, cache, lock_file, tools, until};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const READY_WITHIN: Duration = Duration::from_secs(120);
const DOWN_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at signals and controller, and before a controller that ended is started again.
const INTERVAL: Duration = Duration::from_millis(500);

/// Makes sure that the lab is up and prints its environment as `export` lines; all else goes to standard error.
pub fn up(guests: Guests) -> Result<()> {
    let files = Files::locate()?;
    let mut server = if files.served()? {
        eprintln!("goldsmith-lab: up already");
        None
    } else {
        eprintln!("goldsmith-lab: starting etcd, API server, simulator and controller");
        // Of one that was killed.
        let _ = fs::remove_file(&files.environment);
        Some(start_server(&files, guests)?)
    };
    let exports = until(READY_WITHIN, || {
        let ended = server
            .as_mut()
            .is_none_or(|server| matches!(server.try_wait(), Ok(Some(_))));
        match fs::read_to_string(&files.environment) {
            Ok(exports) => Ok(Some(exports)),
            Err(_) if ended && !files.served().unwrap_or(false) => Ok(None),
            Err(error) => Err(error),
        }
    });
    let Ok(Some(exports)) = exports else {
        let log = fs::read_to_string(&files.log).unwrap_or_default();
        return Err(Error::Unexpected(format!(
            "it did not come up; {} says:\n{log}",
            files.log.display()
        )));
    };
    // It may have been up before, with others than are asked for now.
    let there = fs::read_to_string(&files.guests).map_err(Error::io(format!("read {}", files.guests.display())))?;
    if there != guests.to_string() {
        return Err(Error::Unexpected(format!(
            "up with {there} guests: goldsmith-lab down (make down) first"
        )));
    }
    print!("{exports}");
    eprintln!("goldsmith-lab: up, with {guests} guests; `make down` ends it");
    eprintln!("  use it:      eval \"$(make -s up)\"");
    let clients = [tools::kubectl()?, tools::python("aws")?];
    eprintln!("  its clients: {}", for_a_shell(&clients));
    let directory = directory(&exports);
    eprintln!("  its files:   {}", for_a_shell(std::slice::from_ref(&directory)));
    let plan = [tools::workspace_binary("goldsmith")?, directory.join("config.yaml")];
    let [goldsmith, config] = plan.map(|path| for_a_shell(&[path]));
    eprintln!("  its plans:   {goldsmith} plan --config {config} platform/web");
    eprintln!("  without:     kube-controller-manager, so that nothing is deleted because its owner is");
    Ok(())
}

/// Paths to be copied into a command.
fn for_a_shell(paths: &[PathBuf]) -> String {
    let quoted = paths.iter().map(|path| {
        let path = path.display().to_string();
        shlex::try_quote(&path).map_or_else(|_| path.clone(), |quoted| quoted.into_owned())
    });
    quoted.collect::<Vec<_>>().join("  ")
}

/// Where the lab keeps its files and its children's logs: beside the kubeconfig that it hands out.
fn directory(exports: &str) -> PathBuf {
    let kubeconfig = exports.lines().find_map(|line| line.strip_prefix("export KUBECONFIG="));
    let kubeconfig = kubeconfig
        .and_then(shlex::split)
        .and_then(|words| words.into_iter().next());
    kubeconfig
        .and_then(|path| Some(Path::new(&path).parent()?.to_owned()))
        .unwrap_or_default()
}

/// Ends the lab that [`up`] has started, in order; succeeds if there is none.
pub fn down() -> Result<()> {
    let files = Files::locate()?;
    if !files.served()? {
        eprintln!("goldsmith-lab: nothing is up");
        return Ok(());
    }
    let exports = fs::read_to_string(&files.environment).unwrap_or_default();
    signal(&files, Signal::TERM)?;
    let gone = || match files.served() {
        Ok(false) => Ok(()),
        _ => Err(()),
    };
    if until(DOWN_WITHIN, gone).is_err() {
        eprintln!("goldsmith-lab: it did not end within {DOWN_WITHIN:?}, killing it");
        signal(&files, Signal::KILL)?;
        until(DOWN_WITHIN, gone).map_err(|()| Error::Unexpected("it cannot be killed".into()))?;
    }
    eprintln!("goldsmith-lab: down");
    let names = exports
        .lines()
        .filter_map(|line| line.strip_prefix("export ")?.split('=').next());
    let names = names.collect::<Vec<_>>().join(" ");
    if !names.is_empty() {
        eprintln!("  in shells that used it: unset {names}");
    }
    Ok(())
}

/// Runs the lab until SIGTERM, SIGINT or SIGHUP. A controller that ends is started again, as a kubelet would; without the
/// simulator or the API server, whose worlds end with them, there is no lab.
pub fn serve(guests: Guests) -> Result<()> {
    let files = Files::locate()?;
    let lock = lock_file(&files.lock)?;
    // `served` may hold it for an instant.
    if until(Duration::from_secs(1), || lock.try_lock()).is_err() {
        eprintln!("another one serves already");
        return Ok(());
    }
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(Error::io("listen for signals"))?;
    write(&files.pid, &std::process::id().to_string())?;
    let lab = Lab::start(&Options::with(guests))?;
    if guests == Guests::Real {
        lab.debian()?;
    }
    lab.start_controller()?;
    let exports: String = lab
        .environment()
        .iter()
        .map(|(name, value)| Ok(format!("export {name}={}\n", shlex::try_quote(value)?)))
        .collect::<std::result::Result<_, shlex::QuoteError>>()
        .map_err(|error| Error::Unexpected(format!("the environment cannot be written for a shell: {error}")))?;
    write(&files.guests, &guests.to_string())?;
    write(&files.environment, &exports)?;
    let mut outcome = Ok(());
    while signals.pending().next().is_none() {
        thread::sleep(INTERVAL);
        if let Some(end) = lab.ended() {
            outcome = Err(end);
            break;
        }
        if !lab.controller_runs() {
            eprintln!("the controller has ended, starting it again");
            if let Err(error) = lab.start_controller() {
                eprintln!("{error}");
            }
        }
    }
    // First, so that no `up` hands out what is about to vanish.
    let _ = fs::remove_file(&files.environment);
    lab.stop();
    outcome
}

struct Files {
    lock: PathBuf,
    pid: PathBuf,
    guests: PathBuf,
    environment: PathBuf,
    log: PathBuf,
}

impl Files {
    fn locate() -> Result<Self> {
        let directory = cache()?.join("up");
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        created.map_err(Error::io(format!("create {}", directory.display())))?;
        let file = |name| directory.join(name);
        Ok(Self {
            lock: file("lock"),
            pid: file("pid"),
            guests: file("guests"),
            environment: file("environment"),
            log: file("log"),
        })
    }

    fn served(&self) -> Result<bool> {
        Ok(lock_file(&self.lock)?.try_lock_shared().is_err())
    }
}

/// Starts `serve` in a session of its own, so that closing the terminal does not end it.
fn start_server(files: &Files, guests: Guests) -> Result<Child> {
    let log = File::create(&files.log).map_err(Error::io(format!("write {}", files.log.display())))?;
    let errors = log
        .try_clone()
        .map_err(Error::io(format!("write {}", files.log.display())))?;
    let executable = std::env::current_exe().map_err(Error::io("find the running executable"))?;
    let mut setsid = Command::new("setsid");
    setsid
        .arg(executable)
        .args(["serve", &format!("--guests={guests}")])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    setsid
        .spawn()
        .map_err(Error::io("start setsid (Debian package util-linux)"))
}

/// Sends a signal to the process that holds the lock; it wrote its id right after it had taken it.
fn signal(files: &Files, signal: Signal) -> Result<()> {
    let text = fs::read_to_string(&files.pid).map_err(Error::io(format!("read {}", files.pid.display())))?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::Unexpected(format!("{} holds no process id: {text:?}", files.pid.display())))?;
    kill_process(pid, signal).map_err(|error| Error::Unexpected(format!("cannot signal process {text}: {error}")))
}

/// Whole or not at all.
fn write(path: &PathBuf, content: &str) -> Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, content)
        .and_then(|()| fs::rename(&partial, path))
        .map_err(Error::io(format!("write {}", path.display())))
}
