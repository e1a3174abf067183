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
fn a_lagg_and_its_vlans_are_ways_of_their_own() {
    let mut world = World::new();
    let mut one = host("a");
    one["spec"]["uplinks"] = json!({
        "external": { "interface": "igb0", "publicAddresses": { "main": "203.0.113.1" } },
        "wan": { "lagg": { "protocol": "failover", "ports": ["igb1", "igb2"] } },
        "office": { "vlan": { "id": 30, "uplink": "wan" } },
    });
    world.apply(one.clone()).expect("a host");
    world.hear("a");
    for (name, mode, uplink, cidr) in [
        ("lan", "bridge", "wan", "10.30.0.0/24"),
        ("staff", "bridge", "office", "10.31.0.0/24"),
    ] {
        world
            .apply(on(name, mode, uplink, cidr))
            .expect("a network");
        let jail = jail(&format!("on-{name}"), &[name], json!({}));
        world.apply(jail).expect("a jail");
        assert_eq!(world.scheduled(&format!("on-{name}")).1, "Bound");
    }
    let refused = world
        .apply(on("more", "sharedIP", "wan", "10.32.0.0/24"))
        .expect_err("a member has no addresses");
    assert_eq!(refused.violations[0].field, "spec.sharedIP.uplink");
    // What jails lean on stays.
    let mut less = one.clone();
    less["spec"]["uplinks"]
        .as_object_mut()
        .expect("uplinks")
        .remove("office");
    let refused = world.apply(less).expect_err("staff has a jail");
    assert_eq!(refused.violations[0].field, "spec.uplinks");
    let message = "network staff has jails on this host and needs uplink `office`";
    assert_eq!(refused.violations[0].message, message);
    // It may become something else.
    one["spec"]["uplinks"]["office"] = json!({ "interface": "igb3" });
    world.apply(one).expect("another way out");
}

#[test]
fn a_netgraph_switch_is_not_put_before_a_vlan() {
    let mut world = World::new();
    let mut one = host("a");
    one["spec"]["uplinks"]["wire"] = json!({ "interface": "igb1" });
    one["spec"]["uplinks"]["same"] = json!({ "interface": "igb1" });
    world.apply(one.clone()).expect("a host");
    world.hear("a");
    world
        .apply(on("graph", "netgraph", "wire", "10.30.0.0/24"))
        .expect("a network");
    world
        .apply(jail("one", &["graph"], json!({})))
        .expect("a jail");
    assert_eq!(world.scheduled("one").1, "Bound");
    one["spec"]["uplinks"]["tagged"] = json!({ "vlan": { "id": 30, "uplink": "same" } });
    let refused = world.apply(one.clone()).expect_err("it would be starved");
    assert_eq!(refused.violations[0].field, "spec.uplinks");
    assert!(refused.violations[0].message.contains("uplink `tagged`"));
    one["spec"]["uplinks"]["same"] = json!({ "interface": "igb2" });
    world.apply(one).expect("another interface");
}

#[test]
fn a_switch_at_a_failover_lagg_is_warned_of_from_either_side() {
    let mut world = World::new();
    let mut one = host("a");
    let lagg = |protocol| json!({ "lagg": { "protocol": protocol, "ports": ["igb1", "igb2"] } });
    one["spec"]["uplinks"]["jails"] = lagg("failover");
    world.apply(one.clone()).expect("a host");
    let warned = world
        .apply(on("graph", "netgraph", "jails", "10.30.0.0/24"))
        .expect("a network")
        .warnings;
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert_eq!(warned[0].field, "spec.netgraph.uplink");
    assert!(warned[0].message.contains("give the jails a second lagg"));
    one["spec"]["uplinks"]["jails"] = lagg("lacp");
    assert_eq!(world.apply(one.clone()).expect("a host").warnings, []);
    one["spec"]["uplinks"]["jails"] = lagg("failover");
    let warned = world.apply(one).expect("a host").warnings;
    assert_eq!(warned.len(), 1);
    assert_eq!(warned[0].field, "spec.uplinks");
    // A bridge is none of this.
    let other = on("lan", "bridge", "jails", "10.31.0.0/24");
    world.apply(other).expect_err("the switch has it");
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

#[test]
fn an_uplink_is_not_scrubbed_where_pf_changes_nothing() {
    let mut world = World::new();
    let mut one = host("a");
    one["spec"]["uplinks"]["wire"] = json!({ "interface": "igb1", "scrub": { "maxMss": 1452 } });
    one["spec"]["uplinks"]["same"] = json!({ "interface": "igb1" });
    world.apply(one.clone()).expect("a host");
    world.hear("a");
    world
        .apply(on("lan", "bridge", "same", "10.30.0.0/24"))
        .expect("a network");
    world
        .apply(jail("one", &["lan"], json!({})))
        .expect("a jail");
    let (_, reason, message) = world.scheduled("one");
    assert_eq!(reason, "NoHostFits");
    let why = "uplink `wire` of host a is a member of the bridge of network lan";
    assert!(message.contains(why), "{message}");
    // Where pf is asked about members it changes their frames.
    one["spec"]["sysctls"] = json!({ "net.link.bridge.pfil_member": 1 });
    world.apply(one.clone()).expect("pf is asked");
    world.reconcile();
    assert_eq!(world.scheduled("one").1, "Bound");
    one["spec"]["sysctls"] = json!({});
    let refused = world.apply(one.clone()).expect_err("it is asked no more");
    assert_eq!(refused.violations[0].field, "spec.uplinks");
    let message = &refused.violations[0].message;
    assert!(
        message.ends_with("its scrub would have no effect"),
        "{message}"
    );
    one["spec"]["uplinks"]["wire"] = json!({ "interface": "igb1" });
    world.apply(one).expect("nothing is to be scrubbed");
}
