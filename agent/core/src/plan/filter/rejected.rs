//! Jails whose rules pf does not take. Whose they are, the adapter finds out when an anchor is refused, and the ledger remembers; from then on the anchor is loaded without them, and the jail is closed.
//!
//! Closed: its ports are not published, so that what comes for them is dropped and not the host's, and where it has a firewall, nothing comes to it and nothing leaves it. Rules that were in force before are not kept: they are not what is wanted any more, and
//! nobody could say what they were. The rules are tried again as soon as they are others, and each look asks pfctl(8) about them, so that they are loaded once it takes them.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_schemas::ids::Uid;

use super::Rules;
use crate::firewall::{self, JailFirewall};
use crate::host::Wanted;
use crate::ledger::{Ledger, Owned};
use crate::op::Subject;
use crate::plan::{Planner, reason};
use crate::render::pf::{self, AnchorRules, BlockRule, PoolRule, PublicRule, RedirectRule};

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
    let jails = jails_of(rules).into_iter();
    let open = jails.filter(|jail| !closed.contains(jail));
    open.filter_map(|jail| {
        let part = part(rules, &jail)?;
        Some((jail, part))
    })
    .collect()
}

/// What the ledger says was rejected, and what of it holds.
#[derive(Default)]
pub(in crate::plan) struct Rejected {
    /// The jails whose rules pf does not take as they are, with what it says.
    jails: BTreeMap<Uid, String>,
    /// What holds no more, by anchor, because pf takes the rules by now or they are not the jail's any more: it is forgotten when that is loaded or cleared, which it is for that alone if need be.
    void: BTreeMap<String, Vec<Owned>>,
}

impl Rejected {
    /// What holds no more of an anchor.
    pub(super) fn void_of(&self, anchor: &str) -> &[Owned] {
        self.void.get(anchor).map_or(&[], Vec::as_slice)
    }

    /// The anchors of which something holds no more.
    pub(super) fn void_anchors(&self) -> impl Iterator<Item = &String> {
        self.void.keys()
    }
}

/// The jails that are closed, and the public addresses that they had.
#[derive(Default)]
pub(super) struct Closed {
    pub(super) jails: BTreeSet<Uid>,
    pub(super) publics: Vec<PublicRule>,
}

fn jails_of(rules: &AnchorRules) -> BTreeSet<Uid> {
    let members = rules.pools.iter().flat_map(|pool| &pool.members);
    let redirects = rules.redirects.iter();
    let redirects = redirects.chain(members.map(|member| &member.redirect));
    let publics = rules.publics.iter().chain(&rules.backs);
    let firewalls = rules.egress.iter().chain(&rules.ingress);
    let jails = redirects
        .map(|redirect| &redirect.jail)
        .chain(publics.map(|public| &public.jail))
        .chain(firewalls.map(|firewall| &firewall.jail));
    let marked = rules.marked.iter();
    let marked = marked.filter_map(|marked| pf::jail_of_label(&marked.tag));
    jails
        .cloned()
        .chain(marked.map(|jail| Uid(jail.to_owned())))
        .collect()
}

/// What stands in an anchor for one jail: of ports that it shares, as if it were alone behind them.
fn part(rules: &AnchorRules, jail: &Uid) -> Option<String> {
    let publics = |of: &[PublicRule]| -> Vec<PublicRule> {
        of.iter()
            .filter(|rule| rule.jail == *jail)
            .cloned()
            .collect()
    };
    let firewalls = |of: &[JailFirewall]| -> Vec<JailFirewall> {
        of.iter()
            .filter(|rule| rule.jail == *jail)
            .cloned()
            .collect()
    };
    let redirects = rules.redirects.iter();
    let redirects = redirects.filter(|rule| rule.jail == *jail);
    let members = rules.pools.iter().flat_map(|pool| &pool.members);
    let members = members.filter(|member| member.redirect.jail == *jail);
    let alone = members.cloned().map(|mut member| {
        member.is_behind = true;
        PoolRule {
            members: vec![member],
        }
    });
    let marked = rules.marked.iter();
    let marked = marked.filter(|marked| pf::jail_of_label(&marked.tag) == Some(jail.as_str()));
    let part = AnchorRules {
        redirects: redirects.cloned().collect(),
        pools: alone.collect(),
        publics: publics(&rules.publics),
        backs: publics(&rules.backs),
        marked: marked.cloned().collect(),
        egress: firewalls(&rules.egress),
        ingress: firewalls(&rules.ingress),
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

/// Takes what is a jail's out of an anchor, and lets nothing come to the host that would have been led to the jail. The public addresses that it had there.
fn close(anchor: &mut AnchorRules, jail: &Uid) -> Vec<PublicRule> {
    let is_of = |redirect: &RedirectRule| redirect.jail == *jail;
    let mut gone: Vec<RedirectRule> = anchor.redirects.extract_if(.., |one| is_of(one)).collect();
    gone.retain(|redirect| redirect.pool.is_none());
    for pool in &mut anchor.pools {
        let members = pool.members.extract_if(.., |one| is_of(&one.redirect));
        let left = members.map(|member| member.redirect).last();
        if pool.members.is_empty() {
            gone.extend(left);
        }
    }
    anchor.pools.retain(|pool| !pool.members.is_empty());
    anchor
        .blocks
        .extend(gone.into_iter().map(|redirect| BlockRule {
            interface: redirect.interface,
            public: redirect.public,
            protocol: redirect.protocol,
            ports: redirect.ports,
        }));
    let is_of = |public: &PublicRule| public.jail == *jail;
    let publics: Vec<PublicRule> = anchor.publics.extract_if(.., |one| is_of(one)).collect();
    let whole = publics.iter().filter(|public| public.whole);
    anchor.shut.extend(whole.cloned());
    // What leaves under a public address would be seen under that by the rules that close.
    anchor.backs.retain(|back| !is_of(back));
    publics
}

impl Planner<'_> {
    /// Finds out what holds of what the ledger says was rejected, once the firewalls are resolved. A jail with a firewall does not start while its rules are, though it would be closed: whoever starts it
    /// means it to be reached.
    pub(in crate::plan) fn find_rejected(&mut self) {
        let is_rejected = |owned: &Owned| matches!(owned, Owned::Rejected { .. });
        if !self.observed.pf.is_read() || !self.ledger.owned.iter().any(is_rejected) {
            return;
        }
        let (firewalls, noted) = (self.firewalls.clone(), self.blocked.list.len());
        let mut whole = self.open_rules();
        self.add_firewalls(&mut whole, &Closed::default());
        self.blocked.forget_from(noted);
        self.firewalls = firewalls;
        self.rejected = self.rejected_of(&whole);
        for (jail, said) in self.rejected.jails.clone() {
            if self.firewalls.contains_key(&jail) && self.shall_run(&jail) {
                self.tell_rejected(&jail, &said);
            }
        }
    }

    fn rejected_of(&self, rules: &Rules) -> Rejected {
        let accepted = &self.observed.pf.accepted;
        let mut rejected = Rejected::default();
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
            let now = rules.get(anchor).and_then(|rules| part(rules, jail));
            let is_taken = accepted.contains(&(anchor.clone(), jail.clone()));
            if is_taken || now.as_ref() != Some(text) {
                let void = rejected.void.entry(anchor.clone()).or_default();
                void.push(owned.clone());
            } else {
                rejected.jails.insert(jail.clone(), said.clone());
            }
        }
        rejected
    }

    /// Completes the rules by firewalls, and closes the jails whose rules pf does not take.
    pub(super) fn add_firewalls_or_close(&mut self, mut rules: Rules) -> (Rules, BTreeSet<Uid>) {
        let rejected = self.rejected.jails.clone();
        let mut closing = Closed::default();
        for (jail, said) in &rejected {
            self.tell_rejected(jail, said);
            if let Some(firewall) = self.firewalls.get_mut(jail) {
                *firewall = closed(firewall);
            }
            for anchor in rules.values_mut() {
                closing.publics.extend(close(anchor, jail));
            }
        }
        closing.jails = rejected.into_keys().collect();
        self.choose_members(&mut rules);
        self.add_firewalls(&mut rules, &closing);
        (rules, closing.jails)
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
