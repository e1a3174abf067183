//! What can be read of a document that does not fit its schema, so that the rules are asked of the rest: whoever corrects one
//! mistake wants to hear of all.
//!
//! A field with a mistake is cut out, with as much around it as the types need. What the rules then say of the place itself, or
//! of what encloses it, may follow from the cut and is left out.

use serde_json::Value;

use super::{UNKNOWN, check, prune_nulls};
use crate::object::{Kind, Object};
use crate::path::{Step, steps};
use crate::violation::Violation;

/// Above this many mistakes the rest is not looked at: it is one mistake repeated, or no manifest, and each would be compared with
/// each.
const MISTAKES_MAX: usize = 100;

/// The mistakes of a document, and the places that the rules cannot judge because of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// Everything that does not fit the schema.
    pub violations: Vec<Violation>,
    /// Fields that were cut out.
    cut: Vec<String>,
    /// Fields that nothing is known of.
    unknown: Vec<String>,
}

impl Mistakes {
    /// Whether the document fits its schema.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether a rule's word about a field stands on its own: it does not follow from one of these mistakes.
    #[must_use]
    pub fn leave(&self, field: &str) -> bool {
        let places = || self.cut.iter().chain(&self.unknown);
        !places().any(|place| is_within(place, field))
            && !self.cut.iter().any(|cut| is_within(field, cut))
    }
}

/// Whether `field` is `outer` or lies below it.
fn is_within(field: &str, outer: &str) -> bool {
    field
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || outer.is_empty() || rest.starts_with(['.', '[']))
}

/// Reads as much of a document as can be read. Without mistakes that is all of it; `None`: not even the name.
#[must_use]
pub fn read_partly(kind: Kind, mut document: Value) -> (Option<Object>, Mistakes) {
    let violations = check(kind, &document);
    if violations.len() > MISTAKES_MAX {
        let mistakes = Mistakes {
            violations,
            ..Mistakes::default()
        };
        return (None, mistakes);
    }
    if let Value::Object(map) = &mut document {
        map.remove("status");
    }
    prune_nulls(&mut document);
    let (unknown, mut cut): (Vec<_>, Vec<_>) = violations
        .iter()
        .map(|violation| {
            (
                violation.field.clone(),
                violation.message.starts_with(UNKNOWN),
            )
        })
        .partition(|(_, unknown)| *unknown);
    let unknown = unknown.into_iter().map(|(field, _)| field).collect();
    loop {
        let fields: Vec<String> = cut
            .iter()
            .map(|(field, _)| remove(&mut document, field))
            .collect();
        let read = Object::from_value(kind, document.clone());
        let is_last = fields.iter().all(String::is_empty);
        if let Ok(object) = read {
            let mistakes = Mistakes {
                violations,
                cut: fields,
                unknown,
            };
            return (Some(object), mistakes);
        }
        if is_last {
            let mistakes = Mistakes {
                violations,
                ..Mistakes::default()
            };
            return (None, mistakes);
        }
        cut = fields
            .into_iter()
            .map(|field| (parent(&field).to_owned(), false))
            .collect();
    }
}

/// Removes a field; an element of a list only together with its list, so that no other element changes its number. Returns what
/// was removed.
fn remove(document: &mut Value, field: &str) -> String {
    let steps = steps(field);
    let mut place = document;
    let mut at = String::new();
    for (depth, step) in steps.iter().enumerate() {
        let (name, next) = match step {
            Step::Field(name) if at.is_empty() => (*name, (*name).to_owned()),
            Step::Field(name) => (*name, format!("{at}.{name}")),
            Step::Bracket(name) => (*name, format!("{at}[{name}]")),
        };
        let is_last = depth + 1 == steps.len();
        let ends_in_list =
            matches!(place.get(name), Some(Value::Array(_))) && depth + 2 == steps.len();
        if is_last || ends_in_list {
            if let Value::Object(map) = place {
                map.shift_remove(name);
            }
            return next;
        }
        let inner = match place {
            Value::Object(map) => map.get_mut(name),
            Value::Array(items) => name
                .parse()
                .ok()
                .and_then(|index: usize| items.get_mut(index)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        match inner {
            Some(inner) => place = inner,
            None => return next,
        }
        at = next;
    }
    at
}

/// The path of what encloses a field.
fn parent(field: &str) -> &str {
    let end = match steps(field).last() {
        Some(Step::Field(name)) => field.len() - name.len(),
        Some(Step::Bracket(name)) => field.len() - name.len() - 2,
        None => 0,
    };
    field[..end].trim_end_matches('.')
}

#[cfg(test)]
mod tests;
