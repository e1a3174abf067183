//! What validation finds: a field, what is wrong there, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::path::FieldPath;

/// One thing that is wrong with an object. Validation returns all of them at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Where, as in `spec.networks[0].addresses[1]`; empty for the object as a whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do; empty where the message says it already.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if !self.help.is_empty() {
            write!(f, " ({})", self.help)?;
        }
        Ok(())
    }
}

/// Something that works as written, but that a careful operator would want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Where; empty for the object as a whole.
    pub field: String,
    /// What to know, with the reason and the better way.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Collects violations while an object is walked.
#[derive(Debug, Default)]
pub(crate) struct Findings(pub(crate) Vec<Violation>);

impl Findings {
    /// Adds one violation.
    pub(crate) fn add(
        &mut self,
        field: &FieldPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.0.push(Violation {
            field: field.as_str().to_owned(),
            message: message.into(),
            help: help.into(),
        });
    }

    /// Adds one violation if a check failed.
    pub(crate) fn check(&mut self, field: &FieldPath, result: Result<(), Refusal>) {
        if let Err(refusal) = result {
            self.add(field, refusal.message, refusal.help);
        }
    }
}

/// Why one value was refused, before it is known in which field it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: String,
}

impl Refusal {
    /// A refusal.
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
        }
    }
}
