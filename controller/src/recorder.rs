//! The task that records events: follows what the index tells, as a watcher does, and writes what `controller/core` makes of it. One
//! controller of a cluster does, the one that has the recorder's key; the others keep the last minute in case they come to. No
//! request waits for it, and when the store does not answer events are lost and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cellblock_controller_core::events::{Recorder, observe};
use cellblock_controller_core::index::What;
use cellblock_store::{Error, Expect, Key, Retry, SharedStore, Transaction};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

use crate::agents::Sessions;
use crate::cache::{Batch, Cache};
use crate::writer::{now, transaction};

/// How often records are written: one transaction each time, so that the store has a hundred of them in a second at most.
const FLUSH: Duration = Duration::from_secs(1);

/// How often who does not record asks for the key while a lease lasts.
const ASKS: u32 = 3;

/// How long what happened is kept where somebody else records: longer than the lease of one that has died lasts.
const INHERITED: SignedDuration = SignedDuration::from_secs(60);

/// How long the index may take to show what was written.
const APPLIED_PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait for the index to show what a write lost against; the next tick comes all the same.
const CONFLICT_PATIENCE: Duration = Duration::from_millis(250);

/// Whether this controller records, by the revision of its key.
struct Lead {
    store: SharedStore,
    sessions: Arc<Sessions>,
    key: String,
    held: Option<(u64, u64)>,
    /// Another one has the key; when to ask again.
    again: Option<Instant>,
}

impl Lead {
    /// The revision of this controller's key; none while another one has it.
    async fn revision(&mut self) -> Result<Option<u64>, Error> {
        let lease = self.sessions.lease().await?;
        if let Some((of, revision)) = self.held
            && of == lease.id().0
        {
            return Ok(Some(revision));
        }
        self.held = None;
        if self.again.is_some_and(|again| Instant::now() < again) {
            return Ok(None);
        }
        let key = Key::from(self.key.as_str());
        let write = Transaction::new()
            .expect(key.clone(), Expect::Absent)
            .put_leased(key, b"recorder".to_vec(), lease.id());
        match self.store.commit(write).await {
            Ok(committed) => {
                tracing::info!("this controller records events");
                self.held = Some((lease.id().0, committed.revision.0));
                self.again = None;
                Ok(Some(committed.revision.0))
            }
            Err(Error::Conflict(_)) => {
                self.again = Some(Instant::now() + self.sessions.lease_ttl() / ASKS);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Records for good; ends only when the task is dropped.
pub(crate) async fn run(store: SharedStore, cache: Arc<Cache>, sessions: Arc<Sessions>) {
    let mut ready = cache.ready();
    if ready.wait_for(|ready| *ready).await.is_err() {
        return;
    }
    let (key, subscription) = cache.snapshot(|index| index.keys().recorder());
    let mut coming = subscription.coming;
    let mut lead = Lead {
        store: store.clone(),
        sessions,
        key,
        held: None,
        again: None,
    };
    let mut recorder = Recorder::default();
    let mut counted = 0;
    let mut ticks = interval(FLUSH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            received = coming.recv() => match received {
                Ok(batch) => note(&mut recorder, &batch, now().timestamp),
                // Each of them told something, or several things.
                Err(RecvError::Lagged(batches)) => recorder.drop_some(batches),
                Err(RecvError::Closed) => return,
            },
            _ = ticks.tick() => {
                if let Err(error) = flush(&store, &cache, &mut recorder, &mut lead).await {
                    tracing::debug!(%error, "events wait: the store does not answer");
                }
                let dropped = recorder.dropped();
                if dropped > counted {
                    metrics::counter!("cellblock_events_dropped_total").increment(dropped - counted);
                    tracing::warn!(events = dropped - counted, "more happened than is recorded");
                    counted = dropped;
                }
            }
        }
    }
}

fn note(recorder: &mut Recorder, batch: &Batch, at: Timestamp) {
    for event in &batch.events {
        for happening in observe(event) {
            if batch.is_difference {
                let gone = event
                    .before
                    .as_ref()
                    .filter(|_| event.what == What::Deleted);
                let last = gone.unwrap_or(&event.entry);
                recorder.note_found(happening, last.revision, batch.revision, at);
            } else {
                recorder.note(happening, batch.revision, at);
            }
        }
    }
}

async fn flush(
    store: &SharedStore,
    cache: &Cache,
    recorder: &mut Recorder,
    lead: &mut Lead,
) -> Result<(), Error> {
    let at = now().timestamp;
    let Some(revision) = lead.revision().await? else {
        recorder.forget_before(before(at));
        return Ok(());
    };
    // What the one before wrote last has to be in the index, so that it is not told again.
    if !cache.reached(revision, APPLIED_PATIENCE).await {
        return Ok(());
    }
    let flush = recorder.flush(&cache.index(), (&lead.key, revision), at);
    let Some(flush) = flush else {
        return Ok(());
    };
    if flush.write.changes.is_empty() {
        recorder.written(&flush);
        return Ok(());
    }
    match store.commit(transaction(&flush.write)).await {
        Ok(committed) => {
            recorder.written(&flush);
            // The next count follows from this one.
            cache.reached(committed.revision.0, APPLIED_PATIENCE).await;
            Ok(())
        }
        Err(Error::Conflict(conflict)) => {
            if conflict
                .failures
                .iter()
                .any(|one| one.key == Key::from(lead.key.as_str()))
            {
                tracing::info!("another controller records events");
                lead.held = None;
                return Ok(());
            }
            // A write of before whose answer was lost: once the index has it, it is known what is left.
            cache.reached(conflict.revision.0, CONFLICT_PATIENCE).await;
            Ok(())
        }
        Err(error) if error.retry() == Retry::Never => {
            tracing::warn!(%error, "events are left out: the store does not take them");
            recorder.give_up(&flush);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn before(at: Timestamp) -> Timestamp {
    at.checked_sub(INHERITED).unwrap_or(at)
}

#[cfg(test)]
mod tests;
