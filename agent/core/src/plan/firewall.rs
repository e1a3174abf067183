//! The firewalls of jails: of what a view says and a look found, the rules with everything resolved; and whether they could be in force, without which a jail that has some does not start.
//!
//! How they are rendered is `render`'s, in which anchors they stand and which states they end is `filter`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_schemas::enforcement::{LOCAL_MEMBER_FILTER, member_filters};
use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::{self, Action, BoundAttachment, EnforcedBy, Firewall, Peer};
use cellblock_schemas::network::Mode;
use cellblock_schemas::owner::{self, IdMatch};
use cellblock_schemas::view::{HostView, JailView, NetworkView};
use ipnet::IpNet;

use super::{Planner, reason};
use crate::firewall::{At, ICMP, ICMP6, JailFirewall, Link, Rule, Rules, TCP, UDP};
use crate::host::Wanted;
use crate::names;
use crate::observed::{AnchorReference, QuickRule};
use crate::op::Subject;

/// Adds the names that the host must be asked for.
pub(super) fn add_wanted(view: &HostView, wanted: &mut Wanted) {
    let firewalls = view
        .jails
        .values()
        .filter_map(|jail| jail.spec.firewall.as_ref());
    for (_, _, rule) in firewalls.flat_map(Firewall::rules) {
        let asked = |text: &Option<String>| {
            let parsed = text.as_deref().and_then(IdMatch::parse);
            let ids = parsed.map(IdMatch::ids).unwrap_or_default();
            let names: BTreeSet<String> = ids
                .into_iter()
                .filter(|id| !owner::is_number(id))
                .map(str::to_owned)
                .collect();
            names
        };
        wanted.users.extend(asked(&rule.user));
        wanted.groups.extend(asked(&rule.group));
        let protocol = rule.protocol.as_deref();
        let protocol = protocol.filter(|name| number_of(name).is_none());
        wanted.protocols.extend(protocol.map(str::to_owned));
    }
}

/// The number of a protocol that the host need not be asked for.
fn number_of(protocol: &str) -> Option<u8> {
    match protocol {
        "icmp" => Some(ICMP),
        "tcp" => Some(TCP),
        "udp" => Some(UDP),
        "icmp6" | "ipv6-icmp" => Some(ICMP6),
        other => other.parse().ok(),
    }
}

impl Planner<'_> {
    /// Resolves the firewalls of the jails that shall run, and blocks those that would not do what they say. One that stops keeps its rules until it has ended: its programs run that long.
    pub(super) fn resolve_firewalls(&mut self) {
        let view = self.view;
        for (uid, jail) in &view.jails {
            let Some(firewall) = &jail.spec.firewall else {
                continue;
            };
            let shall_run = self.shall_run(uid);
            if !shall_run && self.is_over(uid) {
                continue;
            }
            let noted = self.blocked.list.len();
            let resolved = self.resolve_firewall(jail, firewall);
            let is_inside = firewall.enforced_by == EnforcedBy::Jail;
            if is_inside {
                self.check_inside(jail);
            } else {
                self.check_in_force(uid, &resolved);
            }
            if !shall_run {
                self.blocked.forget_from(noted);
            }
            let resolved_for = if is_inside {
                &mut self.inside
            } else {
                &mut self.firewalls
            };
            resolved_for.insert(uid.clone(), resolved);
        }
        self.block_what_needs_isolation();
        self.find_rejected();
    }

    /// Where it is not known whether the rules stand that keep jails apart, none starts that they are for.
    fn block_what_needs_isolation(&mut self) {
        let Some(unread) = &self.observed.pf.unread else {
            return;
        };
        for uid in self.view.jails.keys() {
            if self.shall_run(uid) && !self.anchors_of_isolation(uid).is_empty() {
                let subject = Subject::Jail(uid.clone());
                self.block(&subject, reason::PF_NOT_EFFECTIVE, unread.clone());
            }
        }
    }

    fn resolve_firewall(&mut self, jail: &JailView, firewall: &Firewall) -> JailFirewall {
        let attachments = jail.binding.attachments.iter();
        let concerned = attachments.filter(|bound| firewall.concerns(&bound.network));
        let links = concerned
            .filter_map(|bound| match firewall.enforced_by {
                EnforcedBy::Host => self.firewalled_link(jail, bound),
                EnforcedBy::Jail => Some(Link {
                    network: bound.network.clone(),
                    addresses: addresses(bound).collect(),
                    at: At::Inside(bound.interface.clone()),
                    outward: Vec::new(),
                }),
            })
            .collect();
        let attachments = jail.binding.attachments.iter();
        let own = attachments.flat_map(addresses).collect();
        let passes = |action: Option<Action>| action.unwrap_or(Action::Pass) == Action::Pass;
        JailFirewall {
            jail: jail.uid.clone(),
            own,
            links,
            ingress: Rules {
                list: self.resolve_rules(jail, "ingress", &firewall.ingress),
                passes_rest: passes(firewall.default_ingress),
            },
            egress: Rules {
                list: self.resolve_rules(jail, "egress", &firewall.egress),
                passes_rest: passes(firewall.default_egress),
            },
        }
    }

    /// Where the traffic of one attachment passes pf. None where it does not, which is noted.
    fn firewalled_link(&mut self, jail: &JailView, bound: &BoundAttachment) -> Option<Link> {
        let Some(network) = self.view.networks.get(&bound.network) else {
            return Some(Link {
                network: bound.network.clone(),
                addresses: addresses(bound).collect(),
                at: self.held_place(&jail.uid, bound)?,
                outward: Vec::new(),
            });
        };
        let host_end = || names::epair_host_end(&jail.uid, &bound.interface);
        let at = match network.spec.mode()? {
            Mode::SharedIp(_) => At::Stack,
            Mode::Routed(_) => At::HostEnd(host_end()),
            Mode::Bridge(_) => At::Member {
                host_end: host_end(),
                bridge: self.filtered_bridge(jail, network),
            },
            Mode::Netgraph(_) | Mode::Passthrough(_) => {
                let message = format!(
                    "spec.firewall: nothing filters on network `{}`, whose traffic the host's pf never sees",
                    network.name
                );
                self.block(
                    &Subject::Jail(jail.uid.clone()),
                    reason::NOT_CAPABLE,
                    message,
                );
                return None;
            }
        };
        Some(Link {
            network: network.name.clone(),
            addresses: addresses(bound).collect(),
            at,
            outward: Vec::new(),
        })
    }

    /// The bridge of a network by which the host itself reaches the jail. That pf is asked about its members at all must have been declared: it changes what the operator's own rules see.
    fn filtered_bridge(&mut self, jail: &JailView, network: &NetworkView) -> Option<String> {
        let host = &self.view.host;
        let missing: Vec<String> = member_filters(&network.spec)
            .filter(|oid| !host.declares_on(oid))
            .map(|oid| format!("{oid}: 1"))
            .collect();
        if !missing.is_empty() {
            let message = format!(
                "spec.firewall: pf sees what goes by the members of a bridge, as those of network `{}`, only if told to, for all bridges of the host; declare it in spec.sysctls of Host `{}`: {}",
                network.name,
                self.view.host_name,
                missing.join(", ")
            );
            let subject = Subject::Jail(jail.uid.clone());
            self.block(&subject, reason::MEMBER_FILTER_UNDECLARED, message);
        }
        let is_host = member_filters(&network.spec).any(|oid| oid == LOCAL_MEMBER_FILTER);
        is_host.then(|| names::bridge(&network.uid))
    }

    fn resolve_rules(&mut self, jail: &JailView, list: &str, rules: &[jail::Rule]) -> Vec<Rule> {
        let rules = rules.iter();
        rules
            .filter_map(|rule| self.resolve_rule(jail, list, rule))
            .collect()
    }

    /// One rule. Of a name that this host does not know nobody is meant, and that is noted; until somebody corrects it, nothing is let through for it: a rule that passes is left out, one that blocks
    /// is about everybody.
    fn resolve_rule(&mut self, jail: &JailView, list: &str, rule: &jail::Rule) -> Option<Rule> {
        let numbers = &self.observed.numbers;
        let mut unknown = Vec::new();
        let mut owner_of = |what: &str, text: &Option<String>, known: &BTreeMap<_, Option<u32>>| {
            let text = text.as_deref()?;
            let found = IdMatch::parse(text)?.resolve(|id| {
                let known = || known.get(id).copied().flatten();
                let number = id.parse().ok().or_else(known);
                if number.is_none() {
                    unknown.push(format!("{what} `{id}`"));
                }
                number
            })?;
            if found.is_empty() {
                unknown.push(format!("{what} in `{text}`"));
                return None;
            }
            Some(found)
        };
        let user = owner_of("user", &rule.user, &numbers.users);
        let group = owner_of("group", &rule.group, &numbers.groups);
        let protocol = rule.protocol.as_deref().and_then(|name| {
            let known = || u8::try_from((*numbers.protocols.get(name)?)?).ok();
            // pfctl(8) takes no 0 (`protoval`, sbin/pfctl/parse.y), which some names mean.
            let number = number_of(name).or_else(known).filter(|number| *number > 0);
            if number.is_none() {
                unknown.push(format!("protocol `{name}`"));
            }
            number
        });
        if !unknown.is_empty() {
            let message = format!(
                "spec.firewall.{list}[{}]: this host knows no {}; correct it (until then the rule lets nothing through, and blocks whoever it may be about)",
                rule.name,
                unknown.join(" and no ")
            );
            let subject = Subject::Jail(jail.uid.clone());
            self.block(&subject, reason::NAME_UNKNOWN, message);
            if rule.action == Action::Pass {
                return None;
            }
        }
        let peers = if rule.from.is_empty() {
            &rule.to
        } else {
            &rule.from
        };
        Some(Rule {
            passes: rule.action == Action::Pass,
            network: rule.network.clone(),
            protocol,
            ports: rule.ports.clone(),
            peers: (!peers.is_empty()).then(|| peers_of(jail, peers)),
            user,
            group,
        })
    }

    /// The anchors that a jail's firewall stands in, without which it must not start; none where it has no firewall.
    pub(super) fn anchors_of_firewall(&self, uid: &Uid) -> Vec<Subject> {
        let Some(firewall) = self.firewalls.get(uid) else {
            return Vec::new();
        };
        let networks = firewall.links.iter();
        let networks = networks.filter_map(|link| self.view.networks.get(&link.network));
        let networks = networks.map(|network| names::network_anchor(&network.uid));
        let own = [names::egress_anchor(uid), names::jail_anchor(uid)];
        let anchors = own.into_iter().chain(networks);
        anchors.map(|anchor| Subject::anchor(&anchor)).collect()
    }

    /// The sysctl that the Host declares for a jail on a bridge and that is not so yet, or no more: it comes with if_bridge, which a host without bridges may not have loaded.
    fn unasked_of(&self, firewall: &JailFirewall) -> Option<&'static str> {
        let networks = firewall.links.iter();
        let networks = networks.filter_map(|link| self.view.networks.get(&link.network));
        let mut needed = networks.flat_map(|network| member_filters(&network.spec));
        needed.find(|oid| {
            let found = self.observed.sysctls.get(*oid);
            self.view.host.declares_on(oid)
                && found.is_none_or(|found| found.as_deref() != Some("1"))
        })
    }

    /// Whether rules could be in force; where they could not, the jail does not start, and one that runs is told.
    fn check_in_force(&mut self, uid: &Uid, firewall: &JailFirewall) {
        let pf = &self.observed.pf;
        let skipped = skipped_of(&pf.skipped, firewall);
        let unasked = self.unasked_of(firewall);
        let cause = if let Some(oid) = unasked {
            let message = format!(
                "spec.firewall would not be in force: {oid} is not 1 on this host as its Host declares; until it is, pf is not asked about members of bridges"
            );
            let subject = Subject::Jail(uid.clone());
            return self.block(&subject, reason::FIREWALL_NOT_IN_FORCE, message);
        } else if let Some(unread) = pf.unread.as_ref() {
            unread.clone()
        } else if !pf.loaded || !pf.enabled {
            "pf is not enabled on this host".to_owned()
        } else if !pf.references.contains(&AnchorReference::Filter) {
            format!(
                "pf's main ruleset has no `anchor \"{}/*\"`",
                names::ANCHOR_ROOT
            )
        } else if !skipped.is_empty() {
            format!("pf.conf says `set skip on` {}", skipped.join(", "))
        } else if let Some(rule) = pf
            .before_us
            .iter()
            .find(|rule| is_passed_by(rule, firewall))
        {
            format!(
                "pf's main ruleset has `{}` before `anchor \"{}/*\"`",
                rule.text,
                names::ANCHOR_ROOT
            )
        } else {
            return;
        };
        let message = format!(
            "spec.firewall would not be in force: {cause}; what to do is told by the Host's condition PfEffective"
        );
        let subject = Subject::Jail(uid.clone());
        self.block(&subject, reason::FIREWALL_NOT_IN_FORCE, message);
    }
}

/// Whether a rule before our anchor passes something that the firewall would drop.
pub(super) fn is_passed_by(rule: &QuickRule, firewall: &JailFirewall) -> bool {
    let mut links = firewall.links.iter();
    rule.passes
        && links.any(|link| {
            let drops = |inward: bool, rules: &Rules| {
                let is_that_way = rule.inward.is_none_or(|only| only == inward);
                is_that_way && rules.block_on(link)
            };
            // At a link's host end the jail's packets come in.
            let sends = link.at.host_end().is_some();
            let ways = drops(sends, &firewall.egress) || drops(!sends, &firewall.ingress);
            let interface = rule.interface.as_deref();
            // The groups that the kernel puts them into (sys/net/if_epair.c, sys/net/if_bridge.c).
            ways && interface.is_none_or(|interface| match &link.at {
                At::Stack => true,
                At::Inside(end) => interface == end,
                At::HostEnd(host_end) => interface == host_end || interface == "epair",
                At::Member { host_end, bridge } => {
                    let at_bridge = interface == "bridge" || bridge.as_deref() == Some(interface);
                    interface == host_end || interface == "epair" || bridge.is_some() && at_bridge
                }
            })
        })
}

/// The interfaces among `skipped` by which something could pass a firewall by. A jail with addresses of the host may send by any, and the loopback is where jails of one host meet.
pub(super) fn skipped_of<'s>(
    skipped: &'s BTreeSet<String>,
    firewall: &JailFirewall,
) -> Vec<&'s str> {
    let is_shared = firewall.links.iter().any(|link| link.at == At::Stack);
    let mut ends = BTreeSet::new();
    for link in &firewall.links {
        ends.extend(link.at.host_end());
        if let At::Member { bridge, .. } = &link.at {
            ends.extend(bridge.as_deref());
        }
    }
    let skipped = skipped.iter().map(String::as_str);
    skipped
        .filter(|skipped| is_shared || ends.contains(skipped))
        .collect()
}

fn addresses(bound: &BoundAttachment) -> impl Iterator<Item = IpAddr> + '_ {
    bound.addresses.iter().map(|bound| bound.address)
}

/// Whom peers mean.
fn peers_of(jail: &JailView, peers: &[Peer]) -> BTreeSet<IpNet> {
    let mut meant = BTreeSet::new();
    for peer in peers {
        meant.extend(peer.cidr.map(|cidr| cidr.net()));
        let selected = peer.jails.as_ref().and_then(|jails| jail.selected(jails));
        let selected = selected.into_iter().flatten();
        meant.extend(selected.map(|address| IpNet::from(*address)));
    }
    meant
}
