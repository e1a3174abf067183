use serde_json::{Value, json};

use super::validate;
use crate::default::default_object;
use crate::object::{Kind, Object};

/// The violations of a defaulted object, one line each.
fn found(kind: Kind, name: &str, spec: Value) -> Vec<String> {
    let document = json!({ "metadata": { "name": name }, "spec": spec });
    let mut object = crate::structural::read(kind, document).expect("the shape is right");
    default_object(&mut object);
    validate(&object).iter().map(ToString::to_string).collect()
}

fn fields(kind: Kind, spec: Value) -> Vec<String> {
    found(kind, "x", spec)
        .iter()
        .map(|line| line.split(": ").next().unwrap_or_default().to_owned())
        .collect()
}

fn jail(more: Value) -> Value {
    let mut spec = json!({ "root": { "path": "/jails/www" } });
    let Value::Object(more) = more else {
        panic!("fields")
    };
    for (name, value) in more {
        spec[name.as_str()] = value;
    }
    spec
}

#[test]
fn names_are_checked_and_the_jails_name_with_them() {
    assert_eq!(found(Kind::Host, "fbsd-01", json!({})), [""; 0]);
    assert!(
        found(Kind::Host, "Fbsd_01", json!({}))[0]
            .starts_with("metadata.name: `Fbsd_01` is not a DNS label")
    );
    let numeric = found(Kind::Jail, "42", jail(json!({})));
    assert_eq!(numeric.len(), 1);
    assert!(numeric[0].contains("reads as a jid"), "{numeric:?}");
    assert_eq!(
        found(Kind::Jail, "42", jail(json!({ "jailName": "web" }))),
        [""; 0]
    );
    for name in ["8", "a.b", &"a".repeat(300), "a b"] {
        assert_eq!(
            fields(Kind::Jail, jail(json!({ "jailName": name }))),
            ["spec.jailName"],
            "{name}"
        );
    }
}

#[test]
fn networks_have_one_mode() {
    assert_eq!(
        found(Kind::Network, "n", json!({})),
        [
            "spec: none of sharedIP, bridge, routed, netgraph, passthrough is given (give exactly one of them)"
        ]
    );
    assert_eq!(
        found(Kind::Network, "n", json!({ "bridge": {}, "routed": {} })),
        [
            "spec: bridge and routed are given together (give exactly one of sharedIP, bridge, routed, netgraph, passthrough)"
        ]
    );
    assert_eq!(
        fields(Kind::Network, json!({ "sharedIP": {} })),
        ["spec.sharedIP"]
    );
    assert_eq!(
        fields(
            Kind::Network,
            json!({ "bridge": { "stp": true, "untagged": 4095 } })
        ),
        ["spec.bridge.stp", "spec.bridge.untagged"]
    );
    assert_eq!(
        fields(Kind::Network, json!({ "passthrough": {} })),
        ["spec.passthrough.uplinks"]
    );
    assert_eq!(
        fields(Kind::Network, json!({ "netgraph": { "autosrc": true } })),
        ["spec.netgraph.autosrc"]
    );
    assert_eq!(
        fields(
            Kind::Network,
            json!({ "routed": { "hostPrefixLength": { "ipv4": 33, "ipv6": 0 } } })
        ),
        [
            "spec.subnets",
            "spec.routed.hostPrefixLength.ipv4",
            "spec.routed.hostPrefixLength.ipv6"
        ]
    );
}

#[test]
fn a_routed_network_that_spans_hosts_says_what_each_gets_of_it() {
    let network = |lengths: Value, link: &str, scope: &str| {
        let subnets = json!([{ "cidr": "10.40.0.0/22" }, { "cidr": "10.41.0.0/24" }, { "cidr": "fd00:40::/64" }]);
        let routed = json!({ "link": link, "hostPrefixLength": lengths });
        let routed = if lengths.is_null() {
            json!({ "link": link })
        } else {
            routed
        };
        let spec = json!({ "routed": routed, "scope": scope, "subnets": subnets });
        found(Kind::Network, "n", spec)
    };
    let [links, pairs] = ["unnumbered", "pointToPoint"];
    let fine = json!({ "ipv4": 27, "ipv6": 80 });
    assert_eq!(network(fine.clone(), links, "fleet"), [""; 0]);
    assert_eq!(
        network(json!({ "ipv4": 32, "ipv6": 128 }), links, "fleet"),
        [""; 0]
    );
    assert_eq!(
        network(json!({ "ipv4": 24, "ipv6": 64 }), pairs, "fleet"),
        [""; 0]
    );
    assert_eq!(network(Value::Null, links, "host"), [""; 0]);
    let of_hosts = network(fine, links, "host");
    assert!(
        of_hosts[0].starts_with("spec.routed.hostPrefixLength: divides the subnets among hosts"),
        "{of_hosts:?}"
    );
    let unsaid = network(Value::Null, links, "fleet");
    assert_eq!(unsaid.len(), 2, "{unsaid:?}");
    assert!(unsaid[0].starts_with("spec.routed.hostPrefixLength.ipv4: a network that spans hosts is divided among them, and nothing says into how large slices of 10.40.0.0/22"), "{unsaid:?}");
    let large = network(json!({ "ipv4": 23, "ipv6": 63 }), links, "fleet");
    assert_eq!(
        large,
        [
            "spec.routed.hostPrefixLength.ipv4: a /23 is larger than 10.41.0.0/24, of which it shall be a slice (24 to 32)",
            "spec.routed.hostPrefixLength.ipv6: a /63 is larger than fd00:40::/64, of which it shall be a slice (64 to 128)",
        ]
    );
    // A link has both of its addresses in one slice.
    assert_eq!(
        network(json!({ "ipv4": 32, "ipv6": 128 }), pairs, "fleet").len(),
        2
    );
    let alone = json!({ "routed": { "hostPrefixLength": { "ipv4": 27, "ipv6": 80 } }, "subnets": [{ "cidr": "10.40.0.0/22" }] });
    assert_eq!(
        fields(Kind::Network, alone),
        ["spec.routed.hostPrefixLength.ipv6"]
    );
}

#[test]
fn a_node_address_is_one_that_other_hosts_can_send_to() {
    let fields = |addresses: Value| fields(Kind::Host, json!({ "addresses": addresses }));
    assert_eq!(
        fields(json!({ "node": "198.51.100.11", "node6": "2001:db8::11" })),
        [""; 0]
    );
    for (name, address) in [
        ("node", "fd00::1"),
        ("node6", "198.51.100.11"),
        ("node6", "fe80::1"),
        ("node", "127.0.0.1"),
    ] {
        assert_eq!(
            fields(json!({ name: address })),
            [format!("spec.addresses[{name}]")],
            "{address}"
        );
    }
}

#[test]
fn the_gateways_of_routed_links_are_mostly_given() {
    let subnets = json!([
        { "cidr": "10.0.0.0/24", "gateway": { "address": "10.0.0.1" } },
        { "cidr": "fd00::/64", "gateway": { "address": "fd00::1" } },
        { "cidr": "10.0.1.1/32" },
    ]);
    let of = |link: &str| {
        let routed = json!({ "routed": { "link": link }, "scope": "host", "subnets": subnets });
        fields(Kind::Network, routed)
    };
    assert_eq!(
        of("unnumbered"),
        ["spec.subnets[1].gateway", "spec.subnets[2].gateway"]
    );
    assert_eq!(
        of("pointToPoint"),
        [
            "spec.subnets[0].gateway",
            "spec.subnets[1].gateway",
            "spec.subnets[2].gateway"
        ]
    );
}

#[test]
fn subnets_make_sense() {
    let subnets = json!([
        { "cidr": "10.0.0.1/24", "gateway": { "address": "10.0.0.1" }, "allocate": ["10.0.0.1-10.0.0.9", "10.0.0.5", "10.0.1.1"] },
        { "cidr": "10.0.0.128/25", "gateway": { "address": "10.0.0.255" } },
        { "cidr": "fd00::/64", "gateway": { "address": "fe80::1" }, "reserve": ["fd00:1::1"] },
        { "cidr": "fd01::/64", "gateway": { "address": "10.0.0.3" } },
        { "cidr": "0.0.0.0/0" },
    ]);
    let found = found(
        Kind::Network,
        "n",
        json!({ "bridge": {}, "subnets": subnets, "mtu": 1000 }),
    );
    assert_eq!(
        found,
        [
            "spec.subnets[0].cidr: 10.0.0.1/24 has bits set behind its prefix (the network is 10.0.0.0/24)",
            "spec.subnets[0].allocate[1]: 10.0.0.5 overlaps spec.subnets[0].allocate[0] (make the ranges disjoint)",
            "spec.subnets[0].allocate[2]: 10.0.1.1 is not inside 10.0.0.0/24 (give addresses of this subnet)",
            "spec.subnets[0].gateway.address: 10.0.0.1 would be given to a jail: it lies inside allocate[0] (10.0.0.1-10.0.0.9) (leave it out of the range: 10.0.0.2-10.0.0.9)",
            "spec.subnets[1].gateway.address: 10.0.0.255 is the network's or broadcast address of 10.0.0.128/25 (give another address of the subnet)",
            "spec.subnets[2].reserve[0]: fd00:1::1 is not inside fd00::/64 (give addresses of this subnet)",
            "spec.subnets[3].gateway.address: 10.0.0.3 is not of the family of fd01::/64 (give each family's gateway in its own subnet)",
            "spec.subnets[4].cidr: jails cannot have 0.0.0.0/0: 0.0.0.0/8 means this network, and is never forwarded (give another prefix, as in 10.0.0.0/24 or fd00:10::/64)",
            "spec.subnets[1].cidr: 10.0.0.128/25 overlaps spec.subnets[0] (10.0.0.0/24) (make the subnets disjoint)",
            "spec.subnets[4].cidr: 0.0.0.0/0 overlaps spec.subnets[0] (10.0.0.0/24) (make the subnets disjoint)",
            "spec.mtu: 1000 is too little for the network's IPv6 subnet (IPv6 needs at least 1280)",
        ]
    );
}

#[test]
fn no_jail_has_a_reserved_address() {
    let shared = json!({ "uplink": "external" });
    let lo1 = json!({ "loopback": {} });
    for (mode, value, cidr, refused) in [
        ("bridge", json!({}), "0.1.2.0/24", true),
        ("bridge", json!({}), "127.0.1.0/24", true),
        ("bridge", json!({}), "240.0.0.0/24", true),
        ("bridge", json!({}), "255.255.255.0/24", true),
        ("bridge", json!({}), "fe80::/64", true),
        ("bridge", json!({}), "ff02::/64", true),
        ("bridge", json!({}), "::ffff:10.0.0.0/104", true),
        ("bridge", json!({}), "::/64", true),
        ("bridge", json!({}), "169.254.0.0/24", false),
        ("bridge", json!({}), "2001:db8::/64", false),
        ("sharedIP", lo1.clone(), "127.0.1.0/24", false),
        ("sharedIP", lo1.clone(), "127.0.0.0/24", true),
        ("sharedIP", shared.clone(), "::1/128", true),
        ("sharedIP", shared, "fe80::/64", true),
        ("sharedIP", lo1.clone(), "fe80::/64", false),
        ("sharedIP", lo1.clone(), "fe80::a:0:0:0/80", false),
        // The kernel keeps the number of the interface there.
        ("sharedIP", lo1.clone(), "fe80:1::/64", true),
        ("sharedIP", lo1, "fe80::/10", true),
    ] {
        let found = fields(
            Kind::Network,
            json!({ mode: value, "subnets": [{ "cidr": cidr }] }),
        );
        let expected: &[&str] = if refused {
            &["spec.subnets[0].cidr"]
        } else {
            &[]
        };
        assert_eq!(found, expected, "{mode} {cidr}");
    }
    for (address, refused) in [
        ("127.0.0.1", true),
        ("0.0.0.0", true),
        ("fe80::1", true),
        ("fe80:1::2", true),
        ("fe80::2", false),
        ("127.0.1.1", false),
    ] {
        let found = fields(
            Kind::Jail,
            json!({ "root": { "path": "/jails/a" }, "networks": [{ "network": "n", "addresses": [address] }] }),
        );
        let expected: &[&str] = if refused {
            &["spec.networks[0].addresses[0]"]
        } else {
            &[]
        };
        assert_eq!(found, expected, "{address}");
    }
}

#[test]
fn gateways_and_nat_fit_the_mode() {
    let subnet = |owner: &str| json!([{ "cidr": "10.0.0.0/24", "gateway": { "address": "10.0.0.1", "owner": owner } }]);
    let owner = "spec.subnets[0].gateway.owner";
    assert_eq!(
        fields(
            Kind::Network,
            json!({ "bridge": { "uplink": "x" }, "subnets": subnet("host") })
        ),
        [owner]
    );
    assert_eq!(
        fields(
            Kind::Network,
            json!({ "bridge": {}, "subnets": subnet("external") })
        ),
        [owner]
    );
    assert_eq!(
        fields(
            Kind::Network,
            json!({ "sharedIP": { "loopback": {} }, "subnets": subnet("host") })
        ),
        ["spec.subnets[0].gateway"]
    );
    let nat = json!({ "nat": { "uplink": "external", "address6": "main6" } });
    assert_eq!(
        fields(Kind::Network, json!({ "bridge": {}, "egress": nat })),
        ["spec.egress.nat.address6", "spec.egress.nat"]
    );
    // What the host's pf could not translate.
    let gateway = json!([{ "cidr": "10.0.0.0/24", "gateway": { "address": "10.0.0.1" } }, { "cidr": "fd00::/64" }]);
    let translated = |bridge: serde_json::Value, nat: serde_json::Value| {
        let spec = json!({ "bridge": bridge, "subnets": gateway, "egress": { "nat": nat } });
        fields(Kind::Network, spec)
    };
    let ipv4 = json!({ "uplink": "external" });
    assert_eq!(translated(json!({}), ipv4.clone()), [""; 0]);
    let on_the_wire = translated(json!({ "uplink": "wire" }), ipv4);
    assert_eq!(on_the_wire, ["spec.egress.nat"]);
    let ipv6 = json!({ "uplink": "external", "address6": "main6" });
    assert_eq!(translated(json!({}), ipv6), ["spec.egress.nat"]);
    assert_eq!(
        fields(
            Kind::Network,
            json!({ "sharedIP": { "uplink": "x" }, "mtu": 9000 })
        ),
        ["spec.mtu"]
    );
    assert_eq!(
        fields(Kind::Network, json!({ "bridge": {}, "mtu": 70000 })),
        ["spec.mtu"]
    );
    for (mtu, refused) in [(9018, false), (9019, true)] {
        let found = fields(Kind::Network, json!({ "netgraph": {}, "mtu": mtu }));
        assert_eq!(!found.is_empty(), refused, "{mtu}: {found:?}");
    }
}

#[test]
fn hosts_name_one_thing_per_uplink() {
    let spec = json!({
        "uplinks": {
            "none": {},
            "both": { "interface": "igb0", "lagg": { "protocol": "failover", "ports": ["igb1", "igb1"], "hash": "l2" } },
            "pool": { "interfaces": ["igb0"] },
            "self": { "vlan": { "id": 0, "uplink": "self" } },
            "lost": { "vlan": { "id": 5, "uplink": "trunc" } },
            "trunk": { "interface": "a b", "publicAddresses": { "main": "127.0.0.1" }, "block": [{ "name": "nfs", "ports": [], "address": "mian" }] },
        },
        "addresses": { "node": "fd00::1" },
        "storage": { "dataset": "zroot/a b", "path": "/var/../x" },
        "sysctls": { "maxproc": 5, "kern.x": "a\nb" },
        "fibs": 0,
        "taints": [{ "key": "a b", "effect": "NoSchedule" }],
    });
    let lines = found(Kind::Host, "h", spec);
    let expected = [
        "spec.uplinks[both]: interface and lagg are given together",
        "spec.uplinks[both].lagg.ports[1]",
        "spec.uplinks[both].lagg.hash: only lacp and loadbalance",
        "spec.uplinks[lost].vlan.uplink: there is no uplink `trunc` on this host (did you mean `trunk`?)",
        "spec.uplinks[none]: none of",
        "spec.uplinks[self].vlan.id: 0 is not a VLAN id",
        "spec.uplinks[self].vlan.uplink: the vlan would carry itself",
        "spec.uplinks[trunk].interface: `a b`",
        "spec.uplinks[trunk].publicAddresses[main]: 127.0.0.1",
        "spec.uplinks[trunk].block[0].ports: no port",
        "spec.uplinks[trunk].block[0].address: the uplink has no public address `mian` (did you mean `main`?)",
        "spec.uplinks[pool].interfaces[0]: `igb0` is taken by spec.uplinks[both].interface",
        "spec.addresses[node]",
        "spec.storage: dataset and path are given together",
        "spec.storage.dataset",
        "spec.storage.path",
        "spec.sysctls[kern.x]",
        "spec.sysctls[maxproc]",
        "spec.fibs",
        "spec.taints[0].key",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for start in expected {
        assert!(
            lines.iter().any(|line| line.starts_with(start)),
            "{start}\nin {lines:#?}"
        );
    }
}

#[test]
fn attachments_have_their_own_interfaces_and_addresses() {
    let networks = json!([
        { "network": "lan", "interface": "a-name-of-sixteen", "addresses": ["127.0.0.1", "10.0.0.5/24"], "defaultRoute": true },
        { "network": "lan", "interface": "lo0", "addresses": ["10.0.0.5", "::", "224.0.0.1"], "mac": "01:00:00:00:00:00", "defaultRoute": true },
        { "network": "lan", "interface": "42", "addressing": "static" },
        { "network": "lan", "interface": "x", "addressing": "dhcp", "addresses": ["10.0.0.7"] },
        { "network": "lan", "interface": "y", "addressing": "slaac", "addresses": ["10.0.0.8"] },
        { "network": "lan", "interface": "z", "addressing": "jail", "addresses": ["fd00::8"] },
    ]);
    assert_eq!(
        fields(Kind::Jail, jail(json!({ "networks": networks }))),
        [
            "spec.networks[0].interface",
            "spec.networks[0].addresses[0]",
            "spec.networks[1].interface",
            "spec.networks[1].addresses[0]",
            "spec.networks[1].addresses[1]",
            "spec.networks[1].addresses[2]",
            "spec.networks[1].mac",
            "spec.networks[1].defaultRoute",
            "spec.networks[2].interface",
            "spec.networks[2].addressing",
            "spec.networks[3].addressing",
            "spec.networks[3].addressing",
            "spec.networks[4].addressing",
            "spec.networks[5].addressing",
        ]
    );
}

#[test]
fn who_asks_the_wire_needs_a_dev_and_root() {
    let asked = |attachment: Value, parameters: Value| {
        let jail = jail(json!({ "networks": [attachment], "parameters": parameters }));
        fields(Kind::Jail, jail)
    };
    let slaac = json!({ "network": "lan", "addressing": "slaac" });
    let refused = ["spec.networks[0].addressing"];
    assert_eq!(asked(slaac.clone(), json!({})), refused);
    assert_eq!(
        asked(slaac.clone(), json!({ "mount.devfs": true })),
        [""; 0]
    );
    let user = json!({ "mount.devfs": true, "exec.jail_user": "www" });
    assert_eq!(asked(slaac, user), refused);
    let elsewhere = json!({ "network": "lan", "addressing": "slaac", "defaultRoute": false });
    assert_eq!(
        asked(elsewhere, json!({ "mount.devfs": true })),
        ["spec.networks[0].defaultRoute"]
    );
}

#[test]
fn dhcp_needs_a_ruleset_that_shows_bpf() {
    let asked = |parameters: Value| {
        let networks = json!([{ "network": "lan", "addressing": "dhcp" }]);
        let jail = jail(json!({ "networks": networks, "parameters": parameters }));
        fields(Kind::Jail, jail)
    };
    let refused = ["spec.networks[0].addressing"];
    assert_eq!(asked(json!({})), refused);
    assert_eq!(asked(json!({ "mount.devfs": true })), refused);
    assert_eq!(
        asked(json!({ "mount.devfs": true, "devfs_ruleset": 5 })),
        refused
    );
    assert_eq!(asked(json!({ "devfs_ruleset": 40 })), refused);
    assert_eq!(
        asked(json!({ "mount.devfs": true, "devfs_ruleset": 40 })),
        [""; 0]
    );
}

#[test]
fn shared_ports_name_a_pool() {
    let entry = |name: &str, port: u16, shared: serde_json::Value| {
        let mut entry = json!({ "name": name, "ports": [port], "uplink": "external" });
        let terms = shared.as_object().expect("an object").clone();
        entry.as_object_mut().expect("an object").extend(terms);
        entry
    };
    let publish = json!([
        entry(
            "web",
            443,
            json!({ "shared": "web", "to": 8443, "sticky": true })
        ),
        entry("same", 444, json!({ "shared": "web" })),
        entry("alone", 445, json!({ "sticky": true })),
        entry("bad", 446, json!({ "shared": "a b\" pass" })),
        entry("twice", 443, json!({ "shared": "web" })),
    ]);
    let networks = json!([{ "network": "lan" }]);
    assert_eq!(
        fields(
            Kind::Jail,
            jail(json!({ "publish": publish, "networks": networks }))
        ),
        [
            "spec.publish[2].sticky",
            "spec.publish[3].shared",
            "spec.publish[4].ports[0]",
        ]
    );
}

#[test]
fn published_ports_lead_somewhere_once() {
    let publish = json!([
        { "name": "web", "ports": [80, "443-445", 444], "uplink": "external" },
        { "name": "alt", "ports": [80], "to": 8080, "uplink": "external", "address": "main" },
        { "name": "udp", "ports": [80], "protocol": "udp", "uplink": "external" },
        { "name": "far", "ports": ["1-2"], "to": 5, "uplink": "other", "network": "wan" },
        { "name": "none", "ports": [], "uplink": "Bad!" },
    ]);
    let networks = json!([{ "network": "lan" }]);
    assert_eq!(
        fields(
            Kind::Jail,
            jail(json!({ "publish": publish, "networks": networks }))
        ),
        [
            "spec.publish[0].ports[2]",
            "spec.publish[1].ports[0]",
            "spec.publish[3].network",
            "spec.publish[3].to",
            "spec.publish[4].uplink",
            "spec.publish[4].ports",
        ]
        .into_iter()
        .collect::<Vec<_>>()
    );
}

#[test]
fn roots_mounts_and_placement_are_checked() {
    assert_eq!(fields(Kind::Jail, json!({})), ["spec"]);
    assert_eq!(
        fields(
            Kind::Jail,
            json!({ "root": { "path": "jails/x" }, "image": { "name": "a b" } })
        )
        .len(),
        3
    );
    let mounts = json!([
        { "target": "/usr/../ports", "type": "nullfs", "source": "usr" },
        { "target": "/tmp", "type": "tmpfs", "source": "x", "options": ["size=64m", "a b"] },
        { "target": "/data", "type": "nulfs" },
        { "target": "/dev", "type": "devfs" },
        { "target": "/base", "type": "nullfs" },
        { "target": "/loop", "type": "nullfs", "source": "/jails" },
    ]);
    assert_eq!(
        fields(
            Kind::Jail,
            jail(json!({ "mounts": mounts, "parameters": { "mount.devfs": true } }))
        ),
        [
            "spec.mounts[0].target",
            "spec.mounts[0].source",
            "spec.mounts[1].source",
            "spec.mounts[1].options[1]",
            "spec.mounts[2].type",
            "spec.mounts[3].target",
            "spec.mounts[4].source",
            "spec.mounts[5].source",
        ]
    );
    let placement = json!({
        "host": "a", "hostSelector": { "matchLabels": { "z": "a b" }, "matchExpressions": [
            { "key": "k", "operator": "In" }, { "key": "k", "operator": "Exists", "values": ["x"] } ] },
        "dependsOn": ["x"], "tolerations": [{ "key": "-" }],
    });
    assert_eq!(
        fields(Kind::Jail, jail(placement)),
        [
            "spec.hostSelector",
            "spec.hostSelector.matchLabels[z]",
            "spec.hostSelector.matchExpressions[0].values",
            "spec.hostSelector.matchExpressions[1].values",
            "spec.tolerations[0].key",
            "spec.dependsOn[0]",
        ]
    );
}

#[test]
fn public_addresses_have_room_beside_each_other() {
    let spec = |publish: serde_json::Value, public: serde_json::Value| {
        let networks = json!([{ "network": "lan" }]);
        jail(json!({ "networks": networks, "publish": publish, "publicAddresses": public }))
    };
    let entry = |name: &str, address: &str, more: serde_json::Value| {
        let mut entry = json!({ "name": name, "uplink": "external", "address": address });
        for (key, value) in more.as_object().expect("fields") {
            entry[key] = value.clone();
        }
        entry
    };
    // Two families, ports of two protocols, and a published port beside a whole address.
    let fine = json!([
        entry("web", "web", json!({})),
        entry("web6", "web6", json!({ "network": "lan" })),
        entry("dns", "dns", json!({ "ports": [53, "8000-8099"] })),
        entry(
            "dns-udp",
            "dns",
            json!({ "ports": [53], "protocol": "udp" })
        ),
    ]);
    let publish =
        json!([{ "name": "alt", "ports": [81], "to": 80, "uplink": "external", "address": "web" }]);
    assert_eq!(fields(Kind::Jail, spec(publish, fine)), [""; 0]);
    let publish = json!([{ "name": "dns", "ports": ["50-60"], "uplink": "external" }]);
    let wrong = json!([
        entry("a", "main", json!({ "ports": [80, 80], "network": "wan" })),
        entry("z", "main", json!({ "ports": ["80-81"] })),
        entry("b", "main", json!({ "protocol": "udp" })),
        entry("c", "dns", json!({ "ports": [22, 53] })),
    ]);
    assert_eq!(
        fields(Kind::Jail, spec(publish, wrong)),
        [
            "spec.publicAddresses[0].network",
            "spec.publicAddresses[0].ports[1]",
            "spec.publicAddresses[1].ports[0]",
            "spec.publicAddresses[2].protocol",
            "spec.publicAddresses[2].address",
            "spec.publicAddresses[2].address",
            "spec.publicAddresses[3].ports[1]",
        ]
    );
    let nowhere = json!({ "publicAddresses": [entry("a", "main", json!({}))] });
    assert_eq!(fields(Kind::Jail, jail(nowhere)), ["spec.publicAddresses"]);
}

#[test]
fn parameters_do_not_undo_each_other_or_what_the_jail_is_made_with() {
    let fields = |spec: Value| found(Kind::Jail, "x", jail(spec));
    let shm = json!([{ "type": "tmpfs", "target": "/dev/shm" }]);
    let hidden = fields(json!({ "mounts": shm, "parameters": { "mount.devfs": true } }));
    assert!(hidden[0].contains("/dev/shm would be hidden"), "{hidden:?}");
    assert!(fields(json!({ "mounts": shm })).is_empty());
    let user = json!({ "exec.system_user": "www" });
    let by_user = fields(json!({ "mounts": shm, "parameters": user }));
    assert!(
        by_user[0].contains("mount for the jail as that user"),
        "{by_user:?}"
    );
    assert!(fields(json!({ "parameters": user })).is_empty());
    let both = json!({ "host": "inherit", "host.hostname": "x" });
    let both = fields(json!({ "parameters": both }));
    assert!(both[0].contains("host: inherit"), "{both:?}");
    let long = |length: usize| {
        let parameters = json!({ "env.A": "1", "env.LONG": "x".repeat(length) });
        fields(json!({ "parameters": parameters }))
    };
    assert!(long(4086).is_empty());
    assert!(long(4087)[0].contains("4097 octets"), "{:?}", long(4087));
}

#[test]
fn a_text_is_no_longer_than_the_kernel_keeps_it() {
    for (name, longest) in [
        ("osrelease", 30),
        ("host.hostname", 255),
        ("host.hostuuid", 63),
    ] {
        let spec = |octets: usize| jail(json!({ "parameters": { name: "a".repeat(octets) } }));
        assert_eq!(found(Kind::Jail, "x", spec(longest)), [] as [String; 0]);
        let told = found(Kind::Jail, "x", spec(longest + 1));
        assert!(told[0].contains("too long"), "{told:?}");
    }
}

#[test]
fn a_firewall_inside_needs_a_device_and_a_kernel_that_takes_rules() {
    let spec = |parameters: Value| {
        let firewall = json!({ "enforcedBy": "jail", "defaultIngress": "block" });
        jail(json!({
            "networks": [{ "network": "lan" }],
            "parameters": parameters,
            "firewall": firewall,
        }))
    };
    let fields = |parameters| found(Kind::Jail, "x", spec(parameters)).len();
    assert_eq!(fields(json!({ "mount.devfs": true, "securelevel": 1 })), 0);
    assert_eq!(fields(json!({})), 1);
    let sealed = found(
        Kind::Jail,
        "x",
        spec(json!({ "mount.devfs": true, "securelevel": 2 })),
    );
    assert!(sealed[0].contains("from securelevel 2"), "{sealed:?}");
}

#[test]
fn a_firewall_has_something_to_filter_and_is_no_longer_than_pf_bears() {
    let rule = |name: String| json!({ "name": name, "action": "pass", "protocol": "300" });
    let many: Vec<Value> = (0..129).map(|number| rule(format!("r{number}"))).collect();
    let spec = json!({ "firewall": { "egress": many } });
    let found = fields(Kind::Jail, jail(spec));
    assert_eq!(found[..2], ["spec.firewall", "spec.firewall"]);
    assert_eq!(found[2], "spec.firewall.egress[0].protocol");
    let socket = json!({ "name": "a", "action": "block", "protocol": "icmp", "group": "wheel" });
    let spec = json!({ "networks": [{ "network": "lan" }], "firewall": { "egress": [socket] } });
    assert_eq!(
        fields(Kind::Jail, jail(spec)),
        ["spec.firewall.egress[0].group"]
    );
}

#[test]
fn rules_and_probes_keep_their_form() {
    let spec = json!({
        "networks": [{ "network": "lan" }],
        "firewall": { "ingress": [
            { "name": "a", "action": "pass", "ports": [80], "to": [{ "cidr": "10.0.0.1/8" }] },
            { "name": "b", "action": "pass", "protocol": "t c p", "user": "x; y", "from": [{}], "network": "wan" },
        ] },
        "limits": ["memoryuse:deny=1g"],
        "probes": { "ready": {}, "live": { "tcp": { "port": 0 }, "every": "5", "failures": 0, "successes": 2 },
            "started": { "exec": { "command": ["/usr/bin/true"], "user": "-l" }, "delay": "2d", "timeout": "61s", "successes": 0 } },
    });
    assert_eq!(
        fields(Kind::Jail, jail(spec)),
        [
            "spec.firewall.ingress[0].ports",
            "spec.firewall.ingress[0].to",
            "spec.firewall.ingress[0].to[0].cidr",
            "spec.firewall.ingress[1].network",
            "spec.firewall.ingress[1].protocol",
            "spec.firewall.ingress[1].from[0]",
            "spec.firewall.ingress[1].user",
            "spec.firewall.ingress[1].user",
            "spec.limits[0]",
            "spec.probes.started.exec.user",
            "spec.probes.started.delay",
            "spec.probes.started.timeout",
            "spec.probes.started.successes",
            "spec.probes.ready",
            "spec.probes.live.tcp.port",
            "spec.probes.live.every",
            "spec.probes.live.failures",
            "spec.probes.live.successes",
        ]
    );
    // Nothing can be connected to in a jail that has no network.
    let connecting = json!({ "probes": { "ready": { "tcp": { "port": 80 } }, "live": { "http": { "port": 80 } } } });
    assert_eq!(
        fields(Kind::Jail, jail(connecting)),
        ["spec.probes.ready.tcp", "spec.probes.live.http"]
    );
    let inheriting = json!({ "parameters": { "ip4": "inherit" }, "probes": { "ready": { "tcp": { "port": 80 } } } });
    assert_eq!(fields(Kind::Jail, jail(inheriting)), [""; 0]);
}

#[test]
fn metadata_follows_kubernetes() {
    let mut object = Object::from_value(
        Kind::Host,
        json!({ "metadata": { "name": "h", "labels": { "a b": "x", "zone": "a b" }, "annotations": { "-": "x", "note": "y".repeat(300_000) } } }),
    )
    .expect("the shape is right");
    default_object(&mut object);
    let fields: Vec<String> = validate(&object)
        .into_iter()
        .map(|violation| violation.field)
        .collect();
    assert_eq!(
        fields,
        [
            "metadata.labels[a b]",
            "metadata.labels[zone]",
            "metadata.annotations[-]",
            "metadata.annotations"
        ]
    );
}

#[test]
fn routing_tables_have_numbers_that_an_agent_reads() {
    let shared = |fib: u16| json!({ "sharedIP": { "uplink": "x" }, "fib": fib });
    for (fib, refused) in [(0, true), (1, false), (15, false), (16, true)] {
        let expected = ["spec.fib"];
        let expected = if refused { &expected[..] } else { &[] };
        assert_eq!(fields(Kind::Network, shared(fib)), expected, "{fib}");
    }
    for (fibs, refused) in [(0, true), (1, false), (16, false), (17, true)] {
        let found = fields(Kind::Host, json!({ "fibs": fibs }));
        assert_eq!(!found.is_empty(), refused, "{fibs}: {found:?}");
    }
}

#[test]
fn shared_addresses_have_a_gateway_only_with_a_routing_table_on_a_wire() {
    let gateway = |owner: Option<&str>| {
        let mut gateway = json!({ "address": "10.0.2.1" });
        if let Some(owner) = owner {
            gateway["owner"] = json!(owner);
        }
        json!([{ "cidr": "10.0.2.0/24", "gateway": gateway }])
    };
    let shared = |mode: Value, fib: Option<u16>, subnets: Value| {
        let mut spec = json!({ "sharedIP": mode, "subnets": subnets });
        if let Some(fib) = fib {
            spec["fib"] = json!(fib);
        }
        fields(Kind::Network, spec)
    };
    let uplink = json!({ "uplink": "x" });
    assert_eq!(shared(uplink.clone(), Some(1), gateway(None)), [""; 0]);
    let at = ["spec.subnets[0].gateway"];
    assert_eq!(shared(uplink.clone(), None, gateway(None)), at);
    assert_eq!(
        shared(json!({ "loopback": {} }), Some(1), gateway(None)),
        at
    );
    assert_eq!(
        shared(uplink, Some(1), gateway(Some("host"))),
        ["spec.subnets[0].gateway.owner"]
    );
}

#[test]
fn what_an_uplink_scrubs_is_said_once_and_is_something() {
    let spec = json!({ "uplinks": {
        "empty": { "interface": "igb0", "scrub": {} },
        "once": { "interface": "igb1", "scrub": { "maxMss": 215 } },
        "pool": { "interfaces": ["igb2"], "scrub": { "noDf": true } },
        "twice": { "interface": "igb1", "scrub": { "randomId": true } },
    } });
    let lines = found(Kind::Host, "h", spec);
    let expected = [
        "spec.uplinks[empty].scrub: changes nothing",
        "spec.uplinks[once].scrub.maxMss: 215 is less than any TCP sends",
        "spec.uplinks[pool].scrub: the NICs of a pool go to jails",
        "spec.uplinks[twice].scrub: what comes in and leaves by igb1 is spec.uplinks[once].scrub's to change",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    let host = json!({ "uplinks": { "a": { "interface": "igb0", "scrub": { "maxMss": 216 } } } });
    assert_eq!(found(Kind::Host, "h", host), [""; 0]);
}

#[test]
fn link_local_addresses_on_a_loopback_lead_nowhere_else() {
    let own = |more: Value| {
        let mut spec =
            json!({ "sharedIP": { "loopback": {} }, "subnets": [{ "cidr": "fe80::/64" }] });
        for (field, value) in more.as_object().expect("fields") {
            spec[field] = value.clone();
        }
        fields(Kind::Network, spec)
    };
    assert_eq!(own(json!({})), [""; 0]);
    assert_eq!(own(json!({ "fib": 1 })), ["spec.subnets[0].cidr"]);
    let nat = json!({ "egress": { "nat": { "uplink": "x", "address6": "main6" } } });
    assert_eq!(own(nat), ["spec.egress.nat.address6"]);
}

#[test]
fn isolation_that_nothing_could_bring_about() {
    let apart = |mode: &str, settings: Value| {
        let subnets = json!([{ "cidr": "10.0.0.0/24" }]);
        let spec = json!({ mode: settings, "subnets": subnets, "isolation": "jails" });
        fields(Kind::Network, spec)
    };
    let slices = json!({ "hostPrefixLength": { "ipv4": 27 } });
    for (mode, settings) in [
        ("netgraph", json!({})),
        ("netgraph", json!({ "uplink": "x" })),
        ("passthrough", json!({ "uplinks": ["x"] })),
    ] {
        assert_eq!(apart(mode, settings), ["spec.isolation"], "{mode}");
    }
    for (mode, settings) in [
        ("sharedIP", json!({ "loopback": {} })),
        ("sharedIP", json!({ "uplink": "x" })),
        ("bridge", json!({})),
        ("bridge", json!({ "uplink": "x" })),
        ("routed", slices),
    ] {
        assert_eq!(apart(mode, settings), [""; 0], "{mode}");
    }
}

#[test]
fn a_rule_about_nobody_is_not_one_about_everybody() {
    let firewall = |rule: Value| {
        jail(json!({ "networks": [{ "network": "n" }], "firewall": { "ingress": [rule] } }))
    };
    for (list, rule) in [
        ("from", json!({ "name": "a", "action": "pass", "from": [] })),
        (
            "ports",
            json!({ "name": "a", "action": "pass", "protocol": "tcp", "ports": [] }),
        ),
    ] {
        let document = json!({ "metadata": { "name": "x" }, "spec": firewall(rule) });
        let refused = crate::structural::read(Kind::Jail, document).expect_err("it is empty");
        let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
        let at = format!("spec.firewall.ingress[0].{list}: names nobody and nothing");
        assert!(
            refused.len() == 1 && refused[0].starts_with(&at),
            "{refused:?}"
        );
    }
    let of_family = |protocol: &str, cidr: &str| {
        let rule = json!({ "name": "a", "action": "pass", "protocol": protocol, "from": [{ "cidr": cidr }] });
        found(Kind::Jail, "x", firewall(rule))
    };
    let refused = of_family("icmp", "fd00::/64");
    assert!(refused[0].starts_with("spec.firewall.ingress[0].from[0].cidr: no packet of icmp"));
    assert_eq!(of_family("icmp6", "10.0.0.0/8").len(), 1);
    assert_eq!(of_family("icmp6", "fd00::/64"), [""; 0]);
    let by_number = json!({ "name": "a", "action": "pass", "protocol": "6", "ports": [80] });
    assert_eq!(found(Kind::Jail, "x", firewall(by_number)), [""; 0]);
    for protocol in ["0", "ip", "256"] {
        let rule = json!({ "name": "a", "action": "block", "protocol": protocol });
        assert_eq!(
            found(Kind::Jail, "x", firewall(rule)).len(),
            1,
            "{protocol}"
        );
    }
    for user in ["2000:1000", "5 >< 6"] {
        let rule = json!({ "name": "a", "action": "block", "protocol": "tcp", "user": user });
        assert_eq!(found(Kind::Jail, "x", firewall(rule)).len(), 1, "{user}");
    }
}

#[test]
fn an_image_is_of_one_file_and_no_other() {
    let good = "a".repeat(64);
    for (release, wrong) in [
        (
            json!({}),
            vec!["spec.release.tarball", "spec.release.sha256"],
        ),
        (
            json!({ "tarball": "base.txz", "sha256": good.to_uppercase() }),
            vec!["spec.release.tarball", "spec.release.sha256"],
        ),
        (
            json!({ "tarball": "/var/../base.txz", "sha256": good, "version": "15 1" }),
            vec!["spec.release.tarball", "spec.release.version"],
        ),
        (
            json!({ "tarball": "https://", "sha256": good }),
            vec!["spec.release.tarball"],
        ),
        (
            json!({ "tarball": "https://me:secret@a/base.txz", "sha256": good }),
            vec!["spec.release.tarball"],
        ),
        (
            json!({ "tarball": "ftp://a/base.txz", "sha256": good }),
            vec!["spec.release.tarball"],
        ),
        (
            json!({ "tarball": "https://a/base.txz", "sha256": good, "version": "15.1-RELEASE" }),
            vec![],
        ),
        (
            json!({ "tarball": "/var/base.txz", "sha256": good }),
            vec![],
        ),
    ] {
        let image = json!({ "metadata": { "name": "base" }, "spec": { "release": release } });
        let mut image = Object::from_value(Kind::Image, image).expect("the shape is right");
        crate::default_object(&mut image);
        let found = crate::validate(&image);
        let fields: Vec<&str> = found.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, wrong, "{found:?}");
    }
}

#[test]
fn owners_are_others_and_one_of_them_controls() {
    let owner = |name: &str, uid: &str| {
        json!({
            "apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail", "name": name, "uid": uid, "controller": true,
        })
    };
    let document = json!({
        "metadata": { "name": "x", "ownerReferences": [owner("", ""), owner("x", "1"), owner("y", "2")] },
        "spec": jail(json!({})),
    });
    let mut object = crate::structural::read(Kind::Jail, document).expect("the shape is right");
    default_object(&mut object);
    let found: Vec<_> = validate(&object).into_iter().map(|one| one.field).collect();
    assert_eq!(
        found,
        [
            "metadata.ownerReferences[0].name",
            "metadata.ownerReferences[0].uid",
            "metadata.ownerReferences[1]",
            "metadata.ownerReferences[1].controller",
            "metadata.ownerReferences[2].controller",
        ]
    );
}

#[test]
fn sets_have_times_amounts_and_templates_of_bounds() {
    let set = |more: Value| {
        let mut spec = json!({ "template": { "spec": { "root": { "path": "/jails/www" } } } });
        for (name, value) in more.as_object().expect("fields") {
            spec[name.as_str()] = value.clone();
        }
        fields(Kind::JailSet, spec)
    };
    assert_eq!(set(json!({})), [""; 0]);
    for (more, field) in [
        (json!({ "replicas": 1001 }), "spec.replicas"),
        (json!({ "minReady": "1d" }), "spec.minReady"),
        (json!({ "minReady": "10m" }), "spec.minReady"),
        (
            json!({ "progressDeadline": "25h" }),
            "spec.progressDeadline",
        ),
        (
            json!({ "revisionHistoryLimit": 51 }),
            "spec.revisionHistoryLimit",
        ),
        (
            json!({ "updateStrategy": { "maxUnavailable": "101%" } }),
            "spec.updateStrategy.maxUnavailable",
        ),
        (
            json!({ "updateStrategy": { "maxSurge": 1 } }),
            "spec.updateStrategy.maxSurge",
        ),
    ] {
        assert!(set(more.clone()).contains(&field.to_owned()), "{more}");
    }
    let text = "x".repeat(200 * 1024);
    let large = json!({
        "metadata": { "annotations": { "text": text } },
        "spec": { "root": { "path": "/jails/www" } },
    });
    assert_eq!(set(json!({ "template": large })), [""; 0]);
    let mut large = large;
    large["spec"]["parameters"] = json!({ "exec.start": "x".repeat(60 * 1024) });
    assert!(set(json!({ "template": large })).contains(&"spec.template".to_owned()));
}

#[test]
fn the_last_ordinal_is_one_less_than_there_are() {
    let spec =
        json!({ "replicas": 10, "template": { "spec": { "root": { "path": "/jails/www" } } } });
    let longest = "a".repeat(61);
    assert_eq!(found(Kind::JailSet, &longest, spec.clone()), [""; 0]);
    assert!(!found(Kind::JailSet, &format!("{longest}a"), spec).is_empty());
}
