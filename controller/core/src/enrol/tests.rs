//! The first key stays, and the operator can name another.

use cellblock_schemas::Kind;
use serde_json::json;

use super::pin;
use crate::testing::{World, host};

fn enrol(world: &mut World, key: &str) -> Result<bool, super::KeyRefused> {
    let write = pin(&world.index, "a", key)?;
    Ok(write.is_some_and(|write| world.commit(&write)))
}

#[test]
fn the_first_key_is_pinned_and_another_refused_until_it_is_accepted() {
    let mut world = World::with_hosts(&["a"]);
    let (first, second) = ("1".repeat(64), "2".repeat(64));
    assert_eq!(enrol(&mut world, &first), Ok(true));
    assert_eq!(enrol(&mut world, &first), Ok(false));
    // Applying the manifest again, or reporting, changes nothing about it.
    world.apply(host("a")).expect("a host");
    world.report("a");
    let refused = enrol(&mut world, &second).expect_err("another key");
    assert!(
        refused
            .to_string()
            .contains("jailctl host accept-key a 2222")
    );
    let mut accepted = host("a");
    accepted["spec"]["keyFingerprint"] = json!(second);
    world.apply(accepted).expect("a host");
    assert_eq!(enrol(&mut world, &second), Ok(true));
    enrol(&mut world, &first).expect_err("the old one is out");
    // What was said by word stays when the manifest says nothing of it.
    world.apply(host("a")).expect("a host");
    enrol(&mut world, &first).expect_err("the old one is still out");
}

#[test]
fn a_host_that_was_deleted_is_known_by_nothing() {
    let mut world = World::with_hosts(&["a"]);
    enrol(&mut world, "one").expect("the first");
    world.delete(Kind::Host, "a").expect("accepted");
    world.reconcile();
    assert_eq!(enrol(&mut world, "two"), Ok(false));
    world.apply(host("a")).expect("a host");
    assert_eq!(enrol(&mut world, "two"), Ok(true));
}
