//! Who manages which field: server-side apply as Kubernetes has it.
//!
//! ```text
//!  live ─┐
//!        ├─► apply: merge, prune ─► merged ─► (admission: read, default) ─► after ─┐
//!  stated┘        ▲                                                               ▼
//!              Managers ──────────────────────────────────────────────────► Managers::applied ─► Managers, or Conflicts
//! ```
//!
//! The rules are those of structured-merge-diff (`merge/update.go`): a manager owns the fields that it applied; a field that
//! it applied before and no longer applies goes, unless somebody else owns it too; stating another value than somebody
//! else's is a conflict, stating the same value shares it; whoever writes otherwise than by apply takes over what it
//! changes. What a value is made of, and so what a field is, stands in the kinds' JSON Schemas.
//!
//! Documents in here are what managers may speak of: labels, annotations, finalizers, owner references and `spec` through the
//! object itself, `status` through its subresource. Called by admission only.
//!
//! # Caveats
//!
//! A list that changes between merging as a whole and merging by entries needs its stored owners rewritten;
//! structured-merge-diff does so when it meets one, this does not, because no list has changed yet.

mod compare;
mod managers;
mod merge;
mod set;
mod shape;
#[cfg(test)]
mod tests;

use cellblock_schemas::Kind;
use serde_json::{Map, Value};

pub use managers::{Change, Conflict, Managers, Operation, Who};
pub use set::{Element, Path, Set};

use shape::Schema;

/// What a document says after `who` has applied `stated` to `live`: everything stated is in it, and what `who` applied last
/// time and does not state any more is not, unless somebody else owns it as well.
#[must_use]
pub fn apply(kind: Kind, live: &Value, stated: &Value, managers: &Managers, who: &Who) -> Value {
    let schema = Schema::of(kind);
    let merged = merge::merge(schema, live, stated);
    let Some(last) = managers.fields_of(who).filter(|last| !last.is_empty()) else {
        return merged;
    };
    let last = schema.with_named(last);
    let owned = managers
        .others(who)
        .fold(schema.fields(stated), |owned, other| owned.union(other));
    let pruned = remove(schema, &merged, &last);
    // Back with what somebody owns, this manager's new words included.
    let is = schema.with_named(&schema.fields(&merged));
    let left = schema.with_named(&schema.fields(&pruned));
    let unowned = is.difference(&left.union(&schema.with_named(&owned)));
    let pruned = remove(schema, &merged, &unowned);
    // Back with what nobody owns and this manager did not apply: it only hung below something that went.
    let left = schema.with_named(&schema.fields(&pruned));
    let pruned = remove(schema, &merged, &is.difference(&left).intersection(&last));
    // An object that was stated empty is there, also when pruning has taken the last thing out of it.
    merge::merge(schema, &pruned, stated)
}

/// The fields that a document states and that are the same in another.
#[must_use]
pub fn unchanged(kind: Kind, stated: &Value, live: &Value) -> Set {
    let schema = Schema::of(kind);
    let comparison = compare::Comparison::of(schema, stated, live);
    let changed = comparison.modified.union(&comparison.added);
    let fields = schema.fields(stated);
    fields.difference(&changed).difference(&comparison.removed)
}

fn remove(schema: Schema<'_>, value: &Value, fields: &Set) -> Value {
    merge::remove(schema, value, fields).unwrap_or_else(|| Value::Object(Map::new()))
}

/// Where the last step of a field is in a document, as in `spec.publish[0].ports`; as far as the document goes.
#[must_use]
pub fn place(kind: Kind, document: &Value, path: &Path) -> String {
    let mut schema = Schema::of(kind);
    let mut value = Some(document);
    let mut place = String::new();
    for element in &path.0 {
        match element {
            Element::Field(name) => {
                let (below, named) = schema.member(name);
                schema = below;
                value = value.and_then(|value| value.get(name));
                if !named && name.contains('.') {
                    place += &format!("[{name:?}]");
                } else {
                    let dot = if place.is_empty() { "" } else { "." };
                    place += &format!("{dot}{name}");
                }
            }
            Element::Key(_) | Element::Value(_) | Element::Index(_) => {
                let entries = value.and_then(Value::as_array);
                let found = entries.and_then(|entries| {
                    entries
                        .iter()
                        .position(|entry| schema.element(entry) == *element)
                });
                let Some(found) = found else {
                    return place;
                };
                value = entries.and_then(|entries| entries.get(found));
                schema = schema.entry();
                place += &format!("[{found}]");
            }
        }
    }
    place
}
