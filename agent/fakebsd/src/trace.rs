//! What becomes of a packet on the emulated host: every hop of the way there and of the answer's way back, in words.
//!
//! ```text
//! Probe ─► source ─► stack (routes, forwarding, delivery) ⇄ filter (pf of that stack)
//!                      ⇅
//!                    link (epairs, bridges, laggs, vlans, netgraph switches, the wire)          ─► Trace
//! ```
//!
//! It follows the kernel as recorded (`02`, `04`, `09`, `12`, `14`) and as FreeBSD's source says where the recordings are silent, over
//! the same tables that the emulated programs print. [`Emulator::trace`] asks without leaving anything behind; [`Emulator::send`]
//! leaves what a real packet would: pf's states and counters, and what bridges learn.
//!
//! Not here: queues, fragments, MTU, timing, multicast, and destinations of link-local scope other than a jail's own loopback.

mod carry;
mod filter;
mod journey;
mod link;
mod listener;
mod neighbour;
mod reachability;
mod render;
pub mod segment;
mod source;
mod stack;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::emulator::Emulator;
use journey::Journey;

pub use reachability::{Answer, Pair, Reachability};
pub(crate) use stack::unscoped;

/// Where a probe starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A process on the host, outside every jail.
    Host,
    /// A process in the jail of that name.
    Jail(String),
    /// A machine on the wire behind one of the host's cards.
    Outside {
        /// The card.
        interface: String,
        /// The machine's address.
        source: IpAddr,
    },
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The beginning of a TCP connection.
    Tcp,
    /// A UDP datagram, and one in answer.
    Udp,
    /// An echo request, ICMP or ICMPv6 by the family of the destination.
    Icmp,
}

/// Who is assumed to listen on the wanted port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Listening {
    /// Whoever has the address, on all its addresses.
    #[default]
    Everywhere,
    /// Whoever has the address, bound to 127.0.0.1 or `::1`: in a jail without a stack of its own that is its first address.
    Loopback,
    /// Only those that [`Emulator::listen`] or an emulated `nc -l` set up.
    Emulated,
    /// Nobody.
    Nobody,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where it starts.
    pub from: Origin,
    /// The address it asks for.
    pub to: IpAddr,
    /// What is sent.
    pub protocol: Protocol,
    /// The port asked for; without meaning for [`Protocol::Icmp`].
    pub port: u16,
    /// An address the sender binds to first.
    pub source: Option<IpAddr>,
    /// Uid of the sending process; root if not said.
    pub user: Option<u32>,
    /// The routing table of the sending process, as setfib(1) sets it; none: that of a jail's daemons, and of the host the first.
    pub fib: Option<u32>,
    /// Who listens.
    pub listening: Listening,
    /// Networks that the outside sends to this host, beside the addresses that answer on the wire itself.
    pub routed_here: Vec<IpNet>,
}

impl Probe {
    /// A probe by root, with a listener everywhere.
    pub fn new(from: Origin, to: IpAddr, protocol: Protocol, port: u16) -> Self {
        Self {
            from,
            to,
            protocol,
            port,
            source: None,
            user: None,
            fib: None,
            listening: Listening::default(),
            routed_here: Vec::new(),
        }
    }

    /// The beginning of a TCP connection to a port.
    pub fn tcp(from: Origin, to: IpAddr, port: u16) -> Self {
        Self::new(from, to, Protocol::Tcp, port)
    }

    /// An echo request.
    pub fn ping(from: Origin, to: IpAddr) -> Self {
        Self::new(from, to, Protocol::Icmp, 0)
    }
}

/// One thing that happened to the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Where: `host`, `jail www`, `bridge bridge0`, `interface vtnet0`, `pf vtnet0 in`.
    pub at: String,
    /// What, in one sentence without its full stop.
    pub what: String,
}

/// By what a packet got from one place to the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Through {
    /// pf changed its source.
    Nat,
    /// pf changed its destination.
    Redirect,
    /// A bridge or a netgraph switch, by name.
    Switch(String),
    /// A loopback interface, by name.
    Loopback(String),
    /// A stack that forwarded it: `host`, `jail gw`.
    Router(String),
    /// A card onto the wire, by name.
    Wire(String),
}

/// Who has the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The host.
    Host,
    /// The jail of that name.
    Jail(String),
    /// A machine behind the card of that name.
    Outside(String),
}

/// The listener that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Who has it.
    pub place: Place,
    /// Address at which it was reached, after all translation.
    pub address: IpAddr,
    /// Port at which it was reached; 0 for an echo.
    pub port: u16,
}

/// Why a packet is lost, in classes that a table can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// What the probe names does not exist.
    NoSuchPlace,
    /// The sender has no address of the family, or not the one it wants.
    NoAddress,
    /// A stack on the way has no route.
    NoRoute,
    /// A stack on the way does not forward.
    NotForwarded,
    /// Nobody on the link has the next hop's address, or nothing leads to it there.
    NobodyThere,
    /// A kernel drops it by one of its own rules.
    Dropped,
    /// It arrives and nobody listens.
    NobodyListens,
    /// The answer leaves for somewhere else, or comes from another address than was asked.
    WrongWayBack,
    /// It goes round in circles.
    Loop,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A listener was reached, and its answer came back.
    Reached {
        /// The listener.
        by: Listener,
        /// The source address that it saw.
        source: IpAddr,
    },
    /// pf blocked it, or its answer.
    Blocked {
        /// Which pf, on which interface, by which rule.
        by: String,
    },
    /// It, or its answer, got no further.
    Lost {
        /// The class of the reason.
        cause: Cause,
        /// The reason.
        why: String,
    },
}

/// The way of one packet and of the answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The way there.
    pub hops: Vec<Hop>,
    /// The way back; empty if the packet never arrived.
    pub back: Vec<Hop>,
    /// By what it got there, in order.
    pub through: Vec<Through>,
    /// How it ended.
    pub verdict: Verdict,
}

impl Trace {
    /// Whether a listener was reached and its answer came back.
    pub fn reached(&self) -> bool {
        matches!(self.verdict, Verdict::Reached { .. })
    }
}

/// What a program that sends learns, beside the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The way.
    pub trace: Trace,
    /// What the listener said; only [`Listening::Emulated`] ones say anything.
    pub banner: String,
    /// Hops left in the answer when it arrived.
    pub ttl: u8,
}

impl Emulator {
    /// Follows a packet and its answer, and changes nothing.
    pub fn trace(&self, probe: &Probe) -> Trace {
        Journey::new(self, self.next_ephemeral_port())
            .run(probe)
            .trace
    }

    /// Sends a packet: as [`Emulator::trace`], but pf's states and counters and the bridges' tables are what they are afterwards.
    pub fn send(&mut self, probe: &Probe) -> Sent {
        let port = self.ephemeral_port();
        let mut journey = Journey::new(self, port);
        let sent = journey.run(probe);
        let (pfs, learned) = journey.effects();
        for (stack, pf) in pfs {
            self.kernel.vnet_mut(stack).pf = pf;
        }
        for (bridge, mac, member) in learned {
            if let Some(softc) = self.kernel.bridge_mut(bridge)
                && !softc.addresses.contains(&(mac, member))
            {
                softc.addresses.retain(|(known, _)| *known != mac);
                softc.addresses.insert(0, (mac, member));
            }
        }
        sent
    }
}
