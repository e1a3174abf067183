//! What a refusal is called over REST: codes, reasons, causes and details as kube-apiserver's, for the programs that read them; and
//! bodies of YAML, for each verb that takes one.

mod common;

use common::World;
use common::http::{APPLY, Answer, JSON, JSON_PATCH, MERGE, ask, get, send, text};
use serde_json::{Value, json};

const JAILS: &str = "/apis/cellblock.dev/v1alpha1/jails";
const YAML: &str = "application/yaml";

fn jail(name: &str) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail",
        "metadata": {"name": name},
        "spec": {"root": {"path": format!("/jails/{name}")}},
    })
}

/// Each cause of a refusal: its field and its reason.
fn causes(answer: &Answer) -> Vec<(String, String)> {
    let status = answer.json();
    let causes = status["details"]["causes"].as_array().cloned();
    let causes = causes.unwrap_or_default();
    let cause = |one: &Value| (text(&one["field"]), text(&one["reason"]));
    causes.iter().map(cause).collect()
}

async fn says(world: &World, method: &str, path: &str, media: &str, body: &str) -> Answer {
    let media = format!("Content-Type: {media}");
    ask(world, method, path, &[&media], body).await
}

fn message(answer: &Answer) -> String {
    text(&answer.json()["message"])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_cause_says_of_what_sort_it_is() {
    let world = World::start().await;
    let publish = json!([{"name": "web", "ports": [80]}, {"name": "web", "ports": [81], "uplink": "external"}]);
    let misshapen = json!({
        "root": {"path": "/jails/www"},
        "publish": publish,
        "runPolicy": "running",
        "jailName": 5,
    });
    let senseless = json!({
        "root": {"path": "/jails/www"},
        "networks": [{"network": "lan", "addressing": "static"}],
        "parameters": {"path": "/elsewhere"},
        "host": "a",
        "hostSelector": {"matchLabels": {"zone": "x"}},
    });
    for (spec, expected) in [
        (
            misshapen,
            &[
                ("spec.publish[0].uplink", "FieldValueRequired"),
                ("spec.publish[1]", "FieldValueDuplicate"),
                ("spec.runPolicy", "FieldValueNotSupported"),
                ("spec.jailName", "FieldValueTypeInvalid"),
            ][..],
        ),
        (
            senseless,
            &[
                ("spec.parameters[path]", "FieldValueForbidden"),
                ("spec.hostSelector", "FieldValueForbidden"),
                ("spec.networks[0].addressing", "FieldValueRequired"),
            ],
        ),
    ] {
        let mut document = jail("www");
        document["spec"] = spec;
        let refused = send(&world, "POST", JAILS, JSON, &document).await;
        assert_eq!(refused.code, 422, "{}", refused.body);
        let found = causes(&refused);
        for (field, reason) in expected {
            let expected = ((*field).to_owned(), (*reason).to_owned());
            assert!(found.contains(&expected), "{field}: {found:#?}");
        }
    }
    let mut document = jail("www");
    document["metadata"]["annotations"] = json!({"example.org/words": "x".repeat(300_000)});
    let refused = send(&world, "POST", JAILS, JSON, &document).await;
    let found = causes(&refused);
    assert_eq!(
        found,
        [(
            "metadata.annotations".to_owned(),
            "FieldValueTooLong".to_owned()
        )]
    );
    // Options of a request.
    for (query, media, field, reason) in [
        ("", APPLY, "fieldManager", "FieldValueRequired"),
        (
            "?fieldManager=a&force=true",
            MERGE,
            "force",
            "FieldValueForbidden",
        ),
        ("?dryRun=Some", MERGE, "dryRun", "FieldValueNotSupported"),
    ] {
        let path = format!("{JAILS}/www{query}");
        let refused = send(&world, "PATCH", &path, media, &jail("www")).await;
        assert_eq!(refused.code, 422, "{}", refused.body);
        assert_eq!(causes(&refused), [(field.to_owned(), reason.to_owned())]);
        assert_eq!(refused.json()["details"]["kind"], "PatchOptions");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_about_the_object_as_a_whole_names_the_object_and_no_field() {
    let world = World::start().await;
    let details = json!({"name": "www", "group": "cellblock.dev", "kind": "jails"});
    let missing = get(&world, &format!("{JAILS}/www")).await;
    assert_eq!((missing.code, &missing.json()["details"]), (404, &details));
    let put = send(&world, "PUT", &format!("{JAILS}/www"), JSON, &jail("www")).await;
    assert_eq!((put.code, &put.json()["details"]), (404, &details));
    let made = send(&world, "POST", JAILS, JSON, &jail("www")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let again = send(&world, "POST", JAILS, JSON, &jail("www")).await;
    assert_eq!((again.code, &again.json()["details"]), (409, &details));
    assert_eq!(
        message(&again),
        "jails.cellblock.dev \"www\" already exists"
    );
    for (field, value) in [("resourceVersion", "1"), ("uid", "another")] {
        let mut stale = jail("www");
        stale["metadata"][field] = value.into();
        let stale = send(&world, "PUT", &format!("{JAILS}/www"), JSON, &stale).await;
        assert_eq!((stale.code, &stale.json()["details"]), (409, &details));
        let begins = "Operation cannot be fulfilled on jails.cellblock.dev \"www\": ";
        assert!(message(&stale).starts_with(begins), "{}", stale.body);
    }
    let removed = ask(&world, "DELETE", &format!("{JAILS}/www"), &[], "").await;
    let uid = made.json()["metadata"]["uid"].clone();
    let told = removed.json()["details"].clone();
    assert_eq!((&told["uid"], &told["kind"]), (&uid, &json!("jails")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_a_kind_has_not_is_a_bad_request_or_a_patch_that_does_not_fit() {
    let world = World::start().await;
    let mut unknown = jail("www");
    unknown["spec"]["rooot"] = json!({});
    unknown["spec"]["jailName"] = 5.into();
    let path = format!("{JAILS}/www");
    let said = "Jail in version \"v1alpha1\" cannot be handled as a Jail: strict decoding error: unknown field \"spec.rooot\"";
    let refused = send(&world, "POST", JAILS, JSON, &unknown).await;
    assert_eq!(
        (refused.code, refused.refusal().0.as_str()),
        (400, "BadRequest")
    );
    assert!(message(&refused).starts_with(said), "{}", refused.body);
    // What else is wrong is told at once.
    assert!(
        message(&refused).contains("spec.jailName"),
        "{}",
        refused.body
    );
    assert_eq!(
        send(&world, "POST", JAILS, JSON, &jail("www")).await.code,
        201
    );
    let refused = send(&world, "PUT", &path, JSON, &unknown).await;
    assert_eq!(refused.code, 400, "{}", refused.body);
    assert!(message(&refused).starts_with(said), "{}", refused.body);
    let added = json!([{"op": "add", "path": "/spec/rooot", "value": {}}]);
    let applied = format!("{path}?fieldManager=test");
    for (path, media, body) in [
        (&path, MERGE, json!({"spec": {"rooot": {}}})),
        (&path, JSON_PATCH, added),
        (&applied, APPLY, unknown),
    ] {
        let refused = send(&world, "PATCH", path, media, &body).await;
        assert_eq!(
            (refused.code, refused.refusal().0.as_str()),
            (422, "Invalid")
        );
        assert!(
            refused.refusal().1.contains(&"spec.rooot".to_owned()),
            "{media}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_patch_says_of_a_namespace_is_left_out() {
    let world = World::start().await;
    assert_eq!(
        send(&world, "POST", JAILS, JSON, &jail("www")).await.code,
        201
    );
    let path = format!("{JAILS}/www");
    let added = json!([{"op": "add", "path": "/metadata/namespace", "value": "x"}]);
    for (media, patch) in [
        (MERGE, json!({"metadata": {"namespace": "x"}})),
        (JSON_PATCH, added),
    ] {
        let patched = send(&world, "PATCH", &path, media, &patch).await;
        assert_eq!(patched.code, 200, "{}", patched.body);
        assert_eq!(patched.json()["metadata"]["namespace"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_validates_by_the_schema_does_not_stumble_over_a_namespace() {
    let world = World::start().await;
    let schemas = [
        ("/openapi/v2", "/definitions"),
        (
            "/openapi/v3/apis/cellblock.dev/v1alpha1",
            "/components/schemas",
        ),
    ];
    for (path, types) in schemas {
        let served = ask(&world, "GET", path, &["Accept: application/json"], "").await;
        let served = served.json();
        let types = served.pointer(types).and_then(Value::as_object);
        let mut metadata = types
            .expect("there are types")
            .iter()
            .filter(|(name, _)| name.contains("cellblock") && name.ends_with("ObjectMeta"))
            .peekable();
        assert!(metadata.peek().is_some(), "{path}");
        for (name, schema) in metadata {
            assert_eq!(
                schema["properties"]["namespace"]["type"], "string",
                "{name}"
            );
        }
    }
}

/// A jail as people write it.
fn written(name: &str, role: &str) -> String {
    format!(
        "# The front.\nkind: Jail\napiVersion: cellblock.dev/v1alpha1\nmetadata:\n  name: {name}\n  labels: &all\n    role: {role}\n  annotations: *all\nspec:\n  root: {{path: '/jails/{name}'}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_that_takes_a_document_takes_yaml() {
    let world = World::start().await;
    let role = |answer: &Answer| text(&answer.json()["metadata"]["labels"]["role"]);
    let path = format!("{JAILS}/www");
    let made = says(&world, "POST", JAILS, YAML, &written("www", "web")).await;
    assert_eq!(
        (made.code, role(&made)),
        (201, "web".to_owned()),
        "{}",
        made.body
    );
    assert_eq!(made.json()["metadata"]["annotations"]["role"], "web");
    let put = says(&world, "PUT", &path, YAML, &written("www", "db")).await;
    assert_eq!(
        (put.code, role(&put)),
        (200, "db".to_owned()),
        "{}",
        put.body
    );
    let by = format!("{path}?fieldManager=test&force=true");
    let applied = says(&world, "PATCH", &by, APPLY, &written("www", "mail")).await;
    assert_eq!(
        (applied.code, role(&applied)),
        (200, "mail".to_owned()),
        "{}",
        applied.body
    );
    let status = "kind: Jail\nmetadata: {name: www}\nstatus: {phase: Running}\n";
    let put = says(&world, "PUT", &format!("{path}/status"), YAML, status).await;
    assert_eq!(put.json()["status"]["phase"], "Running", "{}", put.body);
    let options = "kind: DeleteOptions\napiVersion: v1\ndryRun: [All]\n";
    let tried = says(&world, "DELETE", &path, YAML, options).await;
    assert_eq!(tried.code, 200, "{}", tried.body);
    let options = "preconditions:\n  uid: another\n";
    let refused = says(&world, "DELETE", &path, YAML, options).await;
    assert_eq!(refused.code, 409, "{}", refused.body);
    assert_eq!(get(&world, &path).await.code, 200);
    let gone = says(
        &world,
        "DELETE",
        &path,
        YAML,
        "propagationPolicy: Background\n",
    )
    .await;
    assert_eq!(gone.code, 200, "{}", gone.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_twice_in_yaml_is_judged_as_in_json() {
    let world = World::start().await;
    let twice = |name: &str| format!("{}  host: a\n  host: b\n", written(name, "web"));
    let by = |verb: &str, how: &str| match verb {
        "POST" => (JAILS.to_owned() + how, YAML),
        "PUT" => (format!("{JAILS}/www{how}"), YAML),
        _ => (
            format!("{JAILS}/www{how}&fieldManager=test&force=true"),
            APPLY,
        ),
    };
    for verb in ["POST", "PUT", "PATCH"] {
        for how in ["?fieldValidation=Strict", "?"] {
            let (path, media) = by(verb, how);
            let refused = says(&world, verb, &path, media, &twice("www")).await;
            assert_eq!(refused.code, 400, "{verb}: {}", refused.body);
            let said = "strict decoding error: duplicate field \"spec.host\"";
            assert!(message(&refused).contains(said), "{verb}: {}", refused.body);
        }
        for (how, is_told) in [("Warn", true), ("Ignore", false)] {
            let (path, media) = by(verb, &format!("?fieldValidation={how}"));
            let name = if verb == "POST" {
                how.to_lowercase()
            } else {
                "www".to_owned()
            };
            let taken = says(&world, verb, &path, media, &twice(&name)).await;
            assert!(taken.code < 300, "{verb} {how}: {}", taken.body);
            // The last one counts, as with kube-apiserver.
            assert_eq!(taken.json()["spec"]["host"], "b", "{verb} {how}");
            let told = taken.head.contains("duplicate field");
            assert_eq!(told, is_told, "{verb} {how}: {}", taken.head);
        }
        if verb == "POST" {
            let made = says(&world, "POST", JAILS, YAML, &written("www", "web")).await;
            assert_eq!(made.code, 201, "{}", made.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn yaml_that_cannot_be_read_is_refused_in_words_for_its_writer() {
    let world = World::start().await;
    let two = format!("{}---\n{}", written("a", "web"), written("b", "web"));
    for (body, said) in [
        (two.as_str(), "several documents"),
        ("kind: [Jail\n", "line"),
        ("kind: *nobody\n", "unknown"),
        ("- a\n- b\n", "no object"),
        ("", "no object"),
    ] {
        for (method, path, media) in [
            ("POST", JAILS.to_owned(), YAML),
            ("PUT", format!("{JAILS}/a"), YAML),
            ("PATCH", format!("{JAILS}/a?fieldManager=test"), APPLY),
        ] {
            let refused = says(&world, method, &path, media, body).await;
            assert_eq!(refused.code, 400, "{method} {body:?}: {}", refused.body);
            assert!(
                message(&refused).contains(said),
                "{body:?}: {}",
                refused.body
            );
            // Nothing of the program that reads it.
            for word in ["from_", "Options", "_with_", "Policy"] {
                assert!(!message(&refused).contains(word), "{}", refused.body);
            }
        }
    }
    let list = get(&world, JAILS).await.json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(0));
}
