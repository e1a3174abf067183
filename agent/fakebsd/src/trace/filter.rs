//! One crossing of a stack's pf, told as a hop.

use std::net::IpAddr;

use super::journey::{Journey, Stop, ends};
use super::stack::unscoped;
use super::{Hop, Through};
use crate::cmd::pfctl::Facts;
use crate::kernel::ifnet::IfId;
use crate::kernel::vnet::VnetId;
use crate::pf::filter::{Packet, VerdictAction};
use crate::pf::rule::Direction;

/// What a crossing leaves: the packet, and where `route-to` sends it.
pub(super) struct Crossed {
    pub(super) packet: Packet,
    pub(super) route: Option<(Option<IpAddr>, String)>,
}

impl Journey<'_> {
    /// Lets the pf of `stack` judge a packet at an interface (pf_check_in and pf_check_out).
    pub(super) fn cross(
        &mut self,
        stack: VnetId,
        interface: IfId,
        direction: Direction,
        packet: Packet,
    ) -> Result<Crossed, Stop> {
        let kernel = self.kernel();
        let name = kernel.ifnet(interface).name.clone();
        let unroutable_source = kernel.route_lookup(stack, 0, packet.source).is_none();
        let asked = Packet {
            direction,
            interface: name.clone(),
            unroutable_source,
            ..packet
        };
        let facts = Facts {
            kernel,
            files: &self.host.files,
            stack,
            root: "/",
        };
        let pf = self
            .pfs
            .entry(stack)
            .or_insert_with(|| facts.kernel.vnet(stack).pf.clone());
        if !pf.is_enabled() {
            return Ok(Crossed {
                packet: asked,
                route: None,
            });
        }
        // pf sees link-local addresses as they are in the packet, without what the stack adds to them (recording `18`).
        let seen = Packet {
            source: unscoped(asked.source),
            destination: unscoped(asked.destination),
            ..asked.clone()
        };
        let mut verdict = pf.filter(&facts, &seen);
        if verdict.packet.source == seen.source {
            verdict.packet.source = asked.source;
        }
        if verdict.packet.destination == seen.destination {
            verdict.packet.destination = asked.destination;
        }
        let way = match direction {
            Direction::In => "in",
            Direction::Out => "out",
        };
        let owner = self.owner(stack);
        let of = if owner == "host" {
            String::new()
        } else {
            format!(" of {owner}")
        };
        let at = format!("pf{of} {name} {way}");
        let why = verdict.explanation.join("; ");
        let change = if ends(&verdict.packet) == ends(&asked) {
            String::new()
        } else {
            format!(
                ", so that {} becomes {}",
                ends(&asked),
                ends(&verdict.packet)
            )
        };
        self.hops.push(Hop {
            at: at.clone(),
            what: format!("{why}{change}"),
        });
        if let VerdictAction::Block { .. } = verdict.action {
            return Err(Stop::Blocked(format!("{at}: {why}")));
        }
        if unscoped(verdict.packet.source) != unscoped(asked.source) {
            self.pass_through(Through::Nat);
        }
        if unscoped(verdict.packet.destination) != unscoped(asked.destination) {
            self.pass_through(Through::Redirect);
        }
        Ok(Crossed {
            packet: verdict.packet,
            route: verdict.route,
        })
    }
}
