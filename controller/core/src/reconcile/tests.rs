//! What is done without being asked.

use cellblock_schemas::{ConditionStatus, Kind};
use serde_json::json;

use super::{Item, due};
use crate::conditions;
use crate::index::Session;
use crate::testing::{World, bridge, host, jail};
use crate::write::Write;

fn heard(world: &World, name: &str) -> (ConditionStatus, String) {
    let status = world
        .index
        .host(name)
        .and_then(|host| host.status.clone())
        .expect("a status");
    let condition = conditions::find(&status.conditions, conditions::HEARD).expect("the condition");
    (condition.status, condition.reason.clone())
}

#[test]
fn whether_a_host_is_heard_follows_its_session() {
    let mut world = World::with_hosts(&["a"]);
    world.reconcile();
    assert_eq!(
        heard(&world, "a"),
        (ConditionStatus::False, "NeverHeard".to_owned())
    );
    let session = Session {
        key_fingerprint: "key".to_owned(),
        address: "192.0.2.1:1".to_owned(),
        controller: "one".to_owned(),
    };
    let key = world.index.keys().session("a");
    let mut write = Write::default();
    write.put(key.clone(), serde_json::to_vec(&session).expect("JSON"));
    world.commit(&write);
    world.reconcile();
    world.report("a");
    assert_eq!(heard(&world, "a").0, ConditionStatus::True);
    let mut write = Write::default();
    write.delete(key);
    world.commit(&write);
    world.reconcile();
    assert_eq!(
        heard(&world, "a"),
        (ConditionStatus::False, "SessionLost".to_owned())
    );
    assert_eq!(due(&world.index), []);
}

#[test]
fn a_network_counts_its_jails() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    for name in ["one", "two"] {
        world
            .apply(jail(name, &["lan"], json!({})))
            .expect("a jail");
    }
    assert!(due(&world.index).contains(&Item::Attached("lan".to_owned())));
    world.reconcile();
    let status = world
        .index
        .network("lan")
        .and_then(|network| network.status.clone());
    assert_eq!(status.expect("a status").jails, 2);
}

#[test]
fn ports_follow_their_hosts_public_address() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    let publish = json!([{"name": "web", "ports": [80], "uplink": "external"}]);
    world
        .apply(jail("www", &["lan"], json!({"publish": publish})))
        .expect("a jail");
    let mut moved = host("a");
    moved["spec"]["uplinks"]["external"]["publicAddresses"]["main"] = json!("203.0.113.9");
    world.apply(moved).expect("a host");
    assert_eq!(
        due(&world.index).first(),
        Some(&Item::Unsettled("www".to_owned()))
    );
    world.reconcile();
    let uid = &world.jail("www").metadata.uid;
    let held: Vec<_> = world
        .index
        .claims()
        .of(uid)
        .map(|(resource, claim)| (resource.to_string(), claim.retired.is_some()))
        .collect();
    assert!(
        held.contains(&("tcp port 80 of 203.0.113.9".to_owned(), false)),
        "{held:?}"
    );
    // The agent may still have the old one.
    assert!(
        held.contains(&("tcp port 80 of 203.0.113.1".to_owned(), true)),
        "{held:?}"
    );
}

#[test]
fn a_host_update_that_makes_two_jails_publish_one_port_is_refused() {
    let mut world = World::new();
    let mut two = host("a");
    two["spec"]["uplinks"]["external"]["publicAddresses"] =
        json!({"main": "203.0.113.1", "web": "203.0.113.2"});
    world.apply(two.clone()).expect("a host");
    world.apply(bridge("lan")).expect("a network");
    for (name, address) in [("one", "main"), ("two", "web")] {
        let publish =
            json!([{"name": "web", "ports": [80], "uplink": "external", "address": address}]);
        world
            .apply(jail(name, &["lan"], json!({"publish": publish})))
            .expect("a jail");
    }
    two["spec"]["uplinks"]["external"]["publicAddresses"]["web"] = json!("203.0.113.1");
    let rejection = world
        .apply(two)
        .expect_err("both publish port 80 of one address");
    let text = rejection.to_string();
    assert!(text.contains("one") && text.contains("two"), "{text}");
}

#[test]
fn a_jail_that_was_never_bound_goes_whatever_finalizer_it_was_given() {
    let mut world = World::new();
    let mut document = jail("www", &[], json!({}));
    document["metadata"]["finalizers"] = json!([crate::bind::FINALIZER]);
    world.apply(document).expect("a jail");
    world.delete(Kind::Jail, "www").expect("accepted");
    world.reconcile();
    assert!(world.index.jail("www").is_none());
}
