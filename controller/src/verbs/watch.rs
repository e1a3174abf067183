//! Watches: what happened since a revision and what happens, filtered for one client. Every watch reads the same batches;
//! an object is encoded once, whoever receives it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cellblock_controller_core::index::{Entry, ObjectEvent, What};
use cellblock_schemas::Kind;
use futures::Stream;
use tokio::sync::broadcast::error::RecvError;

use super::Selector;
use super::places::Place;
use crate::cache::{Batch, Subscription};
use crate::running::{Running, Shared};
use crate::status::RequestError;
use crate::telemetry::Counted;

/// How often a quiet watch says up to where it has seen everything, so that its client resumes from there.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(10);

/// How many objects of what there was are told at once.
const PRESENTED_AT_ONCE: usize = 500;

/// How long a watch from a revision that has not happened waits for it: the client may come from another controller that
/// was a moment ahead.
const FUTURE_PATIENCE: Duration = Duration::from_secs(3);

/// What a watch wakes for.
enum Next {
    Received(Result<Arc<Batch>, RecvError>),
    Quiet,
    Leave,
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// An object came, changed or went.
    Object(What, Kind, Arc<Entry>),
    /// Everything that there was has been told, as of a revision.
    Presented(u64),
    /// Nothing happened up to a revision.
    Bookmark(u64),
}

/// What happens, until an error: the events of one transaction together, or some of what there was. Never none.
pub(crate) type Events = Pin<Box<dyn Stream<Item = Result<Vec<Event>, RequestError>> + Send>>;

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// With what is there, as of some revision not older than this one.
    Present(u64),
    /// With what happens after now.
    Now,
    /// With what happened after a revision.
    After(u64),
}

/// What is asked for.
///
/// A client may resume from the revision of the last object that it has read, so what there is comes in the order of revisions, and
/// a transaction of several events is told again to who resumes at it: it may have been cut in its middle.
#[derive(Clone, Debug)]
pub(crate) struct WatchQuery {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) selector: Selector,
    pub(crate) from: From,
}

/// Opens a watch. `place` is held for as long as it is open.
pub(super) async fn open(
    shared: Arc<Shared>,
    running: &Arc<Running>,
    query: WatchQuery,
    place: Place,
) -> Result<Events, RequestError> {
    let cache = &running.cache;
    let (From::Present(least) | From::After(least)) = query.from else {
        let (revision, subscription) = cache.snapshot(|index| index.revision());
        let applied = cache.applied();
        return Ok(Box::pin(events(
            shared,
            applied,
            query,
            None,
            revision,
            subscription,
            place,
        )));
    };
    if least != 0 && !cache.reached(least, FUTURE_PATIENCE).await {
        return Err(RequestError::Future {
            asked: least,
            newest: cache.index().revision(),
        });
    }
    let (present, revision, subscription) = if let From::After(revision) = query.from {
        let sees_several = |batch: &Batch| query.of(batch).nth(1).is_some();
        let subscription = cache.subscribe(revision, sees_several)?;
        (None, revision, subscription)
    } else {
        let ((present, revision), subscription) =
            cache.snapshot(|index| (query.present(index), index.revision()));
        (Some(present), revision, subscription)
    };
    let applied = cache.applied();
    Ok(Box::pin(events(
        shared,
        applied,
        query,
        present,
        revision,
        subscription,
        place,
    )))
}

fn events(
    shared: Arc<Shared>,
    applied: tokio::sync::watch::Receiver<u64>,
    filter: WatchQuery,
    present: Option<Vec<(Kind, Arc<Entry>)>>,
    mut seen: u64,
    subscription: Subscription,
    place: Place,
) -> impl Stream<Item = Result<Vec<Event>, RequestError>> + Send {
    async_stream::try_stream! {
        let _place = place;
        let _open = Counted::new(metrics::gauge!("cellblock_watches"));
        if let Some(present) = present {
            for some in present.chunks(PRESENTED_AT_ONCE) {
                let added = |(kind, entry): &(Kind, Arc<Entry>)| Event::Object(What::Added, *kind, entry.clone());
                yield some.iter().map(added).collect();
            }
            yield vec![Event::Presented(seen)];
        }
        let Subscription { missed, mut coming } = subscription;
        for batch in missed {
            seen = batch.revision;
            let events: Vec<_> = filter.of(&batch).collect();
            if !events.is_empty() {
                yield events;
            }
        }
        let mut bookmarks = tokio::time::interval(BOOKMARK_INTERVAL);
        bookmarks.tick().await;
        let mut told = seen;
        loop {
            let next = tokio::select! {
                received = coming.recv() => Next::Received(received),
                _ = bookmarks.tick() => Next::Quiet,
                () = shared.left() => Next::Leave,
            };
            match next {
                Next::Received(Ok(batch)) => {
                    // The subscription and what was missed may overlap by what happened between them.
                    if batch.revision <= seen {
                        continue;
                    }
                    seen = batch.revision;
                    let events: Vec<_> = filter.of(&batch).collect();
                    if !events.is_empty() {
                        told = seen;
                        yield events;
                    }
                }
                Next::Received(Err(RecvError::Lagged(behind))) => Err(RequestError::TooSlow(behind))?,
                Next::Received(Err(RecvError::Closed)) | Next::Leave => Err(RequestError::ShuttingDown)?,
                Next::Quiet => {
                    // Everything up to the applied revision was sent to the channel before the revision became visible, so
                    // with an empty channel nothing up to there is missing.
                    let reached = *applied.borrow();
                    if coming.is_empty() && reached > told {
                        seen = seen.max(reached);
                        told = seen;
                        yield vec![Event::Bookmark(seen)];
                    }
                }
            }
        }
    }
}

impl WatchQuery {
    fn present(&self, index: &cellblock_controller_core::Index) -> Vec<(Kind, Arc<Entry>)> {
        let mut present = Vec::new();
        for kind in &self.kinds {
            match self.selector.name() {
                Some(name) => {
                    present.extend(index.get(*kind, name).map(|entry| (*kind, entry.clone())))
                }
                None => present.extend(index.list(*kind, None).map(|entry| (*kind, entry.clone()))),
            }
        }
        present.retain(|(_, entry)| self.selector.matches(entry));
        present.sort_by_key(|(_, entry)| entry.revision);
        present
    }

    /// The events of a batch that this client sees.
    fn of<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = Event> + use<'a> {
        batch.events.iter().filter_map(|event| self.event(event))
    }

    /// An object that comes to match the selector is added, one that ceases to is deleted, whatever really happened to it.
    fn event(&self, event: &ObjectEvent) -> Option<Event> {
        if !self.kinds.contains(&event.kind) {
            return None;
        }
        let before = event.before.as_ref();
        let before = before.is_some_and(|before| self.selector.matches(before));
        let after = event.what != What::Deleted && self.selector.matches(&event.entry);
        let what = match (before, after) {
            (false, false) => return None,
            (false, true) => What::Added,
            (true, true) => What::Modified,
            (true, false) => What::Deleted,
        };
        Some(Event::Object(what, event.kind, event.entry.clone()))
    }
}
