//! How many jails a set has, as a `Scale` (kubernetes/api, `autoscaling/v1/types.go`): what is read and patched of it, and what becomes of
//! the set by that. As kube-apiserver's (kubernetes/kubernetes, `pkg/registry/apps/deployment/storage/storage.go`, `ScaleREST`).

use cellblock_schemas::{Cause, Object};
use serde_json::{Value, json};

use super::{Reason, Rejection};
use crate::index::Entry;

/// An object's scale. Of what has none, it is nothing.
#[must_use]
pub fn scale(object: &Object, revision: u64) -> Value {
    let metadata = object.metadata();
    let (replicas, status) = match object {
        Object::JailSet(set) => {
            let status = set.status.clone().unwrap_or_default();
            (set.spec.replicas(), status.replicas)
        }
        Object::Host(_) | Object::Network(_) | Object::Image(_) | Object::Jail(_) => (0, 0),
    };
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata.name,
            "uid": metadata.uid,
            "resourceVersion": revision.to_string(),
            "creationTimestamp": metadata.creation_timestamp,
        },
        "spec": {"replicas": replicas},
        "status": {"replicas": status},
    })
}

/// The object with the number of a scale of it that was changed. Go leaves a zero out of what it writes (`json:"replicas,omitempty"`).
pub(super) fn scaled(before: &Entry, scale: &Value) -> Result<Value, Rejection> {
    let mut document = before.document();
    let replicas = match scale.pointer("/spec/replicas") {
        None | Some(Value::Null) => 0.into(),
        Some(replicas) => replicas.clone(),
    };
    if !replicas.is_u64() {
        let object = &before.object;
        return Err(Rejection::new(
            Reason::Invalid,
            object.kind(),
            &object.metadata().name,
            "spec.replicas",
            format!("is {replicas}"),
            "write a number, 0 or more",
        )
        .of(Cause::Invalid));
    }
    document["spec"]["replicas"] = replicas;
    for field in ["resourceVersion", "uid"] {
        let said = scale.pointer(&format!("/metadata/{field}"));
        document["metadata"][field] = said.cloned().unwrap_or(Value::Null);
    }
    Ok(document)
}
