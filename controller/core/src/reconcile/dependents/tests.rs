use cellblock_schemas::Kind;
use serde_json::{Value, json};

use crate::admit::{Outcome, Propagation, Request};
use crate::index::{Event, Index};
use crate::testing::{World, bridge, jail};

/// A jail that names owners.
fn owned(name: &str, owners: &[Value]) -> Value {
    let mut document = jail(name, &[], json!({}));
    document["metadata"]["ownerReferences"] = json!(owners);
    document
}

fn owner(world: &World, kind: Kind, name: &str) -> Value {
    let entry = world.index.get(kind, name).expect("the owner is there");
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": kind.as_str(), "name": name,
        "uid": entry.object.metadata().uid, "blockOwnerDeletion": true,
    })
}

fn foreground(name: &str) -> Value {
    let mut document = jail(name, &[], json!({}));
    document["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
    document
}

fn names(world: &World) -> Vec<String> {
    let jails = world.index.list(Kind::Jail, None);
    jails.map(|entry| entry.name().to_owned()).collect()
}

#[test]
fn what_belongs_to_an_owner_that_is_gone_goes() {
    let mut world = World::new();
    world.apply(bridge("lan")).expect("a network");
    let lan = owner(&world, Kind::Network, "lan");
    world
        .apply(owned("left", &[lan]))
        .expect("its owner is there");
    world.reconcile();
    assert_eq!(names(&world), ["left"]);
    world.delete(Kind::Network, "lan").expect("it is there");
    world.reconcile();
    assert!(names(&world).is_empty());
}

#[test]
fn an_owner_that_was_never_there_is_refused() {
    let mut world = World::new();
    world.apply(bridge("lan")).expect("a network");
    let lan = owner(&world, Kind::Network, "lan");
    for (field, said) in [
        ("uid", "uid-else"),
        ("name", "wan"),
        ("kind", "Jail"),
        ("kind", "Jial"),
    ] {
        let mut wrong = lan.clone();
        wrong[field] = json!(said);
        let refusal = world
            .apply(owned("left", &[wrong]))
            .expect_err("there is no such owner");
        assert_eq!(refusal.violations[0].field, "metadata.ownerReferences[0]");
    }
    world
        .apply(owned("left", &[lan]))
        .expect("its owner is there");
    world.delete(Kind::Network, "lan").expect("it is there");
}

#[test]
fn what_belongs_to_a_foreign_kind_is_left_alone() {
    let mut world = World::new();
    let foreign =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "elsewhere"});
    world
        .apply(owned("left", &[foreign]))
        .expect("nobody here knows better");
    world.reconcile();
    assert_eq!(names(&world), ["left"]);
}

#[test]
fn what_belongs_to_an_owner_that_cannot_be_read_is_left_alone() {
    let mut world = World::new();
    world.apply(bridge("lan")).expect("a network");
    let lan = owner(&world, Kind::Network, "lan");
    world
        .apply(owned("left", &[lan]))
        .expect("its owner is there");
    let key = world.index.keys().object(Kind::Network, "lan");
    let mut contents = world.contents();
    contents.get_mut(&key).expect("it is stored").0 = "{\"spec\": 7}".into();
    let mut index = Index::new(world.index.cluster().clone());
    let items = contents
        .into_iter()
        .map(|(key, (value, at))| (key, value, at));
    index.replace(world.revision(), items.collect::<Vec<_>>());
    assert!(index.network("lan").is_none());
    assert_eq!(super::due(&index), []);
    let now = world.now().timestamp;
    assert!(super::step(&index, Kind::Jail, "left", now).is_none());
    index.apply(world.revision() + 1, [Event::Delete { key }]);
    assert_eq!(super::due(&index).len(), 1, "now it is gone");
    assert!(super::step(&index, Kind::Jail, "left", now).is_some());
}

#[test]
fn what_another_owner_keeps_stays_and_holds_nobody() {
    let mut world = World::new();
    world.apply(foreground("lan")).expect("a jail");
    world.apply(foreground("wan")).expect("a jail");
    let owners = ["lan", "wan"].map(|name| owner(&world, Kind::Jail, name));
    world
        .apply(owned("left", &owners))
        .expect("its owners are there");
    world.delete(Kind::Jail, "lan").expect("it is there");
    world.reconcile();
    assert!(world.index.jail("lan").is_none());
    let left = &world.jail("left").metadata;
    assert_eq!(left.owner_references.len(), 1);
    assert_eq!(left.owner_references[0].name, "wan");
}

#[test]
fn a_circle_of_owners_goes() {
    let mut world = World::new();
    world.apply(foreground("a")).expect("a jail");
    let mut b = foreground("b");
    b["metadata"]["ownerReferences"] = json!([owner(&world, Kind::Jail, "a")]);
    world.apply(b).expect("a jail");
    let mut a = foreground("a");
    a["metadata"]["ownerReferences"] = json!([owner(&world, Kind::Jail, "b")]);
    world.apply(a).expect("a jail");
    world.delete(Kind::Jail, "a").expect("it is there");
    world.reconcile();
    assert!(names(&world).is_empty());
}

/// A network with a jail that belongs to it, and a jail that belongs to that one.
fn family(world: &mut World) {
    world.apply(bridge("lan")).expect("a network");
    let lan = owner(world, Kind::Network, "lan");
    world
        .apply(owned("child", &[lan]))
        .expect("its owner is there");
    let child = owner(world, Kind::Jail, "child");
    world
        .apply(owned("grandchild", &[child]))
        .expect("its owner is there");
}

fn ask(
    world: &mut World,
    kind: Kind,
    name: &str,
    propagation: impl Into<Option<Propagation>>,
) -> Outcome {
    let request = Request::Delete {
        kind,
        name: name.to_owned(),
        uid: None,
        revision: None,
        propagation: propagation.into(),
    };
    world.request(request).expect("it is there").outcome
}

fn finalizers(world: &World, kind: Kind, name: &str) -> Vec<String> {
    let entry = world.index.get(kind, name);
    entry.map_or_else(Vec::new, |entry| entry.object.metadata().finalizers.clone())
}

#[test]
fn in_the_foreground_who_owns_goes_last() {
    let mut world = World::with_hosts(&["a"]);
    family(&mut world);
    ask(&mut world, Kind::Network, "lan", Propagation::Foreground);
    world.reconcile();
    // Jails that have a host go when it says so: the grandchild first, and nobody before those below.
    let held = finalizers(&world, Kind::Jail, "child");
    assert_eq!(held, [crate::bind::FINALIZER, "foregroundDeletion"]);
    let held = finalizers(&world, Kind::Jail, "grandchild");
    assert_eq!(held, [crate::bind::FINALIZER]);
    for _ in 0..3 {
        assert!(world.index.network("lan").is_some());
        world.report("a");
        world.restart();
        world.hear("a");
        world.reconcile();
        let grandchild = world.index.jail("grandchild").is_some();
        assert!(world.index.jail("child").is_some() || !grandchild);
        if world.index.network("lan").is_none() {
            break;
        }
    }
    assert!(names(&world).is_empty());
    assert!(world.index.network("lan").is_none());
}

#[test]
fn in_the_background_who_owns_goes_first() {
    let mut world = World::new();
    family(&mut world);
    ask(&mut world, Kind::Network, "lan", Propagation::Background);
    let now = world.now();
    let item = crate::reconcile::Item::Deleting(Kind::Network, "lan".to_owned());
    let write = crate::reconcile::step(&world.index, &item, &now).expect("nobody uses it");
    assert!(world.commit(&write));
    assert!(world.index.network("lan").is_none());
    assert_eq!(names(&world), ["child", "grandchild"]);
    // A controller that begins anew here finds what is left to do.
    world.restart();
    world.reconcile();
    assert!(names(&world).is_empty());
}

#[test]
fn orphans_stay_and_belong_to_nobody() {
    let mut world = World::new();
    family(&mut world);
    ask(&mut world, Kind::Network, "lan", Propagation::Orphan);
    // After each step a controller may be another one.
    for _ in 0..10 {
        let now = world.now();
        let due = crate::reconcile::due(&world.index, now.timestamp);
        let step = |item| crate::reconcile::step(&world.index, item, &now);
        let Some(write) = due.iter().find_map(step) else {
            break;
        };
        assert!(world.commit(&write));
        world.restart();
    }
    assert!(world.index.network("lan").is_none());
    assert_eq!(names(&world), ["child", "grandchild"]);
    assert!(world.jail("child").metadata.owner_references.is_empty());
    assert_eq!(world.jail("grandchild").metadata.owner_references.len(), 1);
}

#[test]
fn who_asks_again_may_say_otherwise() {
    let mut world = World::with_hosts(&["a"]);
    family(&mut world);
    for (asked, expected) in [
        (Some(Propagation::Foreground), vec!["foregroundDeletion"]),
        (None, vec!["foregroundDeletion"]),
        (Some(Propagation::Orphan), vec!["orphan"]),
        (None, vec!["orphan"]),
        (Some(Propagation::Background), vec![]),
        (None, vec![]),
    ] {
        ask(&mut world, Kind::Jail, "child", asked);
        let mut held = finalizers(&world, Kind::Jail, "child");
        held.retain(|one| one != crate::bind::FINALIZER);
        assert_eq!(held, expected, "{asked:?}");
    }
}

#[test]
fn a_policy_that_is_asked_for_counts_before_a_finalizer() {
    let mut world = World::new();
    world.apply(foreground("www")).expect("a jail");
    let outcome = ask(&mut world, Kind::Jail, "www", Propagation::Background);
    assert_eq!(outcome, Outcome::Gone);
}

#[test]
fn who_waits_for_the_network_that_it_is_on_is_told_the_way_out() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    let mut www = jail("www", &["lan"], json!({"host": "a"}));
    www["metadata"]["ownerReferences"] = json!([owner(&world, Kind::Network, "lan")]);
    world.apply(www).expect("its owner is there");
    world
        .apply(jail("db", &["lan"], json!({"host": "a"})))
        .expect("a jail");
    world.report("a");
    ask(&mut world, Kind::Network, "lan", Propagation::Background);
    world.reconcile();
    let said = |world: &World| {
        let network = world.index.network("lan").expect("it is held");
        let conditions = &network.status.as_ref().expect("it was told").conditions;
        let found = conditions.iter().find(|one| one.kind == "InUse");
        found.expect("it is in use").message.clone()
    };
    let message = said(&world);
    assert!(
        message.starts_with("goes when the last of 2 jails is gone: db, www"),
        "{message}"
    );
    let way_out =
        "; 1 of them belong to it and stay as long as it does: delete it with --cascade foreground";
    assert!(message.ends_with(way_out), "{message}");
    ask(&mut world, Kind::Network, "lan", Propagation::Foreground);
    world.reconcile();
    world.report("a");
    world.reconcile();
    assert_eq!(names(&world), ["db"]);
    let message = said(&world);
    assert!(!message.contains("--cascade"), "{message}");
    world.delete(Kind::Jail, "db").expect("it is there");
    world.report("a");
    world.reconcile();
    assert!(world.index.network("lan").is_none());
}
