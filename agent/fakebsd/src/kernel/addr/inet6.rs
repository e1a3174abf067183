//! IPv6 addresses of interfaces: duplicate address detection, automatic addresses, IFDISABLED (sys/netinet6/in6.c, in6_ifattach.c,
//! nd6.c, nd6_nbr.c).

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::time::Duration;

use super::{Inet6, embed_scope};
use crate::kernel::Kernel;
use crate::kernel::errno::Errno;
use crate::kernel::ifnet::{Driver, IfId, nd};
use crate::kernel::route::{Family, Gateway, RouteKey, rtf};
use crate::kernel::sysctl::USE_LOOPBACK;
use crate::kernel::timer::Timer;
use crate::kernel::vnet::VnetId;

/// How long an address stays tentative: one probe and its answer time (RetransTimer of RFC 4861, recordings `03`, `12`).
const DAD_TIME: Duration = Duration::from_millis(1000);

impl Kernel {
    /// SIOCAIFADDR_IN6.
    pub(crate) fn add_inet6(
        &mut self,
        id: IfId,
        address: Ipv6Addr,
        prefix: u8,
        anycast: bool,
    ) -> Result<(), Errno> {
        self.refuse_member_address(id)?;
        if let Some(old) = self
            .ifnet(id)
            .inet6
            .iter()
            .find(|old| old.address == address)
        {
            if old.prefix != prefix {
                return Err(Errno::EINVAL);
            }
        } else if self.has_orphaned_route(id, address) {
            return Err(Errno::EEXIST);
        } else {
            self.attach_inet6(id, address, prefix, anycast);
        }
        if self.ifnet(id).nd & nd::IFDISABLED != 0 {
            self.set_ifdisabled(id, false);
        }
        Ok(())
    }

    /// The route that the kernel makes from an address to itself, without the address. It is pinned: route(8) cannot delete it, and it goes by lo0, so that it outlives the interface. Adding the
    /// address makes it anew unless `nd6_useloopback` is 0, and fails (`in6_notify_ifa`, sys/netinet6/in6.c).
    fn has_orphaned_route(&self, id: IfId, address: Ipv6Addr) -> bool {
        let ifnet = self.ifnet(id);
        let (vnet, key) = (ifnet.vnet, own_route(address, ifnet.index));
        let fib = self.vnet(vnet).fibs.get(ifnet.fib as usize);
        let route = fib.and_then(|tables| tables.rib(Family::Inet6).get(key));
        let mut holders = self.inet6_holders.get(&address).into_iter().flatten();
        let is_held = holders.any(|holder| {
            let holder = self.ifnet(*holder);
            holder.vnet == vnet && own_route(address, holder.index) == key
        });
        route.is_some_and(|route| route.flags & rtf::PINNED != 0)
            && !is_held
            && self.vnet_sysctl_number(vnet, USE_LOOPBACK) != Some(0)
    }

    /// `nd6_timer` finds an address that is just being added, with a lifetime of zero, and purges it; then the one that adds it makes the route to it (seen on 15.1; `in6_alloc_ifa`
    /// and `in6_purgeaddr`, sys/netinet6/in6.c; `nd6_timer`, sys/netinet6/nd6.c).
    pub(crate) fn purge_inet6_too_early(&mut self, id: IfId, address: Ipv6Addr) {
        let (vnet, fib, index) = (
            self.ifnet(id).vnet,
            self.ifnet(id).fib,
            self.ifnet(id).index,
        );
        if self.delete_inet6(id, address).is_ok() {
            self.install_own_route(vnet, fib, address, index);
        }
    }

    fn install_own_route(&mut self, vnet: VnetId, fib: u32, address: Ipv6Addr, index: u32) {
        let loopback = self.vnet(vnet).loopback;
        self.route_install(
            vnet,
            fib,
            own_route(address, index),
            Gateway::Link,
            rtf::UP | rtf::HOST | rtf::STATIC | rtf::PINNED,
            loopback,
            u128::from(embed_scope(address, index)),
        );
    }

    /// in6_update_ifa: links the address, starts DAD, installs the prefix's and the address's own route.
    pub(super) fn attach_inet6(&mut self, id: IfId, address: Ipv6Addr, prefix: u8, anycast: bool) {
        let first = self.ifnet(id).inet6.is_empty();
        let does_dad =
            !self.ifnet(id).is_loopback() && self.ifnet(id).nd & (nd::IFDISABLED | nd::NO_DAD) == 0;
        let tentative = does_dad && !anycast && self.dad_count(self.ifnet(id).vnet) > 0;
        self.ifnet_mut(id).inet6.push(Inet6 {
            address,
            prefix,
            tentative,
            duplicated: false,
            anycast,
            deprecated: false,
            autoconf: false,
        });
        let (vnet, fib, index) = (
            self.ifnet(id).vnet,
            self.ifnet(id).fib,
            self.ifnet(id).index,
        );
        self.inet6_holders.entry(address).or_default().insert(id);
        let came_up = first && self.address_brings_up(id);
        self.install_own_route(vnet, fib, address, index);
        if tentative && self.ifnet(id).up {
            self.start_dad(id, address);
        }
        if prefix < 128 {
            self.inet6_add_prefix(id, u128::from(embed_scope(address, index)), prefix);
        }
        if came_up {
            self.inet_interface_up(id);
            self.inet6_interface_up(id);
        }
    }

    fn inet6_add_prefix(&mut self, id: IfId, embedded: u128, prefix: u8) {
        let (vnet, fib) = (self.ifnet(id).vnet, self.ifnet(id).fib);
        let key = RouteKey::new(Family::Inet6, embedded, prefix);
        if !self.route_exists(vnet, fib, key) {
            self.route_install(
                vnet,
                fib,
                key,
                Gateway::Link,
                rtf::UP | rtf::PINNED,
                id,
                embedded,
            );
        }
    }

    fn dad_count(&self, vnet: VnetId) -> i64 {
        self.vnet_sysctl_number(vnet, "net.inet6.ip6.dad_count")
            .unwrap_or(1)
    }

    fn start_dad(&mut self, id: IfId, address: Ipv6Addr) {
        self.schedule(
            DAD_TIME,
            Timer::Dad {
                interface: id,
                address,
            },
        );
    }

    /// The end of duplicate address detection.
    pub(crate) fn finish_dad(&mut self, id: IfId, address: Ipv6Addr) {
        let Some(ifnet) = self.ifs.all.get(&id) else {
            return;
        };
        if !ifnet
            .inet6
            .iter()
            .any(|entry| entry.address == address && entry.tentative)
        {
            return;
        }
        if ifnet.nd & nd::IFDISABLED != 0 || !ifnet.up {
            return;
        }
        let duplicated = self.inet6_taken_on_link(id, address);
        if let Some(entry) = self
            .ifnet_mut(id)
            .inet6
            .iter_mut()
            .find(|entry| entry.address == address)
        {
            entry.tentative = false;
            entry.duplicated = duplicated;
        }
    }

    /// Whether an interface on the same link has the address already and would answer a probe.
    fn inet6_taken_on_link(&self, id: IfId, address: Ipv6Addr) -> bool {
        let Some(holders) = self
            .inet6_holders
            .get(&address)
            .filter(|holders| holders.len() > 1)
        else {
            return false;
        };
        let segment = self.segment(id);
        holders.iter().any(|holder| {
            *holder != id
                && segment.contains(holder)
                && self.ifnet(*holder).up
                && self
                    .ifnet(*holder)
                    .inet6
                    .iter()
                    .any(|entry| entry.address == address && !entry.tentative && !entry.duplicated)
        })
    }

    /// The interfaces on the same link: over epairs and bridges.
    pub(crate) fn segment(&self, from: IfId) -> BTreeSet<IfId> {
        let mut seen = BTreeSet::from([from]);
        let mut open = vec![from];
        while let Some(id) = open.pop() {
            let ifnet = self.ifnet(id);
            let mut next: Vec<IfId> = ifnet.bridge.into_iter().collect();
            match &ifnet.driver {
                Driver::Epair { peer } => next.push(*peer),
                Driver::Bridge(softc) => next.extend(softc.member_ids()),
                Driver::Nic
                | Driver::Loopback
                | Driver::Lagg(_)
                | Driver::Vlan(_)
                | Driver::Eiface { .. } => {}
            }
            open.extend(next.into_iter().filter(|id| seen.insert(*id)));
        }
        seen
    }

    /// SIOCDIFADDR_IN6.
    pub(crate) fn delete_inet6(&mut self, id: IfId, address: Ipv6Addr) -> Result<(), Errno> {
        let at = self
            .ifnet(id)
            .inet6
            .iter()
            .position(|entry| entry.address == address)
            .ok_or(Errno::EADDRNOTAVAIL)?;
        let entry = self.ifnet_mut(id).inet6.remove(at);
        self.inet6_forget_holder(id, address);
        let (vnet, fib, index) = (
            self.ifnet(id).vnet,
            self.ifnet(id).fib,
            self.ifnet(id).index,
        );
        let embedded = u128::from(embed_scope(address, index));
        self.route_remove(vnet, fib, RouteKey::new(Family::Inet6, embedded, 128));
        let key = RouteKey::new(Family::Inet6, embedded, entry.prefix);
        let shared = self.ifnet(id).inet6.iter().any(|other| {
            other.prefix == entry.prefix
                && RouteKey::new(
                    Family::Inet6,
                    u128::from(embed_scope(other.address, index)),
                    other.prefix,
                ) == key
        });
        if entry.prefix < 128 && !shared {
            self.inet6_prefix_offlink(id, key);
        }
        Ok(())
    }

    /// nd6_prefix_offlink (sys/netinet6/nd6_rtr.c): the route of a prefix goes if it is this interface's, and passes to another interface that has the prefix.
    fn inet6_prefix_offlink(&mut self, id: IfId, key: RouteKey) {
        let (vnet, fib) = (self.ifnet(id).vnet, self.ifnet(id).fib);
        let tables = self.fib(vnet, fib);
        let route = tables.and_then(|tables| tables.rib(key.family).get(key));
        if route.is_some_and(|route| route.interface != id) {
            return;
        }
        self.route_remove(vnet, fib, key);
        let mut others = self
            .ifs
            .all
            .iter()
            .filter(|(other, ifnet)| **other != id && ifnet.vnet == vnet && ifnet.fib == fib);
        let next = others.find_map(|(other, ifnet)| {
            let same = ifnet.inet6.iter().find_map(|entry| {
                let embedded = u128::from(embed_scope(entry.address, ifnet.index));
                let own = RouteKey::new(Family::Inet6, embedded, entry.prefix);
                (entry.prefix < 128 && own == key).then_some((embedded, entry.prefix))
            });
            same.map(|(embedded, prefix)| (*other, embedded, prefix))
        });
        if let Some((other, embedded, prefix)) = next {
            self.inet6_add_prefix(other, embedded, prefix);
        }
    }

    fn inet6_forget_holder(&mut self, id: IfId, address: Ipv6Addr) {
        if let Some(holders) = self.inet6_holders.get_mut(&address) {
            holders.remove(&id);
            if holders.is_empty() {
                self.inet6_holders.remove(&address);
            }
        }
    }

    /// in6_if_up and in6_ifattach: DAD starts for what waits, `::1` and the link-local address appear.
    pub(crate) fn inet6_interface_up(&mut self, id: IfId) {
        let waiting: Vec<Ipv6Addr> = self
            .ifnet(id)
            .inet6
            .iter()
            .filter(|entry| entry.tentative)
            .map(|entry| entry.address)
            .collect();
        for address in waiting {
            self.start_dad(id, address);
        }
        self.inet6_attach_automatic(id);
    }

    pub(crate) fn inet6_attach_automatic(&mut self, id: IfId) {
        let vnet = self.ifnet(id).vnet;
        if self.ifnet(id).is_loopback() {
            let own = RouteKey::new(Family::Inet6, u128::from(Ipv6Addr::LOCALHOST), 128);
            let taken = self.route_exists(vnet, self.ifnet(id).fib, own);
            if !taken {
                self.attach_inet6(id, Ipv6Addr::LOCALHOST, 128, false);
            }
        }
        let ifnet = self.ifnet(id);
        let wanted = ifnet.nd & nd::IFDISABLED == 0 && ifnet.nd & nd::AUTO_LINKLOCAL != 0;
        if wanted
            && !ifnet.inet6.iter().any(Inet6::is_link_local)
            && let Some(address) = self.automatic_link_local(id)
        {
            self.attach_inet6(id, address, 64, false);
        }
    }

    /// fe80::1 on a loopback, else the modified EUI-64 of the MAC address.
    fn automatic_link_local(&self, id: IfId) -> Option<Ipv6Addr> {
        let ifnet = self.ifnet(id);
        if ifnet.is_loopback() {
            return Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
        }
        let [a, b, c, d, e, f] = ifnet.mac?;
        let pair = |hi: u8, lo: u8| u16::from_be_bytes([hi, lo]);
        Some(Ipv6Addr::new(
            0xfe80,
            0,
            0,
            0,
            pair(a ^ 2, b),
            pair(c, 0xff),
            pair(0xfe, d),
            pair(e, f),
        ))
    }

    /// SIOCSIFINFO_FLAGS for ND6_IFF_IFDISABLED.
    pub(crate) fn set_ifdisabled(&mut self, id: IfId, disabled: bool) {
        let was = self.ifnet(id).nd & nd::IFDISABLED != 0;
        if was && !disabled {
            if self
                .ifnet(id)
                .inet6
                .iter()
                .any(|entry| entry.duplicated && entry.is_link_local())
            {
                return;
            }
            self.ifnet_mut(id).nd &= !nd::IFDISABLED;
            if self.ifnet(id).up {
                self.inet6_interface_up(id);
            }
        } else if !was && disabled {
            let does_dad =
                self.dad_count(self.ifnet(id).vnet) > 0 && self.ifnet(id).nd & nd::NO_DAD == 0;
            let ifnet = self.ifnet_mut(id);
            ifnet.nd |= nd::IFDISABLED;
            if does_dad {
                ifnet
                    .inet6
                    .iter_mut()
                    .for_each(|entry| entry.tentative = true);
            }
        }
    }

    pub(crate) fn purge_inet6(&mut self, id: IfId) {
        let addresses: Vec<Ipv6Addr> = self
            .ifnet(id)
            .inet6
            .iter()
            .map(|entry| entry.address)
            .collect();
        for address in addresses {
            // The address was listed a moment ago, so it cannot be missing.
            let _ = self.delete_inet6(id, address);
        }
    }
}

/// The place of the route from an address to itself.
fn own_route(address: Ipv6Addr, index: u32) -> RouteKey {
    RouteKey::new(Family::Inet6, u128::from(embed_scope(address, index)), 128)
}
