//! Stateless address autoconfiguration: what an interface makes of a router advertisement (`nd6_ra_input`, `prelist_update`, `in6_ifadd` and `defrouter_addreq`, sys/netinet6/nd6_rtr.c).

use std::net::{IpAddr, Ipv6Addr};

use super::{Inet6, embed_scope, mask6};
use crate::kernel::Kernel;
use crate::kernel::ifnet::{IfId, nd};
use crate::kernel::route::{Family, Gateway, Route, RouteKey, rtf};
use crate::outside::Router;

/// Bits of a prefix that leave room for an interface's identifier, without which `in6_ifadd` makes no address.
const PREFIX: u8 = 64;

impl Kernel {
    pub(crate) fn hear_advertisement(&mut self, id: IfId, router: &Router) {
        let ifnet = self.ifnet(id);
        if !ifnet.up || ifnet.nd & nd::IFDISABLED != 0 || ifnet.nd & nd::ACCEPT_RTADV == 0 {
            return;
        }
        self.take_router(id, router.link_local);
        self.take_prefix(id, router.prefix);
    }

    /// In a stack that forwards, and on an interface with `no_radr`, a router counts as one that is a router no more: the default route that it brought goes (`defrouter_remove`).
    fn take_router(&mut self, id: IfId, router: Ipv6Addr) {
        let ifnet = self.ifnet(id);
        let (vnet, fib, index) = (ifnet.vnet, ifnet.fib, ifnet.index);
        let is_on = |name| self.vnet_sysctl_number(vnet, name).unwrap_or_default() != 0;
        let refused = ifnet.nd & nd::NO_RADR != 0
            || is_on("net.inet6.ip6.forwarding") && !is_on("net.inet6.ip6.rfc6204w3");
        let key = RouteKey::new(Family::Inet6, 0, 0);
        let gateway = Gateway::Address(IpAddr::V6(embed_scope(router, index)));
        if !refused {
            // One more path where there is one by another gateway; by this one it is refused with EEXIST, which nobody is told.
            let _ = self.route_add(vnet, fib, key, gateway, Some(id), rtf::GATEWAY);
            return;
        }
        let tables = self.fib(vnet, fib);
        let paths = tables.map_or(&[][..], |tables| tables.rib(Family::Inet6).paths(key));
        let is_its = |route: &Route| route.gateway == gateway && route.flags & rtf::STATIC == 0;
        if paths.iter().any(is_its) {
            let _ = self.route_delete(vnet, fib, key, Some(gateway));
        }
    }

    /// An address of the prefix with the identifier of the link-local one, without which there is none.
    fn take_prefix(&mut self, id: IfId, prefix: Ipv6Addr) {
        let ifnet = self.ifnet(id);
        let network = u128::from(prefix) & mask6(PREFIX);
        let is_of = |entry: &Inet6| u128::from(entry.address) & mask6(PREFIX) == network;
        let known = ifnet
            .inet6
            .iter()
            .any(|entry| entry.autoconf && is_of(entry));
        let own = ifnet.inet6.iter().find(|entry| entry.is_link_local());
        let Some(identifier) = own.map(|entry| u128::from(entry.address) & !mask6(PREFIX)) else {
            return;
        };
        let address = Ipv6Addr::from(network | identifier);
        let is_there = ifnet.inet6.iter().any(|entry| entry.address == address);
        if known || is_there {
            return;
        }
        self.attach_inet6(id, address, PREFIX, false);
        let mut entries = self.ifnet_mut(id).inet6.iter_mut();
        if let Some(entry) = entries.find(|entry| entry.address == address) {
            entry.autoconf = true;
        }
    }
}
