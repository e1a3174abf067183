//! What the emulated machine is made of: its NICs, disks and boot-time settings. Given once, to [`crate::Emulator::new`].

use std::net::Ipv4Addr;

/// A network card as it is found at boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// Driver name and unit: `vtnet0`, `igb0`.
    pub name: String,
    /// The burned-in MAC address.
    pub mac: [u8; 6],
    /// IPv4 addresses with prefix length that rc(8) put on it; a NIC that has one is up.
    pub inet: Vec<(Ipv4Addr, u8)>,
}

/// The machine and what its loader and rc.conf say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardwareProfile {
    /// `kern.hostname`.
    pub hostname: String,
    /// `kern.hostuuid`; all zeroes makes epair(4) and bridge(4) fall back to random MAC addresses (recordings `01`, `12`).
    pub hostuuid: String,
    /// The NICs in probe order.
    pub nics: Vec<Nic>,
    /// The IPv4 default gateway that rc(8) installed.
    pub default_gateway: Option<Ipv4Addr>,
    /// Names of the ZFS pools on its disks, each empty at the first boot.
    pub pools: Vec<String>,
    /// Whether the loader set `kern.racct.enable=1`.
    pub racct: bool,
    /// Seed of everything random: generated MAC addresses, creation times, pool identifiers.
    pub seed: u64,
}

impl HardwareProfile {
    /// The machine of the recordings: four virtio NICs, the first with 10.0.2.15/24 and a default route.
    pub fn recorded() -> Self {
        let nic = |n: u8, inet| Nic {
            name: format!("vtnet{n}"),
            mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56 + n],
            inet,
        };
        Self {
            hostname: "vm15".into(),
            hostuuid: "00000000-0000-0000-0000-000000000000".into(),
            nics: vec![
                nic(0, vec![(Ipv4Addr::new(10, 0, 2, 15), 24)]),
                nic(1, vec![]),
                nic(2, vec![]),
                nic(3, vec![]),
            ],
            default_gateway: Some(Ipv4Addr::new(10, 0, 2, 2)),
            pools: Vec::new(),
            racct: false,
            seed: 1,
        }
    }
}
