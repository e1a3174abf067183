use serde_json::{Value, json};

use super::unsupported;
use crate::object::Kind;

fn fields(kind: Kind, spec: Value) -> Vec<String> {
    let object =
        crate::structural::read(kind, json!({ "metadata": { "name": "x" }, "spec": spec }))
            .expect("the shape is right");
    unsupported(&object)
        .into_iter()
        .map(|violation| violation.field)
        .collect()
}

#[test]
fn what_is_realised_passes() {
    let host = json!({
        "uplinks": { "external": { "interface": "igb0", "publicAddresses": { "main": "203.0.113.1" },
            "block": [{ "name": "nfs", "ports": [111] }] } },
        "pf": { "anchors": "manage" }, "sysctls": { "a.b": 1 }, "paused": true, "approved": true, "unschedulable": true,
        "taints": [{ "key": "a", "effect": "NoSchedule" }],
        "addresses": { "node": "10.0.0.1", "node6": "fd00::1" },
    });
    assert_eq!(fields(Kind::Host, host), [""; 0]);
    let network = json!({ "bridge": { "uplink": "x" }, "egress": { "nat": { "uplink": "x" } }, "mtu": 1500, "isolation": "none" });
    assert_eq!(fields(Kind::Network, network), [""; 0]);
    let routed =
        json!({ "routed": { "link": "pointToPoint" }, "isolation": "jails", "scope": "host" });
    assert_eq!(fields(Kind::Network, routed), [""; 0]);
    let spanning = json!({ "routed": { "hostPrefixLength": { "ipv4": 27 } }, "scope": "fleet" });
    assert_eq!(fields(Kind::Network, spanning), [""; 0]);
    let network = json!({ "netgraph": { "uplink": "x", "promiscuous": true, "autosrc": false } });
    assert_eq!(fields(Kind::Network, network), [""; 0]);
    let network = json!({ "passthrough": { "uplinks": ["spare"] }, "mtu": 9000 });
    assert_eq!(fields(Kind::Network, network), [""; 0]);
    let host = json!({ "uplinks": {
        "spare": { "interfaces": ["igb2", "igb3"] },
        "wan": { "lagg": { "protocol": "failover", "ports": ["igb0", "igb1"] } },
        "dmz": { "vlan": { "id": 30, "uplink": "wan" } },
    } });
    assert_eq!(fields(Kind::Host, host), [""; 0]);
    let jail = json!({
        "root": { "path": "/a" }, "networks": [{ "network": "n" }, { "network": "m", "addresses": ["10.0.0.1"] }],
        "image": { "name": "a" }, "publish": [{ "name": "a", "ports": [80], "uplink": "x" }], "parameters": { "exec.clean": true },
        "mounts": [{ "target": "/a", "type": "tmpfs" }], "runPolicy": "Stopped", "hostSelector": {}, "tolerations": [{}],
        "dependsOn": ["b"], "restartPolicy": "OnFailure",
        "probes": { "ready": { "tcp": { "port": 80 } }, "live": { "exec": { "command": ["/usr/bin/true"] } } },
    });
    assert_eq!(fields(Kind::Jail, jail), [""; 0]);
}

#[test]
fn every_row_is_told_with_its_field() {
    let host = json!({
        "uplinks": { "u": {
            "hostAddresses": "managed" } },
        "addresses": { "node": "10.0.0.1", "backup": "10.0.0.2" }, "storage": { "dataset": "zroot/a" },
    });
    assert_eq!(fields(Kind::Host, host).len(), 2);
    let network = json!({
        "routed": { "hostPrefixLength": {} }, "fib": 1, "isolation": "spoof",
        "bridge": { "stp": true, "untagged": 5 },
        "subnets": [{ "cidr": "fd00::/64", "gateway": { "address": "fe80::1" } }],
    });
    assert_eq!(fields(Kind::Network, network).len(), 4);
    let network = json!({ "sharedIP": { "loopback": {} }, "mtu": 1400, "fib": 1 });
    assert_eq!(fields(Kind::Network, network), ["spec.mtu"]);
    for mode in ["sharedIP", "bridge"] {
        let network = json!({ mode: {}, "isolation": "jails" });
        assert_eq!(self::fields(Kind::Network, network), [""; 0]);
    }
    let routed = json!({ "routed": {}, "isolation": "spoof", "scope": "host" });
    assert_eq!(self::fields(Kind::Network, routed), ["spec.isolation"]);
    let jail = json!({
        "mounts": [{ "target": "/dev", "type": "devfs" }], "runPolicy": "Once",
    });
    assert_eq!(fields(Kind::Jail, jail).len(), 2);
}
