//! What machines and disks there are, and what becomes of them when the world has moved.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::Machines;
use super::disks::Layer;
use super::guest_image::GuestImages;
use super::machine::{self, Disk, Order, Plan};
use crate::engine::Simulator;
use crate::instances::{Instance, Machine};
use crate::region::Region;
use crate::volumes::AttachmentState;

/// Two cores run no more at a time; the others wait as `pending`.
const MOST_MACHINES: usize = 2;

#[derive(Debug)]
pub struct Room {
    images: GuestImages,
    /// By id; none is an empty volume that nobody has written to.
    volumes: BTreeMap<String, Option<Arc<Layer>>>,
    snapshots: BTreeMap<String, Option<Arc<Layer>>>,
    /// By instance.
    running: BTreeMap<String, Running>,
    /// For room, in the order in which they came.
    waiting: VecDeque<String>,
    /// Names the next layer's file.
    layers: u64,
}

#[derive(Debug)]
struct Running {
    orders: UnboundedSender<Order>,
    /// Pulled by dropping it, whatever the machine is doing.
    plug: Option<oneshot::Sender<()>>,
    /// The boot that it was last told to make.
    boot: u32,
    /// How far it was last told to go.
    told: Machine,
    /// The volumes plugged in, and whether each is to be let go.
    plugged: BTreeMap<String, bool>,
    /// What it is told together with a reboot if there is one, for CreateImage makes both.
    freezes: Vec<Disk>,
}

impl Room {
    pub fn new(images: GuestImages) -> Self {
        Self {
            images,
            volumes: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            running: BTreeMap::new(),
            waiting: VecDeque::new(),
            layers: 0,
        }
    }

    /// Its machine is no more.
    pub fn forget(&mut self, instance: &str) {
        self.running.remove(instance);
    }

    /// The order matters: a snapshot is of what is there before anything else is made or written.
    pub fn follow(&mut self, simulator: &Simulator, machines: &Arc<Machines>) {
        for region in simulator.state.regions.values() {
            self.keep_snapshots(region, machines);
            self.keep_volumes(region);
        }
        let regions = || simulator.state.regions.values();
        self.volumes
            .retain(|id, _| regions().any(|region| region.volumes.contains_key(id)));
        self.snapshots
            .retain(|id, _| regions().any(|region| region.snapshots.contains_key(id)));
        for region in regions() {
            for instance in region.instances.values() {
                self.tend(region, instance, machines);
            }
        }
        let wanted = |id: &String| {
            regions().find_map(|region| {
                let instance = region.instances.get(id)?;
                (instance.machine == Machine::Wanted).then_some((region, instance))
            })
        };
        self.waiting.retain(|id| wanted(id).is_some());
        while self.running.len() < MOST_MACHINES
            && let Some(id) = self.waiting.pop_front()
        {
            if let Some((region, instance)) = wanted(&id) {
                self.start(region, instance, machines);
            }
        }
    }

    fn keep_snapshots(&mut self, region: &Region, machines: &Arc<Machines>) {
        for snapshot in region.snapshots.values() {
            if self.snapshots.contains_key(&snapshot.id) {
                continue;
            }
            let content = match &snapshot.copied_from {
                Some(original) => self.snapshots.get(original).cloned().flatten(),
                None if self.volumes.contains_key(&snapshot.volume_id) => {
                    self.freeze(region, &snapshot.volume_id, machines)
                }
                // One that was there from the beginning.
                None => {
                    let image = region.images_of_snapshot(&snapshot.id).next();
                    let image = image.and_then(|id| region.images.get(id));
                    Some(self.images.disk(image.map_or("", |image| image.name.as_str())))
                }
            };
            self.snapshots.insert(snapshot.id.clone(), content);
        }
    }

    /// What is on a volume now. If it is being written to, that goes on in another layer.
    fn freeze(&mut self, region: &Region, volume: &str, machines: &Arc<Machines>) -> Option<Arc<Layer>> {
        let content = self.volumes.get(volume).cloned().flatten();
        let in_use = self
            .running
            .values()
            .any(|machine| machine.plugged.contains_key(volume));
        if let (true, Some(below)) = (in_use, &content) {
            let above = Arc::new(self.new_layer(Some(below.clone()), machines));
            let writers = self.running.values_mut();
            for machine in writers.filter(|machine| machine.plugged.contains_key(volume)) {
                machine.freezes.push(Disk {
                    volume: volume.to_owned(),
                    layer: above.clone(),
                    gibibytes: gibibytes(region, volume),
                });
            }
            self.volumes.insert(volume.to_owned(), Some(above));
        }
        content
    }

    fn new_layer(&mut self, below: Option<Arc<Layer>>, machines: &Arc<Machines>) -> Layer {
        self.layers += 1;
        let path = machines.directory.path().join(format!("layer-{}.qcow2", self.layers));
        Layer::new(path, below)
    }

    fn keep_volumes(&mut self, region: &Region) {
        for volume in region.volumes.values() {
            if let Entry::Vacant(vacant) = self.volumes.entry(volume.id.clone()) {
                let snapshot = volume.snapshot_id.as_ref().and_then(|id| self.snapshots.get(id));
                vacant.insert(snapshot.cloned().flatten());
            }
        }
    }

    /// A volume as a disk that one machine may write to.
    fn writable(&mut self, region: &Region, volume: &str, machines: &Arc<Machines>) -> Disk {
        let content = self.volumes.remove(volume).flatten();
        let layer = match content {
            // Nothing else is made of it.
            Some(layer) if !layer.is_lasting() && Arc::strong_count(&layer) == 1 => layer,
            other => Arc::new(self.new_layer(other, machines)),
        };
        self.volumes.insert(volume.to_owned(), Some(layer.clone()));
        Disk {
            volume: volume.to_owned(),
            layer,
            gibibytes: gibibytes(region, volume),
        }
    }

    /// Brings the machine of one instance to what the engine wants.
    fn tend(&mut self, region: &Region, instance: &Instance, machines: &Arc<Machines>) {
        match (instance.machine, self.running.contains_key(&instance.id)) {
            (Machine::Wanted, false) if !self.waiting.contains(&instance.id) => {
                self.waiting.push_back(instance.id.clone());
            }
            (Machine::On, true) => self.arrange(region, instance, machines),
            (Machine::Off | Machine::ShuttingDown | Machine::Unplugged, true) => self.end(instance),
            // It waits, it is starting, it is no more, or its end is being reported.
            (_, _) => {}
        }
    }

    fn start(&mut self, region: &Region, instance: &Instance, machines: &Arc<Machines>) {
        let mut attached: Vec<(bool, String)> = region
            .attached(&instance.id)
            .filter(|(_, attachment)| attachment.state != AttachmentState::Detaching)
            .map(|(volume, attachment)| (attachment.device != instance.root_device_name, volume.id.clone()))
            .collect();
        // The root first.
        attached.sort();
        let disks: Vec<Disk> = attached
            .into_iter()
            .map(|(_, volume)| self.writable(region, &volume, machines))
            .collect();
        let (orders, received) = unbounded_channel();
        let (plug, pulled) = oneshot::channel();
        let running = Running {
            orders,
            plug: Some(plug),
            // That of the boot that begins when it has started.
            boot: instance.boot + 1,
            told: Machine::On,
            plugged: disks.iter().map(|disk| (disk.volume.clone(), false)).collect(),
            freezes: Vec::new(),
        };
        self.running.insert(instance.id.clone(), running);
        tokio::spawn(machine::run(
            machines.clone(),
            Plan::new(instance, disks),
            received,
            pulled,
        ));
    }

    /// Reboots it, and plugs in and out what has been attached and detached.
    fn arrange(&mut self, region: &Region, instance: &Instance, machines: &Arc<Machines>) {
        let Some(mut running) = self.running.remove(&instance.id) else {
            return;
        };
        // A machine that has ended takes no more orders; its report is on the way.
        let order = |order| drop(running.orders.send(order));
        let freezes = std::mem::take(&mut running.freezes);
        if running.boot != instance.boot {
            running.boot = instance.boot;
            order(Order::Reboot(freezes));
        } else if !freezes.is_empty() {
            order(Order::Freeze(freezes));
        }
        let mut gone = running.plugged.clone();
        for (volume, attachment) in region.attached(&instance.id) {
            let plugged = gone.remove(&volume.id);
            match attachment.state {
                AttachmentState::Attached if plugged.is_none() => {
                    let disk = self.writable(region, &volume.id, machines);
                    order(Order::Plug(disk));
                    running.plugged.insert(volume.id.clone(), false);
                }
                AttachmentState::Detaching if plugged == Some(false) => {
                    order(Order::Unplug(volume.id.clone()));
                    running.plugged.insert(volume.id.clone(), true);
                }
                _ => {}
            }
        }
        for (volume, asked) in gone {
            // Detached by force, which does not ask the guest.
            if !asked {
                order(Order::Unplug(volume.clone()));
            }
            running.plugged.remove(&volume);
        }
        self.running.insert(instance.id.clone(), running);
    }

    fn end(&mut self, instance: &Instance) {
        let wanted = instance.machine;
        let Some(running) = self.running.get_mut(&instance.id) else {
            return;
        };
        // A machine that has ended meanwhile takes no more orders; its report is on the way.
        if !running.freezes.is_empty() {
            let _ = running.orders.send(Order::Freeze(std::mem::take(&mut running.freezes)));
        }
        if running.told != wanted {
            running.told = wanted;
            match wanted {
                Machine::ShuttingDown => drop(running.orders.send(Order::ShutDown)),
                _ => running.plug = None,
            }
        }
    }
}

fn gibibytes(region: &Region, volume: &str) -> u32 {
    region.volumes.get(volume).map_or(1, |volume| volume.specification.size)
}
