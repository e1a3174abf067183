//! Clients that open a watch and do not read it, over sockets.

mod common;

use std::time::Duration;

use cellblock_controller::Config;
use cellblock_proto::v1;
use common::http::{JSON, MERGE, send};
use common::{DEADLINE, World};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tonic::Code;

const PATIENCE: Duration = Duration::from_millis(200);
const IMAGES: &str = "/apis/cellblock.dev/v1alpha1/images";

/// How many large changes there are: more than sockets, windows and channels hold.
const CHANGES: usize = 80;

async fn world() -> World {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = Config {
        watch_patience: PATIENCE,
        ..Config::embedded(folder.path().join("store.redb"))
    };
    let controller = common::start(config).await;
    let world = World { controller, folder };
    let image = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Image", "metadata": {"name": "base"},
        "spec": {"release": {"tarball": "/dist/base.txz", "sha256": "0".repeat(64)}},
    });
    let created = send(&world, "POST", IMAGES, JSON, &image).await;
    assert_eq!(created.code, 201, "{}", created.body);
    world
}

async fn change(world: &World) {
    for change in 0..CHANGES {
        let filler = format!("{change}{}", "x".repeat(200 << 10));
        let patch = json!({"metadata": {"annotations": {"example.org/filler": filler}}});
        let patched = send(world, "PATCH", &format!("{IMAGES}/base"), MERGE, &patch).await;
        assert_eq!(patched.code, 200, "{}", patched.body);
    }
    tokio::time::sleep(5 * PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_that_never_reads_is_cut_off() {
    let world = world().await;
    let request = v1::WatchRequest {
        kind: "Image".to_owned(),
        ..v1::WatchRequest::default()
    };
    let watch = world.objects().await.watch(request).await;
    let mut watch = watch.expect("it opens").into_inner();
    change(&world).await;
    let mut events = 0;
    let ended = loop {
        let next = tokio::time::timeout(DEADLINE, watch.message()).await;
        match next.expect("it ends") {
            Ok(Some(_)) => events += 1,
            Ok(None) => panic!("it ends with a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::ResourceExhausted, "{ended}");
    assert!(events < CHANGES, "{events}");
}

/// Opens a watch over a connection with little room, and reads nothing.
async fn watching(world: &World) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a small one");
    let connected = socket.connect(world.controller.address()).await;
    let mut stream = connected.expect("it listens");
    let request = format!("GET {IMAGES}?watch=true HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it is sent");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_client_that_never_reads_is_cut_off_and_its_connection_closed() {
    let world = world().await;
    let mut stream = watching(&world).await;
    change(&world).await;
    // It has not read, so that an end in order could not come: whoever writes learns that there is nobody any more.
    let closed = async {
        while stream.write_all(b" ").await.is_ok() {
            tokio::time::sleep(PATIENCE).await;
        }
    };
    tokio::time::timeout(DEADLINE, closed)
        .await
        .expect("it is closed");
    let mut said = Vec::new();
    let mut some = [0; 1 << 16];
    while let Ok(length @ 1..) = stream.read(&mut some).await {
        said.extend_from_slice(&some[..length]);
    }
    let events = said
        .split(|octet| *octet == b'\n')
        .filter(|line| line.starts_with(b"{\"type\""));
    assert!(events.count() < CHANGES);
}

/// How many bytes this process has in memory.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("proc");
    let pages = status.split(' ').nth(1).expect("a number");
    pages.parse::<usize>().expect("a number") * 4096
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn watches_that_nobody_reads_share_what_they_wait_for() {
    const OBJECTS: usize = 40;
    const WATCHES: usize = 40;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let controller = common::start(Config::embedded(folder.path().join("store.redb"))).await;
    let world = World { controller, folder };
    for number in 0..OBJECTS {
        let image = json!({
            "apiVersion": "cellblock.dev/v1alpha1", "kind": "Image",
            "metadata": {"name": format!("i{number}"), "annotations": {"a/b": "x".repeat(200 << 10)}},
            "spec": {"release": {"tarball": "/dist/base.txz", "sha256": "0".repeat(64)}},
        });
        let created = send(&world, "POST", IMAGES, JSON, &image).await;
        assert_eq!(created.code, 201, "{}", created.body);
    }
    let before = resident();
    let mut open = Vec::new();
    for _ in 0..WATCHES {
        let mut stream = watching(&world).await;
        // It has begun.
        let mut some = [0; 1 << 10];
        let read = tokio::time::timeout(DEADLINE, stream.read_exact(&mut some)).await;
        read.expect("in time").expect("it reads");
        open.push(stream);
    }
    let grown = resident().saturating_sub(before) >> 20;
    // A copy for each would be 320 MiB. What hyper has taken to write is copied, half a mebibyte for each.
    assert!(grown < 120, "{grown} MiB");
}
