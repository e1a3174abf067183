//! What k9s and Argo CD ask of a cluster before anything else, and how it is answered where there is no Kubernetes: with what is
//! there, and a plain `NotFound` for the rest.
//!
//! Neither program runs here, and nothing was recorded of one: the requests are written after the code of client-go,
//! `discovery/{discovery_client,aggregated_discovery}.go`, of derailed/k9s, `internal/client/client.go` (`SelfSubjectAccessReview` for each
//! list, `/version`, namespaces, `metrics.k8s.io`), and of argoproj/gitops-engine, `pkg/utils/kube/kube.go` and `pkg/cache/cluster.go`
//! (preferred resources, `/openapi`, lists in pages, watches with bookmarks).

mod common;

use common::World;
use common::http::{Answer, JSON, ask, send, text};
use serde_json::{Value, json};

const GROUP: &str = "/apis/cellblock.dev/v1alpha1";

/// `Accept` of client-go since 1.30, since 1.26, and before.
const ACCEPTS: [&str; 3] = [
    "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
    "Accept: application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
    "Accept: application/json, */*",
];

async fn get(world: &World, path: &str, accept: &str) -> Answer {
    ask(world, "GET", path, &[accept], "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_told_in_every_form_that_is_asked_for() {
    let world = World::start().await;
    for (accept, version) in ACCEPTS.into_iter().zip(["v2", "v2beta1", ""]) {
        for path in ["/api", "/apis"] {
            let answer = get(&world, path, accept).await;
            assert_eq!(answer.code, 200, "{path} {accept}");
            let document = answer.json();
            if version.is_empty() {
                assert!(
                    matches!(
                        document["kind"].as_str(),
                        Some("APIVersions" | "APIGroupList")
                    ),
                    "{document}"
                );
                continue;
            }
            assert_eq!(document["kind"], "APIGroupDiscoveryList");
            assert_eq!(
                document["apiVersion"],
                format!("apidiscovery.k8s.io/{version}")
            );
            assert!(
                answer
                    .head
                    .contains(&format!("v={version};as=APIGroupDiscoveryList")),
                "{}",
                answer.head
            );
            for group in document["items"].as_array().into_iter().flatten() {
                for resource in group["versions"][0]["resources"]
                    .as_array()
                    .into_iter()
                    .flatten()
                {
                    let is_event = resource["resource"] == "events";
                    let scope = if is_event { "Namespaced" } else { "Cluster" };
                    assert_eq!(resource["scope"], scope, "{resource}");
                    assert!(resource["responseKind"]["kind"].is_string(), "{resource}");
                    assert!(resource["singularResource"].is_string(), "{resource}");
                    assert!(
                        resource["verbs"]
                            .as_array()
                            .is_some_and(|verbs| !verbs.is_empty())
                    );
                }
            }
        }
    }
    // Each group that is listed is there, with its resources, and each resource that can be listed is one.
    let groups = get(&world, "/apis", ACCEPTS[2]).await.json();
    for group in groups["groups"].as_array().expect("groups") {
        let version = text(&group["preferredVersion"]["groupVersion"]);
        let resources = get(&world, &format!("/apis/{version}"), ACCEPTS[2])
            .await
            .json();
        assert_eq!(resources["kind"], "APIResourceList", "{version}");
        for resource in resources["resources"].as_array().expect("resources") {
            assert_eq!(resource["namespaced"], false, "{resource}");
            let lists = resource["verbs"]
                .as_array()
                .is_some_and(|verbs| verbs.contains(&json!("list")));
            if lists {
                let path = format!("/apis/{version}/{}?limit=500", text(&resource["name"]));
                let list = get(&world, &path, ACCEPTS[2]).await.json();
                assert_eq!(list["kind"], format!("{}List", text(&resource["kind"])));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_part_of_a_controller_is_plainly_not_found() {
    let world = World::start().await;
    for path in [
        "/api/v1/namespaces",
        "/api/v1/namespaces/default",
        "/api/v1/namespaces/default/pods?limit=500",
        "/api/v1/nodes",
        "/api/v1/pods",
        "/apis/apps/v1",
        "/apis/apps/v1/deployments",
        "/apis/apiextensions.k8s.io/v1",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/apis/metrics.k8s.io",
        "/apis/metrics.k8s.io/v1beta1",
        "/apis/metrics.k8s.io/v1beta1/nodes",
        "/apis/cellblock.dev/v1",
        "/apis/cellblock.dev/v1alpha1/pods",
        "/apis/cellblock.dev/v1alpha1/namespaces/default/jails",
        "/apis/argoproj.io/v1alpha1/applications",
        "/openapi/v3/apis/apps/v1",
    ] {
        let answer = get(&world, path, ACCEPTS[0]).await;
        assert_eq!(answer.code, 404, "{path}: {}", answer.body);
        assert_eq!(answer.refusal().0, "NotFound", "{path}");
        assert!(
            answer
                .head
                .to_lowercase()
                .contains("content-type: application/json"),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_what_programs_compare_theirs_with() {
    let world = World::start().await;
    let version = get(&world, "/version?timeout=32s", ACCEPTS[2]).await.json();
    for field in [
        "major",
        "minor",
        "gitVersion",
        "gitCommit",
        "gitTreeState",
        "buildDate",
        "goVersion",
        "compiler",
        "platform",
    ] {
        assert!(version[field].is_string(), "{field}: {version}");
    }
    // Both parse this as a semantic version, with what is behind the plus left out.
    let git = text(&version["gitVersion"]);
    let plain = git
        .trim_start_matches('v')
        .split('+')
        .next()
        .unwrap_or_default();
    assert_eq!(
        plain
            .split('.')
            .filter(|part| part.parse::<u32>().is_ok())
            .count(),
        3,
        "{git}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_are_answered_before_each_list() {
    let world = World::start().await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = |verb: &str, group: &str, resource: &str, subresource: &str| {
        json!({
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {"creationTimestamp": null},
            "spec": {"resourceAttributes": {
                "namespace": "", "verb": verb, "group": group, "version": "", "resource": resource,
                "subresource": subresource, "name": "",
            }},
            "status": {"allowed": false},
        })
    };
    for (verb, group, resource, subresource, allowed) in [
        ("list", "cellblock.dev", "jails", "", true),
        ("watch", "cellblock.dev", "hosts", "", true),
        ("get", "cellblock.dev", "jails", "status", true),
        ("update", "cellblock.dev", "jailsets", "scale", true),
        ("update", "cellblock.dev", "jails", "scale", false),
        ("create", "cellblock.dev", "jails", "exec", false),
        ("delete", "cellblock.dev", "jails", "status", false),
        ("list", "", "namespaces", "", false),
        ("list", "", "pods", "", false),
        (
            "list",
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            "",
            false,
        ),
        ("*", "*", "*", "", true),
    ] {
        let review = asked(verb, group, resource, subresource);
        let answer = send(&world, "POST", path, JSON, &review).await;
        assert_eq!(answer.code, 201, "{}", answer.body);
        let review = answer.json();
        assert_eq!(review["kind"], "SelfSubjectAccessReview");
        assert_eq!(
            review["status"]["allowed"], allowed,
            "{verb} {group}/{resource}/{subresource}: {review}"
        );
    }
    // Exactly one question, in a review and in nothing else.
    let one = json!({"verb": "get", "group": "cellblock.dev", "resource": "jails"});
    let other = json!({"verb": "get", "path": "/metrics"});
    for (refused, code) in [
        (json!({"spec": {}}), 422),
        (
            json!({"spec": {"resourceAttributes": one, "nonResourceAttributes": other}}),
            422,
        ),
        (
            json!({"kind": "Jail", "spec": {"resourceAttributes": one}}),
            400,
        ),
        (
            json!({"apiVersion": "v7", "spec": {"resourceAttributes": one}}),
            400,
        ),
    ] {
        let answer = send(&world, "POST", path, JSON, &refused).await;
        assert_eq!(answer.code, code, "{refused}: {}", answer.body);
    }
    let bare = json!({"spec": {"nonResourceAttributes": other}});
    let answer = send(&world, "POST", path, JSON, &bare).await.json();
    assert_eq!(answer["kind"], "SelfSubjectAccessReview", "{answer}");
    let rules = json!({"kind": "SelfSubjectRulesReview", "spec": {"namespace": "default"}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let rules = send(&world, "POST", path, JSON, &rules).await.json();
    assert_eq!(rules["status"]["incomplete"], false, "{rules}");
    assert_eq!(
        rules["status"]["resourceRules"][0]["apiGroups"],
        json!(["cellblock.dev"])
    );
}

/// gitops-engine lists everything in pages and watches from the list's revision.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_listed_and_watched_as_by_argo_cd() {
    let world = World::start().await;
    for plural in ["hosts", "networks", "images", "jails", "jailsets"] {
        let path = format!("{GROUP}/{plural}");
        let list = get(&world, &format!("{path}?limit=500"), ACCEPTS[2])
            .await
            .json();
        assert!(list["items"].is_array(), "{list}");
        let revision = text(&list["metadata"]["resourceVersion"]);
        let watch = format!(
            "{path}?allowWatchBookmarks=true&resourceVersion={revision}&timeoutSeconds=1&watch=true"
        );
        let answer = get(&world, &watch, ACCEPTS[2]).await;
        assert_eq!(answer.code, 200, "{}", answer.body);
        let metadata = "Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        let list = get(&world, &path, metadata).await.json();
        assert_eq!(list["kind"], "PartialObjectMetadataList", "{list}");
    }
    let documents: Value = get(&world, "/openapi/v3", ACCEPTS[2]).await.json();
    assert!(
        documents["paths"]
            .as_object()
            .is_some_and(|paths| !paths.is_empty())
    );
    let swagger = "Accept: application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let answer = get(&world, "/openapi/v2?timeout=32s", swagger).await;
    assert_eq!(answer.code, 200);
    assert!(
        answer
            .head
            .contains("application/com.github.proto-openapi.spec.v2.v1.0+protobuf"),
        "{}",
        answer.head
    );
}

/// client-go, `metadata/metadata.go`: `List`, `Watch` and `Get` of metadata alone, of which protobuf comes first; and `Delete`.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_alone_are_read_as_by_client_go() {
    let world = World::start().await;
    let image = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Image", "metadata": {"name": "base"},
        "spec": {"release": {"tarball": "/dist/base.txz", "sha256": "0".repeat(64)}},
    });
    let path = format!("{GROUP}/images");
    assert_eq!(send(&world, "POST", &path, JSON, &image).await.code, 201);
    let accept = |shape: &str| {
        format!(
            "Accept: application/vnd.kubernetes.protobuf;as={shape};g=meta.k8s.io;v=v1,application/json;as={shape};g=meta.k8s.io;v=v1,application/json"
        )
    };
    let list = get(&world, &path, &accept("PartialObjectMetadataList")).await;
    assert!(
        list.head
            .to_lowercase()
            .contains("content-type: application/json")
    );
    let list = list.json();
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (
            &json!("PartialObjectMetadataList"),
            &json!("meta.k8s.io/v1")
        )
    );
    let item = &list["items"][0];
    assert_eq!(item["kind"], "PartialObjectMetadata");
    assert_eq!(item["metadata"]["name"], "base");
    assert_eq!(item["spec"], Value::Null);
    let one = get(
        &world,
        &format!("{path}/base"),
        &accept("PartialObjectMetadata"),
    )
    .await;
    assert_eq!(one.json()["kind"], "PartialObjectMetadata");
    // What an informer asks of a server of its time: initial events, a bookmark behind them (client-go, `tools/cache/reflector.go`,
    // `watchList`).
    let watch = format!(
        "{path}?allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&timeoutSeconds=1&watch=true"
    );
    let told = get(&world, &watch, &accept("PartialObjectMetadata")).await;
    let told: Vec<Value> = told
        .body
        .lines()
        .map(|line| serde_json::from_str(line).expect("an event"))
        .collect();
    assert_eq!(
        (&told[0]["type"], &told[0]["object"]["kind"]),
        (&json!("ADDED"), &json!("PartialObjectMetadata"))
    );
    assert_eq!(
        (&told[1]["type"], &told[1]["object"]["kind"]),
        (&json!("BOOKMARK"), &json!("PartialObjectMetadata"))
    );
    let ends = &told[1]["object"]["metadata"]["annotations"];
    assert_eq!(ends["k8s.io/initial-events-end"], "true");
    let options =
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    let gone = send(&world, "DELETE", &format!("{path}/base"), JSON, &options).await;
    assert_eq!(gone.code, 200, "{}", gone.body);
}

/// derailed/k9s, `internal/dao/table.go` (`List`, `Get`) and `internal/dao/dynamic.go` (`transformRequests`): tables, of which one version
/// or the other, or plain JSON, is taken, with metadata or whole objects in their rows.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_read_as_by_k9s() {
    let world = World::start().await;
    let image = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Image", "metadata": {"name": "base"},
        "spec": {"release": {"tarball": "/dist/base.txz", "sha256": "0".repeat(64)}},
    });
    let path = format!("{GROUP}/images");
    assert_eq!(send(&world, "POST", &path, JSON, &image).await.code, 201);
    let accept = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
    for (include, kind) in [("Metadata", "PartialObjectMetadata"), ("Object", "Image")] {
        let list = get(&world, &format!("{path}?includeObject={include}"), accept).await;
        let table = list.json();
        assert_eq!(
            (&table["kind"], &table["apiVersion"]),
            (&json!("Table"), &json!("meta.k8s.io/v1"))
        );
        assert_eq!(table["rows"][0]["object"]["kind"], kind, "{table}");
        assert_eq!(table["rows"][0]["cells"][0], "base");
        assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    }
    // `includeObject=None` for what is only counted; one object is a table of one row.
    let none = get(&world, &format!("{path}?includeObject=None"), accept)
        .await
        .json();
    assert_eq!(none["rows"][0]["object"], Value::Null);
    let accept = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io, application/json";
    let one = get(&world, &format!("{path}/base"), accept).await.json();
    assert_eq!(
        (&one["kind"], one["rows"].as_array().map(Vec::len)),
        (&json!("Table"), Some(1))
    );
    let old = get(
        &world,
        &path,
        "Accept: application/json;as=Table;v=v1beta1;g=meta.k8s.io",
    )
    .await;
    assert_eq!(old.json()["apiVersion"], "meta.k8s.io/v1beta1");
    // What it may do it asks with the namespace that it is in (`internal/client/client.go`, `makeSAR`).
    let review = json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
        "spec": {"resourceAttributes": {
            "namespace": "default", "verb": "list", "group": "cellblock.dev", "version": "v1alpha1", "resource": "images",
        }},
        "status": {"allowed": false},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = send(&world, "POST", path, JSON, &review).await;
    assert_eq!(
        (answer.code, &answer.json()["status"]["allowed"]),
        (201, &json!(true))
    );
}

/// argoproj/gitops-engine, `pkg/cache/cluster.go`: lists in pages of 500, each of whose revisions it keeps the last, and a `RetryWatcher`
/// from there (client-go, `tools/watch/retrywatcher.go`), which lists anew only when an event says 410.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_has_expired_is_begun_anew_as_by_argo_cd() {
    let world = World::start().await;
    let path = format!("{GROUP}/images");
    let revision = text(
        &get(&world, &format!("{path}?limit=500"), ACCEPTS[2])
            .await
            .json()["metadata"]["resourceVersion"],
    );
    let watch = |revision: &str| {
        format!(
            "{path}?allowWatchBookmarks=true&resourceVersion={revision}&timeoutSeconds=1&watch=true"
        )
    };
    let world = world
        .between(async |folder| {
            let options = cellblock_store::EmbeddedOptions::new(folder.path().join("store.redb"));
            let store = cellblock_store::EmbeddedStore::open(options)
                .await
                .expect("it is closed");
            use cellblock_store::Store as _;
            for round in 0..3 {
                let write =
                    cellblock_store::Transaction::new().put("/elsewhere", round.to_string());
                store.commit(write).await.expect("committed");
            }
            let newest = store.current_revision().await.expect("a revision");
            store.compact(newest).await.expect("compacted");
        })
        .await;
    let answer = get(&world, &watch(&revision), ACCEPTS[2]).await;
    assert_eq!(answer.code, 200, "{}", answer.body);
    let error: Value =
        serde_json::from_str(answer.body.lines().next().expect("a line")).expect("an event");
    assert_eq!(
        (
            &error["type"],
            &error["object"]["code"],
            &error["object"]["reason"]
        ),
        (&json!("ERROR"), &json!(410), &json!("Expired"))
    );
    let list = get(&world, &format!("{path}?limit=500"), ACCEPTS[2])
        .await
        .json();
    let revision = text(&list["metadata"]["resourceVersion"]);
    let answer = get(&world, &watch(&revision), ACCEPTS[2]).await;
    assert_eq!(answer.code, 200);
    assert!(!answer.body.contains("ERROR"), "{}", answer.body);
}

/// argoproj/gitops-engine, `pkg/utils/kube/ctl.go`, `newGVKParser`: one type for each kind, and every list in it says how it merges.
#[tokio::test(flavor = "multi_thread")]
async fn types_are_read_out_of_openapi_as_by_argo_cd() {
    fn lists<'a>(at: &str, schema: &'a Value, found: &mut Vec<(String, &'a Value)>) {
        match schema {
            Value::Object(members) => {
                if schema["type"] == "array" {
                    found.push((at.to_owned(), schema));
                }
                for (name, member) in members {
                    lists(&format!("{at}.{name}"), member, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| lists(at, item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let world = World::start().await;
    let document = get(&world, "/openapi/v2", "Accept: application/json")
        .await
        .json();
    let definitions = document["definitions"].as_object().expect("definitions");
    let mut kinds: Vec<String> = Vec::new();
    for (name, schema) in definitions {
        for of in schema["x-kubernetes-group-version-kind"]
            .as_array()
            .into_iter()
            .flatten()
        {
            kinds.push(format!(
                "{}/{}/{}",
                text(&of["group"]),
                text(&of["version"]),
                text(&of["kind"])
            ));
        }
        let mut found = Vec::new();
        lists(name, schema, &mut found);
        for (at, list) in found {
            let how = text(&list["x-kubernetes-list-type"]);
            assert!(
                ["atomic", "set", "map"].contains(&how.as_str()),
                "{at}: {list}"
            );
            let keys = list["x-kubernetes-list-map-keys"].as_array();
            assert_eq!(
                how == "map",
                keys.is_some_and(|keys| !keys.is_empty()),
                "{at}: {list}"
            );
        }
    }
    kinds.sort();
    // `newGVKParser` refuses two types for one kind.
    let distinct: std::collections::BTreeSet<&String> = kinds.iter().collect();
    assert_eq!(distinct.len(), kinds.len(), "{kinds:?}");
    for kind in ["Host", "Image", "Jail", "JailSet", "Network", "Allocation"] {
        let named = format!("cellblock.dev/v1alpha1/{kind}");
        assert!(kinds.contains(&named), "{kinds:?}");
    }
    assert!(kinds.contains(&"/v1/Event".to_owned()), "{kinds:?}");
    let index = get(&world, "/openapi/v3", ACCEPTS[2]).await.json();
    for path in ["api/v1", "apis/cellblock.dev/v1alpha1"] {
        let url = text(&index["paths"][path]["serverRelativeURL"]);
        assert_eq!(get(&world, &url, ACCEPTS[2]).await.code, 200, "{path}");
    }
}

/// What discovery offers the documents describe: each resource and what is below it, with each of its verbs, in both editions, and the
/// kind of each, which is what `kubectl explain` looks for (kubernetes/kubectl, `pkg/explain/v2/explain.go`, `PrintModelDescription`).
#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_discovered_is_in_the_documents() {
    let world = World::start().await;
    let swagger = get(&world, "/openapi/v2", "Accept: application/json").await;
    let swagger = swagger.json();
    let index = get(&world, "/openapi/v3", ACCEPTS[2]).await.json();
    let groups = get(&world, "/apis", "Accept: application/json")
        .await
        .json();
    let groups = groups["groups"].as_array().expect("groups").clone();
    let versions = groups.iter().map(|group| {
        let version = text(&group["preferredVersion"]["groupVersion"]);
        format!("apis/{version}")
    });
    let mut seen = 0;
    for part in versions.chain(["api/v1".to_owned()]) {
        let url = text(&index["paths"][&part]["serverRelativeURL"]);
        assert!(url.contains("?hash="), "{url}");
        let document = get(&world, &url, ACCEPTS[2]).await.json();
        let path = format!("/{part}");
        let list = get(&world, &path, "Accept: application/json").await.json();
        for resource in list["resources"].as_array().expect("resources") {
            let (name, below) = match text(&resource["name"]).split_once('/') {
                Some((name, below)) => (name.to_owned(), format!("/{below}")),
                None => (text(&resource["name"]), String::new()),
            };
            let namespace = if resource["namespaced"] == true {
                "/namespaces/{namespace}"
            } else {
                ""
            };
            let collection = format!("/{part}{namespace}/{name}");
            for verb in resource["verbs"].as_array().expect("verbs") {
                let (is_of_all, method) = match text(verb).as_str() {
                    "list" | "watch" => (true, "get"),
                    "create" => (true, "post"),
                    "deletecollection" => (true, "delete"),
                    "get" => (false, "get"),
                    "update" => (false, "put"),
                    "patch" => (false, "patch"),
                    "delete" => (false, "delete"),
                    other => panic!("{other}"),
                };
                let path = if is_of_all {
                    collection.clone()
                } else {
                    format!("{collection}/{{name}}{below}")
                };
                for document in [&document, &swagger] {
                    let operation = &document["paths"][&path][method];
                    let of = &operation["x-kubernetes-group-version-kind"];
                    assert_eq!(of["kind"], resource["kind"], "{verb} {path}: {operation}");
                    let options = operation["parameters"].as_array().expect("options");
                    let has = |name: &str| options.iter().any(|one| one["name"] == name);
                    assert!(*verb != "watch" || has("allowWatchBookmarks"), "{path}");
                    assert!(*verb != "get" || has("resourceVersion"), "{path}");
                    seen += 1;
                }
            }
            let (group, version) = match part.rsplit_once('/') {
                Some(("api", version)) => (String::new(), version),
                Some((group, version)) => (group.replacen("apis/", "", 1), version),
                None => panic!("{part}"),
            };
            if !below.is_empty() {
                continue;
            }
            let wanted = json!({"group": group, "version": version, "kind": resource["kind"]});
            let schemas = document["components"]["schemas"].as_object();
            let described = schemas.expect("schemas").values().any(|schema| {
                let of = schema["x-kubernetes-group-version-kind"].as_array();
                of.is_some_and(|of| of.contains(&wanted))
            });
            assert!(described, "{wanted} is not described in {part}");
        }
    }
    assert!(seen > 100, "only {seen}");
}

/// A path takes and gives each of the forms that both editions of the documents promise, and refuses others.
#[tokio::test(flavor = "multi_thread")]
async fn each_form_that_a_path_promises_is_taken() {
    let world = World::start().await;
    let swagger = get(&world, "/openapi/v2", "Accept: application/json").await;
    let swagger = swagger.json();
    let index = get(&world, "/openapi/v3", ACCEPTS[2]).await.json();
    let mut sent = 0;
    for (_, of) in index["paths"].as_object().expect("paths") {
        let url = text(&of["serverRelativeURL"]);
        let document = get(&world, &url, ACCEPTS[2]).await.json();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            let asked = path
                .replace("{namespace}", "default")
                .replace("{name}", "none");
            for method in ["get", "post", "put", "patch", "delete"] {
                let operation = &item[method];
                let forms = operation["requestBody"]["content"].as_object();
                let forms: Vec<&String> =
                    forms.into_iter().flatten().map(|(form, _)| form).collect();
                let consumed = swagger["paths"][path][method]["consumes"].as_array();
                let consumed = consumed.cloned().unwrap_or_default();
                assert_eq!(json!(forms), json!(consumed), "{method} {path}");
                let method = method.to_uppercase();
                for form in &forms {
                    let list = form.contains("json-patch");
                    let body = if list { json!([]) } else { json!({}) };
                    let apply = if form.contains("apply") {
                        "?fieldManager=t"
                    } else {
                        ""
                    };
                    let answer =
                        send(&world, &method, &format!("{asked}{apply}"), form, &body).await;
                    assert!(
                        ![405, 406, 415].contains(&answer.code),
                        "{method} {path} {form}: {} {}",
                        answer.code,
                        answer.body
                    );
                    sent += 1;
                }
                if !forms.is_empty() && method != "DELETE" {
                    let other = "application/strategic-merge-patch+json";
                    let answer = send(&world, &method, &asked, other, &json!({})).await;
                    assert_eq!(answer.code, 415, "{method} {path}: {}", answer.body);
                }
                let given = operation["responses"]["200"]["content"].as_object();
                for (form, _) in given.into_iter().flatten().filter(|_| method == "GET") {
                    let (query, form) = match form.strip_suffix(";stream=watch") {
                        Some(form) => ("?watch=true&timeoutSeconds=1", form),
                        None => ("", form.as_str()),
                    };
                    let accept = format!("Accept: {form}");
                    let answer = get(&world, &format!("{asked}{query}"), &accept).await;
                    assert!(
                        [200, 404].contains(&answer.code),
                        "{path} {form}: {}",
                        answer.body
                    );
                    sent += 1;
                }
            }
        }
    }
    assert!(sent > 80, "only {sent}");
}

/// client-go, `openapi/client.go` and `openapi3/root.go`, keep a document by its hash; who knows the tag is not sent it again.
#[tokio::test(flavor = "multi_thread")]
async fn documents_are_kept_by_their_hash() {
    let world = World::start().await;
    let accept = "Accept: application/json";
    let index = get(&world, "/openapi/v3", accept).await.json();
    for (path, of) in index["paths"].as_object().expect("paths") {
        let url = text(&of["serverRelativeURL"]);
        let whole = get(&world, &url, accept).await;
        assert_eq!(whole.code, 200);
        assert!(whole.head.contains("immutable"), "{}", whole.head);
        let plain = format!("/openapi/v3/{path}");
        let same = get(&world, &plain, accept).await;
        assert_eq!((same.code, &same.body), (200, &whole.body));
        assert!(!same.head.contains("immutable"), "{}", same.head);
        let other = get(&world, &format!("{plain}?hash=00"), accept).await;
        assert_eq!(other.code, 301);
        assert!(other.head.contains(&url), "{}", other.head);
    }
    let whole = get(&world, "/openapi/v2", accept).await;
    let tag = whole.head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        (name.eq_ignore_ascii_case("etag")).then(|| value.trim().to_owned())
    });
    let known = format!("If-None-Match: {}", tag.expect("a tag"));
    let again = common::http::ask(&world, "GET", "/openapi/v2", &[accept, &known], "").await;
    assert_eq!((again.code, again.body.as_str()), (304, ""));
}
