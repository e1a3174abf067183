//! Inside one host, beyond the recordings.

use super::{assert_blocked, assert_lost, assert_reached, host, ip, jail, load, run, tcp};
use crate::emulator::Emulator;
use crate::trace::{Cause, Listening, Origin, Place, Probe};

fn place(name: &str) -> Place {
    Place::Jail(name.to_owned())
}

/// Two VNET jails, `a` and `b`, on one bridge, with both families; `b` knows no router.
fn two_jails() -> Emulator {
    host(
        "ifconfig bridge create
         ifconfig epair create
         ifconfig epair create
         ifconfig bridge0 addm epair0a addm epair1a up
         ifconfig bridge0 inet 10.9.0.254/24
         ifconfig bridge0 inet6 fd00::ff/64 no_dad
         ifconfig epair0a up
         ifconfig epair1a up
         jail -c name=a vnet persist path=/
         jail -c name=b vnet persist path=/
         ifconfig epair0b vnet a
         ifconfig epair1b vnet b
         ifconfig -j a epair0b inet 10.9.0.1/24 up
         ifconfig -j b epair1b inet 10.9.0.2/24 up
         ifconfig -j a epair0b inet6 fd00::a/64 no_dad
         ifconfig -j b epair1b inet6 fd00::b/64 no_dad
         route -j a -n add default 10.9.0.254",
    )
}

#[test]
fn ipv6_crosses_a_bridge_and_reaches_the_bridge_itself() {
    let host = two_jails();
    let trace = tcp(&host, jail("a"), "fd00::b", 80);
    assert_reached(&trace, &place("b"), "fd00::a");
    assert_eq!(trace.summary(), "switch bridge0");
    assert_reached(
        &tcp(&host, jail("a"), "fd00::ff", 80),
        &Place::Host,
        "fd00::a",
    );
    assert_reached(
        &tcp(&host, Origin::Host, "fd00::b", 80),
        &place("b"),
        "fd00::ff",
    );
}

#[test]
fn a_trace_reads_as_a_way_that_an_operator_can_follow() {
    let host = two_jails();
    let text = tcp(&host, jail("a"), "10.9.0.2", 80).to_string();
    let expected = "\
-> jail a                       tcp 10.9.0.1:10000 > 10.9.0.2:80 (source: the address of the interface that leads there); route 10.9.0.0/24 on epair0b
-> interface epair0b of jail a  comes out of epair0a of host
-> bridge bridge0               passes it from member epair0a to member epair1a
-> interface epair1a of host    comes out of epair1b of jail b
=> reached jail b 10.9.0.2:80, which sees 10.9.0.1
";
    assert_eq!(text, expected);
}

#[test]
fn what_is_down_is_named() {
    let mut host = two_jails();
    run(&mut host, "ifconfig epair1a down");
    let trace = tcp(&host, jail("a"), "10.9.0.2", 80);
    assert_lost(&trace, Cause::NobodyThere);
    assert!(trace.to_string().contains("epair1a is down"), "{trace}");
    run(&mut host, "ifconfig epair1a up");
    run(&mut host, "ifconfig bridge0 down");
    assert_lost(&tcp(&host, jail("a"), "10.9.0.2", 80), Cause::NobodyThere);
}

#[test]
fn private_members_are_told_apart_from_missing_ones() {
    let mut host = two_jails();
    run(
        &mut host,
        "ifconfig bridge0 private epair0a private epair1a",
    );
    let trace = tcp(&host, jail("a"), "10.9.0.2", 80);
    assert!(
        trace
            .to_string()
            .contains("epair0a and epair1a are both private members of bridge0"),
        "{trace}"
    );
    assert_reached(
        &tcp(&host, jail("a"), "10.9.0.254", 80),
        &Place::Host,
        "10.9.0.1",
    );
    let trace = tcp(&host, jail("a"), "10.9.0.77", 80);
    assert_lost(&trace, Cause::NobodyThere);
    assert!(!trace.to_string().contains("private"), "{trace}");
}

#[test]
fn members_and_the_bridge_are_filtered_where_the_sysctls_say_so() {
    let mut host = two_jails();
    run(&mut host, "kldload -n pf\npfctl -e");
    for (sysctl, interface, spot) in [
        ("pfil_member", "epair0a", "epair0a in"),
        ("pfil_bridge", "bridge0", "bridge0 in"),
        ("pfil_member", "epair1a", "epair1a out"),
    ] {
        load(
            &mut host,
            "",
            &format!("pass\nblock quick on {interface} inet from 10.9.0.1 to 10.9.0.2\n"),
        );
        assert_reached(
            &tcp(&host, jail("a"), "10.9.0.2", 80),
            &place("b"),
            "10.9.0.1",
        );
        run(&mut host, &format!("sysctl net.link.bridge.{sysctl}=1"));
        assert_blocked(
            &tcp(&host, jail("a"), "10.9.0.2", 80),
            &format!("pf {spot}: blocked by rule 1"),
        );
        run(&mut host, &format!("sysctl net.link.bridge.{sysctl}=0"));
    }
}

/// A third jail behind its own epair; the host forwards, or not.
fn with_routed_jail() -> Emulator {
    let mut host = two_jails();
    run(
        &mut host,
        "ifconfig epair create
         jail -c name=c vnet persist path=/
         ifconfig epair2a inet 10.40.0.0/31 up
         ifconfig epair2b vnet c
         ifconfig -j c epair2b inet 10.40.0.1/31 up
         route -j c -n add default 10.40.0.0",
    );
    host
}

#[test]
fn forwarding_needs_the_sysctl_and_a_way_back() {
    let mut host = with_routed_jail();
    assert_lost(&tcp(&host, jail("a"), "10.40.0.1", 80), Cause::NotForwarded);
    run(&mut host, "sysctl net.inet.ip.forwarding=1");
    let trace = tcp(&host, jail("a"), "10.40.0.1", 80);
    assert_reached(&trace, &place("c"), "10.9.0.1");
    assert_eq!(trace.summary(), "switch bridge0, routed by host");
    // b has no default route: it cannot ask, and when it is asked it cannot answer.
    let trace = tcp(&host, jail("b"), "10.40.0.1", 80);
    assert_lost(&trace, Cause::NoRoute);
    let trace = tcp(&host, jail("c"), "10.9.0.2", 80);
    assert_lost(&trace, Cause::NoRoute);
    assert!(
        trace
            .to_string()
            .contains("on the way back, jail b has no route to 10.40.0.1"),
        "{trace}"
    );
}

#[test]
fn ipv6_has_its_own_forwarding_sysctl() {
    let mut host = with_routed_jail();
    run(
        &mut host,
        "sysctl net.inet.ip.forwarding=1
         ifconfig epair2a inet6 fd00:40::/127 no_dad
         ifconfig -j c epair2b inet6 fd00:40::1/127 no_dad
         route -j c -n add -inet6 default fd00:40::
         route -j a -n add -inet6 default fd00::ff",
    );
    assert_lost(
        &tcp(&host, jail("a"), "fd00:40::1", 80),
        Cause::NotForwarded,
    );
    run(&mut host, "sysctl net.inet6.ip6.forwarding=1");
    assert_reached(
        &tcp(&host, jail("a"), "fd00:40::1", 80),
        &place("c"),
        "fd00::a",
    );
}

#[test]
fn a_vnet_jail_without_an_address_says_so() {
    let mut host = host("jail -c name=bare vnet persist path=/");
    let trace = tcp(&host, jail("bare"), "10.0.2.15", 22);
    assert_lost(&trace, Cause::NoAddress);
    assert!(
        trace
            .to_string()
            .contains("jail bare has no IPv4 address, and so no route to 10.0.2.15"),
        "{trace}"
    );
    run(&mut host, "ifconfig -j bare lo0 inet 127.0.0.1/8 up");
    assert_reached(
        &tcp(&host, jail("bare"), "127.0.0.1", 22),
        &place("bare"),
        "127.0.0.1",
    );
}

/// Jails without a stack of their own on lo1, and one with an address on the card.
fn shared() -> Emulator {
    host(
        "ifconfig lo1 create
         ifconfig lo1 inet 192.0.2.3/32 alias
         ifconfig lo1 inet 192.0.2.4/32 alias
         ifconfig lo1 inet6 fd00:20::3/128 alias
         ifconfig lo1 inet6 fd00:20::4/128 alias
         ifconfig vtnet0 inet 10.0.2.60/32 alias
         jail -c name=tom persist path=/ ip4.addr=192.0.2.3 ip6.addr=fd00:20::3
         jail -c name=dick persist path=/ ip4.addr=192.0.2.4,10.0.2.60 ip6.addr=fd00:20::4
         jail -c name=dumb persist path=/ ip4.addr=192.0.2.5",
    )
}

#[test]
fn a_jail_sends_from_its_own_addresses_only() {
    let host = shared();
    assert_reached(
        &tcp(&host, jail("tom"), "192.0.2.4", 80),
        &place("dick"),
        "192.0.2.3",
    );
    assert_reached(
        &tcp(&host, jail("tom"), "fd00:20::4", 80),
        &place("dick"),
        "fd00:20::3",
    );
    let bound = |from: &str, source: &str| {
        host.trace(&Probe {
            source: Some(ip(source)),
            ..Probe::tcp(jail(from), ip("192.0.2.3"), 80)
        })
    };
    assert_reached(&bound("dick", "10.0.2.60"), &place("tom"), "10.0.2.60");
    assert_lost(&bound("tom", "192.0.2.4"), Cause::NoAddress);
    assert_reached(&bound("tom", "127.0.0.1"), &place("tom"), "192.0.2.3");
    assert_lost(
        &tcp(&host, jail("dumb"), "fd00:20::4", 80),
        Cause::NoAddress,
    );
    // The address it is held to was never put on an interface: nothing can answer it.
    assert!(!tcp(&host, jail("dumb"), "192.0.2.4", 80).reached());
}

#[test]
fn loopback_means_the_first_address() {
    let host = shared();
    for (to, source) in [("127.0.0.1", "192.0.2.3"), ("::1", "fd00:20::3")] {
        let trace = host.trace(&Probe {
            listening: Listening::Loopback,
            ..Probe::tcp(jail("tom"), ip(to), 80)
        });
        assert_reached(&trace, &place("tom"), source);
    }
    let behind = |to: &str| {
        host.trace(&Probe {
            listening: Listening::Loopback,
            ..Probe::tcp(jail("tom"), ip(to), 80)
        })
    };
    assert_reached(&behind("192.0.2.4"), &place("dick"), "192.0.2.3");
    assert_lost(&behind("10.0.2.60"), Cause::NobodyListens);
}

#[test]
fn skip_on_lo_switches_isolation_off() {
    let mut host = shared();
    run(&mut host, "kldload -n pf\npfctl -e");
    load(
        &mut host,
        "",
        "pass\nblock in quick on lo1 inet from 192.0.2.3 to 192.0.2.4\n",
    );
    let trace = tcp(&host, jail("tom"), "192.0.2.4", 80);
    assert_blocked(&trace, "pf lo1 in: blocked by rule 1");
    assert_eq!(trace.summary(), "blocked");
    load(
        &mut host,
        "",
        "set skip on lo\npass\nblock in quick on lo1 inet from 192.0.2.3 to 192.0.2.4\n",
    );
    let trace = tcp(&host, jail("tom"), "192.0.2.4", 80);
    assert_reached(&trace, &place("dick"), "192.0.2.3");
    assert!(trace.to_string().contains("pf skips lo1"), "{trace}");
}

#[test]
fn rules_by_user_see_who_sends() {
    let mut host = shared();
    run(&mut host, "kldload -n pf\npfctl -e");
    load(
        &mut host,
        "",
        "pass\nblock out quick on lo1 inet proto tcp from any to any port 25 user > 1000\n",
    );
    let by = |user| {
        host.trace(&Probe {
            user,
            ..Probe::tcp(jail("tom"), ip("192.0.2.4"), 25)
        })
    };
    assert!(by(None).reached());
    assert!(by(Some(1000)).reached());
    assert_blocked(&by(Some(1001)), "pf lo1 out: blocked by rule 1");
}

#[test]
fn asking_changes_nothing_and_sending_leaves_states() {
    let mut host = shared();
    run(&mut host, "kldload -n pf\npfctl -e");
    load(&mut host, "", "pass\n");
    let before = host.fingerprint();
    let probe = Probe::tcp(jail("tom"), ip("192.0.2.4"), 80);
    assert!(host.trace(&probe).reached());
    assert_eq!(host.fingerprint(), before);
    assert!(host.send(&probe).trace.reached());
    assert_ne!(host.fingerprint(), before);
}

#[test]
fn what_does_not_exist_is_named() {
    let host = shared();
    assert_lost(
        &tcp(&host, jail("nosuch"), "192.0.2.3", 80),
        Cause::NoSuchPlace,
    );
    let probe = Probe {
        fib: Some(7),
        ..Probe::tcp(Origin::Host, ip("192.0.2.3"), 80)
    };
    assert_lost(&host.trace(&probe), Cause::NoSuchPlace);
    let outside = |interface: &str| Origin::Outside {
        interface: interface.to_owned(),
        source: ip("10.0.2.2"),
    };
    assert_lost(
        &tcp(&host, outside("vtnet9"), "10.0.2.15", 80),
        Cause::NoSuchPlace,
    );
    assert_lost(
        &tcp(&host, outside("lo1"), "10.0.2.15", 80),
        Cause::NoSuchPlace,
    );
}

/// The interface is that of the route to the destination: an IPv4 address on lo1 has its route there, an IPv6 address of the
/// stack always on lo0 (in_addprefix of sys/netinet/in.c, in6_update_ifa of sys/netinet6/in6.c).
#[test]
fn pf_sees_local_traffic_on_the_interface_of_the_route() {
    let mut host = shared();
    run(&mut host, "kldload -n pf\npfctl -e");
    let cases = [
        ("tom", None, "192.0.2.4", "lo1"),
        ("tom", None, "10.0.2.60", "lo0"),
        ("dick", Some("10.0.2.60"), "192.0.2.3", "lo1"),
        ("tom", None, "fd00:20::4", "lo0"),
    ];
    for (from, source, to, expected) in cases {
        for interface in ["lo0", "lo1", "vtnet0"] {
            load(
                &mut host,
                "",
                &format!("pass\nblock in quick on {interface} from any to {to}\n"),
            );
            let probe = Probe {
                source: source.map(ip),
                ..Probe::tcp(jail(from), ip(to), 80)
            };
            let trace = host.trace(&probe);
            assert_eq!(trace.reached(), interface != expected, "{trace}");
        }
    }
}

/// A state translates back only where it was made to translate: on lo0, where the answer of a VNET jail never passes.
#[test]
fn a_hairpin_to_a_vnet_jail_finds_no_way_back_unless_the_link_translates_both_ways() {
    let mut host = two_jails();
    run(
        &mut host,
        "sysctl net.inet.ip.forwarding=1
         kldload -n pf
         pfctl -e",
    );
    let published = "10.0.2.15";
    let rdr = "inet proto tcp from any to 10.0.2.15 port 80 -> 10.9.0.1\n";
    load(
        &mut host,
        "",
        &format!("rdr pass on {{ vtnet0, lo0 }} {rdr}pass\n"),
    );
    assert_lost(
        &tcp(&host, Origin::Host, published, 80),
        Cause::WrongWayBack,
    );
    let nat = "nat on bridge0 inet proto tcp from any to 10.9.0.1 port 80 -> 10.9.0.254\n";
    load(
        &mut host,
        "",
        &format!("{nat}rdr pass on {{ vtnet0, lo0, bridge0 }} {rdr}pass\n"),
    );
    assert_lost(
        &tcp(&host, Origin::Host, published, 80),
        Cause::WrongWayBack,
    );
    let trace = tcp(&host, jail("a"), published, 80);
    assert_reached(&trace, &place("a"), "10.9.0.254");
}

/// An unnumbered link: no prefix covers the jail's address, so it is the route that says whether the host deems it a neighbour, and answers it.
#[test]
fn a_gateway_answers_only_whom_it_reaches_without_one() {
    let mut host = host(
        "ifconfig epair create
         jail -c name=a vnet persist path=/
         ifconfig epair0b vnet a
         ifconfig epair0a inet6 fe80::1/64 no_dad
         ifconfig epair0a up
         ifconfig -j a epair0b inet6 fe80::2/64 no_dad
         ifconfig -j a epair0b inet6 fd00:41::10/128 no_dad
         ifconfig -j a epair0b up
         route -j a -n add -inet6 default fe80::1%epair0b
         ifconfig lo0 inet6 fd00::1/128
         route -n add -inet6 -host fd00:41::10 fe80::2%epair0a",
    );
    let reaches = |host: &Emulator| tcp(host, jail("a"), "fd00::1", 80);
    let trace = reaches(&host);
    assert_lost(&trace, Cause::NobodyThere);
    assert!(
        trace.to_string().contains("does not answer solicitations"),
        "{trace}"
    );
    run(
        &mut host,
        "route -n delete -inet6 -host fd00:41::10
         route -n add -inet6 -host fd00:41::10 -iface epair0a",
    );
    assert_reached(&reaches(&host), &Place::Host, "fd00:41::10");
    let trace = tcp(&host, Origin::Host, "fd00:41::10", 80);
    assert_reached(&trace, &place("a"), "fd00::1");
}

#[test]
fn routes_go_with_the_address_that_is_their_source() {
    // As seen on 15.1: `route add -iface` takes the first address of the interface whose prefix covers the destination.
    let mut host = host(
        "sysctl net.fibs=2
        ifconfig vtnet1 inet 203.0.113.9/32 up
        ifconfig vtnet1 inet 203.0.113.1/24 alias
        route -n add -fib 1 -net 203.0.113.0/24 -iface vtnet1
        route -n add -fib 1 -host 203.0.113.9 -iface lo0
        route -n add -fib 1 default 203.0.113.100",
    );
    let table = |host: &mut Emulator| {
        let text = host.sh("netstat -rn -F 1 -f inet").stdout;
        let routes = text.lines().skip(4);
        let first = routes.filter_map(|line| line.split_whitespace().next().map(str::to_owned));
        first.collect::<Vec<_>>()
    };
    assert_eq!(
        table(&mut host),
        ["default", "203.0.113.0/24", "203.0.113.9"]
    );
    host.sh("ifconfig vtnet1 inet 203.0.113.9 -alias");
    assert_eq!(
        table(&mut host),
        ["default", "203.0.113.0/24", "203.0.113.9"]
    );
    host.sh("ifconfig vtnet1 inet 203.0.113.1 -alias");
    assert_eq!(table(&mut host), ["203.0.113.9"]);
}
