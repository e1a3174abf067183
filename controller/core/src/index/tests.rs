//! What the index makes of events.

use cellblock_schemas::Kind;
use serde_json::json;

use super::{Event, Index, What};
use crate::testing::{World, bridge, host, jail};

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
