//! How new an index is that several controllers write to: it may be a moment behind what another of them has acknowledged, or longer
//! where its watch is interrupted. Whoever must not read the past waits here until it has everything that the store had when they came.
//!
//! As kube-apiserver reads consistently out of its watch cache (kubernetes/apiserver, `pkg/storage/cacher/delegator.go`, `GetList`;
//! `pkg/storage/cacher/delegator/interface.go`, `ShouldDelegateConsistentRead`): one small linearizable read tells the revision of the
//! store, and the answer waits for it. The reads are shared: one is under way at a time, and everybody who came before it began has its
//! answer.
//!
//! A store that nobody else can write to is asked nothing. Called by [`crate::verbs`] and [`crate::writer`]; what goes on without the
//! store (agents' sessions, watches) does not come here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cellblock_store::{Error, Outcome, SharedStore, Transaction};
use tokio::sync::Mutex;

use crate::cache::Cache;

/// How long each step may take: the wait for one's turn to ask, the question, the wait for the index. A second more than a store takes to say why it
/// does not answer.
const PATIENCE: Duration = Duration::from_secs(7);

/// How long the watch may be silent about a revision before something is written for it to tell: the store's revision also moves on with
/// what others keep in it, of which the watch of our own part says nothing. kube-apiserver asks its etcd for progress as often
/// (`pkg/storage/cacher/progress/watch_progress.go`, `progressRequestPeriod`); of an etcd before 3.4.31 that answer cannot be relied on
/// (`pkg/storage/feature/feature_support_checker.go`).
pub(crate) const SILENCE: Duration = Duration::from_millis(100);

/// Whether the index has been seen to be as new as the store since a request came. One for each request.
#[derive(Debug, Default)]
pub(crate) struct Since {
    caught_up: bool,
}

/// Finds out what the store's newest revision is, and waits until the index has it.
pub(crate) struct Newest {
    store: SharedStore,
    cache: Arc<Cache>,
    /// How many have come.
    came: AtomicU64,
    told: Mutex<Told>,
    /// The revision that was written last for the watch to tell.
    marked: Mutex<u64>,
}

/// What the store has said last.
struct Told {
    /// To the first so many who came.
    to: u64,
    revision: Result<u64, Error>,
}

impl Newest {
    pub(crate) fn new(store: SharedStore, cache: Arc<Cache>) -> Self {
        Self {
            store,
            cache,
            came: AtomicU64::new(0),
            told: Mutex::new(Told {
                to: 0,
                revision: Ok(0),
            }),
            marked: Mutex::new(0),
        }
    }

    /// Whether nothing is to be waited for.
    pub(crate) fn is_caught_up(&self, since: &Since) -> bool {
        since.caught_up || !self.store.is_shared()
    }

    /// Returns once the index has everything that was acknowledged before this was called, by whichever controller; at once where that
    /// was found out before for the same request.
    ///
    /// # Errors
    /// The store does not answer, or the index does not get there in time.
    pub(crate) async fn catch_up(&self, since: &mut Since) -> Result<(), Error> {
        if self.is_caught_up(since) {
            return Ok(());
        }
        let revision = self.revision().await?;
        self.in_time(self.reach(revision)).await?;
        since.caught_up = true;
        Ok(())
    }

    /// What it comes to; an error if that takes too long.
    async fn in_time<T>(&self, done: impl Future<Output = T>) -> Result<T, Error> {
        let found = tokio::time::timeout(PATIENCE, done).await;
        found.map_err(|_| Error::Unavailable {
            location: self.store.location().to_owned(),
            reason: "this controller has not heard in time what is newest in it".to_owned(),
            outcome: Outcome::NotApplied,
        })
    }

    async fn reach(&self, revision: u64) {
        if !self.cache.reached(revision, SILENCE).await {
            self.mark(revision).await;
            // The caller's patience ends it.
            self.cache.reached(revision, Duration::MAX).await;
        }
    }

    /// The store's revision, at some moment after this was called. Whose turn it is to ask has all of the patience for it, however long it has
    /// waited: otherwise nobody in a long row would have enough of it left.
    async fn revision(&self) -> Result<u64, Error> {
        let mine = self.came.fetch_add(1, Ordering::AcqRel) + 1;
        let mut told = self.in_time(self.told.lock()).await?;
        if told.to < mine {
            let to = self.came.load(Ordering::Acquire);
            let asked = self.in_time(self.store.current_revision()).await;
            let revision = asked.flatten().map(|revision| revision.0);
            *told = Told { to, revision };
        }
        told.revision.clone()
    }

    /// Writes something for the watch to tell, behind `revision`. Where the store takes no write, the watch tells in its own time.
    async fn mark(&self, revision: u64) {
        let mut marked = self.marked.lock().await;
        let (key, reached) = {
            let index = self.cache.index();
            (index.keys().mark(), index.revision())
        };
        if reached >= revision || *marked >= revision {
            return;
        }
        let mark = Transaction::new().put(key, revision.to_string());
        match self.store.commit(mark).await {
            Ok(committed) => *marked = committed.revision.0,
            Err(error) => {
                tracing::debug!(%error, "cannot write for the watch to tell how far it is");
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
