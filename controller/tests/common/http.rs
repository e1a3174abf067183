//! The REST front as an HTTP client sees it that is nobody's library.

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{DEADLINE, World};

pub(crate) const JSON: &str = "application/json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";

/// An answer: the code, the headers as they came, the body.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The reason of a refusal and the fields that it names.
    pub(crate) fn refusal(&self) -> (String, Vec<String>) {
        let status = self.json();
        assert_eq!(status["kind"], "Status", "{status}");
        assert_eq!(status["code"], self.code, "{status}");
        let causes = status["details"]["causes"].as_array().cloned();
        let fields = causes.unwrap_or_default();
        let fields = fields.iter().map(|one| text(&one["field"])).collect();
        (text(&status["reason"]), fields)
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// One request over a connection of its own, by HTTP/1.1; the headers are whole lines.
pub(crate) async fn ask(
    world: &World,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Answer {
    let address = world.controller.address();
    let stream = TcpStream::connect(address).await.expect("it listens");
    let host = address.to_string();
    ask_over(stream, &host, method, path, headers, body).await
}

/// The same over a connection that is there.
pub(crate) async fn ask_over(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Answer {
    ask_until(stream, host, (method, path), headers, body, "").await
}

/// What comes until one of its lines has a text, in whole lines.
pub(crate) async fn get_until(world: &World, path: &str, until: &str) -> Answer {
    let address = world.controller.address();
    let stream = TcpStream::connect(address).await.expect("it listens");
    let host = address.to_string();
    ask_until(stream, &host, ("GET", path), &[], "", until).await
}

async fn ask_until(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    (method, path): (&str, &str),
    headers: &[&str],
    body: &str,
    until: &str,
) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|line| line.starts_with("Host:")) {
        request += &format!("Host: {host}\r\n");
    }
    for line in headers {
        request += &format!("{line}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n", body.len());
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    // A body that is too large is answered before it is read.
    let _ = stream.write_all(body.as_bytes()).await;
    let mut read = Vec::new();
    let reading = async {
        while stream
            .read_buf(&mut read)
            .await
            .is_ok_and(|length| length > 0)
        {
            let so_far = String::from_utf8_lossy(&read);
            let is_there = |it: Answer| lines(&it.body).contains(until);
            if !until.is_empty() && answer(&so_far).is_some_and(is_there) {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DEADLINE, reading).await;
    let mut answer = answer(&String::from_utf8_lossy(&read)).expect("an answer");
    if !until.is_empty() {
        answer.body = lines(&answer.body).to_owned();
    }
    answer
}

/// The lines that are whole.
fn lines(body: &str) -> &str {
    let end = body.rfind('\n').map_or(0, |end| end + 1);
    &body[..end]
}

fn answer(read: &str) -> Option<Answer> {
    let (head, body) = read.split_once("\r\n\r\n")?;
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    Some(Answer {
        code: head.get(9..12)?.parse().ok()?,
        head: head.to_owned(),
        body: if chunked {
            joined(body)
        } else {
            body.to_owned()
        },
    })
}

fn joined(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        let Some(chunk) = rest.get(..size).filter(|_| size > 0) else {
            break;
        };
        body += chunk;
        chunks = rest[size..].trim_start_matches("\r\n");
    }
    body
}

pub(crate) async fn send(
    world: &World,
    method: &str,
    path: &str,
    media: &str,
    body: &Value,
) -> Answer {
    let media = format!("Content-Type: {media}");
    ask(world, method, path, &[&media], &body.to_string()).await
}

pub(crate) async fn get(world: &World, path: &str) -> Answer {
    ask(world, "GET", path, &[], "").await
}
