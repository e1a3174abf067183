//! The rules that relate an object to others. Each finds everything that is wrong at once. Admission refuses with what is
//! found; binding, for which the others may have changed meanwhile, waits with it.

mod blocked;
mod enforced;
mod firewall;
mod image;
mod jail;
mod network;
mod one_to_one;
mod order;
mod size;
mod slices;
mod tables;
mod together;
mod uplink;

use cellblock_schemas::{Cause, Violation};

pub(crate) use jail::{host_independent, on_host, publish_problems};
pub(crate) use network::{host_update, named, network};
pub(crate) use order::unplaced;
pub use together::Together;
pub(crate) use uplink::takes_an_uplink;

/// One thing that is wrong between objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// A CamelCase code.
    pub(crate) reason: &'static str,
    /// The field, as in `spec.networks[0].addresses[1]`.
    pub(crate) field: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: String,
}

impl Problem {
    pub(crate) fn new(
        reason: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
        help: &str,
    ) -> Self {
        Self {
            reason,
            field: field.into(),
            message: message.into(),
            help: help.to_owned(),
        }
    }
}

impl From<Problem> for Violation {
    fn from(problem: Problem) -> Self {
        Self {
            field: problem.field,
            message: problem.message,
            help: problem.help,
            // As kube-apiserver says of a port or an address that another Service has.
            cause: Cause::Invalid,
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
