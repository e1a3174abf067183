use cellblock_schemas::{ConditionStatus, Kind};
use serde_json::{Value, json};

use crate::reconcile::{self, Item};
use crate::testing::{World, host, jail};
use crate::{claim::Owner, host_view};

fn node(name: &str) -> Value {
    let mut document = host(name);
    let last = name.as_bytes()[0];
    document["spec"]["addresses"] =
        json!({"node": format!("198.51.100.{last}"), "node6": format!("2001:db8::{last}")});
    document
}

fn span(spec: Value) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Network", "metadata": {"name": "span"}, "spec": spec,
    })
}

/// Room for four hosts with two addresses each.
fn small() -> Value {
    span(json!({
        "routed": {"link": "pointToPoint", "hostPrefixLength": {"ipv4": 30, "ipv6": 126}}, "scope": "fleet",
        "subnets": [{"cidr": "10.40.0.0/28"}, {"cidr": "fd00:40::/124"}],
    }))
}

fn world(names: &[&str], network: Value) -> World {
    let mut world = World::with_hosts(names);
    for name in names {
        world.apply(node(name)).expect("the host is right");
    }
    world.apply(network).expect("the network is right");
    world
}

fn on(world: &mut World, name: &str, host: &str) {
    let spec = json!({"host": host});
    world
        .apply(jail(name, &["span"], spec))
        .expect("it is admitted");
    world.reconcile();
}

fn slices(world: &World) -> Vec<String> {
    let slices = world.index.claims().slices("span");
    slices
        .map(|(net, claim)| format!("{net} {}", claim.owner.slice_host().unwrap_or_default()))
        .collect()
}

fn seen(world: &World, host: &str) -> Vec<String> {
    let view = host_view(&world.index, host).expect("the host is there");
    let slices = view
        .networks
        .get("span")
        .map(|network| network.slices.clone());
    let slices = slices.unwrap_or_default().into_iter();
    slices
        .map(|slice| format!("{} {} {}", slice.cidr, slice.host, slice.next_hop))
        .collect()
}

#[test]
fn each_host_gets_slices_and_knows_those_of_the_others() {
    let mut world = world(&["a", "b"], small());
    on(&mut world, "one", "a");
    assert_eq!(slices(&world), ["10.40.0.0/30 a", "fd00:40::/126 a"]);
    assert_eq!(seen(&world, "a"), [""; 0]);
    on(&mut world, "two", "b");
    assert_eq!(
        slices(&world),
        [
            "10.40.0.0/30 a",
            "10.40.0.4/30 b",
            "fd00:40::/126 a",
            "fd00:40::4/126 b"
        ]
    );
    assert_eq!(
        seen(&world, "a"),
        [
            "10.40.0.4/30 b 198.51.100.98",
            "fd00:40::4/126 b 2001:db8::98"
        ]
    );
    assert_eq!(
        seen(&world, "b"),
        [
            "10.40.0.0/30 a 198.51.100.97",
            "fd00:40::/126 a 2001:db8::97"
        ]
    );
    // A full slice is followed by another one.
    on(&mut world, "three", "b");
    on(&mut world, "four", "b");
    assert_eq!(
        slices(&world)[..3],
        ["10.40.0.0/30 a", "10.40.0.4/30 b", "10.40.0.8/30 b"]
    );
    assert_eq!(world.address("four").as_deref(), Some("10.40.0.9"));
    // Another node address is another way for everybody else, and nothing to the host's own view of the network.
    let revision = world.index.view_revision("a");
    let mut moved = node("b");
    moved["spec"]["addresses"]["node"] = json!("198.51.100.200");
    world.apply(moved).expect("it may move");
    assert!(world.index.view_revision("a") > revision);
    assert_eq!(seen(&world, "a")[0], "10.40.0.4/30 b 198.51.100.200");
}

#[test]
fn a_slice_stays_while_its_host_does_and_goes_to_whoever_finds_no_other() {
    let mut world = world(&["a", "b", "c", "d", "e"], small());
    for (name, host) in [("one", "a"), ("two", "b"), ("three", "c"), ("four", "d")] {
        on(&mut world, name, host);
    }
    world.delete(Kind::Jail, "two").expect("it may go");
    world.reconcile();
    let before = slices(&world);
    // Its host has not said yet that nothing is left of it.
    on(&mut world, "five", "e");
    let (status, reason, message) = world.scheduled("five");
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "AddressesExhausted")
    );
    assert!(message.contains("no other /30 of it is free"), "{message}");
    assert_eq!(slices(&world), before);
    world.report("b");
    assert!(world.index.jail("two").is_none());
    world.reconcile();
    assert_eq!(slices(&world)[1], "10.40.0.4/30 e", "which waited for it");
    assert_eq!(seen(&world, "a")[0], "10.40.0.4/30 e 198.51.100.101");
    // The host that has none any more waits in turn.
    on(&mut world, "six", "b");
    assert_eq!(world.scheduled("six").1, "AddressesExhausted");
    // A host that is gone has no use for its own.
    world.delete(Kind::Jail, "four").expect("it may go");
    world.report("d");
    world.reconcile();
    assert_eq!(slices(&world)[3], "10.40.0.12/30 b", "it was idle");
}

#[test]
fn a_host_that_is_gone_gives_its_slices_back() {
    let mut world = world(&["a", "b"], small());
    on(&mut world, "one", "a");
    on(&mut world, "two", "b");
    world.delete(Kind::Jail, "two").expect("it may go");
    world.report("b");
    world.reconcile();
    assert_eq!(slices(&world).len(), 4, "it may get another jail");
    world.delete(Kind::Host, "b").expect("it may go");
    world.reconcile();
    assert_eq!(slices(&world), ["10.40.0.0/30 a", "fd00:40::/126 a"]);
    assert_eq!(seen(&world, "a"), [""; 0]);
    world.delete(Kind::Jail, "one").expect("it may go");
    world.report("a");
    world.delete(Kind::Network, "span").expect("it may go");
    world.reconcile();
    assert_eq!(slices(&world), [""; 0]);
}

#[test]
fn two_controllers_do_not_give_one_slice_to_two_hosts() {
    let mut world = world(&["a", "b"], small());
    world
        .apply(jail("one", &["none"], json!({"host": "a"})))
        .expect("it waits");
    world
        .apply(jail("two", &["none"], json!({"host": "b"})))
        .expect("it waits");
    let mut named = small();
    named["metadata"]["name"] = json!("none");
    named["spec"]["subnets"] = json!([{"cidr": "10.41.0.0/29"}]);
    named["spec"]["routed"]["hostPrefixLength"] = json!({"ipv4": 29});
    world.apply(named).expect("the network is right");
    let now = world.now();
    let decided =
        |name: &str| reconcile::step(&world.index, &Item::Unsettled(name.to_owned()), &now);
    let (one, two) = (
        decided("one").expect("it has one"),
        decided("two").expect("so has it"),
    );
    assert!(world.commit(&one));
    assert!(!world.commit(&two), "from an index without the first");
    world.reconcile();
    assert_eq!(world.scheduled("two").1, "AddressesExhausted");
    let holders = world.index.claims().all_slices();
    let holders: Vec<&Owner> = holders.map(|(_, _, claim)| &claim.owner).collect();
    assert_eq!(holders.len(), 1);
    // An idle slice is taken by one of two: both have relied on that nobody has an address of it.
    world.delete(Kind::Jail, "one").expect("it may go");
    world.report("a");
    world
        .apply(jail("three", &["none"], json!({"host": "a"})))
        .expect("either");
    world.reconcile();
    let addresses = ["two", "three"].map(|name| world.address(name));
    assert_eq!(addresses.iter().flatten().count(), 1, "{addresses:?}");
}

#[test]
fn slices_of_another_size_once_nobody_has_an_address() {
    let mut world = world(&["a"], small());
    on(&mut world, "one", "a");
    let mut larger = small();
    larger["spec"]["routed"]["hostPrefixLength"]["ipv4"] = json!(29);
    let refused = world.apply(larger.clone()).expect_err("it is in use");
    assert!(
        format!("{refused:?}").contains("jails on host a have addresses of its slice 10.40.0.0/30"),
        "{refused:?}"
    );
    world.delete(Kind::Jail, "one").expect("it may go");
    world.report("a");
    world.reconcile();
    world.apply(larger).expect("nobody has an address");
    world.reconcile();
    on(&mut world, "two", "a");
    assert_eq!(slices(&world), ["10.40.0.0/29 a", "fd00:40::/126 a"]);
}

#[test]
fn addresses_are_given_of_the_ranges_that_the_network_names() {
    let network = span(json!({
        "routed": {"hostPrefixLength": {"ipv4": 30}}, "scope": "fleet",
        "subnets": [{"cidr": "10.40.0.0/24", "gateway": {"address": "10.40.0.9"}, "allocate": ["10.40.0.7-10.40.0.8", "10.40.0.20-10.40.0.21"]}],
    }));
    let mut world = world(&["a", "b", "c"], network);
    on(&mut world, "one", "a");
    on(&mut world, "two", "b");
    on(&mut world, "three", "c");
    assert_eq!(
        slices(&world),
        ["10.40.0.4/30 a", "10.40.0.8/30 b", "10.40.0.20/30 c"]
    );
    let addresses = ["one", "two", "three"].map(|name| world.address(name).unwrap_or_default());
    assert_eq!(addresses, ["10.40.0.7", "10.40.0.8", "10.40.0.20"]);
    // A jail that says no host goes where its address is.
    let attached = json!({"networks": [{"network": "span", "addresses": ["10.40.0.10"]}]});
    world
        .apply(jail("four", &[], attached))
        .expect("it is admitted");
    world.reconcile();
    assert_eq!(
        world.binding("four").map(|binding| binding.host.as_str()),
        Some("b")
    );
}
