//! Routing tables of networks of their own.

use cellblock_schemas::Kind;
use cellblock_schemas::network::Fib;
use serde_json::{Value, json};

use crate::claim::Resource;
use crate::testing::{World, jail, shared};

fn network(name: &str, octet: u8, fib: &Value) -> Value {
    let mut network = shared(name);
    network["spec"] = json!({
        "sharedIP": {"uplink": "external"},
        "subnets": [{"cidr": format!("10.{octet}.0.0/24"), "gateway": {"address": format!("10.{octet}.0.1")}}],
    });
    network["spec"]["fib"] = fib.clone();
    network
}

fn auto(name: &str, octet: u8) -> Value {
    network(name, octet, &json!("auto"))
}

fn fib(world: &World, name: &str) -> Option<u16> {
    let network = world.index.network(name).expect("it is there");
    network.status.as_ref().and_then(|status| status.fib)
}

fn by(name: &str, number: u16) -> Value {
    jail(
        name,
        &[],
        json!({"host": "a", "parameters": {"exec.fib": number}}),
    )
}

#[track_caller]
fn refused(world: &mut World, document: Value, field: &str, word: &str) {
    let refusal = world.apply(document).expect_err("it is refused");
    let found = &refusal.violations[0];
    assert_eq!(found.field, field);
    assert!(found.message.contains(word), "{refusal}");
}

#[test]
fn each_has_the_lowest_number_that_nobody_has_or_names() {
    let mut world = World::with_hosts(&["a"]);
    world
        .apply(network("shared", 10, &json!(2)))
        .expect("a network");
    world.apply(by("router", 3)).expect("a jail");
    for (name, octet, number) in [("one", 11, 1), ("two", 12, 4), ("three", 13, 5)] {
        world.apply(auto(name, octet)).expect("a network");
        assert_eq!(fib(&world, name), Some(number), "{name}");
    }
    world
        .apply(jail("www", &["two"], json!({"host": "a"})))
        .expect("a jail");
    let view = crate::host_view(&world.index, "a").expect("a host");
    assert_eq!(view.networks["two"].spec.fib, Some(Fib::Number(4)));
    let again = world.apply(auto("two", 12)).expect("it is the same");
    assert_eq!(again.write, None);
    world.delete(Kind::Network, "one").expect("nobody is on it");
    world.reconcile();
    world.apply(auto("four", 14)).expect("a network");
    assert_eq!(fib(&world, "four"), Some(1));
}

#[test]
fn what_is_one_networks_own_nobody_names() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(auto("own", 11)).expect("a network");
    let set = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "JailSet", "metadata": {"name": "web"},
        "spec": {"replicas": 1, "template": {"spec": {"root": {"path": "/jails/web"}, "parameters": {"exec.fib": 1}}}},
    });
    refused(
        &mut world,
        network("other", 12, &json!(1)),
        "spec.fib",
        "network own's own",
    );
    refused(
        &mut world,
        by("www", 1),
        "spec.parameters[exec.fib]",
        "network own's own",
    );
    refused(
        &mut world,
        set,
        "spec.template.spec.parameters[exec.fib]",
        "network own's own",
    );
    world
        .apply(network("other", 12, &json!(2)))
        .expect("a network");
    refused(
        &mut world,
        network("other", 12, &json!(1)),
        "spec.fib",
        "network own's own",
    );
    // Its own number it may come to name: then it is nobody's own.
    world
        .apply(network("own", 11, &json!(1)))
        .expect("a change");
    assert_eq!(fib(&world, "own"), None);
    world
        .apply(network("other", 12, &json!(1)))
        .expect("nobody's own");
}

#[test]
fn it_is_given_back_when_nobody_runs_by_it() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(auto("own", 11)).expect("a network");
    world
        .apply(jail("www", &["own"], json!({"host": "a"})))
        .expect("a jail");
    world
        .apply(network("own", 11, &json!(7)))
        .expect("a change");
    world.reconcile();
    let claim = world.index.claims().get(&Resource::Fib(1));
    assert!(
        claim.is_some_and(|claim| claim.retired.is_some()),
        "its jail may run by it"
    );
    refused(
        &mut world,
        by("router", 1),
        "spec.parameters[exec.fib]",
        "gave it up",
    );
    world.apply(auto("next", 12)).expect("a network");
    assert_eq!(fib(&world, "next"), Some(2));
    world.apply(auto("own", 11)).expect("it wants it again");
    assert_eq!(fib(&world, "own"), Some(1));
    world
        .apply(network("own", 11, &json!(7)))
        .expect("a change");
    world
        .apply(jail("www", &[], json!({"host": "a"})))
        .expect("it leaves");
    world.reconcile();
    assert!(
        world.index.claims().get(&Resource::Fib(1)).is_some(),
        "its host has not said so"
    );
    world.report("a");
    world.reconcile();
    assert_eq!(world.index.claims().get(&Resource::Fib(1)), None);
    world.apply(by("router", 1)).expect("nobody has it");
}

#[test]
fn there_are_fifteen() {
    let mut world = World::with_hosts(&["a"]);
    for number in Fib::NUMBERS {
        let octet = u8::try_from(number).expect("a small number");
        world
            .apply(auto(&format!("n{number}"), octet))
            .expect("a network");
    }
    refused(&mut world, auto("last", 99), "spec.fib", "1 to 15");
    assert!(world.index.network("last").is_none());
}

#[test]
fn a_host_with_too_few_tables_is_told_by_the_number() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(auto("own", 11)).expect("a network");
    world
        .apply(jail("www", &["own"], json!({"host": "a"})))
        .expect("a jail");
    let tables = |count: u16| {
        let mut host = crate::testing::host("a");
        host["spec"]["fibs"] = json!(count);
        host
    };
    world.apply(tables(2)).expect("a host");
    refused(&mut world, tables(1), "spec.fibs", "needs table 1");
}

#[test]
fn the_number_is_not_a_clients_to_write() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(auto("own", 11)).expect("a network");
    let mut document = world
        .index
        .get(Kind::Network, "own")
        .expect("it")
        .document();
    document["status"]["fib"] = json!(7);
    let request = crate::Request::Update {
        kind: Kind::Network,
        document,
        through: crate::admit::Through::Status,
        manager: "somebody".to_owned(),
    };
    let refusal = world.request(request).expect_err("it is refused");
    assert_eq!(refusal.violations[0].field, "status.fib");
}
