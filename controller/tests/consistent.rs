//! Two controllers on one etcd: what one has acknowledged the other reads and decides on, over both wires, whatever else is kept in that etcd;
//! and what is said while it does not answer.

mod common;

use std::time::{Duration, Instant};

use cellblock_controller::{Config, Controller};
use cellblock_proto::v1;
use cellblock_store::testing::EtcdServer;
use cellblock_store::{EtcdOptions, EtcdStore, Store as _, StoreConfig, Transaction};
use common::http::{APPLY, Answer, JSON, ask_over};
use common::wires::BOTH;
use common::wires::Wire;
use common::{DEADLINE, Objects, applied, apply, host, json_of, network, objects, start};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// How often what only a race shows is tried.
const ROUNDS: usize = 60;

const HOSTS: &str = "/apis/cellblock.dev/v1alpha1/hosts";

struct One {
    controller: Controller,
    objects: Objects,
}

impl One {
    async fn on(server: &EtcdServer) -> Self {
        let controller = start(Config {
            store: StoreConfig::Etcd(EtcdOptions::new([server.client_url()])),
            ..Config::embedded("/unused")
        })
        .await;
        let objects = objects(&controller).await;
        Self {
            controller,
            objects,
        }
    }

    async fn ask(&self, method: &str, path: &str, media: &str, body: &str) -> Answer {
        let address = self.controller.address();
        let stream = TcpStream::connect(address).await.expect("it listens");
        let media = format!("Content-Type: {media}");
        ask_over(stream, &address.to_string(), method, path, &[&media], body).await
    }

    async fn rest(&self, path: &str) -> Answer {
        self.ask("GET", path, JSON, "").await
    }

    /// Whether there is such a host, and whether it is in the list of all.
    async fn has(&mut self, wire: Wire, name: &str) -> (bool, bool) {
        match wire {
            Wire::Rest => {
                let one = self.rest(&format!("{HOSTS}/{name}")).await;
                assert!([200, 404].contains(&one.code), "{}", one.body);
                let list = self.rest(HOSTS).await.json();
                let items = list["items"].as_array().expect("a list");
                let listed = items.iter().any(|item| item["metadata"]["name"] == name);
                (one.code == 200, listed)
            }
            Wire::Grpc => {
                let got = common::get(&mut self.objects, "Host", name).await;
                if let Err(status) = &got {
                    assert_eq!(status.code(), Code::NotFound, "{status:?}");
                }
                let request = v1::ListRequest {
                    kind: "Host".to_owned(),
                    ..v1::ListRequest::default()
                };
                let list = self.objects.list(request).await.expect("a list");
                let list = list.into_inner().objects;
                (got.is_ok(), list.iter().any(|one| one.name == name))
            }
        }
    }

    async fn create(&mut self, wire: Wire, document: &Value) {
        match wire {
            Wire::Rest => {
                let answer = self.ask("POST", HOSTS, JSON, &document.to_string()).await;
                assert_eq!(answer.code, 201, "{}", answer.body);
            }
            Wire::Grpc => {
                let request = v1::CreateRequest {
                    object: Some(common::object(document)),
                    ..v1::CreateRequest::default()
                };
                self.objects.create(request).await.expect("it is made");
            }
        }
    }

    async fn delete(&mut self, wire: Wire, name: &str) {
        match wire {
            Wire::Rest => {
                let path = format!("{HOSTS}/{name}");
                let answer = self.ask("DELETE", &path, JSON, "").await;
                assert_eq!(answer.code, 200, "{}", answer.body);
            }
            Wire::Grpc => {
                let request = v1::DeleteRequest {
                    kind: "Host".to_owned(),
                    name: name.to_owned(),
                    ..v1::DeleteRequest::default()
                };
                let answer = self.objects.delete(request).await.expect("it goes");
                assert!(answer.into_inner().gone);
            }
        }
    }

    async fn apply(&mut self, wire: Wire, document: &Value) {
        match wire {
            Wire::Rest => {
                let name = document["metadata"]["name"].as_str().expect("a name");
                let path = format!("{HOSTS}/{name}?fieldManager=jailctl");
                let body = document.to_string();
                let answer = self.ask("PATCH", &path, APPLY, &body).await;
                assert!([200, 201].contains(&answer.code), "{}", answer.body);
            }
            Wire::Grpc => applied(&mut self.objects, std::slice::from_ref(document)).await,
        }
    }
}

async fn etcd() -> EtcdServer {
    EtcdServer::start()
        .await
        .expect("etcd runs (package etcd-server on Debian, coreos-etcd on FreeBSD)")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_controller_has_acknowledged_the_other_reads_and_decides_on() {
    let server = etcd().await;
    let (mut one, mut other) = (One::on(&server).await, One::on(&server).await);
    for wire in BOTH {
        for round in 0..ROUNDS {
            let name = format!("h{round}");
            one.create(wire, &host(&name)).await;
            assert_eq!(
                other.has(wire, &name).await,
                (true, true),
                "{wire:?} {name}"
            );
            one.apply(wire, &host(&name)).await;
            other.delete(wire, &name).await;
            assert_eq!(
                one.has(wire, &name).await,
                (false, false),
                "{wire:?} {name}"
            );
            one.create(wire, &host(&name)).await;
            other.delete(wire, &name).await;
            // Nothing that there was says that there is nothing to do.
            one.apply(wire, &host(&name)).await;
            assert_eq!(
                other.has(wire, &name).await,
                (true, true),
                "{wire:?} {name}"
            );
            other.delete(wire, &name).await;
            // Nor that there is one of that name already.
            one.create(wire, &host(&name)).await;
            other.delete(wire, &name).await;
        }
    }
}

/// Of what others keep in the same etcd no watch of ours tells, and its revision is theirs as well.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_write_holds_up_no_read() {
    let server = etcd().await;
    let mut one = One::on(&server).await;
    applied(&mut one.objects, &[host("a")]).await;
    let store = EtcdStore::connect(EtcdOptions::new([server.client_url()]));
    let store = store.await.expect("it serves");
    for round in 0..5 {
        let other = Transaction::new().put("/elsewhere", round.to_string());
        let other = store.commit(other).await.expect("committed");
        // Another controller may have handed out this revision.
        let path = format!("{HOSTS}/a?resourceVersion={}", other.revision.0);
        assert_eq!(one.rest(&path).await.code, 200);
        for wire in BOTH {
            assert_eq!(one.has(wire, "a").await, (true, true), "{wire:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_waited_for_and_one_that_has_not_happened_is_said_to_be_too_large() {
    let server = etcd().await;
    let (mut one, mut other) = (One::on(&server).await, One::on(&server).await);
    for round in 0..ROUNDS {
        let name = format!("h{round}");
        let made = one.ask("POST", HOSTS, JSON, &host(&name).to_string()).await;
        let revision = made.json()["metadata"]["resourceVersion"].clone();
        let revision: u64 = revision
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("one");
        let path = format!("{HOSTS}/{name}?resourceVersion={revision}");
        assert_eq!(other.rest(&path).await.code, 200);
        let request = v1::GetRequest {
            kind: "Host".to_owned(),
            name,
            not_older_than: Some(revision),
        };
        other.objects.get(request).await.expect("it is there");
    }
    // kubernetes/apiserver, `pkg/storage/errors.go`, `NewTooLargeResourceVersionError`.
    for path in [format!("{HOSTS}/h1"), HOSTS.to_owned()] {
        let answer = one.rest(&format!("{path}?resourceVersion=1000000")).await;
        let status = answer.json();
        let cause = &status["details"]["causes"][0]["reason"];
        assert_eq!(
            (answer.code, cause),
            (504, &json!("ResourceVersionTooLarge"))
        );
    }
    let request = v1::GetRequest {
        kind: "Host".to_owned(),
        name: "h1".to_owned(),
        not_older_than: Some(1_000_000),
    };
    common::assert_code(one.objects.get(request).await, Code::OutOfRange);
    let request = v1::ListRequest {
        kind: "Host".to_owned(),
        not_older_than: Some(1_000_000),
        ..v1::ListRequest::default()
    };
    common::assert_code(one.objects.list(request).await, Code::OutOfRange);
}

/// A page goes on from where another controller has ended the one before.
#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_at_another_controller() {
    let server = etcd().await;
    let (mut one, other) = (One::on(&server).await, One::on(&server).await);
    applied(&mut one.objects, &[host("a"), host("b")]).await;
    for round in 0..ROUNDS {
        let name = format!("c{round:02}");
        applied(&mut one.objects, &[host(&name)]).await;
        let first = one.rest(&format!("{HOSTS}?limit=2")).await.json();
        let next = first["metadata"]["continue"]
            .as_str()
            .expect("there are more");
        let rest = other.rest(&format!("{HOSTS}?continue={next}")).await.json();
        let items = rest["items"].as_array().expect("a list");
        let last = items.last().expect("one at least");
        assert_eq!(last["metadata"]["name"], json!(name), "{rest}");
        assert_eq!(
            rest["metadata"]["resourceVersion"],
            first["metadata"]["resourceVersion"]
        );
    }
}

/// What has to be known of the store is refused within the time of a request, and says why; what need not be goes on.
#[tokio::test(flavor = "multi_thread")]
async fn while_etcd_is_away_what_may_be_old_is_read_and_the_rest_says_why_not() {
    let mut server = etcd().await;
    let mut one = One::on(&server).await;
    applied(&mut one.objects, &[host("a"), network("lan")]).await;
    let mut watch = {
        let request = v1::WatchRequest {
            kind: "Host".to_owned(),
            ..v1::WatchRequest::default()
        };
        let watch = one.objects.watch(request).await;
        watch.expect("a watch").into_inner()
    };
    server.kill();
    let away = |answer: &Answer| {
        let status = answer.json();
        assert_eq!(
            (answer.code, &status["reason"]),
            (503, &json!("ServiceUnavailable")),
            "{status}"
        );
        assert!(answer.body.contains("does not answer"), "{status}");
        assert!(
            answer.head.to_lowercase().contains("retry-after"),
            "{}",
            answer.head
        );
    };
    let began = Instant::now();
    let single = format!("{HOSTS}/a");
    let status = format!("{HOSTS}/a/status");
    let apply_of = format!("{HOSTS}/a?fieldManager=jailctl");
    let dry = format!("{HOSTS}?dryRun=All");
    let (again, new) = (host("a").to_string(), host("b").to_string());
    // All of them together, so that one does not wait for the time of the other.
    let (get, below, list, events, given, unchanged, twice, dry) = tokio::join!(
        one.rest(&single),
        one.rest(&status),
        one.rest(HOSTS),
        one.rest("/api/v1/events"),
        one.rest("/apis/cellblock.dev/v1alpha1/allocations"),
        one.ask("PATCH", &apply_of, APPLY, &again),
        one.ask("POST", HOSTS, JSON, &again),
        one.ask("POST", &dry, JSON, &new),
    );
    for answer in [
        &get, &below, &list, &events, &given, &unchanged, &twice, &dry,
    ] {
        away(answer);
    }
    assert!(began.elapsed() < DEADLINE);
    let refused = common::get(&mut one.objects, "Host", "a").await;
    common::assert_code(refused, Code::Unavailable);
    let request = v1::ApplyRequest {
        objects: vec![common::object(&host("a"))],
        field_manager: "jailctl".to_owned(),
        ..v1::ApplyRequest::default()
    };
    common::assert_code(one.objects.apply(request).await, Code::Unavailable);
    // As it was known last.
    for path in [&single, &status, HOSTS, "/api/v1/events"] {
        let answer = one.rest(&format!("{path}?resourceVersion=0")).await;
        assert_eq!(answer.code, 200, "{path}: {}", answer.body);
    }
    let request = v1::GetRequest {
        kind: "Host".to_owned(),
        name: "a".to_owned(),
        not_older_than: Some(0),
    };
    let known = one.objects.get(request).await.expect("it is known");
    let known = json_of(&known.into_inner());
    let revision = known["metadata"]["resourceVersion"].clone();
    let path = format!(
        "{single}?resourceVersion={}",
        revision.as_str().expect("one")
    );
    assert_eq!(one.rest(&path).await.code, 200, "what it has already");
    // A balancer that asks either way looks for another controller.
    let is_ready = async |one: &One| {
        let ready = one.rest("/readyz").await.code == 200;
        let channel = common::channel(&one.controller).await;
        let mut health = HealthClient::new(channel);
        let answer = health.check(HealthCheckRequest::default()).await;
        let status = answer.expect("health always answers").into_inner().status();
        (ready, status == ServingStatus::Serving)
    };
    let both = async |one: &One, wanted: bool| {
        let asking = async {
            while is_ready(one).await != (wanted, wanted) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let asked = tokio::time::timeout(DEADLINE, asking).await;
        asked.expect("both say the same");
    };
    both(&one, false).await;
    // A watch that is open goes on, and one may be opened.
    let path = format!("{HOSTS}?watch=1&timeoutSeconds=1");
    let told = one.rest(&path).await;
    assert!(
        told.code == 200 && told.body.contains("ADDED"),
        "{}",
        told.body
    );
    server.restart().await.expect("etcd comes back");
    let back = async {
        while one.rest(&single).await.code != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let back = tokio::time::timeout(DEADLINE, back).await;
    back.expect("it is read again");
    both(&one, true).await;
    assert_eq!(apply(&mut one.objects, &[host("b")]).await.len(), 1);
    let told = async {
        while let Ok(Some(event)) = watch.message().await {
            if event.object.is_some_and(|object| object.name == "b") {
                return;
            }
        }
        panic!("the watch has ended");
    };
    let told = tokio::time::timeout(DEADLINE, told).await;
    told.expect("the watch tells what happens");
}
