//! N16: public addresses of jails.

use cellblock_fakebsd::trace::{Origin, Place, Probe, Protocol, Verdict};

use super::{ROUNDS_MAX, Row, behind, in_jail, jail, manifest, outside, reached};

const N16: &str = "n16-one-to-one-nat/one-to-one-nat.yaml";

/// A machine on the wire, and the last octets of the public addresses there: 10.0.2.x and 2001:db8:2::x.
const WIRE: [&str; 2] = ["10.0.2.2", "2001:db8:2::99"];

fn publics(last: u8) -> [String; 2] {
    [format!("10.0.2.{last}"), format!("2001:db8:2::{last}")]
}

/// What `name` sends is seen as from that public address, in both families.
fn goes_out_as(row: &Row, name: &str, last: u8) {
    for (to, public) in WIRE.into_iter().zip(publics(last)) {
        row.reaches(&jail(name), to, 443, &behind("vtnet0"), &public);
        let to = to.parse().expect("an address");
        let ping = Probe::new(jail(name), to, Protocol::Icmp, 0);
        reached(&row.trace(&ping), &behind("vtnet0"), &public);
    }
}

/// Who is reached from outside at that public address and port, in both families.
fn leads_to(row: &Row, last: u8, port: u16, place: &Place) {
    for (source, public) in WIRE.into_iter().zip(publics(last)) {
        row.reaches(&outside("vtnet0", source), &public, port, place, source);
    }
}

#[test]
fn n16_public_addresses_one_to_one() {
    let row = Row::up(N16);
    let (www, mail, app) = (in_jail("www"), in_jail("mail"), in_jail("app"));
    for port in [22, 80, 65_535] {
        leads_to(&row, 16, port, &www);
        leads_to(&row, 18, port, &app);
        leads_to(&row, 15, port, &Place::Host);
    }
    for port in [25, 587] {
        leads_to(&row, 17, port, &mail);
    }
    for port in [24, 26, 80] {
        leads_to(&row, 17, port, &Place::Host);
    }
    for (name, last) in [("www", 16), ("mail", 17), ("app", 18), ("db", 15)] {
        goes_out_as(&row, name, last);
    }
    // All of an address is that: other protocols too, but for ICMPv6, by which neighbours find it.
    for (protocol, port, places) in [
        (Protocol::Udp, 53, [&www, &www]),
        (Protocol::Icmp, 0, [&www, &Place::Host]),
    ] {
        for ((source, public), place) in WIRE.into_iter().zip(publics(16)).zip(places) {
            let to = public.parse().expect("an address");
            let probe = Probe::new(outside("vtnet0", source), to, protocol, port);
            reached(&row.trace(&probe), place, source);
        }
    }
    // The port that is published beside leads to another one inside.
    let trace = row.tcp(&outside("vtnet0", "10.0.2.2"), "10.0.2.16", 81);
    let Verdict::Reached { by, .. } = &trace.verdict else {
        panic!("{trace}");
    };
    assert_eq!((&by.place, by.port), (&www, 8080), "{trace}");
    // The host, and jails upon it, do not come in by the card.
    for from in [Origin::Host, jail("db"), jail("mail")] {
        let trace = row.tcp(&from, "10.0.2.16", 80);
        let Verdict::Reached { by, .. } = &trace.verdict else {
            panic!("{trace}");
        };
        assert_eq!(by.place, Place::Host, "{trace}");
    }
    row.take_away();
}

#[test]
fn n16_what_leads_there_is_the_address_and_it_goes_live() {
    let mut row = Row::up(N16);
    let jid = |row: &Row, name: &str| row.world.observe().jail(name).map(|jail| jail.jid);
    let before = jid(&row, "www");
    // Without it, www is as its neighbour: the address is the host's again, and the port that is published beside it stays.
    let entries = "  - {name: web, uplink: external, address: web}\n  - {name: web6, uplink: external, address: web6}\n";
    let without = manifest(N16).replace(&format!("  publicAddresses:\n{entries}"), "");
    assert_ne!(without, manifest(N16));
    row.change(&without);
    leads_to(&row, 16, 80, &Place::Host);
    let wire = outside("vtnet0", "10.0.2.2");
    row.reaches(&wire, "10.0.2.16", 81, &in_jail("www"), "10.0.2.2");
    goes_out_as(&row, "www", 15);
    // Only some ports of it: the others are the host's, and what it sends still has the address.
    let some = manifest(N16).replace("address: web}", "address: web, ports: [80]}");
    let some = some.replace("address: web6}", "address: web6, ports: [80]}");
    let some = some.replace(
        "ports: [81], to: 8080, uplink: external, address: web, ports: [80]}",
        "ports: [81], to: 8080, uplink: external, address: web}",
    );
    row.change(&some);
    leads_to(&row, 16, 80, &in_jail("www"));
    leads_to(&row, 16, 22, &Place::Host);
    goes_out_as(&row, "www", 16);
    row.change(&manifest(N16));
    leads_to(&row, 16, 22, &in_jail("www"));
    assert_eq!(jid(&row, "www"), before, "all of it without a restart");
    // Somebody else's it cannot be.
    let taken = manifest(N16).replace("address: app}", "address: web}");
    let refused = row.fleet.apply(&taken).expect_err("www has it");
    let refused = format!("{refused:?}");
    assert!(
        refused.contains("10.0.2.16 is taken by jail www"),
        "{refused}"
    );
    row.take_away();
}

#[test]
fn n16_needs_its_line_in_pf_conf() {
    let mut row = Row::up(N16);
    leads_to(&row, 18, 80, &in_jail("app"));
    let text =
        "nat-anchor \"cellblock/*\"\nrdr-anchor \"cellblock/*\"\nanchor \"cellblock/*\"\npass\n";
    let emulator = row.world.host.emulator().files.write("/etc/pf.conf", text);
    emulator.expect("a file");
    row.world.run("pfctl -f /etc/pf.conf");
    leads_to(&row, 18, 80, &Place::Host);
    let report = row
        .world
        .converge(ROUNDS_MAX)
        .expect("it comes to rest")
        .last
        .report;
    let conditions = report.jails.iter().flat_map(|jail| &jail.conditions);
    let told = conditions.filter(|condition| {
        condition.reason == "PfNotEffective"
            && condition.message.contains("binat-anchor \"cellblock/*\"")
    });
    assert!(told.count() >= 4, "{:#?}", report.jails);
}
