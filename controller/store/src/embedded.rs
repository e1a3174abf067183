//! The store in one local file (redb), for where one machine is enough.
//!
//! ```text
//!  callers ──jobs──► writer thread ──one redb transaction, one fsync per batch──► file
//!     │                    └── committed revision ──► watches read the log from where they are
//!     └── reads ──► blocking threads, each on its own snapshot
//! ```
//!
//! Here is the public type and how each call of the trait finds its file. `file` locks and opens, `tables` is the
//! format on disk, `writer` batches, `apply` changes, `read` and `watch` read, `leases` counts time.

mod apply;
mod errors;
mod file;
mod leases;
mod read;
mod shared;
mod tables;
mod watch;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::Result;
use crate::lease::{Lease, LeaseId, whole_seconds};
use crate::model::{Got, Health, Key, ListRequest, Page, Revision};
use crate::store::{BoxFuture, Store};
use crate::transaction::{Committed, Transaction, check_key};
use crate::watch::{Watch, WatchRequest};
use shared::Shared;
use writer::Queue;

/// How many revisions of history are kept by default. History serves lists that are being read and watchers that come
/// back; the controller is its own watch cache, so only its restarts and handovers must be bridged. At 200 writes a
/// second this is 100 s, and with 1.5 KiB objects it takes about 30 MiB of the file.
const HISTORY_REVISIONS: u64 = 20_000;

/// How often a quiet watch reports its progress by default: often enough that a resumed watch is far from compaction.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// How much of the file is kept in memory by default. The controller holds every object in its index anyway, so this
/// serves writes, which touch the same upper pages of each table again and again.
const CACHE_BYTES: usize = 16 << 20;

/// Where the file is and how it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// The file; created if it does not exist. Its folder must exist. A second file beside it, with `.lock` appended to
    /// its name, says which process uses it.
    pub path: PathBuf,
    /// How many revisions can be read at and watched from before they are compacted away by themselves.
    pub history_revisions: u64,
    /// How often a quiet watch reports its progress.
    pub progress_interval: Duration,
    /// How many bytes of the file are kept in memory.
    pub cache_bytes: usize,
}

impl EmbeddedOptions {
    /// The defaults for this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        EmbeddedOptions {
            path: path.into(),
            history_revisions: HISTORY_REVISIONS,
            progress_interval: PROGRESS_INTERVAL,
            cache_bytes: CACHE_BYTES,
        }
    }
}

/// A store in one local file.
///
/// Dropping it finishes the writes that are under way, ends its watches and releases the file.
#[derive(Debug)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    /// None only while being dropped.
    queue: Option<Queue>,
    writer: Option<JoinHandle<()>>,
    sweeper: tokio::task::JoinHandle<()>,
}

impl EmbeddedStore {
    /// Opens the file, or creates it, verifying every page of what is there.
    ///
    /// # Errors
    ///
    /// [`Locked`](crate::Error::Locked) when another process (or this one) has it open,
    /// [`Damaged`](crate::Error::Damaged) when it is not what this program wrote, [`Io`](crate::Error::Io) when the
    /// operating system refuses, [`Full`](crate::Error::Full) when there is no room for a new one.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn open(options: EmbeddedOptions) -> Result<Self> {
        let opening = tokio::task::spawn_blocking(move || Shared::open(options)).await;
        let shared = Arc::new(opening.map_err(|_| errors::closed("opening the store"))??);
        Self::start(shared)
    }

    fn start(shared: Arc<Shared>) -> Result<Self> {
        let (queue, writer) = writer::start(shared.clone())?;
        let sweeper = tokio::spawn(leases::sweep(shared.clone(), queue.downgrade()));
        Ok(EmbeddedStore {
            shared,
            queue: Some(queue),
            writer: Some(writer),
            sweeper,
        })
    }

    fn queue(&self) -> &Queue {
        self.queue
            .as_ref()
            .expect("the queue is taken only in drop")
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.sweeper.abort();
        // The writer ends when this last queue is gone and what was handed in is done.
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // It panics only if redb does, which has been logged then.
            let _ = writer.join();
        }
        self.shared.close();
    }
}

impl Store for EmbeddedStore {
    fn location(&self) -> &str {
        self.shared.location()
    }

    /// One process has the file, and every write goes through it.
    fn is_shared(&self) -> bool {
        false
    }

    fn get<'a>(&'a self, key: &'a Key, at: Option<Revision>) -> BoxFuture<'a, Result<Got>> {
        let key = key.clone();
        Box::pin(async move {
            check_key(&key)?;
            self.shared
                .read(move |snapshot| snapshot.get(&key, at))
                .await
        })
    }

    fn list(&self, request: ListRequest) -> BoxFuture<'_, Result<Page>> {
        Box::pin(self.shared.read(move |snapshot| snapshot.list(&request)))
    }

    fn count<'a>(&'a self, prefix: &'a Key, at: Option<Revision>) -> BoxFuture<'a, Result<u64>> {
        let prefix = prefix.clone();
        Box::pin(
            self.shared
                .read(move |snapshot| snapshot.count(&prefix, at)),
        )
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed>> {
        Box::pin(async move {
            transaction.check()?;
            self.queue()
                .submit(move |batch| batch.commit(&transaction))
                .await
        })
    }

    fn watch(&self, request: WatchRequest) -> Watch {
        let shared = self.shared.clone();
        Watch::spawn(|notices| watch::follow(shared, request, notices))
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease>> {
        Box::pin(async move {
            let seconds = whole_seconds(ttl)?;
            let ttl = Duration::from_secs(seconds);
            let shared = self.shared.clone();
            let granting = self.queue().submit(move |batch| {
                let id = batch.grant(seconds)?;
                // Here, and not only by the caller, who may be gone by now: no lease may be without a clock.
                shared.leases().begin(id, ttl);
                Ok(id)
            });
            let id = granting.await?;
            self.shared.leases().keep_alive(id)?;
            Ok(Lease { id, ttl })
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<Duration>> {
        Box::pin(async move { self.shared.leases().keep_alive(lease) })
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.queue()
                .submit(move |batch| batch.revoke(lease))
                .await?;
            self.shared.leases().end(lease);
            Ok(())
        })
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            revision.check_readable()?;
            self.queue()
                .submit(move |batch| batch.compact(revision))
                .await
        })
    }

    fn current_revision(&self) -> BoxFuture<'_, Result<Revision>> {
        Box::pin(self.shared.read(|snapshot| snapshot.current()))
    }

    fn health(&self) -> BoxFuture<'_, Result<Health>> {
        Box::pin(async move {
            let revision = self.current_revision().await?;
            let size_bytes = self.shared.size_bytes().await?;
            Ok(Health {
                backend: "embedded (redb)".to_owned(),
                revision,
                size_bytes,
                warnings: Vec::new(),
            })
        })
    }
}

#[cfg(test)]
mod tests;
