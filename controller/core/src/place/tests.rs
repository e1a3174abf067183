//! Which host is taken, and why not another.

use cellblock_schemas::Kind;
use serde_json::json;

use crate::admit::{Now, Request, Through, admit};
use crate::index::Index;
use crate::reconcile;
use crate::testing::{World, bridge, host, jail};

fn placed(world: &World, name: &str) -> Option<String> {
    world.binding(name).map(|binding| binding.host.clone())
}

#[test]
fn the_fewest_jails_win_then_the_name() {
    let mut world = World::with_hosts(&["b", "a"]);
    for (name, expected) in [("j0", "a"), ("j1", "b"), ("j2", "a")] {
        world.apply(jail(name, &[], json!({}))).expect("a jail");
        assert_eq!(placed(&world, name).as_deref(), Some(expected));
    }
    // A jail that waits for a host counts as that host's.
    world
        .apply(jail("pending", &["missing"], json!({"host": "b"})))
        .expect("a jail");
    world.apply(jail("j3", &[], json!({}))).expect("a jail");
    assert_eq!(placed(&world, "j3").as_deref(), Some("a"));
}

#[test]
fn cordons_taints_selectors_and_uplinks_keep_a_jail_away_and_are_named() {
    let mut world = World::with_hosts(&["e"]);
    let mut cordoned = host("a");
    cordoned["spec"]["unschedulable"] = json!(true);
    let mut tainted = host("b");
    tainted["spec"]["taints"] = json!([{"key": "quiet", "effect": "NoSchedule"}]);
    let mut other = host("c");
    other["metadata"]["labels"]["zone"] = json!("z");
    let mut bare = host("d");
    bare["spec"]["uplinks"] = json!({});
    for document in [cordoned, tainted, other, bare] {
        world.apply(document).expect("a host");
    }
    world.apply(host("f")).expect("a host");
    world.apply(host("g")).expect("a host");
    world.hear("g");
    world.lose("g");
    let publish = json!([{"name": "web", "ports": [80], "uplink": "external"}]);
    let mut lan = bridge("lan");
    lan["spec"]["hostSelector"] =
        json!({"matchExpressions": [{"key": "host", "operator": "NotIn", "values": ["e"]}]});
    world.apply(lan).expect("a network");
    let selector = json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]});
    world
        .apply(jail(
            "www",
            &["lan"],
            json!({"hostSelector": selector, "publish": publish}),
        ))
        .expect("a jail");
    let (_, reason, message) = world.scheduled("www");
    assert_eq!(reason, "NoHostFits");
    for part in [
        "a: is cordoned",
        "b: has the taint quiet",
        "c: does not match the jail's hostSelector",
        "d: has no uplink `external`",
        "e: network lan does not exist there",
        "and 2 more",
    ] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
}

#[test]
fn tolerations_let_a_jail_in_and_avoided_hosts_come_last() {
    let mut world = World::with_hosts(&["b"]);
    let mut avoided = host("a");
    avoided["spec"]["taints"] = json!([{"key": "old", "effect": "PreferNoSchedule"}]);
    world.apply(avoided.clone()).expect("a host");
    world.hear("a");
    for name in ["j0", "j1"] {
        world.apply(jail(name, &[], json!({}))).expect("a jail");
        assert_eq!(placed(&world, name).as_deref(), Some("b"));
    }
    avoided["spec"]["taints"][0]["effect"] = json!("NoSchedule");
    world.apply(avoided).expect("a host");
    world
        .apply(jail(
            "tolerant",
            &[],
            json!({"tolerations": [{"key": "old"}]}),
        ))
        .expect("a jail");
    assert_eq!(placed(&world, "tolerant").as_deref(), Some("a"));
}

#[test]
fn naming_a_host_is_the_operators_word_even_if_it_is_cordoned() {
    let mut world = World::new();
    let mut cordoned = host("a");
    cordoned["spec"]["unschedulable"] = json!(true);
    world.apply(cordoned).expect("a host");
    world
        .apply(jail("www", &[], json!({"host": "a"})))
        .expect("a jail");
    assert_eq!(placed(&world, "www").as_deref(), Some("a"));
}

#[test]
fn a_jail_goes_where_its_ports_are_free() {
    let mut world = World::with_hosts(&["a", "b"]);
    let publish = json!([{"name": "web", "ports": [80], "uplink": "external"}]);
    world.apply(bridge("lan")).expect("a network");
    world
        .apply(jail("busy", &[], json!({"host": "b"})))
        .expect("a jail");
    for (name, expected) in [("w0", Some("a")), ("w1", Some("b")), ("w2", None)] {
        world
            .apply(jail(name, &["lan"], json!({"publish": publish})))
            .expect("a jail");
        assert_eq!(placed(&world, name).as_deref(), expected, "{name}");
    }
    let (_, _, message) = world.scheduled("w2");
    assert!(
        message.contains("taken by jail w0") && message.contains("taken by jail w1"),
        "{message}"
    );
}

#[test]
fn only_hosts_that_are_heard_take_jails_that_name_none() {
    let mut world = World::new();
    world.apply(host("a")).expect("a host");
    world.apply(host("b")).expect("a host");
    world.hear("b");
    world.report("b");
    world.lose("b");
    world.apply(jail("www", &[], json!({}))).expect("a jail");
    let (_, reason, message) = world.scheduled("www");
    assert_eq!(reason, "NoHostFits");
    assert!(
        message.contains("a: was never heard")
            && message.contains("b: has not been heard since 20"),
        "{message}"
    );
    // Naming a host is the operator's word.
    let named = jail("named", &[], json!({"host": "a"}));
    world.apply(named).expect("a jail");
    assert_eq!(placed(&world, "named").as_deref(), Some("a"));
    world.hear("b");
    world.reconcile();
    assert_eq!(placed(&world, "www").as_deref(), Some("b"));
}

/// A cluster with a jail on `a`, which is given up.
fn forgotten(spec: serde_json::Value) -> World {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    world.apply(jail("www", &["lan"], spec)).expect("a jail");
    world.reconcile();
    world.report("a");
    let mut gone = host("a");
    gone["spec"]["forgotten"] = json!(true);
    let refused = world
        .apply(gone.clone())
        .expect_err("its agent is connected");
    assert!(
        refused.to_string().contains("connected from 192.0.2.1:1"),
        "{refused}"
    );
    world.lose("a");
    world.apply(gone).expect("it is gone");
    world
}

#[test]
fn a_forgotten_hosts_jails_go_elsewhere_with_their_addresses() {
    let mut world = forgotten(json!({}));
    let before = (world.address("www"), world.index.claims().len());
    world.apply(host("b")).expect("a host");
    world.hear("b");
    world.reconcile();
    assert_eq!(placed(&world, "www").as_deref(), Some("b"));
    assert_eq!(world.address("www"), before.0);
    let status = world.jail("www").status.clone().expect("a status");
    assert_eq!((status.phase.as_str(), status.jid), ("Pending", None));
    assert_eq!(
        status.conditions.len(),
        1,
        "what a reported of it is over: {status:?}"
    );
    let uid = world.jail("www").metadata.uid.clone();
    let claims = world.index.claims();
    assert!(claims.of(&uid).all(|(_, claim)| claim.retired.is_none()));
    assert!(
        claims
            .of(&uid)
            .all(|(resource, _)| !resource.scope().ends_with("/a"))
    );
    // The agent that comes back is shown nothing and does nothing, until it is approved.
    world.hear("a");
    let view = crate::host_view(&world.index, "a").expect("there");
    assert!(view.fenced && view.host.paused && view.jails.is_empty());
    world.report("a");
    assert_eq!(placed(&world, "www").as_deref(), Some("b"));
    // Not even a jail that names it goes there.
    world
        .apply(jail("named", &[], json!({"host": "a"})))
        .expect("a jail");
    assert!(world.scheduled("named").2.contains("jailctl host approve"));
    let mut approved = host("a");
    approved["spec"]["forgotten"] = json!(false);
    world.apply(approved).expect("a host");
    world.reconcile();
    let view = crate::host_view(&world.index, "a").expect("there");
    assert!(!view.fenced && !view.host.paused);
    assert_eq!(placed(&world, "named").as_deref(), Some("a"));
    assert_eq!(placed(&world, "www").as_deref(), Some("b"));
}

#[test]
fn a_jail_that_names_a_forgotten_host_waits_and_everything_can_be_deleted() {
    let mut world = forgotten(json!({"host": "a"}));
    world.reconcile();
    let (status, reason, message) = world.scheduled("www");
    assert_eq!(
        (status, reason.as_str()),
        (cellblock_schemas::ConditionStatus::False, "HostUnusable")
    );
    assert!(message.contains("was given up"), "{message}");
    assert_eq!(placed(&world, "www"), None);
    let uid = world.jail("www").metadata.uid.clone();
    assert_eq!(world.index.claims().of(&uid).count(), 0);
    for (kind, name) in [
        (Kind::Jail, "www"),
        (Kind::Network, "lan"),
        (Kind::Host, "a"),
    ] {
        world.delete(kind, name).expect("accepted");
        world.reconcile();
        assert!(
            world.index.get(kind, name).is_none(),
            "{name} is still there"
        );
    }
    assert!(world.index.claims().is_empty());
}

#[test]
fn a_jail_that_is_being_deleted_goes_when_its_host_is_given_up() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    for name in ["www", "kept"] {
        let mut document = jail(name, &["lan"], json!({}));
        if name == "kept" {
            document["metadata"]["finalizers"] = json!(["example.org/backup"]);
        }
        world.apply(document).expect("a jail");
        world.delete(Kind::Jail, name).expect("accepted");
    }
    world.lose("a");
    world.reconcile();
    assert!(
        world.index.jail("www").is_some(),
        "nobody said that it is gone"
    );
    let mut gone = host("a");
    gone["spec"]["forgotten"] = json!(true);
    world.apply(gone).expect("it is gone");
    world.reconcile();
    assert!(world.index.jail("www").is_none());
    let kept = world.jail("kept");
    assert_eq!((kept.binding(), kept.metadata.finalizers.len()), (None, 1));
    // The bridge's number stays with the network.
    assert_eq!(world.index.claims().len(), 1);
}

#[test]
fn two_jails_with_one_root_do_not_share_a_host() {
    let mut world = World::with_hosts(&["a", "b"]);
    let root = json!({"path": "/jails/one%2Fx"});
    for (name, expected) in [("one", Some("a")), ("two", Some("b")), ("three", None)] {
        world
            .apply(jail(name, &[], json!({"root": root})))
            .expect("a jail");
        assert_eq!(placed(&world, name).as_deref(), expected, "{name}");
    }
    let message = world.scheduled("three").2;
    assert!(
        message.contains("root /jails/one%2Fx is taken by jail one"),
        "{message}"
    );
    let named = jail("four", &[], json!({"root": root, "host": "a"}));
    let rejection = world.apply(named).expect_err("it is taken");
    assert_eq!(rejection.violations[0].field, "spec.root.path");
    world.restart();
    assert!(
        world
            .apply(jail("five", &[], json!({"root": root, "host": "b"})))
            .is_err()
    );
}

/// A bridge network on an uplink.
fn bridged(name: &str, uplink: &str, cidr: &str) -> serde_json::Value {
    let mut network = bridge(name);
    network["spec"]["bridge"] = json!({"uplink": uplink});
    network["spec"]["subnets"] = json!([{"cidr": cidr}]);
    network
}

#[test]
fn two_bridges_do_not_share_an_uplink() {
    let mut world = World::new();
    let mut two = host("a");
    two["spec"]["uplinks"]["wire"] = json!({"interface": "igb1"});
    two["spec"]["uplinks"]["same"] = json!({"interface": "igb1"});
    world.apply(two.clone()).expect("a host");
    world.hear("a");
    let lan = bridged("lan", "wire", "10.30.0.0/24");
    world.apply(lan).expect("a network");
    let rejection = world
        .apply(bridged("other", "wire", "10.31.0.0/24"))
        .expect_err("one uplink");
    assert_eq!(rejection.violations[0].field, "spec.bridge.uplink");
    assert!(
        rejection.to_string().contains("bridge of network lan"),
        "{rejection}"
    );
    // Two names of one interface are seen only where both come together.
    world
        .apply(bridged("other", "same", "10.31.0.0/24"))
        .expect("a network");
    world
        .apply(jail("one", &["lan"], json!({})))
        .expect("a jail");
    world
        .apply(jail("two", &["other"], json!({})))
        .expect("a jail");
    let (_, reason, message) = world.scheduled("two");
    assert_eq!(reason, "NoHostFits");
    assert!(
        message.contains("igb1 of host a, which is a member of the bridge of network lan"),
        "{message}"
    );
    two["spec"]["uplinks"]["same"] = json!({"interface": "igb2"});
    world.apply(two.clone()).expect("a host");
    world.reconcile();
    assert_eq!(placed(&world, "two").as_deref(), Some("a"));
    two["spec"]["uplinks"]["same"] = json!({"interface": "igb1"});
    let rejection = world.apply(two).expect_err("both are there now");
    assert_eq!(rejection.violations[0].field, "spec.uplinks");
}

#[test]
fn two_bridges_may_share_an_uplink_on_different_hosts() {
    let mut world = World::with_hosts(&["a", "b"]);
    for (name, cidr) in [("a", "10.30.0.0/24"), ("b", "10.31.0.0/24")] {
        let mut network = bridged(name, "external", cidr);
        network["spec"]["hostSelector"] = json!({"matchLabels": {"host": name}});
        world
            .apply(network)
            .expect("selectors that cannot both match");
    }
}

#[test]
fn a_selector_that_the_host_of_a_bound_jail_does_not_match_is_said_or_refused() {
    let mut world = World::with_hosts(&["a", "b"]);
    world.apply(bridge("lan")).expect("a network");
    world
        .apply(jail("www", &["lan"], json!({"host": "a"})))
        .expect("a jail");
    let selector = |host: &str| json!({"matchLabels": {"host": host}});
    // The jail's own: it stays, and both the answer and its condition say so.
    let admitted = world
        .apply(jail(
            "www",
            &["lan"],
            json!({"hostSelector": {"matchLabels": {"host": "b"}}}),
        ))
        .expect("accepted");
    assert!(
        admitted
            .warnings
            .iter()
            .any(|warning| warning.field == "spec.hostSelector"
                && warning.message.contains("stays there")),
        "{:?}",
        admitted.warnings
    );
    assert_eq!(world.scheduled("www").1, "SelectorMismatch");
    world
        .apply(jail("www", &["lan"], json!({})))
        .expect("a jail");
    assert_eq!(world.scheduled("www").1, "Bound");
    // A network's: it would have no effect.
    let mut lan = bridge("lan");
    lan["spec"]["hostSelector"] = selector("b");
    let rejection = world.apply(lan.clone()).expect_err("www is on a");
    assert_eq!(rejection.violations[0].field, "spec.hostSelector");
    lan["spec"]["hostSelector"] = selector("a");
    world.apply(lan).expect("www is on a");
    // The host's labels are the operator's: the jail says what follows.
    let mut relabelled = host("a");
    relabelled["metadata"]["labels"]["host"] = json!("c");
    world.apply(relabelled).expect("a host");
    world.reconcile();
    let (_, reason, message) = world.scheduled("www");
    assert_eq!(reason, "SelectorMismatch");
    assert!(message.contains("network lan"), "{message}");
    world.apply(host("a")).expect("a host");
    world.reconcile();
    assert_eq!(world.scheduled("www").1, "Bound");
}

#[test]
fn a_jail_goes_where_those_are_that_it_depends_on_and_circles_are_refused() {
    let mut world = World::with_hosts(&["a", "b"]);
    world
        .apply(jail("web", &[], json!({"dependsOn": ["db"]})))
        .expect("what it depends on may come later");
    let (_, reason, message) = world.scheduled("web");
    assert_eq!(reason, "DependencyNotScheduled", "{message}");
    world
        .apply(jail("db", &[], json!({"host": "b"})))
        .expect("a jail");
    world.reconcile();
    assert_eq!(placed(&world, "web").as_deref(), Some("b"));
    let refused = |world: &mut World, name: &str, spec| {
        let rejection = world.apply(jail(name, &[], spec)).expect_err("refused");
        rejection.violations[0].field.clone()
    };
    let far = json!({"host": "a", "dependsOn": ["db"]});
    assert_eq!(refused(&mut world, "far", far), "spec.dependsOn[0]");
    let circle = json!({"host": "b", "dependsOn": ["web"]});
    assert_eq!(refused(&mut world, "db", circle), "spec.dependsOn[0]");
    // One that somebody depends on follows.
    world
        .apply(jail(
            "app",
            &[],
            json!({"host": "a", "dependsOn": ["cache"]}),
        ))
        .expect("a jail");
    assert_eq!(
        refused(&mut world, "cache", json!({"host": "b"})),
        "spec.host"
    );
    world.apply(jail("cache", &[], json!({}))).expect("a jail");
    assert_eq!(placed(&world, "cache").as_deref(), Some("a"));
}

#[test]
fn two_controllers_do_not_part_jails_that_depend_on_each_other() {
    let apply = |index: &Index, now: &Now, name: &str, spec| {
        let request = Request::Apply {
            kind: Kind::Jail,
            document: jail(name, &[], spec),
            through: Through::Object,
            manager: "other".to_owned(),
            together: std::sync::Arc::default(),
            force: false,
        };
        let admitted = admit(index, request, now).expect("it is admitted");
        admitted.write.expect("it is new")
    };
    // The one that depends on `db` is admitted to `a` while `db`, of which only that one's controller knows, is bound to `b`; either may be first.
    for is_dependent_first in [false, true] {
        let mut world = World::with_hosts(&["a", "b"]);
        world
            .apply(jail(
                "db",
                &["later"],
                json!({"hostSelector": {"matchLabels": {"host": "b"}}}),
            ))
            .expect("it waits for a network");
        let now = world.now();
        let mut network = bridge("later");
        network["metadata"]["name"] = json!("later");
        world.apply(network).expect("a network");
        let bound = reconcile::step(
            &world.index,
            &reconcile::Item::Unsettled("db".to_owned()),
            &now,
        )
        .expect("it is bound");
        let spec = json!({"host": "a", "dependsOn": ["db"]});
        let now = world.now();
        let web = apply(&world.index, &now, "web", spec);
        let (first, second) = if is_dependent_first {
            (&web, &bound)
        } else {
            (&bound, &web)
        };
        assert!(world.commit(first));
        assert!(!world.commit(second), "from an index without the first");
    }
    // Nor when both are new.
    let mut world = World::with_hosts(&["a", "b"]);
    let web = apply(
        &world.index.clone(),
        &world.now(),
        "web",
        json!({"host": "a", "dependsOn": ["db"]}),
    );
    let db = apply(
        &world.index.clone(),
        &world.now(),
        "db",
        json!({"host": "b"}),
    );
    let mut other = World::with_hosts(&["a", "b"]);
    assert!(world.commit(&web));
    assert!(!world.commit(&db), "from an index without the first");
    let web = apply(
        &other.index.clone(),
        &other.now(),
        "web",
        json!({"host": "a", "dependsOn": ["db"]}),
    );
    let db = apply(
        &other.index.clone(),
        &other.now(),
        "db",
        json!({"host": "b"}),
    );
    assert!(other.commit(&db));
    assert!(!other.commit(&web), "from an index without the first");
}

#[test]
fn no_host_is_looked_at_before_it_is_asked_for() {
    let hosts = ["a", "b", "c"];
    let world = World::with_hosts(&hosts);
    let looked = std::cell::Cell::new(0);
    let each = || {
        let each = world.index.hosts_by_load();
        each.inspect(|_| looked.set(looked.get() + 1))
    };
    let names = |hosts: Vec<&cellblock_schemas::Host>| -> Vec<String> {
        let names = hosts.iter().map(|host| host.metadata.name.clone());
        names.collect()
    };
    let first = super::preferring(None, each()).take(1).collect();
    assert_eq!((names(first), looked.take()), (vec!["a".to_owned()], 1));
    let former = world.index.host("b");
    let first = super::preferring(former, each()).take(1).collect();
    assert_eq!((names(first), looked.take()), (vec!["b".to_owned()], 0));
    let all = super::preferring(former, each()).collect();
    assert_eq!(names(all), ["b", "a", "c"]);
}
