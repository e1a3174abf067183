//! What validation finds: a field, what is wrong there, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::path::FieldPath;

/// Of what sort something wrong is, as Kubernetes' `CauseType` has it (apimachinery, `pkg/apis/meta/v1/types.go`), after its own
/// rules: what is taken by somebody else or cannot change is `Invalid` there as well (`ValidateImmutableField`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The value breaks a rule.
    #[default]
    Invalid,
    /// A value must be there.
    Required,
    /// The value is there already, where each may be there once.
    Duplicate,
    /// What the value names is not there.
    NotFound,
    /// The value is none of those that are known.
    NotSupported,
    /// The value is well-formed, and may not be given here or now.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// There are too many values.
    TooMany,
    /// The value is of another type.
    TypeInvalid,
    /// The kind has no such field. Kubernetes tells that of the whole document, and has no cause for it.
    Unknown,
}

impl Cause {
    /// The name in a `Status`' causes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid | Self::Unknown => "FieldValueInvalid",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    fn is_invalid(&self) -> bool {
        *self == Self::Invalid
    }
}

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
    /// Of what sort it is.
    #[serde(default, skip_serializing_if = "Cause::is_invalid")]
    pub cause: Cause,
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
        self.add_as(Cause::Invalid, field, message, help);
    }

    /// Adds one violation of that sort.
    pub(crate) fn add_as(
        &mut self,
        cause: Cause,
        field: &FieldPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.0.push(Violation {
            field: field.as_str().to_owned(),
            message: message.into(),
            help: help.into(),
            cause,
        });
    }

    /// Adds one violation if a check failed.
    pub(crate) fn check(&mut self, field: &FieldPath, result: Result<(), Refusal>) {
        if let Err(refusal) = result {
            self.add_as(refusal.cause, field, refusal.message, refusal.help);
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
    /// Of what sort it is.
    pub(crate) cause: Cause,
}

impl Refusal {
    /// A refusal.
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
            cause: Cause::Invalid,
        }
    }

    /// The same, of that sort.
    pub(crate) fn of(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }
}
