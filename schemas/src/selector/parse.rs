//! Label selectors as one writes them on a command line, in Kubernetes' syntax: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
//!
//! The grammar is that of kubernetes/apimachinery `pkg/labels/selector.go`, without its numeric comparisons.

use std::fmt;
use std::str::FromStr;

use crate::selector::{LabelSelector, SelectorOperator, SelectorRequirement};
use crate::structural::cut;
use crate::validate::names;

#[cfg(test)]
mod tests;

/// Why text is not a label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{selector}` is not a label selector: {reason} at `{rest}` (write it as a=b,c!=d,e in (f,g),h notin (i),j,!k)"
)]
pub struct SelectorError {
    selector: String,
    reason: String,
    rest: String,
}

impl FromStr for LabelSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut cursor = Cursor { text, rest: text };
        let mut selector = Self::default();
        if cursor.peek().is_none() {
            return Ok(selector);
        }
        loop {
            let requirement = cursor.requirement()?;
            // A second demand on one key cannot stand in the map as well.
            match (requirement.operator, requirement.values.as_slice()) {
                (SelectorOperator::In, [value])
                    if !selector.match_labels.contains_key(&requirement.key) =>
                {
                    selector
                        .match_labels
                        .insert(requirement.key.clone(), value.clone());
                }
                (
                    SelectorOperator::In
                    | SelectorOperator::NotIn
                    | SelectorOperator::Exists
                    | SelectorOperator::DoesNotExist,
                    _,
                ) => {
                    selector.match_expressions.push(requirement);
                }
            }
            match cursor.peek() {
                None => return Ok(selector),
                Some(',') => cursor.skip(1),
                Some(_) => return Err(cursor.error("a comma was expected")),
            }
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self
            .match_labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        let expressions = self.match_expressions.iter().map(|requirement| {
            let key = &requirement.key;
            let values = requirement.values.join(",");
            match requirement.operator {
                SelectorOperator::In => format!("{key} in ({values})"),
                SelectorOperator::NotIn => format!("{key} notin ({values})"),
                SelectorOperator::Exists => key.clone(),
                SelectorOperator::DoesNotExist => format!("!{key}"),
            }
        });
        f.write_str(&labels.chain(expressions).collect::<Vec<_>>().join(","))
    }
}

struct Cursor<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn error(&self, reason: impl Into<String>) -> SelectorError {
        SelectorError {
            selector: cut(self.text),
            reason: reason.into(),
            rest: if self.rest.is_empty() {
                "the end".to_owned()
            } else {
                cut(self.rest)
            },
        }
    }

    /// The next character that is not white space, which is passed over.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    /// Passes over some octets that are known to be whole characters.
    fn skip(&mut self, octets: usize) {
        self.rest = &self.rest[octets..];
    }

    fn word(&mut self) -> &'a str {
        self.peek();
        let end = self
            .rest
            .find(|c: char| {
                c.is_whitespace() || matches!(c, ',' | '=' | '!' | '(' | ')' | '<' | '>')
            })
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        self.peek();
        let before = self.rest;
        let key = self.word();
        if names::qualified(key).is_err() {
            self.rest = before;
            return Err(self.error("a label's key was expected"));
        }
        Ok(key.to_owned())
    }

    fn value(&mut self) -> Result<String, SelectorError> {
        self.peek();
        let before = self.rest;
        let value = self.word();
        if names::label_value(value).is_err() {
            self.rest = before;
            return Err(self.error("a label's value was expected"));
        }
        Ok(value.to_owned())
    }

    fn requirement(&mut self) -> Result<SelectorRequirement, SelectorError> {
        let of = |key, operator, values| {
            Ok(SelectorRequirement {
                key,
                operator,
                values,
            })
        };
        if self.peek() == Some('!') {
            self.skip(1);
            let key = self.key()?;
            return of(key, SelectorOperator::DoesNotExist, Vec::new());
        }
        let key = self.key()?;
        self.peek();
        for (sign, operator) in [
            ("==", SelectorOperator::In),
            ("=", SelectorOperator::In),
            ("!=", SelectorOperator::NotIn),
        ] {
            if self.rest.starts_with(sign) {
                self.skip(sign.len());
                let value = self.value()?;
                return of(key, operator, vec![value]);
            }
        }
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return of(key, SelectorOperator::Exists, Vec::new());
        }
        let before = self.rest;
        let operator = match self.word() {
            "in" => SelectorOperator::In,
            "notin" => SelectorOperator::NotIn,
            _ => {
                self.rest = before;
                return Err(self.error("=, ==, !=, in or notin was expected"));
            }
        };
        let values = self.values()?;
        of(key, operator, values)
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        if self.peek() != Some('(') {
            return Err(self.error("`(` was expected"));
        }
        self.skip(1);
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            match self.peek() {
                Some(',') => self.skip(1),
                Some(')') => {
                    self.skip(1);
                    return Ok(values);
                }
                Some(_) | None => return Err(self.error("`,` or `)` was expected")),
            }
        }
    }
}
