//! `Jail`: one jail, where it runs, what it runs from, how it is attached and what it may do.
//!
//! Parameters keep jail(8)'s names. What Cellblock derives from other fields (`path`, `vnet`, `ip4.addr` …) may not be given as a parameter; `validate` says which field owns it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::ids::Generation;
use crate::meta::ObjectMeta;
use crate::net::{Cidr, Family, HostAddress, Mac, PortRange, Protocol, is_link_local};
use crate::selector::{LabelSelector, Toleration};

mod probe;

pub use probe::{ExecProbe, HttpProbe, Probe, Probes, TcpProbe, seconds};

/// One jail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jail {
    /// Always `cellblock.dev/v1alpha1`.
    #[serde(default)]
    pub api_version: String,
    /// Always `Jail`.
    #[serde(default)]
    pub kind: String,
    /// Name, labels, and what the system adds.
    pub metadata: ObjectMeta,
    /// What the operator wants.
    #[serde(default)]
    pub spec: JailSpec,
    /// What was decided and observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<JailStatus>,
}

impl Jail {
    /// The name that jls(8) shows: `spec.jailName`, or the object's name.
    #[must_use]
    pub fn jail_name(&self) -> &str {
        self.spec
            .jail_name
            .as_deref()
            .unwrap_or(&self.metadata.name)
    }

    /// The binding, once the jail has a host.
    #[must_use]
    pub fn binding(&self) -> Option<&Binding> {
        self.status.as_ref()?.binding.as_ref()
    }
}

/// What the operator wants of a jail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JailSpec {
    /// The host it runs on; absent: the matching host with the fewest jails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The hosts it may run on, when `host` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_selector: Option<LabelSelector>,
    /// Taints that it tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,
    /// The name in jls(8); immutable. Unless said: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jail_name: Option<String>,
    /// A root that exists on the host. Exactly one of `root` and `image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// The image that the root is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageRef>,
    /// How it is attached, in order: for shared-IP networks the first address is the jail's loopback and its default source. None: no network at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["interface"]))]
    pub networks: Vec<Attachment>,
    /// Ports of the host's public addresses that lead here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub publish: Vec<Publish>,
    /// Public addresses that belong to this jail alone (1:1 NAT).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub public_addresses: Vec<PublicAddress>,
    /// jail(8)'s parameters and pseudo-parameters under their own names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, ParameterValue>,
    /// Mounts below the root, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["target"]))]
    pub mounts: Vec<Mount>,
    /// User ids of the host that no other jail of the fleet is given; those that it got stand in `status.binding.userIds`. They bind only those who keep to them: jails have no user ids of their own,
    /// and root in any jail takes whichever it wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_ids: Option<UserIds>,
    /// Packet filter rules of this jail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall: Option<Firewall>,
    /// Resource limits in rctl(8)'s own words, without the subject: `vmemoryuse:deny=512M`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub limits: Vec<String>,
    /// How it is known to be well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// Whether it shall run.
    #[serde(default, skip_serializing_if = "RunPolicy::is_default")]
    pub run_policy: RunPolicy,
    /// Whether it is started again when a change needs that, or it is not alive.
    #[serde(default, skip_serializing_if = "RestartPolicy::is_default")]
    pub restart_policy: RestartPolicy,
    /// Any text: another one restarts the running jail once, whatever its restart policy says. `jailctl restart` writes the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// Jails that must be ready first, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub depends_on: Vec<String>,
}

impl JailSpec {
    /// `exec.fib`, if the jail says it itself.
    #[must_use]
    pub fn own_fib(&self) -> Option<u16> {
        match self.parameters.get("exec.fib")? {
            ParameterValue::Number(fib) => u16::try_from(*fib).ok(),
            ParameterValue::Text(fib) => fib.parse().ok(),
            ParameterValue::Flag(_) | ParameterValue::List(_) => None,
        }
    }

    /// Whether rules of the host's pf lead to the jail: it publishes a port, or has a public address of its own.
    #[must_use]
    pub fn is_published(&self) -> bool {
        !(self.publish.is_empty() && self.public_addresses.is_empty())
    }
}

/// User ids that a jail asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserIds {
    /// How many, 1 to 10,000.
    #[serde(default = "UserIds::usual")]
    pub count: u32,
}

impl UserIds {
    /// How many a jail may have: what is claimed for it has this length, so that two claims are the same or do not overlap.
    pub const COUNT_MAX: u32 = 10_000;

    fn usual() -> u32 {
        1_000
    }
}

/// A range of user ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserIdRange {
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
}

/// A root that exists on the host and is not ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    /// An absolute path on the host.
    pub path: String,
}

/// The image that a root is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageRef {
    /// The Image's name.
    pub name: String,
    /// A copy of its own, or a shared read-only base.
    #[serde(default)]
    pub layout: Layout,
}

/// How a root is made of an image.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// A whole copy.
    #[default]
    Thick,
    /// A template of its own over a read-only basejail.
    Thin,
}

/// One attachment to a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// The Network's name.
    pub network: String,
    /// The interface's name inside a VNET jail, at most 15 characters; the merge key. Unless said: the network's name, shortened.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// Static addresses; absent: one is allocated from each of the network's subnets, but for those of a family that `addressing` gets otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<HostAddress>,
    /// Where addresses come from. Unless said: `static` with `addresses`, `allocate` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addressing: Option<Addressing>,
    /// The MAC address of the jail's end; absent: one that is unique in the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Whether default routes go this way. Unless said: the first attachment that has a gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<bool>,
}

impl Attachment {
    /// Where addresses come from, as said or derived.
    #[must_use]
    pub fn effective_addressing(&self) -> Addressing {
        match self.addressing {
            // Defaulting wrote `allocate` while there were no addresses; an operator who adds some means them.
            None | Some(Addressing::Allocate) if !self.addresses.is_empty() => Addressing::Static,
            None => Addressing::Allocate,
            Some(addressing) => addressing,
        }
    }

    /// Whether addresses of the family come from the wire or from the jail itself, so that nobody knows them before they are there. Those of the other family are given or allocated as usual.
    #[must_use]
    pub fn is_dynamic(&self, family: Family) -> bool {
        match (self.effective_addressing(), family) {
            (Addressing::Dhcp, Family::Ipv4)
            | (Addressing::Slaac, Family::Ipv6)
            | (Addressing::Jail, _) => true,
            (Addressing::Dhcp, Family::Ipv6)
            | (Addressing::Slaac, Family::Ipv4)
            | (Addressing::Allocate | Addressing::Static, _) => false,
        }
    }
}

/// Where an attachment's addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Addressing {
    /// From the network's subnets.
    Allocate,
    /// As given.
    Static,
    /// IPv4 by dhclient(8), which runs in the jail from before `exec.start` on.
    Dhcp,
    /// IPv6 by router advertisements, asked for by rtsol(8) in the jail before `exec.start`.
    Slaac,
    /// By the jail itself: the interface has none when `exec.start` begins.
    Jail,
}

/// Ports of a public address that lead to this jail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Publish {
    /// The merge key.
    pub name: String,
    /// tcp unless said.
    #[serde(default)]
    pub protocol: Protocol,
    /// The ports outside.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<PortRange>,
    /// The port inside; absent: the same as outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u16>,
    /// The uplink that has the public address.
    pub uplink: String,
    /// The public address by name; absent: the uplink's only one of each family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The network whose address of the jail is meant; absent: the first that has one of the family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Jails of one host that name the same pool are behind the ports together: connections go to those that run, in turn. Where their ports overlap, they must say the same of `ports`, `to` and `sticky`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<String>,
    /// Of shared ports: a client's connections go to one jail while it has any (pf's `sticky-address`), each range, protocol and address by itself; when rules are loaded, clients are dealt anew, and a host remembers 10000 of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sticky: bool,
}

/// A public address that belongs to this jail alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicAddress {
    /// The merge key.
    pub name: String,
    /// The uplink that has the public address.
    pub uplink: String,
    /// The public address by name.
    pub address: String,
    /// The network whose address of the jail is meant; absent: the first that has one of the family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Only these ports come in; absent: everything does (binat). What the jail sends has the address either way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<PortRange>,
    /// The protocol of `ports`; tcp unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

impl PublicAddress {
    /// Whether everything that comes in for the address is the jail's.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.ports.is_empty()
    }
}

/// A parameter's value as jail.conf(5) has it: a boolean, a number, a string, or a list of strings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ParameterValue {
    /// `true`: the bare name; `false`: its `no` form.
    Flag(bool),
    /// A number.
    Number(i64),
    /// A string.
    Text(String),
    /// A list, such as several `exec.start` commands.
    List(#[schemars(extend("x-kubernetes-list-type" = "atomic"))] Vec<String>),
}

/// One mount below the jail's root.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// The path inside the jail; the merge key.
    pub target: String,
    /// `nullfs`, `tmpfs`, `devfs`, `fdescfs`, `procfs`, `linprocfs`, `linsysfs`.
    #[serde(rename = "type")]
    pub fs_type: String,
    /// What is mounted: for nullfs a path of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// mount(8)'s options, such as `ro`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub options: Vec<String>,
}

/// Packet filter rules, in order, the first match decides. What answers a connection that was let through is let through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Firewall {
    /// Whose pf has the rules: the host's, or that of the jail's own network stack, which the jail's root can change.
    #[serde(default, skip_serializing_if = "EnforcedBy::is_default")]
    pub enforced_by: EnforcedBy,
    /// Traffic to the jail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub ingress: Vec<Rule>,
    /// Traffic from the jail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub egress: Vec<Rule>,
    /// What happens to traffic that no ingress rule matches; pass unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_ingress: Option<Action>,
    /// What happens to traffic that no egress rule matches; pass unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_egress: Option<Action>,
}

/// Whose pf has the rules of a jail's firewall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EnforcedBy {
    /// The host's: the jail has no part in it.
    #[default]
    Host,
    /// That of the jail's own network stack (VNET): where the traffic is whatever the network, and the sockets are; no isolation from the jail's root, who can change it.
    Jail,
}

impl EnforcedBy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One packet filter rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The merge key.
    pub name: String,
    /// What to do.
    pub action: Action,
    /// Only on this network's attachment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Only this protocol: `tcp`, `udp`, `icmp`, `icmp6`, or a name or number of protocols(5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Only these destination ports: of a published port, that inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1), extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<PortRange>,
    /// Only from these peers (ingress).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1), extend("x-kubernetes-list-type" = "atomic"))]
    pub from: Vec<Peer>,
    /// Only to these peers (egress).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1), extend("x-kubernetes-list-type" = "atomic"))]
    pub to: Vec<Peer>,
    /// pf's `user` match, such as `> 1000`, by the host's names and numbers, or `own` or `!= own` for the jail's `userIds`; tcp and udp, of shared-IP jails or in the jail's own pf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// pf's `group` match, `own` being the numbers of `userIds`; tcp and udp, of shared-IP jails or in the jail's own pf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// What a packet filter rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Let it through, and keep state.
    Pass,
    /// Drop it.
    Block,
}

/// Who is meant by a rule. Exactly one field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Jails by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jails: Option<LabelSelector>,
    /// A prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<Cidr>,
}

/// Whether a jail shall run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunPolicy {
    /// It runs.
    #[default]
    Running,
    /// It is stopped; its root and addresses stay its own.
    Stopped,
    /// It runs until it ends.
    Once,
}

impl RunPolicy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether a running jail is started again: when a change needs a restart, and when it is not alive (`probes.live`). One that is gone is started in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartPolicy {
    /// For both, at once.
    #[default]
    Always,
    /// When it is not alive. A change waits for that, or for the operator's word.
    OnFailure,
    /// On the operator's word alone.
    Never,
}

impl RestartPolicy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a jail's status says in one word.
pub const PHASES: [&str; 7] = [
    "Pending", "Starting", "Running", "Stopping", "Stopped", "Dying", "Blocked",
];

/// What was decided for a jail, and what was observed of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JailStatus {
    /// The generation of the spec that the observation answers.
    #[serde(default)]
    pub observed_generation: Generation,
    /// `Ready`, `Scheduled`, `NetworkReady`, `PublishReady`, `Blocked` …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where it runs and with which addresses: decided once by the controller, sticky until the jail is gone from the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// In one word, for tables.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("enum" = PHASES))]
    pub phase: String,
    /// Of a jail of a JailSet: since when it is `Ready` with the spec that it has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ready_since: Option<jiff::Timestamp>,
    /// The jid, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jid: Option<u32>,
    /// While it runs: what was observed on interfaces whose addresses the wire or the jail itself gives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub interfaces: Vec<ObservedInterface>,
}

/// An interface of a running jail, and what was observed on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedInterface {
    /// Its name inside the jail.
    pub name: String,
    /// Its addresses but for link-local ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<HostAddress>,
}

/// A jail's host and addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// The Host's name.
    pub host: String,
    /// One per attachment of the spec, in the same order.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["interface"]))]
    pub attachments: Vec<BoundAttachment>,
    /// The user ids that `spec.userIds` asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_ids: Option<UserIdRange>,
}

/// One attachment with everything decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoundAttachment {
    /// The Network's name.
    pub network: String,
    /// The interface's name inside a VNET jail.
    pub interface: String,
    /// The addresses, in order, each with the prefix length that it gets on the interface.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub addresses: Vec<HostAddress>,
    /// The MAC address of the jail's end (VNET); none where it is a NIC with its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// The NIC of the host that the jail has (pass-through).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nic: Option<String>,
}

impl JailSpec {
    /// The firewall whose rules stand in the host's pf.
    #[must_use]
    pub fn firewall_of_host(&self) -> Option<&Firewall> {
        let firewall = self.firewall.as_ref();
        firewall.filter(|firewall| firewall.enforced_by == EnforcedBy::Host)
    }

    /// The firewall whose rules stand in the jail's own pf.
    #[must_use]
    pub fn firewall_inside(&self) -> Option<&Firewall> {
        let firewall = self.firewall.as_ref();
        firewall.filter(|firewall| firewall.enforced_by == EnforcedBy::Jail)
    }
}

impl Firewall {
    /// The rules of both directions, with the name of their list.
    pub fn rules(&self) -> impl Iterator<Item = (&'static str, usize, &Rule)> {
        let named = |list: &'static str| move |(place, rule)| (list, place, rule);
        let ingress = self.ingress.iter().enumerate().map(named("ingress"));
        ingress.chain(self.egress.iter().enumerate().map(named("egress")))
    }

    /// The selectors of jails among its peers, each once, in the order of the rules.
    #[must_use]
    pub fn selectors(&self) -> Vec<&LabelSelector> {
        let mut selectors = Vec::new();
        for (_, _, rule) in self.rules() {
            for peer in rule.from.iter().chain(&rule.to) {
                if let Some(jails) = &peer.jails
                    && !selectors.contains(&jails)
                {
                    selectors.push(jails);
                }
            }
        }
        selectors
    }

    /// Whether it says anything about what goes by the attachments to a network: a rule that names no network, and a default, are about all of them.
    #[must_use]
    pub fn concerns(&self, network: &str) -> bool {
        self.default_ingress.is_some()
            || self.default_egress.is_some()
            || self.rules().any(|(_, _, rule)| {
                let named = rule.network.as_deref();
                named.is_none_or(|named| named == network)
            })
    }
}

impl BoundAttachment {
    /// The first address of `family` that something can be led to: a link-local one is reached on its own link only.
    #[must_use]
    pub fn address_of(&self, family: Family) -> Option<std::net::IpAddr> {
        self.addresses
            .iter()
            .map(|address| address.address)
            .find(|address| Family::of(*address) == family && !is_link_local(*address))
    }
}
