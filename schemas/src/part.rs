//! Parts of objects, as somebody who applies states them: brought into the one form in which they can be compared with what
//! is stored, without being whole.
//!
//! A whole object gets that form from being read into the types. A part need not fit them (somebody else states what is
//! missing), so this walks the kind's schema instead. What a part may look like is [`crate::structural::check_part`]'s.

use serde_json::Value;

use crate::default;
use crate::json_schema::json_schema;
use crate::object::Kind;
use crate::path::FieldPath;
use crate::structural::{self, format};
use crate::violation::Violation;

#[cfg(test)]
mod tests;

/// Reads a part: explicit nulls count as absent, list entries get the keys that need not be written, and addresses, prefixes
/// and ports are written as the types write them.
///
/// # Errors
/// Everything that does not fit the schema of the kind.
pub fn read(kind: Kind, document: Value) -> Result<Value, Vec<Violation>> {
    match read_partly(kind, document) {
        (part, violations) if violations.is_empty() => Ok(part),
        (_, violations) => Err(violations),
    }
}

/// As [`read`], with everything that does not fit left where it is.
#[must_use]
pub fn read_partly(kind: Kind, mut document: Value) -> (Value, Vec<Violation>) {
    structural::prune_nulls(&mut document);
    default::default_keys(kind, &mut document);
    let violations = structural::check_part(kind, &document);
    let root = json_schema(kind);
    canonicalise(root, root, &mut document);
    (document, violations)
}

/// A status, as a part of one or as the whole, in the same form; with everything that does not fit left where it is.
#[must_use]
pub fn read_status(kind: Kind, mut status: Value, is_part: bool) -> (Value, Vec<Violation>) {
    structural::prune_nulls(&mut status);
    let violations = structural::check_status(kind, &status, is_part);
    let root = json_schema(kind);
    canonicalise(root, member(resolve(root, root), "status"), &mut status);
    (status, violations)
}

/// How many fields that a kind does not have are said; all are taken out.
const DROPPED_TOLD_MAX: usize = 100;

/// Where in a document something stands. Put into words only where there is something to be said.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn path(&self) -> FieldPath {
        match self {
            Self::Root => FieldPath::root(),
            Self::Field(of, name) => of.path().field(name),
            Self::Index(of, index) => of.path().index(*index),
        }
    }
}

/// Takes out the fields that the kind does not have, and says which, or the first hundred of them: for clients that asked not to be refused because of
/// them (Kubernetes' `fieldValidation` of `Warn` and `Ignore`). The status is not looked into.
pub fn drop_unknown(kind: Kind, document: &mut Value) -> Vec<String> {
    let root = json_schema(kind);
    let mut dropped = Vec::new();
    let status = document
        .as_object_mut()
        .and_then(|document| document.shift_remove("status"));
    drop_in(root, root, document, Place::Root, &mut dropped);
    if let (Some(document), Some(status)) = (document.as_object_mut(), status) {
        document.insert("status".to_owned(), status);
    }
    dropped
}

/// The same for a document of which only the status counts.
pub fn drop_unknown_in_status(kind: Kind, document: &mut Value) -> Vec<String> {
    let root = json_schema(kind);
    let mut dropped = Vec::new();
    if let Some(status) = document.get_mut("status") {
        let schema = member(resolve(root, root), "status");
        let place = Place::Field(&Place::Root, "status");
        drop_in(root, schema, status, place, &mut dropped);
    }
    dropped
}

fn drop_in(
    root: &Value,
    schema: &Value,
    value: &mut Value,
    place: Place<'_>,
    dropped: &mut Vec<String>,
) {
    let schema = resolve(root, schema);
    match value {
        Value::Object(members) => {
            if let Some(Value::Object(known)) = schema.get("properties") {
                members.retain(|name, _| {
                    let is_known = known.contains_key(name);
                    if !is_known && dropped.len() < DROPPED_TOLD_MAX {
                        let path = Place::Field(&place, name).path();
                        dropped.push(path.as_str().to_owned());
                    }
                    is_known
                });
            }
            for (name, value) in members.iter_mut() {
                drop_in(
                    root,
                    member(schema, name),
                    value,
                    Place::Field(&place, name),
                    dropped,
                );
            }
        }
        Value::Array(items) => {
            let schema = schema.get("items").unwrap_or(&Value::Null);
            for (index, item) in items.iter_mut().enumerate() {
                drop_in(root, schema, item, Place::Index(&place, index), dropped);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn canonicalise(root: &Value, schema: &Value, value: &mut Value) {
    let schema = resolve(root, schema);
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                canonicalise(root, member(schema, name), value);
            }
        }
        Value::Array(items) => {
            let schema = schema.get("items").unwrap_or(&Value::Null);
            for item in items {
                canonicalise(root, schema, item);
            }
        }
        Value::String(text) => {
            let alternatives = schema.get("anyOf").and_then(Value::as_array);
            let mut formats = std::iter::once(schema)
                .chain(alternatives.into_iter().flatten())
                .filter_map(|schema| schema.get("format").and_then(Value::as_str));
            if let Some(canonical) = formats.find_map(|name| format::canonical(name, text)) {
                *value = canonical;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn member<'a>(schema: &'a Value, name: &str) -> &'a Value {
    let named = schema.get("properties").and_then(|known| known.get(name));
    let any = schema.get("additionalProperties");
    named.or(any).unwrap_or(&Value::Null)
}

fn resolve<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    static NONE: Value = Value::Null;
    while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        schema = root
            .pointer(reference.trim_start_matches('#'))
            .unwrap_or(&NONE);
    }
    schema
}
