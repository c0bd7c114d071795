//! A guest's doings in order, until it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use super::console::Records;
use super::instruction::Instruction;
use super::{Boot, Event, Scheduled};
use crate::disk::{Disk, File};

/// Collects events. Once the guest has ended, whatever it is told to do has no effect.
pub(super) struct Timeline<'a> {
    boot: &'a Boot<'a>,
    /// When time zero is, since boot.
    zero: Duration,
    now: Duration,
    power_off_at: Option<Duration>,
    ended: bool,
    silent: bool,
    events: Vec<Scheduled>,
    records: Records,
    /// The root volume as it is now.
    pub(super) disk: Disk,
}

impl<'a> Timeline<'a> {
    pub(super) fn new(boot: &'a Boot<'a>) -> Self {
        Self::since(boot, Duration::ZERO)
    }

    /// From a moment after boot on, which is time zero of the events.
    pub(super) fn since(boot: &'a Boot<'a>, zero: Duration) -> Self {
        Self {
            boot,
            zero,
            now: zero,
            power_off_at: None,
            ended: false,
            silent: false,
            events: Vec::new(),
            records: Records::new(""),
            disk: boot.root.clone(),
        }
    }

    pub(super) fn boot(&self) -> &'a Boot<'a> {
        self.boot
    }

    /// Everything that happened.
    pub(super) fn events(self) -> Vec<Scheduled> {
        self.events
    }

    /// Since boot.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn timestamp(&self) -> jiff::Timestamp {
        self.boot
            .booted
            .saturating_add(self.now)
            .unwrap_or(jiff::Timestamp::MAX)
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// The guest powers off so long from now, if it still runs.
    pub(super) fn power_off_at(&mut self, lifetime: Duration) {
        self.power_off_at = Some(self.now.saturating_add(lifetime));
    }

    /// Time passes; the power-off timer may end the guest on the way.
    pub(super) fn pass(&mut self, duration: Duration) {
        if self.ended {
            return;
        }
        let then = self.now.saturating_add(duration);
        match self.power_off_at {
            Some(at) if at <= then => {
                self.now = at;
                self.power_off();
            }
            _ => self.now = then,
        }
    }

    pub(super) fn pass_scaled(&mut self, seconds: f64) {
        self.pass(self.scaled(seconds));
    }

    pub(super) fn scaled(&self, seconds: f64) -> Duration {
        Duration::try_from_secs_f64(seconds * self.boot.scale).unwrap_or_default()
    }

    /// Nothing more happens but the timer.
    pub(super) fn wait_for_timer(&mut self) {
        if let Some(at) = self.power_off_at {
            self.pass(at.saturating_sub(self.now));
        }
        self.ended = true;
    }

    fn happen(&mut self, event: Event) {
        if !self.ended {
            self.events.push(Scheduled {
                after: self.now.saturating_sub(self.zero),
                event,
            });
        }
    }

    pub(super) fn power_off(&mut self) {
        self.happen(Event::PowerOff);
        self.ended = true;
    }

    /// The kernel is gone, and the timer with it.
    pub(super) fn panic(&mut self) {
        self.console("Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b");
        self.ended = true;
    }

    /// A line on the console, with the kernel's time.
    pub(super) fn console(&mut self, text: &str) {
        let line = format!("[{:12.6}] {text}\r\n", self.now.as_secs_f64());
        self.raw(line);
    }

    pub(super) fn raw(&mut self, text: String) {
        if !self.silent {
            self.happen(Event::Console(text));
        }
    }

    pub(super) fn write(&mut self, path: &str, mode: u32, content: &str) {
        self.happen(Event::Write {
            path: path.to_owned(),
            mode,
            content: content.to_owned(),
        });
        let file = File {
            mode,
            content: content.to_owned(),
            modified: self.timestamp(),
        };
        self.disk.files.insert(path.to_owned(), file);
    }

    pub(super) fn remove(&mut self, path: &str) {
        if self.disk.files.remove(path).is_some() {
            self.happen(Event::Remove { path: path.to_owned() });
        }
    }

    /// The nonce of the records from here on.
    pub(super) fn speak_as(&mut self, nonce: &str) {
        self.records = Records::new(nonce);
    }

    pub(super) fn record(&mut self, payload: &str) {
        let text = self.records.add(payload);
        self.raw(text);
    }

    /// A record that was written before time zero, and is not on the console again by itself.
    pub(super) fn recorded_earlier(&mut self, payload: &str) {
        self.records.add(payload);
    }

    /// Says everything again after each of these pauses.
    pub(super) fn repeat(&mut self, times: u32, pause: Duration) {
        for _ in 0..times {
            self.pass(pause);
            self.raw(self.records.show(40_960));
        }
    }

    /// Does what is about the console, or ends the guest.
    pub(super) fn obey_console(&mut self, instructions: &[Instruction]) {
        for instruction in instructions {
            match instruction {
                Instruction::NoConsole => self.silent = true,
                Instruction::Noise => {
                    let line = "systemd-udevd[241]: device is not ready, trying again\r\n";
                    self.raw(line.repeat(65_536 / line.len() + 1));
                }
                Instruction::Garbage => {
                    let shown = self.records.show(400);
                    let wrong = shown.replace("@goldsmith1 ", "@goldsmith1 0");
                    let torn = &shown[..shown.len() / 2];
                    self.raw(format!(
                        "{wrong}{torn}\0\u{fffd}\u{1b}[31m{torn}@goldsmith1 @goldsmith1 \r\n"
                    ));
                }
                Instruction::Die => self.power_off(),
                Instruction::Panic => self.panic(),
                _ => {}
            }
        }
    }

    /// Files by path, as they are now.
    pub(super) fn files(&self) -> &BTreeMap<String, File> {
        &self.disk.files
    }
}
