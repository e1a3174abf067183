//! JSON merge patch and JSON patch.

use cellblock_schemas::Kind;
use serde_json::json;

use crate::admit::{Outcome, Patch, Reason, Rejection, Request, Through};
use crate::testing::World;

fn patch(world: &mut World, patch: Patch) -> Result<Outcome, Rejection> {
    let request = Request::Patch {
        kind: Kind::Host,
        name: "a".to_owned(),
        patch,
        through: Through::Object,
        manager: "patcher".to_owned(),
    };
    world.request(request).map(|admitted| admitted.outcome)
}

#[test]
fn a_merge_patch_sets_and_removes() {
    let mut world = World::with_hosts(&["a"]);
    let set = Patch::Merge(json!({"metadata": {"labels": {"zone": "b", "host": null}}}));
    assert_eq!(patch(&mut world, set.clone()), Ok(Outcome::Configured));
    let labels = &world.index.host("a").expect("there").metadata.labels;
    assert_eq!(labels.get("zone").map(String::as_str), Some("b"));
    assert_eq!(labels.get("host"), None);
    assert_eq!(patch(&mut world, set), Ok(Outcome::Unchanged));
}

#[test]
fn a_json_patch_is_all_or_nothing() {
    let mut world = World::with_hosts(&["a"]);
    let paused = json!({"op": "add", "path": "/spec/paused", "value": true});
    let wrong = json!({"op": "test", "path": "/metadata/name", "value": "b"});
    let refused =
        patch(&mut world, Patch::Json(json!([paused, wrong]))).expect_err("the test fails");
    assert_eq!(refused.reason, Reason::Invalid);
    assert!(!world.index.host("a").expect("there").spec.paused);
    assert_eq!(
        patch(&mut world, Patch::Json(json!([paused]))),
        Ok(Outcome::Configured)
    );
    assert!(world.index.host("a").expect("there").spec.paused);
}

#[test]
fn what_is_no_patch_or_changes_the_identity_is_refused() {
    let mut world = World::with_hosts(&["a"]);
    for senseless in [
        Patch::Merge(json!([1])),
        Patch::Json(json!({"op": "add"})),
        Patch::Json(json!([{"op": "wish", "path": "/"}])),
        Patch::Merge(json!({"metadata": {"name": "b"}})),
    ] {
        let refused = patch(&mut world, senseless.clone()).expect_err("refused");
        assert_eq!(refused.reason, Reason::BadRequest, "{senseless:?}");
    }
    let stale =
        Patch::Merge(json!({"metadata": {"resourceVersion": "999"}, "spec": {"paused": true}}));
    let refused = patch(&mut world, stale).expect_err("stale");
    assert_eq!(refused.reason, Reason::Conflict);
    let unknown = Patch::Merge(json!({"spec": {"pasued": true}}));
    assert_eq!(
        patch(&mut world, unknown).expect_err("unknown").reason,
        Reason::Invalid
    );
}

#[test]
fn a_patch_does_not_copy_without_end() {
    let mut world = World::with_hosts(&["a"]);
    // Each operation doubles what there is.
    let mut operations = vec![json!({"op": "add", "path": "/spec/x", "value": ["0123456789"]})];
    operations
        .extend((0..60).map(|_| json!({"op": "copy", "from": "/spec/x", "path": "/spec/x/0"})));
    let refused = patch(&mut world, Patch::Json(json!(operations))).expect_err("it grows");
    assert_eq!(refused.reason, Reason::TooLarge);
    let moderate = json!([
        {"op": "copy", "from": "/metadata/labels/host", "path": "/metadata/labels/copied"},
        {"op": "test", "path": "/metadata/name", "value": "b"},
    ]);
    let refused = patch(&mut world, Patch::Json(moderate)).expect_err("the test fails");
    assert_eq!(refused.reason, Reason::Invalid);
    assert!(refused.violations[0].field == "patch[1]", "{refused}");
}

#[test]
fn a_json_patch_that_does_not_fit_is_told_by_operation_and_path() {
    let mut world = World::with_hosts(&["a"]);
    let gone = json!([{"op": "remove", "path": "/metadata/labels/zz"}]);
    let refused = patch(&mut world, Patch::Json(gone)).expect_err("there is no such label");
    assert_eq!(refused.violations[0].field, "patch[0]");
    assert_eq!(
        refused.violations[0].message,
        "does not fit the Host at /metadata/labels/zz: path is invalid"
    );
}
