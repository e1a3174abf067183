//! What pf.ko keeps: anchors with their rules and tables, states, settings, counters.
//!
//! Loading an anchor touches that anchor only; anchors are shared until one changes, so a clone is cheap. Commands
//! (`pfctl`) and packets (`filter`) are the callers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::facts::NetFacts;
use super::names::{LIMITS, TIMEOUTS};
use super::parse::{Parsed, TableEntry, parse_timeouts};
use super::rule::{Address, Af, RulesetKind};

pub mod anchor;
pub mod state;
pub mod table;

mod fingerprint;
mod interface;

pub use anchor::{Anchor, KernelRule, RuleId};
pub use interface::addresses_of;
pub use state::{SourceNode, State, StateId, StateKey};
pub use table::Table;

/// Old rules, and tables only they refer to, go when the purge thread has come round twice (sys/netpfil/pf/pf.c,
/// `pf_purge_unlinked_rules`, every `interval` seconds).
const PURGE: Duration = Duration::from_secs(20);

/// The names of `pfctl -s info`'s counters, in order (`PFRES_NAMES`).
pub(crate) const REASONS: &[&str] = &[
    "match",
    "bad-offset",
    "fragment",
    "short",
    "normalize",
    "memory",
    "bad-timestamp",
    "congestion",
    "ip-option",
    "proto-cksum",
    "state-mismatch",
    "state-insert",
    "state-limit",
    "src-limit",
    "synproxy",
    "map-failed",
    "translate",
];

/// What `pfctl -s info` counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Searches of the state table.
    pub searches: u64,
    /// States made.
    pub inserts: u64,
    /// States removed.
    pub removals: u64,
    /// Packets by reason, in the order of the names that pfctl prints.
    pub reasons: BTreeMap<usize, u64>,
}

/// Which parts of a text `pfctl -f` loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// `-R`: filter and scrub rules.
    pub filter: bool,
    /// `-N`: translation rules.
    pub translation: bool,
    /// `-O`: settings.
    pub settings: bool,
    /// Tables.
    pub tables: bool,
}

/// Why an operation on an anchor or a table failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such anchor.
    #[error("anchor does not exist")]
    NoAnchor,
    /// There is no such table.
    #[error("table does not exist")]
    NoTable,
    /// The table is constant.
    #[error("operation not permitted")]
    ConstantTable,
}

/// pf of one network stack.
#[derive(Debug, Clone)]
pub struct Pf {
    pub(super) enabled: bool,
    /// Uptime at the last start, stop or reset of the statistics.
    pub(super) since: Duration,
    pub(super) debug: u8,
    pub(super) host_id: u32,
    pub(super) log_interface: String,
    pub(super) limits: Vec<u32>,
    pub(super) timeouts: Vec<u32>,
    pub(super) reassemble: (bool, bool),
    pub(super) keep_counters: bool,
    /// Interfaces and groups with `set skip`, groups resolved when they were set.
    pub(super) skip: Vec<String>,
    pub(super) statistics: Statistics,
    pub(super) states: state::StateTable,
    anchors: BTreeMap<String, Arc<Anchor>>,
    /// Anchors that something lingers in, and until when.
    lingering: BTreeMap<String, Duration>,
    rule_ids: u64,
    pub(super) picks: u64,
}

impl Default for Pf {
    fn default() -> Self {
        Pf::new(0x5f3c_a1e7)
    }
}

impl Pf {
    /// A pf just loaded. `host_id` is what a real kernel would have picked at random.
    pub fn new(host_id: u32) -> Self {
        Pf {
            enabled: false,
            since: Duration::ZERO,
            debug: 1,
            host_id,
            log_interface: String::new(),
            limits: LIMITS.iter().map(|(_, limit)| *limit).collect(),
            timeouts: TIMEOUTS.iter().map(|(_, seconds)| *seconds).collect(),
            reassemble: (false, false),
            keep_counters: false,
            skip: Vec::new(),
            statistics: Statistics::default(),
            states: state::StateTable::default(),
            anchors: BTreeMap::from([(String::new(), Arc::new(Anchor::default()))]),
            lingering: BTreeMap::new(),
            rule_ids: 0,
            picks: 0,
        }
    }

    /// Whether packets are looked at.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The states, oldest first.
    pub fn states(&self) -> impl Iterator<Item = &State> {
        self.states.iter()
    }

    /// One anchor by its full path; the empty path is the main ruleset.
    pub fn anchor(&self, path: &str) -> Option<&Anchor> {
        self.anchors.get(path.trim_matches('/')).map(Arc::as_ref)
    }

    /// The full paths of all anchors but the main ruleset, in order of their names.
    pub fn anchor_paths(&self) -> impl Iterator<Item = &str> {
        self.anchors
            .keys()
            .map(String::as_str)
            .filter(|path| !path.is_empty())
    }

    pub(super) fn anchor_mut(&mut self, path: &str) -> Option<&mut Anchor> {
        self.anchors.get_mut(path).map(Arc::make_mut)
    }

    /// Finds or makes an anchor and its parents (`pf_find_or_create_kruleset`).
    pub(super) fn make_anchor(&mut self, path: &str) -> &mut Anchor {
        let path = path.trim_matches('/');
        if !self.anchors.contains_key(path) {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            self.make_anchor(parent).children.insert(name.to_owned());
            self.anchors.insert(path.to_owned(), Arc::default());
        }
        Arc::make_mut(
            self.anchors
                .get_mut(path)
                .expect("the anchor was just made"),
        )
    }

    /// Removes an anchor that nothing is left of, and its parents likewise (`pf_remove_if_empty_kruleset`).
    pub(super) fn remove_if_empty(&mut self, path: &str) {
        let mut path = path.trim_matches('/').to_owned();
        while !path.is_empty() {
            let kept = self
                .anchors
                .get(&path)
                .is_none_or(|anchor| !anchor.is_empty());
            if kept || self.lingering.contains_key(&path) {
                return;
            }
            self.anchors.remove(&path);
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if let Some(parent) = self.anchor_mut(parent) {
                parent.children.remove(name);
            }
            path = parent.to_owned();
        }
    }

    /// What the purge thread does as time passes: old rules and expired states go.
    pub fn purge(&mut self, now: Duration) {
        let gone: Vec<String> = self
            .lingering
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            self.lingering.remove(&path);
            if let Some(anchor) = self.anchor_mut(&path) {
                anchor.drop_unused_tables();
            }
            self.remove_if_empty(&path);
        }
        for state in self.states.expire(now) {
            self.forget(&state);
        }
    }

    /// Takes a removed state off its rules' counters.
    pub(super) fn forget(&mut self, state: &State) {
        self.statistics.removals += 1;
        for id in state.rules() {
            if let Some(rule) = self.rule_mut(&id) {
                rule.states_now = rule.states_now.saturating_sub(1);
            }
        }
    }

    pub(super) fn rule_mut(&mut self, id: &RuleId) -> Option<&mut KernelRule> {
        self.anchor_mut(&id.anchor)?.rule_mut(id)
    }

    /// Replaces the rules of one list (`pf_commit_rules`).
    pub(super) fn commit(
        &mut self,
        path: &str,
        kind: RulesetKind,
        rules: Vec<super::rule::Rule>,
        now: Duration,
    ) {
        let path = path.trim_matches('/').to_owned();
        let mut next = self.rule_ids;
        let mut made = Vec::with_capacity(rules.len());
        let mut calls = Vec::new();
        for (number, mut rule) in (0_u32..).zip(rules) {
            next += 1;
            rule.number = number;
            rule.inline = None;
            let target = if rule.anchor_call.is_empty() {
                None
            } else {
                let (target, wildcard) = anchor::call_target(&path, &rule.anchor_call);
                calls.push(target.clone());
                Some((target, wildcard))
            };
            made.push(KernelRule::new(next, rule, target));
        }
        self.rule_ids = next;
        for call in &calls {
            self.make_anchor(call).references += 1;
        }
        let keep_counters = self.keep_counters;
        let old = self.make_anchor(&path).replace(kind, made, keep_counters);
        // The old rules hold their tables and anchors until they are purged.
        if old.iter().any(|rule| rule.rule.tables().next().is_some()) {
            self.linger(&path, now);
        }
        for rule in &old {
            if let Some((target, _)) = &rule.calls {
                if let Some(anchor) = self.anchor_mut(target) {
                    anchor.references = anchor.references.saturating_sub(1);
                }
                self.linger(target, now);
            }
        }
        if let Some(anchor) = self.anchor_mut(&path) {
            anchor.count_references();
        }
        self.remove_if_empty(&path);
    }

    fn linger(&mut self, path: &str, now: Duration) {
        self.lingering.insert(path.to_owned(), now + PURGE);
    }

    /// Loads a text that was parsed without error, into one anchor, in one transaction.
    pub(super) fn load(&mut self, path: &str, parsed: &Parsed, parts: Parts, now: Duration) {
        if parts.tables {
            let anchor = self.make_anchor(path);
            for definition in &parsed.tables {
                anchor.define_table(definition);
            }
        }
        let mut rules = parsed.rules.clone();
        self.load_rules(path, &mut rules, parts, now);
        // Tables that only the replaced rules name stay until these are purged.
        let path = path.trim_matches('/');
        let lingers = self.lingering.contains_key(path);
        if let Some(anchor) = self.anchor_mut(path) {
            anchor.count_references();
            if !lingers {
                anchor.drop_unused_tables();
            }
        }
        self.remove_if_empty(path);
    }

    fn load_rules(
        &mut self,
        path: &str,
        rules: &mut super::rule::Ruleset,
        parts: Parts,
        now: Duration,
    ) {
        for kind in RulesetKind::ALL {
            let wanted = match kind {
                RulesetKind::Scrub | RulesetKind::Filter => parts.filter,
                RulesetKind::Nat | RulesetKind::Binat | RulesetKind::Rdr => parts.translation,
            };
            if !wanted {
                continue;
            }
            let mut list = std::mem::take(rules.rules_mut(kind));
            for rule in &mut list {
                if let Some(mut inline) = rule.inline.take() {
                    let separator = if path.is_empty() { "" } else { "/" };
                    let below = format!("{path}{separator}{}", rule.anchor_call);
                    self.load_rules(&below, &mut inline, parts, now);
                }
            }
            self.commit(path, kind, list, now);
        }
    }

    /// What loading the main ruleset sets beside rules (`pfctl_load_options`): what the text left out goes back to its
    /// default, and both anchor limits become 0, which pfctl never initialises (recording `05`).
    pub(super) fn apply_settings(&mut self, parsed: &Parsed, merge: bool, facts: &dyn NetFacts) {
        let settings = &parsed.settings;
        for (index, (_, default)) in LIMITS.iter().enumerate() {
            let unset = if index >= 4 { 0 } else { *default };
            match settings.limits.get(&index) {
                Some(limit) => self.limits[index] = *limit,
                None if !merge => self.limits[index] = unset,
                None => {}
            }
        }
        if merge {
            for (index, seconds) in &settings.timeouts {
                self.timeouts[*index] = *seconds;
            }
        } else {
            self.timeouts = parse_timeouts(settings);
        }
        self.adapt_timeouts(settings);
        let unset = |set: bool| set || !merge;
        if unset(settings.debug.is_some()) {
            self.debug = settings.debug.unwrap_or(1);
        }
        if unset(settings.log_interface.is_some()) {
            self.log_interface = settings.log_interface.clone().unwrap_or_default();
        }
        if let Some(id) = settings.host_id {
            self.host_id = id;
        }
        if unset(settings.reassemble.is_some()) {
            self.reassemble = settings.reassemble.unwrap_or_default();
        }
        self.keep_counters = settings.keep_counters;
        self.skip = interface::skipped(&settings.skip, facts);
    }

    /// A limit of states moves the adaptive timeouts, unless they were set too.
    fn adapt_timeouts(&mut self, settings: &super::parse::Settings) {
        let place = |name: &str| TIMEOUTS.iter().position(|(known, _)| *known == name);
        let (Some(start), Some(end)) = (place("adaptive.start"), place("adaptive.end")) else {
            return;
        };
        let set = settings.timeouts.contains_key(&start) || settings.timeouts.contains_key(&end);
        if let Some(limit) = settings.limits.get(&0)
            && !set
        {
            self.timeouts[start] = limit / 10 * 6;
            self.timeouts[end] = limit / 10 * 12;
        }
    }

    /// `pfctl_reset`: everything that `set` can change goes back.
    pub(super) fn reset_settings(&mut self, facts: &dyn NetFacts) {
        self.apply_settings(&Parsed::default(), false, facts);
        self.log_interface = "none".to_owned();
    }

    /// The table a rule in `anchor` means by `name`: its own if it is active, else the main ruleset's.
    pub(super) fn table(&self, anchor: &str, name: &str) -> Option<&Table> {
        let of = |path: &str| {
            self.anchor(path)?
                .tables
                .get(name)
                .filter(|table| table.active)
        };
        of(anchor).or_else(|| of(""))
    }

    /// How many addresses stand behind an interface or a table, for `-vv`.
    pub(super) fn count(
        &self,
        facts: &dyn NetFacts,
        anchor: &str,
        address: &Address,
        af: Option<Af>,
    ) -> Option<usize> {
        match address {
            Address::Table(name) => self.table(anchor, name).map(Table::len),
            Address::Interface {
                name,
                modifiers,
                bits,
            } => Some(addresses_of(facts, name, *modifiers, *bits, af).len()),
            Address::Any
            | Address::Net { .. }
            | Address::Range { .. }
            | Address::NoRoute
            | Address::UrpfFailed => None,
        }
    }

    /// Whether an address lies in a table, by the most specific entry.
    pub(super) fn table_holds(&self, anchor: &str, name: &str, address: IpAddr) -> bool {
        self.table(anchor, name)
            .and_then(|table| table.lookup(address))
            .is_some_and(|entry: TableEntry| !entry.negated)
    }
}
