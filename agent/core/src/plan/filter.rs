//! The packet filter: which rules stand in which of our anchors, and whether they have any effect.
//!
//! Rules follow from the view alone, not from what runs: a jail that is blocked keeps its published ports for the moment it comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_schemas::jail::{Publish, RunPolicy};
use cellblock_schemas::net::Family;
use cellblock_schemas::network::{Mode, Nat};
use cellblock_schemas::view::{JailView, NetworkView};

use super::desired::uplink_interface;
use super::phase::Phase;
use super::{Planner, reason};
use crate::ledger::Owned;
use crate::names;
use crate::observed::AnchorReference;
use crate::op::{Op, Record, Subject};
use crate::render::pf::{self, AnchorText, NatRule, RedirectRule};

/// Everything that shall stand in our anchors.
#[derive(Default)]
struct Rules {
    nats: BTreeMap<String, Vec<NatRule>>,
    redirects: BTreeMap<String, Vec<RedirectRule>>,
}

/// Whose states may stand once the rules are loaded, by anchor.
type States = BTreeMap<String, BTreeSet<Owned>>;

impl Rules {
    fn states(&self) -> States {
        let mut states = States::new();
        for (anchor, nats) in &self.nats {
            let of_nats = nats.iter().map(|nat| Owned::Translation {
                anchor: anchor.clone(),
                from: nat.from,
                to: nat.to,
            });
            states.entry(anchor.clone()).or_default().extend(of_nats);
        }
        for (anchor, redirects) in &self.redirects {
            for redirect in redirects {
                let of_ports = redirect.ports.iter().map(|ports| Owned::Redirect {
                    anchor: anchor.clone(),
                    label: redirect.label(ports),
                });
                states.entry(anchor.clone()).or_default().extend(of_ports);
            }
        }
        states
    }
}

impl Planner<'_> {
    pub(super) fn plan_filter(&mut self) {
        let rules = self.rules();
        let mut wanted: BTreeMap<String, AnchorText> = BTreeMap::new();
        for (anchor, nats) in &rules.nats {
            wanted.extend(pf::render(nats, &[]).map(|text| (anchor.clone(), text)));
        }
        for (anchor, redirects) in &rules.redirects {
            wanted.extend(pf::render(&[], redirects).map(|text| (anchor.clone(), text)));
        }
        if self.observed.pf.loaded {
            let states = rules.states();
            self.plan_anchors(&wanted, &states);
            self.plan_states(&states);
        }
        if !wanted.is_empty() {
            self.check_effect(&rules);
        }
    }

    fn plan_anchors(&mut self, wanted: &BTreeMap<String, AnchorText>, states: &States) {
        let (observed, ledger, none) = (self.observed, self.ledger, BTreeSet::new());
        for (anchor, text) in wanted {
            let states = states.get(anchor).unwrap_or(&none);
            // Rules that the ledger does not know are loaded once more, so that it knows whose states to kill one day.
            let known = states.iter().all(|state| ledger.owned.contains(state));
            if observed.pf.anchors.get(anchor) != Some(&text.hash) || !known {
                let op = Op::LoadAnchor {
                    anchor: anchor.clone(),
                    rules: text.rules.clone(),
                };
                self.step(Phase::LoadAnchor, &Subject::anchor(anchor), op)
                    .record
                    .extend(states.iter().cloned().map(Record::Owned));
            }
        }
        for anchor in observed.pf.anchors.keys() {
            if !wanted.contains_key(anchor) && is_our_anchor(anchor) {
                self.step(
                    Phase::ClearAnchor,
                    &Subject::anchor(anchor),
                    Op::ClearAnchor {
                        anchor: anchor.clone(),
                    },
                );
            }
        }
    }

    /// States outlive their rules. The ledger knew of each rule before it was loaded; what it knows of and is not wanted any more has its states killed, once the rule is gone.
    fn plan_states(&mut self, wanted: &States) {
        let ledger = self.ledger;
        for owned in &ledger.owned {
            let (anchor, op) = match owned {
                Owned::Redirect { anchor, label } => {
                    let label = label.clone();
                    (anchor, Op::KillLabelled { label })
                }
                Owned::Translation { anchor, from, to } => (
                    anchor,
                    Op::KillTranslated {
                        from: *from,
                        to: *to,
                    },
                ),
                Owned::Alias { .. }
                | Owned::BroughtUp { .. }
                | Owned::Inet6Enabled { .. }
                | Owned::LinkLocal { .. }
                | Owned::Member { .. }
                | Owned::Sysctl { .. } => continue,
            };
            let kept = wanted.get(anchor);
            if !kept.is_some_and(|kept| kept.contains(owned)) {
                self.step(Phase::KillStates, &Subject::anchor(anchor), op)
                    .forget
                    .push(Record::Owned(owned.clone()));
            }
        }
    }

    fn rules(&mut self) -> Rules {
        let view = self.view;
        let mut rules = Rules::default();
        let jails: Vec<&JailView> = view
            .jails
            .values()
            .filter(|jail| !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped)
            .collect();
        let used: BTreeSet<&str> = jails
            .iter()
            .flat_map(|jail| {
                jail.binding
                    .attachments
                    .iter()
                    .map(|attachment| attachment.network.as_str())
            })
            .collect();
        for network in view
            .networks
            .values()
            .filter(|network| used.contains(network.name.as_str()))
        {
            if let Some(nat) = network
                .spec
                .egress
                .as_ref()
                .and_then(|egress| egress.nat.as_ref())
            {
                let nats = self.nat_rules(network, nat);
                if !nats.is_empty() {
                    rules.nats.insert(names::network_anchor(&network.uid), nats);
                }
            }
            self.check_forwarding(network, &jails);
        }
        for jail in jails {
            for publish in &jail.spec.publish {
                let redirects = self.redirect_rules(jail, publish);
                rules
                    .redirects
                    .entry(names::jail_anchor(&jail.uid))
                    .or_default()
                    .extend(redirects);
            }
        }
        rules.redirects.retain(|_, redirects| !redirects.is_empty());
        rules
    }

    fn nat_rules(&mut self, network: &NetworkView, nat: &Nat) -> Vec<NatRule> {
        let subject = Subject::Network(network.uid.clone());
        let interface = match uplink_interface(self.view, self.observed, &self.index, &nat.uplink) {
            Ok(interface) => interface,
            Err(message) => {
                self.block(
                    &subject,
                    reason::UPLINK_MISSING,
                    format!("spec.egress.nat: {message}"),
                );
                return Vec::new();
            }
        };
        let mut rules = Vec::new();
        for subnet in &network.spec.subnets {
            let name = match subnet.cidr.family() {
                Family::Ipv4 => nat.address.as_deref(),
                Family::Ipv6 if nat.address6.is_none() => continue,
                Family::Ipv6 => nat.address6.as_deref(),
            };
            let to = match name {
                None => None,
                Some(name) => match self.public_address(&subject, &nat.uplink, &interface, name) {
                    Some(address) if Family::of(address) == subnet.cidr.family() => Some(address),
                    Some(_) | None => continue,
                },
            };
            rules.push(NatRule {
                interface: interface.clone(),
                from: subnet.cidr.net(),
                to,
                static_port: nat.static_port,
            });
        }
        rules
    }

    /// A public address by name. Noted as missing where the host does not carry it: the rule would have no effect.
    fn public_address(
        &mut self,
        subject: &Subject,
        uplink: &str,
        interface: &str,
        name: &str,
    ) -> Option<IpAddr> {
        let spec = self.view.host.uplinks.get(uplink)?;
        let Some(address) = spec.public_addresses.get(name).copied() else {
            let message = format!(
                "uplink `{uplink}` of host `{}` has no public address called `{name}`",
                self.view.host_name
            );
            self.block(subject, reason::PUBLIC_ADDRESS_MISSING, message);
            return None;
        };
        if self.index.holders(&address).next().is_none() {
            let message = format!(
                "public address `{name}` ({address}) of uplink `{uplink}` is not on this host; add it to `{interface}` in rc.conf"
            );
            self.block(subject, reason::PUBLIC_ADDRESS_MISSING, message);
        }
        Some(address)
    }

    fn redirect_rules(&mut self, jail: &JailView, publish: &Publish) -> Vec<RedirectRule> {
        let subject = Subject::Jail(jail.uid.clone());
        let field = format!("spec.publish[{}]", publish.name);
        let interface =
            match uplink_interface(self.view, self.observed, &self.index, &publish.uplink) {
                Ok(interface) => interface,
                Err(message) => {
                    self.block(
                        &subject,
                        reason::UPLINK_MISSING,
                        format!("{field}: {message}"),
                    );
                    return Vec::new();
                }
            };
        let publics: Vec<IpAddr> = match &publish.address {
            Some(name) => self
                .public_address(&subject, &publish.uplink, &interface, name)
                .into_iter()
                .collect(),
            None => {
                let spec = self.view.host.uplinks.get(&publish.uplink);
                let all: Vec<IpAddr> = spec
                    .map(|spec| spec.public_addresses.values().copied().collect())
                    .unwrap_or_default();
                [Family::Ipv4, Family::Ipv6]
                    .into_iter()
                    .filter_map(|family| {
                        all.iter()
                            .copied()
                            .find(|address| Family::of(*address) == family)
                    })
                    .collect()
            }
        };
        if publics.is_empty() && publish.address.is_none() {
            let message = format!(
                "{field}: uplink `{}` names no public address; add one to its publicAddresses",
                publish.uplink
            );
            self.block(&subject, reason::PUBLIC_ADDRESS_MISSING, message);
        }
        let target = |family: Family| {
            jail.binding
                .attachments
                .iter()
                .filter(|attachment| {
                    publish
                        .network
                        .as_ref()
                        .is_none_or(|network| *network == attachment.network)
                })
                .find_map(|attachment| {
                    Some((attachment.address_of(family)?, attachment.network.as_str()))
                })
        };
        let mut rules = Vec::new();
        for public in publics {
            if let Some((target, network)) = target(Family::of(public)) {
                let network = self.view.networks.get(network);
                let bridged =
                    network.filter(|network| matches!(network.spec.mode(), Some(Mode::Bridge(_))));
                rules.push(RedirectRule {
                    jail: jail.uid.clone(),
                    interface: interface.clone(),
                    public,
                    protocol: publish.protocol,
                    ports: publish.ports.clone(),
                    target,
                    target_port: publish.to,
                    forwarded_by: bridged.map(|network| names::bridge(&network.uid)),
                });
            }
        }
        rules
    }

    /// Traffic of VNET jails that leaves by NAT or comes in by a published port is forwarded; shared-IP jails' is the host's own.
    fn check_forwarding(&mut self, network: &NetworkView, jails: &[&JailView]) {
        let Some(Mode::Bridge(mode)) = network.spec.mode() else {
            return;
        };
        if mode.uplink.is_some() {
            return;
        }
        let published = |family: Family| {
            let attached = |jail: &&&JailView| {
                jail.binding
                    .attachments
                    .iter()
                    .any(|attachment| attachment.network == network.name)
            };
            jails
                .iter()
                .filter(attached)
                .flat_map(|jail| &jail.spec.publish)
                .any(|publish| {
                    let uplink = self.view.host.uplinks.get(&publish.uplink);
                    uplink
                        .into_iter()
                        .flat_map(|uplink| &uplink.public_addresses)
                        .any(|(name, address)| {
                            Family::of(*address) == family
                                && publish.address.as_ref().is_none_or(|wanted| wanted == name)
                        })
                })
        };
        let nat = network
            .spec
            .egress
            .as_ref()
            .and_then(|egress| egress.nat.as_ref());
        let families = [
            (
                "net.inet.ip.forwarding",
                Family::Ipv4,
                nat.is_some() || published(Family::Ipv4),
            ),
            (
                "net.inet6.ip6.forwarding",
                Family::Ipv6,
                nat.is_some_and(|nat| nat.address6.is_some()) || published(Family::Ipv6),
            ),
        ];
        for (oid, family, needed) in families {
            let has_family = network
                .spec
                .subnets
                .iter()
                .any(|subnet| subnet.cidr.family() == family);
            let forwards = self
                .observed
                .sysctls
                .get(oid)
                .is_some_and(|value| value.as_deref() == Some("1"));
            let declared = self
                .view
                .host
                .sysctls
                .get(oid)
                .is_some_and(|value| value.to_string() == "1");
            if needed && has_family && !forwards && !declared {
                let message = format!(
                    "{oid} is 0, so nothing is forwarded between `{}` and the outside; run `sysctl {oid}=1` and put `{oid}=1` into /etc/sysctl.conf",
                    network.name
                );
                self.block(
                    &Subject::Network(network.uid.clone()),
                    reason::FORWARDING_DISABLED,
                    message,
                );
            }
        }
    }

    /// Loaded is not in force: pf must be enabled, its main ruleset must refer to us, and no interface of ours may be skipped.
    fn check_effect(&mut self, rules: &Rules) {
        let pf = &self.observed.pf;
        if !pf.loaded {
            let message =
                "pf is not loaded; put `pf_enable=\"YES\"` into rc.conf and run `service pf start`"
                    .to_owned();
            return self.block(&Subject::Host, reason::PF_NOT_EFFECTIVE, message);
        }
        if !pf.enabled {
            let message = "pf is loaded and not enabled, so no rule has any effect; run `pfctl -e` and put `pf_enable=\"YES\"` into rc.conf".to_owned();
            return self.block(&Subject::Host, reason::PF_NOT_EFFECTIVE, message);
        }
        let mut needed = BTreeSet::new();
        if !rules.nats.is_empty() {
            needed.insert(AnchorReference::Nat);
        }
        if !rules.redirects.is_empty() {
            needed.extend([AnchorReference::Rdr, AnchorReference::Filter]);
        }
        if !needed.is_subset(&pf.references) {
            let lines: Vec<String> = AnchorReference::ALL
                .into_iter()
                .filter(|reference| !pf.references.contains(reference))
                .map(|reference| format!("{} \"{}/*\"", reference.keyword(), names::ANCHOR_ROOT))
                .collect();
            let message = format!(
                "pf's main ruleset does not refer to our anchors; add to /etc/pf.conf, the first three before the filter rules and the last before any `quick` rule, and run `service pf reload`: {}",
                lines.join(" | ")
            );
            return self.block(&Subject::Host, reason::PF_NOT_EFFECTIVE, message);
        }
        let interfaces: BTreeSet<&str> = rules
            .nats
            .values()
            .flatten()
            .map(|rule| rule.interface.as_str())
            .chain(
                rules
                    .redirects
                    .values()
                    .flatten()
                    .map(|rule| rule.interface.as_str()),
            )
            .collect();
        let skipped: Vec<&str> = interfaces
            .into_iter()
            .filter(|interface| pf.skipped.contains(*interface))
            .collect();
        if !skipped.is_empty() {
            let message = format!(
                "pf.conf says `set skip on` {}, so rules there have no effect; take it out",
                skipped.join(", ")
            );
            self.block(&Subject::Host, reason::PF_NOT_EFFECTIVE, message);
        }
    }
}

/// Whether the anchor has a name that only we give: a network's or a bucket's.
fn is_our_anchor(anchor: &str) -> bool {
    let Some(name) = anchor
        .strip_prefix(names::ANCHOR_ROOT)
        .and_then(|rest| rest.strip_prefix('/'))
    else {
        return false;
    };
    match name.split_at_checked(1) {
        Some(("n", hash)) => {
            hash.len() == 10
                && hash
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
        }
        Some(("j", bucket)) => {
            bucket.len() == 2 && bucket.bytes().all(|byte| byte.is_ascii_digit())
        }
        Some(_) | None => false,
    }
}
