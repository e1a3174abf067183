//! How many requests are answered at once, over both wires together: reads and writes are bounded apart, and what comes beyond is turned
//! away at once, to come again. So nobody waits without bound for a store that is away, nor holds the memory of his request meanwhile.
//!
//! As kube-apiserver (kubernetes/apiserver, `pkg/server/filters/maxinflight.go`, `WithMaxInFlightLimit`, and the defaults of
//! `pkg/server/config.go`). What lasts (watches, agents' sessions, visits) has bounds of its own; probes of health and scrapers are always answered.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use axum::response::Response;
use cellblock_schemas::Kind;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::status::RequestError;

/// How many requests read at once, as kube-apiserver's `--max-requests-inflight`.
const READS_MAX: usize = 400;

/// How many write, as its `--max-mutating-requests-inflight`.
const WRITES_MAX: usize = 200;

/// How long one may take, its body included, as kube-apiserver's `--request-timeout`: who stops sending gives his place back.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a request counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Read,
    Write,
    /// Neither: it lasts, or is always answered.
    Free,
}

/// The places that there are.
#[derive(Clone)]
pub(crate) struct InFlight {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl InFlight {
    pub(crate) fn new() -> Self {
        Self {
            reads: Arc::new(Semaphore::new(READS_MAX)),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
        }
    }

    /// A place, for as long as it is kept.
    ///
    /// # Errors
    /// There is none.
    fn take(&self, sort: Sort) -> Result<Option<OwnedSemaphorePermit>, RequestError> {
        let (places, most, word) = match sort {
            Sort::Read => (&self.reads, READS_MAX, "read"),
            Sort::Write => (&self.writes, WRITES_MAX, "write"),
            Sort::Free => return Ok(None),
        };
        let place = places.clone().try_acquire_owned();
        place.map(Some).map_err(|_| {
            metrics::counter!("cellblock_requests_turned_away_total").increment(1);
            RequestError::Exhausted(format!(
                "too many requests: {most} that {word} are under way; try again later"
            ))
        })
    }

    /// Answers a request if there is a place, in the time that there is; `refused` says in its own words that there is not.
    pub(crate) async fn bounded(
        self,
        sort: Sort,
        answering: impl Future<Output = Response>,
        refused: impl FnOnce(RequestError) -> Response,
    ) -> Response {
        let answer = match self.take(sort) {
            Ok(None) => return answering.await,
            Ok(Some(_place)) => timeout(PATIENCE, answering).await,
            Err(error) => return refused(error),
        };
        answer.unwrap_or_else(|_| refused(RequestError::TimedOut(PATIENCE.as_secs())))
    }
}

/// What a request of gRPC counts as.
pub(crate) fn of_grpc(path: &str) -> Sort {
    match path.strip_prefix("/cellblock.v1.Objects/") {
        None | Some("Watch") => Sort::Free,
        Some("Get" | "List" | "ListAllocations" | "ListEvents" | "Version") => Sort::Read,
        Some(_) => Sort::Write,
    }
}

/// What a request of the REST front counts as, if it is no probe.
pub(crate) fn of_rest(method: &Method, path: &str, is_watch: bool) -> Sort {
    if *method != Method::GET && *method != Method::HEAD {
        return Sort::Write;
    }
    if is_watch && is_watched(path) {
        return Sort::Free;
    }
    Sort::Read
}

/// Whether a watch can be asked for there: of one object it is not heeded, so it would be a read without a bound.
fn is_watched(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts.as_slice() {
        ["apis", _, _, plural] => Kind::ALL.into_iter().any(|kind| kind.plural() == *plural),
        ["api", "v1", "events"] | ["api", "v1", "namespaces", _, "events"] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
