//! A transaction over several keys: comparisons that must all hold, then writes that all happen.
//!
//! The limits are etcd's defaults and hold for every backend, so that what works on one machine still works on a
//! cluster. [`Transaction::check`] enforces them before anything is sent.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::lease::LeaseId;
use crate::model::{Key, Revision};

/// How many compares, and how many writes, a transaction has at most: etcd's `--max-txn-ops` default.
pub const OPS_MAX: usize = 128;

/// How many bytes the keys and values of a transaction have at most: etcd's `--max-request-bytes` default of 1.5 MiB,
/// less room for the envelope of 256 operations.
pub const TRANSACTION_BYTES_MAX: usize = 1_500_000;

/// How many bytes a key has at most. etcd sets no limit of its own; a key is part of every event and error message.
pub const KEY_BYTES_MAX: usize = 4_096;

/// What a key must be like for the transaction to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It does not exist.
    Absent,
    /// It exists, whatever its value.
    Exists,
    /// It was last written by the transaction of this revision.
    At(Revision),
}

impl Expect {
    /// Whether a key last written at `modified`, or absent, is as expected.
    pub(crate) fn holds(self, modified: Option<Revision>) -> bool {
        match self {
            Expect::Absent => modified.is_none(),
            Expect::Exists => modified.is_some(),
            Expect::At(revision) => modified == Some(revision),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Absent => f.write_str("not to exist"),
            Expect::Exists => f.write_str("to exist"),
            Expect::At(revision) => write!(f, "at revision {revision}"),
        }
    }
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key to look at.
    pub key: Key,
    /// What it must be like.
    pub expect: Expect,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Store these bytes, also when they are there already. The key leaves the lease it had, and joins `lease`.
    Put {
        /// Where.
        key: Key,
        /// What.
        value: Bytes,
        /// The lease that the key vanishes with.
        lease: Option<LeaseId>,
    },
    /// Remove the key. No error if it does not exist: expect it to, where that matters.
    Delete {
        /// Which.
        key: Key,
    },
}

impl Op {
    /// The key it writes.
    pub fn key(&self) -> &Key {
        match self {
            Op::Put { key, .. } | Op::Delete { key } => key,
        }
    }
}

/// Comparisons and writes that happen together, under one revision, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Transaction {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// All happen, in no particular order: no key may be written twice.
    pub ops: Vec<Op>,
}

impl Transaction {
    /// Without compares and writes.
    pub fn new() -> Self {
        Transaction::default()
    }

    /// Applies only if the key is as expected.
    pub fn expect(mut self, key: impl Into<Key>, expect: Expect) -> Self {
        self.compares.push(Compare {
            key: key.into(),
            expect,
        });
        self
    }

    /// Stores bytes.
    pub fn put(mut self, key: impl Into<Key>, value: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put {
            key: key.into(),
            value: value.into(),
            lease: None,
        });
        self
    }

    /// Stores bytes that vanish with a lease.
    pub fn put_leased(
        mut self,
        key: impl Into<Key>,
        value: impl Into<Bytes>,
        lease: LeaseId,
    ) -> Self {
        self.ops.push(Op::Put {
            key: key.into(),
            value: value.into(),
            lease: Some(lease),
        });
        self
    }

    /// Removes a key.
    pub fn delete(mut self, key: impl Into<Key>) -> Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// Stores bytes under a key that must not exist.
    pub fn create(self, key: impl Into<Key>, value: impl Into<Bytes>) -> Self {
        let key = key.into();
        self.expect(key.clone(), Expect::Absent).put(key, value)
    }

    /// How many bytes the keys and values have together.
    pub fn size_bytes(&self) -> usize {
        let compares: usize = self.compares.iter().map(|compare| compare.key.len()).sum();
        let ops: usize = self
            .ops
            .iter()
            .map(|op| match op {
                Op::Put { key, value, .. } => key.len() + value.len(),
                Op::Delete { key } => key.len(),
            })
            .sum();
        compares + ops
    }

    /// Refuses what no backend takes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond [`OPS_MAX`], [`KEY_BYTES_MAX`] or [`TRANSACTION_BYTES_MAX`]; [`Error::Invalid`] when
    /// a key is empty or written twice.
    pub fn check(&self) -> Result<()> {
        at_most(
            "the number of compares in one transaction",
            self.compares.len(),
            OPS_MAX,
        )?;
        at_most(
            "the number of writes in one transaction",
            self.ops.len(),
            OPS_MAX,
        )?;
        self.compares
            .iter()
            .try_for_each(|compare| check_key(&compare.key))?;
        let mut written = BTreeSet::new();
        for op in &self.ops {
            check_key(op.key())?;
            if !written.insert(op.key()) {
                return Err(Error::Invalid(format!(
                    "{} is written twice in one transaction",
                    op.key()
                )));
            }
        }
        let what = match self.ops.as_slice() {
            [only] => format!("the size in bytes of what is written to {}", only.key()),
            [] | [_, _, ..] => "the size in bytes of one transaction".to_owned(),
        };
        at_most(&what, self.size_bytes(), TRANSACTION_BYTES_MAX)
    }
}

/// Refuses a key that no backend takes.
pub(crate) fn check_key(key: &Key) -> Result<()> {
    if key.is_empty() {
        return Err(Error::Invalid("a key must not be empty".to_owned()));
    }
    at_most("the size in bytes of a key", key.len(), KEY_BYTES_MAX)
}

fn at_most(what: &str, size: usize, limit: usize) -> Result<()> {
    if size <= limit {
        return Ok(());
    }
    Err(Error::TooLarge {
        what: what.to_owned(),
        size,
        limit,
    })
}

/// What one write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The store is different now.
    Changed,
    /// Nothing to do: the key to delete did not exist.
    Unchanged,
}

/// What a transaction that applied did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The transaction's own revision; if nothing changed, the current one.
    pub revision: Revision,
    /// One per write, in their order.
    pub effects: Vec<Effect>,
}

#[cfg(test)]
mod tests;
