//! The task that takes the reconciliation steps. Looks after every change of the cluster, a moment later, and now and then
//! without one; what to do is `controller/core`'s decision. An item that cannot be done is put off, for longer each time, and stands in the way
//! of no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cellblock_controller_core::reconcile::{self, Item};
use cellblock_controller_core::sets::Waiting;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::cache::Cache;
use crate::writer::{WriteError, Writer};

/// How long changes are gathered before looking: a burst of writes is looked at once.
const GATHER: Duration = Duration::from_millis(20);

/// How often to look without a change.
const RESYNC: Duration = Duration::from_secs(30);

/// How often to look while something becomes due by time alone: an update that waits for `minReady`, or for its deadline.
const TIMED: Duration = Duration::from_secs(1);

/// How long to wait while the store is away, and how long an item is put off that the store refuses; twice as long each time again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// For how long an item is put off at most.
const RETRY_DELAY_MAX: Duration = RESYNC;

/// The items that could not be done: until when each is put off, and for how long that was.
#[derive(Default)]
struct PutOff(BTreeMap<Item, (Instant, Duration)>);

impl PutOff {
    /// Forgets what is not due any more.
    fn keep(&mut self, due: &[Item]) {
        self.0.retain(|item, _| due.contains(item));
    }

    fn is_over(&self, item: &Item) -> bool {
        self.0
            .get(item)
            .is_none_or(|(until, _)| Instant::now() >= *until)
    }

    fn briefly(&mut self, item: &Item) {
        let until = Instant::now() + RETRY_DELAY;
        self.0.insert(item.clone(), (until, RETRY_DELAY));
    }

    fn longer(&mut self, item: &Item) {
        let last = self.0.get(item).map(|(_, delay)| *delay * 2);
        let delay = last.unwrap_or(RETRY_DELAY).min(RETRY_DELAY_MAX);
        self.0.insert(item.clone(), (Instant::now() + delay, delay));
    }

    fn done(&mut self, item: &Item) {
        self.0.remove(item);
    }

    /// How long until the first of them is taken up again.
    fn next(&self) -> Option<Duration> {
        let until = self.0.values().map(|(until, _)| *until).min()?;
        Some(until.saturating_duration_since(Instant::now()))
    }
}

/// Reconciles for good; ends only when the task is dropped.
pub(crate) async fn run(cache: Arc<Cache>, writer: Arc<Writer>, start_grace: Duration) {
    let mut ready = cache.ready();
    if ready.wait_for(|ready| *ready).await.is_err() {
        return;
    }
    let began = Instant::now();
    let mut applied = cache.changed();
    let mut waiting = Waiting::default();
    let mut put_off = PutOff::default();
    'look: loop {
        applied.mark_unchanged();
        let mut items = reconcile::due(&cache.index(), Timestamp::now());
        // Hosts are still coming back to this process.
        if began.elapsed() >= start_grace {
            items.extend(waiting.look(&cache.index(), began.elapsed()));
        }
        put_off.keep(&items);
        for item in items {
            let is_early = began.elapsed() < start_grace && is_early(&cache, &item);
            if is_early || !put_off.is_over(&item) {
                continue;
            }
            let Err(error) = take(&writer, &item).await else {
                put_off.done(&item);
                continue;
            };
            tracing::warn!(?item, %error, "cannot reconcile");
            if error.is_of_this_write() {
                put_off.longer(&item);
                tell(&writer, &item, &error).await;
                continue;
            }
            // The store is away for the others as well. Should it be for this one alone, the others come first now.
            tokio::time::sleep(RETRY_DELAY).await;
            put_off.briefly(&item);
            continue 'look;
        }
        let patience = if reconcile::waits_for_time(&cache.index()) {
            TIMED
        } else {
            RESYNC
        };
        let patience = put_off.next().map_or(patience, |next| patience.min(next));
        let changed = tokio::time::timeout(patience, applied.changed()).await;
        if let Ok(Err(_)) = changed {
            return;
        }
        tokio::time::sleep(GATHER).await;
    }
}

async fn take(writer: &Writer, item: &Item) -> Result<(), WriteError> {
    writer
        .write(|index, now| Ok::<_, WriteError>((reconcile::step(index, item, now), ())))
        .await?;
    Ok(())
}

/// Says in the object why nothing comes of it.
async fn tell(writer: &Writer, item: &Item, error: &WriteError) {
    metrics::counter!("cellblock_writes_refused_total").increment(1);
    let why = error.to_string();
    let told = writer
        .write(|index, now| {
            let write = reconcile::refused(index, item, &why, now);
            Ok::<_, WriteError>((write, ()))
        })
        .await;
    if let Err(error) = told {
        tracing::warn!(?item, %error, "cannot say so either");
    }
}

/// Whether a host would be called lost although its agent may just be coming back. A host that no agent ever spoke for is
/// not waited for.
fn is_early(cache: &Cache, item: &Item) -> bool {
    let Item::Heard(host) = item else {
        return false;
    };
    let index = cache.index();
    let known = index
        .host(host)
        .and_then(|host| host.status.as_ref())
        .is_some_and(|status| status.facts.is_some());
    known && index.session(host).is_none()
}

#[cfg(test)]
mod tests;
