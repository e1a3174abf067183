//! What is sent to clients who may not read it: only so much of it waits, and only for so long.

use std::time::Duration;

use futures::{StreamExt as _, future, stream};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::status::RequestError;
use crate::verbs::{Events, Held, Watched};

/// How many transactions wait to be taken by a client.
pub(crate) const WAITING_MAX: usize = 16;

/// Sends to a client; false if it is gone, or takes nothing for too long.
pub(crate) async fn taken<T>(sender: &mpsc::Sender<T>, what: T, patience: Duration) -> bool {
    let sent = tokio::time::timeout(patience, sender.send(what)).await;
    matches!(sent, Ok(Ok(())))
}

/// The same events; who takes none of them for too long gets no more, and is told so should it read on.
pub(crate) fn patient(watched: Watched, patience: Duration) -> Events {
    let Watched { mut events, place } = watched;
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let (last, ended) = oneshot::channel();
    // A task of its own: a stream is only asked for more while its client reads.
    tokio::spawn(async move {
        loop {
            let batch = tokio::select! {
                batch = events.next() => batch,
                () = sender.closed() => return,
            };
            let Some(batch) = batch else {
                return;
            };
            if !taken(&sender, batch, patience).await {
                metrics::counter!("cellblock_watches_cut_off_total").increment(1);
                // Nobody may be there to hear it.
                let _ = last.send(Err(RequestError::TooSlow(WAITING_MAX as u64)));
                return;
            }
        }
    });
    let ended = stream::once(ended).filter_map(|ended| future::ready(ended.ok()));
    let events = ReceiverStream::new(receiver).chain(ended);
    Box::pin(events.inspect(move |_| {
        // What waits goes with the stream, and so does the place.
        let _held: &Held = &place;
    }))
}
