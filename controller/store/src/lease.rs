//! Leases: a promise to be alive that keys can hang on, and [`HeldLease`], which keeps one alive in the background.
//!
//! A campaign for leadership needs nothing more: create a key under a held lease, watch it when somebody else has it,
//! stop leading when [`HeldLease::lost`] returns.

use std::fmt;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::error::{Error, Result};
use crate::store::SharedStore;

/// How many times a held lease is renewed within its time: two renewals may fail before the third is too late.
const RENEWALS_PER_TTL: u32 = 3;

/// The name of a lease within its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A lease as granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// How long it lasts unless kept alive: what was asked for or more.
    pub ttl: Duration,
}

/// A lease's time in whole seconds, rounded up, as etcd counts.
pub(crate) fn whole_seconds(ttl: Duration) -> Result<u64> {
    let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    if seconds == 0 {
        return Err(Error::Invalid(
            "a lease must last longer than no time".to_owned(),
        ));
    }
    Ok(seconds)
}

/// A lease that a background task keeps alive.
///
/// Dropping it stops the task, so the lease expires after its time; [`HeldLease::revoke`] ends it at once.
#[derive(Debug)]
pub struct HeldLease {
    store: Option<SharedStore>,
    lease: Lease,
    lost: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl fmt::Debug for dyn crate::Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.location())
    }
}

impl HeldLease {
    /// Grants a lease and begins to keep it alive.
    ///
    /// # Errors
    /// As [`crate::Store::grant`].
    pub async fn grant(store: SharedStore, ttl: Duration) -> Result<Self> {
        let asked = Instant::now();
        let lease = store.grant(ttl).await?;
        let (loss, lost) = watch::channel(false);
        let task = tokio::spawn(renew(store.clone(), lease, asked, loss));
        Ok(HeldLease {
            store: Some(store),
            lease,
            lost,
            task,
        })
    }

    /// The lease's name, for [`crate::Transaction::put_leased`].
    pub fn id(&self) -> LeaseId {
        self.lease.id
    }

    /// How long it lasts without renewal.
    pub fn ttl(&self) -> Duration {
        self.lease.ttl
    }

    /// True once the lease may have expired.
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Returns when the lease may have expired: it was revoked, or the store was out of reach for as long as it lasts.
    /// By then a key under it may already be somebody else's.
    pub async fn lost(&self) {
        // The sender goes away only after it said `true`, or together with `self`.
        let _ = self.lost.clone().wait_for(|lost| *lost).await;
    }

    /// Ends the lease now; its keys vanish.
    ///
    /// # Errors
    /// As [`crate::Store::revoke`].
    pub async fn revoke(mut self) -> Result<()> {
        self.task.abort();
        match self.store.take() {
            Some(store) => store.revoke(self.lease.id).await,
            None => Ok(()),
        }
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Renews until the lease is gone. Time counts from before a request was sent, so that this side never believes in the
/// lease for longer than the store does.
async fn renew(store: SharedStore, lease: Lease, asked: Instant, loss: watch::Sender<bool>) {
    let pause = lease.ttl / RENEWALS_PER_TTL;
    let mut ends = asked + lease.ttl;
    let mut next = asked + pause;
    loop {
        sleep_until(next.min(ends)).await;
        let asked = Instant::now();
        match timeout_at(ends, store.keep_alive(lease.id)).await {
            Ok(Ok(ttl)) => {
                ends = asked + ttl;
                next = asked + pause;
            }
            Ok(Err(Error::LeaseNotFound(_))) => break,
            Ok(Err(error)) => {
                tracing::warn!(lease = %lease.id, %error, "cannot renew a lease");
                next = asked + pause / RENEWALS_PER_TTL;
            }
            Err(_) => break,
        }
        if Instant::now() >= ends {
            break;
        }
    }
    tracing::warn!(lease = %lease.id, store = store.location(), "lost a lease");
    // Nobody listens any more if the lease was dropped meanwhile.
    let _ = loss.send(true);
}
