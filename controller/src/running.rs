//! What every service shares: the controller's parts once the store is open, and what it waits for until then.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cellblock_schemas::ClusterUid;
use cellblock_store::SharedStore;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::agents::Sessions;
use crate::cache::Cache;
use crate::config::AgentTiming;
use crate::status::RequestError;
use crate::visits::Desk;
use crate::writer::Writer;

/// The parts of a controller whose store is open.
pub(crate) struct Running {
    pub(crate) store: SharedStore,
    pub(crate) cluster: ClusterUid,
    pub(crate) cache: Arc<Cache>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) sessions: Arc<Sessions>,
    over: watch::Sender<bool>,
}

impl Running {
    pub(crate) fn new(
        store: SharedStore,
        cluster: ClusterUid,
        cache: Arc<Cache>,
        writer: Arc<Writer>,
        sessions: Arc<Sessions>,
    ) -> Self {
        Self {
            store,
            cluster,
            cache,
            writer,
            sessions,
            over: watch::Sender::new(false),
        }
    }

    /// Returns once the store is no longer the one that was opened, and nothing goes on with what was read from it.
    pub(crate) async fn over(&self) {
        // The sender lives in `self`.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }
}

/// The state of a controller from before its store is open until it has gone.
pub(crate) struct Shared {
    running: watch::Sender<Option<Arc<Running>>>,
    waits_for: Mutex<String>,
    leaving: watch::Sender<bool>,
    /// Why the store did not answer when it was looked at last.
    unanswered: Mutex<Option<String>>,
    failed: watch::Sender<Option<String>>,
    /// What was started for single connections and outlives their requests.
    tasks: Mutex<JoinSet<()>>,
    /// `etcd` or `embedded`.
    pub(crate) backend: &'static str,
    /// When an agent counts as lost.
    pub(crate) timing: AgentTiming,
    /// How long a client of a watch may take no events while there are some.
    pub(crate) watch_patience: Duration,
    /// Who visits which jail.
    pub(crate) desk: Desk,
}

impl Shared {
    pub(crate) fn new(
        backend: &'static str,
        timing: AgentTiming,
        watch_patience: Duration,
    ) -> Self {
        Self {
            running: watch::Sender::new(None),
            waits_for: Mutex::new("it is starting".to_owned()),
            leaving: watch::Sender::new(false),
            unanswered: Mutex::new(None),
            failed: watch::Sender::new(None),
            tasks: Mutex::new(JoinSet::new()),
            backend,
            timing,
            watch_patience,
            desk: Desk::default(),
        }
    }

    /// The parts, once the store is open and read.
    pub(crate) fn running(&self) -> Result<Arc<Running>, RequestError> {
        let running = self.running.borrow().clone();
        match running {
            Some(running) if *running.cache.ready().borrow() => Ok(running),
            Some(_) => Err(RequestError::NotReady("it is reading the store".to_owned())),
            None => {
                let waits_for = self
                    .waits_for
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                Err(RequestError::NotReady(waits_for.clone()))
            }
        }
    }

    /// The store is open.
    pub(crate) fn set_running(&self, running: Arc<Running>) {
        self.running.send_replace(Some(running));
    }

    /// The parts as they come to be.
    pub(crate) fn watch_running(&self) -> watch::Receiver<Option<Arc<Running>>> {
        self.running.subscribe()
    }

    /// Why the store is not open yet.
    pub(crate) fn set_waiting(&self, reason: String) {
        *self
            .waits_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// What came of the last look at the store.
    pub(crate) fn set_unanswered(&self, reason: Option<String>) {
        *self
            .unanswered
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Why requests are not answered, or not with what is newest, if that is so.
    pub(crate) fn unready(&self) -> Option<String> {
        if let Err(error) = self.running() {
            return Some(error.to_string());
        }
        let unanswered = self
            .unanswered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unanswered.clone()
    }

    /// The controller cannot go on.
    pub(crate) fn fail(&self, reason: String) {
        self.set_waiting(reason.clone());
        self.failed.send_replace(Some(reason));
    }

    /// Returns, with the reason, once the controller cannot go on.
    pub(crate) async fn failed(&self) -> String {
        let mut failed = self.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The sender lives as long as `self`.
            Err(_) => String::new(),
        }
    }

    /// Tells every stream to end.
    pub(crate) fn leave(&self) {
        self.leaving.send_replace(true);
    }

    /// Runs a task that ends with the controller at the latest.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Ends every task that [`Self::spawn`] runs.
    pub(crate) fn end_tasks(&self) -> JoinSet<()> {
        let mut tasks =
            std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.abort_all();
        tasks
    }

    /// Lets go of the store, so that it is closed once the last task that uses it has ended; every stream that was fed from it ends.
    pub(crate) fn forget(&self) -> Option<Arc<Running>> {
        let running = self.running.send_replace(None);
        if let Some(running) = &running {
            running.over.send_replace(true);
        }
        running
    }

    /// Returns once the controller is going away.
    pub(crate) async fn left(&self) {
        // The sender lives as long as `self`.
        let _ = self.leaving.subscribe().wait_for(|leaving| *leaving).await;
    }
}
