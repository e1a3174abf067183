//! N7: links that the host routes by.

use cellblock_fakebsd::trace::{Origin, Place, Probe};

use super::{Row, behind, in_jail, jail, manifest, outside, reached};

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
