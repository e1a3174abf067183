//! Keeps the watch cache at the store: one list, then one watch, resumed for as long as the controller runs. At the start, the
//! recent past too, so that a client's watch goes on where it was cut by the end of the controller before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cellblock_controller_core::index::Event;
use cellblock_store::{
    Error, Event as Change, ListRequest, Notice, Retry, Revision, SharedStore, WatchRequest,
};

use crate::cache::Cache;

/// How long to wait before listing again after a store refused to be listed or watched.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How many revisions before the newest are read too when a controller starts, so that its clients of before resume where they
/// were, in the middle of a transaction even: at 200 writes a second, 20 s.
const REMEMBERED: u64 = 4_096;

/// How long the last of them may take to come. The newest revision may be one of somebody else's keys, of which no watch tells.
const QUIET: Duration = Duration::from_millis(500);

/// Lists and watches for good; ends only when the task is dropped.
pub(crate) async fn follow(store: SharedStore, cache: Arc<Cache>) {
    let prefix = cache.index().keys().root().to_owned();
    let mut is_first = true;
    loop {
        match list(&store, &prefix, None).await {
            Ok((revision, items)) => {
                tracing::info!(keys = items.len(), %revision, "read the store");
                let is_first = std::mem::take(&mut is_first);
                if !(is_first && remember(&store, &prefix, revision, &items, &cache).await) {
                    cache.replace(revision.0, items);
                }
                cache.set_ready();
                watch(&store, &prefix, revision, &cache).await;
            }
            Err(error) => {
                tracing::warn!(store = store.location(), %error, "cannot read the store");
                let delay = match error.retry() {
                    Retry::After(delay) => delay,
                    Retry::OnChange | Retry::Never => RETRY_DELAY,
                };
                tokio::time::sleep(delay).await;
            }
        }
    }
}

type Items = Vec<(String, bytes::Bytes, u64)>;

async fn list(
    store: &SharedStore,
    prefix: &str,
    at: Option<Revision>,
) -> Result<(Revision, Items), Error> {
    let mut items = Vec::new();
    let mut request = ListRequest::new(prefix);
    request.at = at;
    loop {
        let page = store.list(request.clone()).await?;
        items.extend(page.items.into_iter().filter_map(|item| {
            let key = item.key.as_str()?.to_owned();
            Some((key, item.value, item.modified.0))
        }));
        match page.next {
            Some(token) => request = request.after(token),
            None => return Ok((page.revision, items)),
        }
    }
}

/// Takes in what there was a while ago and then all that happened up to `newest`, so that the history is there too and not only
/// what came of it; false if the store does not know that any more, or does not say it in time.
async fn remember(
    store: &SharedStore,
    prefix: &str,
    newest: Revision,
    items: &Items,
    cache: &Cache,
) -> bool {
    let began = Revision(newest.0.saturating_sub(REMEMBERED).max(1));
    let listed = match list(store, prefix, Some(began)).await {
        Err(Error::Compacted { compacted, .. }) if compacted < newest => {
            list(store, prefix, Some(compacted)).await
        }
        listed => listed,
    };
    let (began, past) = match listed {
        Ok(listed) if listed.0 < newest => listed,
        Ok(_) => return false,
        Err(error) => {
            tracing::info!(%error, "the store does not know its past; who was away reads anew");
            return false;
        }
    };
    let revisions = |items: &Items| -> BTreeMap<String, u64> {
        let each = items.iter();
        each.map(|(key, _, modified)| (key.clone(), *modified))
            .collect()
    };
    let wanted = revisions(items);
    let mut reached = revisions(&past);
    cache.replace(began.0, past);
    let mut watch = store.watch(WatchRequest::new(prefix, began));
    // Without a notice in time, what has come must be all.
    while let Ok(notice) = tokio::time::timeout(QUIET, watch.next()).await {
        let Some(Ok(notice)) = notice else {
            return false;
        };
        let revision = notice.revision();
        if let Notice::Changes { events, .. } = notice
            && revision <= newest
        {
            for event in &events {
                let key = event.key().as_str().unwrap_or_default();
                match event {
                    Change::Put { item, .. } => reached.insert(key.to_owned(), item.modified.0),
                    Change::Delete { .. } => reached.remove(key),
                };
            }
            cache.apply(revision.0, events.into_iter().filter_map(event).collect());
        }
        if revision >= newest {
            break;
        }
    }
    if reached == wanted {
        cache.progress(newest.0);
    }
    reached == wanted
}

/// Watches until the watch cannot go on from where it is.
async fn watch(store: &SharedStore, prefix: &str, after: Revision, cache: &Cache) {
    let mut watch = store.watch(WatchRequest::new(prefix, after));
    while let Some(notice) = watch.next().await {
        match notice {
            Ok(Notice::Changes { revision, events }) => {
                cache.apply(revision.0, events.into_iter().filter_map(event).collect());
            }
            Ok(Notice::Progress { revision }) => cache.progress(revision.0),
            Err(Error::Compacted { asked, compacted }) => {
                tracing::info!(%asked, %compacted, "the store's history is gone; reading it anew");
                return;
            }
            Err(error @ Error::FutureRevision { .. }) => {
                tracing::error!(%error, "the store is older than what was read from it; reading it anew");
                return;
            }
            Err(error) => {
                tracing::warn!(store = store.location(), %error, "cannot watch the store");
                tokio::time::sleep(RETRY_DELAY).await;
                return;
            }
        }
    }
}

fn event(change: Change) -> Option<Event> {
    let key = change.key().as_str()?.to_owned();
    Some(match change {
        Change::Put { item, .. } => Event::Put {
            key,
            value: item.value,
            modified: item.modified.0,
        },
        Change::Delete { .. } => Event::Delete { key },
    })
}
