//! Keeps the watch cache at the store: one list, then one watch, resumed for as long as the controller runs.

use std::sync::Arc;
use std::time::Duration;

use cellblock_controller_core::index::Event;
use cellblock_store::{
    Error, Event as Change, ListRequest, Notice, Retry, Revision, SharedStore, WatchRequest,
};

use crate::cache::Cache;

/// How long to wait before listing again after a store refused to be listed or watched.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Lists and watches for good; ends only when the task is dropped.
pub(crate) async fn follow(store: SharedStore, cache: Arc<Cache>) {
    let prefix = cache.index().keys().root().to_owned();
    loop {
        match list(&store, &prefix).await {
            Ok((revision, items)) => {
                tracing::info!(keys = items.len(), %revision, "read the store");
                cache.replace(revision.0, items);
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

async fn list(store: &SharedStore, prefix: &str) -> Result<(Revision, Items), Error> {
    let mut items = Vec::new();
    let mut request = ListRequest::new(prefix);
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
