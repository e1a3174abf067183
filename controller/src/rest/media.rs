//! In which form an answer goes out: what the client takes, and what there is.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures::stream;
use serde_json::Value;

use super::failure::Failure;
use super::shown::{Page, Sort};

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

/// How long one warning is at most, as kube-apiserver's (`apiserver/pkg/endpoints/filters/warning.go`).
const WARNING_CHARS_MAX: usize = 256;

/// How long all of an answer are, likewise: clients refuse answers with too many headers.
const WARNINGS_BYTES_MAX: usize = 4 << 10;

/// The text of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Json,
    Yaml,
}

/// What objects are turned into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum As {
    /// What they are.
    Objects,
    /// A `Table` of that version of `meta.k8s.io`.
    Table(String),
    /// Their metadata only.
    Metadata(String),
    /// One of Kubernetes' documents that discovery can be asked for, by its version.
    Discovery(String),
}

/// The form of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) text: Text,
    pub(super) shape: As,
}

impl Form {
    /// The first form in `Accept` that can be given, as kube-apiserver chooses it (`apiserver/pkg/endpoints/handlers/negotiation`).
    /// Without any preference it is JSON.
    pub(super) fn wanted(headers: &HeaderMap) -> Result<Self, Failure> {
        let accepts: Vec<&str> = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|clause| !clause.is_empty())
            .collect();
        if accepts.is_empty() {
            return Ok(Self::plain());
        }
        let found = accepts.iter().find_map(|clause| Self::read(clause));
        found.ok_or_else(|| Failure::not_acceptable(&format!("{JSON}, {YAML}")))
    }

    fn plain() -> Self {
        Self {
            text: Text::Json,
            shape: As::Objects,
        }
    }

    /// One clause of `Accept`.
    fn read(clause: &str) -> Option<Self> {
        let mut parts = clause.split(';').map(str::trim);
        let text = match parts.next()? {
            JSON | "application/*" | "*/*" => Text::Json,
            YAML => Text::Yaml,
            _ => return None,
        };
        let (mut shape, mut group, mut version) = ("", "", "");
        for part in parts {
            match part.split_once('=') {
                Some(("as", value)) => shape = value,
                Some(("g", value)) => group = value,
                Some(("v", value)) => version = value,
                // A stream of events is what a watch answers anyway.
                Some(("stream" | "q" | "charset", _)) | None => {}
                Some(_) => return None,
            }
        }
        let meta = group == "meta.k8s.io" && matches!(version, "v1" | "v1beta1");
        let shape = match shape {
            "" => As::Objects,
            "Table" if meta => As::Table(version.to_owned()),
            "PartialObjectMetadata" | "PartialObjectMetadataList" if meta => {
                As::Metadata(version.to_owned())
            }
            "APIGroupDiscoveryList"
                if group == "apidiscovery.k8s.io" && matches!(version, "v2" | "v2beta1") =>
            {
                As::Discovery(version.to_owned())
            }
            _ => return None,
        };
        Some(Self { text, shape })
    }
}

/// An answer of one document.
pub(super) fn answer(code: StatusCode, text: Text, document: &Value) -> Response<Body> {
    match text {
        Text::Json => raw(code, JSON, document.to_string()),
        Text::Yaml => match serde_saphyr::to_string(document) {
            Ok(yaml) => raw(code, YAML, yaml),
            Err(error) => {
                tracing::error!(%error, "a document has no YAML");
                raw(code, JSON, document.to_string())
            }
        },
    }
}

/// An answer of bytes.
pub(super) fn raw(code: StatusCode, media: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    // As kube-apiserver says of everything that it serves (`apiserver/pkg/server/filters/cachecontrol.go`).
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}

/// A list of documents as they are, none of which is copied or read for it.
pub(super) fn listed(
    sort: Sort,
    page: &Page<'_>,
    documents: impl Iterator<Item = Bytes>,
) -> Response<Body> {
    let (kind, version) = (sort.kind(), sort.api_version());
    let metadata = page.metadata();
    let begin = format!(
        "{{\"kind\":\"{kind}List\",\"apiVersion\":\"{version}\",\"metadata\":{metadata},\"items\":["
    );
    let mut frames = vec![Bytes::from(begin)];
    for (place, document) in documents.enumerate() {
        if place > 0 {
            frames.push(Bytes::from_static(b","));
        }
        frames.push(document);
    }
    frames.push(Bytes::from_static(b"]}"));
    let length: usize = frames.iter().map(Bytes::len).sum();
    let frames = frames.into_iter().map(Ok::<_, Infallible>);
    let mut response = raw(
        StatusCode::OK,
        JSON,
        Body::from_stream(stream::iter(frames)),
    );
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// A JSON answer.
pub(super) fn json(document: &Value) -> Response<Body> {
    answer(StatusCode::OK, Text::Json, document)
}

/// Adds a `Warning` header for each sentence, in the form that client-go reads (RFC 7234, 5.5: code 299, no agent).
pub(super) fn warn(response: &mut Response<Body>, warnings: impl IntoIterator<Item = String>) {
    let mut bytes = 0;
    for warning in warnings {
        let text: String = warning
            .chars()
            .take(WARNING_CHARS_MAX)
            .map(|c| if c.is_control() { ' ' } else { c })
            .flat_map(|c| {
                let escape = matches!(c, '"' | '\\').then_some('\\');
                escape.into_iter().chain([c])
            })
            .collect();
        let header = format!("299 - \"{text}\"");
        bytes += header.len();
        if bytes > WARNINGS_BYTES_MAX {
            return;
        }
        if let Ok(value) = HeaderValue::from_bytes(header.as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_bounded() {
        let mut response = raw(StatusCode::OK, JSON, "");
        warn(
            &mut response,
            (0..100_000).map(|n| format!("{n} {}", "ä\"".repeat(1_000))),
        );
        let told: Vec<_> = response.headers().get_all(header::WARNING).iter().collect();
        assert!(!told.is_empty());
        let bytes: usize = told.iter().map(|one| one.len()).sum();
        assert!(bytes <= WARNINGS_BYTES_MAX, "{bytes}");
    }
}
