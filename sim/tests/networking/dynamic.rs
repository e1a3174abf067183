//! N8 with addresses that come from the wire, or that the jail gives itself.

use std::net::IpAddr;

use cellblock_schemas::condition::ConditionStatus;

use cellblock_sim::world::{ROUTER, WIRE};

use super::{HOST, ROUNDS_MAX, Row, behind, in_jail, jail, manifest, outside};

const N8: &str = "n08-dynamic-addresses/dynamic-addresses.yaml";

/// What a jail was seen with beside what it was given.
fn observed(row: &Row, name: &str) -> Vec<IpAddr> {
    let mut jails = row.fleet.index.jails_of_host(HOST);
    let found = jails.find(|jail| jail.metadata.name == name);
    let status = found.and_then(|jail| jail.status.as_ref());
    let interfaces = status.into_iter().flat_map(|status| &status.interfaces);
    let addresses = interfaces.flat_map(|interface| &interface.addresses);
    addresses.map(|address| address.address).collect()
}

/// The one address of a family that a jail has by itself.
fn own(row: &Row, name: &str, is_ipv6: bool) -> String {
    let seen = observed(row, name);
    let own: Vec<_> = seen
        .iter()
        .filter(|seen| seen.is_ipv6() == is_ipv6)
        .collect();
    assert_eq!(own.len(), 1, "{name}: {seen:?}");
    own[0].to_string()
}

fn network_ready(row: &mut Row, name: &str) -> (ConditionStatus, String) {
    let rest = row.world.converge(ROUNDS_MAX).expect("it comes to rest");
    row.fleet
        .hear(HOST, &rest.last.report)
        .expect("it is folded");
    let mut jails = row.fleet.index.jails_of_host(HOST);
    let found = jails
        .find(|jail| jail.metadata.name == name)
        .expect("it is there");
    let conditions = &found.status.as_ref().expect("a status").conditions;
    let mut conditions = conditions.iter();
    let ready = conditions
        .find(|one| one.kind == "NetworkReady")
        .expect("it is told");
    (ready.status, ready.message.clone())
}

#[test]
fn n08_addresses_from_the_wire_and_from_the_jail() {
    let mut row = Row::up(N8);
    let www = own(&row, "www", true);
    assert!(www.starts_with("2001:db8:51:0:"), "{www}");
    assert_eq!(own(&row, "guest", false), "198.51.100.100");
    assert!(observed(&row, "router").is_empty());
    // As its rc.conf would. What the jail gives itself stays.
    row.world
        .run("jexec router ifconfig lan0 inet 198.51.100.200/24");
    row.rest();
    assert_eq!(own(&row, "router", false), "198.51.100.200");
    // No daemon has met a tentative one.
    assert!(!row.world.run("ifconfig -j www lan0").contains("tentative"));
    let far = "2001:db8:ffff::9";
    let near = outside(WIRE, "198.51.100.77");
    let near6 = outside(WIRE, "2001:db8:51::77");
    row.reaches(&jail("www"), far, 443, &behind(WIRE), &www);
    row.reaches(&near6, &www, 80, &in_jail("www"), "2001:db8:51::77");
    row.reaches(
        &jail("guest"),
        "203.0.113.9",
        443,
        &behind(WIRE),
        "198.51.100.100",
    );
    row.reaches(
        &near,
        "198.51.100.100",
        80,
        &in_jail("guest"),
        "198.51.100.77",
    );
    row.reaches(
        &jail("guest"),
        "198.51.100.200",
        80,
        &in_jail("router"),
        "198.51.100.100",
    );
    row.lost(&jail("router"), "203.0.113.9", 443);
    // The other family is given as ever.
    row.reaches(&near, "198.51.100.10", 80, &in_jail("www"), "198.51.100.77");
    row.take_away();
}

#[test]
fn n08_what_has_not_come_is_told_and_comes_later() {
    let mut row = Row::new(N8);
    row.world.host.emulator().remove_router(WIRE, None);
    let (status, message) = network_ready(&mut row, "www");
    assert_eq!(status, ConditionStatus::False);
    assert_eq!(
        message,
        "not in the jail: lan0: an IPv6 address by router advertisement: no router has advertised a prefix of 64 bits"
    );
    assert_eq!(network_ready(&mut row, "guest").0, ConditionStatus::True);
    row.lost(&jail("www"), "2001:db8:ffff::9", 443);
    // Routers advertise without being asked, too.
    let mut emulator = row.world.host.emulator();
    emulator.add_router(WIRE, None, ROUTER);
    emulator.advertise();
    drop(emulator);
    row.rest();
    let www = own(&row, "www", true);
    row.reaches(&jail("www"), "2001:db8:ffff::9", 443, &behind(WIRE), &www);
    row.take_away();
}

#[test]
fn n08_a_fresh_interface_takes_what_routers_say() {
    let mut row = Row::up(N8);
    let before = (own(&row, "www", true), own(&row, "guest", false));
    let interfaces = row.world.run("ifconfig -g epair");
    for end in interfaces.split_whitespace() {
        row.world.run(&format!("ifconfig {end} destroy"));
    }
    let _ = network_ready(&mut row, "guest");
    row.world.host.emulator().advertise();
    let (status, message) = network_ready(&mut row, "guest");
    assert_eq!(status, ConditionStatus::False, "{message}");
    assert!(message.contains("dhclient(8) does not run"), "{message}");
    row.world.run("jexec guest /sbin/dhclient lan0");
    row.rest();
    let after = (own(&row, "www", true), own(&row, "guest", false));
    assert_eq!(before, after);
    row.reaches(&jail("guest"), "203.0.113.9", 443, &behind(WIRE), &after.1);
    // The jail's root refuses what routers say.
    row.world.run("ifconfig -j www lan0 inet6 -accept_rtadv");
    row.rest();
    assert!(
        row.world
            .run("ifconfig -j www lan0")
            .contains("ACCEPT_RTADV")
    );
    row.take_away();
}

#[test]
fn n08_an_attachment_changes_where_its_addresses_come_from() {
    let mut row = Row::up(N8);
    row.change(&manifest(N8).replace("addressing: slaac", "addressing: allocate"));
    assert!(observed(&row, "www").is_empty());
    assert!(
        !row.world
            .run("ifconfig -j www lan0")
            .contains("ACCEPT_RTADV")
    );
    row.change(&manifest(N8).replace("addressing: dhcp", "addressing: slaac"));
    assert!(own(&row, "guest", true).starts_with("2001:db8:51:"));
    row.take_away();
}
