//! Firewalls of jails in their anchors, and the states that they do not permit: those end when the rules that say so are loaded, whoever's rules made them, and no others do.
//!
//! The ledger knows of rules before they are loaded, and that states are to be checked until they were: wherever the agent dies, they are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::Family;
use sha2::{Digest, Sha256};

use super::Rules;
use super::rejected::Closed;
use crate::firewall::{At, JailFirewall, Outward};
use crate::ledger::{Ledger, Owned};
use crate::names;
use crate::op::{Op, Record, Subject};
use crate::plan::Planner;
use crate::plan::phase::Phase;
use crate::render::pf::{self, MarkedNat, NatRule};

/// What the ledger is to say of each jail's firewall.
pub(super) type Loaded = BTreeMap<Uid, Owned>;

/// Firewalls of an anchor that the ledger does not know as they are: until it does, states are to be checked.
pub(super) fn unchecked(states: &BTreeSet<Owned>, ledger: &Ledger) -> Vec<Owned> {
    let new = states.iter().filter(|state| !ledger.owned.contains(*state));
    let jails = new.filter_map(|state| {
        if let Owned::Firewall { jail, .. } = state {
            Some(jail.clone())
        } else {
            None
        }
    });
    jails.map(|jail| Owned::Unchecked { jail }).collect()
}

impl Planner<'_> {
    /// Puts the firewalls into their anchors, with the ways out by which pf sees jails under other addresses: those of closed jails among them, since the translation
    /// stands in another anchor, and may stand there still.
    pub(super) fn add_firewalls(&mut self, rules: &mut Rules, closed: &Closed) {
        for (uid, firewall) in &mut self.firewalls {
            add_outward(firewall, self.view, rules, closed);
            let egress = rules.entry(names::egress_anchor(uid)).or_default();
            egress.egress.push(firewall.clone());
            let ingress = rules.entry(names::jail_anchor(uid)).or_default();
            ingress.ingress.push(firewall.clone());
        }
    }

    /// What the ledger is to say of each firewall.
    pub(super) fn loaded_as(&self, rules: &Rules) -> Loaded {
        let firewalls = rules.values().flat_map(|rules| &rules.ingress);
        let loaded = firewalls.map(|firewall| (firewall.jail.clone(), self.loaded(firewall)));
        loaded.collect()
    }

    pub(in crate::plan) fn loaded(&self, firewall: &JailFirewall) -> Owned {
        let jail = self.view.jails.get(&firewall.jail);
        let spec = jail.and_then(|jail| jail.spec.firewall.as_ref());
        let owners = if firewall.has_owners() {
            let ids: Vec<_> = firewall
                .ingress
                .list
                .iter()
                .chain(&firewall.egress.list)
                .map(|rule| (rule.user, rule.group))
                .collect();
            let text = serde_json::to_string(&spec).expect("a firewall has string keys only");
            digest(&format!("{text}{ids:?}"))
        } else {
            String::new()
        };
        Owned::Firewall {
            jail: firewall.jail.clone(),
            rules: digest(&pf::firewall_text(firewall)),
            owners,
        }
    }

    /// Ends what firewalls do not permit, where the ledger does not know that it is checked.
    pub(super) fn plan_checks(&mut self, rules: &Rules, firewalls: &Loaded) {
        let ledger = self.ledger;
        let mut known: BTreeMap<&Uid, Vec<&Owned>> = BTreeMap::new();
        for owned in &ledger.owned {
            if let Owned::Firewall { jail, .. } = owned {
                known.entry(jail).or_default().push(owned);
            }
        }
        for firewall in rules.values().flat_map(|rules| &rules.ingress) {
            let Some(loaded) = firewalls.get(&firewall.jail) else {
                continue;
            };
            let mut former = known.remove(&firewall.jail).unwrap_or_default();
            former.retain(|owned| *owned != loaded);
            let unchecked = Owned::Unchecked {
                jail: firewall.jail.clone(),
            };
            let is_checked = ledger.owned.contains(loaded) && !ledger.owned.contains(&unchecked);
            if is_checked && former.is_empty() {
                continue;
            }
            let former: Vec<Owned> = former.into_iter().cloned().collect();
            let fresh = fresh(&former, loaded);
            let forget: Vec<Record> = former
                .into_iter()
                .chain([unchecked])
                .map(Record::Owned)
                .collect();
            let needs = self.anchors_of_firewall(&firewall.jail);
            let subject = Subject::anchor(&names::jail_anchor(&firewall.jail));
            let op = Op::KillUnpermitted {
                inside: None,
                firewall: firewall.clone(),
                fresh,
            };
            let step = self.step(Phase::KillStates, &subject, op);
            step.needs.extend(needs);
            step.forget.extend(forget);
        }
    }
}

/// Whether rules that ask for the owner of a socket may be newer than a connection, by what the ledger says of the jail's rules before.
pub(in crate::plan) fn fresh(former: &[Owned], loaded: &Owned) -> bool {
    let of = |owned: &Owned| {
        if let Owned::Firewall { owners, .. } = owned {
            Some(owners.clone())
        } else {
            None
        }
    };
    let now = of(loaded);
    former.is_empty() || former.iter().any(|former| of(former) != now)
}

fn digest(text: &str) -> String {
    let mut hash = data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
    hash.truncate(16);
    hash
}

/// The ways out of a jail with addresses of the host that are translated: pf translates before it filters, so that filter rules know them by a tag.
fn add_outward(
    firewall: &mut JailFirewall,
    view: &cellblock_schemas::view::HostView,
    rules: &mut Rules,
    closed: &Closed,
) {
    let egress = firewall.egress.clone();
    for link in &mut firewall.links {
        if link.at != At::Stack || !egress.block_on(link) {
            continue;
        }
        let Some(network) = view.networks.get(&link.network) else {
            continue;
        };
        let is_inside = |inside: &IpAddr| link.addresses.contains(inside);
        let own = rules.get(&names::jail_anchor(&firewall.jail));
        let publics = own
            .into_iter()
            .flat_map(|own| &own.publics)
            .chain(&closed.publics);
        let publics =
            publics.filter(|public| public.jail == firewall.jail && is_inside(&public.inside));
        let of_publics: Vec<Outward> = publics
            .map(|public| Outward {
                interface: public.interface.clone(),
                family: Family::of(public.public),
                tag: public.label_out(),
                public: Some(public.public),
            })
            .collect();
        let anchor = rules
            .entry(names::network_anchor(&network.uid))
            .or_default();
        let nat_of = |inside: &IpAddr, nat: &&NatRule| nat.from.contains(inside);
        for inside in &link.addresses {
            let Some(nat) = anchor.nats.iter().find(|nat| nat_of(inside, nat)).cloned() else {
                continue;
            };
            let mut marked = MarkedNat::new(&firewall.jail, *inside, &nat);
            marked.is_shut = closed.jails.contains(&firewall.jail);
            link.outward.push(Outward {
                interface: nat.interface,
                family: Family::of(*inside),
                tag: marked.tag.clone(),
                public: None,
            });
            anchor.marked.push(marked);
        }
        link.outward.extend(of_publics);
        if *anchor == pf::AnchorRules::default() {
            rules.remove(&names::network_anchor(&network.uid));
        }
    }
}
