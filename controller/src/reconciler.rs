//! The task that takes the reconciliation steps. Looks after every change of the cluster, a moment later, and now and then
//! without one; what to do is `controller/core`'s decision.

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

/// How long to wait after the store refused a step.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Reconciles for good; ends only when the task is dropped.
pub(crate) async fn run(cache: Arc<Cache>, writer: Arc<Writer>, start_grace: Duration) {
    let mut ready = cache.ready();
    if ready.wait_for(|ready| *ready).await.is_err() {
        return;
    }
    let began = Instant::now();
    let mut applied = cache.applied();
    let mut waiting = Waiting::default();
    loop {
        applied.mark_unchanged();
        let mut items = reconcile::due(&cache.index(), Timestamp::now());
        // Hosts are still coming back to this process.
        if began.elapsed() >= start_grace {
            items.extend(waiting.look(&cache.index(), began.elapsed()));
        }
        for item in items {
            if began.elapsed() < start_grace && is_early(&cache, &item) {
                continue;
            }
            if let Err(error) = take(&writer, &item).await {
                tracing::warn!(?item, %error, "cannot reconcile");
                tokio::time::sleep(RETRY_DELAY).await;
                break;
            }
        }
        let patience = if reconcile::waits_for_time(&cache.index()) {
            TIMED
        } else {
            RESYNC
        };
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
