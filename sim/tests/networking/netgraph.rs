//! N9 and N10: netgraph switches.

use cellblock_fakebsd::trace::{Origin, Place, Verdict};

use super::{Row, behind, in_jail, jail, manifest, outside};

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
