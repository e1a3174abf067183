//! Which addresses and MAC numbers are given out.

use std::collections::BTreeSet;

use cellblock_schemas::net::AddressRange;
use cellblock_schemas::{ConditionStatus, Kind};
use serde_json::{Value, json};

use super::allocatable;
use crate::testing::{World, bridge, jail, shared};

fn network(name: &str, mode: &str, scope: &str, subnets: Value) -> Value {
    let mut document = bridge(name);
    document["spec"] = json!({mode: {}, "scope": scope, "subnets": subnets});
    document
}

#[test]
fn the_lowest_free_address_is_given_past_gateway_and_reserve() {
    let mut world = World::with_hosts(&["a"]);
    let subnets = json!([{"cidr": "10.0.0.0/29", "gateway": {"address": "10.0.0.1"}, "reserve": ["10.0.0.3-10.0.0.4"]}]);
    world
        .apply(network("lan", "bridge", "fleet", subnets))
        .expect("a network");
    for (name, expected) in [
        ("j0", Some("10.0.0.2")),
        ("j1", Some("10.0.0.5")),
        ("j2", Some("10.0.0.6")),
        ("j3", None),
    ] {
        world
            .apply(jail(name, &["lan"], json!({})))
            .expect("a jail");
        assert_eq!(world.address(name).as_deref(), expected);
    }
    let (_, _, message) = world.scheduled("j3");
    assert!(
        message.contains("no free address is left in 10.0.0.0/29 of network lan"),
        "{message}"
    );
    // One that goes makes room, and the waiting jail gets it without being applied again.
    world.delete(Kind::Jail, "j1").expect("accepted");
    world.report("a");
    world.reconcile();
    assert_eq!(world.address("j3").as_deref(), Some("10.0.0.5"));
}

#[test]
fn a_host_scope_repeats_addresses_on_every_host_and_a_fleet_scope_does_not() {
    let mut world = World::with_hosts(&["a", "b"]);
    world.apply(shared("inside")).expect("a network");
    world.apply(bridge("lan")).expect("a network");
    for (name, network) in [
        ("j0", "inside"),
        ("j1", "inside"),
        ("j2", "lan"),
        ("j3", "lan"),
    ] {
        world
            .apply(jail(name, &[network], json!({})))
            .expect("a jail");
    }
    assert_eq!(world.address("j0").as_deref(), Some("192.0.2.1"));
    assert_eq!(world.address("j0"), world.address("j1"));
    assert_ne!(world.address("j2"), world.address("j3"));
}

#[test]
fn a_shared_ip_jail_gets_single_addresses_and_no_mac() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(shared("inside")).expect("a network");
    world
        .apply(jail("www", &["inside"], json!({})))
        .expect("a jail");
    let attachment = &world.binding("www").expect("bound").attachments[0];
    assert_eq!(attachment.addresses[0].to_string(), "192.0.2.1/32");
    assert_eq!(attachment.mac, None);
}

#[test]
fn addresses_and_macs_stay_while_they_are_right() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    world
        .apply(jail("first", &["lan"], json!({})))
        .expect("a jail");
    world
        .apply(jail("www", &["lan"], json!({})))
        .expect("a jail");
    world.delete(Kind::Jail, "first").expect("accepted");
    world.report("a");
    let before = world.binding("www").expect("bound").clone();
    world
        .apply(jail(
            "www",
            &["lan"],
            json!({"publish": [{"name": "web", "ports": [80], "uplink": "external"}]}),
        ))
        .expect("a change");
    assert_eq!(world.binding("www"), Some(&before));
    let mut narrower = bridge("lan");
    narrower["spec"]["subnets"][0]["allocate"] = json!(["10.30.0.100-10.30.0.110"]);
    world.apply(narrower).expect("a network");
    world
        .apply(jail("www", &["lan"], json!({})))
        .expect("a change");
    assert_eq!(world.binding("www"), Some(&before));
}

#[test]
fn two_attachments_to_one_network_differ() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    let networks =
        json!([{"network": "lan", "interface": "one"}, {"network": "lan", "interface": "two"}]);
    world
        .apply(jail("www", &[], json!({"networks": networks})))
        .expect("a jail");
    let attachments = &world.binding("www").expect("bound").attachments;
    let addresses: BTreeSet<_> = attachments
        .iter()
        .flat_map(|attachment| &attachment.addresses)
        .collect();
    assert_eq!(addresses.len(), 4);
    assert_ne!(attachments[0].mac, attachments[1].mac);
}

#[test]
fn a_given_mac_is_nobody_elses() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    let with = |mac: &str| json!({"networks": [{"network": "lan", "mac": mac}]});
    world
        .apply(jail("one", &[], with("02:00:5e:10:00:07")))
        .expect("a jail");
    let rejection = world
        .apply(jail("two", &[], with("02:00:5e:10:00:07")))
        .expect_err("taken");
    assert_eq!(rejection.violations[0].field, "spec.networks[0].mac");
    // One of our own numbers given by hand counts as that number.
    let generated = {
        world
            .apply(jail("three", &["lan"], json!({})))
            .expect("a jail");
        world.binding("three").expect("bound").attachments[0]
            .mac
            .expect("a MAC")
    };
    let rejection = world
        .apply(jail("two", &[], with(&generated.to_string())))
        .expect_err("taken");
    assert!(rejection.to_string().contains("jail three"), "{rejection}");
}

#[test]
fn the_hosts_ends_of_given_macs_differ_too() {
    let mut world = World::with_hosts(&["a"]);
    for (name, prefix) in [("lan", "10.30.0.0/24"), ("wan", "10.31.0.0/24")] {
        let mut network = bridge(name);
        network["spec"]["subnets"] = json!([{"cidr": prefix}]);
        world.apply(network).expect("a network");
    }
    let with = |mac: &str| json!({"networks": [{"network": "lan", "mac": mac}]});
    world
        .apply(jail("one", &[], with("02:aa:00:00:00:05")))
        .expect("a jail");
    // The host's ends of both would be 06:cb:00:00:00:05.
    let rejection = world
        .apply(jail("two", &[], with("02:bb:00:00:00:05")))
        .expect_err("taken");
    let violation = &rejection.violations[0];
    assert_eq!(violation.field, "spec.networks[0].mac");
    let message = "MAC number 00:00:00:05 is taken by jail one";
    assert_eq!(violation.message, message);
    assert!(violation.help.contains("last four octets"), "{violation}");
    // Nor is it the number of an allocated one.
    world
        .apply(jail("three", &["lan"], json!({})))
        .expect("a jail");
    let mut like = world.binding("three").expect("bound").attachments[0]
        .mac
        .expect("a MAC");
    like.0[..2].copy_from_slice(&[0x02, 0xaa]);
    let rejection = world
        .apply(jail("two", &[], with(&like.to_string())))
        .expect_err("taken");
    assert!(rejection.to_string().contains("jail three"), "{rejection}");
    // Within one jail, and on one link.
    let twice = json!({"networks": [
        {"network": "lan", "interface": "lan0", "mac": "02:aa:00:00:00:06"},
        {"network": "wan", "interface": "wan0", "mac": "02:bb:00:00:00:06"},
    ]});
    let rejection = world
        .apply(jail("two", &[], twice))
        .expect_err("one number twice");
    assert_eq!(rejection.violations[0].field, "spec.networks[1].mac");
    let rejection = world
        .apply(jail("two", &[], with("06:cb:00:00:00:07")))
        .expect_err("both ends of a link");
    assert!(rejection.to_string().contains("host's end"), "{rejection}");
}

#[test]
fn what_is_given_to_one_attachment_is_allocated_to_no_other() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    let two =
        |second: Value| json!({"networks": [{"network": "lan", "interface": "lan0"}, second]});
    let second = json!({"network": "lan", "interface": "lan1"});
    world.apply(jail("one", &[], two(second))).expect("a jail");
    let macs = |world: &World| -> Vec<_> {
        let attachments = &world.binding("one").expect("bound").attachments;
        attachments
            .iter()
            .map(|bound| bound.mac.expect("a MAC"))
            .collect()
    };
    let mut given = macs(&world)[0];
    given.0[..2].copy_from_slice(&[0x02, 0xaa]);
    world
        .apply(jail(
            "one",
            &[],
            two(json!({"network": "lan", "interface": "lan1", "mac": given})),
        ))
        .expect("its own");
    let now = macs(&world);
    assert_eq!(now[1], given);
    assert_ne!(now[0].0[2..], given.0[2..]);
}

#[test]
fn no_subnet_gives_an_edge_but_the_smallest() {
    let subnet = |cidr: &str| serde_json::from_value(json!({"cidr": cidr})).expect("a subnet");
    let given = |cidr: &str| {
        let (ranges, holes) = allocatable(&subnet(cidr));
        let texts = |ranges: Vec<AddressRange>| ranges.iter().map(ToString::to_string).collect();
        let texts: [Vec<String>; 2] = [ranges, holes].map(texts);
        texts
    };
    let none: [&str; 0] = [];
    let edges = ["192.0.2.0", "192.0.2.15"];
    assert_eq!(
        given("192.0.2.0/28"),
        [["192.0.2.0-192.0.2.15"].to_vec(), edges.to_vec()]
    );
    assert_eq!(
        given("192.0.2.0/31"),
        [["192.0.2.0-192.0.2.1"].to_vec(), none.to_vec()]
    );
    assert_eq!(
        given("192.0.2.7/32"),
        [["192.0.2.7"].to_vec(), none.to_vec()]
    );
    assert_eq!(
        given("2001:db8::/126"),
        [["2001:db8::-2001:db8::3"].to_vec(), ["2001:db8::"].to_vec()]
    );
}

#[test]
fn ranges_of_a_subnet_give_no_edge_either() {
    let mut world = World::with_hosts(&["a"]);
    let mut document = bridge("lan");
    document["spec"]["subnets"] = json!([{
        "cidr": "10.7.0.0/24", "allocate": ["10.7.0.254-10.7.0.255", "10.7.0.0"]
    }]);
    world.apply(document).expect("a network");
    for name in ["one", "two"] {
        world
            .apply(jail(name, &["lan"], json!({})))
            .expect("a jail");
    }
    assert_eq!(world.address("one").as_deref(), Some("10.7.0.254"));
    let (status, reason, message) = world.scheduled("two");
    assert_eq!(status, ConditionStatus::False, "{reason}: {message}");
}

fn routed(link: &str) -> Value {
    let mut document = bridge("links");
    let subnets = json!([{"cidr": "10.40.0.0/24"}, {"cidr": "fd00:40::/64"}]);
    document["spec"] = json!({"routed": {"link": link}, "scope": "host", "subnets": subnets});
    document
}

#[test]
fn unnumbered_links_cost_one_address_each() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(routed("unnumbered")).expect("a network");
    for (name, v4, v6) in [
        ("j0", "10.40.0.2/32", "fd00:40::1/128"),
        ("j1", "10.40.0.3/32", "fd00:40::2/128"),
    ] {
        let document = jail(name, &["links"], json!({}));
        world.apply(document).expect("a jail");
        let addresses = &world.binding(name).expect("bound").attachments[0].addresses;
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, [v4, v6]);
    }
}

#[test]
fn a_numbered_link_has_both_ends_for_itself() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(routed("pointToPoint")).expect("a network");
    for (name, v4, v6) in [
        ("j0", "10.40.0.3/31", "fd00:40::3/127"),
        ("j1", "10.40.0.5/31", "fd00:40::5/127"),
    ] {
        let document = jail(name, &["links"], json!({}));
        world.apply(document).expect("a jail");
        let addresses = &world.binding(name).expect("bound").attachments[0].addresses;
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, [v4, v6]);
    }
    let given = |addresses: Value| {
        let mut document = jail("given", &["links"], json!({"host": "a"}));
        document["spec"]["networks"][0]["addresses"] = addresses;
        document
    };
    for (addresses, reason) in [
        (json!(["10.40.0.4"]), "is taken by"),
        (
            json!(["10.40.0.8", "10.40.0.9"]),
            "the other end of the link",
        ),
        (json!(["10.40.0.8/24"]), "have /31, not /24"),
    ] {
        let refused = world.apply(given(addresses)).expect_err("refused");
        let refused = format!("{refused:?}");
        assert!(refused.contains(reason), "{refused}");
    }
    // The even one of a pair will do as well; the host then has the odd one, which nobody else gets.
    world.apply(given(json!(["10.40.0.6"]))).expect("a jail");
    let next = jail("j2", &["links"], json!({}));
    world.apply(next).expect("a jail");
    assert_eq!(world.address("j2").as_deref(), Some("10.40.0.9"));
}

/// A host with a pool of NICs, and a network of them.
fn nic_pool(interfaces: &[&str]) -> World {
    let mut world = World::with_hosts(&["a"]);
    pool(&mut world, interfaces);
    let mut network = bridge("own");
    network["spec"] = json!({
        "passthrough": {"uplinks": ["single", "spare"]},
        "subnets": [{"cidr": "10.0.0.0/24", "gateway": {"address": "10.0.0.1"}}],
    });
    world.apply(network).expect("a network");
    world
}

fn pool(world: &mut World, interfaces: &[&str]) {
    let mut host = crate::testing::host("a");
    host["spec"]["uplinks"] = json!({"single": {"interface": "em0"}});
    if !interfaces.is_empty() {
        host["spec"]["uplinks"]["spare"] = json!({"interfaces": interfaces});
    }
    world.apply(host).expect("a host");
}

fn nics(world: &World, jail: &str) -> Vec<String> {
    let binding = world.binding(jail);
    let attachments = binding.iter().flat_map(|binding| &binding.attachments);
    attachments.filter_map(|bound| bound.nic.clone()).collect()
}

#[test]
fn a_nic_goes_to_one_jail_and_stays_with_it() {
    let mut world = nic_pool(&["igb2", "igb3"]);
    for (name, networks, expected) in [
        ("j0", &["own"][..], &["em0"][..]),
        ("j1", &["own", "own"], &["igb2", "igb3"]),
        ("j2", &["own"], &[]),
    ] {
        world
            .apply(jail(name, networks, json!({"host": "a"})))
            .expect("a jail");
        assert_eq!(nics(&world, name), expected, "{name}");
    }
    let attachment = &world.binding("j0").expect("bound").attachments[0];
    assert_eq!(attachment.mac, None, "it keeps its own");
    let (_, reason, message) = world.scheduled("j2");
    assert_eq!(reason, "NicsExhausted");
    let who = "em0 by jail j0, igb2 by jail j1, igb3 by jail j1";
    assert!(message.contains(who), "{message}");
    // A restart of the controller and a change of the jail leave it its NIC.
    world.restart();
    world
        .apply(jail(
            "j0",
            &["own"],
            json!({"host": "a", "parameters": {"securelevel": 1}}),
        ))
        .expect("a change");
    assert_eq!(nics(&world, "j0"), ["em0"]);
    // One that goes makes room, once its host says that nothing of it is left.
    world.delete(Kind::Jail, "j1").expect("accepted");
    assert_eq!(nics(&world, "j2"), [""; 0]);
    world.report("a");
    world.reconcile();
    assert_eq!(nics(&world, "j2"), ["igb2"]);
}

#[test]
fn a_nic_that_leaves_the_pool_is_exchanged_if_there_is_another() {
    let mut world = nic_pool(&["igb2", "igb3"]);
    for name in ["j0", "j1"] {
        world
            .apply(jail(name, &["own"], json!({"host": "a"})))
            .expect("a jail");
    }
    assert_eq!(nics(&world, "j1"), ["igb2"]);
    pool(&mut world, &["igb3"]);
    world.reconcile();
    assert_eq!(nics(&world, "j1"), ["igb3"]);
    // Without another one it keeps what it has, and says so.
    pool(&mut world, &[]);
    world.reconcile();
    assert_eq!(nics(&world, "j1"), ["igb3"]);
    assert_eq!(world.scheduled("j1").1, "NicsExhausted");
}

#[test]
fn a_host_without_such_an_uplink_has_no_nic_and_a_mac_cannot_be_given() {
    let mut world = nic_pool(&["igb2"]);
    let mut host = crate::testing::host("a");
    host["spec"]["uplinks"] = json!({"other": {"interface": "em1"}});
    world.apply(host).expect("a host");
    world
        .apply(jail("j0", &["own"], json!({"host": "a"})))
        .expect("a jail");
    let (_, reason, message) = world.scheduled("j0");
    assert_eq!(reason, "UplinkMissing");
    assert!(
        message.contains("none of its uplinks is one of single, spare"),
        "{message}"
    );
    let networks =
        json!({"networks": [{"network": "own", "interface": "x0", "mac": "02:00:00:00:00:01"}]});
    let refused = world
        .apply(jail("j1", &[], networks))
        .expect_err("it keeps its own");
    assert!(
        format!("{refused:?}").contains("keeps its own MAC address"),
        "{refused:?}"
    );
}

/// The addresses of a jail on a dual-stack bridge, or the fields for which it is refused.
fn asked(mode: &str, attachment: &Value, more: &Value) -> Result<Vec<String>, Vec<String>> {
    let mut world = World::with_hosts(&["a"]);
    let subnets = json!([{"cidr": "10.0.0.0/24"}, {"cidr": "fd00:9::/64"}]);
    let network = network("lan", mode, "host", subnets);
    world.apply(network).expect("a network");
    let mut document = jail("www", &["lan"], more.clone());
    document["spec"]["networks"] = json!([attachment]);
    match world.apply(document) {
        Ok(_) => {
            let binding = world.binding("www").expect("it is bound");
            let bound = binding
                .attachments
                .iter()
                .flat_map(|bound| &bound.addresses);
            Ok(bound.map(|bound| bound.address.to_string()).collect())
        }
        Err(refused) => {
            let violations = refused.violations.into_iter();
            Err(violations.map(|violation| violation.field).collect())
        }
    }
}

#[test]
fn what_the_wire_gives_is_not_allocated() {
    let devfs = json!({"parameters": {"mount.devfs": true, "devfs_ruleset": 40}});
    for (addressing, given) in [
        ("allocate", vec!["10.0.0.1", "fd00:9::1"]),
        ("slaac", vec!["10.0.0.1"]),
        ("dhcp", vec!["fd00:9::1"]),
        ("jail", Vec::new()),
    ] {
        let attachment = json!({"network": "lan", "addressing": addressing});
        let addresses = asked("bridge", &attachment, &devfs);
        assert_eq!(addresses.expect("admitted"), given, "{addressing}");
    }
    let attachment = json!({"network": "lan", "addressing": "slaac", "addresses": ["10.0.0.7"]});
    assert_eq!(
        asked("bridge", &attachment, &devfs).expect("admitted"),
        ["10.0.0.7"]
    );
}

#[test]
fn nobody_may_count_on_addresses_that_come_later() {
    let slaac = json!({"network": "lan", "addressing": "slaac"});
    let refused = ["spec.networks[0].addressing".to_owned()];
    let devfs = json!({"parameters": {"mount.devfs": true}});
    let links = asked("routed", &slaac, &devfs);
    assert_eq!(links.expect_err("refused"), refused);
    let mut firewall = devfs;
    firewall["firewall"] = json!({"defaultIngress": "block"});
    let asked = asked("bridge", &slaac, &firewall);
    assert_eq!(asked.expect_err("refused"), refused);
}

fn asking(name: &str, count: u32) -> Value {
    jail(
        name,
        &["lan"],
        json!({"host": "a", "userIds": {"count": count}}),
    )
}

fn user_ids(world: &World, name: &str) -> Option<(u32, u32)> {
    let range = world.binding(name)?.user_ids?;
    Some((range.first, range.last))
}

#[test]
fn user_ids_are_ranges_that_do_not_overlap_and_stay() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    world.apply(asking("one", 1_000)).expect("a jail");
    world.apply(asking("two", 10_000)).expect("a jail");
    assert_eq!(user_ids(&world, "one"), Some((1_000_000, 1_000_999)));
    assert_eq!(user_ids(&world, "two"), Some((1_010_000, 1_019_999)));
    world.apply(asking("one", 5)).expect("fewer of the same");
    assert_eq!(user_ids(&world, "one"), Some((1_000_000, 1_000_004)));
    // Who asks no more gives them up once the host has said so.
    world
        .apply(jail("one", &["lan"], json!({"host": "a"})))
        .expect("none");
    world.apply(asking("three", 1)).expect("a jail");
    assert_eq!(user_ids(&world, "three"), Some((1_020_000, 1_020_000)));
    world.report("a");
    world.apply(asking("four", 1)).expect("a jail");
    assert_eq!(user_ids(&world, "four"), Some((1_000_000, 1_000_000)));
    // Kept for whoever comes back.
    world
        .delete(cellblock_schemas::Kind::Jail, "two")
        .expect("it may go");
    world.report("a");
    world.apply(asking("five", 1)).expect("a jail");
    assert_eq!(user_ids(&world, "five"), Some((1_030_000, 1_030_000)));
    world.apply(asking("two", 1)).expect("a jail");
    assert_eq!(user_ids(&world, "two"), Some((1_010_000, 1_010_000)));
}

#[test]
fn rules_about_a_jails_own_user_ids_have_their_numbers_in_the_view() {
    let mut world = World::with_hosts(&["a"]);
    let mut network = bridge("inside");
    network["spec"] = json!({"sharedIP": {"loopback": {}}, "subnets": [{"cidr": "192.0.2.0/28"}]});
    world.apply(network).expect("a network");
    let rule = |name: &str, field: &str, text: &str| json!({"name": name, "action": "block", "protocol": "tcp", field: text});
    let egress = json!([
        rule("a", "user", "own"),
        rule("b", "user", "!= own"),
        rule("c", "group", "own"),
        rule("d", "user", "www")
    ]);
    let spec = json!({"host": "a", "userIds": {"count": 10}, "firewall": {"egress": egress}});
    world.apply(jail("www", &["inside"], spec)).expect("a jail");
    let view = crate::host_view(&world.index, "a").expect("a host");
    let rules = &view.jails.values().next().expect("it is bound").spec;
    let rules = rules.firewall.as_ref().map(|firewall| &firewall.egress);
    let texts: Vec<_> = rules
        .into_iter()
        .flatten()
        .map(|rule| rule.user.as_deref().or(rule.group.as_deref()).unwrap_or(""))
        .collect();
    let (own, others) = ("1000000:1000009", "1000000<>1000009");
    assert_eq!(texts, [own, others, own, "www"]);
}
