//! Generated jails: what they are attached to, with which addresses and ports, and how they are run.

use std::collections::BTreeMap;

use cellblock_schemas::enforcement::{Enforcement, Feature, enforcement};
use cellblock_schemas::ids::{Generation, Uid};
use cellblock_schemas::jail::{
    Action, Attachment, Binding, BoundAttachment, EnforcedBy, Firewall, JailSpec, Mount,
    ParameterValue, Peer, PublicAddress, Publish, Root, Rule, RunPolicy,
};
use cellblock_schemas::net::{Family, HostAddress, Mac, PortRange, Protocol};
use cellblock_schemas::network::NetworkSpec;
use cellblock_schemas::selector::LabelSelector;
use cellblock_schemas::view::{JailView, PeerView};
use proptest::prelude::*;

use super::networks::{
    NETWORKS, NetSketch, NetSketches, PASSED, loopback6, network, offset, passed,
};

/// The names, and the roots below /jails, of generated jails.
pub const JAILS: [&str; 4] = ["a", "b", "c", "d"];

/// A NIC that the host does not have.
pub(super) const NO_NIC: &str = "igb8";

/// The NICs of the pool, one for each of the first jails.
pub(super) const NICS: [&str; 3] = ["vtnet4", "vtnet5", NO_NIC];

/// A user whom the host does not know.
pub(super) const NOBODY: &str = "nosuch";

/// The port that jails share.
const SHARED: u16 = 8443;

/// Where the roots are that do not exist.
pub(super) const NOWHERE: &str = "/nowhere";

/// What a generated jail is like.
#[derive(Clone, Debug, Default)]
pub struct Sketch {
    /// Which networks, by index; shared-IP and VNET are never mixed.
    pub networks: Vec<usize>,
    /// Has its second addresses and MAC addresses instead of its first.
    pub moved: bool,
    /// Publishes a port: which, and the port inside.
    pub published: Option<(u16, Option<u16>)>,
    /// Has devfs.
    pub devfs: bool,
    /// Has a tmpfs mount.
    pub mount: bool,
    /// Hooks on the host and inside, of which the names are these.
    pub hooks: Vec<&'static str>,
    /// `securelevel`
    pub securelevel: i64,
    /// Is stopped.
    pub stopped: bool,
    /// Is being deleted.
    pub deleting: bool,
    /// Its root does not exist.
    pub rootless: bool,
}

/// Any jail; boxed, so that four of them fit the stack of a test.
pub fn sketch() -> BoxedStrategy<Sketch> {
    let networks = prop_oneof![
        Just(vec![]),
        Just(vec![0]),
        Just(vec![1]),
        Just(vec![0, 1]),
        Just(vec![2]),
        Just(vec![3]),
        Just(vec![2, 3]),
        Just(vec![3, 2]),
        Just(vec![4]),
        Just(vec![5]),
        Just(vec![4, 2]),
        Just(vec![5, 4]),
        Just(vec![6]),
        Just(vec![7]),
        Just(vec![7, 6]),
        Just(vec![6, 2]),
        Just(vec![3, 7]),
        Just(vec![5, 6]),
    ];
    let published = prop::option::of((
        prop_oneof![Just(8000_u16), Just(9000)],
        prop_oneof![Just(Some(80)), Just(None)],
    ));
    let hook = prop_oneof![
        Just("exec.prestart"),
        Just("exec.start"),
        Just("exec.poststart"),
        Just("exec.prestop"),
        Just("exec.stop"),
        Just("exec.poststop"),
    ];
    (
        networks,
        prop::bool::weighted(0.2),
        published,
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::collection::vec(hook, 0..3),
        -1..3_i64,
        (
            prop::bool::weighted(0.1),
            prop::bool::weighted(0.1),
            prop::bool::weighted(0.1),
        ),
    )
        .prop_map(
            |(networks, moved, published, devfs, mount, hooks, securelevel, policy)| Sketch {
                networks,
                moved,
                published,
                devfs,
                mount,
                hooks,
                securelevel,
                stopped: policy.0,
                deleting: policy.1,
                rootless: policy.2,
            },
        )
        .boxed()
}

/// The jail of that index in [`JAILS`].
pub(super) fn jail(index: usize, sketch: &Sketch, networks: &NetSketches) -> JailView {
    let name = JAILS[index];
    let root = if sketch.rootless {
        format!("{NOWHERE}/{name}")
    } else {
        format!("/jails/{name}")
    };
    // Every jail has two addresses of its own in each subnet, so that no two jails of any two views share one: the controller gives away what is free only.
    let number = if sketch.moved {
        index + JAILS.len()
    } else {
        index
    };
    let attachments: Vec<BoundAttachment> = sketch
        .networks
        .iter()
        .map(|network| bound(number, *network, &networks[*network]))
        .collect();
    let firewall = firewall(sketch, &attachments, networks);
    let mut parameters = parameters(sketch);
    let is_inside = firewall
        .as_ref()
        .is_some_and(|firewall| firewall.enforced_by == EnforcedBy::Jail);
    if is_inside {
        parameters.insert("devfs_ruleset".to_owned(), ParameterValue::Number(5));
    }
    JailView {
        name: name.to_owned(),
        uid: Uid(format!("jail-{name}")),
        generation: Generation(1),
        deleting: sketch.deleting,
        spec: JailSpec {
            root: Some(Root { path: root }),
            networks: attachments.iter().map(stated).collect(),
            publish: publish(index, sketch, &attachments, networks),
            public_addresses: public_addresses(index, sketch, &attachments, networks),
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
            firewall,
            depends_on: depends_on(index, sketch),
            ..JailSpec::default()
        },
        binding: Binding {
            user_ids: None,
            host: "vm15".to_owned(),
            attachments,
        },
        image: None,
        peers: vec![PeerView {
            jails: web(),
            addresses: ["10.10.0.10", "192.0.2.3", "fd00:40::10"]
                .into_iter()
                .map(|address| address.parse().expect("an address"))
                .collect(),
        }],
        needs: Default::default(),
    }
}

/// Whom some jails wait for: jails of the view and such as it does not have, in circles too, which a controller refuses. Not by chance, so that what is in `laws.proptest-regressions` stays what it was.
fn depends_on(index: usize, sketch: &Sketch) -> Vec<String> {
    let named = |offset: usize| JAILS[(index + offset) % JAILS.len()].to_owned();
    let next = sketch.devfs && sketch.hooks.len() == 1;
    let after_next = sketch.published.is_some() && !sketch.hooks.is_empty();
    let next = next.then(|| named(1));
    next.into_iter()
        .chain(after_next.then(|| named(2)))
        .collect()
}

/// Whom the firewalls of generated jails let in.
fn web() -> LabelSelector {
    LabelSelector {
        match_labels: BTreeMap::from([("role".to_owned(), "web".to_owned())]),
        ..LabelSelector::default()
    }
}

/// A firewall for some jails, as their networks can have it: on all of them, or on the first that is filtered. Not by chance, so that what is in `laws.proptest-regressions` stays what it was.
fn firewall(
    sketch: &Sketch,
    attachments: &[BoundAttachment],
    networks: &NetSketches,
) -> Option<Firewall> {
    if sketch.securelevel != 1 {
        return None;
    }
    let is_filtered = |network: &usize| {
        let spec = network_of(*network, networks);
        enforcement(&spec, Feature::Firewall, Family::Ipv4) == Enforcement::HostPf
    };
    let is_vnet = |network: &usize| {
        let spec = network_of(*network, networks);
        enforcement(&spec, Feature::FirewallInside, Family::Ipv4) == Enforcement::JailPf
    };
    let mut ways = attachments.iter().zip(&sketch.networks);
    let first = ways.find(|(_, network)| is_filtered(network));
    // Where the host's pf sees nothing of it, the jail's own does.
    let is_inside = first.is_none() && sketch.devfs && sketch.networks.iter().all(is_vnet);
    let (first, _) = first.or(attachments
        .iter()
        .zip(&sketch.networks)
        .next()
        .filter(|_| is_inside))?;
    let everywhere = is_inside || sketch.networks.iter().all(is_filtered);
    let only = (!everywhere).then(|| first.network.clone());
    let is_shared = sketch.networks.iter().all(|network| *network < 2);
    let rule = |name: &str, action, ports: &[u16]| Rule {
        name: name.to_owned(),
        action,
        network: only.clone(),
        protocol: (!ports.is_empty()).then(|| "tcp".to_owned()),
        ports: ports
            .iter()
            .map(|port| PortRange {
                first: *port,
                last: *port,
            })
            .collect(),
        from: Vec::new(),
        to: Vec::new(),
        user: None,
        group: None,
    };
    let peers = Rule {
        from: vec![Peer {
            jails: Some(web()),
            cidr: None,
        }],
        ..rule("peers", Action::Pass, &[])
    };
    let user = if sketch.mount { NOBODY } else { "1000" };
    let smtp = Rule {
        user: (is_shared || is_inside).then(|| format!("> {user}")),
        ..rule("smtp", Action::Block, &[25])
    };
    let block = |wanted: bool| (wanted && everywhere).then_some(Action::Block);
    Some(Firewall {
        enforced_by: if is_inside {
            EnforcedBy::Jail
        } else {
            EnforcedBy::Host
        },
        ingress: vec![rule("web", Action::Pass, &[80, 8000, 9001]), peers],
        egress: vec![rule("https", Action::Pass, &[443]), smtp],
        default_ingress: block(sketch.devfs),
        default_egress: block(sketch.moved),
    })
}

fn network_of(index: usize, networks: &NetSketches) -> NetworkSpec {
    network(index, &networks[index]).spec
}

fn parameters(sketch: &Sketch) -> BTreeMap<String, ParameterValue> {
    let mut parameters = BTreeMap::from([(
        "securelevel".to_owned(),
        ParameterValue::Number(sketch.securelevel),
    )]);
    if sketch.devfs {
        parameters.insert("mount.devfs".to_owned(), ParameterValue::Flag(true));
    }
    for hook in &sketch.hooks {
        parameters.insert((*hook).to_owned(), ParameterValue::Text("true".to_owned()));
    }
    parameters
}

fn tmpfs() -> Mount {
    Mount {
        target: "/tmp".to_owned(),
        fs_type: "tmpfs".to_owned(),
        source: None,
        options: Vec::new(),
    }
}

/// The public address is of IPv4, so a jail without IPv4 publishes nothing, and neither does one whose first network with IPv4 is not routed by the host: the controller refuses that.
fn publish(
    index: usize,
    sketch: &Sketch,
    attachments: &[BoundAttachment],
    networks: &NetSketches,
) -> Vec<Publish> {
    let mut ways = attachments.iter().zip(&sketch.networks);
    let way = ways.find(|(attachment, _)| attachment.address_of(Family::Ipv4).is_some());
    let Some((_, leads_to)) = way else {
        return Vec::new();
    };
    let spec = network(*leads_to, &networks[*leads_to]).spec;
    if enforcement(&spec, Feature::Publish, Family::Ipv4) != Enforcement::HostPf {
        return Vec::new();
    }
    let Some((base, to)) = sketch.published else {
        return Vec::new();
    };
    // Some jails share a port with all that do; each other has ports of its own.
    let is_shared = sketch.securelevel == 0;
    let port = if is_shared {
        SHARED
    } else {
        base + u16::try_from(index).expect("four jails")
    };
    vec![Publish {
        name: "web".to_owned(),
        protocol: Protocol::Tcp,
        ports: vec![PortRange {
            first: port,
            last: port,
        }],
        to: to.or(is_shared.then_some(80)),
        uplink: "external".to_owned(),
        address: Some("main".to_owned()),
        network: None,
        shared: is_shared.then(|| "pool".to_owned()),
        sticky: is_shared,
    }]
}

/// Public addresses of its own for some jails: for one that publishes nothing all of them, else some ports. Not by chance, so that what is in `laws.proptest-regressions` stays what it was. A
/// family whose first network is not routed by the host is left out: the controller refuses that.
fn public_addresses(
    index: usize,
    sketch: &Sketch,
    attachments: &[BoundAttachment],
    networks: &NetSketches,
) -> Vec<PublicAddress> {
    if !sketch.devfs || sketch.securelevel < 0 {
        return Vec::new();
    }
    let ports = match sketch.published {
        None => Vec::new(),
        Some((first, _)) => vec![
            PortRange { first, last: first },
            PortRange {
                first: 20,
                last: 29,
            },
        ],
    };
    let families = [(Family::Ipv4, "own"), (Family::Ipv6, "own6")];
    let routed = families.into_iter().filter(|(family, _)| {
        let mut ways = attachments.iter().zip(&sketch.networks);
        let way = ways.find(|(attachment, _)| attachment.address_of(*family).is_some());
        way.is_some_and(|(_, leads_to)| {
            let spec = network(*leads_to, &networks[*leads_to]).spec;
            enforcement(&spec, Feature::OneToOne, *family) == Enforcement::HostPf
        })
    });
    routed
        .map(|(_, name)| PublicAddress {
            name: name.to_owned(),
            uplink: "external".to_owned(),
            address: format!("{name}-{}", JAILS[index]),
            network: None,
            ports: ports.clone(),
            protocol: None,
        })
        .collect()
}

/// What the manifest says of an attachment: addresses with the prefix length that an alias shall have, where it is not the host's own.
fn stated(bound: &BoundAttachment) -> Attachment {
    Attachment {
        network: bound.network.clone(),
        interface: bound.interface.clone(),
        addresses: bound
            .addresses
            .iter()
            .filter(|address| address.prefix_length.is_some())
            .cloned()
            .collect(),
        ..Attachment::default()
    }
}

fn bound(number: usize, network: usize, sketch: &NetSketch) -> BoundAttachment {
    let octet = |number: usize| u8::try_from(number).expect("small");
    let (base4, base6, first, prefix4, prefix6) = match network {
        0 => ("192.0.2.0", loopback6(sketch), 3, 32, 128),
        1 => ("10.0.2.0", "fd00:2::", 50, 32, 128),
        2 => ("10.10.0.0", "fd00:10::", 10, 24, 64),
        4 => ("10.40.0.0", "fd00:40::", 10, 32, 128),
        5 => ("10.41.0.0", "fd00:41::", 10, 31, 127),
        6 => ("10.60.0.0", "fd00:60::", 10, 24, 64),
        7 => ("10.70.0.0", "2001:db8:70::", 10, 24, 64),
        _ => ("10.30.0.0", "2001:db8:30::", 10, 24, 64),
    };
    // On the NIC an alias may have the prefix length of the wire; on the loopback it has the host's, and a routed link has its own.
    let (prefix4, prefix6) = match network {
        0 | 4 | 5 => (prefix4, prefix6),
        1 if sketch.narrow => (25, 65),
        1 => (prefix4, prefix6),
        _ => (
            prefix4 + u8::from(sketch.narrow),
            prefix6 + u8::from(sketch.narrow),
        ),
    };
    // Of a pair the jail has the odd address, the host the even one.
    let last = match network {
        5 => octet(2 * (first + number) + 1),
        _ => octet(first + number),
    };
    let mut addresses = Vec::new();
    if sketch.families.has_ipv4() {
        addresses.push(HostAddress {
            address: offset(base4, last),
            prefix_length: Some(prefix4),
        });
    }
    if sketch.families.has_ipv6() {
        addresses.push(HostAddress {
            address: offset(base6, last),
            prefix_length: Some(prefix6),
        });
    }
    BoundAttachment {
        network: NETWORKS[network].to_owned(),
        interface: format!("{}0", NETWORKS[network]),
        addresses,
        mac: (network >= 2).then_some(Mac([0x02, 0xcb, 0, 1, octet(network), octet(number)])),
        nic: None,
    }
}

/// The NIC of a jail that has one for itself, always the same one, as the controller gives each to one jail: jails of one securelevel that have no addresses of the host.
pub(super) fn nic(index: usize, sketch: &Sketch) -> Option<&'static str> {
    let is_vnet = sketch.networks.iter().all(|network| *network >= 2);
    let has = is_vnet && sketch.securelevel == 2;
    NICS.get(index).copied().filter(|_| has)
}

/// Attaches a jail to the network of NICs.
pub(super) fn pass(jail: &mut JailView, index: usize, nic: &str, sketch: &NetSketch) {
    let last = u8::try_from(10 + index).expect("four jails");
    let subnets = passed(sketch).spec.subnets;
    let addresses = subnets.iter().map(|subnet| HostAddress {
        address: offset(&subnet.cidr.net().addr().to_string(), last),
        prefix_length: Some(subnet.cidr.net().prefix_len()),
    });
    let bound = BoundAttachment {
        network: PASSED.to_owned(),
        interface: format!("{PASSED}0"),
        addresses: addresses.collect(),
        mac: None,
        nic: Some(nic.to_owned()),
    };
    jail.spec.networks.push(stated(&bound));
    jail.binding.attachments.push(bound);
}
