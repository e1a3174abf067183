//! The REST front beside gRPC: one table of requests over both, with the same objects, refusals and revisions; and what
//! Kubernetes' programs ask of it beyond the objects.

mod common;

use cellblock_proto::v1;
use cellblock_schemas::Kind;
use common::http::{APPLY, Answer, JSON, MERGE, ask, get, send, text};
use common::{Objects, World, rejection};
use serde_json::{Value, json};

const JAILS: &str = "/apis/cellblock.dev/v1alpha1/jails";

fn jail(name: &str, role: &str) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1",
        "kind": "Jail",
        "metadata": {"name": name, "labels": {"role": role}},
        "spec": {"root": {"path": "/jails/www"}},
    })
}

fn envelope(document: &Value) -> Option<v1::Object> {
    Some(v1::Object {
        kind: "Jail".to_owned(),
        name: String::new(),
        revision: 0,
        json: document.to_string().into(),
    })
}

async fn create(objects: &mut Objects, document: &Value) -> Result<Value, (String, Vec<String>)> {
    let request = v1::CreateRequest {
        object: envelope(document),
        field_manager: "test".to_owned(),
        ..v1::CreateRequest::default()
    };
    shown(objects.create(request).await)
}

async fn update(objects: &mut Objects, document: &Value) -> Result<Value, (String, Vec<String>)> {
    let request = v1::UpdateRequest {
        object: envelope(document),
        field_manager: "test".to_owned(),
        ..v1::UpdateRequest::default()
    };
    shown(objects.update(request).await)
}

fn shown(
    answer: Result<tonic::Response<v1::WriteResponse>, tonic::Status>,
) -> Result<Value, (String, Vec<String>)> {
    match answer {
        Ok(answer) => {
            let object = answer.into_inner().object.expect("an object");
            Ok(serde_json::from_slice(&object.json).expect("JSON"))
        }
        Err(status) => {
            let detail = rejection(&status);
            // Kubernetes names no field where it is the object as a whole.
            let is_whole = matches!(
                detail.reason.as_str(),
                "NotFound" | "AlreadyExists" | "Conflict"
            );
            let fields = detail.violations.into_iter().filter(|_| !is_whole);
            Err((detail.reason, fields.map(|one| one.field).collect()))
        }
    }
}

/// What two objects that were written alike have in common: everything but who they are and when.
fn alike(mut object: Value) -> Value {
    for field in ["uid", "resourceVersion", "creationTimestamp", "name"] {
        object["metadata"][field] = Value::Null;
    }
    let managers = object["metadata"]["managedFields"].as_array_mut();
    for manager in managers.into_iter().flatten() {
        manager["time"] = Value::Null;
    }
    for condition in object["status"]["conditions"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        condition["lastTransitionTime"] = Value::Null;
    }
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn both_wires_give_the_same_objects_and_refusals() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let path = |name: &str| format!("{JAILS}/{name}?fieldManager=test");
    let both = [("rest", "a"), ("grpc", "b")];

    // Create, and what is refused of it.
    let rest = send(&world, "POST", &path(""), JSON, &jail("a", "web")).await;
    assert_eq!(rest.code, 404, "a name may not be empty: {}", rest.body);
    let collection = format!("{JAILS}?fieldManager=test");
    let rest = send(&world, "POST", &collection, JSON, &jail("a", "web")).await;
    assert_eq!(rest.code, 201, "{}", rest.body);
    let grpc = create(&mut objects, &jail("b", "web"))
        .await
        .expect("created");
    assert_eq!(alike(rest.json()), alike(grpc));
    let mut revision_set = jail("c", "web");
    revision_set["metadata"]["resourceVersion"] = "7".into();
    let mut unknown = jail("c", "web");
    unknown["spec"]["rooot"] = json!({});
    unknown["spec"]["limits"] = 7.into();
    let mut many = jail("c", "web");
    many["metadata"]["labels"] = (0..100_000)
        .map(|n| (format!("l{n}"), json!("x")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    for (document, code) in [
        (jail("b", "web"), 409),
        (revision_set, 422),
        (unknown, 400),
        (many, 413),
        (jail("Groß", "web"), 422),
        (jail("a/b", "web"), 422),
        (jail("..", "web"), 422),
        (jail("c", "not a label"), 422),
    ] {
        let rest = send(&world, "POST", &collection, JSON, &document).await;
        let (reason, mut fields) = rest.refusal();
        assert_eq!(rest.code, code, "{}", rest.body);
        let refused = create(&mut objects, &document).await.expect_err("refused");
        // Kubernetes' name for a document that is too large is another than its gRPC one here.
        let reason = reason.replace("RequestEntityTooLarge", "TooLarge");
        let mut expected = refused.1;
        fields.sort();
        expected.sort();
        assert_eq!((reason, fields), (refused.0, expected), "{}", rest.body);
    }

    // Update: a revision that is not the newest, one of another store, and the newest.
    for stale in ["1", "from elsewhere"] {
        let mut document = jail("b", "db");
        document["metadata"]["resourceVersion"] = stale.into();
        let rest = send(&world, "PUT", &path("b"), JSON, &document).await;
        assert_eq!(rest.code, 409, "{}", rest.body);
        let refused = update(&mut objects, &document).await.expect_err("refused");
        assert_eq!(rest.refusal(), refused);
    }
    let rest = send(&world, "PUT", &path("a"), JSON, &jail("a", "db")).await;
    let grpc = update(&mut objects, &jail("b", "db"))
        .await
        .expect("updated");
    assert_eq!(alike(rest.json()), alike(grpc));
    let gone = send(&world, "PUT", &path("nobody"), JSON, &jail("nobody", "db")).await;
    let refused = update(&mut objects, &jail("nobody", "db"))
        .await
        .expect_err("refused");
    assert_eq!((gone.code, gone.refusal()), (404, refused));

    // Patch: what changes nothing writes nothing, on either wire.
    let patch = json!({"metadata": {"labels": {"role": "proxy"}}});
    for (wire, name) in both {
        let mut revisions = Vec::new();
        for _ in 0..2 {
            let document = if wire == "rest" {
                send(&world, "PATCH", &path(name), MERGE, &patch)
                    .await
                    .json()
            } else {
                let request = v1::PatchRequest {
                    kind: "Jail".to_owned(),
                    name: name.to_owned(),
                    r#type: v1::patch_request::Type::Merge.into(),
                    patch: patch.to_string().into(),
                    field_manager: "test".to_owned(),
                    ..v1::PatchRequest::default()
                };
                shown(objects.patch(request).await).expect("patched")
            };
            assert_eq!(
                document["metadata"]["labels"]["role"], "proxy",
                "{document}"
            );
            revisions.push(text(&document["metadata"]["resourceVersion"]));
        }
        assert_eq!(revisions[0], revisions[1], "{wire}");
    }

    // Both see one list at one revision.
    let rest = get(
        &world,
        &format!("{JAILS}?labelSelector=role%3Dproxy&limit=1"),
    )
    .await
    .json();
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(1), "{rest}");
    let next = text(&rest["metadata"]["continue"]);
    let rest = get(&world, &format!("{JAILS}?limit=1&continue={next}"))
        .await
        .json();
    assert_eq!(rest["items"][0]["metadata"]["name"], "b", "{rest}");
    let listed = objects
        .list(v1::ListRequest {
            kind: "Jail".to_owned(),
            ..v1::ListRequest::default()
        })
        .await
        .expect("a list")
        .into_inner();
    let rest = get(&world, JAILS).await.json();
    assert_eq!(
        rest["metadata"]["resourceVersion"],
        listed.revision.to_string()
    );
    let objects_listed: Vec<Value> = listed
        .objects
        .iter()
        .map(|object| serde_json::from_slice(&object.json).expect("JSON"))
        .collect();
    assert_eq!(objects_listed.len(), 2);
    assert_eq!(rest["items"], Value::from(objects_listed));

    // Delete.
    let options = json!({"preconditions": {"uid": "another"}});
    let stale = send(&world, "DELETE", &path("a"), JSON, &options).await;
    assert_eq!((stale.code, stale.refusal().0.as_str()), (409, "Conflict"));
    for options in [
        json!({"propagationPolicy": "Sideways"}),
        json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
    ] {
        let refused = send(&world, "DELETE", &path("a"), JSON, &options).await;
        assert_eq!(
            refused.refusal(),
            ("Invalid".to_owned(), vec!["propagationPolicy".to_owned()])
        );
    }
    let gone = send(
        &world,
        "DELETE",
        &path("a"),
        JSON,
        &json!({"propagationPolicy": "Background"}),
    )
    .await;
    assert_eq!(
        (gone.code, &gone.json()["status"]),
        (200, &json!("Success"))
    );
    assert_eq!(get(&world, &path("a")).await.code, 404);
    let all = send(&world, "DELETE", JAILS, JSON, &json!({})).await;
    assert_eq!(
        all.json()["items"].as_array().map(Vec::len),
        Some(1),
        "{}",
        all.body
    );
    assert_eq!(get(&world, JAILS).await.json()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_needs_a_manager_and_tells_conflicts_as_kubernetes_does() {
    let world = World::start().await;
    let path = format!("{JAILS}/www");
    let refused = send(&world, "PATCH", &path, APPLY, &jail("www", "web")).await;
    assert_eq!(
        refused.refusal(),
        ("Invalid".to_owned(), vec!["fieldManager".to_owned()])
    );
    let by = |manager: &str| format!("{path}?fieldManager={manager}");
    let dry = send(
        &world,
        "PATCH",
        &(by("one") + "&dryRun=All"),
        APPLY,
        &jail("www", "web"),
    )
    .await;
    assert_eq!((dry.code, get(&world, &path).await.code), (201, 404));
    let applied = send(&world, "PATCH", &by("one"), APPLY, &jail("www", "web")).await;
    assert_eq!(applied.code, 201, "{}", applied.body);
    let again = send(&world, "PATCH", &by("one"), APPLY, &jail("www", "web")).await;
    assert_eq!(again.code, 200);
    assert_eq!(
        again.json()["metadata"]["resourceVersion"],
        applied.json()["metadata"]["resourceVersion"]
    );
    let refused = send(&world, "PATCH", &by("two"), APPLY, &jail("www", "db")).await;
    assert_eq!(refused.code, 409, "{}", refused.body);
    assert_eq!(
        refused.refusal(),
        (
            "Conflict".to_owned(),
            vec![".metadata.labels.role".to_owned()]
        )
    );
    assert_eq!(
        refused.json()["message"],
        "Apply failed with 1 conflict: conflict with \"one\": .metadata.labels.role"
    );
    let forced = send(
        &world,
        "PATCH",
        &(by("two") + "&force=true"),
        APPLY,
        &jail("www", "db"),
    )
    .await;
    assert_eq!(forced.code, 200, "{}", forced.body);

    let mut unknown = jail("www", "db");
    unknown["spec"]["rooot"] = "/".into();
    let validated = |how: &str| format!("{}&fieldValidation={how}", by("two"));
    assert_eq!(
        send(&world, "PATCH", &by("two"), APPLY, &unknown)
            .await
            .code,
        422
    );
    let warned = send(&world, "PATCH", &validated("Warn"), APPLY, &unknown).await;
    assert_eq!(warned.code, 200, "{}", warned.body);
    assert!(
        warned
            .head
            .contains(r#"warning: 299 - "unknown field \"spec.rooot\", which is left out""#),
        "{}",
        warned.head
    );
    let ignored = send(&world, "PATCH", &validated("Ignore"), APPLY, &unknown).await;
    assert!(
        ignored.code == 200 && !ignored.head.contains("rooot"),
        "{}",
        ignored.head
    );
    let odd = send(&world, "PATCH", &validated("Perhaps"), APPLY, &unknown).await;
    assert_eq!(odd.refusal().1, ["fieldValidation"]);
    let force = send(
        &world,
        "PATCH",
        &(by("two") + "&force=true"),
        MERGE,
        &json!({}),
    )
    .await;
    assert_eq!(force.refusal().1, ["force"]);
    let twice = r#"{"kind":"Jail","metadata":{"name":"x"},"spec":{"host":"a","host":"b"}}"#;
    let refused = ask(
        &world,
        "POST",
        JAILS,
        &["Content-Type: application/json"],
        twice,
    )
    .await;
    assert!(
        refused.code == 400 && refused.body.contains(r#"duplicate field \"spec.host\""#),
        "{}",
        refused.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn senseless_requests_are_answered_as_by_kube_apiserver() {
    let world = World::start().await;
    for (path, code, reason) in [
        ("?labelSelector=a%3D%3D%3Db", 400, "BadRequest"),
        ("?fieldSelector=spec.root%3Da", 400, "BadRequest"),
        ("?resourceVersion=99999999", 504, "Timeout"),
        ("?sendInitialEvents=true", 422, "Invalid"),
        (
            "?resourceVersion=1&resourceVersionMatch=Exact&continue=a",
            422,
            "Invalid",
        ),
        (
            "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=a",
            422,
            "Invalid",
        ),
        ("?watch=1&resourceVersion=elsewhere", 422, "Invalid"),
        ("?resourceVersion=elsewhere", 422, "Invalid"),
        ("?continue=made-up", 400, "BadRequest"),
        ("?limit=many", 400, "BadRequest"),
        ("?watch=1&sendInitialEvents=true", 422, "Invalid"),
        ("/nobody", 404, "NotFound"),
        ("/www/scale", 404, "NotFound"),
        ("/..%2f..%2fetc", 404, "NotFound"),
        ("/%ff", 400, "BadRequest"),
        ("/gro%C3%9F", 404, "NotFound"),
    ] {
        let answer = get(&world, &format!("{JAILS}{path}")).await;
        assert_eq!(
            (answer.code, answer.refusal().0.as_str()),
            (code, reason),
            "{path}: {}",
            answer.body
        );
    }
    let large = "x".repeat(3 << 20);
    for (method, headers, body, code) in [
        (
            "GET",
            "Accept: application/vnd.kubernetes.protobuf",
            "",
            406,
        ),
        ("POST", "Content-Type: text/plain", "{}", 415),
        ("POST", "X-Nothing: said of the body", "{}", 415),
        ("POST", "Content-Type: application/json", "{", 400),
        ("POST", "Content-Type: application/json", "[]", 400),
        (
            "POST",
            "Content-Type: application/json",
            &format!("{{\"a\":\"{large}\"}}"),
            413,
        ),
        ("PUT", "Content-Type: application/json", "{}", 405),
        ("GET", "Origin: http://evil.example.org", "", 403),
        ("GET", "Sec-Fetch-Mode: no-cors", "", 403),
        ("GET", "Host: evil.example.org", "", 403),
        // What calls itself gRPC passes the same guard.
        (
            "GET",
            "Content-Type: application/grpc\r\nOrigin: http://evil.example.org",
            "",
            403,
        ),
    ] {
        let answer = ask(&world, method, JAILS, &[headers], body).await;
        assert_eq!(answer.code, code, "{headers}: {}", answer.body);
        answer.refusal();
    }
    assert_eq!(get(&world, "/nowhere").await.refusal().0, "NotFound");
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_tell_what_is_asked_for_and_end_in_time() {
    let world = World::start().await;
    let created = send(&world, "POST", JAILS, JSON, &jail("www", "web"))
        .await
        .json();
    let revision = text(&created["metadata"]["resourceVersion"]);
    let events = |answer: Answer| -> Vec<Value> {
        let lines = answer.body.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("an event"))
            .collect()
    };
    let whole = format!("{JAILS}?watch=true&timeoutSeconds=1");
    let seen = events(get(&world, &whole).await);
    assert_eq!(
        (seen.len(), &seen[0]["type"]),
        (1, &json!("ADDED")),
        "{seen:?}"
    );
    let initial =
        "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let seen = events(get(&world, &format!("{whole}{initial}")).await);
    assert_eq!(seen[1]["type"], "BOOKMARK", "{seen:?}");
    assert_eq!(
        seen[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    // With a name there is nothing to watch but the collection (kubernetes/apiserver, `pkg/endpoints/request/requestinfo.go`).
    let named = get(&world, &format!("{JAILS}/www?watch=true")).await.json();
    assert_eq!(named["kind"], "Jail");
    let selected =
        format!("{JAILS}?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%21%3Dwww");
    assert!(events(get(&world, &selected).await).is_empty());
    // What is wrong with a revision is told as an event.
    let future = get(&world, &format!("{whole}&resourceVersion=99999999")).await;
    assert_eq!(future.code, 200, "{}", future.body);
    let error = &events(future)[0];
    assert_eq!(
        (&error["type"], &error["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    let path = format!("{JAILS}/www?fieldManager=test");
    send(
        &world,
        "PATCH",
        &path,
        MERGE,
        &json!({"metadata": {"labels": {"role": "db"}}}),
    )
    .await;
    let seen = events(get(&world, &format!("{whole}&resourceVersion={revision}")).await);
    assert_eq!(
        seen.last()
            .map(|one| &one["object"]["metadata"]["labels"]["role"]),
        Some(&json!("db")),
        "{seen:?}"
    );
    let table = ["Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json"];
    let seen = events(ask(&world, "GET", &whole, &table, "").await);
    assert_eq!(seen[0]["object"]["rows"][0]["cells"][0], "www", "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_discovered() {
    let world = World::start().await;
    for path in ["/healthz", "/livez", "/readyz"] {
        let answer = get(&world, path).await;
        assert_eq!((answer.code, answer.body.as_str()), (200, "ok"), "{path}");
    }
    assert_eq!(get(&world, "/version").await.json()["major"], "1");
    let listed = get(&world, "/apis/cellblock.dev/v1alpha1").await.json();
    let resources = listed["resources"].as_array().expect("resources");
    // Five kinds, each with its status, one that has a number, and what is given out.
    assert_eq!(resources.len(), 12, "{listed}");
    let given = resources.iter().find(|one| one["name"] == "allocations");
    assert_eq!(given.expect("allocations")["verbs"], json!(["get", "list"]));
    assert!(resources.iter().all(|one| one["namespaced"] == false));
    let sets = resources.iter().find(|one| one["name"] == "jailsets");
    let sets = sets.expect("sets of jails");
    assert_eq!(sets["kind"], "JailSet");
    for kind in Kind::ALL {
        let one = resources.iter().find(|one| one["name"] == kind.plural());
        let one = one.expect("each kind");
        assert_eq!(one["shortNames"], json!([kind.short_name()]), "jailctl's");
    }
    let table = ["Accept: application/json;as=Table;v=v1;g=meta.k8s.io"];
    let path = "/apis/cellblock.dev/v1alpha1/jailsets";
    let columns = ask(&world, "GET", path, &table, "").await.json();
    assert_eq!(columns["columnDefinitions"][4]["name"], "Available");
    assert!(
        resources.iter().any(|one| one["name"] == "jails/status"),
        "{listed}"
    );
    let all = ["Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"];
    let groups = ask(&world, "GET", "/apis", &all, "").await;
    assert_eq!(
        groups.json()["items"][0]["metadata"]["name"],
        "cellblock.dev"
    );
    assert!(
        groups.head.contains("as=APIGroupDiscoveryList"),
        "{}",
        groups.head
    );
    let index = get(&world, "/openapi/v3").await.json();
    let url = text(&index["paths"]["apis/cellblock.dev/v1alpha1"]["serverRelativeURL"]);
    let document = get(&world, &url).await.body;
    let parsed: Value = serde_json::from_str(&document).expect("JSON");
    let mut rest = document.as_str();
    let mut references = 0;
    while let Some((_, after)) = rest.split_once("\"$ref\":\"#") {
        let (pointer, after) = after.split_once('"').expect("it ends");
        assert!(parsed.pointer(pointer).is_some(), "{pointer} leads nowhere");
        rest = after;
        references += 1;
    }
    assert!(references > 20, "only {references} references");
    let schemas = &parsed["components"]["schemas"];
    assert!(schemas.get("dev.cellblock.v1alpha1.JailSet").is_some());
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "group": "cellblock.dev", "resource": "jails"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(
        send(&world, "POST", path, JSON, &review).await.json()["status"]["allowed"],
        true
    );
    let yaml = ask(&world, "GET", JAILS, &["Accept: application/yaml"], "").await;
    assert!(yaml.body.contains("kind: JailList"), "{}", yaml.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_is_not_served_to_web_pages() {
    let world = World::start().await;
    let plain = "Content-Type: text/plain";
    let grpc = "Content-Type: application/grpc";
    let origin = "Origin: http://evil.example.org";
    let host = "Host: evil.example.org";
    // A message of gRPC as a page could send it: no compression, four bytes of length, an object to be created.
    for service in [
        "Objects/Create",
        "Objects/Apply",
        "Visits/Exec",
        "Agents/Session",
    ] {
        let path = format!("/cellblock.v1.{service}");
        for headers in [
            &[plain][..],
            &[plain, origin],
            &[plain, host],
            &[grpc],
            &[grpc, origin],
            &[grpc, host],
            &[],
        ] {
            let answer = ask(&world, "POST", &path, headers, "\0\0\0\0\0").await;
            assert_eq!(answer.code, 403, "{path} {headers:?}: {}", answer.head);
            assert_eq!(answer.refusal().0, "Forbidden");
        }
    }
    let mut objects = world.objects().await;
    objects
        .version(v1::VersionRequest {})
        .await
        .expect("a client of gRPC is answered");
    let mut page = tonic::Request::new(v1::VersionRequest {});
    let evil = "http://evil.example.org".parse().expect("a header");
    page.metadata_mut().insert("origin", evil);
    common::assert_code(objects.version(page).await, tonic::Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_a_limit_is_whole() {
    let world = World::start().await;
    let words = "x".repeat(200 << 10);
    for n in 0..20 {
        let mut document = jail(&format!("j{n:02}"), "web");
        document["metadata"]["annotations"] = json!({"example.org/words": words});
        let created = send(&world, "POST", JAILS, JSON, &document).await;
        assert_eq!(created.code, 201, "{}", created.body);
    }
    let whole = get(&world, JAILS).await.json();
    assert_eq!(whole["items"].as_array().map(Vec::len), Some(20));
    assert_eq!(whole["metadata"].get("continue"), None);
    let page = get(&world, &format!("{JAILS}?limit=100")).await.json();
    assert!(
        !text(&page["metadata"]["continue"]).is_empty(),
        "with a limit a page is bounded by its bytes too"
    );
    let all = send(&world, "DELETE", JAILS, JSON, &json!({})).await.json();
    assert_eq!(all["items"].as_array().map(Vec::len), Some(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_are_not_understood_remove_nothing() {
    let world = World::start().await;
    let created = send(&world, "POST", JAILS, JSON, &jail("www", "web")).await;
    assert_eq!(created.code, 201, "{}", created.body);
    let path = format!("{JAILS}/www");
    for options in [
        json!({"dryRun": "All"}),
        json!({"dryRun": [1]}),
        json!({"dryrun": ["All"]}),
        json!({"preconditions": {"uid": 7}}),
        json!({"preconditions": {"resourceVersion": 7}}),
        json!({"preconditions": {"UID": "another"}}),
        json!({"preconditions": ["another"]}),
        json!({"propagationPolicy": ["Orphan"]}),
        json!([]),
        json!(["www"]),
        json!("All"),
        Value::Null,
    ] {
        for path in [&path, JAILS] {
            let refused = send(&world, "DELETE", path, JSON, &options).await;
            assert_eq!(refused.code, 400, "{options}: {}", refused.body);
            assert_eq!(refused.refusal().0, "BadRequest");
        }
    }
    let orphan = json!({"orphanDependents": true, "dryRun": ["All"]});
    let orphan = send(&world, "DELETE", &path, JSON, &orphan).await;
    let finalizers = orphan.json()["metadata"]["finalizers"].clone();
    assert!(
        finalizers.to_string().contains("\"orphan\""),
        "{}",
        orphan.body
    );
    let dry = format!("{path}?dryRun=All");
    let tried = send(&world, "DELETE", &dry, JSON, &json!({"dryRun": []})).await;
    assert_eq!(tried.code, 200, "{}", tried.body);
    assert_eq!(get(&world, &path).await.code, 200, "it is still there");
    let usual = json!({
        "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
        "propagationPolicy": "Background", "preconditions": null,
    });
    let gone = send(&world, "DELETE", &path, JSON, &usual).await;
    assert_eq!(gone.code, 200, "{}", gone.body);
    assert_eq!(get(&world, &path).await.code, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_has_a_name_that_can_be_read() {
    let world = World::start().await;
    let long = "x".repeat(129);
    for manager in [long.as_str(), "a%0Ab", "a%E2%80%AEb"] {
        let query = format!("?fieldManager={manager}");
        let named = format!("{JAILS}/www{query}");
        for (method, path, media) in [
            ("POST", format!("{JAILS}{query}"), JSON),
            ("PUT", named.clone(), JSON),
            ("PATCH", named.clone(), MERGE),
            ("PATCH", named, APPLY),
        ] {
            let refused = send(&world, method, &path, media, &jail("www", "web")).await;
            let expected = ("Invalid".to_owned(), vec!["fieldManager".to_owned()]);
            assert_eq!(refused.refusal(), expected, "{method} {media}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_the_deleted_goes_first_or_stays_by_the_options() {
    let world = World::start().await;
    let path = "/apis/cellblock.dev/v1alpha1/jails";
    for (policy, is_orphan) in [("Foreground", false), ("Orphan", true)] {
        let (parent, child) = (
            policy.to_lowercase(),
            format!("{}-child", policy.to_lowercase()),
        );
        let made = send(&world, "POST", JAILS, JSON, &jail(&parent, "web")).await;
        assert_eq!(made.code, 201, "{}", made.body);
        let mut document = jail(&child, "web");
        document["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail", "name": parent,
            "uid": made.json()["metadata"]["uid"], "blockOwnerDeletion": true,
        }]);
        let made = send(&world, "POST", JAILS, JSON, &document).await;
        assert_eq!(made.code, 201, "{}", made.body);
        let options =
            json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        let gone = send(
            &world,
            "DELETE",
            &format!("{path}/{parent}"),
            JSON,
            &options,
        )
        .await;
        assert!([200, 202].contains(&gone.code), "{}", gone.body);
        let settled = tokio::time::timeout(common::DEADLINE, async {
            loop {
                let owner = get(&world, &format!("{path}/{parent}")).await.code;
                let left = get(&world, &format!("{path}/{child}")).await;
                // Nobody sees the owner gone before what belongs to it.
                assert!(
                    is_orphan || owner == 200 || left.code == 404,
                    "{}",
                    left.body
                );
                if owner == 404 && (is_orphan || left.code == 404) {
                    return left;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        let left = settled.await.expect("it settles");
        if is_orphan {
            assert_eq!(left.code, 200, "{}", left.body);
            assert!(
                left.json()["metadata"]["ownerReferences"].is_null(),
                "{}",
                left.body
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn allocations_are_read_as_a_resource() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let host = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host", "metadata": {"name": "a"}, "spec": {},
    });
    for (kind, document) in [
        ("Host", host),
        ("Jail", {
            let mut www = jail("www", "web");
            www["spec"]["host"] = json!("a");
            www["spec"]["userIds"] = json!({"count": 10});
            www
        }),
    ] {
        let request = v1::CreateRequest {
            object: Some(v1::Object {
                kind: kind.to_owned(),
                json: document.to_string().into(),
                ..v1::Object::default()
            }),
            field_manager: "test".to_owned(),
            ..v1::CreateRequest::default()
        };
        objects.create(request).await.expect("created");
    }
    let path = "/apis/cellblock.dev/v1alpha1/allocations";
    let listed = get(&world, path).await.json();
    assert_eq!(listed["kind"], "AllocationList");
    let items = listed["items"].as_array().expect("items");
    let types: Vec<_> = items.iter().map(|one| &one["status"]["type"]).collect();
    assert_eq!(types, ["jail-name", "root", "user-ids"]);
    let ids = &items[2];
    assert_eq!(ids["metadata"]["name"], "user-ids.1000000");
    assert_eq!(ids["status"]["value"], "1000000-1009999");
    assert_eq!(ids["status"]["owner"]["name"], "www");
    let one = get(&world, &format!("{path}/user-ids.1000000"))
        .await
        .json();
    assert_eq!(one["status"], ids["status"]);
    for missing in ["user-ids.1010000", "no-name"] {
        let answer = get(&world, &format!("{path}/{missing}")).await;
        assert_eq!(answer.code, 404, "{}", answer.body);
    }
    let chosen =
        format!("{path}?fieldSelector=status.type%3Droot%2Cstatus.host%3Da%2Cstatus.jail%3Dwww");
    let chosen = get(&world, &chosen).await.json();
    assert_eq!(chosen["items"][0]["status"], items[1]["status"]);
    assert_eq!(chosen["items"].as_array().map(Vec::len), Some(1));
    let table = ["Accept: application/json;as=Table;v=v1;g=meta.k8s.io"];
    let table = ask(&world, "GET", path, &table, "").await.json();
    assert_eq!(table["rows"][2]["cells"][1], "1000000-1009999");
    assert_eq!(table["rows"][2]["cells"][6], "Held");
    let page = get(&world, &format!("{path}?limit=2")).await.json();
    let token = page["metadata"]["continue"]
        .as_str()
        .expect("there is more")
        .to_owned();
    let token = token.replace('/', "%2F");
    let rest = format!("{path}?limit=2&continue={token}");
    // What else is written moves the revision on, which is no matter of theirs.
    let statuses = |list: &Value| -> Vec<Value> {
        let items = list["items"].as_array().expect("items").iter();
        items.map(|one| one["status"].clone()).collect()
    };
    let user_ids = [ids["status"].clone()];
    assert_eq!(statuses(&get(&world, &rest).await.json()), user_ids);
    create(&mut objects, &{
        let mut other = jail("other", "web");
        other["spec"]["host"] = json!("a");
        other["spec"]["root"]["path"] = json!("/jails/other");
        other
    })
    .await
    .expect("created");
    // What is given out meanwhile ends no list.
    let next = get(&world, &rest).await.json();
    assert_eq!(statuses(&next), user_ids);
    assert_eq!(
        next["metadata"]["resourceVersion"],
        page["metadata"]["resourceVersion"]
    );
    for (query, code) in [
        ("?watch=1", 405),
        ("?fieldSelector=x%3Dy", 400),
        ("?fieldSelector=status.type%3Dfob", 400),
        ("?limit=x", 400),
        ("?continue=x", 400),
    ] {
        let answer = get(&world, &format!("{path}{query}")).await;
        assert_eq!(answer.code, code, "{query}: {}", answer.body);
    }
    let written = send(&world, "POST", path, JSON, &json!({})).await;
    assert_eq!(written.code, 405, "{}", written.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_removes_many_by_a_limit_removes_no_more_than_that() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    for name in ["a", "b", "c"] {
        create(&mut objects, &jail(name, "web"))
            .await
            .expect("created");
    }
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().expect("items").iter();
        items.map(|one| text(&one["metadata"]["name"])).collect()
    };
    let path = format!("{JAILS}?limit=2");
    let removed = send(&world, "DELETE", &path, JSON, &json!({})).await.json();
    assert_eq!(names(&removed), ["a", "b"]);
    let token = text(&removed["metadata"]["continue"]);
    assert_eq!(removed["metadata"]["remainingItemCount"], 1, "{removed}");
    let left = get(&world, JAILS).await.json();
    assert_eq!(names(&left), ["c"]);
    // The rest, from there on.
    let token = token.replace('/', "%2F");
    let path = format!("{JAILS}?limit=2&continue={token}");
    let removed = send(&world, "DELETE", &path, JSON, &json!({})).await.json();
    assert_eq!(names(&removed), ["c"]);
    assert_eq!(removed["metadata"].get("continue"), None, "{removed}");
    assert_eq!(get(&world, JAILS).await.json()["items"], json!([]));
}
