//! The wire: what leaves by a card, what comes in by one, and what pf makes of both.

use ipnet::IpNet;

use super::{assert_blocked, assert_lost, assert_reached, host, ip, jail, load, run, tcp};
use crate::emulator::Emulator;
use crate::trace::{Cause, Origin, Place, Probe};

fn behind(interface: &str) -> Place {
    Place::Outside(interface.to_owned())
}

fn from_outside(source: &str) -> Origin {
    Origin::Outside {
        interface: "vtnet0".to_owned(),
        source: ip(source),
    }
}

const NAT: &str = "nat on vtnet0 inet from 192.0.2.0/28 to any -> 10.0.2.15
rdr pass on vtnet0 inet proto tcp from any to 10.0.2.15 port 8080 -> 192.0.2.3 port 80
block in quick on vtnet0 inet proto tcp from any to 10.0.2.15 port 111
";

const ANCHORS: &str = "nat-anchor \"cellblock/*\"\nrdr-anchor \"cellblock/*\"\nbinat-anchor \"cellblock/*\"\nanchor \"cellblock/*\"\n";

fn behind_nat() -> Emulator {
    let mut host = host(
        "ifconfig lo1 create
         ifconfig lo1 inet 192.0.2.3/32 alias
         jail -c name=tom persist path=/ ip4.addr=192.0.2.3
         kldload -n pf
         pfctl -e",
    );
    load(&mut host, "", ANCHORS);
    host
}

#[test]
fn the_host_reaches_the_outside_by_its_default_route() {
    let host = host("");
    let trace = tcp(&host, Origin::Host, "198.51.100.1", 443);
    assert_reached(&trace, &behind("vtnet0"), "10.0.2.15");
    assert_eq!(trace.summary(), "wire vtnet0");
}

#[test]
fn an_inner_address_needs_nat_or_a_route_outside() {
    let mut host = behind_nat();
    let ask = |host: &Emulator| tcp(host, jail("tom"), "198.51.100.1", 443);
    assert_lost(&ask(&host), Cause::WrongWayBack);
    let routed: IpNet = "192.0.2.0/28".parse().expect("the test names a network");
    let probe = Probe {
        routed_here: vec![routed],
        ..Probe::tcp(jail("tom"), ip("198.51.100.1"), 443)
    };
    assert_reached(&host.trace(&probe), &behind("vtnet0"), "192.0.2.3");
    load(&mut host, "cellblock/net1", NAT);
    let trace = ask(&host);
    assert_reached(&trace, &behind("vtnet0"), "10.0.2.15");
    assert_eq!(trace.summary(), "NAT, wire vtnet0");
}

#[test]
fn a_published_port_leads_to_its_jail() {
    let mut host = behind_nat();
    load(&mut host, "cellblock/net1", NAT);
    let trace = tcp(&host, from_outside("10.0.2.2"), "10.0.2.15", 8080);
    assert_reached(&trace, &Place::Jail("tom".to_owned()), "10.0.2.2");
    assert!(
        trace
            .to_string()
            .contains("jail tom 192.0.2.3:80, which sees 10.0.2.2"),
        "{trace}"
    );
    assert_reached(
        &tcp(&host, from_outside("10.0.2.2"), "10.0.2.15", 22),
        &Place::Host,
        "10.0.2.2",
    );
    let blocked = "pf vtnet0 in: blocked by rule 0 of anchor cellblock/net1";
    assert_blocked(
        &tcp(&host, from_outside("10.0.2.2"), "10.0.2.15", 111),
        blocked,
    );
    // Whoever flushed pf took the references to the anchors: nothing is redirected or blocked any more.
    run(&mut host, "pfctl -F all");
    assert_reached(
        &tcp(&host, from_outside("10.0.2.2"), "10.0.2.15", 8080),
        &Place::Host,
        "10.0.2.2",
    );
}

#[test]
fn an_inner_address_is_not_reached_from_outside_unless_routed() {
    let mut host = behind_nat();
    // The card answers only for its own; as a router the host has the jail's address itself, and takes the packet.
    let trace = tcp(&host, from_outside("10.0.2.2"), "192.0.2.3", 80);
    assert_reached(&trace, &Place::Jail("tom".to_owned()), "10.0.2.2");
    let trace = tcp(&host, from_outside("10.0.2.2"), "192.0.2.77", 80);
    assert_lost(&trace, Cause::NotForwarded);
    run(&mut host, "sysctl net.inet.ip.forwarding=1");
    assert!(!tcp(&host, from_outside("10.0.2.2"), "192.0.2.77", 80).reached());
}

/// A bridge with the card vtnet1 as uplink, the host's address on the bridge, and a VNET jail.
fn bridged() -> Emulator {
    host(
        "ifconfig bridge create
         ifconfig vtnet1 up
         ifconfig epair create
         ifconfig bridge0 addm vtnet1 addm epair0a up
         ifconfig bridge0 inet 10.30.0.2/24
         ifconfig epair0a up
         jail -c name=www vnet persist path=/
         ifconfig epair0b vnet www
         ifconfig -j www epair0b inet 10.30.0.10/24 up
         route -j www -n add default 10.30.0.1",
    )
}

#[test]
fn a_bridge_with_an_uplink_joins_jail_host_and_wire() {
    let mut host = bridged();
    let www = Place::Jail("www".to_owned());
    assert_reached(
        &tcp(&host, jail("www"), "10.30.0.2", 80),
        &Place::Host,
        "10.30.0.10",
    );
    assert_reached(
        &tcp(&host, Origin::Host, "10.30.0.10", 80),
        &www,
        "10.30.0.2",
    );
    assert_reached(
        &tcp(&host, jail("www"), "203.0.113.9", 80),
        &behind("vtnet1"),
        "10.30.0.10",
    );
    let outside = |source: &str| Origin::Outside {
        interface: "vtnet1".to_owned(),
        source: ip(source),
    };
    assert_reached(
        &tcp(&host, outside("10.30.0.99"), "10.30.0.10", 80),
        &www,
        "10.30.0.99",
    );
    assert_reached(
        &tcp(&host, outside("10.30.0.99"), "10.30.0.2", 80),
        &Place::Host,
        "10.30.0.99",
    );
    // The uplink as a private member keeps nothing from anybody; a private jail beside a private uplink is cut off from it.
    run(&mut host, "ifconfig bridge0 private vtnet1 private epair0a");
    assert_lost(
        &tcp(&host, jail("www"), "203.0.113.9", 80),
        Cause::NobodyThere,
    );
}

#[test]
fn what_leaves_the_host_for_a_jail_of_the_host_is_lost() {
    let host = bridged();
    let trace = tcp(&host, Origin::Host, "10.30.0.10", 80);
    assert!(trace.reached(), "{trace}");
    let mut host = bridged();
    run(&mut host, "ifconfig bridge0 inet 10.30.0.2/24 -alias");
    let trace = tcp(&host, Origin::Host, "10.30.0.10", 80);
    assert_lost(&trace, Cause::NoRoute);
    assert!(
        trace
            .to_string()
            .contains("although 10.30.0.10 is jail www's"),
        "{trace}"
    );
}

#[test]
fn vlans_over_an_uplink_keep_their_tags() {
    let host = host(
        "ifconfig vtnet1 up
         ifconfig vtnet1.30 create
         ifconfig vtnet1.30 inet 10.33.0.2/24 up
         ifconfig vtnet1 inet 10.34.0.2/24",
    );
    let to = |address: &str| tcp(&host, Origin::Host, address, 80);
    assert_reached(&to("10.33.0.9"), &behind("vtnet1.30"), "10.33.0.2");
    assert_reached(&to("10.34.0.9"), &behind("vtnet1"), "10.34.0.2");
    let from = |interface: &str| {
        let source = ip("10.33.0.9");
        let interface = interface.to_owned();
        tcp(
            &host,
            Origin::Outside { interface, source },
            "10.33.0.2",
            80,
        )
    };
    assert_reached(&from("vtnet1.30"), &Place::Host, "10.33.0.9");
    // Without the tag the question comes in, and the answer leaves with it.
    assert_lost(&from("vtnet1"), Cause::WrongWayBack);
}
