//! Changes within one redb transaction, which holds a batch of the store's own transactions.
//!
//! A job that is refused must leave the batch as it was: everything is checked before anything is written.

use redb::{ReadableTable, Table, WriteTransaction};

use super::errors::{Fault, corrupted};
use super::tables::{KEYS, LEASED, LEASES, LOG, META, TOMBSTONE, VERSIONS, decode, encode, meta};
use crate::error::{CompareFailure, Conflict, Error};
use crate::lease::LeaseId;
use crate::model::{Key, KeyValue, Revision};
use crate::transaction::{Committed, Compare, Effect, Op, Transaction};

/// How many log entries a batch trims at most: several times what it can add on average, so that trimming catches up,
/// and few enough not to be felt by those who wait for the batch.
const TRIM_MAX: usize = 512;

/// The tables of the file within one redb transaction, and the numbers that change with it.
pub(super) struct Batch<'t> {
    meta: Table<'t, &'static str, u64>,
    keys: Table<'t, &'static [u8], (u64, u64, u64)>,
    versions: Table<'t, (&'static [u8], u64), &'static [u8]>,
    log: Table<'t, (u64, u32), &'static [u8]>,
    leases: Table<'t, u64, u64>,
    leased: Table<'t, (u64, &'static [u8]), ()>,
    revision: u64,
    compacted: u64,
    trimmed: u64,
    lease: u64,
    is_changed: bool,
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finished {
    /// Nothing that must go to disk.
    Unchanged,
    /// Something that must.
    Changed {
        /// The revision now.
        revision: Revision,
        /// Whether more is left to trim.
        is_trimming: bool,
    },
}

/// A row of [`KEYS`].
#[derive(Clone, Copy)]
struct Row {
    modified: u64,
    created: u64,
    lease: u64,
}

impl Row {
    /// The revision of the last write, if the key exists.
    fn exists_since(self) -> Option<Revision> {
        (self.created != 0).then_some(Revision(self.modified))
    }
}

impl<'t> Batch<'t> {
    pub(super) fn new(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        let meta = transaction.open_table(META)?;
        let number = |name: &str| -> Result<u64, Fault> {
            let row = meta.get(name)?;
            row.map(|row| row.value())
                .ok_or_else(|| corrupted(format!("its {name} is missing")))
        };
        Ok(Batch {
            revision: number(meta::REVISION)?,
            compacted: number(meta::COMPACTED)?,
            trimmed: number(meta::TRIMMED)?,
            lease: number(meta::LEASE)?,
            is_changed: false,
            meta,
            keys: transaction.open_table(KEYS)?,
            versions: transaction.open_table(VERSIONS)?,
            log: transaction.open_table(LOG)?,
            leases: transaction.open_table(LEASES)?,
            leased: transaction.open_table(LEASED)?,
        })
    }

    /// Applies a transaction that has been checked.
    pub(super) fn commit(&mut self, transaction: &Transaction) -> Result<Committed, Fault> {
        let failures = self.failures(&transaction.compares)?;
        if !failures.is_empty() {
            let revision = Revision(self.revision);
            return Err(Error::Conflict(Box::new(Conflict { failures, revision })).into());
        }
        for op in &transaction.ops {
            if let Op::Put {
                lease: Some(lease), ..
            } = op
                && self.leases.get(lease.0)?.is_none()
            {
                return Err(Error::LeaseNotFound(*lease).into());
            }
        }
        let next = self.revision + 1;
        let mut written = 0;
        let mut effects = Vec::with_capacity(transaction.ops.len());
        for op in &transaction.ops {
            let changed = match op {
                Op::Put { key, value, lease } => {
                    self.put(key.as_bytes(), value, *lease, next, written)?;
                    true
                }
                Op::Delete { key } => self.delete(key.as_bytes(), next, written)?,
            };
            written += u32::from(changed);
            effects.push(if changed {
                Effect::Changed
            } else {
                Effect::Unchanged
            });
        }
        self.advance(next, written);
        Ok(Committed {
            revision: Revision(self.revision),
            effects,
        })
    }

    /// Takes a revision if something was written under it.
    fn advance(&mut self, next: u64, written: u32) {
        if written > 0 {
            self.revision = next;
            self.is_changed = true;
        }
    }

    fn failures(&self, compares: &[Compare]) -> Result<Vec<CompareFailure>, Fault> {
        let mut failures = Vec::new();
        for (index, Compare { key, expect }) in compares.iter().enumerate() {
            let row = self.row(key.as_bytes())?;
            if !expect.holds(row.and_then(Row::exists_since)) {
                let current = self.item(key, row)?;
                failures.push(CompareFailure {
                    index,
                    key: key.clone(),
                    expected: *expect,
                    current,
                });
            }
        }
        Ok(failures)
    }

    fn row(&self, key: &[u8]) -> Result<Option<Row>, Fault> {
        Ok(self.keys.get(key)?.map(|row| {
            let (modified, created, lease) = row.value();
            Row {
                modified,
                created,
                lease,
            }
        }))
    }

    fn item(&self, key: &Key, row: Option<Row>) -> Result<Option<KeyValue>, Fault> {
        let Some(Revision(modified)) = row.and_then(Row::exists_since) else {
            return Ok(None);
        };
        let missing = || corrupted(format!("{key} has no version of revision {modified}"));
        let record = self
            .versions
            .get((key.as_bytes(), modified))?
            .ok_or_else(missing)?;
        decode(key.as_bytes(), modified, record.value()).map_err(corrupted)
    }

    fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        lease: Option<LeaseId>,
        revision: u64,
        number: u32,
    ) -> Result<(), Fault> {
        let row = self.row(key)?;
        let created = row
            .map(|row| row.created)
            .filter(|created| *created != 0)
            .unwrap_or(revision);
        let old_lease = row.map_or(0, |row| row.lease);
        let new_lease = lease.map_or(0, |LeaseId(id)| id);
        if old_lease != new_lease {
            if old_lease != 0 {
                self.leased.remove((old_lease, key))?;
            }
            if new_lease != 0 {
                self.leased.insert((new_lease, key), ())?;
            }
        }
        self.versions.insert(
            (key, revision),
            encode(Revision(created), lease, value).as_slice(),
        )?;
        self.keys.insert(key, (revision, created, new_lease))?;
        self.log.insert((revision, number), key)?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8], revision: u64, number: u32) -> Result<bool, Fault> {
        let Some(row) = self.row(key)?.filter(|row| row.exists_since().is_some()) else {
            return Ok(false);
        };
        if row.lease != 0 {
            self.leased.remove((row.lease, key))?;
        }
        self.versions.insert((key, revision), TOMBSTONE)?;
        self.keys.insert(key, (revision, 0, 0))?;
        self.log.insert((revision, number), key)?;
        Ok(true)
    }

    /// Records a new lease.
    pub(super) fn grant(&mut self, seconds: u64) -> Result<LeaseId, Fault> {
        let id = self.lease + 1;
        self.leases.insert(id, seconds)?;
        self.lease = id;
        self.is_changed = true;
        Ok(LeaseId(id))
    }

    /// Removes a lease and, under one revision, all its keys.
    pub(super) fn revoke(&mut self, lease: LeaseId) -> Result<(), Fault> {
        if self.leases.get(lease.0)?.is_none() {
            return Err(Error::LeaseNotFound(lease).into());
        }
        let mut keys = Vec::new();
        for row in self.leased.range((lease.0, &[][..])..)? {
            let (at, _) = row?;
            let (id, key) = at.value();
            if id != lease.0 {
                break;
            }
            keys.push(key.to_vec());
        }
        let next = self.revision + 1;
        let mut written = 0;
        for key in &keys {
            written += u32::from(self.delete(key, next, written)?);
        }
        self.advance(next, written);
        self.leases.remove(lease.0)?;
        self.is_changed = true;
        Ok(())
    }

    /// Declares the history before a revision gone; trimming follows.
    pub(super) fn compact(&mut self, revision: Revision) -> Result<(), Fault> {
        if revision.0 > self.revision {
            return Err(Error::FutureRevision {
                asked: revision,
                current: Revision(self.revision),
            }
            .into());
        }
        if revision.0 <= self.compacted {
            return Err(Error::Compacted {
                asked: revision,
                compacted: Revision(self.compacted),
            }
            .into());
        }
        self.compacted = revision.0;
        self.is_changed = true;
        Ok(())
    }

    /// Bounds the history, trims some of what is compacted away, and notes the numbers.
    pub(super) fn finish(mut self, history_revisions: u64) -> Result<Finished, Fault> {
        self.compacted = self
            .compacted
            .max(self.revision.saturating_sub(history_revisions));
        if !self.is_changed && self.trimmed >= self.compacted {
            return Ok(Finished::Unchanged);
        }
        self.trim()?;
        self.meta.insert(meta::REVISION, self.revision)?;
        self.meta.insert(meta::COMPACTED, self.compacted)?;
        self.meta.insert(meta::TRIMMED, self.trimmed)?;
        self.meta.insert(meta::LEASE, self.lease)?;
        Ok(Finished::Changed {
            revision: Revision(self.revision),
            is_trimming: self.trimmed < self.compacted,
        })
    }

    /// Removes versions that no readable revision sees: of each write up to the compacted revision the version before
    /// it, and the write itself if it was a deletion.
    fn trim(&mut self) -> Result<(), Fault> {
        if self.trimmed >= self.compacted {
            return Ok(());
        }
        let mut entries = Vec::new();
        for row in self
            .log
            .range((0, 0)..(self.compacted + 1, 0))?
            .take(TRIM_MAX)
        {
            let (at, key) = row?;
            entries.push((at.value(), key.value().to_vec()));
        }
        for ((revision, number), key) in &entries {
            self.trim_write(key, *revision)?;
            self.log.remove((*revision, *number))?;
        }
        self.trimmed = match entries.last() {
            Some(((revision, _), _)) if entries.len() == TRIM_MAX => revision - 1,
            Some(_) | None => self.compacted,
        };
        Ok(())
    }

    fn trim_write(&mut self, key: &[u8], revision: u64) -> Result<(), Fault> {
        let older = match self.versions.range((key, 0)..(key, revision))?.next_back() {
            Some(row) => Some(row?.0.value().1),
            None => None,
        };
        if let Some(older) = older {
            self.versions.remove((key, older))?;
        }
        let is_deletion = self
            .versions
            .get((key, revision))?
            .is_some_and(|record| record.value() == TOMBSTONE);
        if is_deletion {
            self.versions.remove((key, revision))?;
            if self.row(key)?.is_some_and(|row| row.modified == revision) {
                self.keys.remove(key)?;
            }
        }
        Ok(())
    }
}
