//! Jails whose rules pf does not take. Whose they are, the adapter finds out when an anchor is refused, and the ledger remembers; from then on the anchor is loaded without them, and the jail is closed.
//!
//! Closed: its ports are not published, and where it has a firewall, nothing comes to it and nothing leaves it. Rules that were in force before are not kept: they are not what is wanted any more, and
//! nobody could say what they were. The rules are tried again as soon as they are others, and each look asks pfctl(8) about them, so that they are loaded once it takes them.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_schemas::ids::Uid;

use super::Rules;
use crate::firewall::{self, JailFirewall};
use crate::host::Wanted;
use crate::ledger::{Ledger, Owned};
use crate::op::Subject;
use crate::plan::{Planner, reason};
use crate::render::pf::{self, AnchorRules};

/// How many rules that pf does not take one look asks about; each is a command of a few milliseconds. Of those beyond, what was said before stays.
const ASKED_MAX: usize = 64;

/// What pf did not take, to be asked about.
pub(in crate::plan) fn add_wanted(ledger: &Ledger, wanted: &mut Wanted) {
    let rejected = ledger.owned.iter().filter_map(|owned| {
        if let Owned::Rejected {
            jail,
            anchor,
            rules,
            ..
        } = owned
        {
            Some(((anchor.clone(), jail.clone()), rules.clone()))
        } else {
            None
        }
    });
    wanted.rules.extend(rejected.take(ASKED_MAX));
}

/// The lines of each jail alone in an anchor; none of those that are closed, of which only what never depends on the jail's rules is left.
pub(super) fn parts(rules: &AnchorRules, closed: &BTreeSet<Uid>) -> BTreeMap<Uid, String> {
    let jails: BTreeSet<&Uid> = jails_of(rules).collect();
    let open = jails.into_iter().filter(|jail| !closed.contains(jail));
    open.filter_map(|jail| Some((jail.clone(), part(rules, jail)?)))
        .collect()
}

/// What the ledger says was rejected, and is not once the anchor is loaded with these parts.
pub(super) fn taken(ledger: &Ledger, of: &str, parts: &BTreeMap<Uid, String>) -> Vec<Owned> {
    let rejected = ledger.owned.iter().filter(|owned| {
        matches!(owned, Owned::Rejected { jail, anchor, .. } if anchor == of && parts.contains_key(jail))
    });
    rejected.cloned().collect()
}

fn jails_of(rules: &AnchorRules) -> impl Iterator<Item = &Uid> {
    let redirects = rules.redirects.iter().map(|redirect| &redirect.jail);
    let publics = rules.publics.iter().map(|public| &public.jail);
    let firewalls = rules.egress.iter().chain(&rules.ingress);
    redirects
        .chain(publics)
        .chain(firewalls.map(|firewall| &firewall.jail))
}

fn part(rules: &AnchorRules, jail: &Uid) -> Option<String> {
    let is_of = |firewall: &&JailFirewall| firewall.jail == *jail;
    let redirects = rules.redirects.iter();
    let publics = rules.publics.iter();
    let part = AnchorRules {
        redirects: redirects
            .filter(|rule| rule.jail == *jail)
            .cloned()
            .collect(),
        publics: publics.filter(|rule| rule.jail == *jail).cloned().collect(),
        egress: rules.egress.iter().filter(is_of).cloned().collect(),
        ingress: rules.ingress.iter().filter(is_of).cloned().collect(),
        ..AnchorRules::default()
    };
    pf::render(&part).map(|text| text.rules)
}

/// The same places, and nothing passes there.
fn closed(firewall: &JailFirewall) -> JailFirewall {
    let nothing = || firewall::Rules {
        list: Vec::new(),
        passes_rest: false,
    };
    JailFirewall {
        ingress: nothing(),
        egress: nothing(),
        ..firewall.clone()
    }
}

impl Planner<'_> {
    /// Completes the rules by firewalls, and closes the jails whose rules pf does not take.
    pub(super) fn add_firewalls_or_close(&mut self, mut rules: Rules) -> (Rules, BTreeSet<Uid>) {
        let is_rejected = |owned: &Owned| matches!(owned, Owned::Rejected { .. });
        if !self.ledger.owned.iter().any(is_rejected) {
            self.add_firewalls(&mut rules);
            return (rules, BTreeSet::new());
        }
        let (firewalls, mut whole) = (self.firewalls.clone(), rules.clone());
        self.add_firewalls(&mut whole);
        let rejected = self.rejected(&whole);
        if rejected.is_empty() {
            return (whole, BTreeSet::new());
        }
        self.firewalls = firewalls;
        for (jail, said) in &rejected {
            self.tell_rejected(jail, said);
            if let Some(firewall) = self.firewalls.get_mut(jail) {
                *firewall = closed(firewall);
            }
            for anchor in rules.values_mut() {
                anchor.redirects.retain(|redirect| redirect.jail != *jail);
                anchor.publics.retain(|public| public.jail != *jail);
                for pool in &mut anchor.pools {
                    pool.members.retain(|member| member.redirect.jail != *jail);
                }
                anchor.pools.retain(|pool| !pool.members.is_empty());
                // What leaves under a public address would be seen under that by the rules that close.
                anchor.backs.retain(|back| back.jail != *jail);
            }
        }
        self.add_firewalls(&mut rules);
        (rules, rejected.into_keys().collect())
    }

    /// The jails whose rules pf does not take as they are, with what it says.
    fn rejected(&self, rules: &Rules) -> BTreeMap<Uid, String> {
        let accepted = &self.observed.pf.accepted;
        let mut rejected = BTreeMap::new();
        for owned in &self.ledger.owned {
            let Owned::Rejected {
                jail,
                anchor,
                rules: text,
                said,
            } = owned
            else {
                continue;
            };
            let is_same = || {
                let rules = rules.get(anchor);
                rules.and_then(|rules| part(rules, jail)).as_ref() == Some(text)
            };
            if !accepted.contains(&(anchor.clone(), jail.clone())) && is_same() {
                rejected.insert(jail.clone(), said.clone());
            }
        }
        rejected
    }

    /// A jail with a firewall does not start before pf has taken its rules, though it would be closed: whoever starts it means it to be reached. Where they are others by now, they are loaded first.
    pub(in crate::plan) fn check_taken(&mut self, uid: &Uid) {
        let accepted = &self.observed.pf.accepted;
        let said = self.ledger.owned.iter().find_map(|owned| {
            if let Owned::Rejected {
                jail, anchor, said, ..
            } = owned
                && jail == uid
                && !accepted.contains(&(anchor.clone(), jail.clone()))
            {
                return Some(said);
            }
            None
        });
        if let Some(said) = said {
            self.tell_rejected(uid, said);
        }
    }

    fn tell_rejected(&mut self, jail: &Uid, said: &str) {
        let subject = Subject::Jail(jail.clone());
        let is_told = |blocked: &crate::op::Blocked| {
            blocked.subject == subject && blocked.reason == reason::RULE_REJECTED
        };
        if self.blocked.list.iter().any(is_told) {
            return;
        }
        let message = format!(
            "pf does not take the rules of this jail, so that nothing is published and, where it has a firewall, nothing passes: {said}"
        );
        self.block(&subject, reason::RULE_REJECTED, message);
    }
}
