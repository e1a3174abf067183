//! N12: jails with a routing table of their own.

use cellblock_fakebsd::trace::{Place, Probe};

use super::{ROUNDS_MAX, Row, behind, in_jail, jail, manifest, outside, reached};

const N12: &str = "n12-routing-tables/routing-tables.yaml";
const FAR: &str = "198.51.100.1";
const FAR6: &str = "2001:db8:51::1";

/// The routes of a table, without the first lines of what netstat(1) prints.
fn table(row: &Row, fib: u16) -> Vec<String> {
    let text = row.world.run(&format!("netstat -rnW -F {fib}"));
    let routes = text.lines().filter(|line| line.contains("U"));
    let words = routes.map(|line| line.split_whitespace().take(3).collect::<Vec<_>>());
    words.map(|words| words.join(" ")).collect()
}

fn without(text: &str, line: &str) -> String {
    assert!(text.contains(line), "{line}");
    text.replace(line, "")
}

#[test]
fn n12_a_table_without_a_default_route_and_one_with_another() {
    let mut row = Row::up(N12);
    let (web, other) = (jail("web"), jail("other"));
    let (wire, wire6) = (
        outside("vtnet0", "10.0.2.2"),
        outside("vtnet0", "fd00:12::2"),
    );
    row.reaches(&wire, "10.0.2.40", 80, &in_jail("web"), "10.0.2.2");
    row.reaches(&wire6, "fd00:12::40", 80, &in_jail("web"), "fd00:12::2");
    row.reaches(&web, "10.0.2.2", 443, &behind("vtnet0"), "10.0.2.40");
    row.reaches(&web, "fd00:12::2", 443, &behind("vtnet0"), "fd00:12::40");
    // Itself, by its address and by that of its loopback, and the host beside it on the same prefix.
    for own in ["10.0.2.40", "127.0.0.1"] {
        row.reaches(&web, own, 80, &in_jail("web"), "10.0.2.40");
    }
    row.reaches(&web, "fd00:12::40", 80, &in_jail("web"), "fd00:12::40");
    row.reaches(&web, "10.0.2.15", 22, &Place::Host, "10.0.2.40");
    for far in [FAR, FAR6] {
        row.lost(&web, far, 443);
    }
    row.reaches(&other, FAR, 443, &behind("vtnet1"), "10.12.0.10");
    row.reaches(&other, FAR6, 443, &behind("vtnet1"), "fd00:12:2::10");
    // The same process with the first table goes the host's way: a table steers, and does not contain.
    let by_first = Probe {
        fib: Some(0),
        ..Probe::tcp(web.clone(), FAR.parse().expect("an address"), 443)
    };
    reached(&row.trace(&by_first), &behind("vtnet0"), "10.0.2.40");

    // With a gateway it goes out, and was not started again for it.
    let jid = |row: &Row| row.world.observe().jail("web").map(|jail| jail.jid);
    let before = jid(&row);
    let open = manifest(N12).replace(
        "allocate: [10.0.2.40-10.0.2.59]}",
        "allocate: [10.0.2.40-10.0.2.59], gateway: {address: 10.0.2.2}}",
    );
    row.change(&open);
    row.reaches(&web, FAR, 443, &behind("vtnet0"), "10.0.2.40");
    row.change(&manifest(N12));
    row.lost(&web, FAR, 443);
    assert_eq!(jid(&row), before);

    // Without a table of its own it has the host's, after a restart, and nothing is left in the table.
    let first = without(
        &manifest(N12),
        "  fib: 1                                       # no gateway, so this table has no default route\n",
    );
    row.change(&first);
    row.reaches(&web, FAR, 443, &behind("vtnet0"), "10.0.2.40");
    assert_ne!(jid(&row), before);
    assert_eq!(table(&row, 1), [""; 0]);
    row.change(&manifest(N12));
    row.lost(&web, FAR, 443);
    row.take_away();
}

#[test]
fn n12_a_table_of_the_networks_own_is_given_out_and_works_as_one_that_is_named() {
    let own = manifest(N12)
        .replace("  fib: 1  ", "  fib: auto  ")
        .replace("  fib: 2\n", "  fib: auto\n");
    assert!(!own.contains("fib: 1") && !own.contains("fib: 2"));
    let mut row = Row::of(&own);
    row.rest();
    let (web, other) = (jail("web"), jail("other"));
    row.reaches(&web, "10.0.2.2", 443, &behind("vtnet0"), "10.0.2.40");
    row.lost(&web, FAR, 443);
    row.reaches(&other, FAR, 443, &behind("vtnet1"), "10.12.0.10");
    let networks = row.fleet.index.networks();
    let fibs = networks.map(|network| network.status.as_ref().and_then(|status| status.fib));
    let mut fibs: Vec<_> = fibs.collect();
    fibs.sort_unstable();
    assert_eq!(fibs, [Some(1), Some(2)]);
    for fib in [1, 2] {
        assert!(!table(&row, fib).is_empty());
    }
    // On a host with too few tables nothing of it starts, and it is said why.
    let few = own.replace("fibs: 3", "fibs: 1");
    let refused = row.fleet.apply(&few).expect_err("they have jails there");
    assert!(
        format!("{refused:?}").contains("needs table 2"),
        "{refused:?}"
    );
    row.take_away();
}

#[test]
fn n12_routes_of_a_table_that_are_gone_come_back() {
    let mut row = Row::up(N12);
    let before = table(&row, 1);
    assert_eq!(
        before,
        [
            "10.0.2.0/24 link#1 US",
            "10.0.2.15 link#9 UHS",
            "10.0.2.40 link#9 UHS",
            "127.0.0.1 link#9 UHS",
            "::1 link#9 UHS",
            "fd00:12::/64 link#1 US",
            "fd00:12::40 link#9 UHS",
        ]
    );
    row.world.run("route -n delete -fib 1 -net 10.0.2.0/24");
    row.world.run("route -n delete -fib 1 -host 127.0.0.1");
    // The host's address goes, and the kernel takes the routes with it that have it as their source.
    row.world.run("ifconfig vtnet0 inet 10.0.2.15 -alias");
    row.world.run("ifconfig vtnet0 inet 10.0.2.15/24");
    row.rest();
    assert_eq!(table(&row, 1), before);
    row.take_away();
}

#[test]
fn n12_a_strangers_default_route_is_respected() {
    let mut row = Row::new(N12);
    for line in [
        "sysctl net.fibs=3",
        "ifconfig vtnet1 inet 10.12.0.9/24",
        "route -n add -fib 2 -net 10.12.0.0/24 -iface vtnet1",
        "route -n add -fib 2 default 10.12.0.254",
    ] {
        row.world.run(line);
    }
    let rest = row.world.converge(ROUNDS_MAX).expect("it comes to rest");
    let reasons: Vec<&str> = rest
        .last
        .report
        .jails
        .iter()
        .flat_map(|jail| &jail.conditions)
        .map(|condition| condition.reason.as_str())
        .filter(|reason| !["Running", "AddressesPresent"].contains(reason))
        .collect();
    assert_eq!(reasons, ["RouteTaken"], "{:?}", rest.last.plan.lines());
    assert!(row.world.observe().jail("other").is_none());
    assert!(row.world.observe().jail("web").is_some(), "another table");
    assert!(table(&row, 2).contains(&"default 10.12.0.254 UGS".to_owned()));
    // The way out that the message tells.
    row.world.run("route delete -fib 2 default");
    row.rest();
    row.reaches(&jail("other"), FAR, 443, &behind("vtnet1"), "10.12.0.10");
}

#[test]
fn n12_a_table_that_the_host_has_not_blocks_its_jails_and_no_other() {
    let mut row = Row::of(&manifest(N12).replace("fibs: 3 ", "fibs: 2 "));
    let rest = row.world.converge(ROUNDS_MAX).expect("it comes to rest");
    let jails = &rest.last.report.jails;
    let messages: Vec<&str> = jails
        .iter()
        .flat_map(|jail| &jail.conditions)
        .filter(|condition| condition.reason == "FibMissing")
        .map(|condition| condition.message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            "the jail's routing table is 2, and host `fbsd-01` has 2 (net.fibs), numbered from 0; set spec.fibs of the Host to 3 or more"
        ]
    );
    assert!(row.world.observe().jail("web").is_some());
    row.change(&manifest(N12));
    row.reaches(&jail("other"), FAR, 443, &behind("vtnet1"), "10.12.0.10");
    row.take_away();
}

#[test]
fn n12_a_second_default_route_of_somebody_stays_when_ours_goes() {
    let mut row = Row::up(N12);
    let ours = "default 10.12.0.1 UGS".to_owned();
    let theirs = "default 10.12.0.254 UGS".to_owned();
    row.world.run("route -n add -fib 2 default 10.12.0.254");
    row.rest();
    for way in [&ours, &theirs] {
        assert!(table(&row, 2).contains(way), "{way}");
    }
    // Nobody is blocked, and without ours it is put back.
    row.world.run("route -n delete -fib 2 default 10.12.0.1");
    row.world.run("route -n delete -fib 2 default 10.12.0.254");
    row.rest();
    row.world.run("route -n add -fib 2 default 10.12.0.254");
    row.rest();
    assert!(table(&row, 2).contains(&ours));
    row.change(&manifest(N12).replace(
        "{cidr: 10.12.0.0/24, gateway: {address: 10.12.0.1}}",
        "{cidr: 10.12.0.0/24}",
    ));
    assert!(!table(&row, 2).contains(&ours));
    assert!(table(&row, 2).contains(&theirs));
    row.world.run("route -n delete -fib 2 default 10.12.0.254");
    row.take_away();
}
