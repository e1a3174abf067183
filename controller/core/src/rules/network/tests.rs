use cellblock_schemas::Kind;
use serde_json::{Value, json};

use crate::testing::{World, host, jail, shared};

/// A network of shared addresses on the uplink `external`.
fn on_the_wire(name: &str, cidr: &str) -> Value {
    let mut network = shared(name);
    network["spec"] = json!({"sharedIP": {"uplink": "external"}, "subnets": [{"cidr": cidr}]});
    network
}

#[test]
fn two_networks_on_one_wire_have_no_address_in_common() {
    let mut world = World::with_hosts(&["a", "b"]);
    world
        .apply(on_the_wire("east", "10.10.0.0/24"))
        .expect("a network");
    let mut west = on_the_wire("west", "10.10.0.128/25");
    let refused = world.apply(west.clone()).expect_err("one wire");
    assert_eq!(refused.violations[0].field, "spec.subnets[0].cidr");
    let message = "10.10.0.128/25 overlaps 10.10.0.0/24 of network east on the same uplink `external`: each would give out the other's addresses";
    assert_eq!(refused.violations[0].message, message);
    let help = &refused.violations[0].help;
    assert!(help.contains("divide the prefix between them"), "{help}");
    // A netgraph switch on the uplink is on the same wire, and so are hosts that the networks do not share.
    let mut switch = west.clone();
    switch["spec"]["netgraph"] = json!({"uplink": "external"});
    switch["spec"]
        .as_object_mut()
        .expect("an object")
        .remove("sharedIP");
    world.apply(switch).expect_err("one wire");
    west["spec"]["hostSelector"] = json!({"matchLabels": {"host": "b"}});
    let mut east = on_the_wire("east", "10.10.0.0/24");
    east["spec"]["hostSelector"] = json!({"matchLabels": {"host": "a"}});
    world.apply(east).expect("fewer hosts");
    world.apply(west.clone()).expect_err("still one wire");
    // Uplinks of two names are two wires, and half of the prefix is nobody else's.
    let mut other = west.clone();
    other["spec"]["sharedIP"]["uplink"] = json!("elsewhere");
    world.apply(other).expect("another wire");
    world
        .apply(on_the_wire("east", "10.10.0.0/24"))
        .expect_err("on one host as the other is now");
    world
        .apply(on_the_wire("third", "10.11.0.0/25"))
        .expect("a network");
    world
        .apply(on_the_wire("fourth", "10.11.0.128/25"))
        .expect("the other half");
}

#[test]
fn addresses_that_repeat_on_every_host_may_do_so_on_hosts_of_two_networks() {
    let mut world = World::with_hosts(&["a", "b"]);
    let on = |name: &str, host: &str| {
        let mut network = shared(name);
        network["spec"]["hostSelector"] = json!({"matchLabels": {"host": host}});
        network
    };
    world.apply(on("east", "a")).expect("a network");
    world.apply(on("west", "b")).expect("each host has its own");
    world.apply(on("more", "b")).expect_err("on one host");
    let mut fleet = on("fleet", "c");
    fleet["spec"]["scope"] = json!("fleet");
    world.apply(fleet).expect_err("unique in the fleet");
}

#[test]
fn an_address_given_up_keeps_its_subnet_and_its_network_until_the_host_confirms() {
    let mut world = World::with_hosts(&["a"]);
    world
        .apply(on_the_wire("east", "10.10.0.0/24"))
        .expect("a network");
    world
        .apply(on_the_wire("far", "10.12.0.0/24"))
        .expect("a network");
    world
        .apply(jail("one", &["east"], json!({})))
        .expect("a jail");
    world.report("a");
    world
        .apply(jail("one", &["far"], json!({})))
        .expect("moves over");
    let refused = world
        .apply(on_the_wire("east", "10.13.0.0/24"))
        .expect_err("host a has 10.10.0.1 still");
    let message = "10.10.0.1 of jail one would lie outside every subnet";
    assert_eq!(refused.violations[0].message, message);
    world.delete(Kind::Network, "east").expect("accepted");
    world.reconcile();
    assert!(world.index.network("east").is_some());
    world
        .apply(on_the_wire("west", "10.10.0.0/24"))
        .expect_err("host a has 10.10.0.1 still");
    world.report("a");
    world.reconcile();
    assert!(world.index.network("east").is_none());
    world
        .apply(on_the_wire("west", "10.10.0.0/24"))
        .expect("nobody has any of it");
}

#[test]
fn of_two_networks_that_are_made_at_once_from_one_state_one_is_decided_again() {
    let mut world = World::with_hosts(&["a"]);
    world
        .apply(on_the_wire("west", "10.20.0.0/24"))
        .expect("a network");
    let old = world.index.clone();
    world
        .apply(on_the_wire("east", "10.10.0.0/24"))
        .expect("a network");
    let now = world.now();
    // Only the uplink or the subnets of what is there are other ones: both are what the rule looks at.
    let mut moved = on_the_wire("west", "10.20.0.0/24");
    moved["spec"]["sharedIP"]["uplink"] = json!("elsewhere");
    for document in [on_the_wire("new", "10.10.0.0/24"), moved] {
        let request = crate::admit::Request::Apply {
            kind: Kind::Network,
            document,
            through: crate::admit::Through::Object,
            manager: "other".to_owned(),
            together: std::sync::Arc::default(),
            force: true,
        };
        let admitted = crate::admit::admit(&old, request, &now).expect("nothing was there then");
        let write = admitted.write.expect("something to write");
        assert!(!world.commit(&write), "decided from what is no longer true");
    }
}

#[test]
fn an_address_that_is_claimed_meanwhile_does_not_become_the_gateway() {
    let mut world = World::with_hosts(&["a"]);
    let lan = |gateway: &str| {
        let mut document = crate::testing::bridge("lan");
        document["spec"]["subnets"] =
            json!([{ "cidr": "10.0.0.0/24", "gateway": { "address": gateway } }]);
        document
    };
    let jail = |address: &str| {
        let networks = json!([{ "network": "lan", "interface": "lan0", "addresses": [address] }]);
        crate::testing::jail("web", &[], json!({ "networks": networks }))
    };
    world.apply(lan("10.0.0.254")).expect("a network");
    world.apply(jail("10.0.0.9")).expect("a jail");
    let old = world.index.clone();
    world.apply(jail("10.0.0.1")).expect("it is free");
    let now = world.now();
    let request = crate::admit::Request::Apply {
        kind: Kind::Network,
        document: lan("10.0.0.1"),
        through: crate::admit::Through::Object,
        manager: "other".to_owned(),
        together: std::sync::Arc::default(),
        force: true,
    };
    let admitted = crate::admit::admit(&old, request, &now).expect("nobody had it then");
    let write = admitted.write.expect("something to write");
    assert!(!world.commit(&write), "decided from what is no longer true");
}

#[test]
fn the_networks_of_a_jail_are_of_one_routing_table() {
    let mut world = World::with_hosts(&["a"]);
    for (name, cidr) in [("one", "10.10.0.0/24"), ("other", "10.11.0.0/24")] {
        world.apply(on_the_wire(name, cidr)).expect("a network");
    }
    let both = ["one", "other"];
    world
        .apply(jail("www", &both, json!({})))
        .expect("both have the first table");
    let mut network = on_the_wire("other", "10.11.0.0/24");
    network["spec"]["fib"] = json!(2);
    let refused = world.apply(network.clone()).expect_err("of two tables");
    assert_eq!(refused.violations[0].field, "spec.fib");
    assert_eq!(
        refused.violations[0].message,
        "jail www: the processes of a jail have one routing table, but network one is for table 0 and network other for table 2"
    );
    // A jail that says which is of that one.
    let own = json!({"parameters": {"exec.fib": 2}});
    world.apply(jail("www", &both, own)).expect("it says which");
    world.apply(network).expect("nobody else is on both");
    let refused = world
        .apply(jail("db", &both, json!({})))
        .expect_err("of two tables");
    assert_eq!(refused.violations[0].field, "spec.networks[1].network");
}

#[test]
fn a_host_keeps_the_routing_tables_that_networks_with_jails_have() {
    let mut world = World::new();
    let mut one = host("a");
    one["spec"]["fibs"] = json!(3);
    world.apply(one.clone()).expect("a host");
    world.hear("a");
    let mut network = shared("second");
    network["spec"]["fib"] = json!(2);
    world.apply(network).expect("a network");
    one["spec"]["fibs"] = json!(2);
    world.apply(one.clone()).expect("nobody has the table yet");
    one["spec"]["fibs"] = json!(3);
    world.apply(one.clone()).expect("once more");
    world
        .apply(jail("web", &["second"], json!({})))
        .expect("a jail");
    assert_eq!(world.scheduled("web").1, "Bound");
    one["spec"]["fibs"] = json!(2);
    let refused = world.apply(one).expect_err("the table would be gone");
    assert_eq!(refused.violations[0].field, "spec.fibs");
    assert!(refused.violations[0].help.starts_with("3 or more"));
}
