//! What a watch is asked for and what it delivers. How changes are found out is each backend's own business.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::Result;
use crate::model::{Key, KeyValue, Revision};

/// How many notices wait for a slow reader before its watch stops reading from the store. Enough to ride out a pause of
/// the reader, small because each notice may be a megabyte; beyond it the backlog stays in the store, where it is
/// bounded by compaction.
pub(crate) const NOTICES_WAITING_MAX: usize = 128;

/// What to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRequest {
    /// Keys that begin with this; the empty key watches everything.
    pub prefix: Key,
    /// Changes after this revision: that of the list or read which the watcher starts from.
    pub after: Revision,
    /// Whether events say what was there before.
    pub previous: bool,
}

impl WatchRequest {
    /// Changes to a prefix after a revision, without what was there before.
    pub fn new(prefix: impl Into<Key>, after: Revision) -> Self {
        WatchRequest {
            prefix: prefix.into(),
            after,
            previous: false,
        }
    }

    /// With what was there before in every event, which costs the store another read for each.
    pub fn with_previous(mut self) -> Self {
        self.previous = true;
        self
    }
}

/// A change to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was written. `item.created == item.modified` when it did not exist before.
    Put {
        /// The item as it is at the notice's revision.
        item: KeyValue,
        /// The item before, if asked for, if there was one, and if it is not compacted away.
        previous: Option<KeyValue>,
    },
    /// It was removed, or vanished with its lease.
    Delete {
        /// The key.
        key: Key,
        /// The item before, if asked for and not compacted away.
        previous: Option<KeyValue>,
    },
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &Key {
        match self {
            Event::Put { item, .. } => &item.key,
            Event::Delete { key, .. } => key,
        }
    }
}

/// What a watch delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Everything that one transaction did to the prefix, ordered by key.
    Changes {
        /// The transaction's revision.
        revision: Revision,
        /// At least one.
        events: Vec<Event>,
    },
    /// Everything up to and including this revision has been delivered: a watch begun anew from here misses nothing.
    /// Comes now and then while the prefix is quiet, as often as the store is configured to.
    Progress {
        /// That revision.
        revision: Revision,
    },
}

impl Notice {
    /// The revision up to which everything has been delivered once this notice is processed.
    pub fn revision(&self) -> Revision {
        match self {
            Notice::Changes { revision, .. } | Notice::Progress { revision } => *revision,
        }
    }
}

/// A running watch: a stream of notices. After an error it ends.
///
/// # Errors
///
/// [`Compacted`](crate::Error::Compacted) when the history it needs is gone: list again and watch from that revision.
/// [`FutureRevision`](crate::Error::FutureRevision) when the store is older than what the watcher has seen.
/// [`Denied`](crate::Error::Denied), [`Tls`](crate::Error::Tls) and [`Damaged`](crate::Error::Damaged) as everywhere.
/// A store that does not answer is no error: the watch goes on where it was when the store is back.
///
/// # Cancel safety
///
/// [`Watch::next`] may be dropped and called again without losing a notice. Dropping the watch ends it.
#[derive(Debug)]
pub struct Watch {
    notices: mpsc::Receiver<Result<Notice>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Runs `follow` until it returns an error or the watch is dropped.
    pub(crate) fn spawn<F, Fut>(follow: F) -> Self
    where
        F: FnOnce(NoticeSender) -> Fut,
        Fut: Future<Output = Result<(), Stop>> + Send + 'static,
    {
        let (sender, notices) = mpsc::channel(NOTICES_WAITING_MAX);
        let errors = sender.clone();
        let following = follow(NoticeSender(sender));
        let task = tokio::spawn(async move {
            if let Err(Stop::Failed(error)) = following.await {
                // A closed channel means that nobody is interested in the error either.
                let _ = errors.send(Err(error)).await;
            }
        });
        Watch { notices, task }
    }

    /// The next notice; none after an error.
    pub async fn next(&mut self) -> Option<Result<Notice>> {
        self.notices.recv().await
    }
}

impl Stream for Watch {
    type Item = Result<Notice>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.notices.poll_recv(cx)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a watch's task ends.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The reader is gone.
    Dropped,
    /// With an error that the reader is told.
    Failed(crate::error::Error),
}

impl From<crate::error::Error> for Stop {
    fn from(error: crate::error::Error) -> Self {
        Stop::Failed(error)
    }
}

/// The end of a watch that a backend feeds.
#[derive(Debug)]
pub(crate) struct NoticeSender(mpsc::Sender<Result<Notice>>);

impl NoticeSender {
    /// Hands a notice over, waiting while the reader is behind.
    pub(crate) async fn send(&self, notice: Notice) -> Result<(), Stop> {
        self.0.send(Ok(notice)).await.map_err(|_| Stop::Dropped)
    }
}
