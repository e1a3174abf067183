//! Bodies of requests: bounded, of a known form, read into a document.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use cellblock_controller_core::admit::Validation;
use cellblock_schemas::Cause;
use serde::de::DeserializeSeed as _;
use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Error, UserMessageFormatter, with_deserializer_from_slice_with_options};

use super::failure::Failure;
use crate::reading::{self, Read};

/// How large a body may be, as kube-apiserver's `MaxRequestBodyBytes` (`apiserver/pkg/server/config.go`).
const BODY_BYTES_MAX: usize = 3 << 20;

/// How deep a document of YAML is at most; of JSON, `serde_json` has the same bound.
const DEPTH_MAX: usize = 128;

/// The stack for so many levels, with plenty to spare.
const STACK_BYTES: usize = 16 << 20;

/// What a body is, by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// A document.
    Json,
    /// Likewise.
    Yaml,
    MergePatch,
    JsonPatch,
    Apply,
}

impl Media {
    /// What the headers say. Absent means JSON to kube-apiserver; here it is refused, as it is all that a web page can leave away.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let said = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let name = said.split(';').next().unwrap_or_default().trim();
        match name.to_ascii_lowercase().as_str() {
            "application/json" => Some(Self::Json),
            "application/yaml" => Some(Self::Yaml),
            "application/merge-patch+json" => Some(Self::MergePatch),
            "application/json-patch+json" => Some(Self::JsonPatch),
            "application/apply-patch+yaml" => Some(Self::Apply),
            _ => None,
        }
    }

    /// The form of a document.
    pub(super) fn document(headers: &HeaderMap) -> Result<Self, Failure> {
        let known = "application/json, application/yaml";
        let media = Self::of(headers).filter(|media| matches!(media, Self::Json | Self::Yaml));
        media.ok_or_else(|| Failure::unsupported_media(known))
    }

    /// The form of a document that replaces one. Not every client says it (client-go, `scale/client.go`, `Update`; `kubectl replace --raw`), and
    /// a web page cannot send this method without asking first.
    pub(super) fn of_put(headers: &HeaderMap) -> Result<Self, Failure> {
        if headers.contains_key(header::CONTENT_TYPE) {
            return Self::document(headers);
        }
        Ok(Self::Json)
    }

    /// The form of a patch. A strategic merge patch has no meaning for kinds that are not Kubernetes' own, as for custom
    /// resources there.
    pub(super) fn patch(headers: &HeaderMap) -> Result<Self, Failure> {
        let known = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
        let media = Self::of(headers).filter(|media| !matches!(media, Self::Json | Self::Yaml));
        media.ok_or_else(|| Failure::unsupported_media(known))
    }
}

/// A body as it is.
pub(super) async fn bytes(body: Body) -> Result<Bytes, Failure> {
    let read = to_bytes(body, BODY_BYTES_MAX).await;
    read.map_err(|_| Failure::too_large(BODY_BYTES_MAX))
}

/// A document, and what there is to be told about it. What stands twice is refused or told, as an unknown field would be.
pub(super) fn document(
    media: Media,
    bytes: &[u8],
    validation: Validation,
) -> Result<(Value, Vec<String>), Failure> {
    let looks_like_json = bytes.trim_ascii_start().first() == Some(&b'{');
    let is_yaml = media == Media::Yaml || (media == Media::Apply && !looks_like_json);
    let read = if is_yaml {
        yaml(bytes)
    } else {
        reading::json(bytes)
    };
    let (document, twice) = read.map_err(|error| {
        Failure::bad_request(format!("the body of the request cannot be read: {error}"))
    })?;
    let sentences = twice
        .iter()
        .map(|field| format!("duplicate field {field:?}"));
    match validation {
        Validation::Strict if !twice.is_empty() => {
            let sentences: Vec<_> = sentences.collect();
            Err(Failure::bad_request(format!(
                "strict decoding error: {}",
                sentences.join(", ")
            )))
        }
        Validation::Strict | Validation::Warn => Ok((document, sentences.collect())),
        Validation::Ignore => Ok((document, Vec::new())),
    }
}

/// A patch, and what there is to be told about it.
pub(super) fn patch(
    media: Media,
    bytes: &[u8],
    validation: Validation,
) -> Result<(Value, Vec<String>), Failure> {
    if media != Media::JsonPatch {
        return document(media, bytes, validation);
    }
    let (patch, twice) = reading::json(bytes)
        .map_err(|error| Failure::bad_request(format!("the patch cannot be read: {error}")))?;
    let told = reading::mistakes_of_operations(&patch, &twice);
    match validation {
        // kubernetes/apiserver, `pkg/endpoints/handlers/patch.go`, `applyJSPatch`.
        Validation::Strict if !told.is_empty() => {
            let message = format!("strict decoding error: {}", told.join(", "));
            let options = "PatchOptions";
            Err(Failure::invalid_option(
                options,
                "patch",
                Cause::Invalid,
                message,
            ))
        }
        Validation::Strict | Validation::Warn => Ok((patch, told)),
        Validation::Ignore => Ok((patch, Vec::new())),
    }
}

/// A document of YAML, read on a stack of its own: each level of it takes more of that than a worker has for all of them.
fn yaml(bytes: &[u8]) -> Result<Read, String> {
    let read = || {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_depth: DEPTH_MAX },
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            with_snippet: false,
        };
        let read = reading::root(|seed| {
            with_deserializer_from_slice_with_options(bytes, options, |reader| {
                seed.deserialize(reader)
            })
        });
        read.map_err(|error| {
            if let Error::MultipleDocuments { .. } = error {
                "it is several documents of YAML, and a request is about one (send each by itself)"
                    .to_owned()
            } else {
                error.render_with_formatter(&UserMessageFormatter)
            }
        })
    };
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().stack_size(STACK_BYTES);
        let reader = reader.spawn_scoped(scope, read);
        let read = reader.map_err(|error| error.to_string())?.join();
        read.unwrap_or_else(|_| Err("its reader gave up".to_owned()))
    })
}

#[cfg(test)]
mod tests;
