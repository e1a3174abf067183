//! The objects' requests: which verb each is, with what options, and how its answer looks.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use cellblock_controller_core::admit::{self, Outcome, Patch, Request as Wanted, Through};
use cellblock_controller_core::rules::Together;
use cellblock_schemas::{API_VERSION, Cause, Kind};
use serde_json::{Value, json};

use super::body::{self, Media};
use super::failure::{Failure, Served};
use super::media::{self, As, Form, Text};
use super::query::{Query, Write};
use super::shown::{Page, Sort, shown};
use super::{Front, delete, scale, watch};
use crate::identity::Caller;
use crate::verbs::{About, Done, WatchQuery};

type Answer = Result<Response<Body>, Response<Body>>;

/// A request, taken apart.
pub(super) struct Asked {
    pub(super) front: Front,
    pub(super) kind: Kind,
    method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    caller: Caller,
    pub(super) body: Body,
}

impl Asked {
    fn of(front: Front, resource: &str, request: Request) -> Result<Self, Failure> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == resource);
        let kind = kind.ok_or_else(Failure::no_such_path)?;
        let (parts, body) = request.into_parts();
        let caller = parts.extensions.get::<Caller>().cloned();
        Ok(Self {
            front,
            kind,
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            caller: caller
                .ok_or_else(|| Failure::forbidden("the guard let somebody in unnamed"))?,
            body,
        })
    }
}

/// `/apis/GROUP/VERSION/RESOURCE`.
pub(super) async fn collection(
    State(front): State<Front>,
    Path(resource): Path<String>,
    request: Request,
) -> Answer {
    let asked = Asked::of(front, &resource, request)?;
    let query = Query::read(&asked.uri)?;
    match asked.method {
        Method::GET if query.is_watch() => watched(asked, &query).await,
        Method::GET => list(asked, &query).await,
        Method::POST => create(asked, &query).await,
        Method::DELETE => delete::collection(asked, &query).await,
        _ => Err(Failure::only(Served::Collection).into()),
    }
}

/// `/apis/GROUP/VERSION/RESOURCE/NAME`.
pub(super) async fn single(
    State(front): State<Front>,
    Path((resource, name)): Path<(String, String)>,
    request: Request,
) -> Answer {
    let asked = Asked::of(front, &resource, request)?;
    let query = Query::read(&asked.uri)?;
    match asked.method {
        Method::GET => get(asked, &name).await,
        Method::PUT => update(asked, &query, &name, Through::Object).await,
        Method::PATCH => patch(asked, &query, &name, Through::Object).await,
        Method::DELETE => delete::single(asked, &query, name).await,
        _ => Err(Failure::only(Served::Single).into()),
    }
}

/// `/apis/GROUP/VERSION/RESOURCE/NAME/status`, and `…/scale` of what has a number.
pub(super) async fn subresource(
    State(front): State<Front>,
    Path((resource, name, subresource)): Path<(String, String, String)>,
    request: Request,
) -> Answer {
    let asked = Asked::of(front, &resource, request)?;
    let query = Query::read(&asked.uri)?;
    if subresource == scale::NAME && scale::has(asked.kind) {
        return match asked.method {
            Method::GET => scale::get(asked, &query, &name).await,
            Method::PUT => scale::update(asked, &query, name).await,
            Method::PATCH => scale::patch(asked, &query, name).await,
            _ => Err(Failure::only(Served::Subresource).into()),
        };
    }
    if subresource != "status" {
        return Err(Failure::no_such_path().into());
    }
    match asked.method {
        Method::GET => get(asked, &name).await,
        Method::PUT => update(asked, &query, &name, Through::Status).await,
        Method::PATCH => patch(asked, &query, &name, Through::Status).await,
        _ => Err(Failure::only(Served::Subresource).into()),
    }
}

async fn get(asked: Asked, name: &str) -> Answer {
    let form = Form::wanted(&asked.headers)?;
    let query = Query::read(&asked.uri)?;
    let least = query.least()?;
    let entry = asked.front.verbs.get(asked.kind, name, least).await;
    let entry = entry.map_err(Failure::of_list)?;
    if form.shape == As::Objects && form.text == Text::Json {
        return Ok(media::raw(
            StatusCode::OK,
            "application/json",
            entry.json.clone(),
        ));
    }
    let document = entry.document();
    let shown = shown(
        &form,
        Sort::Object(asked.kind),
        &query,
        &Page::at(entry.revision),
        vec![document],
        false,
    );
    Ok(media::answer(StatusCode::OK, form.text, &shown))
}

async fn list(asked: Asked, query: &Query) -> Answer {
    let form = Form::wanted(&asked.headers)?;
    let listed = asked.front.verbs.list(query.list(asked.kind)?).await;
    let listed = listed.map_err(Failure::of_list)?;
    let page = Page {
        revision: listed.revision,
        next: &listed.continue_token,
        remaining: listed.remaining,
    };
    if form.shape == As::Objects && form.text == Text::Json {
        let each = listed.entries.iter().map(|entry| entry.json.clone());
        return Ok(media::listed(Sort::Object(asked.kind), &page, each));
    }
    let documents = listed
        .entries
        .iter()
        .map(|entry| entry.document())
        .collect();
    let shown = shown(
        &form,
        Sort::Object(asked.kind),
        query,
        &page,
        documents,
        true,
    );
    Ok(media::answer(StatusCode::OK, form.text, &shown))
}

async fn watched(asked: Asked, query: &Query) -> Answer {
    let form = Form::wanted(&asked.headers)?;
    let selector = query.selector(asked.kind)?;
    let wanted = WatchQuery {
        about: About::Objects(vec![asked.kind], selector),
        from: query.from()?,
    };
    let patience = asked.front.verbs.shared.watch_patience;
    let stream = watch::Stream::of(Sort::Object(asked.kind), form, query, patience)?;
    let events = watch::open(&asked.front, &asked.caller, wanted).await;
    Ok(stream.answer(events?))
}

async fn create(asked: Asked, query: &Query) -> Answer {
    let write = query.write("CreateOptions")?;
    let media = Media::document(&asked.headers)?;
    let form = Form::wanted(&asked.headers)?;
    let bytes = body::bytes(asked.body).await?;
    let (mut document, warnings) = body::document(media, &bytes, write.validation)?;
    fits(&This::of(asked.kind), &mut document, None)?;
    let wanted = Wanted::Create {
        kind: asked.kind,
        document,
        manager: write.manager(&asked.headers),
    };
    let asked = (&asked.front, query, &form);
    writes(asked, &write, wanted, warnings).await
}

async fn update(asked: Asked, query: &Query, name: &str, through: Through) -> Answer {
    let write = query.write("UpdateOptions")?;
    let media = Media::of_put(&asked.headers)?;
    let form = Form::wanted(&asked.headers)?;
    let bytes = body::bytes(asked.body).await?;
    let (mut document, warnings) = body::document(media, &bytes, write.validation)?;
    fits(&This::of(asked.kind), &mut document, Some(name))?;
    let wanted = Wanted::Update {
        kind: asked.kind,
        document,
        through,
        manager: write.manager(&asked.headers),
    };
    let asked = (&asked.front, query, &form);
    writes(asked, &write, wanted, warnings).await
}

async fn patch(asked: Asked, query: &Query, name: &str, through: Through) -> Answer {
    let write = query.write("PatchOptions")?;
    let media = Media::patch(&asked.headers)?;
    let form = Form::wanted(&asked.headers)?;
    patch_options(media, &write)?;
    let bytes = body::bytes(asked.body).await?;
    let kind = asked.kind;
    let (mut document, warnings) = body::patch(media, &bytes, write.validation)?;
    let manager = write.manager(&asked.headers);
    let changed = |patch| Wanted::Patch {
        kind,
        name: name.to_owned(),
        patch,
        through,
        manager,
    };
    let wanted = match media {
        Media::Apply => {
            This::of(kind).is_said(&document)?;
            fits(&This::of(kind), &mut document, Some(name))?;
            Wanted::Apply {
                kind,
                document,
                through,
                manager: write.manager.clone(),
                force: write.force.unwrap_or(false),
                together: Arc::new(Together::default()),
            }
        }
        Media::JsonPatch => changed(Patch::Json(document)),
        Media::MergePatch | Media::Json | Media::Yaml => changed(Patch::Merge(document)),
    };
    let asked = (&asked.front, query, &form);
    writes(asked, &write, wanted, warnings).await
}

/// apimachinery, `pkg/apis/meta/v1/validation/validation.go`, `ValidatePatchOptions`.
pub(super) fn patch_options(media: Media, write: &Write) -> Result<(), Failure> {
    let invalid =
        |field, cause, message| Failure::invalid_option("PatchOptions", field, cause, message);
    if media != Media::Apply && write.force.is_some() {
        let message = "may not be specified for non-apply patch".to_owned();
        return Err(invalid("force", Cause::Forbidden, message));
    }
    if media == Media::Apply && write.manager.is_empty() {
        let message = "is required for apply patch: say who applies".to_owned();
        return Err(invalid("fieldManager", Cause::Required, message));
    }
    Ok(())
}

/// What the documents of a path say of themselves.
pub(super) struct This {
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
}

impl This {
    fn of(kind: Kind) -> Self {
        Self {
            version: API_VERSION,
            kind: kind.as_str(),
        }
    }
}

impl This {
    /// Refuses what is applied without saying what it is: nothing at all would otherwise take away everything that was applied before
    /// (apimachinery, `pkg/util/managedfields/internal/versioncheck.go`, `Apply`).
    pub(super) fn is_said(&self, document: &Value) -> Result<(), Failure> {
        let said = |field: &str| {
            document
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (version, kind) = (said("apiVersion"), said("kind"));
        if !document.is_object() {
            return Ok(());
        }
        if version.is_empty() || kind.is_empty() {
            let message = format!(
                "invalid object type: {version:?}, Kind={kind:?}: what is applied says that it is {}, Kind={}",
                self.version, self.kind
            );
            return Err(Failure::bad_request(message));
        }
        Ok(())
    }
}

/// What a document says of itself must be what it was sent to; what it does not say is filled in.
pub(super) fn fits(this: &This, document: &mut Value, name: Option<&str>) -> Result<(), Failure> {
    // Whatever a namespace says: tools that do not know the kind write one into everything (kubernetes/apiserver,
    // `pkg/registry/rest/meta.go`, `EnsureObjectNamespaceMatchesRequestNamespace`).
    admit::without_leftovers(document);
    let Some(members) = document.as_object_mut() else {
        return Err(Failure::bad_request("the body of the request is no object"));
    };
    for (field, wanted, word) in [
        ("apiVersion", this.version, "API version"),
        ("kind", this.kind, "kind"),
    ] {
        match members.get(field).and_then(Value::as_str) {
            None | Some("") => {
                members.insert(field.to_owned(), wanted.into());
            }
            Some(said) if said == wanted => {}
            Some(said) => {
                return Err(Failure::bad_request(format!(
                    "the {word} in the data ({said}) does not match the expected {word} ({wanted})"
                )));
            }
        }
    }
    let Some(name) = name else {
        return Ok(());
    };
    let metadata = members.entry("metadata").or_insert_with(|| json!({}));
    match metadata.get("name").and_then(Value::as_str) {
        None | Some("") => {
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("name".to_owned(), name.into());
            }
            Ok(())
        }
        Some(said) if said == name => Ok(()),
        Some(said) => Err(Failure::bad_request(format!(
            "the name of the object ({said}) does not match the name on the URL ({name})"
        ))),
    }
}

/// Has a write done and answers it; `warnings` are those of its body.
async fn writes(
    (front, query, form): (&Front, &Query, &Form),
    write: &Write,
    wanted: Wanted,
    warnings: Vec<String>,
) -> Answer {
    let done = front.verbs.write(wanted, write.validation, write.dry_run);
    let done = done.await.map_err(Failure::from)?;
    Ok(written(form, query, &done, warnings))
}

/// The answer to a write.
pub(super) fn written(
    form: &Form,
    query: &Query,
    (admitted, written): &Done,
    warnings: Vec<String>,
) -> Response<Body> {
    let code = if admitted.outcome == Outcome::Created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let (revision, json) = admitted.served(*written);
    let mut response = if form.shape == As::Objects && form.text == Text::Json {
        media::raw(code, "application/json", json)
    } else {
        let document = serde_json::from_slice(&json).unwrap_or(Value::Null);
        let shown = shown(
            form,
            Sort::Object(admitted.kind),
            query,
            &Page::at(revision),
            vec![document],
            false,
        );
        media::answer(code, form.text, &shown)
    };
    let own = admitted.warnings.iter().map(ToString::to_string);
    media::warn(&mut response, warnings.into_iter().chain(own));
    response
}
