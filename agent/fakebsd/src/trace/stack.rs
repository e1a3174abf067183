//! One stack: where it sends a packet, and what it does with one that comes in (sys/netinet/ip_output.c, ip_input.c,
//! ip_fastfwd.c and their IPv6 twins).

use std::net::{IpAddr, Ipv6Addr};

use super::journey::{Arrival, Journey, Sender, Stop, ends};
use super::link::{End, Survey, Way, Wire};
use super::neighbour::deaf;
use super::source::no_route;
use super::{Cause, Through};
use crate::kernel::Kernel;
use crate::kernel::addr::{embed_scope, is_link_local};
use crate::kernel::ifnet::{IfId, nd};
use crate::kernel::route::{Gateway, Route, RouteKey, key_address, rtf};
use crate::kernel::vnet::VnetId;
use crate::pf::filter::Packet;
use crate::pf::rule::Direction;

/// A packet is forwarded at most this often before it counts as going round in circles; as many as `net.inet.ip.ttl` allows.
const HOPS_MAX: u8 = 64;

/// The address without the scope that the kernel keeps in a link-local one.
pub(crate) fn unscoped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(scoped) if is_link_local(scoped) => {
            let mut segments = scoped.segments();
            segments[1] = 0;
            IpAddr::V6(Ipv6Addr::from(segments))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}

/// The address as the kernel keeps it on the interface of that index.
pub(super) fn embedded(address: IpAddr, index: u32) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(embed_scope(address, index)),
    }
}

/// Whether the stack has the address on any of its interfaces, ready for use.
pub(super) fn is_local(kernel: &Kernel, stack: VnetId, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => kernel.vnet(stack).inet.contains_key(&address),
        IpAddr::V6(_) => {
            let IpAddr::V6(bare) = unscoped(address) else {
                return false;
            };
            let holders = kernel.inet6_holders.get(&bare);
            holders
                .into_iter()
                .flatten()
                .map(|id| kernel.ifnet(*id))
                .any(|ifnet| {
                    let usable =
                        |entry: &crate::kernel::addr::Inet6| !entry.tentative && !entry.duplicated;
                    ifnet.vnet == stack
                        && embedded(unscoped(address), ifnet.index) == address
                        && ifnet
                            .inet6
                            .iter()
                            .any(|entry| entry.address == bare && usable(entry))
                })
        }
    }
}

/// Where a packet goes on.
enum At {
    /// Out of a stack, by its routes.
    Output { stack: VnetId, fib: u32 },
    /// Out of a stack, by a `route-to`.
    Via {
        stack: VnetId,
        interface: IfId,
        next: IpAddr,
    },
    /// Into the stack that has the interface.
    Input(IfId),
}

/// Who speaks in a first hop, and what of the source it says.
pub(super) struct Opening<'a> {
    pub(super) sender: &'a Sender<'a>,
    pub(super) words: String,
}

impl Journey<'_> {
    /// Out of the stack that makes the packet.
    pub(super) fn depart(
        &mut self,
        opening: &Opening<'_>,
        packet: Packet,
    ) -> Result<Arrival, Stop> {
        let at = At::Output {
            stack: opening.sender.stack,
            fib: opening.sender.fib,
        };
        self.travel(at, packet, Some(opening))
    }

    /// In from the wire: to whoever answers for the address there, else to a router if `routed`.
    pub(super) fn enter(
        &mut self,
        wire: Wire,
        packet: Packet,
        routed: bool,
    ) -> Result<Arrival, Stop> {
        let kernel = self.kernel();
        let survey = Survey::from_wire(kernel, wire);
        let name = wire.name(kernel);
        let to = packet.destination;
        let answers = survey
            .towards(to)
            .filter(|way| matches!(way.end, End::Station(_)));
        let has_address = |way: &&Way| match way.end {
            End::Station(id) => {
                let ifnet = kernel.ifnet(id);
                if to.is_ipv6() {
                    !ifnet.inet6.is_empty()
                } else {
                    !ifnet.inet.is_empty()
                }
            }
            End::Wire(_) => false,
        };
        let router = || survey.ways().iter().find(has_address).filter(|_| routed);
        let Some(way) = answers.or_else(router) else {
            let reason = survey
                .why_nobody(to)
                .map_or(String::new(), |why| format!(": {why}"));
            return Err(Stop::Lost(
                Cause::NobodyThere,
                format!("nobody behind {name} answers for {to}{reason}"),
            ));
        };
        let asked = if answers.is_some() {
            ""
        } else {
            ", handed to this host as to a router"
        };
        let what = format!("comes in from the wire, {}{asked}", ends(&packet));
        self.hop(format!("interface {name}"), what);
        self.pass_through(Through::Wire(name));
        let way = way.clone();
        let (interface, packet) = self.follow(None, &way, packet)?;
        match interface {
            End::Station(id) => self.travel(At::Input(id), packet, None),
            End::Wire(wire) => Ok(Arrival::Wire {
                wire,
                packet,
                next: to,
            }),
        }
    }

    /// In from the wire, sent there by another emulated host to the one that answers for `next`.
    pub(super) fn take_over(
        &mut self,
        wire: Wire,
        packet: Packet,
        next: IpAddr,
    ) -> Result<Arrival, Stop> {
        let kernel = self.kernel();
        let survey = Survey::from_wire(kernel, wire);
        let name = wire.name(kernel);
        let station = survey
            .towards(next)
            .filter(|way| matches!(way.end, End::Station(_)));
        let Some(way) = station.cloned() else {
            let why = format!("nobody behind {name} answers for {next}");
            return Err(Stop::Lost(Cause::NobodyThere, why));
        };
        let what = format!("comes in from the wire for {next}, {}", ends(&packet));
        self.hop(format!("interface {name}"), what);
        match self.follow(None, &way, packet)? {
            (End::Station(id), packet) => self.travel(At::Input(id), packet, None),
            (End::Wire(wire), packet) => Ok(Arrival::Wire { wire, packet, next }),
        }
    }

    fn travel(
        &mut self,
        at: At,
        packet: Packet,
        opening: Option<&Opening<'_>>,
    ) -> Result<Arrival, Stop> {
        let (mut at, mut packet, mut opening, mut ttl) = (at, packet, opening, HOPS_MAX);
        loop {
            let ((end, packet_now), hop) = match at {
                At::Output { stack, fib } => self.output(stack, fib, packet, opening.take())?,
                At::Via {
                    stack,
                    interface,
                    next,
                } => (self.output_via(stack, interface, next, packet)?, next),
                At::Input(id) => {
                    let (interface, next) = (id, packet);
                    match self.input(interface, next)? {
                        (None, packet) => {
                            let stack = self.kernel().ifnet(interface).vnet;
                            return Ok(Arrival::Stack {
                                stack,
                                interface,
                                packet,
                                ttl,
                            });
                        }
                        (Some(forward), next) => {
                            ttl -= 1;
                            if ttl == 0 {
                                let why = "it goes round in circles until its hops are used up"
                                    .to_owned();
                                return Err(Stop::Lost(Cause::Loop, why));
                            }
                            (at, packet) = (forward, next);
                            continue;
                        }
                    }
                }
            };
            packet = packet_now;
            match end {
                End::Station(id) => at = At::Input(id),
                End::Wire(wire) => {
                    let next = unscoped(hop);
                    return Ok(Arrival::Wire { wire, packet, next });
                }
            }
        }
    }

    /// ip_output: route, pf, link; and the next hop. A destination that pf changes is routed again.
    fn output(
        &mut self,
        stack: VnetId,
        fib: u32,
        packet: Packet,
        opening: Option<&Opening<'_>>,
    ) -> Result<((End, Packet), IpAddr), Stop> {
        let (interface, next, how) = self.route(
            stack,
            fib,
            packet.destination,
            opening.map(|one| one.sender),
        )?;
        match opening {
            Some(opening) => {
                let what = format!("{}; {how}", opening.words);
                self.hop(opening.sender.name.clone(), what);
            }
            None => {
                let owner = self.owner(stack);
                self.pass_through(Through::Router(owner.clone()));
                self.hop(owner, format!("forwards {}; {how}", ends(&packet)));
            }
        }
        let before = packet.destination;
        let crossed = self.cross(stack, interface, Direction::Out, packet)?;
        let packet = crossed.packet;
        let (mut interface, mut next) = (interface, next);
        if let Some((hop, name)) = crossed.route {
            interface = self.kernel().ifunit(stack, &name).unwrap_or(interface);
            next = hop.unwrap_or(packet.destination);
        } else if packet.destination != before {
            (interface, next, _) = self.route(stack, fib, packet.destination, None)?;
        }
        Ok((self.transmit(stack, interface, next, packet)?, next))
    }

    /// pf_route: straight out of an interface, through its pf once more.
    fn output_via(
        &mut self,
        stack: VnetId,
        interface: IfId,
        next: IpAddr,
        packet: Packet,
    ) -> Result<(End, Packet), Stop> {
        let packet = self.cross(stack, interface, Direction::Out, packet)?.packet;
        self.transmit(stack, interface, next, packet)
    }

    /// The interface, the next hop, and both in words.
    fn route(
        &self,
        stack: VnetId,
        fib: u32,
        to: IpAddr,
        sender: Option<&Sender<'_>>,
    ) -> Result<(IfId, IpAddr, String), Stop> {
        let kernel = self.kernel();
        let Some((key, route)) = kernel.route_lookup(stack, fib, to) else {
            return Err(match sender {
                Some(sender) => no_route(kernel, sender, to),
                None => Stop::Lost(
                    Cause::NoRoute,
                    format!("{} has no route to {}", self.owner(stack), unscoped(to)),
                ),
            });
        };
        if route.flags & (rtf::REJECT | rtf::BLACKHOLE) != 0 {
            let why = format!(
                "the route of {} to {} is a dead end",
                self.owner(stack),
                unscoped(to)
            );
            return Err(Stop::Lost(Cause::NoRoute, why));
        }
        let next = match route.gateway {
            Gateway::Link => to,
            Gateway::Address(address) => address,
        };
        Ok((route.interface, next, describe(kernel, key, route)))
    }

    /// Onto the link, or round the loopback.
    fn transmit(
        &mut self,
        stack: VnetId,
        interface: IfId,
        next: IpAddr,
        packet: Packet,
    ) -> Result<(End, Packet), Stop> {
        let kernel = self.kernel();
        let ifnet = kernel.ifnet(interface);
        let name = &ifnet.name;
        if ifnet.is_loopback() {
            if !ifnet.up {
                return Err(Stop::Lost(
                    Cause::Dropped,
                    format!("{name} of {} is down", self.owner(stack)),
                ));
            }
            self.pass_through(Through::Loopback(name.clone()));
            return Ok((End::Station(interface), packet));
        }
        if packet.source.is_loopback() || packet.destination.is_loopback() {
            let why = format!(
                "{} may not leave through {name}: loopback addresses stay inside",
                ends(&packet)
            );
            return Err(Stop::Lost(Cause::Dropped, why));
        }
        let survey = Survey::from_stack(kernel, interface);
        let Some(way) = survey.towards(next).cloned() else {
            return Err(Stop::Lost(
                Cause::NobodyThere,
                self.nobody(stack, interface, next, &survey),
            ));
        };
        if let Some(why) = deaf(kernel, interface, way.end, packet.source) {
            return Err(Stop::Lost(Cause::NobodyThere, why));
        }
        self.follow(Some(interface), &way, packet)
    }

    /// Why nobody answers, and who has the address elsewhere.
    fn nobody(&self, stack: VnetId, interface: IfId, next: IpAddr, survey: &Survey<'_>) -> String {
        let kernel = self.kernel();
        let next = unscoped(next);
        let of = format!("{} of {}", kernel.ifnet(interface).name, self.owner(stack));
        if let Some(why) = survey.why_nobody(next) {
            return format!("nobody on the link of {of} answers for {next}: {why}");
        }
        let elsewhere = kernel
            .vnets
            .keys()
            .find(|other| **other != stack && is_local(kernel, **other, next));
        let hint = elsewhere.map_or(String::new(), |other| {
            format!("; {} has it, but not on this link", self.owner(*other))
        });
        format!("nobody on the link of {of} answers for {next}{hint}")
    }

    pub(super) fn is_set(&self, stack: VnetId, name: &str) -> bool {
        self.kernel()
            .vnet_sysctl_number(stack, name)
            .is_some_and(|value| value != 0)
    }

    /// ip_input: pf, then the stack's own addresses, then forwarding. `None` means delivered here.
    fn input(&mut self, interface: IfId, packet: Packet) -> Result<(Option<At>, Packet), Stop> {
        let kernel = self.kernel();
        let ifnet = kernel.ifnet(interface);
        let stack = ifnet.vnet;
        let dropped = |why: String| Err(Stop::Lost(Cause::Dropped, why));
        let at = format!("{} of {}", ifnet.name, self.owner(stack));
        if !ifnet.is_loopback() && (packet.source.is_loopback() || packet.destination.is_loopback())
        {
            return dropped(format!("{at} takes no loopback addresses from a link"));
        }
        if packet.destination.is_ipv6() && ifnet.nd & nd::IFDISABLED != 0 {
            return dropped(format!("IPv6 is disabled on {at} (ifdisabled)"));
        }
        let receiver = if is_local(kernel, stack, packet.destination) {
            self.receiver
        } else {
            None
        };
        let packet = Packet {
            user: receiver,
            group: receiver,
            ..packet
        };
        let crossed = self.cross(stack, interface, Direction::In, packet)?;
        let packet = crossed.packet;
        if let Some((hop, name)) = crossed.route
            && let Some(interface) = self.kernel().ifunit(stack, &name)
        {
            let next = hop.unwrap_or(packet.destination);
            return Ok((
                Some(At::Via {
                    stack,
                    interface,
                    next,
                }),
                packet,
            ));
        }
        self.keep_or_forward(interface, packet)
    }

    /// The second half of ip_input: what has an address here stays, the rest goes on if the stack forwards.
    fn keep_or_forward(
        &self,
        interface: IfId,
        packet: Packet,
    ) -> Result<(Option<At>, Packet), Stop> {
        let kernel = self.kernel();
        let ifnet = kernel.ifnet(interface);
        let stack = ifnet.vnet;
        if is_local(kernel, stack, packet.destination) {
            // net.inet.ip.source_address_validation, 1 since 14.0.
            if !ifnet.is_loopback() && is_local(kernel, stack, packet.source) {
                let why = format!(
                    "{} of {} takes no packet from the stack's own address {}",
                    ifnet.name,
                    self.owner(stack),
                    unscoped(packet.source)
                );
                return Err(Stop::Lost(Cause::Dropped, why));
            }
            return Ok((None, packet));
        }
        let knob = if packet.destination.is_ipv6() {
            "net.inet6.ip6.forwarding"
        } else {
            "net.inet.ip.forwarding"
        };
        if !self.is_set(stack, knob) {
            let why = format!(
                "{} has no address {} and does not forward ({knob} is 0)",
                self.owner(stack),
                unscoped(packet.destination)
            );
            return Err(Stop::Lost(Cause::NotForwarded, why));
        }
        let received_on = Some(ifnet.name.clone());
        let packet = Packet {
            user: None,
            group: None,
            received_on,
            ..packet
        };
        Ok((
            Some(At::Output {
                stack,
                fib: ifnet.fib,
            }),
            packet,
        ))
    }
}

/// `default route to 10.0.2.2 on vtnet0`.
fn describe(kernel: &Kernel, key: RouteKey, route: &Route) -> String {
    let name = &kernel.ifnet(route.interface).name;
    let address = unscoped(key_address(key.family, key.address));
    let host = if address.is_ipv6() { 128 } else { 32 };
    let what = match key.prefix {
        0 => "default route".to_owned(),
        prefix if prefix == host => format!("host route {address}"),
        prefix => format!("route {address}/{prefix}"),
    };
    match route.gateway {
        Gateway::Address(gateway) => format!("{what} to {} on {name}", unscoped(gateway)),
        Gateway::Link if kernel.ifnet(route.interface).is_loopback() => {
            format!("an address of this stack, by {name}")
        }
        Gateway::Link => format!("{what} on {name}"),
    }
}
