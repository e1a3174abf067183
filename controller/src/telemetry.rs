//! Logs and metrics: how they are set up, and how a request is counted.

use std::future::Future;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tonic::{Code, Response, Status};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::status::RequestError;

/// Upper bounds, in seconds, of the latency histograms: from a read of the index to a store that is about to time out.
const LATENCY_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The recorder of this process; there can be only one.
static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Starts to write logs to the standard error output, and does so only once per process.
///
/// # Errors
/// The filter cannot be read, or something else in this process writes logs already.
pub fn init_logs(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter: EnvFilter = filter
        .parse()
        .map_err(|error| format!("the log filter `{filter}` cannot be read: {error}"))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    }
    .map_err(|error| error.to_string())
}

/// The process's metrics; recorded from the first call on.
pub(crate) fn metrics() -> Result<PrometheusHandle, BuildError> {
    let mut recorder = RECORDER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*recorder {
        return Ok(handle.clone());
    }
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)?;
    let handle = builder.install_recorder()?;
    describe();
    *recorder = Some(handle.clone());
    Ok(handle)
}

/// The same if they are recorded.
pub(crate) fn recorded() -> Option<PrometheusHandle> {
    let recorder = RECORDER.lock().unwrap_or_else(PoisonError::into_inner);
    recorder.clone()
}

fn describe() {
    metrics::describe_counter!(
        "cellblock_requests_total",
        "Requests by method and code, of gRPC or of HTTP."
    );
    metrics::describe_counter!(
        "cellblock_forbidden_total",
        "Requests and sessions of callers who may not."
    );
    metrics::describe_counter!(
        "cellblock_requests_turned_away_total",
        "Requests that came while too many others were under way."
    );
    metrics::describe_histogram!(
        "cellblock_request_seconds",
        "How long requests took, by method."
    );
    metrics::describe_gauge!(
        "cellblock_requests_in_flight",
        "Requests under way, by method."
    );
    metrics::describe_counter!(
        "cellblock_events_dropped_total",
        "What happened and was not recorded as an event, because there was too much of it."
    );
    metrics::describe_gauge!("cellblock_watches", "Open watches of clients.");
    metrics::describe_counter!(
        "cellblock_handshakes_failed_total",
        "Connections that did not come to speak TLS."
    );
    metrics::describe_counter!(
        "cellblock_watches_cut_off_total",
        "Watches whose clients read too slowly."
    );
    metrics::describe_gauge!("cellblock_agents", "Connected agents.");
    metrics::describe_gauge!("cellblock_visits", "Visits of operators in jails.");
    metrics::describe_gauge!("cellblock_objects", "Objects in the index, by kind.");
    metrics::describe_histogram!(
        "cellblock_store_commit_seconds",
        "How long the store took to commit."
    );
    metrics::describe_counter!(
        "cellblock_store_conflicts_total",
        "Transactions that somebody else was faster than."
    );
}

/// Runs a request, counts it, and turns its error into a status.
pub(crate) async fn observed<T>(
    method: &'static str,
    request: impl Future<Output = Result<T, RequestError>>,
) -> Result<Response<T>, Status> {
    let in_flight =
        Counted::new(metrics::gauge!("cellblock_requests_in_flight", "method" => method));
    let began = Instant::now();
    let result = request.await.map_err(Status::from);
    drop(in_flight);
    metrics::histogram!("cellblock_request_seconds", "method" => method)
        .record(began.elapsed().as_secs_f64());
    let code = result.as_ref().err().map_or(Code::Ok, Status::code);
    metrics::counter!("cellblock_requests_total", "method" => method, "code" => format!("{code:?}")).increment(1);
    match &result {
        Ok(_) => tracing::debug!(method, "served"),
        Err(status) => {
            tracing::info!(method, code = ?status.code(), reason = status.message(), "refused")
        }
    }
    result.map(Response::new)
}

/// Runs a request of the REST front and counts it.
pub(crate) async fn served(
    method: &'static str,
    request: impl Future<Output = axum::response::Response>,
) -> axum::response::Response {
    let in_flight =
        Counted::new(metrics::gauge!("cellblock_requests_in_flight", "method" => method));
    let began = Instant::now();
    let response = request.await;
    drop(in_flight);
    metrics::histogram!("cellblock_request_seconds", "method" => method)
        .record(began.elapsed().as_secs_f64());
    let code = response.status().as_u16().to_string();
    metrics::counter!("cellblock_requests_total", "method" => method, "code" => code).increment(1);
    response
}

/// Counts one in a gauge for as long as it lives, so that what is dropped half-way is not counted for good.
pub(crate) struct Counted(metrics::Gauge);

impl Counted {
    pub(crate) fn new(gauge: metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
