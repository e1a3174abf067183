//! Routing tables: one per fib and family of each stack, with the next hops that routes share (sys/net/route/).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Kernel;
use super::addr::{Inet, embed_scope, mask4, mask6};
use super::errno::Errno;
use super::ifnet::IfId;
use super::vnet::VnetId;

/// RTF_* of sys/net/route.h.
pub(crate) mod rtf {
    pub(crate) const UP: u32 = 0x1;
    pub(crate) const GATEWAY: u32 = 0x2;
    pub(crate) const HOST: u32 = 0x4;
    pub(crate) const REJECT: u32 = 0x8;
    pub(crate) const STATIC: u32 = 0x800;
    pub(crate) const BLACKHOLE: u32 = 0x1000;
    pub(crate) const PINNED: u32 = 0x10_0000;
}

/// Address family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Inet,
    Inet6,
}

/// Destination of a route. IPv4 addresses sit in the low 32 bits, link-local IPv6 ones carry their scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteKey {
    pub(crate) family: Family,
    pub(crate) address: u128,
    pub(crate) prefix: u8,
}

impl RouteKey {
    /// The key with the host bits cleared.
    pub(crate) fn new(family: Family, address: u128, prefix: u8) -> Self {
        let mask = match family {
            Family::Inet => u128::from(mask4(prefix)),
            Family::Inet6 => mask6(prefix),
        };
        Self {
            family,
            address: address & mask,
            prefix,
        }
    }

    /// The key of an address for itself, without a scope.
    fn host(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::new(Family::Inet, u128::from(u32::from(address)), 32),
            IpAddr::V6(address) => Self::new(Family::Inet6, u128::from(address), 128),
        }
    }

    /// Order of the radix tree's walk: by address, longest prefix first.
    fn place(self) -> (u128, Reverse<u8>) {
        (self.address, Reverse(self.prefix))
    }
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gateway {
    /// Straight to the link.
    Link,
    /// To a router; link-local ones carry their scope.
    Address(IpAddr),
}

/// One route.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) gateway: Gateway,
    pub(crate) flags: u32,
    pub(crate) interface: IfId,
    pub(crate) nexthop: u32,
    source: u128,
}

/// What makes two next hops the same.
type NexthopKey = (Gateway, u32, IfId, u128);

/// One table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rib {
    /// The paths of each destination, by the number of their next hop; never none.
    routes: BTreeMap<(u128, Reverse<u8>), Vec<Route>>,
    nexthops: BTreeMap<NexthopKey, (u32, u32)>,
    free_nexthops: BTreeSet<u32>,
    by_interface: BTreeMap<IfId, BTreeSet<(u128, Reverse<u8>)>>,
    by_source: BTreeMap<u128, BTreeSet<(u128, Reverse<u8>)>>,
}

impl Rib {
    fn take_nexthop(&mut self, key: NexthopKey) -> u32 {
        if let Some((index, count)) = self.nexthops.get_mut(&key) {
            *count += 1;
            return *index;
        }
        let index = self
            .free_nexthops
            .pop_first()
            .unwrap_or(self.nexthops.len() as u32 + 1);
        self.nexthops.insert(key, (index, 1));
        index
    }

    fn drop_nexthop(&mut self, key: &NexthopKey) {
        let Some((index, count)) = self.nexthops.get_mut(key) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            let index = *index;
            self.nexthops.remove(key);
            self.free_nexthops.insert(index);
        }
    }

    fn insert(&mut self, place: (u128, Reverse<u8>), route: Route) {
        self.remove(place);
        self.add_path(place, route);
    }

    /// One more path to a destination, or its first.
    fn add_path(&mut self, place: (u128, Reverse<u8>), mut route: Route) {
        route.nexthop =
            self.take_nexthop((route.gateway, route.flags, route.interface, route.source));
        self.by_interface
            .entry(route.interface)
            .or_default()
            .insert(place);
        self.by_source
            .entry(route.source)
            .or_default()
            .insert(place);
        let paths = self.routes.entry(place).or_default();
        paths.push(route);
        paths.sort_by_key(|path| path.nexthop);
    }

    /// The first of all its paths, which go.
    fn remove(&mut self, place: (u128, Reverse<u8>)) -> Option<Route> {
        self.remove_paths(place, |_| true).into_iter().next()
    }

    fn remove_paths(
        &mut self,
        place: (u128, Reverse<u8>),
        goes: impl Fn(&Route) -> bool,
    ) -> Vec<Route> {
        let Some(paths) = self.routes.remove(&place) else {
            return Vec::new();
        };
        let (gone, left): (Vec<Route>, Vec<Route>) = paths.into_iter().partition(goes);
        for route in &gone {
            self.drop_nexthop(&(route.gateway, route.flags, route.interface, route.source));
            if left.iter().all(|path| path.interface != route.interface)
                && let Some(places) = self.by_interface.get_mut(&route.interface)
            {
                places.remove(&place);
                if places.is_empty() {
                    self.by_interface.remove(&route.interface);
                }
            }
            if left.iter().all(|path| path.source != route.source)
                && let Some(places) = self.by_source.get_mut(&route.source)
            {
                places.remove(&place);
                if places.is_empty() {
                    self.by_source.remove(&route.source);
                }
            }
        }
        if !left.is_empty() {
            self.routes.insert(place, left);
        }
        gone
    }

    /// The routes in walk order with address and prefix length, each path of its own.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u128, u8, &Route)> {
        self.routes
            .iter()
            .flat_map(|((address, Reverse(prefix)), paths)| {
                paths.iter().map(|route| (*address, *prefix, route))
            })
    }

    /// The route to exactly that destination, of several paths the first.
    pub(crate) fn get(&self, key: RouteKey) -> Option<&Route> {
        self.paths(key).first()
    }

    /// Every path to exactly that destination.
    pub(crate) fn paths(&self, key: RouteKey) -> &[Route] {
        self.routes.get(&key.place()).map_or(&[], Vec::as_slice)
    }
}

/// The two tables of one fib.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fib {
    pub(crate) inet: Rib,
    pub(crate) inet6: Rib,
}

impl Fib {
    pub(crate) fn rib(&self, family: Family) -> &Rib {
        match family {
            Family::Inet => &self.inet,
            Family::Inet6 => &self.inet6,
        }
    }

    fn rib_mut(&mut self, family: Family) -> &mut Rib {
        match family {
            Family::Inet => &mut self.inet,
            Family::Inet6 => &mut self.inet6,
        }
    }
}

impl Kernel {
    pub(crate) fn fib(&self, vnet: VnetId, fib: u32) -> Option<&Fib> {
        self.vnet(vnet).fibs.get(fib as usize)
    }

    pub(crate) fn route_exists(&self, vnet: VnetId, fib: u32, key: RouteKey) -> bool {
        self.fib(vnet, fib)
            .is_some_and(|tables| tables.rib(key.family).get(key).is_some())
    }

    /// Installs a route, replacing what is there: for the kernel's own interface routes.
    #[expect(
        clippy::too_many_arguments,
        reason = "these are the parts of one route, and the callers name each"
    )]
    pub(crate) fn route_install(
        &mut self,
        vnet: VnetId,
        fib: u32,
        key: RouteKey,
        gateway: Gateway,
        flags: u32,
        interface: IfId,
        source: u128,
    ) {
        if let Some(tables) = self.vnet_mut(vnet).fibs.get_mut(fib as usize) {
            tables.rib_mut(key.family).insert(
                key.place(),
                Route {
                    gateway,
                    flags,
                    interface,
                    nexthop: 0,
                    source,
                },
            );
        }
    }

    pub(crate) fn route_remove(&mut self, vnet: VnetId, fib: u32, key: RouteKey) -> Option<Route> {
        self.vnet_mut(vnet)
            .fibs
            .get_mut(fib as usize)?
            .rib_mut(key.family)
            .remove(key.place())
    }

    /// Takes away every route over the interface, in all fibs (rt_flushifroutes).
    pub(crate) fn routes_forget_interface(&mut self, id: IfId) {
        let vnet = self.ifnet(id).vnet;
        for tables in &mut self.vnet_mut(vnet).fibs {
            for family in [Family::Inet, Family::Inet6] {
                let rib = tables.rib_mut(family);
                for place in rib.by_interface.get(&id).cloned().unwrap_or_default() {
                    rib.remove_paths(place, |route| route.interface == id);
                }
            }
        }
    }

    /// Takes away every route whose source is an address that goes, somebody's static ones among them, in all fibs (in_ifadown, sys/netinet/in_rmx.c; seen on 15.1). IPv6 has no such thing.
    pub(crate) fn routes_forget_source(&mut self, vnet: VnetId, address: Ipv4Addr) {
        let source = u128::from(u32::from(address));
        for tables in &mut self.vnet_mut(vnet).fibs {
            let rib = tables.rib_mut(Family::Inet);
            for place in rib.by_source.get(&source).cloned().unwrap_or_default() {
                rib.remove_paths(place, |route| route.source == source);
            }
        }
    }

    /// Longest match.
    pub(crate) fn route_lookup(
        &self,
        vnet: VnetId,
        fib: u32,
        address: IpAddr,
    ) -> Option<(RouteKey, &Route)> {
        let (family, bits, longest) = match address {
            IpAddr::V4(address) => (Family::Inet, u128::from(u32::from(address)), 32u8),
            IpAddr::V6(address) => (Family::Inet6, u128::from(address), 128),
        };
        let rib = self.fib(vnet, fib)?.rib(family);
        (0..=longest).rev().find_map(|prefix| {
            let key = RouteKey::new(family, bits, prefix);
            rib.get(key).map(|route| (key, route))
        })
    }

    /// The interface that reaches a gateway directly (ifa_ifwithroute, sys/net/route.c): by an address's prefix in that fib, then by a route, which the default one is not.
    fn gateway_interface(&self, vnet: VnetId, fib: u32, gateway: IpAddr) -> Option<IfId> {
        let (key, route) = self.route_lookup(vnet, fib, gateway)?;
        if key.prefix == 0 {
            return None;
        }
        match gateway {
            IpAddr::V4(address) => {
                let holders = self.vnet(vnet).inet.get(&address);
                holders
                    .and_then(|holders| holders.first().copied())
                    .or(Some(route.interface))
            }
            IpAddr::V6(_) => Some(route.interface),
        }
    }

    /// RTM_NEWROUTE from route(8); `through` is `-iface` or the scope of a link-local gateway (recordings `02`, `04`).
    ///
    /// A route by one gateway is no obstacle to one by another: it becomes one more path (`add_route_flags` and `nhop_can_multipath`, sys/net/route/, where `net.route.multipath` is 1 as it is
    /// unless said; seen on 15.1).
    pub(crate) fn route_add(
        &mut self,
        vnet: VnetId,
        fib: u32,
        key: RouteKey,
        gateway: Gateway,
        through: Option<IfId>,
        flags: u32,
    ) -> Result<(), Errno> {
        if self.fib(vnet, fib).is_none() {
            return Err(Errno::EINVAL);
        }
        let interface = match (through, gateway) {
            (Some(id), _) => id,
            (None, Gateway::Address(address)) => self
                .gateway_interface(vnet, fib, address)
                .ok_or(Errno::EINVAL)?,
            (None, Gateway::Link) => return Err(Errno::EINVAL),
        };
        let tables = self.fib(vnet, fib);
        let paths = tables.map_or(&[][..], |tables| tables.rib(key.family).paths(key));
        let is_by_gateway = |route: &Route| route.flags & rtf::GATEWAY != 0;
        let is_alike = |route: &Route| route.gateway == gateway && route.interface == interface;
        let joins = flags & rtf::GATEWAY != 0
            && paths
                .iter()
                .all(|route| is_by_gateway(route) && !is_alike(route));
        if !paths.is_empty() && !joins {
            return Err(Errno::EEXIST);
        }
        let towards = match gateway {
            Gateway::Address(address) => RouteKey::host(address),
            Gateway::Link => key,
        };
        let source = self.source_on(interface, towards);
        let route = Route {
            gateway,
            flags: flags | rtf::UP,
            interface,
            nexthop: 0,
            source,
        };
        if let Some(tables) = self.vnet_mut(vnet).fibs.get_mut(fib as usize) {
            tables.rib_mut(key.family).add_path(key.place(), route);
        }
        Ok(())
    }

    /// The address of the interface that packets of the route have: the first whose prefix covers where it leads, else its first (ifaof_ifpforaddr, sys/net/if.c).
    fn source_on(&self, id: IfId, towards: RouteKey) -> u128 {
        let ifnet = self.ifnet(id);
        match towards.family {
            Family::Inet => {
                let covers = |entry: &&Inet| {
                    let mask = u128::from(mask4(entry.prefix));
                    (u128::from(u32::from(entry.address)) ^ towards.address) & mask == 0
                };
                let first = ifnet.inet.first();
                let entry = ifnet.inet.iter().find(covers).or(first);
                entry.map_or(0, |entry| u128::from(u32::from(entry.address)))
            }
            Family::Inet6 => ifnet.inet6.first().map_or(0, |entry| {
                u128::from(embed_scope(entry.address, ifnet.index))
            }),
        }
    }

    /// RTM_DELROUTE: kernel-made routes are pinned and stay. With a gateway the path by it goes, without one every path (`path_match_func`, sys/netlink/route/rt.c).
    pub(crate) fn route_delete(
        &mut self,
        vnet: VnetId,
        fib: u32,
        key: RouteKey,
        by: Option<Gateway>,
    ) -> Result<(), Errno> {
        let tables = self.vnet_mut(vnet).fibs.get_mut(fib as usize);
        let rib = tables.ok_or(Errno::EINVAL)?.rib_mut(key.family);
        let goes = |route: &Route| by.is_none_or(|by| by == route.gateway);
        let Some(route) = rib.paths(key).iter().find(|route| goes(route)) else {
            return Err(Errno::ESRCH);
        };
        if route.flags & rtf::PINNED != 0 {
            return Err(Errno::EADDRNOTAVAIL);
        }
        rib.remove_paths(key.place(), goes);
        Ok(())
    }

    /// The destinations of all routes with a gateway, for `route flush`.
    pub(crate) fn routes_with_gateway(
        &self,
        vnet: VnetId,
        fib: u32,
        family: Family,
    ) -> Vec<RouteKey> {
        let Some(tables) = self.fib(vnet, fib) else {
            return Vec::new();
        };
        tables
            .rib(family)
            .iter()
            .filter(|(_, _, route)| route.flags & rtf::GATEWAY != 0)
            .map(|(address, prefix, _)| RouteKey {
                family,
                address,
                prefix,
            })
            .collect()
    }
}

/// The address of a key as text, without scope.
pub(crate) fn key_address(family: Family, address: u128) -> IpAddr {
    match family {
        Family::Inet => IpAddr::V4(Ipv4Addr::from(address as u32)),
        Family::Inet6 => IpAddr::V6(Ipv6Addr::from(address)),
    }
}
