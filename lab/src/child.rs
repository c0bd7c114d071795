//! Child processes that never outlive this one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, Result, until};

/// As much of a log as an error shows.
const TAIL_LINES: usize = 15;

/// A program in a process group of its own, so that Ctrl-C reaches the lab alone and the lab ends its children in order.
/// The kernel kills it when this process dies, however it dies. Dropping the value kills it too.
#[derive(Debug)]
pub struct Child {
    name: &'static str,
    log: PathBuf,
    process: process::Child,
}

impl Child {
    /// Starts `program` with exactly this environment; what it prints is appended to `log`.
    pub fn spawn(
        name: &'static str,
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
        log: &Path,
    ) -> Result<Self> {
        let opened = File::options().create(true).append(true).open(log);
        let output = opened.map_err(Error::io(format!("open {}", log.display())))?;
        let errors = output
            .try_clone()
            .map_err(Error::io(format!("open {}", log.display())))?;
        let mut command = tied_to_this_process();
        command
            .arg(program)
            .args(arguments)
            .env_clear()
            // setpriv and sh are found by it.
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let process = on_lasting_thread(command).map_err(Error::io(format!(
            "start {name} with setpriv (Debian package util-linux)"
        )))?;
        Ok(Self {
            name,
            log: log.into(),
            process,
        })
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Probes until the child is ready; its end, or a deadline passed, is an error with the last lines of its log.
    pub fn ready<P: ToString>(&mut self, within: Duration, mut probe: impl FnMut() -> Result<(), P>) -> Result<()> {
        let outcome = until(within, || match self.process.try_wait() {
            // Its end is final, so it is an answer and no reason to go on waiting.
            Ok(Some(status)) => Ok(Some(status)),
            _ => probe().map(|()| None),
        });
        let (name, log) = (self.name, self.log.clone());
        match outcome {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended_with(status)),
            Err(problem) => Err(Error::NotReady {
                name,
                within,
                problem: problem.to_string(),
                log,
                tail: self.tail(),
            }),
        }
    }

    /// Its end, if it has ended.
    pub fn ended(&mut self) -> Option<Error> {
        let status = self.process.try_wait().ok().flatten()?;
        Some(self.ended_with(status))
    }

    fn ended_with(&self, status: process::ExitStatus) -> Error {
        Error::Ended {
            name: self.name,
            status: status.to_string(),
            log: self.log.clone(),
            tail: self.tail(),
        }
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// SIGTERM, and SIGKILL for one that has not ended `within`. Returns whether it ended by itself.
    pub fn stop(&mut self, within: Duration) -> bool {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw)
            && self.running()
        {
            // Not reaped yet, so the id is still this child's; one that ends in between takes no harm.
            let _ = kill_process(pid, Signal::TERM);
        }
        let ended = until(within, || if self.running() { Err(()) } else { Ok(()) }).is_ok();
        self.kill();
        ended
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        // Fails only for a child that has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command that the kernel kills with this process. The shell closes the gap before that is arranged: a child of which
/// the parent has died by then has another one, and gives up.
fn tied_to_this_process() -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "sh", "-c", r#"test "$PPID" = "$0" && exec "$@""#])
        .arg(process::id().to_string())
        .process_group(0);
    command
}

/// The kernel means the parent *thread* by its parent-death signal. A test's thread ends with the test, so children are
/// started by a thread that lasts as long as the process.
fn on_lasting_thread(command: Command) -> io::Result<process::Child> {
    type Order = (Command, Sender<io::Result<process::Child>>);
    static ORDERS: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, received) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in received {
                // Nobody waits any more only when the process is on its way out.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, started) = mpsc::channel();
    let gone = || io::Error::other("the thread that starts children has ended");
    orders
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::NO_ENVIRONMENT;
    use crate::directory::Directory;

    fn sleep(log: &Path) -> Child {
        Child::spawn("sleep", Path::new("sleep"), ["60"], NO_ENVIRONMENT, log).expect("sleep starts")
    }

    #[test]
    fn a_child_lives_on_when_the_thread_that_asked_for_it_ends() {
        let directory = Directory::create().expect("a directory");
        let log = directory.path().join("log");
        let asked = thread::spawn(move || {
            let child = sleep(&log);
            // setpriv and sh become sleep: from then on the kernel's signal is arranged.
            until(Duration::from_secs(10), || {
                match fs::read_link(format!("/proc/{}/exe", child.id())) {
                    Ok(program) if program.ends_with("sleep") => Ok(()),
                    other => Err(other),
                }
            })
            .expect("sleep runs");
            child
        });
        let mut child = asked.join().expect("the thread ends");
        // The signal would come a moment after the thread has been joined.
        let ended = until(Duration::from_millis(300), || {
            if child.running() { Err(()) } else { Ok(()) }
        });
        assert!(ended.is_err(), "it has ended with the thread");
        assert!(child.stop(Duration::from_secs(10)), "SIGTERM ends it");
        assert!(!child.running());
    }

    #[test]
    fn a_child_that_ends_early_is_told_by_the_end_of_its_log() {
        let directory = Directory::create().expect("a directory");
        let log = directory.path().join("log");
        let script = ["-c", "echo the port is taken; exit 3"];
        let mut child = Child::spawn("sh", Path::new("sh"), script, NO_ENVIRONMENT, &log).expect("sh starts");
        let error = child
            .ready(Duration::from_secs(10), || Err::<(), _>("not yet"))
            .expect_err("it has ended");
        let text = error.to_string();
        assert!(
            text.contains("exit status: 3") && text.contains("the port is taken"),
            "{text}"
        );
    }
}
