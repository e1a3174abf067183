//! Several emulated hosts on one wire: a packet that one of them sends to an address of another goes on there.
//!
//! Each host is followed by a journey of its own, so that the pf of each knows on the way back what it let through on the way there. What is sent to an address that none of them has there leaves the
//! segment: to machines that nothing is known of, as from a single host.

use super::journey::{Arrival, Journey, Start, Stop};
use super::link::Wire;
use super::stack::unscoped;
use super::{Cause, Hop, Listener, Probe, Through, Trace, Verdict};
use crate::emulator::Emulator;
use crate::pf::filter::Packet;

/// How often a packet goes from host to host before it counts as going round in circles; as many as `net.inet.ip.ttl` allows.
const HOPS_MAX: usize = 64;

/// A host on the wire.
pub struct Station<'a> {
    /// What hops are told by.
    pub name: &'a str,
    /// The host.
    pub host: &'a Emulator,
    /// Its interface to the wire.
    pub interface: &'a str,
}

/// Follows a packet and its answer from one of the hosts, the first where `from` is none of them, and changes nothing.
pub fn trace(stations: &[Station<'_>], from: &str, probe: &Probe) -> Trace {
    let journeys = stations.iter().map(|station| {
        let journey = Journey::new(station.host, station.host.next_ephemeral_port());
        (station.name, station.interface, journey)
    });
    let relay = Relay {
        journeys: journeys.collect(),
        hops: Vec::new(),
        through: Vec::new(),
    };
    let from = stations.iter().position(|station| station.name == from);
    relay.run(from.unwrap_or_default(), probe)
}

struct Relay<'a> {
    /// A host's name, its interface to the wire, and what happens there.
    journeys: Vec<(&'a str, &'a str, Journey<'a>)>,
    hops: Vec<Hop>,
    through: Vec<Through>,
}

impl<'a> Relay<'a> {
    fn run(mut self, from: usize, probe: &Probe) -> Trace {
        let there = self.there(from, probe);
        let hops = std::mem::take(&mut self.hops);
        for (_, _, journey) in &mut self.journeys {
            journey.returning = true;
        }
        let verdict = match there {
            Err(stop) => stop.verdict(false),
            Ok((start, asked, at, arrival)) => {
                let (_, _, journey) = &self.journeys[at];
                match journey.listener(probe, &arrival) {
                    Err(stop) => stop.verdict(false),
                    Ok((by, _)) => {
                        let source = unscoped(arrival.packet().source);
                        match self.back(from, probe, &start, &asked, (at, &by, &arrival)) {
                            Ok(()) => Verdict::Reached { by, source },
                            Err(stop) => stop.verdict(true),
                        }
                    }
                }
            }
        };
        Trace {
            hops,
            back: self.hops,
            through: self.through,
            verdict,
        }
    }

    fn there(
        &mut self,
        from: usize,
        probe: &Probe,
    ) -> Result<(Start<'a>, Packet, usize, Arrival), Stop> {
        let (_, _, journey) = &mut self.journeys[from];
        let begun = journey.there(probe);
        self.tell(from);
        let (start, asked, arrival) = begun?;
        let (at, arrival) = self.ship(from, arrival, Some(0))?;
        Ok((start, asked, at, arrival))
    }

    fn back(
        &mut self,
        from: usize,
        probe: &Probe,
        start: &Start<'_>,
        asked: &Packet,
        (at, by, arrival): (usize, &Listener, &Arrival),
    ) -> Result<(), Stop> {
        let (_, _, journey) = &mut self.journeys[at];
        let answered = journey.answered(probe, asked, by, arrival);
        self.tell(at);
        let (end, returned) = self.ship(at, answered?, asked.user)?;
        let (name, _, journey) = &self.journeys[end];
        if end != from {
            let why = format!("the answer ends at host {name}");
            return Err(Stop::Lost(Cause::WrongWayBack, why));
        }
        journey.check_return(start, asked, returned).map(|_| ())
    }

    /// From host to host, until a packet arrives at one, or nobody on the wire has its next hop.
    fn ship(
        &mut self,
        at: usize,
        arrival: Arrival,
        receiver: Option<u32>,
    ) -> Result<(usize, Arrival), Stop> {
        let (mut at, mut arrival) = (at, arrival);
        for _ in 0..HOPS_MAX {
            let Arrival::Wire { wire, packet, next } = &arrival else {
                return Ok((at, arrival));
            };
            let next = *next;
            let (_, interface, journey) = &self.journeys[at];
            if !wire.is_same(journey.wire(interface)?, journey.kernel()) {
                return Ok((at, arrival));
            }
            let mut others = self.journeys.iter().enumerate();
            let found = others.find_map(|(other, (_, interface, journey))| {
                let wire: Wire = journey.wire(interface).ok()?;
                (other != at && journey.on_the_wire(wire, next)).then_some((other, wire))
            });
            let Some((other, wire)) = found else {
                return Ok((at, arrival));
            };
            let packet = Packet {
                received_on: None,
                tag: None,
                ..packet.clone()
            };
            let (_, _, journey) = &mut self.journeys[other];
            journey.receiver = receiver;
            let taken = journey.take_over(wire, packet, next);
            self.tell(other);
            (at, arrival) = (other, taken?);
        }
        let why = "it goes from host to host until its hops are used up".to_owned();
        Err(Stop::Lost(Cause::Loop, why))
    }

    /// Takes over what happened at a host.
    fn tell(&mut self, at: usize) {
        let (name, _, journey) = &mut self.journeys[at];
        let hops = journey.hops.drain(..);
        self.hops.extend(hops.map(|hop| Hop {
            at: format!("{name}: {}", hop.at),
            what: hop.what,
        }));
        self.through.append(&mut journey.through);
    }
}
