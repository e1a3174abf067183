//! How a watch ends.

use axum::body::to_bytes;
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

#[tokio::test]
async fn a_client_that_never_reads_loses_its_place() {
    let (events, dropped) = endless();
    let answer = watch(LONG).answer(events);
    let given_back = tokio::time::timeout(Duration::from_secs(20), dropped).await;
    assert!(given_back.is_ok(), "the watch is still held");
    drop(answer);
}

#[tokio::test]
async fn a_client_that_goes_gives_its_place_back_at_once() {
    let (held, dropped) = tokio::sync::oneshot::channel::<()>();
    let events = async_stream::stream! {
        let _held = held;
        yield Ok(vec![Event::Bookmark(1)]);
        std::future::pending::<()>().await;
    };
    drop(watch(LONG).answer(Box::pin(events)));
    let given_back = tokio::time::timeout(Duration::from_secs(20), dropped).await;
    assert!(given_back.is_ok(), "the watch is still held");
}

#[tokio::test]
async fn a_controller_that_stops_ends_the_stream_without_an_error() {
    let told = |error: RequestError| async {
        let events = stream::iter([Ok(vec![Event::Bookmark(7)]), Err(error)]);
        let answer = watch(LONG).answer(Box::pin(events));
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
