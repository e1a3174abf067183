//! A host's way to its controllers, by packet trace, and the guard of a change that could cut it off: it outlives the agent, and can die itself.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cellblock_agent_core::guard::{self, Armed, Found, State, TakenBack, take_back};
use cellblock_agent_core::host::{HostError, Retry};
use cellblock_fakebsd::trace::{Origin, Place, Probe, Verdict};
use cellblock_freebsd::emulated::Emulated;
use cellblock_freebsd::{FreeBsd, System as _};

use crate::crash::{Crashing, Fuse, Moment};
use crate::world::FOLDER;

/// The port that controllers listen on.
const PORT: u16 = 7443;

/// How often a guard tries to take back what it could not.
const TRIES_MAX: usize = 3;

/// Where the controller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Its address.
    pub address: IpAddr,
    /// The card of the host, and the VLAN, behind which it is: `vtnet1.30`. Whoever answers elsewhere is somebody else.
    pub behind: String,
}

/// A change under guard, on the disk.
#[derive(Clone, Debug)]
struct Record {
    armed: Armed,
    slot: Slot,
    since: Duration,
    has_guard: bool,
}

#[derive(Clone, Debug)]
enum Slot {
    Armed,
    Undoing,
    Confirmed,
    TakenBack(TakenBack),
}

/// What is beside an emulated host, whether its agent lives or not.
#[derive(Clone, Debug)]
pub struct Lifeline {
    host: Emulated,
    record: Arc<Mutex<Option<Record>>>,
    /// Where the controller is; none: there is none.
    pub controller: Option<Controller>,
    /// The next guard dies at its effect of that number.
    pub guard_dies: Option<Moment>,
    /// How long the agent hangs before it looks for a controller after a change.
    pub hangs: Duration,
}

impl Lifeline {
    pub(crate) fn of(host: Emulated) -> Self {
        Self {
            host,
            record: Arc::default(),
            controller: None,
            guard_dies: None,
            hangs: Duration::ZERO,
        }
    }

    pub(crate) fn fork(&self, host: Emulated) -> Self {
        Self {
            host,
            record: Arc::new(Mutex::new(self.record().clone())),
            ..self.clone()
        }
    }

    /// The same as an agent has it that may die.
    pub(crate) fn seen_by(&self, fuse: Fuse) -> Beside {
        Beside {
            line: self.clone(),
            fuse,
        }
    }

    fn record(&self) -> MutexGuard<'_, Option<Record>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a change is under guard, or was and has not been settled.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.record().is_some()
    }

    /// Whether the host reaches its controller.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        let Some(controller) = &self.controller else {
            return false;
        };
        let probe = Probe::tcp(Origin::Host, controller.address, PORT);
        let trace = self.host.emulator().trace(&probe);
        let place = Place::Outside(controller.behind.clone());
        matches!(trace.verdict, Verdict::Reached { by, .. } if by.place == place)
    }

    /// The guard notices that its agent is dead.
    pub fn agent_ended(&self) {
        self.guard_acts("the agent ended before it was confirmed");
    }

    /// The power fails: the guard is dead too. What is on the disk stays.
    pub fn power_cut(&self) {
        if let Some(record) = &mut *self.record() {
            record.has_guard = false;
        }
    }

    /// The guard looks at the clock.
    pub(crate) fn tick(&self) {
        let late = self.record().as_ref().is_some_and(|record| {
            let waited = self.host.now().saturating_sub(record.since);
            waited >= Duration::from_millis(record.armed.deadline_ms)
        });
        if late {
            self.guard_acts("it was not confirmed in time");
        }
    }

    fn guard_acts(&self, why: &str) {
        let mut record = self.record();
        let Some(record) = record.as_mut().filter(|record| record.has_guard) else {
            return;
        };
        record.has_guard = false;
        if !matches!(record.slot, Slot::Armed) {
            return;
        }
        record.slot = Slot::Undoing;
        let system = Crashing {
            host: self.host.clone(),
            fuse: Fuse::new(self.guard_dies),
        };
        let adapter = FreeBsd::new(Arc::new(system), FOLDER);
        let tries = (0..TRIES_MAX).map(|_| take_back(&adapter, &record.armed.back));
        let errors = tries.last().unwrap_or_default();
        if errors.is_empty() {
            record.slot = Slot::TakenBack(TakenBack {
                why: why.to_owned(),
                at: at(&self.host),
            });
        }
    }
}

fn at(host: &Emulated) -> String {
    format!("{} s", host.now().as_secs())
}

/// What an agent has beside its host.
#[derive(Debug)]
pub(crate) struct Beside {
    line: Lifeline,
    fuse: Fuse,
}

fn dead() -> HostError {
    HostError {
        reason: "Dead",
        message: "the agent is dead".to_owned(),
        retry: Retry::After,
    }
}

fn full() -> HostError {
    HostError {
        reason: "DiskFull",
        message: "no room for the record".to_owned(),
        retry: Retry::After,
    }
}

impl Beside {
    fn write<T>(&self, effect: impl FnOnce(&mut Option<Record>) -> T) -> Result<T, HostError> {
        let done = self
            .fuse
            .burn(|| Ok(effect(&mut self.line.record())), |_| Err(full()));
        done.ok_or_else(dead)?
    }
}

impl guard::Lifeline for Beside {
    fn reach(&self, ms_max: u64) -> Result<(), String> {
        if self.fuse.is_dead() {
            return Err("the agent is dead".to_owned());
        }
        if self.line.is_open() {
            self.line.host.emulator().advance(self.line.hangs);
            self.line.tick();
        }
        if self.line.is_reached() {
            return Ok(());
        }
        let waited = Duration::from_millis(ms_max);
        self.line.host.emulator().advance(waited);
        self.line.tick();
        Err("no answer".to_owned())
    }

    fn found(&self) -> Result<Option<Found>, HostError> {
        if self.fuse.is_dead() {
            return Err(dead());
        }
        let record = self.line.record().clone();
        Ok(record.map(|record| Found {
            state: match record.slot {
                Slot::Armed | Slot::Undoing if record.has_guard => State::Guarded,
                Slot::Armed | Slot::Undoing => State::Orphaned,
                Slot::Confirmed => State::Confirmed,
                Slot::TakenBack(taken_back) => State::TakenBack(taken_back),
            },
            armed: record.armed,
        }))
    }

    fn arm(&self, armed: &Armed) -> Result<(), HostError> {
        let since = self.line.host.now();
        self.write(|record| {
            *record = Some(Record {
                armed: armed.clone(),
                slot: Slot::Armed,
                since,
                has_guard: true,
            });
        })
    }

    fn confirm(&self) -> Result<bool, HostError> {
        self.write(|record| {
            let armed = record
                .as_mut()
                .filter(|record| matches!(record.slot, Slot::Armed));
            let is_armed = armed.is_some();
            if let Some(record) = armed {
                record.slot = Slot::Confirmed;
            }
            is_armed
        })
    }

    fn abandon(&self) {
        if !self.fuse.is_dead() {
            self.line.guard_acts("the agent gave it up");
        }
    }

    fn take_over(&self) -> Result<(), HostError> {
        self.write(|record| {
            if let Some(record) = record {
                record.slot = Slot::Undoing;
            }
        })
    }

    fn forget(&self) -> Result<(), HostError> {
        self.write(|record| *record = None)
    }

    fn now(&self) -> String {
        at(&self.line.host)
    }
}
