//! Which firewalls are refused, and for which field.

use cellblock_schemas::enforcement::{LOCAL_MEMBER_FILTER, MEMBER_FILTER};
use serde_json::{Value, json};

use crate::testing::{World, bridge, host, jail, shared};

fn world() -> World {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("switch")).expect("a network");
    world.apply(shared("inside")).expect("a network");
    for (name, mode) in [
        ("hooks", json!({ "netgraph": {} })),
        ("wire", json!({ "netgraph": { "uplink": "trunk" } })),
        ("nics", json!({ "passthrough": { "uplinks": ["pool"] } })),
        ("links", json!({ "routed": {} })),
        ("lan", json!({ "bridge": { "uplink": "dmz" } })),
    ] {
        let mut network = bridge(name);
        network["spec"] = mode;
        if name != "nics" {
            network["spec"]["subnets"] = json!([{ "cidr": "10.77.0.0/24" }]);
            network["spec"]["scope"] = json!("host");
            network["spec"]["hostSelector"] = json!({ "matchLabels": { "only": name } });
        }
        world.apply(network).expect("a network");
    }
    world
}

fn fields(networks: &[&str], firewall: Value) -> Vec<String> {
    let mut world = world();
    match world.apply(jail("www", networks, json!({ "firewall": firewall }))) {
        Ok(_) => Vec::new(),
        Err(rejection) => rejection
            .violations
            .into_iter()
            .map(|violation| violation.field)
            .collect(),
    }
}

#[test]
fn a_firewall_is_refused_where_pf_never_sees_the_traffic() {
    let rule = json!({ "ingress": [{ "name": "ssh", "action": "pass" }] });
    for network in ["hooks", "wire", "nics"] {
        assert_eq!(
            fields(&[network], rule.clone()),
            ["spec.firewall.ingress[0]"],
            "{network}"
        );
        assert_eq!(
            fields(&[network], json!({ "defaultEgress": "block" })),
            ["spec.firewall.defaultEgress"],
            "{network}"
        );
    }
    for network in ["links", "lan", "switch", "inside"] {
        assert!(fields(&[network], rule.clone()).is_empty(), "{network}");
    }
}

#[test]
fn a_rule_about_one_network_leaves_the_others_alone() {
    let rule = |network: &str| json!({ "name": "a", "action": "block", "network": network });
    let on = |network: &str| json!({ "egress": [rule(network)] });
    assert!(fields(&["links", "hooks"], on("links")).is_empty());
    assert_eq!(
        fields(&["links", "hooks"], on("hooks")),
        ["spec.firewall.egress[0].network"]
    );
    let mut all = on("links");
    all["defaultIngress"] = json!("block");
    assert_eq!(
        fields(&["links", "hooks"], all),
        ["spec.firewall.defaultIngress"]
    );
}

#[test]
fn users_are_matched_where_their_sockets_are() {
    let owner = |field: &str| {
        let mut rule = json!({ "name": "a", "action": "block", "protocol": "tcp" });
        rule[field] = json!("> 1000");
        json!({ "egress": [rule] })
    };
    for field in ["user", "group"] {
        assert!(fields(&["inside"], owner(field)).is_empty());
        for network in ["links", "lan", "switch"] {
            let expected = format!("spec.firewall.egress[0].{field}");
            assert_eq!(fields(&[network], owner(field)), [expected], "{network}");
        }
    }
}

#[test]
fn in_its_own_pf_a_jail_has_rules_on_every_network_with_a_stack_of_its_own() {
    let rule = json!({ "name": "a", "action": "block", "protocol": "tcp", "user": "> 1000" });
    let inside = json!({ "enforcedBy": "jail", "egress": [rule], "defaultIngress": "block" });
    let found = |networks: &[&str]| {
        let mut world = world();
        let more = json!({
            "firewall": inside,
            "parameters": { "mount.devfs": true, "devfs_ruleset": 5 },
        });
        match world.apply(jail("www", networks, more)) {
            Ok(_) => Vec::new(),
            Err(rejection) => rejection.violations,
        }
    };
    for network in ["hooks", "wire", "nics", "links", "lan", "switch"] {
        assert!(found(&[network]).is_empty(), "{network}");
    }
    let refused = found(&["inside"]);
    assert_eq!(refused[0].field, "spec.firewall.enforcedBy");
}

#[test]
fn a_host_goes_on_declaring_what_firewalls_on_its_bridges_need() {
    let mut world = World::new();
    let mut one = host("a");
    one["spec"]["sysctls"] = json!({ MEMBER_FILTER: 1, LOCAL_MEMBER_FILTER: 1 });
    world.apply(one.clone()).expect("a host");
    world.hear("a");
    let mut network = bridge("lan");
    network["spec"] = json!({ "bridge": {}, "subnets": [{ "cidr": "10.30.0.0/24", "gateway": { "address": "10.30.0.1" } }] });
    world.apply(network).expect("a network");
    let more = json!({ "firewall": { "defaultIngress": "block" } });
    world.apply(jail("db", &["lan"], more)).expect("a jail");
    assert_eq!(world.scheduled("db").1, "Bound");
    for oid in [MEMBER_FILTER, LOCAL_MEMBER_FILTER] {
        let mut less = one.clone();
        less["spec"]["sysctls"][oid] = json!(0);
        let refused = world.apply(less).expect_err("the firewall needs it");
        assert_eq!(refused.violations[0].field, "spec.sysctls");
        let message = &refused.violations[0].message;
        assert!(
            message.contains(oid) && message.ends_with(": db"),
            "{message}"
        );
    }
}
