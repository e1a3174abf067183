//! Admission: turns a request into what is to be written, or into every reason why not. The order is default → validate →
//! relate to others → warn → canonicalise; nothing is written when nothing changes.
//!
//! Reads the index and writes nothing itself. The result holds the comparisons that make it void if the cluster has changed
//! meanwhile; the caller then admits again.

mod apply;
mod client_side;
mod derived;
pub(crate) mod draft;
mod generate;
mod managed;
mod patch;
mod removal;
mod restart;
mod scale;
mod spec;
mod status;

use std::sync::Arc;

use bytes::Bytes;
use cellblock_schemas::{Cause, Kind, Uid, Violation, Warning, part};
use jiff::Timestamp;
use serde_json::Value;

use crate::document;
use crate::fields::Conflict;
use crate::index::Index;
use crate::rules::Together;
use crate::write::Write;

pub use patch::{LEFTOVERS, Patch, without_leftovers};
pub use removal::finish;
pub use scale::scale;

/// On a Network or Host whose deletion was asked for: somebody still uses it.
pub const IN_USE_FINALIZER: &str = "cellblock.dev/in-use";

/// How many bytes a document has at most: well below what etcd takes in one request (1.5 MiB), because its claims share
/// the transaction.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Server-side apply: the document states the fields that its manager wants to be so, and no others.
    Apply {
        /// The kind.
        kind: Kind,
        /// The document, which may be a part of an object.
        document: Value,
        /// Through what it is stated.
        through: Through,
        /// Who states it.
        manager: String,
        /// What is applied together with it.
        together: Arc<Together>,
        /// Takes over fields that others own.
        force: bool,
    },
    /// A new object.
    Create {
        /// The kind.
        kind: Kind,
        /// The document.
        document: Value,
        /// Who creates it.
        manager: String,
    },
    /// Replaces everything but the status, or the status and nothing else.
    Update {
        /// The kind.
        kind: Kind,
        /// The document.
        document: Value,
        /// Through what it is written.
        through: Through,
        /// Who replaces it.
        manager: String,
    },
    /// Changes an object as it is at the moment of the change.
    Patch {
        /// The kind.
        kind: Kind,
        /// The name.
        name: String,
        /// What to change.
        patch: Patch,
        /// Through what it is written.
        through: Through,
        /// Who changes it.
        manager: String,
    },
    /// Asks for an object to go.
    Delete {
        /// The kind.
        kind: Kind,
        /// The name.
        name: String,
        /// Only this incarnation.
        uid: Option<Uid>,
        /// Only this revision.
        revision: Option<u64>,
        /// What becomes of what belongs to it; none: what its finalizers or, without any of these, its kind say.
        propagation: Option<Propagation>,
    },
    /// Asks for a jail of a set to go, so that the set makes it again elsewhere; only if the set can do without it now.
    Evict {
        /// The jail's name.
        name: String,
        /// Only this incarnation.
        uid: Option<Uid>,
    },
}

/// What becomes of the objects that belong to one that is deleted, as Kubernetes' `propagationPolicy` (apimachinery,
/// `apis/meta/v1/types.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They go once it is gone.
    Background,
    /// It goes after those of them that say `blockOwnerDeletion`.
    Foreground,
    /// They stay, and do not belong to it any more.
    Orphan,
}

impl Propagation {
    /// Every policy, in the order in which kube-apiserver names them.
    pub const ALL: [Self; 3] = [Self::Background, Self::Foreground, Self::Orphan];

    /// The policy's name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }

    /// The policy of that exact name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == name)
    }
}

impl Request {
    /// A patch as the update that it comes to, with the finalizers that it takes away by name; every other request as it is.
    fn whole(self, index: &Index) -> Result<(Self, Vec<String>), Rejection> {
        let Self::Patch {
            kind,
            name,
            patch,
            through,
            manager,
        } = self
        else {
            return Ok((self, Vec::new()));
        };
        let patched = patch::patched(index, (kind, &name), &patch, through)?;
        let update = Self::Update {
            kind,
            document: patched.document,
            through,
            manager,
        };
        Ok((update, patched.taken_away))
    }
}

/// The part of an object that a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// The object itself: labels, annotations, finalizers, owners and the spec.
    Object,
    /// The subresource `status`: the status and nothing else.
    Status,
    /// The subresource `scale` of a set: how many jails it has, and nothing else.
    Scale,
}

impl Through {
    /// The subresource's name as `managedFields` has it.
    fn subresource(self) -> &'static str {
        match self {
            Self::Object => "",
            Self::Status => "status",
            Self::Scale => "scale",
        }
    }
}

/// What becomes of fields that a kind does not have, as Kubernetes' `fieldValidation` (apimachinery, `apis/meta/v1/types.go`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    /// They are refused, like everything else that does not fit.
    #[default]
    Strict,
    /// They are left out, and the client is told so.
    Warn,
    /// They are left out.
    Ignore,
}

/// What an admission may not find out itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    /// The time.
    pub timestamp: Timestamp,
    /// The uid of the object, should it be new.
    pub new_uid: Uid,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The object is new.
    Created,
    /// The object is different.
    Configured,
    /// The object is as it was: nothing is written.
    Unchanged,
    /// The object waits for its finalizers.
    Deleting,
    /// The object is gone.
    Gone,
}

/// An admitted request.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    /// What to write; none if nothing changes.
    pub write: Option<Write>,
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: String,
    /// The document as it is, or was last, without a resourceVersion.
    pub document: Value,
    /// The revision of the document, if it is stored already.
    pub revision: Option<u64>,
    /// What the operator should know.
    pub warnings: Vec<Warning>,
    /// What becomes of the object.
    pub outcome: Outcome,
}

impl Admitted {
    /// The document for the client, as of the revision it was written at, or the one it has if it was not.
    #[must_use]
    pub fn served(&self, written: Option<u64>) -> (u64, Bytes) {
        let revision = written.or(self.revision).unwrap_or(0);
        if revision == 0 {
            return (0, document::stored(&self.document));
        }
        (revision, document::served(&self.document, revision))
    }
}

/// The class of a refusal, with the names that kube-apiserver uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The document breaks rules.
    Invalid,
    /// There is such an object.
    AlreadyExists,
    /// There is no such object.
    NotFound,
    /// The object is not what the client believes.
    Conflict,
    /// The document is too large.
    TooLarge,
    /// The request itself makes no sense, whatever is stored.
    BadRequest,
    /// Not now; later it may be done.
    TooManyRequests,
}

impl Reason {
    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::AlreadyExists => "AlreadyExists",
            Self::NotFound => "NotFound",
            Self::Conflict => "Conflict",
            Self::TooLarge => "TooLarge",
            Self::BadRequest => "BadRequest",
            Self::TooManyRequests => "TooManyRequests",
        }
    }
}

/// A refused request: every reason at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {name:?} was refused: {}", .kind.as_str(), sentences(.violations))]
pub struct Rejection {
    /// The class.
    pub reason: Reason,
    /// The kind.
    pub kind: Kind,
    /// The name, as far as it is known.
    pub name: String,
    /// What is wrong; at least one.
    pub violations: Vec<Violation>,
    /// The fields that others own, if that is why; in the order of the violations, one for each.
    pub conflicts: Vec<Conflict>,
}

fn sentences(violations: &[Violation]) -> String {
    let sentences: Vec<_> = violations.iter().map(Violation::to_string).collect();
    sentences.join("; ")
}

impl Rejection {
    /// A refusal for one reason.
    #[must_use]
    pub fn new(
        reason: Reason,
        kind: Kind,
        name: &str,
        field: &str,
        message: impl Into<String>,
        help: &str,
    ) -> Self {
        Self {
            reason,
            kind,
            name: name.to_owned(),
            violations: vec![Violation {
                field: field.to_owned(),
                message: message.into(),
                help: help.to_owned(),
                cause: Cause::Invalid,
            }],
            conflicts: Vec::new(),
        }
    }

    /// The same, for a reason of that sort.
    #[must_use]
    pub fn of(mut self, cause: Cause) -> Self {
        for violation in &mut self.violations {
            violation.cause = cause;
        }
        self
    }

    /// A document that cannot be read: fields that its kind does not have are told by kube-apiserver before anything else is looked
    /// at, as a request that makes no sense (`endpoints/handlers/rest.go`, `transformDecodeError`).
    fn unreadable(kind: Kind, name: &str, violations: Vec<Violation>) -> Self {
        let is_unknown = |violation: &Violation| violation.cause == Cause::Unknown;
        let reason = if violations.iter().any(is_unknown) {
            Reason::BadRequest
        } else {
            Reason::Invalid
        };
        Self {
            reason,
            ..Self::invalid(kind, name, violations)
        }
    }

    /// What a patch comes to breaks a rule, whatever it is: the request can be read, as another state of the object shows
    /// (`endpoints/handlers/patch.go`, `applyPatchToCurrentObject`).
    fn of_patch(self) -> Self {
        let is_unknown = |violation: &Violation| violation.cause == Cause::Unknown;
        if self.reason == Reason::BadRequest && self.violations.iter().any(is_unknown) {
            return Self {
                reason: Reason::Invalid,
                ..self
            };
        }
        self
    }

    fn invalid(kind: Kind, name: &str, violations: Vec<Violation>) -> Self {
        Self {
            reason: Reason::Invalid,
            kind,
            name: name.to_owned(),
            violations,
            conflicts: Vec::new(),
        }
    }

    /// There is no such object.
    #[must_use]
    pub fn not_found(kind: Kind, name: &str) -> Self {
        let message = format!("there is no {kind} of that name");
        Self::new(Reason::NotFound, kind, name, "metadata.name", message, "")
    }
}

/// Admits a request, with what its client wants to become of fields that its kind does not have.
///
/// # Errors
/// Everything that is wrong with it.
pub fn admit_as(
    index: &Index,
    request: Request,
    validation: Validation,
    now: &Now,
) -> Result<Admitted, Rejection> {
    let (Validation::Warn | Validation::Ignore) = validation else {
        return admit(index, request, now);
    };
    let (request, taken_away) = request.whole(index)?;
    let (request, told) = without_unknown(request, validation)?;
    let mut admitted = admit_whole(index, request, &taken_away, now)?;
    admitted.warnings.extend(told);
    Ok(admitted)
}

/// A request without the fields that its kind does not have, and what its client is told about them, if it wants that. Needs no
/// index, so it can be done before a request's turn to write comes; but a patch is known only then, and stays as it is.
///
/// # Errors
/// The document is too large to be looked through.
pub fn without_unknown(
    mut request: Request,
    validation: Validation,
) -> Result<(Request, Vec<Warning>), Rejection> {
    if validation == Validation::Strict {
        return Ok((request, Vec::new()));
    }
    let dropped = match &mut request {
        Request::Apply {
            kind,
            document,
            through: Through::Status,
            ..
        }
        | Request::Update {
            kind,
            document,
            through: Through::Status,
            ..
        } => {
            let name = document.pointer("/metadata/name").and_then(Value::as_str);
            spec::measure(*kind, name.unwrap_or_default(), document)?;
            part::drop_unknown_in_status(*kind, document)
        }
        Request::Apply { kind, document, .. }
        | Request::Create { kind, document, .. }
        | Request::Update { kind, document, .. } => {
            let name = document.pointer("/metadata/name").and_then(Value::as_str);
            spec::measure(*kind, name.unwrap_or_default(), document)?;
            part::drop_unknown(*kind, document)
        }
        Request::Patch { .. } | Request::Delete { .. } | Request::Evict { .. } => Vec::new(),
    };
    let told = dropped.into_iter().map(|field| Warning {
        field: String::new(),
        message: format!("unknown field \"{field}\", which is left out"),
    });
    match validation {
        Validation::Warn => Ok((request, told.collect())),
        Validation::Strict | Validation::Ignore => Ok((request, Vec::new())),
    }
}

/// Admits a request.
///
/// # Errors
/// Everything that is wrong with it.
pub fn admit(index: &Index, request: Request, now: &Now) -> Result<Admitted, Rejection> {
    let is_patch = matches!(request, Request::Patch { .. });
    let (request, taken_away) = request.whole(index)?;
    let admitted = admit_whole(index, request, &taken_away, now);
    if is_patch {
        return admitted.map_err(Rejection::of_patch);
    }
    admitted
}

fn admit_whole(
    index: &Index,
    request: Request,
    taken_away: &[String],
    now: &Now,
) -> Result<Admitted, Rejection> {
    match request {
        Request::Apply {
            kind,
            document,
            through,
            manager,
            force,
            together,
        } => {
            let application = apply::Stating {
                through,
                manager: &manager,
                force,
            };
            let applied = apply::apply(index, kind, document, &application, &together, now);
            applied.map_err(Rejection::of_patch)
        }
        Request::Create {
            kind,
            document,
            manager,
        } => spec::create(index, kind, document, &manager, now),
        Request::Update {
            kind,
            document,
            through: Through::Status,
            manager,
        } => status::update(index, kind, document, &manager, now),
        Request::Update {
            kind,
            document,
            through,
            manager,
        } => {
            let by = spec::By {
                through,
                manager: &manager,
                taken_away,
            };
            spec::update(index, kind, document, &by, now)
        }
        request @ Request::Patch { .. } => admit(index, request, now),
        Request::Delete {
            kind,
            name,
            uid,
            revision,
            propagation,
        } => {
            let only = removal::Only {
                uid: uid.as_ref(),
                revision,
            };
            removal::delete(index, kind, &name, &only, propagation, now)
        }
        Request::Evict { name, uid } => removal::evict(index, &name, uid.as_ref(), now),
    }
}

#[cfg(test)]
mod tests;
