//! Sets of fields, and their `FieldsV1` form in `metadata.managedFields`.
//!
//! The form is that of structured-merge-diff (`fieldpath/serialize.go`, `fieldpath/serialize-pe.go`): a member is an empty
//! object, a member with members below it carries `"."`, and a step is `f:<name>`, `k:<keys of a list entry>`,
//! `v:<value of a set entry>` or `i:<place>`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

/// The member that says that the object around it is in the set itself.
const SELF: &str = ".";

/// How deep a set may be nested when it is read: documents have at most 64 levels, and a set cannot be deeper than one.
const DEPTH_MAX: usize = 128;

/// One step from a value to one below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A member of an object.
    Field(String),
    /// An entry of a list that merges by keys: the keys and their values as JSON, sorted by key.
    Key(String),
    /// An entry of a set, as JSON.
    Value(String),
    /// An entry of a list by its place. Nothing of ours makes one; a stored one is kept.
    Index(usize),
}

impl Element {
    /// The entry of a list with these keys.
    pub(crate) fn key(keys: BTreeMap<&str, &Value>) -> Self {
        let sorted: Map<String, Value> = keys
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect();
        Self::Key(Value::Object(sorted).to_string())
    }

    fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest.to_owned())),
            "k" => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(rest).ok()?;
                let keys = keys.iter().map(|(name, value)| (name.as_str(), value));
                Some(Self::key(keys.collect()))
            }
            "v" => {
                let value: Value = serde_json::from_str(rest).ok()?;
                Some(Self::Value(value.to_string()))
            }
            "i" => Some(Self::Index(rest.parse().ok()?)),
            _ => None,
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(place) => format!("i:{place}"),
        }
    }
}

impl fmt::Display for Element {
    /// As structured-merge-diff prints it (`fieldpath/element.go`): `.name`, `[name="web"]`, `[="igb0"]`, `[3]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<_> = keys
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                write!(f, "[{}]", keys.join(","))
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(place) => write!(f, "[{place}]"),
        }
    }
}

/// The way from an object to one of its fields. Prints as `.spec.publish[name="web"].ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<Element>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| element.fmt(f))
    }
}

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    pub(crate) members: BTreeSet<Element>,
    pub(crate) children: BTreeMap<Element, Set>,
}

impl Set {
    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    /// Adds a field. The root itself is no field.
    pub fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// Whether a field is in it.
    #[must_use]
    pub fn contains(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.members.contains(last),
            [first, rest @ ..] => self
                .children
                .get(first)
                .is_some_and(|child| child.contains(rest)),
        }
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut children = self.children.clone();
        for (element, child) in &other.children {
            let joined = children
                .get(element)
                .map_or_else(|| child.clone(), |present| present.union(child));
            children.insert(element.clone(), joined);
        }
        Self {
            members: self.members.union(&other.members).cloned().collect(),
            children,
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(element, child)| {
            let common = child.intersection(other.children.get(element)?);
            (!common.is_empty()).then(|| (element.clone(), common))
        });
        Self {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: children.collect(),
        }
    }

    /// What is in here and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(element, child)| {
            let left = match other.children.get(element) {
                Some(other) => child.difference(other),
                None => child.clone(),
            };
            (!left.is_empty()).then(|| (element.clone(), left))
        });
        Self {
            members: self.members.difference(&other.members).cloned().collect(),
            children: children.collect(),
        }
    }

    /// Every field in it, in order.
    #[must_use]
    pub fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, above: &mut Vec<Element>, paths: &mut Vec<Path>) {
        for member in &self.members {
            let mut path = above.clone();
            path.push(member.clone());
            paths.push(Path(path));
        }
        for (element, child) in &self.children {
            above.push(element.clone());
            child.collect(above, paths);
            above.pop();
        }
    }

    /// Reads the `FieldsV1` form. None if it is no such form.
    #[must_use]
    pub fn from_fields_v1(fields: &Value) -> Option<Self> {
        Self::read(fields, DEPTH_MAX)
    }

    fn read(fields: &Value, depth: usize) -> Option<Self> {
        let mut set = Self::default();
        let depth = depth.checked_sub(1)?;
        for (text, below) in fields.as_object()? {
            if text == SELF {
                continue;
            }
            let element = Element::read(text)?;
            let members = below.as_object()?;
            if members.is_empty() || members.contains_key(SELF) {
                set.members.insert(element.clone());
            }
            let child = Self::read(below, depth)?;
            if !child.is_empty() {
                set.children.insert(element, child);
            }
        }
        Some(set)
    }

    /// The `FieldsV1` form.
    #[must_use]
    pub fn to_fields_v1(&self) -> Value {
        Value::Object(self.write(false))
    }

    fn write(&self, is_member: bool) -> Map<String, Value> {
        let mut fields = Map::new();
        if is_member {
            fields.insert(SELF.to_owned(), Value::Object(Map::new()));
        }
        let steps: BTreeSet<&Element> = self.members.iter().chain(self.children.keys()).collect();
        for element in steps {
            let below = match self.children.get(element).filter(|child| !child.is_empty()) {
                Some(child) => child.write(self.members.contains(element)),
                None if self.members.contains(element) => Map::new(),
                None => continue,
            };
            fields.insert(element.written(), Value::Object(below));
        }
        fields
    }
}
