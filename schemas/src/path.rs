//! Field paths: where in an object something stands, as in `spec.networks[0].addresses[1]` or `spec.parameters[exec.start]`.
//!
//! A path is built downwards while an object is walked and printed once; the text form travels over the wire and is read
//! back to find the source line of a field. Keys of maps stand in brackets, because they may contain dots.

use std::fmt;

#[cfg(test)]
mod tests;

/// Where in an object something stands. The empty path is the object itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath(String);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A field by name: `.name`.
    Field(&'a str),
    /// An element of a list, or a key of a map: `[0]`, `[exec.start]`. Which of the two it is, only the value there can tell.
    Bracket(&'a str),
}

impl FieldPath {
    /// The path of the object itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The path of one of the object's own fields.
    #[must_use]
    pub fn new(field: &str) -> Self {
        Self(field.to_owned())
    }

    /// A field below.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        if self.0.is_empty() {
            Self(name.to_owned())
        } else {
            Self(format!("{}.{name}", self.0))
        }
    }

    /// An element of the list that stands here.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// An entry of the map that stands here.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The steps of a path in text form. Text that is no path gives the steps up to where it stops being one.
///
/// A key that itself contains `]` ends at the first bracket that is followed by another step or by the end of the path.
pub fn steps(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let Some(end) = bracket_end(inner) else { break };
            steps.push(Step::Bracket(&inner[..end]));
            rest = &inner[end + 1..];
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let end = name.find(['.', '[']).unwrap_or(name.len());
            if end == 0 {
                break;
            }
            steps.push(Step::Field(&name[..end]));
            rest = &name[end..];
        }
    }
    steps
}

fn bracket_end(inner: &str) -> Option<usize> {
    inner
        .match_indices(']')
        .map(|(at, _)| at)
        .find(|at| matches!(inner.as_bytes().get(at + 1), None | Some(b'.' | b'[')))
}
