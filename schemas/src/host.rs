//! `Host`: one FreeBSD machine. Its spec names what Networks may lean on; its status is what the agent found there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::{Condition, ConditionStatus};
use crate::ids::{Generation, Uid};
use crate::meta::ObjectMeta;
use crate::net::{Family, HostAddress, Mac, PortRange, Protocol};
use crate::selector::Taint;

/// One FreeBSD machine that runs an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// Always `cellblock.dev/v1alpha1`.
    #[serde(default)]
    pub api_version: String,
    /// Always `Host`.
    #[serde(default)]
    pub kind: String,
    /// Name, labels, and what the system adds.
    pub metadata: ObjectMeta,
    /// What the operator wants of the machine.
    #[serde(default)]
    pub spec: HostSpec,
    /// What its agent observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<HostStatus>,
}

/// What the operator says of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostSpec {
    /// Named ways to the outside; Networks name uplinks, never NICs, so that one Network serves hosts with different hardware.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uplinks: BTreeMap<String, Uplink>,
    /// Addresses of the host itself, on a link that its neighbours share: `node` (IPv4) and `node6` (IPv6), by which other hosts reach its jails on routed networks that span hosts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<String, IpAddr>,
    /// Where jails' roots and images live; needed only for jails with an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// How pf.conf comes to refer to our anchors.
    #[serde(default, skip_serializing_if = "PfSpec::is_default")]
    pub pf: PfSpec,
    /// Sysctls to hold at a value; those not named are left alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, SysctlValue>,
    /// How many routing tables the host shall have at least (`net.fibs`, which can only grow).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fibs: Option<u16>,
    /// True: no new jail is placed here (cordon).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unschedulable: bool,
    /// Keeps jails away that do not tolerate them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key", "effect"]))]
    pub taints: Vec<Taint>,
    /// True: the agent observes and reports, and changes nothing (`jailctl host pause`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// True: the operator has read the first plan on a host that already had jails, bridges or epairs of somebody else, and lets the agent act (`jailctl host approve`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approved: bool,
    /// True: the operator has said that the machine is gone (`jailctl host forget`). Its jails are given to other hosts, and an agent that comes back only observes until it is approved again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgotten: bool,
    /// The only key that may speak for this host, as a SHA-256 in hexadecimal; absent: the one in `status.keyFingerprint`, which the first agent to come brought (`jailctl host accept-key`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_fingerprint: Option<String>,
}

impl HostSpec {
    /// The address by which other hosts reach this one's jails on networks that span hosts.
    #[must_use]
    pub fn node(&self, family: Family) -> Option<IpAddr> {
        self.addresses.get(node_field(family)).copied()
    }

    /// Whether a sysctl that turns something on is declared to be on.
    #[must_use]
    pub fn declares_on(&self, oid: &str) -> bool {
        let value = self.sysctls.get(oid);
        value.is_some_and(|value| value.to_string() == "1")
    }
}

/// The entry of `addresses` with the node address of a family.
#[must_use]
pub fn node_field(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "node",
        Family::Ipv6 => "node6",
    }
}

/// One way to the outside. Exactly one of `interface`, `interfaces`, `lagg`, `vlan`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Uplink {
    /// An interface that exists: `igb0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// A pool of NICs for pass-through, one jail each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub interfaces: Vec<String>,
    /// A lagg(4) made of NICs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lagg: Option<Lagg>,
    /// A vlan(4) on another uplink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// Public addresses by name, so that a manifest fits every host. NAT and published ports use one of them, never "all of the NIC".
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub public_addresses: BTreeMap<String, IpAddr>,
    /// Ports blocked on the public addresses that belong to no jail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub block: Vec<BlockedPorts>,
    /// What pf changes in packets that come in or leave by this uplink, the host's own among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<Scrub>,
    /// Who moves the host's own addresses when a bridge takes the NIC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_addresses: Option<HostAddresses>,
}

/// An aggregate of NICs, as ifconfig(8) says it. One that exists and is equal is used and left as it is; otherwise it is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lagg {
    /// `laggproto`.
    pub protocol: LaggProtocol,
    /// `laggport`s, each a NIC that nothing else uses. With failover the first is the one that is preferred; which of the others takes over goes by the kernel's numbers of the interfaces.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<String>,
    /// `lagghash`, such as `l2,l3,l4`; absent: what the kernel has, or what it has been set to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// `laggproto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LaggProtocol {
    /// One port at a time, the first that works.
    Failover,
    /// IEEE 802.1AX with a partner.
    Lacp,
    /// Spread by hash, without a protocol.
    Loadbalance,
    /// In turn; may reorder.
    Roundrobin,
}

/// A VLAN on another uplink. One that exists with this tag on that interface is used and left as it is; otherwise it is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vlan {
    /// The VLAN id, 1 to 4094.
    pub id: u16,
    /// The name of the uplink that carries it.
    pub uplink: String,
}

/// Ports that are closed on an uplink's public addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockedPorts {
    /// The merge key.
    pub name: String,
    /// tcp unless said.
    #[serde(default)]
    pub protocol: Protocol,
    /// The ports.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<PortRange>,
    /// The public address by name; absent: all of this uplink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// pf's `scrub` options, of which at least one is named.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scrub {
    /// `max-mss`: TCP connections that are made from now on send segments of at most so many octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_mss: Option<u16>,
    /// `no-df`: IPv4 packets may be fragmented.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_df: bool,
    /// `random-id`: IPv4 packets that are no fragments get another identification.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub random_id: bool,
}

/// Who moves the host's own addresses onto a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HostAddresses {
    /// The operator; the agent only says what to do.
    Kept,
    /// The agent, under commit-confirm, and in rc.conf.
    Managed,
}

/// Where jails' roots and images live. Exactly one of the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// A ZFS file system that is there, such as `zroot/cellblock`; the agent makes one below it for each image and each root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// A plain directory of which everything below is ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// How pf.conf comes to refer to our anchors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PfSpec {
    /// Who writes the anchor lines.
    #[serde(default)]
    pub anchors: PfAnchors,
}

impl PfSpec {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Who writes the four anchor lines into pf.conf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PfAnchors {
    /// The operator; the agent prints the lines that are missing.
    #[default]
    Expect,
    /// The agent, as one marked block.
    Manage,
}

/// A sysctl's value: a number or a string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SysctlValue {
    /// A number.
    Number(i64),
    /// Anything else.
    Text(String),
}

impl std::fmt::Display for SysctlValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// What the agent reported of its machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// The generation of the spec that this status answers.
    #[serde(default)]
    pub observed_generation: Generation,
    /// `Ready`, `PfEffective`, `Approved`, `Heard` …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What the machine is and can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<HostFacts>,
    /// How many jails are bound here and how many of them are ready.
    #[serde(default)]
    pub jails: JailCount,
    /// The agent's view: the newest one it accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewMark>,
    /// The first lines of a plan that waits for approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub pending_plan: Vec<String>,
    /// The key of the agent that spoke for this host first, or that was accepted since: nobody with another one may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_fingerprint: Option<String>,
    /// The networks that the host realises for its jails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub networks: Vec<HostNetwork>,
}

/// One network as one host realises it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostNetwork {
    /// The Network's name.
    pub name: String,
    /// The Network's uid.
    pub uid: Uid,
    /// The generation of the Network's spec that was planned from.
    #[serde(default)]
    pub observed_generation: Generation,
    /// Whether everything of it on this host is as it shall be.
    pub ready: ConditionStatus,
    /// A CamelCase code from the documented list.
    pub reason: String,
    /// For people: what, where, what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How many jails are bound to a host, and how many of them are ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JailCount {
    /// Bound here.
    pub bound: u32,
    /// Of these, ready.
    pub ready: u32,
}

/// The number of a host's view.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct ViewMark {
    /// Grows only with a restore or migration of the store, on the operator's word.
    pub epoch: u64,
    /// Grows with every change of the view.
    pub generation: Generation,
}

/// What a machine is and can do, probed, never derived from a version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostFacts {
    /// `uname -r`: `15.1-RELEASE-p1`.
    pub release: String,
    /// `kern.osreldate`: 1501000.
    #[serde(default)]
    pub osreldate: u32,
    /// `uname -m`: `amd64`.
    #[serde(default)]
    pub machine: String,
    /// The agent's version.
    #[serde(default)]
    pub agent_version: String,
    /// What it can do: `vimage`, `rctl`, `pf`, `zfs`, `jail.meta` …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub features: Vec<String>,
    /// Its interfaces that are not ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub interfaces: Vec<InterfaceFact>,
}

/// One interface of a host that is not ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceFact {
    /// `igb0`
    pub name: String,
    /// Its MAC address, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Its addresses with prefix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub addresses: Vec<HostAddress>,
    /// Whether it is up.
    #[serde(default)]
    pub up: bool,
}
