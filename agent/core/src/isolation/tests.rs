use serde_json::{Value, json};

use super::*;

fn flow(interface: &str, inward: bool, from: &str, to: &str) -> Flow {
    let end = |text: &str| (text.parse().expect("an address"), 80);
    Flow {
        interface: interface.to_owned(),
        inward,
        protocol: "tcp".to_owned(),
        from: end(from),
        to: end(to),
    }
}

fn apart(here: &[&str], elsewhere: &[&str]) -> Apart {
    let parse = |texts: &[&str]| -> BTreeSet<IpAddr> {
        let texts = texts.iter();
        texts
            .map(|text| text.parse().expect("an address"))
            .collect()
    };
    let here = parse(here);
    Apart {
        own: here.union(&parse(elsewhere)).copied().collect(),
        here,
    }
}

fn jails() -> BTreeMap<Uid, Apart> {
    [
        (
            "www",
            apart(&["127.0.1.3", "127.0.1.30", "fe80::cb:3"], &["203.0.113.3"]),
        ),
        ("db", apart(&["127.0.1.4", "fe80::cb:4"], &["203.0.113.4"])),
    ]
    .map(|(uid, apart)| (Uid(uid.to_owned()), apart))
    .into()
}

#[test]
fn jails_with_addresses_of_the_host() {
    let isolation = Isolation {
        network: Uid("net".to_owned()),
        jails: jails(),
        at: Crossing::Stack {
            loopback: Some("cbxlo".to_owned()),
        },
        beside: BTreeMap::new(),
    };
    let permits = |from, to| isolation.permits(&flow("lo0", false, from, to));
    assert!(!permits("127.0.1.3", "127.0.1.4"));
    assert!(!permits("203.0.113.3", "127.0.1.4"), "from another network");
    assert!(permits("127.0.1.3", "203.0.113.4"), "its other address");
    assert!(permits("127.0.1.3", "127.0.1.30"), "its own");
    assert!(permits("127.0.1.4", "127.0.1.4"));
    assert!(permits("127.0.0.1", "127.0.1.4"), "the host");
    assert!(!permits("fe80::cb:3", "fe80::cb:4"));
    let elsewhere = flow("vtnet0", false, "fe80::cb:3", "fe80::cb:4");
    assert!(isolation.permits(&elsewhere), "others on another link");
    let on_its_own = flow("cbxlo", true, "fe80::cb:4", "fe80::cb:3");
    assert!(!isolation.permits(&on_its_own));
}

#[test]
fn jails_of_a_bridge_by_way_of_the_host() {
    let isolation = Isolation {
        network: Uid("net".to_owned()),
        jails: [(Uid("www".to_owned()), apart(&["172.16.1.10"], &[]))].into(),
        at: Crossing::Routed {
            interfaces: ["cbxbr".to_owned()].into(),
            subnets: ["172.16.1.0/24".parse().expect("a prefix")].into(),
            gateways: ["172.16.1.1".parse().expect("an address")].into(),
            spanning: false,
        },
        beside: BTreeMap::new(),
    };
    let permits =
        |interface, inward, to| isolation.permits(&flow(interface, inward, "10.9.9.9", to));
    assert!(
        !permits("cbxbr", true, "172.16.1.77"),
        "an address that nobody gave"
    );
    assert!(permits("cbxbr", true, "172.16.1.1"), "the gateway");
    assert!(permits("cbxbr", true, "198.51.100.1"), "the outside");
    assert!(permits("cbxbr", false, "172.16.1.10"), "from the host");
    assert!(permits("vtnet0", true, "172.16.1.10"), "a published port");
}

#[test]
fn jails_of_a_network_that_spans_hosts() {
    let isolation = Isolation {
        network: Uid("net".to_owned()),
        jails: [(Uid("one".to_owned()), apart(&["10.41.0.3"], &["10.41.0.3"]))].into(),
        at: Crossing::Routed {
            interfaces: ["cbxa".to_owned()].into(),
            subnets: ["10.41.0.0/24".parse().expect("a prefix")].into(),
            gateways: ["10.41.0.2".parse().expect("an address")].into(),
            spanning: true,
        },
        beside: BTreeMap::new(),
    };
    let permits = |interface, inward, from, to| {
        let both = [(from, to), (to, from)];
        both.map(|(from, to)| isolation.permits(&flow(interface, inward, from, to)))
    };
    // The other's host is behind the wire: on the way out, on the way in, and to a link.
    for (interface, inward) in [("vtnet0", false), ("vtnet0", true), ("cbxa", false)] {
        assert_eq!(
            permits(interface, inward, "10.41.0.3", "10.41.0.17"),
            [false; 2]
        );
        assert_eq!(
            permits(interface, inward, "10.41.0.3", "198.51.100.1"),
            [true; 2]
        );
    }
    assert!(
        permits("cbxa", false, "10.41.0.2", "10.41.0.3")[0],
        "from the host"
    );
    assert!(!permits("cbxa", true, "10.41.0.3", "10.41.0.17")[0]);
}

#[test]
fn where_pf_has_a_part_in_it() {
    let by_pf = |spec: Value| {
        let mut spec = spec;
        spec["isolation"] = json!("jails");
        by_pf(&serde_json::from_value(spec).expect("the shape is right"))
    };
    let gateway = json!([{ "cidr": "10.0.0.0/24", "gateway": { "address": "10.0.0.1" } }]);
    assert!(by_pf(json!({ "sharedIP": { "loopback": {} } })));
    assert!(by_pf(json!({ "routed": {} })));
    assert!(by_pf(json!({ "bridge": {}, "subnets": gateway })));
    assert!(!by_pf(json!({ "bridge": {} })));
    assert!(!by_pf(
        json!({ "bridge": { "uplink": "wire" }, "subnets": gateway })
    ));
    assert!(!by_pf(json!({ "netgraph": {} })));
}
