//! The cluster's identity: made in the store by whichever controller comes first, read by all others. And the store as it is seen by a
//! controller that has read it: one that was emptied, exchanged or set back is neither read nor written any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cellblock_controller_core::keys::{CLUSTER_KEY, Keys};
use cellblock_schemas::ClusterUid;
use cellblock_store::{
    BoxFuture, Committed, Error, Expect, Got, Health, Key, Lease, LeaseId, ListRequest, Outcome,
    Page, Revision, SharedStore, Store, Transaction, Watch, WatchRequest,
};
use tokio::sync::watch;

/// The epoch of a cluster that was never restored or migrated.
const FIRST_EPOCH: &str = "1";

/// What a stream is told that was fed from a store that is not gone on with.
pub(crate) const LOST: &str = "its store is not the one that it was";

/// How often a store is looked at that nobody reads or writes.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What a controller knows of a cluster whose store it has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) uid: ClusterUid,
    /// The newest revision that the store has told of.
    pub(crate) revision: Revision,
}

/// Reads the cluster's uid, or makes it together with the first epoch in a store that has none. Of a cluster that is known nothing is made: the
/// store has it, at least at the known revision, or it is not the store.
///
/// # Errors
/// The store does not answer, holds something that is no uid, or is not that of the known cluster.
pub(crate) async fn identify(
    store: SharedStore,
    known: Option<&Known>,
) -> Result<ClusterStore, Error> {
    let key = Key::from(CLUSTER_KEY);
    loop {
        let got = store.get(&key, None).await?;
        if let Some(item) = &got.item {
            let uid = std::str::from_utf8(&item.value)
                .ok()
                .filter(|uid| is_uid(uid))
                .map(|uid| ClusterUid(uid.to_owned()));
            let uid = uid.ok_or_else(|| {
                Error::Invalid(format!(
                    "{CLUSTER_KEY} in {} holds no cluster uid",
                    store.location()
                ))
            })?;
            if let Some(known) = known {
                if known.uid != uid {
                    return Err(lost(&*store, &emptied(&known.uid)));
                }
                if got.revision < known.revision {
                    return Err(lost(&*store, &set_back(known.revision, got.revision)));
                }
            }
            return ClusterStore::open(store, uid, got.revision).await;
        }
        if let Some(known) = known {
            return Err(lost(&*store, &emptied(&known.uid)));
        }
        let uid = ClusterUid(uuid::Uuid::new_v4().to_string());
        let epoch = Keys::new(&uid).epoch();
        let first = Transaction::new()
            .expect(key.clone(), Expect::Absent)
            .put(key.clone(), uid.0.clone().into_bytes())
            .put(epoch, FIRST_EPOCH.as_bytes().to_vec());
        match store.commit(first).await {
            Ok(_) => tracing::info!(cluster = %uid, "made a new cluster"),
            // Another controller was first: read what it made.
            Err(Error::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
    }
}

fn emptied(uid: &ClusterUid) -> String {
    format!(
        "cluster {uid}, which this controller has read from it, is not in it any more: was it emptied, or is it another store? bring back the one that was there, or a snapshot of it"
    )
}

fn set_back(known: Revision, current: Revision) -> String {
    format!(
        "it is at revision {current}, and this controller has read revision {known} from it: was it restored from an older backup? bring back the newer one, or restart the controller to go on with this one, once you have read docs/operations/stores.md on what agents do then"
    )
}

/// The store cannot be gone on with. Nothing is lost but time: trying again helps once the right one is back.
fn lost(store: &dyn Store, reason: &str) -> Error {
    Error::Unavailable {
        location: store.location().to_owned(),
        reason: format!("it is not the store that it was: {reason}"),
        outcome: Outcome::NotApplied,
    }
}

/// The store of one cluster. Each write compares that the cluster is in it, each answer that it has not gone back; once either fails
/// [`Self::lost`] returns, and no write is made any more.
pub(crate) struct ClusterStore {
    store: SharedStore,
    uid: ClusterUid,
    /// A key that is there from the beginning, and that no other cluster has: the uid is a part of it.
    epoch: Key,
    epoch_modified: AtomicU64,
    newest: AtomicU64,
    lost: watch::Sender<Option<String>>,
}

impl ClusterStore {
    async fn open(store: SharedStore, uid: ClusterUid, newest: Revision) -> Result<Self, Error> {
        let epoch = Key::from(Keys::new(&uid).epoch().as_str());
        let Some(item) = store.get(&epoch, None).await?.item else {
            return Err(Error::Invalid(format!(
                "{} has the cluster {uid} but not its epoch ({epoch}): restore it from a backup",
                store.location()
            )));
        };
        Ok(Self {
            store,
            uid,
            epoch,
            epoch_modified: AtomicU64::new(item.modified.0),
            newest: AtomicU64::new(newest.0),
            lost: watch::Sender::new(None),
        })
    }

    pub(crate) fn known(&self) -> Known {
        Known {
            uid: self.uid.clone(),
            revision: Revision(self.newest.load(Ordering::Acquire)),
        }
    }

    /// Returns, with the reason, once the store is not the one that it was. Looks at it from time to time.
    pub(crate) async fn lost(self: Arc<Self>) -> String {
        let mut lost = self.lost.subscribe();
        let looking = async {
            let mut pause = tokio::time::interval(LOOK_INTERVAL);
            loop {
                pause.tick().await;
                self.look().await;
            }
        };
        tokio::select! {
            reason = lost.wait_for(Option::is_some) => {
                // The sender lives in `self`.
                reason.ok().and_then(|reason| reason.clone()).unwrap_or_default()
            }
            () = looking => String::new(),
        }
    }

    async fn look(&self) {
        let cluster = self.get(&Key::from(CLUSTER_KEY), None).await;
        let Ok(Got { item, .. }) = cluster else {
            // A store that does not answer may be the same.
            return;
        };
        if item.is_none_or(|item| item.value != self.uid.0.as_bytes()) {
            self.lose(&emptied(&self.uid));
        }
    }

    fn lose(&self, reason: &str) -> Error {
        let error = lost(&*self.store, reason);
        self.lost.send_if_modified(|lost| {
            let is_first = lost.is_none();
            if is_first {
                *lost = Some(error.to_string());
            }
            is_first
        });
        error
    }

    /// Why the store is not gone on with after a watch has ended with an error.
    pub(crate) fn refused(&self, error: &Error) -> String {
        let reason = if let Error::FutureRevision { asked, current } = error {
            set_back(*asked, *current)
        } else {
            error.to_string()
        };
        self.lose(&reason).to_string()
    }

    fn may_go_on(&self) -> Result<(), Error> {
        match &*self.lost.borrow() {
            None => Ok(()),
            Some(_) => Err(lost(&*self.store, "see the log")),
        }
    }

    /// Takes note of a revision that the store has told, to a question asked when it had told of `before`.
    fn told(&self, before: u64, revision: Revision) -> Result<(), Error> {
        if revision.0 < before {
            return Err(self.lose(&set_back(Revision(before), revision)));
        }
        self.newest.fetch_max(revision.0, Ordering::AcqRel);
        Ok(())
    }

    fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// A comparison that failed because the cluster is gone; the epoch may have been raised, and then it is only newer.
    fn conflicted(&self, error: Error) -> Error {
        let epoch = error
            .conflict()
            .and_then(|conflict| {
                let mut failures = conflict.failures.iter();
                failures.find(|failure| failure.key == self.epoch)
            })
            .map(|failure| failure.current.as_ref().map(|item| item.modified));
        match epoch {
            None => error,
            Some(Some(modified)) => {
                self.epoch_modified.store(modified.0, Ordering::Release);
                error
            }
            Some(None) => self.lose(&emptied(&self.uid)),
        }
    }
}

impl Store for ClusterStore {
    fn location(&self) -> &str {
        self.store.location()
    }

    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    fn get<'a>(&'a self, key: &'a Key, at: Option<Revision>) -> BoxFuture<'a, Result<Got, Error>> {
        Box::pin(async move {
            let before = self.newest();
            let got = self.store.get(key, at).await?;
            if at.is_none() {
                self.told(before, got.revision)?;
            }
            Ok(got)
        })
    }

    fn list(&self, request: ListRequest) -> BoxFuture<'_, Result<Page, Error>> {
        Box::pin(async move {
            let before = self.newest();
            let is_now = request.at.is_none() && request.after.is_none();
            let page = self.store.list(request).await?;
            if is_now {
                self.told(before, page.revision)?;
            }
            Ok(page)
        })
    }

    fn count<'a>(
        &'a self,
        prefix: &'a Key,
        at: Option<Revision>,
    ) -> BoxFuture<'a, Result<u64, Error>> {
        self.store.count(prefix, at)
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed, Error>> {
        Box::pin(async move {
            self.may_go_on()?;
            let before = self.newest();
            let modified = Revision(self.epoch_modified.load(Ordering::Acquire));
            let ours = transaction.expect(self.epoch.clone(), Expect::At(modified));
            let committed = self.store.commit(ours).await;
            let committed = committed.map_err(|error| self.conflicted(error))?;
            self.told(before, committed.revision)?;
            Ok(committed)
        })
    }

    fn watch(&self, request: WatchRequest) -> Watch {
        self.store.watch(request)
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, Error>> {
        self.store.grant(ttl)
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<Duration, Error>> {
        self.store.keep_alive(lease)
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        self.store.revoke(lease)
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>> {
        self.store.compact(revision)
    }

    fn current_revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        Box::pin(async move {
            let before = self.newest();
            let revision = self.store.current_revision().await?;
            self.told(before, revision)?;
            Ok(revision)
        })
    }

    fn health(&self) -> BoxFuture<'_, Result<Health, Error>> {
        self.store.health()
    }
}

/// The uid becomes a part of keys and of marks on hosts, so only what cannot break either counts as one.
fn is_uid(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
