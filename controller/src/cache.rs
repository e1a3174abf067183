//! The watch cache: the index of one store, shared by every reader, and the recent past, shared by every watcher. One store
//! watch feeds it; no client's watch costs the store anything.
//!
//! Decides nothing. [`crate::follow`] writes to it; everybody else reads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;
use cellblock_controller_core::index::{Applied, Event, Index, ObjectEvent, RecordEvent};
use cellblock_schemas::{ClusterUid, Kind};
use tokio::sync::{broadcast, watch};

/// How many transactions a watcher can resume behind. At 200 writes a second this is 40 s, longer than a client needs to
/// reconnect; who was away longer lists again.
const HISTORY_BATCHES_MAX: usize = 8_192;

/// How many bytes of documents the history may hold, so that large objects shorten it rather than fill the memory. As many again at the worst, if all
/// that changed was selected by somebody and is no more.
const HISTORY_BYTES_MAX: usize = 64 << 20;

/// How many transactions a watcher may be behind before it is cut off. Each is a pointer to what all watchers share.
const BEHIND_MAX: usize = 4_096;

/// What one transaction did to objects and to the records of events; never a part of one.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The transaction's revision.
    pub(crate) revision: u64,
    /// At least one, or one of the records.
    pub(crate) events: Vec<ObjectEvent>,
    pub(crate) records: Vec<RecordEvent>,
    /// It is what two snapshots differ by, and not what one transaction did.
    pub(crate) is_difference: bool,
}

/// The events asked for are no longer known: list again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "events after revision {asked} are no longer known, the oldest that can be resumed from is {oldest}; list again and watch from there"
)]
pub(crate) struct Expired {
    pub(crate) asked: u64,
    pub(crate) oldest: u64,
}

/// What a watcher gets: what it missed, and what comes.
pub(crate) struct Subscription {
    /// Batches that have happened, oldest first.
    pub(crate) missed: Vec<Arc<Batch>>,
    /// Batches that will happen.
    pub(crate) coming: broadcast::Receiver<Arc<Batch>>,
}

/// The index and its recent past.
pub(crate) struct Cache {
    inner: RwLock<Inner>,
    applied: watch::Sender<u64>,
    /// The last revision that changed something of ours.
    changed: watch::Sender<u64>,
    ready: watch::Sender<bool>,
    batches: broadcast::Sender<Arc<Batch>>,
    hosts: Mutex<BTreeMap<String, watch::Sender<u64>>>,
}

struct Inner {
    index: Index,
    history: VecDeque<Arc<Batch>>,
    history_bytes: usize,
    /// Everything after this revision is in `history`.
    oldest: u64,
    /// What happened at `oldest` itself, which is not in `history`.
    at_oldest: Edge,
}

/// What is known of the transaction at the edge of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    /// It was one event, or none: who resumes there has read all of it.
    Whole,
    /// It was several, of which who resumes there may have read some; or a snapshot was taken there, which does not have what it removed.
    Unsure,
}

impl Cache {
    pub(crate) fn new(cluster: ClusterUid) -> Self {
        Self {
            inner: RwLock::new(Inner {
                index: Index::new(cluster),
                history: VecDeque::new(),
                history_bytes: 0,
                oldest: 0,
                at_oldest: Edge::Whole,
            }),
            applied: watch::Sender::new(0),
            changed: watch::Sender::new(0),
            ready: watch::Sender::new(false),
            batches: broadcast::Sender::new(BEHIND_MAX),
            hosts: Mutex::new(BTreeMap::new()),
        }
    }

    /// The index as it is now. Never held across an await.
    pub(crate) fn index(&self) -> Reading<'_> {
        Reading(self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in one transaction.
    pub(crate) fn apply(&self, revision: u64, events: Vec<Event>) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let mark = inner.index.keys().mark();
        let is_change = events.iter().any(|event| event.key() != mark);
        let applied = inner.index.apply(revision, events);
        self.publish(&mut inner, applied, false);
        if is_change {
            self.changed.send_replace(revision);
        }
    }

    /// Takes in a whole snapshot. Watchers go on with the difference; who was away before cannot resume, nor who stands at its very
    /// revision, until another one has come.
    pub(crate) fn replace(&self, revision: u64, items: Vec<(String, Bytes, u64)>) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let applied = inner.index.replace(revision, items);
        inner.history.clear();
        inner.history_bytes = 0;
        inner.oldest = revision;
        inner.at_oldest = Edge::Unsure;
        self.publish(&mut inner, applied, true);
        self.changed.send_replace(revision);
        inner.history.clear();
        inner.history_bytes = 0;
    }

    /// Everything that was in the store when it was opened is in.
    pub(crate) fn set_ready(&self) {
        self.ready.send_replace(true);
    }

    /// Nothing happened up to this revision.
    pub(crate) fn progress(&self, revision: u64) {
        if revision > *self.applied.borrow() {
            self.apply(revision, Vec::new());
        }
    }

    /// Publishing happens under the lock, so that a subscriber, who takes it too, neither misses nor repeats a batch.
    fn publish(&self, inner: &mut Inner, applied: Applied, is_difference: bool) {
        for (key, reason) in &applied.unreadable {
            tracing::error!(%key, %reason, "a stored value cannot be read and is passed over");
        }
        let revision = applied.revision;
        if !applied.events.is_empty() || !applied.records.is_empty() {
            let batch = Arc::new(Batch {
                revision,
                events: applied.events,
                records: applied.records,
                is_difference,
            });
            inner.history_bytes += bytes_of(&batch);
            inner.history.push_back(batch.clone());
            while inner.history.len() > HISTORY_BATCHES_MAX
                || inner.history_bytes > HISTORY_BYTES_MAX
            {
                let Some(forgotten) = inner.history.pop_front() else {
                    break;
                };
                inner.history_bytes -= bytes_of(&forgotten);
                inner.oldest = forgotten.revision;
                inner.at_oldest = if forgotten.events.len() + forgotten.records.len() > 1 {
                    Edge::Unsure
                } else {
                    Edge::Whole
                };
            }
            // No receiver is no error: nobody watches.
            let _ = self.batches.send(batch);
        }
        for kind in Kind::ALL {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a gauge is a float, and counts stay far below 2^52"
            )]
            metrics::gauge!("cellblock_objects", "kind" => kind.as_str())
                .set(inner.index.count(kind) as f64);
        }
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        for host in &applied.hosts {
            if let Some(sender) = hosts.get(host) {
                sender.send_replace(revision);
            }
        }
        drop(hosts);
        self.applied.send_replace(revision);
    }

    /// The index, with the guarantee that every batch after it comes through the subscription.
    pub(crate) fn snapshot<T>(&self, read: impl FnOnce(&Index) -> T) -> (T, Subscription) {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let subscription = Subscription {
            missed: Vec::new(),
            coming: self.batches.subscribe(),
        };
        (read(&inner.index), subscription)
    }

    fn missed(&self, inner: &Inner, after: u64) -> Result<Subscription, Expired> {
        if after < inner.oldest {
            return Err(Expired {
                asked: after,
                oldest: inner.oldest,
            });
        }
        let from = inner
            .history
            .partition_point(|batch| batch.revision <= after);
        Ok(Subscription {
            missed: inner.history.range(from..).cloned().collect(),
            coming: self.batches.subscribe(),
        })
    }

    /// Everything after a revision; with what happened at it, if it is several events to who asks, as they may have read only some.
    pub(crate) fn subscribe(
        &self,
        after: u64,
        is_several: impl FnOnce(&Batch) -> bool,
    ) -> Result<Subscription, Expired> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let mut subscription = self.missed(&inner, after)?;
        if after == inner.oldest && inner.at_oldest == Edge::Unsure {
            return Err(Expired {
                asked: after,
                oldest: inner.oldest + 1,
            });
        }
        let found = inner
            .history
            .binary_search_by_key(&after, |batch| batch.revision);
        if let Some(batch) = found.ok().and_then(|place| inner.history.get(place))
            && is_several(batch)
        {
            subscription.missed.insert(0, batch.clone());
        }
        Ok(subscription)
    }

    /// Wakes whenever a host's view may be different.
    pub(crate) fn host_changes(&self, host: &str) -> watch::Receiver<u64> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.retain(|_, sender| sender.receiver_count() > 0);
        hosts
            .entry(host.to_owned())
            .or_insert_with(|| watch::Sender::new(0))
            .subscribe()
    }

    /// The revision up to which everything is in the index, as it grows.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// The revision of the last change of what is kept here, as it grows: not of what is written only for the watch to tell how far it is
    /// ([`crate::newest`]), nor of what others keep in the store.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until the index has reached a revision; false if it has not in time.
    pub(crate) async fn reached(&self, revision: u64, patience: Duration) -> bool {
        let mut applied = self.applied.subscribe();
        let reached = applied.wait_for(|applied| *applied >= revision);
        matches!(tokio::time::timeout(patience, reached).await, Ok(Ok(_)))
    }

    /// Becomes true once everything is in that there was.
    pub(crate) fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }
}

/// A look at the index.
pub(crate) struct Reading<'a>(RwLockReadGuard<'a, Inner>);

impl std::ops::Deref for Reading<'_> {
    type Target = Index;

    fn deref(&self) -> &Index {
        &self.0.index
    }
}

fn bytes_of(batch: &Batch) -> usize {
    let objects = batch.events.iter().map(|event| event.entry.json.len());
    let records = batch.records.iter().map(|event| event.json.len());
    objects.chain(records).sum()
}

#[cfg(test)]
mod tests;
