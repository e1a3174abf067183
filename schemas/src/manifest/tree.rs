//! The tree of a YAML stream: every value with its place. Aliases share nodes, so that the tree is never larger than the
//! text; each node knows how large and deep it would be written out, so that nothing is written out before it is known to fit.

use std::sync::Arc;

use serde_json::{Map, Number, Value};

use crate::manifest::source::{Source, Span};
use crate::path::{self, Step};

/// A node of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(usize);

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: NodeValue,
    /// Values in it and below, aliases written out; a long text counts as several.
    pub(super) size: u64,
    /// Levels in it and below, aliases written out.
    pub(super) depth: u32,
}

/// A value.
#[derive(Debug)]
pub(super) enum NodeValue {
    Null,
    Bool(bool),
    /// A number and how it was written.
    Number(Number, String),
    Text(String),
    List(Vec<NodeId>),
    Map(Vec<Entry>),
}

/// One entry of a map.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) span: Span,
    pub(super) value: NodeId,
}

/// All nodes of one stream.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

/// The root of one document.
#[derive(Clone, Debug)]
pub(super) struct Root {
    pub(super) source: Arc<Source>,
    pub(super) tree: Arc<Tree>,
    pub(super) node: NodeId,
}

impl Tree {
    /// Adds a node whose children are there already.
    pub(super) fn add(&mut self, span: Span, value: NodeValue) -> NodeId {
        let children: Vec<NodeId> = match &value {
            NodeValue::List(items) => items.clone(),
            NodeValue::Map(entries) => entries.iter().map(|entry| entry.value).collect(),
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(..) | NodeValue::Text(_) => {
                Vec::new()
            }
        };
        let own = match &value {
            NodeValue::Text(text) => weight(text),
            NodeValue::Map(entries) => entries.iter().map(|entry| weight(&entry.key)).sum(),
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(..) | NodeValue::List(_) => 0,
        };
        let size = children.iter().fold(own.saturating_add(1), |size, child| {
            size.saturating_add(self.node(*child).size)
        });
        let depth = children
            .iter()
            .map(|child| self.node(*child).depth)
            .max()
            .unwrap_or(0)
            .saturating_add(1);
        self.nodes.push(Node {
            span,
            value,
            size,
            depth,
        });
        NodeId(self.nodes.len() - 1)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The entry of a map by key.
    pub(super) fn entry(&self, id: NodeId, key: &str) -> Option<&Entry> {
        match &self.node(id).value {
            NodeValue::Map(entries) => entries.iter().find(|entry| entry.key == key),
            NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Number(..)
            | NodeValue::Text(_)
            | NodeValue::List(_) => None,
        }
    }

    /// The text of a scalar.
    pub(super) fn text(&self, id: NodeId) -> Option<&str> {
        match &self.node(id).value {
            NodeValue::Text(text) | NodeValue::Number(_, text) => Some(text),
            NodeValue::Bool(true) => Some("true"),
            NodeValue::Bool(false) => Some("false"),
            NodeValue::Null | NodeValue::List(_) | NodeValue::Map(_) => None,
        }
    }

    /// The JSON value, aliases written out. The caller has looked at `size` and `depth`.
    pub(super) fn to_json(&self, id: NodeId) -> Value {
        match &self.node(id).value {
            NodeValue::Null => Value::Null,
            NodeValue::Bool(flag) => Value::Bool(*flag),
            NodeValue::Number(number, _) => Value::Number(number.clone()),
            NodeValue::Text(text) => Value::String(text.clone()),
            NodeValue::List(items) => items.iter().map(|item| self.to_json(*item)).collect(),
            NodeValue::Map(entries) => {
                let map: Map<String, Value> = entries
                    .iter()
                    .map(|entry| (entry.key.clone(), self.to_json(entry.value)))
                    .collect();
                Value::Object(map)
            }
        }
    }

    /// The place of a field below a node: the field and its value where both stand on one line, else the field's name. Of a
    /// field that is not there, the nearest parent that is. The number as written comes along where one stands there.
    pub(super) fn locate(&self, root: NodeId, field: &str) -> (Span, Option<&str>) {
        let mut at = root;
        let mut span = self.head(root);
        let mut complete = true;
        for step in path::steps(field) {
            let (Step::Field(name) | Step::Bracket(name)) = step;
            let next = match &self.node(at).value {
                NodeValue::Map(entries) => entries
                    .iter()
                    .find(|entry| entry.key == name)
                    .map(|entry| (self.entry_span(entry), entry.value)),
                NodeValue::List(items) => name
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .map(|item| (self.head(*item), *item)),
                NodeValue::Null
                | NodeValue::Bool(_)
                | NodeValue::Number(..)
                | NodeValue::Text(_) => None,
            };
            let Some((place, node)) = next else {
                complete = false;
                break;
            };
            (span, at) = (place, node);
        }
        let raw = match &self.node(at).value {
            NodeValue::Number(_, raw) if complete => Some(raw.as_str()),
            NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Number(..)
            | NodeValue::Text(_)
            | NodeValue::List(_)
            | NodeValue::Map(_) => None,
        };
        (span, raw)
    }

    /// The place where a value begins; of a map its first key.
    fn head(&self, id: NodeId) -> Span {
        let node = self.node(id);
        match &node.value {
            NodeValue::Map(entries) => entries.first().map_or(node.span, |entry| entry.span),
            NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Number(..)
            | NodeValue::Text(_)
            | NodeValue::List(_) => node.span,
        }
    }

    fn entry_span(&self, entry: &Entry) -> Span {
        let value = self.node(entry.value);
        let scalar = value.depth == 1
            && !matches!(
                value.value,
                NodeValue::List(_) | NodeValue::Map(_) | NodeValue::Null
            );
        let end = value.span.column + value.span.length;
        if scalar && value.span.line == entry.span.line && value.span.column > entry.span.column {
            Span {
                length: end - entry.span.column,
                ..entry.span
            }
        } else {
            entry.span
        }
    }
}

/// What a text counts beside the value that it is: memory that aliases could multiply.
fn weight(text: &str) -> u64 {
    text.len() as u64 / 32
}
