//! Admission of a status written by a client through the status subresource.

use std::sync::Arc;

use cellblock_schemas::{Cause, Kind, Object, Uid, Violation, part};
use serde_json::Value;

use super::draft::Draft;
use super::{Admitted, Now, Reason, Rejection, Through, managed, spec};
use crate::fibs;
use crate::index::{Entry, Index};

/// Replaces the status. Nothing else of the document counts, except that a resourceVersion in it must be the newest.
pub(super) fn update(
    index: &Index,
    kind: Kind,
    document: Value,
    manager: &str,
    now: &Now,
) -> Result<Admitted, Rejection> {
    let document = checked(index, kind, document)?;
    let mut draft = begin(index, kind, &document)?;
    refuse_unobserved(&draft, &document)?;
    let stored = managed::Records::Stored;
    managed::updated(&mut draft, stored, Through::Status, manager, now);
    draft.finish(Vec::new())
}

/// A document with its status as the types write it. Refuses what does not fit, unless it is stored already: a newer release may know it,
/// and who changes something else of the status did not name it. Who wants unknown fields left out had that done before.
pub(super) fn checked(index: &Index, kind: Kind, mut document: Value) -> Result<Value, Rejection> {
    let name = document.pointer("/metadata/name").and_then(Value::as_str);
    let name = name.unwrap_or_default().to_owned();
    spec::measure(kind, &name, &document)?;
    let Some(status) = document.get_mut("status").map(Value::take) else {
        return Ok(document);
    };
    let (status, mut violations) = part::read_status(kind, status, false);
    document["status"] = status;
    if !violations.is_empty()
        && let Some(stored) = index.get(kind, &name)
    {
        let stored = stored.document()["status"].take();
        let (_, known) = part::read_status(kind, stored, false);
        violations.retain(|violation| !known.contains(violation));
    }
    if violations.is_empty() {
        return Ok(document);
    }
    Err(Rejection::unreadable(kind, &name, violations))
}

/// Refuses an observation of a generation that there has not been: whoever waits for one would take it for an answer. One that is
/// stored already is not this client's.
pub(super) fn refuse_unobserved(draft: &Draft<'_>, document: &Value) -> Result<(), Rejection> {
    let metadata = draft.object.metadata();
    let observed = |document: &Value| {
        let observed = document.pointer("/status/observedGeneration");
        observed.and_then(Value::as_u64)
    };
    let stored = draft.before.map(|before| before.object.to_value());
    let stored = stored.as_ref().and_then(observed);
    match observed(document).filter(|said| Some(*said) != stored) {
        Some(observed) if observed > metadata.generation.0 => Err(Rejection::new(
            Reason::Invalid,
            draft.object.kind(),
            &metadata.name,
            "status.observedGeneration",
            format!(
                "is {observed}, but the object is at generation {}",
                metadata.generation.0
            ),
            "write the generation that was observed",
        )),
        Some(_) | None => Ok(()),
    }
}

/// The stored object with the status that a document states.
pub(super) fn begin<'a>(
    index: &'a Index,
    kind: Kind,
    document: &Value,
) -> Result<Draft<'a>, Rejection> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
    let name = text("/metadata/name").unwrap_or_default().to_owned();
    let before = index
        .get(kind, &name)
        .ok_or_else(|| Rejection::not_found(kind, &name))?;
    let version = text("/metadata/resourceVersion").filter(|version| !version.is_empty());
    let uid = Uid(text("/metadata/uid").unwrap_or_default().to_owned());
    spec::same(kind, &name, Some(before), version, &uid)?;
    let status = document.get("status").cloned().unwrap_or(Value::Null);
    let mut draft = Draft::of(index, before);
    draft.object = with_status(before, status)
        .map_err(|message| Rejection::new(Reason::Invalid, kind, &name, "status", message, ""))?;
    if let (Object::Jail(after), Object::Jail(was)) = (&draft.object, &before.object)
        && after.binding() != was.binding()
    {
        return Err(Rejection::invalid(
            kind,
            &name,
            vec![Violation {
                field: "status.binding".to_owned(),
                message: "host and addresses are decided by the controller alone".to_owned(),
                help: "leave the binding as it is".to_owned(),
                cause: Cause::Forbidden,
            }],
        ));
    }
    if let (Object::Network(after), Object::Network(was)) = (&draft.object, &before.object)
        && fibs::of(after) != fibs::of(was)
    {
        return Err(Rejection::invalid(
            kind,
            &name,
            vec![Violation {
                field: "status.fib".to_owned(),
                message: "a network's own routing table is given by the controller alone"
                    .to_owned(),
                help: "leave it as it is".to_owned(),
                cause: Cause::Forbidden,
            }],
        ));
    }
    Ok(draft)
}

fn with_status(entry: &Arc<Entry>, status: Value) -> Result<Object, String> {
    let mut value = entry.object.to_value();
    let members = value
        .as_object_mut()
        .ok_or("the stored object is no object")?;
    if status.is_null() {
        members.shift_remove("status");
    } else {
        members.insert("status".to_owned(), status);
    }
    Object::from_value(entry.object.kind(), value).map_err(|error| error.to_string())
}
