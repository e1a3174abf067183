//! Resource limits: the rules of rctl(8) about jails.
//!
//! Rules go by a jail's name, are there before the jail and stay after it (`prison_racct_find`, sys/kern/kern_jail.c), so the ledger has which are ours. What others have put there is left alone: a
//! `deny` rule of another amount has the place that the kernel would give to ours (`rctl_rule_add`, sys/kern/kern_rctl.c), and blocks the jail while it stands.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_schemas::ids::Uid;
use cellblock_schemas::validate::limits;
use cellblock_schemas::view::{HostView, JailView};

use super::phase::Phase;
use super::{Planner, reason};
use crate::host::Wanted;
use crate::ledger::{Ledger, Owned};
use crate::observed::Observed;
use crate::op::{Op, Record, Subject};

/// Whether the kernel accounts resources; set in loader.conf(5) alone.
const ENABLE: &str = "kern.racct.enable";

/// Adds what a look must take in for limits, where there are any.
pub(super) fn add_wanted(view: &HostView, ledger: &Ledger, wanted: &mut Wanted) {
    let mut jails = view.jails.values();
    wanted.limits = jails.any(|jail| !jail.spec.limits.is_empty()) || ours(ledger).next().is_some();
    if wanted.limits {
        wanted.sysctls.insert(ENABLE.to_owned());
    }
}

/// The rules that we added, with their jails.
fn ours(ledger: &Ledger) -> impl Iterator<Item = (&Uid, &str)> {
    ledger.owned.iter().filter_map(|owned| {
        if let Owned::Limit { jail, rule } = owned {
            Some((jail, rule.as_str()))
        } else {
            None
        }
    })
}

/// The rules of a jail, as rctl(8) prints them.
fn rules(jail: &JailView) -> impl Iterator<Item = String> {
    let limits = jail.spec.limits.iter();
    let limits = limits.filter_map(|limit| limits::normalised(limit));
    limits.map(|limit| format!("jail:{}:{limit}", jail.jail_name()))
}

/// Why the jail's limits could not be had on this host; none: they can.
pub(super) fn refusal(observed: &Observed, jail: &JailView) -> Option<(&'static str, String)> {
    if jail.spec.limits.is_empty() || observed.facts.features.iter().any(|has| has == "rctl") {
        return None;
    }
    let message = if observed.sysctls.get(ENABLE) == Some(&None) {
        "spec.limits: this host's kernel is built without RACCT and RCTL, so nothing would limit the jail; run a kernel that has them, as GENERIC does, or take the limits away"
    } else {
        "spec.limits: this host does not account resources, so nothing would limit the jail; put `kern.racct.enable=1` into /boot/loader.conf and boot it, or take the limits away"
    };
    Some((reason::RACCT_DISABLED, message.to_owned()))
}

/// Whether the kernel drops the rule `present` when `added` is added: a `deny` rule that differs in its amount alone.
fn gives_way(present: &str, added: &str) -> bool {
    let place = |rule: &str| {
        let (what, amount) = rule.split_once('=')?;
        let per = amount.split_once('/').map(|(_, per)| per.to_owned());
        what.ends_with(":deny").then(|| (what.to_owned(), per))
    };
    present != added && place(present).is_some_and(|found| place(added) == Some(found))
}

/// A rule with what its amount counts for spelled out: a filter without that fits the rules of all others too (`rctl_rule_matches`, sys/kern/kern_rctl.c).
#[must_use]
pub fn spelled(rule: &str) -> String {
    if rule.contains('/') {
        rule.to_owned()
    } else {
        format!("{rule}/jail")
    }
}

impl Planner<'_> {
    pub(super) fn plan_limits(&mut self) {
        let (observed, ledger) = (self.observed, self.ledger);
        let Some(present) = &observed.limits else {
            return;
        };
        let own: BTreeSet<&str> = ours(ledger).map(|(_, rule)| rule).collect();
        let mut wanted: BTreeMap<String, Uid> = BTreeMap::new();
        let mut settled: BTreeSet<Uid> = BTreeSet::new();
        let mut taken = Vec::new();
        for (uid, jail) in &self.desired.jails {
            // The rules would limit the stranger who has the name.
            if self.stranger_called(jail.view.jail_name(), uid).is_some() {
                settled.insert(uid.clone());
                continue;
            }
            let rules: Vec<String> = rules(jail.view).collect();
            let mut theirs = present.iter().filter(|rule| !own.contains(rule.as_str()));
            if let Some(theirs) =
                theirs.find(|theirs| rules.iter().any(|rule| gives_way(theirs, rule)))
            {
                taken.push((Subject::Jail(uid.clone()), theirs));
                continue;
            }
            settled.insert(uid.clone());
            wanted.extend(rules.into_iter().map(|rule| (rule, uid.clone())));
        }
        for (subject, theirs) in taken {
            let message = format!(
                "spec.limits: somebody else has given this jail the rule `{theirs}`, which the kernel would drop for ours; remove it (rctl -r '{}'), or leave that limit to it",
                spelled(theirs)
            );
            self.block(&subject, reason::LIMIT_TAKEN, message);
        }
        let left = ours(ledger).filter(|(uid, rule)| {
            // Of a jail that is to go, until it has gone; of one that is blocked, what it was started with.
            let name = rule.split(':').nth(1).unwrap_or_default();
            let running = self.index.living(name);
            let is_its =
                running.is_some_and(|jail| self.index.owner_of(jail) == Some(uid.as_str()));
            !wanted.contains_key(*rule) && (settled.contains(uid) || !is_its)
        });
        let left: Vec<(Uid, String)> = left
            .map(|(uid, rule)| (uid.clone(), rule.to_owned()))
            .collect();
        for (rule, jail) in wanted {
            if !present.contains(&rule) {
                let op = Op::AddLimit { rule: rule.clone() };
                let subject = Subject::Jail(jail.clone());
                self.step(Phase::AddLimit, &subject, op)
                    .record
                    .push(Record::Owned(Owned::Limit { jail, rule }));
            }
        }
        for (jail, rule) in left {
            let op = Op::RemoveLimit { rule: rule.clone() };
            let subject = Subject::Jail(jail.clone());
            self.step(Phase::RemoveLimit, &subject, op)
                .forget
                .push(Record::Owned(Owned::Limit { jail, rule }));
        }
    }
}
