//! What can go wrong in a store, whether it is worth trying again, and the sentence an operator reads.
//!
//! Backends map their own errors into this enum (`etcd/errors.rs`, `embedded/errors.rs`); nothing of theirs leaks out.
//! The mapping to a gRPC status lives in `cellblock-controller`.

use std::path::PathBuf;
use std::time::Duration;

use crate::lease::LeaseId;
use crate::model::{Key, KeyValue, Revision};
use crate::transaction::Expect;

/// The result of a store operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How long to wait before trying an unreachable store again: a leader election in etcd takes about this long.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);

/// How long to wait before trying a store without room again: somebody has to make room first.
const FULL_RETRY: Duration = Duration::from_secs(30);

/// When it makes sense to try the same thing again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After this long, unchanged.
    After(Duration),
    /// After what it was based on has been read anew: the state of the store is not what the caller believed.
    OnChange,
    /// Not before a person changed something.
    Never,
}

/// Whether a failed write may have happened all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Certainly not: the request never reached the store, or it was a read.
    NotApplied,
    /// Not known: the request was sent and no answer came. Read before writing again.
    Unknown,
}

/// A comparison that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompareFailure {
    /// Its place among the transaction's compares.
    pub index: usize,
    /// The key compared.
    pub key: Key,
    /// What was expected.
    pub expected: Expect,
    /// What is there.
    pub current: Option<KeyValue>,
}

/// Why a transaction did not apply: every comparison that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// At least one, in the order of the transaction's compares.
    pub failures: Vec<CompareFailure>,
    /// The revision that `failures` is true for.
    pub revision: Revision,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, failure) in self.failures.iter().enumerate() {
            if place > 0 {
                f.write_str("; ")?;
            }
            let CompareFailure {
                key,
                expected,
                current,
                ..
            } = failure;
            match current {
                None => write!(f, "{key} was expected {expected} and does not exist")?,
                Some(item) => write!(
                    f,
                    "{key} was expected {expected} and is at revision {}",
                    item.modified
                )?,
            }
        }
        Ok(())
    }
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such key.
    #[error("{key} does not exist (at revision {revision})")]
    NotFound {
        /// The key asked for.
        key: Key,
        /// The revision at which it does not exist.
        revision: Revision,
    },
    /// A comparison did not hold, so nothing was written.
    #[error("written by somebody else meanwhile: {0}; read again, then retry")]
    Conflict(Box<Conflict>),
    /// The history asked for is gone.
    #[error(
        "revision {asked} is compacted away, the oldest left is {compacted}; list again and continue from there"
    )]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The oldest revision that can still be read at.
        compacted: Revision,
    },
    /// The revision asked for has not happened, for instance because the store was restored from an older backup.
    #[error(
        "revision {asked} has not happened yet, the store is at {current}: was it restored from a backup? list again"
    )]
    FutureRevision {
        /// The revision asked for.
        asked: Revision,
        /// The current one.
        current: Revision,
    },
    /// The lease expired or was revoked, or never existed.
    #[error("lease {0} has expired or was revoked; grant a new one")]
    LeaseNotFound(LeaseId),
    /// Nobody answered in time.
    #[error("{location} does not answer: {reason}; {}", outcome_advice(.outcome))]
    Unavailable {
        /// Which store: the endpoints or the file.
        location: String,
        /// What was seen.
        reason: String,
        /// Whether a write may have happened.
        outcome: Outcome,
    },
    /// A key, a value or a transaction is larger than the store takes.
    #[error("{what} is {size}, more than the {limit} allowed; make it smaller or split it")]
    TooLarge {
        /// What is too large, for example `the number of writes in one transaction`.
        what: String,
        /// How large it is.
        size: usize,
        /// How large it may be.
        limit: usize,
    },
    /// The store has no room left. Reads still work.
    #[error("{location} has no room left: {reason}")]
    Full {
        /// Which store.
        location: String,
        /// What the store said and how to make room.
        reason: String,
    },
    /// The file belongs to another process.
    #[error("{} is in use by {holder}; stop that process or name another file", .path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// The process that holds it, as far as it is known.
        holder: String,
    },
    /// The file is not what this program wrote.
    #[error("{} is damaged: {reason}; restore it from a backup, or move it away to begin with an empty store", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file or its folder cannot be used.
    #[error("cannot use {}: {reason}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// The store knows who we are not, or that we may not.
    #[error(
        "{location} refuses access: {reason}; check the user, the password and the roles granted to it"
    )]
    Denied {
        /// Which store.
        location: String,
        /// What the store said.
        reason: String,
    },
    /// No trusted connection came about.
    #[error(
        "no trusted connection to {location}: {reason}; check the CA, the client certificate and the server name"
    )]
    Tls {
        /// Which store.
        location: String,
        /// What was wrong.
        reason: String,
    },
    /// The request makes no sense, whatever the state of the store.
    #[error("invalid request: {0}")]
    Invalid(String),
}

fn outcome_advice(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::NotApplied => "nothing was written, try again",
        Outcome::Unknown => "the write may have happened, read before trying again",
    }
}

impl Error {
    /// When it makes sense to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Error::NotFound { .. }
            | Error::Conflict(_)
            | Error::Compacted { .. }
            | Error::FutureRevision { .. }
            | Error::LeaseNotFound(_) => Retry::OnChange,
            Error::Unavailable {
                outcome: Outcome::NotApplied,
                ..
            } => Retry::After(UNAVAILABLE_RETRY),
            Error::Unavailable {
                outcome: Outcome::Unknown,
                ..
            } => Retry::OnChange,
            Error::Full { .. } => Retry::After(FULL_RETRY),
            Error::TooLarge { .. }
            | Error::Locked { .. }
            | Error::Damaged { .. }
            | Error::Io { .. }
            | Error::Denied { .. }
            | Error::Tls { .. }
            | Error::Invalid(_) => Retry::Never,
        }
    }

    /// The conflict, if it is one.
    pub fn conflict(&self) -> Option<&Conflict> {
        if let Error::Conflict(conflict) = self {
            Some(conflict)
        } else {
            None
        }
    }
}
