//! What a failure of etcd-client means: who failed, whether the request may have been executed, and which of our errors
//! it is. The one place that reads etcd's messages, which are its only machine-readable error codes
//! (etcd `api/v3rpc/rpctypes/error.go`).

use std::error::Error as StdError;

use tonic::{Code, ConnectError, Status};

use crate::error::Error;

/// What happened to a request that got no answer it could use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It never left, or the member refused to take it: another member may be asked without risk.
    Unsent(String),
    /// It left and no answer came: it may have been executed.
    Lost(String),
    /// It was answered, by this.
    Answered(Answer),
}

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The revision asked for is compacted away; etcd does not say which is the oldest left.
    Compacted,
    /// The revision asked for has not happened.
    FutureRevision,
    /// The lease is gone.
    LeaseNotFound,
    /// The answer is larger than this side agreed to read.
    ResponseTooLarge,
    /// The request is larger than the server reads: its `--max-request-bytes` or `--max-txn-ops`.
    RequestTooLarge,
    /// No room: quota exceeded, alarm raised.
    Full(String),
    /// We may not.
    Denied(String),
    /// The connection is not trusted, by us or by them.
    Tls(String),
    /// Anything else.
    Other(String),
}

impl Answer {
    /// The error it is, where that needs nothing that only the caller knows.
    pub(super) fn into_error(self, location: &str) -> Error {
        let location = location.to_owned();
        match self {
            Answer::Full(reason) => Error::Full {
                location,
                reason: format!(
                    "{reason}; compact and defragment etcd or raise its quota, then `etcdctl alarm disarm`"
                ),
            },
            Answer::Denied(reason) => Error::Denied { location, reason },
            Answer::Tls(reason) => Error::Tls { location, reason },
            Answer::RequestTooLarge => Error::Invalid(format!(
                "{location} takes only smaller requests than etcd's defaults; raise its --max-request-bytes and \
                 --max-txn-ops"
            )),
            Answer::Other(reason) => Error::Invalid(format!("{location} answered: {reason}")),
            Answer::Compacted
            | Answer::FutureRevision
            | Answer::LeaseNotFound
            | Answer::ResponseTooLarge => Error::Invalid(format!(
                "{location} answered {self:?} to a request that has no revision, lease or page"
            )),
        }
    }
}

/// Says what a failed request means.
pub(super) fn classify(error: &etcd_client::Error) -> Failure {
    let text = chain(error);
    match error {
        etcd_client::Error::GRpcStatus(status) => classify_status(status),
        etcd_client::Error::TransportError(_) if is_tls(&text) => {
            Failure::Answered(Answer::Tls(text))
        }
        etcd_client::Error::TransportError(_)
        | etcd_client::Error::IoError(_)
        | etcd_client::Error::EndpointError(_)
        | etcd_client::Error::Internal(_) => Failure::Unsent(text),
        etcd_client::Error::WatchError(_) | etcd_client::Error::ElectError(_) => {
            Failure::Lost(text)
        }
        etcd_client::Error::LeaseKeepAliveError(reason) if reason == "lease not found" => {
            Failure::Answered(Answer::LeaseNotFound)
        }
        etcd_client::Error::LeaseKeepAliveError(_) => Failure::Lost(text),
        etcd_client::Error::InvalidArgs(_)
        | etcd_client::Error::InvalidUri(_)
        | etcd_client::Error::Utf8Error(_)
        | etcd_client::Error::InvalidMetadataValue(_)
        | etcd_client::Error::EndpointsNotManaged => Failure::Answered(Answer::Other(text)),
    }
}

fn classify_status(status: &Status) -> Failure {
    let mut source = status.source();
    if source.is_some() {
        // tonic attaches a source only to what went wrong on this side of the connection.
        let text = chain(status);
        if is_tls(&text) {
            return Failure::Answered(Answer::Tls(text));
        }
        while let Some(cause) = source {
            if cause.is::<ConnectError>() {
                return Failure::Unsent(text);
            }
            source = cause.source();
        }
        return Failure::Lost(text);
    }
    let message = status.message();
    let has = |part: &str| message.contains(part);
    let said = || message.trim_start_matches("etcdserver: ").to_owned();
    if has("required revision has been compacted") {
        Failure::Answered(Answer::Compacted)
    } else if has("required revision is a future revision") {
        Failure::Answered(Answer::FutureRevision)
    } else if has("requested lease not found") {
        Failure::Answered(Answer::LeaseNotFound)
    } else if has("message length too large") && status.code() == Code::OutOfRange {
        Failure::Answered(Answer::ResponseTooLarge)
    } else if has("request is too large")
        || has("too many operations")
        || has("message larger than max")
    {
        Failure::Answered(Answer::RequestTooLarge)
    } else if has("database space exceeded") || has("no space left on device") {
        Failure::Answered(Answer::Full(said()))
    } else if has("no leader") || has("too many requests") || has("auth store is old") {
        Failure::Unsent(said())
    } else if is_denial(status) {
        Failure::Answered(Answer::Denied(said()))
    } else {
        match status.code() {
            Code::Unavailable
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Unknown => Failure::Lost(said()),
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated => {
                Failure::Answered(Answer::Other(format!("{}: {message}", status.code())))
            }
        }
    }
}

fn is_denial(status: &Status) -> bool {
    let said = |part: &str| status.message().contains(part);
    matches!(
        status.code(),
        Code::Unauthenticated | Code::PermissionDenied
    ) || said("authentication failed")
        || said("authentication is not enabled")
        || said("user name is empty")
        || said("permission denied")
        || said("invalid auth token")
}

/// rustls names its alerts and certificate errors in words; the types behind them are not ours to depend on.
fn is_tls(text: &str) -> bool {
    [
        "certificate",
        "received fatal alert",
        "peer is incompatible",
        "received corrupt message",
    ]
    .iter()
    .any(|sign| text.contains(sign))
}

/// An error and everything that caused it, in one line, without saying anything twice.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = match error.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    };
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
