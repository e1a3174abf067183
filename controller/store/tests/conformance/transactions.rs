//! Several keys at a time.

use cellblock_store::{
    Committed, Effect, Error, Expect, Key, ListRequest, OPS_MAX, Revision, SharedStore, StoreExt,
    Transaction,
};
use futures::future::join_all;

use crate::support::{create, exists, item, now};

pub(crate) async fn keys_of_one_transaction_share_a_revision(store: SharedStore) {
    create(&store, "/old", "1").await;
    let transaction = Transaction::new()
        .create("/a", "1")
        .create("/b", "2")
        .delete("/old");
    let committed = store.commit(transaction).await.expect("committed");
    assert_eq!(
        committed.effects,
        [Effect::Changed, Effect::Changed, Effect::Changed]
    );
    assert_eq!(item(&store, "/a").await.modified, committed.revision);
    assert_eq!(item(&store, "/b").await.modified, committed.revision);
    assert!(!exists(&store, "/old").await);
    assert_eq!(now(&store).await, committed.revision);
}

pub(crate) async fn a_failed_compare_writes_nothing_and_is_named(store: SharedStore) {
    let taken = create(&store, "/taken", "mine").await;
    let transaction = Transaction::new()
        .create("/free", "1")
        .create("/taken", "2")
        .expect("/missing", Expect::Exists)
        .expect("/taken", Expect::At(taken));
    let error = store
        .commit(transaction)
        .await
        .expect_err("one key is taken, one is missing");
    let conflict = error.conflict().expect("a conflict");
    let failures: Vec<_> = conflict
        .failures
        .iter()
        .map(|failure| {
            (
                failure.index,
                failure.key.to_string(),
                failure.current.as_ref().map(|item| item.modified),
            )
        })
        .collect();
    assert_eq!(
        failures,
        [
            (1, "/taken".to_owned(), Some(taken)),
            (2, "/missing".to_owned(), None)
        ]
    );
    assert_eq!(
        conflict.failures[0]
            .current
            .as_ref()
            .map(|item| item.value.clone()),
        Some("mine".into())
    );
    assert!(!exists(&store, "/free").await);
    assert_eq!(now(&store).await, taken);
}

pub(crate) async fn every_kind_of_compare_holds_and_fails(store: SharedStore) {
    let first = create(&store, "/a", "1").await;
    let second = store
        .update("/a", first, "2")
        .await
        .expect("updated")
        .revision;
    let check = |key: &str, expect: Expect| {
        let transaction = Transaction::new().expect(key, expect);
        let committing = store.commit(transaction);
        async move { committing.await.is_ok() }
    };
    for (key, expect, holds) in [
        ("/a", Expect::Exists, true),
        ("/a", Expect::Absent, false),
        ("/a", Expect::At(second), true),
        ("/a", Expect::At(first), false),
        ("/a", Expect::At(Revision::ZERO), false),
        ("/b", Expect::Exists, false),
        ("/b", Expect::Absent, true),
        ("/b", Expect::At(second), false),
        ("/b", Expect::At(Revision::ZERO), false),
    ] {
        assert_eq!(check(key, expect).await, holds, "{key} {expect}");
    }
    let deleted = store.delete("/a", None).await.expect("deleted");
    assert!(check("/a", Expect::Absent).await);
    assert!(!check("/a", Expect::At(deleted)).await);
}

pub(crate) async fn a_transaction_without_effect_takes_no_revision(store: SharedStore) {
    let revision = create(&store, "/a", "1").await;
    let committed = store
        .commit(Transaction::new().delete("/missing"))
        .await
        .expect("nothing to do");
    assert_eq!(
        committed,
        Committed {
            revision,
            effects: vec![Effect::Unchanged]
        }
    );
    let committed = store
        .commit(Transaction::new())
        .await
        .expect("nothing to do");
    assert_eq!(committed.effects, []);
    let mixed = store
        .commit(Transaction::new().delete("/missing").put("/b", "1"))
        .await
        .expect("committed");
    assert_eq!(
        (mixed.revision, mixed.effects),
        (revision.next(), vec![Effect::Unchanged, Effect::Changed])
    );
    // A plain put is a write, also of equal bytes: leaving it out is up to those who know what is there.
    let again = store
        .commit(Transaction::new().put("/b", "1"))
        .await
        .expect("committed");
    assert_eq!(again.revision, mixed.revision.next());
}

pub(crate) async fn a_transaction_of_the_largest_size_is_taken(store: SharedStore) {
    let mut transaction = Transaction::new();
    for n in 0..OPS_MAX {
        transaction = transaction.create(format!("/k{n:03}"), vec![b'v'; 10_000]);
    }
    let revision = store
        .commit(transaction.clone())
        .await
        .expect("committed")
        .revision;
    let page = store.list(ListRequest::new("/k")).await.expect("listed");
    assert_eq!(page.items.len(), OPS_MAX);
    assert!(page.items.iter().all(|item| item.modified == revision));
    // The refusal of a transaction that large carries every item that is in its way.
    let error = store
        .commit(transaction.clone())
        .await
        .expect_err("all exist");
    assert_eq!(
        error.conflict().map(|conflict| conflict.failures.len()),
        Some(OPS_MAX)
    );
    let error = store
        .commit(transaction.put("/one-more", "v"))
        .await
        .expect_err("too many");
    assert!(
        matches!(error, Error::TooLarge { size, limit: OPS_MAX, .. } if size == OPS_MAX + 1),
        "{error}"
    );
}

/// Moves money between accounts while others look: the sum is the same at every revision.
pub(crate) async fn sums_stay_constant_under_concurrent_transfers(store: SharedStore) {
    const ACCOUNTS: usize = 4;
    for n in 0..ACCOUNTS {
        create(&store, &format!("/account/{n}"), "100").await;
    }
    let movers: Vec<_> = (0..4)
        .map(|mover| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..10 {
                    let (from, to) = (
                        (mover + round) % ACCOUNTS,
                        (mover + round + 1 + mover % 2) % ACCOUNTS,
                    );
                    transfer(&store, from, to).await;
                }
            })
        })
        .collect();
    for mover in &movers {
        while !mover.is_finished() {
            let (items, revision) = store.list_all("/account/").await.expect("listed");
            let sum: i64 = items.iter().map(|item| amount(&item.value)).sum();
            assert_eq!(sum, 100 * ACCOUNTS as i64, "at revision {revision}");
        }
    }
    for mover in movers {
        mover.await.expect("the mover ends");
    }
}

async fn transfer(store: &SharedStore, from: usize, to: usize) {
    loop {
        let (source, target) = (
            item(store, &format!("/account/{from}")).await,
            item(store, &format!("/account/{to}")).await,
        );
        let transaction = Transaction::new()
            .expect(&source.key, Expect::At(source.modified))
            .expect(&target.key, Expect::At(target.modified))
            .put(&source.key, (amount(&source.value) - 1).to_string())
            .put(&target.key, (amount(&target.value) + 1).to_string());
        match store.commit(transaction).await {
            Ok(_) => return,
            Err(error) => assert!(error.conflict().is_some(), "{error}"),
        }
    }
}

fn amount(value: &[u8]) -> i64 {
    std::str::from_utf8(value)
        .expect("text")
        .parse()
        .expect("a number")
}

pub(crate) async fn revisions_grow_with_every_acknowledged_write(store: SharedStore) {
    let writer = |writer: usize| {
        let store = store.clone();
        async move {
            let mut revisions = Vec::new();
            for n in 0..20 {
                let revision = create(&store, &format!("/{writer}/{n}"), "v").await;
                // A read that begins after the acknowledgement sees the write.
                let got = store
                    .get(&Key::from(format!("/{writer}/{n}")), None)
                    .await
                    .expect("read");
                assert!(got.item.is_some() && got.revision >= revision);
                revisions.push(revision);
            }
            assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
            revisions
        }
    };
    let mut all: Vec<Revision> = join_all((0..8).map(writer)).await.concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 160, "two transactions share a revision");
}
