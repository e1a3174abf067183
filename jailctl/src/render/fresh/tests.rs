//! What a host has before anything is done to it.

use cellblock_schemas::host::InterfaceFact;
use cellblock_schemas::jail::{Binding, BoundAttachment};
use cellblock_schemas::view::JailView;
use serde_json::json;

use super::*;

fn view(uplinks: serde_json::Value) -> HostView {
    let mut view = HostView {
        host_name: "h".to_owned(),
        ..HostView::default()
    };
    view.host.uplinks = serde_json::from_value(uplinks).expect("uplinks");
    view
}

/// Binds a jail on the host to an address, and to a NIC.
fn bind(view: &mut HostView, address: &str, nic: Option<&str>) {
    let bound = BoundAttachment {
        addresses: vec![address.parse().expect("an address")],
        nic: nic.map(str::to_owned),
        ..BoundAttachment::default()
    };
    let jail = JailView {
        name: "www".to_owned(),
        binding: Binding {
            attachments: vec![bound],
            ..Binding::default()
        },
        ..JailView::default()
    };
    view.jails.insert(jail.uid.clone(), jail);
}

fn fact(name: &str, addresses: &[&str]) -> InterfaceFact {
    InterfaceFact {
        name: name.to_owned(),
        mac: None,
        addresses: addresses
            .iter()
            .map(|address| address.parse().expect("an address"))
            .collect(),
        up: true,
    }
}

#[test]
fn without_an_agents_word_the_uplinks_are_what_there_is() {
    let mut view = view(json!({
        "external": {"interface": "igb0", "publicAddresses": {"a": "203.0.113.1", "b": "203.0.113.2", "six": "2001:db8::1"}},
        "spare": {"interfaces": ["igb2"]},
        "wan": {"lagg": {"protocol": "failover", "ports": ["ix0", "ix1"]}},
        "office": {"vlan": {"id": 30, "uplink": "wan"}},
    }));
    bind(&mut view, "10.0.0.1/24", None);
    let fresh = Fresh::of(&view, None);
    assert_eq!(
        fresh.words(),
        "igb0 (203.0.113.1/24, 203.0.113.2/32, 2001:db8::1/64), igb2, ix0, ix1"
    );
    fresh.start(&view).expect("it starts");
}

#[test]
fn an_address_that_a_jail_has_is_not_the_one_that_the_host_sends_from() {
    let mut view = view(json!({
        "external": {"interface": "igb0", "publicAddresses": {"a": "203.0.113.1", "b": "203.0.113.2"}},
    }));
    bind(&mut view, "10.0.0.1/24", None);
    for jail in view.jails.values_mut() {
        let public = json!([{"name": "all", "uplink": "external", "address": "a"}]);
        jail.spec.public_addresses = serde_json::from_value(public).expect("public addresses");
    }
    assert_eq!(
        Fresh::of(&view, None).words(),
        "igb0 (203.0.113.2/24, 203.0.113.1/32)"
    );
}

#[test]
fn what_an_agent_has_told_counts_without_what_is_ours() {
    let mut view = view(json!({"external": {"interface": "igb0"}, "own": {"interface": "lo1"}}));
    bind(&mut view, "203.0.113.10/32", Some("igb1"));
    let facts = HostFacts {
        osreldate: 1_403_000,
        interfaces: vec![
            fact("igb0", &["203.0.113.1/24", "203.0.113.10/32", "fe80::1/64"]),
            fact("lo0", &["127.0.0.1/8"]),
            fact("lo1", &["10.9.9.9/32"]),
            fact("epair7a", &[]),
            fact("bridge0", &["10.1.1.1/24"]),
        ],
        ..HostFacts::default()
    };
    let fresh = Fresh::of(&view, Some(&facts));
    assert_eq!(fresh.release, Release::V14_3);
    assert_eq!(
        fresh.words(),
        "igb0 (203.0.113.1/24), igb1, lo1 (10.9.9.9/32)",
        "the jail's address and NIC are not the host's, and cloned interfaces only by an uplink's name"
    );
    fresh.start(&view).expect("it starts");
}
