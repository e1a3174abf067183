//! The one way to write: decide from the index, commit, wait until the index has it. One at a time, so that what one
//! decision gives away the next one knows about.
//!
//! Several controllers may do this on one store: the comparisons in every write make all but the first of two conflicting
//! decisions void, and those are taken again from the newer index.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cellblock_controller_core::admit::Now;
use cellblock_controller_core::index::Index;
use cellblock_controller_core::write::{Change, Expect, OPS_MAX, Write};
use cellblock_schemas::Uid;
use cellblock_store::{Committed, Conflict, Effect, SharedStore, Transaction};
use jiff::{Timestamp, Unit};
use tokio::sync::Mutex;

use crate::cache::Cache;
use crate::newest::{Newest, Since};

const _: () = assert!(OPS_MAX < cellblock_store::OPS_MAX);

/// How often a decision is taken again. Each time somebody else's write came first; this many in a row means that the
/// controllers work against each other.
const ATTEMPTS_MAX: usize = 32;

/// How long a write waits for its turn. A store that is away makes each write wait for its timeout; this bounds what the
/// last one in the queue waits.
const TURN_PATIENCE: Duration = Duration::from_secs(10);

/// How long the index may take to show a write that the store has acknowledged. Longer means that the store's watch is
/// interrupted; the write is safe all the same.
const APPLIED_PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait for the index to show what a write lost against. A deletion has no revision to wait for, so this is
/// short and the decision is simply taken again.
const CONFLICT_PATIENCE: Duration = Duration::from_millis(250);

/// How many changes several independent writes may have together to be committed as one transaction, and how many bytes;
/// both well within what every store takes.
const JOINED_CHANGES_MAX: usize = 100;
const JOINED_BYTES_MAX: usize = 1 << 20;

/// What was decided, and at which revision it was written, if anything was.
#[derive(Debug)]
pub(crate) struct Written<T> {
    pub(crate) value: T,
    pub(crate) revision: Option<u64>,
}

/// Why nothing was written, or why it is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The store refused or did not answer.
    #[error(transparent)]
    Store(#[from] cellblock_store::Error),
    /// The writes before it take too long.
    #[error("too many writes wait for the store; nothing was written, try again")]
    Queued,
    /// Somebody else was always first.
    #[error("{ATTEMPTS_MAX} times in a row somebody else wrote first; try again")]
    Contended,
    /// The write is stored, but this controller has not read it back.
    #[error(
        "stored at revision {0}, but this controller cannot read the store at the moment; do not repeat the write"
    )]
    Unseen(u64),
}

impl WriteError {
    /// Whether it is about this one write, and says nothing of what another would meet.
    pub(crate) fn is_of_this_write(&self) -> bool {
        match self {
            Self::Store(error) => matches!(
                error,
                cellblock_store::Error::TooLarge { .. } | cellblock_store::Error::Invalid(_)
            ),
            Self::Contended => true,
            Self::Queued | Self::Unseen(_) => false,
        }
    }
}

/// Decides and writes, one at a time.
pub(crate) struct Writer {
    store: SharedStore,
    cache: Arc<Cache>,
    newest: Newest,
    turn: Mutex<()>,
}

/// What came of deciding.
enum Decided<T, E> {
    /// It is written.
    Written(Written<T>),
    /// There was nothing to write, on the index as it was at that revision.
    Nothing(Result<T, E>, u64),
}

impl Writer {
    pub(crate) fn new(store: SharedStore, cache: Arc<Cache>) -> Self {
        Self {
            newest: Newest::new(store.clone(), cache.clone()),
            store,
            cache,
            turn: Mutex::new(()),
        }
    }

    /// How new the index is that is decided on.
    pub(crate) fn newest(&self) -> &Newest {
        &self.newest
    }

    async fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, WriteError> {
        let turn = tokio::time::timeout(TURN_PATIENCE, self.turn.lock()).await;
        turn.map_err(|_| WriteError::Queued)
    }

    /// Decides and commits; decides again when somebody else was first. Returns once the index has the write, so that
    /// whoever hears of it also reads it.
    ///
    /// For the controller's own work, which comes to look again at whatever it finds changed. Who answers a client calls
    /// [`Self::write_for`].
    ///
    /// # Cancel safety
    /// When dropped, the write has happened, or will, or never will; never a part of it.
    pub(crate) async fn write<T, E: From<WriteError>>(
        &self,
        mut decide: impl FnMut(&Index, &Now) -> Result<(Option<Write>, T), E> + Send,
    ) -> Result<Written<T>, E> {
        match self.decide(&mut decide).await? {
            Decided::Written(written) => Ok(written),
            Decided::Nothing(value, _) => nothing(value),
        }
    }

    /// The same for who is told what was decided. A write is compared with what the store has; that nothing is to be written, and a
    /// refusal, is compared with nothing, so it is decided again if the index was behind the store (kubernetes/apiserver,
    /// `pkg/storage/etcd3/store.go`, `GuaranteedUpdate`: "It's possible we were working with stale data").
    pub(crate) async fn write_for<T, E: From<WriteError>>(
        &self,
        since: &mut Since,
        mut decide: impl FnMut(&Index, &Now) -> Result<(Option<Write>, T), E> + Send,
    ) -> Result<Written<T>, E> {
        loop {
            // One that is found to be as new as the store stays so for this request, whatever it decides next.
            let was_caught_up = self.newest.is_caught_up(since);
            let (value, at) = match self.decide(&mut decide).await? {
                Decided::Written(written) => return Ok(written),
                Decided::Nothing(value, _) if was_caught_up => return nothing(value),
                Decided::Nothing(value, at) => (value, at),
            };
            let caught_up = self.newest.catch_up(since).await;
            caught_up.map_err(WriteError::from)?;
            if self.cache.index().revision() == at {
                return nothing(value);
            }
        }
    }

    async fn decide<T, E: From<WriteError>>(
        &self,
        decide: &mut (impl FnMut(&Index, &Now) -> Result<(Option<Write>, T), E> + Send),
    ) -> Result<Decided<T, E>, E> {
        let _turn = self.turn().await?;
        for _ in 0..ATTEMPTS_MAX {
            let (decided, at) = {
                let index = self.cache.index();
                (decide(&index, &now()), index.revision())
            };
            let (write, value) = match decided {
                Ok((Some(write), value)) => (write, value),
                Ok((None, value)) => return Ok(Decided::Nothing(Ok(value), at)),
                Err(error) => return Ok(Decided::Nothing(Err(error), at)),
            };
            match self.commit(&write).await {
                Ok(revision) => {
                    return Ok(Decided::Written(Written {
                        value,
                        revision: Some(revision),
                    }));
                }
                Err(CommitError::Lost) => {}
                Err(CommitError::Failed(error)) => return Err(error.into()),
            }
        }
        Err(WriteError::Contended.into())
    }

    /// Decides on several writes that do not depend on each other and commits them in as few transactions as possible. One
    /// that loses is decided again by itself, and one that the store refuses for what it is is left out and logged: the others are written all
    /// the same. Returns once the index has all of them.
    pub(crate) async fn write_all(
        &self,
        mut decide: impl FnMut(&Index, &Now) -> Vec<Write> + Send,
    ) -> Result<(), WriteError> {
        let _turn = self.turn().await?;
        for _ in 0..ATTEMPTS_MAX {
            let writes = decide(&self.cache.index(), &now());
            if writes.is_empty() {
                return Ok(());
            }
            let mut lost = false;
            for joined in join(&writes) {
                match self.commit(&joined.write).await {
                    Ok(_) => continue,
                    Err(CommitError::Lost) => lost = true,
                    Err(CommitError::Failed(error)) => {
                        if let [_] = joined.parts {
                            left_out(&joined.write, error)?;
                        } else if !error.is_of_this_write() {
                            return Err(error);
                        }
                    }
                }
                if joined.parts.len() > 1 {
                    self.commit_each(joined.parts).await?;
                }
            }
            if !lost {
                return Ok(());
            }
        }
        Err(WriteError::Contended)
    }

    /// Commits writes one by one; those that lose are left for the next round.
    async fn commit_each(&self, writes: &[Write]) -> Result<(), WriteError> {
        for write in writes {
            match self.commit(write).await {
                Ok(_) | Err(CommitError::Lost) => {}
                Err(CommitError::Failed(error)) => left_out(write, error)?,
            }
        }
        Ok(())
    }

    async fn commit(&self, write: &Write) -> Result<u64, CommitError> {
        let began = Instant::now();
        let committed = self.store.commit(transaction(write)).await;
        metrics::histogram!("cellblock_store_commit_seconds").record(began.elapsed().as_secs_f64());
        match committed {
            Ok(Committed { revision, effects }) => {
                tracing::debug!(about = ?write.about, %revision, "wrote");
                let changed = effects.contains(&Effect::Changed);
                if changed && !self.cache.reached(revision.0, APPLIED_PATIENCE).await {
                    return Err(CommitError::Failed(WriteError::Unseen(revision.0)));
                }
                Ok(revision.0)
            }
            Err(cellblock_store::Error::Conflict(conflict)) => {
                metrics::counter!("cellblock_store_conflicts_total").increment(1);
                tracing::debug!(about = ?write.about, %conflict, "somebody else was first");
                self.catch_up(&conflict).await;
                Err(CommitError::Lost)
            }
            Err(error) => Err(CommitError::Failed(error.into())),
        }
    }

    async fn catch_up(&self, conflict: &Conflict) {
        let current = conflict
            .failures
            .iter()
            .filter_map(|failure| failure.current.as_ref());
        let newest = current.map(|item| item.modified.0).max();
        let target = newest.unwrap_or_else(|| self.cache.index().revision() + 1);
        self.cache.reached(target, CONFLICT_PATIENCE).await;
    }
}

fn nothing<T, E>(value: Result<T, E>) -> Result<Written<T>, E> {
    Ok(Written {
        value: value?,
        revision: None,
    })
}

/// Passes over a write that the store refuses for what it is.
fn left_out(write: &Write, error: WriteError) -> Result<(), WriteError> {
    if !error.is_of_this_write() {
        return Err(error);
    }
    metrics::counter!("cellblock_writes_refused_total").increment(1);
    tracing::warn!(about = ?write.about, %error, "left out: the store refuses it");
    Ok(())
}

enum CommitError {
    Lost,
    Failed(WriteError),
}

/// The time, to the second as the Kubernetes conventions have it, and a fresh uid.
pub(crate) fn now() -> Now {
    let timestamp = Timestamp::now();
    Now {
        timestamp: timestamp.round(Unit::Second).unwrap_or(timestamp),
        new_uid: Uid(uuid::Uuid::new_v4().to_string()),
    }
}

/// The store's form of a write.
pub(crate) fn transaction(write: &Write) -> Transaction {
    let mut transaction = Transaction::new();
    for (key, expect) in &write.compares {
        let expect = match expect {
            Expect::Absent => cellblock_store::Expect::Absent,
            Expect::At(revision) => {
                cellblock_store::Expect::At(cellblock_store::Revision(*revision))
            }
        };
        transaction = transaction.expect(key.as_str(), expect);
    }
    for change in &write.changes {
        transaction = match change {
            Change::Put(key, value) => transaction.put(key.as_str(), value.clone()),
            Change::Delete(key) => transaction.delete(key.as_str()),
        };
    }
    transaction
}

struct Joined<'a> {
    write: Write,
    parts: &'a [Write],
}

/// Joins neighbouring writes as long as they fit into one transaction.
fn join(writes: &[Write]) -> Vec<Joined<'_>> {
    let mut joined = Vec::new();
    let mut from = 0;
    let mut whole = Write::default();
    let mut bytes = 0;
    for (place, write) in writes.iter().enumerate() {
        let size = transaction(write).size_bytes();
        let fits = whole.changes.len() + write.changes.len() <= JOINED_CHANGES_MAX
            && whole.compares.len() + write.compares.len() <= JOINED_CHANGES_MAX
            && bytes + size <= JOINED_BYTES_MAX;
        if !fits && place > from {
            joined.push(Joined {
                write: std::mem::take(&mut whole),
                parts: &writes[from..place],
            });
            from = place;
            bytes = 0;
        }
        for (key, expect) in &write.compares {
            whole.expect(key.clone(), *expect);
        }
        whole.changes.extend(write.changes.iter().cloned());
        whole.about.extend(write.about.iter().cloned());
        bytes += size;
    }
    if !whole.changes.is_empty() {
        joined.push(Joined {
            write: whole,
            parts: &writes[from..],
        });
    }
    joined
}

#[cfg(test)]
mod tests;
