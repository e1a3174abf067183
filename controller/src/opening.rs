//! Opening and closing the store: at the start, later when it does not answer at the start, and in order at the end.

use std::sync::Arc;
use std::time::Duration;

use cellblock_store::{Error as StoreError, Retry, Revision, SharedStore, StoreConfig};
use tokio::task::JoinHandle;

use crate::agents::Sessions;
use crate::cache::Cache;
use crate::cluster::{ClusterStore, Known};
use crate::running::{Running, Shared};
use crate::writer::Writer;
use crate::{cluster, follow, reconciler, recorder};

/// How often to look whether the store is let go of.
const CLOSE_POLL: Duration = Duration::from_millis(1);

/// How long what still uses a store that is not the right one any more may take to let go of it.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// How long a start waits for the store before it serves without: a store that is there answers sooner, and whoever starts a
/// controller wants to hear at once of a file that is in use.
const OPEN_PATIENCE: Duration = Duration::from_secs(1);

/// The first wait between two attempts to open a store that does not answer.
const REOPEN_DELAY_MIN: Duration = Duration::from_millis(250);

/// The longest wait between two attempts to open a store that does not answer.
const REOPEN_DELAY_MAX: Duration = Duration::from_secs(10);

/// Opens the store and starts everything that needs it. When the store does not answer, or turns out not to be the one that it was, the
/// task goes on trying.
///
/// # Errors
/// The store cannot be used, and trying again would not help.
pub(crate) async fn open(
    shared: &Arc<Shared>,
    config: StoreConfig,
) -> Result<JoinHandle<()>, StoreError> {
    let mut first = Attempt(tokio::spawn(attempt(config.clone(), None)));
    let opened = tokio::time::timeout(OPEN_PATIENCE, first.result()).await;
    let shared = shared.clone();
    Ok(match opened {
        Ok(Ok(store)) => {
            let works = run(&shared, store);
            tokio::spawn(keep_open(shared, config, works))
        }
        Ok(Err(error)) if matches!(error.retry(), Retry::Never) => return Err(error),
        Ok(Err(error)) => {
            shared.set_waiting(error.to_string());
            tokio::spawn(open_later(shared, config, None))
        }
        Err(_) => tokio::spawn(open_later(shared, config, Some(first))),
    })
}

/// Waits until nobody else holds the store and closes it, so that whoever opens it next does not find it in use. Connections
/// that broke off may hold it for a moment after their tasks were ended.
pub(crate) async fn close(running: Arc<Running>, patience: Duration) {
    let store = running.store.clone();
    drop(running);
    let alone = async {
        let mut pause = tokio::time::interval(CLOSE_POLL);
        while Arc::strong_count(&store) > 1 {
            pause.tick().await;
        }
    };
    if tokio::time::timeout(patience, alone).await.is_err() {
        tracing::warn!(store = store.location(), "somebody still uses the store");
    }
}

async fn attempt(
    config: StoreConfig,
    known: Option<Known>,
) -> Result<Arc<ClusterStore>, StoreError> {
    let store = cellblock_store::open(config).await?;
    let store = cluster::identify(store, known.as_ref()).await?;
    Ok(Arc::new(store))
}

/// An attempt to open the store, given up when it is dropped.
struct Attempt(JoinHandle<Result<Arc<ClusterStore>, StoreError>>);

impl Attempt {
    async fn result(&mut self) -> Result<Arc<ClusterStore>, StoreError> {
        (&mut self.0).await.unwrap_or_else(|error| {
            Err(StoreError::Invalid(format!(
                "opening the store was given up: {error}"
            )))
        })
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn open_later(shared: Arc<Shared>, config: StoreConfig, pending: Option<Attempt>) {
    if let Some(store) = reopen(&shared, &config, None, pending).await {
        let works = run(&shared, store);
        keep_open(shared, config, works).await;
    }
}

/// Goes on with a store for as long as it is the one that was opened; then with nothing, until that one is back.
async fn keep_open(shared: Arc<Shared>, config: StoreConfig, mut works: Works) {
    loop {
        let (known, reason) = works.lost().await;
        tracing::error!(
            reason,
            "nothing is read from the store and nothing written to it any more"
        );
        shared.set_waiting(reason);
        drop(works);
        if let Some(running) = shared.forget() {
            close(running, CLOSE_PATIENCE).await;
        }
        let Some(store) = reopen(&shared, &config, Some(known), None).await else {
            return;
        };
        works = run(&shared, store);
    }
}

/// Tries to open the store until it answers, and is the known one. Gives up, and ends the controller, on an error that trying again does
/// not help.
async fn reopen(
    shared: &Shared,
    config: &StoreConfig,
    known: Option<Known>,
    mut pending: Option<Attempt>,
) -> Option<Arc<ClusterStore>> {
    let mut delay = REOPEN_DELAY_MIN;
    loop {
        let again = || Attempt(tokio::spawn(attempt(config.clone(), known.clone())));
        let mut attempt = match pending.take() {
            Some(attempt) => attempt,
            None => {
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(REOPEN_DELAY_MAX);
                again()
            }
        };
        match attempt.result().await {
            Ok(store) => return Some(store),
            Err(error) => {
                let reason = error.to_string();
                if matches!(error.retry(), Retry::Never) {
                    shared.fail(reason);
                    return None;
                }
                tracing::warn!(
                    reason,
                    retry_ms = delay.as_millis(),
                    "the store cannot be used"
                );
                shared.set_waiting(reason);
            }
        }
    }
}

/// Everything that runs on an open store; it ends when this is dropped.
struct Works {
    store: Arc<ClusterStore>,
    cache: Arc<Cache>,
    follow: JoinHandle<StoreError>,
    others: [JoinHandle<()>; 2],
}

impl Works {
    /// Returns once the store is not the one that it was, with what was known of it and the reason.
    async fn lost(&mut self) -> (Known, String) {
        let reason = tokio::select! {
            reason = self.store.clone().lost() => reason,
            ended = &mut self.follow => match ended {
                Ok(error) => self.store.refused(&error),
                Err(error) => error.to_string(),
            },
        };
        let mut known = self.store.known();
        known.revision = known.revision.max(Revision(self.cache.index().revision()));
        (known, reason)
    }
}

impl Drop for Works {
    fn drop(&mut self) {
        self.follow.abort();
        self.others.iter().for_each(JoinHandle::abort);
    }
}

/// Starts everything that needs the store.
fn run(shared: &Shared, opened: Arc<ClusterStore>) -> Works {
    let cluster = opened.known().uid;
    let store: SharedStore = opened.clone();
    let cache = Arc::new(Cache::new(cluster.clone()));
    let writer = Arc::new(Writer::new(store.clone(), cache.clone()));
    let sessions = Arc::new(Sessions::new(
        store.clone(),
        cache.clone(),
        shared.timing.lease_ttl,
    ));
    let works = Works {
        store: opened,
        cache: cache.clone(),
        follow: tokio::spawn(follow::follow(store.clone(), cache.clone())),
        others: [
            tokio::spawn(reconciler::run(
                cache.clone(),
                writer.clone(),
                shared.timing.start_grace,
            )),
            tokio::spawn(recorder::run(
                store.clone(),
                cache.clone(),
                sessions.clone(),
            )),
        ],
    };
    tracing::info!(%cluster, store = store.location(), "the store is open");
    let running = Running::new(store, cluster, cache, writer, sessions);
    shared.set_running(Arc::new(running));
    works
}
