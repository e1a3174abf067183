//! The firewalls of jails as lines of pf.conf(5), in two anchors: one that only drops, and one that lets through and makes states.
//!
//! ```text
//! cellblock/iNN   what jails may not send: dropped here, before any rule that lets through is looked into
//! cellblock/jNN   what comes to jails: `quick`, in the order of the rules; published ports with their labels among them
//! ```
//!
//! A packet from one jail to another may pass pf once only (from a shared address to a routed link, or back), and must satisfy both. So what a jail may not send is settled first, for all jails, and
//! nothing there lets a packet through; a rule that did would keep the other jail's rules from being asked, since `quick` ends the evaluation in all anchors.
//! pf has no rule that ends its own anchor only. The first rule that matches decides nevertheless: `match` rules give a tag, the last one that matches wins, and they stand in reverse order.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cellblock_schemas::net::{Family, PortRange, Protocol};
use ipnet::IpNet;

use super::crossing::{Crossing, Tables, inward, outward, set_of};
use super::{PublicRule, RedirectRule};
use crate::firewall::{At, ICMP, ICMP6, JailFirewall, Link, Outward, Rule, TCP, UDP};

/// The tags of packets that a jail sends: what was decided about them. Tags that packets bring along, as from a pf inside the jail, are overwritten by the first of its rules.
const DENIED: &str = "cellblock:deny";
const ALLOWED: &str = "cellblock:pass";

/// What never depends on a rule: without neighbour discovery nobody speaks IPv6 (RFC 4861), and without these errors nobody learns the path's MTU (RFC 8201, RFC 1191). Errors about a connection
/// that pf has a state of pass with that state anyhow.
const NEIGHBOURS: &str = "icmp6-type { toobig, routersol, neighbrsol, neighbradv }";

/// What a router says, which a jail may hear and not say: one that says it makes itself the router of all others.
const ROUTER: &str = "icmp6-type routeradv";
const TOO_BIG: &str = "icmp-type unreach code needfrag";

/// Multicast listener discovery, by which a switch learns where solicitations must go (RFC 4541); it has a router alert option, and pf drops packets with options unless told otherwise.
const LISTENERS: &str = "icmp6-type { 130, 131, 132, 143 } no state allow-opts";

/// What a jail may not send, and what nobody may keep from it.
pub(super) fn egress_lines(firewall: &JailFirewall, tables: &mut Tables) -> Vec<String> {
    let mut lines = Vec::new();
    let is_shared = firewall.links.iter().any(|link| link.at == At::Stack);
    if is_shared {
        lines.extend(own_lines(firewall, tables));
    }
    for link in &firewall.links {
        lines.extend(forged_lines(link, tables));
    }
    for link in &firewall.links {
        lines.extend(exempt_lines(link, tables));
    }
    for link in &firewall.links {
        if !firewall.egress.block_on(link) {
            continue;
        }
        for way in &link.outward {
            lines.extend(outward_lines(firewall, link, way, tables));
        }
        let crossing = outward(link);
        // The kernel takes no rule twice (`EEXIST`, `pf_ioctl_addrule`, sys/netpfil/pf/pf_ioctl.c): of rules about the same, only the first can decide.
        let mut decided = BTreeSet::new();
        let mut chain = Vec::new();
        let rules = firewall.egress.about(link);
        let rules = rules.map(|rule| (Some(rule), rule.passes));
        for (rule, passes) in rules.chain([(None, firewall.egress.passes_rest)]) {
            let tag = if passes { ALLOWED } else { DENIED };
            for matches in about(&crossing, rule, passes, tables) {
                if decided.insert(matches.clone()) {
                    chain.push(format!("match {} {matches} tag \"{tag}\"", crossing.at()));
                }
            }
        }
        lines.extend(chain.into_iter().rev());
        let matches = crossing.matches(None, tables).into_iter();
        lines.extend(matches.map(|matches| {
            format!(
                "block drop {} {matches} tagged \"{DENIED}\"",
                crossing.quick()
            )
        }));
    }
    lines
}

/// What a jail of the host's stack says to itself goes by a loopback, as what it says to 127.0.0.1 does (`prison_remote_ip4`, sys/netinet/in_jail.c).
fn own_lines(firewall: &JailFirewall, tables: &mut Tables) -> Vec<String> {
    let families = [Family::Ipv4, Family::Ipv6].into_iter();
    let lines = families.filter_map(|family| {
        let own = firewall.own.iter().map(|own| IpNet::from(*own));
        let own = set_of(own, family, tables)?;
        let family = family.keyword();
        Some(format!(
            "pass quick on lo {family} from {own} to {own} no state"
        ))
    });
    lines.collect()
}

/// What comes in under an address of the jail by a way that it does not come by. pf finds states whichever way their first packet went (`pf_find_state`, sys/netpfil/pf/pf.c): a packet that
/// another jail's root forged would make the state that lets the next ones in. On a bridge any member may take any address, and nothing here tells them apart. What a jail of the host's stack sends
/// to many comes back in by the NIC (`if_simloop`, sys/net/if_ethersubr.c), so of those only the ways of other jails are closed: the groups `epair` and `bridge`.
fn forged_lines(link: &Link, tables: &mut Tables) -> Vec<String> {
    let ways = match &link.at {
        At::Stack => vec!["epair".to_owned(), "bridge".to_owned()],
        At::HostEnd(host_end) => vec![format!("! {host_end}")],
        At::Member { .. } | At::Inside(_) => return Vec::new(),
    };
    let mut lines = Vec::new();
    for way in ways {
        for family in [Family::Ipv4, Family::Ipv6] {
            let own = link.addresses.iter().map(|own| IpNet::from(*own));
            lines.extend(set_of(own, family, tables).map(|own| {
                let family = family.keyword();
                format!("block drop in quick on {way} {family} from {own} to any")
            }));
        }
    }
    lines
}

/// Neighbour discovery, and what the path's MTU is learnt by.
fn exempt_lines(link: &Link, tables: &mut Tables) -> Vec<String> {
    let mut lines = Vec::new();
    let out = outward(link);
    // At a bridge the jail itself is a listener, and behind its own pf always.
    let listens = matches!(link.at, At::Member { .. } | At::Inside(_));
    for crossing in std::iter::once(out).chain(inward(link)) {
        let heard = crossing.inward.then_some((ICMP6, ROUTER));
        let always = [(ICMP6, NEIGHBOURS), (ICMP, TOO_BIG)];
        for (protocol, types) in always.into_iter().chain(heard) {
            let rule = of_protocol(protocol);
            let matches = crossing.matches(Some(&rule), tables).into_iter();
            lines
                .extend(matches.map(|matches| {
                    format!("pass {} {matches} {types} no state", crossing.quick())
                }));
        }
        if listens && crossing.own.is_none() {
            let matches = crossing.matches(Some(&of_protocol(ICMP6)), tables);
            lines.extend(
                matches
                    .into_iter()
                    .map(|matches| format!("pass {} {matches} {LISTENERS}", crossing.quick())),
            );
        }
    }
    lines
}

fn of_protocol(protocol: u8) -> Rule {
    Rule {
        passes: true,
        network: None,
        protocol: Some(protocol),
        ports: Vec::new(),
        peers: None,
        user: None,
        group: None,
    }
}

/// What leaves under another address: nobody else on this host has a say about it any more, so that the first rule that matches ends the evaluation.
fn outward_lines(
    firewall: &JailFirewall,
    link: &Link,
    way: &Outward,
    tables: &mut Tables,
) -> Vec<String> {
    let own: Option<BTreeSet<IpAddr>> = way.public.map(|public| [public].into());
    let crossing = Crossing {
        direction: "out",
        interface: Some(&way.interface),
        own: own.as_ref(),
        inward: false,
        family: Some(way.family),
        by_number: false,
    };
    let tag = &way.tag;
    let mut lines = Vec::new();
    let mut decide = |rule: Option<&Rule>, passes: bool| {
        let (action, keeps) = match (passes, way.public) {
            (true, Some(_)) => ("pass", format!(" keep state label \"{tag}\"")),
            (true, None) => ("pass", " keep state".to_owned()),
            (false, _) => ("block drop", String::new()),
        };
        let matches = about(&crossing, rule, passes, tables).into_iter();
        lines.extend(matches.map(|matches| {
            format!(
                "{action} {} {matches} tagged \"{tag}\"{keeps}",
                crossing.quick()
            )
        }));
    };
    for rule in firewall.egress.about(link) {
        decide(Some(rule), rule.passes);
    }
    decide(None, firewall.egress.passes_rest);
    lines
}

/// What comes to a jail, with its published ports and public addresses, and the states of what it sends.
pub(super) fn ingress_lines(
    firewall: &JailFirewall,
    redirects: &[RedirectRule],
    publics: &[PublicRule],
    tables: &mut Tables,
) -> Vec<String> {
    let mut lines = Vec::new();
    let jail = &firewall.jail;
    let redirects: Vec<&RedirectRule> = redirects
        .iter()
        .filter(|redirect| redirect.jail == *jail)
        .collect();
    let publics: Vec<&PublicRule> = publics
        .iter()
        .filter(|public| public.jail == *jail && public.whole)
        .collect();
    for link in &firewall.links {
        for crossing in inward(link) {
            for rule in firewall.ingress.about(link) {
                if rule.passes {
                    let redirected = redirects.iter().filter(|redirect| {
                        link.addresses.contains(&redirect.target)
                            && is_way(&crossing, redirect.forwarded_by.as_deref())
                    });
                    for redirect in redirected {
                        lines.extend(redirected_lines(rule, redirect, &crossing, tables));
                    }
                    let public = publics.iter().filter(|public| {
                        link.addresses.contains(&public.inside)
                            && is_way(&crossing, public.forwarded_by.as_deref())
                    });
                    for public in public {
                        lines.extend(public_lines(rule, public, &crossing, tables));
                    }
                }
                let (action, keeps) = words_of(rule.passes);
                let matches = about(&crossing, Some(rule), rule.passes, tables).into_iter();
                lines.extend(
                    matches
                        .map(|matches| format!("{action} {} {matches}{keeps}", crossing.quick())),
                );
            }
            lines.extend(rest_lines(&crossing, firewall.ingress.passes_rest, tables));
        }
        // What the jail sends has a state, so that what answers is let in. Whether it may be sent was settled before, and pf.conf may still say no.
        lines.extend(rest_lines(&outward(link), true, tables));
    }
    lines
}

/// What a rule that passes or drops is about.
fn about(
    crossing: &Crossing<'_>,
    rule: Option<&Rule>,
    passes: bool,
    tables: &mut Tables,
) -> Vec<String> {
    if passes {
        crossing.matches(rule, tables)
    } else {
        crossing.matches_of_drop(rule, tables)
    }
}

fn words_of(passes: bool) -> (&'static str, &'static str) {
    if passes {
        ("pass", " keep state")
    } else {
        ("block drop", "")
    }
}

/// What no rule is about. A pass is not `quick`: rules of pf.conf behind our anchor, and those of published ports, go on deciding.
fn rest_lines(crossing: &Crossing<'_>, passes: bool, tables: &mut Tables) -> Vec<String> {
    let (action, keeps) = words_of(passes);
    let at = if passes {
        crossing.at()
    } else {
        crossing.quick()
    };
    let matches = crossing.matches(None, tables).into_iter();
    matches
        .map(|matches| format!("{action} {at} {matches}{keeps}"))
        .collect()
}

/// Whether what was redirected passes there: in on the interface that it came by where the address is the host's own, else out on the one that the host forwards by.
fn is_way(crossing: &Crossing<'_>, forwarded_by: Option<&str>) -> bool {
    crossing.interface == forwarded_by
}

/// A rule that lets a published port in, for that port alone: its states have the port's label.
fn redirected_lines(
    rule: &Rule,
    redirect: &RedirectRule,
    crossing: &Crossing<'_>,
    tables: &mut Tables,
) -> Vec<String> {
    let protocol = match redirect.protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
    };
    if rule.protocol.is_some_and(|wanted| wanted != protocol) {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for outside in &redirect.ports {
        let inside = redirect.target_port.map_or(*outside, |port| PortRange {
            first: port,
            last: port,
        });
        let meant: Vec<PortRange> = if rule.ports.is_empty() {
            vec![inside]
        } else {
            let both = rule.ports.iter().filter(|ports| ports.overlaps(&inside));
            both.map(|ports| PortRange {
                first: ports.first.max(inside.first),
                last: ports.last.min(inside.last),
            })
            .collect()
        };
        if meant.is_empty() {
            continue;
        }
        let narrowed = Rule {
            protocol: Some(protocol),
            ports: meant,
            ..rule.clone()
        };
        let at = Led {
            interface: crossing.interface.unwrap_or(&redirect.interface),
            direction: crossing.direction,
            to: redirect.target,
        };
        let label = redirect.label(outside);
        let tag = redirect.tag(outside);
        lines.extend(at.lines(&narrowed, &tag, &label, tables));
    }
    lines
}

/// The same for a public address that is the jail's as a whole.
fn public_lines(
    rule: &Rule,
    public: &PublicRule,
    crossing: &Crossing<'_>,
    tables: &mut Tables,
) -> Vec<String> {
    let at = Led {
        interface: crossing.interface.unwrap_or(&public.interface),
        direction: crossing.direction,
        to: public.inside,
    };
    at.lines(rule, &public.label_out(), &public.label_in(), tables)
}

/// Where something that was led to a jail passes.
struct Led<'l> {
    interface: &'l str,
    direction: &'static str,
    to: IpAddr,
}

impl Led<'_> {
    fn lines(&self, rule: &Rule, tag: &str, label: &str, tables: &mut Tables) -> Vec<String> {
        let own = [self.to].into();
        let crossing = Crossing {
            direction: self.direction,
            interface: Some(self.interface),
            own: Some(&own),
            inward: true,
            family: None,
            by_number: false,
        };
        let matches = crossing.matches(Some(rule), tables).into_iter();
        matches
            .map(|matches| {
                format!(
                    "pass {} {matches} tagged \"{tag}\" keep state label \"{label}\"",
                    crossing.quick()
                )
            })
            .collect()
    }
}
