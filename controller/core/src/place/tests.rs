//! Which host is taken, and why not another.

use serde_json::json;

use crate::testing::{World, bridge, host, jail};

fn placed(world: &World, name: &str) -> Option<String> {
    world.binding(name).map(|binding| binding.host.clone())
}

#[test]
fn the_fewest_jails_win_then_the_name() {
    let mut world = World::with_hosts(&["b", "a"]);
    for (name, expected) in [("j0", "a"), ("j1", "b"), ("j2", "a")] {
        world.apply(jail(name, &[], json!({}))).expect("a jail");
        assert_eq!(placed(&world, name).as_deref(), Some(expected));
    }
    // A jail that waits for a host counts as that host's.
    world
        .apply(jail("pending", &["missing"], json!({"host": "b"})))
        .expect("a jail");
    world.apply(jail("j3", &[], json!({}))).expect("a jail");
    assert_eq!(placed(&world, "j3").as_deref(), Some("a"));
}

#[test]
fn cordons_taints_selectors_and_uplinks_keep_a_jail_away_and_are_named() {
    let mut world = World::with_hosts(&["e"]);
    let mut cordoned = host("a");
    cordoned["spec"]["unschedulable"] = json!(true);
    let mut tainted = host("b");
    tainted["spec"]["taints"] = json!([{"key": "quiet", "effect": "NoSchedule"}]);
    let mut other = host("c");
    other["metadata"]["labels"]["zone"] = json!("z");
    let mut bare = host("d");
    bare["spec"]["uplinks"] = json!({});
    for document in [cordoned, tainted, other, bare] {
        world.apply(document).expect("a host");
    }
    let publish = json!([{"name": "web", "ports": [80], "uplink": "external"}]);
    let mut lan = bridge("lan");
    lan["spec"]["hostSelector"] =
        json!({"matchExpressions": [{"key": "host", "operator": "NotIn", "values": ["e"]}]});
    world.apply(lan).expect("a network");
    let selector = json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]});
    world
        .apply(jail(
            "www",
            &["lan"],
            json!({"hostSelector": selector, "publish": publish}),
        ))
        .expect("a jail");
    let (_, reason, message) = world.scheduled("www");
    assert_eq!(reason, "NoHostFits");
    for part in [
        "a: is cordoned",
        "b: has the taint quiet",
        "c: does not match the jail's hostSelector",
        "d: has no uplink `external`",
        "e: network lan does not exist there",
    ] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
}

#[test]
fn tolerations_let_a_jail_in_and_avoided_hosts_come_last() {
    let mut world = World::with_hosts(&["b"]);
    let mut avoided = host("a");
    avoided["spec"]["taints"] = json!([{"key": "old", "effect": "PreferNoSchedule"}]);
    world.apply(avoided.clone()).expect("a host");
    for name in ["j0", "j1"] {
        world.apply(jail(name, &[], json!({}))).expect("a jail");
        assert_eq!(placed(&world, name).as_deref(), Some("b"));
    }
    avoided["spec"]["taints"][0]["effect"] = json!("NoSchedule");
    world.apply(avoided).expect("a host");
    world
        .apply(jail(
            "tolerant",
            &[],
            json!({"tolerations": [{"key": "old"}]}),
        ))
        .expect("a jail");
    assert_eq!(placed(&world, "tolerant").as_deref(), Some("a"));
}

#[test]
fn naming_a_host_is_the_operators_word_even_if_it_is_cordoned() {
    let mut world = World::new();
    let mut cordoned = host("a");
    cordoned["spec"]["unschedulable"] = json!(true);
    world.apply(cordoned).expect("a host");
    world
        .apply(jail("www", &[], json!({"host": "a"})))
        .expect("a jail");
    assert_eq!(placed(&world, "www").as_deref(), Some("a"));
}

#[test]
fn a_jail_goes_where_its_ports_are_free() {
    let mut world = World::with_hosts(&["a", "b"]);
    let publish = json!([{"name": "web", "ports": [80], "uplink": "external"}]);
    world.apply(bridge("lan")).expect("a network");
    world
        .apply(jail("busy", &[], json!({"host": "b"})))
        .expect("a jail");
    for (name, expected) in [("w0", Some("a")), ("w1", Some("b")), ("w2", None)] {
        world
            .apply(jail(name, &["lan"], json!({"publish": publish})))
            .expect("a jail");
        assert_eq!(placed(&world, name).as_deref(), expected, "{name}");
    }
    let (_, _, message) = world.scheduled("w2");
    assert!(
        message.contains("taken by jail w0") && message.contains("taken by jail w1"),
        "{message}"
    );
}
