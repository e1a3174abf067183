//! When leases end. Kept in memory on the monotonic clock; which leases and keys there are is in the file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::shared::Shared;
use super::writer::WeakQueue;
use crate::error::{Error, Result};
use crate::lease::LeaseId;

/// How long to wait before trying again to remove the keys of an expired lease, when the file refused.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Clock {
    ttl: Duration,
    ends: Instant,
}

/// The clocks of all leases.
#[derive(Debug)]
pub(super) struct Leases {
    clocks: Mutex<BTreeMap<LeaseId, Clock>>,
    /// Wakes the sweeper when a lease may end earlier than the one it waits for.
    begun: Notify,
}

impl Leases {
    /// Starts the clocks of all leases anew: nobody could keep them alive while the store was closed.
    pub(super) fn new(leases: Vec<(LeaseId, Duration)>) -> Self {
        let now = Instant::now();
        let clocks = leases
            .into_iter()
            .map(|(id, ttl)| {
                (
                    id,
                    Clock {
                        ttl,
                        ends: now + ttl,
                    },
                )
            })
            .collect();
        Leases {
            clocks: Mutex::new(clocks),
            begun: Notify::new(),
        }
    }

    fn clocks(&self) -> MutexGuard<'_, BTreeMap<LeaseId, Clock>> {
        // Nothing that holds the lock can panic.
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the clock of a new lease.
    pub(super) fn begin(&self, lease: LeaseId, ttl: Duration) {
        self.clocks().insert(
            lease,
            Clock {
                ttl,
                ends: Instant::now() + ttl,
            },
        );
        self.begun.notify_one();
    }

    /// Starts a clock anew.
    pub(super) fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        let mut clocks = self.clocks();
        let clock = clocks.get_mut(&lease).ok_or(Error::LeaseNotFound(lease))?;
        clock.ends = Instant::now() + clock.ttl;
        Ok(clock.ttl)
    }

    /// Forgets a clock.
    pub(super) fn end(&self, lease: LeaseId) {
        self.clocks().remove(&lease);
    }

    /// Takes out the clocks that have run down; from here on those leases cannot be kept alive.
    fn take_ended(&self, now: Instant) -> Vec<(LeaseId, Duration)> {
        let mut ended = Vec::new();
        self.clocks().retain(|id, clock| {
            let keep = clock.ends > now;
            if !keep {
                ended.push((*id, clock.ttl));
            }
            keep
        });
        ended
    }

    fn next_end(&self) -> Option<Instant> {
        self.clocks().values().map(|clock| clock.ends).min()
    }

    /// Puts back a lease whose keys could not be removed. Keeping it alive is possible again, since nothing has vanished.
    fn put_back(&self, lease: LeaseId, ttl: Duration) {
        self.clocks().insert(
            lease,
            Clock {
                ttl,
                ends: Instant::now() + RETRY,
            },
        );
    }
}

/// Removes the keys of leases that have ended, for as long as the store is open.
pub(super) async fn sweep(shared: Arc<Shared>, queue: WeakQueue) {
    let leases = shared.leases();
    loop {
        let begun = leases.begun.notified();
        match leases.next_end() {
            None => begun.await,
            Some(end) => tokio::select! {
                () = sleep_until(end) => {}
                () = begun => {}
            },
        }
        for (lease, ttl) in leases.take_ended(Instant::now()) {
            let Some(queue) = queue.upgrade() else { return };
            match queue.submit(move |batch| batch.revoke(lease)).await {
                Ok(()) => tracing::debug!(%lease, "a lease has expired"),
                Err(Error::LeaseNotFound(_)) => {}
                Err(error) => {
                    tracing::warn!(%lease, %error, "cannot remove the keys of an expired lease");
                    leases.put_back(lease, ttl);
                }
            }
        }
    }
}
