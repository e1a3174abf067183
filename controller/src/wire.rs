//! Wire ↔ domain: the only place that knows both the protocol's messages and this project's types.

use bytes::Bytes;
use cellblock_controller_core::admit::{Admitted, Outcome, Patch, Propagation, Reason, Rejection};
use cellblock_controller_core::allocations::{Allocation, Query, Sort};
use cellblock_controller_core::events::Record;
use cellblock_controller_core::index::{Entry, What};
use cellblock_controller_core::view::{Delta, Hash};
use cellblock_proto::v1;
use cellblock_schemas::host::ViewMark;
use cellblock_schemas::{Generation, HostReport, Kind, Violation};
use serde_json::Value;

use crate::reading;
use crate::status::RequestError;
use crate::verbs::Event;

/// A kind by its name on the wire.
pub(crate) fn kind(name: &str) -> Result<Kind, RequestError> {
    Kind::from_name(name).ok_or_else(|| {
        let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        RequestError::Malformed(format!(
            "there is no kind `{name}`; the kinds are {}",
            kinds.join(", ")
        ))
    })
}

/// A policy of deletion by its name on the wire; none if the client does not say.
pub(crate) fn propagation(name: &str) -> Result<Option<Propagation>, RequestError> {
    if name.is_empty() {
        return Ok(None);
    }
    let known = Propagation::from_name(name).map(Some);
    known.ok_or_else(|| {
        let policies = Propagation::ALL.map(Propagation::as_str).join(", ");
        RequestError::Malformed(format!(
            "there is no propagation policy `{name}`; there are {policies}"
        ))
    })
}

/// How many are on a page: what the client asks for, if that is not more than there may be.
pub(crate) fn page(limit: u32, most: usize) -> usize {
    match usize::try_from(limit) {
        Ok(limit) if limit > 0 => limit.min(most),
        _ => most,
    }
}

/// A sort of allocation by its name.
pub(crate) fn sort(name: &str) -> Result<Sort, RequestError> {
    Sort::from_name(name).ok_or_else(|| {
        let sorts = Sort::ALL.map(Sort::as_str).join(", ");
        RequestError::Malformed(format!(
            "there is no sort of allocation `{name}`; there are {sorts}"
        ))
    })
}

/// Which allocations a client asks for.
pub(crate) fn allocations_query(
    request: &v1::ListAllocationsRequest,
) -> Result<Query, RequestError> {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let sort = match request.sort.as_str() {
        "" => None,
        name => Some(sort(name)?),
    };
    Ok(Query {
        sort,
        host: said(&request.host),
        jail: said(&request.jail),
        after: None,
        limit: page(request.limit, usize::MAX),
    })
}

/// One allocation.
pub(crate) fn allocation(allocation: Allocation) -> v1::Allocation {
    v1::Allocation {
        sort: allocation.sort.as_str().to_owned(),
        value: allocation.value,
        network: allocation.network,
        scope: allocation.scope,
        host: allocation.host,
        kind: allocation.kind.as_str().to_owned(),
        name: allocation.owner,
        uid: allocation.uid.0,
        retired_generation: allocation.retired.unwrap_or_default(),
        kept_since: allocation
            .kept
            .map(|since| since.to_string())
            .unwrap_or_default(),
    }
}

/// What events are called among the kinds; none of which they are.
pub(crate) const EVENT: &str = "Event";

/// One event.
pub(crate) fn record(record: &Record, revision: u64) -> v1::Object {
    v1::Object {
        kind: EVENT.to_owned(),
        name: record.name.clone(),
        revision,
        json: record.document(revision).to_string().into_bytes().into(),
    }
}

/// The kind and document of an object in a request. A revision in the envelope counts as the document's resourceVersion.
pub(crate) fn document(object: Option<v1::Object>) -> Result<(Kind, Value), RequestError> {
    let object =
        object.ok_or_else(|| RequestError::Malformed("the request has no object".to_owned()))?;
    let kind = kind(&object.kind)?;
    let invalid = |field: &str, message: String| {
        Rejection::new(Reason::Invalid, kind, &object.name, field, message, "")
    };
    let (mut document, twice) = reading::json(&object.json)
        .map_err(|error| invalid("", format!("the document is no JSON: {error}")))?;
    if !twice.is_empty() {
        let why = strict(&twice);
        return Err(Rejection::new(Reason::BadRequest, kind, &object.name, "", why, "").into());
    }
    for (field, said) in [("kind", &object.kind), ("metadata.name", &object.name)] {
        let pointer = format!("/{}", field.replace('.', "/"));
        let found = document
            .pointer(&pointer)
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !said.is_empty() && !found.is_empty() && found != said {
            return Err(invalid(
                field,
                format!("is `{found}` in the document and `{said}` in its envelope"),
            )
            .into());
        }
    }
    if object.revision != 0
        && let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata
            .entry("resourceVersion")
            .or_insert_with(|| object.revision.to_string().into());
    }
    Ok((kind, document))
}

/// What REST says of fields that stand twice; gRPC has no other validation than the strict one.
fn strict(twice: &[String]) -> String {
    let twice = twice.iter();
    let twice: Vec<_> = twice
        .map(|field| format!("duplicate field {field:?}"))
        .collect();
    format!("strict decoding error: {}", twice.join(", "))
}

/// The patch of a request.
pub(crate) fn patch(request: &v1::PatchRequest) -> Result<Patch, RequestError> {
    use v1::patch_request::Type;
    let (patch, twice) = reading::json(&request.patch)
        .map_err(|error| RequestError::Malformed(format!("the patch is no JSON: {error}")))?;
    match request.r#type() {
        Type::Merge if !twice.is_empty() => Err(RequestError::Malformed(strict(&twice))),
        Type::Merge => Ok(Patch::Merge(patch)),
        Type::Json => {
            let told = reading::mistakes_of_operations(&patch, &twice);
            if told.is_empty() {
                return Ok(Patch::Json(patch));
            }
            let told = told.join(", ");
            Err(RequestError::Malformed(format!(
                "strict decoding error: {told}"
            )))
        }
        Type::Unspecified => Err(RequestError::Malformed(
            "the request does not say of which type its patch is".to_owned(),
        )),
    }
}

/// A stored object.
pub(crate) fn object(kind: Kind, entry: &Entry) -> v1::Object {
    v1::Object {
        kind: kind.as_str().to_owned(),
        name: entry.name().to_owned(),
        revision: entry.revision,
        json: entry.json.clone(),
    }
}

/// The object of an admitted request, as of the revision it was written at.
pub(crate) fn admitted(admitted: &Admitted, written: Option<u64>) -> v1::Object {
    let (revision, json) = admitted.served(written);
    v1::Object {
        kind: admitted.kind.as_str().to_owned(),
        name: admitted.name.clone(),
        revision,
        json,
    }
}

/// The warnings of an admitted request, as sentences.
pub(crate) fn warnings(admitted: &Admitted) -> Vec<String> {
    admitted.warnings.iter().map(ToString::to_string).collect()
}

/// One violation.
pub(crate) fn violation(violation: &Violation) -> v1::Violation {
    v1::Violation {
        field: violation.field.clone(),
        message: violation.message.clone(),
        help: violation.help.clone(),
        cause: violation.cause.as_str().to_owned(),
    }
}

/// The result of one applied object.
pub(crate) fn applied(result: Result<(Admitted, Option<u64>), Rejection>) -> v1::ApplyResult {
    use v1::apply_result::Outcome as Wire;
    match result {
        Ok((admitted, written)) => {
            let outcome = match admitted.outcome {
                Outcome::Created => Wire::Created,
                Outcome::Unchanged => Wire::Unchanged,
                Outcome::Configured | Outcome::Deleting | Outcome::Gone => Wire::Configured,
            };
            v1::ApplyResult {
                outcome: outcome.into(),
                object: Some(self::admitted(&admitted, written)),
                warnings: warnings(&admitted),
                violations: Vec::new(),
                reason: String::new(),
            }
        }
        Err(rejection) => v1::ApplyResult {
            reason: rejection.reason.as_str().to_owned(),
            outcome: Wire::Refused.into(),
            object: None,
            warnings: Vec::new(),
            violations: rejection.violations.iter().map(violation).collect(),
        },
    }
}

/// One event of a watch.
pub(crate) fn event(event: Event) -> v1::WatchEvent {
    use v1::watch_event::Type;
    let (what, object) = match event {
        Event::Object(what, kind, entry) => (what, object(kind, &entry)),
        Event::Record(what, record, revision, json) => {
            let object = v1::Object {
                kind: EVENT.to_owned(),
                name: record.name.clone(),
                revision,
                json,
            };
            (what, object)
        }
        Event::Presented(revision) | Event::Bookmark(revision) => {
            return v1::WatchEvent {
                r#type: Type::Bookmark.into(),
                object: Some(v1::Object {
                    revision,
                    ..v1::Object::default()
                }),
            };
        }
    };
    let what = match what {
        What::Added => Type::Added,
        What::Modified => Type::Modified,
        What::Deleted => Type::Deleted,
    };
    v1::WatchEvent {
        r#type: what.into(),
        object: Some(object),
    }
}

/// A view's number.
pub(crate) fn mark(mark: ViewMark) -> v1::ViewMark {
    v1::ViewMark {
        epoch: mark.epoch,
        generation: mark.generation.0,
    }
}

/// A view's number from the wire; absent counts as the very first.
pub(crate) fn view_mark(mark: Option<v1::ViewMark>) -> ViewMark {
    mark.map(|mark| ViewMark {
        epoch: mark.epoch,
        generation: Generation(mark.generation),
    })
    .unwrap_or_default()
}

/// A view, whole (`base` absent) or as a change.
pub(crate) fn view(
    now: ViewMark,
    base: Option<ViewMark>,
    delta: Delta,
    digest: Hash,
) -> v1::ControllerMessage {
    let items = |items: Vec<(String, Bytes)>| {
        items
            .into_iter()
            .map(|(key, json)| v1::Item { key, json })
            .collect()
    };
    controller(v1::controller_message::Message::View(v1::View {
        mark: Some(mark(now)),
        base: base.map(mark),
        host_json: delta.host.unwrap_or_default(),
        networks: items(delta.networks),
        jails: items(delta.jails),
        removed_networks: delta.removed_networks,
        removed_jails: delta.removed_jails,
        digest: Bytes::copy_from_slice(&digest),
        unchanged: false,
    }))
}

/// The agent's view is the newest already.
pub(crate) fn view_unchanged(now: ViewMark, digest: Hash) -> v1::ControllerMessage {
    controller(v1::controller_message::Message::View(v1::View {
        mark: Some(mark(now)),
        digest: Bytes::copy_from_slice(&digest),
        unchanged: true,
        ..v1::View::default()
    }))
}

/// The first word to an agent.
pub(crate) fn welcome(cluster: &str, heartbeat_ms: u32) -> v1::ControllerMessage {
    controller(v1::controller_message::Message::Welcome(v1::Welcome {
        cluster: cluster.to_owned(),
        controller_version: env!("CARGO_PKG_VERSION").to_owned(),
        heartbeat_ms,
    }))
}

/// A report is stored.
pub(crate) fn acknowledged(view: ViewMark, reports: u64) -> v1::ControllerMessage {
    controller(v1::controller_message::Message::Acknowledged(
        v1::Acknowledged {
            view: Some(mark(view)),
            reports,
        },
    ))
}

/// The last word to an agent that is not spoken to.
pub(crate) fn refused(reason: &str, message: String) -> v1::ControllerMessage {
    controller(v1::controller_message::Message::Refused(v1::Refused {
        reason: reason.to_owned(),
        message,
    }))
}

/// Somebody waits for this host.
pub(crate) fn open_visit(id: &str) -> v1::ControllerMessage {
    controller(v1::controller_message::Message::OpenVisit(v1::OpenVisit {
        id: id.to_owned(),
    }))
}

/// Nobody waits any more.
pub(crate) fn close_visit(id: &str) -> v1::ControllerMessage {
    controller(v1::controller_message::Message::CloseVisit(
        v1::CloseVisit { id: id.to_owned() },
    ))
}

/// A report.
pub(crate) fn report(report: &v1::Report) -> Result<HostReport, RequestError> {
    serde_json::from_slice(&report.json)
        .map_err(|error| RequestError::Malformed(format!("the report cannot be read: {error}")))
}

fn controller(message: v1::controller_message::Message) -> v1::ControllerMessage {
    v1::ControllerMessage {
        message: Some(message),
    }
}
