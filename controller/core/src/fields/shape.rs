//! How values merge, as the kinds' schemas say it: `x-kubernetes-list-type`, `x-kubernetes-list-map-keys`,
//! `x-kubernetes-map-type`. What no schema knows merges as structured-merge-diff deduces it: objects by their members, lists
//! as a whole.

use std::collections::BTreeMap;

use cellblock_schemas::{Kind, json_schema};
use serde_json::{Map, Value};

use super::set::{Element, Set};

/// A place in a kind's schema.
#[derive(Clone, Copy)]
pub(super) struct Schema<'a> {
    root: &'a Value,
    node: Option<&'a Value>,
}

/// How one value is put together.
pub(super) enum Shape<'a> {
    /// A scalar, or something that has one owner as a whole.
    Leaf,
    /// An object, by its members.
    Members(&'a Map<String, Value>),
    /// A list, by its entries.
    Entries(&'a [Value]),
}

impl<'a> Schema<'a> {
    /// The schema of a kind.
    pub(super) fn of(kind: Kind) -> Schema<'static> {
        let root = json_schema(kind);
        Schema {
            root,
            node: Some(root),
        }
    }

    fn at(self, mut node: Option<&'a Value>) -> Self {
        while let Some(reference) = node
            .and_then(|node| node.get("$ref"))
            .and_then(Value::as_str)
        {
            node = self.root.pointer(reference.trim_start_matches('#'));
        }
        Self {
            root: self.root,
            node,
        }
    }

    fn word(self, name: &str) -> Option<&'a str> {
        self.node?.get(name)?.as_str()
    }

    /// How a value in this place is put together.
    pub(super) fn shape<'v>(self, value: &'v Value) -> Shape<'v> {
        match value {
            Value::Object(_) if self.word("x-kubernetes-map-type") == Some("atomic") => Shape::Leaf,
            Value::Object(members) => Shape::Members(members),
            Value::Array(entries) => match self.word("x-kubernetes-list-type") {
                Some("set" | "map") => Shape::Entries(entries),
                Some(_) | None => Shape::Leaf,
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Shape::Leaf,
        }
    }

    /// The place of a member, and whether the schema names it (rather than allowing any name).
    pub(super) fn member(self, name: &str) -> (Self, bool) {
        let named = self
            .node
            .and_then(|node| node.get("properties"))
            .and_then(|properties| properties.get(name));
        let any = || self.node.and_then(|node| node.get("additionalProperties"));
        (self.at(named.or_else(any)), named.is_some())
    }

    /// The place of an entry.
    pub(super) fn entry(self) -> Self {
        self.at(self.node.and_then(|node| node.get("items")))
    }

    /// What tells an entry from the others of its list. An entry that lacks a key is told by the keys it has.
    pub(super) fn element(self, entry: &Value) -> Element {
        match self.word("x-kubernetes-list-type") {
            Some("map") => {
                let keys = self
                    .node
                    .and_then(|node| node.get("x-kubernetes-list-map-keys"));
                let keys = keys.and_then(Value::as_array).into_iter().flatten();
                let keys: BTreeMap<&str, &Value> = keys
                    .filter_map(|key| Some((key.as_str()?, entry.get(key.as_str()?)?)))
                    .collect();
                Element::key(keys)
            }
            Some(_) | None => Element::Value(entry.to_string()),
        }
    }

    /// The place that a step leads to.
    fn step(self, element: &Element) -> (Self, bool) {
        match element {
            Element::Field(name) => self.member(name),
            Element::Key(_) | Element::Value(_) | Element::Index(_) => (self.entry(), false),
        }
    }

    /// A set with the named members above its fields added, which sets usually leave out
    /// (structured-merge-diff's `EnsureNamedFieldsAreMembers`).
    pub(super) fn with_named(self, set: &Set) -> Set {
        let mut members = set.members.clone();
        let mut children = BTreeMap::new();
        for (element, child) in &set.children {
            let (below, named) = self.step(element);
            if named {
                members.insert(element.clone());
            }
            children.insert(element.clone(), below.with_named(child));
        }
        Set { members, children }
    }

    /// The fields that a document states (structured-merge-diff's `ToFieldSet`).
    pub(super) fn fields(self, value: &Value) -> Set {
        let mut set = Set::default();
        match self.shape(value) {
            Shape::Leaf => {}
            Shape::Members(members) => {
                for (name, value) in members {
                    let (below, named) = self.member(name);
                    let empty = value.as_object().is_some_and(Map::is_empty);
                    let element = Element::Field(name.clone());
                    self.state(&mut set, below, element, value, !named || empty);
                }
            }
            Shape::Entries(entries) => {
                for entry in entries {
                    self.state(&mut set, self.entry(), self.element(entry), entry, true);
                }
            }
        }
        set
    }

    fn state(self, set: &mut Set, below: Self, element: Element, value: &Value, is_member: bool) {
        let is_leaf = matches!(below.shape(value), Shape::Leaf);
        if is_leaf || is_member {
            set.members.insert(element.clone());
        }
        let child = below.fields(value);
        if !child.is_empty() {
            set.children.insert(element, child);
        }
    }
}
