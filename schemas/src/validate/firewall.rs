//! Rules for packet filter rules: their form. What a mode can enforce, and what a selector selects, is decided elsewhere.

use crate::jail::{EnforcedBy, Firewall, JailSpec, Peer, Rule, UserIdRange};
use crate::net::Family;
use crate::owner::{self, IdMatch, is_number};
use crate::path::FieldPath;
use crate::structural::cut;
use crate::validate::{exactly_one, names, parameters, publish, selector};
use crate::violation::{Cause, Findings};

/// How many rules one jail may have: each stands in pf once for every family and attachment, and before each published port that it lets through.
const RULES_MAX: usize = 128;

/// From this securelevel on the kernel takes no more rules (`cmd_securelevel` of `ADDRULE` and its like, sys/netpfil/pf/pf_nl.c).
const SECURELEVEL_SEALED: i64 = 2;

pub(super) fn validate(
    spec: &JailSpec,
    firewall: &Firewall,
    path: &FieldPath,
    findings: &mut Findings,
) {
    if spec.networks.is_empty() {
        findings.add(
            path,
            "the jail is attached to no network, so there is nothing to filter",
            "attach it to a network, or remove the firewall",
        );
    }
    if firewall.enforced_by == EnforcedBy::Jail {
        validate_inside(spec, &path.field("enforcedBy"), findings);
    }
    let rules = firewall.rules().count();
    if rules > RULES_MAX {
        findings.add_as(
            Cause::TooMany,
            path,
            format!("{rules} rules, at most {RULES_MAX} are possible"),
            "join ports, prefixes and peers in lists",
        );
    }
    for (name, rules) in [("ingress", &firewall.ingress), ("egress", &firewall.egress)] {
        let at = path.field(name);
        for (index, rule) in rules.iter().enumerate() {
            validate_rule(spec, rule, name, &at.index(index), findings);
            if let Some(first) = rules[..index]
                .iter()
                .position(|other| other.name == rule.name)
            {
                let message = format!(
                    "`{}` is the name of {} already",
                    cut(&rule.name),
                    at.index(first)
                );
                findings.add(
                    &at.index(index).field("name"),
                    message,
                    "names are unique in the list",
                );
            }
        }
    }
}

/// What the jail's own pf needs: its device in the jail, and that rules can be loaded after the jail was made.
fn validate_inside(spec: &JailSpec, path: &FieldPath, findings: &mut Findings) {
    if !parameters::is_on(spec, "mount.devfs") {
        findings.add(
            path,
            "the jail has no devfs, so nothing can open its /dev/pf",
            "set the parameters mount.devfs, and devfs_ruleset to a ruleset with `path pf unhide`, such as 5 (devfsrules_jail_vnet)",
        );
    }
    let securelevel = parameters::number(spec, "securelevel");
    if securelevel.is_some_and(|level| level >= SECURELEVEL_SEALED) {
        findings.add(
            path,
            "from securelevel 2 on the kernel takes no more rules of pf from anybody in the jail",
            "set the parameter securelevel to 1 or less",
        );
    }
}

fn validate_rule(
    spec: &JailSpec,
    rule: &Rule,
    direction: &str,
    path: &FieldPath,
    findings: &mut Findings,
) {
    findings.check(&path.field("name"), names::entry(&rule.name));
    publish::attached(
        spec,
        rule.network.as_deref(),
        &path.field("network"),
        findings,
    );
    let protocol = rule.protocol.as_deref();
    if let Some(name) = protocol
        && (name.is_empty()
            || name.starts_with('-')
            || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            || is_number(name) && !name.parse::<u8>().is_ok_and(|number| number > 0)
            || name == "ip")
    {
        let help = "tcp, udp, icmp, icmp6, or a name or a number of protocols(5)";
        findings.add(
            &path.field("protocol"),
            format!("`{}` is not the name of a protocol", cut(name)),
            help,
        );
    }
    let has_ports = matches!(protocol, Some("tcp" | "udp" | "6" | "17"));
    if !rule.ports.is_empty() && !has_ports {
        findings.add(
            &path.field("ports"),
            "only tcp and udp have ports",
            "name the protocol, or remove the ports",
        );
    }
    let (other, wrong) = if direction == "ingress" {
        ("to", &rule.to)
    } else {
        ("from", &rule.from)
    };
    if !wrong.is_empty() {
        let message = format!("the jail itself stands on that side of {direction} rules");
        findings.add(
            &path.field(other),
            message,
            if direction == "ingress" {
                "use `from`"
            } else {
                "use `to`"
            },
        );
    }
    for (field, peers) in [("from", &rule.from), ("to", &rule.to)] {
        for (index, peer) in peers.iter().enumerate() {
            let at = path.field(field).index(index);
            validate_peer(peer, &at, findings);
            other_family(protocol, peer, &at.field("cidr"), findings);
        }
    }
    for (field, text) in [("user", &rule.user), ("group", &rule.group)] {
        if text.is_some() && !has_ports {
            findings.add(
                &path.field(field),
                "only sockets of tcp and udp are looked for",
                "name the protocol, in two rules if need be",
            );
        }
        let parsed = text.as_deref().and_then(IdMatch::parse);
        // Any range will do to see whether one can be put in.
        let any = UserIdRange { first: 1, last: 2 };
        if let Some(text) = text
            && owner::with_own(text, None).is_none()
        {
            if owner::with_own(text, Some(any)).is_none() {
                let message = format!("`{}`: a range of ids is neither more nor less", cut(text));
                findings.add(&path.field(field), message, "own, or != own");
            } else if spec.user_ids.is_none() {
                findings.add(
                    &path.field(field),
                    "the jail has no user ids of its own",
                    "ask for some with spec.userIds, or name a user of the host",
                );
            }
        }
        let numbers = parsed.and_then(|ids| ids.resolve(|id| id.parse().ok()));
        if numbers.is_some_and(IdMatch::<u32>::is_empty) {
            findings.add(
                &path.field(field),
                "nobody is in this range",
                "the smaller number comes first",
            );
        }
        if let Some(text) = text
            && parsed.is_none()
        {
            let help = "a name or number, with =, !=, <, <=, > or >= before it if wanted, or a range: `> 1000`, `1000:1999`";
            findings.add(
                &path.field(field),
                format!("`{}` is not a match of pf.conf(5)", cut(text)),
                help,
            );
        }
    }
}

/// ICMP of one family to nobody but addresses of the other: nothing is like that.
fn other_family(protocol: Option<&str>, peer: &Peer, path: &FieldPath, findings: &mut Findings) {
    let meant = match protocol {
        Some("icmp") => Family::Ipv4,
        Some("icmp6" | "ipv6-icmp") => Family::Ipv6,
        Some(_) | None => return,
    };
    if peer.cidr.is_some_and(|cidr| cidr.family() != meant) {
        findings.add(
            path,
            format!(
                "no packet of {} has such an address",
                protocol.unwrap_or_default()
            ),
            "icmp is IPv4's, icmp6 is IPv6's: write two rules for both",
        );
    }
}

fn validate_peer(peer: &Peer, path: &FieldPath, findings: &mut Findings) {
    exactly_one(
        path,
        &[
            ("jails", peer.jails.is_some()),
            ("cidr", peer.cidr.is_some()),
        ],
        findings,
    );
    if let Some(jails) = &peer.jails {
        selector(jails, &path.field("jails"), findings);
    }
    if let Some(cidr) = peer.cidr
        && cidr.has_host_bits()
    {
        findings.add(
            &path.field("cidr"),
            format!("{cidr} has bits set behind its prefix"),
            format!("the network is {}", cidr.net()),
        );
    }
}
