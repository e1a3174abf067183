//! Generated networks: both shared-IP modes, a switch inside the host, a bridge with an uplink, which may be a lagg or a vlan on it, routed links of both kinds, and netgraph switches inside the host and with an uplink, each in many shapes.

use std::net::{IpAddr, Ipv4Addr};

use cellblock_schemas::ids::{Generation, Uid};
use cellblock_schemas::net::{Cidr, Mac};
use cellblock_schemas::network::{
    Bridge, Egress, Fib, Gateway, GatewayOwner, HostPrefixLength, Isolation, Loopback, Nat,
    Netgraph, NetworkSpec, Passthrough, Routed, RoutedLink, SharedIp, Subnet,
};
use cellblock_schemas::view::{NetworkView, SliceView};
use proptest::prelude::*;

/// The networks that generated jails are attached to.
pub const NETWORKS: [&str; 8] = [
    "inside", "nic", "switch", "lan", "routed", "pairs", "graph", "ether",
];

/// The network of NICs that are passed through.
pub const PASSED: &str = "own";

/// The routing table of jails on a NIC, where they have one of their own.
pub(super) const FIB: u16 = 1;

/// A sketch of each of [`NETWORKS`].
pub type NetSketches = [NetSketch; NETWORKS.len()];

/// Which address families a network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// IPv4 and IPv6.
    Both,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

impl Families {
    pub(super) fn has_ipv4(self) -> bool {
        self != Self::Ipv6
    }

    pub(super) fn has_ipv6(self) -> bool {
        self != Self::Ipv4
    }
}

/// What a generated network is like; what has no meaning in its mode is left out.
#[derive(Clone, Debug)]
pub struct NetSketch {
    /// Which families.
    pub families: Families,
    /// Prefixes one bit longer than usual.
    pub narrow: bool,
    /// The last octet of the gateways; none: no gateway, or what a routed network has unless said.
    pub gateway: Option<u8>,
    /// The host has the gateways although there is an uplink, or somebody else although there is none; the addresses on the loopback are link-local; links that the host routes by span hosts.
    pub odd_owner: bool,
    /// In octets.
    pub mtu: Option<u32>,
    /// The uplink of a network that has one.
    pub uplink: &'static str,
    /// Members cannot talk to each other.
    pub private: bool,
    /// Addresses are translated on the way out.
    pub nat: bool,
}

impl Default for NetSketch {
    /// Both families behind NAT, gateways at `.1`, the NIC that nobody uses as the uplink of the bridge.
    fn default() -> Self {
        Self {
            families: Families::Both,
            narrow: false,
            gateway: Some(1),
            odd_owner: false,
            mtu: None,
            uplink: "spare",
            private: false,
            nat: true,
        }
    }
}

/// Any network; boxed, so that several of them fit the stack of a test.
pub fn net_sketch() -> BoxedStrategy<NetSketch> {
    let families = prop_oneof![
        3 => Just(Families::Both),
        1 => Just(Families::Ipv4),
        1 => Just(Families::Ipv6),
    ];
    let gateway = prop_oneof![3 => Just(Some(1)), 1 => Just(Some(2)), 1 => Just(None)];
    let mtu = prop_oneof![3 => Just(None), 1 => Just(Some(1400)), 1 => Just(Some(9000))];
    let uplink = prop_oneof![
        5 => Just("spare"),
        3 => Just("third"),
        2 => Just("external"),
        1 => Just("unplugged"),
    ];
    (
        families,
        prop::bool::weighted(0.2),
        gateway,
        prop::bool::weighted(0.1),
        mtu,
        uplink,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.7),
    )
        .prop_map(
            |(families, narrow, gateway, odd_owner, mtu, uplink, private, nat)| NetSketch {
                families,
                narrow,
                gateway,
                odd_owner,
                mtu,
                uplink,
                private,
                nat,
            },
        )
        .boxed()
}

/// The network of that index in [`NETWORKS`].
pub(super) fn network(index: usize, sketch: &NetSketch) -> NetworkView {
    let octet = u8::try_from(index).expect("few networks");
    let spec = match index {
        0 => NetworkSpec {
            shared_ip: Some(SharedIp {
                loopback: Some(Loopback {}),
                uplink: None,
            }),
            subnets: subnets(sketch, ("192.0.2.0", 28), (loopback6(sketch), 64), None),
            egress: egress(sketch),
            isolation: isolation(sketch.private),
            ..NetworkSpec::default()
        },
        1 => NetworkSpec {
            shared_ip: Some(SharedIp {
                loopback: None,
                uplink: Some(shared_uplink(sketch).to_owned()),
            }),
            subnets: subnets(sketch, ("10.0.2.0", 24), ("fd00:2::", 64), None),
            // Not by chance, so that what is in `laws.proptest-regressions` stays what it was.
            fib: sketch.private.then_some(Fib::Number(FIB)),
            isolation: isolation(!sketch.nat),
            ..NetworkSpec::default()
        },
        2 => NetworkSpec {
            bridge: Some(Bridge {
                private_members: sketch.private && !sketch.nat,
                ..Bridge::default()
            }),
            isolation: isolation(sketch.private && sketch.nat),
            subnets: subnets(
                sketch,
                ("10.10.0.0", 24),
                ("fd00:10::", 64),
                Some(GatewayOwner::External),
            ),
            egress: egress(sketch),
            mtu: sketch.mtu,
            ..NetworkSpec::default()
        },
        3 => NetworkSpec {
            bridge: Some(Bridge {
                uplink: Some(bridged_uplink(sketch).to_owned()),
                private_members: sketch.private && !sketch.nat,
                ..Bridge::default()
            }),
            isolation: isolation(sketch.private && sketch.nat),
            subnets: subnets(sketch, ("10.30.0.0", 24), ("2001:db8:30::", 64), None),
            // All members have the MTU of the uplink.
            mtu: sketch.mtu.map(|_| 1500),
            ..NetworkSpec::default()
        },
        4 => routed(
            sketch,
            RoutedLink::Unnumbered,
            subnets(sketch, ("10.40.0.0", 24), ("fd00:40::", 64), None),
        ),
        5 => routed(
            sketch,
            RoutedLink::PointToPoint,
            subnets(sketch, ("10.41.0.0", 24), ("fd00:41::", 64), None),
        ),
        6 => NetworkSpec {
            netgraph: Some(Netgraph::default()),
            subnets: subnets(sketch, ("10.60.0.0", 24), ("fd00:60::", 64), None),
            // Without an address of the host's at the switch there is nothing to translate, which admission refuses.
            egress: sketch.gateway.and_then(|_| egress(sketch)),
            mtu: sketch.mtu,
            ..NetworkSpec::default()
        },
        _ => NetworkSpec {
            netgraph: Some(Netgraph {
                uplink: Some("third".to_owned()),
                promiscuous: sketch.private.then_some(false),
                autosrc: sketch.odd_owner.then_some(true),
            }),
            subnets: subnets(sketch, ("10.70.0.0", 24), ("2001:db8:70::", 64), None),
            // As for a bridge.
            mtu: sketch.mtu.map(|_| 1500),
            ..NetworkSpec::default()
        },
    };
    NetworkView {
        slices: slices(&spec),
        name: NETWORKS[index].to_owned(),
        uid: Uid(format!("net-{}", NETWORKS[index])),
        generation: Generation(1),
        bridge_mac: (spec.bridge.is_some() || spec.netgraph.is_some())
            .then_some(Mac([0x0a, 0xcb, 0, 0, 0, octet])),
        spec,
    }
}

/// The network of NICs that are passed through.
pub(super) fn passed(sketch: &NetSketch) -> NetworkView {
    NetworkView {
        name: PASSED.to_owned(),
        uid: Uid(format!("net-{PASSED}")),
        generation: Generation(1),
        bridge_mac: None,
        slices: Vec::new(),
        spec: NetworkSpec {
            passthrough: Some(Passthrough {
                uplinks: vec!["pool".to_owned()],
            }),
            subnets: subnets(sketch, ("10.80.0.0", 24), ("2001:db8:80::", 64), None),
            mtu: sketch.mtu,
            ..NetworkSpec::default()
        },
    }
}

/// Its only gateways that a manifest may choose are those of unnumbered IPv4, which admission fills in where the manifest does not.
fn routed(sketch: &NetSketch, link: RoutedLink, mut subnets: Vec<Subnet>) -> NetworkSpec {
    for subnet in &mut subnets {
        let net = subnet.cidr.net().addr();
        let chosen = link == RoutedLink::Unnumbered && net.is_ipv4();
        subnet.gateway = chosen.then(|| Gateway {
            address: offset(&net.to_string(), sketch.gateway.unwrap_or(1)),
            owner: None,
        });
    }
    NetworkSpec {
        routed: Some(Routed {
            link,
            // As for the tables of jails on a NIC.
            host_prefix_length: sketch.odd_owner.then_some(HostPrefixLength {
                ipv4: Some(27),
                ipv6: Some(80),
            }),
        }),
        subnets,
        isolation: isolation(sketch.private),
        egress: egress(sketch),
        mtu: sketch.mtu,
        ..NetworkSpec::default()
    }
}

/// What another host on the wire has of a network that spans hosts.
fn slices(spec: &NetworkSpec) -> Vec<SliceView> {
    let subnets = spec.subnets.iter().map(|subnet| subnet.cidr.net());
    let bases = subnets.map(|net| offset(&net.addr().to_string(), 96));
    let slices = bases.filter_map(|base| spec.slice_of(base).filter(|net| net.addr().is_ipv4()));
    let views = slices.map(|net| SliceView {
        cidr: Cidr(net),
        host: "fbsd-02".to_owned(),
        next_hop: Ipv4Addr::new(10, 0, 2, 22).into(),
    });
    views.collect()
}

/// The IPv6 addresses on the loopback: unique local ones, or link-local ones.
pub(super) fn loopback6(sketch: &NetSketch) -> &'static str {
    if sketch.odd_owner {
        "fe80::"
    } else {
        "fd00:20::"
    }
}

fn isolation(apart: bool) -> Isolation {
    if apart {
        Isolation::Jails
    } else {
        Isolation::default()
    }
}

/// A shared-IP network never stands on the NICs that bridges take: the controller refuses that. It may stand on the one that a netgraph switch has.
fn shared_uplink(sketch: &NetSketch) -> &'static str {
    match sketch.uplink {
        "third" if is_upon_lagg(sketch) => "tagged-too",
        "third" => "third",
        "unplugged" => "unplugged",
        _ => "external",
    }
}

/// A bridge never takes the NIC of a netgraph switch: of two switches at one NIC the agent refuses the second.
fn bridged_uplink(sketch: &NetSketch) -> &'static str {
    match sketch.uplink {
        "third" if is_upon_lagg(sketch) => "tagged",
        "spare" if is_upon_lagg(sketch) => "wan",
        "third" => "fourth",
        uplink => uplink,
    }
}

/// Whether a network with an uplink has the lagg, or a vlan on it.
pub(super) fn is_upon_lagg(sketch: &NetSketch) -> bool {
    sketch.narrow && matches!(sketch.uplink, "third" | "spare")
}

fn egress(sketch: &NetSketch) -> Option<Egress> {
    sketch.nat.then(|| Egress {
        nat: Some(Nat {
            uplink: "external".to_owned(),
            address: Some("main".to_owned()),
            address6: None,
            static_port: false,
        }),
    })
}

fn subnets(
    sketch: &NetSketch,
    (base4, prefix4): (&str, u8),
    (base6, prefix6): (&str, u8),
    odd: Option<GatewayOwner>,
) -> Vec<Subnet> {
    let longer = u8::from(sketch.narrow);
    let mut subnets = Vec::new();
    if sketch.families.has_ipv4() {
        subnets.push(subnet(base4, prefix4 + longer, sketch, odd));
    }
    if sketch.families.has_ipv6() {
        subnets.push(subnet(base6, prefix6 + longer, sketch, odd));
    }
    subnets
}

fn subnet(base: &str, prefix: u8, sketch: &NetSketch, odd: Option<GatewayOwner>) -> Subnet {
    let gateway = sketch.gateway.map(|octet| Gateway {
        address: offset(base, octet),
        owner: odd.filter(|_| sketch.odd_owner),
    });
    Subnet {
        cidr: format!("{base}/{prefix}")
            .parse()
            .expect("the bases have no host bits"),
        gateway,
        allocate: Vec::new(),
        reserve: Vec::new(),
    }
}

/// The address `last` above a base whose last octet is 0; an IPv6 one is spelled with the same digits.
pub(super) fn offset(base: &str, last: u8) -> IpAddr {
    match base.parse().expect("a constant of these files") {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) | u32::from(last)).into()),
        IpAddr::V6(v6) => {
            IpAddr::V6((u128::from(v6) | u128::from(last / 10 * 16 + last % 10)).into())
        }
    }
}
