//! The trait that the controller stores everything through.
//!
//! Only what differs between backends is in here; what can be written once over it is in [`crate::StoreExt`].

use std::sync::Arc;
use std::time::Duration;

pub use futures::future::BoxFuture;

use crate::error::Result;
use crate::lease::{Lease, LeaseId};
use crate::model::{Got, Health, Key, ListRequest, Page, Revision};
use crate::transaction::{Committed, Transaction};
use crate::watch::{Watch, WatchRequest};

/// A store chosen at run time and shared by every task of the controller.
pub type SharedStore = Arc<dyn Store>;

/// An ordered map of keys to bytes that remembers its recent past, tells of every change, and lets keys vanish with
/// whoever wrote them.
///
/// # Guarantees
///
/// - **Linearizable.** A read sees every transaction acknowledged before it began. Reads at an explicit revision see
///   exactly that state.
/// - **Atomic.** A [`Transaction`] applies whole or not at all; its keys share one revision, which is greater than that
///   of every transaction acknowledged before. A transaction that changes nothing takes no revision.
/// - **Durable.** An acknowledged write survives the crash of any one process and, as far as the disk keeps its word
///   about fsync, a power loss.
/// - **Complete, ordered watches.** A watch delivers every change to its prefix after the revision it was given, in
///   revision order, once, one [`crate::Notice`] per transaction and never a part of one. It outlives restarts of the
///   store; when the history it needs is compacted away it says so and ends.
/// - **Consistent lists.** All pages of a list show the state at one revision, whatever is written meanwhile.
/// - **Leases end late, never early.** A key under a lease stays at least as long as the lease was last granted or kept
///   alive for. A restart of the store may lengthen it.
/// - **Bounded.** Every call ends within the request timeout of its store; only a [`Watch`] waits for as long as it
///   takes.
///
/// # Errors
///
/// All calls may fail with [`Unavailable`](crate::Error::Unavailable), [`Denied`](crate::Error::Denied),
/// [`Tls`](crate::Error::Tls), [`Damaged`](crate::Error::Damaged) and [`Io`](crate::Error::Io); writes also with
/// [`Full`](crate::Error::Full). Others are named at the call. [`retry`](crate::Error::retry) says what to do.
///
/// # Cancel safety
///
/// Reads may be dropped at any point. A dropped write has happened, or will, or never will: the same as
/// [`Outcome::Unknown`](crate::Outcome::Unknown). Nothing is ever written in part. Dropping a [`Watch`] ends it.
pub trait Store: Send + Sync + 'static {
    /// Which store this is, for messages: the endpoints or the file.
    fn location(&self) -> &str;

    /// Whether others may write to it while this one has it open, so that who has read everything may be behind.
    fn is_shared(&self) -> bool {
        true
    }

    /// Reads one key, now or at a revision.
    ///
    /// # Errors
    /// [`Compacted`](crate::Error::Compacted) and [`FutureRevision`](crate::Error::FutureRevision) for a revision that
    /// cannot be read at.
    fn get<'a>(&'a self, key: &'a Key, at: Option<Revision>) -> BoxFuture<'a, Result<Got>>;

    /// Reads one page of the keys that share a prefix.
    ///
    /// # Errors
    /// As [`Store::get`]; a list that is read too slowly meets [`Compacted`](crate::Error::Compacted) between pages.
    fn list(&self, request: ListRequest) -> BoxFuture<'_, Result<Page>>;

    /// How many keys share a prefix, now or at a revision.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn count<'a>(&'a self, prefix: &'a Key, at: Option<Revision>) -> BoxFuture<'a, Result<u64>>;

    /// Applies a transaction.
    ///
    /// # Errors
    /// [`Conflict`](crate::Error::Conflict) with every comparison that did not hold,
    /// [`LeaseNotFound`](crate::Error::LeaseNotFound) when a put names a lease that is gone, and those of
    /// [`Transaction::check`]. In all of these nothing was written.
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed>>;

    /// Begins to watch a prefix. Every error, the first connection's included, comes through the [`Watch`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    fn watch(&self, request: WatchRequest) -> Watch;

    /// Grants a lease of at least `ttl`, in whole seconds rounded up.
    ///
    /// # Errors
    /// [`Invalid`](crate::Error::Invalid) for a lease of no time.
    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease>>;

    /// Starts a lease's time anew and returns that time.
    ///
    /// # Errors
    /// [`LeaseNotFound`](crate::Error::LeaseNotFound).
    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<Duration>>;

    /// Ends a lease now: its keys vanish in one transaction.
    ///
    /// # Errors
    /// [`LeaseNotFound`](crate::Error::LeaseNotFound).
    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<()>>;

    /// Forgets the history before `revision`; the state at `revision` stays readable, and so does everything after.
    ///
    /// # Errors
    /// [`Compacted`](crate::Error::Compacted) when that has happened already,
    /// [`FutureRevision`](crate::Error::FutureRevision).
    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<()>>;

    /// The revision of the last transaction.
    fn current_revision(&self) -> BoxFuture<'_, Result<Revision>>;

    /// Asks the store how it is; an `Ok` means that it answers reads.
    fn health(&self) -> BoxFuture<'_, Result<Health>>;
}
