//! Tables: sets of networks, looked up by the most specific entry.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::pf::address;
use crate::pf::parse::TableEntry;

/// A table. Entries are ordered as the kernel's radix trees are walked: IPv4 first, by address, the longest prefix
/// first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// Whether it may be used; a table that is only referred to is not.
    pub active: bool,
    /// `const`.
    pub constant: bool,
    /// `persist`.
    pub persist: bool,
    /// `counters`.
    pub counters: bool,
    /// Rules of its anchor that refer to it.
    pub references: usize,
    entries: BTreeMap<(bool, u128, u8), TableEntry>,
    /// How many entries there are of each family and prefix length, so that a look-up tries only lengths in use.
    lengths: BTreeMap<(bool, u8), usize>,
}

fn key(entry: TableEntry) -> (bool, u128, u8) {
    (
        entry.address.is_ipv6(),
        address::to_bits(entry.address),
        u8::MAX - entry.bits,
    )
}

impl Table {
    /// Its entries in order.
    pub fn entries(&self) -> impl Iterator<Item = TableEntry> {
        self.entries.values().copied()
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of exactly this network.
    pub fn get(&self, entry: TableEntry) -> Option<TableEntry> {
        self.entries.get(&key(entry)).copied()
    }

    /// The most specific entry that holds an address.
    pub fn lookup(&self, address: IpAddr) -> Option<TableEntry> {
        let six = address.is_ipv6();
        self.lengths
            .range((six, 0)..=(six, u8::MAX))
            .rev()
            .find_map(|((_, bits), _)| {
                let network = TableEntry {
                    address: address::masked(address, *bits),
                    bits: *bits,
                    negated: false,
                };
                self.get(network)
            })
    }

    pub(in crate::pf) fn clear(&mut self) {
        self.entries.clear();
        self.lengths.clear();
    }

    /// Adds an entry; false if its network was there.
    pub(in crate::pf) fn add(&mut self, entry: TableEntry) -> bool {
        if self.get(entry).is_some() {
            return false;
        }
        self.entries.insert(key(entry), entry);
        *self
            .lengths
            .entry((entry.address.is_ipv6(), entry.bits))
            .or_default() += 1;
        true
    }

    pub(in crate::pf) fn remove(&mut self, entry: TableEntry) -> bool {
        let found = self.entries.remove(&key(entry)).is_some();
        if found {
            let place = (entry.address.is_ipv6(), entry.bits);
            if let Some(count) = self.lengths.get_mut(&place) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&place);
                }
            }
        }
        found
    }
}
