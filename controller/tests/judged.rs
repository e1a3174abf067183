//! What is judged and not written, what is told and not refused, and what stands twice: the same over both wires.

mod common;

use cellblock_proto::v1;
use cellblock_proto::v1::patch_request::Type;
use common::http::{APPLY, Answer, JSON, JSON_PATCH, MERGE, get, send};
use common::{Objects, World, assert_code, json_of, object, rejection};
use serde_json::{Value, json};
use tonic::Code;

const IMAGES: &str = "/apis/cellblock.dev/v1alpha1/images";
const JAILS: &str = "/apis/cellblock.dev/v1alpha1/jails";

fn image(name: &str, role: &str) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1",
        "kind": "Image",
        "metadata": {"name": name, "labels": {"role": role}},
        "spec": {"release": {"tarball": "/dist/base.txz", "sha256": "0".repeat(64)}},
    })
}

/// What does not depend on who was asked when.
fn alike(mut document: Value) -> Value {
    document["status"] = Value::Null;
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
    ] {
        document["metadata"][field] = Value::Null;
    }
    document
}

/// A write over gRPC, of a verb that REST has too.
async fn over_grpc(objects: &mut Objects, verb: &str, document: &Value) -> Value {
    let manager = || "test".to_owned();
    let patched = |of_type: Type, patch: Value| v1::PatchRequest {
        kind: "Image".to_owned(),
        name: "a".to_owned(),
        r#type: of_type.into(),
        patch: patch.to_string().into(),
        field_manager: manager(),
        dry_run: true,
        ..v1::PatchRequest::default()
    };
    let answer = match verb {
        "create" => {
            let request = v1::CreateRequest {
                object: Some(object(document)),
                field_manager: manager(),
                dry_run: true,
            };
            objects
                .create(request)
                .await
                .map(|it| it.into_inner().object)
        }
        "update" => {
            let request = v1::UpdateRequest {
                object: Some(object(document)),
                field_manager: manager(),
                dry_run: true,
            };
            objects
                .update(request)
                .await
                .map(|it| it.into_inner().object)
        }
        "merge" => {
            let patch = patched(Type::Merge, json!({"metadata": {"labels": {"role": "db"}}}));
            objects.patch(patch).await.map(|it| it.into_inner().object)
        }
        "json" => {
            let patch = json!([{"op": "replace", "path": "/metadata/labels/role", "value": "db"}]);
            let patch = patched(Type::Json, patch);
            objects.patch(patch).await.map(|it| it.into_inner().object)
        }
        "apply" => {
            let request = v1::ApplyRequest {
                objects: vec![object(document)],
                field_manager: manager(),
                force: true,
                dry_run: true,
            };
            let answer = objects.apply(request).await;
            answer.map(|it| it.into_inner().results.remove(0).object)
        }
        other => panic!("{other}"),
    };
    json_of(&answer.expect("it is judged").expect("an object"))
}

async fn over_rest(world: &World, verb: &str, document: &Value) -> Answer {
    let single = format!("{IMAGES}/a?dryRun=All&fieldManager=test");
    match verb {
        "create" => {
            let path = format!("{IMAGES}?dryRun=All&fieldManager=test");
            send(world, "POST", &path, JSON, document).await
        }
        "update" => send(world, "PUT", &single, JSON, document).await,
        "merge" => {
            let patch = json!({"metadata": {"labels": {"role": "db"}}});
            send(world, "PATCH", &single, MERGE, &patch).await
        }
        "json" => {
            let patch = json!([{"op": "replace", "path": "/metadata/labels/role", "value": "db"}]);
            send(world, "PATCH", &single, JSON_PATCH, &patch).await
        }
        "apply" => {
            let path = format!("{single}&force=true");
            send(world, "PATCH", &path, APPLY, document).await
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let made = send(&world, "POST", IMAGES, JSON, &image("a", "web")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    // Until its status is said, which follows from the spec alone.
    let deadline = std::time::Instant::now() + common::DEADLINE;
    let before = loop {
        let list = get(&world, IMAGES).await.json();
        if !list["items"][0]["status"].is_null() {
            break list["items"].clone();
        }
        assert!(std::time::Instant::now() < deadline, "no status: {list}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    for verb in ["create", "update", "merge", "json", "apply"] {
        let document = match verb {
            "create" => image("b", "db"),
            _ => image("a", "db"),
        };
        let rest = over_rest(&world, verb, &document).await;
        assert_eq!(
            rest.code,
            if verb == "create" { 201 } else { 200 },
            "{verb}"
        );
        let grpc = over_grpc(&mut objects, verb, &document).await;
        assert_eq!(alike(rest.json()), alike(grpc.clone()), "{verb}");
        assert_eq!(grpc["metadata"]["labels"]["role"], "db", "{verb}");
    }
    let gone = send(
        &world,
        "DELETE",
        &format!("{IMAGES}/a?dryRun=All"),
        JSON,
        &json!({}),
    )
    .await;
    assert_eq!(gone.code, 200, "{}", gone.body);
    // It would be marked first, as long as it may be in use.
    let is_gone = gone.json()["kind"] == "Status";
    let request = v1::DeleteRequest {
        kind: "Image".to_owned(),
        name: "a".to_owned(),
        dry_run: true,
        ..v1::DeleteRequest::default()
    };
    let answer = objects.delete(request).await.expect("it is judged");
    assert_eq!(answer.into_inner().gone, is_gone);
    assert_eq!(get(&world, IMAGES).await.json()["items"], before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_warned_of_is_told_to_whoever_writes() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let document = |name: &str| {
        json!({
            "apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail", "metadata": {"name": name},
            "spec": {"root": {"path": format!("/jails/{name}")}, "networks": [{"network": "nowhere"}]},
        })
    };
    let rest = send(&world, "POST", JAILS, JSON, &document("rest")).await;
    assert_eq!(rest.code, 201, "{}", rest.body);
    let warnings = rest.head.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let value = value.strip_prefix("299 - ")?.trim().trim_matches('"');
        (name.eq_ignore_ascii_case("warning")).then(|| value.to_owned())
    });
    let rest: Vec<String> = warnings.collect();
    let request = v1::CreateRequest {
        object: Some(object(&document("grpc"))),
        ..v1::CreateRequest::default()
    };
    let grpc = objects.create(request).await.expect("it is made");
    let grpc = grpc.into_inner().warnings;
    assert!(rest.iter().any(|one| one.contains("nowhere")), "{rest:?}");
    let plain = rest.iter().map(|one| one.replace("\\\"", "\""));
    assert_eq!(plain.collect::<Vec<_>>(), grpc);
}

/// Of what stands twice nobody can tell which was meant (apimachinery, `pkg/runtime/error.go`, `strictDecodingError`).
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_twice_is_refused() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let twice = image("a", "web").to_string();
    let twice = twice.replace("\"role\":\"web\"", "\"role\":\"web\",\"role\":\"db\"");
    let headers = |media: &str| format!("Content-Type: {media}");
    for (method, path, media) in [
        ("POST", IMAGES.to_owned(), JSON),
        ("PUT", format!("{IMAGES}/a"), JSON),
        ("PATCH", format!("{IMAGES}/a"), MERGE),
        ("PATCH", format!("{IMAGES}/a?fieldManager=test"), APPLY),
    ] {
        let answer = common::http::ask(&world, method, &path, &[&headers(media)], &twice).await;
        assert_eq!(answer.code, 400, "{method} {media}: {}", answer.body);
        assert!(
            answer.body.contains("metadata.labels.role"),
            "{}",
            answer.body
        );
    }
    let envelope = || v1::Object {
        kind: "Image".to_owned(),
        name: "a".to_owned(),
        revision: 0,
        json: twice.clone().into(),
    };
    let request = v1::CreateRequest {
        object: Some(envelope()),
        ..v1::CreateRequest::default()
    };
    let status = assert_code(objects.create(request).await, Code::InvalidArgument);
    assert_eq!(rejection(&status).reason, "BadRequest");
    assert!(
        status.message().contains("metadata.labels.role"),
        "{status:?}"
    );
    let request = v1::PatchRequest {
        kind: "Image".to_owned(),
        name: "a".to_owned(),
        r#type: Type::Merge.into(),
        patch: twice.clone().into(),
        ..v1::PatchRequest::default()
    };
    let status = assert_code(objects.patch(request).await, Code::InvalidArgument);
    assert!(
        status.message().contains("metadata.labels.role"),
        "{status:?}"
    );
    let request = v1::ApplyRequest {
        objects: vec![envelope()],
        field_manager: "test".to_owned(),
        ..v1::ApplyRequest::default()
    };
    let results = objects.apply(request).await.expect("an answer for each");
    let result = results.into_inner().results.remove(0);
    assert_eq!(result.reason, "BadRequest", "{result:?}");
}
