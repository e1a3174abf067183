//! Hosts of any size, as views and as what a look would find there, for what must grow no faster than the host. Used by `tests/growth.rs` and `benches/plan.rs`.
//!
//! A host at rest is made by applying the planner's own operations to an empty one, so that it has what the planner asks for and nothing else. Whether operations do on a kernel what `apply` says here is
//! not asked; the laws in `sim/` do that.

pub(crate) mod growth;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cellblock_agent_core::Ledger;
use cellblock_agent_core::execute::Unkept;
use cellblock_agent_core::ledger::Contents;
use cellblock_agent_core::observed::{
    Address, AnchorReference, Directory, Interface, JailMeta, Member, Observed, ObservedJail, Pf,
    Route, Vnet,
};
use cellblock_agent_core::op::{Op, Plan, Record};
use cellblock_agent_core::plan::{self, Settings};
use cellblock_schemas::ids::{ClusterUid, Uid};
use cellblock_schemas::jail::{Attachment, Binding, BoundAttachment, JailSpec, Publish, Root};
use cellblock_schemas::net::{Family, HostAddress, Mac, PortRange, Protocol};
use cellblock_schemas::view::{HostView, JailView, NetworkView};

/// How generated jails are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Two interfaces on two switches, in both families, one published port.
    Vnet,
    /// An IPv4 and an IPv6 address on a loopback, one published port.
    Shared,
}

/// The two networks of VNET jails, and the one of shared-IP jails.
const NETWORKS: &str = r#"{
    "left": {"name": "left", "uid": "net-left", "bridgeMac": "0a:cb:00:00:00:01", "spec": {"bridge": {},
        "subnets": [{"cidr": "10.64.0.0/14", "gateway": {"address": "10.64.0.1"}}, {"cidr": "fd00:1::/64"}],
        "egress": {"nat": {"uplink": "external", "address": "main"}}}},
    "right": {"name": "right", "uid": "net-right", "bridgeMac": "0a:cb:00:00:00:02", "spec": {"bridge": {},
        "subnets": [{"cidr": "10.128.0.0/14"}, {"cidr": "fd00:2::/64"}]}},
    "inside": {"name": "inside", "uid": "net-inside", "spec": {"sharedIP": {"loopback": {}},
        "subnets": [{"cidr": "10.192.0.0/14"}, {"cidr": "fd00:3::/64"}],
        "egress": {"nat": {"uplink": "external", "address": "main"}}}}
}"#;

const HOST: &str = r#"{"uplinks": {"external": {"interface": "vtnet0", "publicAddresses": {"main": "203.0.113.1"}}}}"#;

/// Where the agent keeps its files.
pub(crate) fn settings() -> Settings {
    Settings {
        folder: "/var/db/cellblock".to_owned(),
    }
}

/// The view of a host with `count` jails.
pub(crate) fn view(kind: Kind, count: u32) -> HostView {
    let mut networks: BTreeMap<String, NetworkView> =
        serde_json::from_str(NETWORKS).expect("a constant of this file");
    let names: &[&str] = match kind {
        Kind::Vnet => &["left", "right"],
        Kind::Shared => &["inside"],
    };
    networks.retain(|name, _| names.contains(&name.as_str()));
    HostView {
        cluster: ClusterUid("7f3c9e1a-0000-4000-8000-000000000001".to_owned()),
        host_name: "big".to_owned(),
        host: serde_json::from_str(HOST).expect("a constant of this file"),
        networks,
        jails: (0..count)
            .map(|number| jail(names, number))
            .map(|jail| (jail.uid.clone(), jail))
            .collect(),
        ..HostView::default()
    }
}

fn jail(networks: &[&str], number: u32) -> JailView {
    let name = format!("jail-{number:05}");
    let port = 10_000 + u16::try_from(number).expect("no more jails than ports");
    let interfaces = networks.iter().zip(0_u8..);
    JailView {
        uid: Uid(format!("5d3b7c11-0000-4000-8000-{number:012}")),
        spec: JailSpec {
            root: Some(Root {
                path: format!("/jails/{name}"),
            }),
            networks: networks
                .iter()
                .map(|network| Attachment {
                    network: (*network).to_owned(),
                    interface: format!("{network}0"),
                    ..Attachment::default()
                })
                .collect(),
            publish: vec![Publish {
                name: "web".to_owned(),
                protocol: Protocol::Tcp,
                ports: vec![PortRange {
                    first: port,
                    last: port,
                }],
                to: Some(80),
                uplink: "external".to_owned(),
                address: Some("main".to_owned()),
                network: None,
                shared: None,
                sticky: false,
            }],
            ..JailSpec::default()
        },
        binding: Binding {
            user_ids: None,
            host: "big".to_owned(),
            attachments: interfaces
                .map(|(network, index)| bound(network, index, number))
                .collect(),
        },
        name,
        ..JailView::default()
    }
}

fn bound(network: &str, index: u8, number: u32) -> BoundAttachment {
    let first = match network {
        "left" => Ipv4Addr::new(10, 64, 1, 0),
        "right" => Ipv4Addr::new(10, 128, 1, 0),
        _ => Ipv4Addr::new(10, 192, 1, 0),
    };
    let group = match network {
        "left" => 1,
        "right" => 2,
        _ => 3,
    };
    let ip4 = Ipv4Addr::from_bits(first.to_bits() + number);
    let [.., high, low] = number.to_be_bytes();
    let ip6 = Ipv6Addr::new(
        0xfd00,
        group,
        0,
        0,
        0,
        0,
        1,
        u16::from_be_bytes([high, low]),
    );
    let address = |address: IpAddr| HostAddress {
        address,
        prefix_length: None,
    };
    BoundAttachment {
        network: network.to_owned(),
        interface: format!("{network}0"),
        addresses: vec![address(ip4.into()), address(ip6.into())],
        mac: (network != "inside").then_some(Mac([2, 0xcb, 0, index, high, low])),
        nic: None,
    }
}

/// A host on which nothing of `view` stands yet, and its agent's ledger.
pub(crate) fn empty(view: &HostView) -> (Observed, Ledger) {
    let nic = Interface {
        name: "vtnet0".to_owned(),
        flags: ["UP"].into(),
        mtu: 1500,
        addresses: vec![address("203.0.113.1".parse().expect("an address"), 24)],
        ..Interface::default()
    };
    let wanted = plan::wanted(view, &Ledger::new());
    let mut observed = Observed {
        boot_id: "1".to_owned(),
        interfaces: vec![nic],
        pf: Pf {
            loaded: true,
            enabled: true,
            references: BTreeSet::from(AnchorReference::ALL),
            ..Pf::default()
        },
        modules: wanted.modules,
        sysctls: wanted
            .sysctls
            .into_iter()
            .map(|oid| (oid, Some("1".to_owned())))
            .collect(),
        devfs_rulesets: BTreeSet::from([4]),
        jail_parameters: BTreeSet::from(["meta".to_owned()]),
        directories: wanted
            .directories
            .into_iter()
            .map(|path| (path.clone(), Directory::At(path)))
            .collect(),
        ..Observed::default()
    };
    observed.facts.features = vec!["vimage".to_owned()];
    let ledger = Contents {
        approved: true,
        boot_id: "1".to_owned(),
        view: Some(view.clone().into()),
        ..Contents::default()
    };
    (observed, ledger.into())
}

/// A host on which everything of `view` stands, and its agent's ledger.
///
/// # Panics
/// Something is left to do on it: then `apply` does not fit the planner any more.
pub(crate) fn at_rest(view: &HostView) -> (Observed, Ledger) {
    let (mut observed, mut ledger) = empty(view);
    let first = plan::plan(view, &observed, &ledger, &settings());
    apply(&first, &mut observed, &mut ledger);
    plan::learn(view, &observed, &mut ledger, &mut Unkept).expect("no file never fails");
    let rest = plan::plan(view, &observed, &ledger, &settings());
    assert_eq!(
        rest,
        Plan::default(),
        "a host at rest has something to do: {:#?}",
        rest.lines().iter().take(10).collect::<Vec<_>>()
    );
    (observed, ledger)
}

/// What the steps of `plan` make of a host.
fn apply(plan: &Plan, observed: &mut Observed, ledger: &mut Ledger) {
    let mut index = BTreeMap::from([("vtnet0".to_owned(), 0)]);
    for step in &plan.steps {
        let noted = step.record.iter().cloned().map(Record::noted).collect();
        ledger
            .commit(noted, &mut Unkept)
            .expect("no file never fails");
        perform(&step.op, observed, &mut index);
    }
    observed.interfaces.retain(|interface| interface.mtu != 0);
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only what a first start does is modelled, and anything else fails"
)]
fn perform(op: &Op, observed: &mut Observed, index: &mut BTreeMap<String, usize>) {
    let interfaces = &mut observed.interfaces;
    let mut make = |interface: Interface| {
        index.insert(interface.name.clone(), interfaces.len());
        interfaces.push(interface);
    };
    match op {
        Op::CreateBridge {
            name,
            description,
            mac,
        } => make(interface(name, description, Some(*mac), 1500)),
        Op::CreateLoopback { name, description } => {
            make(interface(name, description, None, 16384));
        }
        Op::CreateEpair(pair) => {
            make(interface(
                &pair.host_end,
                &pair.host_description,
                Some(pair.host_mac),
                pair.mtu,
            ));
            make(interface(
                &pair.jail_end,
                &pair.jail_description,
                Some(pair.jail_mac),
                pair.mtu,
            ));
        }
        Op::AddMember { bridge, member } => {
            let bridge = &mut interfaces[index[bridge]];
            bridge.members.insert(member.clone(), Member::default());
        }
        Op::AddAddress {
            interface,
            address: added,
            prefix_length,
            ..
        } => {
            let interface = &mut interfaces[index[interface]];
            interface.addresses.push(address(*added, *prefix_length));
        }
        Op::WriteFile { path, content } => {
            observed.files.insert(path.clone(), content.clone());
        }
        Op::LoadAnchor { anchor, rules, .. } => {
            let hash = rules
                .split("cellblock:cfg:")
                .nth(1)
                .and_then(|rest| rest.split('"').next());
            let hash = hash.expect("every anchor of ours is labelled").to_owned();
            observed.pf.anchors.insert(anchor.clone(), hash);
        }
        Op::StartJail { name, conf } => {
            let text = observed.files[conf].clone();
            start(name, &text, observed, index);
        }
        other => panic!("a first start does not {other}"),
    }
}

/// Starts a jail: what its jail.conf says about addresses and interfaces comes true. An interface that moved away leaves an entry without MTU behind, so that no index shifts.
fn start(name: &str, conf: &str, observed: &mut Observed, index: &mut BTreeMap<String, usize>) {
    let jid = u32::try_from(observed.jails.len() + 1).expect("few jails");
    let mut jail = ObservedJail {
        jid,
        name: name.to_owned(),
        path: format!("/jails/{name}"),
        ..ObservedJail::default()
    };
    let mut vnet = Vnet::default();
    for line in conf.lines() {
        let line = line
            .trim()
            .trim_end_matches(';')
            .trim_end_matches('"')
            .trim_start_matches("exec.created += \"");
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["vnet"] => jail.vnet = true,
            ["meta", "=", meta] => jail.meta = JailMeta::parse(&meta["\"cellblock=".len()..]),
            ["ip4.addr", "=", ref list @ ..] => jail.ip4 = addresses(list),
            ["ip6.addr", "=", ref list @ ..] => jail.ip6 = addresses(list),
            ["/sbin/ifconfig", end, "vnet", _] => {
                let moved = &mut observed.interfaces[index[end]];
                vnet.interfaces.push(moved.clone());
                moved.mtu = 0;
            }
            ["/sbin/ifconfig", "-j", _, _, "name", new] => {
                let moved = vnet.interfaces.last_mut().expect("it was moved before");
                new.clone_into(&mut moved.name);
            }
            [
                "/sbin/ifconfig",
                "-j",
                _,
                interface,
                "inet" | "inet6",
                text,
                ..,
            ] if interface != "lo0" => {
                let (text, prefix_length) = text.split_once('/').expect("with prefix length");
                let entry = address(
                    text.parse().expect("an address"),
                    prefix_length.parse().expect("a number"),
                );
                let moved = vnet.interfaces.last_mut().expect("it was moved before");
                moved.addresses.push(entry);
            }
            ["/sbin/route", .., gateway] => vnet.routes.push(Route {
                family: Family::Ipv4,
                destination: "default".to_owned(),
                gateway: gateway.to_owned(),
                flags: "UGS".to_owned(),
                interface: "left0".to_owned(),
            }),
            _ => {}
        }
    }
    if jail.vnet {
        observed.vnets.insert(jid, vnet);
    }
    observed.jails.push(jail);
}

fn addresses(list: &[&str]) -> Vec<IpAddr> {
    let texts = list
        .iter()
        .map(|text| text.trim_matches(|c| c == '"' || c == ','));
    texts
        .map(|text| text.parse().expect("an address"))
        .collect()
}

fn interface(name: &str, description: &str, mac: Option<Mac>, mtu: u32) -> Interface {
    Interface {
        name: name.to_owned(),
        flags: ["UP", "BROADCAST", "RUNNING"].into(),
        description: Some(description.to_owned()),
        mtu,
        mac,
        ..Interface::default()
    }
}

fn address(address: IpAddr, prefix_length: u8) -> Address {
    Address {
        address,
        prefix_length,
        scope: None,
        tentative: false,
        duplicated: false,
    }
}
