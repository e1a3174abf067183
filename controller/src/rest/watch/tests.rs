//! How a watch ends.

use axum::body::to_bytes;
use cellblock_controller_core::index::Entry;
use cellblock_schemas::Kind;
use futures::stream;

use super::*;

fn watch(lasts: Duration) -> Stream {
    Stream {
        sort: Sort::Object(Kind::Jail),
        shape: As::Objects,
        include: Include::read(""),
        bookmarks: true,
        says_initial_end: false,
        lasts,
        patience: Duration::from_millis(20),
        columns_told: false,
    }
}

const LONG: Duration = Duration::from_secs(3_600);

/// Bookmarks without end, and what tells when nobody asks for them any more.
fn endless() -> (Events, tokio::sync::oneshot::Receiver<()>) {
    let (held, dropped) = tokio::sync::oneshot::channel();
    let events = async_stream::stream! {
        let _held: tokio::sync::oneshot::Sender<()> = held;
        loop {
            yield Ok(vec![Event::Bookmark(1)]);
        }
    };
    (Box::pin(events), dropped)
}

/// Without a place.
fn nowhere(events: Events) -> Watched {
    let place = Box::new(());
    Watched { events, place }
}

#[tokio::test]
async fn a_client_that_never_reads_is_watched_for_no_more_and_has_its_place_while_anything_waits() {
    let (events, dropped) = endless();
    let taken = std::sync::Arc::new(());
    let place = Box::new(taken.clone());
    let answer = watch(LONG).answer(Watched { events, place });
    let given_back = tokio::time::timeout(Duration::from_secs(20), dropped).await;
    assert!(given_back.is_ok(), "the watch is still held");
    assert_eq!(std::sync::Arc::strong_count(&taken), 2);
    drop(answer);
    assert_eq!(std::sync::Arc::strong_count(&taken), 1);

    let (events, dropped) = endless();
    let place = Box::new(taken.clone());
    let events = crate::patience::patient(Watched { events, place }, Duration::from_millis(20));
    dropped.await.expect_err("nobody asks for more");
    assert_eq!(std::sync::Arc::strong_count(&taken), 2);
    drop(events);
    assert_eq!(std::sync::Arc::strong_count(&taken), 1);
}

#[tokio::test]
async fn a_client_that_goes_gives_its_place_back_at_once() {
    let (held, dropped) = tokio::sync::oneshot::channel::<()>();
    let events = async_stream::stream! {
        let _held = held;
        yield Ok(vec![Event::Bookmark(1)]);
        std::future::pending::<()>().await;
    };
    drop(watch(LONG).answer(nowhere(Box::pin(events))));
    let given_back = tokio::time::timeout(Duration::from_secs(20), dropped).await;
    assert!(given_back.is_ok(), "the watch is still held");
}

#[tokio::test]
async fn a_controller_that_stops_ends_the_stream_without_an_error() {
    let told = |error: RequestError| async {
        let events = stream::iter([Ok(vec![Event::Bookmark(7)]), Err(error)]);
        let answer = watch(LONG).answer(nowhere(Box::pin(events)));
        let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        String::from_utf8(body.to_vec()).expect("text")
    };
    let stopped = told(RequestError::ShuttingDown).await;
    assert!(
        stopped.contains("BOOKMARK") && !stopped.contains("ERROR"),
        "{stopped}"
    );
    assert_eq!(stopped.lines().count(), 1);
    let slow = told(RequestError::TooSlow(7)).await;
    assert!(slow.contains(r#"{"type":"ERROR""#), "{slow}");
}

#[tokio::test]
async fn a_document_is_shared_by_everybody_who_watches_it() {
    let json = Bytes::from(r#"{"metadata":{"name":"a"}}"#.to_owned());
    let object = Entry {
        object: cellblock_schemas::Object::from_value(
            Kind::Host,
            json!({"apiVersion": "cellblock.dev/v1alpha1", "kind": "Host", "metadata": {"name": "a"}, "spec": {}}),
        )
        .expect("a host"),
        json: json.clone(),
        revision: 7,
    };
    let event = Event::Object(What::Added, Kind::Host, std::sync::Arc::new(object));
    for _ in 0..2 {
        let events = stream::iter([Ok(vec![event.clone()])]);
        let body = watch(LONG).answer(nowhere(Box::pin(events))).into_body();
        let frames: Vec<Bytes> = body
            .into_data_stream()
            .map(|frame| frame.expect("a frame"))
            .collect()
            .await;
        assert!(frames.iter().any(|frame| frame.as_ptr() == json.as_ptr()));
        let line = frames.concat();
        let line: Value = serde_json::from_slice(&line).expect("an event");
        assert_eq!(line["object"]["metadata"]["name"], "a");
    }
}

#[tokio::test]
async fn a_client_that_reads_too_late_is_told_why_there_is_no_more() {
    let (events, dropped) = endless();
    let answer = watch(LONG).answer(nowhere(events));
    dropped.await.expect_err("the place is given back");
    let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
    let text = String::from_utf8(body.to_vec()).expect("text");
    let last = text.lines().last().expect("a line");
    let last: Value = serde_json::from_str(last).expect("an event");
    assert_eq!(last["type"], "ERROR");
    assert_eq!(last["object"]["reason"], "TooManyRequests");
}

#[tokio::test]
async fn a_bookmark_is_told_to_who_takes_bookmarks_only() {
    for bookmarks in [true, false] {
        let mut watch = watch(LONG);
        watch.bookmarks = bookmarks;
        watch.says_initial_end = true;
        let events = stream::iter([Ok(vec![Event::Presented(7)]), Ok(vec![Event::Bookmark(8)])]);
        let answer = watch.answer(nowhere(Box::pin(events)));
        let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        let text = String::from_utf8(body.to_vec()).expect("text");
        assert_eq!(
            text.lines().count(),
            if bookmarks { 2 } else { 0 },
            "{text}"
        );
    }
}
