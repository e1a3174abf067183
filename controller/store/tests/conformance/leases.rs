//! Leases and the keys under them.

use std::time::{Duration, Instant};

use cellblock_store::{
    Error, Event, Expect, HeldLease, LeaseId, SharedStore, StoreExt, Transaction, WatchRequest,
};

use crate::support::{create, exists, item, next_changes, now, soon};

/// The shortest lease that etcd grants with its default election timeout is 2 s.
const TTL: Duration = Duration::from_secs(2);

async fn put_leased(store: &SharedStore, key: &str, lease: LeaseId) {
    store
        .commit(Transaction::new().put_leased(key, "v", lease))
        .await
        .expect("committed");
}

/// Waits until a key has been deleted after a revision.
async fn deletion_of(store: &SharedStore, key: &str, after: cellblock_store::Revision) {
    let mut watch = store.watch(WatchRequest::new(key, after));
    loop {
        let (_, events) = next_changes(&mut watch).await;
        if events
            .iter()
            .any(|event| matches!(event, Event::Delete { .. }))
        {
            return;
        }
    }
}

pub(crate) async fn keys_vanish_with_their_lease_and_not_before(store: SharedStore) {
    let error = store.grant(Duration::ZERO).await.expect_err("no time");
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    let lease = store
        .grant(Duration::from_millis(1_500))
        .await
        .expect("granted");
    let granted = Instant::now();
    assert!(lease.ttl >= TTL, "{:?}", lease.ttl);
    let start = now(&store).await;
    put_leased(&store, "/leased/a", lease.id).await;
    put_leased(&store, "/leased/b", lease.id).await;
    create(&store, "/free", "v").await;
    assert_eq!(item(&store, "/leased/a").await.lease, Some(lease.id));
    soon("expiry", deletion_of(&store, "/leased/a", start)).await;
    assert!(
        granted.elapsed() >= lease.ttl,
        "vanished after {:?} of {:?}",
        granted.elapsed(),
        lease.ttl
    );
    soon("expiry", deletion_of(&store, "/leased/b", start)).await;
    assert!(exists(&store, "/free").await);
    assert_eq!(
        store.keep_alive(lease.id).await,
        Err(Error::LeaseNotFound(lease.id))
    );
}

pub(crate) async fn a_lease_kept_alive_outlives_one_that_is_not(store: SharedStore) {
    let held = HeldLease::grant(store.clone(), TTL).await.expect("granted");
    put_leased(&store, "/held", held.id()).await;
    let start = now(&store).await;
    for round in 0..2 {
        let other = store.grant(TTL).await.expect("granted");
        let key = format!("/other/{round}");
        put_leased(&store, &key, other.id).await;
        soon("expiry", deletion_of(&store, &key, start)).await;
        assert!(exists(&store, "/held").await && !held.is_lost());
    }
    let id = held.id();
    held.revoke().await.expect("revoked");
    assert!(!exists(&store, "/held").await);
    assert_eq!(store.keep_alive(id).await, Err(Error::LeaseNotFound(id)));
}

pub(crate) async fn revoking_removes_all_keys_in_one_transaction(store: SharedStore) {
    let lease = store
        .grant(Duration::from_secs(600))
        .await
        .expect("granted");
    assert!(store.keep_alive(lease.id).await.expect("alive") >= Duration::from_secs(600));
    for n in 0..5 {
        put_leased(&store, &format!("/leased/{n}"), lease.id).await;
    }
    let start = now(&store).await;
    let mut watch = store.watch(WatchRequest::new("/leased/", start));
    store.revoke(lease.id).await.expect("revoked");
    let (_, events) = next_changes(&mut watch).await;
    assert_eq!(events.len(), 5);
    assert!(
        events
            .iter()
            .all(|event| matches!(event, Event::Delete { .. })),
        "{events:?}"
    );
    assert_eq!(store.count(&"/leased/".into(), None).await, Ok(0));
    assert_eq!(
        store.revoke(lease.id).await,
        Err(Error::LeaseNotFound(lease.id))
    );
}

pub(crate) async fn a_lease_that_is_gone_is_told(store: SharedStore) {
    let lease = store
        .grant(Duration::from_secs(600))
        .await
        .expect("granted");
    store.revoke(lease.id).await.expect("revoked");
    let before = now(&store).await;
    let transaction = Transaction::new()
        .put("/other", "v")
        .put_leased("/leased", "v", lease.id);
    assert_eq!(
        store.commit(transaction).await,
        Err(Error::LeaseNotFound(lease.id))
    );
    assert_eq!(
        (now(&store).await, exists(&store, "/other").await),
        (before, false)
    );
    assert_eq!(
        store.keep_alive(lease.id).await,
        Err(Error::LeaseNotFound(lease.id))
    );
    let never = LeaseId(0x7777);
    assert_eq!(
        store.keep_alive(never).await,
        Err(Error::LeaseNotFound(never))
    );
}

pub(crate) async fn a_plain_put_leaves_the_lease(store: SharedStore) {
    let first = store
        .grant(Duration::from_secs(600))
        .await
        .expect("granted");
    let second = store
        .grant(Duration::from_secs(600))
        .await
        .expect("granted");
    for key in ["/freed", "/moved", "/deleted", "/stays"] {
        put_leased(&store, key, first.id).await;
    }
    store
        .commit(Transaction::new().put("/freed", "v2"))
        .await
        .expect("committed");
    put_leased(&store, "/moved", second.id).await;
    store.delete("/deleted", None).await.expect("deleted");
    create(&store, "/deleted", "again").await;
    store.revoke(first.id).await.expect("revoked");
    assert!(!exists(&store, "/stays").await);
    for key in ["/freed", "/moved", "/deleted"] {
        assert!(exists(&store, key).await, "{key}");
    }
    store.revoke(second.id).await.expect("revoked");
    assert!(!exists(&store, "/moved").await && exists(&store, "/freed").await);
}

pub(crate) async fn an_update_keeps_the_lease(store: SharedStore) {
    let lease = store
        .grant(Duration::from_secs(600))
        .await
        .expect("granted");
    put_leased(&store, "/a", lease.id).await;
    let known = item(&store, "/a").await;
    store.replace(&known, "2").await.expect("replaced");
    assert_eq!(item(&store, "/a").await.lease, Some(lease.id));
    store.revoke(lease.id).await.expect("revoked");
    assert!(!exists(&store, "/a").await);
}

pub(crate) async fn a_campaign_passes_leadership_on(store: SharedStore) {
    let start = now(&store).await;
    let (first, second) = (
        HeldLease::grant(store.clone(), TTL).await.expect("granted"),
        HeldLease::grant(store.clone(), TTL).await.expect("granted"),
    );
    let campaign = |name: &'static str, lease: &HeldLease| {
        Transaction::new()
            .expect("/leader", Expect::Absent)
            .put_leased("/leader", name, lease.id())
    };
    store
        .commit(campaign("first", &first))
        .await
        .expect("nobody leads yet");
    let lost = store
        .commit(campaign("second", &second))
        .await
        .expect_err("the first leads");
    assert_eq!(
        lost.conflict()
            .and_then(|conflict| conflict.failures[0].current.clone())
            .map(|item| item.value),
        Some("first".into())
    );
    // The first dies: nothing keeps its lease alive any more.
    drop(first);
    soon(
        "the end of the leader",
        deletion_of(&store, "/leader", start),
    )
    .await;
    store
        .commit(campaign("second", &second))
        .await
        .expect("nobody leads any more");
    assert_eq!(item(&store, "/leader").await.value, "second");
    assert!(!second.is_lost());
}

pub(crate) async fn a_held_lease_notices_its_loss(store: SharedStore) {
    let held = HeldLease::grant(store.clone(), TTL).await.expect("granted");
    assert!(!held.is_lost());
    store.revoke(held.id()).await.expect("revoked");
    soon("the loss", held.lost()).await;
    assert!(held.is_lost());
}
