//! What a client still sends when its answer is made already: read and thrown away, for a moment, so that the answer reaches who writes
//! before they read. A connection that is closed with something unread is reset, and the answer is lost with it.
//!
//! As Go's `net/http` (`server.go`: `maxPostHandlerReadBytes`, `rstAvoidanceDelay`), under kube-apiserver. HTTP/2 tells each stream by itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use futures::stream::{self, Stream as _, StreamExt as _};

/// How much is read away at most; more than the manifests of a large fleet in one request.
const BYTES_MAX: usize = 64 << 20;

/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Has a request answered, and reads what is left of its body.
pub(super) async fn read_away(request: Request, next: Next) -> Response {
    let headers = request.headers();
    // Who expects to be told to go on has not sent anything yet.
    let is_whole = request.body().is_end_stream() || headers.contains_key(header::EXPECT);
    if request.version() == Version::HTTP_2 || is_whole {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let left = Arc::new(Mutex::new(Some(body.into_data_stream())));
    let reading = left.clone();
    let body = stream::poll_fn(move |context| {
        let mut left = reading.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(body) = left.as_mut() else {
            return std::task::Poll::Ready(None);
        };
        let polled = std::pin::Pin::new(body).poll_next(context);
        if matches!(polled, std::task::Poll::Ready(None | Some(Err(_)))) {
            *left = None;
        }
        polled
    });
    let request = Request::from_parts(parts, Body::from_stream(body));
    let mut response = next.run(request).await;
    let left = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(left) = left {
        let is_over = tokio::time::timeout(PATIENCE, to_its_end(left)).await;
        if !is_over.unwrap_or(false) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
    }
    response
}

/// Whether that is there before it is too much.
async fn to_its_end(mut body: BodyDataStream) -> bool {
    let mut read = 0;
    while let Some(part) = body.next().await {
        let Ok(part) = part else {
            return false;
        };
        read += part.len();
        if read > BYTES_MAX {
            return false;
        }
    }
    true
}
