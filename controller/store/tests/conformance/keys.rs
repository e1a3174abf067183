//! One key at a time.

use bytes::Bytes;
use cellblock_store::{
    Change, Error, Expect, Key, Outcome, Retry, Revision, SharedStore, StoreExt,
    TRANSACTION_BYTES_MAX,
};
use futures::future::join_all;

use crate::support::{create, exists, item, now, state_of};

pub(crate) async fn a_created_key_can_be_read(store: SharedStore) {
    let before = now(&store).await;
    let missing = store.get(&Key::from("/a"), None).await.expect("read");
    assert_eq!((missing.item, missing.revision), (None, before));
    let revision = create(&store, "/a", "1").await;
    assert!(revision > before);
    let got = store.get(&Key::from("/a"), None).await.expect("read");
    assert_eq!(got.revision, revision);
    let item = got.item.expect("it exists");
    assert_eq!(
        (item.value, item.created, item.modified, item.lease),
        ("1".into(), revision, revision, None)
    );
}

pub(crate) async fn a_key_is_created_only_once(store: SharedStore) {
    let revision = create(&store, "/a", "1").await;
    let error = store.create("/a", "2").await.expect_err("it exists");
    let conflict = error.conflict().expect("a conflict");
    assert_eq!(conflict.revision, revision);
    assert_eq!(conflict.failures.len(), 1);
    assert_eq!(conflict.failures[0].expected, Expect::Absent);
    assert_eq!(
        conflict.failures[0]
            .current
            .as_ref()
            .map(|item| item.value.clone()),
        Some("1".into())
    );
    assert_eq!(error.retry(), Retry::OnChange);
    assert!(error.to_string().contains("/a"), "{error}");
    assert_eq!(item(&store, "/a").await.value, "1");
}

pub(crate) async fn of_many_creators_one_wins(store: SharedStore) {
    let attempts = (0..32).map(|n| store.create("/one", n.to_string()));
    let outcomes = join_all(attempts).await;
    let winners: Vec<usize> = (0..32).filter(|n| outcomes[*n].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    assert_eq!(item(&store, "/one").await.value, winners[0].to_string());
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert!(error.conflict().is_some(), "{error}");
    }
}

pub(crate) async fn a_read_at_an_older_revision_sees_the_past(store: SharedStore) {
    let first = create(&store, "/a", "1").await;
    let second = store
        .update("/a", first, "2")
        .await
        .expect("updated")
        .revision;
    let third = store.delete("/a", Some(second)).await.expect("deleted");
    let value = |at: Revision| {
        let store = store.clone();
        async move {
            let got = store.get(&Key::from("/a"), Some(at)).await.expect("read");
            assert_eq!(got.revision, at);
            got.item
                .map(|item| (item.value, item.created, item.modified))
        }
    };
    assert_eq!(value(first).await, Some(("1".into(), first, first)));
    assert_eq!(value(second).await, Some(("2".into(), first, second)));
    assert_eq!(value(third).await, None);
    let earlier = Revision(first.0 - 1);
    assert_eq!(value(earlier).await, None);
}

pub(crate) async fn an_update_needs_the_current_revision(store: SharedStore) {
    let error = store
        .update("/a", Revision(1), "1")
        .await
        .expect_err("no such key");
    assert!(
        matches!(&error, Error::NotFound { key, .. } if *key == Key::from("/a")),
        "{error}"
    );
    let first = create(&store, "/a", "1").await;
    let updated = store.update("/a", first, "2").await.expect("updated");
    assert!(updated.changed && updated.revision > first);
    assert_eq!(updated.item, Some(item(&store, "/a").await));
    let error = store.update("/a", first, "3").await.expect_err("stale");
    let conflict = error.conflict().expect("a conflict");
    assert_eq!(conflict.failures[0].expected, Expect::At(first));
    assert_eq!(
        conflict.failures[0]
            .current
            .as_ref()
            .map(|item| item.modified),
        Some(updated.revision)
    );
    assert_eq!(item(&store, "/a").await.value, "2");
}

pub(crate) async fn an_update_with_equal_bytes_writes_nothing(store: SharedStore) {
    let first = create(&store, "/a", "same").await;
    let known = item(&store, "/a").await;
    let updated = store
        .update("/a", first, "same")
        .await
        .expect("nothing to do");
    assert_eq!(
        (updated.changed, updated.item),
        (false, Some(known.clone()))
    );
    let replaced = store.replace(&known, "same").await.expect("nothing to do");
    assert_eq!((replaced.changed, replaced.item), (false, Some(known)));
    let change = |_: Option<&_>| Ok::<_, Error>(Change::Put("same".into()));
    let guaranteed = store
        .guaranteed_update("/a", change)
        .await
        .expect("nothing to do");
    assert!(!guaranteed.changed);
    assert_eq!(now(&store).await, first);
}

pub(crate) async fn a_replacement_notices_that_its_base_is_stale(store: SharedStore) {
    let first = create(&store, "/a", "1").await;
    let known = item(&store, "/a").await;
    store.update("/a", first, "2").await.expect("updated");
    let different = store.replace(&known, "3").await.expect_err("stale");
    assert!(different.conflict().is_some(), "{different}");
    // The bytes equal what the caller knew, not what is there: success would hide the other write.
    let equal = store.replace(&known, "1").await.expect_err("stale");
    assert!(equal.conflict().is_some(), "{equal}");
    let current = item(&store, "/a").await;
    assert!(store.replace(&current, "3").await.expect("current").changed);
    assert_eq!(item(&store, "/a").await.value, "3");
}

pub(crate) async fn a_deletion_expects_what_it_is_told_to(store: SharedStore) {
    let missing = store.delete("/a", None).await.expect_err("no such key");
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    let missing = store
        .delete("/a", Some(Revision(1)))
        .await
        .expect_err("no such key");
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    let first = create(&store, "/a", "1").await;
    let second = store
        .update("/a", first, "2")
        .await
        .expect("updated")
        .revision;
    let stale = store.delete("/a", Some(first)).await.expect_err("stale");
    assert!(stale.conflict().is_some(), "{stale}");
    assert!(exists(&store, "/a").await);
    let revision = store.delete("/a", Some(second)).await.expect("deleted");
    assert!(revision > second && !exists(&store, "/a").await);
    create(&store, "/b", "1").await;
    store.delete("/b", None).await.expect("deleted");
    assert_eq!(store.count(&Key::from("/"), None).await, Ok(0));
}

pub(crate) async fn a_key_created_again_is_a_new_one(store: SharedStore) {
    create(&store, "/a", "1").await;
    store.delete("/a", None).await.expect("deleted");
    let again = create(&store, "/a", "1").await;
    let item = item(&store, "/a").await;
    assert_eq!((item.created, item.modified), (again, again));
}

pub(crate) async fn every_increment_of_many_writers_counts(store: SharedStore) {
    const WRITERS: u64 = 8;
    const INCREMENTS: u64 = 20;
    let writer = || {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..INCREMENTS {
                let increment = |current: Option<&cellblock_store::KeyValue>| {
                    let text = current.map_or("0", |item| {
                        std::str::from_utf8(&item.value).expect("a number")
                    });
                    let next = text.parse::<u64>().expect("a number") + 1;
                    Ok::<_, Error>(Change::Put(next.to_string().into()))
                };
                store
                    .guaranteed_update("/count", increment)
                    .await
                    .expect("updated in the end");
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS).map(|_| writer()).collect();
    for writer in writers {
        writer.await.expect("the writer ends");
    }
    assert_eq!(
        item(&store, "/count").await.value,
        (WRITERS * INCREMENTS).to_string()
    );
}

/// An error of a caller, which must come back as it is.
#[derive(Debug, PartialEq)]
enum Refusal {
    Mine,
    Store(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Store(error)
    }
}

pub(crate) async fn a_guaranteed_update_can_create_keep_delete_and_refuse(store: SharedStore) {
    let run = |change: Change| {
        let store = store.clone();
        async move {
            store
                .guaranteed_update("/a", |_| Ok::<_, Error>(change.clone()))
                .await
                .expect("done")
        }
    };
    assert!(!run(Change::Delete).await.changed);
    assert!(!run(Change::Keep).await.changed);
    let created = run(Change::Put("1".into())).await;
    assert_eq!(created.item, Some(item(&store, "/a").await));
    assert!(!run(Change::Keep).await.changed);
    let refused = store
        .guaranteed_update("/a", |_| Err::<Change, _>(Refusal::Mine))
        .await;
    assert_eq!(refused, Err(Refusal::Mine));
    assert_eq!(now(&store).await, created.revision);
    let removed = run(Change::Delete).await;
    assert_eq!((removed.changed, removed.item), (true, None));
    assert!(!exists(&store, "/a").await);
}

pub(crate) async fn large_values_fit_and_larger_ones_are_refused(store: SharedStore) {
    let large = Bytes::from(vec![7; TRANSACTION_BYTES_MAX - 100]);
    store
        .create("/large", large.clone())
        .await
        .expect("it fits");
    assert_eq!(item(&store, "/large").await.value, large);
    store
        .create("/empty", "")
        .await
        .expect("an empty value is a value");
    assert_eq!(item(&store, "/empty").await.value, "");
    let error = store
        .create("/larger", vec![7; TRANSACTION_BYTES_MAX + 1])
        .await
        .expect_err("too large");
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    assert!(!exists(&store, "/larger").await);
}

pub(crate) async fn keys_are_any_bytes(store: SharedStore) {
    let keys: [&[u8]; 6] = [
        b"\x00",
        b"\x00\x00",
        b"a\xff",
        b"a\xff\xff",
        b"\xfe",
        b"\xff\xff",
    ];
    for key in keys {
        store.create(key, key.to_vec()).await.expect("created");
    }
    for key in keys {
        let got = store.get(&Key::from(key), None).await.expect("read");
        assert_eq!(
            got.item.map(|item| item.value),
            Some(Bytes::copy_from_slice(key))
        );
    }
    assert_eq!(state_of(&store, "").await.len(), keys.len());
    let empty = store.get(&Key::default(), None).await.expect_err("no key");
    assert!(matches!(empty, Error::Invalid(_)), "{empty}");
}

pub(crate) async fn health_and_location_say_which_store_this_is(store: SharedStore) {
    let revision = create(&store, "/a", "1").await;
    let health = store.health().await.expect("healthy");
    assert_eq!((health.revision, health.warnings), (revision, Vec::new()));
    assert!(health.size_bytes > 0 && !health.backend.is_empty() && !store.location().is_empty());
    // What callers of any backend rely on when they decide whether to write again.
    let unknown = Error::Unavailable {
        location: String::new(),
        reason: String::new(),
        outcome: Outcome::Unknown,
    };
    assert_eq!(unknown.retry(), Retry::OnChange);
}
