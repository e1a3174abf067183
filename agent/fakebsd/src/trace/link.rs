//! The link layer: which interfaces a frame reaches, over epairs, bridges, laggs and netgraph switches, and through which.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::kernel::Kernel;
use crate::kernel::bridge::flag;
use crate::kernel::ifnet::{Driver, IfId};
use crate::kernel::netgraph::NodeType;

impl Kernel {
    /// The interfaces that hear directly what this one sends, or that it is part of.
    fn link_neighbours(&self, id: IfId) -> Vec<IfId> {
        let ifnet = self.ifnet(id);
        let mut found: Vec<IfId> = ifnet.bridge.into_iter().collect();
        match &ifnet.driver {
            Driver::Epair { peer } => found.push(*peer),
            Driver::Bridge(softc) => found.extend(softc.member_ids()),
            Driver::Lagg(softc) => found.extend(softc.ports.first()),
            Driver::Vlan(softc) => found.extend(softc.parent),
            Driver::Nic | Driver::Loopback | Driver::Eiface { .. } => {}
        }
        if let Some(lagg) = ifnet.lagg
            && self.lagg(lagg).and_then(|softc| softc.ports.first()) == Some(&id)
        {
            found.push(lagg);
        }
        found.extend(self.switched_with(id));
        found
    }

    /// The interfaces on the same ng_bridge, whether by an ether node's hooks or as an eiface.
    fn switched_with(&self, id: IfId) -> Vec<IfId> {
        let ifnet = self.ifnet(id);
        let Some(home) = self.vnets.get(&ifnet.home).map(|vnet| &vnet.netgraph) else {
            return Vec::new();
        };
        let here = self.netgraph(ifnet.vnet);
        let own = home
            .nodes
            .values()
            .chain(here.nodes.values())
            .filter(|node| node.interface == Some(id));
        let mut found = Vec::new();
        for node in own {
            let graph = if node.kind == NodeType::Eiface {
                home
            } else {
                here
            };
            for switch in node
                .hooks
                .iter()
                .filter_map(|hook| graph.nodes.get(&hook.peer))
            {
                if switch.kind == NodeType::Bridge {
                    let others = switch
                        .hooks
                        .iter()
                        .filter_map(|hook| graph.nodes.get(&hook.peer));
                    found.extend(
                        others
                            .filter_map(|other| other.interface)
                            .filter(|other| *other != id && self.ifs.all.contains_key(other)),
                    );
                }
            }
        }
        found
    }

    /// The shortest way over the link from one interface to whichever has the address; both ends included.
    pub(super) fn link_path(&self, from: IfId, address: IpAddr) -> Result<Vec<IfId>, Unreached> {
        let mut before: BTreeMap<IfId, IfId> = BTreeMap::new();
        let mut open = VecDeque::from([from]);
        let mut wire = None;
        while let Some(id) = open.pop_front() {
            if id != from && self.has_address(id, address) {
                let mut path = vec![id];
                while let Some(previous) = before.get(path.last().unwrap_or(&id)) {
                    path.push(*previous);
                }
                path.reverse();
                return Ok(path);
            }
            if !self.ifnet(id).up {
                continue;
            }
            if matches!(self.ifnet(id).driver, Driver::Nic) {
                wire = Some(id);
            }
            for next in self.link_neighbours(id) {
                if next != from && self.ifnet(next).up && !before.contains_key(&next) {
                    before.insert(next, id);
                    open.push_back(next);
                }
            }
        }
        Err(wire.map_or(Unreached::Nobody, Unreached::Wire))
    }

    pub(super) fn has_address(&self, id: IfId, address: IpAddr) -> bool {
        let ifnet = self.ifnet(id);
        match address {
            IpAddr::V4(address) => ifnet.inet.iter().any(|entry| entry.address == address),
            IpAddr::V6(address) => ifnet
                .inet6
                .iter()
                .any(|entry| entry.address == address && !entry.tentative && !entry.duplicated),
        }
    }

    /// Why a bridge would not pass a frame between two of its members.
    pub(super) fn bridge_refuses(
        &self,
        bridge: IfId,
        from: IfId,
        to: IfId,
    ) -> Option<&'static str> {
        let softc = self.bridge(bridge)?;
        let member = |id: IfId| softc.members.iter().find(|member| member.id == id);
        let (from, to) = (member(from)?, member(to)?);
        if from.flags & to.flags & flag::PRIVATE != 0 {
            return Some("both members are private");
        }
        let carries = |tag: u16, member: &crate::kernel::bridge::Member| {
            member.untagged == Some(tag)
                || member
                    .tagged
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&tag))
        };
        if softc.vlan_filter && !from.untagged.is_some_and(|tag| carries(tag, to)) {
            return Some("the members are in different VLANs");
        }
        None
    }

    /// Notes on a bridge behind which member a MAC address was seen.
    pub(super) fn bridge_learns(&mut self, bridge: IfId, source: IfId, member: IfId) {
        let Some(mac) = self.ifnet(source).mac else {
            return;
        };
        if let Some(softc) = self.bridge_mut(bridge) {
            softc.addresses.retain(|(known, _)| *known != mac);
            softc.addresses.insert(0, (mac, member));
        }
    }
}

/// Nobody on the link has the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreached {
    /// Not even a card is on it.
    Nobody,
    /// The frame went out through this card.
    Wire(IfId),
}
