//! Watches: each is a place in the log that follows the committed revision at its reader's pace. Nothing is buffered
//! for a slow reader; one too slow finds its place compacted away.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::errors::closed;
use super::shared::Shared;
use crate::error::{Error, Result};
use crate::model::Revision;
use crate::watch::{Notice, NoticeSender, Stop, WatchRequest};

/// How long to wait for a file that is being opened again after a failure.
const REOPEN_PAUSE: Duration = Duration::from_millis(200);

/// Feeds a watch until its reader is gone or it cannot go on.
pub(super) async fn follow(
    shared: Arc<Shared>,
    request: WatchRequest,
    notices: NoticeSender,
) -> Result<(), Stop> {
    let mut head = shared.subscribe();
    let mut place = request.after;
    let mut told = request.after;
    let period = shared.progress_interval();
    let mut progress = interval_at(Instant::now() + period, period);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first look also tells whether the place exists, so it is taken even if nothing has changed.
    let mut is_checked = false;
    loop {
        let current = *head.borrow_and_update();
        let current = current.ok_or_else(|| closed(shared.location()))?;
        while place < current || !is_checked {
            (place, is_checked) = (
                deliver(&shared, &request, place, &mut told, &notices).await?,
                true,
            );
        }
        tokio::select! {
            changed = head.changed() => changed.map_err(|_| closed(shared.location()))?,
            _ = progress.tick() => {
                if place > told {
                    told = place;
                    notices.send(Notice::Progress { revision: place }).await?;
                }
            }
        }
    }
}

/// Delivers the next stretch of the log and returns the new place.
async fn deliver(
    shared: &Arc<Shared>,
    request: &WatchRequest,
    place: Revision,
    told: &mut Revision,
    notices: &NoticeSender,
) -> Result<Revision, Stop> {
    let wanted = request.clone();
    let changes = match shared
        .read(move |snapshot| snapshot.changes(&wanted, place))
        .await
    {
        Ok(changes) => changes,
        // The file is being opened again after a failure: wait for the writer to say so.
        Err(Error::Unavailable { .. }) if shared.subscribe().borrow().is_some() => {
            tokio::time::sleep(REOPEN_PAUSE).await;
            return Ok(place);
        }
        Err(error) => return Err(error.into()),
    };
    for notice in changes.notices {
        *told = notice.revision();
        notices.send(notice).await?;
    }
    Ok(changes.upto)
}
