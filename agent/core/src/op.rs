//! Operations: everything that the agent can do to a host. Each is fully specific and idempotent, and says what the ledger must hold before it runs.
//!
//! `agent/freebsd` turns each into commands and reads the effect back. Nothing is decided there.

use std::net::IpAddr;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::{Family, Mac};
use serde::{Deserialize, Serialize};

use crate::ledger::{Owned, OwnedJail};

/// What to do next, why not more, and for what reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// What will be possible by itself, later.
    pub waiting: Vec<Waiting>,
    /// What is not possible as things are.
    pub blocked: Vec<Blocked>,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// Whom a step, a wait or a block concerns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    /// The host as a whole.
    Host,
    /// A network on this host, by uid.
    Network(Uid),
    /// A jail, by uid.
    Jail(Uid),
}

/// One operation and whom it concerns. When it fails, later steps of the same subject, and of jails on the same failed network, are left out of this round.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Whom it concerns.
    pub subject: Subject,
    /// Subjects that must not have failed earlier in this round.
    pub needs: Vec<Subject>,
    /// What the ledger must hold, synced, before the operation runs.
    pub record: Vec<Record>,
    /// The operation.
    pub op: Op,
    /// What the ledger may forget once the operation has succeeded.
    pub forget: Vec<Record>,
}

/// One entry of the ledger to be written or forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A thing without a mark.
    Owned(Owned),
    /// A jail.
    Jail(Uid, OwnedJail),
}

/// Something that becomes possible by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Whom it concerns.
    pub subject: Subject,
    /// A CamelCase code from the documented list.
    pub reason: &'static str,
    /// For what, in words.
    pub message: String,
    /// How long at most, in milliseconds.
    pub wait_ms_max: u64,
}

/// Something that is not possible as things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Whom it concerns.
    pub subject: Subject,
    /// A CamelCase code from the documented list.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// `kldload -n`
    LoadModule {
        /// The module.
        module: String,
    },
    /// `sysctl oid=value`
    SetSysctl {
        /// The oid.
        oid: String,
        /// The value.
        value: String,
    },
    /// A cloned lo(4), named and marked.
    CreateLoopback {
        /// Its name.
        name: String,
        /// Its mark.
        description: String,
    },
    /// An if_bridge(4), named and marked, with its own MAC address, up.
    CreateBridge {
        /// Its name.
        name: String,
        /// Its mark.
        description: String,
        /// Its MAC address.
        mac: Mac,
    },
    /// Sets the MAC address of a bridge of ours that drifted.
    SetMac {
        /// The interface.
        interface: String,
        /// The MAC address.
        mac: Mac,
    },
    /// Sets the MTU of an interface that is no member of a bridge.
    SetMtu {
        /// The interface.
        interface: String,
        /// In octets.
        mtu: u32,
    },
    /// An epair(4), both ends named, marked, with MAC address and MTU, both still on the host, host end up.
    CreateEpair(Epair),
    /// `addm`
    AddMember {
        /// The bridge.
        bridge: String,
        /// The member.
        member: String,
    },
    /// `deletem`
    RemoveMember {
        /// The bridge.
        bridge: String,
        /// The member.
        member: String,
    },
    /// `private` or `-private`
    SetPrivate {
        /// The bridge.
        bridge: String,
        /// The member.
        member: String,
        /// Which.
        private: bool,
    },
    /// `up` or `down`
    SetUp {
        /// The interface.
        interface: String,
        /// Which.
        up: bool,
    },
    /// `inet6 ifdisabled` on an interface of the host, after our last IPv6 address is gone from it, together with the link-local address that the kernel added.
    DisableInet6 {
        /// The interface.
        interface: String,
    },
    /// Puts an address on an interface of the host.
    AddAddress {
        /// The interface.
        interface: String,
        /// The address.
        address: IpAddr,
        /// Its prefix length.
        prefix_length: u8,
        /// `no_dad` (IPv6): only on interfaces of our own, because it is a property of the interface (recording `03`).
        no_dad: bool,
    },
    /// Takes an address off an interface of the host.
    RemoveAddress {
        /// The interface.
        interface: String,
        /// The address.
        address: IpAddr,
        /// Its prefix length.
        prefix_length: u8,
    },
    /// Destroys an interface of ours, if it still carries exactly this description.
    DestroyInterface {
        /// The interface.
        name: String,
        /// The description that was observed.
        description: String,
    },
    /// Writes a file below the agent's folder, whole and synced.
    WriteFile {
        /// Its path.
        path: String,
        /// Its content.
        content: String,
    },
    /// Removes a file below the agent's folder.
    RemoveFile {
        /// Its path.
        path: String,
    },
    /// `jail -f conf -c name`
    StartJail {
        /// The jail's name.
        name: String,
        /// The jail.conf.
        conf: String,
    },
    /// `jail -f conf -r name`, if the jail of that jid still has that name; `-R` where `conf` is absent.
    StopJail {
        /// The jail's name.
        name: String,
        /// Its jid.
        jid: u32,
        /// The jail.conf that it was started with.
        conf: Option<String>,
    },
    /// `umount` of a mount of ours that a jail left behind.
    Unmount {
        /// Where.
        target: String,
    },
    /// Moves an interface of the host into a VNET jail.
    MoveToVnet {
        /// The interface.
        interface: String,
        /// The jail's name.
        jail: String,
    },
    /// Renames an interface inside a VNET jail.
    RenameInVnet {
        /// The jail's name.
        jail: String,
        /// Its name now.
        from: String,
        /// Its name then.
        to: String,
    },
    /// Puts an address on an interface inside a VNET jail, and the interface up.
    AddAddressInVnet {
        /// The jail's name.
        jail: String,
        /// The interface.
        interface: String,
        /// The address.
        address: IpAddr,
        /// Its prefix length.
        prefix_length: u8,
    },
    /// `up` inside a VNET jail.
    UpInVnet {
        /// The jail's name.
        jail: String,
        /// The interface.
        interface: String,
    },
    /// A default route inside a VNET jail; replaces another one of the same family.
    SetDefaultRouteInVnet {
        /// The jail's name.
        jail: String,
        /// The family.
        family: Family,
        /// The gateway.
        gateway: IpAddr,
        /// A default route to another gateway is there now.
        replace: bool,
    },
    /// Loads an anchor as one transaction, after `pfctl -n` accepted it.
    LoadAnchor {
        /// The anchor.
        anchor: String,
        /// The whole text, tables with their members included.
        rules: String,
    },
    /// Empties an anchor: rules, translations, tables.
    ClearAnchor {
        /// The anchor.
        anchor: String,
    },
    /// Kills states that a removed address left.
    KillStates {
        /// The address.
        address: IpAddr,
    },
}

impl Op {
    /// Whether the operation destroys something that cannot be made again as it was. Such a step runs only when two observations agree on it.
    #[must_use]
    pub fn is_irreversible(&self) -> bool {
        matches!(
            self,
            Self::DestroyInterface { .. }
                | Self::StopJail { .. }
                | Self::Unmount { .. }
                | Self::RemoveAddress { .. }
                | Self::RemoveFile { .. }
        )
    }
}

/// An epair(4) to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epair {
    /// The host end's name.
    pub host_end: String,
    /// The host end's mark.
    pub host_description: String,
    /// The host end's MAC address.
    pub host_mac: Mac,
    /// The jail end's name while it is on the host.
    pub jail_end: String,
    /// The jail end's mark.
    pub jail_description: String,
    /// The jail end's MAC address.
    pub jail_mac: Mac,
    /// The MTU of both ends in octets.
    pub mtu: u32,
}
