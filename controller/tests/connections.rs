//! Connections over which nobody asks anything who may.

mod common;

use std::time::{Duration, Instant};

use common::http::{ask_over, get};
use common::{DEADLINE, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What begins a connection of HTTP/2, and empty settings (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// How long it takes until a connection is closed, whatever is told before.
async fn closed(mut stream: TcpStream) -> Duration {
    let began = Instant::now();
    let mut some = [0; 4096];
    let reading = async { while let Ok(1..) = stream.read(&mut some).await {} };
    tokio::time::timeout(DEADLINE, reading)
        .await
        .expect("it is closed");
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_nothing_is_let_go_and_who_has_asked_stays() {
    let world = World::start().await;
    let connect = async || {
        let stream = TcpStream::connect(world.controller.address()).await;
        stream.expect("it listens")
    };
    let silent = connect().await;
    let mut slow = connect().await;
    slow.write_all(b"GET /version HT").await.expect("sent");
    let mut second = connect().await;
    second.write_all(PREFACE).await.expect("sent");
    // A web page is nobody, however often it asks.
    let mut page = connect().await;
    let asked = b"GET /version HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    page.write_all(asked).await.expect("sent");
    let mut known = connect().await;
    let request = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n";
    known.write_all(request).await.expect("sent");
    let mut some = [0; 4096];
    let length = known.read(&mut some).await.expect("an answer");
    assert!(some[..length].starts_with(b"HTTP/1.1 200"));
    let all = tokio::join!(closed(silent), closed(slow), closed(second), closed(page));
    for lasted in [all.0, all.1, all.2, all.3] {
        assert!(lasted > Duration::from_secs(5), "{lasted:?}");
        assert!(lasted < Duration::from_secs(25), "{lasted:?}");
    }
    let host = world.controller.address().to_string();
    let again = ask_over(known, &host, "GET", "/version", &[], "").await;
    assert_eq!(again.code, 200);
    assert_eq!(get(&world, "/version").await.code, 200);
}
