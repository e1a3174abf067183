//! The model of the kernel: everything that a reboot takes away.
//!
//! One file per object: its state, what it refuses, and what hangs on it. Programs (`crate::cmd`) turn argv into calls here and the
//! answers into text; nothing below this module knows how FreeBSD spells a message, except where the kernel itself supplies it.

pub(crate) mod addr;
pub(crate) mod bridge;
pub(crate) mod devfs;
pub(crate) mod epair;
pub(crate) mod errno;
pub(crate) mod ifnet;
pub(crate) mod jail;
pub(crate) mod kld;
pub(crate) mod lagg;
pub(crate) mod mount;
pub(crate) mod netgraph;
pub(crate) mod process;
pub(crate) mod rctl;
pub(crate) mod route;
pub(crate) mod sysctl;
pub(crate) mod timer;
pub(crate) mod units;
pub(crate) mod vlan;
pub(crate) mod vnet;
pub(crate) mod zfs;

mod fingerprint;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::hardware::HardwareProfile;
use crate::release::Release;
use ifnet::{Driver, IfId, IfTable, NewIf};
use jail::JailTable;
use mount::Mount;
use process::{Connection, Process};
use rctl::Rule;
use route::{Family, Gateway, RouteKey, rtf};
use timer::Timer;
use vnet::{HOST, Vnet, VnetId};
use zfs::Zfs;

/// The state of the emulated kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Which FreeBSD this is.
    pub release: Release,
    /// Virtual time since the host was made; a reboot does not set it back.
    pub now: Duration,
    pub(crate) booted_at: Duration,
    /// Words that this release's pfctl(8) does not know: a text with one in it, for the host's own pf, is a syntax error. A test says which.
    pub pf_lacks: BTreeSet<String>,
    /// Whether what goes between the stack of a failover lagg and the other links of a netgraph switch at it is lost, as an article found on 13.0; 15.1 does not (recording `14`). A test says so.
    pub failover_is_deaf: bool,
    /// Whose MAC address a stack has asked for.
    pub(crate) neighbours: BTreeSet<(VnetId, IpAddr)>,
    pub(crate) hostname: String,
    pub(crate) hostuuid: String,
    pub(crate) racct: bool,
    pub(crate) ifs: IfTable,
    pub(crate) vnets: BTreeMap<VnetId, Vnet>,
    pub(crate) jails: JailTable,
    pub(crate) modules: Vec<String>,
    /// Modules that this host does not have in /boot/kernel. A test says so.
    pub modules_missing: BTreeSet<String>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) sysctls: BTreeMap<&'static str, String>,
    pub(crate) zfs: Zfs,
    pub(crate) rctl: Vec<Rule>,
    pub(crate) devfs: devfs::Rulesets,
    pub(crate) inet6_holders: BTreeMap<Ipv6Addr, BTreeSet<IfId>>,
    pub(crate) processes: BTreeMap<u32, Process>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) timers: BTreeMap<(Duration, u64), Timer>,
    pub(crate) timer_sequence: u64,
    pub(crate) last_pid: u32,
    pub(crate) next_vnet: u32,
    random_state: u64,
}

/// The Unix time at which the virtual clock stood at zero; any fixed moment would do.
const EPOCH_S: u64 = 1_795_300_000;

/// How long a host takes from the start of its kernel to the end of rc(8).
const BOOT_TIME: Duration = Duration::from_secs(7);

impl Kernel {
    /// The kernel of a host that has just booted.
    pub fn boot(release: Release, hardware: &HardwareProfile, now: Duration) -> Self {
        let mut kernel = Self {
            release,
            now,
            booted_at: now,
            pf_lacks: BTreeSet::new(),
            failover_is_deaf: false,
            neighbours: BTreeSet::new(),
            hostname: hardware.hostname.clone(),
            hostuuid: hardware.hostuuid.clone(),
            racct: hardware.racct,
            ifs: IfTable::default(),
            vnets: BTreeMap::new(),
            jails: JailTable::default(),
            modules: Vec::new(),
            modules_missing: BTreeSet::new(),
            mounts: Self::boot_mounts(),
            sysctls: BTreeMap::new(),
            zfs: Zfs::default(),
            rctl: Vec::new(),
            devfs: BTreeMap::new(),
            inet6_holders: BTreeMap::new(),
            processes: BTreeMap::new(),
            connections: Vec::new(),
            timers: BTreeMap::new(),
            timer_sequence: 0,
            last_pid: 100,
            next_vnet: 0,
            random_state: hardware.seed
                ^ (now.as_millis() as u64).rotate_left(32)
                ^ 0x9e37_79b9_7f4a_7c15,
        };
        let host = kernel.allocate_vnet();
        debug_assert_eq!(host, HOST, "the first stack is the host's");
        kernel.attach_hardware(hardware);
        kernel.advance(BOOT_TIME);
        kernel
    }

    /// The kernel after the plug was pulled: only what stands on disks is left.
    pub fn reboot(&self, hardware: &HardwareProfile) -> Self {
        let mut kernel = Self::boot(self.release, hardware, self.now);
        kernel.modules_missing.clone_from(&self.modules_missing);
        kernel.zfs = self.zfs.clone().reboot();
        kernel
    }

    fn attach_hardware(&mut self, hardware: &HardwareProfile) {
        let mut cards = Vec::new();
        for nic in &hardware.nics {
            cards.push(self.attach(
                HOST,
                NewIf {
                    name: nic.name.clone(),
                    cloner: None,
                    driver: Driver::Nic,
                    mtu: 1500,
                    mac: Some(nic.mac),
                    group: None,
                },
            ));
        }
        let loopback = self.attach_loopback(HOST, 0);
        self.vnet_mut(HOST).loopback = loopback;
        // rc(8) starts with lo0; nothing is there yet that these could clash with.
        let _ = self.add_inet(loopback, std::net::Ipv4Addr::LOCALHOST, 8, None);
        for (id, nic) in cards.into_iter().zip(&hardware.nics) {
            for (address, prefix) in &nic.inet {
                let _ = self.add_inet(id, *address, *prefix, None);
            }
        }
        if let Some(gateway) = hardware.default_gateway {
            let _ = self.route_add(
                HOST,
                0,
                RouteKey::new(Family::Inet, 0, 0),
                Gateway::Address(IpAddr::V4(gateway)),
                None,
                rtf::GATEWAY | rtf::STATIC,
            );
        }
    }

    /// Seconds of the Unix epoch at boot.
    pub(crate) fn boot_epoch_s(&self) -> u64 {
        EPOCH_S + self.booted_at.as_secs()
    }

    /// Seconds of the Unix epoch now.
    pub(crate) fn epoch_s(&self) -> u64 {
        EPOCH_S + self.now.as_secs()
    }

    /// The next number of a seeded sequence (SplitMix64): MAC addresses and identifiers.
    pub(crate) fn random(&mut self) -> u64 {
        self.random_state = self.random_state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random_state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
