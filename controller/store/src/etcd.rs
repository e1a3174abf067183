//! The store on an etcd cluster, 3.4 or later, through etcd-client.
//!
//! Here is the public type and how each call of the trait finds its file. `options` builds connections, `endpoints`
//! decides which member is asked and for how long, `errors` says what a failure means, `read`, `write`, `lease` and
//! `watch` speak the protocol.

mod endpoints;
mod errors;
mod lease;
mod options;
mod read;
mod watch;
mod write;

use std::sync::Arc;
use std::time::Duration;

pub use options::{EtcdOptions, Password, TlsFiles};

use crate::error::Result;
use crate::lease::{Lease, LeaseId};
use crate::model::{Got, Health, Key, ListRequest, Page, Revision};
use crate::store::{BoxFuture, Store};
use crate::transaction::{Committed, Transaction};
use crate::watch::{Watch, WatchRequest};
use endpoints::Endpoints;

/// A store on an etcd cluster. Every instance keeps one connection to each member that it has asked so far.
#[derive(Debug)]
pub struct EtcdStore {
    endpoints: Arc<Endpoints>,
}

impl EtcdStore {
    /// Connects to a cluster and reads from it once, so that a wrong address, certificate or password shows now.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::Error::Invalid) for options that contradict each other, [`Io`](crate::Error::Io) for a
    /// certificate that cannot be read, and all that a read can fail with. [`Unavailable`](crate::Error::Unavailable)
    /// within the request timeout when no member answers.
    pub async fn connect(options: EtcdOptions) -> Result<Self> {
        let store = EtcdStore {
            endpoints: Arc::new(Endpoints::new(options)?),
        };
        store.current_revision().await?;
        Ok(store)
    }
}

impl Store for EtcdStore {
    fn location(&self) -> &str {
        self.endpoints.location()
    }

    fn get<'a>(&'a self, key: &'a Key, at: Option<Revision>) -> BoxFuture<'a, Result<Got>> {
        Box::pin(read::get(&self.endpoints, key, at))
    }

    fn list(&self, request: ListRequest) -> BoxFuture<'_, Result<Page>> {
        Box::pin(read::list(&self.endpoints, request))
    }

    fn count<'a>(&'a self, prefix: &'a Key, at: Option<Revision>) -> BoxFuture<'a, Result<u64>> {
        Box::pin(read::count(&self.endpoints, prefix, at))
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed>> {
        Box::pin(write::commit(&self.endpoints, transaction))
    }

    fn watch(&self, request: WatchRequest) -> Watch {
        let endpoints = self.endpoints.clone();
        Watch::spawn(|notices| watch::follow(endpoints, request, notices))
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease>> {
        Box::pin(lease::grant(&self.endpoints, ttl))
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<Duration>> {
        Box::pin(lease::keep_alive(&self.endpoints, lease))
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>> {
        Box::pin(lease::revoke(&self.endpoints, lease))
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<()>> {
        Box::pin(write::compact(&self.endpoints, revision))
    }

    fn current_revision(&self) -> BoxFuture<'_, Result<Revision>> {
        Box::pin(read::current_revision(&self.endpoints))
    }

    fn health(&self) -> BoxFuture<'_, Result<Health>> {
        Box::pin(read::health(&self.endpoints))
    }
}
