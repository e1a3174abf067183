//! Selectors: which objects a list or a watch is about.

use std::collections::BTreeMap;

use cellblock_controller_core::events::Record;
use cellblock_controller_core::index::Entry;
use cellblock_schemas::selector::LabelSelector;
use cellblock_schemas::{Kind, Object};

use crate::status::RequestError;

/// By labels and by fields; both must match.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: LabelSelector,
    fields: Vec<Requirement>,
}

/// What one field must be, or must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    field: Field,
    is: bool,
    value: String,
}

/// The fields that can be selected by: those of every custom resource (kubernetes/apiextensions-apiserver,
/// `pkg/registry/customresource/strategy.go`, `GetAttrs`), and, as its `selectableFields`, where a jail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    /// Always empty: no kind has namespaces.
    Namespace,
    /// `spec.host`: which host a jail wants.
    WantedHost,
    /// `status.binding.host`: which host it has.
    BoundHost,
}

impl Field {
    fn of(name: &str, kind: Kind) -> Option<Self> {
        match (name, kind) {
            ("metadata.name", _) => Some(Self::Name),
            ("metadata.namespace", _) => Some(Self::Namespace),
            ("spec.host", Kind::Jail) => Some(Self::WantedHost),
            ("status.binding.host", Kind::Jail) => Some(Self::BoundHost),
            _ => None,
        }
    }

    /// What it is in an object; empty where there is none, as with Kubernetes.
    fn value(self, object: &Object) -> &str {
        let jail = || match object {
            Object::Jail(jail) => Some(jail),
            Object::Host(_) | Object::Network(_) | Object::Image(_) | Object::JailSet(_) => None,
        };
        let value = match self {
            Self::Name => Some(object.metadata().name.as_str()),
            Self::Namespace => None,
            Self::WantedHost => jail().and_then(|jail| jail.spec.host.as_deref()),
            Self::BoundHost => jail()
                .and_then(|jail| jail.status.as_ref()?.binding.as_ref())
                .map(|binding| binding.host.as_str()),
        };
        value.unwrap_or_default()
    }
}

impl Selector {
    /// Both in Kubernetes' syntax: `a=b,c in (d,e)` and `metadata.name=www`.
    ///
    /// # Errors
    /// One cannot be read, or asks for a field that the kind cannot be selected by.
    pub(crate) fn read(kind: Kind, labels: &str, fields: &str) -> Result<Self, RequestError> {
        Ok(Self {
            fields: self::fields(kind, fields)?,
            ..Self::of_labels(labels)?
        })
    }

    /// By labels alone.
    ///
    /// # Errors
    /// The selector cannot be read.
    pub(crate) fn of_labels(labels: &str) -> Result<Self, RequestError> {
        Ok(Self {
            labels: self::labels(labels)?,
            fields: Vec::new(),
        })
    }

    /// The same, of the one object of that name only.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.fields.push(Requirement {
            field: Field::Name,
            is: true,
            value: name.to_owned(),
        });
        self
    }

    /// Whether everything matches.
    pub(crate) fn is_everything(&self) -> bool {
        self.fields.is_empty() && self.labels == LabelSelector::default()
    }

    /// The one name that can match, if it is known.
    pub(crate) fn name(&self) -> Option<&str> {
        let named = self
            .fields
            .iter()
            .find(|one| one.field == Field::Name && one.is);
        named.map(|one| one.value.as_str())
    }

    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        self.matches_object(&entry.object)
    }

    pub(crate) fn matches_object(&self, object: &Object) -> bool {
        self.labels.matches(&object.metadata().labels)
            && self
                .fields
                .iter()
                .all(|one| (one.field.value(object) == one.value) == one.is)
    }
}

/// Which events a list or a watch is about. They have no labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordSelector {
    labels: LabelSelector,
    fields: Vec<(String, bool, String)>,
}

/// The fields that events can be selected by (kubernetes/kubernetes, `pkg/apis/core/v1/conversion.go`,
/// `AddFieldLabelConversionsForEvent`).
const OF_EVENTS: [&str; 13] = [
    "metadata.name",
    "metadata.namespace",
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

impl RecordSelector {
    /// Both in Kubernetes' syntax.
    ///
    /// # Errors
    /// One cannot be read, or asks for a field that events cannot be selected by.
    pub(crate) fn read(labels: &str, fields: &str) -> Result<Self, RequestError> {
        let fields = terms(fields)?;
        for (field, ..) in &fields {
            if !OF_EVENTS.contains(&field.as_str()) {
                return Err(RequestError::Malformed(format!(
                    "field label not supported: {field}; events are selected by {}",
                    OF_EVENTS.join(", ")
                )));
            }
        }
        let labels = self::labels(labels)?;
        Ok(Self { labels, fields })
    }

    /// The same, of those only whose field is that.
    pub(crate) fn with(mut self, field: &str, value: &str) -> Self {
        self.fields.push((field.to_owned(), true, value.to_owned()));
        self
    }

    /// The one object that they are about, if it is known.
    pub(crate) fn uid(&self) -> Option<&str> {
        let mut uids = self
            .fields
            .iter()
            .filter(|(field, is, _)| *is && field == "involvedObject.uid");
        uids.next().map(|(.., uid)| uid.as_str())
    }

    pub(crate) fn matches(&self, record: &Record) -> bool {
        self.labels.matches(&BTreeMap::new())
            && self
                .fields
                .iter()
                .all(|(field, is, value)| (record.field(field) == value) == *is)
    }
}

fn labels(text: &str) -> Result<LabelSelector, RequestError> {
    text.parse().map_err(|error| {
        RequestError::Malformed(format!("the label selector cannot be read: {error}"))
    })
}

fn fields(kind: Kind, text: &str) -> Result<Vec<Requirement>, RequestError> {
    let terms = terms(text)?.into_iter().map(|(name, is, value)| {
        let Some(field) = Field::of(&name, kind) else {
            let known = match kind {
                Kind::Jail => "metadata.name, spec.host, status.binding.host",
                Kind::Host | Kind::Network | Kind::Image | Kind::JailSet => "metadata.name",
            };
            return Err(RequestError::Malformed(format!(
                "field label not supported: {name}; a {kind} is selected by {known}, or by its labels"
            )));
        };
        Ok(Requirement { field, is, value })
    });
    terms.collect()
}

/// Reads a field selector as kubernetes/apimachinery's `pkg/fields/selector.go`: requirements by `=`, `==` or `!=`, between
/// commas; a backslash makes the character behind it a part of the value.
fn terms(text: &str) -> Result<Vec<(String, bool, String)>, RequestError> {
    let malformed = |what: String| {
        RequestError::Malformed(format!("the field selector cannot be read: {what}"))
    };
    let mut terms = Vec::new();
    for term in split(text) {
        if term.is_empty() {
            continue;
        }
        let (name, is, value) = if let Some((name, value)) = term.split_once("!=") {
            (name, false, value)
        } else if let Some((name, value)) = term.split_once("==") {
            (name, true, value)
        } else if let Some((name, value)) = term.split_once('=') {
            (name, true, value)
        } else {
            return Err(malformed(format!("`{term}` is no `field=value`")));
        };
        let value = unescaped(value).ok_or_else(|| {
            malformed(format!("`{value}` has a character that needs a backslash"))
        })?;
        terms.push((name.to_owned(), is, value));
    }
    Ok(terms)
}

fn split(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        if character == ',' && !escaped {
            terms.push(String::new());
            continue;
        }
        escaped = character == '\\' && !escaped;
        if let Some(term) = terms.last_mut() {
            term.push(character);
        }
    }
    terms
}

fn unescaped(value: &str) -> Option<String> {
    let mut out = String::new();
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.push(
                characters
                    .next()
                    .filter(|c| matches!(c, '\\' | ',' | '='))?,
            ),
            ',' | '=' => return None,
            other => out.push(other),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests;
