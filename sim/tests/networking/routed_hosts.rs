//! N7 over several hosts: links that hosts route by, and routes between the hosts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cellblock_fakebsd::Release;
use cellblock_fakebsd::trace::segment::{self, Station};
use cellblock_fakebsd::trace::{Probe, Through, Trace, Verdict};
use cellblock_schemas::condition::ConditionStatus;
use cellblock_schemas::host::HostNetwork;
use cellblock_schemas::net::Family;
use cellblock_schemas::{Kind, Object};
use cellblock_sim::World;
use cellblock_sim::fleet::Fleet;

use super::{ROUNDS_MAX, behind, in_jail, jail, manifest, outside, reached};

const EXAMPLE: &str = "n07-routed-hosts/routed-hosts.yaml";

/// The wire that the hosts share.
const CARD: &str = "vtnet0";

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// The example on its hosts.
struct Hosts {
    fleet: Fleet,
    worlds: BTreeMap<String, World>,
    before: BTreeMap<String, Vec<String>>,
    /// What each host last said of its networks.
    networks: BTreeMap<String, Vec<HostNetwork>>,
}

impl Hosts {
    fn up(manifest: &str) -> Self {
        let mut hosts = Self::new(manifest);
        hosts.rest();
        hosts
    }

    fn new(manifest: &str) -> Self {
        let mut fleet = Fleet::default();
        fleet.apply(manifest).expect("it is admitted");
        let names = fleet.index.hosts_by_load();
        let names: Vec<String> = names.map(|host| host.metadata.name.clone()).collect();
        let mut worlds = BTreeMap::new();
        for name in names {
            fleet
                .connect(&name)
                .expect("the reconcilers come to an end");
            let world = World::new(Release::V15_1);
            for jail in ["www", "db", "cache", "one", "two", "late"] {
                let files = &mut world.host.emulator().files;
                let made = files.create_directories(&format!("/jails/{jail}/dev"));
                made.expect("an empty file tree takes directories");
            }
            let view = fleet.view(&name).expect("the host is there");
            world.add_public_addresses(&view.host);
            worlds.insert(name, world);
        }
        let before = worlds
            .iter()
            .map(|(name, world)| (name.clone(), world.fork().settled()));
        Self {
            before: before.collect(),
            fleet,
            worlds,
            networks: BTreeMap::new(),
        }
    }

    /// Until nothing is left to do anywhere; every jail must be ready then.
    fn rest(&mut self) {
        assert_eq!(self.settle(), [""; 0]);
    }

    /// Until nothing is left to do anywhere; the conditions of jails that are not true then.
    fn settle(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, world) in &mut self.worlds {
            // A Host that is gone has no view; its agent goes on with the one that it has.
            if let Ok(view) = self.fleet.view(name) {
                world.take(view);
            }
            let rest = world.converge(ROUNDS_MAX);
            let report = rest
                .unwrap_or_else(|stuck| panic!("{stuck:#?}"))
                .last
                .report;
            for jail in report.jails.iter().filter(|jail| !jail.gone) {
                let conditions = jail.conditions.iter();
                let conditions = conditions.filter(|one| one.status != ConditionStatus::True);
                wrong.extend(conditions.map(|one| format!("{name}: {one:?}")));
            }
            self.networks.insert(name.clone(), report.networks.clone());
            self.fleet.hear(name, &report).expect("it is folded");
        }
        wrong
    }

    fn change(&mut self, manifest: &str) {
        self.fleet.apply(manifest).expect("it is admitted");
        self.rest();
    }

    fn delete(&mut self, kind: Kind, name: &str) {
        self.fleet.delete(kind, name).expect("it may go");
        self.rest();
        self.rest();
    }

    fn run(&self, host: &str, line: &str) -> String {
        self.worlds[host].run(line)
    }

    /// Routes with a next hop of the hosts' wire, in the order of the table: `10.40.0.32/27 10.0.2.22`.
    fn routes(&self, host: &str) -> Vec<String> {
        let text = self.run(host, "netstat -rnW");
        let lines = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let by_node = lines.filter(|words| {
            words.len() > 2
                && (words[1].starts_with("10.0.2.2") || words[1].starts_with("fd00:2::"))
                && words[2].contains('G')
                && words[0] != "default"
        });
        by_node
            .map(|words| format!("{} {}", words[0], words[1]))
            .collect()
    }

    /// The address that a jail was given.
    fn address(&self, jail: &str, family: Family) -> IpAddr {
        let found = self.fleet.index.jail(jail).and_then(|jail| jail.binding());
        let attachments = &found.expect("it is bound").attachments;
        attachments[0]
            .address_of(family)
            .expect("an address of the family")
    }

    fn host_of(&self, jail: &str) -> String {
        let found = self.fleet.index.jail(jail).and_then(|jail| jail.binding());
        found.expect("it is bound").host.clone()
    }

    fn trace(&self, host: &str, probe: &Probe) -> Trace {
        let emulators: Vec<_> = self
            .worlds
            .iter()
            .map(|(name, world)| (name, world.host.emulator().clone()))
            .collect();
        let stations: Vec<Station<'_>> = emulators
            .iter()
            .map(|(name, host)| Station {
                name,
                host,
                interface: CARD,
            })
            .collect();
        segment::trace(&stations, host, probe)
    }

    fn tcp(&self, from: &str, to: IpAddr, port: u16) -> Trace {
        self.trace(&self.host_of(from), &Probe::tcp(jail(from), to, port))
    }

    /// One jail reaches another, which sees its own address.
    fn meets(&self, from: &str, to: &str, port: u16) {
        for family in FAMILIES {
            let trace = self.tcp(from, self.address(to, family), port);
            reached(
                &trace,
                &in_jail(to),
                &self.address(from, family).to_string(),
            );
            if self.host_of(from) != self.host_of(to) {
                let routed = [
                    Through::Router("host".to_owned()),
                    Through::Wire(CARD.to_owned()),
                    Through::Router("host".to_owned()),
                ];
                assert_eq!(trace.through, routed, "{trace}");
            }
        }
    }

    fn is_blocked(&self, from: &str, to: &str, port: u16) {
        for family in FAMILIES {
            let trace = self.tcp(from, self.address(to, family), port);
            assert!(matches!(trace.verdict, Verdict::Blocked { .. }), "{trace}");
        }
    }

    /// Deletes every jail; nothing of the example may be left on any host.
    fn take_away(mut self) {
        let jails = self.fleet.index.list(Kind::Jail, None);
        let jails: Vec<String> = jails.map(|entry| entry.name().to_owned()).collect();
        for jail in &jails {
            self.fleet.delete(Kind::Jail, jail).expect("it may go");
        }
        self.rest();
        self.rest();
        for (name, world) in &mut self.worlds {
            let gained: Vec<String> = world
                .settled()
                .into_iter()
                .filter(|line| !self.before[name].contains(line) && !line.starts_with("sysctl"))
                .collect();
            assert!(gained.is_empty(), "left behind on {name}: {gained:#?}");
        }
    }
}

fn with(manifest: &str, this: &str, that: &str) -> String {
    assert!(manifest.contains(this), "{this}");
    manifest.replace(this, that)
}

#[test]
fn n07_jails_of_a_routed_network_reach_each_other_from_host_to_host() {
    let hosts = Hosts::up(&manifest(EXAMPLE));
    assert_eq!(
        hosts.routes("fbsd-01"),
        [
            "10.40.0.32/27 10.0.2.22",
            "10.40.0.64/27 10.0.2.23",
            "10.41.0.16/28 10.0.2.22",
            "fd00:40:0:0:1::/80 fd00:2::22",
            "fd00:40:0:0:2::/80 fd00:2::23",
            "fd00:41:0:0:1::/80 fd00:2::22",
        ]
    );
    // fbsd-03 has no jail of `apart`.
    assert_eq!(
        hosts.routes("fbsd-03"),
        [
            "10.40.0.0/27 10.0.2.21",
            "10.40.0.32/27 10.0.2.22",
            "fd00:40::/80 fd00:2::21",
            "fd00:40:0:0:1::/80 fd00:2::22",
        ]
    );
    hosts.meets("www", "cache", 80);
    hosts.meets("cache", "www", 80);
    // By its label, through the firewall on another host; and who has none is kept out there.
    hosts.meets("www", "db", 5432);
    hosts.meets("db", "www", 80);
    hosts.is_blocked("www", "db", 22);
    hosts.is_blocked("cache", "db", 5432);
    // To the outside they are translated, and a published port is reached by a jail of another host as by anybody.
    let far: IpAddr = "198.51.100.1".parse().expect("an address");
    reached(&hosts.tcp("cache", far, 443), &behind(CARD), "10.0.2.23");
    let public: IpAddr = "10.0.2.21".parse().expect("an address");
    reached(
        &hosts.tcp("cache", public, 8080),
        &in_jail("www"),
        "10.0.2.23",
    );
    let wire = Probe::tcp(outside(CARD, "10.0.2.2"), public, 8080);
    reached(&hosts.trace("fbsd-01", &wire), &in_jail("www"), "10.0.2.2");
    hosts.take_away();
}

#[test]
fn n07_without_forwarding_or_a_route_it_would_not() {
    let hosts = Hosts::up(&manifest(EXAMPLE));
    let lost = |host: &str, undo: &str, redo: &str| {
        hosts.run(host, undo);
        let trace = hosts.tcp("www", hosts.address("cache", Family::Ipv4), 80);
        let found = matches!(trace.verdict, Verdict::Reached { ref by, .. } if by.place == in_jail("cache"));
        assert!(!found, "{undo}: {trace}");
        hosts.run(host, redo);
        hosts.meets("www", "cache", 80);
    };
    lost(
        "fbsd-01",
        "route -n delete -net 10.40.0.64/27",
        "route -n add -net 10.40.0.64/27 10.0.2.23",
    );
    // The way back counts as well.
    lost(
        "fbsd-03",
        "route -n delete -net 10.40.0.0/27",
        "route -n add -net 10.40.0.0/27 10.0.2.21",
    );
    lost(
        "fbsd-03",
        "sysctl net.inet.ip.forwarding=0",
        "sysctl net.inet.ip.forwarding=1",
    );
    lost(
        "fbsd-03",
        "ifconfig vtnet0 inet 10.0.2.23 -alias",
        "ifconfig vtnet0 inet 10.0.2.23/32 alias",
    );
}

#[test]
fn n07_isolation_holds_from_host_to_host() {
    let mut hosts = Hosts::up(&manifest(EXAMPLE));
    hosts.is_blocked("one", "two", 80);
    hosts.is_blocked("two", "one", 80);
    // Each of the two hosts keeps them apart by itself.
    for host in ["fbsd-01", "fbsd-02"] {
        let anchors = hosts.run(host, "pfctl -s Anchors -a cellblock");
        let mut anchors = anchors.lines().map(str::trim);
        let anchor = anchors.find(|name| name.starts_with("cellblock/hn"));
        let anchor = anchor.expect("the network's anchor");
        hosts.run(host, &format!("pfctl -a {anchor} -F rules"));
        hosts.is_blocked("one", "two", 80);
        hosts.is_blocked("two", "one", 80);
        hosts.rest();
    }
    // The host's end of the link, another network and the outside stay reachable.
    for (gateway, source) in [("10.41.0.2", "10.41.0.3"), ("fd00:41::2", "fd00:41::3")] {
        let trace = hosts.tcp("one", gateway.parse().expect("an address"), 22);
        reached(&trace, &super::Place::Host, source);
    }
    let www = hosts.address("www", Family::Ipv4);
    reached(&hosts.tcp("two", www, 80), &in_jail("www"), "10.41.0.17");
    let open = with(&manifest(EXAMPLE), "isolation: jails", "isolation: none");
    hosts.change(&open);
    hosts.meets("one", "two", 80);
    let probe = Probe::tcp(jail("one"), hosts.address("two", Family::Ipv4), 80);
    hosts.worlds["fbsd-01"].host.emulator().send(&probe);
    let states = || hosts.run("fbsd-01", "pfctl -ss");
    assert!(states().contains("10.41.0.17"), "{}", states());
    // What was begun before does not go on.
    hosts.change(&manifest(EXAMPLE));
    hosts.is_blocked("one", "two", 80);
    let states = hosts.run("fbsd-01", "pfctl -ss");
    assert!(!states.contains("10.41.0.17"), "{states}");
    hosts.take_away();
}

#[test]
fn n07_translations_keep_off_what_goes_from_jail_to_jail() {
    // A public address of its own, all of it and some ports, in the place of the network's.
    for ports in ["", ", protocol: tcp, ports: [8443]"] {
        let base = with(
            &manifest(EXAMPLE),
            "publicAddresses: {main: 10.0.2.23}",
            "publicAddresses: {main: 10.0.2.23, own: 10.0.2.33}",
        );
        let public = format!(
            "  publicAddresses:\n  - {{name: own, uplink: external, address: own{ports}}}\n"
        );
        let own = with(
            &base,
            "  root: {path: /jails/cache}\n",
            &format!("  root: {{path: /jails/cache}}\n{public}"),
        );
        let hosts = Hosts::up(&own);
        hosts.meets("cache", "www", 80);
        hosts.meets("www", "cache", 80);
        let far = "198.51.100.1".parse().expect("an address");
        reached(&hosts.tcp("cache", far, 443), &behind(CARD), "10.0.2.33");
        hosts.take_away();
    }
}

#[test]
fn n07_hosts_come_and_go_and_change_their_addresses_while_the_jails_run() {
    let mut hosts = Hosts::up(&manifest(EXAMPLE));
    let jids = |hosts: &Hosts| -> Vec<Option<u32>> {
        let names = ["www", "db", "cache"].into_iter();
        names
            .map(|name| {
                let observed = hosts.worlds[&hosts.host_of(name)].observe();
                observed.jail(name).map(|jail| jail.jid)
            })
            .collect()
    };
    let before = jids(&hosts);
    // Another node address.
    for line in [
        "ifconfig vtnet0 inet 10.0.2.29/32 alias",
        "ifconfig vtnet0 inet6 fd00:2::29/128 alias",
    ] {
        hosts.run("fbsd-03", line);
    }
    let host = hosts.worlds.get_mut("fbsd-03").expect("it is there");
    host.sleep(5_000);
    let moved = with(
        &manifest(EXAMPLE),
        "{node: 10.0.2.23, node6: \"fd00:2::23\"}",
        "{node: 10.0.2.29, node6: \"fd00:2::29\"}",
    );
    hosts.change(&moved);
    let routes = hosts.routes("fbsd-01");
    assert!(
        routes.contains(&"10.40.0.64/27 10.0.2.29".to_owned()),
        "{routes:?}"
    );
    assert!(
        !routes
            .iter()
            .any(|route| route.contains(".23") || route.ends_with("::23")),
        "{routes:?}"
    );
    hosts.meets("www", "cache", 80);
    hosts.change(&manifest(EXAMPLE));
    for line in [
        "ifconfig vtnet0 inet 10.0.2.29 -alias",
        "ifconfig vtnet0 inet6 fd00:2::29 -alias",
    ] {
        hosts.run("fbsd-03", line);
    }
    // A host without a jail of the network: the slice stays its own, and it needs no routes itself.
    hosts.delete(Kind::Jail, "cache");
    assert_eq!(hosts.routes("fbsd-03"), [""; 0]);
    assert!(
        hosts
            .routes("fbsd-01")
            .contains(&"10.40.0.64/27 10.0.2.23".to_owned())
    );
    hosts.change(&manifest(EXAMPLE));
    hosts.meets("www", "cache", 80);
    assert_eq!(
        hosts.address("cache", Family::Ipv4).to_string(),
        "10.40.0.64"
    );
    assert_eq!(jids(&hosts)[..2], before[..2]);
    // A host that is taken out of the fleet.
    hosts.delete(Kind::Jail, "cache");
    hosts.delete(Kind::Host, "fbsd-03");
    assert_eq!(
        hosts.routes("fbsd-02"),
        [
            "10.40.0.0/27 10.0.2.21",
            "10.41.0.0/28 10.0.2.21",
            "fd00:40::/80 fd00:2::21",
            "fd00:41::/80 fd00:2::21"
        ]
    );
    hosts.meets("www", "db", 5432);
    assert_eq!(jids_of(&hosts, &["www", "db"]), before[..2]);
    hosts.take_away();
}

fn jids_of(hosts: &Hosts, names: &[&str]) -> Vec<Option<u32>> {
    let jails = names.iter().map(|name| {
        let observed = hosts.worlds[&hosts.host_of(name)].observe();
        observed.jail(name).map(|jail| jail.jid)
    });
    jails.collect()
}

#[test]
fn n07_routes_that_are_gone_come_back_and_those_of_strangers_stay() {
    let mut hosts = Hosts::new(&manifest(EXAMPLE));
    // One as it would be made, and one that leads elsewhere.
    hosts.run("fbsd-01", "route -n add -net 10.40.0.32/27 10.0.2.22");
    hosts.run("fbsd-01", "route -n add -net 10.40.0.64/27 10.0.2.2");
    let wrong = hosts.settle();
    let told = wrong
        .iter()
        .filter(|line| line.contains("RouteTaken") && line.starts_with("fbsd-01"));
    assert_eq!(told.count(), wrong.len(), "{wrong:#?}");
    assert!(!wrong.is_empty());
    assert!(
        wrong[0].contains("somebody's route to 10.40.0.64/27 goes by 10.0.2.2 (vtnet0) and not by 10.0.2.23; take it away (route delete 10.40.0.64/27)"),
        "{wrong:#?}"
    );
    let of_network = |hosts: &Hosts, host: &str| {
        let found = hosts.networks[host]
            .iter()
            .find(|network| network.name == "span");
        found.map(|network| (network.ready, network.reason.clone()))
    };
    assert_eq!(
        of_network(&hosts, "fbsd-01"),
        Some((ConditionStatus::False, "RouteTaken".to_owned()))
    );
    assert_eq!(
        of_network(&hosts, "fbsd-02"),
        Some((ConditionStatus::True, "Realised".to_owned()))
    );
    hosts.meets("www", "db", 5432);
    hosts.run("fbsd-01", "route -n delete -net 10.40.0.64/27");
    hosts.rest();
    hosts.meets("www", "cache", 80);

    let routes = hosts.routes("fbsd-02");
    hosts.run("fbsd-02", "route -n delete -net 10.40.0.64/27");
    hosts.run("fbsd-02", "route -n delete -6 -net fd00:40::/80");
    hosts.rest();
    assert_eq!(hosts.routes("fbsd-02"), routes);
    let jails = ["www", "db", "cache", "one", "two"];
    for jail in jails {
        hosts.fleet.delete(Kind::Jail, jail).expect("it may go");
    }
    hosts.rest();
    hosts.rest();
    assert_eq!(
        hosts.routes("fbsd-01"),
        ["10.40.0.32/27 10.0.2.22"],
        "the stranger's"
    );
    assert_eq!(hosts.routes("fbsd-02"), [""; 0]);
}

#[test]
fn n07_a_node_address_on_no_link_is_told_and_keeps_no_jail_from_running() {
    let far = with(
        &manifest(EXAMPLE),
        "{node: 10.0.2.23, node6: \"fd00:2::23\"}",
        "{node: 192.0.2.23, node6: \"fd00:2::23\"}",
    );
    let mut hosts = Hosts::new(&far);
    let wrong = hosts.settle();
    assert!(!wrong.is_empty());
    for line in &wrong {
        assert!(
            line.contains("NodeNotOnLink")
                && line
                    .contains("10.40.0.64/27 is host `fbsd-03`'s, by its node address 192.0.2.23"),
            "{line}"
        );
    }
    assert!(hosts.worlds["fbsd-01"].observe().jail("www").is_some());
    hosts.meets("www", "db", 5432);
    hosts.change(&manifest(EXAMPLE));
    hosts.meets("www", "cache", 80);
    // Without its own address a host is not found: it says so, and the routes of the others stay.
    let routes = hosts.routes("fbsd-01");
    hosts.run("fbsd-03", "ifconfig vtnet0 inet6 fd00:2::23 -alias");
    let wrong = hosts.settle();
    assert!(!wrong.is_empty());
    for line in &wrong {
        assert!(
            line.starts_with("fbsd-03")
                && (line.contains("NodeAddressMissing") || line.contains("NodeNotOnLink")),
            "{line}"
        );
    }
    assert_eq!(hosts.routes("fbsd-01"), routes);
    hosts.run("fbsd-03", "ifconfig vtnet0 inet6 fd00:2::23/64 alias");
    let host = hosts.worlds.get_mut("fbsd-03").expect("it is there");
    host.sleep(5_000);
    hosts.rest();
    hosts.meets("www", "cache", 80);
    hosts.take_away();
}

#[test]
fn n07_a_host_that_is_given_up_has_no_slice_any_more() {
    let text = with(&manifest(EXAMPLE), "  host: fbsd-03\n", "");
    let mut hosts = Hosts::up(&text);
    let host = hosts.host_of("cache");
    let others: Vec<String> = hosts
        .worlds
        .keys()
        .filter(|name| **name != host)
        .cloned()
        .collect();
    // Nobody hears of it any more: its routes stay, since its jails may go on.
    let routes = hosts.routes(&others[0]);
    hosts.worlds.remove(&host);
    hosts.rest();
    assert_eq!(hosts.routes(&others[0]), routes);
    let Some(entry) = hosts.fleet.index.get(Kind::Host, &host) else {
        panic!("the host is there");
    };
    let mut object = entry.object.clone();
    if let Object::Host(host) = &mut object {
        host.spec.forgotten = true;
        host.status = None;
        host.metadata.managed_fields.clear();
        host.metadata.resource_version = None;
    }
    let lost = hosts.fleet.index.keys().session(&host);
    let mut write = cellblock_controller_core::Write::default();
    write.delete(lost);
    hosts.fleet.index.rehearse(write);
    hosts
        .fleet
        .apply_object(&object)
        .expect("it may be given up");
    hosts.rest();
    let now = hosts.host_of("cache");
    assert_ne!(now, host);
    for other in &others {
        let left = hosts.routes(other);
        let node = object_node(&object);
        assert!(!left.iter().any(|route| route.ends_with(&node)), "{left:?}");
    }
    hosts.meets("cache", "www", 80);
}

fn object_node(object: &Object) -> String {
    let Object::Host(host) = object else {
        return String::new();
    };
    let node = host.spec.node(Family::Ipv4);
    node.map(|node| node.to_string()).unwrap_or_default()
}

#[test]
fn n07_what_does_not_fit_the_hosts_is_refused() {
    let text = manifest(EXAMPLE);
    let refused = |fleet: &mut Fleet, text: &str| -> String {
        format!("{:?}", fleet.apply(text).expect_err("it is refused"))
    };
    let mut fleet = Fleet::default();
    let without = with(
        &text,
        "  addresses: {node: 10.0.2.22, node6: \"fd00:2::22\"}\n",
        "  addresses: {node: 10.0.2.22}\n",
    );
    let said = refused(&mut fleet, &without);
    assert!(
        said.contains("spec.networks[0].network")
            && said.contains("host fbsd-02 has no spec.addresses.node6"),
        "{said}"
    );
    let mut fleet = Fleet::default();
    let said = refused(
        &mut fleet,
        &with(&text, "{node: 10.0.2.22,", "{node: 10.0.2.21,"),
    );
    assert!(
        said.contains("spec.addresses[node]")
            && said.contains("10.0.2.21 is that of host fbsd-01 already"),
        "{said}"
    );
    let mut fleet = Fleet::default();
    let said = refused(
        &mut fleet,
        &with(&text, "{node: 10.0.2.22,", "{node: 10.40.2.22,"),
    );
    assert!(
        said.contains("lies in 10.40.0.0/22 of network span"),
        "{said}"
    );

    let mut fleet = Fleet::default();
    fleet.apply(&text).expect("it is admitted");
    let said = refused(
        &mut fleet,
        &with(
            &text,
            "{ipv4: 27, ipv6: 80}}   ",
            "{ipv4: 26, ipv6: 80}}   ",
        ),
    );
    assert!(
        said.contains("spec.routed.hostPrefixLength.ipv4")
            && said.contains("jails on host fbsd-01 have addresses of its slice 10.40.0.0/27"),
        "{said}"
    );
    let said = refused(
        &mut fleet,
        &with(
            &text,
            "  addresses: {node: 10.0.2.22, node6: \"fd00:2::22\"}\n",
            "",
        ),
    );
    assert!(
        said.contains("other hosts reach this host's jails of network"),
        "{said}"
    );
    let late = |host: &str, addresses: &str| {
        format!(
            "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {{name: late}}\nspec:\n  host: {host}\n  root: {{path: /jails/late}}\n  networks:\n  - {{network: span, interface: net0{addresses}}}\n"
        )
    };
    let taken = late("fbsd-03", ", addresses: [10.40.0.40]");
    let said = refused(&mut fleet, &taken);
    assert!(
        said.contains("spec.networks[0].addresses[0]")
            && said.contains(
                "10.40.0.40 is of slice 10.40.0.32/27 of network span, which host fbsd-02 has"
            ),
        "{said}"
    );
    // On its own host, and in a slice that nobody has.
    fleet
        .apply(&late("fbsd-02", ", addresses: [10.40.0.40]"))
        .expect("it is admitted");
    fleet.delete(Kind::Jail, "late").expect("it may go");
}
