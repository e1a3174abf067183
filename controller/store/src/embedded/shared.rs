//! What the store's handle, its writer, its watches and its sweeper share: the open file, the committed revision and
//! the leases' clocks.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use redb::{Database, ReadableDatabase};
use tokio::sync::watch;

use super::EmbeddedOptions;
use super::errors::{Fault, closed, io};
use super::file::{Lock, open, open_or_create};
use super::leases::Leases;
use super::read::Snapshot;
use crate::error::{Error, Result};
use crate::model::Revision;

/// How the file is opened again after a failure.
pub(super) type Reopen = Box<dyn Fn() -> Result<Database> + Send + Sync>;

pub(super) struct Shared {
    options: EmbeddedOptions,
    location: String,
    /// None once closed, and after a failure until the file could be opened again.
    database: RwLock<Option<Database>>,
    reopen: Reopen,
    /// The last committed revision; none once closed.
    head: watch::Sender<Option<Revision>>,
    leases: Leases,
    /// Held until closed, which must not wait for the last task that still knows this store.
    lock: Mutex<Option<Lock>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn open(options: EmbeddedOptions) -> Result<Self> {
        let lock = Lock::take(&options.path)?;
        let database = open_or_create(&options.path, options.cache_bytes)?;
        let (path, cache_bytes) = (options.path.clone(), options.cache_bytes);
        let reopen = Box::new(move || open(&path, cache_bytes, false));
        Self::with_database(options, lock, database, reopen)
    }

    pub(super) fn with_database(
        options: EmbeddedOptions,
        lock: Lock,
        database: Database,
        reopen: Reopen,
    ) -> Result<Self> {
        let start = || -> Result<_, Fault> {
            let snapshot = Snapshot::new(&database.begin_read()?)?;
            Ok((snapshot.current()?, snapshot.leases()?))
        };
        let (revision, leases) = start().map_err(|fault| fault.into_error(&options.path))?;
        Ok(Shared {
            location: options.path.display().to_string(),
            database: RwLock::new(Some(database)),
            reopen,
            head: watch::channel(Some(revision)).0,
            leases: Leases::new(leases),
            options,
            lock: Mutex::new(Some(lock)),
        })
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }

    pub(super) fn path(&self) -> &Path {
        &self.options.path
    }

    pub(super) fn history_revisions(&self) -> u64 {
        self.options.history_revisions
    }

    pub(super) fn progress_interval(&self) -> Duration {
        self.options.progress_interval
    }

    pub(super) fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Tells of every committed revision, and by `None` that the store is closed.
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Revision>> {
        self.head.subscribe()
    }

    /// Tells watches of a committed revision.
    pub(super) fn advance(&self, revision: Revision) {
        self.head.send_replace(Some(revision));
    }

    /// Ends watches and releases the file once the reads under way are done.
    pub(super) fn close(&self) {
        self.head.send_replace(None);
        *self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Runs work on the open file, in this thread.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        // A panic elsewhere cannot leave the option half-written.
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        match guard.as_ref() {
            Some(database) => work(database),
            None => Err(closed(&self.location).into()),
        }
    }

    /// Whether the file is open; the writer opens it again when it is not.
    pub(super) fn is_open(&self) -> bool {
        self.database
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    /// After a failure of the file redb wants it opened anew; no read can be under way meanwhile.
    pub(super) fn reopen(&self) -> Result<()> {
        let mut guard = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Close the old one first: it holds redb's lock.
        *guard = None;
        *guard = Some((self.reopen)()?);
        Ok(())
    }

    /// Runs a read on a snapshot of its own, off the async threads.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Snapshot) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T> {
        let shared = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let answer = shared.with(|database| work(&Snapshot::new(&database.begin_read()?)?));
            answer.map_err(|fault| fault.into_error(shared.path()))
        });
        match reading.await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => Err(Error::Damaged {
                path: self.path().to_owned(),
                reason: "redb cannot make sense of it".to_owned(),
            }),
            Err(_) => Err(closed(&self.location)),
        }
    }

    pub(super) async fn size_bytes(&self) -> Result<u64> {
        let path: &PathBuf = &self.options.path;
        let metadata = tokio::fs::metadata(path).await;
        metadata
            .map(|metadata| metadata.len())
            .map_err(|error| io(path, &error))
    }
}
