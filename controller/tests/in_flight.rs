//! More requests at once than are answered: those beyond are turned away over either wire, and come again.

mod common;

use cellblock_proto::v1;
use common::http::{JSON, MERGE, get, send};
use common::{DEADLINE, World};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

const HOSTS: &str = "/apis/cellblock.dev/v1alpha1/hosts";

/// How many writes there are at once (kube-apiserver's `--max-mutating-requests-inflight`).
const WRITES_MAX: usize = 200;

/// A write that has begun: its body is not whole.
async fn begun(world: &World) -> TcpStream {
    begun_at(world, HOSTS).await
}

async fn begun_at(world: &World, path: &str) -> TcpStream {
    let address = world.controller.address();
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {JSON}\r\nContent-Length: 2\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_beyond_their_number_are_turned_away_over_both_wires_and_reads_go_on() {
    let world = World::start().await;
    let mut objects = world.objects().await;
    let mut under_way = Vec::new();
    for _ in 0..WRITES_MAX {
        under_way.push(begun(&world).await);
    }
    let label = json!({"metadata": {"labels": {"a": "1"}}});
    let path = format!("{HOSTS}/none");
    let until = async |wanted: u16| {
        let asking = async {
            loop {
                let answer = send(&world, "PATCH", &path, MERGE, &label).await;
                if answer.code == wanted {
                    return answer;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let answer = tokio::time::timeout(DEADLINE, asking).await;
        answer.expect("it comes to be so")
    };
    let turned_away = until(429).await;
    assert_eq!(turned_away.refusal().0, "TooManyRequests");
    let head = turned_away.head.to_lowercase();
    assert!(head.contains("retry-after: 1"), "{head}");
    let delete = v1::DeleteRequest {
        kind: "Host".to_owned(),
        name: "none".to_owned(),
        ..v1::DeleteRequest::default()
    };
    common::assert_code(
        objects.delete(delete.clone()).await,
        Code::ResourceExhausted,
    );
    // Reads have places of their own, and neither watches nor probes need any.
    for path in [
        HOSTS.to_owned(),
        format!("{HOSTS}?watch=true&timeoutSeconds=1"),
        "/readyz".to_owned(),
        "/apis".to_owned(),
    ] {
        let answer = get(&world, &path).await;
        assert_eq!(answer.code, 200, "{path}: {}", answer.body);
    }
    common::assert_code(
        common::get(&mut objects, "Host", "none").await,
        Code::NotFound,
    );
    // One is whole, and so a place is free.
    let mut first = under_way.pop().expect("one");
    first.write_all(b"}").await.expect("it reads");
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    until(404).await;
    common::assert_code(objects.delete(delete).await, Code::NotFound);
    // Who goes away leaves its place.
    drop(under_way);
    until(404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_that_are_never_whole_turn_no_write_away() {
    let world = World::start().await;
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let mut under_way = Vec::new();
    for _ in 0..WRITES_MAX {
        under_way.push(begun_at(&world, reviews).await);
    }
    // Long enough for all of them to have been read.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let label = json!({"metadata": {"labels": {"a": "1"}}});
    let answer = send(&world, "PATCH", &format!("{HOSTS}/none"), MERGE, &label).await;
    assert_eq!(answer.code, 404, "{}", answer.body);
}
