//! A probe from beginning to end: the question, who takes it, and the answer.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::link::{End, Survey, Wire, holds};
use super::render::end;
use super::source::{choose, jail_view};
use super::stack::{Opening, unscoped};
use super::{Cause, Hop, Listener, Origin, Place, Probe, Protocol, Sent, Through, Trace, Verdict};
use crate::emulator::Emulator;
use crate::kernel::Kernel;
use crate::kernel::ifnet::{Driver, IfId, Mac};
use crate::kernel::jail::Jail;
use crate::kernel::vnet::{HOST, VnetId};
use crate::pf::Pf;
use crate::pf::filter::{ACK, Icmp, Packet, SYN};
use crate::pf::rule::Direction;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Bytes of an emulated packet; nothing here depends on it but pf's counters.
const LENGTH: u32 = 64;

/// A bridge, a MAC address, and the member that it was seen behind.
pub(super) type Learned = (IfId, Mac, IfId);

/// A process that sends.
pub(super) struct Sender<'a> {
    /// `host` or `jail www`.
    pub(super) name: String,
    pub(super) stack: VnetId,
    pub(super) jail: Option<&'a Jail>,
    pub(super) fib: u32,
}

/// Why a packet got no further.
pub(super) enum Stop {
    Blocked(String),
    Lost(Cause, String),
}

impl Stop {
    pub(super) fn verdict(self, returning: bool) -> Verdict {
        let way = if returning { "on the way back, " } else { "" };
        match self {
            Self::Blocked(by) => Verdict::Blocked {
                by: format!("{way}{by}"),
            },
            Self::Lost(cause, why) => Verdict::Lost {
                cause,
                why: format!("{way}{why}"),
            },
        }
    }
}

/// Where a packet arrived.
pub(super) enum Arrival {
    /// At a stack that has the destination.
    Stack {
        stack: VnetId,
        interface: IfId,
        packet: Packet,
        ttl: u8,
    },
    /// At a machine behind a card: the one that answers for the next hop.
    Wire {
        wire: Wire,
        packet: Packet,
        next: IpAddr,
    },
}

/// Where the probe started, once it is known to exist.
pub(super) enum Start<'a> {
    Process(Sender<'a>),
    Wire(Wire),
}

pub(super) struct Journey<'a> {
    pub(super) host: &'a Emulator,
    /// The pf of every stack that was crossed, as it is after the crossings.
    pub(super) pfs: BTreeMap<VnetId, Pf>,
    pub(super) hops: Vec<Hop>,
    /// Uid of the socket that the packet under way is for.
    pub(super) receiver: Option<u32>,
    pub(super) through: Vec<Through>,
    pub(super) returning: bool,
    learned: Vec<Learned>,
    port: u16,
}

/// `192.0.2.3:49152 > 192.0.2.4:80`.
pub(super) fn ends(packet: &Packet) -> String {
    let source = end(unscoped(packet.source), packet.source_port);
    format!(
        "{source} > {}",
        end(unscoped(packet.destination), packet.destination_port)
    )
}

impl<'a> Journey<'a> {
    /// A journey whose sender uses this local port, or echo identifier.
    pub(super) fn new(host: &'a Emulator, port: u16) -> Self {
        Self {
            host,
            pfs: BTreeMap::new(),
            hops: Vec::new(),
            receiver: None,
            through: Vec::new(),
            returning: false,
            learned: Vec::new(),
            port,
        }
    }

    pub(super) fn kernel(&self) -> &'a Kernel {
        &self.host.kernel
    }

    /// What to store for a packet that was really sent: pf by stack, and MAC addresses with the member they were seen behind.
    pub(super) fn effects(self) -> (BTreeMap<VnetId, Pf>, Vec<Learned>) {
        (self.pfs, self.learned)
    }

    /// `host`, or `jail NAME` for the stack of a VNET jail.
    pub(super) fn owner(&self, stack: VnetId) -> String {
        match self.owning_jail(stack) {
            Some(jail) => format!("jail {}", jail.name),
            None => "host".to_owned(),
        }
    }

    pub(super) fn owning_jail(&self, stack: VnetId) -> Option<&'a Jail> {
        let mut jails = self.kernel().jails.all.values();
        jails.find(|jail| jail.owns_stack && jail.stack == stack)
    }

    pub(super) fn hop(&mut self, at: String, what: String) {
        self.hops.push(Hop { at, what });
    }

    /// Notes by what the packet travels; only the way there counts.
    pub(super) fn pass_through(&mut self, what: Through) {
        if !self.returning && self.through.last() != Some(&what) {
            self.through.push(what);
        }
    }

    /// A bridge sees the sender's MAC address come in by a member.
    pub(super) fn learn(&mut self, bridge: IfId, from: Option<IfId>, member: IfId) {
        if let Some(mac) = from.and_then(|id| self.kernel().ifnet(id).mac) {
            self.learned.push((bridge, mac, member));
        }
    }

    pub(super) fn run(&mut self, probe: &Probe) -> Sent {
        let mut said = (String::new(), 0);
        let there = self.there(probe);
        let hops = std::mem::take(&mut self.hops);
        self.returning = true;
        let verdict = match there {
            Err(stop) => stop.verdict(false),
            Ok((start, asked, arrival)) => match self.listener(probe, &arrival) {
                Err(stop) => stop.verdict(false),
                Ok((by, banner)) => {
                    let source = unscoped(arrival.packet().source);
                    match self.back(probe, &start, &asked, &by, &arrival) {
                        Ok(ttl) => {
                            said = (banner, ttl);
                            Verdict::Reached { by, source }
                        }
                        Err(stop) => stop.verdict(true),
                    }
                }
            },
        };
        let (banner, ttl) = said;
        let trace = Trace {
            hops,
            back: std::mem::take(&mut self.hops),
            through: std::mem::take(&mut self.through),
            verdict,
        };
        Sent { trace, banner, ttl }
    }

    /// The way there: where it started, the packet as it was made, and where it arrived.
    pub(super) fn there(&mut self, probe: &Probe) -> Result<(Start<'a>, Packet, Arrival), Stop> {
        // Whoever listens does so as root, for what pf's `user` makes of it.
        self.receiver = Some(0);
        match &probe.from {
            Origin::Outside { interface, source } => {
                let wire = self.wire(interface)?;
                let packet = self.request(probe, *source, probe.to);
                if packet.source.is_ipv4() != packet.destination.is_ipv4() {
                    let why = format!("{source} and {} are not of one family", probe.to);
                    return Err(Stop::Lost(Cause::NoAddress, why));
                }
                let arrival = self.enter(wire, packet.clone(), true)?;
                Ok((Start::Wire(wire), packet, arrival))
            }
            Origin::Host | Origin::Jail(_) => {
                let sender = self.sender(probe)?;
                let to = jail_view(sender.jail, probe.to);
                let (source, why) = choose(self.kernel(), &sender, probe.source, to)?;
                let packet = self.request(probe, source, to);
                let words = format!("{} {} (source: {why})", name(probe.protocol), ends(&packet));
                let opening = Opening {
                    sender: &sender,
                    words,
                };
                let arrival = self.depart(&opening, packet.clone())?;
                Ok((Start::Process(sender), packet, arrival))
            }
        }
    }

    fn sender(&self, probe: &Probe) -> Result<Sender<'a>, Stop> {
        let jail = match &probe.from {
            Origin::Jail(name) => match self.kernel().find_jail(0, name) {
                Some(jail) => Some(jail),
                None => {
                    return Err(Stop::Lost(
                        Cause::NoSuchPlace,
                        format!("there is no jail {name}"),
                    ));
                }
            },
            Origin::Host | Origin::Outside { .. } => None,
        };
        let stack = jail.map_or(HOST, |jail| jail.stack);
        let of_daemons = || jail.map_or(0, |jail| jail.fib);
        let fib = probe.fib.unwrap_or_else(of_daemons);
        if self.kernel().vnet(stack).fibs.len() <= fib as usize {
            return Err(Stop::Lost(
                Cause::NoSuchPlace,
                format!("there is no fib {fib}"),
            ));
        }
        let name = jail.map_or_else(|| "host".to_owned(), |jail| format!("jail {}", jail.name));
        Ok(Sender {
            name,
            stack,
            jail,
            fib,
        })
    }

    pub(super) fn wire(&self, name: &str) -> Result<Wire, Stop> {
        let missing = |why: &str| Stop::Lost(Cause::NoSuchPlace, format!("{name} {why}"));
        let kernel = self.kernel();
        // A card that a jail has is known by what its driver calls it.
        let passed = || {
            let mut all = kernel.ifs.all.values();
            let passed = all.find(|ifnet| {
                ifnet.vnet != HOST
                    && matches!(ifnet.driver, Driver::Nic)
                    && ifnet.driver_name == name
            });
            passed.map(|ifnet| ifnet.id)
        };
        let id = kernel
            .ifunit(HOST, name)
            .or_else(passed)
            .ok_or_else(|| missing("is no interface of the host, and no card of a jail"))?;
        Wire::of(self.kernel(), id)
            .ok_or_else(|| missing("leads to no card, so no wire is behind it"))
    }

    fn request(&self, probe: &Probe, source: IpAddr, to: IpAddr) -> Packet {
        let echo = |icmp_type| {
            Some(Icmp {
                icmp_type,
                code: 0,
                id: self.port,
            })
        };
        let (protocol, ports, flags, icmp) = match (probe.protocol, to) {
            (Protocol::Tcp, _) => (TCP, (self.port, probe.port), SYN, None),
            (Protocol::Udp, _) => (UDP, (self.port, probe.port), 0, None),
            (Protocol::Icmp, IpAddr::V4(_)) => (ICMP, (0, 0), 0, echo(8)),
            (Protocol::Icmp, IpAddr::V6(_)) => (ICMPV6, (0, 0), 0, echo(128)),
        };
        let user = Some(probe.user.unwrap_or(0));
        Packet {
            direction: Direction::Out,
            interface: String::new(),
            protocol,
            source,
            destination: to,
            source_port: ports.0,
            destination_port: ports.1,
            flags,
            icmp,
            fragment: false,
            user,
            group: Some(0),
            length: LENGTH,
            received_on: None,
            tag: None,
            unroutable_source: false,
        }
    }

    /// The answer; returns the hops it has left.
    fn back(
        &mut self,
        probe: &Probe,
        start: &Start<'_>,
        asked: &Packet,
        by: &Listener,
        arrival: &Arrival,
    ) -> Result<u8, Stop> {
        let returned = self.answered(probe, asked, by, arrival)?;
        self.check_return(start, asked, returned)
    }

    /// Where the answer arrives.
    pub(super) fn answered(
        &mut self,
        probe: &Probe,
        asked: &Packet,
        by: &Listener,
        arrival: &Arrival,
    ) -> Result<Arrival, Stop> {
        let packet = answer(arrival.packet());
        match arrival {
            Arrival::Wire { wire, .. } => {
                self.receiver = asked.user;
                let routed = probe
                    .routed_here
                    .iter()
                    .any(|network| network.contains(&packet.destination));
                if !routed && !self.on_the_wire(*wire, packet.destination) {
                    let why = format!(
                        "the {} has no way back to {}: nobody on the wire answers for it, and no network of this host is said to be routed there",
                        by.place, packet.destination
                    );
                    return Err(Stop::Lost(Cause::WrongWayBack, why));
                }
                self.enter(*wire, packet, routed)
            }
            Arrival::Stack {
                stack, interface, ..
            } => {
                // An echo is answered in the table of the interface, a connection in that of its listener (`solisten_clone`, sys/kern/uipc_socket.c).
                let fib = match (probe.protocol, &by.place) {
                    (Protocol::Icmp, _) => self.kernel().ifnet(*interface).fib,
                    (Protocol::Tcp | Protocol::Udp, Place::Jail(name)) => {
                        let jail = self.kernel().find_jail(0, name);
                        jail.map_or(0, |jail| jail.fib)
                    }
                    (Protocol::Tcp | Protocol::Udp, Place::Host | Place::Outside(_)) => 0,
                };
                let sender = Sender {
                    name: by.place.to_string(),
                    stack: *stack,
                    jail: None,
                    fib,
                };
                let words = format!("answers {}", ends(&packet));
                self.receiver = asked.user;
                self.depart(
                    &Opening {
                        sender: &sender,
                        words,
                    },
                    packet,
                )
            }
        }
    }

    pub(super) fn on_the_wire(&self, wire: Wire, address: IpAddr) -> bool {
        let survey = Survey::from_wire(self.kernel(), wire);
        survey.ways().iter().any(|way| match way.end {
            End::Station(id) => holds(self.kernel(), id, address),
            End::Wire(_) => false,
        })
    }

    /// The answer must come to who asked, from the address that was asked.
    pub(super) fn check_return(
        &self,
        start: &Start<'_>,
        asked: &Packet,
        returned: Arrival,
    ) -> Result<u8, Stop> {
        let astray = |why: String| Err(Stop::Lost(Cause::WrongWayBack, why));
        let ttl = match (start, &returned) {
            (Start::Process(sender), Arrival::Stack { stack, ttl, .. })
                if sender.stack == *stack =>
            {
                *ttl
            }
            (Start::Wire(from), Arrival::Wire { wire, .. })
                if from.is_same(*wire, self.kernel()) =>
            {
                0
            }
            (_, Arrival::Stack { stack, .. }) => {
                return astray(format!("the answer ends at {}", self.owner(*stack)));
            }
            (_, Arrival::Wire { wire, .. }) => {
                let name = wire.name(self.kernel());
                return astray(format!("the answer leaves to the outside through {name}"));
            }
        };
        let packet = returned.packet();
        if (packet.destination, packet.destination_port) != (asked.source, asked.source_port) {
            return astray(format!(
                "the answer goes to {}",
                end(packet.destination, packet.destination_port)
            ));
        }
        if (packet.source, packet.source_port) != (asked.destination, asked.destination_port) {
            let (from, wanted) = (
                end(packet.source, packet.source_port),
                end(asked.destination, asked.destination_port),
            );
            return astray(format!(
                "the answer comes from {from}, and {wanted} was asked"
            ));
        }
        Ok(ttl)
    }
}

impl Arrival {
    pub(super) fn packet(&self) -> &Packet {
        match self {
            Self::Stack { packet, .. } | Self::Wire { packet, .. } => packet,
        }
    }
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Icmp => "echo",
    }
}

/// The answer to a request, as it leaves.
fn answer(request: &Packet) -> Packet {
    let icmp_type = if request.protocol == ICMPV6 { 129 } else { 0 };
    let icmp = request.icmp.map(|icmp| Icmp { icmp_type, ..icmp });
    Packet {
        direction: Direction::Out,
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
        fragment: false,
        received_on: None,
        tag: None,
        user: Some(0),
        group: Some(0),
        ..request.clone()
    }
}
