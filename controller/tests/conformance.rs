//! Every verb over gRPC and over REST: the same objects, refusals and revisions. Each step is done to twins, one over each wire, and
//! what came of it is read over both.

mod common;

use cellblock_controller_core::keys::Keys;
use cellblock_schemas::{ClusterUid, Kind};
use cellblock_store::{EmbeddedOptions, EmbeddedStore, Store as _, Transaction};
use common::wires::{BOTH, Outcome, Patch, Refused, Wire, Wires, revision};
use common::{Objects, World};
use serde_json::{Value, json};

fn jail(name: &str, role: &str) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1",
        "kind": "Jail",
        "metadata": {"name": name, "labels": {"role": role}},
        "spec": {"root": {"path": "/jails/www"}},
    })
}

/// Of a kind of which the controller writes nothing by itself.
fn image(name: &str, role: &str) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1",
        "kind": "Image",
        "metadata": {"name": name, "labels": {"role": role}},
        "spec": {"release": {"tarball": "/dist/base.txz", "sha256": "0".repeat(64)}},
    })
}

/// The twin that is written over a wire.
fn twin(wire: Wire) -> &'static str {
    match wire {
        Wire::Rest => "rest",
        Wire::Grpc => "grpc",
    }
}

fn refused(reason: &str, fields: &[&str]) -> Outcome {
    Err(refusal(reason, fields))
}

fn refusal(reason: &str, fields: &[&str]) -> Refused {
    Refused {
        reason: reason.to_owned(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    }
}

/// What twins have in common: everything but who they are, when, and what the controller writes at its own time.
fn alike(mut object: Value) -> Value {
    object["status"] = Value::Null;
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "name",
        "finalizers",
    ] {
        object["metadata"][field] = Value::Null;
    }
    let managers = object["metadata"]["managedFields"].as_array_mut();
    for manager in managers.into_iter().flatten() {
        manager["time"] = Value::Null;
    }
    object
}

/// What the twins came to be is the same, both wires say the same of each, and what was answered is what is read, its revision too.
async fn same(wires: &mut Wires, step: &str, answers: [Outcome; 2]) {
    let [rest, grpc] = answers;
    for (wire, answer) in BOTH.into_iter().zip([&rest, &grpc]) {
        let Ok(answer) = answer else {
            continue;
        };
        for over in BOTH {
            let read = wires.get(over, twin(wire)).await.expect("it is there");
            let [mut answer, mut read] = [answer.clone(), read];
            // What the controller has to say of it may have come since, and with that another revision.
            if answer["status"] != read["status"] {
                assert!(revision(&answer) < revision(&read), "{step}");
                for object in [&mut answer, &mut read] {
                    object["status"] = Value::Null;
                    object["metadata"]["resourceVersion"] = Value::Null;
                }
            }
            assert_eq!(
                answer, read,
                "{step}: written over {wire:?}, read over {over:?}"
            );
        }
        assert!(0 < revision(answer), "{step}");
    }
    assert_eq!(rest.map(alike), grpc.map(alike), "{step}");
}

/// The revisions of the twins.
async fn revisions(wires: &mut Wires) -> [u64; 2] {
    let mut revisions = [0; 2];
    for (place, wire) in BOTH.into_iter().enumerate() {
        let read = wires.get(Wire::Rest, twin(wire)).await;
        revisions[place] = revision(&read.expect("it is there"));
    }
    revisions
}

macro_rules! both {
    ($wires:ident, $step:expr, |$wire:ident, $name:ident| $ask:expr) => {{
        let mut answers = Vec::new();
        for $wire in BOTH {
            let $name = twin($wire);
            answers.push($ask.await);
        }
        let answers: [Outcome; 2] = answers.try_into().expect("two");
        let first = answers[0].clone();
        same(&mut $wires, $step, answers).await;
        first
    }};
}

/// The way out of a record that is in the way.
#[tokio::test(flavor = "multi_thread")]
async fn who_manages_what_is_forgotten_over_both_wires() {
    let mut wires = Wires::to(World::start().await, "Image").await;
    for wire in BOTH {
        let name = twin(wire);
        let mut document = image(name, "web");
        wires
            .apply(wire, &document, "one", false)
            .await
            .expect("applied");
        for (number, nobody) in [json!([]), json!([{}])].into_iter().enumerate() {
            document["metadata"]["labels"]["role"] = format!("role-{number}").into();
            let applied = wires
                .apply(wire, &document, "two", true)
                .await
                .expect("applied");
            assert_ne!(applied["metadata"]["managedFields"], Value::Null);
            let forgotten = json!({"metadata": {"managedFields": nobody}});
            let patched = wires
                .patch(wire, name, Patch::Merge, &forgotten, false)
                .await;
            let patched = patched.expect("patched");
            assert_eq!(
                patched["metadata"]["managedFields"],
                Value::Null,
                "{wire:?}"
            );
            assert_eq!(
                patched["metadata"]["labels"],
                document["metadata"]["labels"]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_made_over_both_wires() {
    let mut wires = Wires::to(World::start().await, "Image").await;
    let mut unnamed = image("", "web");
    unnamed["metadata"] = json!({"generateName": "base-"});
    for wire in BOTH {
        let made = wires.create(wire, &unnamed).await.expect("made");
        let name = made["metadata"]["name"].as_str().expect("a name");
        assert!(name.starts_with("base-") && name.len() == 10, "{name}");
        for over in BOTH {
            let read = wires.get(over, name).await.expect("it is there");
            assert_eq!(read["metadata"]["generateName"], "base-", "{over:?}");
        }
    }
    let applied = wires.apply(Wire::Grpc, &unnamed, "test", false).await;
    assert_eq!(applied, refused("Invalid", &["metadata.generateName"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_the_same_over_both_wires() {
    let mut wires = Wires::to(World::start().await, "Image").await;
    let role = |object: Outcome| object.map(|object| object["metadata"]["labels"]["role"].clone());

    let created = both!(wires, "create", |wire, name| wires
        .create(wire, &image(name, "web")));
    assert_eq!(role(created), Ok(json!("web")));
    // From here on nothing else writes them: their status is said, and follows from the spec alone.
    for wire in BOTH {
        while wires.get(wire, twin(wire)).await.expect("it is there")["status"].is_null() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    let again = both!(wires, "create again", |wire, name| wires
        .create(wire, &image(name, "web")));
    assert_eq!(again, refused("AlreadyExists", &[]));

    let updated = both!(wires, "update", |wire, name| wires.update(
        wire,
        &image(name, "db"),
        false
    ));
    assert_eq!(role(updated), Ok(json!("db")));
    let stale = both!(wires, "update of an old revision", |wire, name| {
        let mut document = image(name, "web");
        document["metadata"]["resourceVersion"] = "1".into();
        let wires = &mut wires;
        async move { wires.update(wire, &document, false).await }
    });
    assert_eq!(
        stale.map_err(|refused| refused.reason),
        Err("Conflict".to_owned())
    );

    let merge = json!({"metadata": {"labels": {"role": "proxy"}}});
    let patched = both!(wires, "merge patch", |wire, name| wires.patch(
        wire,
        name,
        Patch::Merge,
        &merge,
        false
    ));
    assert_eq!(role(patched.clone()), Ok(json!("proxy")));
    let before = revisions(&mut wires).await;
    let same_again = both!(wires, "merge patch that changes nothing", |wire, name| {
        wires.patch(wire, name, Patch::Merge, &merge, false)
    });
    assert_eq!(role(same_again), Ok(json!("proxy")));
    assert_eq!(revisions(&mut wires).await, before, "nothing was written");
    let json_patch = json!([{"op": "replace", "path": "/metadata/labels/role", "value": "mail"}]);
    let patched = both!(wires, "JSON patch", |wire, name| wires.patch(
        wire,
        name,
        Patch::Json,
        &json_patch,
        false
    ));
    assert_eq!(role(patched), Ok(json!("mail")));
    let unfit = json!([{"op": "remove", "path": "/metadata/labels/nothing"}]);
    let unfit = both!(wires, "JSON patch that does not fit", |wire, name| wires
        .patch(wire, name, Patch::Json, &unfit, false));
    assert!(unfit.is_err());
    // Apply: from another manager, in conflict, by force, and without what was stated before.
    let conflict = both!(wires, "apply in conflict", |wire, name| wires.apply(
        wire,
        &image(name, "web"),
        "other",
        false
    ));
    assert_eq!(conflict, refused("Conflict", &["metadata.labels.role"]));
    let forced = both!(wires, "apply by force", |wire, name| wires.apply(
        wire,
        &image(name, "web"),
        "other",
        true
    ));
    assert_eq!(role(forced), Ok(json!("web")));
    let without = both!(wires, "apply without a label", |wire, name| {
        let mut document = image(name, "web");
        document["metadata"] = json!({"name": name});
        let wires = &mut wires;
        async move { wires.apply(wire, &document, "other", false).await }
    });
    assert_eq!(role(without), Ok(Value::Null));
    let unnamed = both!(wires, "apply without a field manager", |wire, name| wires
        .apply(wire, &image(name, "web"), "", false));
    assert_eq!(unnamed, refused("Invalid", &["fieldManager"]));
    let unknown = both!(wires, "apply of an unknown field", |wire, name| {
        let mut document = image(name, "web");
        document["spec"]["releese"] = json!({});
        let wires = &mut wires;
        async move { wires.apply(wire, &document, "other", false).await }
    });
    assert_eq!(unknown, refused("Invalid", &["spec.releese"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_the_same_over_both_wires() {
    let mut wires = Wires::to(World::start().await, "Jail").await;
    for wire in BOTH {
        wires
            .create(wire, &jail(twin(wire), "web"))
            .await
            .expect("created");
    }
    let renamed = json!({"spec": {"jailName": "other"}});
    for wire in BOTH {
        let renamed = wires.patch(wire, twin(wire), Patch::Merge, &renamed, false);
        assert_eq!(renamed.await, refused("Invalid", &["spec.jailName"]));
    }
    let phase = json!({"status": {"phase": "Starting"}});
    let mut phases = Vec::new();
    for wire in BOTH {
        let name = twin(wire);
        let patched = wires
            .patch(wire, name, Patch::Merge, &phase, true)
            .await
            .expect("patched");
        let mut document = patched.clone();
        document["metadata"]["labels"]["role"] = "db".into();
        document["status"]["phase"] = "Running".into();
        document["metadata"]["resourceVersion"] = Value::Null;
        let updated = wires.update(wire, &document, true).await.expect("updated");
        phases.push([&patched, &updated].map(|one| one["status"]["phase"].clone()));
        assert_eq!(
            updated["metadata"]["labels"]["role"], "web",
            "a status changes nothing else"
        );
        // And through the object nobody changes a status.
        document["status"]["phase"] = "Stopped".into();
        let through = wires.update(wire, &document, false).await.expect("updated");
        assert_ne!(through["status"]["phase"], "Stopped");
        assert_eq!(through["metadata"]["labels"]["role"], "db");
        let unknown = json!({"status": {"fase": "Odd"}});
        let unknown = wires.patch(wire, name, Patch::Merge, &unknown, true).await;
        assert_eq!(unknown, refused("Invalid", &["status.fase"]), "{wire:?}");
        document["status"]["fase"] = "Odd".into();
        document["status"]["phase"] = "Running".into();
        let unknown = wires.update(wire, &document, true).await;
        assert_eq!(unknown, refused("BadRequest", &["status.fase"]), "{wire:?}");
        let odd = json!({"status": {"phase": "Odd"}});
        let odd = wires.patch(wire, name, Patch::Merge, &odd, true).await;
        assert_eq!(odd, refused("Invalid", &["status.phase"]), "{wire:?}");
        let nobody = wires
            .patch(wire, "nobody", Patch::Merge, &phase, true)
            .await;
        assert_eq!(
            nobody.map_err(|refused| refused.reason),
            Err("NotFound".to_owned())
        );
    }
    // REST alone can ask for them to be left out.
    let unknown = json!({"status": {"fase": "Odd"}});
    for (how, is_told) in [("Warn", true), ("Ignore", false)] {
        let path = wires.path(&format!("rest/status?fieldValidation={how}"));
        let answer =
            common::http::send(&wires.world, "PATCH", &path, common::http::MERGE, &unknown).await;
        assert_eq!(answer.code, 200, "{}", answer.body);
        assert_eq!(
            answer.head.contains("status.fase"),
            is_told,
            "{}",
            answer.head
        );
        assert_eq!(answer.json()["status"]["fase"], Value::Null);
    }
    assert_eq!(phases[0], phases[1]);
    assert_eq!(phases[0], [json!("Starting"), json!("Running")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_the_same_over_both_wires() {
    let mut wires = Wires::to(World::start().await, "Image").await;
    for (name, role) in [("a", "web"), ("b", "db"), ("c", "web")] {
        wires
            .create(Wire::Rest, &image(name, role))
            .await
            .expect("created");
    }
    for labels in [
        "",
        "role=web",
        "role in (db)",
        "role!=web",
        "!role",
        "nothing",
    ] {
        // Until nothing else of the cluster was written in between: events are.
        let mut tries = 0..20;
        loop {
            let rest = wires.list(Wire::Rest, labels, 0, "").await.expect("a list");
            let grpc = wires.list(Wire::Grpc, labels, 0, "").await.expect("a list");
            if rest.revision == grpc.revision || tries.next().is_none() {
                assert_eq!(rest, grpc, "{labels}");
                break;
            }
        }
    }
    // Pages that were begun over one wire go on over the other.
    let mut names = Vec::new();
    let mut next = String::new();
    let mut revisions = Vec::new();
    for wire in [Wire::Rest, Wire::Grpc, Wire::Rest] {
        let page = wires.list(wire, "", 1, &next).await.expect("a page");
        names.extend(
            page.objects
                .iter()
                .map(|one| one["metadata"]["name"].clone()),
        );
        revisions.push(page.revision);
        next = page.next;
    }
    assert_eq!(
        (names, next.as_str()),
        (vec![json!("a"), json!("b"), json!("c")], "")
    );
    assert!(
        revisions.windows(2).all(|pair| pair[0] == pair[1]),
        "{revisions:?}"
    );
    for wire in BOTH {
        let bad = wires.list(wire, "a===b", 0, "").await;
        assert_eq!(bad, Err(refusal("BadRequest", &[])), "{wire:?}");
        let bad = wires.list(wire, "", 0, "made-up").await;
        assert_eq!(bad, Err(refusal("BadRequest", &[])), "{wire:?}");
        let nobody = wires.get(wire, "nobody").await;
        assert_eq!(
            nobody.map_err(|refused| refused.reason),
            Err("NotFound".to_owned())
        );
    }
    let [rest, grpc] = [
        wires.get(Wire::Rest, "a").await,
        wires.get(Wire::Grpc, "a").await,
    ];
    assert_eq!(rest, grpc);
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_are_the_same_over_both_wires() {
    let mut wires = Wires::to(World::start().await, "Jail").await;
    let begin = wires
        .create(Wire::Rest, &jail("a", "web"))
        .await
        .expect("created");
    let begin = revision(&begin);
    wires
        .create(Wire::Grpc, &jail("b", "web"))
        .await
        .expect("created");
    wires
        .patch(
            Wire::Rest,
            "a",
            Patch::Merge,
            &json!({"metadata": {"labels": {"role": "db"}}}),
            false,
        )
        .await
        .expect("patched");
    wires.delete(Wire::Grpc, "b", "", 0).await.expect("deleted");
    wires
        .create(Wire::Rest, &jail("last", "web"))
        .await
        .expect("created");
    let rest = wires
        .watch(Wire::Rest, begin, "last")
        .await
        .expect("events");
    let documents = wires.seen.clone();
    let grpc = wires
        .watch(Wire::Grpc, begin, "last")
        .await
        .expect("events");
    assert_eq!(rest, grpc);
    assert_eq!(documents, wires.seen);
    let of_a = |document: &&Value| document["metadata"]["name"] == "a";
    let last = documents.iter().rfind(of_a).expect("it was told");
    assert_eq!(last["metadata"]["labels"]["role"], "db");
    assert_eq!(last["spec"]["root"]["path"], "/jails/www");
    // What ceases to be selected is told as it was; what comes to be, as it is.
    let mut selected = Vec::new();
    for wire in BOTH {
        wires.labels = "role=web".to_owned();
        let told = wires.watch(wire, begin, "last").await.expect("events");
        selected.push((told, std::mem::take(&mut wires.seen)));
        wires.labels.clear();
    }
    let [(told, documents), grpc] = &selected[..] else {
        panic!("two wires");
    };
    assert_eq!((told, documents), (&grpc.0, &grpc.1));
    let went = told
        .iter()
        .position(|(what, name, _)| (what.as_str(), name.as_str()) == ("DELETED", "a"));
    let went = &documents[went.expect("it is not selected any more")];
    assert_eq!(went["metadata"]["labels"]["role"], "web");
    assert!(
        rest.iter()
            .any(|(what, name, _)| (what.as_str(), name.as_str()) == ("DELETED", "b")),
        "{rest:?}"
    );
    assert!(
        rest.iter().all(|(_, _, revision)| *revision > begin),
        "{rest:?}"
    );
    // What is there, and then the bookmark.
    loop {
        let rest = wires
            .watch(Wire::Rest, 0, "BOOKMARK")
            .await
            .expect("events");
        let grpc = wires
            .watch(Wire::Grpc, 0, "BOOKMARK")
            .await
            .expect("events");
        // The controller may write in between.
        if rest.last().map(|one| one.2) == grpc.last().map(|one| one.2) {
            assert_eq!(rest.len(), 3, "{rest:?}");
            let of = |told: &[(String, String, u64)]| {
                told.iter()
                    .map(|(what, _, revision)| (what.clone(), *revision))
                    .collect::<Vec<_>>()
            };
            assert_eq!(of(&rest), of(&grpc));
            break;
        }
    }
    for wire in BOTH {
        let future = wires.watch(wire, 1 << 40, "nothing").await;
        assert_eq!(future, Err(refusal("Expired", &[])), "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_are_the_same_over_both_wires() {
    let mut wires = Wires::to(World::start().await, "Jail").await;
    for wire in BOTH {
        let name = twin(wire);
        let mut held = jail(name, "web");
        held["metadata"]["finalizers"] = json!(["example.org/hold"]);
        wires.create(wire, &held).await.expect("created");
        let other = wires.delete(wire, name, "another", 0).await;
        assert_eq!(
            other.map_err(|refused| refused.reason),
            Err("Conflict".to_owned())
        );
        let old = wires.delete(wire, name, "", 1).await;
        assert_eq!(
            old.map_err(|refused| refused.reason),
            Err("Conflict".to_owned())
        );
        assert_eq!(
            wires.delete(wire, name, "", 0).await,
            Ok(false),
            "{wire:?}: it is held"
        );
        assert_eq!(
            wires.delete(wire, name, "", 0).await,
            Ok(false),
            "{wire:?}: again"
        );
        let going = wires.get(wire, name).await.expect("it is there");
        assert!(
            going["metadata"]["deletionTimestamp"].is_string(),
            "{going}"
        );
        let release = json!({"metadata": {"finalizers": null}});
        wires
            .patch(wire, name, Patch::Merge, &release, false)
            .await
            .expect("patched");
        let gone = wires
            .get(wire, name)
            .await
            .map_err(|refused| refused.reason);
        assert_eq!(gone, Err("NotFound".to_owned()), "{wire:?}");
        let gone = wires
            .delete(wire, name, "", 0)
            .await
            .map_err(|refused| refused.reason);
        assert_eq!(gone, Err("NotFound".to_owned()), "{wire:?}");
        wires
            .create(wire, &jail(name, "web"))
            .await
            .expect("created");
        assert_eq!(
            wires.delete(wire, name, "", 0).await,
            Ok(true),
            "{wire:?}: nothing holds it"
        );
    }
    // A collection: by one request, or object by object.
    for (name, role) in [("a", "web"), ("b", "db"), ("c", "web")] {
        wires
            .create(Wire::Rest, &jail(name, role))
            .await
            .expect("created");
    }
    let path = wires.path("?labelSelector=role%3Dweb").replace("/?", "?");
    let removed = common::http::send(
        &wires.world,
        "DELETE",
        &path,
        "application/json",
        &json!({}),
    )
    .await;
    assert_eq!(
        removed.json()["items"].as_array().map(Vec::len),
        Some(2),
        "{}",
        removed.body
    );
    let left = wires.list(Wire::Grpc, "", 0, "").await.expect("a list");
    for object in &left.objects {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        assert_eq!(wires.delete(Wire::Grpc, name, "", 0).await, Ok(true));
    }
    assert_eq!(left.objects.len(), 1);
    let none = wires.list(Wire::Rest, "", 0, "").await.expect("a list");
    assert_eq!(none.objects, Vec::<Value>::new());
}

/// The store of a controller that is not running, and where its objects are.
async fn store(folder: &tempfile::TempDir, cluster: &str) -> (EmbeddedStore, Keys) {
    let options = EmbeddedOptions::new(folder.path().join("store.redb"));
    let store = EmbeddedStore::open(options).await.expect("it is closed");
    (store, Keys::new(&ClusterUid(cluster.to_owned())))
}

async fn cluster(objects: &mut Objects) -> String {
    let version = objects
        .version(cellblock_proto::v1::VersionRequest {})
        .await;
    version.expect("it answers").into_inner().cluster
}

/// How many objects are written at once: so many as one transaction of the controller's may hold.
const TOGETHER: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_resumes_after_each_event_of_a_batch_also_over_a_restart() {
    let mut world = World::start().await;
    let cluster = cluster(&mut world.objects().await).await;
    let names: Vec<String> = (0..TOGETHER).map(|n| format!("j{n:02}")).collect();
    let written = std::cell::Cell::new(0);
    world = world
        .between(async |folder| {
            let (store, keys) = store(folder, &cluster).await;
            let mut transaction = Transaction::new();
            for name in &names {
                let mut document = jail(name, "web");
                document["metadata"]["uid"] = format!("uid-{name}").into();
                let key = keys.object(Kind::Jail, name);
                transaction = transaction.put(key.as_str(), document.to_string());
            }
            let before = store.current_revision().await.expect("a revision");
            let committed = store.commit(transaction).await.expect("committed");
            assert_eq!(committed.revision, before.next());
            written.set(committed.revision.0);
        })
        .await;
    // Nobody has read anything of it before the controller was there that tells it.
    for round in 0..2 {
        let mut wires = Wires::to(world, "Jail").await;
        for wire in BOTH {
            for read in 0..TOGETHER {
                // The client has the revision of the batch from the last of `read` events, or from the object before it.
                let after = if read == 0 {
                    written.get() - 1
                } else {
                    written.get()
                };
                let told = wires
                    .watch(wire, after, "j59")
                    .await
                    .expect("it can be resumed");
                let told: Vec<&str> = told.iter().map(|(_, name, _)| name.as_str()).collect();
                for name in &names[read..] {
                    assert!(
                        told.contains(&name.as_str()),
                        "{wire:?}, round {round}, after {read}: {name} is lost"
                    );
                }
            }
        }
        world = wires.world.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past_that_the_store_has_forgotten_is_gone_over_both_wires() {
    let world = World::start().await;
    let mut wires = Wires::to(world, "Jail").await;
    let cluster = cluster(&mut wires.objects).await;
    let first = wires
        .create(Wire::Rest, &jail("a", "web"))
        .await
        .expect("created");
    wires
        .create(Wire::Rest, &jail("b", "web"))
        .await
        .expect("created");
    let world = wires
        .world
        .between(async |folder| {
            let (store, _) = store(folder, &cluster).await;
            let newest = store.current_revision().await.expect("a revision");
            store.compact(newest).await.expect("compacted");
        })
        .await;
    let mut wires = Wires::to(world, "Jail").await;
    for wire in BOTH {
        let gone = wires.watch(wire, revision(&first), "b").await;
        assert_eq!(gone, Err(refusal("Expired", &[])), "{wire:?}");
        // And the relist is clean: a watch goes on from its revision.
        let listed = wires.list(wire, "", 0, "").await.expect("a list");
        assert!(listed.objects.len() >= 2);
        let last = format!("after-{}", twin(wire));
        wires
            .create(wire, &jail(&last, "web"))
            .await
            .expect("created");
        let told = wires
            .watch(wire, listed.revision, &last)
            .await
            .expect("events");
        assert!(
            told.iter()
                .any(|(what, name, _)| what == "ADDED" && *name == last),
            "{told:?}"
        );
    }
}
