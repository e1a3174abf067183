//! N8, N17 and N18: switches inside the host and at a NIC.

use cellblock_fakebsd::trace::{Origin, Place, Probe};

use super::{ROUNDS_MAX, Row, behind, in_jail, jail, manifest, outside};

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

#[test]
fn n08_an_uplink_takes_part_in_the_spanning_tree() {
    let mut row = Row::up(N8);
    let member = |row: &Row| {
        let shown = row.world.run("ifconfig -a");
        let from = shown
            .find("member: vtnet1")
            .expect("the uplink is a member");
        shown[from..].lines().next().map(str::to_owned)
    };
    let takes_part = |row: &Row| member(row).is_some_and(|line| line.contains("STP"));
    assert!(!takes_part(&row));
    let asked = manifest(N8).replace("{uplink: wire}", "{uplink: wire, stp: true}");
    assert_ne!(asked, manifest(N8));
    row.change(&asked);
    assert!(takes_part(&row));
    let bridges = row.world.run("ifconfig -g bridge");
    for bridge in bridges.split_whitespace() {
        let shown = row.world.run(&format!("ifconfig {bridge}"));
        if shown.contains("member: vtnet1") {
            row.world.run(&format!("ifconfig {bridge} -stp vtnet1"));
        }
    }
    row.rest();
    assert!(takes_part(&row));
    row.change(&manifest(N8));
    assert!(!takes_part(&row));
    row.take_away();
}

const N18: &str = "n18-jails-together/jails-together.yaml";

/// The example with jails that are not kept apart.
fn open() -> String {
    manifest(N18).replace("isolation: jails", "isolation: none")
}

#[test]
fn n18_jails_reach_each_other_over_a_network_of_their_own() {
    let mut row = Row::up(N18);
    let (www, tenant) = (jail("www"), jail("tenant"));
    for (address, seen) in [("10.18.0.11", "10.18.0.10"), ("fd00:18::11", "fd00:18::10")] {
        row.reaches(&www, address, 80, &in_jail("db"), seen);
        row.lost(&tenant, address, 80);
    }
    let private = ["10.18.1.12", "fd00:18:1::12"];
    for address in private {
        row.lost(&www, address, 80);
    }
    row.reaches(&www, "10.18.1.1", 22, &Place::Host, "10.18.1.10");
    row.reaches(&tenant, "fd00:18:1::1", 22, &Place::Host, "fd00:18:1::12");
    // The isolation is what keeps them apart.
    row.change(&open());
    for (address, seen) in private.into_iter().zip(["10.18.1.10", "fd00:18:1::10"]) {
        row.reaches(&www, address, 80, &in_jail("tenant"), seen);
    }
    row.change(&manifest(N18));
    for address in private {
        row.lost(&www, address, 80);
    }
    row.take_away();
}

/// What the roots of two jails can do about private members: send to the gateway what is for the other.
fn go_around(row: &Row) {
    row.world.run("sysctl net.inet.ip.forwarding=1");
    row.world.run("sysctl net.inet6.ip6.forwarding=1");
    for (name, other) in [("www", "12"), ("tenant", "10")] {
        for (family, prefix) in [("inet", "10.18.1."), ("inet6", "fd00:18:1::")] {
            let to = format!("{prefix}{other} {prefix}1");
            row.world
                .run(&format!("route -j {name} -n add -{family} -host {to}"));
        }
    }
}

#[test]
fn n18_no_way_around_private_members_by_the_host() {
    let mut row = Row::up(N18);
    let www = jail("www");
    let private = ["10.18.1.12", "fd00:18:1::12"];
    // Private members alone do not keep them apart.
    row.change(&open().replacen(
        "bridge: {}\n  subnets:\n  - {cidr: 10.18.1",
        "bridge: {privateMembers: true}\n  subnets:\n  - {cidr: 10.18.1",
        1,
    ));
    go_around(&row);
    for (address, seen) in private.into_iter().zip(["10.18.1.10", "fd00:18:1::10"]) {
        row.reaches(&www, address, 80, &in_jail("tenant"), seen);
    }
    row.change(&manifest(N18));
    for address in private {
        row.blocked(&www, address, 80);
    }
    // Whatever address the other's root takes, and whatever its own.
    row.world
        .run("ifconfig -j tenant front0 inet 10.18.1.77/24 alias");
    row.world
        .run("route -j www -n add -host 10.18.1.77 10.18.1.1");
    row.blocked(&www, "10.18.1.77", 80);
    row.world
        .run("ifconfig -j www front0 inet 192.0.2.9/32 alias");
    let probe = Probe {
        source: Some("192.0.2.9".parse().expect("an address")),
        ..Probe::tcp(www.clone(), "10.18.1.12".parse().expect("an address"), 80)
    };
    let trace = row.trace(&probe);
    assert_eq!(trace.summary(), "blocked", "{trace}");
    row.reaches(&www, "10.18.1.1", 22, &Place::Host, "10.18.1.10");
    row.reaches(
        &Origin::Host,
        "10.18.1.12",
        80,
        &in_jail("tenant"),
        "10.18.1.1",
    );
    row.reaches(&www, "10.18.0.11", 80, &in_jail("db"), "10.18.0.10");
    row.world.run("sysctl net.inet.ip.forwarding=0");
    row.world.run("sysctl net.inet6.ip6.forwarding=0");
    row.take_away();
}

#[test]
fn n18_what_somebody_makes_of_it_is_mended() {
    let mut row = Row::up(N18);
    let www = jail("www");
    let names = row.world.run("ifconfig -l");
    let mut bridges = names.split_whitespace().filter(|name| name.ends_with("br"));
    let apart = bridges.find(|name| {
        row.world
            .run(&format!("ifconfig {name}"))
            .contains("PRIVATE")
    });
    let apart = apart.expect("a bridge with private members").to_owned();
    let shown = row.world.run(&format!("ifconfig {apart}"));
    let members = shown
        .lines()
        .filter_map(|line| line.trim().strip_prefix("member: "));
    let members: Vec<&str> = members
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    assert_eq!(members.len(), 3);
    let anchors = row.world.run("pfctl -a cellblock -sA");
    let anchor = anchors.trim().to_owned();
    for member in members {
        row.world
            .run(&format!("ifconfig {apart} -private {member}"));
    }
    row.reaches(&www, "10.18.1.12", 80, &in_jail("tenant"), "10.18.1.10");
    row.rest();
    row.lost(&www, "10.18.1.12", 80);
    for what in ["rules", "Tables"] {
        row.world.run(&format!("pfctl -a {anchor} -F {what}"));
        row.rest();
    }
    go_around(&row);
    row.blocked(&www, "10.18.1.12", 80);
    row.world.run("sysctl net.inet.ip.forwarding=0");
    row.world.run("sysctl net.inet6.ip6.forwarding=0");
    row.take_away();
}

#[test]
fn n08_an_uplink_with_a_link_local_address_where_bridges_take_none() {
    let mut row = Row::new(N8);
    row.world.run("sysctl net.link.bridge.member_ifaddrs=0");
    row.world.run("ifconfig vtnet1 inet6 -ifdisabled up");
    row.world.sleep(2_000);
    let rest = row.world.converge(ROUNDS_MAX).expect("it comes to rest");
    let networks = rest
        .last
        .report
        .jails
        .iter()
        .flat_map(|jail| &jail.conditions);
    let told: Vec<&str> = networks
        .filter(|condition| condition.reason == "UplinkHasAddresses")
        .map(|condition| condition.message.as_str())
        .collect();
    assert!(!told.is_empty());
    assert!(
        told.iter()
            .all(|told| told.contains("a bridge takes no member with any address")),
        "{told:?}"
    );
    row.world
        .run("ifconfig vtnet1 inet6 -auto_linklocal ifdisabled");
    let shown = row.world.run("ifconfig vtnet1");
    let address = shown
        .split_whitespace()
        .find(|word| word.starts_with("fe80::"));
    let address = address.expect("it has one").to_owned();
    row.world
        .run(&format!("ifconfig vtnet1 inet6 {address} -alias"));
    row.rest();
}

#[test]
fn n08_the_hosts_ends_do_not_listen_to_what_jails_advertise() {
    let mut row = Row::new(N8);
    // As an old sysctl.conf says: every new interface listens.
    row.world.run("sysctl net.inet6.ip6.accept_rtadv=1");
    row.rest();
    let ends = row.world.run("ifconfig -g epair");
    assert!(!ends.trim().is_empty());
    for end in ends.split_whitespace() {
        let shown = row.world.run(&format!("ifconfig {end}"));
        assert!(
            !shown.contains("ACCEPT_RTADV") && shown.contains("IFDISABLED"),
            "{shown}"
        );
    }
    row.take_away();
}

/// A `defaultrouter` in the jail's own rc.conf, as of a root that was copied from another machine: the kernel takes it for a second path.
#[test]
fn n08_a_second_default_route_does_not_stay() {
    let mut row = Row::up(N8);
    let ways = |row: &Row| -> Vec<String> {
        let shown = row.world.run("netstat -j www -rn -f inet");
        let rows = shown.lines().filter(|line| line.starts_with("default"));
        rows.filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
            .collect()
    };
    row.world.run("route -j www -n add default 172.16.1.77");
    assert_eq!(ways(&row), ["172.16.1.1", "172.16.1.77"]);
    row.rest();
    assert_eq!(ways(&row), ["172.16.1.1"]);
    // What comes first in the table is of no account.
    for line in [
        "delete default",
        "add default 172.16.1.77",
        "add default 172.16.1.1",
    ] {
        row.world.run(&format!("route -j www -n {line}"));
    }
    row.rest();
    assert_eq!(ways(&row), ["172.16.1.1"]);
    row.reaches(
        &jail("www"),
        "203.0.113.9",
        443,
        &behind("vtnet0"),
        "10.0.2.15",
    );
    row.take_away();
}
