//! The one thread that writes. It takes all jobs that wait, runs them in one redb transaction, each under a revision of
//! its own, and answers all of them after the one fsync.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use redb::{Database, ReadableDatabase};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::apply::{Batch, Finished};
use super::errors::{Fault, closed, io};
use super::read::Snapshot;
use super::shared::Shared;
use crate::error::{Error, Outcome, Result};

/// How many jobs wait for the writer, and so how many a batch holds at most, before callers wait for a place.
const QUEUE_MAX: usize = 512;

/// How long a write may take. A disk that takes longer is not answering.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Work within a batch.
trait Job: Send {
    /// Does it. An error of the storage spoils the whole batch; a refusal is kept for the answer.
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), Fault>;

    /// Tells the caller, once it is known whether the batch is on disk.
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Work<F, T> {
    work: Option<F>,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<F, T> Job for Work<F, T>
where
    F: FnOnce(&mut Batch<'_>) -> Result<T, Fault> + Send,
    T: Send,
{
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), Fault> {
        let Some(work) = self.work.take() else {
            return Ok(());
        };
        self.outcome = Some(match work(batch) {
            Ok(value) => Ok(value),
            Err(Fault::Refused(error)) => Err(error),
            Err(fault @ Fault::Storage(_)) => return Err(fault),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        // A refusal may rest on a write of the same batch, so it too is only true once that is on disk. A caller that
        // went away does not want to know.
        if let Some(answer) = committed.err().map(Err).or(self.outcome) {
            let _ = self.reply.send(answer);
        }
    }
}

/// Where jobs are handed in. The writer ends when the last one is dropped and its jobs are done.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    jobs: mpsc::Sender<Box<dyn Job>>,
    location: Arc<str>,
}

/// A queue that does not keep the writer alive.
#[derive(Debug)]
pub(super) struct WeakQueue {
    jobs: mpsc::WeakSender<Box<dyn Job>>,
    location: Arc<str>,
}

impl WeakQueue {
    pub(super) fn upgrade(&self) -> Option<Queue> {
        Some(Queue {
            jobs: self.jobs.upgrade()?,
            location: self.location.clone(),
        })
    }
}

impl Queue {
    pub(super) fn downgrade(&self) -> WeakQueue {
        WeakQueue {
            jobs: self.jobs.downgrade(),
            location: self.location.clone(),
        }
    }

    /// Runs work in the next batch and returns its result once the batch is on disk.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T> {
        let (reply, result) = oneshot::channel();
        let job = Box::new(Work {
            work: Some(work),
            outcome: None,
            reply,
        });
        let exchange = async {
            self.jobs
                .send(job)
                .await
                .map_err(|_| closed(&self.location))?;
            result.await.unwrap_or_else(|_| Err(closed(&self.location)))
        };
        timeout(WRITE_TIMEOUT, exchange).await.unwrap_or_else(|_| {
            Err(Error::Unavailable {
                location: self.location.to_string(),
                reason: format!("no write came through for {} s", WRITE_TIMEOUT.as_secs()),
                outcome: Outcome::Unknown,
            })
        })
    }
}

/// Starts the writer of a store.
pub(super) fn start(shared: Arc<Shared>) -> Result<(Queue, JoinHandle<()>)> {
    let (jobs, waiting) = mpsc::channel(QUEUE_MAX);
    let location = Arc::from(shared.location());
    let path = shared.path().to_owned();
    let writer = std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || run(&shared, waiting));
    Ok((
        Queue { jobs, location },
        writer.map_err(|error| io(&path, &error))?,
    ))
}

fn run(shared: &Shared, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
    let mut is_trimming = false;
    loop {
        // While there is something to trim, an idle moment is spent on it.
        let first = match waiting.try_recv() {
            Ok(job) => Some(job),
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) if is_trimming => None,
            Err(TryRecvError::Empty) => match waiting.blocking_recv() {
                Some(job) => Some(job),
                None => return,
            },
        };
        let mut jobs: Vec<_> = first.into_iter().collect();
        while jobs.len() < QUEUE_MAX
            && let Ok(job) = waiting.try_recv()
        {
            jobs.push(job);
        }
        is_trimming = write(shared, jobs);
    }
}

/// Runs a batch and answers it. Returns whether there is more to trim.
fn write(shared: &Shared, mut jobs: Vec<Box<dyn Job>>) -> bool {
    let outcome = if shared.is_open() {
        Ok(())
    } else {
        recover(shared)
    };
    let outcome = outcome.and_then(|()| {
        let batch = shared.with(|database| commit(database, &mut jobs, shared.history_revisions()));
        batch.map_err(|fault| fault.into_error(shared.path()))
    });
    let (committed, is_trimming) = match outcome {
        Ok(Finished::Unchanged) => (Ok(()), false),
        Ok(Finished::Changed {
            revision,
            is_trimming,
        }) => {
            shared.advance(revision);
            (Ok(()), is_trimming)
        }
        Err(error) => {
            tracing::error!(%error, store = shared.location(), "a batch of writes failed");
            // redb does not go on after a failure of its file. If opening it anew fails too, the next batch tries again.
            if let Err(error) = recover(shared) {
                tracing::error!(%error, store = shared.location(), "cannot open the store again");
            }
            (Err(error), false)
        }
    };
    for job in jobs {
        job.answer(committed.clone());
    }
    is_trimming
}

fn commit(
    database: &Database,
    jobs: &mut [Box<dyn Job>],
    history_revisions: u64,
) -> Result<Finished, Fault> {
    let transaction = database.begin_write()?;
    let mut batch = Batch::new(&transaction)?;
    for job in jobs {
        job.run(&mut batch)?;
    }
    let finished = batch.finish(history_revisions)?;
    match finished {
        Finished::Unchanged => transaction.abort()?,
        Finished::Changed { .. } => transaction.commit()?,
    }
    Ok(finished)
}

/// Opens the file anew. Whether the failed batch is in it shows only now.
fn recover(shared: &Shared) -> Result<()> {
    shared.reopen()?;
    let revision = shared.with(|database| Snapshot::new(&database.begin_read()?)?.current());
    shared.advance(revision.map_err(|fault| fault.into_error(shared.path()))?);
    Ok(())
}
