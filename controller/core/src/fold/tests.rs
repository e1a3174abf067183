//! What a report changes and what it does not.

use cellblock_schemas::report::JailReport;
use cellblock_schemas::{Condition, ConditionStatus, Generation, HostReport, Kind, Uid};
use serde_json::json;

use super::fold_report;
use crate::conditions;
use crate::testing::{World, bridge, jail};

fn ready(status: ConditionStatus, message: &str) -> Condition {
    conditions::new("Ready", status, "Observed", message, Generation(1))
}

fn about(world: &World, name: &str, conditions: Vec<Condition>, gone: bool) -> HostReport {
    HostReport {
        jails: vec![JailReport {
            uid: world.jail(name).metadata.uid.clone(),
            observed_generation: Generation(1),
            phase: "Running".to_owned(),
            jid: Some(7),
            interfaces: Vec::new(),
            conditions,
            gone,
        }],
        ..HostReport::default()
    }
}

fn fold(world: &mut World, host: &str, report: &HostReport) -> usize {
    let now = world.now().timestamp;
    let writes = fold_report(&world.index, host, report, now);
    for write in &writes {
        assert!(world.commit(write));
    }
    writes.len()
}

fn condition(world: &World, name: &str, kind: &str) -> Condition {
    let status = world.jail(name).status.as_ref().expect("a status");
    conditions::find(&status.conditions, kind)
        .expect("the condition")
        .clone()
}

#[test]
fn transition_times_move_only_with_the_status_and_repetition_writes_nothing() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(jail("www", &[], json!({}))).expect("a jail");
    let waits = about(
        &world,
        "www",
        vec![ready(ConditionStatus::False, "starts")],
        false,
    );
    assert_eq!(fold(&mut world, "a", &waits), 2);
    let first = condition(&world, "www", "Ready").last_transition_time;
    assert_eq!(fold(&mut world, "a", &waits), 0);
    let still = about(
        &world,
        "www",
        vec![ready(ConditionStatus::False, "starts still")],
        false,
    );
    assert_eq!(fold(&mut world, "a", &still), 1);
    assert_eq!(
        condition(&world, "www", "Ready").last_transition_time,
        first
    );
    let runs = about(&world, "www", vec![ready(ConditionStatus::True, "")], false);
    fold(&mut world, "a", &runs);
    assert_ne!(
        condition(&world, "www", "Ready").last_transition_time,
        first
    );
    let host = world
        .index
        .host("a")
        .and_then(|host| host.status.clone())
        .expect("a status");
    assert_eq!((host.jails.bound, host.jails.ready), (1, 1));
}

#[test]
fn the_controllers_own_conditions_are_not_the_agents_to_report() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(jail("www", &[], json!({}))).expect("a jail");
    let forged = conditions::new(
        conditions::SCHEDULED,
        ConditionStatus::False,
        "Forged",
        "",
        Generation(1),
    );
    let report = about(
        &world,
        "www",
        vec![forged, ready(ConditionStatus::True, "")],
        false,
    );
    fold(&mut world, "a", &report);
    assert_eq!(
        condition(&world, "www", conditions::SCHEDULED).reason,
        conditions::REASON_BOUND
    );
    // A condition that the agent reports no more goes; the controller's stays.
    let report = about(&world, "www", Vec::new(), false);
    fold(&mut world, "a", &report);
    assert_eq!(
        world
            .jail("www")
            .status
            .as_ref()
            .expect("a status")
            .conditions
            .len(),
        1
    );
}

#[test]
fn a_host_speaks_only_for_its_own_jails_and_gone_only_for_deleted_ones() {
    let mut world = World::with_hosts(&["a", "b"]);
    world
        .apply(jail("www", &[], json!({"host": "a"})))
        .expect("a jail");
    let report = about(&world, "www", vec![ready(ConditionStatus::True, "")], true);
    fold(&mut world, "b", &report);
    assert_eq!(
        world.jail("www").status.as_ref().expect("a status").phase,
        "Pending"
    );
    fold(&mut world, "a", &report);
    assert!(
        world
            .index
            .jail("www")
            .is_some_and(|jail| jail.binding().is_some())
    );
    world.delete(Kind::Jail, "www").expect("accepted");
    fold(&mut world, "b", &report);
    assert!(world.index.jail("www").is_some());
    fold(&mut world, "a", &report);
    assert!(world.index.jail("www").is_none());
}

#[test]
fn somebody_elses_finalizer_keeps_the_object_but_not_its_addresses() {
    let mut world = World::with_hosts(&["a"]);
    let mut document = jail("www", &[], json!({}));
    document["metadata"]["finalizers"] = json!(["example.org/backup"]);
    world.apply(document).expect("a jail");
    world.delete(Kind::Jail, "www").expect("accepted");
    let report = about(&world, "www", Vec::new(), true);
    fold(&mut world, "a", &report);
    let left = world.jail("www");
    assert_eq!(left.metadata.finalizers, ["example.org/backup"]);
    assert_eq!(left.binding(), None);
    assert!(world.index.claims().is_empty());
}

#[test]
fn a_report_about_nobody_is_passed_over() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(jail("www", &[], json!({}))).expect("a jail");
    let mut report = about(&world, "www", Vec::new(), false);
    report.jails[0].uid = Uid("unknown".to_owned());
    fold(&mut world, "a", &report);
    assert_eq!(fold(&mut world, "nobody", &report), 0);
}

#[test]
fn a_port_that_was_given_up_is_free_only_when_the_whole_jail_is_as_it_shall_be() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    let publish = |ports: serde_json::Value| {
        let publish = json!({ "name": "web", "uplink": "external", "ports": ports });
        jail("www", &["lan"], json!({ "publish": [publish] }))
    };
    world.apply(publish(json!([80]))).expect("a jail");
    world.apply(publish(json!([443]))).expect("a change");
    let generation = world.jail("www").metadata.generation;
    let said =
        |kind: &str| conditions::new(kind, ConditionStatus::True, "Observed", "", generation);
    let uid = world.jail("www").metadata.uid.clone();
    let claims = world.index.claims().of(&uid).count();
    let report = about(&world, "www", vec![said("NetworkReady")], false);
    fold(&mut world, "a", &report);
    assert_eq!(world.index.claims().of(&uid).count(), claims);
    let report = about(
        &world,
        "www",
        vec![said("NetworkReady"), said("Ready")],
        false,
    );
    fold(&mut world, "a", &report);
    assert_eq!(world.index.claims().of(&uid).count(), claims - 1);
}

#[test]
fn an_address_that_was_given_up_is_free_only_when_the_jail_is_as_it_shall_be() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    world
        .apply(bridge("back"))
        .expect_err("its subnet is taken");
    let addresses = |addresses: serde_json::Value| {
        let lan = json!({ "network": "lan", "interface": "lan0", "addresses": addresses });
        jail("www", &[], json!({ "networks": [lan] }))
    };
    let two = json!(["10.30.0.5", "10.30.0.6"]);
    world.apply(addresses(two)).expect("a jail");
    world
        .apply(addresses(json!(["10.30.0.5"])))
        .expect("a change");
    let generation = world.jail("www").metadata.generation;
    let uid = world.jail("www").metadata.uid.clone();
    let claims = world.index.claims().of(&uid).count();
    let said = |kind: &str, status| conditions::new(kind, status, "Observed", "", generation);
    // The new address is there; the jail waits for the restart that takes the other from it.
    let waits = vec![
        said("NetworkReady", ConditionStatus::True),
        said("Ready", ConditionStatus::False),
    ];
    let report = about(&world, "www", waits, false);
    fold(&mut world, "a", &report);
    assert_eq!(world.index.claims().of(&uid).count(), claims);
    let ready = vec![said("Ready", ConditionStatus::True)];
    let report = about(&world, "www", ready, false);
    fold(&mut world, "a", &report);
    assert_eq!(world.index.claims().of(&uid).count(), claims - 1);
}
