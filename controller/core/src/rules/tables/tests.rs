use serde_json::{Value, json};

use crate::testing::{World, jail, shared};

/// A network with table 2, by a gateway on a wire of its own.
fn by(name: &str, net: &str, gateway: u8) -> Value {
    let mut network = shared(name);
    network["spec"] = json!({
        "sharedIP": { "uplink": "external" }, "fib": 2,
        "subnets": [{ "cidr": format!("{net}.0/24"), "gateway": { "address": format!("{net}.{gateway}") } }],
    });
    network
}

#[test]
fn one_table_has_one_default_route_on_a_host() {
    let mut world = World::with_hosts(&["a"]);
    for network in [by("one", "10.12.0", 1), by("two", "10.13.0", 1)] {
        world.apply(network).expect("a network");
    }
    world
        .apply(jail("first", &["one"], json!({})))
        .expect("a jail");
    assert_eq!(world.scheduled("first").1, "Bound");
    world
        .apply(jail("second", &["two"], json!({})))
        .expect("it waits for a host");
    let (_, reason, message) = world.scheduled("second");
    assert_eq!(reason, "NoHostFits");
    let why = "network two: table 2 cannot lead by 10.13.0.1: network one has it lead by 10.12.0.1";
    assert!(message.contains(why), "{message}");
    // A network without a gateway leads nowhere.
    let mut without = by("two", "10.13.0", 1);
    without["spec"]["subnets"][0]
        .as_object_mut()
        .expect("a subnet")
        .remove("gateway");
    world.apply(without).expect("without a gateway");
    world.reconcile();
    assert_eq!(world.scheduled("second").1, "Bound");
    let refused = world
        .apply(by("two", "10.13.0", 1))
        .expect_err("both are there now");
    assert_eq!(refused.violations[0].field, "spec.subnets");
    assert!(refused.violations[0].message.contains("host a"));
}
