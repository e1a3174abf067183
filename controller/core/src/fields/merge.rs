//! Putting what a manager states over what is there, and taking fields out of a document (structured-merge-diff's
//! `typed/merge.go` and `typed/remove.go`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::set::{Element, Set};
use super::shape::{Schema, Shape};

/// `live` with everything that `stated` says. Lists that merge by their entries keep the order in which `stated` has its
/// entries, and those that only `live` has stay where they are between them.
pub(super) fn merge(schema: Schema<'_>, live: &Value, stated: &Value) -> Value {
    match (schema.shape(live), schema.shape(stated)) {
        (Shape::Members(live), Shape::Members(stated)) => {
            let mut merged = live.clone();
            for (name, value) in stated {
                let (below, _) = schema.member(name);
                let value = match live.get(name) {
                    Some(present) => merge(below, present, value),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Shape::Entries(live), Shape::Entries(stated)) => {
            Value::Array(entries(schema, live, stated))
        }
        (_, _) => stated.clone(),
    }
}

fn entries(schema: Schema<'_>, live: &[Value], stated: &[Value]) -> Vec<Value> {
    let keyed = |entries: &'_ [Value]| -> Vec<Element> {
        entries.iter().map(|entry| schema.element(entry)).collect()
    };
    let (left, right) = (keyed(live), keyed(stated));
    let live_at: BTreeMap<&Element, &Value> = left.iter().zip(live).collect();
    let is_stated: BTreeSet<&Element> = right.iter().collect();
    // Entries that both have, in the order of `stated`: one of them that comes too early in `live` waits for its turn.
    let mut shared = right
        .iter()
        .filter(|element| live_at.contains_key(element))
        .peekable();
    let mut merged = BTreeSet::new();
    let mut out = Vec::with_capacity(left.len().max(right.len()));
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let Some(element) = left.get(l) {
            if !is_stated.contains(element) {
                out.push(live[l].clone());
                l += 1;
                continue;
            }
            let out_of_turn = shared.peek().is_some_and(|next| *next != element);
            if merged.contains(element) || (r < right.len() && out_of_turn) {
                l += 1;
                continue;
            }
        }
        let Some(element) = right.get(r) else {
            l += 1;
            continue;
        };
        merged.insert(element);
        out.push(match live_at.get(element) {
            Some(present) => merge(schema.entry(), present, &stated[r]),
            None => stated[r].clone(),
        });
        r += 1;
        if shared.peek().is_some_and(|next| *next == element) {
            shared.next();
        }
    }
    out
}

/// A document without the fields of a set. Objects and lists that lose everything go with what they lost.
pub(super) fn remove(schema: Schema<'_>, value: &Value, fields: &Set) -> Option<Value> {
    match schema.shape(value) {
        Shape::Leaf => Some(value.clone()),
        Shape::Members(members) if members.is_empty() => Some(value.clone()),
        Shape::Entries([]) => Some(value.clone()),
        Shape::Members(members) => {
            let kept: Map<String, Value> = members
                .iter()
                .filter_map(|(name, value)| {
                    let (below, _) = schema.member(name);
                    let kept = keep(below, &Element::Field(name.clone()), value, fields)?;
                    Some((name.clone(), kept))
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Shape::Entries(entries) => {
            let kept = entries
                .iter()
                .filter_map(|entry| keep(schema.entry(), &schema.element(entry), entry, fields));
            let kept: Vec<Value> = kept.collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
    }
}

fn keep(schema: Schema<'_>, element: &Element, value: &Value, fields: &Set) -> Option<Value> {
    if fields.members.contains(element) {
        return None;
    }
    match fields.children.get(element) {
        Some(below) if !below.is_empty() => remove(schema, value, below),
        Some(_) | None => Some(value.clone()),
    }
}
