//! A whole controller in this process: opens the store, starts the tasks, serves, and goes in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cellblock_proto::v1::FILE_DESCRIPTOR_SET;
use cellblock_proto::v1::agents_server::AgentsServer;
use cellblock_proto::v1::objects_server::ObjectsServer;
use cellblock_store::{Error as StoreError, Retry, SharedStore, StoreConfig};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::agents::{AgentsService, Sessions};
use crate::cache::Cache;
use crate::config::{Config, ConfigError, TlsConfig};
use crate::objects::ObjectsService;
use crate::running::{Running, Shared};
use crate::writer::Writer;
use crate::{cluster, follow, metrics_server, reconciler, telemetry};

/// How large a request may be: many manifests applied at once, or the report of a host with thousands of jails. One object
/// may have 1 MiB.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// How long open requests may take to finish once the controller is told to go.
const GOODBYE: Duration = Duration::from_secs(10);

/// How often to look whether the store is let go of.
const CLOSE_POLL: Duration = Duration::from_millis(1);

/// How long a start waits for the store before it serves without: a store that is there answers sooner, and whoever starts a
/// controller wants to hear at once of a file that is in use.
const OPEN_PATIENCE: Duration = Duration::from_secs(1);

/// The first wait between two attempts to open a store that does not answer.
const REOPEN_DELAY_MIN: Duration = Duration::from_millis(250);

/// The longest wait between two attempts to open a store that does not answer.
const REOPEN_DELAY_MAX: Duration = Duration::from_secs(10);

/// How often a connection without traffic is probed, so that an agent whose machine vanished does not hold it for ever.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Why a controller cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store cannot be used, and trying again would not help.
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("the certificates of the listener cannot be used")]
    Tls(#[source] tonic::transport::Error),
    /// The gRPC server could not be made.
    #[error("cannot serve: {0}")]
    Serve(String),
}

/// A running controller.
///
/// Dropping it ends it at once; [`Controller::stop`] ends it in order.
pub struct Controller {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    shared: Arc<Shared>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    tasks: Vec<JoinHandle<()>>,
    health: HealthReporter,
}

impl Controller {
    /// Starts a controller. When the store does not answer yet the controller serves all the same, says so in its health and
    /// in every answer, and goes on trying.
    ///
    /// # Errors
    /// As [`StartError`] says.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        if !config.listen.ip().is_loopback() && config.tls.is_none() {
            return Err(ConfigError::Exposed(config.listen).into());
        }
        let backend = match &config.store {
            StoreConfig::Embedded(_) => "embedded",
            StoreConfig::Etcd(_) => "etcd",
        };
        let shared = Arc::new(Shared::new(backend));
        let (health, health_service) = tonic_health::server::health_reporter();
        serving(&health, ServingStatus::NotServing).await;
        let (listener, address) = bind(config.listen).await?;
        let mut tasks = Vec::new();
        let metrics_address = match config.metrics_listen {
            Some(address) => {
                let (listener, address) = bind(address).await?;
                let metrics =
                    telemetry::metrics().map_err(|error| StartError::Serve(error.to_string()))?;
                tracing::info!(%address, "serving metrics");
                tasks.push(tokio::spawn(metrics_server::serve(listener, metrics)));
                Some(address)
            }
            None => None,
        };
        let mut builder = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE));
        if let Some(tls) = &config.tls {
            builder = builder
                .tls_config(server_tls(tls)?)
                .map_err(StartError::Tls)?;
        }
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(|error| StartError::Serve(error.to_string()))?;
        let objects = ObjectsServer::new(ObjectsService::new(shared.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let agents = AgentsServer::new(AgentsService::new(shared.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let router = builder
            .add_service(health_service)
            .add_service(reflection)
            .add_service(objects)
            .add_service(agents);
        let mut attempt = Attempt(tokio::spawn(open(config.store.clone())));
        match tokio::time::timeout(OPEN_PATIENCE, attempt.result()).await {
            Ok(Ok(opened)) => tasks.extend(run(&shared, opened)),
            Ok(Err(error)) if matches!(error.retry(), Retry::Never) => return Err(error.into()),
            Ok(Err(error)) => {
                shared.set_waiting(error.to_string());
                tasks.push(tokio::spawn(reopen(shared.clone(), config.store, None)));
            }
            Err(_) => tasks.push(tokio::spawn(reopen(
                shared.clone(),
                config.store,
                Some(attempt),
            ))),
        }
        tasks.push(tokio::spawn(report_health(shared.clone(), health.clone())));
        tracing::info!(%address, store = backend, "listening");
        let leaving = shared.clone();
        let server = tokio::spawn(async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            router
                .serve_with_incoming_shutdown(incoming, async move { leaving.left().await })
                .await
        });
        Ok(Self {
            address,
            metrics_address,
            shared,
            server,
            tasks,
            health,
        })
    }

    /// Where clients and agents connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics are served.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Returns once the store is open and read, so that requests are answered.
    pub async fn ready(&self) {
        let mut running = self.shared.watch_running();
        let Ok(running) = running
            .wait_for(Option::is_some)
            .await
            .map(|running| running.clone())
        else {
            return;
        };
        if let Some(running) = running {
            // The sender lives in the cache, which `running` keeps.
            let _ = running.cache.ready().wait_for(|ready| *ready).await;
        }
    }

    /// Returns, with the reason, when the controller cannot go on: its listener failed, or its store turned out to be unusable.
    pub async fn failed(&mut self) -> String {
        tokio::select! {
            reason = self.shared.failed() => reason,
            ended = &mut self.server => match ended {
                Ok(Ok(())) => "the server has ended".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            },
        }
    }

    /// Stops accepting, ends every stream with a word, lets open requests finish, and closes the store.
    pub async fn stop(mut self) {
        tracing::info!("going");
        serving(&self.health, ServingStatus::NotServing).await;
        self.shared.leave();
        if tokio::time::timeout(GOODBYE, &mut self.server)
            .await
            .is_err()
        {
            tracing::warn!("some requests did not finish in time");
            self.server.abort();
        }
        let mut tasks = self.shared.end_tasks();
        while tasks.join_next().await.is_some() {}
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            // An aborted task ends with an error that says so.
            let _ = task.await;
        }
        if let Some(running) = self.shared.forget() {
            close(running).await;
        }
    }
}

/// Waits until nobody else holds the store and closes it, so that whoever opens it next does not find it in use. Connections
/// that broke off may hold it for a moment after their tasks were ended.
async fn close(running: Arc<Running>) {
    let store = running.store.clone();
    drop(running);
    let alone = async {
        let mut pause = tokio::time::interval(CLOSE_POLL);
        while Arc::strong_count(&store) > 1 {
            pause.tick().await;
        }
    };
    if tokio::time::timeout(GOODBYE, alone).await.is_err() {
        tracing::warn!(store = store.location(), "somebody still uses the store");
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.shared.leave();
        self.server.abort();
        self.tasks.iter().for_each(JoinHandle::abort);
        drop(self.shared.end_tasks());
        drop(self.shared.forget());
    }
}

/// A store with the cluster in it.
struct Opened {
    store: SharedStore,
    cluster: cellblock_schemas::ClusterUid,
}

async fn open(config: StoreConfig) -> Result<Opened, StoreError> {
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
async fn reopen(shared: Arc<Shared>, config: StoreConfig, attempt: Option<Attempt>) {
    let mut delay = REOPEN_DELAY_MIN;
    let mut result = match attempt {
        Some(mut attempt) => Some(attempt.result().await),
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
        result = Some(open(config.clone()).await);
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
    let sessions = Arc::new(Sessions::new(store.clone(), cache.clone()));
    let tasks = vec![
        tokio::spawn(follow::follow(store.clone(), cache.clone())),
        tokio::spawn(reconciler::run(cache.clone(), writer.clone())),
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

/// Says in the health service when requests are answered.
async fn report_health(shared: Arc<Shared>, health: HealthReporter) {
    let mut running = shared.watch_running();
    let Ok(running) = running
        .wait_for(Option::is_some)
        .await
        .map(|running| running.clone())
    else {
        return;
    };
    let Some(mut ready) = running.map(|running| running.cache.ready()) else {
        return;
    };
    if ready.wait_for(|ready| *ready).await.is_ok() {
        serving(&health, ServingStatus::Serving).await;
    }
}

/// Sets the health of the whole server and of both services.
async fn serving(health: &HealthReporter, status: ServingStatus) {
    for service in ["", "cellblock.v1.Objects", "cellblock.v1.Agents"] {
        health.set_service_status(service, status).await;
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn server_tls(tls: &TlsConfig) -> Result<ServerTlsConfig, ConfigError> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })
    };
    Ok(ServerTlsConfig::new()
        .identity(Identity::from_pem(read(&tls.certificate)?, read(&tls.key)?))
        .client_ca_root(Certificate::from_pem(read(&tls.ca)?)))
}
