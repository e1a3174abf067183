//! What requests may ask for beside an object: selectors, pages, revisions, how a removal is done.

mod common;

use cellblock_proto::v1;
use common::World;
use common::http::{APPLY, JSON, MERGE, ask, get, send, text};
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
async fn what_ceases_to_be_selected_is_shown_as_it_was_selected() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let made = send(&world, "POST", JAILS, JSON, &jail("www", "web")).await;
    let revision = text(&made.json()["metadata"]["resourceVersion"]);
    let path = format!("{JAILS}/www?fieldManager=test");
    let label = json!({"metadata": {"labels": {"role": "db"}}});
    let changed = send(&world, "PATCH", &path, MERGE, &label).await;
    assert_eq!(changed.code, 200, "{}", changed.body);
    let now = text(&changed.json()["metadata"]["resourceVersion"]);
    let selected = format!("{JAILS}?watch=1&labelSelector=role%3Dweb&resourceVersion={revision}");
    let told = common::http::get_until(&world, &selected, "DELETED").await;
    let last = told.body.lines().last().expect("a line").to_owned();
    let last: Value = serde_json::from_str(&last).expect("an event");
    let watch = v1::WatchRequest {
        kind: "Jail".to_owned(),
        label_selector: "role=web".to_owned(),
        revision: revision.parse().expect("a number"),
        ..v1::WatchRequest::default()
    };
    let mut watch = objects.watch(watch).await.expect("it opens").into_inner();
    let over_grpc = loop {
        let event = watch.message().await.expect("it goes on").expect("more");
        if event.r#type() == v1::watch_event::Type::Deleted {
            break common::json_of(&event.object.expect("an object"));
        }
    };
    assert_eq!(last["object"], over_grpc);
    assert_eq!(over_grpc["metadata"]["labels"]["role"], "web");
    assert_eq!(over_grpc["metadata"]["resourceVersion"], json!(now));
    // And by a field: what comes to have a host is added.
    for (fields, found) in [("metadata.name=www", 1), ("spec.host=nowhere", 0)] {
        let list = v1::ListRequest {
            kind: "Jail".to_owned(),
            field_selector: fields.to_owned(),
            ..v1::ListRequest::default()
        };
        let list = objects.list(list).await.expect("a list").into_inner();
        let path = format!("{JAILS}?fieldSelector={}", fields.replace('=', "%3D"));
        let over_rest = get(&world, &path).await.json();
        assert_eq!(list.objects.len(), found, "{fields}");
        assert_eq!(over_rest["items"].as_array().map(Vec::len), Some(found));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_of_the_revision_that_is_asked_for_and_say_how_much_is_left() {
    let world = World::start().await;
    for name in ["a", "b", "c"] {
        let made = send(&world, "POST", JAILS, JSON, &jail(name, "web")).await;
        assert_eq!(made.code, 201, "{}", made.body);
    }
    let first = get(&world, &format!("{JAILS}?limit=1")).await.json();
    assert_eq!(first["metadata"]["remainingItemCount"], 2, "{first}");
    // The controller may write in between, and then what is left of that revision is not counted.
    let deadline = std::time::Instant::now() + common::DEADLINE;
    let second = loop {
        let first = get(&world, &format!("{JAILS}?limit=1")).await.json();
        let next = text(&first["metadata"]["continue"]);
        let path = format!("{JAILS}?limit=1&continue={next}");
        let second = get(&world, &path).await.json();
        if !second["metadata"]["remainingItemCount"].is_null() {
            break second;
        }
        let is_late = std::time::Instant::now() > deadline;
        assert!(!is_late, "what is left is never told: {second}");
    };
    assert_eq!(second["metadata"]["remainingItemCount"], 1, "{second}");
    let next = text(&second["metadata"]["continue"]);
    let path = format!("{JAILS}?limit=1&continue={next}");
    let third = get(&world, &path).await.json();
    assert_eq!(third["items"][0]["metadata"]["name"], "c", "{third}");
    assert_eq!(third["metadata"]["continue"], Value::Null);
    let selected = format!("{JAILS}?limit=1&labelSelector=role%3Dweb");
    let selected = get(&world, &selected).await.json();
    assert_eq!(selected["metadata"]["remainingItemCount"], Value::Null);
    let revision = text(&first["metadata"]["resourceVersion"]);
    let label = json!({"metadata": {"labels": {"role": "db"}}});
    let path = format!("{JAILS}/a?fieldManager=test");
    let changed = send(&world, "PATCH", &path, MERGE, &label).await;
    assert_eq!(changed.code, 200, "{}", changed.body);
    for matching in ["limit=9", "resourceVersionMatch=Exact"] {
        let path = format!("{JAILS}?resourceVersion={revision}&{matching}");
        let list = get(&world, &path).await.json();
        assert_eq!(
            list["items"][0]["metadata"]["labels"]["role"], "web",
            "{matching}: {list}"
        );
    }
    let newer = format!("{JAILS}?resourceVersion={revision}");
    let newer = get(&world, &newer).await.json();
    assert_eq!(newer["items"][0]["metadata"]["labels"]["role"], "db");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_left_out_of_what_has_none() {
    let world = World::start().await;
    let mut document = jail("www", "web");
    document["metadata"]["namespace"] = "default".into();
    let made = send(&world, "POST", JAILS, JSON, &document).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(made.json()["metadata"]["namespace"], Value::Null);
    let path = format!("{JAILS}/www?fieldManager=argocd-controller&force=true");
    let applied = send(&world, "PATCH", &path, APPLY, &document).await;
    assert_eq!(applied.code, 200, "{}", applied.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_may_leave_out_what_its_body_is_and_say_its_options_in_the_query() {
    let world = World::start().await;
    let set = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "JailSet", "metadata": {"name": "web"},
        "spec": {"replicas": 1, "template": {"spec": {"root": {"path": "/jails/web"}}}},
    });
    let sets = "/apis/cellblock.dev/v1alpha1/jailsets";
    assert_eq!(send(&world, "POST", sets, JSON, &set).await.code, 201);
    let count = async || {
        let list = get(&world, JAILS).await.json();
        list["items"].as_array().map_or(0, Vec::len)
    };
    let made = async {
        while count().await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(common::DEADLINE, made)
        .await
        .expect("its jail is made");
    let path = format!("{sets}/web?orphanDependents=true");
    let removed = ask(&world, "DELETE", &path, &[], "").await;
    assert_eq!(removed.code, 200, "{}", removed.body);
    let gone = async {
        while get(&world, &format!("{sets}/web")).await.code != 404 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(common::DEADLINE, gone)
        .await
        .expect("it goes");
    let left = get(&world, JAILS).await.json();
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1), "{left}");
    assert_eq!(
        left["items"][0]["metadata"]["deletionTimestamp"],
        Value::Null
    );
    let name = text(&left["items"][0]["metadata"]["name"]);
    // client-go of 1.20 sends this so.
    let options =
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    let path = format!("{JAILS}/{name}");
    let removed = ask(&world, "DELETE", &path, &[], &options.to_string()).await;
    assert_eq!(removed.code, 200, "{}", removed.body);
}
