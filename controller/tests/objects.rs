//! The objects' service over the embedded store, through a real client.

mod common;

use std::collections::BTreeMap;

use cellblock_proto::v1;
use cellblock_proto::v1::apply_result::Outcome;
use cellblock_proto::v1::watch_event::Type;
use cellblock_store::{EmbeddedOptions, EmbeddedStore, Store as _};
use common::{
    DEADLINE, World, applied, apply, assert_code, condition, connect, get, host, jail, json_of,
    network, object, rejection, wait_for,
};
use serde_json::{Value, json};
use tonic::{Code, Streaming};

fn outcomes(results: &[v1::ApplyResult]) -> Vec<Outcome> {
    results.iter().map(v1::ApplyResult::outcome).collect()
}

async fn next(events: &mut Streaming<v1::WatchEvent>) -> v1::WatchEvent {
    let event = tokio::time::timeout(DEADLINE, events.message())
        .await
        .expect("an event comes");
    event
        .expect("the watch goes on")
        .expect("the watch goes on")
}

fn seen(event: &v1::WatchEvent) -> (Type, String) {
    (
        event.r#type(),
        event
            .object
            .as_ref()
            .map_or_else(String::new, |object| object.name.clone()),
    )
}

#[tokio::test]
async fn what_is_applied_can_be_read_at_once_and_applied_again_changes_nothing() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let _agents = connect(&world.controller, &["a"]).await;
    let documents = [host("a"), network("lan"), jail("www", &["lan"])];
    assert_eq!(
        outcomes(&apply(&mut objects, &documents).await),
        [Outcome::Configured, Outcome::Created, Outcome::Created]
    );
    let www = get(&mut objects, "Jail", "www")
        .await
        .expect("read your writes");
    let document = json_of(&www);
    assert_eq!(document["status"]["binding"]["host"], "a");
    assert_eq!(
        document["metadata"]["resourceVersion"],
        www.revision.to_string()
    );
    let again = apply(&mut objects, &documents).await;
    assert_eq!(outcomes(&again)[1..], [Outcome::Unchanged; 2]);
    assert_eq!(
        get(&mut objects, "Jail", "www")
            .await
            .expect("there")
            .revision,
        www.revision
    );
}

#[tokio::test]
async fn a_refused_object_names_every_violation_and_leaves_the_others_alone() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let mut wrong = jail("Not_A_Label", &[]);
    wrong["spec"]["jailName"] = json!("12");
    let results = apply(&mut objects, &[wrong, host("a")]).await;
    assert_eq!(outcomes(&results), [Outcome::Refused, Outcome::Created]);
    let fields: Vec<_> = results[0]
        .violations
        .iter()
        .map(|violation| violation.field.as_str())
        .collect();
    assert!(
        fields.contains(&"metadata.name") && fields.contains(&"spec.jailName"),
        "{fields:?}"
    );
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_writes_nothing() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let request = v1::ApplyRequest {
        objects: vec![object(&host("a"))],
        dry_run: true,
        field_manager: "jailctl".to_owned(),
        ..v1::ApplyRequest::default()
    };
    let results = objects
        .apply(request)
        .await
        .expect("an answer")
        .into_inner()
        .results;
    assert_eq!(outcomes(&results), [Outcome::Created]);
    assert_code(get(&mut objects, "Host", "a").await, Code::NotFound);
}

#[tokio::test]
async fn a_dry_run_of_several_objects_judges_each_as_if_those_before_it_were_there() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let mut other = network("other");
    other["spec"]["subnets"] = json!([{"cidr": "10.30.0.128/25"}]);
    let request = v1::ApplyRequest {
        objects: [host("a"), network("lan"), other]
            .iter()
            .map(object)
            .collect(),
        dry_run: true,
        field_manager: "jailctl".to_owned(),
        ..v1::ApplyRequest::default()
    };
    let results = objects
        .apply(request)
        .await
        .expect("an answer")
        .into_inner()
        .results;
    assert_eq!(
        outcomes(&results),
        [Outcome::Created, Outcome::Created, Outcome::Refused]
    );
    assert_code(get(&mut objects, "Network", "lan").await, Code::NotFound);
}

#[tokio::test]
async fn create_update_and_status_compare_what_they_are_told() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let create = v1::CreateRequest {
        object: Some(object(&host("a"))),
        ..v1::CreateRequest::default()
    };
    let created = objects
        .create(create.clone())
        .await
        .expect("new")
        .into_inner()
        .object
        .expect("an object");
    let status = assert_code(objects.create(create).await, Code::AlreadyExists);
    assert_eq!(rejection(&status).reason, "AlreadyExists");
    assert_ne!(created.revision, 0);
    // The controller says once that it hears nothing of the host, and then has nothing more to say.
    let mut document = wait_for(&mut objects, "Host", "a", |host| {
        condition(host, "Heard").is_some()
    })
    .await;
    document["metadata"]["labels"]["zone"] = json!("x");
    let update = |document: &Value| v1::UpdateRequest {
        object: Some(object(document)),
        ..v1::UpdateRequest::default()
    };
    objects.update(update(&document)).await.expect("fresh");
    let status = assert_code(
        objects.update(update(&document)).await,
        Code::FailedPrecondition,
    );
    assert_eq!(
        rejection(&status).violations[0].field,
        "metadata.resourceVersion"
    );
    document["metadata"]
        .as_object_mut()
        .expect("an object")
        .remove("resourceVersion");
    document["status"] =
        json!({"observedGeneration": 1, "jails": {"bound": 0, "ready": 0}, "conditions": []});
    let updated = objects
        .update_status(update(&document))
        .await
        .expect("a status")
        .into_inner();
    assert_eq!(
        json_of(&updated.object.expect("an object"))["status"]["observedGeneration"],
        1
    );
    let nobody = v1::UpdateRequest {
        object: Some(object(&host("b"))),
        ..v1::UpdateRequest::default()
    };
    assert_code(objects.update(nobody).await, Code::NotFound);
}

#[tokio::test]
async fn pages_fit_together_although_writes_go_on() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let hosts: Vec<_> = (0..7).map(|number| host(&format!("h{number}"))).collect();
    applied(&mut objects, &hosts).await;
    let mut request = v1::ListRequest {
        kind: "Host".to_owned(),
        limit: 3,
        ..v1::ListRequest::default()
    };
    let first = objects
        .list(request.clone())
        .await
        .expect("a page")
        .into_inner();
    applied(&mut objects, &[host("h35"), host("h9")]).await;
    let mut names: Vec<_> = first
        .objects
        .iter()
        .map(|object| object.name.clone())
        .collect();
    request.continue_token = first.continue_token;
    while !request.continue_token.is_empty() {
        let page = objects
            .list(request.clone())
            .await
            .expect("a page")
            .into_inner();
        assert_eq!(page.revision, first.revision);
        names.extend(page.objects.into_iter().map(|object| object.name));
        request.continue_token = page.continue_token;
    }
    assert_eq!(names, ["h0", "h1", "h2", "h3", "h4", "h5", "h6"]);
    let selected = v1::ListRequest {
        kind: "Host".to_owned(),
        label_selector: "name in (h1,h9)".to_owned(),
        ..v1::ListRequest::default()
    };
    assert_eq!(
        objects
            .list(selected)
            .await
            .expect("a list")
            .into_inner()
            .objects
            .len(),
        2
    );
    request.continue_token = "1.00".to_owned();
    assert_code(objects.list(request).await, Code::InvalidArgument);
}

#[tokio::test]
async fn a_watch_begins_with_what_is_there_and_resumes_where_it_was() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    applied(&mut objects, &[host("a")]).await;
    let watch = |revision, selector: &str| v1::WatchRequest {
        kind: "Host".to_owned(),
        label_selector: selector.to_owned(),
        revision,
        ..v1::WatchRequest::default()
    };
    let mut events = objects
        .watch(watch(0, ""))
        .await
        .expect("a watch")
        .into_inner();
    assert_eq!(
        seen(&next(&mut events).await),
        (Type::Added, "a".to_owned())
    );
    let bookmark = next(&mut events).await;
    assert_eq!(bookmark.r#type(), Type::Bookmark);
    let revision = bookmark.object.expect("a revision").revision;
    applied(&mut objects, &[host("b")]).await;
    let mut added = next(&mut events).await;
    while seen(&added) == (Type::Modified, "a".to_owned()) {
        added = next(&mut events).await;
    }
    assert_eq!(seen(&added), (Type::Added, "b".to_owned()));
    drop(events);
    let mut resumed = objects
        .watch(watch(revision, "name=b"))
        .await
        .expect("a watch")
        .into_inner();
    assert_eq!(next(&mut resumed).await, added);
    let mut other = host("b");
    other["metadata"]["labels"]["name"] = json!("other");
    applied(&mut objects, &[other]).await;
    loop {
        match seen(&next(&mut resumed).await) {
            (Type::Deleted, name) => break assert_eq!(name, "b"),
            (Type::Modified, _) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_watch_from_an_unknown_past_or_future_is_told_to_list_again() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    applied(&mut objects, &[host("a")]).await;
    let forget = async |folder: &tempfile::TempDir| {
        let options = EmbeddedOptions::new(folder.path().join("store.redb"));
        let store = EmbeddedStore::open(options).await.expect("it is closed");
        let newest = store.current_revision().await.expect("a revision");
        store.compact(newest).await.expect("it knows its past");
    };
    let world = world.between(forget).await;
    let mut objects = world.objects().await;
    for revision in [1, 1_000_000] {
        let request = v1::WatchRequest {
            revision,
            ..v1::WatchRequest::default()
        };
        let status = assert_code(objects.watch(request).await, Code::OutOfRange);
        assert_eq!(rejection(&status).reason, "Expired");
    }
}

#[tokio::test]
async fn deletion_compares_and_says_whether_the_object_is_gone() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let _agents = connect(&world.controller, &["a"]).await;
    applied(
        &mut objects,
        &[host("a"), network("lan"), jail("www", &["lan"])],
    )
    .await;
    let delete = |kind: &str, name: &str, uid: &str| v1::DeleteRequest {
        kind: kind.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        ..v1::DeleteRequest::default()
    };
    assert_code(
        objects.delete(delete("Jail", "www", "another")).await,
        Code::FailedPrecondition,
    );
    assert_code(
        objects.delete(delete("Jail", "none", "")).await,
        Code::NotFound,
    );
    let network = objects
        .delete(delete("Network", "lan", ""))
        .await
        .expect("accepted")
        .into_inner();
    assert!(!network.gone);
    let jail = objects
        .delete(delete("Jail", "www", ""))
        .await
        .expect("accepted")
        .into_inner();
    assert!(!jail.gone);
    let document = json_of(&jail.object.expect("an object"));
    assert_eq!(
        document["metadata"]["finalizers"],
        json!(["cellblock.dev/host"])
    );
    applied(&mut objects, &[host("unused")]).await;
    assert!(
        objects
            .delete(delete("Host", "unused", ""))
            .await
            .expect("accepted")
            .into_inner()
            .gone
    );
}

#[tokio::test]
async fn a_hundred_applies_at_once_spread_evenly() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let _agents = connect(&world.controller, &["a", "b", "c"]).await;
    applied(
        &mut objects,
        &[host("a"), host("b"), host("c"), network("lan")],
    )
    .await;
    let applies = (0..100).map(|number| {
        let mut objects = objects.clone();
        tokio::spawn(async move {
            let request = v1::ApplyRequest {
                objects: vec![object(&jail(&format!("j{number}"), &["lan"]))],
                field_manager: "jailctl".to_owned(),
                ..v1::ApplyRequest::default()
            };
            // Where the disk is busy, those at the end of the queue hear that nothing was written and that they may try again.
            loop {
                match objects.apply(request.clone()).await {
                    Err(status) if status.code() == Code::Unavailable => {}
                    answer => return answer.map(|answer| outcomes(&answer.into_inner().results)),
                }
            }
        })
    });
    for applied in applies.collect::<Vec<_>>() {
        let outcomes = tokio::time::timeout(DEADLINE, applied)
            .await
            .expect("in time")
            .expect("no panic")
            .expect("an answer");
        assert_eq!(outcomes, [Outcome::Created]);
    }
    let request = v1::ListRequest {
        kind: "Jail".to_owned(),
        ..v1::ListRequest::default()
    };
    let listed = objects
        .list(request)
        .await
        .expect("a list")
        .into_inner()
        .objects;
    let mut hosts = BTreeMap::<String, u32>::new();
    let mut addresses = std::collections::BTreeSet::new();
    for jail in &listed {
        let binding = json_of(jail)["status"]["binding"].clone();
        *hosts.entry(binding["host"].to_string()).or_default() += 1;
        assert!(addresses.insert(binding["attachments"][0]["addresses"].to_string()));
    }
    let counts: Vec<_> = hosts.into_values().collect();
    assert_eq!(counts.iter().sum::<u32>(), 100);
    assert!(
        counts.iter().max() <= counts.iter().min().map(|least| least + 1).as_ref(),
        "{counts:?}"
    );
}

#[tokio::test]
async fn a_restart_on_the_same_file_keeps_everything() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let agents = connect(&world.controller, &["a"]).await;
    applied(
        &mut objects,
        &[host("a"), network("lan"), jail("www", &["lan"])],
    )
    .await;
    let before = get(&mut objects, "Jail", "www").await.expect("there");
    let cluster = objects
        .version(v1::VersionRequest {})
        .await
        .expect("a version")
        .into_inner();
    assert_eq!(cluster.store, "embedded");
    drop((objects, agents));
    let world = world.restart().await;
    let mut objects = world.objects().await;
    assert_eq!(
        get(&mut objects, "Jail", "www").await.expect("still there"),
        before
    );
    assert_eq!(
        objects
            .version(v1::VersionRequest {})
            .await
            .expect("a version")
            .into_inner(),
        cluster
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_malformed() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    assert_code(get(&mut objects, "Pod", "x").await, Code::InvalidArgument);
    let request = v1::ListRequest {
        kind: "Host".to_owned(),
        label_selector: "a in".to_owned(),
        ..v1::ListRequest::default()
    };
    assert_code(objects.list(request).await, Code::InvalidArgument);
    let request = v1::CreateRequest {
        object: Some(v1::Object {
            kind: "Host".to_owned(),
            name: "a".to_owned(),
            json: "{".into(),
            revision: 0,
        }),
        ..v1::CreateRequest::default()
    };
    assert_code(objects.create(request).await, Code::InvalidArgument);
    let mut large = host("a");
    large["metadata"]["annotations"] = json!({"a": "x".repeat(2 << 20)});
    let request = v1::CreateRequest {
        object: Some(object(&large)),
        ..v1::CreateRequest::default()
    };
    let status = assert_code(objects.create(request).await, Code::InvalidArgument);
    assert_eq!(rejection(&status).reason, "TooLarge");
}

#[tokio::test]
async fn allocations_come_in_pages_that_meet() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let _agents = connect(&world.controller, &["a"]).await;
    let documents = [
        host("a"),
        network("lan"),
        jail("www", &["lan"]),
        jail("db", &["lan"]),
    ];
    applied(&mut objects, &documents).await;
    let asked = |limit: u32, token: &str| v1::ListAllocationsRequest {
        limit,
        continue_token: token.to_owned(),
        ..v1::ListAllocationsRequest::default()
    };
    let whole = objects.list_allocations(asked(0, "")).await.expect("all");
    let whole = whole.into_inner();
    assert_eq!(whole.continue_token, "");
    let count = u32::try_from(whole.allocations.len()).expect("a few");
    assert!(count > 4, "{whole:?}");
    for limit in [1, 2, count - 1, count, count + 1] {
        let (mut found, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = objects.list_allocations(asked(limit, &token)).await;
            let page = page.expect("a page").into_inner();
            found.extend(page.allocations);
            pages += 1;
            if page.continue_token.is_empty() {
                break;
            }
            token = page.continue_token;
        }
        assert_eq!(found, whole.allocations);
        assert_eq!(pages, count.div_ceil(limit), "no page is empty");
    }
    for host in ["a", "b"] {
        let request = v1::ListAllocationsRequest {
            host: host.to_owned(),
            ..asked(0, "")
        };
        let listed = objects.list_allocations(request).await.expect("a list");
        let wanted: Vec<_> = whole
            .allocations
            .iter()
            .filter(|one| one.host == host)
            .collect();
        assert_eq!(
            listed.get_ref().allocations.iter().collect::<Vec<_>>(),
            wanted
        );
    }
    let first = objects
        .list_allocations(asked(1, ""))
        .await
        .expect("a page");
    let first = first.into_inner();
    // What comes and goes meanwhile is in no list's way, the one that the page ended with included.
    let www = v1::DeleteRequest {
        kind: "Jail".to_owned(),
        name: "www".to_owned(),
        ..v1::DeleteRequest::default()
    };
    objects.delete(www).await.expect("it may go");
    applied(&mut objects, &[jail("mail", &["lan"])]).await;
    let now = objects.list_allocations(asked(0, "")).await.expect("all");
    let now = now.into_inner();
    let next = objects
        .list_allocations(asked(0, &first.continue_token))
        .await;
    let next = next.expect("the next").into_inner();
    assert!(now.revision > first.revision);
    assert_eq!(
        next.revision, first.revision,
        "who goes on from there misses nothing"
    );
    let behind = &first.allocations[0].value;
    let known = now.allocations.iter();
    let known: Vec<_> = known.filter(|one| one.value != *behind).cloned().collect();
    assert_eq!(next.allocations, known);
    for token in ["x", "/", "a/b/c", "1:x", "x:mac/00000001"] {
        let listed = objects.list_allocations(asked(0, token)).await;
        let refused = assert_code(listed, Code::InvalidArgument);
        assert!(refused.message().contains("continue token"), "{refused}");
    }
    let request = v1::ListAllocationsRequest {
        sort: "fob".to_owned(),
        ..asked(0, "")
    };
    assert_code(
        objects.list_allocations(request).await,
        Code::InvalidArgument,
    );
}

#[tokio::test]
async fn events_come_in_pages_that_meet() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let _agents = connect(&world.controller, &["a"]).await;
    let documents = [
        host("a"),
        network("lan"),
        jail("www", &["lan"]),
        jail("db", &["lan"]),
    ];
    applied(&mut objects, &documents).await;
    let asked = |name: &str, limit: u32, token: &str| v1::ListEventsRequest {
        name: name.to_owned(),
        limit,
        continue_token: token.to_owned(),
        ..v1::ListEventsRequest::default()
    };
    let told = tokio::time::timeout(DEADLINE, async {
        loop {
            let mut lists = Vec::new();
            for name in ["www", "db"] {
                let list = objects.list_events(asked(name, 0, "")).await;
                lists.push(list.expect("a list").into_inner().events);
            }
            if lists.iter().all(|list| !list.is_empty()) {
                return lists.concat();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    assert!(
        told.await
            .expect("it is told")
            .iter()
            .all(|one| one.kind == "Event")
    );
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let page = objects.list_events(asked("", 1, &token)).await;
        let page = page.expect("a page").into_inner();
        assert_eq!(page.events.len(), 1);
        names.extend(page.events.into_iter().map(|one| one.name));
        if page.continue_token.is_empty() {
            break;
        }
        token = page.continue_token;
    }
    assert!(names.len() > 1 && names.is_sorted(), "{names:?}");
    // A name that no record has is a place in the list all the same.
    let behind = objects
        .list_events(asked("", 0, "~"))
        .await
        .expect("a list");
    assert_eq!(behind.get_ref().events, []);
}

#[tokio::test]
async fn a_policy_of_deletion_is_read_or_refused() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    applied(&mut objects, &[network("lan")]).await;
    let delete = |policy: &str| v1::DeleteRequest {
        kind: "Network".to_owned(),
        name: "lan".to_owned(),
        propagation_policy: policy.to_owned(),
        ..v1::DeleteRequest::default()
    };
    for wrong in ["foreground", "Never"] {
        let refused = assert_code(objects.delete(delete(wrong)).await, Code::InvalidArgument);
        assert!(refused.message().contains("Foreground"), "{refused}");
    }
    get(&mut objects, "Network", "lan").await.expect("it stays");
    objects.delete(delete("Orphan")).await.expect("it goes");
}
