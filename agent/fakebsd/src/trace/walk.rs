//! One packet's way through stacks and links: output, link, input, forwarding, delivery, and the same for its answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::link::Unreached;
use super::{Hop, Outcome, Probe, Protocol};
use crate::cmd::pfctl::Facts;
use crate::emulator::Emulator;
use crate::kernel::Kernel;
use crate::kernel::ifnet::{Driver, IfId};
use crate::kernel::jail::{Addresses, Jail};
use crate::kernel::route::Gateway;
use crate::kernel::vnet::{HOST, VnetId};
use crate::pf::filter::{ACK, Icmp, Packet, SYN};
use crate::pf::rule::Direction;

/// Hop limit of a fresh packet (`net.inet.ip.ttl`).
const TTL: u8 = 64;

/// A packet that goes round longer than this is in a loop.
const CROSSINGS_MAX: u32 = 128;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Why a packet got no further.
enum Stop {
    Lost(String),
    LeftHost(String),
}

/// Where a packet arrived.
struct Arrival {
    stack: VnetId,
    interface: IfId,
    packet: Packet,
    ttl: u8,
}

pub(super) struct Walk<'a> {
    host: &'a mut Emulator,
    pub(super) hops: Vec<Hop>,
}

fn describe(packet: &Packet) -> String {
    let end = |address: IpAddr, port: u16| match (address, port) {
        (address, 0) => address.to_string(),
        (IpAddr::V4(address), port) => format!("{address}:{port}"),
        (IpAddr::V6(address), port) => format!("[{address}]:{port}"),
    };
    format!(
        "{} > {}",
        end(packet.source, packet.source_port),
        end(packet.destination, packet.destination_port)
    )
}

impl<'a> Walk<'a> {
    pub(super) fn new(host: &'a mut Emulator) -> Self {
        Self {
            host,
            hops: Vec::new(),
        }
    }

    fn kernel(&self) -> &Kernel {
        &self.host.kernel
    }

    fn stack_name(&self, stack: VnetId) -> String {
        let owner = self
            .kernel()
            .jails
            .all
            .values()
            .find(|jail| jail.owns_stack && jail.stack == stack);
        owner.map_or_else(|| "host".to_owned(), |jail| jail.name.clone())
    }

    fn note(&mut self, stack: VnetId, interface: &str, event: String) {
        let stack = self.stack_name(stack);
        self.hops.push(Hop {
            stack,
            interface: interface.to_owned(),
            event,
        });
    }

    pub(super) fn run(&mut self, probe: &Probe) -> Outcome {
        let lost = |reason: String| Outcome::Lost {
            returning: false,
            reason,
        };
        let jail = match &probe.from {
            None => None,
            Some(name) => match self.kernel().find_jail(0, name) {
                Some(jail) => Some(jail.clone()),
                None => return lost(format!("there is no jail {name}")),
            },
        };
        let stack = jail.as_ref().map_or(HOST, |jail| jail.stack);
        let destination = own_loopback(jail.as_ref(), probe.destination);
        let source = match probe
            .source
            .or_else(|| source_address(self.kernel(), jail.as_ref(), stack, probe.fib, destination))
        {
            Some(source) => source,
            None => return lost("no route, or no address to send from".to_owned()),
        };
        let request = self.request(probe.protocol, source, destination);
        let arrival = match self.travel(stack, probe.fib, request.clone(), TTL) {
            Ok(arrival) => arrival,
            Err(Stop::Lost(reason)) => return lost(reason),
            Err(Stop::LeftHost(interface)) => return Outcome::LeftHost { interface },
        };
        let seen_from = arrival.packet.source;
        let (by, banner) = match self.deliver(&arrival, probe.protocol) {
            Some(found) => found,
            None => {
                return Outcome::Refused {
                    by: self.stack_name(arrival.stack),
                };
            }
        };
        let fib = 0;
        match self.travel(arrival.stack, fib, reply(&arrival.packet), TTL) {
            Ok(back) if back.stack == stack && back.packet.destination == source => {
                Outcome::Answered {
                    by,
                    seen_from,
                    banner,
                    ttl: back.ttl,
                }
            }
            Ok(back) => Outcome::Lost {
                returning: true,
                reason: format!("the answer went to {}", back.packet.destination),
            },
            Err(Stop::Lost(reason)) => Outcome::Lost {
                returning: true,
                reason,
            },
            Err(Stop::LeftHost(interface)) => Outcome::Lost {
                returning: true,
                reason: format!("the answer left the host through {interface}"),
            },
        }
    }

    fn request(&mut self, protocol: Protocol, source: IpAddr, destination: IpAddr) -> Packet {
        let port = self.host.ephemeral_port();
        let v6 = destination.is_ipv6();
        let (number, source_port, destination_port, flags, icmp) = match protocol {
            Protocol::Tcp(to) => (TCP, port, to, SYN, None),
            Protocol::Udp(to) => (UDP, port, to, 0, None),
            Protocol::Echo if v6 => (
                ICMPV6,
                0,
                0,
                0,
                Some(Icmp {
                    icmp_type: 128,
                    code: 0,
                    id: port,
                }),
            ),
            Protocol::Echo => (
                ICMP,
                0,
                0,
                0,
                Some(Icmp {
                    icmp_type: 8,
                    code: 0,
                    id: port,
                }),
            ),
        };
        Packet {
            direction: Direction::Out,
            interface: String::new(),
            protocol: number,
            source,
            destination,
            source_port,
            destination_port,
            flags,
            icmp,
            user: Some(0),
            group: Some(0),
            length: 64,
            received_on: None,
            tag: None,
            unroutable_source: false,
        }
    }

    /// Through the pf of a stack at one interface.
    fn filter(
        &mut self,
        stack: VnetId,
        interface: IfId,
        direction: Direction,
        packet: Packet,
    ) -> Result<Packet, Stop> {
        let name = self.kernel().ifnet(interface).name.clone();
        let before = describe(&packet);
        let asked = Packet {
            direction,
            interface: name.clone(),
            ..packet
        };
        let mut pf = std::mem::take(&mut self.host.kernel.vnet_mut(stack).pf);
        let facts = Facts {
            kernel: &self.host.kernel,
            files: &self.host.files,
            stack,
        };
        let verdict = pf.filter(&facts, &asked);
        self.host.kernel.vnet_mut(stack).pf = pf;
        let way = if direction == Direction::In {
            "in"
        } else {
            "out"
        };
        let why = verdict.explanation.join("; ");
        if !verdict.passes() {
            self.note(stack, &name, format!("{before} blocked {way}: {why}"));
            return Err(Stop::Lost(format!(
                "pf of {} on {name}: {why}",
                self.stack_name(stack)
            )));
        }
        let after = describe(&verdict.packet);
        let change = if after == before {
            String::new()
        } else {
            format!(" became {after}")
        };
        self.note(stack, &name, format!("{before}{change} {way}"));
        Ok(verdict.packet)
    }

    /// From an output to the stack that takes the packet for its own.
    fn travel(
        &mut self,
        mut stack: VnetId,
        mut fib: u32,
        mut packet: Packet,
        mut ttl: u8,
    ) -> Result<Arrival, Stop> {
        for _ in 0..CROSSINGS_MAX {
            let target = packet.destination;
            let (interface, gateway) =
                match self
                    .kernel()
                    .route_lookup(stack, fib, scoped(self.kernel(), stack, target))
                {
                    Some((_, route)) => (route.interface, route.gateway),
                    None => {
                        return Err(Stop::Lost(format!(
                            "{} has no route to {target}",
                            self.stack_name(stack)
                        )));
                    }
                };
            packet = self.filter(stack, interface, Direction::Out, packet)?;
            let arrived = if self.kernel().ifnet(interface).is_loopback() {
                interface
            } else {
                let next = match gateway {
                    Gateway::Link => packet.destination,
                    Gateway::Address(address) => unscoped(address),
                };
                self.cross(stack, interface, next, &mut packet)?
            };
            stack = self.kernel().ifnet(arrived).vnet;
            packet = self.filter(stack, arrived, Direction::In, packet)?;
            if is_local(self.kernel(), stack, packet.destination) {
                return Ok(Arrival {
                    stack,
                    interface: arrived,
                    packet,
                    ttl,
                });
            }
            let knob = if packet.destination.is_ipv6() {
                "net.inet6.ip6.forwarding"
            } else {
                "net.inet.ip.forwarding"
            };
            if self.kernel().vnet_sysctl_number(stack, knob) != Some(1) {
                return Err(Stop::Lost(format!(
                    "{} does not forward ({knob} is 0)",
                    self.stack_name(stack)
                )));
            }
            ttl = ttl.saturating_sub(1);
            if ttl == 0 {
                break;
            }
            fib = self.kernel().ifnet(arrived).fib;
            packet.received_on = Some(self.kernel().ifnet(arrived).name.clone());
            packet.user = None;
            packet.group = None;
        }
        Err(Stop::Lost("the packet goes round in circles".to_owned()))
    }

    /// Over the link to the interface that has `next`; bridges on the way filter, learn and refuse.
    fn cross(
        &mut self,
        stack: VnetId,
        from: IfId,
        next: IpAddr,
        packet: &mut Packet,
    ) -> Result<IfId, Stop> {
        let path = match self.kernel().link_path(from, next) {
            Ok(path) => path,
            Err(Unreached::Wire(card)) => {
                let name = self.kernel().ifnet(card).name.clone();
                self.note(stack, &name, format!("{} left the host", describe(packet)));
                return Err(Stop::LeftHost(name));
            }
            Err(Unreached::Nobody) => {
                let name = self.kernel().ifnet(from).name.clone();
                return Err(Stop::Lost(format!(
                    "nobody on the link of {name} has {next}"
                )));
            }
        };
        for window in path.windows(2) {
            let [member, bridge] = [window[0], window[1]];
            if self.kernel().ifnet(member).bridge == Some(bridge) {
                self.host.kernel.bridge_learns(bridge, path[0], member);
            }
        }
        for window in path.windows(3) {
            let [member, bridge, other] = [window[0], window[1], window[2]];
            if self.kernel().ifnet(member).bridge == Some(bridge)
                && self.kernel().ifnet(other).bridge == Some(bridge)
            {
                self.bridge(member, bridge, other, packet)?;
            }
        }
        path.last()
            .copied()
            .ok_or_else(|| Stop::Lost("the link is empty".to_owned()))
    }

    /// bridge_pfil: pf between members only where the sysctls say so.
    fn bridge(
        &mut self,
        member: IfId,
        bridge: IfId,
        other: IfId,
        packet: &mut Packet,
    ) -> Result<(), Stop> {
        let stack = self.kernel().ifnet(bridge).vnet;
        let name = self.kernel().ifnet(bridge).name.clone();
        if let Some(reason) = self.kernel().bridge_refuses(bridge, member, other) {
            self.note(
                stack,
                &name,
                format!("{} not bridged: {reason}", describe(packet)),
            );
            return Err(Stop::Lost(format!("{name}: {reason}")));
        }
        let on = |kernel: &Kernel, knob: &str| kernel.sysctl_number(knob) == Some(1);
        let (members, bridges) = (
            on(self.kernel(), "net.link.bridge.pfil_member"),
            on(self.kernel(), "net.link.bridge.pfil_bridge"),
        );
        let crossings = [
            (members, member, Direction::In),
            (bridges, bridge, Direction::In),
            (bridges, bridge, Direction::Out),
            (members, other, Direction::Out),
        ];
        for (wanted, interface, direction) in crossings {
            if wanted {
                let (user, group) = (packet.user, packet.group);
                let passed = self.filter(
                    stack,
                    interface,
                    direction,
                    Packet {
                        user: None,
                        group: None,
                        ..packet.clone()
                    },
                )?;
                *packet = Packet {
                    user,
                    group,
                    ..passed
                };
            }
        }
        self.note(stack, &name, format!("{} bridged", describe(packet)));
        Ok(())
    }

    /// The socket that takes the packet: who has it and what it answers.
    fn deliver(&mut self, arrival: &Arrival, protocol: Protocol) -> Option<(String, String)> {
        let interface = self.kernel().ifnet(arrival.interface).name.clone();
        let address = arrival.packet.destination;
        let port = match protocol {
            Protocol::Echo => {
                let by = self.stack_name(arrival.stack);
                self.note(
                    arrival.stack,
                    &interface,
                    format!("{} answered", describe(&arrival.packet)),
                );
                return Some((by, String::new()));
            }
            Protocol::Tcp(_) | Protocol::Udp(_) => arrival.packet.destination_port,
        };
        let found = self.host.listeners.iter().find(|((name, at), listener)| {
            *at == port
                && listener.address.is_none_or(|bound| bound == address)
                && match self.host.kernel.find_jail(0, name) {
                    Some(jail) => jail.stack == arrival.stack && receives(jail, address),
                    None => name == "host" && arrival.stack == HOST,
                }
        });
        let found = found.map(|((name, _), listener)| (name.clone(), listener.banner.clone()));
        let event = match &found {
            Some((name, _)) => format!("{} taken by {name}", describe(&arrival.packet)),
            None => format!("{} refused: nobody listens", describe(&arrival.packet)),
        };
        self.note(arrival.stack, &interface, event);
        found
    }
}

/// The answer to a request, as it leaves.
fn reply(request: &Packet) -> Packet {
    let icmp = request.icmp.map(|icmp| Icmp {
        icmp_type: if icmp.icmp_type == 128 { 129 } else { 0 },
        ..icmp
    });
    Packet {
        source: request.destination,
        destination: request.source,
        source_port: request.destination_port,
        destination_port: request.source_port,
        flags: if request.protocol == TCP {
            SYN | ACK
        } else {
            0
        },
        icmp,
        received_on: None,
        tag: None,
        user: Some(0),
        group: Some(0),
        ..request.clone()
    }
}

/// Whether a socket of the jail that is bound to no address hears what comes for `address`.
fn receives(jail: &Jail, address: IpAddr) -> bool {
    jail.owns_stack
        || match address {
            IpAddr::V4(address) => {
                jail.ip4 == Addresses::Inherit || jail.ip4.list().contains(&address)
            }
            IpAddr::V6(address) => {
                jail.ip6 == Addresses::Inherit || jail.ip6.list().contains(&address)
            }
        }
}

/// In a jail with addresses of its own, the loopback address means the first of them (prison_remote_ip4).
fn own_loopback(jail: Option<&Jail>, destination: IpAddr) -> IpAddr {
    let Some(jail) = jail.filter(|jail| !jail.owns_stack) else {
        return destination;
    };
    match destination {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => jail
            .ip4
            .list()
            .first()
            .map_or(destination, |first| IpAddr::V4(*first)),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => jail
            .ip6
            .list()
            .first()
            .map_or(destination, |first| IpAddr::V6(*first)),
        destination => destination,
    }
}

fn is_local(kernel: &Kernel, stack: VnetId, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => kernel.vnet(stack).inet.contains_key(&address),
        IpAddr::V6(address) => kernel
            .inet6_holders
            .get(&address)
            .is_some_and(|holders| holders.iter().any(|id| kernel.ifnet(*id).vnet == stack)),
    }
}

/// A link-local destination is looked up under the scope of the interface of the stack that has a route to it.
fn scoped(kernel: &Kernel, stack: VnetId, address: IpAddr) -> IpAddr {
    let IpAddr::V6(bare) = address else {
        return address;
    };
    if !crate::kernel::addr::is_link_local(bare) {
        return address;
    }
    let mut scopes = kernel.interfaces(stack).filter(|ifnet| {
        !ifnet.is_loopback() && ifnet.inet6.iter().any(|entry| entry.is_link_local())
    });
    scopes.next().map_or(address, |ifnet| {
        IpAddr::V6(crate::kernel::addr::embed_scope(bare, ifnet.index))
    })
}

fn unscoped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(bare) if crate::kernel::addr::is_link_local(bare) => {
            let mut segments = bare.segments();
            segments[1] = 0;
            IpAddr::V6(segments.into())
        }
        address => address,
    }
}

/// The source address of an unbound socket: the outgoing interface's that the jail has, else the jail's first
/// (in_pcbladdr; recording `09`). Without `saddrsel` always the first.
fn source_address(
    kernel: &Kernel,
    jail: Option<&Jail>,
    stack: VnetId,
    fib: u32,
    destination: IpAddr,
) -> Option<IpAddr> {
    let (_, route) = kernel.route_lookup(stack, fib, scoped(kernel, stack, destination))?;
    let out = kernel.ifnet(route.interface);
    let local = is_local(kernel, stack, destination);
    let restricted = jail.filter(|jail| !jail.owns_stack);
    match destination {
        IpAddr::V4(destination) => {
            let on_interface = out.inet.iter().map(|entry| entry.address);
            match restricted.map(|jail| (&jail.ip4, jail.ip4_saddrsel)) {
                Some((Addresses::Restricted(list), saddrsel)) => {
                    let chosen = on_interface
                        .filter(|_| saddrsel)
                        .find(|address| list.contains(address));
                    let own =
                        (local && saddrsel && list.contains(&destination)).then_some(destination);
                    own.or(chosen).or(list.first().copied()).map(IpAddr::V4)
                }
                Some((Addresses::Inherit, _)) | None
                    if local && matches!(out.driver, Driver::Loopback) =>
                {
                    Some(IpAddr::V4(destination))
                }
                Some((Addresses::Inherit, _)) | None => {
                    let same = out.inet.iter().find(|entry| {
                        u32::from(entry.address) & crate::kernel::addr::mask4(entry.prefix)
                            == u32::from(destination) & crate::kernel::addr::mask4(entry.prefix)
                    });
                    same.or(out.inet.first())
                        .map(|entry| IpAddr::V4(entry.address))
                }
            }
        }
        IpAddr::V6(destination) => {
            let usable = out
                .inet6
                .iter()
                .filter(|entry| !entry.tentative && !entry.duplicated);
            let wants_link_local = crate::kernel::addr::is_link_local(destination);
            let on_interface = usable
                .map(|entry| entry.address)
                .filter(|address| crate::kernel::addr::is_link_local(*address) == wants_link_local);
            match restricted.map(|jail| (&jail.ip6, jail.ip6_saddrsel)) {
                Some((Addresses::Restricted(list), saddrsel)) => {
                    let chosen = on_interface
                        .filter(|_| saddrsel)
                        .find(|address| list.contains(address));
                    let own =
                        (local && saddrsel && list.contains(&destination)).then_some(destination);
                    own.or(chosen).or(list.first().copied()).map(IpAddr::V6)
                }
                Some((Addresses::Inherit, _)) | None
                    if local && matches!(out.driver, Driver::Loopback) =>
                {
                    Some(IpAddr::V6(destination))
                }
                Some((Addresses::Inherit, _)) | None => {
                    let mut on_interface = on_interface;
                    on_interface.next().map(IpAddr::V6)
                }
            }
        }
    }
}
