//! What differs between two states of an object, field by field (structured-merge-diff's `typed/compare.go`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::set::{Element, Set};
use super::shape::{Schema, Shape};

/// What differs. No field is in more than one of the three sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Fields that only the newer state has.
    pub(super) added: Set,
    /// Fields that both have, and that differ.
    pub(super) modified: Set,
    /// Fields that only the older state has.
    pub(super) removed: Set,
}

impl Comparison {
    /// Compares two states.
    pub(super) fn of(schema: Schema<'_>, before: &Value, after: &Value) -> Self {
        let mut comparison = Self::default();
        comparison.descend(schema, Some(before), Some(after), &mut Vec::new());
        comparison
    }

    fn descend(
        &mut self,
        schema: Schema<'_>,
        before: Option<&Value>,
        after: Option<&Value>,
        path: &mut Vec<Element>,
    ) {
        let was = before.map(|value| schema.shape(value));
        let is = after.map(|value| schema.shape(value));
        let no_members = Map::new();
        let is_leaf = match (was, is) {
            (Some(Shape::Members(was)), Some(Shape::Members(is))) => {
                self.members(schema, was, is, path)
            }
            (Some(Shape::Members(was)), None) => self.members(schema, was, &no_members, path),
            (None, Some(Shape::Members(is))) => self.members(schema, &no_members, is, path),
            (Some(Shape::Entries(was)), Some(Shape::Entries(is))) => {
                self.entries(schema, was, is, path)
            }
            (Some(Shape::Entries(was)), None) => self.entries(schema, was, &[], path),
            (None, Some(Shape::Entries(is))) => self.entries(schema, &[], is, path),
            // A leaf, or something that is now put together in another way.
            (Some(_), _) | (None, Some(Shape::Leaf)) => true,
            (None, None) => return,
        };
        match (before, after) {
            (None, Some(_)) => self.added.insert(path),
            (Some(_), None) => self.removed.insert(path),
            (Some(before), Some(after)) if is_leaf && before != after => {
                self.modified.insert(path);
            }
            (_, _) => {}
        }
    }

    /// Goes through members. True if there are none on either side: then the object is like a leaf, so that an empty one is
    /// something else than none.
    fn members(
        &mut self,
        schema: Schema<'_>,
        was: &Map<String, Value>,
        is: &Map<String, Value>,
        path: &mut Vec<Element>,
    ) -> bool {
        let mut names: Vec<&String> = was.keys().chain(is.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for name in &names {
            path.push(Element::Field((*name).clone()));
            let (below, _) = schema.member(name);
            self.descend(below, was.get(*name), is.get(*name), path);
            path.pop();
        }
        names.is_empty()
    }

    fn entries(
        &mut self,
        schema: Schema<'_>,
        was: &[Value],
        is: &[Value],
        path: &mut Vec<Element>,
    ) -> bool {
        let mut both: BTreeMap<Element, (Option<&Value>, Option<&Value>)> = BTreeMap::new();
        for entry in was {
            both.entry(schema.element(entry)).or_default().0 = Some(entry);
        }
        for entry in is {
            both.entry(schema.element(entry)).or_default().1 = Some(entry);
        }
        let is_empty = both.is_empty();
        for (element, (was, is)) in both {
            path.push(element);
            self.descend(schema.entry(), was, is, path);
            path.pop();
        }
        is_empty
    }
}
