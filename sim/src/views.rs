//! Generated views: any mixture of this release's networks and jails, with addresses given as a controller would have given them.
//!
//! Two views of one host are drawn independently, so everything in them may differ: a network's families, prefix length, gateway, MTU and uplink, a jail's networks, addresses, hooks,
//! ports and policy, and whether it is bound here at all, whether all or some of a public address is its own, and which ports the Host closes. What a network and a jail look like stands in `networks` and `jails`.

mod jails;
mod networks;

use std::collections::BTreeMap;

use cellblock_agent_core::pass::withdrawn;
use cellblock_schemas::enforcement::{LOCAL_MEMBER_FILTER, MEMBER_FILTER};
use cellblock_schemas::host::{
    BlockedPorts, HostSpec, Lagg, LaggProtocol, Scrub, SysctlValue, Uplink, ViewMark, Vlan,
};
use cellblock_schemas::ids::{ClusterUid, Generation, Uid};
use cellblock_schemas::jail::{Firewall, RunPolicy};
use cellblock_schemas::net::{PortRange, Protocol};
use cellblock_schemas::view::{HostView, JailView};
use proptest::prelude::*;

pub use jails::{JAILS, Sketch, sketch};
pub use networks::{Families, NETWORKS, NetSketch, NetSketches, PASSED, net_sketch};

/// Any view: each network in any shape, for each of the four jails a sketch or nothing, and ports that the Host closes.
pub fn view() -> BoxedStrategy<HostView> {
    (
        prop::array::uniform8(net_sketch()),
        prop::array::uniform4(prop::option::weighted(0.7, sketch())),
        closed(),
    )
        .prop_map(|(networks, sketches, closed)| {
            let mut view = build(&networks, &sketches);
            if let Some(external) = view.host.uplinks.get_mut("external") {
                external.scrub = scrub(&closed);
                external.block = closed;
            }
            // Not by chance, so that what is in `laws.proptest-regressions` stays what it was.
            if view.jails.len() % 2 == 1 {
                let oid = "net.inet.tcp.msl".to_owned();
                view.host.sysctls = BTreeMap::from([(oid, SysctlValue::Number(20_000))]);
            } else if view.jails.values().any(|jail| filters_members(&view, jail)) {
                for oid in [MEMBER_FILTER, LOCAL_MEMBER_FILTER] {
                    let sysctls = &mut view.host.sysctls;
                    sysctls.insert(oid.to_owned(), SysctlValue::Number(1));
                }
            }
            view
        })
        .boxed()
}

/// The view of these networks and jails.
#[must_use]
pub fn build(networks: &NetSketches, sketches: &[Option<Sketch>; 4]) -> HostView {
    let mut view = HostView {
        cluster: ClusterUid("c1".to_owned()),
        mark: ViewMark {
            epoch: 1,
            generation: Generation(1),
        },
        host_name: "vm15".to_owned(),
        host_uid: Uid("host-uid".to_owned()),
        host_generation: Generation(1),
        host: HostSpec {
            uplinks: BTreeMap::from([
                ("external".to_owned(), external()),
                ("spare".to_owned(), uplink("vtnet1", None)),
                ("third".to_owned(), uplink("vtnet2", None)),
                ("fourth".to_owned(), uplink("vtnet3", None)),
                ("unplugged".to_owned(), uplink("igb7", None)),
                ("pool".to_owned(), pool()),
            ]),
            fibs: networks[1].private.then_some(networks::FIB + 1),
            ..HostSpec::default()
        },
        ..HostView::default()
    };
    view.host.uplinks.extend(made(networks));
    for (index, sketch) in sketches.iter().enumerate() {
        let Some(sketch) = sketch else { continue };
        for network in &sketch.networks {
            view.networks.insert(
                NETWORKS[*network].to_owned(),
                networks::network(*network, &networks[*network]),
            );
        }
        let mut jail = jails::jail(index, sketch, networks);
        if let Some(nic) = jails::nic(index, sketch) {
            // Not by chance either; as the network with the other NIC of its own.
            let like = &networks[NETWORKS.len() - 1];
            view.networks
                .insert(PASSED.to_owned(), networks::passed(like));
            jails::pass(&mut jail, index, nic, like);
        }
        view.jails.insert(jail.uid.clone(), jail);
    }
    view
}

/// The same host with nothing wanted on it, and nothing declared: as if its Host had been deleted, after its jails.
///
/// # Panics
/// It was given up.
#[must_use]
pub fn emptied(view: &HostView) -> HostView {
    let mut view = view.clone();
    for jail in view.jails.values_mut() {
        jail.deleting = true;
    }
    withdrawn(&view).expect("the jails were deleted first")
}

/// Whether a jail's firewall is about members of a bridge.
fn filters_members(view: &HostView, jail: &JailView) -> bool {
    let firewall = jail.spec.firewall_of_host();
    firewall.is_some_and(|firewall| {
        let mut networks = jail.spec.networks.iter();
        networks.any(|attachment| {
            let network = view.networks.get(&attachment.network);
            network.is_some_and(|network| network.spec.bridge.is_some())
                && firewall.concerns(&attachment.network)
        })
    })
}

/// What of a jail's firewall the host of the simulation cannot do.
fn unfiltered(view: &HostView, jail: &JailView) -> impl Iterator<Item = &'static str> {
    let declared = view.host.sysctls.contains_key(MEMBER_FILTER);
    let members = filters_members(view, jail) && !declared;
    let mut rules = jail.spec.firewall.iter().flat_map(Firewall::rules);
    let unknown = rules.any(|(_, _, rule)| {
        let user = rule.user.as_deref();
        user.is_some_and(|user| user.ends_with(jails::NOBODY))
    });
    let members = members.then_some("MemberFilterUndeclared");
    members.into_iter().chain(unknown.then_some("NameUnknown"))
}

/// Why the host of the simulation cannot run a jail of this view, as reason codes of which one must be reported; none: it must run.
#[must_use]
pub fn obstacles(view: &HostView, jail: &JailView) -> Vec<&'static str> {
    let networks = jail.spec.networks.iter().filter_map(|attachment| {
        let spec = &view.networks.get(&attachment.network)?.spec;
        let uplink = match (&spec.bridge, &spec.shared_ip, &spec.netgraph) {
            (Some(bridge), _, _) => bridge.uplink.as_deref(),
            (None, Some(shared), _) => shared.uplink.as_deref(),
            (None, None, Some(netgraph)) => netgraph.uplink.as_deref(),
            (None, None, None) => None,
        };
        match uplink {
            Some("unplugged") => Some("UplinkMissing"),
            Some("external") if spec.bridge.is_some() => Some("UplinkHasAddresses"),
            Some(_) | None => None,
        }
    });
    let mut attachments = jail.binding.attachments.iter();
    let unplugged = attachments.any(|bound| bound.nic.as_deref() == Some(jails::NO_NIC));
    let networks = networks.chain(unplugged.then_some("UplinkMissing"));
    let root = jail.spec.root.as_ref();
    let rootless = root.is_some_and(|root| root.path.starts_with(jails::NOWHERE));
    rootless
        .then_some("RootMissing")
        .into_iter()
        .chain(networks)
        .chain(unfiltered(view, jail))
        .collect()
}

/// Why a jail of this view that does not run would not start because of those that it depends on, as reason codes of which one must be reported; none: it must run.
#[must_use]
pub fn out_of_order(view: &HostView, jail: &JailView) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    // Each with the way that leads to it: two that come together again are no circle.
    let mut open = vec![vec![jail]];
    while let Some(way) = open.pop() {
        let at = way.last().expect("it begins with the jail");
        for name in &at.spec.depends_on {
            let mut jails = view.jails.values();
            let Some(found) = jails.find(|found| found.name == *name) else {
                reasons.push(if way.len() == 1 {
                    "DependencyMissing"
                } else {
                    "DependencyNotReady"
                });
                continue;
            };
            let stays = !found.deleting && found.spec.run_policy != RunPolicy::Stopped;
            if !stays || !obstacles(view, found).is_empty() {
                reasons.push("DependencyNotReady");
            }
            if way.iter().any(|passed| passed.name == found.name) {
                reasons.push("DependencyCycle");
                continue;
            }
            open.push([way.as_slice(), &[found]].concat());
        }
    }
    reasons
}

/// Ports that the Host closes on its public address; no generated jail publishes them, as the controller refuses that.
fn closed() -> impl Strategy<Value = Vec<BlockedPorts>> {
    let one = (
        prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)],
        prop_oneof![Just((111, 111)), Just((2049, 2050))],
        prop_oneof![Just(None), Just(Some("main".to_owned()))],
    );
    prop::collection::vec(one, 0..3).prop_map(|closed| {
        let entry = |(index, (protocol, (first, last), address))| BlockedPorts {
            name: format!("closed-{index}"),
            protocol,
            ports: vec![PortRange { first, last }],
            address,
        };
        closed.into_iter().enumerate().map(entry).collect()
    })
}

/// What the Host has scrubbed: not by chance either, but as what it closes.
fn scrub(closed: &[BlockedPorts]) -> Option<Scrub> {
    let last = closed.last()?;
    Some(Scrub {
        max_mss: last.address.is_some().then_some(1452),
        no_df: last.protocol == Protocol::Udp,
        random_id: last.address.is_none(),
    })
}

/// The uplink with the host's first address of each family, and with one of each for every jail. Only the first IPv4 address is on a fresh world (`World::add_public_addresses`).
fn external() -> Uplink {
    let mut external = uplink("vtnet0", Some("10.0.2.15"));
    let public = &mut external.public_addresses;
    let parse = |text: String| text.parse().expect("a constant of this file");
    public.insert("main6".to_owned(), parse("2001:db8:99::15".to_owned()));
    for (index, name) in JAILS.iter().enumerate() {
        let last = 101 + index;
        public.insert(format!("own-{name}"), parse(format!("10.0.2.{last}")));
        public.insert(
            format!("own6-{name}"),
            parse(format!("2001:db8:99::{last}")),
        );
    }
    external
}

/// A lagg and two vlans on it, where a network leans on one of them. Not by chance either: what they are like follows from the networks.
fn made(networks: &NetSketches) -> Vec<(String, Uplink)> {
    let [_, shared, _, lan, ..] = networks;
    if !(networks::is_upon_lagg(shared) || networks::is_upon_lagg(lan)) {
        return Vec::new();
    }
    let (protocol, hash) = match lan.families {
        Families::Both => (LaggProtocol::Failover, None),
        Families::Ipv4 => (LaggProtocol::Lacp, Some("l2,l3".to_owned())),
        Families::Ipv6 => (LaggProtocol::Roundrobin, None),
    };
    let mut ports = vec!["vtnet6".to_owned(), "vtnet7".to_owned()];
    if lan.private {
        ports.reverse();
    }
    if lan.odd_owner {
        ports.truncate(1);
    }
    let wan = Uplink {
        lagg: Some(Lagg {
            protocol,
            ports,
            hash,
        }),
        ..Uplink::default()
    };
    let vlan = |id| Uplink {
        vlan: Some(Vlan {
            id,
            uplink: "wan".to_owned(),
        }),
        ..Uplink::default()
    };
    let (one, other) = if lan.nat { (30, 31) } else { (31, 30) };
    vec![
        ("wan".to_owned(), wan),
        ("tagged".to_owned(), vlan(one)),
        ("tagged-too".to_owned(), vlan(other)),
    ]
}

fn pool() -> Uplink {
    let nics = jails::NICS.iter();
    Uplink {
        interfaces: nics.map(|nic| (*nic).to_owned()).collect(),
        ..Uplink::default()
    }
}

fn uplink(interface: &str, public: Option<&str>) -> Uplink {
    Uplink {
        interface: Some(interface.to_owned()),
        public_addresses: public
            .map(|public| {
                let address = public.parse().expect("a constant of this file");
                ("main".to_owned(), address)
            })
            .into_iter()
            .collect(),
        ..Uplink::default()
    }
}
