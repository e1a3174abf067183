//! How many jails a set has, as a `Scale` (kubernetes/api, `autoscaling/v1/types.go`): what `kubectl scale` reads and writes. A write
//! changes the set's `spec.replicas` and is judged like any other.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use cellblock_controller_core::admit::{
    self, Patch, Reason, Rejection, Request as Wanted, Through, Validation,
};
use cellblock_controller_core::rules::Together;
use cellblock_schemas::{API_VERSION, Kind, Object};
use serde_json::{Value, json};

use super::Front;
use super::body::{self, Media};
use super::failure::Failure;
use super::media::{self, Form};
use super::objects::{self, Asked, This};
use super::query::{Query, Write};
use crate::status::RequestError;

/// The last part of its path.
pub(super) const NAME: &str = "scale";
pub(super) const GROUP: &str = "autoscaling";
pub(super) const VERSION: &str = "v1";
pub(super) const KIND: &str = "Scale";

/// What its documents say of themselves.
const THIS: This = This {
    version: "autoscaling/v1",
    kind: KIND,
};

type Answer = Result<Response<Body>, Response<Body>>;

/// Whether there is a number to set.
pub(super) fn has(kind: Kind) -> bool {
    match kind {
        Kind::JailSet => true,
        Kind::Host | Kind::Network | Kind::Image | Kind::Jail => false,
    }
}

/// `GET`.
pub(super) async fn get(asked: Asked, query: &Query, name: &str) -> Answer {
    // What was read of the request only: its body cannot be held while it is answered.
    let Asked {
        front,
        kind,
        headers,
        ..
    } = asked;
    let form = Form::wanted(&headers)?;
    let entry = front.verbs.get(kind, name, query.least()?).await;
    let entry = entry.map_err(Failure::of_list)?;
    let scale = admit::scale(&entry.object, entry.revision);
    Ok(media::answer(StatusCode::OK, form.text, &scale))
}

/// `PUT` of a whole `Scale`.
pub(super) async fn update(asked: Asked, query: &Query, name: String) -> Answer {
    let media = Media::of_put(&asked.headers)?;
    let write = query.write("UpdateOptions")?;
    let form = Form::wanted(&asked.headers)?;
    let bytes = body::bytes(asked.body).await?;
    let (mut scale, mut told) = body::document(media, &bytes, write.validation)?;
    objects::fits(&THIS, &mut scale, Some(&name))?;
    told.extend(unknown(&scale, write.validation).map_err(Failure::bad_request)?);
    let said = scale.pointer("/spec/replicas");
    if said.is_some_and(|said| !said.is_number() && !said.is_null()) {
        return Err(Failure::bad_request("spec.replicas of the Scale is no number").into());
    }
    let mut whole = json!({"spec": {"replicas": said}, "metadata": {}});
    for field in ["resourceVersion", "uid"] {
        let said = scale["metadata"].get(field);
        if let Some(said) = said.filter(|said| !said.is_null() && **said != "") {
            whole["metadata"][field] = said.clone();
        }
    }
    let wanted = Wanted::Patch {
        kind: asked.kind,
        name,
        patch: Patch::Merge(whole),
        through: Through::Scale,
        manager: write.manager(&asked.headers),
    };
    done((&asked.front, &form), &write, wanted, told).await
}

/// `PATCH`, in every form that a patch has: of a `Scale` nothing but the number can change. What is applied must say it; who applied it
/// owns it in the set's `managedFields`, through `scale`.
pub(super) async fn patch(asked: Asked, query: &Query, name: String) -> Answer {
    let write = query.write("PatchOptions")?;
    let media = Media::patch(&asked.headers)?;
    let form = Form::wanted(&asked.headers)?;
    objects::patch_options(media, &write)?;
    let bytes = body::bytes(asked.body).await?;
    let (mut patch, mut told) = body::patch(media, &bytes, write.validation)?;
    let kind = asked.kind;
    if media != Media::JsonPatch {
        let told_too = unknown(&patch, write.validation);
        told.extend(told_too.map_err(|why| invalid(kind, &name, "patch", &why))?);
    }
    let changed = |patch| Wanted::Patch {
        kind,
        name: name.clone(),
        patch,
        through: Through::Scale,
        manager: write.manager(&asked.headers),
    };
    let wanted = match media {
        Media::Apply => {
            THIS.is_said(&patch)?;
            objects::fits(&THIS, &mut patch, Some(&name))?;
            let said = patch.pointer("/spec/replicas");
            let Some(said) = said.filter(|said| said.is_u64()) else {
                return Err(
                    invalid(kind, &name, "spec.replicas", "must be a number, 0 or more").into(),
                );
            };
            let mut document = json!({
                "apiVersion": API_VERSION, "kind": kind.as_str(), "metadata": {"name": name},
                "spec": {"replicas": said},
            });
            for field in ["resourceVersion", "uid"] {
                if let Some(said) = patch["metadata"].get(field) {
                    document["metadata"][field] = said.clone();
                }
            }
            Wanted::Apply {
                kind,
                document,
                through: Through::Scale,
                manager: write.manager.clone(),
                force: write.force.unwrap_or(false),
                together: Arc::new(Together::default()),
            }
        }
        Media::JsonPatch => changed(Patch::Json(patch)),
        Media::MergePatch | Media::Json | Media::Yaml => changed(Patch::Merge(patch)),
    };
    done((&asked.front, &form), &write, wanted, told).await
}

/// What a `Scale` does not have: refused, told or passed over.
fn unknown(scale: &Value, validation: Validation) -> Result<Vec<String>, String> {
    let spec = scale.get("spec").and_then(Value::as_object);
    let names = spec.into_iter().flatten().map(|(name, _)| name);
    let unknown = names.filter(|name| *name != "replicas");
    let told = unknown.map(|name| format!("unknown field \"spec.{name}\""));
    match validation {
        Validation::Ignore => Ok(Vec::new()),
        Validation::Warn => Ok(told.collect()),
        Validation::Strict => {
            let told: Vec<String> = told.collect();
            if told.is_empty() {
                return Ok(told);
            }
            Err(format!("strict decoding error: {}", told.join(", ")))
        }
    }
}

fn invalid(kind: Kind, name: &str, field: &str, why: &str) -> Failure {
    RequestError::from(Rejection::new(Reason::Invalid, kind, name, field, why, "")).into()
}

/// Has it written, and answers with the scale as it is then.
async fn done(
    (front, form): (&Front, &Form),
    write: &Write,
    wanted: Wanted,
    told: Vec<String>,
) -> Answer {
    let done = front.verbs.write(wanted, write.validation, write.dry_run);
    let (admitted, written) = done.await.map_err(Failure::from)?;
    let (revision, json) = admitted.served(written);
    let document: Value = serde_json::from_slice(&json).unwrap_or_default();
    let object = Object::from_value(admitted.kind, document).map_err(|error| {
        tracing::error!(%error, "what was written cannot be read");
        Failure::bad_request("what was written cannot be read")
    })?;
    let scale = admit::scale(&object, revision);
    let mut response = media::answer(StatusCode::OK, form.text, &scale);
    let own = admitted.warnings.iter().map(ToString::to_string);
    media::warn(&mut response, told.into_iter().chain(own));
    Ok(response)
}
