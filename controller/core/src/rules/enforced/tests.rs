use serde_json::{Value, json};

use crate::testing::{World, bridge, host, jail};

/// A bridge whose uplink is a NIC.
fn on_the_wire(name: &str) -> Value {
    let mut network = bridge(name);
    network["spec"] =
        json!({ "bridge": { "uplink": "wire" }, "subnets": [{ "cidr": "198.51.100.0/24" }] });
    network
}

/// A bridge inside the host that has an address of the host in each of these families.
fn switch(ipv4: bool, ipv6: bool) -> Value {
    let mut network = bridge("switch");
    let subnet = |cidr: &str, gateway: &str, has: bool| {
        let mut subnet = json!({ "cidr": cidr });
        if has {
            subnet["gateway"] = json!({ "address": gateway });
        }
        subnet
    };
    network["spec"]["subnets"] = json!([
        subnet("10.30.0.0/24", "10.30.0.1", ipv4),
        subnet("fd00:30::/64", "fd00:30::1", ipv6),
    ]);
    network
}

fn world() -> World {
    let mut world = World::new();
    let mut one = host("a");
    one["spec"]["uplinks"]["wire"] = json!({ "interface": "igb1" });
    one["spec"]["uplinks"]["external"]["publicAddresses"] =
        json!({ "main": "203.0.113.1", "main6": "2001:db8::1" });
    world.apply(one).expect("a host");
    world.hear("a");
    world
}

fn publishing(networks: &[&str], publish: Value) -> Value {
    let mut publish = publish;
    publish["name"] = json!("web");
    publish["ports"] = json!([80]);
    publish["uplink"] = json!("external");
    jail(
        "www",
        networks,
        json!({ "host": "a", "publish": [publish] }),
    )
}

#[test]
fn no_port_leads_to_a_bridge_with_an_uplink() {
    let mut world = world();
    world.apply(on_the_wire("lan")).expect("a network");
    world.apply(switch(true, true)).expect("a network");
    let refused = world
        .apply(publishing(&["lan"], json!({})))
        .expect_err("the host's pf does not route there");
    assert_eq!(refused.violations[0].field, "spec.publish[0]");
    let text = refused.to_string();
    assert!(
        text.contains("no port can lead to network lan")
            && text.contains("bridged, never routed by this host"),
        "{text}"
    );
    // Of two networks the first is meant, unless one is named.
    world
        .apply(publishing(
            &["lan", "switch"],
            json!({ "network": "switch" }),
        ))
        .expect("it leads to the other network");
    let refused = world
        .apply(publishing(&["lan", "switch"], json!({ "address": "main" })))
        .expect_err("the first one has IPv4");
    assert_eq!(refused.violations[0].field, "spec.publish[0]");
    world
        .apply(publishing(
            &["lan", "switch"],
            json!({ "address": "main6" }),
        ))
        .expect("the first one has no IPv6");
}

#[test]
fn a_switch_needs_an_address_of_the_host_in_the_ports_family() {
    let mut world = world();
    world.apply(switch(true, false)).expect("a network");
    world
        .apply(publishing(&["switch"], json!({ "address": "main" })))
        .expect("IPv4 is routed");
    for publish in [json!({ "address": "main6" }), json!({})] {
        let refused = world
            .apply(publishing(&["switch"], publish))
            .expect_err("IPv6 is not");
        let text = refused.to_string();
        assert!(
            text.contains("the host has no address of this family"),
            "{text}"
        );
    }
    // The network of a jail that publishes keeps what that needs.
    let refused = world
        .apply(switch(false, false))
        .expect_err("www publishes");
    assert_eq!(refused.violations[0].field, "spec.subnets");
    assert!(
        refused
            .to_string()
            .contains("jail www publishes `web` here"),
        "{refused}"
    );
    world
        .apply(jail("www", &["switch"], json!({ "host": "a" })))
        .expect("a jail");
    world
        .apply(switch(false, false))
        .expect("nobody publishes any more");
}

/// A jail whose public address leads to a network.
fn having(networks: &[&str], address: &str) -> Value {
    let public = json!([{ "name": "web", "uplink": "external", "address": address }]);
    jail(
        "www",
        networks,
        json!({ "host": "a", "publicAddresses": public }),
    )
}

#[test]
fn no_public_address_leads_to_the_wire() {
    let mut world = world();
    world.apply(on_the_wire("lan")).expect("a network");
    let mut hooked = bridge("hooked");
    hooked["spec"] =
        json!({ "netgraph": { "uplink": "external" }, "subnets": [{ "cidr": "192.0.2.0/24" }] });
    world.apply(hooked).expect("a network");
    for (network, why) in [
        ("lan", "bridged, never routed by this host"),
        ("hooked", "the host's pf never sees their traffic"),
    ] {
        let refused = world
            .apply(having(&[network], "main"))
            .expect_err("the host's pf does not route there");
        assert_eq!(refused.violations[0].field, "spec.publicAddresses[0]");
        let text = refused.to_string();
        let what = format!("no public address can lead to network {network}");
        assert!(text.contains(&what) && text.contains(why), "{text}");
    }
}

#[test]
fn a_public_address_needs_an_address_of_the_host_at_the_switch() {
    let mut world = world();
    world.apply(switch(true, false)).expect("a network");
    world
        .apply(having(&["switch"], "main"))
        .expect("IPv4 is routed");
    let refused = world
        .apply(having(&["switch"], "main6"))
        .expect_err("IPv6 is not");
    let text = refused.to_string();
    assert!(
        text.contains("the host has no address of this family"),
        "{text}"
    );
    let refused = world
        .apply(switch(false, false))
        .expect_err("www has a public address");
    assert!(
        refused
            .to_string()
            .contains("jail www has public address `web` here"),
        "{refused}"
    );
}

/// A loopback network with link-local addresses.
fn local(name: &str, cidr: &str) -> Value {
    let mut network = bridge(name);
    network["spec"] = json!({ "sharedIP": { "loopback": {} }, "subnets": [{ "cidr": cidr }] });
    network
}

#[test]
fn link_local_addresses_are_where_they_can_be() {
    let mut world = world();
    world.apply(local("own", "fe80::/64")).expect("a network");
    world.apply(switch(true, true)).expect("a network");
    // Neither the anycast address nor the one that the kernel gives.
    world
        .apply(jail("www", &["own"], json!({ "host": "a" })))
        .expect("a jail");
    world.reconcile();
    assert_eq!(world.address("www").as_deref(), Some("fe80::2"));
    let refused = |world: &mut World, document: Value| {
        let refused = world.apply(document).expect_err("it cannot be");
        (refused.violations[0].field.clone(), refused.to_string())
    };
    let given = |network: &str| {
        let networks = json!([{ "network": network, "addresses": ["fe80::9"] }]);
        jail("db", &[], json!({ "host": "a", "networks": networks }))
    };
    let (field, _) = refused(&mut world, given("switch"));
    assert_eq!(field, "spec.networks[0].addresses[0]");
    let steered = json!({ "host": "a", "parameters": { "exec.fib": 1 } });
    let (field, text) = refused(&mut world, jail("db", &["own"], steered));
    assert_eq!(field, "spec.networks[0].network");
    assert!(text.contains("first routing table only"), "{text}");
    world.apply(given("own")).expect("a jail");
    // One host's jails have each address once.
    let (field, _) = refused(&mut world, local("other", "fe80::a:0:0:0/80"));
    assert_eq!(field, "spec.subnets[0].cidr");
}

#[test]
fn a_network_stack_of_its_own_is_set_up_by_root() {
    let mut world = world();
    world.apply(switch(true, true)).expect("a network");
    let with = |parameters: Value| {
        jail(
            "www",
            &["switch"],
            json!({ "host": "a", "parameters": parameters }),
        )
    };
    for (parameter, value) in [
        ("allow.suser", json!(false)),
        ("exec.system_user", json!("www")),
    ] {
        let refused = world
            .apply(with(json!({ parameter: value })))
            .expect_err("nobody could give it addresses");
        assert!(format!("{refused:?}").contains(parameter), "{refused:?}");
    }
    world
        .apply(with(json!({ "allow.suser": true })))
        .expect("it changes nothing");
}
