//! Rules for packet filter rules: their form. What a mode can enforce, and what a selector selects, is decided elsewhere.

use crate::jail::{Firewall, JailSpec, Peer, Rule};
use crate::path::FieldPath;
use crate::structural::cut;
use crate::validate::{exactly_one, names, publish, selector};
use crate::violation::Findings;

#[cfg(test)]
mod tests;

pub(super) fn validate(
    spec: &JailSpec,
    firewall: &Firewall,
    path: &FieldPath,
    findings: &mut Findings,
) {
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
            || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
    {
        let help = "tcp, udp, icmp, icmp6, or a name of protocols(5)";
        findings.add(
            &path.field("protocol"),
            format!("`{}` is not the name of a protocol", cut(name)),
            help,
        );
    }
    if !rule.ports.is_empty() && !matches!(protocol, Some("tcp" | "udp")) {
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
            validate_peer(peer, &path.field(field).index(index), findings);
        }
    }
    for (field, text) in [("user", &rule.user), ("group", &rule.group)] {
        if let Some(text) = text
            && !is_id_match(text)
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

/// pf.conf(5): `user < 1000`, `user root`, `user 1000:1999`, `user 1000><2000`, `user 1000<>2000`. One match, no list.
fn is_id_match(text: &str) -> bool {
    let is_id = |id: &str| {
        let id = id.trim();
        !id.is_empty()
            && !id.starts_with('-')
            && id
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    let text = text.trim();
    for between in ["><", "<>", ":"] {
        if let Some((first, last)) = text.split_once(between) {
            return is_id(first) && is_id(last);
        }
    }
    let rest = ["!=", "<=", ">=", "=", "<", ">"]
        .iter()
        .find_map(|operator| text.strip_prefix(operator))
        .unwrap_or(text);
    is_id(rest)
}
