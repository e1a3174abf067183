//! Events, as kubectl lists and watches them, and over gRPC.

mod common;

use cellblock_proto::v1;
use common::World;
use common::http::{Answer, JSON, ask, get, send, text};
use serde_json::{Value, json};

const JAILS: &str = "/apis/cellblock.dev/v1alpha1/jails";

fn jail(name: &str, role: &str) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail",
        "metadata": {"name": name, "labels": {"role": role}},
        "spec": {"root": {"path": format!("/jails/{name}")}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_read_where_kubectl_looks_for_them() {
    let world = World::start().await;
    let made = send(&world, "POST", JAILS, JSON, &jail("www", "web")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let uid = text(&made.json()["metadata"]["uid"]);
    // As kubectl's describe asks.
    let selected = format!(
        "/api/v1/events?fieldSelector=involvedObject.name%3Dwww%2CinvolvedObject.namespace%3D%2CinvolvedObject.kind%3DJail%2CinvolvedObject.uid%3D{uid}&limit=500"
    );
    let list = tokio::time::timeout(common::DEADLINE, async {
        loop {
            let list = get(&world, &selected).await.json();
            if list["items"][0]["reason"] == "NoHosts" {
                return list;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let list = list.await.expect("it is told");
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("EventList"), &json!("v1"))
    );
    let event = &list["items"][0];
    assert_eq!(
        (&event["type"], &event["count"]),
        (&json!("Warning"), &json!(1))
    );
    let name = text(&event["metadata"]["name"]);
    let below = "/api/v1/namespaces/default/events";
    let one = get(&world, &format!("{below}/{name}")).await;
    assert_eq!(
        one.json()["involvedObject"]["uid"],
        json!(uid),
        "{}",
        one.body
    );
    for path in ["/api/v1/events", below] {
        let table = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io";
        let table = ask(&world, "GET", path, &[table], "").await.json();
        assert_eq!(table["rows"][0]["cells"][3], json!("jail/www"), "{table}");
        for method in ["DELETE", "POST", "PUT", "PATCH"] {
            let path = match path {
                path if method == "POST" => path.to_owned(),
                _ => format!("{below}/{name}"),
            };
            let refused = send(&world, method, &path, JSON, &json!({})).await;
            assert_eq!(refused.code, 405, "{}", refused.body);
            assert!(
                refused.head.to_lowercase().contains("allow: get\r\n"),
                "{}",
                refused.head
            );
        }
    }
    let elsewhere = get(&world, "/api/v1/namespaces/kube-system/events").await;
    assert_eq!(elsewhere.json()["items"], json!([]));
    let none = get(
        &world,
        "/api/v1/events?fieldSelector=reason!%3DNoHosts,type%3DNormal",
    )
    .await;
    assert_eq!(none.json()["items"], json!([]));
    let wrong = get(&world, "/api/v1/events?fieldSelector=spec.host%3Da").await;
    assert_eq!(
        (wrong.code, wrong.refusal().0.as_str()),
        (400, "BadRequest")
    );
    let offered = get(&world, "/api/v1").await.json();
    assert_eq!(offered["resources"][0]["name"], json!("events"));
    assert_eq!(offered["resources"][0]["namespaced"], json!(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_watched_as_kubectl_does_it() {
    let world = World::start().await;
    let made = send(&world, "POST", JAILS, JSON, &jail("www", "web")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let lines = |answer: Answer| -> Vec<Value> {
        let lines = answer.body.split_inclusive('\n');
        let lines = lines.filter(|line| line.ends_with('\n'));
        lines
            .map(|line| serde_json::from_str(line).expect("an event"))
            .collect()
    };
    // `kubectl get events -w`: a list in pages, and a watch.
    let below = "/api/v1/namespaces/default/events";
    let list = get(&world, &format!("{below}?limit=500")).await.json();
    assert_eq!(list["kind"], "EventList");
    let path = format!("{below}?watch=true&fieldSelector=reason%3DNoHosts");
    let told = lines(common::http::get_until(&world, &path, "NoHosts").await);
    let first = &told[0];
    assert_eq!(
        (&first["type"], &first["object"]["kind"]),
        (&json!("ADDED"), &json!("Event"))
    );
    // From that revision on: the jail goes.
    let after = text(&first["object"]["metadata"]["resourceVersion"]);
    let removed = send(&world, "DELETE", &format!("{JAILS}/www"), JSON, &json!({})).await;
    assert_eq!(removed.code, 200, "{}", removed.body);
    let path = format!("/api/v1/events?watch=true&resourceVersion={after}");
    let told = lines(common::http::get_until(&world, &path, "\"Deleted\"").await);
    assert!(
        told.iter()
            .any(|one| one["object"]["reason"] == "Deleted" && one["type"] == "ADDED"),
        "{told:?}"
    );
    let accept = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let path = format!("{path}&timeoutSeconds=1");
    let told = lines(ask(&world, "GET", &path, &[accept], "").await);
    assert_eq!(told[0]["object"]["kind"], "Table");
    let names = told[0]["object"]["columnDefinitions"].as_array();
    assert_eq!(names.map(Vec::len), Some(9));
    // Nothing is elsewhere, and what has not happened is no start.
    let elsewhere = "/api/v1/namespaces/kube-system/events?watch=true&timeoutSeconds=1";
    assert_eq!(lines(get(&world, elsewhere).await), Vec::<Value>::new());
    let future = format!("{below}?watch=true&resourceVersion=99999999");
    assert_eq!(lines(get(&world, &future).await)[0]["type"], "ERROR");
    let future = format!("{below}?resourceVersion=99999999");
    assert_eq!(get(&world, &future).await.code, 504);
    // A watch from the revision of a list in pages misses nothing of what changes between them.
    let first = get(&world, &format!("{below}?limit=1")).await.json();
    let next = text(&first["metadata"]["continue"]);
    assert!(!next.is_empty(), "{first}");
    let second = get(&world, &format!("{below}?limit=1&continue={next}")).await;
    assert_eq!(
        second.json()["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_selected_and_watched_over_grpc_too() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let watch = v1::WatchRequest {
        kind: "Event".to_owned(),
        field_selector: "reason=NoHosts".to_owned(),
        ..v1::WatchRequest::default()
    };
    let mut watch = objects.watch(watch).await.expect("it opens").into_inner();
    let made = send(&world, "POST", JAILS, JSON, &jail("www", "web")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let told = tokio::time::timeout(common::DEADLINE, async {
        loop {
            let event = watch.message().await.expect("it goes on").expect("more");
            let object = event.object.expect("an object");
            if !object.json.is_empty() {
                return object;
            }
        }
    });
    let told = told.await.expect("it is told");
    assert_eq!(told.kind, "Event");
    assert_eq!(common::json_of(&told)["reason"], "NoHosts");
    for (fields, found) in [
        ("reason=NoHosts,type=Warning", 1),
        ("reason!=NoHosts,involvedObject.name=www", 0),
    ] {
        let list = v1::ListEventsRequest {
            field_selector: fields.to_owned(),
            ..v1::ListEventsRequest::default()
        };
        let list = objects.list_events(list).await.expect("a list");
        assert_eq!(list.into_inner().events.len(), found, "{fields}");
    }
    for fields in ["spec.host=a", "reason"] {
        let list = v1::ListEventsRequest {
            field_selector: fields.to_owned(),
            ..v1::ListEventsRequest::default()
        };
        let refused = objects.list_events(list).await.expect_err("refused");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
    }
}
