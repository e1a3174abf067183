//! The objects' requests: which verb each is, with what options, and how its answer looks.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use cellblock_controller_core::admit::{
    Outcome, Patch, Propagation, Reason, Request as Wanted, Through, Validation,
};
use cellblock_controller_core::rules::Together;
use cellblock_schemas::{API_VERSION, Kind, Uid};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{self, Media};
use super::failure::{self, Failure, Served};
use super::media::{self, As, Form, Text};
use super::query::{Query, Write};
use super::{Front, scale, table, watch};
use crate::identity::Caller;
use crate::status::RequestError;
use crate::verbs::{Done, ListQuery, PAGE_BYTES_MAX, Removal};

/// Objects of one page of a deletion of many.
const REMOVE_AT_ONCE: usize = 500;

type Answer = Result<Response<Body>, Response<Body>>;

/// A request, taken apart.
pub(super) struct Asked {
    pub(super) front: Front,
    pub(super) kind: Kind,
    method: Method,
    uri: Uri,
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
        Method::GET if query.is_watch() => watched(asked, &query, None).await,
        Method::GET => list(asked, &query).await,
        Method::POST => create(asked, &query).await,
        Method::DELETE => delete_collection(asked, &query).await,
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
        // A watch of one object, as of a collection with its name selected (`endpoints/handlers/get.go`, `ListResource`).
        Method::GET if query.is_watch() => watched(asked, &query, Some(&name)).await,
        Method::GET => get(asked, &name).await,
        Method::PUT => update(asked, &query, &name, Through::Object).await,
        Method::PATCH => patch(asked, &query, &name, Through::Object).await,
        Method::DELETE => delete(asked, &query, name).await,
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
            Method::GET => Ok(scale::get(&asked, &name)?),
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
    let entry = asked
        .front
        .verbs
        .get(asked.kind, name)
        .map_err(Failure::from)?;
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
        asked.kind,
        &query,
        entry.revision,
        "",
        vec![document],
        false,
    );
    Ok(media::answer(StatusCode::OK, form.text, &shown))
}

async fn list(asked: Asked, query: &Query) -> Answer {
    let form = Form::wanted(&asked.headers)?;
    let listed = asked.front.verbs.list(query.list(asked.kind)?).await;
    let listed = listed.map_err(Failure::of_list)?;
    let documents = listed
        .entries
        .iter()
        .map(|entry| entry.document())
        .collect();
    let shown = shown(
        &form,
        asked.kind,
        query,
        listed.revision,
        &listed.continue_token,
        documents,
        true,
    );
    Ok(media::answer(StatusCode::OK, form.text, &shown))
}

async fn watched(asked: Asked, query: &Query, name: Option<&str>) -> Answer {
    let form = Form::wanted(&asked.headers)?;
    let mut wanted = query.watch(asked.kind)?;
    if let Some(name) = name {
        wanted.selector = wanted.selector.named(name);
    }
    let patience = asked.front.verbs.shared.watch_patience;
    let stream = watch::Stream::of(asked.kind, form, query, patience)?;
    let events = asked.front.verbs.watch(&asked.caller, wanted).await;
    Ok(stream.answer(events.map_err(Failure::from)?))
}

async fn create(asked: Asked, query: &Query) -> Answer {
    let write = query.write("CreateOptions")?;
    let media = Media::document(&asked.headers)?;
    let form = Form::wanted(&asked.headers)?;
    let bytes = body::bytes(asked.body).await?;
    let (mut document, warnings) = body::document(media, &bytes, write.validation)?;
    fits(asked.kind, &mut document, None)?;
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
    let media = Media::document(&asked.headers)?;
    let form = Form::wanted(&asked.headers)?;
    let bytes = body::bytes(asked.body).await?;
    let (mut document, warnings) = body::document(media, &bytes, write.validation)?;
    fits(asked.kind, &mut document, Some(name))?;
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
    if media != Media::Apply && write.force.is_some() {
        let message = "may not be specified for non-apply patch".to_owned();
        return Err(Failure::invalid_option("PatchOptions", "force", message).into());
    }
    let bytes = body::bytes(asked.body).await?;
    let kind = asked.kind;
    let (mut document, warnings) = match media {
        // A list of operations has no fields that could stand twice in a way that matters.
        Media::JsonPatch => {
            let patch = serde_json::from_slice(&bytes).map_err(|error| {
                Failure::bad_request(format!("the patch cannot be read: {error}"))
            })?;
            (patch, Vec::new())
        }
        Media::Json | Media::Yaml | Media::MergePatch | Media::Apply => {
            body::document(media, &bytes, write.validation)?
        }
    };
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
            fits(kind, &mut document, Some(name))?;
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

/// What a removal is told by its body, as Kubernetes' `DeleteOptions` have it. What is not understood is refused, for it may be what
/// keeps something from being removed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Said {
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
    /// Jails stop by their own rules, however long the client would wait.
    #[serde(rename = "gracePeriodSeconds")]
    _grace_period_seconds: Option<i64>,
    orphan_dependents: Option<bool>,
    propagation_policy: Option<String>,
    preconditions: Option<Preconditions>,
    dry_run: Option<Vec<String>>,
}

/// What must be true of an object for it to be removed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// What a removal may be told, by the body or behind the question mark; the body counts (`endpoints/handlers/delete.go`).
struct DeleteOptions {
    uid: Option<Uid>,
    revision: Option<u64>,
    propagation: Option<Propagation>,
    dry_run: bool,
}

impl DeleteOptions {
    async fn read(asked_headers: &HeaderMap, body: Body, query: &Query) -> Result<Self, Failure> {
        let bytes = body::bytes(body).await?;
        if bytes.is_empty() {
            return Self::of(Said::default(), query);
        }
        let media = Media::document(asked_headers)?;
        let (document, _) = body::document(media, &bytes, Validation::Strict)?;
        let is_plain = document.is_object()
            && document
                .get("preconditions")
                .is_none_or(|said| said.is_object() || said.is_null());
        if !is_plain {
            let message = "the body of a removal is DeleteOptions, an object";
            return Err(Failure::bad_request(message));
        }
        let said = serde_json::from_value(document).map_err(|error| {
            Failure::bad_request(format!("the DeleteOptions cannot be read: {error}"))
        })?;
        Self::of(said, query)
    }

    fn of(said: Said, query: &Query) -> Result<Self, Failure> {
        let invalid = |field: &str, message: String| {
            Err(Failure::invalid_option("DeleteOptions", field, message))
        };
        let policy = said
            .propagation_policy
            .unwrap_or_else(|| query.text("propagationPolicy").to_owned());
        // As apimachinery's `pkg/apis/meta/v1/validation/validation.go` (`ValidateDeleteOptions`) has it.
        let propagation = match (policy.as_str(), said.orphan_dependents) {
            ("", None) => None,
            ("", Some(true)) => Some(Propagation::Orphan),
            ("", Some(false)) => Some(Propagation::Background),
            (policy, None) => match Propagation::from_name(policy) {
                Some(policy) => Some(policy),
                None => {
                    let known = Propagation::ALL.map(|policy| format!("{:?}", policy.as_str()));
                    let known = known.join(", ");
                    let message =
                        format!("Unsupported value: {policy:?}: supported values: {known}");
                    return invalid("propagationPolicy", message);
                }
            },
            (policy, Some(_)) => {
                let message = format!(
                    "Invalid value: {policy:?}: orphanDependents and deletionPropagation cannot be both set"
                );
                return invalid("propagationPolicy", message);
            }
        };
        // Whichever says so: nothing is removed that was only to be tried.
        let mut dry = said.dry_run.unwrap_or_default();
        if !query.text("dryRun").is_empty() {
            dry.push(query.text("dryRun").to_owned());
        }
        if let Some(other) = dry.iter().find(|one| *one != "All") {
            let message = format!("Unsupported value: {other:?}: supported values: \"All\"");
            return invalid("dryRun", message);
        }
        let preconditions = said.preconditions.unwrap_or_default();
        let revision = match preconditions.resource_version.as_deref() {
            None | Some("") => None,
            // What is no number of this store is no revision that the object could have.
            Some(version) => Some(version.parse().unwrap_or(u64::MAX)),
        };
        Ok(Self {
            uid: preconditions.uid.map(Uid),
            revision,
            propagation,
            dry_run: !dry.is_empty(),
        })
    }

    /// Whether one of many objects needs no removal any more: somebody else was first, and perhaps created another of its name.
    fn is_over(&self, error: &RequestError) -> bool {
        let RequestError::Rejected(rejection) = error else {
            return false;
        };
        match rejection.reason {
            Reason::NotFound => true,
            Reason::Conflict => self.uid.is_none() && self.revision.is_none(),
            Reason::Invalid
            | Reason::AlreadyExists
            | Reason::TooLarge
            | Reason::BadRequest
            | Reason::TooManyRequests => false,
        }
    }
}

async fn delete(asked: Asked, query: &Query, name: String) -> Answer {
    let form = Form::wanted(&asked.headers)?;
    let options = DeleteOptions::read(&asked.headers, asked.body, query).await?;
    let removal = Removal {
        kind: asked.kind,
        name,
        uid: options.uid,
        revision: options.revision,
        propagation: options.propagation,
        dry_run: options.dry_run,
    };
    let removed = asked
        .front
        .verbs
        .delete(removal)
        .await
        .map_err(Failure::from)?;
    if removed.gone {
        let admitted = &removed.admitted;
        let uid = admitted
            .document
            .pointer("/metadata/uid")
            .and_then(Value::as_str);
        let success = failure::success(asked.kind, &admitted.name, uid.unwrap_or_default());
        return Ok(media::answer(StatusCode::OK, form.text, &success));
    }
    let done = (removed.admitted, removed.written);
    Ok(written(&form, query, &done, Vec::new()))
}

async fn delete_collection(asked: Asked, query: &Query) -> Answer {
    let form = Form::wanted(&asked.headers)?;
    let kind = asked.kind;
    let options = DeleteOptions::read(&asked.headers, asked.body, query).await?;
    let wanted = query.list(kind)?;
    let mut documents = Vec::new();
    let mut page = ListQuery {
        limit: REMOVE_AT_ONCE,
        bytes_max: PAGE_BYTES_MAX,
        ..wanted
    };
    loop {
        let listed = asked
            .front
            .verbs
            .list(page.clone())
            .await
            .map_err(Failure::of_list)?;
        for entry in &listed.entries {
            let removal = Removal {
                kind,
                name: entry.name().to_owned(),
                uid: options
                    .uid
                    .clone()
                    .or_else(|| Some(entry.object.metadata().uid.clone())),
                revision: options.revision,
                propagation: options.propagation,
                dry_run: options.dry_run,
            };
            match asked.front.verbs.delete(removal).await {
                Ok(_) => documents.push(entry.document()),
                Err(error) if options.is_over(&error) => {}
                Err(error) => return Err(Failure::from(error).into()),
            }
        }
        if listed.continue_token.is_empty() {
            let shown = shown(&form, kind, query, listed.revision, "", documents, true);
            return Ok(media::answer(StatusCode::OK, form.text, &shown));
        }
        page.continue_token = listed.continue_token;
    }
}

/// What a document says of itself must be what it was sent to; what it does not say is filled in.
fn fits(kind: Kind, document: &mut Value, name: Option<&str>) -> Result<(), Failure> {
    let Some(members) = document.as_object_mut() else {
        return Err(Failure::bad_request("the body of the request is no object"));
    };
    for (field, wanted, word) in [
        ("apiVersion", API_VERSION, "API version"),
        ("kind", kind.as_str(), "kind"),
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
fn written(
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
            admitted.kind,
            query,
            revision,
            "",
            vec![document],
            false,
        );
        media::answer(code, form.text, &shown)
    };
    let own = admitted.warnings.iter().map(ToString::to_string);
    media::warn(&mut response, warnings.into_iter().chain(own));
    response
}

/// Documents in the shape that is asked for: one, or a list.
fn shown(
    form: &Form,
    kind: Kind,
    query: &Query,
    revision: u64,
    continue_token: &str,
    mut documents: Vec<Value>,
    is_list: bool,
) -> Value {
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if !continue_token.is_empty() {
        metadata["continue"] = continue_token.into();
    }
    let (list, version) = match &form.shape {
        As::Table(version) => {
            let include = table::Include::read(query.text("includeObject"));
            return table::table(kind, version, &metadata, &documents, include, true);
        }
        As::Metadata(version) => {
            for document in &mut documents {
                *document = table::metadata_of(document, version);
            }
            (
                "PartialObjectMetadataList".to_owned(),
                format!("meta.k8s.io/{version}"),
            )
        }
        As::Objects | As::Discovery(_) => (format!("{kind}List"), API_VERSION.to_owned()),
    };
    if is_list {
        json!({"kind": list, "apiVersion": version, "metadata": metadata, "items": documents})
    } else {
        documents.pop().unwrap_or(Value::Null)
    }
}

#[cfg(test)]
mod tests;
