//! The controller over etcd: the whole way once, stores that are away, two controllers on one store, and what cannot start.

mod common;

use std::collections::BTreeSet;

use cellblock_controller::{Config, Controller, StartError};
use cellblock_proto::v1;
use cellblock_store::testing::EtcdServer;
use cellblock_store::{EtcdOptions, StoreConfig};
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
async fn while_the_store_is_away_reads_go_on_and_writes_say_why_not() {
    let mut server = etcd().await;
    let controller = start(over(&server)).await;
    let mut client = objects(&controller).await;
    applied(&mut client, &[host("a")]).await;
    server.kill();
    get(&mut client, "Host", "a")
        .await
        .expect("reads come from the index");
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
