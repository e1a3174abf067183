//! What is refused, told or passed over of a write by REST: fields that a kind does not have, in every form of a write; a status that is
//! applied; what is said of another object of the name; options and documents that say nothing.

mod common;

use common::World;
use common::http::{APPLY, Answer, JSON, JSON_PATCH, MERGE, ask, get, send, text};
use serde_json::{Value, json};

const HOSTS: &str = "/apis/cellblock.dev/v1alpha1/hosts";
const IMAGES: &str = "/apis/cellblock.dev/v1alpha1/images";

fn host(name: &str) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host", "metadata": {"name": name}, "spec": {},
    })
}

fn image(name: &str) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Image", "metadata": {"name": name},
        "spec": {"release": {"tarball": "/dist/base.txz", "sha256": "0".repeat(64)}},
    })
}

fn has_warning(answer: &Answer, of: &str) -> bool {
    let head = answer.head.to_lowercase();
    let mut lines = head.lines();
    lines.any(|line| line.starts_with("warning:") && line.contains(of))
}

async fn revision(world: &World, path: &str) -> String {
    text(&get(world, path).await.json()["metadata"]["resourceVersion"])
}

/// apimachinery, `pkg/apis/meta/v1/types.go`, `FieldValidation`: Strict unless said, for every form of a write. What a patch comes to is
/// judged (422), and not whether it can be read (400).
#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_refused_told_or_passed_over_in_every_form_of_a_write() {
    let world = World::start().await;
    let made = send(&world, "POST", IMAGES, JSON, &image("a")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let with = |name: &str| {
        let mut document = image(name);
        document["spec"]["bogus"] = 1.into();
        document
    };
    let validations = [
        ("", 0, false),
        ("Strict", 0, false),
        ("Warn", 200, true),
        ("Ignore", 200, false),
    ];
    for (made, (validation, code, is_told)) in validations.into_iter().enumerate() {
        let options = format!("fieldManager=t&force=true&fieldValidation={validation}");
        let plain = format!("fieldManager=t&fieldValidation={validation}");
        let new = format!("new{made}");
        let merge = json!({"spec": {"bogus": 1}});
        let operation = json!([{"op": "add", "path": "/spec/bogus", "value": 1}]);
        for (method, path, media, body, refused) in [
            ("POST", format!("{IMAGES}?{plain}"), JSON, with(&new), 400),
            ("PUT", format!("{IMAGES}/a?{plain}"), JSON, with("a"), 400),
            ("PATCH", format!("{IMAGES}/a?{plain}"), MERGE, merge, 422),
            (
                "PATCH",
                format!("{IMAGES}/a?{plain}"),
                JSON_PATCH,
                operation,
                422,
            ),
            (
                "PATCH",
                format!("{IMAGES}/a?{options}"),
                APPLY,
                with("a"),
                422,
            ),
        ] {
            let answer = send(&world, method, &path, media, &body).await;
            let wanted = match (code, method) {
                (0, _) => refused,
                (_, "POST") => 201,
                (code, _) => code,
            };
            assert_eq!(
                answer.code, wanted,
                "{method} {media} {validation}: {}",
                answer.body
            );
            assert_eq!(
                has_warning(&answer, "spec.bogus"),
                is_told,
                "{method} {media} {validation}: {}",
                answer.head
            );
            if wanted < 300 {
                assert_eq!(
                    answer.json()["spec"]["bogus"],
                    Value::Null,
                    "{}",
                    answer.body
                );
            } else {
                assert!(answer.body.contains("spec.bogus"), "{}", answer.body);
            }
        }
    }
    let stored = get(&world, &format!("{IMAGES}/a")).await.json();
    assert!(!stored.to_string().contains("bogus"), "{stored}");
}

/// kubernetes/apiserver, `pkg/endpoints/handlers/patch.go`, `applyJSPatch`.
#[tokio::test(flavor = "multi_thread")]
async fn operations_of_a_json_patch_are_read_strictly() {
    let world = World::start().await;
    let mut labelled = image("a");
    labelled["metadata"]["labels"] = json!({"a": "1"});
    assert_eq!(
        send(&world, "POST", IMAGES, JSON, &labelled).await.code,
        201
    );
    let media = format!("Content-Type: {JSON_PATCH}");
    for (patch, of) in [
        (
            r#"[{"op":"replace","path":"/metadata/labels/a","value":"1","value":"2"}]"#,
            "[0].value",
        ),
        (
            r#"[{"op":"replace","path":"/metadata/labels/a","value":"3","foo":1}]"#,
            "[0].foo",
        ),
        (
            r#"[{"op":"add","path":"/metadata/labels","value":{"a":"4","a":"5"}}]"#,
            "[0].value.a",
        ),
    ] {
        for (validation, code) in [("", 422), ("Strict", 422), ("Warn", 200), ("Ignore", 200)] {
            let path = format!("{IMAGES}/a?fieldValidation={validation}");
            let answer = ask(&world, "PATCH", &path, &[&media], patch).await;
            assert_eq!(answer.code, code, "{patch} {validation}: {}", answer.body);
            assert_eq!(
                has_warning(&answer, of),
                validation == "Warn",
                "{patch}: {}",
                answer.head
            );
        }
    }
    // By null it is tested that something is not there (evanphx/json-patch, `test`).
    for (at, code) in [("nope", 200), ("a", 422)] {
        let patch =
            json!([{"op": "test", "path": format!("/metadata/labels/{at}"), "value": null}]);
        let answer = send(&world, "PATCH", &format!("{IMAGES}/a"), JSON_PATCH, &patch).await;
        assert_eq!(answer.code, code, "{at}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_status_is_judged_as_an_applied_spec() {
    let world = World::start().await;
    assert_eq!(
        send(&world, "POST", HOSTS, JSON, &host("h")).await.code,
        201
    );
    let stating = |status: Value| {
        let mut document = host("h");
        document
            .as_object_mut()
            .expect("an object")
            .shift_remove("spec");
        document["status"] = status;
        document
    };
    let apply = |options: &'static str, status: Value| {
        let path = format!("{HOSTS}/h/status?fieldManager={options}");
        let (world, document) = (&world, stating(status));
        async move { send(world, "PATCH", &path, APPLY, &document).await }
    };
    let condition = |status: &str| json!({"type": "Audited", "status": status, "reason": "Told", "message": "", "observedGeneration": 1});
    let first = apply("watcher", json!({"conditions": [condition("True")]})).await;
    assert_eq!(first.code, 200, "{}", first.body);
    // Nothing changes, so nothing is written; the controller itself may still write what it sees of a new host.
    let mut before = first;
    let mut again = apply("watcher", json!({"conditions": [condition("True")]})).await;
    for _ in 0..20 {
        let of = |answer: &Answer| answer.json()["metadata"]["resourceVersion"].clone();
        if of(&before) == of(&again) {
            break;
        }
        let next = apply("watcher", json!({"conditions": [condition("True")]})).await;
        before = std::mem::replace(&mut again, next);
    }
    assert_eq!(
        before.body, again.body,
        "nothing changes, nothing is written"
    );
    let managers = again.json()["metadata"]["managedFields"].to_string();
    assert!(
        managers.contains("watcher") && managers.contains(r#""subresource":"status""#),
        "{managers}"
    );
    for (refused, code, why) in [
        (
            json!({"conditions": [condition("True"), condition("False")]}),
            422,
            "conditions",
        ),
        (json!({"bogus": 1}), 422, "status.bogus"),
        (json!({"observedGeneration": 99}), 422, "observedGeneration"),
        (json!([]), 422, "status"),
    ] {
        let answer = apply("watcher", refused.clone()).await;
        assert_eq!(answer.code, code, "{refused}: {}", answer.body);
        assert!(answer.body.contains(why), "{refused}: {}", answer.body);
    }
    let kept = json!({"conditions": [condition("True")], "bogus": 1});
    let warned = apply("watcher&fieldValidation=Warn", kept.clone()).await;
    assert!(
        warned.code == 200 && has_warning(&warned, "status.bogus"),
        "{}",
        warned.head
    );
    let ignored = apply("watcher&fieldValidation=Ignore", kept).await;
    assert!(
        ignored.code == 200 && !has_warning(&ignored, "bogus"),
        "{}",
        ignored.head
    );
    let dry = apply("watcher&dryRun=All", json!({})).await;
    assert_eq!(dry.code, 200, "{}", dry.body);
    let other = apply("other", json!({"conditions": [condition("False")]})).await;
    assert_eq!(other.code, 409, "{}", other.body);
    assert!(other.body.contains("watcher"), "{}", other.body);
    let taken = apply(
        "other&force=true",
        json!({"conditions": [condition("False")]}),
    )
    .await;
    assert_eq!(taken.code, 200, "{}", taken.body);
    // What both state stays until neither does.
    for manager in ["watcher", "other"] {
        let gone = apply(manager, json!({})).await;
        assert_eq!(gone.code, 200, "{manager}: {}", gone.body);
    }
    let stored = get(&world, &format!("{HOSTS}/h")).await.json();
    assert!(!stored.to_string().contains("Audited"), "{stored}");
}

/// kubernetes/apiserver, `pkg/registry/rest/update.go`: a uid is a precondition, through a subresource as well; an empty resourceVersion is
/// none (`pkg/storage/api_object_versioner.go`).
#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_for_another_of_the_name_is_a_conflict_and_an_empty_revision_is_none() {
    let world = World::start().await;
    let mut new = host("h");
    new["metadata"]["resourceVersion"] = "".into();
    let made = send(&world, "POST", HOSTS, JSON, &new).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let path = format!("{HOSTS}/h");
    for metadata in [
        json!({"name": "h", "uid": "dead-beef"}),
        json!({"name": "h", "resourceVersion": ""}),
    ] {
        let code = if metadata["uid"].is_null() { 200 } else { 409 };
        let mut document = host("h");
        document["metadata"] = metadata.clone();
        document["status"] = json!({});
        let merge = json!({"metadata": metadata});
        let field = if code == 409 {
            "uid"
        } else {
            "resourceVersion"
        };
        let operation =
            json!([{"op": "add", "path": format!("/metadata/{field}"), "value": metadata[field]}]);
        for below in ["", "/status"] {
            let plain = format!("{path}{below}");
            let apply = format!("{plain}?fieldManager=t");
            let before = revision(&world, &path).await;
            for (method, path, media, body) in [
                ("PUT", &plain, JSON, &document),
                ("PATCH", &plain, MERGE, &merge),
                ("PATCH", &plain, JSON_PATCH, &operation),
                ("PATCH", &apply, APPLY, &document),
            ] {
                let answer = send(&world, method, path, media, body).await;
                assert_eq!(
                    answer.code, code,
                    "{method} {path} {media}: {}",
                    answer.body
                );
            }
            if code == 409 {
                assert_eq!(revision(&world, &path).await, before);
            }
        }
    }
}

/// apimachinery, `pkg/apis/meta/v1/validation/validation.go`, `ValidateDryRun`: a script whose variable is not set does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_that_says_nothing_does_nothing() {
    let world = World::start().await;
    assert_eq!(
        send(&world, "POST", IMAGES, JSON, &image("a")).await.code,
        201
    );
    let before = get(&world, &format!("{IMAGES}?resourceVersion="))
        .await
        .json();
    let one = format!("{IMAGES}/a");
    let label = json!({"metadata": {"labels": {"a": "1"}}});
    for said in [
        "dryRun=",
        "dryRun=&dryRun=All",
        "dryRun=All&dryRun=x",
        "dryRun",
    ] {
        for (method, path, media, body) in [
            ("POST", IMAGES, JSON, &image("b")),
            ("PUT", &one, JSON, &image("a")),
            ("PATCH", &one, MERGE, &label),
            ("DELETE", &one, JSON, &json!({})),
            ("DELETE", IMAGES, JSON, &json!({})),
        ] {
            let answer = send(&world, method, &format!("{path}?{said}"), media, body).await;
            assert_eq!(answer.code, 422, "{method} {path}?{said}: {}", answer.body);
        }
    }
    let twice = format!("{one}?dryRun=All&dryRun=All");
    assert_eq!(
        send(&world, "DELETE", &twice, JSON, &json!({})).await.code,
        200
    );
    let after = get(&world, IMAGES).await.json();
    let named = |list: &Value| {
        let items = list["items"].as_array().expect("a list").clone();
        let named = items.iter().map(|item| {
            (
                item["metadata"]["name"].clone(),
                item["metadata"]["labels"].clone(),
            )
        });
        named.collect::<Vec<_>>()
    };
    assert_eq!(named(&before), named(&after));
}

/// apimachinery, `pkg/util/managedfields/internal/versioncheck.go`.
#[tokio::test(flavor = "multi_thread")]
async fn who_applies_says_what_it_is() {
    let world = World::start().await;
    let path = format!("{IMAGES}/a?fieldManager=git");
    assert_eq!(
        send(&world, "PATCH", &path, APPLY, &image("a")).await.code,
        201
    );
    let (version, kind) = ("cellblock.dev/v1alpha1", "Image");
    for nothing in [
        json!({}),
        json!({"kind": kind}),
        json!({"apiVersion": version}),
        json!({"apiVersion": "", "kind": "", "metadata": {"name": "a"}}),
    ] {
        let answer = send(&world, "PATCH", &path, APPLY, &nothing).await;
        assert_eq!(answer.code, 400, "{nothing}: {}", answer.body);
        assert!(
            answer.body.contains("invalid object type"),
            "{}",
            answer.body
        );
    }
    // A document that is put need not say what it is made of.
    let whole = image("a").to_string();
    let put = ask(&world, "PUT", &format!("{IMAGES}/a"), &[], &whole).await;
    assert_eq!(put.code, 200, "{}", put.body);
}

/// What tools write into the metadata of everything, and what a table is asked for and has.
#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_metadata_are_left_out_and_tables_have_numbers() {
    let world = World::start().await;
    let mut document = image("a");
    document["metadata"]["selfLink"] = "/apis/x".into();
    document["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    document["metadata"]["namespace"] = "default".into();
    let path = format!("{IMAGES}/a");
    let apply = format!("{path}?fieldManager=t&force=true");
    for (method, path, media, body) in [
        ("POST", IMAGES, JSON, document.clone()),
        ("PUT", &path, JSON, document.clone()),
        ("PATCH", &apply, APPLY, document.clone()),
        (
            "PATCH",
            &path,
            MERGE,
            json!({"metadata": document["metadata"]}),
        ),
    ] {
        let answer = send(&world, method, path, media, &body).await;
        assert!(
            [200, 201].contains(&answer.code),
            "{method} {media}: {}",
            answer.body
        );
        assert!(!answer.body.contains("selfLink"), "{}", answer.body);
    }
    let table = ["Accept: application/json;as=Table;v=v1;g=meta.k8s.io"];
    let bogus = format!("{IMAGES}?includeObject=bogus");
    assert_eq!(ask(&world, "GET", &bogus, &table, "").await.code, 400);
    let sets = "/apis/cellblock.dev/v1alpha1/jailsets";
    let set = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "JailSet", "metadata": {"name": "web"},
        "spec": {"replicas": 0, "template": {"spec": {"root": {"path": "/jails/web"}}}},
    });
    assert_eq!(send(&world, "POST", sets, JSON, &set).await.code, 201);
    let table = ask(&world, "GET", sets, &table, "").await.json();
    let columns = table["columnDefinitions"].as_array().expect("columns");
    let place = columns.iter().position(|one| one["name"] == "Updated");
    let place = place.expect("a column");
    assert_eq!(columns[place]["type"], "integer");
    assert_eq!(table["rows"][0]["cells"][place], 0, "{table}");
    assert_eq!(columns[0]["type"], "string");
}
