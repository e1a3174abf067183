//! Field managers, patches and their refusals, over gRPC.

mod common;

use cellblock_proto::v1;
use cellblock_proto::v1::apply_result::Outcome;
use cellblock_proto::v1::patch_request::Type;
use common::{Objects, World, assert_code, get, host, json_of, object, rejection};
use serde_json::{Value, json};
use tonic::{Code, Status};

async fn apply_as(
    objects: &mut Objects,
    manager: &str,
    force: bool,
    document: &Value,
) -> v1::ApplyResult {
    let request = v1::ApplyRequest {
        objects: vec![object(document)],
        field_manager: manager.to_owned(),
        force,
        dry_run: false,
    };
    let answer = objects.apply(request).await.expect("an answer");
    answer.into_inner().results.remove(0)
}

async fn patch(
    objects: &mut Objects,
    kind: Type,
    patch: Value,
) -> Result<v1::WriteResponse, Status> {
    let request = v1::PatchRequest {
        kind: "Host".to_owned(),
        name: "a".to_owned(),
        r#type: kind.into(),
        patch: patch.to_string().into(),
        field_manager: "patcher".to_owned(),
        ..v1::PatchRequest::default()
    };
    let answer = objects.patch(request).await?;
    Ok(answer.into_inner())
}

#[tokio::test]
async fn nobody_applies_without_a_name() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let refused = apply_as(&mut objects, "", false, &host("a")).await;
    assert_eq!(refused.outcome(), Outcome::Refused);
    assert_eq!(refused.violations[0].field, "fieldManager");
    assert_code(get(&mut objects, "Host", "a").await, Code::NotFound);
}

#[tokio::test]
async fn a_conflict_is_refused_until_it_is_forced() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let created = apply_as(&mut objects, "one", false, &host("a")).await;
    assert_eq!(created.outcome(), Outcome::Created);
    let mut other = host("a");
    other["metadata"]["labels"]["name"] = json!("b");
    let refused = apply_as(&mut objects, "two", false, &other).await;
    assert_eq!(refused.outcome(), Outcome::Refused);
    let violation = &refused.violations[0];
    assert_eq!(violation.field, "metadata.labels.name");
    assert!(violation.message.contains("\"one\""), "{violation:?}");
    let forced = apply_as(&mut objects, "two", true, &other).await;
    assert_eq!(forced.outcome(), Outcome::Configured);
    let again = apply_as(&mut objects, "two", false, &other).await;
    assert_eq!(again.outcome(), Outcome::Unchanged);
}

#[tokio::test]
async fn patches_change_what_is_there() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    apply_as(&mut objects, "one", false, &host("a")).await;
    let merged = patch(
        &mut objects,
        Type::Merge,
        json!({"spec": {"unschedulable": true}}),
    )
    .await
    .expect("patched");
    let document = json_of(&merged.object.expect("the object"));
    assert_eq!(document["spec"]["unschedulable"], true);
    let owners: Vec<_> = document["metadata"]["managedFields"]
        .as_array()
        .expect("recorded")
        .iter()
        .map(|entry| (entry["manager"].clone(), entry["operation"].clone()))
        .collect();
    assert_eq!(
        owners,
        [
            (json!("one"), json!("Apply")),
            (json!("patcher"), json!("Update"))
        ]
    );
    let operations = json!([{"op": "remove", "path": "/spec/unschedulable"}]);
    patch(&mut objects, Type::Json, operations.clone())
        .await
        .expect("patched");
    let refused = patch(&mut objects, Type::Json, operations).await;
    let refused = assert_code(refused, Code::InvalidArgument);
    assert_eq!(rejection(&refused).reason, "Invalid");
    let refused = patch(&mut objects, Type::Json, json!({})).await;
    let refused = assert_code(refused, Code::InvalidArgument);
    assert_eq!(rejection(&refused).reason, "BadRequest");
    let refused = patch(&mut objects, Type::Unspecified, json!({})).await;
    assert_code(refused, Code::InvalidArgument);
}
