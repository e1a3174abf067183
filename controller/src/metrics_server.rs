//! Serves the metrics to a Prometheus of this machine: the one page there is, over HTTP/1.1, one request per connection. To those of
//! others the API's listener serves it, behind the same guard as everything ([`crate::rest`]).

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long a scraper may take for its request.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a request's head may be; a scraper's is a few hundred bytes.
const HEAD_BYTES_MAX: usize = 8_192;

/// The form of the page.
pub(crate) const MEDIA: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How often idle histograms are brought up to date, as the recorder asks for.
const UPKEEP: Duration = Duration::from_secs(5);

/// Brings idle histograms up to date for good.
pub(crate) async fn upkeep(metrics: PrometheusHandle) {
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        upkeep.tick().await;
        metrics.run_upkeep();
    }
}

/// Serves for good; ends only when the task is dropped.
pub(crate) async fn serve(listener: TcpListener, metrics: PrometheusHandle) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(answer(stream, metrics.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a scraper");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, metrics: PrometheusHandle) {
    let Ok(Ok(head)) = tokio::time::timeout(PATIENCE, head(&mut stream)).await else {
        return;
    };
    let (status, body) = if head.starts_with(b"GET /metrics ") || head.starts_with(b"GET / ") {
        ("200 OK", metrics.render())
    } else {
        ("404 Not Found", "metrics are at /metrics\n".to_owned())
    };
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {MEDIA}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // A scraper that went away misses its page, and nothing else happens.
    let _ = tokio::time::timeout(PATIENCE, stream.write_all(response.as_bytes())).await;
}

async fn head(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut part = [0; 1_024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        let read = stream.read(&mut part).await?;
        if read == 0 {
            break;
        }
        head.extend_from_slice(&part[..read]);
    }
    Ok(head)
}
