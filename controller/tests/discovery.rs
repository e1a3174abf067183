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
