//! Machines on the wires behind the host's cards that answer when somebody asks for an address: routers that advertise a prefix, and DHCP servers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::emulator::Emulator;
use crate::kernel::ifnet::{IfId, Mac};

/// A router that advertises itself and one prefix of 64 bits, on-link and autonomous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// Its own address on the link.
    pub link_local: Ipv6Addr,
    /// The prefix; the lower half of it counts for nothing.
    pub prefix: Ipv6Addr,
}

/// A DHCP server that gives addresses in order, to each interface one for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhcpServer {
    /// The first that it gives.
    pub first: Ipv4Addr,
    /// Their prefix length.
    pub prefix: u8,
    /// The default gateway that it names.
    pub router: Ipv4Addr,
    leases: BTreeMap<Mac, Ipv4Addr>,
}

impl DhcpServer {
    /// A server that has given nothing yet.
    pub fn new(first: Ipv4Addr, prefix: u8, router: Ipv4Addr) -> Self {
        Self {
            first,
            prefix,
            router,
            leases: BTreeMap::new(),
        }
    }

    pub(crate) fn lease(&mut self, mac: Mac) -> Ipv4Addr {
        let next = u32::from(self.first) + u32::try_from(self.leases.len()).unwrap_or(u32::MAX);
        *self.leases.entry(mac).or_insert(next.into())
    }
}

/// What stands on the wires, by the card that leads there and the tag of a VLAN on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outside {
    pub(crate) routers: BTreeMap<(String, Option<u16>), Router>,
    pub(crate) dhcp: BTreeMap<(String, Option<u16>), DhcpServer>,
}

impl Emulator {
    /// A router stands on the wire behind `card`, in the VLAN `tag` of it or in none. It advertises when it is asked, and by [`Emulator::advertise`].
    pub fn add_router(&mut self, card: &str, tag: Option<u16>, router: Router) {
        self.outside.routers.insert((card.to_owned(), tag), router);
    }

    /// The router leaves; what it advertised stays until it expires.
    pub fn remove_router(&mut self, card: &str, tag: Option<u16>) {
        self.outside.routers.remove(&(card.to_owned(), tag));
    }

    /// A DHCP server stands on the wire behind `card`, in the VLAN `tag` of it or in none.
    pub fn add_dhcp_server(&mut self, card: &str, tag: Option<u16>, server: DhcpServer) {
        self.outside.dhcp.insert((card.to_owned(), tag), server);
    }

    /// Every router advertises unasked, as it does every few minutes.
    pub fn advertise(&mut self) {
        let interfaces: Vec<IfId> = self.kernel.ifs.all.keys().copied().collect();
        for id in interfaces {
            self.solicit(id);
        }
    }

    /// The routers that hear what the stack of an interface sends by it answer. Whether one did.
    pub(crate) fn solicit(&mut self, id: IfId) -> bool {
        let wires = self.wires_of(id);
        let routers = wires
            .iter()
            .filter_map(|wire| self.outside.routers.get(wire));
        let mut routers: Vec<Router> = routers.cloned().collect();
        routers.extend(self.routers_near(id));
        for router in &routers {
            self.kernel.hear_advertisement(id, router);
        }
        !routers.is_empty()
    }
}
