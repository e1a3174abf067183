//! Growing, jittered waits between attempts. Decides how long; what is attempted and when to give up is the caller's.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits that double from `first` up to `most`, each shortened at random by up to half, so that many clients of a store
/// that comes back do not all knock at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Backoff { next: first, most }
    }

    /// The next wait.
    pub(crate) fn delay(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.most);
        // A fresh RandomState is seeded by the operating system: the only randomness std offers, and plenty for jitter.
        let share = (RandomState::new().hash_one(0_u8) % 512) as u32;
        full - full * share / 1024
    }
}
