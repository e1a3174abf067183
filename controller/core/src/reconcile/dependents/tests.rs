use cellblock_schemas::Kind;
use serde_json::{Value, json};

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
