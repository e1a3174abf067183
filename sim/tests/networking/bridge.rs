//! N8, N17 and N18: switches inside the host and at a NIC.

use cellblock_fakebsd::trace::Place;

use super::{Row, behind, in_jail, jail, manifest, outside};

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

const N18: &str = "n18-jails-together/jails-together.yaml";

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
    // The private members are what keeps them apart.
    row.change(&manifest(N18).replace("{privateMembers: true}", "{}"));
    for (address, seen) in private.into_iter().zip(["10.18.1.10", "fd00:18:1::10"]) {
        row.reaches(&www, address, 80, &in_jail("tenant"), seen);
    }
    row.change(&manifest(N18));
    for address in private {
        row.lost(&www, address, 80);
    }
    row.take_away();
}
