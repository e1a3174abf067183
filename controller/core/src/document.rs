//! Stored documents: an object's JSON as it is in the store, patched without losing what this release does not know.
//!
//! The store's value has no `metadata.resourceVersion`, because the revision exists only once it is written; what goes out
//! to clients has it. Both forms are made here and nowhere else.

use bytes::Bytes;
use serde_json::{Map, Value};

/// Makes `raw`, of which `before` is what this release understands, say `after`. Members of objects that neither names stay;
/// lists are replaced whole.
pub fn patch(raw: &mut Value, before: &Value, after: &Value) {
    let (Value::Object(raw), Value::Object(before), Value::Object(after)) =
        (&mut *raw, before, after)
    else {
        *raw = after.clone();
        return;
    };
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        raw.shift_remove(key);
    }
    for (key, value) in after {
        match (raw.get_mut(key), before.get(key)) {
            (Some(present), Some(before)) if present.is_object() && value.is_object() => {
                patch(present, before, value);
            }
            (Some(present), _) if present.is_object() && value.is_object() => {
                patch(present, &Value::Object(Map::new()), value);
            }
            _ => {
                raw.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The stored form.
#[must_use]
pub fn stored(document: &Value) -> Bytes {
    let mut document = document.clone();
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("resourceVersion");
    }
    encode(&document)
}

/// The form for clients: with the revision as `metadata.resourceVersion`.
#[must_use]
pub fn served(document: &Value, revision: u64) -> Bytes {
    let mut document = document.clone();
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert(
            "resourceVersion".to_owned(),
            Value::String(revision.to_string()),
        );
    }
    encode(&document)
}

fn encode(document: &Value) -> Bytes {
    serde_json::to_vec(document)
        .expect("a JSON value has string keys only")
        .into()
}

#[cfg(test)]
mod tests;
