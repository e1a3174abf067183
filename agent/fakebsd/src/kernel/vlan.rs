//! vlan(4): a tag on a parent interface (sys/net/if_vlan.c).

use super::Kernel;
use super::errno::Errno;
use super::ifnet::{Driver, IfId, NewIf};
use super::vnet::VnetId;

/// The vlan's own state; without a parent it carries nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct VlanSoftc {
    pub(crate) tag: u16,
    pub(crate) parent: Option<IfId>,
}

impl Kernel {
    pub(crate) fn vlan(&self, id: IfId) -> Option<&VlanSoftc> {
        match &self.ifnet(id).driver {
            Driver::Vlan(softc) => Some(softc),
            Driver::Nic
            | Driver::Loopback
            | Driver::Epair { .. }
            | Driver::Bridge(_)
            | Driver::Lagg(_)
            | Driver::Eiface { .. } => None,
        }
    }

    /// Whether the parent carries that tag already.
    pub(crate) fn vlan_exists(&self, parent: IfId, tag: u16) -> bool {
        let vnet = self.ifnet(parent).vnet;
        self.vnet(vnet).vlans.contains_key(&(parent, tag))
    }

    /// SIOCSETVLAN: gives the vlan its tag and parent, and with them MAC, MTU and state.
    pub(crate) fn vlan_configure(&mut self, id: IfId, parent: IfId, tag: u16) -> Result<(), Errno> {
        if tag == 0 || tag > 4094 {
            return Err(Errno::EINVAL);
        }
        if self.ifnet(parent).is_loopback() {
            return Err(Errno::EPROTONOSUPPORT);
        }
        // On its own parent it takes another tag where it stands; another parent only once it has none (`vlan_config`, sys/net/if_vlan.c).
        let standing = self.vlan(id).cloned().unwrap_or_default();
        if standing.parent.is_some_and(|other| other != parent) {
            return Err(Errno::EBUSY);
        }
        let is_so = standing.parent == Some(parent) && standing.tag == tag;
        if !is_so && self.vlan_exists(parent, tag) {
            return Err(Errno::EEXIST);
        }
        if standing.parent == Some(parent) {
            let vnet = self.ifnet(parent).vnet;
            let vlans = &mut self.vnet_mut(vnet).vlans;
            vlans.remove(&(parent, standing.tag));
            vlans.insert((parent, tag), id);
            self.ifnet_mut(id).driver = Driver::Vlan(VlanSoftc {
                tag,
                parent: Some(parent),
            });
            return Ok(());
        }
        let (mac, mtu, vnet) = {
            let ifnet = self.ifnet(parent);
            (ifnet.mac, ifnet.mtu, ifnet.vnet)
        };
        let ifnet = self.ifnet_mut(id);
        ifnet.driver = Driver::Vlan(VlanSoftc {
            tag,
            parent: Some(parent),
        });
        ifnet.mac = mac;
        ifnet.hardware_mac = mac;
        ifnet.mtu = mtu;
        ifnet.running = true;
        self.vnet_mut(vnet).vlans.insert((parent, tag), id);
        Ok(())
    }

    /// `ifconfig PARENT.TAG create`.
    pub(crate) fn vlan_create_dotted(&mut self, vnet: VnetId, name: &str) -> Result<IfId, Errno> {
        let (parent, tag) = name.rsplit_once('.').ok_or(Errno::EINVAL)?;
        let parent = self.ifunit(vnet, parent).ok_or(Errno::EINVAL)?;
        let tag: u16 = tag.parse().map_err(|_| Errno::EINVAL)?;
        self.load_module("if_vlan");
        if tag == 0 || tag > 4094 {
            return Err(Errno::EINVAL);
        }
        if self.vlan_exists(parent, tag) || self.ifunit(vnet, name).is_some() {
            return Err(Errno::EEXIST);
        }
        let driver = Driver::Vlan(VlanSoftc::default());
        let id = self.attach(
            vnet,
            NewIf {
                name: name.to_owned(),
                cloner: Some(("vlan", u32::MAX)),
                driver,
                mtu: 1500,
                mac: Some([0; 6]),
                group: Some("vlan"),
            },
        );
        self.vlan_configure(id, parent, tag)?;
        Ok(id)
    }

    /// SIOCSETVLAN without a parent, and what happens when the parent departs: it keeps its MAC address (`vlan_unconfig_locked`).
    pub(crate) fn vlan_unconfigure(&mut self, id: IfId) {
        let Some(softc) = self.vlan(id).cloned() else {
            return;
        };
        if let Some(parent) = softc.parent {
            let vnet = self.ifnet(parent).vnet;
            self.vnet_mut(vnet).vlans.remove(&(parent, softc.tag));
        }
        let ifnet = self.ifnet_mut(id);
        ifnet.driver = Driver::Vlan(VlanSoftc::default());
        ifnet.running = false;
        ifnet.mtu = 1500;
    }

    /// Forgets the tag table's entries of a departing interface: its own, or those of the vlans it carries.
    pub(crate) fn vlan_parent_departed(&mut self, id: IfId) {
        let vnet = self.ifnet(id).vnet;
        if let Some(VlanSoftc {
            tag,
            parent: Some(parent),
        }) = self.vlan(id).cloned()
        {
            self.vnet_mut(vnet).vlans.remove(&(parent, tag));
            return;
        }
        let carried: Vec<IfId> = self
            .vnet(vnet)
            .vlans
            .range((id, 0)..=(id, u16::MAX))
            .map(|(_, child)| *child)
            .collect();
        for child in carried {
            self.vlan_unconfigure(child);
        }
    }
}
