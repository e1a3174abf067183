//! The scale of a JailSet, as Kubernetes' clients write it.

mod common;

use common::World;
use common::http::{Answer, JSON, MERGE, ask, send, text};
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
        for refused in [
            &other,
            &scale(json!({"replicas": "5"})),
            &scale(json!({"replicas": -1})),
        ] {
            let answer = write(&world, method, media, refused).await;
            assert_eq!(answer.code, 400, "{method} {refused}: {}", answer.body);
        }
    }
    let read = ask(&world, "GET", &format!("{SETS}/web/scale"), &[], "").await;
    assert_eq!(read.json()["spec"]["replicas"], 0, "{}", text(&read.json()));
}
