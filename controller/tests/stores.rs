//! The controller over etcd: the whole way once, stores that are away, emptied or set back, two controllers on one store, and what cannot start.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use cellblock_controller::{Config, Controller, StartError};
use cellblock_proto::v1;
use cellblock_proto::v1::agents_client::AgentsClient;
use cellblock_store::testing::EtcdServer;
use cellblock_store::{EtcdOptions, EtcdStore, Key, Store as _, StoreConfig};
use common::{
    DEADLINE, applied, apply, assert_code, channel, connect, get, host, jail, json_of, network,
    objects, start,
};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

fn over(server: &EtcdServer) -> Config {
    Config {
        store: StoreConfig::Etcd(EtcdOptions::new([server.client_url()])),
        ..Config::embedded("/unused")
    }
}

async fn etcd() -> EtcdServer {
    EtcdServer::start()
        .await
        .expect("etcd runs (package etcd-server on Debian, coreos-etcd on FreeBSD)")
}

async fn health(controller: &Controller) -> ServingStatus {
    let mut health = HealthClient::new(channel(controller).await);
    let answer = health
        .check(HealthCheckRequest::default())
        .await
        .expect("health always answers");
    answer.into_inner().status()
}

/// Asks until the answer is as wanted.
async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            pause.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, asking)
        .await
        .expect("it comes to be as wanted")
}

#[tokio::test]
async fn apply_read_and_restart_over_etcd() {
    let server = etcd().await;
    let controller = start(over(&server)).await;
    assert_eq!(health(&controller).await, ServingStatus::Serving);
    let mut client = objects(&controller).await;
    let agents = connect(&controller, &["a"]).await;
    applied(
        &mut client,
        &[host("a"), network("lan"), jail("www", &["lan"])],
    )
    .await;
    let www = get(&mut client, "Jail", "www")
        .await
        .expect("read your writes");
    assert_eq!(json_of(&www)["status"]["binding"]["host"], "a");
    let version = client
        .version(v1::VersionRequest {})
        .await
        .expect("a version")
        .into_inner();
    assert_eq!(version.store, "etcd");
    drop((client, agents));
    controller.stop().await;
    let controller = start(over(&server)).await;
    let mut client = objects(&controller).await;
    assert_eq!(
        get(&mut client, "Jail", "www").await.expect("still there"),
        www
    );
    assert_eq!(
        client
            .version(v1::VersionRequest {})
            .await
            .expect("a version")
            .into_inner(),
        version
    );
}

#[tokio::test]
async fn two_controllers_on_one_store_give_no_address_twice() {
    let server = etcd().await;
    let (one, other) = (start(over(&server)).await, start(over(&server)).await);
    let mut client = objects(&one).await;
    let _agents = connect(&one, &["a", "b"]).await;
    applied(&mut client, &[host("a"), host("b"), network("lan")]).await;
    let tasks = (0..40).map(|number| {
        let controller = if number % 2 == 0 { &one } else { &other };
        let client = objects(controller);
        async move {
            let mut client = client.await;
            applied(&mut client, &[jail(&format!("j{number}"), &["lan"])]).await;
        }
    });
    futures::future::join_all(tasks).await;
    let jails = until(async || {
        let request = v1::ListRequest {
            kind: "Jail".to_owned(),
            ..v1::ListRequest::default()
        };
        let jails = client
            .list(request)
            .await
            .expect("a list")
            .into_inner()
            .objects;
        (jails.len() == 40).then_some(jails)
    })
    .await;
    let mut taken = BTreeSet::new();
    for jail in &jails {
        let attachment = json_of(jail)["status"]["binding"]["attachments"][0].clone();
        assert!(
            taken.insert(attachment["addresses"].to_string()),
            "{attachment}"
        );
        assert!(taken.insert(attachment["mac"].to_string()), "{attachment}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_at_the_start_is_waited_for() {
    let mut server = etcd().await;
    server.kill();
    let controller = Controller::start(over(&server))
        .await
        .expect("it starts all the same");
    assert_eq!(health(&controller).await, ServingStatus::NotServing);
    let mut client = objects(&controller).await;
    // Until the first attempt has failed it only says that it is starting.
    until(async || {
        let status = assert_code(get(&mut client, "Host", "a").await, Code::Unavailable);
        status.message().contains("does not answer").then_some(())
    })
    .await;
    server.restart().await.expect("etcd comes back");
    tokio::time::timeout(DEADLINE, controller.ready())
        .await
        .expect("it becomes ready");
    applied(&mut client, &[host("a")]).await;
    until(async || (health(&controller).await == ServingStatus::Serving).then_some(())).await;
}

#[tokio::test]
async fn while_the_store_is_away_what_may_be_old_is_read_and_writes_say_why_not() {
    let mut server = etcd().await;
    let controller = start(over(&server)).await;
    let mut client = objects(&controller).await;
    applied(&mut client, &[host("a")]).await;
    server.kill();
    let request = v1::GetRequest {
        kind: "Host".to_owned(),
        name: "a".to_owned(),
        not_older_than: Some(0),
    };
    client
        .get(request)
        .await
        .expect("what may be old comes from the index");
    let request = v1::CreateRequest {
        object: Some(common::object(&host("b"))),
        ..v1::CreateRequest::default()
    };
    let status = assert_code(client.create(request).await, Code::Unavailable);
    assert!(status.message().contains("does not answer"), "{status:?}");
    server.restart().await.expect("etcd comes back");
    until(async || {
        let request = v1::ApplyRequest {
            objects: vec![common::object(&host("b"))],
            field_manager: "jailctl".to_owned(),
            ..v1::ApplyRequest::default()
        };
        client.apply(request).await.ok()
    })
    .await;
    assert_eq!(apply(&mut client, &[host("b")]).await.len(), 1);
}

/// Waits until a controller says that it is not ready, for this reason, over both wires.
async fn refuses(controller: &Controller, client: &mut common::Objects, why: &str) {
    until(async || {
        let status = get(client, "Host", "a").await.err()?;
        (status.code() == Code::Unavailable && status.message().contains(why)).then_some(())
    })
    .await;
    until(async || (health(controller).await == ServingStatus::NotServing).then_some(())).await;
}

/// The session of an agent, as it is heard to its end.
async fn session(controller: &Controller, host: &str) -> tokio::task::JoinHandle<Vec<v1::View>> {
    let mut agents = AgentsClient::new(channel(controller).await);
    let hello = v1::agent_message::Message::Hello(v1::Hello {
        host: host.to_owned(),
        key_fingerprint: format!("key of {host}"),
        ..v1::Hello::default()
    });
    let (said, receiver) = tokio::sync::mpsc::channel(1);
    let hello = v1::AgentMessage {
        message: Some(hello),
    };
    said.send(hello).await.expect("there is room");
    let receiver = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut heard = agents
        .session(receiver)
        .await
        .expect("a stream")
        .into_inner();
    tokio::spawn(async move {
        let mut views = Vec::new();
        while let Ok(Some(message)) = heard.message().await {
            if let Some(v1::controller_message::Message::View(view)) = message.message {
                views.push(view);
            }
        }
        drop(said);
        views
    })
}

fn exchange(server: &mut EtcdServer, kept: &Path, other: Option<&Path>) {
    server.kill();
    std::fs::rename(server.data(), kept).expect("the data is moved");
    if let Some(other) = other {
        std::fs::rename(other, server.data()).expect("the data is moved");
    }
}

/// Otherwise agents would be told that they have no jails, and new controllers would make another cluster beside.
#[tokio::test]
async fn an_etcd_that_was_emptied_is_neither_read_nor_written_until_it_is_back() {
    let mut server = etcd().await;
    let (one, other) = (start(over(&server)).await, start(over(&server)).await);
    let (mut client, mut second) = (objects(&one).await, objects(&other).await);
    let agent = session(&one, "a").await;
    common::wait_for(&mut client, "Host", "a", |host| {
        common::condition(host, "Heard") == Some("True")
    })
    .await;
    applied(&mut client, &[network("lan"), jail("www", &["lan"])]).await;
    let www = get(&mut client, "Jail", "www").await.expect("it is there");
    let watch = v1::WatchRequest {
        kind: "Jail".to_owned(),
        ..v1::WatchRequest::default()
    };
    let mut watch = client.watch(watch).await.expect("a watch").into_inner();
    let folder = tempfile::tempdir().expect("a folder");
    let (full, empty) = (folder.path().join("full"), folder.path().join("empty"));
    exchange(&mut server, &full, None);
    server.restart().await.expect("etcd comes back, empty");
    for (controller, client) in [(&one, &mut client), (&other, &mut second)] {
        refuses(controller, client, "is not in it any more").await;
        let request = v1::ApplyRequest {
            objects: vec![common::object(&host("b"))],
            field_manager: "jailctl".to_owned(),
            ..v1::ApplyRequest::default()
        };
        assert_code(client.apply(request).await, Code::Unavailable);
    }
    let views = tokio::time::timeout(DEADLINE, agent).await;
    let views = views.expect("its session ends").expect("it is heard");
    assert!(views.iter().any(|view| !view.jails.is_empty()));
    assert!(views.iter().all(|view| view.removed_jails.is_empty()));
    assert!(views.last().is_some_and(|view| view.base.is_some()));
    let told = async {
        while let Ok(Some(event)) = watch.message().await {
            assert_ne!(event.r#type(), v1::watch_event::Type::Deleted, "{event:?}");
        }
    };
    tokio::time::timeout(DEADLINE, told)
        .await
        .expect("the watch ends");
    let store = EtcdStore::connect(EtcdOptions::new([server.client_url()]));
    let store = store.await.expect("it serves");
    let all = store.count(&Key::from("/"), None).await;
    assert_eq!(all.expect("it answers"), 0, "nothing was written");
    exchange(&mut server, &empty, Some(&full));
    server.restart().await.expect("etcd comes back");
    for (controller, client) in [(&one, &mut client), (&other, &mut second)] {
        until(async || (health(controller).await == ServingStatus::Serving).then_some(())).await;
        let again = get(client, "Jail", "www").await.expect("it is there");
        assert_eq!(
            json_of(&again)["status"]["binding"],
            json_of(&www)["status"]["binding"]
        );
    }
}

#[tokio::test]
async fn an_etcd_that_was_set_back_is_gone_on_with_by_who_is_restarted_only() {
    let mut server = etcd().await;
    let controller = start(over(&server)).await;
    let mut client = objects(&controller).await;
    applied(&mut client, &[host("a")]).await;
    server.kill();
    let folder = tempfile::tempdir().expect("a folder");
    let (older, newer) = (folder.path().join("older"), folder.path().join("newer"));
    copy(&server.data(), &older);
    server.restart().await.expect("etcd comes back");
    until(async || {
        let request = v1::ApplyRequest {
            objects: vec![common::object(&network("lan"))],
            field_manager: "jailctl".to_owned(),
            ..v1::ApplyRequest::default()
        };
        client.apply(request).await.ok()
    })
    .await;
    exchange(&mut server, &newer, Some(&older));
    server
        .restart()
        .await
        .expect("etcd comes back, as it was before");
    refuses(&controller, &mut client, "restored from an older backup").await;
    controller.stop().await;
    let controller = start(over(&server)).await;
    let mut client = objects(&controller).await;
    get(&mut client, "Host", "a").await.expect("it is there");
    assert_code(get(&mut client, "Network", "lan").await, Code::NotFound);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("room for it");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("room for it");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_in_use_or_damaged_stops_the_start_with_the_reason() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.redb");
    let first = start(Config::embedded(&path)).await;
    let error = Controller::start(Config::embedded(&path))
        .await
        .err()
        .expect("it is in use");
    assert!(
        matches!(
            &error,
            StartError::Store(cellblock_store::Error::Locked { .. })
        ),
        "{error:?}"
    );
    first.stop().await;
    std::fs::write(&path, "this is no store, and long enough to be looked at")
        .expect("room for it");
    let error = Controller::start(Config::embedded(&path))
        .await
        .err()
        .expect("it is damaged");
    assert!(
        matches!(
            &error,
            StartError::Store(cellblock_store::Error::Damaged { .. })
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn beyond_loopback_without_certificates_is_refused() {
    let config = Config {
        listen: "0.0.0.0:0".parse().expect("an address"),
        ..Config::embedded("/unused")
    };
    let error = Controller::start(config).await.err().expect("refused");
    assert!(error.to_string().contains("certificates"), "{error}");
}

#[tokio::test]
async fn metrics_beyond_loopback_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = Config {
        metrics_listen: Some("0.0.0.0:0".parse().expect("an address")),
        ..Config::embedded(folder.path().join("store.redb"))
    };
    let error = Controller::start(config).await.err().expect("refused");
    assert!(error.to_string().contains("clear text"), "{error}");
}
