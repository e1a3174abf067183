//! Objects that `kubectl apply` wrote in its old way, with what it applied last in an annotation, and that are now applied by the server:
//! as kube-apiserver hands them over (apimachinery, `util/managedfields/internal/lastappliedmanager.go` and `lastappliedupdater.go`).
//! For the manager `kubectl` only, under whose name it applies in the new way.

use std::collections::BTreeMap;

use cellblock_schemas::{API_VERSION, Kind, part};
use serde_json::Value;

use super::{Through, managed};
use crate::fields::{self, Set};

/// What `kubectl apply` keeps on the object of what it applied last.
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Who applies for kubectl.
const MANAGER: &str = "kubectl";

/// How many octets annotations may have together; beyond that the annotation goes.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// The fields of an object that are still as `kubectl apply` applied them last: they are its own, whatever they are recorded under.
pub(super) fn own(kind: Kind, manager: &str, live: &Value) -> Set {
    let applied = live
        .pointer("/metadata/annotations")
        .and_then(|all| all.get(ANNOTATION));
    let applied = applied
        .and_then(Value::as_str)
        .filter(|_| manager == MANAGER);
    let Some(applied) = applied.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return Set::default();
    };
    if applied.get("apiVersion").and_then(Value::as_str) != Some(API_VERSION) {
        return Set::default();
    }
    let Ok(applied) = part::read(kind, applied) else {
        return Set::default();
    };
    let through = Through::Object;
    let applied = managed::speakable(&applied, through);
    fields::unchanged(kind, &applied, &managed::present(live, through))
}

/// Brings the annotation up to date, where there is one, so that who goes back to the old way takes away what was applied last.
pub(super) fn follow(manager: &str, applied: &Value, annotations: &mut BTreeMap<String, String>) {
    let present = annotations.get(ANNOTATION);
    if manager != MANAGER || present.is_none_or(String::is_empty) {
        return;
    }
    let mut applied = applied.clone();
    let stated = applied.pointer_mut("/metadata/annotations");
    if let Some(stated) = stated.and_then(Value::as_object_mut) {
        stated.shift_remove(ANNOTATION);
    }
    annotations.insert(ANNOTATION.to_owned(), format!("{applied}\n"));
    let bytes: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if bytes > ANNOTATIONS_BYTES_MAX {
        annotations.remove(ANNOTATION);
    }
}
