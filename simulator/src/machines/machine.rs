//! One machine: a QEMU process, from its start to its end.

use std::fs::File;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::UnixListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until, timeout};

use super::disks::Layer;
use super::qmp::Qmp;
use super::{Machines, metadata};
use crate::instances::{Instance, Report};

/// Enough for Debian with systemd; what an instance type says would fill the host.
const MEBIBYTES: u32 = 512;
/// From the start of the process to its first word.
const START: Duration = Duration::from_secs(30);
/// How long a guest may take to shut down before it is ended, where EC2 waits some minutes.
const SHUT_DOWN: Duration = Duration::from_secs(90);
/// A guest that was not yet listening when its power button was pressed hears it the next time.
const PRESS_AGAIN: Duration = Duration::from_secs(5);

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
    End,
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

/// Runs a machine and reports what becomes of it.
pub async fn run(machines: Arc<Machines>, plan: Plan, mut orders: UnboundedReceiver<Order>) {
    let instance = plan.instance.clone();
    let report = |report| machines.report(&instance, report);
    let mut running = match start(&machines, plan).await {
        Ok(running) => running,
        Err(why) => {
            tracing::warn!(instance, why, "a machine could not be started");
            return report(Report::NotStarted(why));
        }
    };
    report(Report::Started);
    let powered_off = running.live(&mut orders, &report).await;
    // Sockets and log; one that cannot be removed now goes with the directory around it.
    let _ = std::fs::remove_dir_all(machines.directory.path().join(&instance));
    report(Report::Ended { powered_off });
}

struct Running {
    process: Child,
    console: ChildStdout,
    qmp: Qmp,
    /// Which of QEMU's nodes has the newest layer of a volume, and how many there have been.
    nodes: Vec<(String, u32)>,
    /// Held while they are in use, so that their files stay.
    layers: Vec<Arc<Layer>>,
    /// It has been asked to shut down, and is ended if it has not by then.
    shut_down_by: Option<Instant>,
    /// It is to come up again afterwards.
    reboots: Option<Vec<Disk>>,
    _metadata: metadata::Service,
}

async fn start(machines: &Arc<Machines>, plan: Plan) -> Result<Running, String> {
    if plan.architecture != "x86_64" {
        return Err(format!(
            "real guests are x86_64 only, and this one is {}",
            plan.architecture
        ));
    }
    for disk in &plan.disks {
        disk.layer.make(disk.gibibytes).await?;
    }
    let folder = machines.directory.path().join(&plan.instance);
    // Of an earlier start of the same instance.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).map_err(|error| error.to_string())?;
    let listener = UnixListener::bind(folder.join("qmp")).map_err(|error| error.to_string())?;
    let metadata = metadata::Service::start(machines.clone(), &plan.instance, &folder.join("metadata"))?;
    let log = folder.join("qemu.log");
    let errors = File::create(&log).map_err(|error| error.to_string())?;
    let mut process = command(&plan, &folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("QEMU: {error}"))?;
    let console = process.stdout.take().ok_or("QEMU has no output")?;
    let connected = tokio::select! {
        connected = timeout(START, listener.accept()) => connected.map_err(|_| "QEMU does not answer".to_owned())?,
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
        shut_down_by: None,
        reboots: None,
        _metadata: metadata,
    })
}

/// In QEMU's options a comma is written twice.
fn option(path: &std::path::Path) -> String {
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

/// QEMU, killed by the kernel when this process dies, however it dies. The shell closes the gap before that is arranged.
fn command(plan: &Plan, folder: &std::path::Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "sh", "-c", r#"test "$PPID" = "$0" && exec "$@""#])
        .arg(std::process::id().to_string())
        .arg("qemu-system-x86_64")
        .args(accelerator())
        .args(["-no-user-config", "-nodefaults", "-display", "none", "-smp", "1"])
        .args(["-m", &MEBIBYTES.to_string()])
        .args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
    let qmp = option(&folder.join("qmp"));
    command
        .args(["-chardev", &format!("socket,id=qmp,path={qmp}")])
        .args(["-mon", "chardev=qmp,mode=control"]);
    // The guest's only network: an address of its own choice beside that of the metadata service, and no way out. Some clients
    // close their half of a connection before they have an answer, which the service would take for the end of it.
    let socket = option(&folder.join("metadata"));
    let network = format!(
        "user,id=network,ipv6=off,net=169.254.0.0/16,restrict=on,guestfwd=tcp:169.254.169.254:80-cmd:socat -t 10 - UNIX-CONNECT:{socket},,shut-none"
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
    /// Until it ends: reads the console, follows orders. Returns whether it has powered off.
    async fn live(&mut self, orders: &mut UnboundedReceiver<Order>, report: &impl Fn(Report)) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let mut press = Instant::now();
        loop {
            tokio::select! {
                // Everything that the console has shown comes before the end.
                read = self.console.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(length) => report(Report::Console(String::from_utf8_lossy(&buffer[..length]).into_owned())),
                },
                event = self.qmp.event() => match event {
                    Ok(event) => self.hear(&event, report).await,
                    Err(_) => break self.drain(&mut buffer, report).await,
                },
                Some(order) = orders.recv() => {
                    if let Err(why) = self.obey(order).await {
                        tracing::warn!(why, "a machine did not do what it was told");
                    }
                }
                () = sleep_until(press), if self.shut_down_by.is_some() => {
                    press = Instant::now() + PRESS_AGAIN;
                    if let Err(why) = self.press().await {
                        tracing::warn!(why, "a machine did not hear its power button");
                    }
                }
            }
        }
        self.process.wait().await.is_ok_and(|status| status.success())
    }

    /// What the console still has to say when the machine is gone.
    async fn drain(&mut self, buffer: &mut [u8], report: &impl Fn(Report)) {
        while let Ok(length) = self.console.read(buffer).await {
            if length == 0 {
                break;
            }
            report(Report::Console(String::from_utf8_lossy(&buffer[..length]).into_owned()));
        }
    }

    /// Asks the guest to shut down; one that has had its time is not asked.
    async fn press(&mut self) -> Result<(), String> {
        if self.shut_down_by.is_none_or(|by| Instant::now() < by) {
            return self.qmp.ask("system_powerdown", json!({})).await;
        }
        match self.reboots.is_some() {
            true => self.come_up().await,
            false => self.process.start_kill().map_err(|error| error.to_string()),
        }
    }

    /// What becomes of a machine whose guest has powered off.
    async fn on_power_off(&mut self, action: &str) -> Result<(), String> {
        self.qmp.ask("set-action", json!({"shutdown": action})).await
    }

    /// The second half of a reboot.
    async fn come_up(&mut self) -> Result<(), String> {
        self.shut_down_by = None;
        let freezes = self.reboots.take().unwrap_or_default();
        self.freeze(freezes).await?;
        self.on_power_off("poweroff").await?;
        self.qmp.ask("system_reset", json!({})).await?;
        self.qmp.ask("cont", json!({})).await
    }

    async fn freeze(&mut self, freezes: Vec<Disk>) -> Result<(), String> {
        for disk in freezes {
            disk.layer.make(disk.gibibytes).await?;
            let Some((_, layers)) = self.nodes.iter_mut().find(|(name, _)| *name == disk.volume) else {
                return Err(format!("{} is not plugged in", disk.volume));
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

    async fn hear(&mut self, event: &Value, report: &impl Fn(Report)) {
        if event["event"] == "SHUTDOWN" && self.reboots.is_some() {
            if let Err(why) = self.come_up().await {
                tracing::warn!(why, "a machine did not come up again");
            }
            return;
        }
        let device = event["data"]["device"].as_str().unwrap_or_default();
        if event["event"] != "DEVICE_DELETED" || device.is_empty() {
            return;
        }
        if let Some(position) = self.nodes.iter().position(|(volume, _)| volume == device) {
            let (volume, layers) = self.nodes.remove(position);
            if let Err(why) = self
                .qmp
                .ask("blockdev-del", json!({"node-name": node(&volume, layers)}))
                .await
            {
                tracing::warn!(volume, why, "a volume is still in use");
            }
            report(Report::Released { volume });
        }
    }

    async fn obey(&mut self, order: Order) -> Result<(), String> {
        match order {
            Order::Plug(disk) => {
                disk.layer.make(disk.gibibytes).await?;
                self.qmp.ask("blockdev-add", block_device(&disk)).await?;
                self.qmp.ask("device_add", device(&disk.volume, 1)).await?;
                self.nodes.push((disk.volume, 0));
                self.layers.push(disk.layer);
                Ok(())
            }
            Order::Unplug(volume) => self.qmp.ask("device_del", json!({"id": volume})).await,
            Order::Freeze(freezes) => self.freeze(freezes).await,
            Order::Reboot(freezes) => {
                self.shut_down_by.get_or_insert(Instant::now() + SHUT_DOWN);
                self.reboots.get_or_insert_default().extend(freezes);
                self.on_power_off("pause").await
            }
            Order::ShutDown => {
                self.shut_down_by = Some(Instant::now() + SHUT_DOWN);
                let freezes = self.reboots.take().unwrap_or_default();
                self.freeze(freezes).await?;
                self.on_power_off("poweroff").await
            }
            Order::End => self.process.start_kill().map_err(|error| error.to_string()),
        }
    }
}
