//! Operations: everything that the agent can do to a host. Each is fully specific and idempotent, and says what the ledger must hold before it runs.
//!
//! `agent/freebsd` turns each into commands and reads the effect back. Nothing is decided there.

use std::net::IpAddr;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::{Family, Mac};
use ipnet::IpNet;
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

    /// The plan in words, a line each, as a report says it (`pending_plan`).
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let steps = self
            .steps
            .iter()
            .map(|step| format!("{:<12} {}", step.subject.kind(), step.op));
        let waiting = self.waiting.iter().map(|wait| {
            format!(
                "{:<12} waits ({}): {}",
                wait.subject.kind(),
                wait.reason,
                wait.message
            )
        });
        let blocked = self.blocked.iter().map(|block| {
            format!(
                "{:<12} blocked ({}): {}",
                block.subject.kind(),
                block.reason,
                block.message
            )
        });
        steps.chain(waiting).chain(blocked).collect()
    }
}

/// Whom a step, a wait or a block concerns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    /// The host as a whole.
    Host,
    /// One thing of the host that stands for itself, in words: an anchor, an address, a sysctl. A failure of one keeps no other from going on.
    HostPart(String),
    /// A network on this host, by uid.
    Network(Uid),
    /// A jail, by uid.
    Jail(Uid),
}

impl Subject {
    /// The pf anchor of that name.
    #[must_use]
    pub fn anchor(name: &str) -> Self {
        Self::HostPart(format!("anchor {name}"))
    }

    /// The sysctl of that name.
    #[must_use]
    pub fn sysctl(oid: &str) -> Self {
        Self::HostPart(format!("sysctl {oid}"))
    }

    /// The address on an interface of the host.
    #[must_use]
    pub fn address(interface: &str, address: IpAddr) -> Self {
        Self::HostPart(format!("address {address} of {interface}"))
    }

    /// `host`, `network` or `jail`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Host | Self::HostPart(_) => "host",
            Self::Network(_) => "network",
            Self::Jail(_) => "jail",
        }
    }
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// `inet6 ifdisabled` on an interface of the host, after our last IPv6 address is gone from it.
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
    /// A route of the host to a jail's address, over the host end of its link.
    AddRoute {
        /// The jail's address.
        destination: IpAddr,
        /// The host end.
        interface: String,
    },
    /// Takes such a route away.
    RemoveRoute {
        /// The jail's address.
        destination: IpAddr,
        /// The host end.
        interface: String,
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
        /// Why it is started again after that, in words; none: it is not.
        restart: Option<String>,
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
    /// Takes an address off an interface inside a VNET jail.
    RemoveAddressInVnet {
        /// The jail's name.
        jail: String,
        /// The interface.
        interface: String,
        /// The address.
        address: IpAddr,
        /// Its prefix length.
        prefix_length: u8,
    },
    /// Sets the MTU of an interface inside a VNET jail.
    SetMtuInVnet {
        /// The jail's name.
        jail: String,
        /// The interface.
        interface: String,
        /// In octets.
        mtu: u32,
    },
    /// `up` inside a VNET jail.
    UpInVnet {
        /// The jail's name.
        jail: String,
        /// The interface.
        interface: String,
    },
    /// A route inside a VNET jail to an address that is on the link though no prefix of the interface covers it: the gateway of an unnumbered link.
    AddLinkRouteInVnet {
        /// The jail's name.
        jail: String,
        /// The address.
        destination: IpAddr,
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
        /// The interface of a link-local gateway.
        scope: Option<String>,
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
    /// `pfctl -k address`: kills the states that come from an address which is going away.
    KillStates {
        /// The address.
        address: IpAddr,
    },
    /// Kills the states of a NAT that is gone, one by one: no command of pfctl(8) finds them by their inner source (recording `15`).
    KillTranslated {
        /// The prefix that was translated.
        from: IpNet,
        /// The address outside that it was translated to; none: any.
        to: Option<IpAddr>,
    },
    /// Copies a console log beside itself and empties it where it stands: daemons that have it open go on writing to it.
    RotateConsole {
        /// Its path.
        path: String,
    },
    /// Kills the states that have two of these addresses at their ends, and no others.
    KillStatesAmong {
        /// Addresses of jails that must not reach each other any more.
        addresses: Vec<IpAddr>,
    },
    /// `pfctl -k label -k label`: kills the states that rules with this label made. States of a redirect are found by no address inside (recording `09`).
    KillLabelled {
        /// The label.
        label: String,
    },
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LoadModule { module } => write!(f, "load module {module}"),
            Self::SetSysctl { oid, value } => write!(f, "set sysctl {oid}={value}"),
            Self::CreateLoopback { name, description } => {
                write!(f, "create loopback {name} ({description})")
            }
            Self::CreateBridge {
                name,
                description,
                mac,
            } => write!(f, "create bridge {name} {mac} ({description})"),
            Self::SetMac { interface, mac } => write!(f, "set MAC address of {interface} to {mac}"),
            Self::SetMtu { interface, mtu } => write!(f, "set MTU of {interface} to {mtu}"),
            Self::CreateEpair(epair) => write!(
                f,
                "create epair {} {} / {} {} mtu {} ({})",
                epair.host_end,
                epair.host_mac,
                epair.jail_end,
                epair.jail_mac,
                epair.mtu,
                epair.host_description
            ),
            Self::AddMember { bridge, member } => write!(f, "add {member} to bridge {bridge}"),
            Self::RemoveMember { bridge, member } => {
                write!(f, "take {member} out of bridge {bridge}")
            }
            Self::SetPrivate {
                bridge,
                member,
                private,
            } => {
                write!(
                    f,
                    "make {member} {} in bridge {bridge}",
                    if *private { "private" } else { "not private" }
                )
            }
            Self::SetUp { interface, up } => {
                write!(f, "bring {interface} {}", if *up { "up" } else { "down" })
            }
            Self::DisableInet6 { interface } => write!(f, "disable IPv6 on {interface} again"),
            Self::AddAddress {
                interface,
                address,
                prefix_length,
                ..
            } => {
                write!(f, "add {address}/{prefix_length} to {interface}")
            }
            Self::RemoveAddress {
                interface,
                address,
                prefix_length,
            } => {
                write!(f, "remove {address}/{prefix_length} from {interface}")
            }
            Self::AddRoute {
                destination,
                interface,
            } => write!(f, "add route to {destination} over {interface}"),
            Self::RemoveRoute {
                destination,
                interface,
            } => write!(f, "remove route to {destination} over {interface}"),
            Self::DestroyInterface { name, description } => {
                write!(f, "destroy {name} ({description})")
            }
            Self::WriteFile { path, .. } => write!(f, "write {path}"),
            Self::RemoveFile { path } => write!(f, "remove {path}"),
            Self::StartJail { name, conf } => write!(f, "start jail {name} ({conf})"),
            Self::StopJail {
                name,
                jid,
                restart: Some(cause),
                ..
            } => write!(f, "stop jail {name} (jid {jid}) to start it again: {cause}"),
            Self::StopJail { name, jid, .. } => write!(f, "stop jail {name} (jid {jid})"),
            Self::Unmount { target } => write!(f, "unmount {target}"),
            Self::MoveToVnet { interface, jail } => write!(f, "move {interface} into jail {jail}"),
            Self::RenameInVnet { jail, from, to } => {
                write!(f, "in jail {jail}: rename {from} to {to}")
            }
            Self::AddAddressInVnet {
                jail,
                interface,
                address,
                prefix_length,
            } => {
                write!(
                    f,
                    "in jail {jail}: add {address}/{prefix_length} to {interface}"
                )
            }
            Self::RemoveAddressInVnet {
                jail,
                interface,
                address,
                prefix_length,
            } => {
                write!(
                    f,
                    "in jail {jail}: remove {address}/{prefix_length} from {interface}"
                )
            }
            Self::SetMtuInVnet {
                jail,
                interface,
                mtu,
            } => write!(f, "in jail {jail}: set the MTU of {interface} to {mtu}"),
            Self::UpInVnet { jail, interface } => write!(f, "in jail {jail}: bring {interface} up"),
            Self::AddLinkRouteInVnet {
                jail,
                destination,
                interface,
            } => write!(
                f,
                "in jail {jail}: add route to {destination} over {interface}"
            ),
            Self::SetDefaultRouteInVnet {
                jail,
                family,
                gateway,
                replace,
                ..
            } => write!(
                f,
                "in jail {jail}: {} {} default route to {gateway}",
                if *replace { "change" } else { "add" },
                family.keyword()
            ),
            Self::LoadAnchor { anchor, rules } => write!(
                f,
                "load pf anchor {anchor} ({} rules)",
                rules.lines().count()
            ),
            Self::ClearAnchor { anchor } => write!(f, "clear pf anchor {anchor}"),
            Self::KillStates { address } => write!(f, "kill states of {address}"),
            Self::KillTranslated { from, to: None } => {
                write!(f, "kill states translated from {from}")
            }
            Self::KillTranslated { from, to: Some(to) } => {
                write!(f, "kill states translated from {from} to {to}")
            }
            Self::RotateConsole { path } => write!(f, "rotate {path}"),
            Self::KillStatesAmong { addresses } => {
                let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
                write!(f, "kill states between {}", addresses.join(", "))
            }
            Self::KillLabelled { label } => write!(f, "kill states labelled {label}"),
        }
    }
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
                | Self::RemoveAddressInVnet { .. }
                | Self::RemoveRoute { .. }
                | Self::RemoveFile { .. }
        )
    }
}

/// An epair(4) to be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
