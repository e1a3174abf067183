//! What a decision wants written: comparisons and changes that the shell commits as one store transaction.
//!
//! The store's own types are not used here: this crate does not know that there is one.

use bytes::Bytes;
use cellblock_schemas::{Kind, Uid};

/// How many comparisons, and how many changes, a write has at most: what every store takes in one transaction, which is etcd's
/// default of 128, less the comparison by which the shell makes sure of its store. The shell asserts that its store takes both.
pub const OPS_MAX: usize = 127;

/// What a key must be like for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It does not exist.
    Absent,
    /// It was last written at this revision.
    At(u64),
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Store these bytes.
    Put(String, Bytes),
    /// Remove the key.
    Delete(String),
}

/// A transaction: all comparisons hold and all changes happen, or nothing does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// The comparisons, by key.
    pub compares: Vec<(String, Expect)>,
    /// The changes; no key twice.
    pub changes: Vec<Change>,
    /// The objects that it is about, for messages.
    pub about: Vec<(Kind, String)>,
}

/// The names of guards.
///
/// Some rules relate an object to others that its transaction does not write: no two networks overlap, no two port ranges
/// of a host overlap. Whoever relies on such a rule compares its guard and writes it, so that two controllers cannot both
/// rely on what was true before the other's write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// The subnets of all networks.
    Networks,
    /// What one network is, and which of its addresses are claimed: every change of its spec, its deletion and every claim writes it.
    Addresses(String),
    /// The published ports and public addresses of one host.
    Ports(String),
    /// The node addresses of all hosts, and the networks that span hosts.
    Nodes,
    /// Which jails of a set are made, changed or taken away, by the set's uid.
    Set(Uid),
    /// Which bridge has which uplink of one host.
    Uplinks(String),
    /// Which jails depend on which.
    Dependencies,
    /// Whether a routing table is named in manifests, or one network's own.
    Fib(u16),
}

impl Guard {
    /// The guard's name within its keys.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Networks => "networks".to_owned(),
            Self::Nodes => "nodes".to_owned(),
            Self::Dependencies => "dependencies".to_owned(),
            Self::Addresses(network) => format!("addresses/{network}"),
            Self::Ports(host) => format!("ports/{host}"),
            Self::Set(uid) => format!("sets/{uid}"),
            Self::Fib(number) => format!("fibs/{number}"),
            Self::Uplinks(host) => format!("uplinks/{host}"),
        }
    }
}

impl Write {
    /// Whether a store takes it when that many comparisons and changes are added to it.
    #[must_use]
    pub fn has_room_for(&self, more: usize) -> bool {
        self.compares.len().max(self.changes.len()) + more <= OPS_MAX
    }

    /// Adds a comparison.
    pub fn expect(&mut self, key: String, expect: Expect) {
        if !self.compares.iter().any(|(present, _)| *present == key) {
            self.compares.push((key, expect));
        }
    }

    /// Adds bytes to store.
    pub fn put(&mut self, key: String, value: impl Into<Bytes>) {
        self.changes.push(Change::Put(key, value.into()));
    }

    /// Adds a key to remove.
    pub fn delete(&mut self, key: String) {
        self.changes.push(Change::Delete(key));
    }

    /// Adds bytes to store under a key that must not exist.
    pub fn create(&mut self, key: String, value: impl Into<Bytes>) {
        self.expect(key.clone(), Expect::Absent);
        self.put(key, value);
    }
}
