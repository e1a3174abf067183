//! Errors as gRPC statuses: the only place that chooses a code.

use cellblock_controller_core::admit::{Reason, Rejection};
use cellblock_proto::v1;
use cellblock_store::{Error as StoreError, Outcome};
use prost::Message;
use tonic::{Code, Status};

use crate::cache::Expired;
use crate::writer::WriteError;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// The request was refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Nothing could be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The events or the page asked for are gone.
    #[error(transparent)]
    Expired(#[from] Expired),
    /// The revision asked for has not happened.
    #[error(
        "revision {asked} has not happened yet, the newest is {newest}; list again and watch from there"
    )]
    Future {
        /// The revision asked for.
        asked: u64,
        /// The newest.
        newest: u64,
    },
    /// A page that is continued was begun by a controller of another release.
    #[error("the continue token is of another release of the controller; list again")]
    OtherRelease,
    /// The request makes no sense.
    #[error("{0}")]
    Malformed(String),
    /// Who asks cannot be told.
    #[error("unauthorized: {0} (docs/operations/security.md)")]
    Unauthenticated(&'static str),
    /// The caller may not.
    #[error("forbidden: {0} (docs/operations/security.md)")]
    Forbidden(String),
    /// Nobody can be brought to that jail, with a CamelCase reason.
    #[error("{1}")]
    Unvisitable(&'static str, String),
    /// The agent refuses it, likewise.
    #[error("{1}")]
    VisitRefused(String, String),
    /// The controller has not read the store yet.
    #[error("the controller is not ready: {0}")]
    NotReady(String),
    /// A watcher does not read fast enough.
    #[error(
        "the watcher is more than {0} transactions behind and was cut off; list again and watch from there"
    )]
    TooSlow(u64),
    /// There are too many of something.
    #[error("{0}")]
    Exhausted(String),
    /// It took longer than a request may, with how many seconds that is.
    #[error(
        "the request took longer than {0} s and was given up; what it wrote may be there: read before you try again"
    )]
    TimedOut(u64),
    /// The controller is going away.
    #[error("the controller is shutting down; connect again")]
    ShuttingDown,
}

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Self {
        let message = error.to_string();
        match error {
            RequestError::Rejected(rejection) => rejected(&rejection, message),
            RequestError::Write(WriteError::Store(error)) | RequestError::Store(error) => {
                store(&error)
            }
            RequestError::Write(WriteError::Contended) => Status::aborted(message),
            RequestError::Write(WriteError::Unseen(_) | WriteError::Queued) => {
                Status::unavailable(message)
            }
            RequestError::Expired(_) | RequestError::Future { .. } | RequestError::OtherRelease => {
                expired(message)
            }
            RequestError::Unauthenticated(_) => {
                explained(Code::Unauthenticated, "Unauthorized", message)
            }
            RequestError::Forbidden(_) => explained(Code::PermissionDenied, "Forbidden", message),
            RequestError::Unvisitable(reason, _) => {
                explained(Code::FailedPrecondition, reason, message)
            }
            RequestError::VisitRefused(reason, _) => {
                explained(Code::FailedPrecondition, &reason, message)
            }
            RequestError::TimedOut(_) => Status::deadline_exceeded(message),
            RequestError::Malformed(_) => Status::invalid_argument(message),
            RequestError::NotReady(_) | RequestError::ShuttingDown => Status::unavailable(message),
            RequestError::TooSlow(_) | RequestError::Exhausted(_) => {
                Status::resource_exhausted(message)
            }
        }
    }
}

/// A refusal, with everything that is wrong in the details.
fn rejected(rejection: &Rejection, message: String) -> Status {
    let code = match rejection.reason {
        Reason::Invalid | Reason::TooLarge | Reason::BadRequest => Code::InvalidArgument,
        Reason::AlreadyExists => Code::AlreadyExists,
        Reason::TooManyRequests => Code::ResourceExhausted,
        Reason::NotFound => Code::NotFound,
        Reason::Conflict => Code::FailedPrecondition,
    };
    let detail = v1::Rejection {
        kind: rejection.kind.as_str().to_owned(),
        name: rejection.name.clone(),
        reason: rejection.reason.as_str().to_owned(),
        violations: rejection
            .violations
            .iter()
            .map(crate::wire::violation)
            .collect(),
    };
    Status::with_details(code, message, detail.encode_to_vec().into())
}

/// As kube-apiserver's 410: what was asked for is gone, list again.
fn expired(message: String) -> Status {
    explained(Code::OutOfRange, "Expired", message)
}

/// A refusal that is about no field of an object.
fn explained(code: Code, reason: &str, message: String) -> Status {
    let detail = v1::Rejection {
        reason: reason.to_owned(),
        ..v1::Rejection::default()
    };
    Status::with_details(code, message, detail.encode_to_vec().into())
}

fn store(error: &StoreError) -> Status {
    let message = error.to_string();
    match error {
        StoreError::NotFound { .. } => Status::not_found(message),
        StoreError::Conflict(_) => Status::aborted(message),
        StoreError::Compacted { .. } | StoreError::FutureRevision { .. } => expired(message),
        StoreError::Unavailable { outcome, .. } => match outcome {
            Outcome::NotApplied | Outcome::Unknown => Status::unavailable(message),
        },
        StoreError::TooLarge { .. } | StoreError::Invalid(_) => Status::invalid_argument(message),
        StoreError::Full { .. } => Status::resource_exhausted(message),
        StoreError::LeaseNotFound(_)
        | StoreError::Locked { .. }
        | StoreError::Damaged { .. }
        | StoreError::Io { .. }
        | StoreError::Denied { .. }
        | StoreError::Tls { .. } => Status::internal(message),
    }
}

#[cfg(test)]
mod tests;
