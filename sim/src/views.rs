//! Generated views: any mixture of this release's networks and jails, with addresses given as a controller would have given them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cellblock_schemas::host::{HostSpec, Uplink, ViewMark};
use cellblock_schemas::ids::{ClusterUid, Generation, Uid};
use cellblock_schemas::jail::{
    Attachment, Binding, BoundAttachment, JailSpec, Mount, ParameterValue, Publish, Root, RunPolicy,
};
use cellblock_schemas::net::{HostAddress, Mac, PortRange, Protocol};
use cellblock_schemas::network::{
    Bridge, Egress, Gateway, Loopback, Nat, NetworkSpec, SharedIp, Subnet,
};
use cellblock_schemas::view::{HostView, JailView, NetworkView};
use proptest::prelude::*;

/// The networks that generated jails are attached to.
pub const NETWORKS: [&str; 4] = ["inside", "nic", "switch", "lan"];

/// The names, and the roots below /jails, of generated jails.
pub const JAILS: [&str; 4] = ["a", "b", "c", "d"];

/// What a generated jail is like.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// Which networks, by index; shared-IP and VNET are never mixed.
    pub networks: Vec<usize>,
    /// Publishes a port.
    pub published: bool,
    /// Has devfs.
    pub devfs: bool,
    /// Has a tmpfs mount.
    pub mount: bool,
    /// `securelevel`
    pub securelevel: i64,
    /// Is stopped.
    pub stopped: bool,
    /// Its root does not exist.
    pub rootless: bool,
}

/// Any jail.
pub fn sketch() -> impl Strategy<Value = Sketch> {
    let networks = prop_oneof![
        Just(vec![]),
        Just(vec![0]),
        Just(vec![1]),
        Just(vec![0, 1]),
        Just(vec![2]),
        Just(vec![3]),
        Just(vec![2, 3]),
        Just(vec![3, 2]),
    ];
    (
        networks,
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.2),
        -1..3_i64,
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    )
        .prop_map(
            |(networks, published, devfs, mount, securelevel, stopped, rootless)| Sketch {
                published: published && !networks.is_empty(),
                networks,
                devfs,
                mount,
                securelevel,
                stopped,
                rootless,
            },
        )
}

/// Any view: for each of the four jails a sketch or nothing.
pub fn view() -> impl Strategy<Value = HostView> {
    prop::array::uniform4(prop::option::weighted(0.7, sketch())).prop_map(|sketches| {
        let sketches = sketches
            .iter()
            .enumerate()
            .filter_map(|(index, sketch)| sketch.as_ref().map(|sketch| (index, sketch)));
        build(sketches)
    })
}

/// The view of these jails.
pub fn build<'a>(sketches: impl Iterator<Item = (usize, &'a Sketch)>) -> HostView {
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
                ("external".to_owned(), uplink("vtnet0", Some("10.0.2.15"))),
                ("spare".to_owned(), uplink("vtnet1", None)),
            ]),
            ..HostSpec::default()
        },
        networks: BTreeMap::new(),
        jails: BTreeMap::new(),
        fenced: false,
    };
    for (index, sketch) in sketches {
        let jail = jail(index, sketch);
        for network in &sketch.networks {
            view.networks
                .insert(NETWORKS[*network].to_owned(), network_view(*network));
        }
        view.jails.insert(jail.uid.clone(), jail);
    }
    view
}

fn uplink(interface: &str, public: Option<&str>) -> Uplink {
    Uplink {
        interface: Some(interface.to_owned()),
        public_addresses: public
            .map(|public| ("main".to_owned(), address(public)))
            .into_iter()
            .collect(),
        ..Uplink::default()
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("a constant of this file")
}

fn subnet(cidr: &str, gateway: Option<&str>) -> Subnet {
    Subnet {
        cidr: cidr.parse().expect("a constant of this file"),
        gateway: gateway.map(|gateway| Gateway {
            address: address(gateway),
            owner: None,
        }),
        allocate: Vec::new(),
        reserve: Vec::new(),
    }
}

fn network_view(index: usize) -> NetworkView {
    let nat = Some(Egress {
        nat: Some(Nat {
            uplink: "external".to_owned(),
            address: Some("main".to_owned()),
            address6: None,
            static_port: false,
        }),
    });
    let spec = match index {
        0 => NetworkSpec {
            shared_ip: Some(SharedIp {
                loopback: Some(Loopback {}),
                uplink: None,
            }),
            subnets: vec![subnet("192.0.2.0/28", None), subnet("fd00:20::/64", None)],
            egress: nat,
            ..NetworkSpec::default()
        },
        1 => NetworkSpec {
            shared_ip: Some(SharedIp {
                loopback: None,
                uplink: Some("external".to_owned()),
            }),
            subnets: vec![subnet("10.0.2.0/24", None), subnet("fd00:2::/64", None)],
            ..NetworkSpec::default()
        },
        2 => NetworkSpec {
            bridge: Some(Bridge::default()),
            subnets: vec![
                subnet("10.10.0.0/24", Some("10.10.0.1")),
                subnet("fd00:10::/64", Some("fd00:10::1")),
            ],
            egress: nat,
            ..NetworkSpec::default()
        },
        _ => NetworkSpec {
            bridge: Some(Bridge {
                uplink: Some("spare".to_owned()),
                ..Bridge::default()
            }),
            subnets: vec![
                subnet("10.30.0.0/24", Some("10.30.0.1")),
                subnet("2001:db8:30::/64", None),
            ],
            ..NetworkSpec::default()
        },
    };
    let octet = u8::try_from(index).expect("four networks");
    NetworkView {
        name: NETWORKS[index].to_owned(),
        uid: Uid(format!("net-{}", NETWORKS[index])),
        generation: Generation(1),
        bridge_mac: spec
            .bridge
            .is_some()
            .then_some(Mac([0x0a, 0xcb, 0, 0, 0, octet])),
        spec,
    }
}

fn jail(index: usize, sketch: &Sketch) -> JailView {
    let name = JAILS[index];
    let mut parameters = BTreeMap::from([(
        "securelevel".to_owned(),
        ParameterValue::Number(sketch.securelevel),
    )]);
    if sketch.devfs {
        parameters.insert("mount.devfs".to_owned(), ParameterValue::Flag(true));
    }
    let root = if sketch.rootless {
        format!("/nowhere/{name}")
    } else {
        format!("/jails/{name}")
    };
    JailView {
        name: name.to_owned(),
        uid: Uid(format!("jail-{name}")),
        generation: Generation(1),
        deleting: false,
        spec: JailSpec {
            root: Some(Root { path: root }),
            networks: sketch
                .networks
                .iter()
                .map(|network| attachment(*network))
                .collect(),
            publish: publish(index, sketch),
            parameters,
            mounts: if sketch.mount {
                vec![tmpfs()]
            } else {
                Vec::new()
            },
            run_policy: if sketch.stopped {
                RunPolicy::Stopped
            } else {
                RunPolicy::Running
            },
            ..JailSpec::default()
        },
        binding: Binding {
            host: "vm15".to_owned(),
            attachments: sketch
                .networks
                .iter()
                .map(|network| bound(index, *network))
                .collect(),
        },
    }
}

fn tmpfs() -> Mount {
    Mount {
        target: "/tmp".to_owned(),
        fs_type: "tmpfs".to_owned(),
        source: None,
        options: Vec::new(),
    }
}

fn publish(index: usize, sketch: &Sketch) -> Vec<Publish> {
    let port = 8000 + u16::try_from(index).expect("four jails");
    let publish = Publish {
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
    };
    if sketch.published {
        vec![publish]
    } else {
        Vec::new()
    }
}

fn attachment(network: usize) -> Attachment {
    Attachment {
        network: NETWORKS[network].to_owned(),
        interface: format!("{}0", NETWORKS[network]),
        ..Attachment::default()
    }
}

fn bound(index: usize, network: usize) -> BoundAttachment {
    let host = 10 + index;
    let octet = |number: usize| u8::try_from(number).expect("small");
    let addresses: Vec<HostAddress> = match network {
        0 => [
            format!("192.0.2.{}/32", 3 + index),
            format!("fd00:20::{}/128", 3 + index),
        ],
        1 => [
            format!("10.0.2.{}/32", 50 + index),
            format!("fd00:2::{}/128", 50 + index),
        ],
        2 => [format!("10.10.0.{host}/24"), format!("fd00:10::{host}/64")],
        _ => [
            format!("10.30.0.{host}/24"),
            format!("2001:db8:30::{host}/64"),
        ],
    }
    .iter()
    .map(|text| text.parse().expect("made just above"))
    .collect();
    BoundAttachment {
        network: NETWORKS[network].to_owned(),
        interface: format!("{}0", NETWORKS[network]),
        addresses,
        mac: (network >= 2).then_some(Mac([0x02, 0xcb, 0, 1, octet(network), octet(index)])),
    }
}
