//! N4 and N5, and what of N7 is about isolation: jails that do not reach each other.

use cellblock_fakebsd::trace::{Listening, Origin, Place, Probe, Trace};
use cellblock_schemas::condition::ConditionStatus;

use super::{ROUNDS_MAX, Row, in_jail, jail, manifest, outside, reached};

const N4: &str = "n04-own-loopback/own-loopback.yaml";

/// A connection of a jail that binds to `source` first.
fn bound(row: &Row, from: &Origin, source: &str, to: &str) -> Trace {
    row.trace(&Probe {
        source: Some(source.parse().expect("an address")),
        ..Probe::tcp(from.clone(), to.parse().expect("an address"), 80)
    })
}

/// To what listens on 127.0.0.1 or ::1 alone.
fn to_loopback(row: &Row, from: &Origin, to: &str) -> Trace {
    row.trace(&Probe {
        listening: Listening::Loopback,
        ..Probe::tcp(from.clone(), to.parse().expect("an address"), 80)
    })
}

fn blocked(trace: &Trace) {
    assert_eq!(trace.summary(), "blocked", "{trace}");
}

#[test]
fn n04_no_jail_reaches_anothers_loopback() {
    let mut row = Row::up(N4);
    let (www, db) = (jail("www"), jail("db"));
    // Without it they do, from whichever address.
    row.change(&manifest(N4).replace("isolation: jails", "isolation: none"));
    for (to, seen) in [
        ("127.0.1.4", "127.0.1.3"),
        ("fd00:127:1::4", "fd00:127:1::3"),
    ] {
        row.reaches(&www, to, 80, &in_jail("db"), seen);
        reached(&to_loopback(&row, &www, to), &in_jail("db"), seen);
    }
    let from_nic = [("10.0.2.43", "127.0.1.4"), ("fd00:2::43", "fd00:127:1::4")];
    for (source, to) in from_nic {
        reached(&bound(&row, &www, source, to), &in_jail("db"), source);
    }
    row.change(&manifest(N4));
    for to in [
        "127.0.1.4",
        "fd00:127:1::4",
        "127.0.1.5",
        "127.0.1.6",
        "fd00:127:1::5",
    ] {
        row.blocked(&www, to, 80);
        blocked(&to_loopback(&row, &www, to));
    }
    for (source, to) in from_nic {
        blocked(&bound(&row, &www, source, to));
    }
    row.blocked(&db, "127.0.1.3", 80);
    // Each reaches itself, under whatever name, and from each of its addresses.
    for (to, seen) in [("127.0.0.1", "127.0.1.3"), ("::1", "fd00:127:1::3")] {
        reached(&to_loopback(&row, &www, to), &in_jail("www"), seen);
    }
    row.reaches(&www, "127.0.1.3", 80, &in_jail("www"), "127.0.1.3");
    let itself = bound(&row, &www, "10.0.2.43", "127.0.1.3");
    reached(&itself, &in_jail("www"), "10.0.2.43");
    let itself = bound(&row, &jail("mail"), "127.0.1.6", "127.0.1.5");
    reached(&itself, &in_jail("mail"), "127.0.1.6");
    // The host reaches all of them, and what is on a network without isolation is reached by all.
    for (to, name) in [("127.0.1.3", "www"), ("fd00:127:1::4", "db")] {
        row.reaches(&Origin::Host, to, 80, &in_jail(name), to);
    }
    for (to, seen) in [("10.0.2.44", "10.0.2.43"), ("fd00:2::44", "fd00:2::43")] {
        reached(&bound(&row, &www, seen, to), &in_jail("db"), seen);
    }
    let wire = outside("vtnet0", "10.0.2.2");
    row.reaches(&wire, "10.0.2.15", 25, &in_jail("mail"), "10.0.2.2");
    row.reaches(&wire, "10.0.2.44", 80, &in_jail("db"), "10.0.2.2");
    row.take_away();
}

#[test]
fn n04_connections_that_must_not_be_end_and_no_others() {
    let mut row = Row::up(N4);
    row.change(&manifest(N4).replace("isolation: jails", "isolation: none"));
    // The operator's rules make states of all.
    let kept = [
        ("www", "127.0.1.3", "127.0.1.3"),
        ("mail", "127.0.1.6", "127.0.1.5"),
        ("www", "10.0.2.43", "10.0.2.44"),
        ("www", "fd00:2::43", "fd00:2::44"),
    ];
    let ended = [
        ("www", "127.0.1.3", "127.0.1.4"),
        ("www", "10.0.2.43", "127.0.1.5"),
        ("db", "fd00:127:1::4", "fd00:127:1::3"),
    ];
    for (from, source, to) in kept.into_iter().chain(ended) {
        let probe = Probe {
            source: Some(source.parse().expect("an address")),
            ..Probe::tcp(jail(from), to.parse().expect("an address"), 80)
        };
        let sent = row.world.host.emulator().send(&probe);
        assert!(sent.trace.reached(), "{}", sent.trace);
    }
    let states = |row: &Row| -> Vec<(String, String)> {
        let shown = row.world.run("pfctl -ss");
        let ends = shown.lines().map(|line| {
            let mut words = line.split_whitespace().skip(2);
            let near = words.next().unwrap_or_default().to_owned();
            (near, words.nth(1).unwrap_or_default().to_owned())
        });
        ends.collect()
    };
    let has = |row: &Row, source: &str, to: &str| {
        let begins = |end: &str, address: &str| {
            let rest = end.strip_prefix(address);
            rest.is_some_and(|rest| rest.starts_with([':', '[']))
        };
        let states = states(row);
        states.iter().any(|(left, right)| {
            begins(left, source) && begins(right, to) || begins(left, to) && begins(right, source)
        })
    };
    for (_, source, to) in kept.into_iter().chain(ended) {
        assert!(has(&row, source, to), "{source} {to}: {:?}", states(&row));
    }
    row.change(&manifest(N4));
    for (_, source, to) in kept {
        assert!(has(&row, source, to), "{source} {to}: {:?}", states(&row));
    }
    for (_, source, to) in ended {
        assert!(!has(&row, source, to), "{source} {to}: {:?}", states(&row));
    }
    row.take_away();
}

#[test]
fn n04_jails_on_a_nic_are_kept_apart_too() {
    let mut row = Row::up(N4);
    let www = jail("www");
    row.reaches(&www, "10.0.2.44", 80, &in_jail("db"), "10.0.2.43");
    row.reaches(&www, "fd00:2::44", 80, &in_jail("db"), "fd00:2::43");
    let apart = manifest(N4).replace(
        "allocate: [10.0.2.40-10.0.2.49]}\n  - {cidr: \"fd00:2::/64\"}\n",
        "allocate: [10.0.2.40-10.0.2.49]}\n  - {cidr: \"fd00:2::/64\"}\n  isolation: jails\n",
    );
    row.change(&apart);
    for to in ["10.0.2.44", "fd00:2::44"] {
        row.blocked(&www, to, 80);
    }
    let wire = outside("vtnet0", "10.0.2.2");
    row.reaches(&wire, "10.0.2.44", 80, &in_jail("db"), "10.0.2.2");
    row.reaches(&www, "10.0.2.15", 22, &Place::Host, "10.0.2.43");
    row.reaches(&www, "10.0.2.43", 80, &in_jail("www"), "10.0.2.43");
    // A jail that is on another network only is no jail of this one.
    row.reaches(&jail("mail"), "10.0.2.44", 80, &in_jail("db"), "127.0.1.5");
    row.take_away();
}

#[test]
fn n04_what_switches_the_rules_off_is_told() {
    let mut row = Row::up(N4);
    let read = row.world.host.emulator().files.read_text("/etc/pf.conf");
    let conf = read.expect("the host's rules");
    let skipping = format!("set skip on lo\n{conf}");
    let load = |row: &mut Row, text: &str| {
        let mut emulator = row.world.host.emulator();
        emulator
            .files
            .write("/etc/pf.conf", text)
            .expect("there is room");
        let output = emulator.sh("pfctl -f /etc/pf.conf");
        assert_eq!(output.status, 0, "{}", output.stderr);
    };
    load(&mut row, &skipping);
    row.reaches(&jail("www"), "127.0.1.4", 80, &in_jail("db"), "127.0.1.3");
    let rest = row.world.converge(ROUNDS_MAX).expect("it comes to rest");
    let report = rest.last.report;
    let effective = report
        .conditions
        .iter()
        .find(|found| found.kind == "PfEffective");
    let effective = effective.expect("it is always told");
    assert_eq!(effective.status, ConditionStatus::False);
    assert!(
        effective.message.contains("`set skip on` cb"),
        "{}",
        effective.message
    );
    for jail in &report.jails {
        let ready = &jail.conditions[0];
        assert_eq!(ready.reason, "PfNotEffective", "{:?}", jail.uid);
    }
    let network = report
        .networks
        .iter()
        .find(|found| found.name == "own-loopback");
    assert_eq!(network.expect("it is there").reason, "PfNotEffective");
    load(&mut row, &conf);
    row.rest();
    row.blocked(&jail("www"), "127.0.1.4", 80);
    row.take_away();
}

const N5: &str = "n05-ipv6-loopback/ipv6-loopback.yaml";

/// The number of the loopback of the example.
fn scope(row: &Row) -> u16 {
    let shown = row.world.run("ifconfig");
    let mut lines = shown.lines().filter(|line| line.contains("fe80::cb:3%cb"));
    let line = lines.next().expect("it has the address of www");
    let (_, number) = line.rsplit_once("scopeid 0x").expect("a scope");
    u16::from_str_radix(number, 16).expect("a number")
}

/// A link-local address as a socket on this host has it.
fn scoped(row: &Row, last: &str) -> String {
    format!("fe80:{:x}::{last}", scope(row))
}

#[test]
fn n05_each_jail_has_an_ipv6_loopback_of_its_own() {
    let mut row = Row::up(N5);
    let (www, db) = (jail("www"), jail("db"));
    let (of_www, of_db) = (scoped(&row, "cb:3"), scoped(&row, "cb:4"));
    assert_eq!(
        row.world.run("jls -j www ip6.addr").trim(),
        format!("{of_www},fd00:2::43")
    );
    reached(
        &to_loopback(&row, &www, "::1"),
        &in_jail("www"),
        "fe80::cb:3",
    );
    reached(&to_loopback(&row, &db, "::1"), &in_jail("db"), "fe80::cb:4");
    // Without isolation they reach each other's.
    row.change(&manifest(N5).replace("isolation: jails", "isolation: none"));
    row.reaches(&www, &of_db, 80, &in_jail("db"), "fe80::cb:3");
    row.reaches(&db, &of_www, 80, &in_jail("www"), "fe80::cb:4");
    let probe = Probe::tcp(www.clone(), of_db.parse().expect("an address"), 80);
    row.world.host.emulator().send(&probe);
    assert!(row.world.run("pfctl -ss").contains("fe80::cb:4"));
    row.change(&manifest(N5));
    let states = row.world.run("pfctl -ss");
    assert!(!states.contains("fe80::cb:4"), "{states}");
    row.blocked(&www, &of_db, 80);
    row.blocked(&db, &of_www, 80);
    blocked(&bound(&row, &www, "fd00:2::43", &of_db));
    row.blocked(&www, "127.0.1.4", 80);
    reached(
        &to_loopback(&row, &www, "::1"),
        &in_jail("www"),
        "fe80::cb:3",
    );
    row.reaches(&Origin::Host, &of_www, 80, &in_jail("www"), "fe80::cb:3");
    row.take_away();
}

#[test]
fn n05_the_scope_is_looked_up_again() {
    let mut row = Row::up(N5);
    let before = scope(&row);
    // Something that was not there before has the number now.
    let names = row.world.run("ifconfig -l");
    let own = names
        .split_whitespace()
        .find(|name| name.ends_with("lo") && name.starts_with("cb"));
    let own = own.expect("the loopback").to_owned();
    row.world.run(&format!("ifconfig {own} destroy"));
    row.world.run("ifconfig lo create name theirs");
    row.rest();
    assert_ne!(scope(&row), before);
    let www = jail("www");
    let of_db = scoped(&row, "cb:4");
    reached(
        &to_loopback(&row, &www, "::1"),
        &in_jail("www"),
        "fe80::cb:3",
    );
    row.reaches(&Origin::Host, &of_db, 80, &in_jail("db"), "fe80::cb:4");
    row.blocked(&www, &of_db, 80);
    row.world.run("ifconfig theirs destroy");
    row.take_away();
}

const N7: &str = "n07-routed/routed.yaml";

#[test]
fn n07_nor_by_another_network_of_theirs() {
    let mut row = Row::up(N7);
    let first =
        "  - {network: behind-nat, interface: net0, addresses: [10.40.0.10, \"fd00:40::10\"]}\n";
    let second = "  - {network: pairs, interface: net1, addresses: [10.41.0.5, \"fd00:41::5\"]}\n";
    let both = manifest(N7).replace(first, &format!("{first}{second}"));
    row.change(&both.replace("isolation: jails", "isolation: none"));
    let www = jail("www");
    // Its root sends by the other link what is for db.
    row.world
        .run("route -j www -n add -host 10.40.0.11 10.41.0.4");
    row.world
        .run("route -j www -n add -inet6 -host fd00:40::11 fd00:41::4");
    let targets = [("10.40.0.11", "10.41.0.5"), ("fd00:40::11", "fd00:41::5")];
    for (to, seen) in targets {
        row.reaches(&www, to, 80, &in_jail("db"), seen);
    }
    row.change(&both);
    for (to, _) in targets {
        row.blocked(&www, to, 80);
    }
    // Who is not of the network reaches db as before.
    row.reaches(
        &jail("plain"),
        "10.40.0.11",
        80,
        &in_jail("db"),
        "10.41.0.3",
    );
    row.take_away();
}
