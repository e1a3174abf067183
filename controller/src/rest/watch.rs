//! Watches as a stream of JSON lines, one event each.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use cellblock_controller_core::index::What;
use futures::{StreamExt as _, future, stream};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::Front;
use super::failure::Failure;
use super::media::{self, As, Form, Text};
use super::query::Query;
use super::shown::Sort;
use super::table::{self, Include};
use crate::identity::Caller;
use crate::patience::{WAITING_MAX, taken};
use crate::status::RequestError;
use crate::verbs::{Event, Events, Held, WatchQuery, Watched};

/// How long a watch lasts whose client does not say, at least and with some more so that not all begin anew together, as with
/// kube-apiserver's `--min-request-timeout` (`endpoints/handlers/get.go`).
const LASTS: Duration = Duration::from_secs(1_800);

/// How much more, at most.
const LASTS_LONGER_SECONDS: u64 = 1_800;

/// How many bytes that are made for one client go to it at once: of tables so many wait [`WAITING_MAX`] times.
const OWN_BYTES_MAX: usize = 256 << 10;

/// What the bookmark behind the initial events carries (kubernetes/apimachinery, `InitialEventsAnnotationKey`).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// How a watch is shown to its client.
pub(super) struct Stream {
    sort: Sort,
    shape: As,
    include: Include,
    bookmarks: bool,
    says_initial_end: bool,
    lasts: Duration,
    patience: Duration,
    columns_told: bool,
}

impl Stream {
    pub(super) fn of(
        sort: Sort,
        form: Form,
        query: &Query,
        patience: Duration,
    ) -> Result<Self, Failure> {
        if form.text == Text::Yaml {
            return Err(Failure::not_acceptable("application/json"));
        }
        let spread = uuid::Uuid::new_v4().as_u64_pair().0 % LASTS_LONGER_SECONDS;
        let lasts = query.timeout()?;
        Ok(Self {
            sort,
            shape: form.shape,
            include: Include::read(query.text("includeObject")),
            bookmarks: query.flag("allowWatchBookmarks").unwrap_or(false),
            // To who takes bookmarks only (`endpoints/handlers/get.go`, `isListWatchRequest`).
            says_initial_end: query.flag("sendInitialEvents").unwrap_or(false),
            lasts: lasts.unwrap_or(LASTS + Duration::from_secs(spread)),
            patience,
            columns_told: false,
        })
    }

    /// The answer: events until the time is over, the client goes or reads no more, or an error, which is told as the last of them.
    pub(super) fn answer(self, watched: Watched) -> Response<Body> {
        let Watched { events, place } = watched;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let (last, ended) = oneshot::channel();
        // A task of its own: a body is only asked for more while its client reads.
        tokio::spawn(self.pump(events, sender, last));
        let ended = stream::once(ended).filter_map(|ended| future::ready(ended.ok()));
        let frames = ReceiverStream::new(receiver).chain(ended);
        let frames = frames.flat_map(|frames: Frames| stream::iter(frames.each));
        let body = Body::from_stream(frames.map(move |frame| {
            // What waits in the body goes with the body, and so does the place.
            let _held: &Held = &place;
            Ok::<_, Infallible>(frame)
        }));
        media::raw(StatusCode::OK, "application/json", body)
    }

    /// Turns events into lines. All of one transaction have one revision, from which a client resumes behind any of them.
    async fn pump(
        mut self,
        mut events: Events,
        chunks: mpsc::Sender<Frames>,
        last: oneshot::Sender<Frames>,
    ) {
        let over = tokio::time::sleep(self.lasts);
        tokio::pin!(over);
        loop {
            let batch = tokio::select! {
                batch = events.next() => batch,
                () = &mut over => return,
                () = chunks.closed() => return,
            };
            let batch = match batch {
                Some(Ok(batch)) => batch,
                // Like an end in time: the client resumes elsewhere. An error would have it list again.
                Some(Err(RequestError::ShuttingDown)) | None => return,
                Some(Err(error)) => {
                    taken(&chunks, Frames::of_error(error), self.patience).await;
                    return;
                }
            };
            let mut frames = Frames::default();
            let mut each = batch.into_iter().peekable();
            while let Some(event) = each.next() {
                self.line(event, &mut frames);
                if each.peek().is_some() && frames.own_bytes < OWN_BYTES_MAX {
                    continue;
                }
                let frames = std::mem::take(&mut frames);
                if frames.each.is_empty() || taken(&chunks, frames, self.patience).await {
                    continue;
                }
                if !chunks.is_closed() {
                    metrics::counter!("cellblock_watches_cut_off_total").increment(1);
                    tracing::info!(
                        kind = self.sort.kind(),
                        "a watch is cut off: its client reads too slowly"
                    );
                    // Nobody may be there to hear it.
                    let _ = last.send(Frames::of_error(RequestError::TooSlow(WAITING_MAX as u64)));
                }
                return;
            }
        }
    }

    fn line(&mut self, event: Event, frames: &mut Frames) {
        let (bookmark, is_initial_end) = match event {
            Event::Object(what, _, entry) => {
                return self.object(what, &entry.json, entry.revision, frames);
            }
            Event::Record(what, _, revision, json) => {
                return self.object(what, &json, revision, frames);
            }
            Event::Presented(revision) => (revision, self.says_initial_end),
            Event::Bookmark(revision) => (revision, false),
        };
        if self.bookmarks {
            let bookmark = self.bookmark(bookmark, is_initial_end).to_string();
            frames.own(BOOKMARK, bookmark.into());
        }
    }

    fn object(&mut self, what: What, json: &Bytes, revision: u64, frames: &mut Frames) {
        let document = || serde_json::from_slice(json).unwrap_or(Value::Null);
        let shown = match &self.shape {
            As::Objects | As::Discovery(_) => return frames.shared(type_of(what), json.clone()),
            As::Metadata(version) => table::metadata_of(&document(), version),
            As::Table(version) => {
                // The columns are told once, with the first event, as kube-apiserver does (`endpoints/handlers/response.go`).
                let heading = !std::mem::replace(&mut self.columns_told, true);
                let metadata = json!({"resourceVersion": revision.to_string()});
                let documents = [document()];
                table::table(
                    self.sort,
                    version,
                    &metadata,
                    &documents,
                    self.include,
                    heading,
                )
            }
        };
        frames.own(type_of(what), shown.to_string().into());
    }

    fn bookmark(&self, revision: u64, is_initial_end: bool) -> Value {
        let mut metadata =
            json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if is_initial_end {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = json!({
            "kind": self.sort.kind(),
            "apiVersion": self.sort.api_version(),
            "metadata": metadata,
        });
        match &self.shape {
            As::Objects | As::Discovery(_) => object,
            As::Metadata(version) => table::metadata_of(&object, version),
            As::Table(version) => {
                let mut table =
                    table::table(self.sort, version, &metadata, &[], self.include, false);
                table["metadata"] = metadata;
                table
            }
        }
    }
}

/// Opens a watch. What goes wrong with the revision is told as an event, as the answer has begun then; client-go's `RetryWatcher` asks
/// again and again after an answer of 410 (kubernetes/apiserver, `pkg/storage/cacher/cacher.go`, `Watch`, `newErrWatcher`; client-go,
/// `tools/watch/retrywatcher.go`, `doReceive`).
pub(super) async fn open(
    front: &Front,
    caller: &Caller,
    wanted: WatchQuery,
) -> Result<Watched, Failure> {
    match front.verbs.watch(caller, wanted).await {
        Ok(watched) => Ok(watched),
        Err(error @ (RequestError::Expired(_) | RequestError::Future { .. })) => {
            let events = Box::pin(stream::once(future::ready(Err(error))));
            let place = Box::new(());
            Ok(Watched { events, place })
        }
        Err(error) => Err(error.into()),
    }
}

/// Lines on their way to a client. Documents that go out as they are are everybody's: only what is made for this client is its own.
#[derive(Default)]
struct Frames {
    each: Vec<Bytes>,
    own_bytes: usize,
}

impl Frames {
    fn shared(&mut self, before: &'static [u8], document: Bytes) {
        let (before, end) = (Bytes::from_static(before), Bytes::from_static(END));
        self.each.extend([before, document, end]);
    }

    fn own(&mut self, before: &'static [u8], document: Bytes) {
        self.own_bytes += document.len();
        self.shared(before, document);
    }

    fn of_error(error: RequestError) -> Self {
        let mut frames = Self::default();
        let status = Failure::from(error).status().to_string();
        frames.own(ERROR, status.into());
        frames
    }
}

const ADDED: &[u8] = br#"{"type":"ADDED","object":"#;
const MODIFIED: &[u8] = br#"{"type":"MODIFIED","object":"#;
const DELETED: &[u8] = br#"{"type":"DELETED","object":"#;
const BOOKMARK: &[u8] = br#"{"type":"BOOKMARK","object":"#;
const ERROR: &[u8] = br#"{"type":"ERROR","object":"#;
const END: &[u8] = b"}\n";

fn type_of(what: What) -> &'static [u8] {
    match what {
        What::Added => ADDED,
        What::Modified => MODIFIED,
        What::Deleted => DELETED,
    }
}

#[cfg(test)]
mod tests;
