//! Removals: what they may be told, of one object and of many.

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, header};
use cellblock_controller_core::admit::{Propagation, Reason, Validation};
use cellblock_schemas::{Cause, Uid};
use serde::Deserialize;
use serde_json::Value;

use super::body::{self, Media};
use super::failure::{self, Failure};
use super::media::{self, Form};
use super::objects::{Asked, written};
use super::query::{self, Query};
use super::shown::{Page, Sort, shown};
use crate::newest::Since;
use crate::status::RequestError;
use crate::verbs::{ListQuery, PAGE_BYTES_MAX, Removal};

/// Objects of one page of a deletion of all that there are.
const REMOVE_AT_ONCE: usize = 500;

type Answer = Result<Response<Body>, Response<Body>>;

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
        // Old releases of client-go do not say what it is (`dynamic/simple.go` of 1.20, `Delete`), and a web page cannot send this
        // method without asking first.
        let media = if asked_headers.contains_key(header::CONTENT_TYPE) {
            Media::document(asked_headers)?
        } else {
            Media::Json
        };
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
        let invalid = |field: &str, cause, message: String| {
            Err(Failure::invalid_option(
                "DeleteOptions",
                field,
                cause,
                message,
            ))
        };
        let policy = said
            .propagation_policy
            .unwrap_or_else(|| query.text("propagationPolicy").to_owned());
        let orphan = said.orphan_dependents.or(query.flag("orphanDependents"));
        // As apimachinery's `pkg/apis/meta/v1/validation/validation.go` (`ValidateDeleteOptions`) has it.
        let propagation = match (policy.as_str(), orphan) {
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
                    return invalid("propagationPolicy", Cause::NotSupported, message);
                }
            },
            (policy, Some(_)) => {
                let message = format!(
                    "Invalid value: {policy:?}: orphanDependents and deletionPropagation cannot be both set"
                );
                return invalid("propagationPolicy", Cause::Invalid, message);
            }
        };
        // Whichever says so: nothing is removed that was only to be tried.
        let mut dry = said.dry_run.unwrap_or_default();
        dry.extend(query.dry_run().iter().cloned());
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
            dry_run: query::dry_run(&dry, "DeleteOptions")?,
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

pub(super) async fn single(asked: Asked, query: &Query, name: String) -> Answer {
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

pub(super) async fn collection(asked: Asked, query: &Query) -> Answer {
    let form = Form::wanted(&asked.headers)?;
    let kind = asked.kind;
    let options = DeleteOptions::read(&asked.headers, asked.body, query).await?;
    let wanted = query.list(kind)?;
    // Who sets a limit removes so many and is told where the others begin (kubernetes/apiserver, `pkg/registry/generic/registry/store.go`,
    // `DeleteCollection`).
    let is_limited = wanted.limit > 0;
    let mut documents = Vec::new();
    let mut since = Since::default();
    let mut page = ListQuery {
        limit: if is_limited {
            wanted.limit
        } else {
            REMOVE_AT_ONCE
        },
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
            match asked.front.verbs.delete_one(&mut since, removal).await {
                Ok(_) => documents.push(entry.document()),
                Err(error) if options.is_over(&error) => {}
                Err(error) => return Err(Failure::from(error).into()),
            }
        }
        if is_limited || listed.continue_token.is_empty() {
            let page = Page {
                revision: listed.revision,
                next: &listed.continue_token,
                remaining: listed.remaining,
            };
            let shown = shown(&form, Sort::Object(kind), query, &page, documents, true);
            return Ok(media::answer(StatusCode::OK, form.text, &shown));
        }
        page.continue_token = listed.continue_token;
    }
}

#[cfg(test)]
mod tests;
