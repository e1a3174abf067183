//! Who waits for what, and how often the store is asked.

use std::sync::atomic::AtomicBool;

use cellblock_schemas::ClusterUid;
use cellblock_store::{
    BoxFuture, Committed, EmbeddedOptions, EmbeddedStore, Got, Health, Key, Lease, LeaseId,
    ListRequest, Page, Result, Revision, Store, Watch, WatchRequest,
};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::*;

/// How long anything may take that a test waits for.
const DEADLINE: Duration = Duration::from_secs(30);

/// A file as if others wrote to it too, of whose revision it is asked only as often as there are permits.
pub(crate) struct Shared {
    store: SharedStore,
    permits: Semaphore,
    asked: AtomicU64,
    away: AtomicBool,
    _folder: TempDir,
}

impl Shared {
    pub(crate) async fn new(permits: usize) -> Arc<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = EmbeddedOptions {
            progress_interval: 100 * DEADLINE,
            ..EmbeddedOptions::new(folder.path().join("store"))
        };
        let store = EmbeddedStore::open(options).await.expect("it opens");
        Arc::new(Self {
            store: Arc::new(store),
            permits: Semaphore::new(permits),
            asked: AtomicU64::new(0),
            away: AtomicBool::new(false),
            _folder: folder,
        })
    }

    /// A cache of it, and what feeds it.
    pub(crate) async fn followed(
        self: &Arc<Self>,
        cluster: &str,
    ) -> (Arc<Cache>, JoinHandle<Error>) {
        let cache = Arc::new(Cache::new(ClusterUid(cluster.to_owned())));
        let following = self.follow(&cache);
        let mut ready = cache.ready();
        ready.wait_for(|ready| *ready).await.expect("it follows");
        (cache, following)
    }

    pub(crate) fn follow(self: &Arc<Self>, cache: &Arc<Cache>) -> JoinHandle<Error> {
        tokio::spawn(crate::follow::follow(self.clone(), cache.clone()))
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Store for Shared {
    fn location(&self) -> &str {
        self.store.location()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn get<'a>(&'a self, key: &'a Key, at: Option<Revision>) -> BoxFuture<'a, Result<Got>> {
        self.store.get(key, at)
    }

    fn list(&self, request: ListRequest) -> BoxFuture<'_, Result<Page>> {
        self.store.list(request)
    }

    fn count<'a>(&'a self, prefix: &'a Key, at: Option<Revision>) -> BoxFuture<'a, Result<u64>> {
        self.store.count(prefix, at)
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed>> {
        self.store.commit(transaction)
    }

    fn watch(&self, request: WatchRequest) -> Watch {
        self.store.watch(request)
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease>> {
        self.store.grant(ttl)
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<Duration>> {
        self.store.keep_alive(lease)
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>> {
        self.store.revoke(lease)
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<()>> {
        self.store.compact(revision)
    }

    fn current_revision(&self) -> BoxFuture<'_, Result<Revision>> {
        Box::pin(async {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let permit = self.permits.acquire().await;
            permit.expect("it is never closed").forget();
            if self.away.load(Ordering::SeqCst) {
                return Err(Error::Unavailable {
                    location: self.location().to_owned(),
                    reason: "nobody is there".to_owned(),
                    outcome: Outcome::NotApplied,
                });
            }
            self.store.current_revision().await
        })
    }

    fn health(&self) -> BoxFuture<'_, Result<Health>> {
        self.store.health()
    }
}

async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, waiting).await;
    waited.expect("it comes to be so");
}

/// One whose question is under way, and twenty who come meanwhile.
async fn many(newest: &Arc<Newest>, store: &Shared) -> JoinSet<Result<()>> {
    let mut waiting = JoinSet::new();
    for number in 1..=21 {
        let newest = newest.clone();
        waiting.spawn(async move { newest.catch_up(&mut Since::default()).await });
        if number == 1 {
            until(async || store.asked() == 1).await;
        }
    }
    waiting
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_come_while_the_store_is_asked_are_answered_by_the_next_question() {
    let store = Shared::new(0).await;
    let (cache, following) = store.followed("c1").await;
    let newest = Arc::new(Newest::new(store.clone(), cache));
    let waiting = many(&newest, &store).await;
    until(async || newest.came.load(Ordering::SeqCst) == 21).await;
    store.permits.add_permits(100);
    let done = tokio::time::timeout(DEADLINE, waiting.join_all()).await;
    let done = done.expect("it answers");
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert_eq!(store.asked(), 2);
    // For one request it is asked once.
    let mut since = Since::default();
    for _ in 0..3 {
        newest.catch_up(&mut since).await.expect("it answers");
    }
    assert_eq!(store.asked(), 3);
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_waited_for_by_all_together() {
    let store = Shared::new(0).await;
    let (cache, following) = store.followed("c1").await;
    let newest = Arc::new(Newest::new(store.clone(), cache));
    store.away.store(true, Ordering::SeqCst);
    let waiting = many(&newest, &store).await;
    until(async || newest.came.load(Ordering::SeqCst) == 21).await;
    store.permits.add_permits(100);
    let done = tokio::time::timeout(DEADLINE, waiting.join_all()).await;
    for error in done.expect("it answers") {
        let error = error.expect_err("it is away").to_string();
        assert!(error.contains("nobody is there"), "{error}");
    }
    assert_eq!(store.asked(), 2);
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_behind_is_waited_for() {
    let store = Shared::new(1000).await;
    let (cache, following) = store.followed("c1").await;
    let newest = Arc::new(Newest::new(store.clone(), cache.clone()));
    following.abort();
    let key = format!("{}objects/Host/a", cache.index().keys().root());
    let written = store.commit(Transaction::new().put(key, "{}")).await;
    let written = written.expect("committed").revision.0;
    let waiting = tokio::spawn({
        let newest = newest.clone();
        async move { newest.catch_up(&mut Since::default()).await }
    });
    // It has lost its patience with the watch, and waits for it all the same.
    let mark = Key::from(cache.index().keys().mark());
    let got = async |key: &Key| store.get(key, None).await.expect("read").item;
    until(async || got(&mark).await.is_some()).await;
    assert!(!waiting.is_finished());
    assert!(cache.index().revision() < written);
    let following = store.follow(&cache);
    let done = tokio::time::timeout(DEADLINE, waiting).await;
    let done = done.expect("it comes to know").expect("it ends");
    done.expect("it is there");
    assert!(cache.index().revision() >= written);
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_others_keep_in_the_store_the_watch_is_made_to_tell() {
    let store = Shared::new(1000).await;
    let (cache, following) = store.followed("c1").await;
    let newest = Arc::new(Newest::new(store.clone(), cache.clone()));
    let other = store.commit(Transaction::new().put("/elsewhere", "1"));
    let other = other.await.expect("committed").revision.0;
    let all = (0..20).map(|_| {
        let newest = newest.clone();
        async move { newest.catch_up(&mut Since::default()).await }
    });
    for done in futures::future::join_all(all).await {
        done.expect("it is there");
    }
    let reached = cache.index().revision();
    assert_eq!(reached, other + 1, "one write for all");
    following.abort();
}

/// Where others write to the same store, a read may write a mark: no controller looks at its whole fleet for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_for_the_watch_to_tell_wakes_no_reconciler() {
    let store = Shared::new(1000).await;
    let (cache, following) = store.followed("c1").await;
    let newest = Newest::new(store.clone(), cache.clone());
    let mut changed = cache.changed();
    changed.mark_unchanged();
    for round in 0..3 {
        let other = store.commit(Transaction::new().put("/elsewhere", round.to_string()));
        let other = other.await.expect("committed").revision.0;
        newest
            .catch_up(&mut Since::default())
            .await
            .expect("it is there");
        assert!(cache.index().revision() > other, "a mark was written");
    }
    assert!(!changed.has_changed().expect("the cache lives"));
    let key = format!("{}objects/Host/a", cache.index().keys().root());
    store
        .commit(Transaction::new().put(key, "{}"))
        .await
        .expect("committed");
    let woken = tokio::time::timeout(DEADLINE, changed.changed()).await;
    woken.expect("it is ours").expect("the cache lives");
    following.abort();
}
