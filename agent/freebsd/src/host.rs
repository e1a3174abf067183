//! A FreeBSD host as the core sees it.
//!
//! Starting and stopping a jail runs its hooks and its own `/etc/rc`, which takes as long as it takes. On a real host these two operations
//! go on behind the agent's back after a moment's patience, so that one slow jail keeps no other waiting.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cellblock_agent_core::host::{Host, HostError, Performed, Retry, STARTING, STOPPING, Wanted};
use cellblock_agent_core::observed::Observed;
use cellblock_agent_core::op::Op;

use crate::error::Failure;
use crate::observe;
use crate::perform::Performer;
use crate::system::System;

/// How many jails may be starting or stopping at once; the next one waits its turn. Each is a process tree of its own.
const JOBS_MAX: usize = 16;

/// How many failures are kept that nobody has asked for. A jail that nobody wants any more is never asked for again.
const FAILED_MAX: usize = 1024;

/// A host, driven by FreeBSD's own tools.
///
/// Every changing command is logged at `debug` with its words and what it read.
pub struct FreeBsd {
    inner: Arc<Inner>,
    patience: Option<Duration>,
    jobs: Mutex<BTreeMap<String, Job>>,
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

enum State {
    Running(Receiver<Result<(), HostError>>),
    /// Nobody has asked for it again yet.
    Failed(HostError),
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
            inner: Arc::new(inner),
            patience: None,
            jobs: Mutex::default(),
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
            jobs.retain(|_, job| running(&&*job));
        }
        let (send, result) = mpsc::channel();
        let (inner, task) = (Arc::clone(&self.inner), op.clone());
        let spawned = std::thread::Builder::new()
            .name(format!("jail {name}"))
            .spawn(move || {
                // Nobody listens any more when the agent is stopping; the jail goes on.
                let _ = send.send(inner.perform(&task));
            });
        if let Err(error) = spawned {
            let message = format!("no thread for jail `{name}` could be started: {error}");
            return Err(HostError {
                reason: "CommandFailed",
                message,
                retry: Retry::After,
            });
        }
        match result.recv_timeout(patience) {
            Ok(result) => result.map(|()| Performed::Done),
            Err(RecvTimeoutError::Timeout) => {
                jobs.insert(
                    name.to_owned(),
                    Job {
                        op: op.clone(),
                        conf,
                        state: State::Running(result),
                    },
                );
                Ok(Performed::Begun)
            }
            Err(RecvTimeoutError::Disconnected) => {
                let message = format!("the thread for jail `{name}` ended without a result");
                Err(HostError {
                    reason: "CommandFailed",
                    message,
                    retry: Retry::After,
                })
            }
        }
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
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|_, job| {
            let State::Running(result) = &job.state else {
                return true;
            };
            match result.try_recv() {
                Err(TryRecvError::Empty) => true,
                Ok(Err(error)) => {
                    job.state = State::Failed(error);
                    true
                }
                Ok(Ok(())) | Err(TryRecvError::Disconnected) => false,
            }
        });
        jobs
    }

    /// The jails that are being started or stopped, with which of the two.
    fn busy(&self) -> BTreeMap<String, String> {
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
        running
            .map(|(name, job)| (name.clone(), verb(&job.op).to_owned()))
            .collect()
    }
}

impl Inner {
    fn perform(&self, op: &Op) -> Result<(), HostError> {
        let performer = Performer {
            system: self.system.as_ref(),
            folder: &self.folder,
            pf: &self.pf,
        };
        performer.perform(op).map_err(HostError::from)
    }
}

impl Host for FreeBsd {
    /// Which jails are busy is read first: one that ends meanwhile is looked at once more, not started twice.
    fn observe(&self, wanted: &Wanted) -> Result<Observed, HostError> {
        let busy = self.busy();
        let observed = observe::look(self.inner.system.as_ref(), &self.inner.folder, wanted)
            .map_err(HostError::from)?;
        Ok(Observed { busy, ..observed })
    }

    fn perform(&self, op: &Op) -> Result<Performed, HostError> {
        match (op, self.patience) {
            (Op::StartJail { name, .. } | Op::StopJail { name, .. }, Some(patience)) => {
                self.perform_slowly(name, op, patience)
            }
            _ => self.inner.perform(op).map(|()| Performed::Done),
        }
    }
}

#[cfg(test)]
mod tests;
