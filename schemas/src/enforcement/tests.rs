use serde_json::{Value, json};

use super::{
    BRIDGED, Enforcement, Feature, HOOKED, NO_GATEWAY, NO_PRIVATE_LINKS, NO_STACK, OTHER_STACK,
    OUTSIDE, OWN_NIC, Refusal, SWITCHED, UNSEEN_NIC, enforcement,
};
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

/// A mode, who enforces a jail's firewall there, and who its `user` and `group`.
fn firewalls() -> Vec<(Value, Option<Refusal>, Option<Refusal>)> {
    let subnets = json!([{ "cidr": "10.0.0.0/24" }, { "cidr": "fd00::/64" }]);
    let network = |mode: &str, settings: Value| json!({ mode: settings, "subnets": subnets });
    let other = Some(OTHER_STACK);
    vec![
        (network("sharedIP", json!({ "loopback": {} })), None, None),
        (network("sharedIP", json!({ "uplink": "wire" })), None, None),
        (network("routed", json!({})), None, other),
        (network("bridge", json!({})), None, other),
        (network("bridge", json!({ "uplink": "wire" })), None, other),
        (network("netgraph", json!({})), Some(SWITCHED), other),
        (
            network("netgraph", json!({ "uplink": "wire" })),
            Some(SWITCHED),
            other,
        ),
        (
            json!({ "passthrough": { "uplinks": ["pool"] } }),
            Some(UNSEEN_NIC),
            other,
        ),
    ]
}

#[test]
fn every_stack_of_a_jails_own_has_a_pf_of_its_own() {
    for (spec, _, owners) in firewalls() {
        for family in [Family::Ipv4, Family::Ipv6] {
            let found = enforcement(&network(spec.clone()), Feature::FirewallInside, family);
            let expected = if owners.is_some() {
                Enforcement::JailPf
            } else {
                Enforcement::Refused(NO_STACK)
            };
            assert_eq!(found, expected, "{spec}");
        }
    }
}

#[test]
fn every_mode_says_who_filters_for_a_jail() {
    for (spec, rules, owners) in firewalls() {
        for (feature, refusal) in [(Feature::Firewall, rules), (Feature::SocketOwner, owners)] {
            for family in [Family::Ipv4, Family::Ipv6] {
                let found = enforcement(&network(spec.clone()), feature, family);
                let expected = refusal.map_or(Enforcement::HostPf, Enforcement::Refused);
                assert_eq!(found, expected, "{spec} {feature:?} {family:?}");
            }
        }
    }
}

#[test]
fn every_mode_says_who_keeps_jails_apart() {
    let (pf, members) = (Enforcement::HostPf, Enforcement::PrivateMembers);
    for (mode, expected) in [
        (json!({ "sharedIP": { "loopback": {} } }), pf),
        (json!({ "sharedIP": { "uplink": "wire" } }), pf),
        (json!({ "routed": {} }), pf),
        (json!({ "bridge": {} }), members),
        (json!({ "bridge": { "uplink": "wire" } }), members),
        (
            json!({ "netgraph": {} }),
            Enforcement::Refused(NO_PRIVATE_LINKS),
        ),
        (
            json!({ "netgraph": { "uplink": "wire" } }),
            Enforcement::Refused(NO_PRIVATE_LINKS),
        ),
        (
            json!({ "passthrough": { "uplinks": ["pool"] } }),
            Enforcement::Refused(OUTSIDE),
        ),
    ] {
        for family in [Family::Ipv4, Family::Ipv6] {
            let found = enforcement(&network(mode.clone()), Feature::Isolation, family);
            assert_eq!(found, expected, "{mode}");
        }
    }
}
