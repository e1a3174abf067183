//! Where the session leaves the newest view for the worker, and those who make probes what they came to: one place, so that a worker that is busy costs the memory of one view
//! however many come in meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cellblock_agent_core::probe::Health;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::view::HostView;

/// A view with the controller's digest of it.
pub type Sent = (Arc<HostView>, String);

/// What waits, and whether anybody will still send.
#[derive(Debug, Default)]
struct Place {
    newest: Option<Sent>,
    health: Option<BTreeMap<Uid, Health>>,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    place: Mutex<Place>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session's end. Dropping it closes the mailbox.
#[derive(Debug)]
pub struct Sender(Arc<Shared>);

/// The end of those who make probes. Dropping it closes nothing.
#[derive(Clone, Debug)]
pub struct Nudge(Arc<Shared>);

/// The worker's end.
#[derive(Debug)]
pub struct Receiver(Arc<Shared>);

/// What a look into the mailbox gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The newest view.
    View(Sent),
    /// What the probes of jails have come to by now.
    Health(BTreeMap<Uid, Health>),
    /// Nothing within the time.
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

/// A mailbox.
#[must_use]
pub fn mailbox() -> (Sender, Receiver) {
    let shared = Arc::new(Shared::default());
    (Sender(shared.clone()), Receiver(shared))
}

impl Sender {
    /// Leaves a view in the place of one that was not fetched yet.
    pub fn send(&self, view: Arc<HostView>, digest: String) {
        self.0.lock().newest = Some((view, digest));
        self.0.changed.notify_one();
    }
}

impl Nudge {
    /// Leaves what probes have come to in the place of what was not fetched yet.
    pub fn health(&self, health: BTreeMap<Uid, Health>) {
        self.0.lock().health = Some(health);
        self.0.changed.notify_one();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

impl Receiver {
    /// An end for those who make probes.
    #[must_use]
    pub fn nudge(&self) -> Nudge {
        Nudge(self.0.clone())
    }

    /// Fetches the newest view, or waits for one.
    #[must_use]
    pub fn receive(&self, within: Duration) -> Found {
        let deadline = Instant::now() + within;
        let mut place = self.0.lock();
        loop {
            if place.is_closed {
                return Found::Closed;
            }
            if let Some(sent) = place.newest.take() {
                return Found::View(sent);
            }
            if let Some(health) = place.health.take() {
                return Found::Health(health);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Found::Nothing;
            }
            place = match self.0.changed.wait_timeout(place, left) {
                Ok((place, _)) => place,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

#[cfg(test)]
mod tests;
