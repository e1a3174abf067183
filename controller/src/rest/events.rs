//! Events as Kubernetes' core group has them, to be read only: `kubectl describe` looks for those of an object there
//! (kubernetes/kubectl, `pkg/describe/describe.go`, `searchEvents`), by fields and in no namespace.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode};
use cellblock_controller_core::events::NAMESPACE;
use jiff::Timestamp;
use serde_json::Value;

use super::failure::{Failure, Served};
use super::media::{self, Form};
use super::query::Query;
use super::shown::{Page, Sort, shown};
use super::table::{self, Column};
use super::{Front, watch};
use crate::cache::Expired;
use crate::identity::Caller;
use crate::status::RequestError;
use crate::verbs::{About, EventQuery, Least, RecordSelector, WatchQuery};

/// What can be done to events.
pub(super) const VERBS: [&str; 3] = ["get", "list", "watch"];

/// The columns of kube-apiserver (kubernetes/kubernetes, `pkg/printers/internalversion/printers.go`), those that are shown only where
/// there is room marked.
pub(super) const COLUMNS: [Column; 9] = [
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
    collection(&front, &request.into_parts().0, None).await
}

/// `/api/v1/namespaces/NAMESPACE/events`.
pub(super) async fn of_namespace(
    State(front): State<Front>,
    Path(namespace): Path<String>,
    request: Request,
) -> Answer {
    collection(&front, &request.into_parts().0, Some(&namespace)).await
}

/// `/api/v1/namespaces/NAMESPACE/events/NAME`.
pub(super) async fn single(
    State(front): State<Front>,
    Path((namespace, name)): Path<(String, String)>,
    request: Request,
) -> Answer {
    let (request, _) = request.into_parts();
    read_only(&request.method)?;
    let form = Form::wanted(&request.headers)?;
    let query = Query::read(&request.uri)?;
    let found = front.verbs.event(&name, query.least()?).await;
    let found = found.map_err(Failure::of_list)?;
    let found = found.filter(|_| namespace == NAMESPACE);
    let (record, revision) = found.ok_or_else(|| Failure::not_found("events", &name))?;
    let documents = vec![record.document(revision)];
    let page = Page::at(revision);
    let shown = shown(&form, Sort::Event, &query, &page, documents, false);
    Ok(media::answer(StatusCode::OK, form.text, &shown))
}

async fn collection(front: &Front, request: &Parts, namespace: Option<&str>) -> Answer {
    read_only(&request.method)?;
    let form = Form::wanted(&request.headers)?;
    let query = Query::read(&request.uri)?;
    let selector = query.records(namespace)?;
    if query.is_watch() {
        return watched(front, request, form, &query, selector).await;
    }
    Ok(list(front, &form, &query, selector).await?)
}

/// A page. Each is as of the moment that it was asked for, and says the revision of the first: who watches from there is told what has
/// changed since.
async fn list(
    front: &Front,
    form: &Form,
    query: &Query,
    selector: RecordSelector,
) -> Result<Response<Body>, Failure> {
    let wanted = query.wanted()?;
    let (first, after) = match wanted.continue_token.split_once(':') {
        None if wanted.continue_token.is_empty() => (None, ""),
        Some((first, after)) if first.parse::<u64>().is_ok() => (first.parse().ok(), after),
        Some(_) | None => {
            return Err(Failure::bad_request("the continue token cannot be used"));
        }
    };
    let least = wanted.exactly.or(first).map_or(wanted.least, Least::At);
    let reached = front.verbs.reached(least).await;
    reached.map_err(Failure::of_list)?;
    let page = front.verbs.events(&EventQuery {
        selector,
        after: after.to_owned(),
        limit: match wanted.limit {
            0 => usize::MAX,
            limit => limit,
        },
    })?;
    // Judged of the very index that the page is read of.
    if let Some(asked) = wanted.exactly.filter(|exactly| *exactly != page.revision) {
        return Err(RequestError::Expired(Expired {
            asked,
            oldest: page.revision,
        })
        .into());
    }
    let revision: u64 = first.unwrap_or(page.revision);
    let last = page.records.last().filter(|_| page.is_more);
    let next = last.map(|(last, _)| format!("{revision}:{}", last.name));
    let documents = page.records.iter();
    let documents = documents.map(|(record, revision)| record.document(*revision));
    let shown = shown(
        form,
        Sort::Event,
        query,
        &Page {
            next: &next.unwrap_or_default(),
            ..Page::at(revision)
        },
        documents.collect(),
        true,
    );
    Ok(media::answer(StatusCode::OK, form.text, &shown))
}

async fn watched(
    front: &Front,
    request: &Parts,
    form: Form,
    query: &Query,
    selector: RecordSelector,
) -> Answer {
    let caller = request.extensions.get::<Caller>();
    let caller = caller.ok_or_else(|| Failure::forbidden("the guard let somebody in unnamed"))?;
    let wanted = WatchQuery {
        about: About::Records(selector),
        from: query.from()?,
    };
    let stream = watch::Stream::of(Sort::Event, form, query, front.verbs.shared.watch_patience)?;
    Ok(stream.answer(watch::open(front, caller, wanted).await?))
}

fn read_only(method: &Method) -> Result<(), Failure> {
    if method == Method::GET {
        return Ok(());
    }
    Err(Failure::only(Served::Read))
}

pub(super) fn cells(document: &Value) -> [String; 9] {
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
