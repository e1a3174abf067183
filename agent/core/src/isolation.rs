//! Jails of a network that must not reach each other, with everything resolved: where what they send passes the host's pf, and which connections may stand.
//!
//! `plan` makes it of a view, `render` makes pf.conf(5) of it, and `agent/freebsd` asks it which states may stand. That members of a bridge are private is the bridge's matter, not pf's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_schemas::enforcement::has_host_gateway;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::{Family, is_link_local};
use cellblock_schemas::network::{self, Mode, NetworkSpec};
use ipnet::IpNet;

use crate::firewall::Flow;

#[cfg(test)]
mod tests;

/// The host's first loopback, by which IPv6 between addresses of the host goes, and IPv4 unless both are on one other loopback (recordings `09`, `12`, `18`).
pub const FIRST_LOOPBACK: &str = "lo0";

/// The group of all loopbacks: the kernel puts each into it (`lo_clone_create`, sys/net/if_loop.c).
pub const LOOPBACKS: &str = "lo";

/// Whether rules of the host's pf have a part in keeping the jails of a network apart. Private members alone do where the host is no router of theirs.
#[must_use]
pub fn by_pf(spec: &NetworkSpec) -> bool {
    let wanted = match spec.isolation {
        network::Isolation::Jails => true,
        network::Isolation::None | network::Isolation::Spoof => false,
    };
    wanted
        && match spec.mode() {
            Some(Mode::SharedIp(_) | Mode::Routed(_)) => true,
            Some(Mode::Bridge(_)) => [Family::Ipv4, Family::Ipv6]
                .into_iter()
                .any(|family| has_host_gateway(spec, family)),
            Some(Mode::Netgraph(_) | Mode::Passthrough(_)) | None => false,
        }
}

/// Jails of one network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Isolation {
    /// The network.
    pub network: Uid,
    /// The jails.
    pub jails: BTreeMap<Uid, Apart>,
    /// Where what they send passes pf.
    pub at: Crossing,
    /// By which other interfaces the host gets what they send on networks beside this one, where others send, too: there they are told by their addresses.
    pub beside: BTreeMap<String, BTreeSet<IpAddr>>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Apart {
    /// All of its addresses, on whatever network: it may send from any of them.
    pub own: BTreeSet<IpAddr>,
    /// Those on the network: the others must not reach them.
    pub here: BTreeSet<IpAddr>,
}

/// Where what the jails send passes the host's pf.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Crossing {
    /// In the host's own stack, by a loopback.
    Stack {
        /// The network's own loopback; none where the addresses are on a NIC.
        loopback: Option<String>,
    },
    /// At the host's ends of their links, on whatever network.
    Links(BTreeSet<String>),
    /// At the host's ends of links, and the bridge that they are members of, where the others are behind the host's own routing: at a bridge each is a private member, and in a network that spans
    /// hosts others are on other hosts.
    Routed {
        /// The ends, and the bridge: a frame for the MAC address of a member comes in by that (`GRAB_OUR_PACKETS`, sys/net/if_bridge.c; recording `18`).
        interfaces: BTreeSet<String>,
        /// What the host routes there: whatever address another jail's root takes, and whatever another host's jail has.
        subnets: BTreeSet<IpNet>,
        /// The host's own addresses among these.
        gateways: BTreeSet<IpAddr>,
        /// Whether all others of the subnets are jails', here and on other hosts: there may be a connection of theirs on any interface.
        spanning: bool,
    },
}

impl Crossing {
    /// Whether others are on other hosts.
    #[must_use]
    pub fn is_spanning(&self) -> bool {
        match self {
            Self::Stack { .. } | Self::Links(_) => false,
            Self::Routed { spanning, .. } => *spanning,
        }
    }
}

impl Isolation {
    /// The interfaces that the rules are about.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        let (named, loopback): (_, Option<&String>) = match &self.at {
            Crossing::Stack { loopback } => (None, loopback.as_ref()),
            Crossing::Links(interfaces) | Crossing::Routed { interfaces, .. } => {
                (Some(interfaces), None)
            }
        };
        let is_stack = matches!(self.at, Crossing::Stack { .. });
        let common = [FIRST_LOOPBACK, LOOPBACKS].into_iter();
        named
            .into_iter()
            .flatten()
            .chain(loopback)
            .chain(self.beside.keys())
            .map(String::as_str)
            .chain(common.filter(move |_| is_stack))
    }

    /// The groups that the kernel puts these interfaces into, beside that of loopbacks (sys/net/if_epair.c, sys/net/if_bridge.c).
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        let groups: &[&str] = match self.at {
            Crossing::Stack { .. } => &[],
            Crossing::Links(_) | Crossing::Routed { .. } => &["epair", "bridge"],
        };
        groups.iter().copied()
    }

    /// The addresses that others must not reach.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let jails = self.jails.values();
        jails.flat_map(|jail| &jail.here).copied().collect()
    }

    /// Whether a connection may stand.
    #[must_use]
    pub fn permits(&self, flow: &Flow) -> bool {
        let (from, to) = (flow.from.0, flow.to.0);
        let leads_on = flow.inward && self.leads_on(&flow.interface, to);
        let sender = self.jails.iter().find(|(_, jail)| jail.own.contains(&from));
        let target = self.jails.iter().find(|(_, jail)| jail.here.contains(&to));
        let between = match (sender, target) {
            (Some((sender, _)), Some((target, _))) => sender != target,
            (Some(_) | None, None) | (None, Some(_)) => false,
        };
        let across = self.is_of_others(from) && self.is_of_others(to);
        !(leads_on || across || between && self.is_here(flow))
    }

    /// Whether an address is that of a jail of the network, wherever that is, by the address alone. No jail speaks to itself by the host.
    fn is_of_others(&self, address: IpAddr) -> bool {
        match &self.at {
            Crossing::Stack { .. } | Crossing::Links(_) => false,
            Crossing::Routed {
                subnets,
                gateways,
                spanning,
                ..
            } => {
                let is_inside = subnets.iter().any(|net| net.contains(&address));
                *spanning && is_inside && !gateways.contains(&address)
            }
        }
    }

    /// Whether what comes in by an interface of jails is for another one.
    fn leads_on(&self, interface: &str, to: IpAddr) -> bool {
        match &self.at {
            Crossing::Stack { .. } => false,
            Crossing::Links(interfaces) => {
                let mut jails = self.jails.values();
                interfaces.contains(interface) && jails.any(|jail| jail.here.contains(&to))
            }
            Crossing::Routed {
                interfaces,
                subnets,
                gateways,
                spanning: _,
            } => {
                let routed = subnets.iter().any(|net| net.contains(&to));
                interfaces.contains(interface) && routed && !gateways.contains(&to)
            }
        }
    }

    /// Whether the addresses of a connection mean what they mean on the network: a link-local one may be another's on another link.
    fn is_here(&self, flow: &Flow) -> bool {
        match &self.at {
            Crossing::Stack { .. } if is_link_local(flow.to.0) => self
                .interfaces()
                .any(|interface| interface == flow.interface),
            Crossing::Stack { .. } | Crossing::Links(_) | Crossing::Routed { .. } => true,
        }
    }
}
