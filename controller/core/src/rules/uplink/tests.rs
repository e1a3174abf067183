use serde_json::{Value, json};

use super::Hold;
use crate::testing::{World, bridge, host, jail, shared};

/// A network of a mode with an uplink.
fn on(name: &str, mode: &str, uplink: &str, cidr: &str) -> Value {
    let mut network = shared(name);
    network["spec"] = json!({ mode: { "uplink": uplink }, "subnets": [{ "cidr": cidr }] });
    network
}

#[test]
fn what_takes_an_interface_whole_keeps_it_from_others() {
    use Hold::{Addresses, Hooks, Member};
    for hold in [Addresses, Hooks, Member] {
        assert!(hold.excludes(Member).is_some() && Member.excludes(hold).is_some());
        // It is the same from either side.
        for other in [Addresses, Hooks, Member] {
            assert_eq!(hold.excludes(other), other.excludes(hold));
        }
    }
    assert!(Hooks.excludes(Hooks).is_some());
    assert!(Hooks.excludes(Addresses).is_none() && Addresses.excludes(Addresses).is_none());
}

#[test]
fn a_bridge_and_shared_addresses_do_not_share_an_uplink() {
    let mut world = World::new();
    let mut one = host("a");
    one["spec"]["uplinks"]["wire"] = json!({ "interface": "igb1" });
    one["spec"]["uplinks"]["same"] = json!({ "interface": "igb1" });
    world.apply(one.clone()).expect("a host");
    world.hear("a");
    world
        .apply(on("lan", "bridge", "wire", "10.30.0.0/24"))
        .expect("a network");
    let refused = world
        .apply(on("on-the-nic", "sharedIP", "wire", "10.31.0.0/24"))
        .expect_err("a member has no addresses");
    assert_eq!(refused.violations[0].field, "spec.sharedIP.uplink");
    let message = "uplink `wire` is a member of the bridge of network lan wherever both stand on one host: a member of a bridge cannot have addresses";
    assert_eq!(refused.violations[0].message, message);
    // Under another name it is seen where both come together.
    world
        .apply(on("on-the-nic", "sharedIP", "same", "10.31.0.0/24"))
        .expect("a network");
    world
        .apply(jail("one", &["on-the-nic"], json!({})))
        .expect("a jail");
    world
        .apply(jail("two", &["lan"], json!({})))
        .expect("a jail");
    let (_, reason, message) = world.scheduled("two");
    assert_eq!(reason, "NoHostFits");
    let why = "network lan needs igb1 of host a, which has the addresses of network on-the-nic";
    assert!(message.contains(why), "{message}");
    one["spec"]["uplinks"]["wire"] = json!({ "interface": "igb2" });
    world.apply(one.clone()).expect("another NIC");
    world.reconcile();
    assert_eq!(world.scheduled("two").1, "Bound");
    one["spec"]["uplinks"]["wire"] = json!({ "interface": "igb1" });
    let refused = world.apply(one).expect_err("both are there now");
    assert_eq!(refused.violations[0].field, "spec.uplinks");
}

#[test]
fn networks_without_an_uplink_share_nothing() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    for (name, cidr) in [("left", "10.31.0.0/24"), ("right", "10.32.0.0/24")] {
        world
            .apply(on(name, "sharedIP", "external", cidr))
            .expect("both have addresses on one NIC");
    }
}
