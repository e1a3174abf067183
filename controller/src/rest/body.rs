//! Bodies of requests: bounded, of a known form, read into a document.

use std::cell::RefCell;
use std::fmt;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use cellblock_controller_core::admit::Validation;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Error, UserMessageFormatter, with_deserializer_from_slice_with_options};

use super::failure::Failure;

/// How large a body may be, as kube-apiserver's `MaxRequestBodyBytes` (`apiserver/pkg/server/config.go`).
const BODY_BYTES_MAX: usize = 3 << 20;

/// How deep a document of YAML is at most; of JSON, `serde_json` has the same bound.
const DEPTH_MAX: usize = 128;

/// The stack for so many levels, with plenty to spare.
const STACK_BYTES: usize = 16 << 20;

/// How many fields that stand twice are told.
const TWICE_MAX: usize = 10;

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
    let read = if is_yaml { yaml(bytes) } else { json(bytes) };
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
    // A list of operations has no fields that could stand twice in a way that matters.
    let patch = serde_json::from_slice(bytes)
        .map_err(|error| Failure::bad_request(format!("the patch cannot be read: {error}")))?;
    Ok((patch, Vec::new()))
}

/// A document, and the fields that stand in it twice.
pub(crate) type Read = (Value, Vec<String>);

pub(crate) fn json(bytes: &[u8]) -> Result<Read, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Reading::root(|seed| {
        let document = seed.deserialize(&mut reader)?;
        reader.end()?;
        Ok::<_, serde_json::Error>(document)
    });
    read.map_err(|error| error.to_string())
}

/// A document of YAML, read on a stack of its own: each level of it takes more of that than a worker has for all of them.
fn yaml(bytes: &[u8]) -> Result<Read, String> {
    let read = || {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_depth: DEPTH_MAX },
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            with_snippet: false,
        };
        let read = Reading::root(|seed| {
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

/// Where in a document something stands. Put into words only where there is something to be said.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Self::Root, name) => f.write_str(name),
            Self::Member(of, name) => write!(f, "{of}.{name}"),
            Self::Item(of, index) => write!(f, "{of}[{index}]"),
        }
    }
}

/// Reads JSON or YAML and notes which fields stand twice; the last one counts, as with Go's `encoding/json`.
struct Reading<'a> {
    place: Place<'a>,
    twice: &'a RefCell<Vec<String>>,
}

impl Reading<'_> {
    /// What `read` makes of a document's root.
    fn root<E>(read: impl FnOnce(Reading<'_>) -> Result<Value, E>) -> Result<Read, E> {
        let twice = RefCell::new(Vec::new());
        let document = read(Reading {
            place: Place::Root,
            twice: &twice,
        })?;
        Ok((document, twice.into_inner()))
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let seed = Reading {
                place: Place::Item(&self.place, list.len()),
                twice: self.twice,
            };
            match items.next_element_seed(seed)? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let place = Place::Member(&self.place, &name);
            let seed = Reading {
                place,
                twice: self.twice,
            };
            let value = members.next_value_seed(seed)?;
            if map.contains_key(&name) && self.twice.borrow().len() < TWICE_MAX {
                self.twice.borrow_mut().push(place.to_string());
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests;
