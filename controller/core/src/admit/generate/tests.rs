use cellblock_schemas::Kind;
use serde_json::{Value, json};

use crate::admit::{Admitted, Reason, Rejection, Request};
use crate::testing::World;

fn create(world: &mut World, metadata: Value) -> Result<Admitted, Rejection> {
    let document = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host", "metadata": metadata, "spec": {},
    });
    world.request(Request::Create {
        kind: Kind::Host,
        document,
        manager: "kubectl-create".to_owned(),
    })
}

#[test]
fn a_name_is_the_beginning_and_five_characters_and_another_one_each_time() {
    let mut world = World::new();
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let made = create(&mut world, json!({"generateName": "edge-"})).expect("made");
        let added = made.name.strip_prefix("edge-").expect("the beginning");
        assert_eq!(added.len(), 5);
        assert!(added.bytes().all(|octet| super::ALPHABET.contains(&octet)));
        assert_eq!(made.document["metadata"]["generateName"], "edge-");
        assert_eq!(made.document["metadata"]["name"], made.name.as_str());
        names.insert(made.name);
    }
    assert_eq!(names.len(), 20);
}

#[test]
fn the_beginning_is_cut_and_a_name_that_is_stated_counts() {
    let mut world = World::new();
    let made = create(&mut world, json!({"generateName": "a".repeat(80)})).expect("made");
    assert_eq!(made.name.len(), 63);
    let stated = json!({"generateName": "edge-", "name": "own"});
    assert_eq!(create(&mut world, stated).expect("made").name, "own");
    let refused = create(&mut world, json!({"generateName": "Edge_"})).expect_err("no DNS label");
    assert_eq!(refused.violations[0].field, "metadata.name");
}

/// The characters are the uid's: only who wrote the same one first is in the way.
#[test]
fn a_name_that_is_taken_is_not_given_again() {
    let world = World::new();
    let now = super::Now {
        timestamp: jiff::Timestamp::UNIX_EPOCH,
        new_uid: cellblock_schemas::Uid("same".to_owned()),
    };
    let mut world = world;
    let mut first = json!({"metadata": {"generateName": "edge-"}});
    super::name(&world.index, Kind::Host, &mut first, &now);
    let taken = first["metadata"]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    create(&mut world, json!({"name": taken})).expect("made");
    let mut second = json!({"metadata": {"generateName": "edge-"}});
    super::name(&world.index, Kind::Host, &mut second, &now);
    assert_ne!(second["metadata"]["name"], taken.as_str());
}

#[test]
fn who_applies_states_the_name() {
    let mut world = World::new();
    let document = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host", "metadata": {"generateName": "edge-"}, "spec": {},
    });
    let refused = world.apply(document).expect_err("which one?");
    assert_eq!(refused.reason, Reason::Invalid);
    assert_eq!(refused.violations[0].field, "metadata.generateName");
}
