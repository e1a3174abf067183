//! One document: which kind it is, what it says, and where each of its fields stands.

use serde_json::Value;

use crate::manifest::diagnostic::{Diagnostic, Found, Severity};
use crate::manifest::source::Span;
use crate::manifest::tree::{NodeId, NodeValue, Root};
use crate::object::{Kind, Object};
use crate::structural::{self, Mistakes, cut};
use crate::suggest;
use crate::violation::{Cause, Violation, Warning};

/// Kinds that are planned and that this release does not have.
const LATER: [&str; 2] = ["JailSet", "Event"];

/// One object as a manifest says it.
#[derive(Clone, Debug)]
pub struct Document {
    /// What was written, not defaulted, with exactly the fields that stand in the manifest.
    pub value: Value,
    /// The same in types. Not defaulted either, and without what could not be read.
    pub object: Object,
    mistakes: Mistakes,
    root: Root,
}

impl Document {
    /// The file as it was named.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.root.source.name
    }

    /// Where the document begins.
    #[must_use]
    pub fn span(&self) -> Span {
        self.locate("")
    }

    /// Where a field stands; if it does not, the nearest parent that does.
    #[must_use]
    pub fn locate(&self, field: &str) -> Span {
        self.root.tree.locate(self.root.node, field).0
    }

    /// Whether it has no mistake of form.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// What the rules say of the document, without what only follows from a mistake that was found in reading.
    pub(super) fn judge(&self, violations: Vec<Violation>) -> Vec<Violation> {
        self.mistakes.judge(violations)
    }

    /// A violation with its place: one of [`crate::validate()`]'s, or one that the server answered.
    #[must_use]
    pub fn diagnostic(&self, violation: &Violation) -> Diagnostic {
        locate_violation(&self.root, violation).with_excerpt(&self.root.source)
    }

    /// A warning with its place.
    #[must_use]
    pub fn warning(&self, warning: &Warning) -> Diagnostic {
        let violation = Violation {
            field: warning.field.clone(),
            message: warning.message.clone(),
            help: String::new(),
            cause: Cause::Invalid,
        };
        Diagnostic {
            severity: Severity::Warning,
            ..self.diagnostic(&violation)
        }
    }
}

/// Reads one root: an object, or a `List` of objects.
pub(super) fn read(root: Root, documents: &mut Vec<Document>, found: &mut Found) {
    let span = root.tree.locate(root.node, "").0;
    let NodeValue::Map(_) = root.tree.node(root.node).value else {
        let message = "a document must be an object with apiVersion, kind, metadata and spec";
        found.push(Diagnostic::error(
            &root.source,
            span,
            "",
            message,
            "begin it with `apiVersion:`; documents are separated by `---`",
        ));
        return;
    };
    match text_field(&root, "kind") {
        Some("List") => list(&root, documents, found),
        Some(name) => match Kind::from_name(name) {
            Some(kind) => object(root, kind, documents, found),
            None => found.push(unknown_kind(&root, name)),
        },
        None => {
            let names = Kind::ALL.map(Kind::as_str).join(", ");
            let message = "the field `kind` is required".to_owned();
            let place = root.tree.locate(root.node, "kind").0;
            found.push(Diagnostic::error(
                &root.source,
                place,
                "kind",
                message,
                format!("one of {names}"),
            ));
        }
    }
}

/// A top-level field that holds text; an empty one counts as absent.
fn text_field<'a>(root: &'a Root, name: &str) -> Option<&'a str> {
    let entry = root.tree.entry(root.node, name)?;
    root.tree.text(entry.value).filter(|text| !text.is_empty())
}

fn unknown_kind(root: &Root, name: &str) -> Diagnostic {
    let place = root.tree.locate(root.node, "kind").0;
    if LATER.contains(&name) {
        let message = format!("not yet realised by this release: the kind {name}");
        return Diagnostic::error(
            &root.source,
            place,
            "kind",
            message,
            "leave the document out",
        );
    }
    let names = Kind::ALL.map(Kind::as_str);
    let singular = name.strip_suffix('s').unwrap_or(name);
    let help = match suggest::nearest(singular, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("kinds: {}", names.join(", ")),
    };
    Diagnostic::error(
        &root.source,
        place,
        "kind",
        format!("unknown kind `{}`", cut(name)),
        help,
    )
}

fn list(root: &Root, documents: &mut Vec<Document>, found: &mut Found) {
    let items = root.tree.entry(root.node, "items").map(|entry| entry.value);
    let Some(NodeValue::List(items)) = items.map(|items| &root.tree.node(items).value) else {
        let place = root.tree.locate(root.node, "items").0;
        found.push(Diagnostic::error(
            &root.source,
            place,
            "items",
            "a List has its objects in `items`",
            "write `items:` and a list below it",
        ));
        return;
    };
    for item in items {
        if text_field(&at(root, *item), "kind") == Some("List") {
            let place = root.tree.locate(*item, "kind").0;
            found.push(Diagnostic::error(
                &root.source,
                place,
                "kind",
                "a List cannot stand in a List",
                "move its items out",
            ));
            continue;
        }
        read(at(root, *item), documents, found);
    }
}

fn at(root: &Root, node: NodeId) -> Root {
    Root {
        node,
        ..root.clone()
    }
}

fn object(root: Root, kind: Kind, documents: &mut Vec<Document>, found: &mut Found) {
    let value = root.tree.to_json(root.node);
    let mut violations = Vec::new();
    if text_field(&root, "apiVersion").is_none()
        && !value
            .get("apiVersion")
            .is_some_and(|found| found.is_object() || found.is_array())
    {
        violations.push(Violation {
            field: "apiVersion".to_owned(),
            message: "the field `apiVersion` is required".to_owned(),
            help: format!("write apiVersion: {}", crate::API_VERSION),
            cause: Cause::Required,
        });
    }
    let (object, mistakes) = structural::read_partly(kind, value.clone());
    violations.extend(mistakes.violations.iter().cloned());
    all(&root, &violations, found);
    if let Some(object) = object
        && (violations.is_empty() || !found.is_enough())
    {
        documents.push(Document {
            value,
            object,
            mistakes,
            root,
        });
    }
}

fn all(root: &Root, violations: &[Violation], found: &mut Found) {
    for violation in violations {
        found.push(locate_violation(root, violation));
    }
}

fn locate_violation(root: &Root, violation: &Violation) -> Diagnostic {
    let (span, raw) = root.tree.locate(root.node, &violation.field);
    // A number is quoted as it was written: `15.10`, not 15.1.
    let help = match raw {
        Some(raw) if violation.help.starts_with(structural::QUOTE_HELP) => {
            format!("{}\"{raw}\"", structural::QUOTE_HELP)
        }
        Some(_) | None => violation.help.clone(),
    };
    Diagnostic::error(
        &root.source,
        span,
        &violation.field,
        violation.message.as_str(),
        help,
    )
}
