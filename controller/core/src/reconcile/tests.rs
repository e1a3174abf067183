//! What is done without being asked.

use cellblock_schemas::{ConditionStatus, Kind};
use serde_json::json;

use super::{Item, due};
use crate::conditions;
use crate::testing::{World, bridge, host, jail};

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
    let mut world = World::new();
    world.apply(host("a")).expect("a host");
    world.reconcile();
    assert_eq!(
        heard(&world, "a"),
        (ConditionStatus::False, "NeverHeard".to_owned())
    );
    world.hear("a");
    world.report("a");
    assert_eq!(heard(&world, "a").0, ConditionStatus::True);
    world.lose("a");
    assert_eq!(
        heard(&world, "a"),
        (ConditionStatus::False, "SessionLost".to_owned())
    );
    assert_eq!(due(&world.index, jiff::Timestamp::UNIX_EPOCH), []);
}

#[test]
fn nobody_takes_the_last_word_of_a_lost_host_for_how_it_is_now() {
    let mut world = World::with_hosts(&["a"]);
    let ready = |world: &World| {
        let status = world.index.host("a").and_then(|host| host.status.clone());
        let conditions = status.expect("a status").conditions;
        conditions::find(&conditions, conditions::READY).map(|ready| ready.status)
    };
    let mut report = cellblock_schemas::HostReport::default();
    report.conditions.push(conditions::new(
        conditions::READY,
        ConditionStatus::True,
        "Converged",
        "",
        cellblock_schemas::Generation(1),
    ));
    let now = world.now().timestamp;
    for write in crate::fold_report(&world.index, "a", &report, now) {
        assert!(world.commit(&write));
    }
    assert_eq!(ready(&world), Some(ConditionStatus::True));
    world.lose("a");
    assert_eq!(ready(&world), Some(ConditionStatus::Unknown));
    for write in crate::fold_report(&world.index, "a", &report, now) {
        assert!(world.commit(&write));
    }
    assert_eq!(ready(&world), Some(ConditionStatus::True));
}

fn network_ready(world: &World, name: &str) -> (ConditionStatus, String, String) {
    let network = world.index.network(name).expect("there");
    let status = network.status.as_ref().expect("a status");
    let ready = conditions::find(&status.conditions, conditions::READY).expect("a condition");
    (ready.status, ready.reason.clone(), ready.message.clone())
}

#[test]
fn a_network_is_ready_when_every_host_that_has_jails_of_it_says_so() {
    let mut world = World::with_hosts(&["a", "b"]);
    world.apply(bridge("lan")).expect("a network");
    world.reconcile();
    assert_eq!(network_ready(&world, "lan").0, ConditionStatus::True);
    assert_eq!(network_ready(&world, "lan").1, "Unused");
    for (name, host) in [("one", "a"), ("two", "b")] {
        world
            .apply(jail(name, &["lan"], json!({"host": host})))
            .expect("a jail");
    }
    assert!(
        due(&world.index, jiff::Timestamp::UNIX_EPOCH).contains(&Item::Network("lan".to_owned()))
    );
    world.reconcile();
    let (status, reason, message) = network_ready(&world, "lan");
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "Progressing")
    );
    assert_eq!(
        message,
        "a has not reported it yet; b has not reported it yet"
    );
    world.report("a");
    world.reconcile();
    assert_eq!(network_ready(&world, "lan").2, "b has not reported it yet");
    world.report("b");
    world.reconcile();
    let (status, reason, message) = network_ready(&world, "lan");
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::True, "Realised")
    );
    assert_eq!(message, "as it shall be on a; b");
    let network = world.index.network("lan").expect("there");
    let counted = network.status.clone().expect("a status");
    assert_eq!(
        (counted.jails, counted.hosts.bound, counted.hosts.ready),
        (2, 2, 2)
    );
    // What was said of the spec before says nothing of this one.
    let mut changed = bridge("lan");
    changed["spec"]["bridge"] = json!({"privateMembers": true});
    world.apply(changed).expect("a network");
    world.reconcile();
    assert_eq!(network_ready(&world, "lan").0, ConditionStatus::False);
    world.restart();
    assert_eq!(due(&world.index, jiff::Timestamp::UNIX_EPOCH), []);
}

#[test]
fn a_network_says_where_it_is_not_ready_and_why() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    world
        .apply(jail("one", &["lan"], json!({})))
        .expect("a jail");
    let view = crate::host_view(&world.index, "a").expect("there");
    let report = cellblock_schemas::HostReport {
        networks: vec![cellblock_schemas::host::HostNetwork {
            ready: ConditionStatus::False,
            reason: "UplinkMissing".to_owned(),
            message: "no igb7".to_owned(),
            ..crate::testing::realised(&view.networks["lan"])
        }],
        ..cellblock_schemas::HostReport::default()
    };
    let now = world.now().timestamp;
    for write in crate::fold_report(&world.index, "a", &report, now) {
        assert!(world.commit(&write));
    }
    world.reconcile();
    let (status, reason, message) = network_ready(&world, "lan");
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "UplinkMissing")
    );
    assert_eq!(message, "a: UplinkMissing: no igb7");
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
        due(&world.index, jiff::Timestamp::UNIX_EPOCH).first(),
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
    world.hear("a");
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

#[test]
fn conditions_of_every_kind_name_the_generation_that_they_are_about_and_when_they_came_to_be_so() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    let head = |kind: &str, name: &str| json!({"apiVersion": "cellblock.dev/v1alpha1", "kind": kind, "metadata": {"name": name}});
    let mut image = head("Image", "base");
    image["spec"] = json!({"release": {"tarball": "/dist/base.txz", "sha256": "0".repeat(64)}});
    world.apply(image).expect("an image");
    world
        .apply(jail("www", &["lan"], json!({})))
        .expect("a jail");
    let mut set = head("JailSet", "web");
    set["spec"] = json!({"replicas": 1, "template": {"spec": {"root": {"path": "/jails/web"}}}});
    world.apply(set).expect("a set");
    for round in 0..2 {
        world.reconcile();
        world.report("a");
        world.reconcile();
        for kind in Kind::ALL {
            let entry = world.index.list(kind, None).next().expect("there is one");
            let generation = entry.object.metadata().generation;
            let conditions = entry.object.conditions();
            let ready = crate::conditions::find(conditions, crate::conditions::READY);
            // What the agent of this world says of its host has no conditions.
            assert!(
                ready.is_some() || kind == Kind::Host,
                "{kind}: {conditions:?}"
            );
            assert!(!conditions.is_empty(), "{kind} has none");
            for condition in conditions {
                assert_eq!(
                    condition.observed_generation, generation,
                    "{round} {kind}: {condition:?}"
                );
                assert!(
                    condition.last_transition_time.is_some(),
                    "{kind}: {condition:?}"
                );
                assert!(!condition.reason.is_empty(), "{kind}: {condition:?}");
            }
        }
        // The next round is about another generation of the jail.
        world
            .apply(jail(
                "www",
                &["lan"],
                json!({"parameters": {"securelevel": 1}}),
            ))
            .expect("another level");
    }
}
