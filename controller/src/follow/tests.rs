//! What a controller knows of the time before it.

use cellblock_controller_core::keys::Keys;
use cellblock_schemas::{ClusterUid, Kind};
use cellblock_store::testing::EphemeralStore;
use cellblock_store::{
    BoxFuture, Committed, EmbeddedOptions, EmbeddedStore, Got, Health, Key, Lease, LeaseId, Page,
    Store, Transaction,
};
use serde_json::json;

use super::*;

fn host(transaction: Transaction, name: &str) -> Transaction {
    let document = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host",
        "metadata": {"name": name, "uid": name}, "spec": {},
    });
    transaction.put(key(name), document.to_string())
}

fn key(name: &str) -> String {
    Keys::new(&ClusterUid("c1".to_owned())).object(Kind::Host, name)
}

/// What is told to who resumes at a revision, once everything is in.
async fn resumed(store: &SharedStore, after: u64, reached: u64) -> Vec<(u64, usize)> {
    let cache = Arc::new(Cache::new(ClusterUid("c1".to_owned())));
    let following = tokio::spawn(follow(store.clone(), cache.clone()));
    let mut ready = cache.ready();
    ready.wait_for(|ready| *ready).await.expect("it follows");
    assert!(cache.reached(reached, REMEMBERING).await);
    let several = |batch: &crate::cache::Batch| batch.events.len() > 1;
    let subscription = cache.subscribe(after, several).expect("known");
    following.abort();
    let missed = subscription.missed.into_iter();
    missed
        .map(|batch| (batch.revision, batch.events.len()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recent_past_is_known_though_the_newest_revision_is_somebody_elses() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = EmbeddedOptions::new(folder.path().join("store"));
    let store = EmbeddedStore::open(options).await.expect("it opens");
    let store: SharedStore = Arc::new(store);
    let mut revisions = Vec::new();
    for transaction in [
        Transaction::new().put("/elsewhere/a", "1"),
        host(host(Transaction::new(), "a"), "b"),
        host(Transaction::new(), "c"),
        Transaction::new().delete(key("a")),
        Transaction::new().put("/elsewhere/a", "2"),
    ] {
        let committed = store.commit(transaction).await.expect("committed");
        revisions.push(committed.revision.0);
    }
    let [before, several, one, removed, newest] = revisions[..] else {
        panic!("five were written");
    };
    let all = [(several, 2), (one, 1), (removed, 1)];
    assert_eq!(resumed(&store, before, newest).await, all);
    // In the middle of a transaction, which is told again; behind one of a single event.
    assert_eq!(resumed(&store, several, newest).await, all);
    assert_eq!(resumed(&store, one, newest).await, [(removed, 1)]);
}

/// A store of which every watch ends at once, as one that is older than what was read from it.
struct Behind(SharedStore);

impl Store for Behind {
    fn location(&self) -> &str {
        self.0.location()
    }

    fn get<'a>(&'a self, key: &'a Key, at: Option<Revision>) -> BoxFuture<'a, Result<Got, Error>> {
        self.0.get(key, at)
    }

    fn list(&self, request: ListRequest) -> BoxFuture<'_, Result<Page, Error>> {
        self.0.list(request)
    }

    fn count<'a>(
        &'a self,
        prefix: &'a Key,
        at: Option<Revision>,
    ) -> BoxFuture<'a, Result<u64, Error>> {
        self.0.count(prefix, at)
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed, Error>> {
        self.0.commit(transaction)
    }

    fn watch(&self, request: WatchRequest) -> Watch {
        let ahead = Revision(request.after.0 + 1_000_000);
        self.0.watch(WatchRequest {
            after: ahead,
            ..request
        })
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, Error>> {
        self.0.grant(ttl)
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<Duration, Error>> {
        self.0.keep_alive(lease)
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        self.0.revoke(lease)
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>> {
        self.0.compact(revision)
    }

    fn current_revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        self.0.current_revision()
    }

    fn health(&self) -> BoxFuture<'_, Result<Health, Error>> {
        self.0.health()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_watch_says_at_its_end_is_heard_where_the_history_begins() {
    let own = EphemeralStore::embedded().await.expect("a store");
    let written = Transaction::new().put("/elsewhere/a", "1");
    own.store().commit(written).await.expect("committed");
    let store: SharedStore = Arc::new(Behind(own.store()));
    let cache = Arc::new(Cache::new(ClusterUid("c1".to_owned())));
    let ended = tokio::time::timeout(REMEMBERING, follow(store, cache)).await;
    let error = ended.expect("it ends");
    assert!(matches!(error, Error::FutureRevision { .. }), "{error}");
}
