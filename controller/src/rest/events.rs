//! Events as Kubernetes' core group has them, to be read only: `kubectl describe` looks for those of an object there
//! (kubernetes/kubectl, `pkg/describe/describe.go`, `searchEvents`), by fields and in no namespace.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use cellblock_controller_core::events::{NAMESPACE, Record};
use cellblock_schemas::Uid;
use cellblock_schemas::selector::LabelSelector;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Front;
use super::failure::{Failure, Served};
use super::media::{self, As, Form};
use super::query::Query;
use super::table::{self, Include};
use crate::verbs::EventQuery;

/// What can be done to events.
pub(super) const VERBS: [&str; 2] = ["get", "list"];

/// The columns of kube-apiserver (kubernetes/kubernetes, `pkg/printers/internalversion/printers.go`), those that are shown only where
/// there is room marked.
const COLUMNS: [(&str, bool); 9] = [
    ("Last Seen", false),
    ("Type", false),
    ("Reason", false),
    ("Object", false),
    ("Message", false),
    ("Source", true),
    ("First Seen", true),
    ("Count", true),
    ("Name", true),
];

type Answer = Result<Response<Body>, Response<Body>>;

/// `/api/v1/events`.
pub(super) async fn everywhere(State(front): State<Front>, request: Request) -> Answer {
    Ok(list(&front, &request, true)?)
}

/// `/api/v1/namespaces/NAMESPACE/events`.
pub(super) async fn of_namespace(
    State(front): State<Front>,
    Path(namespace): Path<String>,
    request: Request,
) -> Answer {
    Ok(list(&front, &request, namespace == NAMESPACE)?)
}

/// `/api/v1/events/NAME`.
pub(super) async fn single(
    State(front): State<Front>,
    Path(name): Path<String>,
    request: Request,
) -> Answer {
    Ok(get(&front, &request, &name)?)
}

/// `/api/v1/namespaces/NAMESPACE/events/NAME`.
pub(super) async fn single_of_namespace(
    State(front): State<Front>,
    Path((namespace, name)): Path<(String, String)>,
    request: Request,
) -> Answer {
    if namespace != NAMESPACE {
        return Err(missing(&name).into());
    }
    Ok(get(&front, &request, &name)?)
}

fn missing(name: &str) -> Failure {
    Failure::not_found("events", name)
}

fn get(front: &Front, request: &Request, name: &str) -> Result<Response<Body>, Failure> {
    read_only(request.method())?;
    let form = Form::wanted(request.headers())?;
    let query = Query::read(request.uri())?;
    let found = front.verbs.event(name).map_err(Failure::from)?;
    let (record, revision) = found.ok_or_else(|| missing(name))?;
    let document = record.document(revision);
    let shown = shown(&form, &query, &json!({}), vec![document], false);
    Ok(media::answer(StatusCode::OK, form.text, &shown))
}

fn list(front: &Front, request: &Request, is_here: bool) -> Result<Response<Body>, Failure> {
    read_only(request.method())?;
    let (form, query) = asked(request.headers(), request.uri())?;
    let labels: LabelSelector = query.text("labelSelector").parse().map_err(|error| {
        Failure::bad_request(format!("the label selector cannot be read: {error}"))
    })?;
    // Events have no labels.
    let is_here = is_here && labels.matches(&BTreeMap::new());
    let selected = selected(query.text("fieldSelector"))?;
    let is_wanted = |record: &Record| {
        let fits = |one: &Term<'_>| (record.field(one.field) == one.value) == one.is;
        is_here && selected.iter().all(fits)
    };
    let of = |one: &&Term<'_>| one.is && one.field == "involvedObject.uid";
    let uid = selected.iter().find(of).map_or("", |one| one.value);
    let limit: usize = match query.text("limit") {
        "" => 0,
        text => text
            .parse()
            .map_err(|_| Failure::bad_request(format!("limit is a number, not `{text}`")))?,
    };
    let wanted = EventQuery {
        uid: Uid(uid.to_owned()),
        after: query.text("continue").to_owned(),
        limit: if limit == 0 { usize::MAX } else { limit },
        ..EventQuery::default()
    };
    let page = front.verbs.events(&wanted, is_wanted);
    let page = page.map_err(Failure::from)?;
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if page.is_more
        && let Some((last, _)) = page.records.last()
    {
        metadata["continue"] = last.name.as_str().into();
    }
    let documents = page.records.iter();
    let documents = documents.map(|(record, revision)| record.document(*revision));
    let shown = shown(&form, &query, &metadata, documents.collect(), true);
    Ok(media::answer(StatusCode::OK, form.text, &shown))
}

fn asked(headers: &HeaderMap, uri: &Uri) -> Result<(Form, Query), Failure> {
    let query = Query::read(uri)?;
    // Who wants to see events as they come lists them again: they are told late, and some never.
    if query.is_watch() {
        return Err(Failure::only(Served::Read));
    }
    Ok((Form::wanted(headers)?, query))
}

fn read_only(method: &Method) -> Result<(), Failure> {
    if method == Method::GET {
        return Ok(());
    }
    Err(Failure::only(Served::Read))
}

/// The fields that can be selected by (kubernetes/kubernetes, `pkg/apis/core/v1/conversion.go`,
/// `AddFieldLabelConversionsForEvent`).
const FIELDS: [&str; 13] = [
    "metadata.name",
    "metadata.namespace",
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// What one field must be, or must not be.
struct Term<'a> {
    field: &'a str,
    is: bool,
    value: &'a str,
}

fn selected(text: &str) -> Result<Vec<Term<'_>>, Failure> {
    let mut terms = Vec::new();
    for term in text.split(',').filter(|term| !term.is_empty()) {
        let (field, is, value) = if let Some((field, value)) = term.split_once("!=") {
            (field, false, value)
        } else if let Some((field, value)) = term.split_once('=') {
            (field, true, value.strip_prefix('=').unwrap_or(value))
        } else {
            let message =
                format!("the field selector cannot be read: `{term}` is no `field=value`");
            return Err(Failure::bad_request(message));
        };
        if !FIELDS.contains(&field) {
            let message = format!(
                "field label not supported: {field}; events are selected by {}",
                FIELDS.join(", ")
            );
            return Err(Failure::bad_request(message));
        }
        terms.push(Term { field, is, value });
    }
    Ok(terms)
}

fn shown(
    form: &Form,
    query: &Query,
    metadata: &Value,
    mut documents: Vec<Value>,
    is_list: bool,
) -> Value {
    let (kind, version) = match &form.shape {
        As::Table(version) => {
            let include = Include::read(query.text("includeObject"));
            return as_table(version, metadata, &documents, include);
        }
        As::Metadata(version) => {
            for document in &mut documents {
                *document = table::metadata_of(document, version);
            }
            (
                "PartialObjectMetadataList",
                format!("meta.k8s.io/{version}"),
            )
        }
        As::Objects | As::Discovery(_) => ("EventList", "v1".to_owned()),
    };
    if is_list {
        json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": documents})
    } else {
        documents.pop().unwrap_or(Value::Null)
    }
}

fn as_table(version: &str, metadata: &Value, documents: &[Value], include: Include) -> Value {
    let columns = COLUMNS.map(|(name, wide)| {
        json!({
            "name": name,
            "type": "string",
            "format": if name == "Name" { "name" } else { "" },
            "description": "",
            "priority": i32::from(wide),
        })
    });
    let rows = documents.iter().map(|document| {
        let mut row = json!({"cells": cells(document)});
        match include {
            Include::Nothing => {}
            Include::Metadata => row["object"] = table::metadata_of(document, version),
            Include::Everything => row["object"] = document.clone(),
        }
        row
    });
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows.collect::<Vec<_>>(),
    })
}

fn cells(document: &Value) -> [String; 9] {
    let text = |pointer: &str| {
        let found = document.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let age = |pointer: &str| table::age(text(pointer).parse::<Timestamp>().ok());
    let kind = text("/involvedObject/kind").to_lowercase();
    [
        age("/lastTimestamp"),
        text("/type"),
        text("/reason"),
        format!("{kind}/{}", text("/involvedObject/name")),
        text("/message"),
        text("/source/component"),
        age("/firstTimestamp"),
        document["count"].to_string(),
        text("/metadata/name"),
    ]
}
