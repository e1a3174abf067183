//! A FreeBSD host as the core sees it.
//!
//! Starting and stopping a jail runs its hooks and its own `/etc/rc`, which takes as long as it takes. On a real host these two operations
//! go on behind the agent's back after a moment's patience, so that one slow jail keeps no other waiting, and go on when the agent dies: who
//! works on a jail is read from the host, not remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cellblock_agent_core::host::{Host, HostError, Performed, STARTING, STOPPING, Wanted};
use cellblock_agent_core::observed::{Observed, Storage, StorageWork};
use cellblock_agent_core::op::Op;

use crate::command::JAIL_TIMEOUT;
use crate::error::Failure;
use crate::observe;
use crate::observe::Orphan;
use crate::perform::Performer;
use crate::perform::jail::Work;
use crate::perform::storage::StorageJob;
use crate::system::System;

/// How many jails may be starting or stopping at once; the next one waits its turn. Each is a process tree of its own.
const JOBS_MAX: usize = 16;

/// How many failures are kept that nobody has asked for. A jail that nobody wants any more is never asked for again.
const FAILED_MAX: usize = 1024;

/// A host, driven by FreeBSD's own tools.
///
/// Every changing command is logged at `debug` with its words and what it read.
pub struct FreeBsd {
    inner: Inner,
    patience: Option<Duration>,
    jobs: Mutex<BTreeMap<String, Job>>,
    /// What is done in the storage of images and roots: one thing after the other, because each takes all that the disk has.
    storage: Mutex<Option<StorageWorkState>>,
    /// What could not be made there, until when it is not tried again. A restarted agent tries at once.
    pauses: Mutex<BTreeMap<String, Pause>>,
    /// Since when each folder of an image is seen with a refusal, by its name.
    refusals: Mutex<BTreeMap<String, Duration>>,
    /// When each jail(8) that another agent has left was seen first, by its command line.
    orphans: Mutex<BTreeMap<String, Duration>>,
}

struct Inner {
    system: Arc<dyn System>,
    folder: String,
    pf: Mutex<()>,
}

/// A jail that is being started or stopped, or was, and failed.
struct Job {
    op: Op,
    /// The jail.conf that it was begun with: what came of it says nothing of another one.
    conf: Option<String>,
    state: State,
}

/// An operation on the storage that goes on, or has failed and was not asked for again yet.
struct StorageWorkState {
    op: Op,
    state: Result<Box<StorageJob>, HostError>,
}

/// How long it is before something is tried again that fails whole, which takes long and fills the disk meanwhile: twice as long each time.
const PAUSE: Duration = Duration::from_secs(60);

/// The longest of these, and how long a refused tarball is not asked for again.
const PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// An operation on the storage that has failed.
struct Pause {
    op: Op,
    error: HostError,
    until: Duration,
    length: Duration,
}

enum State {
    Running(Box<Work>),
    /// Nobody has asked for it again yet.
    Failed(HostError),
}

impl std::fmt::Debug for FreeBsd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct(stringify!(FreeBsd))
            .field("folder", &self.inner.folder)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl FreeBsd {
    /// The host of `system`, with the agent's files below `folder`, an absolute path such as `/var/db/cellblock`.
    #[must_use]
    pub fn new(system: Arc<dyn System>, folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref().to_string_lossy();
        let inner = Inner {
            system,
            folder: folder.trim_end_matches('/').to_owned(),
            pf: Mutex::new(()),
        };
        Self {
            inner,
            patience: None,
            jobs: Mutex::default(),
            storage: Mutex::default(),
            pauses: Mutex::default(),
            refusals: Mutex::default(),
            orphans: Mutex::default(),
        }
    }

    /// Waits only so long for a jail to start or stop; what takes longer goes on, and shows as `busy` in observations.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self {
            patience: Some(patience),
            ..self
        }
    }

    /// What runs the commands.
    #[must_use]
    pub fn system(&self) -> &Arc<dyn System> {
        &self.inner.system
    }

    /// Performs a slow operation on the jail `name`, and goes on without it when it takes longer than `patience`.
    ///
    /// A failure that comes after that is returned when the operation is asked for again, with the same jail.conf.
    fn perform_slowly(
        &self,
        name: &str,
        op: &Op,
        patience: Duration,
    ) -> Result<Performed, HostError> {
        let conf = self.conf_of(op)?;
        let mut jobs = self.refreshed();
        match jobs.remove(name) {
            Some(job) if matches!(job.state, State::Running(_)) => {
                jobs.insert(name.to_owned(), job);
                return Ok(Performed::Begun);
            }
            Some(Job {
                op: known,
                conf: with,
                state: State::Failed(error),
            }) if known == *op && with == conf => return Err(error),
            Some(_) | None => {}
        }
        let running = |job: &&Job| matches!(job.state, State::Running(_));
        if jobs.values().filter(running).count() >= JOBS_MAX {
            return Ok(Performed::Postponed);
        }
        if jobs.len() >= JOBS_MAX + FAILED_MAX {
            jobs.retain(|_, job| matches!(job.state, State::Running(_)));
        }
        let performer = self.inner.performer();
        let begun = performer.begin(op).map_err(HostError::from)?;
        let Some(mut work) = begun else {
            return Ok(Performed::Done);
        };
        if performer
            .go_on(&mut work, patience)
            .map_err(HostError::from)?
        {
            return Ok(Performed::Done);
        }
        let job = Job {
            op: op.clone(),
            conf,
            state: State::Running(Box::new(work)),
        };
        jobs.insert(name.to_owned(), job);
        Ok(Performed::Begun)
    }

    /// Performs an operation on the storage, unless the same has failed a moment ago.
    fn perform_storage(&self, op: &Op, of: &str) -> Result<Performed, HostError> {
        let now = self.system().now();
        let paused = |op: &Op| {
            let pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
            let pause = pauses.get(of).filter(|pause| pause.op == *op)?;
            Some((pause.error.clone(), pause.until, pause.length))
        };
        let before = paused(op);
        if let Some((error, _, _)) = before.clone().filter(|(_, until, _)| now < *until) {
            return Err(error);
        }
        let performed = match self.patience {
            Some(patience) => self.perform_beside(op, patience),
            None => self.inner.perform(op).map(|()| Performed::Done),
        };
        if let Op::FetchImage { .. } = op
            && !matches!(performed, Ok(Performed::Postponed))
        {
            let refusals = self.refusals.lock();
            refusals.unwrap_or_else(PoisonError::into_inner).remove(of);
        }
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        match performed {
            Err(error) if matches!(op, Op::UnpackBase { .. } | Op::MakeRoot { .. }) => {
                let length = before.map_or(PAUSE, |(_, _, length)| PAUSE_MAX.min(length * 2));
                let minutes = length.as_secs() / 60;
                let pause = Pause {
                    op: op.clone(),
                    error: HostError {
                        message: format!("{}; tried again after {minutes} min", error.message),
                        ..error
                    },
                    until: self.system().now() + length,
                    length,
                };
                let error = pause.error.clone();
                pauses.insert(of.to_owned(), pause);
                Err(error)
            }
            Ok(Performed::Done) => {
                pauses.remove(of);
                Ok(Performed::Done)
            }
            performed => performed,
        }
    }

    /// A refusal is told for so long, and then forgotten: what is there may be another file by then.
    fn forget_refusals(&self, storage: &mut Storage) {
        let now = self.system().now();
        let refusals = self.refusals.lock();
        let mut refusals = refusals.unwrap_or_else(PoisonError::into_inner);
        let images = &mut storage.images;
        refusals.retain(|digest, _| {
            let found = images.get(digest);
            found.is_some_and(|found| found.refused.is_some())
        });
        for (digest, found) in images
            .iter_mut()
            .filter(|(_, found)| found.refused.is_some())
        {
            let since = *refusals.entry(digest.clone()).or_insert(now);
            if now.saturating_sub(since) >= PAUSE_MAX {
                found.refused = None;
            }
        }
    }

    /// Performs an operation on the storage beside everything else.
    fn perform_beside(&self, op: &Op, patience: Duration) -> Result<Performed, HostError> {
        let mut slot = self.refreshed_storage();
        match slot.take() {
            Some(StorageWorkState {
                op: known,
                state: Ok(job),
            }) => {
                let performed = if known == *op {
                    Performed::Begun
                } else {
                    Performed::Postponed
                };
                *slot = Some(StorageWorkState {
                    op: known,
                    state: Ok(job),
                });
                return Ok(performed);
            }
            Some(StorageWorkState {
                op: known,
                state: Err(error),
            }) if known == *op => return Err(error),
            Some(_) | None => {}
        }
        let performer = self.inner.performer();
        let begun = performer.begin_storage(op).map_err(HostError::from)?;
        let Some(mut job) = begun else {
            return Ok(Performed::Done);
        };
        if performer
            .go_on_storage(&mut job, patience)
            .map_err(HostError::from)?
        {
            return Ok(Performed::Done);
        }
        *slot = Some(StorageWorkState {
            op: op.clone(),
            state: Ok(Box::new(job)),
        });
        Ok(Performed::Begun)
    }

    /// The work on the storage as it is now: what has ended well is forgotten, a failure waits to be asked for.
    fn refreshed_storage(&self) -> MutexGuard<'_, Option<StorageWorkState>> {
        let performer = self.inner.performer();
        let mut slot = self.storage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(StorageWorkState { state, .. }) = slot.as_mut()
            && let Ok(job) = state
        {
            match performer.go_on_storage(job, Duration::ZERO) {
                Ok(true) => *slot = None,
                Ok(false) => {}
                Err(failure) => *state = Err(failure.into()),
            }
        }
        slot
    }

    /// What is done in the storage, in words.
    fn storage_work(&self) -> Result<Option<StorageWork>, Failure> {
        let slot = self.refreshed_storage();
        let Some(StorageWorkState { state: Ok(job), .. }) = slot.as_ref() else {
            return Ok(None);
        };
        Ok(Some(StorageWork {
            of: job.of.clone(),
            doing: self.inner.performer().doing(job)?,
        }))
    }

    /// The jail.conf that a slow operation goes by.
    fn conf_of(&self, op: &Op) -> Result<Option<String>, HostError> {
        let (Op::StartJail { conf, .. }
        | Op::StopJail {
            conf: Some(conf), ..
        }) = op
        else {
            return Ok(None);
        };
        let text = self.inner.system.read_file(conf);
        text.map_err(|error| HostError::from(Failure::from(error)))
    }

    /// The jobs as they are now: what has ended well is forgotten, a failure waits to be asked for.
    fn refreshed(&self) -> MutexGuard<'_, BTreeMap<String, Job>> {
        let performer = self.inner.performer();
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|_, job| {
            let State::Running(work) = &mut job.state else {
                return true;
            };
            match performer.go_on(work, Duration::ZERO) {
                Ok(ended) => !ended,
                Err(failure) => {
                    job.state = State::Failed(failure.into());
                    true
                }
            }
        });
        jobs
    }

    /// The jails that are being started or stopped, with which of the two: by this agent, or by jail(8)s that one before it has left.
    fn busy(&self) -> Result<BTreeMap<String, String>, Failure> {
        let verb = |op: &Op| {
            if matches!(op, Op::StartJail { .. }) {
                STARTING
            } else {
                STOPPING
            }
        };
        let jobs = self.refreshed();
        let running = jobs
            .iter()
            .filter(|(_, job)| matches!(job.state, State::Running(_)));
        let mut busy: BTreeMap<String, String> = running
            .map(|(name, job)| (name.clone(), verb(&job.op).to_owned()))
            .collect();
        drop(jobs);
        let own: BTreeSet<&str> = busy.keys().map(String::as_str).collect();
        let orphans = observe::orphans(self.system().as_ref(), &self.inner.folder, &own)?;
        self.bound(&orphans)?;
        let orphans = orphans.into_iter();
        busy.extend(orphans.map(|orphan| (orphan.name, orphan.verb.to_owned())));
        Ok(busy)
    }

    /// Kills what works for longer than a jail(8) of this agent may, counted from when it was seen first.
    fn bound(&self, orphans: &[Orphan]) -> Result<(), Failure> {
        let now = self.system().now();
        let mut seen = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|line, _| orphans.iter().any(|orphan| orphan.line == *line));
        for orphan in orphans {
            let since = *seen.entry(orphan.line.clone()).or_insert(now);
            if now.saturating_sub(since) >= JAIL_TIMEOUT {
                tracing::warn!(line = orphan.line, "it does not end and is killed");
                self.system().run(&observe::kill_command(orphan))?;
            }
        }
        Ok(())
    }
}

impl Inner {
    fn performer(&self) -> Performer<'_> {
        Performer {
            system: self.system.as_ref(),
            folder: &self.folder,
            pf: &self.pf,
        }
    }

    fn perform(&self, op: &Op) -> Result<(), HostError> {
        self.performer().perform(op).map_err(HostError::from)
    }
}

impl Host for FreeBsd {
    /// Which jails are busy is read first: one that ends meanwhile is looked at once more, not started twice, and what its jail(8) has left in files is read when it is through.
    fn observe(&self, wanted: &Wanted) -> Result<Observed, HostError> {
        let busy = self.busy().map_err(HostError::from)?;
        let work = self.storage_work().map_err(HostError::from)?;
        let mut observed = observe::look(self.inner.system.as_ref(), &self.inner.folder, wanted)
            .map_err(HostError::from)?;
        if let Some(storage) = &mut observed.storage {
            storage.work = work;
            self.forget_refusals(storage);
        }
        Ok(Observed { busy, ..observed })
    }

    fn perform(&self, op: &Op) -> Result<Performed, HostError> {
        match (op, self.patience) {
            (Op::StartJail { name, .. } | Op::StopJail { name, .. }, Some(patience)) => {
                self.perform_slowly(name, op, patience)
            }
            _ => match op.storage_of() {
                Some(of) => self.perform_storage(op, of),
                None => match self.inner.performer().perform(op) {
                    Ok(()) => Ok(Performed::Done),
                    Err(Failure::RuleRejected { jails, .. }) if !jails.is_empty() => {
                        Ok(Performed::Rejected(jails))
                    }
                    Err(failure) => Err(HostError::from(failure)),
                },
            },
        }
    }
}

#[cfg(test)]
mod tests;
