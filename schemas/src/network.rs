//! `Network`: how jails are attached. Exactly one mode; subnets, egress, isolation and scope are common to all modes.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::condition::Condition;
use crate::ids::Generation;
use crate::jail::JailSpec;
use crate::meta::ObjectMeta;
use crate::net::{AddressRange, Cidr, Family, LOOPBACK_LINK_LOCAL, is_link_local};
use crate::selector::LabelSelector;

/// The host's link-local address on every unnumbered routed link, which is the jail's IPv6 gateway.
pub const HOST_LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

/// How jails are attached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Always `cellblock.dev/v1alpha1`.
    #[serde(default)]
    pub api_version: String,
    /// Always `Network`.
    #[serde(default)]
    pub kind: String,
    /// Name, labels, and what the system adds.
    pub metadata: ObjectMeta,
    /// How jails are attached.
    #[serde(default)]
    pub spec: NetworkSpec,
    /// What was observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<NetworkStatus>,
}

/// How jails are attached. Exactly one of `sharedIP`, `bridge`, `routed`, `netgraph`, `passthrough`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSpec {
    /// Addresses on an interface of the host, shared with the jail; no network stack of its own.
    #[serde(default, rename = "sharedIP", skip_serializing_if = "Option::is_none")]
    pub shared_ip: Option<SharedIp>,
    /// A VNET jail on an epair(4) whose host end is a member of an if_bridge(4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<Bridge>,
    /// A VNET jail on an epair(4), routed point to point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routed: Option<Routed>,
    /// A VNET jail on an ng_eiface(4) at an ng_bridge(4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netgraph: Option<Netgraph>,
    /// A VNET jail with a NIC of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<Passthrough>,
    /// The prefixes that jails' addresses come from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cidr"]))]
    pub subnets: Vec<Subnet>,
    /// How traffic leaves for the outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// What jails of this network may do to each other.
    #[serde(default)]
    pub isolation: Isolation,
    /// Where an address must be unique. Unless said: `fleet` with an uplink, in routed and pass-through networks; `host` otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The MTU in octets of the network's interfaces. Unless said: 1500, and for loopbacks what the kernel gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The routing table (fib, 1 to 15; or `auto`: one of this network's own, which no other network or jail of the fleet has, its number in `status.fib`) that the processes of this shared-IP network's jails send by; one parameter of a jail, `exec.fib`, overrides it. A gateway of a subnet is the
    /// table's default route; without one, jails are reached by their neighbours and cannot go out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fib: Option<Fib>,
    /// The hosts that this network exists on; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_selector: Option<LabelSelector>,
}

/// The routing table that a network asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Fib {
    /// This one, whoever else has it.
    Number(u16),
    /// One that nobody else has. A view has the number in its place.
    Auto,
}

impl Fib {
    /// The routing tables that a network may have: an agent reads and mends that many, and `net.fibs` beyond is for who routes by himself.
    pub const NUMBERS: RangeInclusive<u16> = 1..=15;

    /// The number, where it stands there.
    #[must_use]
    pub fn number(self) -> Option<u16> {
        match self {
            Self::Number(number) => Some(number),
            Self::Auto => None,
        }
    }
}

impl TryFrom<Value> for Fib {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
        match number {
            Some(number) => Ok(Self::Number(number)),
            None if value == "auto" => Ok(Self::Auto),
            None => Err(format!(
                "{value} is neither the number of a routing table nor `auto`"
            )),
        }
    }
}

impl From<Fib> for Value {
    fn from(fib: Fib) -> Self {
        match fib {
            Fib::Number(number) => number.into(),
            Fib::Auto => "auto".into(),
        }
    }
}

impl JsonSchema for Fib {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fib".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The number of a routing table, or `auto` for one of its own.",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": u16::MAX },
                { "type": "string", "enum": ["auto"] },
            ],
            "x-kubernetes-int-or-string": true,
        })
    }
}

/// The routing table of a jail's processes on these networks: its own, else that of its networks, which admission made one.
pub fn fib_of<'a>(jail: &JailSpec, networks: impl Iterator<Item = &'a NetworkSpec>) -> u16 {
    let of_networks = |spec: &NetworkSpec| spec.fib?.number();
    let own = jail.own_fib();
    own.or_else(|| networks.filter_map(of_networks).next())
        .unwrap_or_default()
}

/// The mode of a network, for code that decides by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode<'a> {
    /// `sharedIP`
    SharedIp(&'a SharedIp),
    /// `bridge`
    Bridge(&'a Bridge),
    /// `routed`
    Routed(&'a Routed),
    /// `netgraph`
    Netgraph(&'a Netgraph),
    /// `passthrough`
    Passthrough(&'a Passthrough),
}

impl<'a> Mode<'a> {
    /// The field's name in a manifest.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SharedIp(_) => "sharedIP",
            Self::Bridge(_) => "bridge",
            Self::Routed(_) => "routed",
            Self::Netgraph(_) => "netgraph",
            Self::Passthrough(_) => "passthrough",
        }
    }

    /// Whether jails attached this way have a network stack of their own.
    #[must_use]
    pub fn is_vnet(&self) -> bool {
        !matches!(self, Self::SharedIp(_))
    }

    /// Whether jails attached this way are on the wire of an uplink, where routers outside are.
    #[must_use]
    pub fn is_on_the_wire(&self) -> bool {
        matches!(self, Self::Passthrough(_)) || self.uplink().is_some()
    }

    /// The uplink that the mode itself leans on, if any.
    #[must_use]
    pub fn uplink(&self) -> Option<&'a str> {
        match self {
            Self::SharedIp(mode) => mode.uplink.as_deref(),
            Self::Bridge(mode) => mode.uplink.as_deref(),
            Self::Netgraph(mode) => mode.uplink.as_deref(),
            Self::Routed(_) | Self::Passthrough(_) => None,
        }
    }
}

impl NetworkSpec {
    /// The mode; none if the spec names no mode or several, which validation refuses.
    #[must_use]
    pub fn mode(&self) -> Option<Mode<'_>> {
        let modes = [
            self.shared_ip.as_ref().map(Mode::SharedIp),
            self.bridge.as_ref().map(Mode::Bridge),
            self.routed.as_ref().map(Mode::Routed),
            self.netgraph.as_ref().map(Mode::Netgraph),
            self.passthrough.as_ref().map(Mode::Passthrough),
        ];
        let mut named = modes.into_iter().flatten();
        named.next().filter(|_| named.next().is_none())
    }

    /// Where an address of this network must be unique, as said or derived.
    #[must_use]
    pub fn effective_scope(&self) -> Scope {
        self.scope.unwrap_or_else(|| match self.mode() {
            Some(Mode::Routed(_) | Mode::Passthrough(_)) => Scope::Fleet,
            Some(mode) if mode.uplink().is_some() => Scope::Fleet,
            Some(_) | None => Scope::Host,
        })
    }

    /// Who has a gateway's address, as said or derived.
    #[must_use]
    pub fn gateway_owner(&self, gateway: &Gateway) -> GatewayOwner {
        gateway.owner.unwrap_or_else(|| {
            if self.mode().is_some_and(|mode| mode.is_on_the_wire()) {
                GatewayOwner::External
            } else {
                GatewayOwner::Host
            }
        })
    }

    /// The address of the host's end of a routed link with numbered ends, whose jail has `address`: the other one of the /31 or /127.
    /// None for every other way of attaching.
    #[must_use]
    pub fn partner(&self, address: IpAddr) -> Option<IpAddr> {
        let Some(Mode::Routed(routed)) = self.mode() else {
            return None;
        };
        match (routed.link, address) {
            (RoutedLink::Unnumbered, _) => None,
            (RoutedLink::PointToPoint, IpAddr::V4(address)) => {
                Some(IpAddr::V4((address.to_bits() ^ 1).into()))
            }
            (RoutedLink::PointToPoint, IpAddr::V6(address)) => {
                Some(IpAddr::V6((address.to_bits() ^ 1).into()))
            }
        }
    }

    /// The gateway of a jail with `address`: the host's end of the link where the network is routed, else the subnet's.
    #[must_use]
    pub fn jail_gateway(&self, address: IpAddr) -> Option<IpAddr> {
        if let Some(partner) = self.partner(address) {
            return Some(partner);
        }
        match (self.mode(), address) {
            (Some(Mode::Routed(_)), IpAddr::V6(_)) => Some(HOST_LINK_LOCAL),
            _ => Some(self.subnet_of(address)?.gateway.as_ref()?.address),
        }
    }

    /// The prefix length of each host's slices of this network's subnets of a family; none where each host has the subnets for itself, and in other modes.
    #[must_use]
    pub fn slice_length(&self, family: Family) -> Option<u8> {
        let Some(Mode::Routed(routed)) = self.mode() else {
            return None;
        };
        let lengths = routed.host_prefix_length.as_ref()?;
        match (self.effective_scope(), family) {
            (Scope::Host, _) => None,
            (Scope::Fleet, Family::Ipv4) => lengths.ipv4,
            (Scope::Fleet, Family::Ipv6) => lengths.ipv6,
        }
    }

    /// The slice that an address lies in, if the network's subnets are divided among hosts.
    #[must_use]
    pub fn slice_of(&self, address: IpAddr) -> Option<IpNet> {
        let length = self.slice_length(Family::of(address))?;
        let net = IpNet::new(address, length).ok()?.trunc();
        let subnet = self.subnet_of(address)?.cidr.net();
        subnet.contains(&net).then_some(net)
    }

    /// Whether the network's subnets are divided among hosts, with routes between them.
    #[must_use]
    pub fn spans_hosts(&self) -> bool {
        let families = [Family::Ipv4, Family::Ipv6];
        families
            .into_iter()
            .any(|family| self.slice_length(family).is_some())
    }

    /// The subnet that `address` lies in.
    #[must_use]
    pub fn subnet_of(&self, address: IpAddr) -> Option<&Subnet> {
        self.subnets
            .iter()
            .find(|subnet| subnet.cidr.net().contains(&address))
    }
}

/// Shared IP. Exactly one of `loopback` and `uplink`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SharedIp {
    /// A cloned loopback interface of our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loopback: Option<Loopback>,
    /// The uplink whose interface carries the addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<String>,
}

/// A cloned loopback interface of our own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Loopback {}

/// An if_bridge(4).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bridge {
    /// The uplink that is a member of the bridge; absent: a switch inside the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<String>,
    /// `private`: members cannot talk to each other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private_members: bool,
    /// `stp` on the uplink's member.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stp: bool,
    /// VLAN filtering (FreeBSD 15): the VLAN that jails of this network are untagged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untagged: Option<u16>,
}

/// Point to point, routed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Routed {
    /// The size of the slices that hosts get of the subnets, for each family of them. The other hosts have one route to a slice, by the node address of the Host that has it (`addresses`). Needed, and
    /// of use, where the network spans hosts (`scope: fleet`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_prefix_length: Option<HostPrefixLength>,
    /// How the two ends are addressed.
    #[serde(default)]
    pub link: RoutedLink,
}

/// The prefix length of a host's slices, per family.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostPrefixLength {
    /// That of IPv4 subnets, such as 27.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<u8>,
    /// That of IPv6 subnets, such as 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<u8>,
}

/// How the two ends of a routed link are addressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RoutedLink {
    /// /32 and /128 in the jail, a route to each on the host. The gateway is one IPv4 address of the subnet on the host's end of every link, and fe80::1 for IPv6.
    #[default]
    Unnumbered,
    /// A pair of addresses for each link, /31 and /127: the jail's, and the one beside it on the host, which is the gateway.
    PointToPoint,
}

/// An ng_bridge(4).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Netgraph {
    /// The uplink whose ng_ether(4) `lower` and `upper` hooks the switch stands between; absent: a switch inside the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<String>,
    /// `setpromisc` on the uplink: its NIC takes frames for the jails' MAC addresses. Unless said: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promiscuous: Option<bool>,
    /// `setautosrc` on the uplink: frames of jails leave under the NIC's MAC address. Unless said: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autosrc: Option<bool>,
}

/// NICs of a pool, one jail each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Passthrough {
    /// The uplinks whose `interface` or `interfaces` are the pool.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub uplinks: Vec<String>,
}

/// One prefix of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subnet {
    /// The prefix, without host bits; the merge key. On a loopback of a sharedIP network it may be fe80::/64 or a part of it: IPv6 loopback addresses of the jails.
    pub cidr: Cidr,
    /// The default router of jails in this subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// The ranges that addresses are allocated from. Unless said: the whole subnet but its first and, for IPv4, last address, the gateway and `reserve`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allocate: Vec<AddressRange>,
    /// Addresses never allocated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub reserve: Vec<AddressRange>,
}

impl Subnet {
    /// Whether its addresses are link-local: they are no other interface's, and nothing translates or redirects them.
    #[must_use]
    pub fn is_link_local(&self) -> bool {
        is_link_local(self.cidr.net().addr())
    }

    /// The addresses that no interface in the subnet has, or that the kernel gives by itself: the network's own and the broadcast address of IPv4, the subnet-router anycast address of IPv6, and of
    /// link-local ones the loopback's. Prefixes of one or two addresses have none (RFC 3021, RFC 6164).
    pub fn edges(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let net = self.cidr.net();
        let has_edges = net.max_prefix_len() - net.prefix_len() > 1;
        let last = matches!(net, IpNet::V4(_)).then(|| net.broadcast());
        let loopback = net
            .contains(&LOOPBACK_LINK_LOCAL)
            .then_some(LOOPBACK_LINK_LOCAL);
        let edges = [Some(net.network()), last, loopback];
        edges.into_iter().flatten().filter(move |_| has_edges)
    }
}

/// The default router of a subnet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Its address, within the subnet or link-local.
    pub address: IpAddr,
    /// Who has the address. Unless said: `external` in a network with an uplink or with NICs passed through, `host` in any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<GatewayOwner>,
}

/// Who has a gateway's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GatewayOwner {
    /// The agent puts it on the bridge, on the host's end of each routed link, or on an interface of the host's at the netgraph switch.
    Host,
    /// A router outside.
    External,
}

/// How traffic leaves for the outside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// Source addresses are rewritten by pf; absent: they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat: Option<Nat>,
}

/// Outbound NAT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nat {
    /// The uplink that traffic leaves by.
    pub uplink: String,
    /// The name of the uplink's public address that IPv4 traffic gets; absent: the interface's first IPv4 address (`(igb0:0)`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The name of the uplink's public address that IPv6 traffic gets; absent: IPv6 is not translated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address6: Option<String>,
    /// `static-port`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub static_port: bool,
}

/// What jails of one network may do to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// They reach each other.
    #[default]
    None,
    /// They cannot reach each other.
    Jails,
    /// They reach each other, but only by their own MAC and IP addresses.
    Spoof,
}

/// Where an address must be unique.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// On each host: every host has its own 192.0.2.0/28.
    Host,
    /// In the whole fleet.
    Fleet,
}

/// What was observed of a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// The generation of the spec that this status answers.
    #[serde(default)]
    pub observed_generation: Generation,
    /// `Ready` and what is behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How many jails are attached.
    #[serde(default)]
    pub jails: u32,
    /// On how many hosts it has jails, and on how many of these it is as it shall be.
    #[serde(default)]
    pub hosts: HostCount,
    /// The routing table that the network was given for `fib: auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fib: Option<u16>,
}

/// The hosts that a network has jails on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostCount {
    /// Hosts with jails of the network.
    pub bound: u32,
    /// Of these, those where it is as it shall be.
    pub ready: u32,
}
