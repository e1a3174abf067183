//! Firewalls of jails as pf decides by them: what the rules say, what they never touch, and that the connections which they permit are those which pf lets be made.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use cellblock_agent_core::firewall::{
    At, Flow, ICMP, ICMP6, JailFirewall, Link, Rule, Rules, TCP, UDP,
};
use cellblock_agent_core::render::pf::{self as render, AnchorRules};
use cellblock_fakebsd::pf::filter::{Icmp, Packet, SYN};
use cellblock_fakebsd::pf::rule::Direction;
use cellblock_fakebsd::pf::{Interface, NetFacts, Pf, Release, pfctl};
use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::PortRange;
use cellblock_schemas::owner::{IdMatch, Relation};
use proptest::prelude::*;

/// The host's end of the jail's link.
const HOST_END: &str = "cbaaaaaaaaaaa";

/// The host's end of another jail's link.
const NEIGHBOUR: &str = "cbccccccccccc";

/// The jail's end of it.
const INSIDE: &str = "net0";

/// The bridge of its network.
const BRIDGE: &str = "cbbbbbbbbbbbr";

/// The jail's addresses.
const OWN: [&str; 2] = ["10.0.0.5", "fd00::5"];

/// Those of others.
const OTHERS: [&str; 4] = ["10.0.0.6", "192.0.2.9", "fd00::6", "2001:db8::9"];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A stack with one loopback.
struct Stack(Release);

impl NetFacts for Stack {
    fn release(&self) -> Release {
        self.0
    }
    fn pf_loaded(&self) -> bool {
        true
    }
    fn now(&self) -> Duration {
        Duration::ZERO
    }
    fn interface_names(&self) -> Vec<String> {
        vec!["lo0".to_owned()]
    }
    fn interface(&self, name: &str) -> Option<Interface> {
        let (index, group) = match name {
            "lo0" => (1, "lo"),
            NEIGHBOUR => (2, "epair"),
            _ => return None,
        };
        Some(Interface {
            name: name.to_owned(),
            index,
            groups: vec![group.to_owned()],
            loopback: group == "lo",
            ..Interface::default()
        })
    }
    fn group_members(&self, group: &str) -> Vec<String> {
        (group == "lo")
            .then(|| "lo0".to_owned())
            .into_iter()
            .collect()
    }
    fn read_file(&self, _: &str) -> Option<String> {
        None
    }
    fn user_id(&self, _: &str) -> Option<u32> {
        None
    }
    fn group_id(&self, _: &str) -> Option<u32> {
        None
    }
}

fn run(pf: &mut Pf, stack: &Stack, words: &[&str], stdin: &str) {
    let argv: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let output = pfctl(pf, stack, &argv, stdin);
    assert_eq!(output.status, 0, "{words:?}\n{stdin}\n{}", output.stderr);
}

/// A pf with the firewall in its anchors, before everything else passes.
fn filter(firewall: &JailFirewall, stack: &Stack) -> Pf {
    let mut pf = Pf::default();
    run(&mut pf, stack, &["pfctl", "-e"], "");
    run(
        &mut pf,
        stack,
        &["pfctl", "-f", "-"],
        "anchor \"cellblock/*\"\n",
    );
    if firewall
        .links
        .iter()
        .any(|link| link.at == At::Inside(INSIDE.to_owned()))
    {
        let text = render::render_inside(firewall).rules;
        let words = ["pfctl", "-o", "none", "-a", "cellblock/firewall", "-f", "-"];
        run(&mut pf, stack, &words, &text);
        return pf;
    }
    let egress = AnchorRules {
        egress: vec![firewall.clone()],
        ..AnchorRules::default()
    };
    let ingress = AnchorRules {
        ingress: vec![firewall.clone()],
        ..AnchorRules::default()
    };
    for (anchor, rules) in [("cellblock/i00", egress), ("cellblock/j00", ingress)] {
        let text = render::render(&rules).expect("there are rules").rules;
        run(&mut pf, stack, &["pfctl", "-a", anchor, "-f", "-"], &text);
    }
    pf
}

fn firewall(at: At, ingress: Rules, egress: Rules) -> JailFirewall {
    let own: BTreeSet<IpAddr> = OWN.into_iter().map(ip).collect();
    JailFirewall {
        jail: Uid("5f0c1f0e-0000-4000-8000-000000000001".to_owned()),
        own: own.clone(),
        links: vec![Link {
            network: "lan".to_owned(),
            addresses: own,
            at,
            outward: Vec::new(),
        }],
        ingress,
        egress,
    }
}

fn shut() -> Rules {
    Rules {
        list: Vec::new(),
        passes_rest: false,
    }
}

fn places() -> [At; 5] {
    [
        At::Stack,
        At::HostEnd(HOST_END.to_owned()),
        At::Member {
            host_end: HOST_END.to_owned(),
            bridge: None,
        },
        At::Member {
            host_end: HOST_END.to_owned(),
            bridge: Some(BRIDGE.to_owned()),
        },
        At::Inside(INSIDE.to_owned()),
    ]
}

/// Where a packet of the jail, or to it, passes pf.
fn crossing(at: &At, inward: bool) -> (Direction, &'static str) {
    match (at, inward) {
        (At::Stack, true) => (Direction::In, "igb0"),
        (At::Stack, false) => (Direction::Out, "igb0"),
        (At::HostEnd(_) | At::Member { .. }, true) => (Direction::Out, HOST_END),
        (At::HostEnd(_) | At::Member { .. }, false) => (Direction::In, HOST_END),
        (At::Inside(_), true) => (Direction::In, INSIDE),
        (At::Inside(_), false) => (Direction::Out, INSIDE),
    }
}

fn packet(crossing: (Direction, &str), protocol: u8, from: IpAddr, to: IpAddr) -> Packet {
    Packet {
        direction: crossing.0,
        interface: crossing.1.to_owned(),
        protocol,
        source: from,
        destination: to,
        source_port: 0,
        destination_port: 0,
        flags: if protocol == TCP { SYN } else { 0 },
        icmp: None,
        fragment: false,
        user: None,
        group: None,
        length: 64,
        received_on: None,
        tag: None,
        unroutable_source: false,
    }
}

#[test]
fn neighbours_and_the_paths_mtu_are_found_whatever_is_blocked() {
    for release in [Release::V14, Release::V15] {
        let stack = Stack(release);
        for at in places() {
            let mut pf = filter(&firewall(at.clone(), shut(), shut()), &stack);
            for inward in [true, false] {
                let crossing = crossing(&at, inward);
                let ends = |own: &str, other: &str| match inward {
                    true => (ip(other), ip(own)),
                    false => (ip(own), ip(other)),
                };
                let icmp = |icmp_type, code| {
                    Some(Icmp {
                        icmp_type,
                        code,
                        id: 0,
                    })
                };
                for (protocol, own, other, what) in [
                    (ICMP6, "fd00::5", "fd00::6", icmp(135, 0)),
                    (ICMP6, "fd00::5", "fd00::6", icmp(136, 0)),
                    (ICMP6, "fd00::5", "2001:db8::9", icmp(2, 0)),
                    (ICMP, "10.0.0.5", "192.0.2.9", icmp(3, 4)),
                ] {
                    let (from, to) = ends(own, other);
                    let asked = Packet {
                        icmp: what,
                        ..packet(crossing, protocol, from, to)
                    };
                    let verdict = pf.filter(&stack, &asked);
                    assert!(
                        verdict.passes(),
                        "{at:?} {asked:?} {:?}",
                        verdict.explanation
                    );
                }
                for (protocol, own, other, what) in [
                    (ICMP6, "fd00::5", "fd00::6", icmp(128, 0)),
                    (ICMP6, "fd00::5", "fd00::6", icmp(137, 0)),
                    (ICMP, "10.0.0.5", "192.0.2.9", icmp(3, 1)),
                    (ICMP, "10.0.0.5", "192.0.2.9", icmp(8, 0)),
                    (TCP, "10.0.0.5", "192.0.2.9", None),
                    (UDP, "fd00::5", "fd00::6", None),
                ] {
                    let (from, to) = ends(own, other);
                    let asked = Packet {
                        icmp: what,
                        ..packet(crossing, protocol, from, to)
                    };
                    let verdict = pf.filter(&stack, &asked);
                    assert!(
                        !verdict.passes(),
                        "{at:?} {asked:?} {:?}",
                        verdict.explanation
                    );
                }
                // A router is heard, and nobody makes himself one.
                let (from, to) = ends("fd00::5", "fd00::6");
                let advertised = Packet {
                    icmp: icmp(134, 0),
                    ..packet(crossing, ICMP6, from, to)
                };
                assert_eq!(pf.filter(&stack, &advertised).passes(), inward, "{at:?}");
            }
        }
    }
}

#[test]
fn nobody_else_comes_under_the_jails_address() {
    let open = || Rules {
        list: Vec::new(),
        passes_rest: true,
    };
    for release in [Release::V14, Release::V15] {
        let stack = Stack(release);
        for (at, is_told) in places().into_iter().zip([true, true, false, false, false]) {
            let mut pf = filter(&firewall(at.clone(), shut(), open()), &stack);
            let forged = Packet {
                source_port: 53,
                destination_port: 1024,
                ..packet(
                    (Direction::In, NEIGHBOUR),
                    UDP,
                    ip("10.0.0.5"),
                    ip("10.0.0.6"),
                )
            };
            assert_eq!(pf.filter(&stack, &forged).passes(), !is_told, "{at:?}");
            // Its own way is open.
            let own = packet(crossing(&at, false), UDP, ip("10.0.0.5"), ip("10.0.0.6"));
            assert!(pf.filter(&stack, &own).passes(), "{at:?}");
        }
    }
}

#[test]
fn a_tag_that_a_packet_brings_along_says_nothing() {
    let stack = Stack(Release::V15);
    let at = At::HostEnd(HOST_END.to_owned());
    let open = Rules {
        list: Vec::new(),
        passes_rest: true,
    };
    let mut shut = filter(&firewall(at.clone(), open.clone(), shut()), &stack);
    let smtp = Rules {
        list: vec![Rule {
            passes: false,
            network: None,
            protocol: Some(TCP),
            ports: vec![PortRange {
                first: 25,
                last: 25,
            }],
            peers: None,
            user: None,
            group: None,
        }],
        passes_rest: true,
    };
    let mut loose = filter(&firewall(at.clone(), open, smtp), &stack);
    for tag in ["cellblock:pass", "cellblock:deny"] {
        let asked = Packet {
            tag: Some(tag.to_owned()),
            destination_port: 80,
            source_port: 1024,
            ..packet(crossing(&at, false), TCP, ip("10.0.0.5"), ip("192.0.2.9"))
        };
        assert!(!shut.filter(&stack, &asked).passes(), "{tag}");
        assert!(loose.filter(&stack, &asked).passes(), "{tag}");
    }
}

fn peers() -> impl Strategy<Value = Option<BTreeSet<ipnet::IpNet>>> {
    let net = prop_oneof![
        Just("10.0.0.0/8"),
        Just("10.0.0.6/32"),
        Just("192.0.2.0/24"),
        Just("fd00::/16"),
        Just("2001:db8::9/128"),
    ];
    let net = net.prop_map(|net| net.parse().expect("a prefix"));
    prop::option::of(prop::collection::btree_set(net, 0..4))
}

fn rule() -> impl Strategy<Value = Rule> {
    let transport = prop_oneof![Just(TCP), Just(UDP)];
    let ports = prop_oneof![
        Just(vec![]),
        Just(vec![(80, 80)]),
        Just(vec![(25, 25)]),
        Just(vec![(25, 25), (80, 80)]),
        Just(vec![(80, 80), (443, 443)]),
        Just(vec![(20, 90), (443, 443)]),
    ];
    let ports = ports.prop_map(|ports| {
        let ports = ports.into_iter();
        ports
            .map(|(first, last)| PortRange { first, last })
            .collect::<Vec<_>>()
    });
    let user = prop_oneof![
        Just(IdMatch::One(Relation::More, 1000)),
        Just(IdMatch::One(Relation::Equal, 80)),
        Just(IdMatch::One(Relation::NotEqual, 80)),
        Just(IdMatch::Within(0, 80)),
        Just(IdMatch::Within(80, 1001)),
        Just(IdMatch::Between(79, 81)),
        Just(IdMatch::Outside(80, 1000)),
    ];
    let narrow = (transport, ports, prop::option::weighted(0.3, user))
        .prop_map(|(protocol, ports, user)| (Some(protocol), ports, user));
    let wide = prop_oneof![
        Just(None),
        Just(Some(ICMP)),
        Just(Some(ICMP6)),
        Just(Some(47))
    ]
    .prop_map(|protocol| (protocol, Vec::new(), None));
    let what = prop_oneof![2 => narrow, 1 => wide];
    let network = prop_oneof![3 => Just(None), 1 => Just(Some("lan")), 1 => Just(Some("wan"))];
    (any::<bool>(), network, what, peers()).prop_map(|(passes, network, what, peers)| Rule {
        passes,
        network: network.map(str::to_owned),
        protocol: what.0,
        ports: what.1,
        peers,
        user: what.2,
        group: None,
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    let list = prop::collection::vec(rule(), 0..5);
    (list, any::<bool>()).prop_map(|(list, passes_rest)| Rules { list, passes_rest })
}

fn id_matches(wanted: Option<IdMatch<u32>>, id: u32) -> bool {
    match wanted {
        None => true,
        Some(IdMatch::One(relation, other)) => match relation {
            Relation::Equal => id == other,
            Relation::NotEqual => id != other,
            Relation::Less => id < other,
            Relation::LessOrEqual => id <= other,
            Relation::More => id > other,
            Relation::MoreOrEqual => id >= other,
        },
        Some(IdMatch::Within(first, last)) => (first..=last).contains(&id),
        Some(IdMatch::Between(first, last)) => first < id && id < last,
        Some(IdMatch::Outside(first, last)) => id < first || id > last,
    }
}

/// The same rules for one user, without any word about users: those that are not about that one are left out.
fn for_user(rules: &Rules, user: u32) -> Rules {
    let list = rules.list.iter();
    let list = list.filter(|rule| id_matches(rule.user, user));
    Rules {
        list: list
            .cloned()
            .map(|rule| Rule { user: None, ..rule })
            .collect(),
        ..rules.clone()
    }
}

fn words(protocol: u8) -> String {
    match protocol {
        ICMP => "icmp".to_owned(),
        TCP => "tcp".to_owned(),
        UDP => "udp".to_owned(),
        ICMP6 => "ipv6-icmp".to_owned(),
        47 => "gre".to_owned(),
        other => other.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// pf and the rules are of one mind, so that what is ended when rules change is what could not be begun any more, and nothing else.
    #[test]
    fn pf_lets_be_made_what_the_firewall_permits(
        ingress in rules(),
        egress in rules(),
        place in 0..5_usize,
        inward in any::<bool>(),
        other in 0..OTHERS.len(),
        protocol in prop_oneof![Just(TCP), Just(UDP), Just(ICMP), Just(47_u8)],
        port in prop_oneof![Just(80_u16), Just(25), Just(443), Just(8080)],
        user in prop_oneof![Just(0_u32), Just(80), Just(500), Just(1001)],
        old in any::<bool>(),
    ) {
        let at = places()[place].clone();
        let stack = Stack(if old { Release::V14 } else { Release::V15 });
        let one = firewall(at.clone(), ingress, egress);
        let mut pf = filter(&one, &stack);
        let other = ip(OTHERS[other]);
        let own = OWN.into_iter().map(ip).find(|own| own.is_ipv4() == other.is_ipv4()).expect("one of each");
        let protocol = if protocol == ICMP && other.is_ipv6() { ICMP6 } else { protocol };
        let (from, to) = if inward { (other, own) } else { (own, other) };
        let crossing = crossing(&at, inward);
        let has_ports = matches!(protocol, TCP | UDP);
        let echo = if protocol == ICMP { Some(8) } else { (protocol == ICMP6).then_some(128) };
        let asked = Packet {
            source_port: if has_ports { 49152 } else { 0 },
            destination_port: if has_ports { port } else { 0 },
            icmp: echo.map(|icmp_type| Icmp { icmp_type, code: 0, id: 7 }),
            user: Some(user),
            ..packet(crossing, protocol, from, to)
        };
        let passes = pf.filter(&stack, &asked).passes();
        let flow = Flow {
            interface: crossing.1.to_owned(),
            inward: crossing.0 == Direction::In,
            protocol: words(protocol),
            from: (from, asked.source_port),
            to: (to, asked.destination_port),
        };
        let known = JailFirewall {
            ingress: for_user(&one.ingress, user),
            egress: for_user(&one.egress, user),
            ..one.clone()
        };
        prop_assert_eq!(passes, known.permits(&flow, true), "{:?} {:?}", flow, one);
        // Whoever it was, what some user may not have does not outlive new rules, and what it was let in by does not end it.
        if one.permits(&flow, true) {
            prop_assert!(known.permits(&flow, true));
        }
    }

    /// A fragment shows neither ports nor a socket, so it passes only where every port and every user would.
    #[test]
    fn nobody_passes_by_fragments(
        ingress in rules(),
        egress in rules(),
        place in 0..4_usize,
        inward in any::<bool>(),
        other in 0..2_usize,
        protocol in prop_oneof![Just(TCP), Just(UDP)],
    ) {
        let at = places()[place].clone();
        let stack = Stack(Release::V15);
        let one = firewall(at.clone(), ingress, egress);
        let mut pf = filter(&one, &stack);
        let (own, other) = (ip(OWN[0]), ip(OTHERS[other]));
        let (from, to) = if inward { (other, own) } else { (own, other) };
        let crossing = crossing(&at, inward);
        let fragment = Packet { fragment: true, flags: 0, ..packet(crossing, protocol, from, to) };
        let passes = pf.filter(&stack, &fragment).passes();
        for port in [25, 80, 443, 8080] {
            for user in [0, 80, 500, 1001] {
                let flow = Flow {
                    interface: crossing.1.to_owned(),
                    inward: crossing.0 == Direction::In,
                    protocol: words(protocol),
                    from: (from, 49152),
                    to: (to, port),
                };
                let known = JailFirewall {
                    ingress: for_user(&one.ingress, user),
                    egress: for_user(&one.egress, user),
                    ..one.clone()
                };
                prop_assert!(!passes || known.permits(&flow, true), "{:?} {} {:?}", flow, user, one);
            }
        }
    }
}
