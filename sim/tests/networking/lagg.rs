//! N11: lagg uplinks and vlans on them, under bridges, under netgraph and with addresses of their own.

use cellblock_fakebsd::trace::{Origin, Probe, Verdict};
use cellblock_schemas::Kind;
use cellblock_schemas::condition::ConditionStatus;

use super::safe_changes::says;
use super::{HOST, ROUNDS_MAX, Row, behind, in_jail, jail, manifest, outside};

const N11: &str = "n11-lagg/lagg.yaml";

const NETGRAPH: &str = "n11-lagg-netgraph/netgraph.yaml";

/// The name of the interface of an uplink of ours.
fn made(row: &Row, uplink: &str) -> String {
    let mark = format!(" {uplink}");
    let observed = row.world.observe();
    let mut interfaces = observed.interfaces.iter();
    let found = interfaces.find(|found| {
        let text = found.description.as_deref();
        text.is_some_and(|text| text.starts_with("cellblock:") && text.ends_with(&mark))
    });
    let found = found.unwrap_or_else(|| panic!("{uplink} is there"));
    found.name.clone()
}

/// What ifconfig(8) prints of it.
fn shown(row: &Row, uplink: &str) -> String {
    row.world.run(&format!("ifconfig {}", made(row, uplink)))
}

/// Everything goes, and what the Host declares with it.
fn take_away(mut row: Row) {
    let jails = row.fleet.index.jails_of_host(HOST);
    let jails: Vec<String> = jails.map(|jail| jail.metadata.name.clone()).collect();
    for jail in &jails {
        row.fleet.delete(Kind::Jail, jail).expect("it may go");
    }
    row.take();
    row.take();
    row.change("apiVersion: cellblock.dev/v1alpha1\nkind: Host\nmetadata: {name: fbsd-01}\nspec: {uplinks: {spare: {interface: vtnet3}}}\n");
    row.take_away();
}

fn has(row: &Row, uplink: &str, line: &str) {
    let shown = shown(row, uplink);
    assert!(shown.contains(line), "no {line:?} in {shown}");
}

/// Applies more; every operation on the way must succeed.
fn changed_without_failure(row: &mut Row, manifest: &str) {
    row.fleet.apply(manifest).expect("it is admitted");
    let view = row.fleet.view(HOST).expect("the host");
    row.world.take(view);
    for _ in 0..20 {
        let pass = row.world.pass().expect("a pass");
        assert!(pass.failed.is_empty(), "{:?}", pass.failed);
    }
    row.rest();
}

#[test]
fn n11_bridges_over_a_lagg_and_over_vlans_on_it() {
    let row = Row::up(N11);
    has(
        &row,
        "wan",
        "laggproto failover lagghash l2,l3,l4\n\tlaggport: vtnet1 flags=5<MASTER,ACTIVE>\n\tlaggport: vtnet2 flags=0<>\n",
    );
    has(
        &row,
        "office",
        "vlan: 30 vlanproto: 802.1q vlanpcp: 0 parent interface: cb",
    );
    let away = [
        ("www", "198.51.100.99", "198.51.100.20", "vtnet1", "wan"),
        ("files", "10.30.0.99", "10.30.0.20", "vtnet1.30", "office"),
        ("files", "fd00:30::99", "fd00:30::20", "vtnet1.30", "office"),
        ("bench", "10.40.0.99", "10.40.0.20", "vtnet1.40", "lab"),
        (
            "recorder",
            "10.50.0.99",
            "10.50.0.20",
            "vtnet3.50",
            "cameras",
        ),
    ];
    for (name, there, here, wire, uplink) in away {
        row.reaches(&jail(name), there, 443, &behind(wire), here);
        let wire = outside(&made(&row, uplink), there);
        row.reaches(&wire, here, 80, &in_jail(name), there);
    }
    // Another VLAN's jail is not reached, neither from the wire nor from a jail.
    for (uplink, from, to) in [
        ("lab", "10.30.0.98", "10.30.0.20"),
        ("wan", "10.30.0.98", "10.30.0.20"),
        ("cameras", "10.30.0.98", "10.30.0.20"),
        ("office", "198.51.100.98", "198.51.100.20"),
        ("office", "10.50.0.98", "10.50.0.20"),
    ] {
        let trace = row.tcp(&outside(&made(&row, uplink), from), to, 80);
        assert!(!trace.reached(), "{trace}");
    }
    let trace = row.tcp(&jail("bench"), "10.30.0.20", 80);
    assert!(
        !matches!(&trace.verdict, Verdict::Reached { by, .. } if by.place == in_jail("files")),
        "{trace}"
    );
    take_away(row);
}

#[test]
fn n11_a_port_that_is_down_fails_over() {
    let mut row = Row::up(N11);
    row.world.run("ifconfig vtnet1 down");
    has(
        &row,
        "wan",
        "laggport: vtnet1 flags=1<MASTER>\n\tlaggport: vtnet2 flags=4<ACTIVE>\n",
    );
    row.reaches(
        &jail("files"),
        "10.30.0.99",
        443,
        &behind("vtnet2.30"),
        "10.30.0.20",
    );
    row.reaches(
        &outside("vtnet2", "198.51.100.99"),
        "198.51.100.20",
        80,
        &in_jail("www"),
        "198.51.100.99",
    );
    row.world.run("ifconfig vtnet2 down");
    row.lost(&jail("files"), "10.30.0.99", 443);
    // Declared ports are up.
    row.rest();
    row.reaches(
        &jail("files"),
        "10.30.0.99",
        443,
        &behind("vtnet1.30"),
        "10.30.0.20",
    );
    take_away(row);
}

#[test]
fn n11_ports_protocol_and_hash_are_changed_where_they_stand() {
    let mut row = Row::up(N11);
    let bridges = row.world.run("ifconfig -g bridge");
    let text = manifest(N11);
    let failover = "protocol: failover\n        ports: [vtnet1, vtnet2]";
    row.change(&text.replace(
        failover,
        "protocol: failover\n        ports: [vtnet2, vtnet1]",
    ));
    has(
        &row,
        "wan",
        "laggport: vtnet1 flags=0<>\n\tlaggport: vtnet2 flags=5<MASTER,ACTIVE>\n",
    );
    row.reaches(
        &jail("bench"),
        "10.40.0.99",
        443,
        &behind("vtnet2.40"),
        "10.40.0.20",
    );
    row.change(&text.replace(failover, "protocol: failover\n        ports: [vtnet2]"));
    let shown = shown(&row, "wan");
    assert!(!shown.contains("vtnet1"), "{shown}");
    // It is as it was: down, under its own address.
    let port = row.world.run("ifconfig vtnet1");
    assert!(
        port.starts_with("vtnet1: flags=1008802<BROADCAST,")
            && port.contains("ether 52:54:00:12:34:57"),
        "{port}"
    );
    row.change(&text.replace(
        failover,
        "protocol: lacp\n        ports: [vtnet1, vtnet2]\n        hash: l3,l4",
    ));
    has(
        &row,
        "wan",
        "laggproto lacp lagghash l3,l4\n\tlaggport: vtnet1 flags=1c<ACTIVE,COLLECTING,DISTRIBUTING>\n",
    );
    for protocol in ["loadbalance", "roundrobin"] {
        row.change(&text.replace("protocol: failover", &format!("protocol: {protocol}")));
        has(
            &row,
            "wan",
            &format!(
                "laggproto {protocol} lagghash l3,l4\n\tlaggport: vtnet1 flags=4<ACTIVE>\n\tlaggport: vtnet2 flags=4<ACTIVE>\n"
            ),
        );
    }
    assert_eq!(row.world.run("ifconfig -g bridge"), bridges);
    row.change(&text);
    take_away(row);
}

#[test]
fn n11_a_vlan_changes_its_tag_and_its_parent_under_its_bridge() {
    let mut row = Row::up(N11);
    let text = manifest(N11);
    row.change(&text.replace("{id: 30, uplink: wan}", "{id: 31, uplink: wan}"));
    row.reaches(
        &jail("files"),
        "10.30.0.99",
        443,
        &behind("vtnet1.31"),
        "10.30.0.20",
    );
    row.change(&text.replace("{id: 30, uplink: wan}", "{id: 30, uplink: spare}"));
    row.reaches(
        &jail("files"),
        "10.30.0.99",
        443,
        &behind("vtnet3.30"),
        "10.30.0.20",
    );
    assert!(
        !row.tcp(&outside(&made(&row, "lab"), "10.30.0.99"), "10.30.0.20", 80)
            .reached()
    );
    // Two change places.
    row.change(
        &text
            .replace("{id: 30,", "{id: 4000,")
            .replace("{id: 40,", "{id: 30,")
            .replace("{id: 4000,", "{id: 40,"),
    );
    row.reaches(
        &jail("files"),
        "10.30.0.99",
        443,
        &behind("vtnet1.40"),
        "10.30.0.20",
    );
    row.reaches(
        &jail("bench"),
        "10.40.0.99",
        443,
        &behind("vtnet1.30"),
        "10.40.0.20",
    );
    row.change(&text);
    take_away(row);
}

#[test]
fn n11_a_lagg_gets_another_name_and_its_vlans_wait_for_it() {
    let mut row = Row::up(N11);
    // A lagg with a network of its own keeps its name.
    let moved = manifest(N11).replace("bridge: {uplink: wan}", "bridge: {uplink: spare}");
    row.change(&moved);
    let office = made(&row, "office");
    let renamed = moved
        .replace("    wan:\n", "    trunk:\n")
        .replace("uplink: wan}", "uplink: trunk}");
    changed_without_failure(&mut row, &renamed);
    assert_eq!(made(&row, "office"), office);
    let trunk = made(&row, "trunk");
    let line = format!("vlan: 30 vlanproto: 802.1q vlanpcp: 0 parent interface: {trunk}\n");
    has(&row, "office", &line);
    let wire = behind("vtnet1.30");
    row.reaches(&jail("files"), "10.30.0.99", 443, &wire, "10.30.0.20");
    take_away(row);
}

#[test]
fn n11_a_vlan_that_is_to_move_to_a_lagg_keeps_its_nic_until_the_lagg_is_there() {
    let text = manifest(N11).replace("bridge: {uplink: wan}", "bridge: {uplink: spare}");
    let mut row = Row::of(&text.replace("{id: 40, uplink: wan}", "{id: 40, uplink: spare}"));
    row.rest();
    let renamed = text
        .replace("    wan:\n", "    trunk:\n")
        .replace("uplink: wan}", "uplink: trunk}");
    row.fleet.apply(&renamed).expect("it is admitted");
    let view = row.fleet.view(HOST).expect("the host");
    row.world.take(view);
    let mut waited = 0;
    for _ in 0..20 {
        let pass = row.world.pass().expect("a pass");
        assert!(pass.failed.is_empty(), "{:?}", pass.failed);
        let shown = shown(&row, "lab");
        if shown.contains("parent interface: vtnet3\n") {
            waited += 1;
        } else {
            let trunk = made(&row, "trunk");
            assert!(
                shown.contains(&format!("parent interface: {trunk}\n")),
                "{shown}"
            );
        }
    }
    assert!(waited > 0);
    let wire = behind("vtnet1.40");
    row.reaches(&jail("bench"), "10.40.0.99", 443, &wire, "10.40.0.20");
    take_away(row);
}

#[test]
fn n11_vlans_stay_on_a_lagg_that_stays_for_what_an_operator_made_upon_it() {
    let text = manifest(N11).replace("bridge: {uplink: wan}", "bridge: {uplink: spare}");
    let mut row = Row::of(&text);
    row.rest();
    let wan = made(&row, "wan");
    row.world.run(&format!(
        "ifconfig vlan create vlan 99 vlandev {wan} name dmz99"
    ));
    let renamed = text
        .replace("    wan:\n", "    trunk:\n")
        .replace("uplink: wan}", "uplink: trunk}");
    let (status, reason, message) = host_says(&mut row, &renamed);
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "UplinkInUse"),
        "{message}"
    );
    assert!(message.contains("`dmz99`"), "{message}");
    has(&row, "office", &format!("parent interface: {wan}\n"));
    let wire = behind("vtnet1.30");
    row.reaches(&jail("files"), "10.30.0.99", 443, &wire, "10.30.0.20");
    row.world.run("ifconfig dmz99 destroy");
    changed_without_failure(&mut row, &renamed);
    let trunk = made(&row, "trunk");
    has(&row, "office", &format!("parent interface: {trunk}\n"));
    row.reaches(&jail("files"), "10.30.0.99", 443, &wire, "10.30.0.20");
    take_away(row);
}

#[test]
fn n11_a_network_moves_from_a_nic_to_a_lagg_of_it_and_back() {
    let text = manifest(N11);
    let lagg = "    wan:\n      lagg:\n        protocol: failover\n        ports: [vtnet1, vtnet2]  # vtnet1 is preferred; no address of the host on either\n";
    let plain = text.replace(lagg, "    wan: {interface: vtnet1}\n");
    assert_ne!(plain, text);
    let mut row = Row::up(N11);
    let lan = |row: &Row, wire: &str| {
        row.reaches(
            &jail("www"),
            "198.51.100.99",
            443,
            &behind(wire),
            "198.51.100.20",
        );
        row.reaches(
            &jail("files"),
            "10.30.0.99",
            443,
            &behind(&format!("{wire}.30")),
            "10.30.0.20",
        );
    };
    lan(&row, "vtnet1");
    changed_without_failure(&mut row, &plain);
    lan(&row, "vtnet1");
    assert_eq!(row.world.run("ifconfig -g lagg"), "");
    changed_without_failure(&mut row, &text);
    lan(&row, "vtnet1");
    has(&row, "wan", "laggport: vtnet2 flags=0<>");
    take_away(row);
}

#[test]
fn n11_a_netgraph_switch_at_a_lagg() {
    let mut row = Row::up(NETGRAPH);
    has(&row, "jails", "laggproto lacp lagghash l3,l4");
    row.reaches(
        &jail("www"),
        "198.51.100.99",
        443,
        &behind("vtnet1"),
        "198.51.100.20",
    );
    row.reaches(
        &outside("vtnet2", "198.51.100.99"),
        "198.51.100.20",
        80,
        &in_jail("www"),
        "198.51.100.99",
    );
    // The article's warning, and its way out.
    let failover = manifest(NETGRAPH)
        .replace("protocol: lacp ", "protocol: failover ")
        .replace("        hash: l3,l4\n", "");
    row.change(&failover);
    has(&row, "jails", "laggproto failover lagghash l3,l4");
    row.reaches(
        &jail("www"),
        "198.51.100.99",
        443,
        &behind("vtnet1"),
        "198.51.100.20",
    );
    let trace = row.tcp(&outside("vtnet2", "198.51.100.99"), "198.51.100.20", 80);
    assert!(!trace.reached(), "{trace}");
    take_away(row);
}

/// What the host says of whether it and the jails reach each other; none where nothing is tried.
fn jails_reached(row: &mut Row) -> Option<(ConditionStatus, String)> {
    let rest = row.world.converge(ROUNDS_MAX).expect("it comes to rest");
    let mut conditions = rest.last.report.conditions.into_iter();
    let told = conditions.find(|one| one.kind == "JailsReached")?;
    Some((told.status, told.message))
}

#[test]
fn n11_whether_host_and_jails_reach_each_other_over_a_failover_lagg_is_a_condition() {
    let lacp = manifest(NETGRAPH).replace(
        "- cidr: 198.51.100.0/24\n",
        "- {cidr: \"2001:db8:51::/64\", allocate: [\"2001:db8:51::2-2001:db8:51::ff\"]}\n  - cidr: 198.51.100.0/24\n",
    );
    let failover = lacp
        .replace("protocol: lacp ", "protocol: failover ")
        .replace("        hash: l3,l4\n", "");
    let lacp = lacp.replace(
        "addresses: [198.51.100.20]",
        "addresses: [198.51.100.20, \"2001:db8:51::20\"]",
    );
    let failover = failover.replace(
        "addresses: [198.51.100.20]",
        "addresses: [198.51.100.20, \"2001:db8:51::20\"]",
    );
    let mut row = Row::of(&lacp);
    row.rest();
    let lagg = made(&row, "jails");
    // Of other protocols nothing was ever found, and without an address of the host there is nobody to reach.
    row.change(&failover);
    assert_eq!(jails_reached(&mut row), None);
    row.world
        .run(&format!("ifconfig {lagg} inet 198.51.100.7/24"));
    row.world.run(&format!("ifconfig {lagg} inet6 -ifdisabled"));
    row.world
        .run(&format!("ifconfig {lagg} inet6 2001:db8:51::7/64 no_dad"));
    // As on 15.1.
    let fine = Some((ConditionStatus::True, String::new()));
    assert_eq!(jails_reached(&mut row), fine);
    // A firewall that keeps echoes away is none of the lagg's.
    let mut emulator = row.world.host.emulator();
    let conf = emulator.files.read_text("/etc/pf.conf").expect("a file");
    let conf = format!("{conf}block out quick inet proto icmp\n");
    emulator.files.write("/etc/pf.more", &conf).expect("a file");
    drop(emulator);
    row.world.run("pfctl -f /etc/pf.more");
    let to = "198.51.100.20".parse().expect("an address");
    let trace = row.trace(&Probe::ping(Origin::Host, to));
    assert!(matches!(trace.verdict, Verdict::Blocked { .. }), "{trace}");
    assert_eq!(jails_reached(&mut row), fine);
    row.world.run("pfctl -f /etc/pf.conf");
    row.world.run("rm /etc/pf.more");
    // As the article says of 13.0, for host and jail alone.
    row.world.host.emulator().kernel.failover_is_deaf = true;
    let (status, message) = jails_reached(&mut row).expect("it is told");
    assert_eq!(status, ConditionStatus::False);
    for words in [
        "`wire`",
        "`www`",
        "198.51.100.7",
        "second lagg",
        lagg.as_str(),
    ] {
        assert!(message.contains(words), "{message}");
    }
    row.reaches(
        &jail("www"),
        "198.51.100.99",
        443,
        &behind("vtnet1"),
        "198.51.100.20",
    );
    // Who does not answer costs a pass his time once, however often it looks.
    let plain = "---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: plain}\nspec: {host: fbsd-01, root: {path: /jails/plain}}\n";
    let mut emulator = row.world.host.emulator();
    let made = emulator.files.create_directories("/jails/plain/dev");
    made.expect("an empty file tree takes directories");
    let from = emulator.log.len();
    drop(emulator);
    let root = ["directory /jails/plain", "directory /jails/plain/dev"];
    row.before.extend(root.map(str::to_owned));
    row.fleet
        .apply(&format!("{failover}\n{plain}"))
        .expect("it is admitted");
    let view = row.fleet.view(HOST).expect("the host");
    row.world.take(view);
    assert!(row.world.pass().expect("a pass").done > 0);
    let emulator = row.world.host.emulator();
    let asked = emulator.log[from..].iter();
    let asked = asked.filter(|run| run.argv[0] == "ping").count();
    drop(emulator);
    assert_eq!(asked, 2, "once of each family");
    // The host's other family is looked at by itself, and what nobody has is not.
    row.world
        .run(&format!("ifconfig {lagg} inet 198.51.100.7 -alias"));
    let (_, message) = jails_reached(&mut row).expect("it is told");
    assert!(message.contains("2001:db8:51::7"), "{message}");
    row.world
        .run(&format!("ifconfig {lagg} inet6 2001:db8:51::7 -alias"));
    assert_eq!(jails_reached(&mut row), None);
    take_away(row);
}

/// What the host says of itself, once it has come to rest with the manifest.
fn host_says(row: &mut Row, text: &str) -> (ConditionStatus, String, String) {
    row.fleet.apply(text).expect("it is admitted");
    let view = row.fleet.view(HOST).expect("the host is there");
    row.world.take(view);
    let rest = row.world.converge(200).expect("it comes to rest");
    let ready = rest.last.report.conditions.into_iter();
    let ready = ready
        .into_iter()
        .find(|one| one.kind == "Ready")
        .expect("it is ready or not");
    (ready.status, ready.reason, ready.message)
}

#[test]
fn n11_an_equal_lagg_is_used_and_left_alone() {
    let mut row = Row::new(N11);
    row.world
        .run("ifconfig lagg create laggproto failover laggport vtnet1 laggport vtnet2 up");
    row.world
        .run("ifconfig vlan create vlan 30 vlandev lagg0 up");
    let before = row.world.fork().settled();
    row.rest();
    assert_eq!(row.world.run("ifconfig -g lagg"), "lagg0\n");
    assert!(row.world.run("ifconfig -g vlan").contains("vlan0\n"));
    row.reaches(
        &jail("files"),
        "10.30.0.99",
        443,
        &behind("vtnet1.30"),
        "10.30.0.20",
    );
    row.reaches(
        &jail("bench"),
        "10.40.0.99",
        443,
        &behind("vtnet1.40"),
        "10.40.0.20",
    );
    row.before = before;
    take_away(row);
}

#[test]
fn n11_what_the_host_lives_by_is_no_port() {
    let mut row = Row::new(N11);
    let text = manifest(N11);
    for (made, reason, words) in [
        (
            "ifconfig vtnet2 inet 192.0.2.7/24 up",
            "UplinkHasAddresses",
            "carries the host's own 192.0.2.7",
        ),
        (
            "ifconfig bridge create name lab0 addm vtnet2 up",
            "UplinkInUse",
            "is a member of bridge `lab0`",
        ),
        (
            "ifconfig vlan create vlan 9 vlandev vtnet2 name dmz9",
            "UplinkInUse",
            "`dmz9` stands upon `vtnet2`",
        ),
        (
            "ifconfig lagg create laggproto lacp laggport vtnet2 name other0",
            "UplinkInUse",
            "is a port of `other0`",
        ),
    ] {
        let mut row = Row::new(N11);
        row.world.run(made);
        let before = row.world.settled();
        let (status, code, message) = host_says(&mut row, &text);
        assert_eq!(
            (status, code.as_str()),
            (ConditionStatus::False, reason),
            "{message}"
        );
        assert!(message.contains(words), "{message}");
        assert!(!row.world.run("ifconfig -g lagg").contains("cb"));
        let lost: Vec<_> = before
            .iter()
            .filter(|line| line.contains("vtnet2"))
            .collect();
        let after = row.world.settled();
        assert!(lost.iter().all(|line| after.contains(line)), "{lost:#?}");
    }
    // One that is not there keeps nothing back.
    let missing = text.replace("[vtnet1, vtnet2]", "[vtnet1, igb7]");
    let (_, reason, message) = host_says(&mut row, &missing);
    assert_eq!(reason, "UplinkMissing", "{message}");
    row.reaches(
        &jail("www"),
        "198.51.100.99",
        443,
        &behind("vtnet1"),
        "198.51.100.20",
    );
    // What somebody else makes of ours stays.
    let (status, _, message) = host_says(&mut row, &text);
    assert_eq!(status, ConditionStatus::True, "{message}");
    let name = made(&row, "office");
    row.world.run(&format!("ifconfig {name} inet 10.30.0.7/24"));
    let said = says(&mut row, &text.replace("{id: 30,", "{id: 33,"));
    assert_eq!(said.reason, "ControllerUnreachable", "{said:?}");
    has(&row, "office", "vlan: 30 ");
    row.world
        .run(&format!("ifconfig {name} inet 10.30.0.7 -alias"));
    let (status, _, message) = host_says(&mut row, &text);
    assert_eq!(status, ConditionStatus::True, "{message}");
    row.rest();
    take_away(row);
}

#[test]
fn n11_a_lagg_that_the_host_lives_by_gets_no_new_port_with_no_controller_in_reach() {
    let one = manifest(N11).replace("[vtnet1, vtnet2]", "[vtnet1]");
    let mut row = Row::of(&one);
    row.rest();
    let office = made(&row, "office");
    row.world
        .run(&format!("ifconfig {office} inet 10.30.0.7/24"));
    let said = says(&mut row, &manifest(N11));
    assert_eq!(said.reason, "ControllerUnreachable", "{said:?}");
    assert!(!shown(&row, "wan").contains("vtnet2"));
    row.world
        .run(&format!("ifconfig {office} inet 10.30.0.7 -alias"));
    let (status, _, message) = host_says(&mut row, &manifest(N11));
    assert_eq!(status, ConditionStatus::True, "{message}");
    has(&row, "wan", "laggport: vtnet2");
    // One of its own that has fallen out is put back, although the host lives by the lagg.
    row.world
        .run(&format!("ifconfig {office} inet 10.30.0.7/24"));
    let wan = made(&row, "wan");
    row.world.run(&format!("ifconfig {wan} -laggport vtnet2"));
    let (status, _, message) = host_says(&mut row, &manifest(N11));
    assert_eq!(status, ConditionStatus::True, "{message}");
    has(&row, "wan", "laggport: vtnet2");
    // For the preferred one to be preferred again all others leave for a moment: that is a change like any other.
    row.world.run(&format!("ifconfig {wan} -laggport vtnet1"));
    let said = says(&mut row, &manifest(N11));
    assert_eq!(said.reason, "ControllerUnreachable", "{said:?}");
    row.world
        .run(&format!("ifconfig {office} inet 10.30.0.7 -alias"));
    row.rest();
    has(&row, "wan", "laggport: vtnet1");
    take_away(row);
}

#[test]
fn n11_two_names_of_one_vlan_do_not_take_it_from_each_other() {
    let text = manifest(N11).replace(
        "    spare:\n",
        "    again: {interface: lagg0}\n    twin: {vlan: {id: 30, uplink: again}}\n    spare:\n",
    );
    assert_ne!(text, manifest(N11));
    let mut row = Row::new(N11);
    row.world
        .run("ifconfig lagg create laggproto failover laggport vtnet1 laggport vtnet2 up");
    let (status, _, message) = host_says(&mut row, &text);
    assert_eq!(status, ConditionStatus::True, "{message}");
    let tagged = row.world.run("ifconfig -a");
    assert_eq!(tagged.matches("vlan: 30 ").count(), 1, "{tagged}");
}
