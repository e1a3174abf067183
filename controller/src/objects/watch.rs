//! Watches: what happened since a revision and what happens, filtered for one client. Every watch reads the same batches;
//! an object is encoded once, whoever receives it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cellblock_controller_core::index::{Entry, ObjectEvent, What};
use cellblock_proto::v1;
use cellblock_schemas::Kind;
use cellblock_schemas::selector::LabelSelector;
use futures::Stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

use super::list::selector;
use crate::cache::{Batch, Subscription};
use crate::running::{Running, Shared};
use crate::status::RequestError;
use crate::telemetry::Counted;
use crate::wire;

/// How often a quiet watch says up to where it has seen everything, so that its client resumes from there.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(10);

/// How long a watch from a revision that has not happened waits for it: the client may come from another controller that
/// was a moment ahead.
const FUTURE_PATIENCE: Duration = Duration::from_secs(3);

/// What a watch wakes for.
enum Next {
    Received(Result<Arc<Batch>, RecvError>),
    Quiet,
    Leave,
}

type Events = Pin<Box<dyn Stream<Item = Result<v1::WatchEvent, Status>> + Send>>;

/// What one client wants to see.
struct Filter {
    kinds: Vec<Kind>,
    name: Option<String>,
    selector: LabelSelector,
}

/// Opens a watch. `place` is held for as long as it is open.
pub(super) async fn open(
    shared: Arc<Shared>,
    running: &Arc<Running>,
    request: v1::WatchRequest,
    place: OwnedSemaphorePermit,
) -> Result<Events, RequestError> {
    let filter = Filter {
        kinds: match request.kind.as_str() {
            "" => Kind::ALL.to_vec(),
            kind => vec![wire::kind(kind)?],
        },
        name: (!request.name.is_empty()).then_some(request.name),
        selector: selector(&request.label_selector)?,
    };
    let cache = &running.cache;
    let (present, revision, subscription) = if request.revision == 0 {
        let ((present, revision), subscription) =
            cache.snapshot(|index| (filter.present(index), index.revision()));
        (Some(present), revision, subscription)
    } else {
        if !cache.reached(request.revision, FUTURE_PATIENCE).await {
            return Err(RequestError::Future {
                asked: request.revision,
                newest: cache.index().revision(),
            });
        }
        (None, request.revision, cache.subscribe(request.revision)?)
    };
    let applied = cache.applied();
    Ok(Box::pin(events(
        shared,
        applied,
        filter,
        present,
        revision,
        subscription,
        place,
    )))
}

fn events(
    shared: Arc<Shared>,
    applied: tokio::sync::watch::Receiver<u64>,
    filter: Filter,
    present: Option<Vec<(Kind, Arc<Entry>)>>,
    mut seen: u64,
    subscription: Subscription,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<v1::WatchEvent, Status>> + Send {
    async_stream::try_stream! {
        let _place = place;
        let _open = Counted::new(metrics::gauge!("cellblock_watches"));
        if let Some(present) = present {
            for (kind, entry) in present {
                yield wire::event(What::Added, kind, &entry);
            }
            yield wire::bookmark(seen);
        }
        let Subscription { missed, mut coming } = subscription;
        for batch in missed {
            seen = batch.revision;
            for event in filter.of(&batch) {
                yield event;
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
                    for event in filter.of(&batch) {
                        told = seen;
                        yield event;
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
                        yield wire::bookmark(seen);
                    }
                }
            }
        }
    }
}

impl Filter {
    fn present(&self, index: &cellblock_controller_core::Index) -> Vec<(Kind, Arc<Entry>)> {
        let mut present = Vec::new();
        for kind in &self.kinds {
            match &self.name {
                Some(name) => {
                    present.extend(index.get(*kind, name).map(|entry| (*kind, entry.clone())))
                }
                None => present.extend(index.list(*kind, None).map(|entry| (*kind, entry.clone()))),
            }
        }
        present.retain(|(_, entry)| self.selector.matches(&entry.object.metadata().labels));
        present
    }

    /// The events of a batch that this client sees.
    fn of<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = v1::WatchEvent> + use<'a> {
        batch.events.iter().filter_map(|event| self.event(event))
    }

    /// An object that comes to match the selector is added, one that ceases to is deleted, whatever really happened to it.
    fn event(&self, event: &ObjectEvent) -> Option<v1::WatchEvent> {
        if !self.kinds.contains(&event.kind)
            || self
                .name
                .as_ref()
                .is_some_and(|name| *name != event.entry.name())
        {
            return None;
        }
        let labels =
            |entry: &Entry| -> BTreeMap<String, String> { entry.object.metadata().labels.clone() };
        let before = event
            .before
            .as_ref()
            .is_some_and(|before| self.selector.matches(&labels(before)));
        let after = event.what != What::Deleted && self.selector.matches(&labels(&event.entry));
        let what = match (before, after) {
            (false, false) => return None,
            (false, true) => What::Added,
            (true, true) => What::Modified,
            (true, false) => What::Deleted,
        };
        Some(wire::event(what, event.kind, &event.entry))
    }
}
