//! Managed fields at admission: what of an object managers may speak of, and who owns it after a change.

use cellblock_schemas::meta::OWN_FINALIZERS;
use cellblock_schemas::{Cause, Kind, Object, Violation};
use serde_json::{Map, Value};

use super::draft::Draft;
use super::{IN_USE_FINALIZER, Now, Through};
use crate::bind;
use crate::fields::{Change, Managers, Operation, Who};

/// The members of `metadata` that clients decide. The rest is the system's and has no manager, as with kube-apiserver
/// (apimachinery, `util/managedfields/internal/stripmeta.go`).
pub(super) const METADATA: [&str; 4] = ["labels", "annotations", "finalizers", "ownerReferences"];

/// What managers may speak of in an object as it is. An object always has metadata, so nobody comes to own that it does.
pub(super) fn present(object: &Value, through: Through) -> Value {
    let mut present = speakable(object, through);
    if let (Through::Object | Through::Scale, Some(members)) = (through, present.as_object_mut()) {
        members
            .entry("metadata")
            .or_insert_with(|| Value::Object(Map::new()));
    }
    present
}

/// What managers may speak of in what somebody states. The controller's own finalizers are nobody's: whoever applies what was printed must not come to own them, nor lose them by what is applied next.
pub(super) fn speakable(document: &Value, through: Through) -> Value {
    let mut kept = Map::new();
    match through {
        Through::Object | Through::Scale => {
            let metadata = document.get("metadata").and_then(Value::as_object);
            let mut metadata: Map<String, Value> = metadata
                .into_iter()
                .flatten()
                .filter(|(name, _)| METADATA.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            if let Some(Value::Array(finalizers)) = metadata.get_mut("finalizers")
                && finalizers.iter().any(is_own_finalizer)
            {
                finalizers.retain(|finalizer| !is_own_finalizer(finalizer));
                if finalizers.is_empty() {
                    metadata.shift_remove("finalizers");
                }
            }
            if !metadata.is_empty() {
                kept.insert("metadata".to_owned(), Value::Object(metadata));
            }
            keep(&mut kept, document, "spec");
        }
        Through::Status => keep(&mut kept, document, "status"),
    }
    Value::Object(kept)
}

fn is_own_finalizer(finalizer: &Value) -> bool {
    finalizer
        .as_str()
        .is_some_and(|name| name.starts_with(OWN_FINALIZERS))
}

/// The finalizer that the controller gives to objects of a kind, and takes away when its work is done.
fn own_finalizer(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Host | Kind::Network | Kind::Image => Some(IN_USE_FINALIZER),
        Kind::Jail => Some(bind::FINALIZER),
        Kind::JailSet => None,
    }
}

/// The finalizers of the controller's that an object has and that are not among those that a client states. Another release may have put
/// one on that this one does not know, and does work behind it.
pub(super) fn own_finalizers_left_out(before: &Object, stated: &[String]) -> Vec<String> {
    let left_out = |name: &&String| name.starts_with(OWN_FINALIZERS) && !stated.contains(name);
    let finalizers = before.metadata().finalizers.iter();
    finalizers.filter(left_out).cloned().collect()
}

/// The first of these finalizers that this release itself takes away when its work is done.
pub(super) fn known(kind: Kind, names: &[String]) -> Option<&String> {
    names
        .iter()
        .find(|name| own_finalizer(kind) == Some(name.as_str()))
}

/// Why a finalizer stays that somebody left out.
pub(super) fn stays(kind: Kind, name: &str) -> String {
    if own_finalizer(kind) == Some(name) {
        return format!("{name} stays: the controller takes it away when its work is done");
    }
    format!(
        "{name} stays: the controller of another release put it on and takes it away when its work is done; if none of that release runs any more, remove its own entry by a JSON patch"
    )
}

/// Takes the controller's own finalizer out of what a client states of an object that does not have it, as what was printed before: the
/// object gets it when there is work to do.
pub(super) fn without_own_finalizer(before: Option<&Object>, kind: Kind, stated: &mut Vec<String>) {
    let has = |name: &String| before.is_some_and(|one| one.metadata().finalizers.contains(name));
    stated.retain(|name| own_finalizer(kind) != Some(name) || has(name));
}

/// Finalizers that only the controller could take away and that it knows nothing of: with one of them an object would stay for good.
pub(super) fn strange_finalizers<'a>(
    before: Option<&Object>,
    kind: Kind,
    stated: impl IntoIterator<Item = &'a str>,
) -> Vec<Violation> {
    let stored = before.map_or(&[][..], |before| &before.metadata().finalizers);
    let is_strange = |name: &str| {
        name.starts_with(OWN_FINALIZERS)
            && own_finalizer(kind) != Some(name)
            && !stored.iter().any(|stored| stored == name)
    };
    let stated = stated.into_iter().enumerate();
    stated
        .filter(|(_, name)| is_strange(name))
        .map(|(place, name)| Violation {
            field: format!("metadata.finalizers[{place}]"),
            message: format!(
                "{name} is no finalizer of a {kind}, and nobody but the controller takes one of {OWN_FINALIZERS} away"
            ),
            help: "leave it out, or give it a name of your own domain".to_owned(),
            cause: Cause::Forbidden,
        })
        .collect()
}

/// Puts the controller's own finalizers of an object as it is, of whichever release, into what its metadata will be.
pub(super) fn keep_own_finalizers(before: &Object, metadata: &mut Map<String, Value>) {
    let finalizers = before.metadata().finalizers.iter();
    let own: Vec<Value> = finalizers
        .filter(|name| name.starts_with(OWN_FINALIZERS))
        .map(|name| Value::from(name.as_str()))
        .collect();
    if own.is_empty() {
        return;
    }
    let kept = metadata.entry("finalizers").or_insert(Value::Null);
    if let Some(kept) = kept.as_array_mut() {
        kept.extend(own);
    } else {
        *kept = Value::Array(own);
    }
}

fn keep(kept: &mut Map<String, Value>, document: &Value, name: &str) {
    if let Some(value) = document.get(name).filter(|value| !value.is_null()) {
        kept.insert(name.to_owned(), value.clone());
    }
}

/// A manager of that name.
pub(super) fn who(operation: Operation, manager: &str, through: Through) -> Who {
    Who {
        operation,
        manager: manager.to_owned(),
        subresource: through.subresource().to_owned(),
    }
}

/// What a client says of who manages what.
pub(super) enum Records {
    /// Nothing that counts: what is stored stays.
    Stored,
    /// This.
    Said(Managers),
    /// Nobody manages anything: the way out of a record that is in the way.
    None,
}

impl Records {
    /// As with kube-apiserver: managed fields that a client writes itself count instead of the stored ones, if it says by a
    /// resourceVersion that it knows these; none, or none that can be read, leave them.
    pub(super) fn of(stated: &Object, forgets: bool) -> Self {
        if forgets {
            return Self::None;
        }
        let said = Managers::read(&stated.metadata().managed_fields);
        let knows = stated.metadata().resource_version.is_some();
        if knows && said != Managers::default() {
            return Self::Said(said);
        }
        Self::Stored
    }
}

/// Whether a document says that nobody manages anything, by an empty list or one with one empty entry (apimachinery,
/// `util/managedfields/internal/fieldmanager.go`, `isResetManagedFields`). Takes such a list out.
pub(super) fn forgets(document: &mut Value) -> bool {
    let metadata = document.get_mut("metadata").and_then(Value::as_object_mut);
    let Some(metadata) = metadata else {
        return false;
    };
    let is_empty = |entry: &Value| entry.as_object().is_some_and(Map::is_empty);
    let forgets = match metadata.get("managedFields") {
        Some(Value::Array(entries)) => match entries.as_slice() {
            [] => true,
            [only] => is_empty(only),
            [_, _, ..] => false,
        },
        Some(_) | None => false,
    };
    if forgets {
        metadata.shift_remove("managedFields");
    }
    forgets
}

/// Brings the managed fields of a draft up to date after `manager` wrote something as a whole.
pub(super) fn updated(
    draft: &mut Draft<'_>,
    records: Records,
    through: Through,
    manager: &str,
    now: &Now,
) {
    let was = draft.before.map(|entry| &entry.object);
    let before = was.map_or(Value::Null, Object::to_value);
    let known = was.map(|was| Managers::read(&was.metadata().managed_fields));
    let managers = match records {
        Records::Said(said) => said,
        Records::None => Managers::default(),
        Records::Stored => known.unwrap_or_default(),
    };
    let change = Change {
        kind: draft.object.kind(),
        before: &present(&before, through),
        after: &present(&draft.object.to_value(), through),
        now: now.timestamp,
    };
    let managers = managers.updated(&change, &who(Operation::Update, manager, through));
    draft.object.metadata_mut().managed_fields = managers.write();
}
