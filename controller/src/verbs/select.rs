//! Selectors: which objects a list or a watch is about.

use cellblock_controller_core::index::Entry;
use cellblock_schemas::Object;
use cellblock_schemas::selector::LabelSelector;

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
/// `pkg/registry/customresource/strategy.go`, `GetAttrs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    /// Always empty: no kind has namespaces.
    Namespace,
}

impl Selector {
    /// Both in Kubernetes' syntax: `a=b,c in (d,e)` and `metadata.name=www`.
    ///
    /// # Errors
    /// One cannot be read, or asks for a field that cannot be selected by.
    pub(crate) fn read(labels: &str, fields: &str) -> Result<Self, RequestError> {
        Ok(Self {
            labels: labels.parse().map_err(|error| {
                RequestError::Malformed(format!("the label selector cannot be read: {error}"))
            })?,
            fields: self::fields(fields)?,
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
        let metadata = object.metadata();
        self.labels.matches(&metadata.labels)
            && self.fields.iter().all(|one| {
                let is = match one.field {
                    Field::Name => metadata.name == one.value,
                    Field::Namespace => one.value.is_empty(),
                };
                is == one.is
            })
    }
}

/// Reads a field selector as kubernetes/apimachinery's `pkg/fields/selector.go`: requirements by `=`, `==` or `!=`, between
/// commas; a backslash makes the character behind it a part of the value.
fn fields(text: &str) -> Result<Vec<Requirement>, RequestError> {
    let malformed = |what: String| {
        RequestError::Malformed(format!("the field selector cannot be read: {what}"))
    };
    let mut requirements = Vec::new();
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
        let field = match name {
            "metadata.name" => Field::Name,
            "metadata.namespace" => Field::Namespace,
            _ => {
                return Err(RequestError::Malformed(format!(
                    "field label not supported: {name}; objects are selected by metadata.name, or by their labels"
                )));
            }
        };
        let value = unescaped(value).ok_or_else(|| {
            malformed(format!("`{value}` has a character that needs a backslash"))
        })?;
        requirements.push(Requirement { field, is, value });
    }
    Ok(requirements)
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
