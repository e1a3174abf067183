//! N14 and N15: firewalls of jails.

use cellblock_fakebsd::trace::{Origin, Probe, Verdict};

use super::{Row, behind, in_jail, jail, manifest, outside, reached};

const N14: &str = "n14-users/users.yaml";

const N15: &str = "n15-firewall/firewall.yaml";

/// The relay of the mail server, on the wire.
const RELAY: &str = "198.51.100.25";

/// A connection of a user of a jail.
fn by(user: u32, from: &str, to: &str, port: u16) -> Probe {
    Probe {
        user: Some(user),
        ..Probe::tcp(jail(from), to.parse().expect("an address"), port)
    }
}

/// It is sent, and makes states.
fn connect(row: &Row, probe: &Probe) {
    let sent = row.world.host.emulator().send(probe);
    assert!(sent.trace.reached(), "{}", sent.trace);
}

fn states(row: &Row) -> String {
    row.world.host.emulator().sh("pfctl -ss").stdout
}

fn refused(row: &Row, probe: &Probe) {
    let trace = row.trace(probe);
    assert!(matches!(trace.verdict, Verdict::Blocked { .. }), "{trace}");
}

#[test]
fn n14_users_behind_nat() {
    let mut row = Row::up(N14);
    let out = behind("vtnet0");
    let free = |row: &Row, user, from: &str, port| {
        let trace = row.trace(&by(user, from, "198.51.100.1", port));
        reached(&trace, &out, "10.0.2.15");
    };
    refused(&row, &by(1001, "shell", "198.51.100.1", 25));
    for (user, port) in [(1000, 25), (0, 25), (1001, 587)] {
        free(&row, user, "shell", port);
    }
    for (user, port) in [(0, 25), (0, 443), (80, 443), (80, 80)] {
        free(&row, user, "kiosk", port);
    }
    for (user, port) in [(80, 25), (1001, 443)] {
        refused(&row, &by(user, "kiosk", "198.51.100.1", port));
    }
    // A range of its own, up to its last id, and nobody else.
    let own = 1_000_000;
    for user in [own, own + 199] {
        free(&row, user, "school", 443);
        refused(&row, &by(user, "school", "198.51.100.1", 25));
    }
    for user in [0, 80, own - 1, own + 200] {
        refused(&row, &by(user, "school", "198.51.100.1", 443));
    }
    // Also where nothing is translated: to another jail, over the loopback.
    refused(&row, &by(1001, "shell", "192.0.2.4", 25));
    refused(&row, &by(1001, "kiosk", "192.0.2.3", 80));
    reached(
        &row.trace(&by(0, "kiosk", "192.0.2.3", 80)),
        &in_jail("shell"),
        "192.0.2.4",
    );
    // What a jail says to itself is nobody's business.
    reached(
        &row.trace(&by(1001, "kiosk", "127.0.0.1", 5000)),
        &in_jail("kiosk"),
        "192.0.2.4",
    );
    // The rules are what stops it.
    let mail = by(1001, "shell", "198.51.100.1", 25);
    let web = by(1001, "kiosk", "198.51.100.1", 443);
    let open = manifest(N14)
        .replace(
            "action: block, protocol: tcp",
            "action: pass, protocol: tcp",
        )
        .replace("defaultEgress: block", "defaultEgress: pass");
    row.change(&open);
    connect(&row, &mail);
    connect(&row, &web);
    let before = states(&row);
    assert!(
        before.contains(":25 ") && before.contains(":443 "),
        "{before}"
    );
    // Neither connection outlives it.
    row.change(&manifest(N14));
    let after = states(&row);
    assert!(
        !after.contains(":25 ") && !after.contains(":443 "),
        "{after}"
    );
    refused(&row, &mail);
    refused(&row, &web);
    row.take_away();
}

#[test]
fn n15_what_comes_in() {
    let mut row = Row::up(N15);
    let wire = outside("vtnet0", "10.0.2.2");
    row.reaches(&wire, "10.0.2.15", 8080, &in_jail("www"), "10.0.2.2");
    row.reaches(&wire, "10.0.2.15", 25, &in_jail("mail"), "10.0.2.2");
    let guest = jail("guest");
    row.reaches(&guest, "10.40.0.10", 80, &in_jail("www"), "192.0.2.5");
    row.reaches(&guest, "192.0.2.4", 25, &in_jail("mail"), "192.0.2.5");
    for (to, port) in [
        ("10.40.0.10", 22),
        ("10.40.0.11", 5432),
        ("10.10.0.11", 6379),
        ("192.0.2.4", 80),
    ] {
        row.blocked(&guest, to, port);
    }
    for (to, port) in [
        ("10.40.0.10", 22),
        ("10.40.0.11", 5432),
        ("10.10.0.11", 6379),
    ] {
        row.blocked(&Origin::Host, to, port);
    }
    // To an address of its own the host speaks from that very address.
    row.reaches(
        &Origin::Host,
        "192.0.2.4",
        80,
        &in_jail("mail"),
        "192.0.2.4",
    );
    for to in ["10.40.0.10", "fd00:40::10"] {
        let to = to.parse().expect("an address");
        let ping = row.trace(&Probe::ping(Origin::Host, to));
        assert!(ping.reached(), "{ping}");
    }
    let ping = row.trace(&Probe::ping(
        guest.clone(),
        "10.40.0.11".parse().expect("an address"),
    ));
    assert!(!ping.reached(), "{ping}");
    // Without the rule it is closed, and the port with it; and a port that is let in leads there again.
    let http = "    - {name: http, action: pass, protocol: tcp, ports: [80]}\n";
    row.change(&manifest(N15).replace(http, ""));
    row.blocked(&wire, "10.0.2.15", 8080);
    row.blocked(&guest, "10.40.0.10", 80);
    row.change(&manifest(N15));
    row.reaches(&wire, "10.0.2.15", 8080, &in_jail("www"), "10.0.2.2");
    // Without the firewall everything is open.
    let open = manifest(N15).replace("    defaultIngress: block\n", "");
    row.change(&open);
    for (to, port, name) in [
        ("10.40.0.10", 22, "www"),
        ("10.40.0.11", 5432, "db"),
        ("10.10.0.11", 6379, "cache"),
        ("192.0.2.4", 80, "mail"),
    ] {
        row.reaches(&guest, to, port, &in_jail(name), "192.0.2.5");
    }
    row.change(&manifest(N15));
    row.blocked(&guest, "10.40.0.11", 5432);
    row.take_away();
}

#[test]
fn n15_what_goes_out() {
    let mut row = Row::up(N15);
    let (www, db, app, mail) = (jail("www"), jail("db"), jail("app"), jail("mail"));
    let out = behind("vtnet0");
    row.reaches(&www, "198.51.100.1", 443, &out, "10.0.2.15");
    row.blocked(&www, "198.51.100.1", 25);
    row.blocked(&db, "198.51.100.1", 443);
    row.blocked(&app, "198.51.100.1", 443);
    row.reaches(&mail, RELAY, 25, &out, "10.0.2.15");
    row.blocked(&mail, "198.51.100.1", 25);
    row.reaches(&mail, "198.51.100.1", 443, &out, "10.0.2.15");
    for (to, source) in [("10.40.0.11", "10.40.0.10"), ("fd00:40::11", "fd00:40::10")] {
        row.reaches(&www, to, 5432, &in_jail("db"), source);
        row.blocked(&www, to, 22);
    }
    for (to, source) in [("10.40.0.11", "10.10.0.10"), ("fd00:40::11", "fd00:10::10")] {
        row.reaches(&app, to, 5432, &in_jail("db"), source);
        row.blocked(&app, to, 22);
    }
    for (to, source) in [("10.10.0.11", "10.10.0.10"), ("fd00:10::11", "fd00:10::10")] {
        row.reaches(&app, to, 6379, &in_jail("cache"), source);
        row.blocked(&app, to, 22);
    }
    row.blocked(&www, "10.10.0.11", 6379);
    // One packet that passes pf once must satisfy both jails: what the one may not send and what the other does not take.
    row.reaches(&mail, "10.40.0.10", 80, &in_jail("www"), "192.0.2.4");
    row.blocked(&mail, "10.40.0.10", 81);
    let smtp_in = manifest(N15).replace(
        "ports: [80]}\n    - {name: ping,",
        "ports: [25, 80]}\n    - {name: ping,",
    );
    row.change(&smtp_in);
    row.reaches(
        &jail("guest"),
        "10.40.0.10",
        25,
        &in_jail("www"),
        "192.0.2.5",
    );
    row.blocked(&mail, "10.40.0.10", 25);
    row.blocked(&www, "192.0.2.4", 25);
    let free = smtp_in.replace("action: block", "action: pass");
    row.change(&free);
    row.reaches(&mail, "10.40.0.10", 25, &in_jail("www"), "192.0.2.4");
    row.reaches(&www, "192.0.2.4", 25, &in_jail("mail"), "10.40.0.10");
    row.change(&manifest(N15));
    row.take_away();
}

#[test]
fn n15_jails_that_come_and_go_by_their_labels() {
    let mut row = Row::up(N15);
    let guest = jail("guest");
    row.blocked(&guest, "10.40.0.11", 5432);
    let labelled = manifest(N15).replace("name: guest\n", "name: guest\n  labels: {role: web}\n");
    row.change(&labelled);
    row.reaches(&guest, "10.40.0.11", 5432, &in_jail("db"), "192.0.2.5");
    row.reaches(&guest, "10.10.0.11", 6379, &in_jail("cache"), "192.0.2.5");
    let to_db =
        |from: &str| Probe::tcp(jail(from), "10.40.0.11".parse().expect("an address"), 5432);
    connect(&row, &to_db("guest"));
    connect(&row, &to_db("www"));
    // The label goes, and with it what it had let in; the others' connections stay.
    let unlabelled =
        manifest(N15).replace("name: guest\n", "name: guest\n  labels: {role: none}\n");
    row.change(&unlabelled);
    row.blocked(&guest, "10.40.0.11", 5432);
    let left = states(&row);
    assert!(!left.contains("192.0.2.5"), "{left}");
    assert!(left.contains("10.40.0.10"), "{left}");
    // A selected jail gets another address.
    let moved = unlabelled.replace("10.40.0.10, \"fd00:40::10\"", "10.40.0.77, \"fd00:40::77\"");
    row.change(&moved);
    row.reaches(
        &jail("www"),
        "10.40.0.11",
        5432,
        &in_jail("db"),
        "10.40.0.77",
    );
    row.take_away();
}

#[test]
fn n15_connections_end_with_the_rule_that_let_them_be_made_and_no_others() {
    let mut row = Row::up(N15);
    let wire = outside("vtnet0", "10.0.2.2");
    let to = |port| Probe::tcp(wire.clone(), "10.0.2.15".parse().expect("an address"), port);
    connect(&row, &to(8080));
    connect(&row, &to(25));
    connect(&row, &by(0, "www", "198.51.100.1", 443));
    connect(&row, &by(0, "mail", RELAY, 25));
    let before = states(&row);
    // Rules that only move, and another one among them, end nothing.
    let ping = "    - {name: ping, action: pass, protocol: icmp}\n";
    let ssh = "    - {name: ssh, action: pass, protocol: tcp, ports: [22], from: [{cidr: 10.0.2.0/24}]}\n";
    let http = "    - {name: http, action: pass, protocol: tcp, ports: [80]}\n";
    let manifest = manifest(N15);
    let moved = manifest.replace(&format!("{http}{ping}"), &format!("{ssh}{ping}{http}"));
    assert_ne!(moved, manifest);
    row.change(&moved);
    assert_eq!(states(&row), before);
    // The port is taken back: its connections end, what the jail began does not.
    let publish =
        "  publish:\n  - {name: web, ports: [8080], to: 80, uplink: external, address: main}\n";
    row.change(&moved.replace(publish, ""));
    let left = states(&row);
    assert!(!left.contains(":8080"), "{left}");
    assert!(!left.contains("10.40.0.10:80 "), "{left}");
    assert!(left.contains("198.51.100.1:443"), "{left}");
    // The rule is taken back: what it let in ends.
    let smtp = "    - {name: smtp, action: pass, protocol: tcp, ports: [25]}\n";
    let closed = moved.replace(publish, "").replace(smtp, "");
    row.change(&closed);
    let left = states(&row);
    assert!(!left.contains("192.0.2.4:25 "), "{left}");
    assert!(left.contains(RELAY), "{left}");
    let relay = "[{cidr: 198.51.100.25/32}]";
    row.change(&closed.replace(relay, "[{cidr: 198.51.100.26/32}]"));
    let left = states(&row);
    assert!(!left.contains(RELAY), "{left}");
    assert!(left.contains("198.51.100.1:443"), "{left}");
    row.take_away();
}

#[test]
fn n14_no_jail_starts_before_its_rules_are_loaded() {
    let mut row = Row::new(N14);
    let anchor = cellblock_agent_core::names::egress_anchor(&uid(&row, "shell"));
    row.world.host.emulator().fail_next(
        &format!("pfctl -o none -a {anchor} -f -"),
        1,
        "pfctl: DIOCADDRULE: Cannot allocate memory",
    );
    row.world
        .pass()
        .expect("a failed load is told, and nothing else");
    let runs = |row: &Row, name: &str| row.world.observe().jail(name).is_some();
    assert!(!runs(&row, "shell"));
    row.rest();
    assert!(runs(&row, "shell") && runs(&row, "kiosk"));
    row.take_away();
}

#[test]
fn n15_rules_and_tables_that_somebody_flushes_come_back() {
    let mut row = Row::up(N15);
    let settled = row.world.settled();
    let names = row.world.run("pfctl -a cellblock -sA");
    for anchor in names.lines().map(str::trim) {
        for what in ["Tables", "rules"] {
            row.world.run(&format!("pfctl -a {anchor} -F {what}"));
        }
    }
    row.rest();
    assert_eq!(row.world.settled(), settled);
    row.take_away();
}

fn uid(row: &Row, name: &str) -> cellblock_schemas::Uid {
    let jail = row.fleet.index.jail(name).expect("the example has it");
    jail.metadata.uid.clone()
}

/// What a jail's condition says after a pass.
fn told(row: &mut Row, name: &str, kind: &str) -> String {
    let rest = row
        .world
        .converge(super::ROUNDS_MAX)
        .expect("it comes to rest");
    let uid = uid(row, name);
    let mut jails = rest.last.report.jails.into_iter();
    let jail = jails.find(|jail| jail.uid == uid).expect("it is reported");
    let mut conditions = jail.conditions.into_iter();
    let found = conditions.find(|condition| condition.kind == kind);
    found
        .map(|found| format!("{}: {}", found.reason, found.message))
        .unwrap_or_default()
}

#[test]
fn n15_a_jail_on_a_bridge_does_not_start_before_pf_is_asked_about_members() {
    let mut row = Row::new(N15);
    row.world.run("kldunload if_bridge");
    let member_filter = |row: &Row| {
        row.world
            .observe()
            .sysctls
            .get("net.link.bridge.pfil_member")
            .cloned()
            .flatten()
    };
    let bridged: Vec<String> = row
        .fleet
        .index
        .jails_of_host(super::HOST)
        .filter(|jail| {
            jail.spec
                .networks
                .iter()
                .any(|network| network.network == "switch")
        })
        .map(|jail| jail.metadata.name.clone())
        .collect();
    assert!(!bridged.is_empty());
    let mut passes = 0;
    loop {
        let asked = member_filter(&row);
        let observed = row.world.observe();
        let runs = bridged.iter().any(|name| observed.jail(name).is_some());
        assert!(!runs || asked.as_deref() == Some("1"), "{asked:?}");
        if runs || passes > 10 {
            break;
        }
        row.world.pass().expect("nothing fails");
        passes += 1;
    }
    assert!(passes <= 10, "it starts in the end");
    row.rest();
    row.world.run("sysctl net.link.bridge.pfil_member=0");
    row.rest();
    assert_eq!(member_filter(&row).as_deref(), Some("1"), "it is put back");
    row.take_away();
}

#[test]
fn n15_a_quick_rule_before_the_anchor_is_told() {
    let mut row = Row::up(N15);
    let conf = row.world.host.emulator().sh("cat /etc/pf.conf").stdout;
    let load = |row: &Row, conf: &str| {
        row.world
            .host
            .emulator()
            .files
            .write("/etc/pf.conf", conf)
            .expect("a file");
        row.world.run("pfctl -f /etc/pf.conf");
    };
    let line = "anchor \"cellblock/*\"\n";
    let at = conf.rfind(line).expect("the anchor stands in pf.conf");
    // Whatever interface it is, a jail with addresses of the host may be reached by it.
    for (rule, is_told, is_hosts) in [
        ("pass out quick all", true, true),
        ("pass quick on epair all", true, true),
        ("pass in quick on vtnet3 all", false, true),
        ("pass out quick proto tcp", false, false),
        ("block drop in quick on vtnet3 all", false, false),
        ("block drop in quick on vtnet0 all", false, true),
    ] {
        load(&row, &format!("{}{rule}\n{}", &conf[..at], &conf[at..]));
        let said = told(&mut row, "db", "FirewallReady");
        assert_eq!(
            said.starts_with("FirewallNotInForce"),
            is_told,
            "{rule}: {said}"
        );
        let host = row.world.pass().expect("a look").report.conditions;
        let effective = host
            .iter()
            .find(|condition| condition.kind == "PfEffective")
            .expect("it is told");
        assert_eq!(
            effective.message.contains("`quick` rules stand before"),
            is_hosts,
            "{rule}: {}",
            effective.message
        );
    }
    load(&row, &conf);
    row.rest();
    row.take_away();
}
