//! Opening and closing the store: at the start, later when it does not answer at the start, and in order at the end.

use std::sync::Arc;
use std::time::Duration;

use cellblock_schemas::ClusterUid;
use cellblock_store::{Error as StoreError, Retry, SharedStore, StoreConfig};
use tokio::task::JoinHandle;

use crate::agents::Sessions;
use crate::cache::Cache;
use crate::running::{Running, Shared};
use crate::writer::Writer;
use crate::{cluster, follow, reconciler, recorder};

/// How often to look whether the store is let go of.
const CLOSE_POLL: Duration = Duration::from_millis(1);

/// How long a start waits for the store before it serves without: a store that is there answers sooner, and whoever starts a
/// controller wants to hear at once of a file that is in use.
const OPEN_PATIENCE: Duration = Duration::from_secs(1);

/// The first wait between two attempts to open a store that does not answer.
const REOPEN_DELAY_MIN: Duration = Duration::from_millis(250);

/// The longest wait between two attempts to open a store that does not answer.
const REOPEN_DELAY_MAX: Duration = Duration::from_secs(10);

/// Opens the store and starts everything that needs it. When the store does not answer the tasks go on trying.
///
/// # Errors
/// The store cannot be used, and trying again would not help.
pub(crate) async fn open(
    shared: &Arc<Shared>,
    config: StoreConfig,
) -> Result<Vec<JoinHandle<()>>, StoreError> {
    let mut first = Attempt(tokio::spawn(attempt(config.clone())));
    let pending = match tokio::time::timeout(OPEN_PATIENCE, first.result()).await {
        Ok(Ok(opened)) => return Ok(run(shared, opened)),
        Ok(Err(error)) if matches!(error.retry(), Retry::Never) => return Err(error),
        Ok(Err(error)) => {
            shared.set_waiting(error.to_string());
            None
        }
        Err(_) => Some(first),
    };
    Ok(vec![tokio::spawn(reopen(shared.clone(), config, pending))])
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

/// A store with the cluster in it.
struct Opened {
    store: SharedStore,
    cluster: ClusterUid,
}

async fn attempt(config: StoreConfig) -> Result<Opened, StoreError> {
    let store = cellblock_store::open(config).await?;
    let cluster = cluster::identify(&store).await?;
    Ok(Opened { store, cluster })
}

/// An attempt to open the store, given up when it is dropped.
struct Attempt(JoinHandle<Result<Opened, StoreError>>);

impl Attempt {
    async fn result(&mut self) -> Result<Opened, StoreError> {
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

/// Tries to open the store until it answers, then runs with it until the task is dropped. An error that trying again does not
/// help ends the controller.
async fn reopen(shared: Arc<Shared>, config: StoreConfig, pending: Option<Attempt>) {
    let mut delay = REOPEN_DELAY_MIN;
    let mut result = match pending {
        Some(mut pending) => Some(pending.result().await),
        None => None,
    };
    let opened = loop {
        match result {
            Some(Ok(opened)) => break opened,
            Some(Err(error)) => {
                let reason = error.to_string();
                if matches!(error.retry(), Retry::Never) {
                    return shared.fail(reason);
                }
                tracing::warn!(
                    reason,
                    retry_ms = delay.as_millis(),
                    "the store does not answer"
                );
                shared.set_waiting(reason);
            }
            None => {}
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(REOPEN_DELAY_MAX);
        result = Some(attempt(config.clone()).await);
    };
    let tasks = AbortOnDrop(run(&shared, opened));
    shared.left().await;
    drop(tasks);
}

struct AbortOnDrop(Vec<JoinHandle<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Starts everything that needs the store.
fn run(shared: &Shared, Opened { store, cluster }: Opened) -> Vec<JoinHandle<()>> {
    let cache = Arc::new(Cache::new(cluster.clone()));
    let writer = Arc::new(Writer::new(store.clone(), cache.clone()));
    let sessions = Arc::new(Sessions::new(
        store.clone(),
        cache.clone(),
        shared.timing.lease_ttl,
    ));
    let tasks = vec![
        tokio::spawn(follow::follow(store.clone(), cache.clone())),
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
    ];
    tracing::info!(%cluster, store = store.location(), "the store is open");
    shared.set_running(Arc::new(Running {
        store,
        cluster,
        cache,
        writer,
        sessions,
    }));
    tasks
}
