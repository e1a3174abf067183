//! Real stores for tests of any crate: an etcd server or cluster on loopback ports, an embedded store in a temporary
//! folder. Everything started here ends and is removed when it is dropped. Nothing in here is used in production.

mod etcd_server;

use std::sync::Arc;

use tempfile::TempDir;

pub use etcd_server::{EtcdServer, EtcdServerOptions, StartError};

use crate::{EmbeddedOptions, EmbeddedStore, EtcdOptions, EtcdStore, SharedStore, error};

/// A store that lasts as long as this value, and what it runs on.
#[derive(Debug)]
pub struct EphemeralStore {
    /// The store. Declared first, so that it is closed before what it runs on goes away.
    store: SharedStore,
    /// Its server, if it has one.
    server: Option<EtcdServer>,
    /// The folder of its file, if it has one.
    folder: Option<TempDir>,
}

/// Why there is no ephemeral store.
#[derive(Debug, thiserror::Error)]
pub enum EphemeralError {
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] error::Error),
    /// There is no room or right for a temporary folder.
    #[error("cannot make a temporary folder: {0}")]
    Folder(#[from] std::io::Error),
}

impl EphemeralStore {
    /// An embedded store in a temporary folder.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    pub async fn embedded() -> Result<Self, EphemeralError> {
        let folder = tempfile::tempdir()?;
        let mut options = EmbeddedOptions::new(folder.path().join("store.redb"));
        options.progress_interval = etcd_server::PROGRESS_INTERVAL;
        let store = Arc::new(EmbeddedStore::open(options).await?);
        Ok(EphemeralStore {
            store,
            server: None,
            folder: Some(folder),
        })
    }

    /// A store on an etcd server of its own.
    ///
    /// # Errors
    /// [`StartError::Missing`] when etcd is not installed, and says how to install it.
    pub async fn etcd() -> Result<Self, EphemeralError> {
        let server = EtcdServer::start().await?;
        let store = Arc::new(EtcdStore::connect(EtcdOptions::new([server.client_url()])).await?);
        Ok(EphemeralStore {
            store,
            server: Some(server),
            folder: None,
        })
    }

    /// The store.
    pub fn store(&self) -> SharedStore {
        self.store.clone()
    }

    /// The etcd server behind it.
    pub fn server(&mut self) -> Option<&mut EtcdServer> {
        self.server.as_mut()
    }

    /// The folder that holds its file.
    pub fn folder(&self) -> Option<&TempDir> {
        self.folder.as_ref()
    }
}
