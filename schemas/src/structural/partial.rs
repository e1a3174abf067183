//! What can be read of a document that does not fit its schema, so that the rules are asked of the rest: whoever corrects one
//! mistake wants to hear of all.
//!
//! A field with a mistake is cut out, with as much around it as the types need. What the rules then say of the place itself, or
//! of what encloses it, may follow from the cut and is left out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{LIST_ENTRIES_MAX, check, prune_nulls};
use crate::object::{Kind, Object};
use crate::path::{Step, steps};
use crate::violation::{Cause, Violation};

/// Above this many mistakes the rest is not looked at: it is one mistake repeated, or no manifest, and each would be compared with
/// each.
const MISTAKES_MAX: usize = 100;

/// The mistakes of a document, and the places that the rules cannot judge because of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// Everything that does not fit the schema.
    pub violations: Vec<Violation>,
    /// Fields that were cut out, elements of lists among them.
    cut: Vec<String>,
    /// Fields that nothing is known of, and entries that are there already: the types take them.
    kept: Vec<String>,
    /// The elements that lists lost. An outer list stands before those inside it.
    gaps: BTreeMap<String, BTreeSet<usize>>,
}

impl Mistakes {
    /// Whether the document fits its schema.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.violations.is_empty()
    }

    /// What the rules say of the document, out of what they said of as much as could be read: in the document's own numbers, and
    /// without what only follows from one of these mistakes.
    #[must_use]
    pub fn judge(&self, violations: Vec<Violation>) -> Vec<Violation> {
        let numbered = violations.into_iter().map(|violation| Violation {
            field: self.renumber(&violation.field),
            message: self.renumber(&violation.message),
            help: self.renumber(&violation.help),
            cause: violation.cause,
        });
        numbered.filter(|found| self.leave(&found.field)).collect()
    }

    fn leave(&self, field: &str) -> bool {
        let places = || self.cut.iter().chain(&self.kept);
        !places().any(|place| is_within(place, field))
            && !self.cut.iter().any(|cut| is_within(field, cut))
    }

    /// Text with the numbers that elements have in the document. Paths in messages are written out, so they are found by their list.
    fn renumber(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (list, gaps) in &self.gaps {
            let mut out = String::new();
            let mut rest = text.as_str();
            let start = format!("{list}[");
            while let Some(at) = rest.find(&start) {
                let (before, number) = rest.split_at(at + start.len());
                out.push_str(before);
                let end = number.find(']').unwrap_or(0);
                // What a manifest says may stand in a message, too.
                let known = number[..end]
                    .parse()
                    .ok()
                    .filter(|index| *index < LIST_ENTRIES_MAX);
                let left = |index| (0..).filter(|index| !gaps.contains(index)).nth(index);
                match known.and_then(left) {
                    Some(index) => out.push_str(&index.to_string()),
                    None => out.push_str(&number[..end]),
                }
                rest = &number[end..];
            }
            out.push_str(rest);
            text = out;
        }
        text
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
    let is_readable =
        |violation: &&Violation| matches!(violation.cause, Cause::Unknown | Cause::Duplicate);
    let (kept, cut): (Vec<_>, Vec<_>) = violations.iter().partition(is_readable);
    let fields = |violations: Vec<&Violation>| -> Vec<String> {
        let fields = violations.into_iter();
        fields.map(|violation| violation.field.clone()).collect()
    };
    let (kept, mut cut) = (fields(kept), fields(cut));
    let mut gaps = BTreeMap::new();
    loop {
        cut = cut
            .iter()
            .map(|field| remove(&mut document, field, &mut gaps))
            .collect();
        let mut readable = document.clone();
        close_gaps(&mut readable);
        if let Ok(object) = Object::from_value(kind, readable) {
            let mistakes = Mistakes {
                violations,
                cut,
                kept,
                gaps,
            };
            return (Some(object), mistakes);
        }
        if cut.iter().all(String::is_empty) {
            let mistakes = Mistakes {
                violations,
                ..Mistakes::default()
            };
            return (None, mistakes);
        }
        cut = cut.iter().map(|field| parent(field).to_owned()).collect();
    }
}

/// Removes a field; an element of a list leaves a gap, so that no other element changes its number yet. Returns what was removed: the field, or where the document ends on the way to it.
fn remove(
    document: &mut Value,
    field: &str,
    gaps: &mut BTreeMap<String, BTreeSet<usize>>,
) -> String {
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
        let inner = match place {
            Value::Object(map) if is_last => {
                map.shift_remove(name);
                return next;
            }
            Value::Object(map) => map.get_mut(name),
            Value::Array(items) => {
                let index = name.parse().ok();
                if let Some(index) = index.filter(|_| is_last) {
                    gaps.entry(at.clone()).or_default().insert(index);
                }
                index.and_then(|index: usize| items.get_mut(index))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        match inner {
            Some(element) if is_last => {
                *element = Value::Null;
                return next;
            }
            Some(inner) => place = inner,
            None => return next,
        }
        at = next;
    }
    at
}

fn close_gaps(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(close_gaps),
        Value::Array(items) => {
            items.retain(|item| !item.is_null());
            items.iter_mut().for_each(close_gaps);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
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
