//! Keeps the watch cache at the store: one list, then one watch, resumed for as long as the controller runs. With the list,
//! the recent past too, so that a client's watch goes on where it was cut by the end of the controller before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cellblock_controller_core::index::Event;
use cellblock_store::{
    Error, Event as Change, ListRequest, Notice, Retry, Revision, SharedStore, Transaction, Watch,
    WatchRequest,
};

use crate::cache::Cache;

/// How long to wait before listing again after a store refused to be listed or watched.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How many revisions before the newest are read too, so that clients of a controller before resume where they
/// were, in the middle of a transaction even: at 200 writes a second, 20 s.
const REMEMBERED: u64 = 4_096;

/// How long reading them may take before the controller does without.
const REMEMBERING: Duration = Duration::from_secs(10);

/// Lists and watches for good; ends when the store is older than what was read from it.
pub(crate) async fn follow(store: SharedStore, cache: Arc<Cache>) -> Error {
    let prefix = cache.index().keys().root().to_owned();
    loop {
        match list(&store, &prefix, None).await {
            Ok((revision, items)) => {
                tracing::info!(keys = items.len(), %revision, "read the store");
                let watch = match remember(&store, &prefix, revision, &items, &cache).await {
                    Ok(watch) => watch,
                    Err(reason) => {
                        tracing::info!(%reason, %revision, "the store's recent past is not known; who was away before reads anew");
                        cache.replace(revision.0, items);
                        let mut watch = store.watch(WatchRequest::new(&*prefix, revision));
                        if let Err(error) = move_on(&store, &mut watch, &cache).await {
                            cache.set_ready();
                            match ended(&store, error).await {
                                Ok(()) => continue,
                                Err(older) => return older,
                            }
                        }
                        watch
                    }
                };
                cache.set_ready();
                if let Err(older) = follow_on(&store, watch, revision, &cache).await {
                    return older;
                }
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

/// Takes in what there was a while ago and then what has happened since, until all that was listed at `newest` is there: so the
/// history is there too, and not only what came of it. What comes after that comes through the watch, which goes on.
///
/// # Errors
/// Why the past is not known.
async fn remember(
    store: &SharedStore,
    prefix: &str,
    newest: Revision,
    items: &Items,
    cache: &Cache,
) -> Result<Watch, String> {
    // An index only goes forwards.
    let known = cache.index().revision();
    let last = newest.0.saturating_sub(1);
    let began = newest.0.saturating_sub(REMEMBERED).max(known).max(1);
    if last < began {
        return Err(format!("nothing is known to have happened after {known}"));
    }
    let mut listed = list(store, prefix, Some(Revision(began))).await;
    if let Err(Error::Compacted { compacted, .. }) = listed {
        listed = list(store, prefix, Some(compacted.min(Revision(last)))).await;
    }
    let (began, past) = listed.map_err(|error| error.to_string())?;
    let mut missing = Missing::between(&past, items);
    cache.replace(began.0, past);
    let mut watch = store.watch(WatchRequest::new(prefix, began));
    let replay = async {
        while !missing.is_nothing() {
            let notice = watch.next().await.ok_or("the watch has ended")?;
            let notice = notice.map_err(|error| error.to_string())?;
            let revision = notice.revision();
            if let Notice::Changes { events, .. } = &notice {
                missing.less(events);
            }
            take(cache, notice);
            // Since it was listed, it may have become something else.
            if revision >= newest {
                break;
            }
        }
        Ok::<(), String>(())
    };
    match tokio::time::timeout(REMEMBERING, replay).await {
        Ok(done) => done?,
        Err(_) => return Err("the store takes too long to tell it".to_owned()),
    }
    cache.progress(newest.0);
    Ok(watch)
}

/// Moves the store on from the revision of a snapshot. What the transaction of that revision removed nobody knows any more, so nobody
/// can resume there, and who lists now shall have a revision to watch from. Where the store takes no write they list again until it does.
///
/// # Errors
/// The watch has ended.
async fn move_on(store: &SharedStore, watch: &mut Watch, cache: &Cache) -> Result<(), Error> {
    let moving = async {
        let (key, revision) = {
            let index = cache.index();
            (index.keys().mark(), index.revision())
        };
        let mark = Transaction::new().put(key, revision.to_string());
        let marked = match store.commit(mark).await {
            Ok(marked) => marked.revision.0,
            Err(error) => {
                tracing::warn!(%error, "cannot write that the history begins here");
                return Ok(());
            }
        };
        while cache.index().revision() < marked {
            let Some(notice) = watch.next().await else {
                break;
            };
            take(cache, notice?);
        }
        Ok(())
    };
    let moved = tokio::time::timeout(REMEMBERING, moving).await;
    moved.unwrap_or_else(|_| {
        tracing::warn!("the store takes too long to take that the history begins here");
        Ok(())
    })
}

fn take(cache: &Cache, notice: Notice) {
    match notice {
        Notice::Changes { revision, events } => {
            cache.apply(revision.0, events.into_iter().filter_map(event).collect());
        }
        Notice::Progress { revision } => cache.progress(revision.0),
    }
}

/// What is not yet as it was listed.
struct Missing<'a> {
    wanted: BTreeMap<&'a str, u64>,
    keys: BTreeSet<String>,
}

impl<'a> Missing<'a> {
    fn between(past: &Items, wanted: &'a Items) -> Self {
        let mut keys: BTreeSet<String> = past.iter().map(|(key, ..)| key.clone()).collect();
        let past: BTreeMap<&str, u64> = revisions(past).collect();
        let wanted: BTreeMap<&str, u64> = revisions(wanted).collect();
        keys.extend(wanted.keys().map(|key| (*key).to_owned()));
        keys.retain(|key| past.get(key.as_str()) != wanted.get(key.as_str()));
        Self { wanted, keys }
    }

    fn less(&mut self, events: &[Change]) {
        for event in events {
            let Some(key) = event.key().as_str() else {
                continue;
            };
            let modified = match event {
                Change::Put { item, .. } => Some(&item.modified.0),
                Change::Delete { .. } => None,
            };
            if self.wanted.get(key) == modified {
                self.keys.remove(key);
            } else {
                self.keys.insert(key.to_owned());
            }
        }
    }

    fn is_nothing(&self) -> bool {
        self.keys.is_empty()
    }
}

fn revisions(items: &Items) -> impl Iterator<Item = (&str, u64)> {
    let each = items.iter();
    each.map(|(key, _, modified)| (key.as_str(), *modified))
}

/// Watches until the watch cannot go on from where it is. Up to `known`, everything that is there is in already; what came and went
/// again before that may still be told.
///
/// # Errors
/// The store is older than what was read from it.
async fn follow_on(
    store: &SharedStore,
    mut watch: Watch,
    known: Revision,
    cache: &Cache,
) -> Result<(), Error> {
    while let Some(notice) = watch.next().await {
        match notice {
            Ok(notice) => {
                take(cache, notice);
                cache.progress(known.0);
            }
            Err(error) => return ended(store, error).await,
        }
    }
    Ok(())
}

/// What comes of a watch that has ended with an error: everything is read anew, at once where only the history is gone.
///
/// # Errors
/// The store is older than what was read from it.
async fn ended(store: &SharedStore, error: Error) -> Result<(), Error> {
    if let Error::Compacted { asked, compacted } = &error {
        tracing::info!(%asked, %compacted, "the store's history is gone; reading it anew");
        return Ok(());
    }
    if let Error::FutureRevision { .. } = error {
        return Err(error);
    }
    tracing::warn!(store = store.location(), %error, "cannot watch the store");
    tokio::time::sleep(RETRY_DELAY).await;
    Ok(())
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

#[cfg(test)]
mod tests;
