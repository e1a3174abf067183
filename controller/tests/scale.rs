//! The scale of a JailSet, as Kubernetes' clients write it.

mod common;

use common::World;
use common::http::{APPLY, Answer, JSON, JSON_PATCH, MERGE, ask, send, text};
use serde_json::{Value, json};

const SETS: &str = "/apis/cellblock.dev/v1alpha1/jailsets";

async fn write(world: &World, method: &str, media: &str, document: &Value) -> Answer {
    let path = format!("{SETS}/web/scale");
    send(world, method, &path, media, document).await
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_is_what_is_left_out_of_a_whole_scale_and_a_patch_leaves_what_it_does_not_name() {
    let world = World::start().await;
    let set = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "JailSet", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "paused": true, "template": {"spec": {"root": {"path": "/jails/web"}}}},
    });
    let created = send(&world, "POST", SETS, JSON, &set).await;
    assert_eq!(created.code, 201, "{}", created.body);
    let scale = |spec: Value| json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "web"}, "spec": spec});
    for (method, media, spec, left) in [
        ("PATCH", MERGE, json!({}), 2),
        ("PUT", JSON, json!({}), 0),
        ("PUT", JSON, json!({"replicas": 3}), 3),
        ("PUT", JSON, json!({"replicas": null}), 0),
        ("PATCH", MERGE, json!({"replicas": 4}), 4),
        ("PATCH", MERGE, json!({"replicas": null}), 0),
    ] {
        let written = write(&world, method, media, &scale(spec.clone())).await;
        assert_eq!(written.code, 200, "{method} {spec}: {}", written.body);
        assert_eq!(
            written.json()["spec"]["replicas"],
            left,
            "{method} {spec}: {}",
            written.body
        );
    }
    let mut other = scale(json!({"replicas": 5}));
    other["metadata"]["name"] = "db".into();
    for (method, media) in [("PUT", JSON), ("PATCH", MERGE)] {
        // What a patch comes to is judged, and not the patch.
        let unreadable = if method == "PUT" { 400 } else { 422 };
        for (refused, code) in [
            (&other, 400),
            (&scale(json!({"replicas": "5"})), unreadable),
            (&scale(json!({"replica": 5})), unreadable),
            (&scale(json!({"replicas": -1})), 422),
        ] {
            let answer = write(&world, method, media, refused).await;
            assert_eq!(answer.code, code, "{method} {refused}: {}", answer.body);
        }
    }
    let read = ask(&world, "GET", &format!("{SETS}/web/scale"), &[], "").await;
    assert_eq!(read.json()["spec"]["replicas"], 0, "{}", text(&read.json()));
}

/// kubernetes/kubernetes, `pkg/registry/apps/deployment/storage/storage.go`, `ScaleREST`: `kubectl patch --subresource=scale` in each of its
/// ways, and `kubectl apply --subresource=scale`.
#[tokio::test(flavor = "multi_thread")]
async fn a_scale_is_patched_in_every_form_and_who_applies_it_owns_the_number() {
    let world = World::start().await;
    let set = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "JailSet", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "paused": true, "template": {"spec": {"root": {"path": "/jails/web"}}}},
    });
    let path = format!("{SETS}/web?fieldManager=git");
    let applied = send(&world, "PATCH", &path, APPLY, &set).await;
    assert_eq!(applied.code, 201, "{}", applied.body);
    let scaled = |form: &'static str, manager: &'static str, patch: Value| {
        let path = format!("{SETS}/web/scale?fieldManager={manager}");
        let world = &world;
        async move { send(world, "PATCH", &path, form, &patch).await }
    };

    let answer = scaled(
        JSON_PATCH,
        "jp",
        json!([{"op": "test", "path": "/spec/replicas", "value": 2}, {"op": "replace", "path": "/spec/replicas", "value": 3}]),
    )
    .await;
    assert_eq!(answer.code, 200, "{}", answer.body);
    assert_eq!(answer.json()["kind"], "Scale");
    assert_eq!(answer.json()["spec"]["replicas"], 3);
    for (refused, code) in [
        (
            json!([{"op": "test", "path": "/spec/replicas", "value": 2}]),
            422,
        ),
        (
            json!([{"op": "replace", "path": "/spec/replicas", "value": "9"}]),
            422,
        ),
        (
            json!([{"op": "replace", "path": "/spec/template", "value": {}}]),
            422,
        ),
        (
            json!([{"op": "replace", "path": "/metadata/name", "value": "db"}]),
            400,
        ),
        (
            json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}]),
            409,
        ),
        (json!({"spec": {"replicas": 9}}), 400),
    ] {
        let answer = scaled(JSON_PATCH, "jp", refused.clone()).await;
        assert_eq!(answer.code, code, "{refused}: {}", answer.body);
    }
    let manifest = |replicas: Value| json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "spec": replicas});
    let answer = scaled(APPLY, "hpa", manifest(json!({"replicas": 4}))).await;
    assert_eq!(answer.code, 409, "{}", answer.body);
    assert!(
        answer.body.contains("jp")
            && answer.body.contains("scale")
            && answer.body.contains(".spec.replicas"),
        "{}",
        answer.body
    );
    let forced = scaled(APPLY, "hpa&force=true", manifest(json!({"replicas": 4}))).await;
    assert_eq!(forced.code, 200, "{}", forced.body);
    assert_eq!(forced.json()["spec"]["replicas"], 4);
    let again = scaled(APPLY, "hpa", manifest(json!({"replicas": 4}))).await;
    assert_eq!(
        again.json()["metadata"]["resourceVersion"],
        forced.json()["metadata"]["resourceVersion"],
        "nothing changes, nothing is written"
    );
    for (refused, code) in [
        (manifest(json!({})), 422),
        (manifest(json!({"replicas": 1, "template": {}})), 422),
        (
            json!({"kind": "Scale", "apiVersion": "autoscaling/v2", "spec": {"replicas": 1}}),
            400,
        ),
        (json!({"kind": "JailSet", "spec": {"replicas": 1}}), 400),
        (
            json!({"kind": "Scale", "metadata": {"name": "db"}, "spec": {"replicas": 1}}),
            400,
        ),
    ] {
        let answer = scaled(APPLY, "hpa&force=true", refused.clone()).await;
        assert_eq!(answer.code, code, "{refused}: {}", answer.body);
    }
    let dry = scaled(APPLY, "hpa&dryRun=All", manifest(json!({"replicas": 7}))).await;
    assert_eq!(
        (dry.code, &dry.json()["spec"]["replicas"]),
        (200, &json!(7))
    );
    let nowhere = format!("{SETS}/none/scale?fieldManager=hpa");
    let nowhere = send(
        &world,
        "PATCH",
        &nowhere,
        APPLY,
        &manifest(json!({"replicas": 1})),
    )
    .await;
    assert_eq!(nowhere.code, 404, "{}", nowhere.body);

    let owners = |set: &Value| {
        let managers = set["metadata"]["managedFields"]
            .as_array()
            .expect("managers")
            .clone();
        let owns = |manager: &&Value| manager["fieldsV1"].pointer("/f:spec/f:replicas").is_some();
        let owners = managers.iter().filter(owns);
        owners
            .map(|one| {
                format!(
                    "{} {} {}",
                    text(&one["manager"]),
                    text(&one["operation"]),
                    text(&one["subresource"])
                )
            })
            .collect::<std::collections::BTreeSet<_>>()
    };
    let read = ask(&world, "GET", &format!("{SETS}/web"), &[], "")
        .await
        .json();
    assert_eq!(read["spec"]["replicas"], 4);
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let only: std::collections::BTreeSet<String> = named(&["hpa Apply scale"]);
    assert_eq!(owners(&read), only, "{read}");
    // Who applied the rest does not lose it by a scale of its own, nor does the other's number go with a manifest without one.
    let own = scaled(APPLY, "git", manifest(json!({"replicas": 4}))).await;
    assert_eq!(own.code, 200, "{}", own.body);
    let mut rest = set.clone();
    rest["spec"]
        .as_object_mut()
        .expect("a spec")
        .shift_remove("replicas");
    let applied = send(&world, "PATCH", &path, APPLY, &rest).await;
    assert_eq!(applied.code, 200, "{}", applied.body);
    let spec = &applied.json()["spec"];
    assert_eq!(
        (&spec["replicas"], &spec["paused"]),
        (&json!(4), &json!(true))
    );
    let both = named(&["git Apply scale", "hpa Apply scale"]);
    assert_eq!(owners(&applied.json()), both);
}
