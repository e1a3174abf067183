//! Watches: one stream per watch, opened anew from the last delivered revision whenever it breaks.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::PbWatchResponse;
use etcd_client::{EventType, WatchOptions, WatchStream};
use tokio::time::{Instant, sleep, timeout_at};

use super::endpoints::{Connection, Endpoints, Repeat};
use super::errors::{Answer, Failure, classify};
use super::read::{current_revision, item, signed, unsigned};
use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::model::{Key, Revision};
use crate::watch::{Event, Notice, NoticeSender, Stop, WatchRequest};

/// How many bytes one message of a stream has at most. Streams ask for fragments, which etcd cuts at its
/// `--max-request-bytes` (1.5 MiB by default); only a single event may be larger, when it carries the previous value.
/// This leaves room for servers that were told to take requests of some ten megabytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The first wait before a broken stream is opened again.
const REOPEN_FIRST: Duration = Duration::from_millis(50);

/// The longest wait between two attempts to open a stream: what a watcher may lag behind once etcd is back.
const REOPEN_MOST: Duration = Duration::from_secs(2);

/// Why a stream ended.
enum Broken {
    /// Open another one.
    Lost(String),
    /// The server does not let us. Its own restart forgets our token, which looks the same, so try once more with a new one.
    Denied(String),
}

/// Feeds a watch until its reader is gone or it cannot go on.
pub(super) async fn follow(
    endpoints: Arc<Endpoints>,
    request: WatchRequest,
    notices: NoticeSender,
) -> Result<(), Stop> {
    let mut assembly = Assembly::new(request.after);
    let mut backoff = Backoff::new(REOPEN_FIRST, REOPEN_MOST);
    let mut denied = false;
    loop {
        let turn = endpoints.current();
        let before = assembly.after;
        match follow_stream(&endpoints, turn, &request, &mut assembly, &notices).await? {
            Broken::Denied(reason) if denied => {
                let location = endpoints.location().to_owned();
                return Err(Error::Denied { location, reason }.into());
            }
            Broken::Denied(_) => {
                denied = true;
                refresh_token(&endpoints, turn).await;
            }
            Broken::Lost(reason) => {
                denied = false;
                tracing::warn!(%reason, prefix = %request.prefix, after = %assembly.after, "opening a watch again");
                endpoints.pass_over(turn);
            }
        }
        if assembly.after > before {
            backoff = Backoff::new(REOPEN_FIRST, REOPEN_MOST);
        }
        sleep(backoff.delay()).await;
    }
}

async fn refresh_token(endpoints: &Endpoints, turn: usize) {
    if let Ok(member) = endpoints.connection(turn).await
        && let Err(error) = member.refresh_token().await
    {
        tracing::warn!(%error, "cannot renew the token of etcd");
    }
}

/// Opens one stream and delivers what it brings, for as long as it lasts.
async fn follow_stream(
    endpoints: &Endpoints,
    turn: usize,
    request: &WatchRequest,
    assembly: &mut Assembly,
    notices: &NoticeSender,
) -> Result<Broken, Stop> {
    // A member that lags behind may not know the revision yet; only a linearizable read tells whether it exists.
    match current_revision(endpoints).await {
        Ok(current) if current < assembly.after => {
            return Err(Error::FutureRevision {
                asked: assembly.after,
                current,
            }
            .into());
        }
        Ok(_) => {}
        Err(Error::Unavailable { reason, .. }) => return Ok(Broken::Lost(reason)),
        Err(error) => return Err(error.into()),
    }
    let deadline = Instant::now() + endpoints.request_timeout();
    let opening = async {
        let member = endpoints.connection(turn).await?;
        open(&member, &request.prefix, assembly.after, request.previous).await
    };
    let mut stream = match timeout_at(deadline, opening).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return broken(endpoints, &error),
        Err(_) => return Ok(Broken::Lost("no answer in time".to_owned())),
    };
    assembly.restart();
    let mut created = false;
    loop {
        let message = if created {
            stream.message().await
        } else {
            match timeout_at(deadline, stream.message()).await {
                Ok(message) => message,
                Err(_) => return Ok(Broken::Lost("no answer in time".to_owned())),
            }
        };
        let response = match message {
            Ok(Some(response)) => response.0,
            Ok(None) => return Ok(Broken::Lost("the stream ended".to_owned())),
            Err(error) => return broken(endpoints, &error),
        };
        if response.canceled {
            return cancelled(&response, assembly.after);
        }
        created = true;
        for notice in assembly.take(response) {
            notices.send(notice).await?;
        }
    }
}

/// Why the server cancelled a watch.
fn cancelled(response: &PbWatchResponse, asked: Revision) -> Result<Broken, Stop> {
    if response.compact_revision > 0 {
        let compacted = Revision(unsigned(response.compact_revision));
        return Err(Error::Compacted { asked, compacted }.into());
    }
    let reason = response.cancel_reason.clone();
    if reason.contains("permission denied") || reason.contains("auth") {
        return Ok(Broken::Denied(reason));
    }
    Ok(Broken::Lost(format!("etcd cancelled the watch: {reason}")))
}

fn broken(endpoints: &Endpoints, error: &etcd_client::Error) -> Result<Broken, Stop> {
    match classify(error) {
        Failure::Unsent(reason) | Failure::Lost(reason) => Ok(Broken::Lost(reason)),
        Failure::Answered(Answer::Denied(reason)) => Ok(Broken::Denied(reason)),
        Failure::Answered(answer) => Err(answer.into_error(endpoints.location()).into()),
    }
}

/// Asks for changes from `after` on, itself included: etcd before 3.4.34 may have dropped the deletions of exactly the
/// revision it compacted to, so a watch is only complete if it begins above that. Starting one revision earlier makes
/// etcd refuse whenever `after` itself is compacted away; [`Assembly`] drops the surplus.
async fn open(
    member: &Connection,
    prefix: &Key,
    after: Revision,
    previous: bool,
) -> Result<WatchStream, etcd_client::Error> {
    let mut options = WatchOptions::new()
        .with_start_revision(signed(after).max(1))
        .with_progress_notify()
        .with_fragment();
    if previous {
        options = options.with_prev_key();
    }
    // etcd spells "all keys" as the range from one zero byte to one zero byte.
    let end = prefix.prefix_end().map_or(vec![0], |end| end.to_vec());
    let start = if prefix.is_empty() {
        vec![0]
    } else {
        prefix.to_vec()
    };
    let mut watch = member.watch().max_decoding_message_size(MESSAGE_BYTES_MAX);
    watch.watch(start, Some(options.with_range(end))).await
}

/// The oldest revision that can be read at, once there has been a compaction. etcd tells it only to a watch that asks
/// for an older one.
pub(super) async fn compacted_revision(endpoints: &Endpoints) -> Result<Revision> {
    let answer = endpoints.call_plain(Repeat::Freely, |member| async move {
        let mut stream = open(&member, endpoints.probe(), Revision(1), false).await?;
        loop {
            match stream.message().await? {
                Some(response) if response.compact_revision() > 0 => {
                    return Ok(response.compact_revision());
                }
                Some(_) => {}
                None => {
                    return Err(etcd_client::Error::WatchError(
                        "the stream ended".to_owned(),
                    ));
                }
            }
        }
    });
    Ok(Revision(unsigned(answer.await?)))
}

/// Puts the messages of a stream together into one notice per transaction.
#[derive(Debug)]
struct Assembly {
    /// Everything up to here has been delivered.
    after: Revision,
    /// The events of one revision whose end has not been seen.
    pending: Option<(Revision, Vec<Event>)>,
}

impl Assembly {
    fn new(after: Revision) -> Self {
        Assembly {
            after,
            pending: None,
        }
    }

    /// Forgets what the last stream left unfinished; the next one brings it again.
    fn restart(&mut self) {
        self.pending = None;
    }

    /// The notices that a message completes.
    fn take(&mut self, response: PbWatchResponse) -> Vec<Notice> {
        let mut done = Vec::new();
        let is_progress = response.events.is_empty() && !response.created && !response.fragment;
        for event in response.events {
            let Some((revision, event)) = event_of(event) else {
                continue;
            };
            if revision <= self.after {
                continue;
            }
            if self
                .pending
                .as_ref()
                .is_some_and(|(pending, _)| *pending != revision)
            {
                self.finish(&mut done);
            }
            self.pending
                .get_or_insert_with(|| (revision, Vec::new()))
                .1
                .push(event);
        }
        // etcd never splits a revision over messages, except into fragments, of which all but the last are marked.
        if !response.fragment {
            self.finish(&mut done);
        }
        let revision = Revision(
            response
                .header
                .map_or(0, |header| unsigned(header.revision)),
        );
        if is_progress && revision > self.after {
            self.after = revision;
            done.push(Notice::Progress { revision });
        }
        done
    }

    fn finish(&mut self, done: &mut Vec<Notice>) {
        if let Some((revision, mut events)) = self.pending.take() {
            events.sort_by(|a, b| a.key().cmp(b.key()));
            self.after = revision;
            done.push(Notice::Changes { revision, events });
        }
    }
}

fn event_of(event: etcd_client::proto::PbEvent) -> Option<(Revision, Event)> {
    let kind = event.r#type();
    let stored = event.kv?;
    let revision = Revision(unsigned(stored.mod_revision));
    let previous = event
        .prev_kv
        .map(|stored| item(etcd_client::KeyValue(stored)));
    let event = match kind {
        EventType::Put => Event::Put {
            item: item(etcd_client::KeyValue(stored)),
            previous,
        },
        EventType::Delete => Event::Delete {
            key: stored.key.into(),
            previous,
        },
    };
    Some((revision, event))
}

#[cfg(test)]
mod tests;
