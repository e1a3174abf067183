//! Cloned interfaces: which cloners exist, their units, creating and destroying (sys/net/if_clone.c, if_epair.c, if_loop.c).

use super::Kernel;
use super::bridge::BridgeSoftc;
use super::errno::Errno;
use super::ifnet::{Driver, IfId, Mac, NewIf};
use super::lagg::LaggSoftc;
use super::vlan::VlanSoftc;
use super::vnet::VnetId;

/// The cloners with the module that brings each; `lo` is always there.
pub(crate) const CLONERS: &[(&str, Option<&str>)] = &[
    ("lo", None),
    ("epair", Some("if_epair")),
    ("bridge", Some("if_bridge")),
    ("lagg", Some("if_lagg")),
    ("vlan", Some("if_vlan")),
];

impl Kernel {
    /// The unit asked for, or the lowest free one. A unit stays taken while its interface lives, whatever its name and stack.
    fn take_unit(
        &mut self,
        vnet: VnetId,
        cloner: &'static str,
        wanted: Option<u32>,
        suffix: &str,
    ) -> Result<u32, Errno> {
        let stack = self.vnet_mut(vnet);
        let names = &stack.names;
        let nameless = |unit: u32| !names.contains_key(&format!("{cloner}{unit}{suffix}"));
        let units = stack.units.entry(cloner).or_default();
        let unit = match wanted {
            Some(unit) if !units.is_used(unit) && nameless(unit) => unit,
            Some(_) => return Err(Errno::EEXIST),
            None => units.lowest_free(nameless),
        };
        units.take(unit);
        Ok(unit)
    }

    /// SIOCIFCREATE2: `name` is a cloner's name, with or without a unit. Returns the interface ("a" end of an epair).
    pub(crate) fn clone_create(&mut self, vnet: VnetId, name: &str) -> Result<IfId, Errno> {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let (stem, unit) = if stem.len() == name.len() {
            (name, None)
        } else {
            (stem, name[stem.len()..].parse::<u32>().ok())
        };
        let Some((cloner, module)) = CLONERS.iter().find(|(cloner, _)| *cloner == stem) else {
            return Err(Errno::EINVAL);
        };
        if let Some(module) = module {
            self.load_module(module);
        }
        match *cloner {
            "lo" => {
                let unit = self.take_unit(vnet, "lo", unit, "")?;
                Ok(self.attach_loopback(vnet, unit))
            }
            "epair" => self.create_epair(vnet, unit),
            "bridge" => {
                let unit = self.take_unit(vnet, "bridge", unit, "")?;
                let mac = self.generate_mac(&format!("bridge{unit}"), vnet);
                let driver = Driver::Bridge(BridgeSoftc::default());
                Ok(self.attach_cloned(vnet, "bridge", unit, driver, Some(mac)))
            }
            "lagg" => {
                let unit = self.take_unit(vnet, "lagg", unit, "")?;
                Ok(self.attach_cloned(
                    vnet,
                    "lagg",
                    unit,
                    Driver::Lagg(LaggSoftc::default()),
                    Some([0; 6]),
                ))
            }
            _ => {
                let unit = self.take_unit(vnet, "vlan", unit, "")?;
                Ok(self.attach_cloned(
                    vnet,
                    "vlan",
                    unit,
                    Driver::Vlan(VlanSoftc::default()),
                    Some([0; 6]),
                ))
            }
        }
    }

    pub(crate) fn attach_cloned(
        &mut self,
        vnet: VnetId,
        cloner: &'static str,
        unit: u32,
        driver: Driver,
        mac: Option<Mac>,
    ) -> IfId {
        self.attach(
            vnet,
            NewIf {
                name: format!("{cloner}{unit}"),
                cloner: Some((cloner, unit)),
                driver,
                mtu: 1500,
                mac,
                group: Some(cloner),
            },
        )
    }

    /// lo(4); the first of a stack is made with the stack.
    pub(crate) fn attach_loopback(&mut self, vnet: VnetId, unit: u32) -> IfId {
        self.vnet_mut(vnet)
            .units
            .entry("lo")
            .or_default()
            .take(unit);
        self.attach(
            vnet,
            NewIf {
                name: format!("lo{unit}"),
                cloner: Some(("lo", unit)),
                driver: Driver::Loopback,
                mtu: 16384,
                mac: None,
                group: Some("lo"),
            },
        )
    }

    fn create_epair(&mut self, vnet: VnetId, unit: Option<u32>) -> Result<IfId, Errno> {
        let unit = self.take_unit(vnet, "epair", unit, "a")?;
        let mut ends = [IfId(0); 2];
        for (end, side) in ends.iter_mut().zip(["a", "b"]) {
            let name = format!("epair{unit}{side}");
            let mac = self.generate_epair_mac(&name, side, vnet);
            let driver = Driver::Epair { peer: IfId(0) };
            *end = self.attach(
                vnet,
                NewIf {
                    name,
                    cloner: Some(("epair", unit)),
                    driver,
                    mtu: 1500,
                    mac: Some(mac),
                    group: Some("epair"),
                },
            );
        }
        for (end, peer) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            let ifnet = self.ifnet_mut(end);
            ifnet.driver = Driver::Epair { peer };
            ifnet.running = true;
        }
        Ok(ends[0])
    }

    /// SIOCIFDESTROY. Either end of an epair takes the other with it, wherever that is.
    pub(crate) fn clone_destroy(&mut self, id: IfId) -> Result<(), Errno> {
        let ifnet = self.ifnet(id);
        match &ifnet.driver {
            Driver::Nic | Driver::Eiface { .. } => Err(Errno::EINVAL),
            Driver::Loopback if ifnet.name == "lo0" => Err(Errno::EINVAL),
            Driver::Epair { peer } => {
                let peer = *peer;
                self.connections_lose_interface(id);
                self.connections_lose_interface(peer);
                self.detach(id);
                self.detach(peer);
                Ok(())
            }
            Driver::Bridge(softc) => {
                for member in softc.member_ids() {
                    self.bridge_drop_member(id, member);
                }
                self.detach(id);
                Ok(())
            }
            Driver::Lagg(_) => {
                self.lagg_release(id);
                self.detach(id);
                Ok(())
            }
            Driver::Loopback | Driver::Vlan(_) => {
                self.detach(id);
                Ok(())
            }
        }
    }

    /// ether_gen_addr(9): from the host's uuid, or random when that is zero (sys/net/if_ethersubr.c). The digest is not SHA-1:
    /// which sixteen bits come out is nobody's contract, and the recordings mask them.
    pub(crate) fn generate_mac(&mut self, name: &str, vnet: VnetId) -> Mac {
        if self
            .hostuuid
            .bytes()
            .all(|byte| matches!(byte, b'0' | b'-'))
        {
            let bits = self.random();
            let b = bits.to_be_bytes();
            return [(b[0] & 0xfe) | 0x02, b[1], b[2], b[3], b[4], b[5]];
        }
        let mut hash: u32 = 0x811c_9dc5;
        for byte in format!("{}-{name}-{}", self.hostuuid, vnet.0).bytes() {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
        let [_, _, hi, lo] = hash.to_be_bytes();
        [0x58, 0x9c, 0xfc, 0x10, hi, lo]
    }

    /// Before 15.0 an epair's addresses were `02:` and a hash, ending in `0a` and `0b` (sys/net/if_epair.c, `epair_generate_mac`).
    fn generate_epair_mac(&mut self, name: &str, side: &str, vnet: VnetId) -> Mac {
        if self.release.generates_freebsd_macs_for_epairs() {
            return self.generate_mac(name, vnet);
        }
        let b = self.random().to_be_bytes();
        [
            0x02,
            b[1],
            b[2],
            b[3],
            b[4],
            if side == "a" { 0x0a } else { 0x0b },
        ]
    }
}
