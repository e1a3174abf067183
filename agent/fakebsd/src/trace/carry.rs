//! A frame carried along a way that was found: what bridges filter and learn, and the hops that tell of it.

use super::Through;
use super::journey::{Journey, Stop, ends};
use super::link::{End, Step, Way};
use crate::kernel::ifnet::IfId;
use crate::pf::filter::Packet;
use crate::pf::rule::Direction;

impl Journey<'_> {
    /// Carries a frame along its way: bridges filter, learn and are told.
    pub(super) fn follow(
        &mut self,
        from: Option<IfId>,
        way: &Way,
        packet: Packet,
    ) -> Result<(End, Packet), Stop> {
        let mut packet = packet;
        for step in &way.steps {
            match step {
                Step::Epair { from, to } => {
                    let name = |id: IfId| {
                        let ifnet = self.kernel().ifnet(id);
                        format!("{} of {}", ifnet.name, self.owner(ifnet.vnet))
                    };
                    let (from, to) = (name(*from), name(*to));
                    self.hop(format!("interface {from}"), format!("comes out of {to}"));
                }
                Step::Bridged {
                    bridge,
                    from: member,
                    to,
                } => {
                    self.learn(*bridge, from, *member);
                    let name = |id: &IfId| self.kernel().ifnet(*id).name.clone();
                    let (on, member_name, to_name) = (name(bridge), name(member), name(to));
                    self.hop(
                        format!("bridge {on}"),
                        format!("passes it from member {member_name} to member {to_name}"),
                    );
                    self.pass_through(Through::Switch(on));
                    packet = self.bridge_pfil(*bridge, *member, *to, packet)?;
                }
                Step::FromBridge { bridge, to } => {
                    let name = |id: &IfId| self.kernel().ifnet(*id).name.clone();
                    let (on, to) = (name(bridge), name(to));
                    self.hop(
                        format!("bridge {on}"),
                        format!("sends it out of member {to}"),
                    );
                    self.pass_through(Through::Switch(on));
                }
                Step::ToBridge {
                    bridge,
                    from: member,
                } => {
                    self.learn(*bridge, from, *member);
                    let name = |id: &IfId| self.kernel().ifnet(*id).name.clone();
                    let (on, member_name) = (name(bridge), name(member));
                    self.hop(
                        format!("bridge {on}"),
                        format!("takes it in from member {member_name} for its own stack"),
                    );
                    self.pass_through(Through::Switch(on));
                    packet = self.bridge_local_phys(*bridge, *member, packet)?;
                }
                Step::Switched { node } => {
                    self.hop(format!("netgraph {node}:"), "passes it on".to_owned());
                    self.pass_through(Through::Switch(node.clone()));
                }
            }
        }
        if let End::Wire(wire) = way.end {
            let name = wire.name(self.kernel());
            self.hop(
                format!("interface {name}"),
                format!("puts {} on the wire", ends(&packet)),
            );
            self.pass_through(Through::Wire(name));
        }
        Ok((way.end, packet))
    }

    /// bridge_pfil for a frame between members: in_if, bridge, out_if, each where its sysctl says so.
    fn bridge_pfil(
        &mut self,
        bridge: IfId,
        from: IfId,
        to: IfId,
        packet: Packet,
    ) -> Result<Packet, Stop> {
        let stack = self.kernel().ifnet(bridge).vnet;
        let members = self.is_set(stack, "net.link.bridge.pfil_member");
        let bridges = self.is_set(stack, "net.link.bridge.pfil_bridge");
        let crossings = [
            (members, from, Direction::In),
            (bridges, bridge, Direction::In),
            (bridges, bridge, Direction::Out),
            (members, to, Direction::Out),
        ];
        let (user, group) = (packet.user, packet.group);
        let mut packet = Packet {
            user: None,
            group: None,
            ..packet
        };
        for (_, interface, direction) in crossings.into_iter().filter(|(wanted, ..)| *wanted) {
            packet = self.cross(stack, interface, direction, packet)?.packet;
        }
        Ok(Packet {
            user,
            group,
            ..packet
        })
    }

    /// GRAB_OUR_PACKETS: `pfil_local_phys` filters on the member too, if members are filtered at all.
    fn bridge_local_phys(
        &mut self,
        bridge: IfId,
        member: IfId,
        packet: Packet,
    ) -> Result<Packet, Stop> {
        let stack = self.kernel().ifnet(bridge).vnet;
        let wanted = [
            "net.link.bridge.pfil_local_phys",
            "net.link.bridge.pfil_member",
        ];
        if !wanted.iter().all(|name| self.is_set(stack, name)) {
            return Ok(packet);
        }
        Ok(self.cross(stack, member, Direction::In, packet)?.packet)
    }
}
