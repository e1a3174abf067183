//! Renders the pf rules of our anchors, in the syntax that 14 and 15 both accept: translation rules before filter rules.
//!
//! Each anchor carries one rule that matches nothing and whose label states the hash of the text: what is loaded is told by that label, never by a diff of pfctl's print.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::{Family, PortRange, Protocol};
use ipnet::IpNet;
use sha2::{Digest, Sha256};

/// The label's prefix, before the hash.
pub const HASH_LABEL: &str = "cellblock:cfg:";

/// An interface that never exists: a rule on it is loaded (recording `05`) and never evaluated to a match.
const NO_INTERFACE: &str = "cbnone0";

/// How many hexadecimal digits of a hash tell the published ports of one jail apart.
const PORTS_HASH_CHARS: usize = 8;

/// A rendered anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorText {
    /// What `pfctl -a ANCHOR -f -` reads.
    pub rules: String,
    /// What the label states: a hash of the text, `-`, and how many translations pf makes of it. Rules and translations are rulesets of their own, and the label stands among the rules only:
    /// without the number, nobody would notice that `pfctl -a ANCHOR -F nat` took the others away (recording `15`).
    pub hash: String,
    /// The labels of its published ports, each with the states that connections to them made.
    pub labels: BTreeSet<String>,
}

/// One line of outbound NAT.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NatRule {
    /// The interface that traffic leaves by.
    pub interface: String,
    /// The jails' prefix.
    pub from: IpNet,
    /// The source address outside; none: the interface's first of that family.
    pub to: Option<IpAddr>,
    /// `static-port`
    pub static_port: bool,
}

/// One published set of ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RedirectRule {
    /// The jail, for the label.
    pub jail: Uid,
    /// The interface that traffic comes in by.
    pub interface: String,
    /// The public address.
    pub public: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports outside.
    pub ports: Vec<PortRange>,
    /// The jail's address.
    pub target: IpAddr,
    /// The port inside; none: the same.
    pub target_port: Option<u16>,
    /// The interface that the host forwards to the jail by; none where the address is the host's own (shared IP).
    pub forwarded_by: Option<String>,
}

/// The label of a jail's filter rules; states are killed by it.
#[must_use]
pub fn jail_label(jail: &Uid) -> String {
    format!("cellblock:{jail}")
}

/// The label of some published ports of a jail, beside the jail's own on the same rules; states are killed by it when the ports are taken back. It states everything that a connection
/// through them depends on. Ports that lead to one port inside share it, because pf tells their connections apart by no rule.
///
/// A rule has up to five labels of 63 octets (PF_RULE_MAX_LABEL_COUNT, PF_RULE_LABEL_SIZE, sys/netpfil/pf/pf.h).
fn ports_label(redirect: &RedirectRule, ports: &str) -> String {
    let to = redirect.target_port.unwrap_or_default();
    let text = format!(
        "{} {} {} {ports} {} {to}",
        redirect.interface,
        redirect.protocol.as_str(),
        redirect.public,
        redirect.target,
    );
    let mut hash = data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
    hash.truncate(PORTS_HASH_CHARS);
    format!("{}:{hash}", jail_label(&redirect.jail))
}

/// Whether `label` is one of published ports, as [`render`] gives it.
#[must_use]
pub fn is_ports_label(label: &str) -> bool {
    let Some((jail, hash)) = label.rsplit_once(':') else {
        return false;
    };
    let prefix = jail.strip_prefix("cellblock:");
    prefix.is_some_and(|uid| !uid.is_empty() && uid != "cfg")
        && hash.len() == PORTS_HASH_CHARS
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The rules of an anchor that is about to lose published ports: those that shall stand, and one for each label that goes, which matches nothing. So whoever finds the anchor like this
/// knows which states are still to be killed. It states no hash, so it is never taken for finished.
#[must_use]
pub fn retiring(text: Option<&AnchorText>, labels: &BTreeSet<String>) -> String {
    let mut rules: String = text
        .iter()
        .flat_map(|text| text.rules.split_inclusive('\n'))
        .filter(|line| !line.contains(HASH_LABEL))
        .collect();
    for label in labels {
        writeln!(
            rules,
            "pass in quick on {NO_INTERFACE} all no state label \"{label}\""
        )
        .expect("writing to a String cannot fail");
    }
    rules
}

/// Renders an anchor of NAT and redirect rules. None where there is nothing to load.
#[must_use]
pub fn render(nats: &[NatRule], redirects: &[RedirectRule]) -> Option<AnchorText> {
    if nats.is_empty() && redirects.is_empty() {
        return None;
    }
    let mut rules = String::new();
    for nat in nats {
        let family = Family::of(nat.from.addr()).keyword();
        let to = match nat.to {
            Some(address) => address.to_string(),
            None => format!("({}:0)", nat.interface),
        };
        let static_port = if nat.static_port { " static-port" } else { "" };
        writeln!(
            rules,
            "nat pass on {} {family} from {} to any -> {to}{static_port}",
            nat.interface, nat.from
        )
        .expect("writing to a String cannot fail");
    }
    for redirect in redirects {
        let port = redirect
            .target_port
            .map(|port| format!(" port {port}"))
            .unwrap_or_default();
        for range in &redirect.ports {
            writeln!(
                rules,
                "rdr on {} {} proto {} from any to {} port {} -> {}{port}",
                redirect.interface,
                Family::of(redirect.public).keyword(),
                redirect.protocol.as_str(),
                redirect.public,
                port_range(range),
                redirect.target,
            )
            .expect("writing to a String cannot fail");
        }
    }
    let mut labels = BTreeSet::new();
    for redirect in redirects {
        render_passes(redirect, &mut rules, &mut labels);
    }
    let mut hash = data_encoding::HEXLOWER.encode(&Sha256::digest(rules.as_bytes()));
    hash.truncate(16);
    let translations: usize = redirects.iter().map(|redirect| redirect.ports.len()).sum();
    write!(hash, "-{}", nats.len() + translations).expect("writing to a String cannot fail");
    writeln!(
        rules,
        "pass in quick on {NO_INTERFACE} all no state label \"{HASH_LABEL}{hash}\""
    )
    .expect("writing to a String cannot fail");
    Some(AnchorText {
        rules,
        hash,
        labels,
    })
}

/// The rules that let the connections of one redirect pass, labelled so that their states are found.
fn render_passes(redirect: &RedirectRule, rules: &mut String, labels: &mut BTreeSet<String>) {
    let inside: Vec<(String, String)> = match redirect.target_port {
        Some(port) => {
            let outside: Vec<String> = redirect.ports.iter().map(port_range).collect();
            vec![(port.to_string(), ports_label(redirect, &outside.join(" ")))]
        }
        None => redirect
            .ports
            .iter()
            .map(|range| {
                let ports = port_range(range);
                let label = ports_label(redirect, &ports);
                (ports, label)
            })
            .collect(),
    };
    // A forwarded packet is filtered twice, and the state of the way in does not pass it on the way out.
    let ways = [
        ("in", Some(&redirect.interface)),
        ("out", redirect.forwarded_by.as_ref()),
    ];
    for (ports, label) in inside {
        for (direction, interface) in ways
            .into_iter()
            .filter_map(|(way, interface)| Some((way, interface?)))
        {
            writeln!(
                rules,
                "pass {direction} quick on {interface} {} proto {} from any to {} port {ports} keep state label \"{}\" label \"{label}\"",
                Family::of(redirect.target).keyword(),
                redirect.protocol.as_str(),
                redirect.target,
                jail_label(&redirect.jail),
            )
            .expect("writing to a String cannot fail");
        }
        labels.insert(label);
    }
}

/// `80` or `8000:8099`.
fn port_range(range: &PortRange) -> String {
    if range.first == range.last {
        range.first.to_string()
    } else {
        format!("{}:{}", range.first, range.last)
    }
}

#[cfg(test)]
mod tests;
