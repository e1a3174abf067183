//! N19: firewalls in the pf of jails' own stacks.

use std::time::Duration;

use cellblock_fakebsd::trace::{Origin, Probe, Verdict};
use cellblock_schemas::condition::ConditionStatus;

use super::{HOST, ROUNDS_MAX, Row, behind, in_jail, jail, manifest, outside, reached};

const N19: &str = "n19-own-pf/own-pf.yaml";

/// The switch of the host's segment as the jails there find it outside.
const SEGMENT: &str = "vtnet1";

fn by(user: u32, from: &str, to: &str, port: u16) -> Probe {
    Probe {
        user: Some(user),
        ..Probe::tcp(jail(from), to.parse().expect("an address"), port)
    }
}

fn refused(row: &Row, probe: &Probe) {
    let trace = row.trace(probe);
    assert!(matches!(trace.verdict, Verdict::Blocked { .. }), "{trace}");
}

/// The states of a jail's own pf.
fn states(row: &Row, name: &str) -> String {
    let mut emulator = row.world.host.emulator();
    emulator.sh(&format!("jexec {name} pfctl -ss")).stdout
}

/// What a jail's condition says once nothing is left to do.
fn told(row: &mut Row, name: &str) -> (ConditionStatus, String) {
    let rest = row.world.converge(ROUNDS_MAX).expect("it comes to rest");
    let uid = uid(row, name);
    let mut jails = rest.last.report.jails.into_iter();
    let jail = jails.find(|jail| jail.uid == uid).expect("it is reported");
    let mut conditions = jail.conditions.into_iter();
    let found = conditions.find(|condition| condition.kind == "FirewallReady");
    let found = found.expect("it has a firewall");
    (found.status, format!("{}: {}", found.reason, found.message))
}

fn uid(row: &Row, name: &str) -> cellblock_schemas::Uid {
    let jail = row.fleet.index.jail(name).expect("the example has it");
    jail.metadata.uid.clone()
}

/// As the jail's root.
fn root(row: &Row, name: &str, command: &str) {
    row.world.run(&format!("jexec {name} {command}"));
}

/// The jail's root loads a main ruleset of his own.
fn load(row: &Row, name: &str, conf: &str) {
    let path = format!("/jails/{name}/pf.conf");
    let mut emulator = row.world.host.emulator();
    emulator.files.write(&path, conf).expect("a file");
    let output = emulator.sh(&format!("jexec {name} pfctl -f /pf.conf"));
    assert_eq!(output.status, 0, "{}", output.stderr);
}

#[test]
fn n19_on_every_network_with_a_stack_of_its_own() {
    let mut row = Row::up(N19);
    let guest = jail("guest");
    let wire = outside(SEGMENT, "198.51.100.77");
    let nic = outside("vtnet2", "203.0.113.77");
    let far = outside("vtnet2", "192.0.2.77");
    let port = outside("vtnet0", "10.0.2.2");
    let allowed = |row: &Row| {
        row.reaches(&wire, "198.51.100.10", 80, &in_jail("www"), "198.51.100.77");
        row.reaches(
            &guest,
            "198.51.100.10",
            443,
            &in_jail("www"),
            "198.51.100.20",
        );
        row.reaches(
            &guest,
            "2001:db8:51::10",
            80,
            &in_jail("www"),
            "2001:db8:51::20",
        );
        row.reaches(&nic, "203.0.113.10", 22, &in_jail("edge"), "203.0.113.77");
        row.reaches(&guest, "10.10.0.11", 5432, &in_jail("db"), "10.10.0.20");
        row.reaches(&guest, "fd00:10::11", 5432, &in_jail("db"), "fd00:10::20");
        row.reaches(&port, "10.0.2.15", 5432, &in_jail("db"), "10.0.2.2");
    };
    let denied = [
        (&wire, "198.51.100.10", 22, "www"),
        (&guest, "198.51.100.10", 22, "www"),
        (&guest, "2001:db8:51::10", 22, "www"),
        (&nic, "203.0.113.10", 80, "edge"),
        (&far, "203.0.113.10", 22, "edge"),
        (&guest, "10.10.0.11", 22, "db"),
        (&guest, "fd00:10::11", 22, "db"),
        (&Origin::Host, "10.10.0.11", 5433, "db"),
    ];
    allowed(&row);
    for (from, to, port, _) in denied {
        row.blocked(from, to, port);
    }
    row.blocked(&jail("db"), "10.10.0.20", 80);
    let ping = Probe::ping(guest.clone(), "198.51.100.10".parse().expect("an address"));
    assert!(row.trace(&ping).reached());
    // What a jail says to itself is nobody's business.
    row.reaches(&jail("db"), "127.0.0.1", 22, &in_jail("db"), "127.0.0.1");
    row.reaches(&jail("db"), "10.10.0.11", 22, &in_jail("db"), "10.10.0.11");
    // The rules are what stops it: without them all of it gets there, and the jails run on.
    let before = row.world.run("jls -n name jid");
    let open = manifest(N19)
        .replace("    defaultIngress: block\n", "")
        .replace("    defaultEgress: block\n", "");
    row.change(&open);
    for (from, to, port, name) in denied {
        let trace = row.tcp(from, to, port);
        assert!(trace.reached(), "{name}: {trace}");
    }
    row.reaches(
        &jail("db"),
        "10.10.0.20",
        80,
        &in_jail("guest"),
        "10.10.0.11",
    );
    row.change(&manifest(N19));
    allowed(&row);
    for (from, to, port, _) in denied {
        row.blocked(from, to, port);
    }
    assert_eq!(row.world.run("jls -n name jid"), before);
    row.take_away();
}

#[test]
fn n19_users_are_matched_where_their_sockets_are() {
    let mut row = Row::up(N19);
    let out = behind("vtnet0");
    let free = |row: &Row, user, port| {
        let trace = row.trace(&by(user, "kiosk", "10.0.2.2", port));
        reached(&trace, &out, "10.0.2.15");
    };
    for (user, port) in [(0, 25), (0, 443), (80, 443), (80, 80)] {
        free(&row, user, port);
    }
    for (user, port) in [(80, 25), (1001, 443)] {
        refused(&row, &by(user, "kiosk", "10.0.2.2", port));
    }
    refused(&row, &by(1001, "www", "198.51.100.77", 25));
    for (user, port) in [(1000, 25), (1001, 587)] {
        let trace = row.trace(&by(user, "www", "198.51.100.77", port));
        reached(&trace, &behind(SEGMENT), "198.51.100.10");
    }
    let anybody = manifest(N19).replace("    defaultEgress: block\n", "");
    let web = by(1001, "kiosk", "10.0.2.2", 443);
    row.change(&anybody);
    free(&row, 1001, 443);
    let sent = row.world.host.emulator().send(&web);
    assert!(sent.trace.reached(), "{}", sent.trace);
    assert!(states(&row, "kiosk").contains(":443 "));
    row.change(&manifest(N19));
    let after = states(&row, "kiosk");
    assert!(!after.contains(":443 "), "{after}");
    refused(&row, &web);
    row.take_away();
}

#[test]
fn n19_connections_end_with_the_rule_that_let_them_be_made_and_no_others() {
    let mut row = Row::up(N19);
    let wire = outside(SEGMENT, "198.51.100.77");
    for port in [80, 443] {
        let to = "198.51.100.10".parse().expect("an address");
        let sent = row
            .world
            .host
            .emulator()
            .send(&Probe::tcp(wire.clone(), to, port));
        assert!(sent.trace.reached(), "{}", sent.trace);
    }
    let sent = row
        .world
        .host
        .emulator()
        .send(&by(0, "www", "198.51.100.77", 587));
    assert!(sent.trace.reached(), "{}", sent.trace);
    let before = states(&row, "www");
    assert!(
        before.contains(":443 ") && before.contains(":587"),
        "{before}"
    );
    // Rules that only move end nothing.
    let http = "    - {name: http, action: pass, protocol: tcp, ports: [80, 443]}\n";
    let ping = "    - {name: ping, action: pass, protocol: icmp}\n";
    let moved = manifest(N19).replace(&format!("{http}{ping}"), &format!("{ping}{http}"));
    assert_ne!(moved, manifest(N19));
    row.change(&moved);
    assert_eq!(states(&row, "www"), before);
    row.change(&moved.replace(
        "[80, 443]}\n    defaultIngress",
        "[80]}\n    defaultIngress",
    ));
    let after = states(&row, "www");
    assert!(!after.contains("198.51.100.10:443 "), "{after}");
    assert!(after.contains("198.51.100.10:80 "), "{after}");
    assert!(after.contains("198.51.100.77:587"), "{after}");
    row.take_away();
}

#[test]
fn n19_what_the_jails_root_flushes_comes_back() {
    let mut row = Row::up(N19);
    let rules = |row: &Row| -> Vec<String> {
        let ours = ["db pf rule ", "db pf table ", "db pf enabled "];
        let mut lines = row.world.fork().settled();
        lines.retain(|line| ours.iter().any(|ours| line.starts_with(ours)));
        lines
    };
    let settled = rules(&row);
    let guest = jail("guest");
    for undone in [
        "-F all",
        "-d",
        "-F rules",
        "-a cellblock/firewall -F rules",
        "-a cellblock/firewall -F Tables",
        "-a cellblock/firewall -F all",
    ] {
        root(&row, "db", &format!("pfctl {undone}"));
        // Made while nothing kept it from being made.
        let to = "10.10.0.11".parse().expect("an address");
        let sent = row
            .world
            .host
            .emulator()
            .send(&Probe::tcp(guest.clone(), to, 22));
        assert!(
            sent.trace.reached() || undone.contains("Tables"),
            "{undone}: {}",
            sent.trace
        );
        row.rest();
        assert!(!states(&row, "db").contains("10.10.0.11:22 "), "{undone}");
        row.blocked(&guest, "10.10.0.11", 22);
        row.world.host.emulator().advance(Duration::from_secs(120));
        assert_eq!(rules(&row), settled, "{undone}");
    }
    row.take_away();
}

#[test]
fn n19_a_main_ruleset_of_the_jails_root_is_his_own() {
    let mut row = Row::up(N19);
    let guest = jail("guest");
    load(&row, "db", "pass all\n");
    let (status, message) = told(&mut row, "db");
    assert_eq!(status, ConditionStatus::False);
    assert!(message.starts_with("FirewallNotInForce: "), "{message}");
    assert!(
        message.contains("has no `anchor \"cellblock/*\"`"),
        "{message}"
    );
    let rules = row.world.run("jexec db pfctl -sr");
    assert_eq!(rules.trim(), "pass all flags S/SA keep state");
    row.reaches(&guest, "10.10.0.11", 22, &in_jail("db"), "10.10.0.20");
    load(
        &row,
        "db",
        "pass in quick on net0 all\nanchor \"cellblock/*\"\n",
    );
    let (_, message) = told(&mut row, "db");
    assert!(
        message.contains("before `anchor \"cellblock/*\"`"),
        "{message}"
    );
    load(&row, "db", "set skip on net0\nanchor \"cellblock/*\"\n");
    let (_, message) = told(&mut row, "db");
    assert!(message.contains("set skip on` net0"), "{message}");
    load(
        &row,
        "db",
        "set skip on lo0\nanchor \"cellblock/*\"\nblock in proto tcp from any to any port 5432\n",
    );
    let (status, message) = told(&mut row, "db");
    assert_eq!(status, ConditionStatus::True, "{message}");
    row.blocked(&guest, "10.10.0.11", 22);
    row.world.run("rm /jails/db/pf.conf");
    row.take_away();
}

#[test]
fn n19_a_jail_whose_devfs_hides_pf_does_not_start() {
    let mut row = Row::of(&manifest(N19).replace(
        "devfs_ruleset: 5}\n  networks:\n  - {network: links",
        "devfs_ruleset: 4}\n  networks:\n  - {network: links",
    ));
    let (status, message) = told(&mut row, "kiosk");
    assert_eq!(status, ConditionStatus::False);
    assert!(message.starts_with("PfHidden: "), "{message}");
    let runs = |row: &Row, name: &str| row.world.observe().jail(name).is_some();
    assert!(!runs(&row, "kiosk") && runs(&row, "db"));
    row.change(&manifest(N19));
    assert!(runs(&row, "kiosk"));
    row.take_away();
}

#[test]
fn n19_without_pf_in_the_kernel_nobody_starts_unprotected() {
    let mut row = Row::new(N19);
    row.world.run("pfctl -d");
    row.world.run("kldunload pf");
    let (_, message) = told(&mut row, "edge");
    assert!(message.starts_with("FirewallNotInForce: "), "{message}");
    assert!(row.world.observe().jail("edge").is_none());
}

#[test]
fn n19_the_rules_are_there_before_anything_of_the_jail_runs() {
    let row = Row::up(N19);
    let conf = "/var/db/cellblock/jails/www.conf";
    let text = row.world.host.emulator().files.read_text(conf);
    let text = text.expect("it was started with it");
    let created: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("exec.created"))
        .collect();
    let last = &created[created.len() - 2..];
    assert!(
        last[0].contains("pfctl www -o none -a cellblock/firewall -f"),
        "{text}"
    );
    assert!(last[1].contains("pfctl www -e -R -f"), "{text}");
    row.take_away();
}

#[test]
fn n19_a_start_without_its_rules_is_none() {
    let mut row = Row::up(N19);
    row.world.run("jail -R www");
    // Whoever starts it by hand with rules that cannot be read starts nothing.
    let conf = "/var/db/cellblock/jails/www.conf";
    {
        let mut emulator = row.world.host.emulator();
        let rules = "/var/db/cellblock/jails/www.pf.conf";
        emulator.files.write(rules, "pass on\n").expect("a file");
        emulator.advance(Duration::from_secs(60));
        let output = emulator.sh(&format!("jail -f {conf} -c www"));
        assert_ne!(output.status, 0);
        assert_eq!(emulator.sh("jls -j www").status, 1);
    }
    row.rest();
    assert!(row.world.observe().jail("www").is_some());
    row.take_away();
}

#[test]
fn n19_from_the_hosts_pf_to_the_jails_and_back() {
    let mut row = Row::up(N19);
    let guest = jail("guest");
    let of_host = manifest(N19)
        .replace(
            "    enforcedBy: jail\n    egress:\n    - {name: root, action: pass, protocol: tcp, user: root}\n    - {name: www, action: pass, protocol: tcp, ports: [80, 443], user: www}\n",
            "    egress:\n    - {name: www, action: pass, protocol: tcp, ports: [80, 443]}\n",
        );
    let jid = |row: &Row| row.world.observe().jail("kiosk").expect("it runs").jid;
    let before = jid(&row);
    row.change(&of_host);
    assert_ne!(jid(&row), before, "its pf is made with it");
    row.blocked(&jail("kiosk"), "10.0.2.2", 25);
    row.reaches(
        &jail("kiosk"),
        "10.0.2.2",
        443,
        &behind("vtnet0"),
        "10.0.2.15",
    );
    let files = row.world.observe().files;
    assert!(
        !files.keys().any(|path| path.ends_with("kiosk.pf.conf")),
        "{:?}",
        files.keys()
    );
    row.change(&manifest(N19));
    refused(&row, &by(1001, "kiosk", "10.0.2.2", 443));
    row.blocked(&guest, "10.10.0.11", 22);
    assert_eq!(row.fleet.index.jails_of_host(HOST).count(), 5);
    row.take_away();
}
