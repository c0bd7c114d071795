//! One machine: a QEMU process, from its start to its end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::UnixListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::disks::Layer;
use super::qmp::{self, Qmp};
use super::{Machines, metadata};
use crate::instances::{Instance, Report};

/// Enough for Debian with systemd; what an instance type says would fill the host.
const MEBIBYTES: u32 = 512;
/// Until its disks are made and QEMU has said its first word.
const START: Duration = Duration::from_secs(60);
/// How long a process that has been killed may take to be gone; the kernel can keep one whose disk hangs.
const END: Duration = Duration::from_secs(10);
/// How long QEMU may take to end by itself: it still writes what it knows of its disks.
const QUIT: Duration = qmp::ANSWER;
/// How often a machine is looked at that says nothing.
const WATCH: Duration = Duration::from_secs(5);
/// How long a guest may take to shut down before it is ended, where EC2 waits some minutes.
const SHUT_DOWN: Duration = Duration::from_secs(90);
/// A guest that was not yet listening when its power button was pressed hears it the next time.
const PRESS_AGAIN: Duration = Duration::from_secs(5);

/// What the kernel says last of all when it panics and is not to reboot by itself.
const PANIC: &str = "---[ end Kernel panic";
/// More than one line of a console.
const LAST_BYTES: usize = 1024;
/// What QEMU complains of.
const LOG: &str = "qemu.log";
/// What QEMU complains of when it could not write what it knows of a disk before it ended; its status is 0 all the same.
const NOT_WRITTEN: &str = "Failed to flush";
/// Runs what follows if its parent is still alive. Each of a guest's connections takes a file and a process of the host. Where
/// fewer files are allowed already, these are the bound.
const BOUNDED: &str = r#"test "$PPID" = "$0" && { ulimit -n 256 2>/dev/null || :; } && exec "$@""#;

/// A volume as its machine gets it.
#[derive(Debug)]
pub struct Disk {
    pub volume: String,
    pub layer: Arc<Layer>,
    pub gibibytes: u32,
}

/// What a running machine is told.
#[derive(Debug)]
pub enum Order {
    Plug(Disk),
    Unplug(String),
    /// What is on these volumes stays as it is, and what is written from now on goes into the layers given.
    Freeze(Vec<Disk>),
    /// Shut down, with this done while nothing is written, and up again.
    Reboot(Vec<Disk>),
    ShutDown,
}

/// What a machine is made of.
#[derive(Debug)]
pub struct Plan {
    instance: String,
    instance_type: String,
    architecture: String,
    mac_address: String,
    /// The root first.
    disks: Vec<Disk>,
}

impl Plan {
    pub fn new(instance: &Instance, disks: Vec<Disk>) -> Self {
        Self {
            instance: instance.id.clone(),
            instance_type: instance.instance_type.clone(),
            architecture: instance.architecture.clone(),
            mac_address: instance.network_interface.mac_address.clone(),
            disks,
        }
    }
}

/// Whether everything is there that a machine needs.
pub fn check_programs() -> Result<(), String> {
    let programs = [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("qemu-img", "qemu-utils"),
        ("socat", "socat"),
        ("setpriv", "util-linux"),
    ];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| !there(program))
        .map(|(_, package)| *package)
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "real guests need programs that are missing here; on Debian: sudo apt-get install --no-install-recommends {}",
            missing.join(" ")
        )),
    }
}

/// Runs a machine and reports what becomes of it. It ends at once when its plug is pulled.
pub async fn run(
    machines: Arc<Machines>,
    plan: Plan,
    mut orders: UnboundedReceiver<Order>,
    mut pulled: oneshot::Receiver<()>,
) {
    let instance = plan.instance.clone();
    let folder = machines.directory.path().join(&instance);
    let report = |report| machines.report(&instance, report);
    let started = tokio::select! {
        started = timeout(START, start(&machines, plan, &folder)) => {
            started.unwrap_or_else(|_| Err("QEMU does not start".to_owned())).map(Some)
        }
        _ = &mut pulled => Ok(None),
    };
    let lost = match started {
        Ok(Some(mut running)) => {
            report(Report::Started);
            let lived = tokio::select! {
                lived = running.live(&mut orders, &report) => lived,
                _ = &mut pulled => Ok(()),
            };
            running.end(&report).await;
            lived.err()
        }
        Ok(None) => None,
        Err(why) => {
            tracing::warn!(instance, why, "a machine could not be started");
            return report(Report::NotStarted(why));
        }
    };
    if let Some(why) = &lost {
        let said = std::fs::read_to_string(folder.join(LOG)).unwrap_or_default();
        let said = said.lines().last().unwrap_or_default();
        tracing::warn!(instance, why, qemu = said, "a machine was lost");
    }
    // Sockets and log; one that cannot be removed now goes with the directory around it.
    let _ = std::fs::remove_dir_all(folder);
    report(Report::Ended { lost });
}

struct Running {
    process: Child,
    console: ChildStdout,
    qmp: Qmp,
    /// Which of QEMU's nodes has the newest layer of a volume, and how many there have been.
    nodes: Vec<(String, u32)>,
    /// Held while they are in use, so that their files stay.
    layers: Vec<Arc<Layer>>,
    /// Where its sockets and its log are, beside the layers.
    folder: PathBuf,
    /// Of the console: what may be the first half of a character, and its last lines.
    half: Vec<u8>,
    last: String,
    /// It has been asked to shut down, and is ended if it has not by then.
    shut_down_by: Option<Instant>,
    /// It is to come up again afterwards.
    reboots: Option<Vec<Disk>>,
    _metadata: metadata::Service,
}

async fn start(machines: &Arc<Machines>, plan: Plan, folder: &Path) -> Result<Running, String> {
    if plan.architecture != "x86_64" {
        return Err(format!(
            "real guests are x86_64 only, and this one is {}",
            plan.architecture
        ));
    }
    for disk in &plan.disks {
        disk.layer.make(disk.gibibytes).await?;
    }
    let wrong = |error: std::io::Error| format!("can't use {}: {error}", folder.display());
    // Of an earlier start of the same instance.
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir(folder).map_err(wrong)?;
    let listener = UnixListener::bind(folder.join("qmp")).map_err(wrong)?;
    let metadata = metadata::Service::start(machines.clone(), &plan.instance, &folder.join("metadata"))?;
    let log = folder.join(LOG);
    let errors = File::create(&log).map_err(wrong)?;
    let mut process = command(&plan, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("QEMU: {error}"))?;
    let console = process.stdout.take().ok_or("QEMU has no output")?;
    let connected = tokio::select! {
        connected = listener.accept() => connected,
        ended = process.wait() => {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(format!("QEMU has ended, {status}: {}", said.trim()));
        }
    };
    let (stream, _) = connected.map_err(|error| error.to_string())?;
    Ok(Running {
        process,
        console,
        qmp: Qmp::greet(stream).await?,
        nodes: plan.disks.iter().map(|disk| (disk.volume.clone(), 0)).collect(),
        layers: plan.disks.into_iter().map(|disk| disk.layer).collect(),
        folder: folder.to_owned(),
        half: Vec::new(),
        last: String::new(),
        shut_down_by: None,
        reboots: None,
        _metadata: metadata,
    })
}

/// In QEMU's options a comma is written twice.
fn option(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Stock kernels run under KVM only where the processor really has it.
fn accelerator() -> &'static [&'static str] {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let able = processor
        .split_ascii_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm");
    let allowed = File::options().read(true).write(true).open("/dev/kvm").is_ok();
    match able && allowed {
        true => &["-accel", "kvm", "-cpu", "host"],
        // By default QEMU takes an eighth of the host's memory for translated code alone.
        false => &["-accel", "tcg,tb-size=256"],
    }
}

/// QEMU, killed by the kernel when this process dies, however it dies. The shell closes the gap before that is arranged, and
/// takes from it what it has no need of, should a guest get hold of it.
fn command(plan: &Plan, folder: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        // What else is in this process's environment is no business of guests.
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .args(["--pdeathsig", "KILL", "--no-new-privs", "sh", "-c", BOUNDED])
        .arg(std::process::id().to_string())
        .arg("qemu-system-x86_64")
        .args(accelerator())
        .args(["-sandbox", "on,resourcecontrol=deny"])
        // What has powered off is looked at before it ends.
        .args(["-action", "shutdown=pause"])
        .args(["-no-user-config", "-nodefaults", "-display", "none", "-smp", "1"])
        .args(["-m", &MEBIBYTES.to_string()])
        .args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
    let qmp = option(&folder.join("qmp"));
    command
        .args(["-chardev", &format!("socket,id=qmp,path={qmp}")])
        .args(["-mon", "chardev=qmp,mode=control"]);
    // The guest's only network: an address of its own choice beside that of the metadata service, and no way out. Some clients
    // close their half of a connection before they have an answer, which the service would take for the end of it. What socat
    // complains of is no guest's business.
    let socket = option(&folder.join("metadata"));
    let network = format!(
        "user,id=network,ipv6=off,net=169.254.0.0/16,restrict=on,guestfwd=tcp:169.254.169.254:80-cmd:socat -lf/dev/null -t 1 - UNIX-CONNECT:{socket},,shut-none"
    );
    command.args(["-netdev", &network]).args([
        "-device",
        &format!("virtio-net-pci,netdev=network,romfile=,mac={}", plan.mac_address),
    ]);
    // By these cloud-init and systemd see that they are in EC2.
    let digits: String = plan.instance.trim_start_matches("i-").chars().take(17).collect();
    let digits = format!("{:0<29}", digits);
    let uuid = format!(
        "ec2{}-{}-{}-{}-{}",
        &digits[..5],
        &digits[5..9],
        &digits[9..13],
        &digits[13..17],
        &digits[17..]
    );
    command
        .args(["-uuid", &uuid])
        .args(["-smbios", "type=0,vendor=Amazon EC2,version=1.0"])
        .arg("-smbios")
        .arg(format!(
            "type=1,manufacturer=Amazon EC2,product={},uuid={uuid},serial={uuid}",
            plan.instance_type
        ))
        .arg("-smbios")
        .arg(format!("type=2,manufacturer=Amazon EC2,asset={}", plan.instance));
    for (number, disk) in (0..).zip(&plan.disks) {
        command
            .args(["-blockdev", &block_device(disk).to_string()])
            .args(["-device", &device(&disk.volume, number).to_string()]);
    }
    command
}

/// A volume, for QEMU.
fn block_device(disk: &Disk) -> Value {
    json!({
        "driver": "qcow2",
        "node-name": node(&disk.volume, 0),
        // Nothing here outlives the host.
        "cache": {"no-flush": true},
        "file": {"driver": "file", "filename": disk.layer.path(), "cache": {"no-flush": true}},
    })
}

/// As Nitro shows volumes: NVMe, the id without its dash as the serial number.
fn device(volume: &str, number: u32) -> Value {
    let mut device = json!({
        "driver": "nvme",
        "id": volume,
        "drive": node(volume, 0),
        "serial": volume.replace('-', ""),
    });
    if number == 0 {
        device["bootindex"] = json!(0);
    }
    device
}

/// The name of a volume's layer in QEMU: that of the volume's first, and of those put over it.
fn node(volume: &str, layers: u32) -> String {
    match layers {
        0 => volume.to_owned(),
        more => format!("{volume}.{more}"),
    }
}

impl Running {
    /// Reads the console and follows orders until it has powered off or has had its time to. An error says why it is lost.
    async fn live(&mut self, orders: &mut UnboundedReceiver<Order>, report: &impl Fn(Report)) -> Result<(), String> {
        let mut buffer = vec![0; 64 * 1024];
        let mut press = Instant::now();
        let mut watch = interval(WATCH);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let over = tokio::select! {
                read = self.console.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return Err("QEMU has ended".to_owned()),
                    Ok(length) => {
                        self.show(&buffer[..length], report);
                        false
                    }
                },
                event = self.qmp.event() => self.hear(&event?, report).await?,
                Some(order) = orders.recv() => {
                    self.obey(order).await?;
                    false
                }
                () = sleep_until(press), if self.shut_down_by.is_some() => {
                    press = Instant::now() + PRESS_AGAIN;
                    self.press().await?
                }
                _ = watch.tick() => {
                    self.watch().await?;
                    false
                }
            };
            if over {
                return Ok(());
            }
        }
    }

    fn show(&mut self, read: &[u8], report: &impl Fn(Report)) {
        self.half.extend_from_slice(read);
        let whole = match std::str::from_utf8(&self.half) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.half.len(),
        };
        let rest = self.half.split_off(whole);
        let text = String::from_utf8_lossy(&std::mem::replace(&mut self.half, rest)).into_owned();
        self.last.push_str(&text);
        if let Some(from) = self.last.len().checked_sub(LAST_BYTES) {
            self.last.drain(..self.last.ceil_char_boundary(from));
        }
        report(Report::Console(text));
    }

    /// Ends it if it has not ended yet. Everything that the console has shown comes before that.
    async fn end(&mut self, report: &impl Fn(Report)) {
        // It may be gone.
        let _ = self.process.start_kill();
        let mut buffer = vec![0; 64 * 1024];
        let gone = async {
            while let Ok(length @ 1..) = self.console.read(&mut buffer).await {
                self.show(&buffer[..length], report);
            }
            self.process.wait().await
        };
        if timeout(END, gone).await.is_err() {
            tracing::warn!(folder = %self.folder.display(), "a machine was killed and is still there");
        }
    }

    /// Makes sure that it is what it is taken for, and halts one that does nothing any more.
    async fn watch(&mut self) -> Result<(), String> {
        // QEMU tells the guest of what it cannot read or write, as a broken disk would, and nobody else.
        let disks = self.qmp.ask("query-blockstats", json!({})).await?;
        let failures = |disk: &Value| {
            let stats = &disk["stats"];
            [&stats["failed_rd_operations"], &stats["failed_wr_operations"]]
                .map(|count| count.as_u64().unwrap_or_default())
        };
        if disks
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(failures)
            .any(|count| count > 0)
        {
            return Err(self.disk_failure());
        }
        if self.has_panicked() {
            // Nothing comes after that, and a processor would be busy with it for ever.
            self.qmp.ask("stop", json!({})).await?;
        }
        Ok(())
    }

    fn has_panicked(&self) -> bool {
        let line = self.last.trim_end().lines().last().unwrap_or_default();
        line.contains(PANIC)
    }

    fn disk_failure(&self) -> String {
        let directory = self.folder.parent().unwrap_or(&self.folder);
        format!("A disk could not be read or written: is {} full?", directory.display())
    }

    /// Asks the guest to shut down; one that has had its time, or hears nothing any more, is not asked, and it is over with it
    /// or it comes up again.
    async fn press(&mut self) -> Result<bool, String> {
        if !self.has_panicked() && self.shut_down_by.is_none_or(|by| Instant::now() < by) {
            self.qmp.ask("system_powerdown", json!({})).await?;
            return Ok(false);
        }
        match self.reboots.is_some() {
            true => self.come_up().await.map(|()| false),
            false => Ok(true),
        }
    }

    /// The second half of a reboot.
    async fn come_up(&mut self) -> Result<(), String> {
        self.shut_down_by = None;
        let freezes = self.reboots.take().unwrap_or_default();
        self.freeze(freezes).await?;
        self.qmp.ask("system_reset", json!({})).await?;
        // It is a new boot's, a panic of the one before is over.
        self.last.clear();
        self.qmp.ask("cont", json!({})).await?;
        Ok(())
    }

    async fn freeze(&mut self, freezes: Vec<Disk>) -> Result<(), String> {
        for disk in freezes {
            disk.layer.make(disk.gibibytes).await?;
            let Some((_, layers)) = self.nodes.iter_mut().find(|(name, _)| *name == disk.volume) else {
                // QEMU has refused it, or the guest has just let go of it: nothing is written to it.
                tracing::warn!(
                    volume = disk.volume,
                    "a volume that is not plugged in needs no freezing"
                );
                continue;
            };
            *layers += 1;
            let arguments = json!({
                "node-name": node(&disk.volume, *layers - 1),
                "snapshot-file": disk.layer.path(),
                "snapshot-node-name": node(&disk.volume, *layers),
                "format": "qcow2",
                // QEMU would say on the console that it makes one.
                "mode": "existing",
            });
            self.layers.push(disk.layer);
            self.qmp.ask("blockdev-snapshot-sync", arguments).await?;
        }
        Ok(())
    }

    /// Whether it has powered off, and all that it has written is on its disks.
    async fn hear(&mut self, event: &Value, report: &impl Fn(Report)) -> Result<bool, String> {
        if event["event"] == "SHUTDOWN" {
            if self.reboots.is_some() {
                self.come_up().await?;
                return Ok(false);
            }
            self.watch().await?;
            // Its answer may be lost with it.
            let _ = self.qmp.ask("quit", json!({})).await;
            if timeout(QUIT, self.process.wait()).await.is_err() {
                return Err("QEMU does not end".to_owned());
            }
            let said = std::fs::read_to_string(self.folder.join(LOG)).unwrap_or_default();
            return match said.contains(NOT_WRITTEN) {
                true => Err(self.disk_failure()),
                false => Ok(true),
            };
        }
        let device = event["data"]["device"].as_str().unwrap_or_default();
        if event["event"] != "DEVICE_DELETED" || device.is_empty() {
            return Ok(false);
        }
        if let Some(position) = self.nodes.iter().position(|(volume, _)| volume == device) {
            let (volume, layers) = self.nodes.remove(position);
            let free = json!({"node-name": node(&volume, layers)});
            if let Err(why) = self.qmp.offer("blockdev-del", free).await? {
                tracing::warn!(volume, why, "a volume is still in use");
            }
            report(Report::Released { volume });
        }
        Ok(false)
    }

    async fn obey(&mut self, order: Order) -> Result<(), String> {
        match order {
            Order::Plug(disk) => {
                disk.layer.make(disk.gibibytes).await?;
                let there = self.qmp.offer("blockdev-add", block_device(&disk)).await?;
                let plugged = match there {
                    Ok(_) => self.qmp.offer("device_add", device(&disk.volume, 1)).await?,
                    refused => refused,
                };
                match plugged {
                    Ok(_) => self.nodes.push((disk.volume, 0)),
                    Err(why) => tracing::warn!(volume = disk.volume, why, "a volume could not be plugged in"),
                }
                self.layers.push(disk.layer);
            }
            Order::Unplug(volume) => {
                if let Err(why) = self.qmp.offer("device_del", json!({"id": volume})).await? {
                    tracing::warn!(volume, why, "a volume could not be unplugged");
                }
            }
            Order::Freeze(freezes) => self.freeze(freezes).await?,
            Order::Reboot(freezes) => {
                self.shut_down_by.get_or_insert(Instant::now() + SHUT_DOWN);
                self.reboots.get_or_insert_default().extend(freezes);
            }
            Order::ShutDown => {
                self.shut_down_by = Some(Instant::now() + SHUT_DOWN);
                let freezes = self.reboots.take().unwrap_or_default();
                self.freeze(freezes).await?;
            }
        }
        Ok(())
    }
}
