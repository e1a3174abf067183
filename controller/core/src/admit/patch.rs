//! JSON merge patch (RFC 7396) and JSON patch (RFC 6902): both change the object as it is, and what comes out is admitted
//! like an update. Server-side apply is no patch of this kind: see [`super::apply`].

use cellblock_schemas::{Kind, Object};
use json_patch::PatchOperation;
use serde_json::Value;

use super::spec::measure;
use super::{Reason, Rejection, Through, managed, scale};
use crate::index::Index;

/// How many operations a JSON patch has at most, as kube-apiserver's `maxJSONPatchOperations`: each may copy the document.
const OPERATIONS_MAX: usize = 10_000;

/// How many bytes its operations copy at most, all together: each may double the document. As kube-apiserver's
/// `JSONPatchMaxCopyBytes` (`apiserver/pkg/server/config.go`).
const COPIED_BYTES_MAX: usize = 3 << 20;

/// What to change.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// A JSON merge patch: members replace members, null removes them, lists are replaced as a whole.
    Merge(Value),
    /// A JSON patch: a list of operations, all or nothing.
    Json(Value),
}

/// What a patch comes to.
pub(super) struct Patched {
    pub(super) document: Value,
    /// Finalizers of the controller's that the operations took away, each by its own place, and that this release does not know.
    pub(super) taken_away: Vec<String>,
}

/// The stored object, changed. A patch that does not speak of the resourceVersion is about whatever is stored.
pub(super) fn patched(
    index: &Index,
    (kind, name): (Kind, &str),
    patch: &Patch,
    through: Through,
) -> Result<Patched, Rejection> {
    let before = index
        .get(kind, name)
        .ok_or_else(|| Rejection::not_found(kind, name))?;
    let mut document = match through {
        Through::Object | Through::Status => before.document(),
        Through::Scale => scale::scale(&before.object, before.revision),
    };
    let mut taken_away = Vec::new();
    match patch {
        Patch::Merge(patch) if patch.is_object() => {
            measure(kind, name, patch)?;
            json_patch::merge(&mut document, patch);
        }
        Patch::Merge(_) => {
            return Err(senseless(kind, name, "a merge patch is an object"));
        }
        Patch::Json(patch) => {
            let removed = operate(kind, name, &mut document, patch)?;
            if through == Through::Object {
                taken_away = finalizers_taken_away(&before.object, &document)?;
                taken_away.retain(|name| removed.contains(name));
            }
        }
    }
    let named = document.pointer("/metadata/name").and_then(Value::as_str);
    if named != Some(name) {
        return Err(senseless(kind, name, "a patch cannot change the name"));
    }
    if through == Through::Scale {
        document = scale::scaled(before, &document)?;
    }
    without_leftovers(&mut document);
    Ok(Patched {
        document,
        taken_away,
    })
}

/// Does the operations of a JSON patch, one after the other; the finalizers that one of them removed by their own place.
fn operate(
    kind: Kind,
    name: &str,
    document: &mut Value,
    patch: &Value,
) -> Result<Vec<String>, Rejection> {
    measure(kind, name, patch)?;
    let operations = patch.as_array().map_or(0, Vec::len);
    if operations > OPERATIONS_MAX {
        let message =
            format!("the patch has {operations} operations, at most {OPERATIONS_MAX} are taken");
        return Err(senseless(kind, name, message));
    }
    let patch: json_patch::Patch = serde_json::from_value(patch.clone()).map_err(|error| {
        let message = format!("the JSON patch cannot be read: {error}");
        senseless(kind, name, message)
    })?;
    // Refused like a field that breaks a rule (422), not like a request that makes no sense: it may fit another state
    // of the object. So does kube-apiserver (`endpoints/handlers/patch.go`, `applyJSPatch`).
    let mut copied = 0;
    let mut removed = Vec::new();
    for (place, operation) in patch.0.iter().enumerate() {
        copied += copies(document, operation);
        if copied > COPIED_BYTES_MAX {
            let message = format!("the patch copies more than {COPIED_BYTES_MAX} bytes in all");
            let help = "write what it shall come to as a merge patch";
            return Err(Rejection::new(
                Reason::TooLarge,
                kind,
                name,
                "",
                message,
                help,
            ));
        }
        if is_absent(document, operation) {
            continue;
        }
        removed.extend(finalizer_removed(document, operation));
        let done = json_patch::patch(document, std::slice::from_ref(operation));
        done.map_err(|error| {
            let field = format!("patch[{place}]");
            let message = format!("does not fit the {kind} at {}: {}", error.path, error.kind);
            let help = "read the object and see whether it is what the patch expects";
            Rejection::new(Reason::Invalid, kind, name, &field, message, help)
        })?;
    }
    Ok(removed)
}

/// The finalizer that an operation removes, and no other with it: who writes the whole list may have read it before this one was put on.
fn finalizer_removed(document: &Value, operation: &PatchOperation) -> Option<String> {
    let PatchOperation::Remove(remove) = operation else {
        return None;
    };
    let path = remove.path.as_str();
    path.strip_prefix("/metadata/finalizers/")?;
    Some(document.pointer(path)?.as_str()?.to_owned())
}

/// Members of every Kubernetes object's metadata that these kinds have not, and that tools write there by themselves (apimachinery,
/// `pkg/apis/meta/v1/types.go`, `ObjectMeta`).
pub const LEFTOVERS: [&str; 3] = ["namespace", "selfLink", "deletionGracePeriodSeconds"];

/// What tools write by themselves is dropped, of a patch as of a document (kubernetes/apiserver, `pkg/registry/rest/update.go`, `BeforeUpdate`).
pub fn without_leftovers(document: &mut Value) {
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in LEFTOVERS {
            metadata.shift_remove(name);
        }
    }
}

/// The finalizers of the controller's that the operations took away. What merely leaves one out, as a manifest does, takes nothing away. One
/// that this release knows goes when its work is done and not before; of another, the operator knows better.
fn finalizers_taken_away(before: &Object, document: &Value) -> Result<Vec<String>, Rejection> {
    let stated = match document.pointer("/metadata/finalizers") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(stated) => serde_json::from_value(stated.clone()).ok(),
    };
    // What cannot be read is refused later, with everything else.
    let Some(stated) = stated else {
        return Ok(Vec::new());
    };
    let gone = managed::own_finalizers_left_out(before, &stated);
    let kind = before.kind();
    if let Some(known) = managed::known(kind, &gone) {
        let message = format!("{known} is taken away by the controller when its work is done");
        let (name, field) = (&before.metadata().name, "metadata.finalizers");
        return Err(Rejection::new(
            Reason::Invalid,
            kind,
            name,
            field,
            message,
            "leave it in",
        ));
    }
    Ok(gone)
}

/// Whether it tests that something is not there, by null (evanphx/json-patch, `v5/patch.go`, `test`): there is no other way to.
fn is_absent(document: &Value, operation: &PatchOperation) -> bool {
    let PatchOperation::Test(test) = operation else {
        return false;
    };
    test.value.is_null() && document.pointer(test.path.as_str()).is_none()
}

/// How many bytes an operation adds by copying them from elsewhere in the document.
fn copies(document: &Value, operation: &PatchOperation) -> usize {
    let PatchOperation::Copy(copy) = operation else {
        return 0;
    };
    let source = document.pointer(copy.from.as_str());
    source.map_or(0, |source| source.to_string().len())
}

fn senseless(kind: Kind, name: &str, message: impl Into<String>) -> Rejection {
    Rejection::new(Reason::BadRequest, kind, name, "", message, "")
}
