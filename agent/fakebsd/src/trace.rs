//! What becomes of a packet: routes, pf, links, bridges and sockets in turn, there and back.
//!
//! The tracer drives the same tables that the programs print, and the stacks' own pf, so that states and counters move as
//! they would. It answers one question at a time: does a connection from here to there come about, and if not, what
//! stopped it. Queues, fragments and timing are not its business.

mod link;
mod walk;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::emulator::Emulator;
use walk::Walk;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A TCP connection to a port.
    Tcp(u16),
    /// A UDP datagram to a port.
    Udp(u16),
    /// An echo request.
    Echo,
}

/// One question to the tracer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The jail that sends; `None` is the host itself.
    pub from: Option<String>,
    /// Where to.
    pub destination: IpAddr,
    /// What.
    pub protocol: Protocol,
    /// The routing table of the sending process.
    pub fib: u32,
    /// A source address the sender insists on.
    pub source: Option<IpAddr>,
}

/// One thing that happened to the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Whose stack: a VNET jail's name, or `host`.
    pub stack: String,
    /// The interface, if one was crossed.
    pub interface: String,
    /// What happened, in words, with the packet's addresses.
    pub event: String,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer came back.
    Answered {
        /// The jail that answered, or `host`.
        by: String,
        /// The source address that it saw.
        seen_from: IpAddr,
        /// What the answer said.
        banner: String,
        /// Hops left in the answer when it arrived.
        ttl: u8,
    },
    /// It arrived, and nobody was listening.
    Refused {
        /// The stack it arrived in.
        by: String,
    },
    /// It left the host through a network card.
    LeftHost {
        /// The card.
        interface: String,
    },
    /// It was lost on the way there, or its answer on the way back; the reason, in words.
    Lost {
        /// Whether the way back was the trouble.
        returning: bool,
        /// What stopped it.
        reason: String,
    },
}

/// The way of one packet and of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Everything that happened, in order.
    pub hops: Vec<Hop>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Trace {
    /// Whether an answer came back.
    pub fn answered(&self) -> bool {
        matches!(self.outcome, Outcome::Answered { .. })
    }
}

impl Emulator {
    /// Sends one packet and follows it, and its answer, to the end.
    pub fn trace(&mut self, probe: &Probe) -> Trace {
        let mut walk = Walk::new(self);
        let outcome = walk.run(probe);
        Trace {
            hops: walk.hops,
            outcome,
        }
    }
}
