//! What the tests of several parts need: waiting with a deadline, reading a watch, shorthand for keys.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cellblock_store::{
    Error, Event, Key, KeyValue, Notice, Revision, SharedStore, StoreExt, Watch,
};

/// How long anything may take. Far beyond what it takes, because other tests share the machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The result of a future that must not take forever.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing after {} s", DEADLINE.as_secs()),
    }
}

/// The next notice of a watch, which must come.
pub(crate) async fn next(watch: &mut Watch) -> Notice {
    let notice = soon("the next notice", watch.next()).await;
    notice
        .expect("a watch ends only with an error")
        .expect("the watch goes on")
}

/// The next notice that is not progress: its revision and events.
pub(crate) async fn next_changes(watch: &mut Watch) -> (Revision, Vec<Event>) {
    loop {
        if let Notice::Changes { revision, events } = next(watch).await {
            return (revision, events);
        }
    }
}

/// The error that a watch ends with, progress passed over.
pub(crate) async fn end_of(watch: &mut Watch) -> Error {
    loop {
        match soon("the end of the watch", watch.next()).await {
            Some(Ok(Notice::Progress { .. })) => {}
            Some(Ok(notice)) => panic!("the watch goes on with {notice:?}"),
            Some(Err(error)) => {
                assert!(soon("the end after an error", watch.next()).await.is_none());
                return error;
            }
            None => panic!("the watch ended without an error"),
        }
    }
}

/// Applies a notice's events to a map, as a cache would.
pub(crate) fn apply(state: &mut BTreeMap<Key, Bytes>, events: Vec<Event>) {
    for event in events {
        match event {
            Event::Put { item, .. } => {
                state.insert(item.key, item.value);
            }
            Event::Delete { key, .. } => {
                state.remove(&key);
            }
        }
    }
}

/// A prefix as a map.
pub(crate) async fn state_of(store: &SharedStore, prefix: &str) -> BTreeMap<Key, Bytes> {
    let (items, _) = store.list_all(prefix).await.expect("the list is read");
    items
        .into_iter()
        .map(|item| (item.key, item.value))
        .collect()
}

/// The item of a key that must exist.
pub(crate) async fn item(store: &SharedStore, key: &str) -> KeyValue {
    let got = store
        .get(&Key::from(key), None)
        .await
        .expect("the key is read");
    got.item.unwrap_or_else(|| panic!("{key} exists"))
}

/// Whether a key exists.
pub(crate) async fn exists(store: &SharedStore, key: &str) -> bool {
    store
        .get(&Key::from(key), None)
        .await
        .expect("the key is read")
        .item
        .is_some()
}

/// The current revision.
pub(crate) async fn now(store: &SharedStore) -> Revision {
    store
        .current_revision()
        .await
        .expect("the revision is read")
}

/// Creates a key and returns its revision.
pub(crate) async fn create(store: &SharedStore, key: &str, value: &str) -> Revision {
    store
        .create(key, value.to_owned())
        .await
        .expect("the key is created")
}
