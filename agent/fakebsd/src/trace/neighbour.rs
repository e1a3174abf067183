//! Who answers a neighbour solicitation: nobody knows anybody's hardware address yet when a packet is traced.

use std::net::IpAddr;

use super::link::End;
use super::stack::unscoped;
use crate::kernel::Kernel;
use crate::kernel::addr::is_link_local;
use crate::kernel::ifnet::IfId;
use crate::kernel::route::Gateway;

/// Why `end` does not hear the solicitation that a packet from `source` makes `interface` send; none where it does.
///
/// It comes from the packet's own source where that stands on the interface, else from a link-local address
/// (nd6_ns_output_fib, sys/netinet6/nd6_nbr.c). A stack hears it from link-local addresses, and from those that it reaches
/// over that interface without a gateway (nd6_ns_input there, nd6_is_new_addr_neighbor in nd6.c), unless
/// net.inet6.icmp6.nd6_onlink_ns_rfc4861 is set, which no emulated stack has.
pub(super) fn deaf(kernel: &Kernel, interface: IfId, end: End, source: IpAddr) -> Option<String> {
    let (IpAddr::V6(source), End::Station(station)) = (unscoped(source), end) else {
        return None;
    };
    let own = &kernel.ifnet(interface).inet6;
    if is_link_local(source) || !own.iter().any(|entry| entry.address == source) {
        return None;
    }
    let ifnet = kernel.ifnet(station);
    let route = kernel.route_lookup(ifnet.vnet, ifnet.fib, IpAddr::V6(source));
    let reached = route.is_some_and(|(_, route)| {
        route.interface == station && matches!(route.gateway, Gateway::Link)
    });
    (!reached).then(|| {
        format!(
            "{} does not answer solicitations from {source}, to which no route without a gateway leads over it",
            ifnet.name
        )
    })
}
