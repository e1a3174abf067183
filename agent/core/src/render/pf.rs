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

/// How many base32 characters of a digest stand in a label, which has at most 63 bytes (PF_RULE_LABEL_SIZE, sys/netpfil/pf/pf.h): 10 of `cellblock:`, 36 of a uid, and these.
const LABEL_CHARS: usize = 10;

impl RedirectRule {
    /// The label of the filter rules of one range of its ports, and the tag of the packets that it redirected: states are killed by it, so it is another one wherever the rule is another one,
    /// and the same as long as the rule means the same, whatever stands beside it and however it is rendered.
    #[must_use]
    pub fn label(&self, ports: &PortRange) -> String {
        let parts = [
            self.interface.clone(),
            self.public.to_string(),
            self.protocol.as_str().to_owned(),
            format!("{}:{}", ports.first, ports.last),
            self.target.to_string(),
            self.target_port
                .map(|port| port.to_string())
                .unwrap_or_default(),
            self.forwarded_by.clone().unwrap_or_default(),
        ];
        let mut digest = Sha256::new();
        for part in &parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        let mut short = data_encoding::BASE32_NOPAD
            .encode(&digest.finalize())
            .to_ascii_lowercase();
        short.truncate(LABEL_CHARS);
        format!("cellblock:{}:{short}", self.jail)
    }
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
        let to = redirect
            .target_port
            .map(|port| format!(" port {port}"))
            .unwrap_or_default();
        for ports in &redirect.ports {
            writeln!(
                rules,
                "rdr on {} {} proto {} from any to {} port {} tag \"{}\" -> {}{to}",
                redirect.interface,
                Family::of(redirect.public).keyword(),
                redirect.protocol.as_str(),
                redirect.public,
                range(ports),
                redirect.label(ports),
                redirect.target,
            )
            .expect("writing to a String cannot fail");
        }
    }
    for redirect in redirects {
        render_passes(&mut rules, redirect);
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

/// The filter rules of a redirect, for each range of its ports. The tag tells ports apart that lead to one port inside: without it, the first rule would make the states of all of them.
fn render_passes(rules: &mut String, redirect: &RedirectRule) {
    for ports in &redirect.ports {
        let inside = match redirect.target_port {
            Some(port) => port.to_string(),
            None => range(ports),
        };
        // A forwarded packet is filtered twice, and the state of the way in does not pass it on the way out.
        let ways = [
            ("in", Some(&redirect.interface)),
            ("out", redirect.forwarded_by.as_ref()),
        ];
        let label = redirect.label(ports);
        for (direction, interface) in ways
            .into_iter()
            .filter_map(|(way, interface)| Some((way, interface?)))
        {
            writeln!(
                rules,
                "pass {direction} quick on {interface} {} proto {} from any to {} port {inside} tagged \"{label}\" keep state label \"{label}\"",
                Family::of(redirect.target).keyword(),
                redirect.protocol.as_str(),
                redirect.target,
            )
            .expect("writing to a String cannot fail");
        }
    }
}

/// `80` or `8000:8099`.
fn range(ports: &PortRange) -> String {
    if ports.first == ports.last {
        ports.first.to_string()
    } else {
        format!("{}:{}", ports.first, ports.last)
    }
}

#[cfg(test)]
mod tests;
