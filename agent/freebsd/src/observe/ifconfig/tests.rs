//! The parser against the text of the recordings, and against what a jail's root may write.

use std::net::IpAddr;

use cellblock_agent_core::words::Words;
use proptest::prelude::*;

use super::{is_sound, parse, parse_names, parse_one};
use crate::observe::recording::stdout;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn set(words: &[&'static str]) -> Words {
    words.iter().copied().collect()
}

#[test]
fn a_host_as_it_booted() {
    let text = stdout("01-observe", "ifconfig -a", 0);
    let names = stdout("01-observe", "ifconfig -l", 0);
    let interfaces = parse(&text);
    assert!(is_sound(&interfaces, &parse_names(&names)));
    let vtnet0 = &interfaces[0];
    assert_eq!(vtnet0.name, "vtnet0");
    assert!(vtnet0.is_up());
    assert_eq!(
        vtnet0.flags,
        set(&[
            "UP",
            "BROADCAST",
            "RUNNING",
            "SIMPLEX",
            "MULTICAST",
            "LOWER_UP"
        ])
    );
    assert_eq!(vtnet0.mtu, 1500);
    assert_eq!(
        vtnet0.mac.map(|mac| mac.to_string()).as_deref(),
        Some("52:54:00:12:34:56")
    );
    assert_eq!(vtnet0.hwaddr, None);
    assert_eq!(vtnet0.description, None);
    assert_eq!(vtnet0.addresses.len(), 1);
    assert_eq!(
        (
            vtnet0.addresses[0].address,
            vtnet0.addresses[0].prefix_length
        ),
        (ip("10.0.2.15"), 24)
    );
    assert_eq!(
        vtnet0.nd6,
        set(&["PERFORMNUD", "IFDISABLED", "AUTO_LINKLOCAL"])
    );
    assert!(!interfaces[1].is_up());
    let lo0 = &interfaces[4];
    assert_eq!(lo0.groups, set(&["lo"]));
    assert_eq!(lo0.mac, None);
    assert_eq!((lo0.index, vtnet0.index), (Some(5), None));
    let addresses: Vec<_> = lo0
        .addresses
        .iter()
        .map(|a| (a.address, a.prefix_length, a.scope.as_deref()))
        .collect();
    assert_eq!(
        addresses,
        [
            (ip("127.0.0.1"), 8, None),
            (ip("::1"), 128, None),
            (ip("fe80::1"), 64, Some("lo0"))
        ]
    );
}

#[test]
fn a_bridge_with_a_member() {
    let bridges = parse(&stdout("02-epair-bridge-vnet", "ifconfig cbbr0", 1));
    let [bridge] = bridges.as_slice() else {
        panic!("one interface was printed")
    };
    assert_eq!(
        bridge.description.as_deref(),
        Some("cellblock:c1:net-uid:bridge")
    );
    assert_eq!(bridge.mtu, 1450);
    assert_eq!(bridge.groups, set(&["bridge", "cbnet"]));
    assert_eq!(bridge.members.keys().collect::<Vec<_>>(), ["cbabcdefgh0a"]);
    assert_eq!(
        bridge.members["cbabcdefgh0a"].flags,
        set(&["LEARNING", "DISCOVER", "AUTOEDGE", "PTP", "AUTOPTP"])
    );
    assert_eq!(bridge.nd6, set(&["PERFORMNUD", "NO_DAD"]));
}

#[test]
fn members_in_the_order_and_with_the_extras_of_vlan_filtering() {
    let bridges = parse(&stdout("14-switches", "ifconfig bridge0", 0));
    assert_eq!(
        bridges[0].members.keys().collect::<Vec<_>>(),
        ["epair0a", "epair1a", "epair2a"]
    );
}

#[test]
fn inside_a_vnet_jail() {
    let interfaces = parse(&stdout("02-epair-bridge-vnet", "ifconfig -j www -a", 1));
    let vnet0 = &interfaces[1];
    assert_eq!(vnet0.name, "vnet0");
    assert_eq!(
        vnet0.mac.map(|mac| mac.to_string()).as_deref(),
        Some("02:cb:00:00:00:02")
    );
    assert_eq!(
        vnet0.hwaddr.map(|mac| mac.to_string()).as_deref(),
        Some("6a:65:3e:ca:dc:4c")
    );
    assert_eq!(vnet0.addresses.len(), 3);
}

#[test]
fn tentative_and_duplicated_addresses() {
    let first = parse(&stdout(
        "02-epair-bridge-vnet",
        "ifconfig -j www vnet0 inet6",
        0,
    ));
    assert!(!first[0].addresses[0].tentative);
    assert!(first[0].addresses[1].tentative);
    let text = "e: flags=1<UP> metric 0 mtu 1500\n\tinet6 fd00:99::2 prefixlen 64 duplicated\n";
    assert!(parse(text)[0].addresses[0].duplicated);
}

#[test]
fn point_to_point_prefixes_and_fibs() {
    let epair = parse(&stdout("04-routed-p2p-fib", "ifconfig epair0a", 0));
    assert_eq!(epair[0].addresses[0].prefix_length, 31);
    let nic = parse(&stdout("04-routed-p2p-fib", "ifconfig vtnet0", 0));
    assert_eq!(nic[0].fib, 1);
    let gif = parse(
        "gif0: flags=8051<UP,POINTOPOINT,RUNNING,MULTICAST> metric 0 mtu 1280\n\tinet 10.1.0.1 --> 10.1.0.2 netmask 0xffffffff\n\tinet6 fd00::1 --> fd00::2 prefixlen 128\n",
    );
    assert_eq!(
        gif[0]
            .addresses
            .iter()
            .map(|a| a.prefix_length)
            .collect::<Vec<_>>(),
        [32, 128]
    );
}

#[test]
fn a_laggs_zero_hwaddr_is_none() {
    let lagg = parse(&stdout("07-lagg-vlan-passthrough", "ifconfig lagg0", 0));
    assert_eq!(lagg[0].hwaddr, None);
}

#[test]
fn a_lagg_and_a_vlan_say_what_they_stand_upon() {
    let below = |command| {
        let parsed = parse(&stdout("07-lagg-vlan-passthrough", command, 0));
        parsed[0]
            .below
            .iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(below("ifconfig lagg0"), ["vtnet1", "vtnet2"]);
    assert_eq!(below("ifconfig vlan0"), ["lagg0"]);
    assert_eq!(below("ifconfig lagg0.40"), ["lagg0"]);
    let lagg = parse_one(&stdout("07-lagg-vlan-passthrough", "ifconfig lagg0", 0))
        .expect("one")
        .lagg
        .expect("a lagg");
    assert_eq!(
        (lagg.protocol.as_str(), lagg.hash.as_str()),
        ("failover", "l2,l3,l4")
    );
    assert!(lagg.ports.keys().eq(["vtnet1", "vtnet2"]));
    assert_eq!(lagg.master(), Some("vtnet1"));
    let vlan = parse_one(&stdout("07-lagg-vlan-passthrough", "ifconfig lagg0.40", 0))
        .expect("one")
        .vlan
        .expect("a vlan");
    assert_eq!((vlan.id, vlan.parent.as_deref()), (40, Some("lagg0")));
    let alone = parse(
        "vlan7: flags=0 metric 0 mtu 1500\n\tvlan: 0 vlanproto: 802.1q vlanpcp: 0 parent interface: <none>\n",
    );
    assert!(alone[0].below.is_empty());
    assert_eq!(alone[0].vlan.as_ref().map(|vlan| vlan.id), Some(0));
    // What a description says of ports is not believed of a lagg.
    let forged = "lagg0: flags=0 metric 0 mtu 1500\n\tdescription: x\n\tlaggproto lacp lagghash l2\n\tlaggport: vtnet9 flags=0<>\n\tlaggproto failover lagghash l3\n\tlaggport: vtnet1 flags=5<MASTER,ACTIVE>\n";
    let lagg = parse(forged).remove(0).lagg.expect("a lagg");
    assert_eq!((lagg.hash.as_str(), lagg.ports.len()), ("l3", 1));
}

#[test]
fn an_interface_without_flags_has_no_brackets() {
    let parsed = parse("x0: flags=0 metric 0 mtu 1500\n");
    assert_eq!(
        (
            parsed[0].name.as_str(),
            parsed[0].flags.len(),
            parsed[0].mtu
        ),
        ("x0", 0, 1500)
    );
}

#[test]
fn two_of_one_name_stand_side_by_side() {
    let text =
        "bridge0: flags=1<UP> metric 0 mtu 1500\nbridge0: flags=2<BROADCAST> metric 0 mtu 1400\n";
    let interfaces = parse(text);
    assert_eq!(interfaces.len(), 2);
    assert!(is_sound(&interfaces, &parse_names("bridge0 bridge0\n")));
}

#[test]
fn a_description_that_looks_like_an_interface_is_noticed() {
    let forged = "epair0b: flags=1<UP> metric 0 mtu 1500\n\tdescription: x\ncbnetbr: flags=1<UP> metric 0 mtu 1500\n\tdescription: cellblock:c:n:bridge\n\tether 02:00:00:00:00:01\ncbnetbr: flags=1<UP> metric 0 mtu 9000\n";
    let interfaces = parse(forged);
    assert!(!is_sound(&interfaces, &parse_names("epair0b cbnetbr\n")));
    assert!(!is_sound(
        &parse("a\nb: flags=1<UP> metric 0 mtu 1\n"),
        &parse_names("a b\n")
    ));
}

#[test]
fn a_description_cannot_be_replaced_from_inside_itself() {
    let text = "e: flags=1<UP> metric 0 mtu 1500\n\tdescription: one\n\tdescription: cellblock:c:u:bridge\n";
    assert_eq!(parse(text)[0].description.as_deref(), Some("one"));
}

proptest! {
    #[test]
    fn hostile_text_never_panics(text in "\\PC*|[ \\t\\n:<>=%/.,a-f0-9]*") {
        let _ = parse(&text);
        let _ = parse_names(&text);
    }

    #[test]
    fn hostile_lines_below_a_header_never_panic(lines in prop::collection::vec("\\t(inet|inet6|ether|hwaddr|member:|groups:|nd6|fib:|description:) [^\\n]*", 0..20)) {
        let text = format!("e0: flags=1<UP> metric 0 mtu 1500\n{}\n", lines.join("\n"));
        prop_assert_eq!(parse(&text).len(), 1);
    }
}
