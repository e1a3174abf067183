//! Refusals as Kubernetes' `Status` objects: the only place that chooses an HTTP code.
//!
//! Codes, reasons and sentences are those of kubernetes/apimachinery `pkg/api/errors/errors.go`.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use cellblock_controller_core::admit::{Reason, Rejection};
use cellblock_schemas::{API_VERSION, Cause, Kind, Violation};
use cellblock_store::{Error as StoreError, Outcome};
use serde_json::{Value, json};

use crate::status::RequestError;
use crate::writer::WriteError;

/// When a client that was told to come back may do so, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

/// What is served where a method was tried that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// It is not said.
    Unsaid,
    Collection,
    /// Only to be read.
    Read,
    Single,
    /// What is below an object.
    Subresource,
}

impl Served {
    fn methods(self) -> Option<&'static str> {
        match self {
            Self::Unsaid => None,
            Self::Read => Some("GET"),
            Self::Collection => Some("GET, POST, DELETE"),
            Self::Single => Some("GET, PUT, PATCH, DELETE"),
            Self::Subresource => Some("GET, PUT, PATCH"),
        }
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Value,
    served: Served,
}

impl Failure {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: json!({}),
            served: Served::Unsaid,
        }
    }

    /// Nothing is served there.
    pub(super) fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// There is no such thing, of what is no object.
    pub(super) fn not_found(resource: &str, name: &str) -> Self {
        let message = format!("{resource} {name:?} not found");
        let mut failure = Self::new(StatusCode::NOT_FOUND, "NotFound", message);
        failure.details = json!({"name": name, "kind": resource});
        failure
    }

    /// Something is served there, and not by that method: `HEAD` and `OPTIONS` are none of an object, as with kube-apiserver.
    pub(super) fn not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// The same, with the methods that are served.
    pub(super) fn only(served: Served) -> Self {
        Self {
            served,
            ..Self::not_allowed()
        }
    }

    /// The request makes no sense.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// The caller may not.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// No form of an answer that the client takes is one that can be given.
    pub(super) fn not_acceptable(known: &str) -> Self {
        let message = format!("only the following media types are accepted: {known}");
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// A list cannot be given. Of a revision that has not happened it says, other than a watch, that it took too long
    /// (kubernetes/apiserver, `pkg/storage/errors.go`, `NewTooLargeResourceVersionError`): its client lists without one then.
    pub(super) fn of_list(error: RequestError) -> Self {
        let RequestError::Future { asked, newest } = error else {
            return Self::from(error);
        };
        let message = format!("Timeout: Too large resource version: {asked}, current: {newest}");
        let mut failure = Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message);
        failure.details = json!({"causes": [{
            "reason": "ResourceVersionTooLarge",
            "message": "Too large resource version",
        }]});
        failure.retry()
    }

    /// The body is of a form that is not read.
    pub(super) fn unsupported_media(known: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {known}"
        );
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            message,
        )
    }

    /// The body is too large to be read.
    pub(super) fn too_large(bytes_max: usize) -> Self {
        let message = format!("Request entity too large: limit is {bytes_max}");
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            message,
        )
    }

    /// An option of the request is wrong: invalid like a field, of an object that is the request's options.
    pub(super) fn invalid_option(
        options: &str,
        field: &str,
        cause: Cause,
        message: String,
    ) -> Self {
        let sentence = format!("{options}.meta.k8s.io \"\" is invalid: {field}: {message}");
        let mut failure = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", sentence);
        failure.details = json!({
            "group": "meta.k8s.io",
            "kind": options,
            "causes": [{"reason": cause.as_str(), "message": message, "field": field}],
        });
        failure
    }

    /// The object.
    pub(super) fn status(&self) -> Value {
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code.as_u16(),
        })
    }

    fn retry(mut self) -> Self {
        self.details["retryAfterSeconds"] = RETRY_AFTER_SECONDS.into();
        self
    }
}

impl From<Failure> for Response<Body> {
    fn from(failure: Failure) -> Self {
        tracing::debug!(
            code = failure.code.as_u16(),
            reason = failure.message,
            "refused"
        );
        let mut response = Response::new(Body::from(failure.status().to_string()));
        *response.status_mut() = failure.code;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if failure.code == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(methods) = failure.served.methods() {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if let Some(seconds) = failure.details["retryAfterSeconds"].as_u64() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let message = error.to_string();
        let unavailable = |message| {
            Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                message,
            )
            .retry()
        };
        match error {
            RequestError::Rejected(rejection) => rejected(&rejection),
            RequestError::Write(WriteError::Store(error)) | RequestError::Store(error) => {
                store(&error)
            }
            RequestError::Write(WriteError::Contended) => {
                Self::new(StatusCode::CONFLICT, "Conflict", message)
            }
            // Stored all the same, or perhaps: a code on which clients do not repeat the write by themselves.
            RequestError::Write(WriteError::Unseen(_)) | RequestError::TimedOut(_) => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
            }
            RequestError::Write(WriteError::Queued)
            | RequestError::NotReady(_)
            | RequestError::ShuttingDown => unavailable(message),
            RequestError::Expired(_) | RequestError::Future { .. } | RequestError::OtherRelease => {
                expired(message)
            }
            // No more than that, as with kube-apiserver; the log has the reason.
            RequestError::Unauthenticated(_) => {
                Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
            }
            RequestError::Forbidden(_) => Self::forbidden(message),
            RequestError::Unvisitable(..) | RequestError::VisitRefused(..) => {
                Self::new(StatusCode::CONFLICT, "Conflict", message)
            }
            RequestError::Malformed(_) => Self::bad_request(message),
            RequestError::TooSlow(_) | RequestError::Exhausted(_) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message).retry()
            }
        }
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        rejected(&rejection)
    }
}

fn expired(message: String) -> Failure {
    Failure::new(StatusCode::GONE, "Expired", message)
}

fn store(error: &StoreError) -> Failure {
    let message = error.to_string();
    let internal =
        |message| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message);
    match error {
        StoreError::NotFound { .. } => Failure::new(StatusCode::NOT_FOUND, "NotFound", message),
        StoreError::Conflict(_) => Failure::new(StatusCode::CONFLICT, "Conflict", message),
        StoreError::Compacted { .. } | StoreError::FutureRevision { .. } => expired(message),
        // Perhaps written: a code on which clients do not repeat the write by themselves, as client-go does on every answer
        // with `Retry-After` (`rest/with_retry.go`).
        StoreError::Unavailable {
            outcome: Outcome::Unknown,
            ..
        } => Failure::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message),
        StoreError::Unavailable {
            outcome: Outcome::NotApplied,
            ..
        } => Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            message,
        )
        .retry(),
        StoreError::TooLarge { .. } => Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            message,
        ),
        StoreError::Invalid(_) => Failure::bad_request(message),
        // Room does not come by asking again: etcd's own refusal is a 500 with kube-apiserver, too (`pkg/storage/errors/storage.go` leaves
        // it as it is, and `endpoints/handlers/responsewriters/status.go` knows no other code for it).
        StoreError::Full { .. }
        | StoreError::LeaseNotFound(_)
        | StoreError::Locked { .. }
        | StoreError::Damaged { .. }
        | StoreError::Io { .. }
        | StoreError::Denied { .. }
        | StoreError::Tls { .. } => internal(message),
    }
}

/// A refusal of an object, with everything that is wrong as its causes.
fn rejected(rejection: &Rejection) -> Failure {
    let (kind, name) = (rejection.kind, &rejection.name);
    let group = group();
    let resource = format!("{}.{group} {name:?}", kind.plural());
    let said = said(&rejection.violations);
    let (code, reason, message) = match rejection.reason {
        Reason::Invalid => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            format!("{kind}.{group} {name:?} is invalid: {said}"),
        ),
        Reason::AlreadyExists => (
            StatusCode::CONFLICT,
            "AlreadyExists",
            format!("{resource} already exists"),
        ),
        Reason::NotFound => (
            StatusCode::NOT_FOUND,
            "NotFound",
            format!("{resource} not found"),
        ),
        Reason::Conflict if rejection.conflicts.is_empty() => (
            StatusCode::CONFLICT,
            "Conflict",
            format!("Operation cannot be fulfilled on {resource}: {said}"),
        ),
        Reason::Conflict => (StatusCode::CONFLICT, "Conflict", conflicts(rejection)),
        Reason::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", said),
        Reason::BadRequest => (
            StatusCode::BAD_REQUEST,
            "BadRequest",
            strictly(rejection).unwrap_or(said),
        ),
        Reason::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", said),
    };
    let mut failure = Failure::new(code, reason, message);
    // What was wrong with a document is said of its kind, what was wrong with a request of its resource; and why, of a document that is
    // refused for what it says, as apimachinery's `NewInvalid`, `NewNotFound`, `NewAlreadyExists` and `NewConflict` have it.
    failure.details = match rejection.reason {
        Reason::Invalid => {
            json!({"name": name, "group": group, "kind": kind, "causes": causes(rejection)})
        }
        Reason::Conflict if !rejection.conflicts.is_empty() => {
            json!({"name": name, "group": group, "kind": kind.plural(), "causes": causes(rejection)})
        }
        Reason::BadRequest | Reason::TooLarge => json!({"causes": causes(rejection)}),
        Reason::AlreadyExists | Reason::NotFound | Reason::Conflict | Reason::TooManyRequests => {
            json!({"name": name, "group": group, "kind": kind.plural()})
        }
    };
    failure
}

/// Fields that a kind does not have, as `transformDecodeError` puts it (`endpoints/handlers/rest.go`); behind them what else is wrong,
/// which kube-apiserver would tell only once they are gone.
fn strictly(rejection: &Rejection) -> Option<String> {
    let is_unknown = |violation: &&Violation| violation.cause == Cause::Unknown;
    let (unknown, others): (Vec<_>, Vec<_>) = rejection.violations.iter().partition(is_unknown);
    if unknown.is_empty() {
        return None;
    }
    let unknown = unknown.into_iter().map(|violation| {
        let help = match violation.help.as_str() {
            "" => String::new(),
            help => format!(" ({help})"),
        };
        format!("unknown field {:?}{help}", violation.field)
    });
    let unknown: Vec<String> = unknown.collect();
    let others: String = others
        .into_iter()
        .map(|violation| format!("; {violation}"))
        .collect();
    let kind = rejection.kind;
    let version = API_VERSION.rsplit('/').next().unwrap_or(API_VERSION);
    Some(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}{others}",
        unknown.join(", ")
    ))
}

fn said(violations: &[Violation]) -> String {
    match violations {
        [one] => one.to_string(),
        several => {
            let several: Vec<_> = several.iter().map(ToString::to_string).collect();
            format!("[{}]", several.join(", "))
        }
    }
}

/// As kubernetes/apimachinery's `util/managedfields/internal/conflict.go` puts it, which kubectl shows as it is.
fn conflicts(rejection: &Rejection) -> String {
    let conflicts = rejection.conflicts.iter();
    let one =
        conflicts.map(|conflict| format!("conflict with {}: {}", conflict.who, conflict.path));
    let all: Vec<String> = one.collect();
    let plural = if all.len() == 1 { "" } else { "s" };
    format!(
        "Apply failed with {} conflict{plural}: {}",
        all.len(),
        all.join("; ")
    )
}

fn causes(rejection: &Rejection) -> Vec<Value> {
    if rejection.conflicts.is_empty() {
        let violations = rejection.violations.iter();
        return violations
            .map(|violation| {
                let help = if violation.help.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", violation.help)
                };
                json!({
                    "reason": violation.cause.as_str(),
                    "message": format!("{}{help}", violation.message),
                    "field": violation.field,
                })
            })
            .collect();
    }
    let conflicts = rejection.conflicts.iter();
    conflicts
        .map(|conflict| {
            json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with {}", conflict.who),
                "field": conflict.path.to_string(),
            })
        })
        .collect()
}

/// The group of every kind.
pub(super) fn group() -> &'static str {
    API_VERSION.split('/').next().unwrap_or(API_VERSION)
}

/// What a removal that is done is answered with (`endpoints/handlers/delete.go`, `DeleteResource`).
pub(super) fn success(kind: Kind, name: &str, uid: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": name, "group": group(), "kind": kind.plural(), "uid": uid},
    })
}

#[cfg(test)]
mod tests;
