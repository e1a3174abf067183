//! Operations: everything that the agent can do to a host. Each is fully specific and idempotent, and says what the ledger must hold before it runs.
//!
//! `agent/freebsd` turns each into commands and reads the effect back. Nothing is decided there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::{Family, Mac};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

mod words;

use crate::firewall::JailFirewall;
use crate::guard::Guard;
use crate::image::RootMark;
use crate::isolation::Isolation;
use crate::ledger::{Owned, OwnedJail};
use crate::nic::NicState;
use crate::observed::AnchorReference;
use crate::observed::{EtherSettings, Member, Route, SwitchSettings};
use crate::render::jailconf::LOOPBACK;

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
        let steps = self.steps.iter().map(|step| {
            let guarded = if step.guard.is_some() {
                " (taken back unless a controller is reached after it)"
            } else {
                ""
            };
            format!("{:<12} {}{guarded}", step.subject.kind(), step.op)
        });
        let waiting = self.waiting.iter().map(|wait| {
            format!(
                "{:<12} waits ({}): {wait}",
                wait.subject.kind(),
                wait.reason
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

    /// The image with that digest.
    #[must_use]
    pub fn image(digest: &str) -> Self {
        Self::HostPart(format!("{IMAGE}{digest}"))
    }

    /// Whether it is an image, which is no part of the host's own well-being.
    #[must_use]
    pub fn is_image(&self) -> bool {
        matches!(self, Self::HostPart(words) if words.starts_with(IMAGE))
    }

    /// What all jails with that routing table need in it.
    #[must_use]
    pub fn table(fib: u16) -> Self {
        Self::HostPart(format!("routing table {fib}"))
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

/// How the words of an image begin.
const IMAGE: &str = "image ";

/// A flag of a member of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberFlag {
    /// It gets nothing from other private members.
    Private,
    /// It takes part in the spanning tree.
    Stp,
}

impl MemberFlag {
    /// The word of ifconfig(8).
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Stp => "stp",
        }
    }

    /// Whether a member has it.
    #[must_use]
    pub fn is_of(self, member: &Member) -> bool {
        let shown = match self {
            Self::Private => "PRIVATE",
            Self::Stp => "STP",
        };
        member.flags.contains(shown)
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
    /// The operation could cut the host off, and is taken back unless it is confirmed.
    pub guard: Option<Box<Guard>>,
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
    /// How long at most, in milliseconds; 0 if nobody can say.
    pub wait_ms_max: u64,
}

impl fmt::Display for Waiting {
    /// For what, and how long at most.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wait_ms_max == 0 {
            return f.write_str(&self.message);
        }
        let seconds = self.wait_ms_max.div_ceil(1_000);
        match seconds.div_ceil(60) {
            0..=2 => write!(f, "{} (at most {seconds} s)", self.message),
            minutes => write!(f, "{} (at most {minutes} min)", self.message),
        }
    }
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
    /// A lagg(4), named and marked, without ports, up.
    CreateLagg {
        /// Its name.
        name: String,
        /// Its mark.
        description: String,
    },
    /// `laggproto`, `lagghash`, `laggport` and `-laggport`: what of them is not so.
    SetLagg {
        /// The lagg.
        name: String,
        /// `laggproto`
        protocol: &'static str,
        /// `lagghash`; none: as it is.
        hash: Option<String>,
        /// Ports that it shall have, each up; the first is the one that `failover` prefers.
        ports: Vec<String>,
        /// Ports that it shall lose.
        remove: Vec<String>,
    },
    /// `-laggport`: a port leaves, and stays up, which it would not if its lagg were destroyed (`lagg_if_updown`, sys/net/if_lagg.c).
    RemovePort {
        /// The lagg.
        lagg: String,
        /// The port.
        port: String,
    },
    /// A vlan(4), named and marked, without a parent, up.
    CreateVlan {
        /// Its name.
        name: String,
        /// Its mark.
        description: String,
    },
    /// `vlan` and `vlandev`, where it stands.
    SetVlan {
        /// The vlan.
        name: String,
        /// The VLAN id.
        id: u16,
        /// The interface that carries it.
        parent: String,
    },
    /// `-vlandev`: the tag is free for another vlan.
    UnsetVlan {
        /// The vlan.
        name: String,
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
    /// An ng_bridge(4), named and persistent: it stays although nothing is connected to it.
    CreateSwitch {
        /// Its node's name.
        switch: String,
        /// Its configuration.
        settings: SwitchSettings,
    },
    /// `setconfig` on a switch of ours.
    SetSwitch {
        /// Its node's name.
        switch: String,
        /// Its configuration.
        settings: SwitchSettings,
    },
    /// Connects an interface's ng_ether(4) to a switch: `lower` to `link0`, `upper` to `link1`.
    ConnectUplink {
        /// The switch, by its node's name.
        switch: String,
        /// The interface.
        interface: String,
    },
    /// Disconnects an interface's ng_ether(4) from a switch.
    DisconnectUplink {
        /// The switch, by its node's name.
        switch: String,
        /// The interface.
        interface: String,
    },
    /// `setpromisc` and `setautosrc` on an interface's ng_ether(4).
    SetEther {
        /// The interface.
        interface: String,
        /// The settings.
        settings: EtherSettings,
    },
    /// An ng_eiface(4) at a switch, its node and its interface named, marked, with MAC address and MTU, still on the host.
    CreateEiface(Eiface),
    /// Connects the `ether` hook of an ng_eiface(4) that lost its switch.
    ConnectEiface {
        /// The node's name.
        node: String,
        /// The switch, by its node's name.
        switch: String,
        /// The switch's hook.
        hook: String,
    },
    /// Disconnects an ng_eiface(4) from a switch that is not its own.
    DisconnectEiface {
        /// The node's name.
        node: String,
    },
    /// `ngctl shutdown`: a switch of ours, or an ng_eiface(4), whose interface goes wherever it is.
    ShutdownNode {
        /// The node's name.
        node: String,
        /// Its type: `bridge` or `eiface`.
        kind: &'static str,
    },
    /// `private` or `-private`, `stp` or `-stp`
    SetMemberFlag {
        /// The bridge.
        bridge: String,
        /// The member.
        member: String,
        /// The flag.
        flag: MemberFlag,
        /// Which.
        on: bool,
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
    /// Adds a route to one of the host's routing tables but the first.
    AddTableRoute {
        /// The route.
        route: TableRoute,
    },
    /// Takes such a route away.
    RemoveTableRoute {
        /// The route.
        route: TableRoute,
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
    /// `jail -m`: changes parameters of a running jail, if the jail of that jid still has that name.
    SetJail {
        /// The jail's name.
        name: String,
        /// Its jid.
        jid: u32,
        /// Parameters and their values, as jls(8) prints them afterwards.
        parameters: BTreeMap<String, String>,
        /// Our mark, where jails have `meta` and it changes with them.
        mark: Option<String>,
    },
    /// `rctl -a`: a rule about a jail, as rctl(8) prints it.
    AddLimit {
        /// The rule.
        rule: String,
    },
    /// `rctl -r` of such a rule.
    RemoveLimit {
        /// The rule.
        rule: String,
    },
    /// `umount` of a mount of ours that a jail left behind.
    Unmount {
        /// Where.
        target: String,
    },
    /// `-vnet`: takes a NIC back out of a VNET jail, under `to`.
    ReturnNic {
        /// The jail's name.
        jail: String,
        /// Its jid.
        jid: u32,
        /// The NIC, by what no jail's root can change.
        nic: NicState,
        /// Its name inside, which the jail's root may have chosen.
        from: String,
        /// A name that nothing else has, inside or on the host.
        to: String,
    },
    /// Makes a NIC that came back from a jail what it was before.
    RestoreNic {
        /// Its name now.
        from: String,
        /// What it was.
        nic: NicState,
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
    /// Lets an interface inside a VNET jail have addresses and a default route by router advertisements, none of which is ever tentative.
    AcceptRtadvInVnet {
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
        /// The lines of each jail alone, where several may have some: if pf rejects the whole, it is asked whose they are.
        parts: BTreeMap<Uid, String>,
    },
    /// Loads an anchor of the pf of a VNET jail's own stack, likewise.
    LoadAnchorInVnet {
        /// The jail's name.
        jail: String,
        /// The anchor.
        anchor: String,
        /// The whole text.
        rules: String,
    },
    /// Has the pf of a VNET jail's own stack look into our anchors.
    RaiseInVnet {
        /// The jail's name.
        jail: String,
        /// The main ruleset, which has no rule, gets the line that refers to them.
        refer: bool,
        /// `pfctl -e`
        enable: bool,
    },
    /// Has pf.conf say something else, and the main ruleset that is in force refer to our anchors, or not. What else is in force stays, whatever pf.conf says.
    SetPfConf {
        /// Where it is.
        path: String,
        /// What it says now; none: there is none. Whoever has changed it since has his way.
        from: Option<String>,
        /// What it shall say; none: it goes.
        to: Option<String>,
        /// What the main ruleset shall be; none: it is not touched.
        main: Option<PfMain>,
        /// It is the way back: the main ruleset comes first, whatever there is about the file, and a file that somebody has changed since is his.
        back: bool,
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
        /// Pairs of an inner and an outer address whose states are somebody else's.
        except: BTreeSet<(IpAddr, IpAddr)>,
    },
    /// Copies a console log beside itself and empties it where it stands: daemons that have it open go on writing to it.
    RotateConsole {
        /// Its path.
        path: String,
    },
    /// Writes which storage it is, where that stands nowhere yet.
    MarkStorage {
        /// The storage.
        folder: String,
        /// Which it is.
        mark: String,
    },
    /// Fetches a tarball, checks its digest and its listing, and keeps it.
    FetchImage {
        /// The folder of the image.
        folder: String,
        /// Whose that is.
        mark: String,
        /// A path of the host or a URL.
        tarball: String,
        /// Its SHA-256.
        digest: String,
        /// The dataset that is mounted there; none: a plain directory.
        dataset: Option<String>,
    },
    /// Unpacks a tarball for the thin jails that share it.
    UnpackBase {
        /// The folder of the image.
        folder: String,
        /// Its SHA-256.
        digest: String,
        /// The dataset that is mounted there; none: a plain directory.
        dataset: Option<String>,
    },
    /// Makes the root of a jail.
    MakeRoot {
        /// The folder of the root.
        folder: String,
        /// Whose that is.
        mark: RootMark,
        /// The folder of the image.
        image: String,
        /// The folder is a clone of the image's, and has its base.
        cloned: bool,
        /// The dataset that is mounted there; none: a plain directory.
        dataset: Option<String>,
    },
    /// `zfs create -p`: a file system with our mark, mounted where those above it are.
    CreateDataset {
        /// Its name.
        name: String,
        /// Its mark.
        owner: String,
        /// Where it is mounted.
        folder: String,
    },
    /// `zfs snapshot` of an image that is whole, if its dataset is still this one.
    SnapshotDataset {
        /// The dataset.
        name: String,
        /// Its guid.
        guid: String,
        /// The snapshot's mark.
        owner: String,
    },
    /// `zfs clone -p` of the snapshot of an image, with our mark, mounted where those above it are.
    CloneDataset {
        /// Its name.
        name: String,
        /// Its mark.
        owner: String,
        /// Where it is mounted.
        folder: String,
        /// Of which snapshot.
        snapshot: String,
        /// The guid of that.
        guid: String,
    },
    /// `zfs destroy` of a dataset and of its snapshot of the whole image, if it is still this one, has our mark, and has nothing else below it, and nothing is mounted in it.
    DestroyDataset {
        /// Its name.
        name: String,
        /// Its guid.
        guid: String,
        /// Its mark.
        owner: String,
        /// Where it is mounted.
        folder: String,
        /// The guid of its snapshot of the whole image.
        whole: Option<String>,
    },
    /// Removes the root of a jail, if the mark beside it is this one and nothing is mounted below it.
    RemoveRoot {
        /// The folder of the root.
        folder: String,
        /// The Jail.
        jail: Uid,
        /// Its mark; none: the folder is empty.
        mark: Option<RootMark>,
    },
    /// Removes an image, if the mark beside it is this one and nothing is mounted from it.
    RemoveImage {
        /// The folder of the image.
        folder: String,
        /// Its digest.
        digest: String,
        /// Its mark; none: the folder is empty.
        mark: Option<String>,
    },
    /// Kills the states of connections between jails that must not reach each other, one by one, whoever's rule made them.
    KillBetween {
        /// The jails.
        isolation: Isolation,
    },
    /// Kills the states of connections that a jail's firewall does not permit, one by one, whoever's rule made them.
    KillUnpermitted {
        /// The VNET jail in whose own pf they are, by name; none: the host's.
        inside: Option<String>,
        /// The firewall.
        firewall: JailFirewall,
        /// Whether a rule that asks for the owner of a socket may be newer than a connection.
        fresh: bool,
    },
    /// `pfctl -k label -k label`: kills the states that rules with this label made. States of a redirect are found by no address inside (recording `09`).
    KillLabelled {
        /// The label.
        label: String,
    },
}

impl Op {
    /// The image or the jail whose part of the storage it works on: such work takes long, goes on beside everything else, and one comes after the other.
    #[must_use]
    pub fn storage_of(&self) -> Option<&str> {
        if let Self::FetchImage { digest, .. }
        | Self::UnpackBase { digest, .. }
        | Self::RemoveImage { digest, .. } = self
        {
            Some(digest)
        } else if let Self::MakeRoot { mark, .. } = self {
            Some(mark.jail.as_str())
        } else if let Self::RemoveRoot { jail, .. } = self {
            Some(jail.as_str())
        } else {
            None
        }
    }

    /// Whether the operation destroys something that cannot be made again as it was. Such a step runs only when two observations agree on it.
    #[must_use]
    pub fn is_irreversible(&self) -> bool {
        matches!(
            self,
            Self::DestroyInterface { .. }
                | Self::ShutdownNode { .. }
                | Self::StopJail { .. }
                | Self::ReturnNic { .. }
                | Self::Unmount { .. }
                | Self::RemoveAddress { .. }
                | Self::RemoveAddressInVnet { .. }
                | Self::RemoveRoute { .. }
                | Self::RemoveTableRoute { .. }
                | Self::RemoveFile { .. }
                | Self::RemoveRoot { .. }
                | Self::RemoveImage { .. }
                | Self::DestroyDataset { .. }
                // A pf.conf that is being written is not taken for the operator's.
                | Self::SetPfConf { .. }
        )
    }
}

/// What pf's main ruleset is to be: what is in force, with or without references to our anchors.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PfMain {
    /// The references to our anchors that it shall have.
    pub references: BTreeSet<AnchorReference>,
    /// What else is in force ([`crate::pf_conf::MainRuleset::digest`]): whoever has loaded something else since has his way.
    pub others: String,
}

/// A route in one of the host's routing tables (fibs).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableRoute {
    /// The table; the first, 0, for what other hosts have of networks that span hosts.
    pub fib: u16,
    /// Where it leads.
    pub destination: IpNet,
    /// Which way.
    pub via: Via,
}

impl TableRoute {
    /// Whether the route that stands there leads the same way.
    #[must_use]
    pub fn is(&self, present: &Route) -> bool {
        present.way().as_ref() == Some(&self.via)
    }
}

/// Which way a route leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Via {
    /// Straight to the link.
    Interface(String),
    /// To a router.
    Gateway(IpAddr),
}

impl Via {
    /// To the host itself.
    #[must_use]
    pub fn loopback() -> Self {
        Self::Interface(LOOPBACK.to_owned())
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(interface) => write!(f, "over {interface}"),
            Self::Gateway(gateway) => write!(f, "by {gateway}"),
        }
    }
}

/// An ng_eiface(4) to be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Eiface {
    /// Its node's name.
    pub node: String,
    /// The switch, by its node's name.
    pub switch: String,
    /// The switch's hook, `linkN`.
    pub hook: String,
    /// Its interface's name on the host.
    pub interface: String,
    /// Its interface's mark.
    pub description: String,
    /// Its MAC address.
    pub mac: Mac,
    /// Its MTU in octets.
    pub mtu: u32,
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
