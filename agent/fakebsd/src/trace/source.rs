//! Which source address a sender gets, and what a jail's addresses make of 127.0.0.1 and `::1` (sys/netinet/in_pcb.c,
//! in_jail.c, sys/netinet6/in6_src.c, in6_jail.c; recordings `09`, `12`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Cause;
use super::journey::{Sender, Stop};
use super::stack::{embedded, is_local, unscoped};
use crate::kernel::Kernel;
use crate::kernel::addr::{Inet6, embed_scope, is_link_local, mask4};
use crate::kernel::ifnet::{IfId, Ifnet};
use crate::kernel::jail::{Addresses, Jail};
use crate::kernel::route::Gateway;

/// A source address and why it is that one.
pub(super) type Chosen = (IpAddr, &'static str);

/// The addresses of one family that a jail is held to; `None` if it is held to none.
pub(super) fn restricted(jail: &Jail, six: bool) -> Option<Vec<IpAddr>> {
    let list = match (&jail.ip4, &jail.ip6, six) {
        (Addresses::Restricted(list), _, false) => list.iter().copied().map(IpAddr::V4).collect(),
        (_, Addresses::Restricted(list), true) => list.iter().copied().map(IpAddr::V6).collect(),
        (Addresses::Inherit, _, false) | (_, Addresses::Inherit, true) => return None,
    };
    Some(list)
}

/// 127.0.0.1 or `::1`, the only loopback addresses that a jail's stand in for.
fn is_the_loopback(address: IpAddr) -> bool {
    address == IpAddr::V4(Ipv4Addr::LOCALHOST) || address == IpAddr::V6(Ipv6Addr::LOCALHOST)
}

/// prison_local_ip4 and prison_remote_ip4: in a jail held to addresses the loopback address means the first of them.
pub(super) fn jail_view(jail: Option<&Jail>, address: IpAddr) -> IpAddr {
    let list = jail.and_then(|jail| restricted(jail, address.is_ipv6()));
    match list {
        Some(list) if is_the_loopback(address) && !list.contains(&address) => {
            list.first().copied().unwrap_or(address)
        }
        Some(_) | None => address,
    }
}

fn family(six: bool) -> &'static str {
    if six { "IPv6" } else { "IPv4" }
}

/// The address that the sender's socket is bound to when the packet leaves.
pub(super) fn choose(
    kernel: &Kernel,
    sender: &Sender<'_>,
    wanted: Option<IpAddr>,
    to: IpAddr,
) -> Result<Chosen, Stop> {
    let six = to.is_ipv6();
    let list = sender.jail.and_then(|jail| restricted(jail, six));
    if list.as_ref().is_some_and(Vec::is_empty) {
        let why = format!("{} has no {} address", sender.name, family(six));
        return Err(Stop::Lost(Cause::NoAddress, why));
    }
    if let Some(wanted) = wanted {
        return bound(kernel, sender, list.as_deref(), wanted);
    }
    let saddrsel = sender.jail.is_none_or(|jail| {
        if six {
            jail.ip6_saddrsel
        } else {
            jail.ip4_saddrsel
        }
    });
    if let Some(first) = list
        .as_ref()
        .and_then(|list| list.first())
        .filter(|_| !saddrsel)
    {
        return Ok((*first, "the jail's first address, because saddrsel is off"));
    }
    match to {
        IpAddr::V4(to) => choose4(kernel, sender, list.as_deref(), to),
        IpAddr::V6(to) => choose6(kernel, sender, list.as_deref(), to),
    }
}

/// bind(2) before connect(2).
fn bound(
    kernel: &Kernel,
    sender: &Sender<'_>,
    list: Option<&[IpAddr]>,
    wanted: IpAddr,
) -> Result<Chosen, Stop> {
    let address = jail_view(sender.jail, wanted);
    let refused = match list {
        Some(list) if !list.contains(&address) => format!(
            "{} may not use {wanted}: not one of its addresses",
            sender.name
        ),
        _ if !is_local(kernel, sender.stack, address) => {
            format!("{} has no address {wanted} to send from", sender.name)
        }
        Some(_) | None => return Ok((address, "as asked for")),
    };
    Err(Stop::Lost(Cause::NoAddress, refused))
}

pub(super) fn no_route(kernel: &Kernel, sender: &Sender<'_>, to: IpAddr) -> Stop {
    let six = to.is_ipv6();
    let has_address = |ifnet: &Ifnet| {
        !ifnet.is_loopback()
            && if six {
                ifnet.inet6.iter().any(|entry| !entry.is_link_local())
            } else {
                !ifnet.inet.is_empty()
            }
    };
    let fib = if sender.fib == 0 {
        String::new()
    } else {
        format!(" in fib {}", sender.fib)
    };
    let (name, to) = (&sender.name, unscoped(to));
    if kernel.interfaces(sender.stack).any(has_address) {
        Stop::Lost(Cause::NoRoute, format!("{name} has no route to {to}{fib}"))
    } else {
        Stop::Lost(
            Cause::NoAddress,
            format!(
                "{name} has no {} address, and so no route to {to}{fib}",
                family(six)
            ),
        )
    }
}

/// in_pcbladdr.
fn choose4(
    kernel: &Kernel,
    sender: &Sender<'_>,
    list: Option<&[IpAddr]>,
    to: Ipv4Addr,
) -> Result<Chosen, Stop> {
    let Some((_, route)) = kernel.route_lookup(sender.stack, sender.fib, IpAddr::V4(to)) else {
        return Err(no_route(kernel, sender, IpAddr::V4(to)));
    };
    let out = kernel.ifnet(route.interface);
    let next = match route.gateway {
        Gateway::Address(IpAddr::V4(gateway)) => gateway,
        Gateway::Address(IpAddr::V6(_)) | Gateway::Link => to,
    };
    let (through, own) = if out.is_loopback() {
        let owner = most_specific(kernel, sender, to);
        (
            owner.map_or(out, |(id, _)| kernel.ifnet(id)),
            owner.map(|(_, address)| address),
        )
    } else {
        (
            out,
            covering(out, next).or(out.inet.first().map(|entry| entry.address)),
        )
    };
    let Some(list) = list else {
        let why = "the address of the interface that leads there";
        let nothing = || {
            Stop::Lost(
                Cause::NoAddress,
                format!("{} has no IPv4 address to send from", out.name),
            )
        };
        return own
            .map(|address| (IpAddr::V4(address), why))
            .ok_or_else(nothing);
    };
    let may = |address: &Ipv4Addr| list.contains(&IpAddr::V4(*address));
    let direct = own.filter(|_| !out.is_loopback()).filter(may);
    let on_interface = through.inet.iter().map(|entry| entry.address).find(may);
    match direct.or(on_interface) {
        Some(address) => Ok((
            IpAddr::V4(address),
            "the jail's address on the interface that leads there",
        )),
        None => Ok((
            list[0],
            "the jail's first address, because it has none on the interface that leads there",
        )),
    }
}

fn covers(address: Ipv4Addr, prefix: u8, other: Ipv4Addr) -> bool {
    u32::from(address) & mask4(prefix) == u32::from(other) & mask4(prefix)
}

/// The interface's address whose network holds the next hop: the next hop's `nh_ifa`.
fn covering(out: &Ifnet, next: Ipv4Addr) -> Option<Ipv4Addr> {
    let found = out
        .inet
        .iter()
        .find(|entry| covers(entry.address, entry.prefix, next));
    found.map(|entry| entry.address)
}

/// ifa_ifwithnet: the address of the stack with the longest prefix that holds the destination.
fn most_specific(kernel: &Kernel, sender: &Sender<'_>, to: Ipv4Addr) -> Option<(IfId, Ipv4Addr)> {
    let mut best: Option<(u8, IfId, Ipv4Addr)> = None;
    for ifnet in kernel
        .interfaces(sender.stack)
        .filter(|ifnet| ifnet.fib == sender.fib)
    {
        for entry in ifnet
            .inet
            .iter()
            .filter(|entry| covers(entry.address, entry.prefix, to))
        {
            if best.is_none_or(|(prefix, ..)| entry.prefix > prefix) {
                best = Some((entry.prefix, ifnet.id, entry.address));
            }
        }
    }
    best.map(|(_, id, address)| (id, address))
}

/// Scopes of RFC 4007 as in6_addrscope has them.
fn scope(address: Ipv6Addr) -> u8 {
    if address == Ipv6Addr::LOCALHOST {
        1
    } else if is_link_local(address) {
        2
    } else {
        14
    }
}

/// in6_selectsrc with the rules that bear on an emulated host: same address, scope, outgoing interface, interface up,
/// longest match.
fn choose6(
    kernel: &Kernel,
    sender: &Sender<'_>,
    list: Option<&[IpAddr]>,
    to: Ipv6Addr,
) -> Result<Chosen, Stop> {
    let Some((_, route)) = kernel.route_lookup(sender.stack, sender.fib, IpAddr::V6(to)) else {
        return Err(no_route(kernel, sender, IpAddr::V6(to)));
    };
    let bare = |address: Ipv6Addr| match unscoped(IpAddr::V6(address)) {
        IpAddr::V6(address) => address,
        IpAddr::V4(_) => address,
    };
    let wanted = bare(to);
    // Where the destination is the stack's own, the interface that has it counts, not the loopback that leads there (`nh_aifp`; recording `18`).
    let mut own = kernel.interfaces(sender.stack).filter(|ifnet| {
        let mut addresses = ifnet.inet6.iter();
        addresses.any(|entry| embed_scope(entry.address, ifnet.index) == to)
    });
    let out = own.next().map_or(route.interface, |ifnet| ifnet.id);
    let may = |ifnet: &Ifnet, entry: &Inet6| {
        let full = IpAddr::V6(embed_scope(entry.address, ifnet.index));
        !entry.tentative
            && !entry.duplicated
            && list.is_none_or(|list| list.contains(&full))
            // An address of another zone than the destination's, or than the interface's, is never taken.
            && (!(entry.is_link_local() || is_link_local(wanted)) || ifnet.id == out)
    };
    // What rules 2, 5, 8 and 14 compare, in that order; more is better. A scope too small for the destination is worst.
    let rank = |ifnet: &Ifnet, entry: &Inet6| {
        let (own, needed) = (scope(entry.address), scope(wanted));
        let fit = if own >= needed {
            (1, u8::MAX - own)
        } else {
            (0, own)
        };
        let matching = (u128::from(entry.address) ^ u128::from(wanted)).leading_zeros();
        (
            entry.address == wanted,
            fit,
            !entry.deprecated,
            ifnet.id == out,
            ifnet.up,
            matching,
        )
    };
    let mut best = None;
    for ifnet in kernel.interfaces(sender.stack) {
        for entry in ifnet.inet6.iter().filter(|entry| may(ifnet, entry)) {
            let rank = rank(ifnet, entry);
            if best.as_ref().is_none_or(|(known, _)| rank > *known) {
                best = Some((rank, embedded(IpAddr::V6(entry.address), ifnet.index)));
            }
        }
    }
    match best {
        Some((_, address)) => Ok((address, "the best match of its addresses")),
        None => Err(Stop::Lost(
            Cause::NoAddress,
            format!("{} has no usable IPv6 address to send from", sender.name),
        )),
    }
}
