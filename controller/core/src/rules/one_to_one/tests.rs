use serde_json::{Value, json};

use crate::testing::{World, bridge, host, jail};

fn world() -> World {
    let mut world = World::new();
    let mut one = host("a");
    one["spec"]["uplinks"]["external"]["publicAddresses"] = json!({
        "main": "203.0.113.1", "web": "203.0.113.2", "mail": "203.0.113.3", "web6": "2001:db8::2",
    });
    one["spec"]["uplinks"]["second"] =
        json!({ "interface": "igb1", "publicAddresses": { "other": "198.51.100.2" } });
    world.apply(one).expect("a host");
    world.hear("a");
    let mut plain = bridge("four");
    plain["spec"]["subnets"] =
        json!([{ "cidr": "10.40.0.0/24", "gateway": { "address": "10.40.0.1" } }]);
    for (name, net) in [("lan", 30), ("dmz", 31)] {
        let mut both = bridge(name);
        both["spec"]["subnets"] = json!([
            { "cidr": format!("10.{net}.0.0/24"), "gateway": { "address": format!("10.{net}.0.1") } },
            { "cidr": format!("fd00:{net}::/64"), "gateway": { "address": format!("fd00:{net}::1") } },
        ]);
        world.apply(both).expect("a network");
    }
    world.apply(plain).expect("a network");
    world
}

fn entry(address: &str, more: Value) -> Value {
    let mut entry = more;
    entry["address"] = json!(address);
    if entry["name"].is_null() {
        entry["name"] = json!(address);
    }
    if entry["uplink"].is_null() {
        entry["uplink"] = json!("external");
    }
    entry
}

fn having(name: &str, networks: &[&str], public: Value) -> Value {
    jail(
        name,
        networks,
        json!({ "host": "a", "publicAddresses": public }),
    )
}

fn publishing(name: &str, port: &str, address: &str) -> Value {
    let publish =
        json!([{ "name": "web", "ports": [port], "uplink": "external", "address": address }]);
    jail(name, &["lan"], json!({ "host": "a", "publish": publish }))
}

fn refused(world: &mut World, document: Value, field: &str, words: &[&str]) {
    let refused = world.apply(document).expect_err("it is refused");
    assert_eq!(refused.violations[0].field, field, "{refused}");
    let text = refused.to_string();
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_public_address_is_one_jails_alone() {
    let mut world = world();
    let web = |name: &str| having(name, &["lan"], json!([entry("web", json!({}))]));
    world.apply(web("www")).expect("the first");
    refused(
        &mut world,
        web("other"),
        "spec.publicAddresses[0]",
        &["public address 203.0.113.2 is taken by jail www"],
    );
    let some = having(
        "other",
        &["lan"],
        json!([entry("web", json!({ "ports": [25] }))]),
    );
    refused(
        &mut world,
        some,
        "spec.publicAddresses[0]",
        &["public address 203.0.113.2 is taken by jail www"],
    );
    refused(
        &mut world,
        publishing("other", "80", "web"),
        "spec.publish[0].ports",
        &["public address 203.0.113.2 is taken by jail www"],
    );
    world
        .apply(publishing("other", "80", "main"))
        .expect("another address");
    // The other way round: whoever publishes a port keeps others from the whole.
    refused(
        &mut world,
        having("third", &["lan"], json!([entry("main", json!({}))])),
        "spec.publicAddresses[0]",
        &["tcp port 80 of 203.0.113.1 is taken by jail other"],
    );
    let some = |ports: Value, protocol: &str| {
        let entry = entry("main", json!({ "ports": ports, "protocol": protocol }));
        having("third", &["lan"], json!([entry]))
    };
    refused(
        &mut world,
        some(json!(["79-81"]), "tcp"),
        "spec.publicAddresses[0]",
        &["tcp port 80 of 203.0.113.1 is taken by jail other"],
    );
    world
        .apply(some(json!([80]), "udp"))
        .expect("another protocol");
    // Its own published ports are not in a jail's way.
    let mut own = web("www");
    own["spec"]["publish"] =
        json!([{ "name": "alt", "ports": [81], "to": 80, "uplink": "external", "address": "web" }]);
    world.apply(own).expect("a port of its own address");
}

#[test]
fn it_is_free_again_once_its_host_has_taken_it_away() {
    let mut world = world();
    let web = |name: &str| having(name, &["lan"], json!([entry("web", json!({}))]));
    world.apply(web("www")).expect("the first");
    world.reconcile();
    world.report("a");
    world
        .apply(having("www", &["lan"], json!([])))
        .expect("it gives it up");
    refused(
        &mut world,
        web("other"),
        "spec.publicAddresses[0]",
        &["has given it up, but its host has not confirmed that yet"],
    );
    world.report("a");
    world.apply(web("other")).expect("it is free");
}

#[test]
fn what_a_jail_sends_has_one_source() {
    let mut world = world();
    let two = json!([
        entry("web", json!({})),
        entry("mail", json!({ "ports": [25] }))
    ]);
    refused(
        &mut world,
        having("www", &["lan"], two),
        "spec.publicAddresses[1].address",
        &["has the public address of spec.publicAddresses[0] already (203.0.113.2)"],
    );
    // Another family, another uplink and another network each have their own.
    let several = json!([
        entry("web", json!({})),
        entry("web6", json!({})),
        entry("other", json!({ "uplink": "second" })),
        entry("mail", json!({ "network": "dmz" })),
    ]);
    world
        .apply(having("www", &["lan", "dmz"], several))
        .expect("four ways out");
    // Ports of one address may stand apart.
    let ports = json!([
        entry("main", json!({ "ports": [53] })),
        entry(
            "main",
            json!({ "name": "udp", "ports": [53], "protocol": "udp" })
        ),
    ]);
    world
        .apply(having("dns", &["lan"], ports))
        .expect("one address");
}

#[test]
fn a_public_address_leads_to_an_address_of_its_family() {
    let mut world = world();
    refused(
        &mut world,
        having("www", &["four"], json!([entry("web6", json!({}))])),
        "spec.publicAddresses[0].address",
        &["no address of the family of 2001:db8::2"],
    );
    refused(
        &mut world,
        having(
            "www",
            &["lan", "four"],
            json!([entry("web6", json!({ "network": "four" }))]),
        ),
        "spec.publicAddresses[0].address",
        &["on network four"],
    );
    world
        .apply(having(
            "www",
            &["four", "lan"],
            json!([entry("web6", json!({}))]),
        ))
        .expect("the second network has one");
}

#[test]
fn no_public_address_is_open_where_a_port_of_it_is_closed() {
    let mut world = world();
    let web = having("www", &["lan"], json!([entry("web", json!({}))]));
    world.apply(web.clone()).expect("a jail");
    let mut closed = host("a");
    closed["spec"]["uplinks"]["external"]["publicAddresses"] =
        json!({ "main": "203.0.113.1", "web": "203.0.113.2" });
    closed["spec"]["uplinks"]["external"]["block"] = json!([{ "name": "nfs", "ports": [111] }]);
    refused(
        &mut world,
        closed.clone(),
        "spec.uplinks",
        &[
            "public address 203.0.113.2 of jail www would be open as a whole",
            "block[nfs]",
        ],
    );
    closed["spec"]["uplinks"]["external"]["block"][0]["address"] = json!("main");
    world.apply(closed).expect("another address");
    refused(
        &mut world,
        having("other", &["lan"], json!([entry("main", json!({}))])),
        "spec.publicAddresses",
        &["block[nfs]"],
    );
    let some = json!([entry("main", json!({ "ports": [80] }))]);
    world
        .apply(having("other", &["lan"], some))
        .expect("another port");
}
