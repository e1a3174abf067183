use serde_json::json;

use super::{default_object, interface_base};
use crate::object::{Kind, Object};
use crate::validate::names;

fn defaulted(kind: Kind, value: serde_json::Value) -> serde_json::Value {
    let mut object = Object::from_value(kind, value).expect("the shape is right");
    default_object(&mut object);
    let once = object.to_value();
    default_object(&mut object);
    assert_eq!(object.to_value(), once, "defaulting twice changes nothing");
    once
}

#[test]
fn the_type_is_filled_in() {
    let host = defaulted(Kind::Host, json!({ "metadata": { "name": "a" } }));
    assert_eq!(host["apiVersion"], "cellblock.dev/v1alpha1");
    assert_eq!(host["kind"], "Host");
}

#[test]
fn scope_and_gateway_owner_follow_the_mode() {
    let subnets = json!([{ "cidr": "10.0.0.0/24", "gateway": { "address": "10.0.0.1" } }, { "cidr": "fd00::/64" }]);
    for (mode, scope, owner) in [
        (json!({ "bridge": {} }), "host", "host"),
        (
            json!({ "bridge": { "uplink": "external" } }),
            "fleet",
            "external",
        ),
        (json!({ "sharedIP": { "loopback": {} } }), "host", "host"),
        (
            json!({ "sharedIP": { "uplink": "external" } }),
            "fleet",
            "external",
        ),
        (json!({ "routed": {} }), "fleet", "host"),
    ] {
        let mut spec = mode.clone();
        spec["subnets"] = subnets.clone();
        let network = defaulted(
            Kind::Network,
            json!({ "metadata": { "name": "n" }, "spec": spec }),
        );
        assert_eq!(network["spec"]["scope"], scope, "{mode}");
        assert_eq!(
            network["spec"]["subnets"][0]["gateway"]["owner"], owner,
            "{mode}"
        );
    }
    let undecided = defaulted(
        Kind::Network,
        json!({ "metadata": { "name": "n" }, "spec": { "bridge": {}, "routed": {} } }),
    );
    assert!(undecided["spec"].get("scope").is_none());
}

#[test]
fn interfaces_are_named_after_networks_without_collisions() {
    let long = "production-internal-a";
    let other = "production-internal-b";
    let networks = json!([
        { "network": "lan" }, { "network": "lan" }, { "network": "wire", "interface": "lan-2" }, { "network": "lan" },
        { "network": long }, { "network": other }, { "network": "lo0" }, { "network": "42" },
    ]);
    let jail = defaulted(
        Kind::Jail,
        json!({ "metadata": { "name": "j" }, "spec": { "networks": networks } }),
    );
    let names: Vec<&str> = jail["spec"]["networks"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|attachment| attachment["interface"].as_str())
        .collect();
    assert_eq!(names[..4], ["lan", "lan-3", "lan-2", "lan-4"]);
    assert!(
        names[4].starts_with("production-")
            && names[5].starts_with("production-")
            && names[4] != names[5],
        "{names:?}"
    );
    for name in names {
        assert!(names::interface(name).is_ok(), "{name}");
    }
}

#[test]
fn any_network_name_gives_a_good_interface_name() {
    for network in [
        "",
        "0",
        "a.b",
        "ü",
        "-",
        "lo0",
        &"x".repeat(63),
        "9-lives-and-then-some",
    ] {
        let name = interface_base(network);
        assert!(
            names::interface(&name).is_ok(),
            "{network:?} gives {name:?}"
        );
    }
}

#[test]
fn addressing_follows_the_addresses() {
    for (attachment, addressing) in [
        (json!({ "network": "a" }), "allocate"),
        (
            json!({ "network": "a", "addresses": ["10.0.0.1"] }),
            "static",
        ),
        (
            json!({ "network": "a", "addressing": "allocate", "addresses": ["10.0.0.1"] }),
            "static",
        ),
        (json!({ "network": "a", "addressing": "static" }), "static"),
        (json!({ "network": "a", "addressing": "dhcp" }), "dhcp"),
    ] {
        let jail = defaulted(
            Kind::Jail,
            json!({ "metadata": { "name": "j" }, "spec": { "networks": [attachment] } }),
        );
        assert_eq!(jail["spec"]["networks"][0]["addressing"], addressing);
    }
}

#[test]
fn unnumbered_links_share_the_first_address_of_their_subnet() {
    let subnets = |spec: serde_json::Value| {
        defaulted(
            Kind::Network,
            json!({ "metadata": { "name": "n" }, "spec": spec }),
        )["spec"]["subnets"]
            .clone()
    };
    let given = json!([
        { "cidr": "10.40.0.0/24" }, { "cidr": "fd00:40::/64" },
        { "cidr": "10.42.0.0/24", "gateway": { "address": "10.42.0.9", "owner": "host" } },
    ]);
    let routed = subnets(json!({ "routed": {}, "subnets": given }));
    let gateway = |subnet: usize| &routed[subnet]["gateway"];
    assert_eq!(
        *gateway(0),
        json!({ "address": "10.40.0.1", "owner": "host" })
    );
    assert!(gateway(1).is_null());
    assert_eq!(gateway(2)["address"], "10.42.0.9");
    let pairs = subnets(json!({ "routed": { "link": "pointToPoint" }, "subnets": given }));
    assert!(pairs[0]["gateway"].is_null());
}
