//! Watches.

use std::collections::BTreeMap;

use bytes::Bytes;
use cellblock_store::{
    Change, Error, Event, Key, Notice, Revision, SharedStore, StoreExt, Transaction, WatchRequest,
};

use crate::support::{apply, create, end_of, item, next, next_changes, now, soon, state_of};

/// Many writers put and delete; what the watch says adds up to what is there, revision by revision.
pub(crate) async fn every_change_is_delivered_in_order(store: SharedStore) {
    let start = now(&store).await;
    let mut watch = store.watch(WatchRequest::new("/w/", start));
    let writers: Vec<_> = (0..8)
        .map(|writer| tokio::spawn(write_for_a_while(store.clone(), writer)))
        .collect();
    for writer in writers {
        writer.await.expect("the writer ends");
    }
    let end = create(&store, "/w/end", "").await;
    let (mut state, mut last) = (BTreeMap::new(), start);
    while last < end {
        let (revision, events) = next_changes(&mut watch).await;
        // Every write of this test is to the prefix, so no revision may be missing.
        assert_eq!(revision, last.next());
        for event in &events {
            if let Event::Put { item, .. } = event {
                assert_eq!(item.modified, revision);
            }
        }
        apply(&mut state, events);
        last = revision;
    }
    assert_eq!(state, state_of(&store, "/w/").await);
}

async fn write_for_a_while(store: SharedStore, writer: usize) {
    for n in 0..40 {
        let key = format!("/w/{}", (writer * 7 + n * 3) % 20);
        let change = |current: Option<&_>| {
            Ok::<_, Error>(match current {
                Some(_) if n % 3 == 0 => Change::Delete,
                Some(_) | None => Change::Put(format!("{writer}.{n}").into()),
            })
        };
        store
            .guaranteed_update(key, change)
            .await
            .expect("updated in the end");
    }
}

pub(crate) async fn a_transaction_is_one_notice(store: SharedStore) {
    create(&store, "/w/old", "1").await;
    let start = now(&store).await;
    let mut watch = store.watch(WatchRequest::new("/w/", start));
    let transaction = Transaction::new()
        .put("/w/c", "3")
        .put("/elsewhere", "x")
        .put("/w/a", "1")
        .delete("/w/old")
        .put("/w/b", "2");
    let revision = store.commit(transaction).await.expect("committed").revision;
    let (at, events) = next_changes(&mut watch).await;
    assert_eq!(at, revision);
    let keys: Vec<_> = events.iter().map(|event| event.key().to_string()).collect();
    assert_eq!(keys, ["/w/a", "/w/b", "/w/c", "/w/old"]);
    assert!(
        matches!(&events[3], Event::Delete { previous: None, .. }),
        "{events:?}"
    );
}

pub(crate) async fn a_watch_resumes_from_an_old_revision(store: SharedStore) {
    let start = now(&store).await;
    let mut revisions = Vec::new();
    for n in 0..30 {
        revisions.push(create(&store, &format!("/w/{n:02}"), "v").await);
    }
    let mut watch = store.watch(WatchRequest::new("/w/", start));
    for expected in &revisions[..10] {
        assert_eq!(next_changes(&mut watch).await.0, *expected);
    }
    drop(watch);
    let mut watch = store.watch(WatchRequest::new("/w/", revisions[9]));
    for expected in &revisions[10..] {
        assert_eq!(next_changes(&mut watch).await.0, *expected);
    }
    let after = create(&store, "/w/after", "v").await;
    assert_eq!(next_changes(&mut watch).await.0, after);
}

pub(crate) async fn only_the_prefix_is_delivered(store: SharedStore) {
    let start = now(&store).await;
    let mut watch = store.watch(WatchRequest::new(b"/w\xff", start));
    let mut everything = store.watch(WatchRequest::new("", start));
    let keys: [&[u8]; 5] = [b"/w", b"/w\xfe\xff", b"/w\xff", b"/x", b"/w\xff\xff"];
    for key in keys {
        store.create(key, "v").await.expect("created");
    }
    for expected in [&b"/w\xff"[..], b"/w\xff\xff"] {
        assert_eq!(
            next_changes(&mut watch).await.1[0].key(),
            &Key::from(expected)
        );
    }
    for expected in keys {
        assert_eq!(
            next_changes(&mut everything).await.1[0].key(),
            &Key::from(expected)
        );
    }
}

pub(crate) async fn previous_items_come_when_asked_for(store: SharedStore) {
    let start = now(&store).await;
    let mut watch = store.watch(WatchRequest::new("/w/", start).with_previous());
    let first = create(&store, "/w/a", "1").await;
    let original = item(&store, "/w/a").await;
    store.update("/w/a", first, "2").await.expect("updated");
    let updated = item(&store, "/w/a").await;
    store.delete("/w/a", None).await.expect("deleted");
    let (_, events) = next_changes(&mut watch).await;
    assert_eq!(
        events,
        [Event::Put {
            item: original.clone(),
            previous: None
        }]
    );
    let (_, events) = next_changes(&mut watch).await;
    assert_eq!(
        events,
        [Event::Put {
            item: updated.clone(),
            previous: Some(original)
        }]
    );
    let (_, events) = next_changes(&mut watch).await;
    assert_eq!(
        events,
        [Event::Delete {
            key: Key::from("/w/a"),
            previous: Some(updated)
        }]
    );
}

pub(crate) async fn a_quiet_watch_reports_progress(store: SharedStore) {
    let start = now(&store).await;
    let mut watch = store.watch(WatchRequest::new("/quiet/", start));
    let elsewhere = create(&store, "/elsewhere", "v").await;
    loop {
        match next(&mut watch).await {
            Notice::Progress { revision } if revision >= elsewhere => break,
            Notice::Progress { revision } => assert!(revision > start),
            Notice::Changes { events, .. } => panic!("nothing has changed, but {events:?}"),
        }
    }
    let change = create(&store, "/quiet/a", "v").await;
    assert_eq!(next_changes(&mut watch).await.0, change);
}

/// More notices than any buffer in between holds, read only when all are written.
pub(crate) async fn a_slow_reader_loses_nothing(store: SharedStore) {
    let start = now(&store).await;
    let mut watch = store.watch(WatchRequest::new("/w/", start));
    let value = Bytes::from(vec![b'x'; 10_000]);
    let mut last = start;
    for n in 0..600 {
        last = store
            .create(format!("/w/{n:03}"), value.clone())
            .await
            .expect("created");
    }
    for n in 0..600 {
        let (_, events) = next_changes(&mut watch).await;
        assert_eq!(events[0].key(), &Key::from(format!("/w/{n:03}")));
    }
    assert_eq!(last.0, start.0 + 600);
}

/// A backlog of transactions that are each larger than etcd's fragments, and together larger than tonic decodes.
pub(crate) async fn large_transactions_are_delivered_whole(store: SharedStore) {
    const TRANSACTIONS: usize = 8;
    const KEYS: usize = 14;
    let start = now(&store).await;
    for n in 0..TRANSACTIONS {
        let transaction = (0..KEYS).fold(Transaction::new(), |transaction, key| {
            transaction.put(format!("/w/{key:02}"), vec![n as u8; 100_000])
        });
        store.commit(transaction).await.expect("committed");
    }
    let mut watch = store.watch(WatchRequest::new("/w/", start).with_previous());
    for n in 0..TRANSACTIONS {
        let (revision, events) = next_changes(&mut watch).await;
        assert_eq!((revision.0, events.len()), (start.0 + 1 + n as u64, KEYS));
        for event in events {
            match event {
                Event::Put { item, previous } => {
                    assert_eq!((item.value.len(), item.value[0]), (100_000, n as u8));
                    assert_eq!(previous.is_some(), n > 0);
                }
                Event::Delete { .. } => panic!("nothing was deleted"),
            }
        }
    }
}

pub(crate) async fn a_watch_beyond_the_present_is_refused(store: SharedStore) {
    let current = now(&store).await;
    let ahead = Revision(current.0 + 10);
    let mut watch = store.watch(WatchRequest::new("/w/", ahead));
    let error = end_of(&mut watch).await;
    assert_eq!(
        error,
        Error::FutureRevision {
            asked: ahead,
            current
        }
    );
    // From before everything, as long as nothing is compacted, means everything.
    let first = create(&store, "/w/a", "v").await;
    let mut watch = store.watch(WatchRequest::new("/w/", Revision::ZERO));
    assert_eq!(
        soon("the first change", next_changes(&mut watch)).await.0,
        first
    );
}
