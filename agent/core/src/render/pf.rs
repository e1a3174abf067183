//! Renders the pf rules of our anchors, in the syntax that 14 and 15 both accept: translation rules before filter rules.
//!
//! Each anchor carries one rule that matches nothing and whose label states the hash of the text: what is loaded is told by that label, never by a diff of pfctl's print.

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

/// A rendered anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorText {
    /// What `pfctl -a ANCHOR -f -` reads.
    pub rules: String,
    /// What the label states: a hash of the text, `-`, and how many translations pf makes of it. Rules and translations are rulesets of their own, and the label stands among the rules only:
    /// without the number, nobody would notice that `pfctl -a ANCHOR -F nat` took the others away (recording `15`).
    pub hash: String,
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
        writeln!(
            rules,
            "rdr on {} {} proto {} from any to {} port {} -> {}{port}",
            redirect.interface,
            Family::of(redirect.public).keyword(),
            redirect.protocol.as_str(),
            redirect.public,
            port_list(&redirect.ports),
            redirect.target,
        )
        .expect("writing to a String cannot fail");
    }
    for redirect in redirects {
        let ports = match redirect.target_port {
            Some(port) => port.to_string(),
            None => port_list(&redirect.ports),
        };
        // A forwarded packet is filtered twice, and the state of the way in does not pass it on the way out.
        let ways = [
            ("in", Some(&redirect.interface)),
            ("out", redirect.forwarded_by.as_ref()),
        ];
        for (direction, interface) in ways
            .into_iter()
            .filter_map(|(way, interface)| Some((way, interface?)))
        {
            writeln!(
                rules,
                "pass {direction} quick on {interface} {} proto {} from any to {} port {ports} keep state label \"{}\"",
                Family::of(redirect.target).keyword(),
                redirect.protocol.as_str(),
                redirect.target,
                jail_label(&redirect.jail),
            )
            .expect("writing to a String cannot fail");
        }
    }
    let mut hash = data_encoding::HEXLOWER.encode(&Sha256::digest(rules.as_bytes()));
    hash.truncate(16);
    // pf makes a translation of each port of a list.
    let translations: usize = redirects.iter().map(|redirect| redirect.ports.len()).sum();
    write!(hash, "-{}", nats.len() + translations).expect("writing to a String cannot fail");
    writeln!(
        rules,
        "pass in quick on {NO_INTERFACE} all no state label \"{HASH_LABEL}{hash}\""
    )
    .expect("writing to a String cannot fail");
    Some(AnchorText { rules, hash })
}

/// `80`, `8000:8099`, or `{ 21, 80, 443 }`.
fn port_list(ports: &[PortRange]) -> String {
    let words: Vec<String> = ports
        .iter()
        .map(|range| {
            if range.first == range.last {
                range.first.to_string()
            } else {
                format!("{}:{}", range.first, range.last)
            }
        })
        .collect();
    match words.as_slice() {
        [word] => word.clone(),
        _ => format!("{{ {} }}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests;
