//! Watches: what happened since a revision and what happens, filtered for one client. Every watch reads the same batches;
//! an object is encoded once, whoever receives it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cellblock_controller_core::events::{Record, Shown};
use cellblock_controller_core::index::{Entry, ObjectEvent, RecordEvent, What};
use cellblock_schemas::Kind;
use futures::Stream;
use tokio::sync::broadcast::error::RecvError;

use super::list::reached;
use super::{Least, RecordSelector, Selector};
use crate::cache::{Batch, Subscription};
use crate::running::{Running, Shared};
use crate::status::RequestError;
use crate::telemetry::Counted;

/// How often a quiet watch says up to where it has seen everything, so that its client resumes from there.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(10);

/// How many objects of what there was are told at once.
const PRESENTED_AT_ONCE: usize = 500;

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
    /// The record of an event did, with its document.
    Record(What, Arc<Record>, u64, Bytes),
    /// Everything that there was has been told, as of a revision.
    Presented(u64),
    /// Nothing happened up to a revision.
    Bookmark(u64),
}

/// What happens, until an error: the events of one transaction together, or some of what there was. Never none.
pub(crate) type Events = Pin<Box<dyn Stream<Item = Result<Vec<Event>, RequestError>> + Send>>;

/// A watch that is open.
pub(crate) struct Watched {
    pub(crate) events: Events,
    /// Its place, to be held for as long as anything of it waits for its client: who is cut off may leave it in a stream that nobody reads.
    pub(crate) place: Held,
}

/// What is only held.
pub(crate) type Held = Box<dyn std::any::Any + Send>;

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// With what is there.
    Present(Least),
    /// With what happens after now.
    Now,
    /// With what happened after a revision.
    After(u64),
}

/// What a watch is about.
#[derive(Clone, Debug)]
pub(crate) enum About {
    Objects(Vec<Kind>, Selector),
    Records(RecordSelector),
}

/// What is asked for.
///
/// A client may resume from the revision of the last object that it has read, so what there is comes in the order of revisions, and
/// a transaction of several events is told again to who resumes at it: it may have been cut in its middle.
#[derive(Clone, Debug)]
pub(crate) struct WatchQuery {
    pub(crate) about: About,
    pub(crate) from: From,
}

/// Opens a watch.
pub(super) async fn open(
    shared: Arc<Shared>,
    running: &Arc<Running>,
    query: WatchQuery,
) -> Result<Events, RequestError> {
    let cache = &running.cache;
    let least = match query.from {
        From::Present(least) => least,
        From::Now => Least::Newest,
        // Its client may come from another controller that was a moment ahead.
        From::After(revision) => Least::of(Some(revision)),
    };
    reached(running, least).await?;
    let (present, revision, subscription) = match query.from {
        From::After(revision) => {
            let sees_several = |batch: &Batch| query.count(batch) > 1;
            let subscription = cache.subscribe(revision, sees_several)?;
            (None, revision, subscription)
        }
        From::Present(_) => {
            let ((present, revision), subscription) =
                cache.snapshot(|index| (query.present(index), index.revision()));
            (Some(present), revision, subscription)
        }
        From::Now => {
            let (revision, subscription) = cache.snapshot(|index| index.revision());
            (None, revision, subscription)
        }
    };
    let applied = cache.applied();
    Ok(Box::pin(events(
        shared,
        applied,
        query,
        present,
        revision,
        subscription,
    )))
}

fn events(
    shared: Arc<Shared>,
    applied: tokio::sync::watch::Receiver<u64>,
    filter: WatchQuery,
    present: Option<Vec<Event>>,
    mut seen: u64,
    subscription: Subscription,
) -> impl Stream<Item = Result<Vec<Event>, RequestError>> + Send {
    async_stream::try_stream! {
        let _open = Counted::new(metrics::gauge!("cellblock_watches"));
        if let Some(present) = present {
            for some in present.chunks(PRESENTED_AT_ONCE) {
                yield some.to_vec();
            }
            yield vec![Event::Presented(seen)];
        }
        let Subscription { missed, mut coming } = subscription;
        for batch in missed {
            seen = batch.revision;
            let events = filter.of(&batch);
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
                    let events = filter.of(&batch);
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
    /// What there is, in the order of its revisions.
    fn present(&self, index: &cellblock_controller_core::Index) -> Vec<Event> {
        match &self.about {
            About::Objects(kinds, selector) => {
                let mut present = Vec::new();
                for kind in kinds {
                    match selector.name() {
                        Some(name) => present
                            .extend(index.get(*kind, name).map(|entry| (*kind, entry.clone()))),
                        None => present
                            .extend(index.list(*kind, None).map(|entry| (*kind, entry.clone()))),
                    }
                }
                present.retain(|(_, entry)| selector.matches(entry));
                present.sort_by_key(|(_, entry)| entry.revision);
                let added = |(kind, entry)| Event::Object(What::Added, kind, entry);
                present.into_iter().map(added).collect()
            }
            About::Records(selector) => {
                let mut present: Vec<_> = index
                    .records()
                    .shown()
                    .filter(|shown| selector.matches(&shown.record))
                    .collect();
                present.sort_by_key(|shown| shown.revision);
                let added = |shown: &Shown| {
                    let (record, json) = (shown.record.clone(), shown.json.clone());
                    Event::Record(What::Added, record, shown.revision, json)
                };
                present.into_iter().map(added).collect()
            }
        }
    }

    /// How many events of a batch this client sees.
    fn count(&self, batch: &Batch) -> usize {
        match &self.about {
            About::Objects(kinds, selector) => {
                let events = batch.events.iter();
                let events = events.filter(|event| kinds.contains(&event.kind));
                events.filter_map(|event| seen_of(selector, event)).count()
            }
            About::Records(selector) => {
                let events = batch.records.iter();
                let seen = events.filter_map(|event| seen_of_record(selector, event));
                seen.count()
            }
        }
    }

    /// The events of a batch that this client sees.
    fn of(&self, batch: &Batch) -> Vec<Event> {
        match &self.about {
            About::Objects(kinds, selector) => {
                let events = batch.events.iter();
                let events = events.filter(|event| kinds.contains(&event.kind));
                events.filter_map(|event| of(selector, event)).collect()
            }
            About::Records(selector) => {
                let events = batch.records.iter();
                events
                    .filter_map(|event| of_record(selector, event))
                    .collect()
            }
        }
    }
}

fn of(selector: &Selector, event: &ObjectEvent) -> Option<Event> {
    let what = seen_of(selector, event)?;
    let entry = match what {
        // Who selects is shown what was selected, at the revision at which it ceased to be (kubernetes/apiserver,
        // `pkg/storage/cacher/cache_watcher.go`, `convertToWatchEvent`).
        What::Deleted if event.what != What::Deleted => event.left()?,
        What::Added | What::Modified | What::Deleted => event.entry.clone(),
    };
    Some(Event::Object(what, event.kind, entry))
}

fn seen_of(selector: &Selector, event: &ObjectEvent) -> Option<What> {
    let before = event.before.as_ref();
    let before = before.is_some_and(|before| selector.matches(before));
    let after = event.what != What::Deleted && selector.matches(&event.entry);
    seen(before, after)
}

fn of_record(selector: &RecordSelector, event: &RecordEvent) -> Option<Event> {
    let what = seen_of_record(selector, event)?;
    let (record, json) = (event.record.clone(), event.json.clone());
    Some(Event::Record(what, record, event.revision, json))
}

fn seen_of_record(selector: &RecordSelector, event: &RecordEvent) -> Option<What> {
    let before = event.before.as_ref();
    let before = before.is_some_and(|before| selector.matches(before));
    let after = event.what != What::Deleted && selector.matches(&event.record);
    seen(before, after)
}

/// What comes to match the selector is added, what ceases to is deleted, whatever really happened to it.
fn seen(before: bool, after: bool) -> Option<What> {
    match (before, after) {
        (false, false) => None,
        (false, true) => Some(What::Added),
        (true, true) => Some(What::Modified),
        (true, false) => Some(What::Deleted),
    }
}

#[cfg(test)]
mod tests {
    //! What watchers share.

    use cellblock_controller_core::events::{About as Of, Severity};
    use cellblock_controller_core::index::{Event as Change, Index};
    use cellblock_schemas::{ClusterUid, Uid};

    use super::*;

    #[test]
    fn what_there_was_of_events_is_one_document_for_all_who_watch() {
        let record = Record {
            name: "one".to_owned(),
            about: Of {
                kind: "Jail".to_owned(),
                name: "www".to_owned(),
                uid: Uid("u".to_owned()),
            },
            severity: Severity::Normal,
            reason: "Running".to_owned(),
            message: "it runs".to_owned(),
            count: 1,
            first: jiff::Timestamp::UNIX_EPOCH,
            last: jiff::Timestamp::UNIX_EPOCH,
            through: 0,
        };
        let mut index = Index::new(ClusterUid("c1".to_owned()));
        let put = Change::Put {
            key: index.keys().record(&record.name),
            value: record.encode(),
            modified: 7,
        };
        let applied = index.apply(7, [put]);
        let query = WatchQuery {
            about: About::Records(RecordSelector::default()),
            from: From::Present(Least::Any),
        };
        let document = || match &query.present(&index)[..] {
            [Event::Record(What::Added, _, 7, json)] => json.clone(),
            other => panic!("{other:?}"),
        };
        let [first, second] = [document(), document()];
        assert_eq!(first, record.document(7).to_string());
        assert_eq!(first.as_ptr(), second.as_ptr());
        // Who watched before has the same.
        assert_eq!(first.as_ptr(), applied.records[0].json.as_ptr());
    }
    #[test]
    fn what_is_selected_no_more_is_one_document_for_all_who_selected_it() {
        let mut index = Index::new(ClusterUid("c1".to_owned()));
        let mut put = |revision: u64, role: &str| {
            let document = serde_json::json!({
                "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host",
                "metadata": {"name": "a", "uid": "a", "labels": {"role": role}}, "spec": {},
            });
            let put = Change::Put {
                key: index.keys().object(Kind::Host, "a"),
                value: document.to_string().into(),
                modified: revision,
            };
            index.apply(revision, [put]).events
        };
        put(7, "web");
        let events = put(8, "db");
        let selector = Selector::of_labels("role=web").expect("a selector");
        let document = || match of(&selector, &events[0]) {
            Some(Event::Object(What::Deleted, Kind::Host, entry)) => entry.json.clone(),
            other => panic!("{other:?}"),
        };
        let [first, second] = [document(), document()];
        assert_eq!(first.as_ptr(), second.as_ptr());
        let shown: serde_json::Value = serde_json::from_slice(&first).expect("JSON");
        assert_eq!(shown["metadata"]["resourceVersion"], "8");
        assert_eq!(shown["metadata"]["labels"]["role"], "web");
    }
}
