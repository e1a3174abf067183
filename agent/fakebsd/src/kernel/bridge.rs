//! if_bridge(4): members, their flags, the MTU rules, VLAN filtering (sys/net/if_bridge.c).

use super::Kernel;
use super::errno::{Errno, Refusal};
use super::ifnet::{Driver, IfId};

/// IFBIF_* of sys/net/if_bridgevar.h.
pub(crate) mod flag {
    pub(crate) const LEARNING: u32 = 0x1;
    pub(crate) const DISCOVER: u32 = 0x2;
    pub(crate) const STP: u32 = 0x4;
    pub(crate) const SPAN: u32 = 0x8;
    pub(crate) const STICKY: u32 = 0x10;
    pub(crate) const EDGE: u32 = 0x20;
    pub(crate) const AUTOEDGE: u32 = 0x40;
    pub(crate) const PTP: u32 = 0x80;
    pub(crate) const AUTOPTP: u32 = 0x100;
    pub(crate) const PRIVATE: u32 = 0x800;
}

/// One member port.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: IfId,
    pub(crate) flags: u32,
    pub(crate) untagged: Option<u16>,
    /// The tagged VLANs as sorted, disjoint ranges.
    pub(crate) tagged: Vec<(u16, u16)>,
    pub(crate) path_cost: u32,
}

/// The bridge's own state. Members are listed newest first, as ifconfig prints them (recording `14`).
#[derive(Clone, Debug, Default)]
pub(crate) struct BridgeSoftc {
    pub(crate) members: Vec<Member>,
    pub(crate) vlan_filter: bool,
    pub(crate) default_untagged: Option<u16>,
    /// The bridge identifier's priority as it is shown for the root: 32768 once the bridge has been up.
    pub(crate) root_priority: u32,
    /// MAC addresses learned or configured, with the member they are behind.
    pub(crate) addresses: Vec<([u8; 6], IfId)>,
}

impl BridgeSoftc {
    pub(crate) fn member_ids(&self) -> Vec<IfId> {
        self.members.iter().map(|member| member.id).collect()
    }

    pub(crate) fn member_mut(&mut self, id: IfId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }
}

impl Kernel {
    pub(crate) fn bridge(&self, id: IfId) -> Option<&BridgeSoftc> {
        match &self.ifnet(id).driver {
            Driver::Bridge(softc) => Some(softc),
            Driver::Nic
            | Driver::Loopback
            | Driver::Epair { .. }
            | Driver::Lagg(_)
            | Driver::Vlan(_)
            | Driver::Eiface { .. } => None,
        }
    }

    pub(crate) fn bridge_mut(&mut self, id: IfId) -> Option<&mut BridgeSoftc> {
        match &mut self.ifnet_mut(id).driver {
            Driver::Bridge(softc) => Some(softc),
            Driver::Nic
            | Driver::Loopback
            | Driver::Epair { .. }
            | Driver::Lagg(_)
            | Driver::Vlan(_)
            | Driver::Eiface { .. } => None,
        }
    }

    /// BRDGADD (recordings `02`, `07`; the order of the checks is bridge_ioctl_add's).
    pub(crate) fn bridge_add_member(&mut self, bridge: IfId, name: &str) -> Result<(), Refusal> {
        let vnet = self.ifnet(bridge).vnet;
        let Some(member) = self.ifunit(vnet, name) else {
            return Err(Refusal::because(Errno::ENOENT, "No such interface"));
        };
        let ifnet = self.ifnet(member);
        if ifnet.bridge == Some(bridge) {
            return Err(Refusal::because(
                Errno::EEXIST,
                "Interface is already a member of this bridge",
            ));
        }
        if ifnet.bridge.is_some() {
            return Err(Refusal::because(
                Errno::EBUSY,
                "Interface is already a member of another bridge",
            ));
        }
        // A port of a lagg is of a type of its own (`lagg_port_create`, sys/net/if_lagg.c).
        if ifnet.lagg.is_some() {
            return Err(Refusal::because(
                Errno::EINVAL,
                "Unsupported interface type",
            ));
        }
        match &ifnet.driver {
            Driver::Bridge(_) | Driver::Loopback => {
                return Err(Refusal::because(
                    Errno::EINVAL,
                    "Unsupported interface type",
                ));
            }
            Driver::Vlan(softc)
                if softc
                    .parent
                    .is_some_and(|parent| self.bridge(parent).is_some()) =>
            {
                return Err(Refusal::because(
                    Errno::EINVAL,
                    "Bridge SVI cannot be added to a bridge",
                ));
            }
            Driver::Nic
            | Driver::Epair { .. }
            | Driver::Lagg(_)
            | Driver::Vlan(_)
            | Driver::Eiface { .. } => {}
        }
        self.bridge_strip_link_local(bridge, member);
        // Whatever its scope (`bridge_ioctl_add`, sys/net/if_bridge.c).
        let ifnet = self.ifnet(member);
        let has_address = !ifnet.inet.is_empty() || !ifnet.inet6.is_empty();
        if has_address && self.sysctl_number("net.link.bridge.member_ifaddrs") == Some(0) {
            return Err(Refusal::because(
                Errno::EINVAL,
                "Member interface may not have an IP address assigned",
            ));
        }
        self.bridge_level_mtu(bridge, member);
        let default_untagged = self.bridge(bridge).and_then(|softc| softc.default_untagged);
        let entry = Member {
            id: member,
            flags: flag::LEARNING | flag::DISCOVER | flag::AUTOEDGE | flag::AUTOPTP,
            untagged: default_untagged,
            tagged: Vec::new(),
            path_cost: 2000,
        };
        if let Some(softc) = self.bridge_mut(bridge) {
            softc.members.insert(0, entry);
        }
        let ifnet = self.ifnet_mut(member);
        ifnet.bridge = Some(bridge);
        ifnet.promiscuous += 1;
        Ok(())
    }

    /// The first member's MTU becomes the bridge's; later members take the bridge's.
    fn bridge_level_mtu(&mut self, bridge: IfId, member: IfId) {
        let member_mtu = self.ifnet(member).mtu;
        if self
            .bridge(bridge)
            .is_some_and(|softc| softc.members.is_empty())
        {
            self.ifnet_mut(bridge).mtu = member_mtu;
        } else {
            self.ifnet_mut(member).mtu = self.ifnet(bridge).mtu;
        }
    }

    /// A member loses its IPv6 addresses when the bridge has a link-local one (bridge_ioctl_add, `in6_ifdetach`).
    fn bridge_strip_link_local(&mut self, bridge: IfId, member: IfId) {
        let bridge_has = self
            .ifnet(bridge)
            .inet6
            .iter()
            .any(|address| address.is_link_local());
        let member_has = self
            .ifnet(member)
            .inet6
            .iter()
            .any(|address| address.is_link_local());
        if bridge_has
            && member_has
            && self.sysctl_number("net.link.bridge.allow_llz_overlap") != Some(1)
        {
            self.purge_inet6(member);
        }
    }

    /// BRDGDEL.
    pub(crate) fn bridge_delete_member(&mut self, bridge: IfId, name: &str) -> Result<(), Refusal> {
        let vnet = self.ifnet(bridge).vnet;
        let member = self
            .ifunit(vnet, name)
            .filter(|id| self.ifnet(*id).bridge == Some(bridge));
        let Some(member) = member else {
            return Err(Refusal::because(
                Errno::ENOENT,
                "Interface is not a bridge member",
            ));
        };
        self.bridge_drop_member(bridge, member);
        Ok(())
    }

    pub(crate) fn bridge_drop_member(&mut self, bridge: IfId, member: IfId) {
        if let Some(softc) = self.bridge_mut(bridge) {
            softc.members.retain(|entry| entry.id != member);
            softc.addresses.retain(|(_, at)| *at != member);
        }
        let ifnet = self.ifnet_mut(member);
        ifnet.bridge = None;
        ifnet.promiscuous = ifnet.promiscuous.saturating_sub(1);
    }

    /// SIOCSIFMTU on a bridge with members sets them all (bridge_ioctl, sys/net/if_bridge.c).
    pub(crate) fn bridge_set_mtu(&mut self, bridge: IfId, mtu: u32) -> Result<(), Errno> {
        let members = self
            .bridge(bridge)
            .map(BridgeSoftc::member_ids)
            .unwrap_or_default();
        for member in members {
            self.ifnet_mut(member).mtu = mtu;
        }
        self.ifnet_mut(bridge).mtu = mtu;
        Ok(())
    }

    /// What an interface sends when it gets an address teaches every bridge on its link where its MAC is.
    pub(crate) fn announce(&mut self, id: IfId) {
        let Some(mac) = self.ifnet(id).mac.filter(|_| self.ifnet(id).up) else {
            return;
        };
        let Driver::Epair { peer } = self.ifnet(id).driver else {
            return;
        };
        let Some(bridge) = self.ifnet(peer).bridge.filter(|_| self.ifnet(peer).up) else {
            return;
        };
        if let Some(softc) = self.bridge_mut(bridge)
            && !softc.addresses.iter().any(|(known, _)| *known == mac)
        {
            softc.addresses.insert(0, (mac, peer));
        }
    }
}
