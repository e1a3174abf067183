//! What stays on a host after everything of ours was deleted: the one list of it, which `jailctl host residue` prints and which tests compare hosts by.
//!
//! What somebody else may lean on by now, or what the kernel gives back to nobody, is left on purpose. Anything that is not on the list is taken away.

use std::fmt;

use crate::names::ANCHOR_ROOT;

/// One thing that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// Kernel modules that were loaded because a plan needed them.
    Modules(&'static [&'static str]),
    /// The value of a sysctl.
    Sysctl(&'static str),
    /// A pf anchor without rules, tables and anchors below it.
    EmptyAnchor(&'static str),
    /// Names that pf keeps.
    FormerInterfaces,
    /// What is in the agent's own folder, by name; its subfolder for jails is empty.
    Folder(&'static [&'static str]),
}

/// What stays, and why.
pub const RESIDUE: [(Stays, &str); 5] = [
    (
        // if_bridge brings bridgestp with it, if_lagg brings if_infiniband (`MODULE_DEPEND`, sys/net/if_bridge.c, if_lagg.c). File systems the kernel loads itself when they are mounted
        // (`vfs_byname_kld`, sys/kern/vfs_init.c), linprocfs and linsysfs with linux_common.
        Stays::Modules(&[
            "bridgestp",
            "fdescfs",
            "if_bridge",
            "if_epair",
            "if_infiniband",
            "if_lagg",
            "if_vlan",
            "linprocfs",
            "linsysfs",
            "linux_common",
            "netgraph",
            "ng_bridge",
            "ng_eiface",
            "ng_ether",
            "ng_socket",
            "nullfs",
            "pf",
        ]),
        "unloading a module that somebody else has begun to use would take it from them",
    ),
    (Stays::Sysctl("net.fibs"), "the kernel lets it grow only"),
    (
        Stays::EmptyAnchor(ANCHOR_ROOT),
        "it is there as long as lines of the operator's own in pf.conf refer to it",
    ),
    (
        Stays::FormerInterfaces,
        "pf may keep the name of a gone interface that states belonged to; it holds nothing",
    ),
    (
        Stays::Folder(&["host.key", "ledger.json", "agent.lock", "jails"]),
        "the host is known by the key; remove the folder with the agent",
    ),
];

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Modules(names) => write!(f, "loaded modules ({})", names.join(", ")),
            Self::Sysctl(name) => f.write_str(name),
            Self::EmptyAnchor(name) => write!(f, "the pf anchor `{name}`, empty"),
            Self::FormerInterfaces => {
                f.write_str("names of former interfaces in `pfctl -s Interfaces`")
            }
            Self::Folder(names) => write!(
                f,
                "the agent's own folder: its key, its ledger, its lock and an empty `jails` ({})",
                names.join(", ")
            ),
        }
    }
}
