//! The controller's own finalizers: no client's to take away, and none's to know of.

use cellblock_schemas::Kind;
use serde_json::{Value, json};

use crate::admit::{Admitted, IN_USE_FINALIZER, Outcome, Patch, Rejection, Request, Through};
use crate::bind;
use crate::testing::{World, bridge, jail};

/// A jail with a finalizer of its own, bound, on a network.
fn world() -> World {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    let created = Request::Create {
        kind: Kind::Jail,
        document: manifest(),
        manager: "kubectl-create".to_owned(),
    };
    world.request(created).expect("a jail");
    assert_eq!(finalizers(&world), ["example.org/mine", bind::FINALIZER]);
    world
}

/// What an operator wrote, who knows of no finalizer but of his own.
fn manifest() -> Value {
    let mut manifest = jail("www", &["lan"], json!({}));
    manifest["metadata"]["finalizers"] = json!(["example.org/mine"]);
    manifest
}

fn finalizers(world: &World) -> Vec<String> {
    world.jail("www").metadata.finalizers.clone()
}

fn put(world: &mut World, document: Value) -> Result<Admitted, Rejection> {
    world.request(Request::Update {
        kind: Kind::Jail,
        document,
        through: Through::Object,
        manager: "kubectl-replace".to_owned(),
    })
}

fn patch(world: &mut World, kind: Kind, name: &str, patch: Patch) -> Result<Admitted, Rejection> {
    world.request(Request::Patch {
        kind,
        name: name.to_owned(),
        patch,
        through: Through::Object,
        manager: "kubectl".to_owned(),
    })
}

#[test]
fn replacing_an_object_by_its_manifest_keeps_them() {
    let mut world = world();
    let admitted = put(&mut world, manifest()).expect("the very manifest");
    assert_eq!(admitted.outcome, Outcome::Unchanged);

    let mut without = manifest();
    without["metadata"]["finalizers"].take();
    put(&mut world, without).expect("without a finalizer");
    assert_eq!(finalizers(&world), [bind::FINALIZER]);
}

/// `kubectl apply` sends the whole list of the manifest.
#[test]
fn a_merge_patch_of_the_list_keeps_them() {
    let mut world = world();
    let whole = Patch::Merge(json!({"metadata": {"finalizers": ["example.org/mine"]}}));
    let admitted = patch(&mut world, Kind::Jail, "www", whole.clone()).expect("the same list");
    assert_eq!(admitted.outcome, Outcome::Unchanged);
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    patch(&mut world, Kind::Jail, "www", none).expect("none of his own");
    assert_eq!(finalizers(&world), [bind::FINALIZER]);
}

#[test]
fn who_clears_them_while_the_object_goes_is_told_that_they_stay() {
    let mut world = world();
    world.delete(Kind::Network, "lan").expect("is marked");
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let admitted = patch(&mut world, Kind::Network, "lan", none).expect("nothing of his");
    assert_eq!(
        admitted.document["metadata"]["finalizers"],
        json!([IN_USE_FINALIZER])
    );
    let told = |warning: &cellblock_schemas::Warning| warning.field == "metadata.finalizers";
    assert!(
        admitted.warnings.iter().any(told),
        "{:?}",
        admitted.warnings
    );
}

#[test]
fn a_json_patch_that_takes_one_away_is_refused() {
    let mut world = world();
    for operation in [
        json!({"op": "remove", "path": "/metadata/finalizers/1"}),
        json!({"op": "remove", "path": "/metadata/finalizers"}),
        json!({"op": "replace", "path": "/metadata/finalizers", "value": []}),
    ] {
        let refused = patch(
            &mut world,
            Kind::Jail,
            "www",
            Patch::Json(json!([operation])),
        );
        let refused = refused.expect_err("it is the controller's");
        assert_eq!(refused.violations[0].field, "metadata.finalizers");
    }
    let own = json!([{"op": "remove", "path": "/metadata/finalizers/0"}]);
    patch(&mut world, Kind::Jail, "www", Patch::Json(own)).expect("his own");
    assert_eq!(finalizers(&world), [bind::FINALIZER]);
}

#[test]
fn what_only_the_controller_could_take_away_is_not_put_on() {
    let mut world = world();
    let strange = "cellblock.dev/bogus";
    let refused = |answer: Result<Admitted, Rejection>| {
        let refused = answer.expect_err("nobody would take it away");
        assert_eq!(
            refused.violations[0].field, "metadata.finalizers[0]",
            "{refused}"
        );
        assert!(
            refused.violations[0].message.contains("finalizer of a"),
            "{refused}"
        );
    };
    let mut other = jail("other", &["lan"], json!({}));
    other["metadata"]["finalizers"] = json!([strange]);
    let create = |document: &Value| Request::Create {
        kind: Kind::Jail,
        document: document.clone(),
        manager: "test".to_owned(),
    };
    refused(world.request(create(&other)));
    refused(world.apply(other.clone()));
    let merge = Patch::Merge(json!({"metadata": {"finalizers": [strange]}}));
    refused(patch(&mut world, Kind::Jail, "www", merge));
    let add = json!([{"op": "add", "path": "/metadata/finalizers/0", "value": strange}]);
    refused(patch(&mut world, Kind::Jail, "www", Patch::Json(add)));
    // One that the controller gives to another kind.
    let merge = Patch::Merge(json!({"metadata": {"finalizers": [bind::FINALIZER]}}));
    refused(patch(&mut world, Kind::Network, "lan", merge));

    // Its own kind's is left out of what was printed before, and comes when it is needed.
    other["metadata"]["finalizers"] = json!([IN_USE_FINALIZER]);
    refused(world.request(create(&other)));
    other["metadata"]["finalizers"] = json!([bind::FINALIZER]);
    world.request(create(&other)).expect("as it was printed");
    assert_eq!(world.jail("other").metadata.finalizers, [bind::FINALIZER]);
    let lone = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Network",
        "metadata": {"name": "lone", "finalizers": [IN_USE_FINALIZER]},
        "spec": {"bridge": {}, "subnets": [{"cidr": "10.99.0.0/24"}]},
    });
    let created = Request::Create {
        kind: Kind::Network,
        document: lone,
        manager: "test".to_owned(),
    };
    let created = world.request(created).expect("as it was printed");
    assert_eq!(created.document["metadata"].get("finalizers"), None);
}

#[test]
fn two_finalizers_that_contradict_each_other_are_refused() {
    let mut world = world();
    let both = json!({"metadata": {"finalizers": ["orphan", "foregroundDeletion"]}});
    let refused = patch(&mut world, Kind::Jail, "www", Patch::Merge(both));
    let refused = refused.expect_err("which of the two?");
    assert_eq!(refused.violations[0].field, "metadata.finalizers");
}

/// Two releases on one store: what the newer one put on, the older one knows nothing of. It keeps it through everything that does not name
/// it; the way out, where no such release is left, is to take it away by name.
#[test]
fn one_of_another_release_stays_until_it_is_taken_away_by_name() {
    const NEWER: &str = "cellblock.dev/newer";
    let mut world = world();
    world.put_finalizer(Kind::Jail, "www", NEWER);
    let stored = |world: &World| {
        assert!(
            finalizers(world).iter().any(|name| name == NEWER),
            "{:?}",
            finalizers(world)
        );
    };
    stored(&world);
    let mut applied = jail("www", &["lan"], json!({}));
    applied["metadata"]["labels"] = json!({"a": "1"});
    world.apply(applied.clone()).expect("applied");
    stored(&world);
    applied["metadata"]["finalizers"] = json!(["example.org/mine", NEWER]);
    world
        .apply(applied.clone())
        .expect("applied as it was printed");
    applied["metadata"]["finalizers"].take();
    world.apply(applied).expect("applied without it again");
    stored(&world);
    put(&mut world, manifest()).expect("replaced");
    stored(&world);
    for whole in [json!(null), json!([]), json!(["example.org/mine"])] {
        let merge = Patch::Merge(json!({"metadata": {"finalizers": whole}}));
        patch(&mut world, Kind::Jail, "www", merge).expect("patched");
        stored(&world);
    }
    for operation in [
        json!({"op": "add", "path": "/metadata/finalizers", "value": ["example.org/mine", bind::FINALIZER]}),
        json!({"op": "replace", "path": "/metadata/finalizers", "value": ["example.org/mine", bind::FINALIZER]}),
    ] {
        let whole = Patch::Json(json!([operation]));
        patch(&mut world, Kind::Jail, "www", whole).expect("patched");
        stored(&world);
    }
    let label = json!([{"op": "add", "path": "/metadata/labels", "value": {"b": "2"}}]);
    patch(&mut world, Kind::Jail, "www", Patch::Json(label)).expect("patched");
    stored(&world);

    world.delete(Kind::Jail, "www").expect("is marked");
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let admitted = patch(&mut world, Kind::Jail, "www", none).expect("patched");
    let told = |warning: &cellblock_schemas::Warning| {
        warning.message.contains(NEWER) && warning.message.contains("JSON patch")
    };
    assert!(
        admitted.warnings.iter().any(told),
        "{:?}",
        admitted.warnings
    );
    let place = finalizers(&world).iter().position(|name| name == NEWER);
    let path = format!("/metadata/finalizers/{}", place.expect("it is there"));
    let remove = json!([{"op": "remove", "path": path}]);
    patch(&mut world, Kind::Jail, "www", Patch::Json(remove)).expect("by name");
    assert!(
        !finalizers(&world).iter().any(|name| name == NEWER),
        "{:?}",
        finalizers(&world)
    );
}
