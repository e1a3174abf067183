//! Addresses of interfaces and the routes that come with them: what both families share, and IPv4 (sys/netinet/in.c).
//! IPv6 stands in `inet6`.

mod autoconf;
mod inet6;

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Kernel;
use super::errno::Errno;
use super::ifnet::{Driver, IfId};
use super::route::{Family, Gateway, RouteKey, rtf};
use super::vnet::VnetId;

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
    /// IN6_IFF_AUTOCONF: made of a router's advertisement.
    pub(crate) autoconf: bool,
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
        if !elsewhere {
            self.routes_forget_source(vnet, address);
        }
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
