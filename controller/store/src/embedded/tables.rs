//! The format of the file: its tables and how their rows are encoded. Later versions must read it (`FORMAT`).
//!
//! Multi-version storage: `versions` keeps every value under its key and the revision that wrote it, until compaction
//! drops what a later version of the same key supersedes; `keys` points to each key's latest version, so that reading
//! the present does not wade through the past; `log` says which keys each revision wrote, in the order of watches.

use bytes::Bytes;
use redb::TableDefinition;

use crate::lease::LeaseId;
use crate::model::{Key, KeyValue, Revision};

/// The version of this format. A file of another one is refused, not guessed at.
pub(super) const FORMAT: u64 = 1;

/// Numbers by name: see [`meta`].
pub(super) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

/// Key → (revision that wrote it last, revision that created it or 0 if it is deleted, lease or 0). Deleted keys stay
/// until compaction, because lists at older revisions walk this table.
pub(super) const KEYS: TableDefinition<'static, &[u8], (u64, u64, u64)> =
    TableDefinition::new("keys");

/// (Key, revision) → record: see [`encode`].
pub(super) const VERSIONS: TableDefinition<'static, (&[u8], u64), &[u8]> =
    TableDefinition::new("versions");

/// (Revision, number within it) → key, for every write.
pub(super) const LOG: TableDefinition<'static, (u64, u32), &[u8]> = TableDefinition::new("log");

/// Lease → its time in seconds. When it ends is kept in memory only, so that keeping alive costs no disk write and a
/// change of the wall clock ends nothing; opening the file starts every lease's time anew, as an election does in etcd.
pub(super) const LEASES: TableDefinition<'static, u64, u64> = TableDefinition::new("leases");

/// (Lease, key) for every key under a lease.
pub(super) const LEASED: TableDefinition<'static, (u64, &[u8]), ()> =
    TableDefinition::new("leased");

/// The rows of [`META`].
pub(super) mod meta {
    /// [`super::FORMAT`].
    pub(crate) const FORMAT: &str = "format";
    /// The current revision.
    pub(crate) const REVISION: &str = "revision";
    /// The oldest revision that can be read at.
    pub(crate) const COMPACTED: &str = "compacted";
    /// Up to which revision superseded versions have really been removed; catches up with `compacted` bit by bit.
    pub(crate) const TRIMMED: &str = "trimmed";
    /// The last lease granted.
    pub(crate) const LEASE: &str = "lease";
}

/// A version's first byte: the key was written.
const LIVE: u8 = 1;

/// A version's first byte: the key was deleted.
const DELETED: u8 = 0;

/// The bytes of a live record before its value: kind, created, lease.
const HEADER_BYTES: usize = 17;

/// A record that says that the key was deleted.
pub(super) const TOMBSTONE: &[u8] = &[DELETED];

/// The record of a write: kind, revision of creation and lease as big-endian numbers, value.
pub(super) fn encode(created: Revision, lease: Option<LeaseId>, value: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER_BYTES + value.len());
    record.push(LIVE);
    record.extend(created.0.to_be_bytes());
    record.extend(lease.map_or(0, |LeaseId(id)| id).to_be_bytes());
    record.extend(value);
    record
}

/// The item in a record; none for a tombstone.
///
/// # Errors
/// What is wrong with a record that this format does not have.
pub(super) fn decode(key: &[u8], modified: u64, record: &[u8]) -> Result<Option<KeyValue>, String> {
    let malformed = || {
        format!(
            "the record of {} at revision {modified} is malformed",
            Key::from(key)
        )
    };
    if record == TOMBSTONE {
        return Ok(None);
    }
    let (header, value) = record
        .split_at_checked(HEADER_BYTES)
        .ok_or_else(malformed)?;
    if header[0] != LIVE {
        return Err(malformed());
    }
    let number = |at: usize| {
        let bytes = header[at..at + 8]
            .try_into()
            .expect("a slice of eight bytes is an array of eight bytes");
        u64::from_be_bytes(bytes)
    };
    let lease = number(9);
    Ok(Some(KeyValue {
        key: Key::from(key),
        value: Bytes::copy_from_slice(value),
        created: Revision(number(1)),
        modified: Revision(modified),
        lease: (lease != 0).then_some(LeaseId(lease)),
    }))
}

#[cfg(test)]
mod tests;
