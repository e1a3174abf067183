//! The manifests of `examples/networking/`, each brought up on an emulated host by the real controller core and the real agent, checked by packet trace, changed, and taken away.
//!
//! Each row says what must reach what, and what must not. What must not has first been let through with the rule taken away: a check that could not fail would prove nothing.
//! `deaths.rs` kills the agent at every effect of each.

use std::path::Path;

use cellblock_fakebsd::Release;
use cellblock_fakebsd::trace::{Listening, Origin, Place, Probe, Protocol, Trace, Verdict};
use cellblock_schemas::Kind;
use cellblock_schemas::condition::ConditionStatus;
use cellblock_sim::World;
use cellblock_sim::fleet::Fleet;

/// How many passes a host may take to come to rest.
const ROUNDS_MAX: usize = 200;

/// The Host of every example.
const HOST: &str = "fbsd-01";

/// One example on its host.
struct Row {
    fleet: Fleet,
    world: World,
    before: Vec<String>,
}

impl Row {
    /// The example's manifest, given to a host on which nothing has been done yet.
    fn new(path: &str) -> Self {
        let mut fleet = Fleet::default();
        fleet.apply(&manifest(path)).expect("it is admitted");
        let mut world = World::new(Release::V15_1);
        for jail in fleet.index.jails_of_host(HOST) {
            let root = &jail.spec.root.as_ref().expect("a root").path;
            let mut emulator = world.host.emulator();
            emulator
                .files
                .create_directories(&format!("{root}/dev"))
                .expect("an empty file tree takes directories");
        }
        let before = world.fork().settled();
        world.take(fleet.view(HOST).expect("the example has its host"));
        Self {
            fleet,
            world,
            before,
        }
    }

    /// The example's manifest, realised.
    fn up(path: &str) -> Self {
        let mut row = Self::new(path);
        row.rest();
        row
    }

    /// Until nothing is left to do; every jail must be ready then.
    fn rest(&mut self) {
        let rest = self.world.converge(ROUNDS_MAX).expect("it comes to rest");
        for jail in &rest.last.report.jails {
            for condition in &jail.conditions {
                let fine = condition.status == ConditionStatus::True;
                assert!(fine || jail.gone, "{:?} {condition:?}", jail.uid);
            }
        }
        let report = rest.last.report;
        self.fleet.hear(HOST, &report).expect("it is folded");
    }

    /// Applies more, and waits until it is so.
    fn change(&mut self, manifest: &str) {
        self.fleet.apply(manifest).expect("it is admitted");
        self.take();
    }

    fn take(&mut self) {
        let view = self.fleet.view(HOST).expect("the host is still there");
        self.world.take(view);
        self.rest();
    }

    /// Deletes every jail; nothing of the example may be left on the host.
    fn take_away(mut self) {
        let jails = self.fleet.index.jails_of_host(HOST);
        let jails: Vec<String> = jails.map(|jail| jail.metadata.name.clone()).collect();
        for jail in &jails {
            self.fleet.delete(Kind::Jail, jail).expect("it may go");
        }
        self.take();
        self.take();
        assert_eq!(self.fleet.index.jails_of_host(HOST).count(), 0);
        let after = self.world.settled();
        let gained: Vec<_> = after
            .iter()
            .filter(|line| !self.before.contains(line))
            .collect();
        // What the Host declares stays while the Host does.
        let gained: Vec<_> = gained
            .iter()
            .filter(|line| !line.starts_with("sysctl"))
            .collect();
        assert!(gained.is_empty(), "left behind: {gained:#?}");
    }

    fn tcp(&self, from: &Origin, to: &str, port: u16) -> Trace {
        self.trace(&Probe::tcp(
            from.clone(),
            to.parse().expect("an address"),
            port,
        ))
    }

    fn trace(&self, probe: &Probe) -> Trace {
        self.world.host.emulator().trace(probe)
    }

    /// `from` reaches `place`, which sees the source `seen`.
    fn reaches(&self, from: &Origin, to: &str, port: u16, place: &Place, seen: &str) {
        reached(&self.tcp(from, to, port), place, seen);
    }

    /// It gets nowhere, and no rule says so.
    fn lost(&self, from: &Origin, to: &str, port: u16) {
        let trace = self.tcp(from, to, port);
        assert!(matches!(trace.verdict, Verdict::Lost { .. }), "{trace}");
    }

    fn blocked(&self, from: &Origin, to: &str, port: u16) {
        let trace = self.tcp(from, to, port);
        assert!(matches!(trace.verdict, Verdict::Blocked { .. }), "{trace}");
    }
}

fn manifest(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/networking");
    std::fs::read_to_string(folder.join(path)).expect("examples are committed")
}

fn reached(trace: &Trace, place: &Place, seen: &str) {
    let Verdict::Reached { by, source } = &trace.verdict else {
        panic!("{trace}");
    };
    assert_eq!(
        (&by.place, source.to_string().as_str()),
        (place, seen),
        "{trace}"
    );
}

fn jail(name: &str) -> Origin {
    Origin::Jail(name.to_owned())
}

fn in_jail(name: &str) -> Place {
    Place::Jail(name.to_owned())
}

fn outside(interface: &str, source: &str) -> Origin {
    Origin::Outside {
        interface: interface.to_owned(),
        source: source.parse().expect("an address"),
    }
}

fn behind(interface: &str) -> Place {
    Place::Outside(interface.to_owned())
}

const N7: &str = "n07-routed/routed.yaml";

#[test]
fn n07_routed_links() {
    let row = Row::up(N7);
    let (www, plain) = (jail("www"), jail("plain"));
    let wire = outside("vtnet0", "10.0.2.2");
    row.reaches(&www, "198.51.100.1", 443, &behind("vtnet0"), "10.0.2.15");
    row.reaches(&wire, "10.0.2.15", 8080, &in_jail("www"), "10.0.2.2");
    row.reaches(&www, "10.40.0.1", 22, &Place::Host, "10.40.0.10");
    row.reaches(
        &Origin::Host,
        "10.40.0.10",
        80,
        &in_jail("www"),
        "10.40.0.1",
    );
    row.reaches(&plain, "10.40.0.10", 80, &in_jail("www"), "10.41.0.3");
    row.reaches(&plain, "fd00:40::10", 80, &in_jail("www"), "fd00:41::3");
    row.reaches(&www, "fd00:41::3", 80, &in_jail("plain"), "fd00:40::10");
    let routed = |probe: Probe| Probe {
        routed_here: vec!["10.41.0.0/24".parse().expect("a prefix")],
        ..probe
    };
    let out = Probe::tcp(plain, "198.51.100.1".parse().expect("an address"), 443);
    reached(&row.trace(&routed(out)), &behind("vtnet0"), "10.41.0.3");
    let come_in = Probe::tcp(wire, "10.41.0.3".parse().expect("an address"), 80);
    reached(&row.trace(&routed(come_in)), &in_jail("plain"), "10.0.2.2");
    row.take_away();
}

#[test]
fn n07_isolation_is_what_keeps_the_jails_apart() {
    let mut row = Row::up(N7);
    let open = manifest(N7).replace("isolation: jails", "isolation: none");
    row.change(&open);
    let www = jail("www");
    for (address, source) in [("10.40.0.11", "10.40.0.10"), ("fd00:40::11", "fd00:40::10")] {
        row.reaches(&www, address, 80, &in_jail("db"), source);
    }
    // A connection that was made while they could does not outlive that.
    let probe = Probe::tcp(www.clone(), "10.40.0.11".parse().expect("an address"), 80);
    row.world.host.emulator().send(&probe);
    row.change(&manifest(N7));
    for address in ["10.40.0.11", "fd00:40::11"] {
        row.blocked(&www, address, 80);
    }
    let states = row.world.host.emulator().sh("pfctl -ss").stdout;
    assert!(!states.contains("10.40.0.11"), "{states}");
    row.take_away();
}

#[test]
fn n07_a_jail_gets_another_address_while_the_others_run() {
    let mut row = Row::up(N7);
    let jid = |row: &Row, name: &str| row.world.observe().jail(name).map(|jail| jail.jid);
    let (www, db) = (jid(&row, "www"), jid(&row, "db"));
    row.change(&manifest(N7).replace("10.40.0.10, \"fd00:40::10\"", "10.40.0.77, \"fd00:40::77\""));
    assert_ne!(jid(&row, "www"), www, "it was started again");
    assert_eq!(jid(&row, "db"), db, "it was left alone");
    let host = Origin::Host;
    row.reaches(&host, "10.40.0.77", 80, &in_jail("www"), "10.40.0.1");
    let routes = row.world.host.emulator().sh("netstat -rn").stdout;
    assert!(
        !routes.contains("10.40.0.10 ") && !routes.contains("fd00:40::10 "),
        "{routes}"
    );
    row.take_away();
}

const N1: &str = "n01-shared-ip/shared-ip.yaml";

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
fn n01_shared_addresses_with_an_internal_one_first() {
    let mut row = Row::up(N1);
    let wire = outside("vtnet0", "203.0.113.7");
    for address in ["203.0.113.10", "203.0.113.11"] {
        row.reaches(&wire, address, 80, &in_jail("www"), "203.0.113.7");
    }
    let own6 = "2001:db8:113::10";
    row.reaches(&Origin::Host, own6, 80, &in_jail("www"), own6);
    assert!(!to_loopback(&row, "203.0.113.10").reached());
    // With the public address first it would be.
    let public_first = manifest(N1).replace("  - network: jail-loopback\n", "");
    row.change(&public_first);
    reached(
        &to_loopback(&row, "203.0.113.10"),
        &in_jail("www"),
        "203.0.113.7",
    );
    row.change(&manifest(N1));
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

const N8: &str = "n08-bridge/bridge.yaml";

#[test]
fn n08_switches_with_and_without_an_uplink() {
    let mut row = Row::up(N8);
    let wire = outside("vtnet0", "10.0.2.2");
    let www = jail("www");
    row.reaches(&www, "203.0.113.9", 443, &behind("vtnet0"), "10.0.2.15");
    row.reaches(&wire, "10.0.2.15", 8080, &in_jail("www"), "10.0.2.2");
    row.reaches(&www, "172.16.1.1", 22, &Place::Host, "172.16.1.10");
    let segment = outside("vtnet1", "198.51.100.99");
    row.reaches(
        &segment,
        "198.51.100.20",
        80,
        &in_jail("machine"),
        "198.51.100.99",
    );
    let machine = jail("machine");
    row.reaches(
        &machine,
        "203.0.113.9",
        443,
        &behind("vtnet1"),
        "198.51.100.20",
    );
    assert!(!row.tcp(&www, "172.16.1.11", 80).reached());
    // Without the private members they reach each other.
    row.change(&manifest(N8).replace("{privateMembers: true}", "{}"));
    row.reaches(&www, "172.16.1.11", 80, &in_jail("db"), "172.16.1.10");
    row.change(&manifest(N8));
    assert!(!row.tcp(&www, "172.16.1.11", 80).reached());
    row.take_away();
}

const N20: &str = "n20-closed-ports/closed-ports.yaml";

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
    let begin = without.find("      block:").expect("the block");
    let end = without.find("---").expect("the end of the Host");
    row.change(&format!("{}{}", &without[..begin], &without[end..]));
    row.take_away();
}

const N9: &str = "n09-netgraph-uplink/netgraph.yaml";

#[test]
fn n09_a_switch_between_the_card_and_its_host() {
    let row = Row::up(N9);
    let (www, wire) = (jail("www"), outside("vtnet1", "198.51.100.1"));
    row.reaches(
        &www,
        "198.51.100.1",
        443,
        &behind("vtnet1"),
        "198.51.100.10",
    );
    row.reaches(&wire, "198.51.100.10", 80, &in_jail("www"), "198.51.100.1");
    let wire6 = outside("vtnet1", "2001:db8:51::1");
    row.reaches(
        &wire6,
        "2001:db8:51::10",
        80,
        &in_jail("www"),
        "2001:db8:51::1",
    );
    row.reaches(&www, "198.51.100.11", 80, &in_jail("db"), "198.51.100.10");
    row.reaches(
        &www,
        "2001:db8:51::11",
        80,
        &in_jail("db"),
        "2001:db8:51::10",
    );
    // The card's own address stays on the card, behind its `upper` hook.
    let host = |line: &str| row.world.host.emulator().sh(line);
    host("ifconfig vtnet1 inet 198.51.100.2/24");
    row.reaches(&www, "198.51.100.2", 22, &Place::Host, "198.51.100.10");
    row.reaches(&wire, "198.51.100.2", 22, &Place::Host, "198.51.100.1");
    row.reaches(
        &Origin::Host,
        "198.51.100.10",
        80,
        &in_jail("www"),
        "198.51.100.2",
    );
    host("ifconfig vtnet1 inet 198.51.100.2 -alias");
    row.take_away();
}

#[test]
fn n09_nobody_outside_reaches_jails_behind_a_card_that_is_not_promiscuous() {
    let mut row = Row::up(N9);
    let jid = |row: &Row| row.world.observe().jail("www").map(|jail| jail.jid);
    let (wire, before) = (outside("vtnet1", "198.51.100.1"), jid(&row));
    row.reaches(&wire, "198.51.100.10", 80, &in_jail("www"), "198.51.100.1");
    row.change(&manifest(N9).replace("promiscuous: true", "promiscuous: false"));
    row.lost(&wire, "198.51.100.10", 80);
    row.lost(&outside("vtnet1", "2001:db8:51::1"), "2001:db8:51::10", 80);
    row.reaches(
        &jail("www"),
        "198.51.100.11",
        80,
        &in_jail("db"),
        "198.51.100.10",
    );
    row.change(&manifest(N9));
    row.reaches(&wire, "198.51.100.10", 80, &in_jail("www"), "198.51.100.1");
    assert_eq!(jid(&row), before, "the jail ran on");
    row.take_away();
}

#[test]
fn n09_what_the_hosts_pf_never_sees_is_refused() {
    let mut row = Row::up(N9);
    let publish = "  publish:\n  - {name: web, ports: [8080], uplink: external}\n";
    let published = manifest(N9).trim_end().to_owned() + "\n" + publish;
    let refused = row
        .fleet
        .apply(&published)
        .expect_err("nothing could publish it");
    let refused = format!("{refused:?}");
    assert!(refused.contains("never sees their traffic"), "{refused}");
    let nat = "  egress:\n    nat: {uplink: external}\n---\n";
    let at = "    gateway: {address: \"2001:db8:51::1\"}\n";
    let translated = manifest(N9).replace(&format!("{at}---\n"), &format!("{at}{nat}"));
    let refused = row
        .fleet
        .apply(&translated)
        .expect_err("nothing could translate");
    let refused = format!("{refused:?}");
    assert!(refused.contains("never sees their traffic"), "{refused}");
    // Nor do a bridge and a switch have one card.
    let bridge = "---\napiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: bridged}\nspec:\n  bridge: {uplink: wire}\n";
    let refused = row.fleet.apply(bridge).expect_err("one card");
    let refused = format!("{refused:?}");
    assert!(refused.contains("each see half"), "{refused}");
}

const N10: &str = "n10-netgraph-internal/netgraph.yaml";

#[test]
fn n10_switches_without_an_uplink() {
    let row = Row::up(N10);
    let www = jail("www");
    let wire = outside("vtnet0", "10.0.2.2");
    row.reaches(&www, "198.51.100.1", 443, &behind("vtnet0"), "10.0.2.15");
    row.reaches(&wire, "10.0.2.15", 8080, &in_jail("www"), "10.0.2.2");
    row.reaches(
        &Origin::Host,
        "10.60.0.10",
        80,
        &in_jail("www"),
        "10.60.0.1",
    );
    row.reaches(
        &Origin::Host,
        "fd00:60::10",
        80,
        &in_jail("www"),
        "fd00:60::1",
    );
    row.reaches(&www, "10.60.0.1", 22, &Place::Host, "10.60.0.10");
    row.reaches(&www, "10.61.0.11", 80, &in_jail("db"), "10.61.0.10");
    row.reaches(&www, "fd00:61::11", 80, &in_jail("db"), "fd00:61::10");
    row.take_away();
}

#[test]
fn n10_a_switch_without_a_gateway_is_the_jails_alone() {
    let mut row = Row::up(N10);
    let db = jail("db");
    // With a second leg it gets there.
    let alone =
        "  - {network: alone, interface: back0, addresses: [10.61.0.11, \"fd00:61::11\"]}\n";
    let graph =
        "  - {network: graph, interface: virt0, addresses: [10.60.0.11, \"fd00:60::11\"]}\n";
    row.change(&manifest(N10).replace(alone, &format!("{alone}{graph}")));
    row.reaches(&db, "10.60.0.1", 22, &Place::Host, "10.60.0.11");
    row.reaches(&db, "198.51.100.1", 443, &behind("vtnet0"), "10.0.2.15");
    row.reaches(&db, "fd00:60::10", 80, &in_jail("www"), "fd00:60::11");
    row.change(&manifest(N10));
    for address in ["10.60.0.1", "10.60.0.10", "198.51.100.1", "fd00:60::10"] {
        row.lost(&db, address, 80);
    }
    let trace = row.tcp(&Origin::Host, "10.61.0.11", 80);
    let reached_it =
        matches!(&trace.verdict, Verdict::Reached { by, .. } if by.place == in_jail("db"));
    assert!(!reached_it, "{trace}");
    row.take_away();
}
