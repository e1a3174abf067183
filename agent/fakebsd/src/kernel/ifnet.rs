//! Network interfaces: identity, flags, names, groups and the move between network stacks (sys/net/if.c).
//!
//! What is particular to one driver stands in `epair`, `bridge`, `lagg` and `vlan`; addresses in `addr`. Interfaces are found by name
//! within their stack and by identity everywhere; no operation walks all interfaces of the host.

use std::collections::{BTreeMap, BTreeSet};

use super::Kernel;
use super::addr::{Inet, Inet6};
use super::bridge::BridgeSoftc;
use super::errno::Errno;
use super::lagg::LaggSoftc;
use super::vlan::VlanSoftc;
use super::vnet::VnetId;

/// The largest MTU of an ng_eiface: ETHER_MAX_LEN_JUMBO (`NG_EIFACE_MTU_MAX`, sys/netgraph/ng_eiface.h).
const EIFACE_MTU_MAX: u32 = 9018;

/// Longest interface name: IFNAMSIZ less its zero byte.
pub(crate) const NAME_BYTES_MAX: usize = 15;

/// Identity of an interface; never used again after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IfId(pub(crate) u32);

/// A MAC address.
pub(crate) type Mac = [u8; 6];

/// `02:cb:00:00:00:01`.
pub(crate) fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The ND6_IFF_* flags of sys/netinet6/nd6.h that matter here.
pub(crate) mod nd {
    pub(crate) const PERFORMNUD: u32 = 0x1;
    pub(crate) const ACCEPT_RTADV: u32 = 0x2;
    pub(crate) const IFDISABLED: u32 = 0x8;
    pub(crate) const AUTO_LINKLOCAL: u32 = 0x20;
    pub(crate) const NO_RADR: u32 = 0x40;
    pub(crate) const NO_PREFER_IFACE: u32 = 0x80;
    pub(crate) const NO_DAD: u32 = 0x100;
}

/// What makes the interface go.
#[derive(Clone, Debug)]
pub(crate) enum Driver {
    /// A network card; `running` stays once it has been up (recording `07`, vtnet3 after its move).
    Nic,
    /// lo(4).
    Loopback,
    /// One end of an epair(4).
    Epair { peer: IfId },
    /// if_bridge(4).
    Bridge(BridgeSoftc),
    /// lagg(4).
    Lagg(LaggSoftc),
    /// vlan(4).
    Vlan(VlanSoftc),
    /// ng_eiface(4); `linked` while its hook is connected.
    Eiface { linked: bool },
}

/// One interface.
#[derive(Clone, Debug)]
pub(crate) struct Ifnet {
    pub(crate) id: IfId,
    pub(crate) index: u32,
    pub(crate) name: String,
    /// The cloner's name and unit; `None` for cards and netgraph interfaces.
    pub(crate) cloner: Option<(&'static str, u32)>,
    pub(crate) driver: Driver,
    pub(crate) vnet: VnetId,
    pub(crate) home: VnetId,
    /// The driver's name and unit (`if_dname`, `if_dunit`): no rename changes it.
    pub(crate) driver_name: String,
    /// IFF_* that ifconfig(8) sets and that nothing here but NOARP goes by; they go with the interface (`if_vmove` clears UP alone, by if_down).
    pub(crate) user_flags: u32,
    /// Position in the stack's list.
    pub(crate) order: u64,
    pub(crate) up: bool,
    pub(crate) running: bool,
    /// How many ask for promiscuous mode.
    pub(crate) promiscuous: u32,
    pub(crate) mtu: u32,
    pub(crate) mac: Option<Mac>,
    pub(crate) hardware_mac: Option<Mac>,
    pub(crate) description: Option<String>,
    /// Group names with the sequence number under which the group lists this interface.
    pub(crate) groups: Vec<(String, u64)>,
    pub(crate) inet: Vec<Inet>,
    pub(crate) inet6: Vec<Inet6>,
    pub(crate) nd: u32,
    pub(crate) fib: u32,
    /// The bridge this is a member of.
    pub(crate) bridge: Option<IfId>,
    /// The lagg this is a port of.
    pub(crate) lagg: Option<IfId>,
}

impl Ifnet {
    pub(crate) fn is_loopback(&self) -> bool {
        matches!(self.driver, Driver::Loopback)
    }

    /// What `LOWER_UP` says: the link's state for what has media, UP for what has none (`get_operstate` in
    /// sys/netlink/route/iface.c; recordings `01`, `06`, `07`).
    pub(crate) fn lower_up(&self) -> bool {
        match &self.driver {
            Driver::Nic | Driver::Epair { .. } => true,
            Driver::Eiface { linked } => *linked,
            Driver::Loopback | Driver::Bridge(_) => self.up,
            Driver::Lagg(_) | Driver::Vlan(_) => self.running,
        }
    }
}

/// Everything needed to make an interface.
pub(crate) struct NewIf {
    pub(crate) name: String,
    pub(crate) cloner: Option<(&'static str, u32)>,
    pub(crate) driver: Driver,
    pub(crate) mtu: u32,
    pub(crate) mac: Option<Mac>,
    pub(crate) group: Option<&'static str>,
}

/// The host's interfaces and the tables that find them.
#[derive(Clone, Debug, Default)]
pub(crate) struct IfTable {
    pub(crate) all: BTreeMap<IfId, Ifnet>,
    by_index: BTreeMap<u32, IfId>,
    free_indices: BTreeSet<u32>,
    next_id: u32,
    sequence: u64,
}

impl IfTable {
    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// The lowest free index: indices are one table for all stacks (recordings `07`, `12`, `14`).
    fn allocate_index(&mut self, id: IfId) -> u32 {
        let index = self.free_indices.pop_first().unwrap_or_else(|| {
            self.by_index
                .last_key_value()
                .map_or(1, |(last, _)| last + 1)
        });
        self.by_index.insert(index, id);
        index
    }

    fn release_index(&mut self, index: u32) {
        self.by_index.remove(&index);
        self.free_indices.insert(index);
    }
}

impl Kernel {
    pub(crate) fn ifnet(&self, id: IfId) -> &Ifnet {
        self.ifs
            .all
            .get(&id)
            .expect("an IfId is dropped together with its interface")
    }

    pub(crate) fn ifnet_mut(&mut self, id: IfId) -> &mut Ifnet {
        self.ifs
            .all
            .get_mut(&id)
            .expect("an IfId is dropped together with its interface")
    }

    /// The first interface of that name in the stack's list (ifunit in sys/net/if.c).
    pub(crate) fn ifunit(&self, vnet: VnetId, name: &str) -> Option<IfId> {
        self.vnet(vnet).names.get(name)?.values().next().copied()
    }

    /// The stack's interfaces in list order.
    pub(crate) fn interfaces(&self, vnet: VnetId) -> impl Iterator<Item = &Ifnet> {
        self.vnet(vnet)
            .interfaces
            .values()
            .map(|id| self.ifnet(*id))
    }

    pub(crate) fn attach(&mut self, vnet: VnetId, new: NewIf) -> IfId {
        self.ifs.next_id += 1;
        let id = IfId(self.ifs.next_id);
        let index = self.ifs.allocate_index(id);
        let nd = self.fresh_nd(vnet, &new.driver);
        let driver_name = match new.cloner {
            Some((cloner, unit)) => format!("{cloner}{unit}"),
            None => new.name.clone(),
        };
        let ifnet = Ifnet {
            id,
            index,
            driver_name,
            user_flags: 0,
            name: new.name,
            cloner: new.cloner,
            driver: new.driver,
            vnet,
            home: vnet,
            order: 0,
            up: false,
            running: false,
            promiscuous: 0,
            mtu: new.mtu,
            mac: new.mac,
            hardware_mac: new.mac,
            description: None,
            groups: Vec::new(),
            inet: Vec::new(),
            inet6: Vec::new(),
            nd,
            fib: 0,
            bridge: None,
            lagg: None,
        };
        self.ifs.all.insert(id, ifnet);
        self.link(id, vnet);
        self.join_group(id, "all");
        if let Some(group) = new.group {
            self.join_group(id, group);
        }
        self.netgraph_interface_arrived(id);
        id
    }

    /// Puts the interface at the end of the stack's list and into its name table.
    fn link(&mut self, id: IfId, vnet: VnetId) {
        let order = self.ifs.next_sequence();
        let ifnet = self.ifnet_mut(id);
        ifnet.vnet = vnet;
        ifnet.order = order;
        let name = ifnet.name.clone();
        let stack = self.vnet_mut(vnet);
        stack.interfaces.insert(order, id);
        stack.names.entry(name).or_default().insert(order, id);
    }

    fn unlink(&mut self, id: IfId) {
        let ifnet = self.ifnet(id);
        let (vnet, order, name) = (ifnet.vnet, ifnet.order, ifnet.name.clone());
        let stack = self.vnet_mut(vnet);
        stack.interfaces.remove(&order);
        stack.forget_name(&name, order);
    }

    /// Takes everything away that hangs on an interface in its stack: memberships, addresses, routes, groups.
    fn strip(&mut self, id: IfId) {
        let ifnet = self.ifnet(id);
        let (vnet, name) = (ifnet.vnet, ifnet.name.clone());
        self.announce_departure(vnet, &name);
        if let Some(bridge) = self.ifnet(id).bridge {
            self.bridge_drop_member(bridge, id);
        }
        if let Some(lagg) = self.ifnet(id).lagg {
            self.lagg_drop_port(lagg, id);
        }
        self.vlan_parent_departed(id);
        self.netgraph_interface_departed(id);
        self.purge_addresses(id);
        self.routes_forget_interface(id);
        let groups: Vec<String> = self
            .ifnet(id)
            .groups
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        for group in groups {
            self.leave_group(id, &group);
        }
    }

    /// Ends an interface. The caller has already released what the driver holds.
    pub(crate) fn detach(&mut self, id: IfId) {
        self.strip(id);
        self.unlink(id);
        if let Some(ifnet) = self.ifs.all.remove(&id) {
            self.ifs.release_index(ifnet.index);
            if let Some((cloner, unit)) = ifnet.cloner
                && let Some(home) = self.vnets.get_mut(&ifnet.home)
                && let Some(units) = home.units.get_mut(cloner)
            {
                units.release(unit);
            }
        }
    }

    pub(crate) fn in_group(&self, id: IfId, group: &str) -> bool {
        self.ifnet(id).groups.iter().any(|(name, _)| name == group)
    }

    pub(crate) fn join_group(&mut self, id: IfId, group: &str) -> bool {
        if self.in_group(id, group) {
            return false;
        }
        let sequence = self.ifs.next_sequence();
        let ifnet = self.ifnet_mut(id);
        ifnet.groups.push((group.to_owned(), sequence));
        let vnet = ifnet.vnet;
        self.vnet_mut(vnet)
            .groups
            .entry(group.to_owned())
            .or_default()
            .insert(sequence, id);
        true
    }

    pub(crate) fn leave_group(&mut self, id: IfId, group: &str) -> bool {
        let ifnet = self.ifnet_mut(id);
        let Some(at) = ifnet.groups.iter().position(|(name, _)| name == group) else {
            return false;
        };
        let (_, sequence) = ifnet.groups.remove(at);
        let vnet = ifnet.vnet;
        let stack = self.vnet_mut(vnet);
        if let Some(members) = stack.groups.get_mut(group) {
            members.remove(&sequence);
            if members.is_empty() {
                stack.groups.remove(group);
            }
        }
        true
    }

    /// SIOCSIFNAME. The length was checked by the caller's copyin (ENAMETOOLONG, recording `02`).
    pub(crate) fn rename(&mut self, id: IfId, name: &str) -> Result<(), Errno> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if name.is_empty() {
            return Err(Errno::EINVAL);
        }
        let ifnet = self.ifnet(id);
        if ifnet.name == name {
            return Ok(());
        }
        let (vnet, order, old) = (ifnet.vnet, ifnet.order, ifnet.name.clone());
        if self.ifunit(vnet, name).is_some() {
            return Err(Errno::EEXIST);
        }
        self.announce_departure(vnet, &old);
        let stack = self.vnet_mut(vnet);
        stack.forget_name(&old, order);
        stack
            .names
            .entry(name.to_owned())
            .or_default()
            .insert(order, id);
        self.ifnet_mut(id).name = name.to_owned();
        self.netgraph_interface_renamed(id);
        Ok(())
    }

    /// Moves an interface to another stack (if_vmove): groups are lost except the driver's, the description stays,
    /// addresses go, UP goes, RUNNING stays (recordings `02`, `07`).
    pub(crate) fn vmove(&mut self, id: IfId, to: VnetId) {
        self.strip(id);
        self.unlink(id);
        let ifnet = self.ifnet_mut(id);
        ifnet.up = false;
        ifnet.fib = 0;
        ifnet.promiscuous = 0;
        let driver = ifnet.driver.clone();
        let nd = self.fresh_nd(to, &driver);
        let ifnet = self.ifnet_mut(id);
        ifnet.nd = nd;
        let driver_group = ifnet.cloner.map(|(cloner, _)| cloner);
        self.link(id, to);
        self.join_group(id, "all");
        if let Some(group) = driver_group {
            self.join_group(id, group);
        }
        self.netgraph_interface_arrived(id);
    }

    /// The ND6 flags of an interface that comes to a stack: where that takes router advertisements by itself it listens to them, with IPv6 on (`nd6_ifattach`, sys/netinet6/nd6.c).
    fn fresh_nd(&self, vnet: VnetId, driver: &Driver) -> u32 {
        let fresh = driver.initial_nd();
        let listens = self.vnet_sysctl_number(vnet, "net.inet6.ip6.accept_rtadv") == Some(1);
        match driver {
            Driver::Nic
            | Driver::Epair { .. }
            | Driver::Lagg(_)
            | Driver::Vlan(_)
            | Driver::Eiface { .. }
                if listens =>
            {
                (fresh | nd::ACCEPT_RTADV) & !nd::IFDISABLED
            }
            Driver::Loopback
            | Driver::Bridge(_)
            | Driver::Nic
            | Driver::Epair { .. }
            | Driver::Lagg(_)
            | Driver::Vlan(_)
            | Driver::Eiface { .. } => fresh,
        }
    }

    /// SIOCSIFFLAGS with IFF_UP.
    pub(crate) fn set_up(&mut self, id: IfId, up: bool) {
        let ifnet = self.ifnet_mut(id);
        let (was, was_running) = (ifnet.up, ifnet.running);
        ifnet.up = up;
        match &ifnet.driver {
            Driver::Nic | Driver::Bridge(_) | Driver::Lagg(_) | Driver::Eiface { .. } => {
                ifnet.running = up
            }
            Driver::Loopback | Driver::Epair { .. } | Driver::Vlan(_) => {}
        }
        if up != was_running && self.lagg(id).is_some() {
            self.lagg_ports_up(id, up);
        }
        if up && !was {
            self.inet_interface_up(id);
            self.inet6_interface_up(id);
        } else if !up && was {
            self.inet_interface_down(id);
        }
    }

    /// SIOCSIFMTU: refused for members of a bridge, even with the value they have (recordings `02`, `14`).
    pub(crate) fn set_mtu(&mut self, id: IfId, mtu: u32) -> Result<(), Errno> {
        let ifnet = self.ifnet(id);
        if !(72..=65535).contains(&mtu) {
            return Err(Errno::EINVAL);
        }
        if ifnet.bridge.is_some() {
            return Err(Errno::EOPNOTSUPP);
        }
        if ifnet.lagg.is_some() {
            return Err(Errno::EINVAL);
        }
        match &ifnet.driver {
            Driver::Lagg(_) => {
                self.lagg_set_mtu(id, mtu);
                return Ok(());
            }
            Driver::Bridge(softc) if !softc.members.is_empty() => {
                return self.bridge_set_mtu(id, mtu);
            }
            Driver::Vlan(softc) => {
                if softc
                    .parent
                    .is_none_or(|parent| self.ifnet(parent).mtu < mtu)
                {
                    return Err(Errno::EINVAL);
                }
            }
            Driver::Eiface { .. } if mtu > EIFACE_MTU_MAX => return Err(Errno::EINVAL),
            Driver::Nic
            | Driver::Loopback
            | Driver::Epair { .. }
            | Driver::Bridge(_)
            | Driver::Eiface { .. } => {}
        }
        self.ifnet_mut(id).mtu = mtu;
        Ok(())
    }
}

impl Driver {
    /// The ND6 flags a fresh interface of this kind has (recordings `01`, `02`, `07`).
    fn initial_nd(&self) -> u32 {
        match self {
            Self::Loopback => nd::PERFORMNUD | nd::AUTO_LINKLOCAL,
            Self::Bridge(_) => nd::PERFORMNUD | nd::IFDISABLED,
            Self::Nic
            | Self::Epair { .. }
            | Self::Lagg(_)
            | Self::Vlan(_)
            | Self::Eiface { .. } => nd::PERFORMNUD | nd::IFDISABLED | nd::AUTO_LINKLOCAL,
        }
    }
}
