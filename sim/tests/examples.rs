//! The manifests of `examples/` itself, on the three hosts that they name: what must reach what, and what must not, by packet trace.
//!
//! Each thing that must not be is let through once with what keeps it out taken away: a check that could not fail would prove nothing. `networking.rs` does the same for
//! `examples/networking/`, `deaths.rs` kills the agent at every effect of each.

use std::collections::BTreeMap;
use std::path::Path;

use cellblock_fakebsd::Release;
use cellblock_fakebsd::trace::{Origin, Place, Probe, Protocol, Trace, Verdict};
use cellblock_schemas::condition::ConditionStatus;
use cellblock_sim::World;
use cellblock_sim::fleet::Fleet;

/// How many passes a host may take to come to rest.
const ROUNDS_MAX: usize = 200;

/// A machine on the wire behind vtnet0, and the hosts' public address there.
const OUTSIDE: &str = "10.0.2.2";
const PUBLIC: &str = "10.0.2.15";

/// The hosts of the examples, each with its jails.
struct Hosts {
    fleet: Fleet,
    worlds: BTreeMap<String, World>,
}

impl Hosts {
    /// An example with the hosts that all of them share, realised.
    fn up(example: &str) -> Self {
        let mut fleet = Fleet::default();
        fleet
            .apply(&manifest("hosts.yaml"))
            .expect("it is admitted");
        let names = fleet.index.hosts_by_load();
        let names: Vec<String> = names.map(|host| host.metadata.name.clone()).collect();
        for name in &names {
            fleet.connect(name).expect("the reconcilers come to an end");
        }
        fleet.apply(&manifest(example)).expect("it is admitted");
        let worlds = names.into_iter().map(|name| {
            let world = World::new(Release::V15_1);
            for jail in fleet.index.jails_of_host(&name) {
                let root = &jail.spec.root.as_ref().expect("a root").path;
                let files = &mut world.host.emulator().files;
                let made = files.create_directories(&format!("{root}/dev"));
                made.expect("an empty file tree takes directories");
            }
            (name, world)
        });
        let worlds = worlds.collect();
        let mut hosts = Self { fleet, worlds };
        hosts.rest();
        hosts
    }

    /// Applies more, and waits until it is so.
    fn change(&mut self, manifest: &str) {
        self.fleet.apply(manifest).expect("it is admitted");
        self.rest();
    }

    /// Until nothing is left to do anywhere; every jail must be ready then.
    fn rest(&mut self) {
        for (name, world) in &mut self.worlds {
            world.take(self.fleet.view(name).expect("the host is there"));
            let report = world
                .converge(ROUNDS_MAX)
                .expect("it comes to rest")
                .last
                .report;
            let conditions = report.jails.iter().flat_map(|jail| &jail.conditions);
            for condition in conditions {
                assert_eq!(condition.status, ConditionStatus::True, "{condition:?}");
            }
            self.fleet.hear(name, &report).expect("it is folded");
        }
    }

    /// The only host that has a jail of that name.
    fn host_of(&self, jail: &str) -> &World {
        let jail = self.fleet.index.jail(jail).expect("the jail is there");
        &self.worlds[&jail.binding().expect("it is bound").host]
    }
}

fn manifest(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    std::fs::read_to_string(folder.join(name)).expect("examples are committed")
}

fn jail(name: &str) -> Origin {
    Origin::Jail(name.to_owned())
}

fn wire(interface: &str, source: &str) -> Origin {
    Origin::Outside {
        interface: interface.to_owned(),
        source: source.parse().expect("an address"),
    }
}

fn outside() -> Origin {
    wire("vtnet0", OUTSIDE)
}

fn tcp(world: &World, from: &Origin, to: &str, port: u16) -> Trace {
    let to = to.parse().expect("an address");
    world
        .host
        .emulator()
        .trace(&Probe::tcp(from.clone(), to, port))
}

/// Who is reached, at which port, and which source is seen there.
fn end(trace: &Trace) -> (Place, u16, String) {
    let Verdict::Reached { by, source } = &trace.verdict else {
        panic!("{trace}");
    };
    (by.place.clone(), by.port, source.to_string())
}

fn in_jail(name: &str, port: u16, seen: &str) -> (Place, u16, String) {
    (Place::Jail(name.to_owned()), port, seen.to_owned())
}

fn at_host(port: u16, seen: &str) -> (Place, u16, String) {
    (Place::Host, port, seen.to_owned())
}

fn behind(interface: &str, port: u16, seen: &str) -> (Place, u16, String) {
    (Place::Outside(interface.to_owned()), port, seen.to_owned())
}

fn is_lost(trace: &Trace) {
    assert!(matches!(trace.verdict, Verdict::Lost { .. }), "{trace}");
}

const NAT: &str = "nat-tom-dick-harry.yaml";

#[test]
fn tom_dick_and_harry_have_the_ports_of_the_article() {
    let hosts = Hosts::up(NAT);
    let world = hosts.host_of("tom");
    for (port, name, inside) in [
        (3306, "tom", 3306),
        (21, "dick", 21),
        (80, "dick", 80),
        (443, "dick", 443),
        (81, "harry", 80),
    ] {
        let trace = tcp(world, &outside(), PUBLIC, port);
        assert_eq!(end(&trace), in_jail(name, inside, OUTSIDE), "{trace}");
    }
    for name in ["tom", "dick", "harry"] {
        let trace = tcp(world, &jail(name), "198.51.100.1", 443);
        assert_eq!(end(&trace), behind("vtnet0", 443, PUBLIC), "{trace}");
    }
    let addresses = [("tom", 3_u8), ("dick", 4), ("harry", 5)];
    for (from, source) in addresses {
        for (to, last) in addresses.into_iter().filter(|(to, _)| *to != from) {
            for prefix in ["192.0.2.", "fd00:20::"] {
                let trace = tcp(world, &jail(from), &format!("{prefix}{last}"), 80);
                assert_eq!(
                    end(&trace),
                    in_jail(to, 80, &format!("{prefix}{source}")),
                    "{trace}"
                );
            }
        }
    }
}

#[test]
fn what_tom_dick_and_harry_do_not_publish_is_not_theirs() {
    let mut hosts = Hosts::up(NAT);
    // Neighbours of what is published, harry's port inside, and all of it by UDP.
    for port in [20, 22, 79, 82, 444, 3305, 3307] {
        let trace = tcp(hosts.host_of("tom"), &outside(), PUBLIC, port);
        assert_eq!(end(&trace), at_host(port, OUTSIDE), "{trace}");
    }
    for port in [21, 80, 81, 443, 3306] {
        let probe = Probe {
            protocol: Protocol::Udp,
            ..Probe::tcp(outside(), PUBLIC.parse().expect("an address"), port)
        };
        let trace = hosts.host_of("tom").host.emulator().trace(&probe);
        assert_eq!(end(&trace), at_host(port, OUTSIDE), "{trace}");
    }
    // IPv6 is translated nowhere.
    is_lost(&tcp(hosts.host_of("tom"), &jail("tom"), "2001:db8::1", 443));
    // Other hosts with that public address and without these jails have none of it.
    for name in ["fbsd-01", "fbsd-03"] {
        let trace = tcp(&hosts.worlds[name], &outside(), PUBLIC, 80);
        assert_eq!(end(&trace), at_host(80, OUTSIDE), "{trace}");
    }
    // With the port published, and without the translation, both are otherwise.
    hosts.change(&manifest(NAT).replace("[21, 80, 443]", "[21, 22, 443]"));
    let trace = tcp(hosts.host_of("dick"), &outside(), PUBLIC, 22);
    assert_eq!(end(&trace), in_jail("dick", 22, OUTSIDE), "{trace}");
    let trace = tcp(hosts.host_of("dick"), &outside(), PUBLIC, 80);
    assert_eq!(end(&trace), at_host(80, OUTSIDE), "{trace}");
    let egress = "  egress:\n    nat: {uplink: external, address: main}\n";
    let untranslated = manifest(NAT).replace(egress, "");
    assert_ne!(untranslated, manifest(NAT));
    hosts.change(&untranslated);
    let trace = tcp(hosts.host_of("tom"), &jail("tom"), "198.51.100.1", 443);
    assert!(!trace.reached(), "{trace}");
}

const BRIDGE: &str = "www-bridge.yaml";

#[test]
fn www_on_a_switch_has_its_ports_and_www_on_the_wire_is_a_machine_there() {
    let mut hosts = Hosts::up(BRIDGE);
    let world = hosts.host_of("www-switch");
    let published = (9000..=9009).map(|port| (port, port));
    for (port, inside) in [(8080, 80), (8443, 8443)].into_iter().chain(published) {
        let trace = tcp(world, &outside(), PUBLIC, port);
        assert_eq!(
            end(&trace),
            in_jail("www-switch", inside, OUTSIDE),
            "{trace}"
        );
    }
    for port in [80, 8079, 8081, 8444, 8999, 9010] {
        let trace = tcp(world, &outside(), PUBLIC, port);
        assert_eq!(end(&trace), at_host(port, OUTSIDE), "{trace}");
    }
    let trace = tcp(world, &jail("www-switch"), "203.0.113.9", 443);
    assert_eq!(end(&trace), behind("vtnet0", 443, PUBLIC), "{trace}");
    is_lost(&tcp(world, &jail("www-switch"), "2001:db8::1", 443));
    // On the wire every port is the jail's own, in both families, and nothing is translated.
    let world = hosts.host_of("www-lan");
    for (segment, own) in [
        ("198.51.100.99", "198.51.100.10"),
        ("2001:db8:51::99", "2001:db8:51::2"),
    ] {
        for port in [22, 80] {
            let trace = tcp(world, &wire("vtnet1", segment), own, port);
            assert_eq!(end(&trace), in_jail("www-lan", port, segment), "{trace}");
        }
        let trace = tcp(world, &jail("www-lan"), segment, 443);
        assert_eq!(end(&trace), behind("vtnet1", 443, own), "{trace}");
    }
    is_lost(&tcp(world, &outside(), "198.51.100.10", 80));
    // Given up, a port is the host's again.
    hosts.change(&manifest(BRIDGE).replace("[8443, 9000-9009]", "[8443]"));
    let trace = tcp(hosts.host_of("www-switch"), &outside(), PUBLIC, 9005);
    assert_eq!(end(&trace), at_host(9005, OUTSIDE), "{trace}");
}

#[test]
fn bsd_test01_is_reached_on_the_card_and_not_at_all_without_a_network() {
    let hosts = Hosts::up("bsd-test01.yaml");
    let world = hosts.host_of("bsd-test01-em0");
    let (from, own) = ("10.10.0.99", "10.10.0.1");
    for port in [22, 80] {
        let trace = tcp(world, &wire("vtnet0", from), own, port);
        assert_eq!(
            end(&trace),
            in_jail("bsd-test01-em0", port, from),
            "{trace}"
        );
    }
    // Nobody has the address beside it.
    is_lost(&tcp(world, &wire("vtnet0", from), "10.10.0.2", 80));
    // These hosts have no IPv6 outside: an answer finds its way once they are on the segment.
    let (from, own) = ("fd00:10:10::99", "fd00:10:10::1");
    is_lost(&tcp(world, &wire("vtnet0", from), own, 80));
    world.run("ifconfig vtnet0 inet6 fd00:10:10::ffff/64");
    let trace = tcp(world, &wire("vtnet0", from), own, 80);
    assert_eq!(end(&trace), in_jail("bsd-test01-em0", 80, from), "{trace}");
    is_lost(&tcp(world, &wire("vtnet0", from), "fd00:10:10::2", 80));
    // Its own is the source of what it sends, and the host's address stays the host's.
    let trace = tcp(world, &jail("bsd-test01-em0"), "10.0.2.2", 443);
    assert_eq!(end(&trace), behind("vtnet0", 443, "10.10.0.1"), "{trace}");
    let trace = tcp(world, &outside(), PUBLIC, 80);
    assert_eq!(end(&trace), at_host(80, OUTSIDE), "{trace}");
    // Without a network it has no address to ask from.
    let world = hosts.host_of("bsd-test01");
    is_lost(&tcp(world, &jail("bsd-test01"), "10.0.2.2", 443));
}
