//! How many jails a set has, as a `Scale` (kubernetes/api, `autoscaling/v1/types.go`): what `kubectl scale` reads and writes. A write
//! is a patch of the set's `spec.replicas`, judged like any other.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use cellblock_controller_core::admit::{Patch, Request as Wanted, Through};
use cellblock_controller_core::index::Entry;
use cellblock_schemas::{Kind, Object};
use serde_json::{Value, json};

use super::body::{self, Media};
use super::failure::Failure;
use super::media::{self, Form};
use super::objects::Asked;
use super::query::Query;

/// The last part of its path.
pub(super) const NAME: &str = "scale";
pub(super) const GROUP: &str = "autoscaling";
pub(super) const VERSION: &str = "v1";
pub(super) const KIND: &str = "Scale";

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
    let scale = scale(&*entry.map_err(Failure::of_list)?);
    Ok(media::answer(StatusCode::OK, form.text, &scale))
}

/// `PUT` of a whole `Scale`. Kubernetes' client does not say what its body is (client-go, `scale/client.go`, `Update`), and a
/// web page cannot send one without asking first.
pub(super) async fn update(asked: Asked, query: &Query, name: String) -> Answer {
    let media = if asked.headers.contains_key(header::CONTENT_TYPE) {
        Media::document(&asked.headers)?
    } else {
        Media::Json
    };
    write(asked, query, name, media, "UpdateOptions").await
}

/// `PATCH`, by a JSON merge patch: of a `Scale` nothing but the number can change.
pub(super) async fn patch(asked: Asked, query: &Query, name: String) -> Answer {
    let media = Media::patch(&asked.headers)?;
    if media != Media::MergePatch {
        let known = "application/merge-patch+json";
        return Err(Failure::unsupported_media(known).into());
    }
    write(asked, query, name, media, "PatchOptions").await
}

async fn write(asked: Asked, query: &Query, name: String, media: Media, options: &str) -> Answer {
    let write = query.write(options)?;
    let form = Form::wanted(&asked.headers)?;
    let bytes = body::bytes(asked.body).await?;
    let (document, _) = body::document(media, &bytes, write.validation)?;
    let said = document["metadata"].get("name");
    if let Some(said) = said.filter(|said| !said.is_null() && **said != name) {
        let message = format!("the Scale is of {said}, the path of \"{name}\"");
        return Err(Failure::bad_request(message).into());
    }
    let mut patch = json!({});
    match document.pointer("/spec/replicas") {
        Some(replicas) if replicas.is_u64() => patch["spec"]["replicas"] = replicas.clone(),
        Some(said) if !said.is_null() => {
            return Err(Failure::bad_request("spec.replicas of the Scale is no number").into());
        }
        // A patch that does not name it leaves it.
        None if media == Media::MergePatch => {}
        // Go leaves a zero out of what it writes (`json:"replicas,omitempty"`).
        Some(_) | None => patch["spec"]["replicas"] = 0.into(),
    }
    for field in ["resourceVersion", "uid"] {
        if let Some(said) = document["metadata"]
            .get(field)
            .filter(|said| !said.is_null())
        {
            patch["metadata"][field] = said.clone();
        }
    }
    let wanted = Wanted::Patch {
        kind: asked.kind,
        name: name.clone(),
        patch: Patch::Merge(patch),
        through: Through::Object,
        manager: write.manager(&asked.headers),
    };
    let done = asked
        .front
        .verbs
        .write(wanted, write.validation, write.dry_run);
    let (admitted, written) = done.await.map_err(Failure::from)?;
    let (revision, json) = admitted.served(written);
    let document: Value = serde_json::from_slice(&json).unwrap_or_default();
    let object = Object::from_value(asked.kind, document).map_err(|error| {
        tracing::error!(%error, "what was written cannot be read");
        Failure::bad_request("what was written cannot be read")
    })?;
    let scale = scale(&Entry {
        object,
        json,
        revision,
    });
    let mut response = media::answer(StatusCode::OK, form.text, &scale);
    media::warn(
        &mut response,
        admitted.warnings.iter().map(ToString::to_string),
    );
    Ok(response)
}

fn scale(entry: &Entry) -> Value {
    let metadata = entry.object.metadata();
    let (replicas, status) = match &entry.object {
        Object::JailSet(set) => {
            let status = set.status.clone().unwrap_or_default();
            (set.spec.replicas(), status.replicas)
        }
        Object::Host(_) | Object::Network(_) | Object::Image(_) | Object::Jail(_) => (0, 0),
    };
    json!({
        "kind": KIND,
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "metadata": {
            "name": metadata.name,
            "uid": metadata.uid,
            "resourceVersion": entry.revision.to_string(),
            "creationTimestamp": metadata.creation_timestamp,
        },
        "spec": {"replicas": replicas},
        "status": {"replicas": status},
    })
}
