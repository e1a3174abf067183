//! What the index makes of events.

use cellblock_schemas::Kind;
use serde_json::json;

use super::{Event, Index, What};
use crate::testing::{World, bridge, host, jail, shared};

fn put(key: String, text: &str) -> Event {
    Event::Put {
        key,
        value: text.to_owned().into(),
        modified: 9,
    }
}

#[test]
fn what_cannot_be_read_is_named_and_passed_over() {
    let mut index = Index::new(cellblock_schemas::ClusterUid("c1".to_owned()));
    let keys = index.keys().clone();
    let other = r#"{"metadata":{"name":"other"},"spec":{}}"#;
    let applied = index.apply(
        9,
        [
            put(keys.object(Kind::Host, "a"), "no JSON"),
            put(keys.object(Kind::Host, "b"), other),
            put(keys.session("a"), "{}"),
            put("/somebody/else".to_owned(), "x"),
            put(keys.object(Kind::Host, "other"), other),
        ],
    );
    let unreadable: Vec<_> = applied
        .unreadable
        .iter()
        .map(|(key, _)| key.clone())
        .collect();
    assert_eq!(
        unreadable,
        [
            keys.object(Kind::Host, "a"),
            keys.object(Kind::Host, "b"),
            keys.session("a")
        ]
    );
    assert_eq!((index.count(Kind::Host), index.revision()), (1, 9));
}

#[test]
fn a_snapshot_is_told_as_the_difference() {
    let mut world = World::with_hosts(&["a", "b"]);
    let before = world.index.clone();
    world.apply(bridge("lan")).expect("a network");
    let mut relabelled = host("b");
    relabelled["metadata"]["labels"]["zone"] = json!("x");
    world.apply(relabelled).expect("a host");
    world.delete(Kind::Host, "a").expect("accepted");
    world.reconcile();
    let mut index = before;
    let items = world
        .contents()
        .into_iter()
        .map(|(key, (value, revision))| (key, value, revision));
    let applied = index.replace(world.revision(), items.collect::<Vec<_>>());
    let seen: Vec<_> = applied
        .events
        .iter()
        .map(|event| (event.what, event.entry.name()))
        .collect();
    assert_eq!(
        seen,
        [
            (What::Modified, "b"),
            (What::Added, "lan"),
            (What::Deleted, "a")
        ]
    );
    assert_eq!(applied.events[2].entry.revision, world.revision());
}

#[test]
fn only_what_a_view_shows_touches_a_host() {
    let mut world = World::with_hosts(&["a", "b"]);
    world.apply(bridge("lan")).expect("a network");
    world
        .apply(jail("www", &["lan"], json!({"host": "a"})))
        .expect("a jail");
    let (a, b) = (
        world.index.view_revision("a"),
        world.index.view_revision("b"),
    );
    world.reconcile();
    world.report("a");
    let mut relabelled = host("a");
    relabelled["metadata"]["labels"]["zone"] = json!("x");
    world.apply(relabelled).expect("a host");
    assert_eq!(
        (
            world.index.view_revision("a"),
            world.index.view_revision("b")
        ),
        (a, b)
    );
    let mut isolated = bridge("lan");
    isolated["spec"]["hostSelector"] = json!({});
    world.apply(isolated).expect("a network");
    assert!(world.index.view_revision("a") > a);
    assert_eq!(world.index.view_revision("b"), b);
}

#[test]
fn a_range_of_a_jail_that_ends_lower_hides_no_other_one_of_it() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    let publish = |name: &str, ports: serde_json::Value| {
        let publish = json!({ "name": "web", "uplink": "external", "ports": ports });
        jail(name, &["lan"], json!({ "host": "a", "publish": [publish] }))
    };
    world
        .apply(publish("one", json!(["8000-8100"])))
        .expect("a jail");
    world
        .apply(publish("one", json!([8050])))
        .expect("a change");
    world
        .apply(publish("two", json!([8090])))
        .expect_err("host a may redirect it still");
}

/// A jail that lets in what has the label `role: web`.
fn choosy(name: &str, host: &str, network: &str) -> serde_json::Value {
    let from = json!([{ "jails": { "matchLabels": { "role": "web" } } }]);
    let rule = json!({ "name": "web", "action": "pass", "from": from });
    jail(
        name,
        &[network],
        json!({ "host": host, "firewall": { "ingress": [rule] } }),
    )
}

fn labelled(mut jail: serde_json::Value, role: &str) -> serde_json::Value {
    jail["metadata"]["labels"] = json!({ "role": role });
    jail
}

#[test]
fn a_change_of_a_selected_jail_touches_the_hosts_with_rules_about_it_and_no_others() {
    let mut world = World::with_hosts(&["a", "b", "c"]);
    world.apply(bridge("lan")).expect("a network");
    world.apply(choosy("db", "a", "lan")).expect("a jail");
    let revisions = |world: &World| ["a", "b", "c"].map(|host| world.index.view_revision(host));
    let selected = |world: &World| {
        let view = crate::host_view(&world.index, "a").expect("a host");
        let jail = view.jails.into_values().next().expect("a jail");
        let addresses = jail.peers.into_iter().flat_map(|peer| peer.addresses);
        addresses
            .map(|address| address.to_string())
            .collect::<Vec<_>>()
    };
    assert!(selected(&world).is_empty());
    let before = revisions(&world);
    let www = jail("www", &["lan"], json!({ "host": "b" }));
    world.apply(labelled(www.clone(), "cache")).expect("a jail");
    assert_eq!(revisions(&world)[0], before[0], "nobody selects it");
    let before = revisions(&world);
    world.apply(labelled(www.clone(), "web")).expect("a change");
    let after = revisions(&world);
    assert!(after[0] > before[0]);
    assert_eq!(after[2], before[2]);
    assert_eq!(selected(&world).len(), 2, "one address of each family");
    let before = revisions(&world);
    let mut moved = labelled(www, "web");
    moved["spec"]["networks"][0]["addresses"] = json!(["10.30.0.99"]);
    world.apply(moved).expect("a change");
    world.reconcile();
    let after = revisions(&world);
    assert!(after[0] > before[0]);
    assert_eq!(after[2], before[2]);
    assert_eq!(selected(&world), ["10.30.0.99"]);
    // What it reports is nobody else's matter.
    let before = revisions(&world);
    world.report("b");
    assert_eq!(revisions(&world)[0], before[0]);
}

#[test]
fn addresses_that_repeat_on_every_host_are_those_of_its_own_jails() {
    let mut world = World::with_hosts(&["a", "b"]);
    world.apply(shared("inside")).expect("a network");
    world.apply(choosy("db", "a", "inside")).expect("a jail");
    for (name, host) in [("near", "a"), ("far", "b")] {
        let before = world.index.view_revision("a");
        let www = jail(name, &["inside"], json!({ "host": host }));
        world.apply(labelled(www, "web")).expect("a jail");
        assert_eq!(world.index.view_revision("a") > before, name == "near");
    }
    let view = crate::host_view(&world.index, "a").expect("a host");
    let near = world.address("near").expect("it is bound");
    let db = view.jails.values().find(|jail| jail.name == "db");
    let peers = &db.expect("it is bound").peers;
    assert_eq!(peers.len(), 1);
    let addresses: Vec<String> = peers[0].addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, [near]);
}

#[test]
fn shared_ports_are_in_nobodys_way_who_says_the_same() {
    use crate::claim::{Claim, Owner, Resource, Share};
    use cellblock_schemas::Uid;
    use cellblock_schemas::net::{PortRange, Protocol};

    let part = |jail: &str, ports: (u16, u16), share: Option<(&str, Option<u16>, bool)>| {
        let (first, last) = ports;
        Resource::Port {
            host: "a".to_owned(),
            address: "203.0.113.1".parse().expect("an address"),
            protocol: Protocol::Tcp,
            ports: PortRange { first, last },
            share: share.map(|(pool, to, sticky)| Share {
                pool: pool.to_owned(),
                to,
                sticky,
                jail: Uid(jail.to_owned()),
            }),
        }
    };
    let terms = Some(("web", Some(8443), false));
    let mut claims = super::Claims::default();
    for jail in ["one", "two"] {
        let owner = Owner::Jail {
            name: jail.to_owned(),
            uid: Uid(jail.to_owned()),
        };
        claims.insert(part(jail, (443, 443), terms), Claim::held_by(owner));
    }
    let is_free = |resource: &Resource, jail: &str| {
        claims.in_the_way(resource, &Uid(jail.to_owned())).is_none()
    };
    assert!(is_free(&part("three", (443, 443), terms), "three"));
    assert!(is_free(&part("three", (444, 65535), terms), "three"));
    for (ports, share) in [
        ((443, 443), None),
        ((443, 443), Some(("web", None, false))),
        ((443, 443), Some(("web", Some(8443), true))),
        ((443, 443), Some(("other", Some(8443), false))),
        ((443, 444), terms),
        ((1, 65535), terms),
    ] {
        let wanted = part("three", ports, share);
        assert!(!is_free(&wanted, "three"), "{wanted:?}");
    }
    // Its own former part is in nobody's way but that of others.
    assert!(!is_free(&part("one", (443, 443), None), "one"));
    let whole = Resource::PublicAddress {
        host: "a".to_owned(),
        address: "203.0.113.1".parse().expect("an address"),
    };
    assert!(!is_free(&whole, "three"));
}

#[test]
fn who_looks_for_slices_looks_at_nothing_else() {
    let mut world = World::with_hosts(&["a", "b"]);
    for (place, name) in ["a", "b"].iter().enumerate() {
        let mut document = host(name);
        document["spec"]["addresses"] = json!({"node": format!("198.51.100.{}", place + 1)});
        world.apply(document).expect("a host");
    }
    let mut span = shared("span");
    span["spec"] = json!({
        "routed": {"hostPrefixLength": {"ipv4": 30}}, "scope": "fleet", "subnets": [{"cidr": "10.40.0.0/28"}],
    });
    world.apply(span).expect("a network");
    for number in 0..20 {
        let networks = if number == 0 {
            json!([{"network": "span"}])
        } else {
            json!([])
        };
        let spec = json!({"host": "a", "userIds": {"count": 10}, "networks": networks});
        let name = format!("j{number}");
        world.apply(jail(&name, &[], spec)).expect("a jail");
    }
    let claims = world.index.claims();
    assert!(claims.len() > 40, "user ids and roots of all of them");
    assert_eq!(claims.within_slices("").count(), 1);
    assert_eq!(claims.within_slices("span").count(), 1);
    assert_eq!(claims.within_slices("tan").count(), 0);
}
