//! Prefixes that no jail can have an address of, each with the reason.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::net::LOOPBACK_LINK_LOCAL;

/// IPv4. What the kernel does not forward: `in_canforward`, sys/netinet/in.c.
const INET: [(Ipv4Net, &str); 3] = [
    (
        Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8),
        "means this network, and is never forwarded",
    ),
    (
        Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4),
        "is for multicast",
    ),
    (
        Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4),
        "is reserved, and is never forwarded",
    ),
];

/// IPv4 that must not appear on a wire, nor in a stack of a jail's own (`ip_input`, sys/netinet/ip_input.c).
const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);

/// The host's own loopback addresses.
const HOST: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 32);

/// Link-local addresses that jails may have on a cloned loopback of theirs. The kernel keeps the interface's index where the others have bits of the prefix (`in6_setscope`, sys/netinet6/scope6.c).
pub(super) const LOOPBACK_LOCAL: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64);

const INET6: [(Ipv6Net, &str); 5] = [
    (
        Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128),
        "means every address",
    ),
    (
        Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128),
        "belongs to the host",
    ),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
        "is IPv4 in IPv6 clothes",
    ),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
        "is link-local: every interface has an address of it by itself (fe80::/64 or a part of it may be a subnet of a sharedIP loopback network)",
    ),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
        "is for multicast",
    ),
];

/// Why no jail can have the addresses of `net`, or some of them: the prefix and what is the matter with it. `own_stack`: the jails have their own network stack.
pub(super) fn of_net(net: IpNet, own_stack: bool) -> Option<(IpNet, &'static str)> {
    let loopback = if own_stack {
        (LOOPBACK, "is loopback, and never appears on a wire")
    } else {
        // Others are usual on a cloned loopback.
        (HOST, "belongs to the host")
    };
    let inet = INET
        .iter()
        .chain([&loopback])
        .map(|(net, why)| (IpNet::V4(*net), *why));
    let inet6 = INET6.iter().map(|(net, why)| (IpNet::V6(*net), *why));
    inet.chain(inet6)
        .find(|(reserved, _)| reserved.contains(&net) || net.contains(reserved))
}

/// The same of one address, whatever stack and network the jail has.
pub(super) fn of_address(address: IpAddr) -> Option<(IpNet, &'static str)> {
    if address == LOOPBACK_LINK_LOCAL {
        return Some((address.into(), "is the loopback's own"));
    }
    let on_loopback = IpNet::V6(LOOPBACK_LOCAL).contains(&address);
    of_net(address.into(), false).filter(|_| !on_loopback)
}
