use serde_json::{Value, json};

use super::{is_public, warnings, warnings_with};
use crate::network::NetworkSpec;
use crate::object::{Kind, Object};

fn jail(spec: Value) -> Object {
    crate::structural::read(
        Kind::Jail,
        json!({ "metadata": { "name": "x" }, "spec": spec }),
    )
    .expect("the shape is right")
}

fn parameters(parameters: Value) -> Vec<String> {
    warnings(&jail(json!({ "parameters": parameters })))
        .into_iter()
        .map(|warning| warning.field)
        .collect()
}

#[test]
fn parameters_that_open_a_jail_are_told() {
    for (given, field) in [
        (json!({ "allow.sysvipc": true }), "allow.sysvipc"),
        (json!({ "sysvshm": "inherit" }), "sysvshm"),
        (
            json!({ "mount.devfs": true, "devfs_ruleset": 0 }),
            "devfs_ruleset",
        ),
        (json!({ "enforce_statfs": 0 }), "enforce_statfs"),
        (json!({ "allow.mount.tmpfs": true }), "allow.mount.tmpfs"),
        (json!({ "allow.mount": true }), "allow.mount"),
        (json!({ "ip4.saddrsel": false }), "ip4.saddrsel"),
        (json!({ "exec.fib": 1 }), "exec.fib"),
        (json!({ "ip4": "inherit" }), "ip4"),
        (json!({ "securelvel": 3 }), "securelvel"),
    ] {
        assert_eq!(parameters(given), [format!("spec.parameters[{field}]")]);
    }
    let plain = json!({ "mount.devfs": true, "exec.clean": true, "allow.raw_sockets": true, "sysvshm": "new", "enforce_statfs": 2 });
    assert_eq!(parameters(plain), [""; 0]);
    let unknown = warnings(&jail(json!({ "parameters": { "securelvel": 3 } })));
    assert!(
        unknown[0].message.contains("did you mean `securelevel`?"),
        "{}",
        unknown[0].message
    );
}

#[test]
fn a_public_first_address_is_told_where_it_is_the_loopback() {
    let network = |text: Value| -> NetworkSpec { serde_json::from_value(text).expect("a network") };
    let nic = network(
        json!({ "sharedIP": { "uplink": "external" }, "subnets": [{ "cidr": "203.0.113.0/24" }] }),
    );
    let inside = json!([{ "cidr": "127.0.1.0/24" }, { "cidr": "fd00:1::/64" }]);
    let loopback = network(json!({ "sharedIP": { "loopback": {} }, "subnets": inside }));
    let bridge = network(json!({ "bridge": {} }));
    let lookup = |name: &str| match name {
        "nic" => Some(&nic),
        "inside" => Some(&loopback),
        "lan" => Some(&bridge),
        _ => None,
    };
    let fields = |networks: Value| -> Vec<String> {
        let object = jail(json!({ "networks": networks }));
        warnings_with(&object, &lookup)
            .into_iter()
            .map(|warning| warning.field)
            .collect()
    };
    let public = json!({ "network": "nic", "addresses": ["203.0.113.10", "2001:db8::10"] });
    let first = [
        "spec.networks[0].addresses[0]",
        "spec.networks[0].addresses[1]",
    ];
    assert_eq!(fields(json!([public])), first);
    assert_eq!(
        fields(json!([{ "network": "inside", "addresses": ["192.0.2.3", "fd00::3"] }, public])),
        [""; 0]
    );
    assert_eq!(
        fields(json!([{ "network": "lan", "addresses": ["198.51.100.7"] }])),
        [""; 0]
    );
    assert_eq!(
        fields(json!([{ "network": "lan", "addresses": ["10.0.0.1"] }, public])),
        [
            "spec.networks[1].addresses[0]",
            "spec.networks[1].addresses[1]"
        ]
    );
    assert_eq!(
        fields(json!([{ "network": "inside" }, public])),
        [""; 0],
        "the loopback address is allocated and comes first"
    );
    assert_eq!(
        fields(json!([{ "network": "nic" }])),
        ["spec.networks[0].network"],
        "an allocated address may be public"
    );
    assert_eq!(fields(json!([{ "network": "unseen" }, public])), [""; 0]);
    let unseen = warnings(&jail(json!({ "networks": [public] })));
    assert!(
        unseen[0]
            .message
            .starts_with("if `nic` is a sharedIP network: "),
        "{}",
        unseen[0].message
    );
}

#[test]
fn private_ranges_are_known() {
    for address in [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "127.0.1.3",
        "169.254.0.1",
        "100.64.0.1",
        "fd00::1",
        "fe80::1",
        "::1",
    ] {
        assert!(!is_public(address.parse().expect(address)), "{address}");
    }
    for address in [
        "8.8.8.8",
        "203.0.113.1",
        "100.128.0.1",
        "2001:db8::1",
        "2600::",
    ] {
        assert!(is_public(address.parse().expect(address)), "{address}");
    }
}

#[test]
fn a_networks_routing_table_is_no_fence() {
    let network = |spec: Value| {
        let document = json!({ "metadata": { "name": "x" }, "spec": spec });
        crate::structural::read(Kind::Network, document).expect("the shape is right")
    };
    let with = warnings(&network(json!({ "sharedIP": { "uplink": "x" }, "fib": 1 })));
    assert_eq!(with.len(), 1);
    assert_eq!(with[0].field, "spec.fib");
    assert!(with[0].message.contains("setfib(2)"), "{}", with[0].message);
    assert_eq!(
        warnings(&network(json!({ "sharedIP": { "uplink": "x" } }))),
        []
    );
}

#[test]
fn what_a_host_keeps_apart_may_meet_on_the_wire() {
    let fields = |mode: &str, settings: Value| -> Vec<String> {
        let spec = json!({ mode: settings, "isolation": "jails" });
        let document = json!({ "metadata": { "name": "x" }, "spec": spec });
        let network = crate::structural::read(Kind::Network, document).expect("the shape is right");
        let warnings = warnings(&network).into_iter();
        warnings.map(|warning| warning.field).collect()
    };
    for mode in ["bridge", "sharedIP"] {
        assert_eq!(fields(mode, json!({ "uplink": "x" })), ["spec.isolation"]);
    }
    assert_eq!(fields("bridge", json!({})), [""; 0]);
    assert_eq!(fields("sharedIP", json!({ "loopback": {} })), [""; 0]);
}
