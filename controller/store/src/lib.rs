//! Durable, watchable storage of the controller: the trait [`Store`] and its two implementations.
//!
//! ```text
//!                     ┌────────────────── trait Store ──────────────────┐
//!  cellblockd ──────► │ get · list · count · commit · watch · lease · …  │
//!  (Arc<dyn Store>)   └───────────┬─────────────────────────┬────────────┘
//!       │                         ▼                         ▼
//!       │                EtcdStore (etcd-client)   EmbeddedStore (redb)
//!       │                several endpoints, TLS,   one file, one writer thread,
//!       │                passwords, reconnects     one fsync per batch of writers
//!       └── StoreExt: create, update, delete, guaranteed_update, list_all; HeldLease: written once over the trait
//! ```
//!
//! Keys and values are bytes here. What they mean, how objects are encoded, and which keys exist is decided above this
//! crate, in `cellblock-controller`; nothing in here knows an object, a kind or a cluster.
//! [`open`] picks the implementation at run time from a [`StoreConfig`].
//!
//! Both implementations pass the one suite in `tests/conformance`. [`testing`] holds what tests of other crates need:
//! a real etcd server on loopback ports and an embedded store in a temporary folder.

pub mod testing;

mod backoff;
mod config;
mod embedded;
mod error;
mod etcd;
mod lease;
mod model;
mod store;
mod transaction;
mod update;
mod watch;

pub use config::{StoreConfig, open};
pub use embedded::{EmbeddedOptions, EmbeddedStore};
pub use error::{CompareFailure, Conflict, Error, Outcome, Result, Retry};
pub use etcd::{EtcdOptions, EtcdStore, Password, TlsFiles};
pub use lease::{HeldLease, Lease, LeaseId};
pub use model::{
    Got, Health, Key, KeyValue, ListRequest, Page, PageToken, ParsePageTokenError, Revision,
};
pub use store::{BoxFuture, SharedStore, Store};
pub use transaction::{
    Committed, Compare, Effect, Expect, KEY_BYTES_MAX, OPS_MAX, Op, TRANSACTION_BYTES_MAX,
    Transaction,
};
pub use update::{Change, StoreExt, Updated};
pub use watch::{Event, Notice, Watch, WatchRequest};
