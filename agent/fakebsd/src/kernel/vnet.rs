//! Network stacks: the host's and one per VNET jail, with everything that is per stack.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::Kernel;
use super::ifnet::{Driver, IfId};
use super::netgraph::Netgraph;
use super::route::Fib;
use super::units::Units;
use crate::pf::Pf;

/// Identity of a stack; 0 is the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VnetId(pub(crate) u32);

/// The host's own stack.
pub(crate) const HOST: VnetId = VnetId(0);

/// One network stack.
#[derive(Clone, Debug)]
pub(crate) struct Vnet {
    /// Interfaces in list order.
    pub(crate) interfaces: BTreeMap<u64, IfId>,
    /// Interfaces by name; names can stand twice after a stack has died (recording `12`).
    pub(crate) names: BTreeMap<String, BTreeMap<u64, IfId>>,
    pub(crate) groups: BTreeMap<String, BTreeMap<u64, IfId>>,
    /// Units taken from each cloner of this stack.
    pub(crate) units: BTreeMap<&'static str, Units>,
    /// IPv4 addresses with the interfaces that hold them.
    pub(crate) inet: BTreeMap<Ipv4Addr, BTreeSet<IfId>>,
    pub(crate) vlans: BTreeMap<(IfId, u16), IfId>,
    pub(crate) fibs: Vec<Fib>,
    /// Values set of the OIDs that every stack has for itself.
    pub(crate) sysctls: BTreeMap<&'static str, String>,
    pub(crate) loopback: IfId,
    pub(crate) netgraph: Netgraph,
    pub(crate) pf: Pf,
}

impl Vnet {
    pub(crate) fn forget_name(&mut self, name: &str, order: u64) {
        if let Some(holders) = self.names.get_mut(name) {
            holders.remove(&order);
            if holders.is_empty() {
                self.names.remove(name);
            }
        }
    }
}

impl Kernel {
    pub(crate) fn vnet(&self, id: VnetId) -> &Vnet {
        self.vnets
            .get(&id)
            .expect("a VnetId is dropped together with its stack")
    }

    pub(crate) fn vnet_mut(&mut self, id: VnetId) -> &mut Vnet {
        self.vnets
            .get_mut(&id)
            .expect("a VnetId is dropped together with its stack")
    }

    /// A new stack with nothing in it; its loopback comes with [`Kernel::attach_loopback`].
    pub(crate) fn allocate_vnet(&mut self) -> VnetId {
        let id = VnetId(self.next_vnet);
        self.next_vnet += 1;
        let vnet = Vnet {
            interfaces: BTreeMap::new(),
            names: BTreeMap::new(),
            groups: BTreeMap::new(),
            units: BTreeMap::new(),
            inet: BTreeMap::new(),
            vlans: BTreeMap::new(),
            fibs: vec![Fib::default()],
            sysctls: BTreeMap::new(),
            loopback: IfId(0),
            netgraph: Netgraph::default(),
            pf: Pf::default(),
        };
        self.vnets.insert(id, vnet);
        id
    }

    /// vnet_destroy: interfaces that came from elsewhere go home, whatever stands there under their name; the others end.
    pub(crate) fn destroy_vnet(&mut self, id: VnetId) {
        let interfaces: Vec<IfId> = self.vnet(id).interfaces.values().copied().collect();
        for interface in interfaces {
            let Some(ifnet) = self.ifs.all.get(&interface) else {
                continue;
            };
            if ifnet.home != id {
                let home = if self.vnets.contains_key(&ifnet.home) {
                    ifnet.home
                } else {
                    HOST
                };
                self.vmove(interface, home);
            } else if matches!(ifnet.driver, Driver::Nic | Driver::Eiface { .. })
                || ifnet.name == "lo0"
            {
                self.detach(interface);
            } else {
                // Only cards and the first loopback refuse, and those were taken above.
                let _ = self.clone_destroy(interface);
            }
        }
        self.vnets.remove(&id);
    }
}
