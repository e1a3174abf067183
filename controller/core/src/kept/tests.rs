//! What a jail that is gone leaves for the next of its name.

use cellblock_schemas::jail::Binding;
use cellblock_schemas::{ConditionStatus, Kind, Uid};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{KEPT_AGE_MAX, KEPT_MAX, Kept};
use crate::reconcile::{self, Item};
use crate::testing::{World, bridge, host, jail, shared};
use crate::write::Write;

/// A bridge with three addresses to give, and hosts.
fn world(hosts: &[&str]) -> World {
    let mut world = World::with_hosts(hosts);
    let mut network = bridge("lan");
    network["spec"]["subnets"] =
        json!([{"cidr": "10.30.0.0/24", "allocate": ["10.30.0.10-10.30.0.12"]}]);
    world.apply(network).expect("a network");
    world
}

fn on_lan(name: &str) -> Value {
    jail(name, &["lan"], json!({"host": "a"}))
}

fn given(name: &str, address: &str) -> Value {
    let networks = json!([{"network": "lan", "addresses": [address]}]);
    jail(name, &[], json!({"host": "a", "networks": networks}))
}

/// The jail goes, and its host says so.
fn remove(world: &mut World, name: &str) {
    let host = world.binding(name).expect("it is bound").host.clone();
    world.delete(Kind::Jail, name).expect("it may go");
    world.report(&host);
    world.reconcile();
    assert!(world.index.jail(name).is_none());
}

#[test]
fn who_comes_back_has_what_it_had() {
    let mut world = world(&["a"]);
    for name in ["www", "db", "mail"] {
        world.apply(on_lan(name)).expect("a jail");
    }
    let had = world.binding("db").cloned();
    remove(&mut world, "db");
    assert!(world.index.kept("db").is_some());
    world.restart();
    remove(&mut world, "www");
    world.apply(on_lan("db")).expect("a jail");
    assert_eq!(world.binding("db").cloned(), had, "its MAC address, too");
    assert!(world.index.kept("db").is_none());
    assert!(world.index.kept("www").is_some());
}

#[test]
fn others_get_it_only_when_nothing_else_is_left_and_the_longest_kept_first() {
    let mut world = world(&["a"]);
    for name in ["one", "two"] {
        world.apply(on_lan(name)).expect("a jail");
    }
    remove(&mut world, "two");
    remove(&mut world, "one");
    for (name, address) in [
        ("new", "10.30.0.12"),
        ("newer", "10.30.0.11"),
        ("newest", "10.30.0.10"),
    ] {
        world.apply(on_lan(name)).expect("a jail");
        assert_eq!(world.address(name).as_deref(), Some(address), "{name}");
    }
    world.apply(on_lan("one")).expect("it waits");
    let (status, reason, _) = world.scheduled("one");
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "AddressesExhausted")
    );
    remove(&mut world, "new");
    world.reconcile();
    assert_eq!(world.address("one").as_deref(), Some("10.30.0.12"));
}

#[test]
fn who_names_it_has_it_at_once_and_who_had_it_last_gets_it_back() {
    let mut world = world(&["a"]);
    world.apply(on_lan("www")).expect("a jail");
    remove(&mut world, "www");
    world
        .apply(given("other", "10.30.0.10"))
        .expect("nobody has it");
    world.apply(on_lan("www")).expect("a jail");
    assert_eq!(world.address("www").as_deref(), Some("10.30.0.11"));
    remove(&mut world, "www");
    remove(&mut world, "other");
    for name in ["other", "www"] {
        world.apply(on_lan(name)).expect("a jail");
    }
    assert_eq!(world.address("other").as_deref(), Some("10.30.0.10"));
    assert_eq!(world.address("www").as_deref(), Some("10.30.0.11"));
}

#[test]
fn a_mac_number_that_somebody_had_since_is_kept_for_whoever_had_it_last() {
    let mut world = world(&["a"]);
    world.apply(on_lan("www")).expect("a jail");
    let mac = |world: &World, name: &str| world.binding(name).expect("bound").attachments[0].mac;
    let had = mac(&world, "www");
    remove(&mut world, "www");
    let networks = json!([{"network": "lan", "mac": had}]);
    let named = jail("other", &[], json!({"host": "a", "networks": networks}));
    world.apply(named).expect("nobody has it");
    assert_eq!(mac(&world, "other"), had);
    remove(&mut world, "other");
    world.apply(on_lan("www")).expect("a jail");
    assert_ne!(mac(&world, "www"), had);
    world.apply(on_lan("other")).expect("a jail");
    assert_eq!(mac(&world, "other"), had);
}

#[test]
fn what_may_not_be_given_out_any_more_does_not_come_back() {
    let mut world = world(&["a"]);
    world.apply(given("www", "10.30.0.99")).expect("a jail");
    remove(&mut world, "www");
    world.apply(on_lan("www")).expect("a jail");
    assert_eq!(
        world.address("www").as_deref(),
        Some("10.30.0.10"),
        "not one that is never allocated"
    );
}

#[test]
fn a_network_does_not_wait_for_it_and_another_of_its_name_gives_it_if_it_fits() {
    let mut world = world(&["a"]);
    world.apply(on_lan("www")).expect("a jail");
    remove(&mut world, "www");
    world.delete(Kind::Network, "lan").expect("nobody is on it");
    world.reconcile();
    assert!(world.index.network("lan").is_none());
    assert!(world.index.claims().is_empty());
    let mut other = bridge("lan");
    other["spec"]["subnets"] = json!([{"cidr": "10.31.0.0/24"}]);
    world.apply(other).expect("a network");
    world.apply(on_lan("www")).expect("a jail");
    assert_eq!(world.address("www").as_deref(), Some("10.31.0.1"));
}

#[test]
fn who_leaves_a_host_that_is_given_up_leaves_it_too() {
    for deleted in [false, true] {
        let mut world = world(&["a"]);
        world.apply(on_lan("www")).expect("a jail");
        let had = world.address("www");
        world.lose("a");
        if deleted {
            world.delete(Kind::Jail, "www").expect("accepted");
        }
        let mut forgotten = host("a");
        forgotten["spec"]["forgotten"] = json!(true);
        world.apply(forgotten).expect("its agent is away");
        world.reconcile();
        assert_eq!(world.index.claims().addresses("lan").count(), 0);
        assert!(world.index.kept("www").is_some());
        world.apply(on_lan("other")).expect("it waits");
        let mut back = host("a");
        back["spec"]["forgotten"] = json!(false);
        world.apply(back).expect("it is taken back");
        world.hear("a");
        world.reconcile();
        assert_ne!(world.address("other"), had);
        world.apply(on_lan("www")).expect("a jail");
        assert_eq!(world.address("www"), had);
    }
}

#[test]
fn addresses_of_a_hosts_slices_come_back_on_that_host() {
    let mut world = World::with_hosts(&["a", "b"]);
    for (place, name) in ["a", "b"].into_iter().enumerate() {
        let mut node = host(name);
        node["spec"]["addresses"] = json!({"node": format!("198.51.100.{}", place + 1)});
        world.apply(node).expect("a host");
    }
    let mut span = shared("span");
    span["spec"] = json!({"routed": {"hostPrefixLength": {"ipv4": 30}, "link": "pointToPoint"}, "scope": "fleet", "subnets": [{"cidr": "10.40.0.0/28"}]});
    world.apply(span).expect("a network");
    world
        .apply(jail("www", &["span"], json!({})))
        .expect("a jail");
    world
        .apply(jail("db", &["span"], json!({})))
        .expect("a jail");
    let had = world.binding("db").cloned().expect("it is bound");
    assert_eq!(had.host, "b");
    remove(&mut world, "db");
    // Otherwise it would go to the host with the fewest jails.
    remove(&mut world, "www");
    world
        .apply(jail("db", &["span"], json!({})))
        .expect("a jail");
    assert_eq!(world.binding("db"), Some(&had));
    world
        .apply(jail("www", &["span"], json!({})))
        .expect("a jail");
    assert_eq!(
        world.binding("www").map(|binding| binding.host.as_str()),
        Some("a")
    );
}

#[test]
fn who_finds_nothing_kept_goes_where_the_fewest_jails_are() {
    let mut world = World::with_hosts(&["a", "b"]);
    for (place, name) in ["a", "b"].into_iter().enumerate() {
        let mut node = host(name);
        node["spec"]["addresses"] = json!({"node": format!("198.51.100.{}", place + 1)});
        world.apply(node).expect("a host");
    }
    let mut span = shared("span");
    span["spec"] = json!({"routed": {"hostPrefixLength": {"ipv4": 30}}, "scope": "fleet", "subnets": [{"cidr": "10.40.0.0/28"}]});
    world.apply(span).expect("a network");
    let on_span = |name: &str| jail(name, &["span"], json!({}));
    world
        .apply(jail("www", &["span"], json!({"host": "b"})))
        .expect("a jail");
    let had = world.address("www").expect("an address");
    remove(&mut world, "www");
    // Somebody takes it and goes: it is kept for him since.
    let networks = json!([{"network": "span", "addresses": [had]}]);
    world
        .apply(jail(
            "other",
            &[],
            json!({"host": "b", "networks": networks}),
        ))
        .expect("nobody has it");
    remove(&mut world, "other");
    world.apply(on_span("www")).expect("a jail");
    let host = |name: &str| world.binding(name).map(|binding| binding.host.clone());
    assert_eq!(host("www").as_deref(), Some("a"));
}

#[test]
fn the_jails_of_a_set_come_back_as_themselves() {
    let mut world = world(&["a", "b"]);
    let set = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "JailSet", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"root": {"path": "/jails/web"}, "networks": [{"network": "lan"}]},
        }},
    });
    world.apply(set).expect("a set");
    world.reconcile();
    let had = ["web-0", "web-1"].map(|name| world.binding(name).cloned());
    assert!(had.iter().all(Option::is_some), "{had:?}");
    for name in ["web-1", "web-0"] {
        world.delete(Kind::Jail, name).expect("it may go");
    }
    world.report("a");
    world.report("b");
    world.reconcile();
    assert_eq!(
        ["web-0", "web-1"].map(|name| world.binding(name).cloned()),
        had
    );
}

fn kept(world: &mut World, name: &str, since: Timestamp) {
    let kept = Kept {
        uid: Uid(format!("uid of {name}")),
        since,
        binding: Binding {
            host: "a".to_owned(),
            ..Binding::default()
        },
        claims: vec!["net/lan/10.30.0.10".to_owned(), "later/kind".to_owned()],
    };
    let mut write = Write::default();
    let value = serde_json::to_vec(&kept).expect("string keys only");
    write.put(world.index.keys().kept(name), value);
    assert!(world.commit(&write));
}

#[test]
fn it_is_kept_for_a_while() {
    let mut world = world(&["a"]);
    world.apply(on_lan("www")).expect("a jail");
    remove(&mut world, "www");
    let hours = KEPT_AGE_MAX.as_hours();
    world.pass(hours - 1);
    world.reconcile();
    assert!(world.index.kept("www").is_some());
    world.pass(1);
    world.reconcile();
    assert!(world.index.kept("www").is_none());
    assert_eq!(world.index.claims().busy("lan", None), None);
}

#[test]
fn too_much_is_not_kept_and_the_oldest_goes_first() {
    let mut world = world(&["a"]);
    let now = world.now().timestamp;
    for number in 0..KEPT_MAX + 2 {
        let age = i64::try_from(KEPT_MAX - number.min(KEPT_MAX)).expect("a small number");
        let since = now - jiff::SignedDuration::from_secs(age);
        kept(&mut world, &format!("j{number:05}"), since);
    }
    world.reconcile();
    assert_eq!(world.index.kept_count(), KEPT_MAX);
    assert!(world.index.kept("j00001").is_none());
    assert!(world.index.kept("j00002").is_some());
    assert_eq!(
        super::step(&world.index, now),
        None,
        "what is not due any more stays"
    );
}

#[test]
fn what_falls_due_together_goes_together() {
    let mut world = world(&["a"]);
    let now = world.now().timestamp;
    for number in 0..120 {
        kept(&mut world, &format!("j{number:03}"), now - KEPT_AGE_MAX);
    }
    kept(&mut world, "young", now);
    for left in [71, 21, 1] {
        let due = reconcile::due(&world.index, now);
        let due = due.iter().filter(|item| **item == Item::Kept);
        assert_eq!(due.count(), 1);
        let write = super::step(&world.index, now).expect("something is due");
        assert!(world.commit(&write));
        assert_eq!(world.index.kept_count(), left);
    }
    assert_eq!(super::step(&world.index, now), None);
    assert!(world.index.kept("young").is_some());
}

#[test]
fn what_another_release_kept_goes_too_and_leaves_nothing_of_before() {
    let mut world = world(&["a"]);
    let now = world.now().timestamp;
    kept(&mut world, "www", now);
    assert!(world.index.claims().busy("lan", None).is_some());
    let put = |world: &mut World, value: Value| {
        let mut write = Write::default();
        let key = world.index.keys().kept("www");
        write.put(key, value.to_string().into_bytes());
        assert!(world.commit(&write));
    };
    let binding = json!("as a later release has it");
    let later = json!({"uid": "u", "since": now, "binding": binding, "claims": []});
    put(&mut world, later);
    assert_eq!(world.index.claims().busy("lan", None), None);
    world.apply(on_lan("other")).expect("a jail");
    world.pass(KEPT_AGE_MAX.as_hours());
    world.reconcile();
    assert!(world.index.kept("www").is_none());
    let key = world.index.keys().kept("www");
    assert!(world.contents().iter().all(|(stored, ..)| *stored != key));
}
