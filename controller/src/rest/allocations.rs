//! What is given out, to be read only: `kubectl get allocations`. A resource beside the kinds, because it is no object: nobody writes one, nothing owns one, and no watch tells of one.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Method, Response, StatusCode};
use cellblock_controller_core::allocations::{self, Allocation};
use cellblock_controller_core::claim::Resource;
use cellblock_schemas::API_VERSION;
use cellblock_schemas::selector::LabelSelector;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::Front;
use super::failure::{Failure, Served};
use super::media::{self, As, Form};
use super::query::Query;
use super::table::{self, Include};
use crate::wire;

/// As it stands in paths.
pub(super) const PLURAL: &str = "allocations";

/// What can be done to them.
pub(super) const VERBS: [&str; 2] = ["get", "list"];

/// The kind of one.
pub(super) const KIND: &str = "Allocation";

/// The columns, those that are shown only where there is room marked.
const COLUMNS: [(&str, bool); 8] = [
    ("Name", true),
    ("Value", false),
    ("Type", false),
    ("Network", false),
    ("Host", false),
    ("Owner", false),
    ("State", false),
    ("Scope", true),
];

/// The fields that can be selected by.
const FIELDS: [&str; 3] = ["status.type", "status.host", "status.jail"];

type Answer = Result<Response<Body>, Response<Body>>;

/// `/apis/GROUP/VERSION/allocations`.
pub(super) async fn collection(State(front): State<Front>, request: Request) -> Answer {
    Ok(list(&front, Asked::of(&request)?).await?)
}

/// `/apis/GROUP/VERSION/allocations/NAME`.
pub(super) async fn single(
    State(front): State<Front>,
    Path(name): Path<String>,
    request: Request,
) -> Answer {
    Ok(get(&front, Asked::of(&request)?, &name).await?)
}

/// A request, taken apart: a body that is not looked at may not be held while one is answered.
struct Asked {
    form: Form,
    query: Query,
}

impl Asked {
    fn of(request: &Request) -> Result<Self, Failure> {
        let query = Query::read(request.uri())?;
        if *request.method() != Method::GET || query.is_watch() {
            return Err(Failure::only(Served::Read));
        }
        let form = Form::wanted(request.headers())?;
        Ok(Self { form, query })
    }
}

async fn get(front: &Front, asked: Asked, name: &str) -> Result<Response<Body>, Failure> {
    let Asked { form, query } = asked;
    let missing = || Failure::not_found(PLURAL, name);
    let resource = resource_of(name).ok_or_else(missing)?;
    let found = front.verbs.allocation(&resource, query.least()?).await;
    let found = found.map_err(Failure::of_list)?;
    let (Some(allocation), revision) = found else {
        return Err(missing());
    };
    let document = document(&allocation, revision);
    let shown = shown(&form, &query, &json!({}), vec![document], false);
    Ok(media::answer(StatusCode::OK, form.text, &shown))
}

async fn list(front: &Front, asked: Asked) -> Result<Response<Body>, Failure> {
    let Asked { form, query } = asked;
    let least = query.least()?;
    let labels: LabelSelector = query.text("labelSelector").parse().map_err(|error| {
        Failure::bad_request(format!("the label selector cannot be read: {error}"))
    })?;
    let limit: usize = match query.text("limit") {
        "" => 0,
        text => text
            .parse()
            .map_err(|_| Failure::bad_request(format!("limit is a number, not `{text}`")))?,
    };
    let mut wanted = selected(query.text("fieldSelector"))?;
    wanted.limit = if limit == 0 { usize::MAX } else { limit };
    let (mut documents, mut token) = (Vec::new(), query.text("continue").to_owned());
    let revision = loop {
        let page = front.verbs.allocations(&wanted, &token, usize::MAX, least);
        let page = page.await.map_err(Failure::of_list)?;
        // They have no labels.
        if labels.matches(&BTreeMap::new()) {
            let found = page.allocations.iter();
            documents.extend(found.map(|one| document(one, page.revision)));
        }
        token = page.continue_token;
        // Who does not limit it gets it whole.
        if limit > 0 || token.is_empty() {
            break page.revision;
        }
    };
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if !token.is_empty() {
        metadata["continue"] = token.into();
    }
    let shown = shown(&form, &query, &metadata, documents, true);
    Ok(media::answer(StatusCode::OK, form.text, &shown))
}

fn selected(text: &str) -> Result<allocations::Query, Failure> {
    let mut query = allocations::Query::default();
    for term in text.split(',').filter(|term| !term.is_empty()) {
        let pair = term.split_once('=');
        let pair = pair.filter(|(field, _)| !field.ends_with('!'));
        let (field, value) = pair.ok_or_else(|| {
            let message =
                format!("the field selector cannot be read: `{term}` is no `field=value`");
            Failure::bad_request(message)
        })?;
        let value = value.strip_prefix('=').unwrap_or(value);
        match field {
            "status.type" => query.sort = Some(wire::sort(value).map_err(Failure::from)?),
            "status.host" => query.host = Some(value.to_owned()),
            "status.jail" => query.jail = Some(value.to_owned()),
            _ => {
                return Err(Failure::bad_request(format!(
                    "field label not supported: {field}; allocations are selected by {}",
                    FIELDS.join(", ")
                )));
            }
        }
    }
    Ok(query)
}

/// The name of one: its key, with dots between its parts.
fn name_of(resource: &Resource) -> String {
    format!(
        "{}.{}",
        resource.scope().replace('/', "."),
        resource.value()
    )
}

/// The inverse of [`name_of`]. Neither the names of networks nor those of hosts have dots in them, values may: a scope has three parts at most.
fn resource_of(name: &str) -> Option<Resource> {
    let dots = name.match_indices('.').take(3);
    let mut found = dots.filter_map(|(at, _)| {
        let (scope, value) = (name[..at].replace('.', "/"), &name[at + 1..]);
        Resource::parse(&scope, value).filter(|found| name_of(found) == name)
    });
    found.next()
}

fn document(one: &Allocation, revision: u64) -> Value {
    let scope = if one.scope.is_empty() {
        "fleet"
    } else {
        "host"
    };
    let mut status = json!({
        "type": one.sort.as_str(),
        "value": one.value,
        "scope": scope,
        "state": state(one),
        "owner": {"kind": one.kind.as_str(), "name": one.owner, "uid": one.uid},
    });
    for (member, said) in [("network", &one.network), ("host", &one.host)] {
        if !said.is_empty() {
            status[member] = said.as_str().into();
        }
    }
    if let Some(generation) = one.retired {
        status["retiredGeneration"] = generation.into();
    }
    if let Some(since) = one.kept {
        status["keptSince"] = since.to_string().into();
    }
    json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name_of(&one.resource), "resourceVersion": revision.to_string()},
        "status": status,
    })
}

fn state(one: &Allocation) -> &'static str {
    match (one.retired, one.kept) {
        (Some(_), _) => "GivenUp",
        (None, Some(_)) => "Kept",
        (None, None) => "Held",
    }
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
        As::Objects | As::Discovery(_) => ("AllocationList", API_VERSION.to_owned()),
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

fn cells(document: &Value) -> [String; 8] {
    let text = |pointer: &str| {
        let found = document.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let kind = text("/status/owner/kind").to_lowercase();
    [
        text("/metadata/name"),
        text("/status/value"),
        text("/status/type"),
        text("/status/network"),
        text("/status/host"),
        format!("{kind}/{}", text("/status/owner/name")),
        text("/status/state"),
        text("/status/scope"),
    ]
}

#[cfg(test)]
mod tests;
