//! What was observed of a host in one look. Everything here was printed by the kernel's own tools; nothing is remembered, nothing is guessed.
//!
//! What could not be observed is not absent: `agent/freebsd` returns an error then, and nothing is planned from half a look.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_schemas::host::HostFacts;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::{Family, Mac};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::image::RootMark;
use crate::op::Via;
use crate::probe::Health;
use crate::words::Words;

/// One look at a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Changes with every boot (`kern.boottime`).
    pub boot_id: String,
    /// What the machine is and can do, for the report.
    pub facts: HostFacts,
    /// The host's interfaces in the kernel's order. Two may have one name (recording `12`), so this is no map.
    pub interfaces: Vec<Interface>,
    /// Every jail, dying ones too.
    pub jails: Vec<ObservedJail>,
    /// Jails by name that an earlier operation is still `starting` or `stopping`: their hooks run, and nothing may be done to them until they have ended.
    #[serde(default)]
    pub busy: BTreeMap<String, String>,
    /// What stands inside the VNET jails that are alive, by jid. Hostile input: a jail's root can make it say anything.
    pub vnets: BTreeMap<u32, Vnet>,
    /// The host's routes, by fib.
    pub routes: BTreeMap<u16, Vec<Route>>,
    /// Every mount, in the kernel's order.
    pub mounts: Vec<ObservedMount>,
    /// The packet filter.
    pub pf: Pf,
    /// pf.conf, where it is managed, or still is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pf_conf: Option<PfConf>,
    /// Jails that the host has tried to reach ([`crate::host::Wanted::neighbours`]): one of each network and family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<Neighbour>,
    /// The host's netgraph; nothing while the kernel has neither ng_bridge nor ng_eiface, because asking would load ng_socket.
    #[serde(default)]
    pub netgraph: Netgraph,
    /// Modules and features present: names of `kldstat -m`, as far as asked.
    pub modules: BTreeSet<String>,
    /// The sysctls that were asked for; none: the oid does not exist.
    pub sysctls: BTreeMap<String, Option<String>>,
    /// The numbers of the devfs rulesets that are there (`devfs rule showsets`), without those that were asked for and have no rules.
    pub devfs_rulesets: BTreeSet<u32>,
    /// Those among them, as far as asked, that hide /dev/pf.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hides_pf: BTreeSet<u32>,
    /// Parameters that this kernel's jails know (`sysctl -N security.jail.param`, without the prefix).
    pub jail_parameters: BTreeSet<String>,
    /// Files below the agent's folder, by path, with their content; console logs, which jail(8) writes there, with none.
    pub files: BTreeMap<String, String>,
    /// Directories of the host that were asked for.
    pub directories: BTreeMap<String, Directory>,
    /// The sizes of the console logs among the files, in octets.
    #[serde(default)]
    pub consoles: BTreeMap<String, u64>,
    /// The rules of rctl(8) about jails, as it prints them; none where nobody asked, or resources are not accounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<BTreeSet<String>>,
    /// The host's numbers of names that were asked for.
    #[serde(default, skip_serializing_if = "Numbers::is_empty")]
    pub numbers: Numbers,
    /// Images, and roots made of them, where they were asked for and their folder is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// What zfs(8) says of the dataset that the storage is, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zfs: Option<Zfs>,
    /// What the probes of jails have come to. They are made beside the looks; [`crate::pass`] puts it here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub health: BTreeMap<Uid, Health>,
}

/// The folder of images and of roots made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Its path without symbolic links.
    pub path: String,
    /// What stands in the folder of images, by name.
    #[serde(default)]
    pub images: BTreeMap<String, ImageFolder>,
    /// What stands in the folder of roots, by name.
    #[serde(default)]
    pub roots: BTreeMap<String, RootFolder>,
    /// What its file says by which it is known; none: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// Why nothing is known of what stands in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
    /// Folders of images and roots of which nothing is known, by name, with why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unknown: BTreeMap<String, String>,
    /// What is being fetched, unpacked or removed there now, and how far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<StorageWork>,
}

/// One folder of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageFolder {
    /// What its mark says; none: it has none.
    pub mark: Option<String>,
    /// What stands in it.
    pub entries: BTreeSet<String>,
    /// What its file `refused` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// One folder of a jail's root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootFolder {
    /// What its mark says; none: it has none that can be read.
    pub mark: Option<String>,
    /// What stands in it.
    pub entries: BTreeSet<String>,
}

impl RootFolder {
    /// What its mark says, if it is one.
    #[must_use]
    pub fn owner(&self) -> Option<RootMark> {
        self.mark.as_deref().and_then(RootMark::parse)
    }
}

/// A dataset, what stands below it, and its pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Zfs {
    /// Its pool; none: the host has none of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// The dataset and everything below it, by name, snapshots among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub datasets: BTreeMap<String, Dataset>,
    /// Why nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

impl Zfs {
    /// What stands below a dataset, snapshots of it among them.
    pub fn below<'z>(&'z self, name: &'z str) -> impl Iterator<Item = (&'z str, &'z Dataset)> {
        let near = self.datasets.range(name.to_owned()..);
        let near = near.map_while(move |(found, dataset)| {
            let rest = found.strip_prefix(name)?;
            Some((found.as_str(), dataset, rest))
        });
        near.filter(|(_, _, rest)| rest.starts_with(['/', '@']))
            .map(|(found, dataset, _)| (found, dataset))
    }

    /// What the dataset with that guid is called.
    #[must_use]
    pub fn named(&self, guid: &str) -> Option<&str> {
        let mut datasets = self.datasets.iter();
        let found = datasets.find(|(_, dataset)| dataset.guid == guid);
        found.map(|(name, _)| name.as_str())
    }
}

/// A ZFS pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// `ONLINE`, `DEGRADED` …
    pub health: String,
    /// It was imported for reading alone.
    #[serde(default)]
    pub read_only: bool,
}

impl Pool {
    /// Whether its datasets can be used.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(self.health.as_str(), "ONLINE" | "DEGRADED")
    }
}

/// A ZFS file system, snapshot or volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dataset {
    /// `guid`: the same for ever, whatever it is called.
    pub guid: String,
    /// `type`: `filesystem`, `snapshot`, `volume`.
    pub kind: String,
    /// `mounted`
    #[serde(default)]
    pub mounted: bool,
    /// `readonly`
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// `mountpoint`: a path, `none` or `legacy`; empty for what has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mountpoint: String,
    /// `origin`: the snapshot that it is a clone of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// `clones` of a snapshot.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub clones: BTreeSet<String>,
    /// The user property by which the operator says that it takes the place of another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<String>,
    /// The user property with our mark, its own or inherited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// Work on the storage that goes on beside everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageWork {
    /// The digest of the image, or the uid of the jail, that it is for.
    pub of: String,
    /// What is done, in words.
    pub doing: String,
}

/// What getent(1) said of names; none: the host does not know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Numbers {
    /// Users, with their uids.
    #[serde(default)]
    pub users: BTreeMap<String, Option<u32>>,
    /// Groups, with their gids.
    #[serde(default)]
    pub groups: BTreeMap<String, Option<u32>>,
    /// Protocols.
    #[serde(default)]
    pub protocols: BTreeMap<String, Option<u32>>,
}

impl Numbers {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What stands at a path that shall be a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Directory {
    /// A directory, with its path without symbolic links.
    At(String),
    /// Nothing, or something else.
    Absent,
    /// It could not be found out; why.
    Unknown(String),
}

impl Directory {
    /// Its path without symbolic links.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::At(path) => Some(path),
            Self::Absent | Self::Unknown(_) => None,
        }
    }
}

impl Observed {
    /// The interfaces of that name: none, one, or after a jail's death two.
    pub fn interfaces_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Interface> {
        self.interfaces
            .iter()
            .filter(move |interface| interface.name == name)
    }

    /// The one interface of that name; none if there is none, or if the name is ambiguous.
    #[must_use]
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        let mut named = self
            .interfaces
            .iter()
            .filter(|interface| interface.name == name);
        named.next().filter(|_| named.next().is_none())
    }

    /// The living jail of that name.
    #[must_use]
    pub fn jail(&self, name: &str) -> Option<&ObservedJail> {
        self.jails
            .iter()
            .find(|jail| !jail.dying && jail.name == name)
    }

    /// Whether a route of the host that somebody made goes by the interface.
    #[must_use]
    pub fn leads_a_route(&self, interface: &str) -> bool {
        let mut routes = self.routes.values().flatten();
        routes.any(|route| route.interface == interface && route.is_made())
    }
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name now.
    pub name: String,
    /// The words between `<` and `>` of its flags: `UP`, `RUNNING`, `PROMISC` …
    pub flags: Words,
    /// `description:`
    pub description: Option<String>,
    /// `mtu`
    pub mtu: u32,
    /// `ether`
    pub mac: Option<Mac>,
    /// `hwaddr`, shown when `ether` was changed.
    pub hwaddr: Option<Mac>,
    /// `drivername:`, the driver's name and unit, where it was asked for. No jail's root can change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// `inet` and `inet6` lines in order.
    pub addresses: Vec<Address>,
    /// `groups:`
    pub groups: Words,
    /// `member:` lines of a bridge, by member.
    pub members: BTreeMap<String, Member>,
    /// The interfaces that it is made upon: a vlan's parent, the ports of a lagg.
    pub below: Words,
    /// What a lagg(4) says of itself; none for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lagg: Option<Box<Lagg>>,
    /// What a vlan(4) says of itself; none for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Box<Vlan>>,
    /// The words of `nd6 options`.
    pub nd6: Words,
    /// `fib:`, 0 unless shown.
    pub fib: u16,
    /// Its number in the kernel: `scopeid` of a link-local address, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
}

impl Interface {
    /// Whether `UP` is among the flags.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.flags.contains("UP")
    }

    /// Whether it takes addresses from router advertisements.
    #[must_use]
    pub fn accepts_rtadv(&self) -> bool {
        self.nd6.contains("ACCEPT_RTADV") && !self.nd6.contains("IFDISABLED")
    }

    /// The entry of `address`, if the interface has it.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Option<&Address> {
        self.addresses.iter().find(|entry| entry.address == address)
    }

    /// Its link-local IPv6 address.
    #[must_use]
    pub fn link_local(&self) -> Option<&Address> {
        self.addresses.iter().find(|entry| match entry.address {
            IpAddr::V6(address) => address.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        })
    }
}

/// What a lagg(4) says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lagg {
    /// `laggproto`
    pub protocol: String,
    /// `lagghash`
    pub hash: String,
    /// `laggport:` lines, by port, with the words of its flags: `MASTER`, `ACTIVE` … Their order is that of the kernel's interface numbers (`lagg_port_create`, sys/net/if_lagg.c).
    pub ports: BTreeMap<String, Words>,
}

impl Lagg {
    /// The port that a failover lagg prefers: the first that it was given.
    #[must_use]
    pub fn master(&self) -> Option<&str> {
        let mut ports = self.ports.iter();
        let master = ports.find(|(_, flags)| flags.contains("MASTER"));
        master.map(|(port, _)| port.as_str())
    }
}

/// Whether the host and a jail behind a netgraph switch at a failover lagg reach each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// The network.
    pub network: Uid,
    /// The lagg.
    pub interface: String,
    /// The host's address on it.
    pub own: IpAddr,
    /// The jail.
    pub jail: Uid,
    /// Its address.
    pub address: IpAddr,
    /// It answers.
    pub reached: bool,
}

/// What a vlan(4) says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vlan {
    /// The VLAN id; 0 without a parent.
    pub id: u16,
    /// The interface that carries it.
    pub parent: Option<String>,
}

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Address {
    /// Without scope.
    pub address: IpAddr,
    /// From the netmask or `prefixlen`.
    pub prefix_length: u8,
    /// Behind `%`, for link-local addresses.
    pub scope: Option<String>,
    /// DAD has not finished.
    pub tentative: bool,
    /// DAD found somebody else with it.
    pub duplicated: bool,
}

/// One member of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The words of its flags: `LEARNING`, `DISCOVER`, `PRIVATE`, `STP` …
    pub flags: Words,
}

/// One jail, alive or dying.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObservedJail {
    /// Its jid; reused by the kernel.
    pub jid: u32,
    /// Its name.
    pub name: String,
    /// It was removed, and something still holds it.
    pub dying: bool,
    /// It has a network stack of its own.
    pub vnet: bool,
    /// Its root on the host.
    pub path: String,
    /// `host.hostname`
    pub hostname: String,
    /// `ip4.addr`, in order.
    pub ip4: Vec<IpAddr>,
    /// `ip6.addr`, in order, without embedded scope.
    pub ip6: Vec<IpAddr>,
    /// The embedded scopes of link-local ones: the number of the interface that each was given for, which need not be there any more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub zones: BTreeMap<IpAddr, u32>,
    /// Our line in `meta`, where the kernel has meta (15): `<cluster>:<uid>:<digest>`. Its own root cannot read or change it.
    pub meta: Option<JailMeta>,
    /// Other parameters that were asked for, as jls(8) prints them; those that the kernel does not have are not there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

/// Our mark in a jail's `meta`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailMeta {
    /// The cluster's uid.
    pub cluster: String,
    /// The Jail's uid.
    pub uid: String,
    /// Digest of what it was started with (`render::digest`).
    pub hash: String,
}

impl JailMeta {
    /// The text that stands in `meta`, under the key `cellblock`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}:{}:{}", self.cluster, self.uid, self.hash)
    }

    /// Reads that text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split(':').map(str::to_owned);
        let (cluster, uid, hash) = (parts.next()?, parts.next()?, parts.next()?);
        parts
            .next()
            .is_none()
            .then_some(Self { cluster, uid, hash })
    }
}

/// What stands inside one VNET jail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vnet {
    /// Its interfaces, as its root left them.
    pub interfaces: Vec<Interface>,
    /// Its default routes in fib 0; the others follow from its addresses, or are its root's own matter.
    pub routes: Vec<Route>,
    /// Its pf, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pf: Option<VnetPf>,
}

/// The pf of a VNET jail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VnetPf {
    /// What is seen of it; not `loaded` where the jail has no /dev/pf. Of its anchors, ours alone.
    pub pf: Pf,
    /// Whether its main ruleset has no filter rule at all.
    pub is_bare: bool,
    /// Why it could not be looked at; then nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// The netgraph of the host's stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Netgraph {
    /// Every node but the sockets of running programs, in the kernel's order.
    pub nodes: Vec<Node>,
    /// Why it could not be looked at; then nothing is known, and `nodes` is empty.
    #[serde(default)]
    pub unread: Option<String>,
}

impl Netgraph {
    /// The node of that name; names are unique within a stack (`ng_name_node`, sys/netgraph/ng_base.c).
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }
}

/// One netgraph node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name; empty for one without.
    pub name: String,
    /// `bridge`, `eiface`, `ether` …
    pub kind: String,
    /// Its hooks, with what is connected to them.
    pub hooks: BTreeMap<String, Peer>,
    /// The name that its interface has now, wherever it is (`getifname`): asked of nodes of ours that have one. The root of the jail that has it may have chosen it.
    #[serde(default)]
    pub interface: Option<String>,
    /// Its settings: asked of the ether nodes of uplinks.
    #[serde(default)]
    pub ether: Option<EtherSettings>,
    /// Its configuration: asked of switches of ours.
    #[serde(default)]
    pub switch: Option<SwitchSettings>,
}

/// The other end of a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The node's name; empty for one without.
    pub node: String,
    /// Its type.
    pub kind: String,
    /// The hook on its side.
    pub hook: String,
}

/// How an ng_ether(4) node treats frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EtherSettings {
    /// `setpromisc`: the interface takes frames for other MAC addresses than its own.
    pub promiscuous: bool,
    /// `setautosrc`: frames leave under the interface's own MAC address.
    pub autosrc: bool,
}

/// How an ng_bridge(4) node treats MAC addresses (`struct ng_bridge_config`, sys/netgraph/ng_bridge.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SwitchSettings {
    /// `debugLevel`: what it logs.
    pub debug_level: u8,
    /// `loopTimeout`: for how long it drops what comes from a link that it takes for looped back, in seconds.
    pub loop_timeout_s: u32,
    /// `maxStaleness`: after how many seconds without a frame it forgets an address.
    pub max_staleness_s: u32,
    /// `minStableAge`: for how long an address may not move again, in seconds.
    pub min_stable_age_s: u32,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// The address family.
    pub family: Family,
    /// As netstat(1) prints it: `default`, `10.0.2.0/24`, `10.0.2.15`.
    pub destination: String,
    /// An address, or `link#N`.
    pub gateway: String,
    /// `UGS` …
    pub flags: String,
    /// The interface.
    pub interface: String,
}

/// Whether a default route leads to the gateway, and none that somebody made to another: of two by different gateways the kernel makes one by turns (`net.route.multipath`, sys/net/route/route_ctl.c; seen
/// on 15.1). One that a router advertisement brought (no `S`) comes back with the next.
#[must_use]
pub fn is_only_way(routes: &[Route], gateway: IpAddr) -> bool {
    let family = Family::of(gateway);
    let mut ways = routes
        .iter()
        .filter(|route| route.is_default_of(family))
        .map(|route| (route.next_hop() == Some(gateway), route.flags.contains('S')));
    ways.clone().any(|(leads_there, _)| leads_there)
        && ways.all(|(leads_there, is_static)| leads_there || !is_static)
}

impl Route {
    /// Whether it is a default route of that family.
    #[must_use]
    pub fn is_default_of(&self, family: Family) -> bool {
        self.family == family && self.destination == "default"
    }

    /// Whether somebody made it: those that come with an address lead to the link itself, and nobody made them by hand.
    #[must_use]
    pub fn is_made(&self) -> bool {
        !self.gateway.starts_with("link#") || self.flags.contains('S')
    }

    /// Where it leads; none for a destination with a scope.
    #[must_use]
    pub fn prefix(&self) -> Option<IpNet> {
        match (self.destination.as_str(), self.family) {
            ("default", Family::Ipv4) => Some(Ipv4Net::default().into()),
            ("default", Family::Ipv6) => Some(Ipv6Net::default().into()),
            (net, _) if net.contains('/') => net.parse().ok(),
            (address, _) => address.parse().ok().map(|address: IpAddr| address.into()),
        }
    }

    /// Which way it leads.
    #[must_use]
    pub fn way(&self) -> Option<Via> {
        Some(match self.next_hop() {
            Some(gateway) => Via::Gateway(gateway),
            None => Via::Interface(self.interface.clone()),
        })
    }

    /// The gateway's address; none where the destination is on the link. A link-local one is printed with its interface behind `%`.
    #[must_use]
    pub fn next_hop(&self) -> Option<IpAddr> {
        self.gateway.split('%').next()?.parse().ok()
    }
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedMount {
    /// What is mounted.
    pub source: String,
    /// Where.
    pub target: String,
    /// `ufs`, `nullfs`, `devfs` …
    pub fs_type: String,
}

/// The packet filter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pf {
    /// The module is there (`/dev/pf`).
    pub loaded: bool,
    /// Why it could not be looked at; then nothing else of it is known but that it is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
    /// Nobody may change it: no rule, and no state (`kern.securelevel`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
    /// `pfctl -s info` says `Status: Enabled`.
    pub enabled: bool,
    /// Which of `nat-anchor`, `rdr-anchor`, `binat-anchor`, `anchor` with `"cellblock/*"` stand in the *main* ruleset. After `pfctl -F all` ours look whole and nothing refers to them (recording `12`).
    pub references: BTreeSet<AnchorReference>,
    /// Rules of the main ruleset that keep whole directions or interfaces from ever reaching our `anchor`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before_us: Vec<QuickRule>,
    /// Interfaces with `(skip)`.
    pub skipped: BTreeSet<String>,
    /// Anchors below `cellblock/`, with the hash that their label states; an empty text where no such label stands.
    pub anchors: BTreeMap<String, String>,
    /// Of the rules that pf was asked about ([`crate::host::Wanted::rules`]), those that it takes now.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accepted: BTreeSet<(String, Uid)>,
}

impl Pf {
    /// Whether it is there, and what is in it is known.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.loaded && self.unread.is_none()
    }

    /// Whether states can be killed.
    #[must_use]
    pub fn has_states_to_kill(&self) -> bool {
        self.is_read() && !self.sealed
    }
}

/// The host's pf.conf, as far as it is managed ([`crate::host::Wanted::pf_conf`]).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PfConf {
    /// Where it is (`pf_rules` of rc.conf).
    pub path: String,
    /// What it says; none: there is no such file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why it is neither read nor written, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// It was changed so short a time ago that whoever writes it may not have come to its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fresh: bool,
    /// Our block stands in the file that the ledger has from before ([`crate::host::PfConfWanted::former`]), or that cannot be told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub former: bool,
    /// Which references to our anchors the text without our block has, as pfctl(8) reads it, with what it includes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub own: BTreeSet<AnchorReference>,
    /// What pfctl says against that text, or against it with our block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Something that a write which did not come to its end has left beside it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub litter: bool,
    /// The main ruleset of now, where references are missing in it or too many; none where pf is not loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<InForce>,
}

/// What is to be known of the main ruleset that is in force before references to our anchors are added to it, or taken out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InForce {
    /// As [`crate::pf_conf::MainRuleset::digest`].
    pub others: String,
    /// Which references to our anchors it has.
    pub references: BTreeSet<AnchorReference>,
    /// Why it is not loaded again, with other references.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A `quick` rule before `anchor "cellblock/*"` that asks for no address, protocol, port or tag: of what it is about, none of our rules is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuickRule {
    /// As pfctl(8) prints it.
    pub text: String,
    /// Whether it passes, or drops.
    pub passes: bool,
    /// `in` (true), `out` (false), or both.
    pub inward: Option<bool>,
    /// The interface or group; none: all.
    pub interface: Option<String>,
}

impl QuickRule {
    /// Whether it is about what goes that way by an interface. Groups of interfaces are not looked up: a rule about one is about its members only, which `pfctl -sr` does not tell.
    #[must_use]
    pub fn is_about(&self, inward: bool, interface: &str) -> bool {
        self.inward.is_none_or(|only| only == inward)
            && self
                .interface
                .as_deref()
                .is_none_or(|only| only == interface)
    }
}

/// The four kinds of references to anchors. `nat-anchor` does not cover `binat` (recording `09`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AnchorReference {
    /// `nat-anchor "cellblock/*"`
    Nat,
    /// `rdr-anchor "cellblock/*"`
    Rdr,
    /// `binat-anchor "cellblock/*"`
    Binat,
    /// `anchor "cellblock/*"`
    Filter,
}

impl AnchorReference {
    /// All four, in the order in which pf.conf wants them.
    pub const ALL: [Self; 4] = [Self::Nat, Self::Rdr, Self::Binat, Self::Filter];

    /// The keyword of pf.conf(5).
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Nat => "nat-anchor",
            Self::Rdr => "rdr-anchor",
            Self::Binat => "binat-anchor",
            Self::Filter => "anchor",
        }
    }
}
