//! Which changes restart a jail.

use serde_json::json;

use super::*;
use crate::network::RoutedLink;

fn spec(value: serde_json::Value) -> JailSpec {
    serde_json::from_value(value).expect("a spec")
}

fn differences(before: serde_json::Value, after: serde_json::Value) -> Vec<String> {
    let (before, after) = (spec(before), spec(after));
    let found = Started::of(&before).differences(&Started::of(&after));
    let words = found.iter().map(|(path, means)| match means {
        Means::Live => format!("live {}", path.as_str()),
        Means::Restart => path.as_str().to_owned(),
    });
    words.collect()
}

#[test]
fn what_a_jail_is_started_with_restarts_it_field_by_field() {
    let before = json!({"root": {"path": "/a"}, "networks": [{"network": "n"}, {"network": "m"}],
        "parameters": {"allow.chflags": true, "exec.start": "a"}});
    let after = json!({"root": {"path": "/b"}, "networks": [{"network": "n"}, {"network": "o"}],
        "parameters": {"exec.start": "b", "securelevel": 2}, "mounts": [{"type": "tmpfs", "target": "/tmp"}]});
    assert_eq!(
        differences(before.clone(), after),
        [
            "spec.root.path",
            "spec.networks[1]",
            "live spec.parameters[allow.chflags]",
            "spec.parameters[exec.start]",
            "live spec.parameters[securelevel]",
            "spec.mounts"
        ]
    );
    assert_eq!(differences(before.clone(), before), [""; 0]);
}

#[test]
fn ports_and_policies_restart_nothing() {
    let after =
        json!({"publish": [{"name": "w", "ports": [80], "uplink": "x"}], "runPolicy": "Stopped"});
    assert_eq!(differences(json!({}), after), [""; 0]);
}

#[test]
fn rules_restart_nothing_and_another_pf_does() {
    let firewall =
        |by: &str, rules: &str| json!({"firewall": {"enforcedBy": by, "defaultIngress": rules}});
    let field = ["spec.firewall.enforcedBy"];
    assert_eq!(
        differences(firewall("jail", "pass"), firewall("jail", "block")),
        [""; 0]
    );
    assert_eq!(differences(firewall("host", "pass"), json!({})), [""; 0]);
    assert_eq!(
        differences(firewall("host", "pass"), firewall("jail", "pass")),
        field
    );
    assert_eq!(differences(firewall("jail", "pass"), json!({})), field);
}

#[test]
fn a_prefix_length_restarts_nothing_and_another_address_does() {
    let attached = |address| json!({"networks": [{"network": "n", "addresses": [address]}]});
    let before = attached("10.0.0.7");
    assert_eq!(
        differences(before.clone(), attached("10.0.0.7/24")),
        [""; 0]
    );
    assert_eq!(
        differences(before, attached("10.0.0.8")),
        ["spec.networks[0]"]
    );
}

#[test]
fn a_networks_gateway_restarts_those_with_a_stack_of_their_own() {
    let network = |value| serde_json::from_value::<NetworkSpec>(value).expect("a network");
    let before = network(
        json!({"bridge": {}, "subnets": [{"cidr": "10.0.0.0/24", "gateway": {"address": "10.0.0.1"}}]}),
    );
    let gateway = network(
        json!({"bridge": {}, "subnets": [{"cidr": "10.0.0.0/24", "gateway": {"address": "10.0.0.254"}}]}),
    );
    let prefix = network(
        json!({"bridge": {}, "subnets": [{"cidr": "10.0.0.0/16", "gateway": {"address": "10.0.0.1"}}]}),
    );
    let more = network(
        json!({"bridge": {}, "subnets": [{"cidr": "10.0.0.0/24", "gateway": {"address": "10.0.0.1"}}, {"cidr": "10.1.0.0/24"}]}),
    );
    let binding: Binding = serde_json::from_value(
        json!({"host": "h", "attachments": [{"network": "n", "interface": "n0", "addresses": ["10.0.0.7"]}]}),
    )
    .expect("a binding");
    assert!(network_restarts("n", &before, &gateway, &binding));
    assert!(!network_restarts("n", &before, &prefix, &binding));
    assert!(!network_restarts("n", &before, &more, &binding));
    assert!(!network_restarts("other", &before, &gateway, &binding));
    let shared =
        network(json!({"sharedIP": {"loopback": {}}, "subnets": [{"cidr": "10.0.0.0/24"}]}));
    assert!(!network_restarts("n", &shared, &prefix, &binding));
}

#[test]
fn the_gateway_of_every_way_of_attaching_restarts() {
    let network = |mode: &str, gateway: &str| {
        let subnet = json!({"cidr": "10.0.0.0/24", "gateway": {"address": gateway}});
        let mut spec = json!({"subnets": [subnet]});
        spec[mode] = json!({});
        serde_json::from_value::<NetworkSpec>(spec).expect("a network")
    };
    let binding: Binding = serde_json::from_value(
        json!({"host": "h", "attachments": [{"network": "n", "interface": "n0", "addresses": ["10.0.0.7"]}]}),
    )
    .expect("a binding");
    for mode in ["bridge", "netgraph", "routed"] {
        let (before, after) = (network(mode, "10.0.0.1"), network(mode, "10.0.0.254"));
        assert!(network_restarts("n", &before, &after, &binding), "{mode}");
        assert!(!network_restarts("n", &before, &before, &binding), "{mode}");
    }
    let mut numbered = network("routed", "10.0.0.1");
    numbered.routed.as_mut().expect("routed").link = RoutedLink::PointToPoint;
    let unnumbered = network("routed", "10.0.0.1");
    assert!(network_restarts("n", &unnumbered, &numbered, &binding));
    let shared = network("sharedIP", "10.0.0.1");
    assert!(!network_restarts(
        "n",
        &shared,
        &network("sharedIP", "10.0.0.254"),
        &binding
    ));
}
