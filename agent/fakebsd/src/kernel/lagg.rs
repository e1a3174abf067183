//! lagg(4): protocol, ports, the address the ports share (sys/net/if_lagg.c).

use super::Kernel;
use super::errno::Errno;
use super::ifnet::{Driver, IfId, Mac};

/// `LAGG_MAX_PORTS`, sys/net/if_lagg.h.
const PORTS_MAX: usize = 32;

/// The lagg's own state.
#[derive(Clone, Debug)]
pub(crate) struct LaggSoftc {
    pub(crate) protocol: String,
    /// `l2,l3,l4`, or fewer of them, in this order.
    pub(crate) hash: String,
    /// The ports in the order of their interface numbers, whatever the order in which they were added.
    pub(crate) ports: Vec<IfId>,
    /// The master: the first that was added, and after it left the first of the list.
    pub(crate) primary: Option<IfId>,
}

impl Default for LaggSoftc {
    fn default() -> Self {
        Self {
            protocol: "failover".into(),
            hash: "l2,l3,l4".into(),
            ports: Vec::new(),
            primary: None,
        }
    }
}

impl Kernel {
    pub(crate) fn lagg(&self, id: IfId) -> Option<&LaggSoftc> {
        match &self.ifnet(id).driver {
            Driver::Lagg(softc) => Some(softc),
            Driver::Nic
            | Driver::Loopback
            | Driver::Epair { .. }
            | Driver::Bridge(_)
            | Driver::Vlan(_)
            | Driver::Eiface { .. } => None,
        }
    }

    fn lagg_mut(&mut self, id: IfId) -> Option<&mut LaggSoftc> {
        match &mut self.ifnet_mut(id).driver {
            Driver::Lagg(softc) => Some(softc),
            Driver::Nic
            | Driver::Loopback
            | Driver::Epair { .. }
            | Driver::Bridge(_)
            | Driver::Vlan(_)
            | Driver::Eiface { .. } => None,
        }
    }

    pub(crate) fn lagg_set_protocol(&mut self, id: IfId, protocol: &str) {
        if let Some(softc) = self.lagg_mut(id) {
            protocol.clone_into(&mut softc.protocol);
        }
    }

    /// SIOCSLAGGHASH.
    pub(crate) fn lagg_set_hash(&mut self, id: IfId, hash: &[&str]) {
        let layers = ["l2", "l3", "l4"].into_iter();
        let set: Vec<&str> = layers.filter(|layer| hash.contains(layer)).collect();
        if let Some(softc) = self.lagg_mut(id) {
            softc.hash = set.join(",");
        }
    }

    /// SIOCSLAGGPORT: the first port gives the lagg its MAC and MTU, every port gets the lagg's (recording `07`). It asks nobody whether the port is a member of a bridge, takes IPv6 off it where
    /// it has a link-local address, and brings it up only with itself (`lagg_port_create`, `lagg_ioctl`, `lagg_init_locked`, sys/net/if_lagg.c).
    pub(crate) fn lagg_add_port(&mut self, lagg: IfId, name: &str) -> Result<(), Errno> {
        let vnet = self.ifnet(lagg).vnet;
        let port = self.ifunit(vnet, name).ok_or(Errno::EINVAL)?;
        if self.ifnet(port).inet6.iter().any(|one| one.is_link_local()) {
            self.purge_inet6(port);
        }
        if port == lagg {
            return Err(Errno::EINVAL);
        }
        let softc = self.lagg(lagg).cloned().unwrap_or_default();
        if softc.ports.len() >= PORTS_MAX {
            return Err(Errno::ENOSPC);
        }
        let ifnet = self.ifnet(port);
        match ifnet.lagg {
            Some(holder) if holder == lagg => return Err(Errno::EEXIST),
            Some(_) => return Err(Errno::EBUSY),
            None => {}
        }
        match ifnet.driver {
            Driver::Nic | Driver::Epair { .. } | Driver::Eiface { .. } | Driver::Vlan(_) => {}
            Driver::Lagg(_) => return Err(Errno::EINVAL),
            Driver::Loopback | Driver::Bridge(_) => return Err(Errno::EPROTONOSUPPORT),
        }
        let (mac, mtu, index) = (ifnet.mac, ifnet.mtu, ifnet.index);
        if softc.ports.is_empty() {
            self.ifnet_mut(lagg).mtu = mtu;
            self.set_mac(lagg, mac);
        }
        let before = |other: &&IfId| self.ifnet(**other).index < index;
        let place = softc.ports.iter().filter(before).count();
        if let Some(softc) = self.lagg_mut(lagg) {
            softc.ports.insert(place, port);
            softc.primary.get_or_insert(port);
        }
        let (mac, mtu) = (self.ifnet(lagg).mac, self.ifnet(lagg).mtu);
        let ifnet = self.ifnet_mut(port);
        ifnet.lagg = Some(lagg);
        ifnet.mtu = mtu;
        self.set_mac(port, mac);
        Ok(())
    }

    /// SIOCSIFMTU of a lagg: every port's too (`lagg_ioctl`, sys/net/if_lagg.c).
    pub(crate) fn lagg_set_mtu(&mut self, lagg: IfId, mtu: u32) {
        let ports = self.lagg(lagg).map(|softc| softc.ports.clone());
        for port in ports.unwrap_or_default() {
            self.ifnet_mut(port).mtu = mtu;
        }
        self.ifnet_mut(lagg).mtu = mtu;
    }

    /// Puts the lagg's ports up or down with it (`lagg_if_updown`).
    pub(crate) fn lagg_ports_up(&mut self, lagg: IfId, up: bool) {
        for port in self
            .lagg(lagg)
            .map(|softc| softc.ports.clone())
            .unwrap_or_default()
        {
            self.set_up(port, up);
        }
    }

    /// SIOCSLAGGDELPORT, and what happens when a port departs: it gets its own address back and keeps the MTU; where it was the master the lagg takes the next one's address.
    pub(crate) fn lagg_drop_port(&mut self, lagg: IfId, port: IfId) {
        let Some(softc) = self.lagg_mut(lagg) else {
            return;
        };
        softc.ports.retain(|id| *id != port);
        let was_primary = softc.primary == Some(port);
        if was_primary {
            softc.primary = softc.ports.first().copied();
        }
        let (heir, ports) = (softc.primary, softc.ports.clone());
        self.ifnet_mut(port).lagg = None;
        let own = self.ifnet(port).hardware_mac;
        self.set_mac(port, own);
        if was_primary {
            let mac = heir.map_or(Some([0; 6]), |id| self.ifnet(id).hardware_mac);
            self.set_mac(lagg, mac);
            for port in ports {
                self.set_mac(port, mac);
            }
        }
    }

    /// What `SIOCIFDESTROY` does with a lagg's ports: they go down before they leave.
    pub(crate) fn lagg_release(&mut self, lagg: IfId) {
        if self.ifnet(lagg).running {
            self.lagg_ports_up(lagg, false);
        }
        let ports = self.lagg(lagg).map(|softc| softc.ports.clone());
        for port in ports.unwrap_or_default() {
            self.lagg_drop_port(lagg, port);
        }
    }

    /// An interface's MAC address, and with it that of the vlans upon it (`vlan_iflladdr`, sys/net/if_vlan.c).
    pub(crate) fn set_mac(&mut self, id: IfId, mac: Option<Mac>) {
        self.ifnet_mut(id).mac = mac;
        let vnet = self.ifnet(id).vnet;
        let upon = self.vnet(vnet).vlans.range((id, 0)..=(id, u16::MAX));
        let upon: Vec<IfId> = upon.map(|(_, vlan)| *vlan).collect();
        for vlan in upon {
            self.set_mac(vlan, mac);
        }
    }

    /// Whether a port carries anything: its link is there, and it is up (`LAGG_PORTACTIVE`).
    fn is_active(&self, port: IfId) -> bool {
        self.ifnet(port).up
    }

    /// The port that sends: of a failover lagg the master, or else the next in the list, or else the first that can (`lagg_link_active`); of the others the first that can, where the kernel goes by a hash
    /// or takes one after the other.
    pub(crate) fn lagg_sender(&self, lagg: IfId) -> Option<IfId> {
        let softc = self.lagg(lagg)?;
        let can = |port: &IfId| self.is_active(*port);
        let first = || softc.ports.iter().copied().find(can);
        match softc.protocol.as_str() {
            "failover" => {
                let behind = softc
                    .ports
                    .iter()
                    .skip_while(|port| Some(**port) != softc.primary);
                let near = behind.take(2).copied().find(can);
                near.or_else(first)
            }
            "lacp" => {
                let mut ports = softc.ports.iter().copied();
                ports.find(|port| self.lagg_is_distributing(*port))
            }
            "none" => None,
            _ => first(),
        }
    }

    /// Whether a lagg takes a frame in by a port (`lagg_fail_input`, `lagg_lacp_input`, sys/net/if_lagg.c).
    pub(crate) fn lagg_takes(&self, lagg: IfId, port: IfId) -> bool {
        let Some(softc) = self.lagg(lagg) else {
            return false;
        };
        match softc.protocol.as_str() {
            "failover" => {
                softc.primary == Some(port)
                    || self.sysctl_number("net.link.lagg.failover_rx_all") == Some(1)
                    || self.lagg_sender(lagg).is_none_or(|sender| sender == port)
            }
            "lacp" => self.lagg_is_distributing(port),
            "none" => false,
            _ => true,
        }
    }

    /// Whether a port of an lacp lagg has found its partner: what is behind a card has one, an epair has one where its other end is a port of such a lagg too.
    pub(crate) fn lagg_is_distributing(&self, port: IfId) -> bool {
        let speaks = match self.ifnet(port).driver {
            Driver::Epair { peer } => {
                let partner = self.ifnet(peer).lagg.and_then(|lagg| self.lagg(lagg));
                partner.is_some_and(|partner| partner.protocol == "lacp") && self.is_active(peer)
            }
            Driver::Nic => true,
            Driver::Loopback
            | Driver::Bridge(_)
            | Driver::Lagg(_)
            | Driver::Vlan(_)
            | Driver::Eiface { .. } => false,
        };
        speaks && self.is_active(port)
    }

    /// A port's flags as `lagg_port2req` gives them.
    pub(crate) fn lagg_port_flags(&self, lagg: IfId, port: IfId) -> u32 {
        let Some(softc) = self.lagg(lagg) else {
            return 0;
        };
        match softc.protocol.as_str() {
            "failover" => {
                let master = u32::from(softc.primary == Some(port));
                let active = self.lagg_sender(lagg) == Some(port);
                master | if active { 0x4 } else { 0 }
            }
            "lacp" if self.lagg_is_distributing(port) => 0x1c,
            "lacp" | "none" => 0,
            _ if self.is_active(port) => 0x4,
            _ => 0,
        }
    }
}
