//! N1, N2, N3, N13 and N20: addresses of the host's interfaces.

use cellblock_fakebsd::trace::{Listening, Origin, Place, Probe, Protocol, Trace, Verdict};

use super::{HOST, ROUNDS_MAX, Row, behind, in_jail, jail, manifest, outside, reached};

const N0: &str = "n00-no-network/no-network.yaml";

#[test]
fn n00_no_network_or_the_hosts() {
    let mut row = Row::up(N0);
    let (alone, guest) = (jail("alone"), jail("guest"));
    let to = "198.51.100.1";
    row.lost(&alone, to, 443);
    row.lost(&alone, "10.0.2.15", 22);
    row.reaches(&guest, to, 443, &behind("vtnet0"), "10.0.2.15");
    // The same jail without its parameters, and the other with them.
    let swapped = manifest(N0)
        .replace(
            "  parameters: {ip4: inherit, ip6: inherit}",
            "  parameters: {}",
        )
        .replace(
            "{path: /jails/alone}\n",
            "{path: /jails/alone}\n  parameters: {ip4: inherit}\n",
        );
    row.change(&swapped);
    row.lost(&guest, to, 443);
    row.reaches(&alone, to, 443, &behind("vtnet0"), "10.0.2.15");
    row.change(&manifest(N0));
    row.lost(&alone, to, 443);
    row.take_away();
}

const N1: &str = "n01-shared-ip/shared-ip.yaml";

#[test]
fn n01_aliases_on_the_nic() {
    let mut row = Row::up(N1);
    let addresses = |row: &Row| row.world.run("jls -j www ip4.addr");
    assert_eq!(addresses(&row).trim(), "10.0.2.41,10.0.2.40");
    let wire = outside("vtnet0", "10.0.2.2");
    for address in ["10.0.2.40", "10.0.2.41"] {
        row.reaches(&wire, address, 80, &in_jail("www"), "10.0.2.2");
    }
    let www6 = "fd00:2::40";
    row.reaches(&Origin::Host, www6, 80, &in_jail("www"), www6);
    row.reaches(&jail("db"), "10.0.2.40", 80, &in_jail("www"), "10.0.2.42");
    let jid = |row: &Row, name: &str| row.world.observe().jail(name).map(|jail| jail.jid);
    let db = jid(&row, "db");
    row.change(&manifest(N1).replace("10.0.2.41, 10.0.2.40", "10.0.2.50"));
    assert_eq!(addresses(&row).trim(), "10.0.2.50");
    row.reaches(&wire, "10.0.2.50", 80, &in_jail("www"), "10.0.2.2");
    let gone = row.tcp(&wire, "10.0.2.41", 80);
    assert!(!gone.reached(), "{gone}");
    assert_eq!(jid(&row, "db"), db, "it was left alone");
    row.take_away();
}

const N2: &str = "n02-internal-first/internal-first.yaml";

/// What comes in for a listener that is bound to 127.0.0.1 in its jail.
fn to_loopback(row: &Row, to: &str) -> Trace {
    row.trace(&Probe {
        listening: Listening::Loopback,
        ..Probe::tcp(
            outside("vtnet0", "203.0.113.7"),
            to.parse().expect("an address"),
            80,
        )
    })
}

#[test]
fn n02_an_internal_address_first() {
    let mut row = Row::up(N2);
    let wire = outside("vtnet0", "203.0.113.7");
    for address in ["203.0.113.10", "203.0.113.11"] {
        row.reaches(&wire, address, 80, &in_jail("www"), "203.0.113.7");
    }
    let own6 = "2001:db8:113::10";
    row.reaches(&Origin::Host, own6, 80, &in_jail("www"), own6);
    assert!(!to_loopback(&row, "203.0.113.10").reached());
    // With the public address first it would be.
    let public_first = manifest(N2).replace("  - network: jail-loopback\n", "");
    row.change(&public_first);
    reached(
        &to_loopback(&row, "203.0.113.10"),
        &in_jail("www"),
        "203.0.113.7",
    );
    row.change(&manifest(N2));
    assert!(!to_loopback(&row, "203.0.113.10").reached());
    row.take_away();
}

const N3: &str = "n03-loopback-nat/loopback-nat.yaml";

#[test]
fn n03_a_loopback_behind_nat() {
    let mut row = Row::up(N3);
    let wire = outside("vtnet0", "10.0.2.2");
    for name in ["tom", "dick", "harry"] {
        let to = "198.51.100.1";
        row.reaches(&jail(name), to, 443, &behind("vtnet0"), "10.0.2.15");
    }
    for (port, name) in [
        (21, "dick"),
        (80, "dick"),
        (443, "dick"),
        (9005, "dick"),
        (81, "harry"),
    ] {
        row.reaches(&wire, "10.0.2.15", port, &in_jail(name), "10.0.2.2");
    }
    // What nobody publishes is the host's own; published, it is tom's, and the host's again when tom gives it up.
    row.reaches(&wire, "10.0.2.15", 3306, &Place::Host, "10.0.2.2");
    let tom = "  - {network: inside, addresses: [192.0.2.3]}\n";
    let publish = "  publish: [{name: db, ports: [3306], uplink: external, address: main}]\n";
    row.change(&manifest(N3).replace(tom, &format!("{tom}{publish}")));
    row.reaches(&wire, "10.0.2.15", 3306, &in_jail("tom"), "10.0.2.2");
    row.change(&manifest(N3));
    row.reaches(&wire, "10.0.2.15", 3306, &Place::Host, "10.0.2.2");
    row.reaches(&wire, "10.0.2.15", 80, &in_jail("dick"), "10.0.2.2");
    row.take_away();
}

const N13: &str = "n13-source-address/source-address.yaml";

#[test]
fn n13_which_address_a_jail_connects_from() {
    let mut row = Row::up(N13);
    let comes_from = |row: &Row, name: &str, seen: &str| {
        let to = "10.0.2.2".parse().expect("an address");
        // Somebody outside knows the way back to the internal addresses.
        let probe = Probe {
            routed_here: vec!["10.13.0.0/24".parse().expect("a prefix")],
            ..Probe::tcp(jail(name), to, 443)
        };
        reached(&row.trace(&probe), &behind("vtnet0"), seen);
    };
    comes_from(&row, "picked", "10.0.2.41");
    comes_from(&row, "first", "10.13.0.3");
    row.change(&manifest(N13).replace("ip4.saddrsel: false", "ip4.saddrsel: true"));
    comes_from(&row, "first", "10.0.2.42");
    row.change(&manifest(N13));
    comes_from(&row, "first", "10.13.0.3");
    row.take_away();
}

const N17: &str = "n17-duplicate-addresses/duplicate-addresses.yaml";

#[test]
fn n17_nothing_starts_on_an_address_that_is_being_asked_for() {
    let mut row = Row::new(N17);
    row.world.run("ifconfig vtnet1 inet6 -ifdisabled up");
    row.before = row.world.fork().settled();
    let tentative = |row: &Row| {
        let shown = row.world.run("ifconfig vtnet1 inet6");
        let mut own = shown.lines().filter(|line| line.contains("fd00:17::10"));
        own.any(|line| line.contains("tentative"))
    };
    let runs = |row: &Row| row.world.observe().jail("www").is_some();
    row.world.pass().expect("the host answers");
    assert!(tentative(&row) && !runs(&row));
    row.rest();
    assert!(
        !tentative(&row) && runs(&row),
        "{}",
        row.world.run("ifconfig vtnet1 inet6")
    );
    let own = "fd00:17::10";
    row.reaches(&Origin::Host, own, 80, &in_jail("www"), own);
    row.take_away();
}

#[test]
fn n17_an_address_of_somebody_else_on_the_wire_starts_nothing() {
    let mut row = Row::new(N17);
    // A wire with somebody on it: the other end of a pair is in a jail of the operator.
    for line in [
        "ifconfig epair create",
        "jail -c name=other persist vnet",
        "ifconfig epair0b vnet other",
        "ifconfig -j other epair0b inet6 -ifdisabled up",
        "ifconfig -j other epair0b inet6 fd00:17::10/64",
        "ifconfig epair0a inet6 -ifdisabled up",
    ] {
        row.world.run(line);
    }
    row.world.sleep(5_000);
    row.fleet
        .apply(&manifest(N17).replace("vtnet1", "epair0a"))
        .expect("it is admitted");
    row.world
        .take(row.fleet.view(HOST).expect("the host is there"));
    let rest = row.world.converge(ROUNDS_MAX).expect("it comes to rest");
    let reasons: Vec<&str> = rest.last.report.jails[0]
        .conditions
        .iter()
        .map(|condition| condition.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        ["AddressDuplicated"],
        "{:?} {}",
        rest.last.plan.lines(),
        row.world.run("ifconfig epair0a")
    );
    assert!(row.world.observe().jail("www").is_none());
    // The way out that the message tells.
    row.world
        .run("ifconfig -j other epair0b inet6 fd00:17::10 -alias");
    row.world.run("ifconfig epair0a inet6 fd00:17::10 -alias");
    row.rest();
    assert!(row.world.observe().jail("www").is_some());
}

const N20: &str = "n20-host-rules/host-rules.yaml";

#[test]
fn n20_a_closed_port_of_the_public_address() {
    let mut row = Row::up(N20);
    let wire = outside("vtnet0", "10.0.2.2");
    let udp = Probe {
        protocol: Protocol::Udp,
        ..Probe::tcp(wire.clone(), "10.0.2.15".parse().expect("an address"), 111)
    };
    // Without the rules both are reached.
    let open = manifest(N20).replace("ports: [111]", "ports: [112]");
    row.change(&open);
    row.reaches(&wire, "10.0.2.15", 111, &Place::Host, "10.0.2.2");
    reached(&row.trace(&udp), &Place::Host, "10.0.2.2");
    row.change(&manifest(N20));
    row.blocked(&wire, "10.0.2.15", 111);
    let trace = row.trace(&udp);
    assert!(matches!(trace.verdict, Verdict::Blocked { .. }), "{trace}");
    row.reaches(&wire, "10.0.2.15", 80, &in_jail("dick"), "10.0.2.2");
    row.reaches(&jail("dick"), "10.0.2.15", 111, &Place::Host, "192.0.2.4");
    let published = manifest(N20).replace("ports: [80]", "ports: [80, 111]");
    let refused = row
        .fleet
        .apply(&published)
        .expect_err("closed, not published");
    let refused = format!("{refused:?}");
    assert!(refused.contains("block[nfs]"), "{refused}");
    // The Host's own rules stand with or without jails; they go with their lines.
    let without = manifest(N20).replace(", ports: [111]}", ", ports: [8113]}");
    row.change(&without);
    let emulator = row.world.host.emulator().sh("pfctl -a cellblock/host -sr");
    assert!(emulator.stdout.contains("8113"), "{}", emulator.stdout);
    row.change(&without_host_rules(&without));
    row.take_away();
}

/// The manifest without what the Host does beside: that stands with or without jails.
fn without_host_rules(manifest: &str) -> String {
    let block = manifest.find("      block:").expect("closed ports");
    let begin = manifest.find("      scrub:").unwrap_or(block);
    let end = manifest.find("---").expect("the end of the Host");
    format!("{}{}", &manifest[..begin], &manifest[end..])
}

/// What pf does to the packet beside passing it, at the crossings that a trace tells of.
fn scrubbed(trace: &Trace) -> Vec<&str> {
    assert!(trace.reached(), "{trace}");
    let hops = trace.hops.iter().map(|hop| hop.what.as_str());
    hops.filter_map(|what| Some(what.split_once("scrub: ")?.1))
        .collect()
}

#[test]
fn n20_what_the_uplink_scrubs() {
    let mut row = Row::up(N20);
    let wire = outside("vtnet0", "10.0.2.2");
    let (host, dick) = (Origin::Host, jail("dick"));
    let by_nat = row.tcp(&dick, "10.0.2.2", 443);
    reached(&by_nat, &behind("vtnet0"), "10.0.2.15");
    let traces = [
        by_nat,
        row.tcp(&host, "10.0.2.2", 443),
        row.tcp(&wire, "10.0.2.15", 80),
    ];
    for trace in traces {
        let words = scrubbed(&trace);
        assert_eq!(words.len(), 1, "{trace}");
        assert!(words[0].starts_with("no-df max-mss 1452"), "{trace}");
    }
    // From jail to host nothing goes by the uplink.
    assert_eq!(scrubbed(&row.tcp(&dick, "10.0.2.15", 22)), [""; 0]);
    // Connections that are made from now on.
    let other = manifest(N20).replace("maxMss: 1452, noDf: true", "maxMss: 1400, randomId: true");
    row.change(&other);
    let trace = row.tcp(&host, "10.0.2.3", 443);
    assert!(
        scrubbed(&trace)[0].starts_with("random-id max-mss 1400"),
        "{trace}"
    );
    let without = manifest(N20).replace("      scrub: {maxMss: 1452, noDf: true}\n", "");
    row.change(&without);
    for (from, to, port) in [(&host, "10.0.2.4", 443), (&dick, "10.0.2.4", 443)] {
        assert_eq!(scrubbed(&row.tcp(from, to, port)), [""; 0]);
    }
    row.change(&without_host_rules(&without));
    row.take_away();
}
