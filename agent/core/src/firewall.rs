//! A jail's firewall with everything resolved: which rules stand where its traffic passes the host's pf, and which connections they permit.
//!
//! `plan` makes it of a view and a look, `render` makes pf.conf(5) of it, and `agent/freebsd` asks it which states may stand. Both read the same rules, so that what pf lets through and what is
//! left standing are one thing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::{Family, PortRange};
use cellblock_schemas::owner::IdMatch;
use ipnet::IpNet;

#[cfg(test)]
mod tests;

/// Numbers of protocols that have a name here (protocols(5)).
pub const ICMP: u8 = 1;
/// tcp
pub const TCP: u8 = 6;
/// udp
pub const UDP: u8 = 17;
/// ipv6-icmp
pub const ICMP6: u8 = 58;

/// The rules of one jail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JailFirewall {
    /// The jail.
    pub jail: Uid,
    /// All of its addresses, on whatever network: what it sends to itself is nobody's business.
    pub own: BTreeSet<IpAddr>,
    /// Its attachments that rules are about.
    pub links: Vec<Link>,
    /// What comes to it.
    pub ingress: Rules,
    /// What it sends.
    pub egress: Rules,
}

/// Rules of one direction: the first that matches decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rules {
    /// In order.
    pub list: Vec<Rule>,
    /// Whether what none of them matches is let through.
    pub passes_rest: bool,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Let it through, or drop it.
    pub passes: bool,
    /// Only on attachments to this network.
    pub network: Option<String>,
    /// Only this protocol, by its number.
    pub protocol: Option<u8>,
    /// Only these destination ports; empty: all.
    pub ports: Vec<PortRange>,
    /// Only these at the other end; none: anybody. May be empty: then it is about nobody.
    pub peers: Option<BTreeSet<IpNet>>,
    /// Only sockets of these users.
    pub user: Option<IdMatch<u32>>,
    /// Only sockets of these groups.
    pub group: Option<IdMatch<u32>>,
}

/// One attachment of a jail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// The network's name.
    pub network: String,
    /// The jail's addresses there.
    pub addresses: BTreeSet<IpAddr>,
    /// Where its traffic passes pf.
    pub at: At,
    /// Ways out by which pf sees it under another address: of translations and filter rules pf looks into the former first (`pf_test_rule`, sys/netpfil/pf/pf.c).
    pub outward: Vec<Outward>,
}

/// Where a jail's traffic passes the pf that has its rules: the host's, or its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// In the host's own stack, by its addresses, on whatever interface: a NIC, or the loopback that jails of one host meet each other on (recordings `09`, `12`).
    Stack,
    /// At the host's end of its link: what comes in there, the jail sends.
    HostEnd(String),
    /// At the host's end of its link, a member of a bridge, of which pf is asked about what goes from member to member (`net.link.bridge.pfil_member`).
    Member {
        /// The host's end.
        host_end: String,
        /// The bridge, where the host has an address at it: what the host itself sends there passes no member (`bridge_output`, sys/net/if_bridge.c).
        bridge: Option<String>,
    },
    /// At the jail's own interface, by that name, in the pf of the jail's own stack: what comes in there, the jail gets.
    Inside(String),
}

/// A way out under another address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outward {
    /// The interface that it leaves by.
    pub interface: String,
    /// Its family.
    pub family: Family,
    /// The tag that the translation gives.
    pub tag: String,
    /// The address that it leaves with, where the states have a label, which is the tag; none for a network's NAT.
    pub public: Option<IpAddr>,
}

impl At {
    /// The host's end of the jail's link.
    #[must_use]
    pub fn host_end(&self) -> Option<&str> {
        match self {
            Self::Stack | Self::Inside(_) => None,
            Self::HostEnd(host_end) | Self::Member { host_end, .. } => Some(host_end),
        }
    }

    /// Whether a connection that began there was sent by the jail; none: by its interface alone, nothing says so.
    fn tells(&self, flow: &Flow) -> Option<bool> {
        match self {
            Self::Stack => None,
            Self::HostEnd(end) | Self::Member { host_end: end, .. } => {
                (*end == flow.interface).then_some(flow.inward)
            }
            Self::Inside(end) => (*end == flow.interface).then_some(!flow.inward),
        }
    }

    /// Whether addresses tell, too, whose a connection is. In its own stack a jail speaks with itself by other interfaces, which is nobody's business.
    fn is_by_address(&self) -> bool {
        !matches!(self, Self::Inside(_))
    }
}

impl Rules {
    /// The rules about one attachment, in order.
    pub fn about<'r>(&'r self, link: &'r Link) -> impl DoubleEndedIterator<Item = &'r Rule> {
        self.list.iter().filter(|rule| {
            let named = rule.network.as_ref();
            named.is_none_or(|named| *named == link.network)
        })
    }

    /// Whether anything on an attachment is dropped.
    #[must_use]
    pub fn block_on(&self, link: &Link) -> bool {
        !self.passes_rest || self.about(link).any(|rule| !rule.passes)
    }

    fn has_owners(&self) -> bool {
        self.list.iter().any(Rule::has_owner)
    }
}

impl Rule {
    /// Whether it asks for the owner of a socket.
    pub(crate) fn has_owner(&self) -> bool {
        self.user.is_some() || self.group.is_some()
    }
}

/// A connection, as pf's state of it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The interface of its first packet.
    pub interface: String,
    /// Whether that packet came in there.
    pub inward: bool,
    /// The protocol as pfctl(8) prints it: a name of protocols(5), or a number.
    pub protocol: String,
    /// Who began it, before its source was translated.
    pub from: (IpAddr, u16),
    /// To whom, after its destination was translated.
    pub to: (IpAddr, u16),
}

impl Flow {
    /// The protocol's number, where the name is one of the few that matter.
    fn protocol(&self) -> Option<u8> {
        match self.protocol.as_str() {
            "icmp" => Some(ICMP),
            "tcp" => Some(TCP),
            "udp" => Some(UDP),
            "ipv6-icmp" => Some(ICMP6),
            "igmp" => Some(2),
            "gre" => Some(47),
            "esp" => Some(50),
            "ah" => Some(51),
            "sctp" => Some(132),
            other => other.parse().ok(),
        }
    }
}

impl JailFirewall {
    /// Whether any rule asks for the owner of a socket, which no state tells.
    #[must_use]
    pub fn has_owners(&self) -> bool {
        self.ingress.has_owners() || self.egress.has_owners()
    }

    /// Whether a connection may stand. Nobody can tell whose socket began it: where a rule asks for that, `fresh` says that the rule may be newer than the connection, which must not stand then if
    /// some owner's must not; else the rule let it be made, or would have kept it from being made.
    #[must_use]
    pub fn permits(&self, flow: &Flow, fresh: bool) -> bool {
        let (from, to) = (flow.from.0, flow.to.0);
        let is_at = |link: &&Link, sent: bool| link.at.tells(flow) == Some(sent);
        let is_of = |link: &&Link, address: &IpAddr| {
            link.at.is_by_address() && link.addresses.contains(address)
        };
        if self.own.contains(&from) && self.own.contains(&to) {
            return true;
        }
        let sends = |link: &&Link| is_of(link, &from) || is_at(link, true);
        let gets = |link: &&Link| is_of(link, &to) || is_at(link, false);
        let out = self.links.iter().find(sends);
        let into = self.links.iter().find(gets);
        out.is_none_or(|link| permit(&self.egress, link, flow, to, fresh))
            && into.is_none_or(|link| permit(&self.ingress, link, flow, from, fresh))
    }
}

fn permit(rules: &Rules, link: &Link, flow: &Flow, peer: IpAddr, fresh: bool) -> bool {
    let decides = rules
        .about(link)
        .find(|rule| match meets(rule, flow, peer) {
            Meets::Yes => !rule.has_owner() || rule.passes != fresh,
            // Some state of a protocol whose name says nothing: what may be meant by a block goes, what may be meant by a pass does not stay for it.
            Meets::Maybe => !rule.passes,
            Meets::No => false,
        });
    decides.map_or(rules.passes_rest, |rule| rule.passes)
}

enum Meets {
    Yes,
    Maybe,
    No,
}

/// Whether a rule is about a connection with that other end, but for whose socket it is.
fn meets(rule: &Rule, flow: &Flow, peer: IpAddr) -> Meets {
    let has_peer = |peers: &BTreeSet<IpNet>| peers.iter().any(|net| net.contains(&peer));
    if !rule.peers.as_ref().is_none_or(has_peer) {
        return Meets::No;
    }
    let port = flow.to.1;
    let mut ports = rule.ports.iter();
    if !rule.ports.is_empty() && !ports.any(|range| (range.first..=range.last).contains(&port)) {
        return Meets::No;
    }
    match (rule.protocol, flow.protocol()) {
        (None, _) => Meets::Yes,
        (Some(wanted), Some(found)) if wanted == found => Meets::Yes,
        (Some(_), Some(_)) | (Some(ICMP | TCP | UDP | ICMP6), None) => Meets::No,
        (Some(_), None) => Meets::Maybe,
    }
}
