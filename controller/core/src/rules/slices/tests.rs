use serde_json::{Value, json};

use crate::testing::{World, host, jail};

fn span(subnets: Value, lengths: Value) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Network", "metadata": {"name": "span"},
        "spec": {"routed": {"hostPrefixLength": lengths}, "scope": "fleet", "subnets": subnets},
    })
}

fn usual() -> Value {
    span(json!([{"cidr": "10.40.0.0/22"}]), json!({"ipv4": 27}))
}

fn node(name: &str, addresses: Value) -> Value {
    let mut document = host(name);
    document["spec"]["addresses"] = addresses;
    document
}

fn refused(world: &mut World, document: Value, field: &str, message: &str) {
    let rejection = world.apply(document).expect_err("it is refused");
    let said = format!("{rejection:?}");
    assert!(said.contains(field) && said.contains(message), "{said}");
}

#[test]
fn a_host_with_jails_of_a_network_that_spans_hosts_has_a_node_address() {
    let mut world = World::with_hosts(&["a", "b"]);
    world.apply(usual()).expect("the network is right");
    let named = || jail("www", &["span"], json!({"host": "a"}));
    refused(
        &mut world,
        named(),
        "spec.networks[0].network",
        "host a has no spec.addresses.node by which the others would reach its jails",
    );
    // Not named, it goes where there is one.
    world
        .apply(node("b", json!({"node": "198.51.100.2"})))
        .expect("fine");
    world
        .apply(jail("db", &["span"], json!({})))
        .expect("it is admitted");
    world.reconcile();
    assert_eq!(
        world.binding("db").map(|binding| binding.host.as_str()),
        Some("b")
    );
    refused(
        &mut world,
        host("b"),
        "spec.addresses[node]",
        "other hosts reach this host's jails of network span by it",
    );
    // Another family needs the other address.
    let both = || {
        span(
            json!([{"cidr": "10.40.0.0/22"}, {"cidr": "fd00:40::/64"}]),
            json!({"ipv4": 27, "ipv6": 80}),
        )
    };
    refused(
        &mut world,
        both(),
        "spec.subnets",
        "host b has jails of this network and no spec.addresses.node6",
    );
    let addresses = json!({"node": "198.51.100.2", "node6": "2001:db8::2"});
    world.apply(node("b", addresses)).expect("fine");
    world.apply(both()).expect("now it can");
}

#[test]
fn node_addresses_are_each_of_one_host_and_of_no_jail() {
    let mut world = World::with_hosts(&["a", "b"]);
    world
        .apply(node("a", json!({"node": "198.51.100.1"})))
        .expect("fine");
    refused(
        &mut world,
        node("b", json!({"node": "198.51.100.1"})),
        "spec.addresses[node]",
        "198.51.100.1 is that of host a already",
    );
    world.apply(usual()).expect("the network is right");
    refused(
        &mut world,
        node("b", json!({"node": "10.40.3.2"})),
        "spec.addresses",
        "lies in 10.40.0.0/22 of network span",
    );
    let around = span(json!([{"cidr": "198.51.100.0/24"}]), json!({"ipv4": 27}));
    refused(
        &mut world,
        around,
        "spec.subnets",
        "198.51.100.1, by which the others reach host a",
    );
    // Two that were decided at the same time.
    let both = ["c", "d"].map(|name| {
        let now = world.now();
        let request = crate::admit::Request::Create {
            kind: cellblock_schemas::Kind::Host,
            document: node(name, json!({"node": "198.51.100.3"})),
            manager: "jailctl".to_owned(),
        };
        let admitted = crate::admit::admit(&world.index, request, &now).expect("alone it is right");
        admitted.write.expect("it is new")
    });
    let [one, other] = both;
    assert!(world.commit(&one));
    assert!(!world.commit(&other), "two hosts with one node address");
}

#[test]
fn a_static_address_is_of_a_slice_of_its_host() {
    let mut world = World::with_hosts(&["a", "b"]);
    for (name, address) in [("a", "198.51.100.1"), ("b", "198.51.100.2")] {
        world
            .apply(node(name, json!({"node": address})))
            .expect("fine");
    }
    world.apply(usual()).expect("the network is right");
    let with = |name: &str, host: &str, address: &str| {
        let networks = json!([{"network": "span", "addresses": [address]}]);
        jail(name, &[], json!({"host": host, "networks": networks}))
    };
    world
        .apply(with("www", "a", "10.40.1.5"))
        .expect("nobody has its slice");
    refused(
        &mut world,
        with("db", "b", "10.40.1.6"),
        "spec.networks[0].addresses[0]",
        "10.40.1.6 is of slice 10.40.1.0/27 of network span, which host a has, and the jail is for host b",
    );
    world
        .apply(with("db", "a", "10.40.1.6"))
        .expect("its host has it");
    world
        .apply(with("other", "b", "10.40.1.40"))
        .expect("another one");
}
