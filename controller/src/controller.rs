//! A whole controller in this process: opens the store, starts the tasks, serves, and goes in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cellblock_store::{Error as StoreError, StoreConfig};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::config::{Config, ConfigError};
use crate::connection::Connection;
use crate::identity::Identifier;
use crate::running::Shared;
use crate::tls::Required;
use crate::tokens::Tokens;
use crate::{opening, serve, tls};

/// How long open requests may take to finish once the controller is told to go.
const GOODBYE: Duration = Duration::from_secs(10);

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
    #[error("the certificates of the listener cannot be used: {0}")]
    Tls(String),
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
        let exposed = config
            .metrics_listen
            .filter(|address| !address.ip().is_loopback());
        if let Some(address) = exposed {
            return Err(ConfigError::MetricsExposed(address).into());
        }
        let backend = match &config.store {
            StoreConfig::Embedded(_) => "embedded",
            StoreConfig::Etcd(_) => "etcd",
        };
        let shared = Arc::new(Shared::new(backend, config.timing, config.watch_patience));
        let (health, health_service) = tonic_health::server::health_reporter();
        serve::set_health(&health, ServingStatus::NotServing).await;
        let tokens = config.token_file.as_deref().map(Tokens::read).transpose();
        let tokens = tokens.map_err(ConfigError::Tokens)?;
        let required = if tokens.is_some() {
            Required::OrToken
        } else {
            Required::Always
        };
        let tls = config.tls.as_ref();
        let tls = tls.map(|files| tls::config(files, required)).transpose()?;
        let is_secured = tls.is_some();
        let identifier = Identifier::new(is_secured, tokens);
        let router = serve::router(&shared, identifier, health_service)?;
        let (listener, address) = serve::bind(config.listen).await?;
        let metrics = match config.metrics_listen {
            Some(address) => Some(serve::metrics(address).await?),
            None => None,
        };
        // Whoever shows who they are may scrape them from the API's listener.
        let is_measured = is_secured || metrics.is_some();
        let upkeep = is_measured.then(serve::upkeep).transpose()?;
        let mut tasks = vec![opening::open(&shared, config.store).await?];
        let metrics_address = metrics.as_ref().map(|(address, _)| *address);
        tasks.extend(metrics.map(|(_, serving)| tokio::spawn(serving)));
        tasks.extend(upkeep.map(tokio::spawn));
        tasks.push(tokio::spawn(serve::report_health(
            shared.clone(),
            health.clone(),
        )));
        tracing::info!(%address, store = backend, "listening");
        let leaving = shared.clone();
        let server = tokio::spawn(async move {
            // Who is only slow is told so at the end of its watch, before its connection is closed.
            let patience = 2 * leaving.watch_patience;
            let left = async move { leaving.left().await };
            if let Some(tls) = tls {
                let incoming = tls::accept(tls, listener);
                let incoming = incoming
                    .map_ok(|(stream, share)| Connection::with_share(stream, share, patience));
                router.serve_with_incoming_shutdown(incoming, left).await
            } else {
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                let incoming = incoming.then(tls::in_time);
                let incoming = incoming.map_ok(|stream| Connection::new(stream, patience));
                router.serve_with_incoming_shutdown(incoming, left).await
            }
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
        serve::set_health(&self.health, ServingStatus::NotServing).await;
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
            opening::close(running, GOODBYE).await;
        }
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
