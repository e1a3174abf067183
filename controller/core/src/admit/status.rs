//! Admission of a status written by a client through the status subresource.

use std::sync::Arc;

use cellblock_schemas::{Kind, Object, Violation, part};
use serde_json::{Value, json};

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
    refuse_unknown(index, kind, &document)?;
    let mut draft = begin(index, kind, &document)?;
    refuse_unobserved(&draft, &document)?;
    let stored = managed::Records::Stored;
    managed::updated(&mut draft, stored, Through::Status, manager, now);
    draft.finish(Vec::new())
}

/// Refuses fields that a kind's status does not have, unless they are stored already: a newer release may know them, and who changes
/// something else of the status did not name them. Who wants them left out had that done before.
fn refuse_unknown(index: &Index, kind: Kind, document: &Value) -> Result<(), Rejection> {
    let name = document.pointer("/metadata/name").and_then(Value::as_str);
    let name = name.unwrap_or_default();
    spec::measure(kind, name, document)?;
    let unknown_in = |document: &Value| {
        let mut part = json!({"status": document.get("status")});
        part::drop_unknown_in_status(kind, &mut part)
    };
    let mut unknown = unknown_in(document);
    if !unknown.is_empty()
        && let Some(stored) = index.get(kind, name)
    {
        let stored = unknown_in(&stored.document());
        unknown.retain(|field| !stored.contains(field));
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let violations = unknown.into_iter().map(|field| Violation {
        message: format!(
            "unknown field `{}`",
            field.rsplit('.').next().unwrap_or(&field)
        ),
        field,
        help: "remove it".to_owned(),
    });
    Err(Rejection::invalid(kind, name, violations.collect()))
}

/// Refuses an observation of a generation that there has not been: whoever waits for one would take it for an answer.
fn refuse_unobserved(draft: &Draft<'_>, document: &Value) -> Result<(), Rejection> {
    let metadata = draft.object.metadata();
    let observed = document.pointer("/status/observedGeneration");
    match observed.and_then(Value::as_u64) {
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
    if let Some(version) = text("/metadata/resourceVersion")
        && version != before.revision.to_string()
    {
        let message = format!(
            "the {kind} was changed meanwhile: it is at {}, not at {version}",
            before.revision
        );
        let help = "read it again, then repeat the change";
        return Err(Rejection::new(
            Reason::Conflict,
            kind,
            &name,
            "metadata.resourceVersion",
            message,
            help,
        ));
    }
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
