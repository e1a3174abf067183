//! Watches as a stream of JSON lines, one event each.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use cellblock_controller_core::index::What;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::failure::Failure;
use super::media::{self, As, Form, Text};
use super::query::Query;
use super::shown::Sort;
use super::table::{self, Include};
use crate::patience::{WAITING_MAX, taken};
use crate::status::RequestError;
use crate::verbs::{Event, Events};

/// How long a watch lasts whose client does not say, at least and with some more so that not all begin anew together, as with
/// kube-apiserver's `--min-request-timeout` (`endpoints/handlers/get.go`).
const LASTS: Duration = Duration::from_secs(1_800);

/// How much more, at most.
const LASTS_LONGER_SECONDS: u64 = 1_800;

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
            says_initial_end: query.flag("sendInitialEvents").unwrap_or(false),
            lasts: lasts.unwrap_or(LASTS + Duration::from_secs(spread)),
            patience,
            columns_told: false,
        })
    }

    /// The answer: events until the time is over, the client goes or reads no more, or an error, which is told as the last of them.
    pub(super) fn answer(self, events: Events) -> Response<Body> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        // A task of its own: a body is only asked for more while its client reads.
        tokio::spawn(self.pump(events, sender));
        let chunks = ReceiverStream::new(receiver).map(Ok::<_, std::convert::Infallible>);
        media::raw(
            StatusCode::OK,
            "application/json",
            Body::from_stream(chunks),
        )
    }

    /// Turns events into lines. All of one transaction have one revision, from which a client resumes behind any of them, so they
    /// go out in one piece.
    async fn pump(mut self, mut events: Events, chunks: mpsc::Sender<Bytes>) {
        let over = tokio::time::sleep(self.lasts);
        tokio::pin!(over);
        loop {
            let batch = tokio::select! {
                batch = events.next() => batch,
                () = &mut over => return,
                () = chunks.closed() => return,
            };
            let (chunk, is_last) = match batch {
                Some(Ok(batch)) => (self.lines(batch), false),
                // Like an end in time: the client resumes elsewhere. An error would have it list again.
                Some(Err(RequestError::ShuttingDown)) | None => return,
                Some(Err(error)) => {
                    let status = Failure::from(error).status();
                    (line("ERROR", status.to_string().as_bytes()), true)
                }
            };
            if chunk.is_empty() {
                continue;
            }
            if !taken(&chunks, chunk, self.patience).await || is_last {
                return;
            }
        }
    }

    fn lines(&mut self, batch: Vec<Event>) -> Bytes {
        let lines: Vec<Bytes> = batch
            .into_iter()
            .filter_map(|event| self.line(event))
            .collect();
        lines.concat().into()
    }

    fn line(&mut self, event: Event) -> Option<Bytes> {
        match event {
            Event::Object(what, _, entry) => {
                Some(line(type_of(what), &self.object(&entry.json, entry.revision)))
            }
            Event::Record(what, _, revision, json) => {
                Some(line(type_of(what), &self.object(&json, revision)))
            }
            Event::Presented(revision) if self.says_initial_end => Some(line(
                "BOOKMARK",
                self.bookmark(revision, true).to_string().as_bytes(),
            )),
            Event::Presented(revision) | Event::Bookmark(revision) => self.bookmarks.then(|| {
                line(
                    "BOOKMARK",
                    self.bookmark(revision, false).to_string().as_bytes(),
                )
            }),
        }
    }

    fn object(&mut self, json: &Bytes, revision: u64) -> Bytes {
        let document = || serde_json::from_slice(json).unwrap_or(Value::Null);
        let shown = match &self.shape {
            As::Objects | As::Discovery(_) => return json.clone(),
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
        shown.to_string().into()
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

fn type_of(what: What) -> &'static str {
    match what {
        What::Added => "ADDED",
        What::Modified => "MODIFIED",
        What::Deleted => "DELETED",
    }
}

fn line(what: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + what.len() + 24);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(what.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.into()
}

#[cfg(test)]
mod tests;
