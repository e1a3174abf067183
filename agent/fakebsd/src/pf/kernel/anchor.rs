//! One anchor: its rules, its tables, what lies below it, who refers to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::pf::parse::TableDefinition;
use crate::pf::rule::{Rule, RulesetKind};

use super::table::Table;

/// Where a rule is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    /// Full path of its anchor.
    pub anchor: String,
    /// Its list.
    pub kind: RulesetKind,
    /// A number that no other rule ever had.
    pub serial: u64,
}

/// A loaded rule and its counters. Packets and bytes are in, out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRule {
    /// A number that no other rule ever had; ascending within a list.
    pub serial: u64,
    /// The rule; its number is its place in the list.
    pub rule: Rule,
    /// The anchor it calls, and whether with `/*`.
    pub calls: Option<(String, bool)>,
    /// How often it was looked at.
    pub evaluations: u64,
    /// Packets it decided on.
    pub packets: [u64; 2],
    /// Their bytes.
    pub bytes: [u64; 2],
    /// States it has now.
    pub states_now: u64,
    /// States it ever made.
    pub states_total: u64,
    /// The next address of a round-robin pool.
    pub next_address: usize,
}

impl KernelRule {
    pub(super) fn new(serial: u64, rule: Rule, calls: Option<(String, bool)>) -> Self {
        KernelRule {
            serial,
            rule,
            calls,
            evaluations: 0,
            packets: [0; 2],
            bytes: [0; 2],
            states_now: 0,
            states_total: 0,
            next_address: 0,
        }
    }
}

/// An anchor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Anchor {
    lists: [Vec<KernelRule>; 5],
    /// Its tables by name.
    pub tables: BTreeMap<String, Table>,
    /// Names of the anchors below it.
    pub children: BTreeSet<String>,
    /// Rules that call it.
    pub references: usize,
}

impl Anchor {
    /// The rules of one list.
    pub fn rules(&self, kind: RulesetKind) -> &[KernelRule] {
        &self.lists[kind as usize]
    }

    pub(in crate::pf) fn rules_mut(&mut self, kind: RulesetKind) -> &mut Vec<KernelRule> {
        &mut self.lists[kind as usize]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.children.is_empty()
            && self.references == 0
            && self.tables.is_empty()
            && self.lists.iter().all(Vec::is_empty)
    }

    pub(super) fn rule_mut(&mut self, id: &RuleId) -> Option<&mut KernelRule> {
        let rules = self.rules_mut(id.kind);
        let place = rules
            .binary_search_by_key(&id.serial, |rule| rule.serial)
            .ok()?;
        rules.get_mut(place)
    }

    /// Puts new rules in place of the old ones, which it returns; with `set keepcounters` equal rules keep counting.
    pub(super) fn replace(
        &mut self,
        kind: RulesetKind,
        mut rules: Vec<KernelRule>,
        keep: bool,
    ) -> Vec<KernelRule> {
        if keep {
            for rule in &mut rules {
                let same = |old: &&KernelRule| {
                    Rule {
                        number: 0,
                        ..old.rule.clone()
                    } == Rule {
                        number: 0,
                        ..rule.rule.clone()
                    }
                };
                if let Some(old) = self.rules(kind).iter().find(same) {
                    rule.evaluations = old.evaluations;
                    (rule.packets, rule.bytes) = (old.packets, old.bytes);
                }
            }
        }
        std::mem::replace(self.rules_mut(kind), rules)
    }

    /// Counts anew which tables its rules refer to.
    pub(super) fn count_references(&mut self) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for rule in self.lists.iter().flatten() {
            for name in rule.rule.tables() {
                *counts.entry(name).or_default() += 1;
            }
        }
        for (name, table) in &mut self.tables {
            table.references = counts.get(name.as_str()).copied().unwrap_or(0);
        }
    }

    /// A table neither persistent nor referred to does not live (`pfr_setflags_ktable`).
    pub(super) fn drop_unused_tables(&mut self) {
        self.tables
            .retain(|_, table| table.active && (table.persist || table.references > 0));
    }

    /// Defines a table, keeping the members of an existing one if the text gave none (`pfr_commit_ktable`).
    pub(super) fn define_table(&mut self, definition: &TableDefinition) {
        let table = self.tables.entry(definition.name.clone()).or_default();
        if !table.active || definition.entries.is_some() {
            table.clear();
        }
        for entry in definition.entries.iter().flatten() {
            table.add(*entry);
        }
        table.active = true;
        table.constant = definition.constant;
        table.persist = definition.persist;
        table.counters = definition.counters;
    }
}

/// The anchor that a call in `path` means (`pf_kanchor_setup`): absolute behind `/`, upwards by `../`, all its children
/// with `/*`.
pub(super) fn call_target(path: &str, call: &str) -> (String, bool) {
    let full = match call.strip_prefix('/') {
        Some(absolute) => absolute.to_owned(),
        None => {
            let mut base = path.to_owned();
            let mut name = call;
            while let Some(rest) = name.strip_prefix("../") {
                base = base
                    .rsplit_once('/')
                    .map(|(parent, _)| parent.to_owned())
                    .unwrap_or_default();
                name = rest;
            }
            if base.is_empty() {
                name.to_owned()
            } else {
                format!("{base}/{name}")
            }
        }
    };
    match full.strip_suffix("/*") {
        Some(parent) => (parent.to_owned(), true),
        None => (full, false),
    }
}
