//! Compaction, and revisions that cannot be read.

use cellblock_store::{
    Error, Event, Key, ListRequest, Revision, SharedStore, StoreExt, WatchRequest,
};

use crate::support::{create, end_of, item, next_changes, now, state_of};

/// Writes, overwrites and deletes; returns the revisions of (first write, overwrite, deletion of another, last write).
async fn some_history(store: &SharedStore) -> [Revision; 4] {
    let first = create(store, "/a", "1").await;
    create(store, "/gone", "1").await;
    let second = store
        .update("/a", first, "2")
        .await
        .expect("updated")
        .revision;
    let deleted = store.delete("/gone", None).await.expect("deleted");
    let last = store
        .update("/a", second, "3")
        .await
        .expect("updated")
        .revision;
    [first, second, deleted, last]
}

pub(crate) async fn compaction_removes_the_past_and_nothing_else(store: SharedStore) {
    let [first, second, deleted, last] = some_history(&store).await;
    store.compact(deleted).await.expect("compacted");
    for asked in [first, second] {
        let error = store
            .get(&Key::from("/a"), Some(asked))
            .await
            .expect_err("compacted away");
        assert_eq!(
            error,
            Error::Compacted {
                asked,
                compacted: deleted
            }
        );
        let error = store
            .count(&Key::from("/"), Some(asked))
            .await
            .expect_err("compacted away");
        assert_eq!(
            error,
            Error::Compacted {
                asked,
                compacted: deleted
            }
        );
    }
    let at = |at: Revision, key: &str| {
        let (store, key) = (store.clone(), Key::from(key));
        async move {
            store
                .get(&key, Some(at))
                .await
                .expect("readable")
                .item
                .map(|item| item.value)
        }
    };
    assert_eq!(at(deleted, "/a").await, Some("2".into()));
    assert_eq!(at(deleted, "/gone").await, None);
    assert_eq!(at(last, "/a").await, Some("3".into()));
    assert_eq!(item(&store, "/a").await.created, first);
    assert_eq!(state_of(&store, "/").await.len(), 1);
    // More writes make sure that what was compacted away is really being removed, without taking the present along.
    for n in 0..20 {
        create(&store, &format!("/later/{n}"), "v").await;
    }
    assert_eq!(at(deleted, "/a").await, Some("2".into()));
    assert_eq!(store.count(&Key::from("/"), None).await, Ok(21));
    assert_eq!(now(&store).await.0, last.0 + 20);
    let again = create(&store, "/gone", "2").await;
    assert_eq!(item(&store, "/gone").await.created, again);
}

pub(crate) async fn a_watch_from_before_compaction_is_told(store: SharedStore) {
    let [first, _, deleted, _] = some_history(&store).await;
    store.compact(deleted).await.expect("compacted");
    let mut watch = store.watch(WatchRequest::new("/", first));
    let error = end_of(&mut watch).await;
    assert_eq!(
        error,
        Error::Compacted {
            asked: first,
            compacted: deleted
        }
    );
    let mut watch = store.watch(WatchRequest::new("/", Revision(deleted.0 - 1)));
    assert!(matches!(end_of(&mut watch).await, Error::Compacted { .. }));
}

/// Also the deletion in the very next revision, which etcd before 3.4.34 can lose to a watch that begins there.
pub(crate) async fn a_watch_from_the_compacted_revision_misses_nothing(store: SharedStore) {
    let [_, second, deleted, last] = some_history(&store).await;
    store.compact(second).await.expect("compacted");
    let mut watch = store.watch(WatchRequest::new("/", second).with_previous());
    let (revision, events) = next_changes(&mut watch).await;
    assert_eq!(revision, deleted);
    assert!(
        matches!(&events[..], [Event::Delete { key, previous: Some(_) }] if *key == Key::from("/gone")),
        "{events:?}"
    );
    assert_eq!(next_changes(&mut watch).await.0, last);
    // A watch that is under way does not mind a compaction of what it has seen.
    store.compact(last).await.expect("compacted");
    let after = create(&store, "/after", "v").await;
    assert_eq!(next_changes(&mut watch).await.0, after);
}

pub(crate) async fn a_list_across_compaction_is_told(store: SharedStore) {
    for n in 0..4 {
        create(&store, &format!("/p/{n}"), "v").await;
    }
    let first = store
        .list(ListRequest::new("/p/").limit(2))
        .await
        .expect("listed");
    let later = create(&store, "/p/later", "v").await;
    store.compact(later).await.expect("compacted");
    let error = store
        .list(
            ListRequest::new("/p/")
                .limit(2)
                .after(first.next.expect("more")),
        )
        .await;
    assert_eq!(
        error,
        Err(Error::Compacted {
            asked: first.revision,
            compacted: later
        })
    );
}

pub(crate) async fn compaction_goes_forward_only(store: SharedStore) {
    let nothing_before = Error::Compacted {
        asked: Revision(1),
        compacted: Revision(1),
    };
    assert_eq!(store.compact(Revision(1)).await, Err(nothing_before));
    let [first, second, _, last] = some_history(&store).await;
    store.compact(second).await.expect("compacted");
    for asked in [first, second] {
        let error = store.compact(asked).await.expect_err("compacted already");
        assert_eq!(
            error,
            Error::Compacted {
                asked,
                compacted: second
            }
        );
    }
    let ahead = Revision(last.0 + 1);
    assert_eq!(
        store.compact(ahead).await,
        Err(Error::FutureRevision {
            asked: ahead,
            current: last
        })
    );
    assert_eq!(store.compact(last).await, Ok(()));
    assert_eq!(item(&store, "/a").await.value, "3");
}

pub(crate) async fn revision_zero_and_the_future_cannot_be_read(store: SharedStore) {
    let current = create(&store, "/a", "1").await;
    let ahead = Revision(current.0 + 1);
    let future = Error::FutureRevision {
        asked: ahead,
        current,
    };
    let key = Key::from("/a");
    assert_eq!(store.get(&key, Some(ahead)).await, Err(future.clone()));
    assert_eq!(
        store.list(ListRequest::new("/").at(ahead)).await,
        Err(future.clone())
    );
    assert_eq!(store.count(&key, Some(ahead)).await, Err(future));
    for error in [
        store.get(&key, Some(Revision::ZERO)).await.err(),
        store
            .list(ListRequest::new("/").at(Revision::ZERO))
            .await
            .err(),
        store.compact(Revision::ZERO).await.err(),
    ] {
        assert!(matches!(error, Some(Error::Invalid(_))), "{error:?}");
    }
}
