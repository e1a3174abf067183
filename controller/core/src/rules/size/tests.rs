//! What admission accepts fits into the transactions that follow from it: the world of the tests refuses what a store would.

use cellblock_schemas::{ConditionStatus, Kind};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::testing::{World, host, jail};

#[derive(Clone, Copy, Debug)]
enum Mode {
    Bridge,
    Shared,
    Pairs,
}

fn network(number: usize, mode: Mode, dual: bool) -> Value {
    let mut subnets = vec![json!({"cidr": format!("10.{number}.0.0/24")})];
    if dual {
        subnets.push(json!({"cidr": format!("fd00:{number}::/64")}));
    }
    let mut spec = match mode {
        Mode::Bridge => json!({"bridge": {}}),
        Mode::Shared => json!({"sharedIP": {"uplink": "external"}}),
        Mode::Pairs => json!({"routed": {"link": "pointToPoint"}, "scope": "host"}),
    };
    spec["subnets"] = json!(subnets);
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Network",
        "metadata": {"name": format!("n{number:02}")}, "spec": spec,
    })
}

fn on(name: &str, networks: usize, mut spec: Value) -> Value {
    spec["networks"] = (0..networks)
        .map(|number| json!({"network": format!("n{number:02}")}))
        .collect();
    jail(name, &[], spec)
}

fn world(networks: usize, mode: Mode, dual: bool) -> World {
    let mut world = World::with_hosts(&["a"]);
    for number in 0..networks {
        world.apply(network(number, mode, dual)).expect("a network");
    }
    world
}

/// The numbers that docs/reference/limits.md gives.
#[test]
fn what_fits_is_bound_and_one_network_more_is_refused_with_the_limit() {
    for (mode, dual, most) in [
        (Mode::Bridge, false, 39),
        (Mode::Bridge, true, 29),
        (Mode::Shared, false, 59),
    ] {
        let mut world = world(most + 1, mode, dual);
        let refused = world.apply(on("big", most + 1, json!({})));
        let text = refused.expect_err("it never fits").to_string();
        assert!(text.contains("at most 127 fit"), "{text}");
        assert!(text.contains("spec.networks"), "{text}");
        world.apply(on("big", most, json!({}))).expect("it fits");
        world.reconcile();
        let binding = world.binding("big").expect("it is bound");
        assert_eq!(binding.attachments.len(), most);
    }
}

/// Bridges that the host has not had and the jail's own claims are more than one transaction takes.
#[test]
fn the_bridges_come_first_where_all_would_not_fit() {
    let mut world = world(39, Mode::Bridge, false);
    world.apply(on("big", 39, json!({}))).expect("it fits");
    let (status, reason, _) = world.scheduled("big");
    assert_eq!((status, &*reason), (ConditionStatus::False, "BridgesFirst"));
    world.reconcile();
    assert_eq!(world.scheduled("big").1, "Bound");
}

#[test]
fn what_is_seen_to_be_too_much_later_waits_and_says_so_and_others_do_not_wait_for_it() {
    let mut world = World::with_hosts(&["a"]);
    world
        .apply(on("big", 60, json!({})))
        .expect("no network is known");
    world.apply(on("zz", 1, json!({}))).expect("a jail");
    for number in 0..60 {
        let network = network(number, Mode::Bridge, false);
        world.apply(network).expect("a network");
    }
    world.reconcile();
    let (_, reason, message) = world.scheduled("big");
    assert_eq!(reason, "TooManyClaims", "{message}");
    assert!(message.contains("at most 127 fit"), "{message}");
    assert_eq!(world.scheduled("zz").1, "Bound");
}

#[test]
fn a_jail_that_is_bound_may_still_be_changed_and_grows_in_steps() {
    let mut world = world(50, Mode::Bridge, false);
    for networks in [30, 50] {
        world.apply(on("big", networks, json!({}))).expect("a step");
        world.reconcile();
        assert_eq!(world.scheduled("big").1, "Bound");
    }
    let mut labelled = on("big", 50, json!({}));
    labelled["metadata"]["labels"] = json!({"a": "b"});
    world.apply(labelled).expect("it is what it was");
    world.delete(Kind::Jail, "big").expect("accepted");
    world.report("a");
    assert!(world.index.jail("big").is_none());
}

#[test]
fn more_jails_than_can_be_compared_are_not_waited_for() {
    let mut world = World::with_hosts(&["a"]);
    let names = |count: usize| -> Vec<String> { (0..count).map(|one| format!("d{one}")).collect() };
    let refused = world.apply(jail("www", &[], json!({"dependsOn": names(65)})));
    let text = refused.expect_err("too many").to_string();
    assert!(text.contains("spec.dependsOn"), "{text}");
    let waits = json!({"host": "a", "dependsOn": names(64)});
    world.apply(jail("www", &[], waits)).expect("accepted");
    world.reconcile();
    assert_eq!(world.scheduled("www").1, "Bound");
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Bridge), Just(Mode::Shared), Just(Mode::Pairs)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is accepted is stored, by who applies it and by who comes back to it, and so is everything until it is gone; where nothing but networks is
    /// asked for, all of it is given.
    #[test]
    fn what_admission_accepts_fits_into_every_transaction(
        (mode, dual) in (mode(), any::<bool>()),
        (before, after) in (0_usize..64, 1_usize..65),
        known in any::<bool>(),
        dependencies in prop_oneof![Just(0_usize), 0_usize..70],
        ports in prop_oneof![Just(0_usize), 0_usize..34],
        named in any::<bool>(),
    ) {
        let mut world = World::new();
        let networks = before.max(after);
        let everything = |world: &mut World| {
            for number in 0..networks {
                world.apply(network(number, mode, dual)).expect("a network");
            }
            world.apply(host("a")).expect("a host");
            world.hear("a");
        };
        if known {
            everything(&mut world);
        }
        let mut spec = json!({"dependsOn": (0..dependencies).map(|one| format!("d{one}")).collect::<Vec<_>>()});
        if named {
            spec["host"] = json!("a");
        }
        let ports: Vec<usize> = (0..ports).map(|port| 1000 + 2 * port).collect();
        if !ports.is_empty() {
            spec["publish"] = json!([{"name": "web", "ports": ports, "uplink": "external"}]);
        }
        let plain = dependencies == 0 && ports.is_empty();
        for count in [before, after] {
            let accepted = world.apply(on("www", count, spec.clone())).is_ok();
            world.reconcile();
            prop_assert!(!(known && plain && accepted) || world.scheduled("www").1 == "Bound" || before > 0, "{:?}", world.scheduled("www"));
        }
        if !known {
            everything(&mut world);
        }
        world.reconcile();
        if world.index.jail("www").is_some() {
            world.delete(Kind::Jail, "www").expect("accepted");
        }
        world.report("a");
        world.reconcile();
        prop_assert!(world.index.jail("www").is_none());
    }
}
