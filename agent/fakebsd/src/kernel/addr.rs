//! IPv4 and IPv6 addresses of interfaces, duplicate address detection, and the routes that come with an address
//! (sys/netinet/in.c, sys/netinet6/in6.c, in6_ifattach.c, nd6_nbr.c).

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::Kernel;
use super::errno::Errno;
use super::ifnet::{Driver, IfId, nd};
use super::route::{Family, Gateway, RouteKey, rtf};
use super::timer::Timer;
use super::vnet::VnetId;

/// How long an address stays tentative: one probe and its answer time (RetransTimer of RFC 4861, recordings `03`, `12`).
const DAD_TIME: Duration = Duration::from_millis(1000);

/// An IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inet {
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) broadcast: Option<Ipv4Addr>,
    /// IFA_ROUTE: the prefix's route is this address's.
    pub(crate) has_route: bool,
}

/// An IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inet6 {
    pub(crate) address: Ipv6Addr,
    pub(crate) prefix: u8,
    pub(crate) tentative: bool,
    pub(crate) duplicated: bool,
    pub(crate) anycast: bool,
    pub(crate) deprecated: bool,
}

impl Inet6 {
    pub(crate) fn is_link_local(&self) -> bool {
        is_link_local(self.address)
    }
}

/// fe80::/10.
pub(crate) fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// The address as the kernel keeps it: a link-local one carries its interface's index in the second 16 bits.
pub(crate) fn embed_scope(address: Ipv6Addr, index: u32) -> Ipv6Addr {
    if !is_link_local(address) {
        return address;
    }
    let mut segments = address.segments();
    segments[1] = u16::try_from(index).unwrap_or(u16::MAX);
    Ipv6Addr::from(segments)
}

/// The netmask of a prefix length.
pub(crate) fn mask4(prefix: u8) -> u32 {
    if prefix == 0 {
        0
    } else {
        u32::MAX << (32 - u32::from(prefix))
    }
}

/// The netmask of a prefix length.
pub(crate) fn mask6(prefix: u8) -> u128 {
    if prefix == 0 {
        0
    } else {
        u128::MAX << (128 - u32::from(prefix))
    }
}

impl Kernel {
    /// SIOCAIFADDR: adding an address that is there replaces it (recording `03`).
    pub(crate) fn add_inet(
        &mut self,
        id: IfId,
        address: Ipv4Addr,
        prefix: u8,
        broadcast: Option<Ipv4Addr>,
    ) -> Result<(), Errno> {
        self.refuse_member_address(id)?;
        let old = self
            .ifnet(id)
            .inet
            .iter()
            .position(|old| old.address == address);
        if old.is_some() {
            self.delete_inet(id, address)?;
        }
        let has_broadcast = !self.ifnet(id).is_loopback();
        let broadcast = has_broadcast.then(|| {
            broadcast.unwrap_or_else(|| {
                if prefix == 31 {
                    Ipv4Addr::BROADCAST
                } else {
                    Ipv4Addr::from(u32::from(address) | !mask4(prefix))
                }
            })
        });
        self.ifnet_mut(id).inet.push(Inet {
            address,
            prefix,
            broadcast,
            has_route: false,
        });
        let vnet = self.ifnet(id).vnet;
        self.vnet_mut(vnet)
            .inet
            .entry(address)
            .or_default()
            .insert(id);
        let came_up = self.address_brings_up(id);
        self.inet_add_prefix(id, address);
        self.inet_add_self_route(id, address);
        if came_up {
            self.inet6_interface_up(id);
        }
        Ok(())
    }

    /// `net.link.bridge.member_ifaddrs=0` refuses addresses on members (in_aifaddr_ioctl, in6_addifaddr).
    fn refuse_member_address(&self, id: IfId) -> Result<(), Errno> {
        if self.ifnet(id).bridge.is_some()
            && self.sysctl_number("net.link.bridge.member_ifaddrs") == Some(0)
        {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// SIOCSIFADDR of ether_ioctl and loioctl sets UP and starts the driver. Returns whether that changed UP.
    fn address_brings_up(&mut self, id: IfId) -> bool {
        let ifnet = self.ifnet_mut(id);
        let was = ifnet.up;
        ifnet.up = true;
        ifnet.running = !matches!(ifnet.driver, Driver::Vlan(_)) || ifnet.running;
        if let Driver::Bridge(softc) = &mut ifnet.driver {
            softc.root_priority = 32768;
        }
        !was
    }

    /// The prefix whose route the address brings (ia_getrtprefix): the host itself on a loopback.
    fn inet_prefix(&self, id: IfId, address: &Inet) -> RouteKey {
        let prefix = if self.ifnet(id).is_loopback() {
            32
        } else {
            address.prefix
        };
        RouteKey::new(Family::Inet, u128::from(u32::from(address.address)), prefix)
    }

    fn inet_entry(&self, id: IfId, address: Ipv4Addr) -> Option<Inet> {
        self.ifnet(id)
            .inet
            .iter()
            .find(|entry| entry.address == address)
            .cloned()
    }

    fn inet_mark_route(&mut self, id: IfId, address: Ipv4Addr, has_route: bool) {
        if let Some(entry) = self
            .ifnet_mut(id)
            .inet
            .iter_mut()
            .find(|entry| entry.address == address)
        {
            entry.has_route = has_route;
        }
    }

    /// in_addprefix: the first address of a prefix installs its route.
    fn inet_add_prefix(&mut self, id: IfId, address: Ipv4Addr) {
        let Some(entry) = self.inet_entry(id, address) else {
            return;
        };
        let key = self.inet_prefix(id, &entry);
        if self.inet_prefix_holder(id, key, address).is_some() {
            return;
        }
        let (vnet, fib, loopback) = (
            self.ifnet(id).vnet,
            self.ifnet(id).fib,
            self.ifnet(id).is_loopback(),
        );
        let host = if key.prefix == 32 { rtf::HOST } else { 0 };
        let through = if key.prefix == 32 && !loopback {
            self.vnet(vnet).loopback
        } else {
            id
        };
        self.route_install(
            vnet,
            fib,
            key,
            Gateway::Link,
            rtf::UP | host | rtf::PINNED,
            through,
            u128::from(u32::from(address)),
        );
        self.inet_mark_route(id, address, true);
    }

    /// Another address of the stack that has the prefix's route.
    fn inet_prefix_holder(
        &self,
        id: IfId,
        key: RouteKey,
        except: Ipv4Addr,
    ) -> Option<(IfId, Ipv4Addr)> {
        self.inet_same_prefix(self.ifnet(id).vnet, key)
            .into_iter()
            .find(|(other, address)| {
                (*other, *address) != (id, except)
                    && self
                        .ifnet(*other)
                        .inet
                        .iter()
                        .any(|entry| entry.address == *address && entry.has_route)
            })
    }

    fn inet_same_prefix(&self, vnet: VnetId, key: RouteKey) -> Vec<(IfId, Ipv4Addr)> {
        let low = Ipv4Addr::from(key.address as u32);
        let high = Ipv4Addr::from(key.address as u32 | !mask4(key.prefix));
        let mut found = Vec::new();
        for (address, holders) in self.vnet(vnet).inet.range(low..=high) {
            for holder in holders {
                if self
                    .inet_entry(*holder, *address)
                    .is_some_and(|entry| self.inet_prefix(*holder, &entry) == key)
                {
                    found.push((*holder, *address));
                }
            }
        }
        found
    }

    /// ifa_add_loopback_route, for what ia_need_loopback_route names.
    fn inet_add_self_route(&mut self, id: IfId, address: Ipv4Addr) {
        let Some(entry) = self.inet_entry(id, address) else {
            return;
        };
        if self.ifnet(id).is_loopback() || entry.prefix == 32 {
            return;
        }
        let (vnet, fib) = (self.ifnet(id).vnet, self.ifnet(id).fib);
        let key = RouteKey::new(Family::Inet, u128::from(u32::from(address)), 32);
        let loopback = self.vnet(vnet).loopback;
        self.route_install(
            vnet,
            fib,
            key,
            Gateway::Link,
            rtf::UP | rtf::HOST | rtf::STATIC | rtf::PINNED,
            loopback,
            u128::from(u32::from(address)),
        );
    }

    /// SIOCDIFADDR.
    pub(crate) fn delete_inet(&mut self, id: IfId, address: Ipv4Addr) -> Result<(), Errno> {
        let Some(entry) = self.inet_entry(id, address) else {
            return Err(Errno::EADDRNOTAVAIL);
        };
        let (vnet, fib) = (self.ifnet(id).vnet, self.ifnet(id).fib);
        let elsewhere = self
            .vnet(vnet)
            .inet
            .get(&address)
            .is_some_and(|holders| holders.iter().any(|holder| *holder != id));
        if !self.ifnet(id).is_loopback() && entry.prefix != 32 && !elsewhere {
            self.route_remove(
                vnet,
                fib,
                RouteKey::new(Family::Inet, u128::from(u32::from(address)), 32),
            );
        }
        self.inet_forget(id, address);
        self.inet_scrub_prefix(id, &entry);
        Ok(())
    }

    fn inet_forget(&mut self, id: IfId, address: Ipv4Addr) {
        let ifnet = self.ifnet_mut(id);
        ifnet.inet.retain(|entry| entry.address != address);
        let vnet = ifnet.vnet;
        let table = &mut self.vnet_mut(vnet).inet;
        if let Some(holders) = table.get_mut(&address) {
            holders.remove(&id);
            if holders.is_empty() {
                table.remove(&address);
            }
        }
    }

    /// in_scrubprefix: the prefix's route goes, or passes to another address of the prefix.
    fn inet_scrub_prefix(&mut self, id: IfId, entry: &Inet) {
        if !entry.has_route {
            return;
        }
        let (vnet, fib) = (self.ifnet(id).vnet, self.ifnet(id).fib);
        let key = self.inet_prefix(id, entry);
        self.route_remove(vnet, fib, key);
        self.inet_mark_route(id, entry.address, false);
        let heir = self
            .inet_same_prefix(vnet, key)
            .into_iter()
            .find(|(other, address)| {
                (*other, *address) != (id, entry.address) && self.ifnet(*other).up
            });
        if let Some((other, address)) = heir {
            self.inet_add_prefix(other, address);
        }
    }

    /// IFNET_EVENT_DOWN of in_ifnet_event: interface routes go, static routes stay.
    pub(crate) fn inet_interface_down(&mut self, id: IfId) {
        let entries: Vec<Inet> = self
            .ifnet(id)
            .inet
            .iter()
            .filter(|entry| entry.has_route)
            .cloned()
            .collect();
        for entry in entries {
            self.inet_scrub_prefix(id, &entry);
        }
    }

    /// IFNET_EVENT_UP of in_ifnet_event.
    pub(crate) fn inet_interface_up(&mut self, id: IfId) {
        let addresses: Vec<Ipv4Addr> = self
            .ifnet(id)
            .inet
            .iter()
            .filter(|entry| !entry.has_route)
            .map(|entry| entry.address)
            .collect();
        for address in addresses {
            self.inet_add_prefix(id, address);
            self.inet_add_self_route(id, address);
        }
        if let Driver::Bridge(softc) = &mut self.ifnet_mut(id).driver {
            softc.root_priority = 32768;
        }
    }

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
        } else {
            self.attach_inet6(id, address, prefix, anycast);
        }
        if self.ifnet(id).nd & nd::IFDISABLED != 0 {
            self.set_ifdisabled(id, false);
        }
        Ok(())
    }

    /// in6_update_ifa: links the address, starts DAD, installs the prefix's and the address's own route.
    fn attach_inet6(&mut self, id: IfId, address: Ipv6Addr, prefix: u8, anycast: bool) {
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
        });
        let (vnet, fib, index) = (
            self.ifnet(id).vnet,
            self.ifnet(id).fib,
            self.ifnet(id).index,
        );
        self.inet6_holders.entry(address).or_default().insert(id);
        let came_up = first && self.address_brings_up(id);
        let embedded = u128::from(embed_scope(address, index));
        let loopback = self.vnet(vnet).loopback;
        self.route_install(
            vnet,
            fib,
            RouteKey::new(Family::Inet6, embedded, 128),
            Gateway::Link,
            rtf::UP | rtf::HOST | rtf::STATIC | rtf::PINNED,
            loopback,
            embedded,
        );
        if tentative && self.ifnet(id).up {
            self.start_dad(id, address);
        }
        if prefix < 128 {
            self.inet6_add_prefix(id, embedded, prefix);
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
            self.route_remove(vnet, fib, key);
        }
        Ok(())
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
            let taken = self
                .inet6_holders
                .get(&Ipv6Addr::LOCALHOST)
                .is_some_and(|holders| {
                    holders
                        .iter()
                        .any(|holder| self.ifnet(*holder).vnet == vnet)
                });
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

    /// if_purgeaddrs.
    pub(crate) fn purge_addresses(&mut self, id: IfId) {
        let addresses: Vec<Ipv4Addr> = self
            .ifnet(id)
            .inet
            .iter()
            .map(|entry| entry.address)
            .collect();
        for address in addresses {
            // As above.
            let _ = self.delete_inet(id, address);
        }
        self.purge_inet6(id);
    }
}
