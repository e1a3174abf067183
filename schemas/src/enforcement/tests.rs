use serde_json::{Value, json};

use super::{BRIDGED, Enforcement, Feature, HOOKED, NO_GATEWAY, OWN_NIC, Refusal, enforcement};
use crate::net::Family;
use crate::network::NetworkSpec;

fn network(spec: Value) -> NetworkSpec {
    serde_json::from_value(spec).expect("the shape is right")
}

/// A mode, who enforces what it has in IPv4, and in IPv6.
fn table() -> Vec<(Value, Option<Refusal>, Option<Refusal>)> {
    let bare = json!([{ "cidr": "10.0.0.0/24" }, { "cidr": "fd00::/64" }]);
    let gateway = json!([{ "cidr": "10.0.0.0/24", "gateway": { "address": "10.0.0.1" } }, { "cidr": "fd00::/64" }]);
    let both = json!([
        { "cidr": "10.0.0.0/24", "gateway": { "address": "10.0.0.1" } },
        { "cidr": "fd00::/64", "gateway": { "address": "fd00::1" } },
    ]);
    let shared = json!({ "sharedIP": { "loopback": {} }, "subnets": bare });
    let on_a_nic = json!({ "sharedIP": { "uplink": "wire" }, "subnets": bare });
    let routed = json!({ "routed": {}, "subnets": bare });
    let nic = json!({ "passthrough": { "uplinks": ["pool"] } });
    let mut table = vec![
        (shared, None, None),
        (on_a_nic, None, None),
        (routed, None, None),
        (nic, Some(OWN_NIC), Some(OWN_NIC)),
    ];
    for (mode, on_the_wire) in [("bridge", BRIDGED), ("netgraph", HOOKED)] {
        let without = |subnets: &Value| json!({ mode: {}, "subnets": subnets });
        table.extend([
            (without(&bare), Some(NO_GATEWAY), Some(NO_GATEWAY)),
            (without(&gateway), None, Some(NO_GATEWAY)),
            (without(&both), None, None),
            (
                json!({ mode: { "uplink": "wire" }, "subnets": both }),
                Some(on_the_wire),
                Some(on_the_wire),
            ),
        ]);
    }
    table
}

#[test]
fn every_mode_says_where_or_why_not() {
    for (spec, ipv4, ipv6) in table() {
        for feature in [Feature::EgressNat, Feature::Publish, Feature::OneToOne] {
            for (family, refusal) in [(Family::Ipv4, ipv4), (Family::Ipv6, ipv6)] {
                let found = enforcement(&network(spec.clone()), feature, family);
                let expected = refusal.map_or(Enforcement::HostPf, Enforcement::Refused);
                assert_eq!(found, expected, "{spec} {feature:?} {family:?}");
            }
        }
    }
}
