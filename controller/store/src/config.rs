//! Which store to open, decided at run time by whoever read the configuration.

use std::sync::Arc;

use crate::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::error::Result;
use crate::etcd::{EtcdOptions, EtcdStore};
use crate::store::SharedStore;

/// A store and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// One local file.
    Embedded(EmbeddedOptions),
    /// An etcd cluster.
    Etcd(EtcdOptions),
}

/// Opens the store.
///
/// # Errors
///
/// As [`EmbeddedStore::open`] and [`EtcdStore::connect`].
pub async fn open(config: StoreConfig) -> Result<SharedStore> {
    Ok(match config {
        StoreConfig::Embedded(options) => Arc::new(EmbeddedStore::open(options).await?),
        StoreConfig::Etcd(options) => Arc::new(EtcdStore::connect(options).await?),
    })
}
