//! lagg(4): protocol, ports, the address the ports share (sys/net/if_lagg.c).

use super::Kernel;
use super::errno::Errno;
use super::ifnet::{Driver, IfId};

/// The lagg's own state.
#[derive(Clone, Debug)]
pub(crate) struct LaggSoftc {
    pub(crate) protocol: String,
    /// The ports in the order they were added; the first is the master.
    pub(crate) ports: Vec<IfId>,
}

impl Default for LaggSoftc {
    fn default() -> Self {
        Self {
            protocol: "failover".into(),
            ports: Vec::new(),
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

    /// SIOCSLAGGPORT: the first port gives the lagg its MAC and MTU, every port gets the lagg's (recording `07`).
    pub(crate) fn lagg_add_port(&mut self, lagg: IfId, name: &str) -> Result<(), Errno> {
        let vnet = self.ifnet(lagg).vnet;
        let port = self.ifunit(vnet, name).ok_or(Errno::EINVAL)?;
        let ifnet = self.ifnet(port);
        if ifnet.lagg == Some(lagg) {
            return Err(Errno::EEXIST);
        }
        if ifnet.lagg.is_some() || ifnet.bridge.is_some() {
            return Err(Errno::EBUSY);
        }
        match ifnet.driver {
            Driver::Nic | Driver::Epair { .. } | Driver::Eiface { .. } => {}
            Driver::Loopback | Driver::Bridge(_) | Driver::Lagg(_) | Driver::Vlan(_) => {
                return Err(Errno::EPFNOSUPPORT);
            }
        }
        let (mac, mtu) = (ifnet.mac, ifnet.mtu);
        let first = self.lagg(lagg).is_some_and(|softc| softc.ports.is_empty());
        if first {
            let ifnet = self.ifnet_mut(lagg);
            ifnet.mac = mac;
            ifnet.mtu = mtu;
        }
        if let Some(softc) = self.lagg_mut(lagg) {
            softc.ports.push(port);
        }
        let (mac, mtu, up) = (
            self.ifnet(lagg).mac,
            self.ifnet(lagg).mtu,
            self.ifnet(lagg).up,
        );
        let ifnet = self.ifnet_mut(port);
        ifnet.lagg = Some(lagg);
        ifnet.mac = mac;
        ifnet.mtu = mtu;
        if up {
            self.set_up(port, true);
        }
        Ok(())
    }

    /// Puts the lagg's ports up with it (lagg_setflags).
    pub(crate) fn lagg_ports_up(&mut self, lagg: IfId, up: bool) {
        for port in self
            .lagg(lagg)
            .map(|softc| softc.ports.clone())
            .unwrap_or_default()
        {
            self.set_up(port, up);
        }
    }

    /// SIOCSLAGGDELPORT, and what happens when a port departs: it gets its own address back.
    pub(crate) fn lagg_drop_port(&mut self, lagg: IfId, port: IfId) {
        if let Some(softc) = self.lagg_mut(lagg) {
            softc.ports.retain(|id| *id != port);
        }
        let ifnet = self.ifnet_mut(port);
        ifnet.lagg = None;
        ifnet.mac = ifnet.hardware_mac;
        let heir = self
            .lagg(lagg)
            .and_then(|softc| softc.ports.first().copied());
        let mac = heir.map_or(Some([0; 6]), |id| self.ifnet(id).hardware_mac);
        self.ifnet_mut(lagg).mac = mac;
    }
}
