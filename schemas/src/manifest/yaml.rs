//! From YAML's events to trees: one root per document, mistakes on the way.
//!
//! A syntax error ends its document only: reading goes on at the next line that begins with `---`, so that the mistakes of
//! the other documents are told in the same run.

use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use crate::manifest::diagnostic::{Diagnostic, Found};
use crate::manifest::scalar::{self, Scalar};
use crate::manifest::source::{Source, Span};
use crate::manifest::tree::{Entry, NodeId, NodeValue, Root, Tree};
use crate::manifest::{MANIFEST_DEPTH_MAX, MANIFEST_VALUES_MAX};
use crate::structural::cut;

/// Octets of a text that an alias copies, so that the copy has a place of its own. Longer texts are shared.
const COPIED_BYTES_MAX: usize = 64;

/// Reads all documents of a source. Empty ones are passed over.
pub(super) fn read(source: &Arc<Source>, found: &mut Found) -> Vec<Root> {
    let mut roots = Vec::new();
    let mut first_line = 1;
    let mut values = 0u64;
    while first_line <= source.lines() {
        let mut stream = Stream::new(source, first_line);
        let failed = stream.run(found);
        let tree = Arc::new(stream.tree);
        for node in stream.roots {
            let size = tree.node(node).size;
            values = values.saturating_add(size);
            if values > MANIFEST_VALUES_MAX {
                let message = format!(
                    "the file has more than {MANIFEST_VALUES_MAX} values once its aliases are written out"
                );
                found.push(Diagnostic::error(
                    source,
                    tree.node(node).span,
                    "",
                    message,
                    "write the values out, or split the file",
                ));
                return Vec::new();
            }
            if tree.node(node).depth > MANIFEST_DEPTH_MAX {
                found.push(too_deep(source, tree.node(node).span));
                continue;
            }
            roots.push(Root {
                source: Arc::clone(source),
                tree: Arc::clone(&tree),
                node,
            });
        }
        // The document before the error began at this line or later; the next begins behind it.
        match failed.and_then(|line| source.next_document(line)) {
            Some(next) => first_line = next,
            None => break,
        }
    }
    roots
}

fn too_deep(source: &Source, span: Span) -> Diagnostic {
    let message = format!("the document is nested deeper than {MANIFEST_DEPTH_MAX} levels");
    Diagnostic::error(
        source,
        span,
        "",
        message,
        "no object of Cellblock is nested that deep",
    )
}

/// A collection that is still open.
enum Frame {
    List {
        span: Span,
        anchor: usize,
        items: Vec<NodeId>,
    },
    Map {
        span: Span,
        anchor: usize,
        entries: Vec<Entry>,
        keys: BTreeMap<String, usize>,
        /// The key whose value comes next.
        key: Option<(String, Span)>,
        merged: Vec<(NodeId, Span)>,
    },
}

/// One run of the parser, from some line to the end or to a syntax error.
struct Stream<'a> {
    source: &'a Arc<Source>,
    /// The line of the text's first line, less one.
    lines_before: usize,
    tree: Tree,
    roots: Vec<NodeId>,
    stack: Vec<Frame>,
    anchors: BTreeMap<usize, NodeId>,
    /// The line at which the current document began.
    document_line: usize,
    /// Nodes added since the start: a bound against text that is nothing but commas.
    count: u64,
}

impl<'a> Stream<'a> {
    fn new(source: &'a Arc<Source>, first_line: usize) -> Self {
        Self {
            source,
            lines_before: first_line - 1,
            tree: Tree::default(),
            roots: Vec::new(),
            stack: Vec::new(),
            anchors: BTreeMap::new(),
            document_line: first_line,
            count: 0,
        }
    }

    /// Reads until the end, or to a mistake that ends a document: then the line at which that document began.
    fn run(&mut self, found: &mut Found) -> Option<usize> {
        let source = Arc::clone(self.source);
        let text = &source.text[source.start(self.lines_before + 1)..];
        let mut parser = Parser::new_from_str(text);
        while let Some(next) = parser.next_event() {
            match next {
                Ok((event, span)) => {
                    let span = self.span(span.start, span.end);
                    if let Err(diagnostic) = self.event(event, span, found) {
                        found.push(*diagnostic);
                        return Some(self.document_line);
                    }
                }
                Err(error) => {
                    let at = self.span(*error.marker(), *error.marker());
                    found.push(self.syntax(at, error.info()));
                    return Some(self.document_line);
                }
            }
        }
        None
    }

    /// A stretch of the first line of what the parser marks.
    fn span(&self, start: Marker, end: Marker) -> Span {
        let line = (start.line() + self.lines_before).clamp(1, self.source.lines());
        let rest = || {
            self.source
                .line(line)
                .chars()
                .count()
                .saturating_sub(start.col())
        };
        let length = if end.line() == start.line() {
            end.col().saturating_sub(start.col())
        } else {
            rest()
        };
        Span {
            line,
            column: start.col() + 1,
            length: length.max(1),
        }
    }

    fn syntax(&self, span: Span, info: &str) -> Diagnostic {
        let line = self.source.line(span.line);
        let indent = &line[..line.len() - line.trim_start().len()];
        let help = if indent.contains('\t') {
            "YAML indents with spaces: replace the tab"
        } else if line
            .trim_start()
            .starts_with(['@', '`', '%', '*', '&', '!'])
        {
            "a value that begins with this character stands in quotes"
        } else {
            "check the indentation, the quotes and the brackets of this line and the one before"
        };
        Diagnostic::error(
            self.source,
            span,
            "",
            format!("this is not YAML: {info}"),
            help,
        )
    }

    fn error(&self, span: Span, message: impl Into<String>, help: &str) -> Diagnostic {
        Diagnostic::error(self.source, span, "", message, help)
    }

    fn event(
        &mut self,
        event: Event<'_>,
        span: Span,
        found: &mut Found,
    ) -> Result<(), Box<Diagnostic>> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.document_line = span.line;
                self.stack.clear();
                self.anchors.clear();
            }
            Event::Alias(anchor) => self.alias(anchor, span, found)?,
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), span, found)?
            }
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", span, found);
                self.open(
                    Frame::List {
                        span,
                        anchor,
                        items: Vec::new(),
                    },
                    span,
                )?;
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", span, found);
                let frame = Frame::Map {
                    span,
                    anchor,
                    entries: Vec::new(),
                    keys: BTreeMap::new(),
                    key: None,
                    merged: Vec::new(),
                };
                self.open(frame, span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(found)?,
        }
        Ok(())
    }

    fn open(&mut self, frame: Frame, span: Span) -> Result<(), Box<Diagnostic>> {
        if self.stack.len() >= MANIFEST_DEPTH_MAX as usize {
            return Err(Box::new(too_deep(self.source, span)));
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self, found: &mut Found) -> Result<(), Box<Diagnostic>> {
        match self.stack.pop() {
            Some(Frame::List {
                span,
                anchor,
                items,
            }) => self.complete(span, NodeValue::List(items), anchor, found),
            Some(Frame::Map {
                span,
                anchor,
                mut entries,
                mut keys,
                merged,
                key: _,
            }) => {
                for (node, place) in merged {
                    self.merge(node, place, &mut entries, &mut keys, found);
                }
                self.complete(span, NodeValue::Map(entries), anchor, found)
            }
            None => Ok(()),
        }
    }

    /// Adds a value to the tree and to what is open.
    fn complete(
        &mut self,
        span: Span,
        value: NodeValue,
        anchor: usize,
        found: &mut Found,
    ) -> Result<(), Box<Diagnostic>> {
        self.count += 1;
        if self.count > MANIFEST_VALUES_MAX {
            let message = format!("the file has more than {MANIFEST_VALUES_MAX} values");
            return Err(Box::new(self.error(
                span,
                message,
                "split it into several files",
            )));
        }
        let node = self.tree.add(span, value);
        if anchor != 0 {
            self.anchors.insert(anchor, node);
        }
        self.place(node, span, found);
        Ok(())
    }

    /// Puts a value where the innermost open collection wants the next one.
    fn place(&mut self, node: NodeId, span: Span, found: &mut Found) {
        let as_key = self.tree.text(node).map(str::to_owned);
        let is_root_of_document = self.stack.is_empty();
        match self.stack.last_mut() {
            None => {}
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map {
                entries,
                keys,
                key,
                merged,
                ..
            }) => match key.take() {
                Some((name, place)) if name == "<<" => merged.push((node, place)),
                Some((name, place)) => {
                    if let Some(first) = keys.get(&name) {
                        let line = entries[*first].span.line;
                        let message = format!(
                            "the key `{}` is given twice, first in line {line}",
                            cut(&name)
                        );
                        found.push(Diagnostic::error(
                            self.source,
                            place,
                            "",
                            message,
                            "remove one of the two: YAML knows no order between them",
                        ));
                    } else {
                        keys.insert(name.clone(), entries.len());
                        entries.push(Entry {
                            key: name,
                            span: place,
                            value: node,
                        });
                    }
                }
                None => {
                    let name = as_key.unwrap_or_else(|| {
                        found.push(Diagnostic::error(
                            self.source,
                            span,
                            "",
                            "a key must be a plain word",
                            "write `name: value`",
                        ));
                        // A name that no second key has, so that the one mistake is not told twice.
                        format!("key {}:{}", span.line, span.column)
                    });
                    *key = Some((name, span));
                }
            },
        }
        if is_root_of_document && !matches!(self.tree.node(node).value, NodeValue::Null) {
            self.roots.push(node);
        }
    }

    /// YAML 1.1's `<<`: entries of other maps, where the map has none of its own by that key.
    fn merge(
        &self,
        node: NodeId,
        place: Span,
        entries: &mut Vec<Entry>,
        keys: &mut BTreeMap<String, usize>,
        found: &mut Found,
    ) {
        let sources = match &self.tree.node(node).value {
            NodeValue::List(items) => items.clone(),
            NodeValue::Map(_)
            | NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Number(..)
            | NodeValue::Text(_) => vec![node],
        };
        for source in sources {
            let NodeValue::Map(others) = &self.tree.node(source).value else {
                found.push(self.error(
                    place,
                    "`<<` takes a map, or a list of maps",
                    "write `<<: *name`, where `&name` marks a map",
                ));
                continue;
            };
            for entry in others {
                if !keys.contains_key(&entry.key) {
                    keys.insert(entry.key.clone(), entries.len());
                    entries.push(entry.clone());
                }
            }
        }
    }

    fn alias(
        &mut self,
        anchor: usize,
        span: Span,
        found: &mut Found,
    ) -> Result<(), Box<Diagnostic>> {
        let Some(node) = self.anchors.get(&anchor).copied() else {
            return Err(Box::new(self.error(
                span,
                "the alias refers to itself or to nothing",
                "mark the value with `&name` before it is used",
            )));
        };
        // A word that is used again stands where it is used; what is larger stands where it was written.
        let copy = match &self.tree.node(node).value {
            NodeValue::Null => Some(NodeValue::Null),
            NodeValue::Bool(flag) => Some(NodeValue::Bool(*flag)),
            NodeValue::Number(number, raw) => Some(NodeValue::Number(number.clone(), raw.clone())),
            NodeValue::Text(text) if text.len() <= COPIED_BYTES_MAX => {
                Some(NodeValue::Text(text.clone()))
            }
            NodeValue::Text(_) | NodeValue::List(_) | NodeValue::Map(_) => None,
        };
        match copy {
            Some(value) => self.complete(span, value, 0, found)?,
            None => self.place(node, span, found),
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
        found: &mut Found,
    ) -> Result<(), Box<Diagnostic>> {
        if matches!(self.stack.last(), Some(Frame::Map { key: None, .. })) {
            // A key is its text, whatever that would mean as a value.
            return self.complete(span, NodeValue::Text(text.to_owned()), anchor, found);
        }
        let meaning = match tag {
            None if style == ScalarStyle::Plain => scalar::plain(text),
            None => Scalar::Text,
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Scalar::Text,
            Some(tag)
                if tag.is_yaml_core_schema()
                    && matches!(tag.suffix.as_str(), "int" | "float" | "bool" | "null") =>
            {
                scalar::plain(text)
            }
            Some(tag) => {
                found.push(self.tag(tag, span));
                Scalar::Text
            }
        };
        let value = match meaning {
            Scalar::Null => NodeValue::Null,
            Scalar::Bool(flag) => NodeValue::Bool(flag),
            Scalar::Number(number) => NodeValue::Number(number, text.to_owned()),
            Scalar::Text => NodeValue::Text(text.to_owned()),
            Scalar::Ambiguous => {
                let message = format!(
                    "`{}` has leading zeros, which YAML 1.1 reads as octal and YAML 1.2 as decimal",
                    cut(text)
                );
                found.push(self.error(
                    span,
                    message,
                    "write it without them, or in quotes if it is text",
                ));
                // As text it gives rise to the fewest further mistakes.
                NodeValue::Text(text.to_owned())
            }
        };
        self.complete(span, value, anchor, found)
    }

    fn collection_tag(&self, tag: Option<&Tag>, suffix: &str, span: Span, found: &mut Found) {
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == suffix)
        {
            found.push(self.tag(tag, span));
        }
    }

    fn tag(&self, tag: &Tag, span: Span) -> Diagnostic {
        self.error(
            span,
            format!("the tag `{}` is not known", cut(&tag.to_string())),
            "remove it",
        )
    }
}
