//! The two personalities of the emulated host, and every difference between them that other modules ask about.
//!
//! 15.1 is what the recordings show. 14.3 was not recorded: each answer below names the change in FreeBSD's source it rests on.

/// Which FreeBSD the emulated host runs; older releases compare as smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// 14.3-RELEASE, from its source only.
    V14_3,
    /// 15.1-RELEASE-p1, the release of the recordings.
    V15_1,
}

impl Release {
    /// `uname -r`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V14_3 => "14.3-RELEASE",
            Self::V15_1 => "15.1-RELEASE-p1",
        }
    }

    /// `kern.osreldate`.
    pub fn osreldate(self) -> u32 {
        match self {
            Self::V14_3 => 1_403_000,
            Self::V15_1 => 1_501_000,
        }
    }

    /// Whether jails have the `meta` and `env` parameters (sys/kern/kern_jailmeta.c, new in 15.0).
    pub fn has_jail_meta(self) -> bool {
        self >= Self::V15_1
    }

    /// Whether epair(4) takes its addresses from ether_gen_addr(9) (`net.link.epair.ether_gen_addr`, new in 15.0).
    pub fn generates_freebsd_macs_for_epairs(self) -> bool {
        self >= Self::V15_1
    }

    /// Whether epair(4) offers checksum offload and VLAN tagging (sys/net/if_epair.c, new in 15.0); before, `options=8<VLAN_MTU>`.
    pub fn epair_has_offloads(self) -> bool {
        self >= Self::V15_1
    }

    /// Whether bridges filter by VLAN and say so (sys/net/if_bridge.c, new in 15.0).
    pub fn has_bridge_vlan_filter(self) -> bool {
        self >= Self::V15_1
    }

    /// Whether the kernel hands sentences along with errno (sys/kern/sys_generic.c, exterror, new in 15.0).
    pub fn has_extended_errors(self) -> bool {
        self >= Self::V15_1
    }
}
