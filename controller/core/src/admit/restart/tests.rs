//! Whoever applies is told of a restart, field by field, and of nothing else.

use cellblock_schemas::Kind;
use serde_json::json;

use crate::testing::{World, bridge, jail, shared};

fn running() -> World {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    world
        .apply(jail("www", &["lan"], json!({})))
        .expect("a jail");
    world
}

fn warned(world: &mut World, document: serde_json::Value) -> Vec<String> {
    let admitted = world.apply(document).expect("admitted");
    admitted
        .warnings
        .iter()
        .map(ToString::to_string)
        .filter(|warning| warning.contains("this restarts"))
        .collect()
}

#[test]
fn a_change_that_restarts_names_its_fields() {
    let mut world = running();
    let changed =
        json!({"parameters": {"exec.start": "/bin/sh /etc/rc"}, "root": {"path": "/elsewhere"}});
    let warnings = warned(&mut world, jail("www", &["lan"], changed.clone()));
    assert_eq!(
        warnings,
        [
            "spec.root.path: this restarts the jail: it is stopped and started again on a",
            "spec.parameters[exec.start]: this restarts the jail: it is stopped and started again on a",
        ]
    );
    assert_eq!(warned(&mut world, jail("www", &["lan"], changed)), [""; 0]);
}

#[test]
fn a_live_change_and_a_waiting_one_are_told_too() {
    let mut world = running();
    let told = |world: &mut World, spec: serde_json::Value| {
        let admitted = world.apply(jail("www", &["lan"], spec)).expect("admitted");
        let warnings = admitted.warnings.iter().map(ToString::to_string);
        warnings.collect::<Vec<_>>()
    };
    let live = json!({"parameters": {"allow.chflags": true}});
    assert_eq!(
        told(&mut world, live),
        ["spec.parameters[allow.chflags]: this is live: it is changed in the running jail on a"]
    );
    let waits = json!({"restartPolicy": "Never", "parameters": {"exec.start": "/bin/true"}});
    assert_eq!(
        told(&mut world, waits.clone()),
        [
            "spec.parameters[allow.chflags]: this comes with the restart that another field needs",
            "spec.parameters[exec.start]: this needs a restart on a, and spec.restartPolicy is Never: it waits for `jailctl restart jail www`",
        ]
    );
    let mut word = waits;
    word["restart"] = json!("now");
    assert_eq!(
        told(&mut world, word),
        ["spec.restart: this restarts the jail: it is stopped and started again on a"]
    );
}

#[test]
fn a_securelevel_may_be_lowered_with_a_warning() {
    let mut world = running();
    let level = |level: i64| {
        jail(
            "www",
            &["lan"],
            json!({"parameters": {"securelevel": level}}),
        )
    };
    world.apply(level(2)).expect("admitted");
    let admitted = world.apply(level(1)).expect("admitted");
    assert!(
        admitted.warnings[0].to_string().contains("it is lowered"),
        "{:?}",
        admitted.warnings
    );
}

#[test]
fn what_a_jail_holds_by_a_permission_stays_when_it_is_taken_away() {
    let mut world = running();
    let with = |parameters| jail("www", &["lan"], json!({"parameters": parameters}));
    let mut taken = |parameters| {
        let admitted = world.apply(with(parameters)).expect("admitted");
        let told = admitted.warnings.iter().map(ToString::to_string);
        told.filter(|told| told.contains("stays until")).count()
    };
    let given = json!({"allow.raw_sockets": true, "allow.reserved_ports": true, "children.max": 3});
    assert_eq!(taken(given), 0);
    let less = json!({"allow.raw_sockets": false, "children.max": 2});
    assert_eq!(taken(less), 2);
    // What a new jail has it has again.
    let fewer =
        json!({"allow.raw_sockets": false, "allow.reserved_ports": false, "children.max": 2});
    assert_eq!(taken(fewer), 1);
    let back = json!({"allow.raw_sockets": false, "children.max": 2});
    assert_eq!(taken(back), 0);
}

#[test]
fn ports_labels_and_stopping_restart_nothing() {
    let mut world = running();
    let ports = json!({"publish": [{"name": "web", "ports": [80], "uplink": "external"}]});
    assert_eq!(warned(&mut world, jail("www", &["lan"], ports)), [""; 0]);
    let stopped = json!({"runPolicy": "Stopped", "parameters": {"securelevel": 2}});
    assert_eq!(warned(&mut world, jail("www", &["lan"], stopped)), [""; 0]);
    let new = json!({"parameters": {"securelevel": 2}});
    assert_eq!(warned(&mut world, jail("new", &["lan"], new)), [""; 0]);
}

#[test]
fn a_networks_new_gateway_names_the_jails() {
    let mut world = running();
    let mut network = world
        .index
        .get(Kind::Network, "lan")
        .expect("it is there")
        .document();
    network["spec"]["subnets"][0]["gateway"] = json!({"address": "10.30.0.254"});
    network["metadata"] = json!({"name": "lan"});
    let warnings = warned(&mut world, network);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("spec.subnets: this restarts jail www:"),
        "{warnings:?}"
    );
}

#[test]
fn a_networks_new_routing_table_names_the_jails_without_one_of_their_own() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(shared("nic")).expect("a network");
    let own = json!({"parameters": {"exec.fib": 3}});
    for (name, spec) in [("www", json!({})), ("db", own)] {
        world.apply(jail(name, &["nic"], spec)).expect("a jail");
    }
    let mut network = shared("nic");
    network["spec"]["fib"] = json!(1);
    assert_eq!(
        warned(&mut world, network.clone()),
        [
            "spec.fib: this restarts jail www: it is the routing table of a jail's processes, which is set when it starts"
        ]
    );
    // Its gateway is a route of the host, which is changed while the jails run.
    network["spec"]["subnets"][0]["gateway"] = json!({"address": "192.0.2.14"});
    assert_eq!(warned(&mut world, network), [""; 0]);
}

#[test]
fn an_address_of_a_subnet_that_a_network_has_now_is_told_with_the_restart_that_it_needs() {
    let mut world = running();
    let given = json!({"networks": [{"network": "lan", "addresses": ["10.30.0.77"]}]});
    world
        .apply(jail("db", &["lan"], given.clone()))
        .expect("a jail");
    let mut network = world
        .index
        .get(Kind::Network, "lan")
        .expect("it is there")
        .document();
    let subnets = network["spec"]["subnets"].as_array_mut().expect("subnets");
    subnets.push(json!({"cidr": "10.31.0.0/24"}));
    network["metadata"] = json!({"name": "lan"});
    assert_eq!(warned(&mut world, network), [""; 0]);
    let warnings = warned(&mut world, jail("www", &["lan"], json!({})));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with(
            "spec.networks[0]: this restarts the jail: by what network lan says now it has 10.30.0."
        ),
        "{warnings:?}"
    );
    assert!(warnings[0].contains(", 10.31.0."), "{warnings:?}");
    assert_eq!(
        warned(&mut world, jail("www", &["lan"], json!({}))),
        [""; 0]
    );
    assert_eq!(warned(&mut world, jail("db", &["lan"], given)), [""; 0]);
}
