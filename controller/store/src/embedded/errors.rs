//! What a failure of redb or of the file system means.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enums matched here belong to redb and std, are not exhaustive, and grow with their releases"
)]

use std::io;
use std::path::Path;

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

use crate::error::{Error, Outcome};

/// Why a piece of work on the file has no result.
#[derive(Debug)]
pub(super) enum Fault {
    /// It was refused; the file is fine.
    Refused(Error),
    /// The file or redb failed.
    Storage(StorageError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Refused(error)
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Fault::Storage(error)
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => Fault::Storage(error),
            // Our tables have one definition each, so any other complaint is about the file.
            other => Fault::Storage(StorageError::Corrupted(other.to_string())),
        }
    }
}

impl From<TransactionError> for Fault {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => Fault::Storage(error),
            other => Fault::Storage(StorageError::Corrupted(other.to_string())),
        }
    }
}

impl From<CommitError> for Fault {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => Fault::Storage(error),
            other => Fault::Storage(StorageError::Corrupted(other.to_string())),
        }
    }
}

/// A record or table that cannot be what this program wrote.
pub(super) fn corrupted(reason: String) -> Fault {
    Fault::Storage(StorageError::Corrupted(reason))
}

impl Fault {
    /// The error that the caller is told.
    pub(super) fn into_error(self, path: &Path) -> Error {
        match self {
            Fault::Refused(error) => error,
            Fault::Storage(error) => storage(path, error),
        }
    }
}

fn storage(path: &Path, error: StorageError) -> Error {
    match error {
        StorageError::Io(error) => io(path, &error),
        StorageError::Corrupted(reason) => Error::Damaged {
            path: path.to_owned(),
            reason,
        },
        StorageError::LockPoisoned(_) => Error::Damaged {
            path: path.to_owned(),
            reason: "redb panicked over its content".to_owned(),
        },
        StorageError::PreviousIo | StorageError::DatabaseClosed => Error::Unavailable {
            location: path.display().to_string(),
            reason: "being opened anew after a failure".to_owned(),
            outcome: Outcome::NotApplied,
        },
        other => Error::Io {
            path: path.to_owned(),
            reason: other.to_string(),
        },
    }
}

/// What the operating system said about the file.
pub(super) fn io(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full {
            location: path.display().to_string(),
            reason: format!("{error}; make room on the file system that holds it"),
        },
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Error::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        },
        _ => Error::Io {
            path: path.to_owned(),
            reason: error.to_string(),
        },
    }
}

/// Why redb did not open the file.
pub(super) fn opening(path: &Path, error: DatabaseError) -> Error {
    match error {
        DatabaseError::Storage(error) => storage(path, error),
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Error::Locked {
            path: path.to_owned(),
            holder: "another program that reads redb files".to_owned(),
        },
        // The rest is about what the file holds.
        other => Error::Damaged {
            path: path.to_owned(),
            reason: other.to_string(),
        },
    }
}

/// The store was dropped, or its writer stopped, while this was waiting.
pub(super) fn closed(location: &str) -> Error {
    Error::Unavailable {
        location: location.to_owned(),
        reason: "the store is closed".to_owned(),
        outcome: Outcome::Unknown,
    }
}
