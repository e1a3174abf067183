//! A crash of the agent at any moment: from then on no command runs, no file changes and no ledger is written, until the agent is started again. And effects that fail under a living agent.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cellblock_agent_core::execute::LedgerFile;
use cellblock_agent_core::host::{HostError, Retry};
use cellblock_agent_core::ledger::journal::Journal;
use cellblock_agent_core::ledger::{Change, Ledger};
use cellblock_fakebsd::log::is_changing;
use cellblock_freebsd::emulated::Emulated;
use cellblock_freebsd::visit::LogPart;
use cellblock_freebsd::{Command, Output, Process, System, SystemError};

use crate::platter::Platter;
use crate::trouble::Trouble;

/// When the agent dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Just before the n-th effect (command of a changing kind, file, ledger write), counted from 0.
    Before(usize),
    /// In the middle of it: what is written beside a file before that is replaced is there, and nothing else; zfs(8) has made a file system and not mounted it, or unmounted it and not destroyed it. Of
    /// everything else it is [`Self::Before`].
    Within(usize),
    /// Just after it: the effect is there, and nobody was told.
    After(usize),
}

/// The fuse that all effects of one agent burn.
#[derive(Clone, Debug, Default)]
pub struct Fuse {
    moment: Option<Moment>,
    troubles: Arc<BTreeMap<usize, Trouble>>,
    effects: Arc<AtomicUsize>,
    dead: Arc<AtomicBool>,
}

impl Fuse {
    /// A fuse that kills at `moment`, or never.
    #[must_use]
    pub fn new(moment: Option<Moment>) -> Self {
        Self {
            moment,
            ..Self::default()
        }
    }

    /// A fuse that does not kill, with effects by their number that do not go well.
    #[must_use]
    pub fn troubled(troubles: BTreeMap<usize, Trouble>) -> Self {
        Self {
            troubles: Arc::new(troubles),
            ..Self::default()
        }
    }

    /// Whether the agent is dead.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Whether the agent dies in the middle of the next effect.
    fn dies_within(&self) -> bool {
        !self.is_dead() && self.moment == Some(Moment::Within(self.effects()))
    }

    /// How many effects there were.
    #[must_use]
    pub fn effects(&self) -> usize {
        self.effects.load(Ordering::Relaxed)
    }

    /// Runs `effect` unless the agent is dead or dies just before it; none if nobody is told of the result. `told` is what is told of an effect that does not go well.
    pub(crate) fn burn<T>(
        &self,
        effect: impl FnOnce() -> T,
        told: impl FnOnce(Trouble) -> T,
    ) -> Option<T> {
        if self.is_dead() {
            return None;
        }
        let number = self.effects.fetch_add(1, Ordering::Relaxed);
        if [Moment::Before(number), Moment::Within(number)]
            .map(Some)
            .contains(&self.moment)
        {
            self.dead.store(true, Ordering::Relaxed);
            return None;
        }
        if let Some(trouble) = self.troubles.get(&number) {
            if trouble.is_done() {
                effect();
            }
            return Some(told(*trouble));
        }
        let result = effect();
        if self.moment == Some(Moment::After(number)) {
            self.dead.store(true, Ordering::Relaxed);
            return None;
        }
        Some(result)
    }
}

/// An emulated host as an agent sees it that may die.
#[derive(Clone, Debug)]
pub struct Crashing {
    /// The host, which lives on.
    pub host: Emulated,
    /// The agent's fuse.
    pub fuse: Fuse,
}

fn dead(action: &'static str) -> SystemError {
    SystemError::File {
        action,
        path: "the agent is dead".to_owned(),
        source: std::io::ErrorKind::BrokenPipe.into(),
    }
}

/// A command of which something else is told than what it did.
struct Told(Option<Output>);

impl Process for Told {
    fn wait(&mut self, _: Duration) -> Result<Option<Output>, SystemError> {
        Ok(self.0.take())
    }
}

impl System for Crashing {
    fn run(&self, command: &Command) -> Result<Output, SystemError> {
        if is_changing(&command.argv) {
            let is_zfs = |program: &String| program.ends_with("/zfs");
            if self.fuse.dies_within() && command.argv.first().is_some_and(is_zfs) {
                self.host.emulator().break_zfs(true);
                // Nobody is told.
                let _ = self.host.run(command);
                self.host.emulator().break_zfs(false);
            }
            self.fuse
                .burn(
                    || self.host.run(command),
                    |trouble| trouble.of_command(command),
                )
                .ok_or_else(|| dead("run"))?
        } else if self.fuse.is_dead() {
            Err(dead("run"))
        } else {
            self.host.run(command)
        }
    }

    fn start(&self, command: &Command) -> Result<Box<dyn Process>, SystemError> {
        let troubled = |trouble: Trouble| {
            let told = trouble.of_command(command);
            told.map(|output| Box::new(Told(Some(output))) as Box<dyn Process>)
        };
        let started = self.fuse.burn(|| self.host.start(command), troubled);
        started.ok_or_else(|| dead("run"))?
    }

    fn now(&self) -> Duration {
        self.host.now()
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, SystemError> {
        if self.fuse.is_dead() {
            Err(dead("read"))
        } else {
            self.host.read_file(path)
        }
    }

    fn write_file(&self, path: &str, content: &str) -> Result<(), SystemError> {
        let was_dead = self.fuse.is_dead();
        let written = self.fuse.burn(
            || self.host.write_file(path, content),
            |_| Err(Trouble::of_file("write", path)),
        );
        if written.is_none()
            && !was_dead
            && matches!(self.fuse.moment, Some(Moment::Within(_)))
            && let Some((folder, name)) = path.rsplit_once('/')
        {
            self.host.write_file(&format!("{folder}/.{name}.new"), "")?;
        }
        written.ok_or_else(|| dead("write"))?
    }

    fn replace_file(&self, path: &str, beside: &str, content: &str) -> Result<(), SystemError> {
        let was_dead = self.fuse.is_dead();
        let written = self.fuse.burn(
            || self.host.replace_file(path, beside, content),
            |_| Err(Trouble::of_file("write", path)),
        );
        if written.is_none() && !was_dead && matches!(self.fuse.moment, Some(Moment::Within(_))) {
            self.host.write_file(beside, "")?;
        }
        written.ok_or_else(|| dead("write"))?
    }

    fn read_log(
        &self,
        path: &str,
        from: u64,
        bytes_max: usize,
    ) -> Result<Option<LogPart>, SystemError> {
        if self.fuse.is_dead() {
            Err(dead("read"))
        } else {
            self.host.read_log(path, from, bytes_max)
        }
    }

    fn remove_file(&self, path: &str) -> Result<(), SystemError> {
        self.fuse
            .burn(
                || self.host.remove_file(path),
                |_| Err(Trouble::of_file("remove", path)),
            )
            .ok_or_else(|| dead("remove"))?
    }

    fn list_dir(&self, path: &str) -> Result<Option<Vec<String>>, SystemError> {
        if self.fuse.is_dead() {
            Err(dead("list"))
        } else {
            self.host.list_dir(path)
        }
    }

    fn real_path(&self, path: &str) -> Result<Option<String>, SystemError> {
        if self.fuse.is_dead() {
            Err(dead("look at"))
        } else {
            self.host.real_path(path)
        }
    }

    fn file_size(&self, path: &str) -> Result<Option<u64>, SystemError> {
        if self.fuse.is_dead() {
            Err(dead("look at"))
        } else {
            self.host.file_size(path)
        }
    }

    fn rotate_file(&self, path: &str, beside: &str, bytes_max: u64) -> Result<(), SystemError> {
        self.fuse
            .burn(
                || self.host.rotate_file(path, beside, bytes_max),
                |_| Err(Trouble::of_file("rotate", path)),
            )
            .ok_or_else(|| dead("rotate"))?
    }
}

/// How much is appended to a ledger's file before it is written anew, in octets: little, so that it happens in every world.
const SLACK: u64 = 2 << 10;

/// A ledger on a disk that outlives the agent. It is written and read as the agent does it; each write of it is one effect.
#[derive(Debug)]
pub struct Disk {
    platter: Platter,
    journal: Journal<Platter>,
    /// The agent's fuse.
    pub fuse: Fuse,
}

impl Default for Disk {
    fn default() -> Self {
        Self::on(Platter::default())
    }
}

impl Disk {
    fn on(platter: Platter) -> Self {
        Self {
            journal: Journal::with_slack(platter.clone(), SLACK),
            platter,
            fuse: Fuse::default(),
        }
    }

    /// Another disk with the same on it.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::on(self.platter.fork())
    }

    /// Reads the ledger, as an agent does that starts.
    ///
    /// # Panics
    /// It cannot be read, which must never be.
    pub fn load(&mut self) -> Ledger {
        self.journal = Journal::with_slack(self.platter.clone(), SLACK);
        let loaded = self.journal.load();
        loaded.expect("what an agent wrote can be read").ledger
    }

    /// Takes the ledger away.
    pub fn wipe(&mut self) {
        *self = Self {
            fuse: self.fuse.clone(),
            ..Self::default()
        };
    }
}

impl LedgerFile for Disk {
    fn append(&mut self, ledger: &Ledger, changes: &[Change]) -> Result<(), HostError> {
        let error = |reason, message: &str| HostError {
            reason,
            message: message.to_owned(),
            retry: Retry::After,
        };
        let journal = RefCell::new(&mut self.journal);
        let full = || Err(error("DiskFull", "no room for the ledger"));
        let burnt = self.fuse.burn(
            || {
                journal
                    .borrow_mut()
                    .append(ledger, changes)
                    .or_else(|_| full())
            },
            |_| {
                // Done or not: the journal was told of a failure, and trusts what it has written no more.
                **journal.borrow_mut() = Journal::with_slack(self.platter.clone(), SLACK);
                full()
            },
        );
        burnt.ok_or_else(|| error("Dead", "the agent is dead"))?
    }
}
