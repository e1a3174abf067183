//! The packet filter: which rules stand in which of our anchors, and whether they have any effect.
//!
//! Rules follow from the view alone, not from what runs: a jail that is blocked keeps its published ports for the moment it comes back. Only shared ports lead to those of their jails that are up, and a
//! jail whose rules pf does not take is closed.

pub(super) mod checked;
mod isolation;
mod pools;
mod public;
pub(super) mod rejected;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_schemas::host::PfAnchors;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::Family;
use cellblock_schemas::network::Mode;
use cellblock_schemas::view::{JailView, NetworkView};

use checked::{Loaded, unchecked};

use super::firewall::{is_passed_by, skipped_of};
use super::phase::Phase;
use super::{Planner, reason};
use crate::isolation::Isolation;
use crate::ledger::Owned;
use crate::names;
use crate::observed::{AnchorReference, QuickRule};
use crate::op::{Op, Record, Step, Subject};
use crate::render::pf::{self, AnchorRules, AnchorText, PoolRule, RedirectRule};

/// Everything that shall stand in our anchors, by anchor.
type Rules = BTreeMap<String, AnchorRules>;

/// Whose states may stand once the rules are loaded, by anchor.
type States = BTreeMap<String, BTreeSet<Owned>>;

impl Planner<'_> {
    /// Whose states these are.
    fn states_of(rules: &Rules, firewalls: &Loaded) -> States {
        let mut states = States::new();
        for (anchor, rules) in rules {
            let of_nats = rules.nats.iter().map(|nat| Owned::Translation {
                anchor: anchor.clone(),
                from: nat.from,
                to: nat.to,
            });
            let members = rules.pools.iter().flat_map(PoolRule::behind);
            let alone = rules.redirects.iter();
            let alone = alone.filter(|redirect| redirect.pool.is_none());
            let of_ports = alone.chain(members.map(|member| &member.redirect));
            let of_ports = of_ports.flat_map(|redirect| {
                redirect.ports.iter().map(|ports| Owned::Redirect {
                    anchor: anchor.clone(),
                    label: redirect.label(ports),
                })
            });
            let of_publics = rules.publics.iter().flat_map(|public| {
                let label_in = public.whole.then(|| public.label_in());
                let labels = label_in.into_iter().chain([public.label_out()]);
                labels.map(|label| Owned::Redirect {
                    anchor: anchor.clone(),
                    label,
                })
            });
            let of_firewalls = rules.egress.iter().chain(&rules.ingress);
            let of_firewalls =
                of_firewalls.filter_map(|firewall| firewalls.get(&firewall.jail).cloned());
            let of_anchor: BTreeSet<Owned> = of_nats
                .chain(of_ports)
                .chain(of_publics)
                .chain(of_firewalls)
                .collect();
            if !of_anchor.is_empty() {
                states.insert(anchor.clone(), of_anchor);
            }
        }
        states
    }

    pub(super) fn plan_filter(&mut self) {
        let (rules, closed) = self.rules();
        let wanted: BTreeMap<&str, (AnchorText, &AnchorRules)> = rules
            .iter()
            .filter_map(|(anchor, rules)| Some((anchor.as_str(), (pf::render(rules)?, rules))))
            .collect();
        if self.observed.pf.is_read() {
            let firewalls = self.loaded_as(&rules);
            let states = Self::states_of(&rules, &firewalls);
            self.plan_anchors(&wanted, &states, &closed);
            self.plan_states(&states, &rules);
            self.plan_checks(&rules, &firewalls);
        }
        let mut standing = self.observed.pf.anchors.keys();
        let stops = |(phase, _): &(Phase, Step)| *phase == Phase::StopJail;
        let is_needed = !wanted.is_empty()
            || standing.any(|anchor| is_our_anchor(anchor))
            || self.steps.iter().any(stops);
        self.plan_pf_conf(is_needed);
        let is_unread = self.observed.pf.unread.is_some();
        if !wanted.is_empty() || is_unread && self.ledger.owned.iter().any(is_of_pf) {
            self.check_effect(&rules);
        }
    }

    fn plan_anchors(
        &mut self,
        wanted: &BTreeMap<&str, (AnchorText, &AnchorRules)>,
        states: &States,
        closed: &BTreeSet<Uid>,
    ) {
        let (observed, ledger, none) = (self.observed, self.ledger, BTreeSet::new());
        for (anchor, (text, rules)) in wanted {
            let states = states.get(*anchor).unwrap_or(&none);
            // Rules that the ledger does not know are loaded once more, so that it knows whose states to kill one day.
            let known = states.iter().all(|state| ledger.owned.contains(state));
            let void = self.rejected.void_of(anchor).to_vec();
            let stands = observed.pf.anchors.get(*anchor) == Some(&text.hash);
            let loaded = stands && known && void.is_empty();
            if !loaded {
                let mut records: Vec<Owned> = states.iter().cloned().collect();
                records.extend(unchecked(states, ledger));
                records.extend(rules.isolation.as_ref().map(isolation::unchecked));
                let parts = rejected::parts(rules, closed);
                let op = Op::LoadAnchor {
                    anchor: (*anchor).to_owned(),
                    rules: text.rules.clone(),
                    parts,
                };
                let step = self.step(Phase::LoadAnchor, &Subject::anchor(anchor), op);
                step.record.extend(records.into_iter().map(Record::Owned));
                step.forget.extend(void.into_iter().map(Record::Owned));
            }
            if let Some(isolation) = &rules.isolation {
                self.plan_apart(anchor, isolation, loaded);
            }
        }
        let void: Vec<String> = self.rejected.void_anchors().cloned().collect();
        let standing: BTreeSet<&String> = observed.pf.anchors.keys().chain(&void).collect();
        for anchor in standing {
            let is_wanted = wanted.contains_key(anchor.as_str()) || self.is_held_anchor(anchor);
            if !is_wanted && is_our_anchor(anchor) {
                let void = self.rejected.void_of(anchor).to_vec();
                let op = Op::ClearAnchor {
                    anchor: anchor.clone(),
                };
                let step = self.step(Phase::ClearAnchor, &Subject::anchor(anchor), op);
                step.forget.extend(void.into_iter().map(Record::Owned));
            }
        }
    }

    /// States outlive their rules. The ledger knew of each rule before it was loaded; what it knows of and is not wanted any more has its states killed, once the rule is gone. A jail that stops,
    /// for good or because it is started again while others share its ports, takes no new connections and keeps those that it has until it has ended, so that `exec.stop` can end them in order.
    ///
    /// A way out of a jail that has a public address of its own is not its network's, though it leads from there: its states have a label.
    fn plan_states(&mut self, wanted: &States, rules: &Rules) {
        let ledger = self.ledger;
        let publics = rules.values().flat_map(|rules| &rules.publics);
        let own: BTreeSet<(IpAddr, IpAddr)> = publics
            .map(|public| (public.inside, public.public))
            .collect();
        let aside = self.aside(rules);
        for owned in &ledger.owned {
            let is_wanted = |anchor: &String| {
                let kept = wanted.get(anchor);
                kept.is_some_and(|kept| kept.contains(owned))
            };
            let (anchor, op) = match owned {
                Owned::Redirect { anchor, .. } | Owned::Translation { anchor, .. }
                    if is_wanted(anchor) =>
                {
                    continue;
                }
                Owned::Translation { anchor, .. } if self.is_held_anchor(anchor) => continue,
                Owned::Redirect { label, .. }
                    if self.ends_its_connections(label) || aside.contains(label) =>
                {
                    continue;
                }
                Owned::Redirect { anchor, label } => {
                    let label = label.clone();
                    (anchor, Op::KillLabelled { label })
                }
                Owned::Translation { anchor, from, to } => (
                    anchor,
                    Op::KillTranslated {
                        from: *from,
                        to: *to,
                        except: own
                            .iter()
                            .filter(|(inside, public)| {
                                from.contains(inside) && to.is_none_or(|to| to == *public)
                            })
                            .copied()
                            .collect(),
                    },
                ),
                Owned::Alias { .. }
                | Owned::BroughtUp { .. }
                | Owned::Inet6Enabled { .. }
                | Owned::LinkLocal { .. }
                | Owned::Member { .. }
                | Owned::NgUplink { .. }
                | Owned::NgEther { .. }
                | Owned::LaggPort { .. }
                | Owned::Storage { .. }
                | Owned::Dataset { .. }
                | Owned::Route { .. }
                | Owned::TableRoute(_)
                | Owned::Firewall { .. }
                | Owned::Rejected { .. }
                | Owned::Unchecked { .. }
                | Owned::UncheckedNetwork { .. }
                | Owned::Nic(_)
                | Owned::PfConf { .. }
                | Owned::Limit { .. }
                | Owned::Sysctl { .. } => continue,
            };
            self.step(Phase::KillStates, &Subject::anchor(anchor), op)
                .forget
                .push(Record::Owned(owned.clone()));
        }
    }

    /// The labels of jails that shared ports do not lead to now and that have not ended: a jail that is started again ends its connections itself, by `exec.stop`.
    fn aside(&self, rules: &Rules) -> BTreeSet<String> {
        let pools = rules.values().flat_map(|rules| &rules.pools);
        let members = pools.flat_map(|pool| &pool.members);
        let aside = members.filter(|member| !member.is_behind);
        let aside = aside.map(|member| &member.redirect);
        let aside = aside.filter(|redirect| !self.is_over(&redirect.jail));
        let labels = aside.flat_map(|redirect| {
            let ports = redirect.ports.iter();
            ports.map(|ports| redirect.label(ports))
        });
        labels.collect()
    }

    /// Whether the jail that published a port or has a public address with this label stops for good and has not ended yet.
    fn ends_its_connections(&self, label: &str) -> bool {
        let uid = pf::jail_of_label(label).map(|uid| Uid(uid.to_owned()));
        uid.is_some_and(|uid| !self.shall_run(&uid) && !self.is_over(&uid))
    }

    /// Traffic of VNET jails that leaves by NAT or comes in by a published port or for a public address is forwarded, and all traffic between routed links; shared-IP jails' is the host's own.
    fn check_forwarding(&mut self, network: &NetworkView, jails: &[&JailView]) {
        let always = match network.spec.mode() {
            Some(Mode::Bridge(mode)) if mode.uplink.is_none() => false,
            Some(Mode::Routed(_)) => true,
            Some(Mode::Netgraph(mode)) if mode.uplink.is_none() => false,
            Some(
                Mode::Bridge(_) | Mode::SharedIp(_) | Mode::Netgraph(_) | Mode::Passthrough(_),
            )
            | None => return,
        };
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
                .flat_map(|jail| {
                    let published = jail.spec.publish.iter();
                    let published =
                        published.map(|publish| (&publish.uplink, publish.address.as_ref()));
                    let public = jail.spec.public_addresses.iter();
                    published.chain(public.map(|public| (&public.uplink, Some(&public.address))))
                })
                .any(|(uplink, wanted)| {
                    let uplink = self.view.host.uplinks.get(uplink);
                    uplink
                        .into_iter()
                        .flat_map(|uplink| &uplink.public_addresses)
                        .any(|(name, address)| {
                            Family::of(*address) == family
                                && wanted.is_none_or(|wanted| wanted == name)
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
                always || nat.is_some() || published(Family::Ipv4),
            ),
            (
                "net.inet6.ip6.forwarding",
                Family::Ipv6,
                always || nat.is_some_and(|nat| nat.address6.is_some()) || published(Family::Ipv6),
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
            let declared = self.view.host.declares_on(oid);
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
        if let Some(unread) = &pf.unread {
            let message = unread.clone();
            return self.block(&Subject::Host, reason::PF_NOT_EFFECTIVE, message);
        }
        if !pf.enabled {
            let message = "pf is loaded and not enabled, so no rule has any effect; run `pfctl -e` and put `pf_enable=\"YES\"` into rc.conf".to_owned();
            return self.block(&Subject::Host, reason::PF_NOT_EFFECTIVE, message);
        }
        let mut needed = BTreeSet::new();
        for rules in rules.values() {
            if !(rules.nats.is_empty() && rules.backs.is_empty()) {
                needed.insert(AnchorReference::Nat);
            }
            if rules.publics.iter().any(|public| public.whole) {
                needed.insert(AnchorReference::Binat);
            }
            if !rules.publics.is_empty() {
                needed.insert(AnchorReference::Filter);
            }
            if !(rules.redirects.is_empty() && rules.pools.is_empty()) {
                needed.extend([AnchorReference::Rdr, AnchorReference::Filter]);
            }
            let of_host =
                rules.blocks.is_empty() && rules.shut.is_empty() && rules.scrubs.is_empty();
            if rules.isolation.is_some() || !of_host {
                needed.insert(AnchorReference::Filter);
            }
            if !(rules.egress.is_empty() && rules.ingress.is_empty()) {
                needed.insert(AnchorReference::Filter);
            }
            if !rules.marked.is_empty() {
                needed.insert(AnchorReference::Nat);
            }
        }
        if !needed.is_subset(&pf.references) {
            let lines: Vec<String> = AnchorReference::ALL
                .into_iter()
                .filter(|reference| !pf.references.contains(reference))
                .map(|reference| format!("{} \"{}/*\"", reference.keyword(), names::ANCHOR_ROOT))
                .collect();
            if self.view.host.pf.anchors == PfAnchors::Manage {
                let message = "pf's main ruleset does not refer to our anchors; their lines are added to it (spec.pf.anchors: manage), unless this Host's condition Ready says why not".to_owned();
                return self.block(&Subject::Host, reason::PF_NOT_EFFECTIVE, message);
            }
            let message = format!(
                "pf's main ruleset does not refer to our anchors; add to /etc/pf.conf, the first three before the filter rules and the last before any `quick` rule, and run `service pf reload`: {}",
                lines.join(" | ")
            );
            return self.block(&Subject::Host, reason::PF_NOT_EFFECTIVE, message);
        }
        let interfaces: BTreeSet<&str> = rules.values().flat_map(interfaces_of).collect();
        let mut skipped: BTreeSet<&str> = interfaces
            .into_iter()
            .filter(|interface| pf.skipped.contains(*interface))
            .collect();
        for firewall in self.firewalls.values() {
            skipped.extend(skipped_of(&pf.skipped, firewall));
        }
        let skipped: Vec<&str> = skipped.into_iter().collect();
        if !skipped.is_empty() {
            let message = format!(
                "pf.conf says `set skip on` {}, so rules there have no effect; take it out",
                skipped.join(", ")
            );
            return self.block(&Subject::Host, reason::PF_NOT_EFFECTIVE, message);
        }
        self.check_reached(rules);
    }

    /// Rules of the operator that decide before ours are asked: one that passes, where ours would drop or change something, and one that drops, where ours would pass.
    fn check_reached(&mut self, rules: &Rules) {
        let pf = &self.observed.pf;
        let stakes: Vec<Stake<'_>> = rules.values().flat_map(stakes_of).collect();
        let is_in_the_way = |rule: &&QuickRule| {
            let mut stakes = stakes.iter();
            let mut firewalls = self.firewalls.values();
            stakes.any(|stake| {
                rule.passes != stake.passes && rule.is_about(stake.inward, stake.interface)
            }) || firewalls.any(|firewall| is_passed_by(rule, firewall))
        };
        let before: Vec<&str> = pf
            .before_us
            .iter()
            .filter(is_in_the_way)
            .map(|rule| rule.text.as_str())
            .collect();
        if !before.is_empty() {
            let message = format!(
                "in pf's main ruleset `quick` rules stand before `anchor \"{}/*\"`, and of what they are about ours are never asked; put the anchor before them in /etc/pf.conf and run `service pf reload`: {}",
                names::ANCHOR_ROOT,
                before.join(" | ")
            );
            self.block(&Subject::Host, reason::PF_NOT_EFFECTIVE, message);
        }
    }
}

/// Whether it speaks of rules or states of the host's pf.
fn is_of_pf(owned: &Owned) -> bool {
    matches!(
        owned,
        Owned::Redirect { .. }
            | Owned::Translation { .. }
            | Owned::Firewall { .. }
            | Owned::Rejected { .. }
            | Owned::Unchecked { .. }
            | Owned::UncheckedNetwork { .. }
    )
}

/// Something that rules of ours decide, and that a rule before them would take from them.
struct Stake<'r> {
    inward: bool,
    interface: &'r str,
    /// Whether they pass it, or drop or change it.
    passes: bool,
}

/// What the rules of an anchor decide about, but for firewalls, of which jails are told one by one.
fn stakes_of(rules: &AnchorRules) -> Vec<Stake<'_>> {
    let stake = |inward, interface, passes| Stake {
        inward,
        interface,
        passes,
    };
    let mut stakes = Vec::new();
    for redirect in redirects_of(rules) {
        stakes.push(stake(true, redirect.interface.as_str(), true));
        let way = redirect.forwarded_by.as_deref();
        stakes.extend(way.map(|way| stake(false, way, true)));
    }
    for public in &rules.publics {
        stakes.push(stake(false, public.interface.as_str(), true));
        if public.whole {
            stakes.push(stake(true, public.interface.as_str(), true));
            let way = public.forwarded_by.as_deref();
            stakes.extend(way.map(|way| stake(false, way, true)));
        }
    }
    let closed = rules.blocks.iter().map(|block| block.interface.as_str());
    let closed = closed.chain(rules.shut.iter().map(|public| public.interface.as_str()));
    // What goes by a loopback would have to be passed both ways.
    let apart = rules.isolation.iter();
    let apart = apart.flat_map(|isolation| isolation.interfaces().chain(isolation.groups()));
    let closed = closed.chain(apart);
    stakes.extend(closed.map(|interface| stake(true, interface, false)));
    let across = rules
        .isolation
        .iter()
        .filter(|isolation| isolation.at.is_spanning());
    let across = across.flat_map(|isolation| isolation.interfaces().chain(isolation.groups()));
    stakes.extend(across.map(|interface| stake(false, interface, false)));
    for scrub in &rules.scrubs {
        stakes.extend([true, false].map(|inward| stake(inward, &scrub.interface, false)));
    }
    stakes
}

/// The published ports of an anchor, shared ones too.
fn redirects_of(rules: &AnchorRules) -> impl Iterator<Item = &RedirectRule> {
    let members = rules.pools.iter().flat_map(|pool| &pool.members);
    let shared = members.map(|member| &member.redirect);
    rules.redirects.iter().chain(shared)
}

/// The interfaces that the rules of an anchor stand on.
fn interfaces_of(rules: &AnchorRules) -> impl Iterator<Item = &str> {
    let nats = rules.nats.iter().map(|rule| &rule.interface);
    let redirects = redirects_of(rules).map(|rule| &rule.interface);
    let publics = rules.publics.iter().chain(&rules.shut);
    let publics = publics.map(|rule| &rule.interface);
    let blocks = rules.blocks.iter().map(|rule| &rule.interface);
    let scrubs = rules.scrubs.iter().map(|rule| &rule.interface);
    let marked = rules.marked.iter().map(|marked| &marked.nat.interface);
    let isolation = rules.isolation.iter().flat_map(Isolation::interfaces);
    nats.chain(redirects)
        .chain(marked)
        .chain(publics)
        .chain(blocks)
        .chain(scrubs)
        .map(String::as_str)
        .chain(isolation)
}

/// Whether the anchor has a name that only we give: the Host's, a network's or a bucket's.
fn is_our_anchor(anchor: &str) -> bool {
    if anchor == names::HOST_ANCHOR {
        return true;
    }
    let Some(name) = anchor
        .strip_prefix(names::ANCHOR_ROOT)
        .and_then(|rest| rest.strip_prefix('/'))
    else {
        return false;
    };
    match name.split_at_checked(1) {
        Some(("n", hash)) => is_hash(hash),
        Some(("h", rest)) => rest.strip_prefix('n').is_some_and(is_hash),
        Some(("i" | "j", bucket)) => {
            bucket.len() == 2 && bucket.bytes().all(|byte| byte.is_ascii_digit())
        }
        Some(_) | None => false,
    }
}

fn is_hash(text: &str) -> bool {
    let is_base32 = |byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7');
    text.len() == 10 && text.bytes().all(is_base32)
}
