//! Requests that nobody in their right mind would send, each over both wires: refused in words, and nothing is written.
//!
//! Two more have their place elsewhere: a client that never reads its watch (`rest::watch`, `cache`), and one that opens 10,000
//! watches (`tls.rs`, where clients are told from each other).

mod common;

use common::World;
use common::http::{APPLY, JSON, JSON_PATCH, MERGE, ask, get, send};
use common::wires::{BOTH, Outcome, Patch, Refused, Wire, Wires};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

const JAILS: &str = "/apis/cellblock.dev/v1alpha1/jails";

fn jail(name: &str) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1",
        "kind": "Jail",
        "metadata": {"name": name},
        "spec": {"root": {"path": "/jails/www"}},
    })
}

async fn wires() -> Wires {
    Wires::to(World::start().await, "Jail").await
}

fn reason<T>(outcome: Outcome<T>) -> String {
    outcome
        .err()
        .map(|refused| refused.reason)
        .unwrap_or_default()
}

fn invalid<T>(field: &str) -> Outcome<T> {
    Err(Refused {
        reason: "Invalid".to_owned(),
        fields: vec![field.to_owned()],
    })
}

async fn nothing_is_there(wires: &mut Wires) {
    for wire in BOTH {
        let listed = wires.list(wire, "", 0, "").await.expect("a list");
        assert_eq!(listed.objects, Vec::<Value>::new(), "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_without_a_field_manager() {
    let mut wires = wires().await;
    for wire in BOTH {
        let refused = wires.apply(wire, &jail("www"), "", false).await;
        assert_eq!(refused, invalid("fieldManager"), "{wire:?}");
    }
    nothing_is_there(&mut wires).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_to_an_immutable_field() {
    let mut wires = wires().await;
    wires
        .create(Wire::Rest, &jail("www"))
        .await
        .expect("created");
    for wire in BOTH {
        // A uid is what a client believes of the object, as with kube-apiserver's preconditions; the other is a field that cannot change.
        for (patch, field, why) in [
            (
                json!({"spec": {"jailName": "other"}}),
                "spec.jailName",
                "Invalid",
            ),
            (
                json!({"metadata": {"uid": "another"}}),
                "metadata.uid",
                "Conflict",
            ),
        ] {
            let refused = wires.patch(wire, "www", Patch::Merge, &patch, false).await;
            let refused = refused.expect_err("refused");
            let named: &[&str] = if why == "Conflict" { &[] } else { &[field] };
            assert_eq!(refused.fields, named, "{wire:?}: {refused:?}");
            assert_eq!(refused.reason, why, "{wire:?}: {field}");
            let value = patch
                .pointer(&format!("/{}", field.replace('.', "/")))
                .cloned();
            let patch = json!([{"op": "add", "path": format!("/{}", field.replace('.', "/")), "value": value}]);
            let refused = wires.patch(wire, "www", Patch::Json, &patch, false).await;
            let refused = refused.expect_err("refused");
            assert_eq!(refused.fields, named, "{wire:?}");
            assert_eq!(refused.reason, why, "{wire:?}: {field}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_version_from_another_store() {
    let mut wires = wires().await;
    wires
        .create(Wire::Rest, &jail("www"))
        .await
        .expect("created");
    for version in ["1", "99999999", "from-elsewhere", "-1", "1e3"] {
        let mut document = jail("www");
        document["metadata"]["resourceVersion"] = version.into();
        document["metadata"]["labels"] = json!({"a": "b"});
        for wire in BOTH {
            let refused = wires.update(wire, &document, false).await;
            assert_eq!(reason(refused), "Conflict", "{wire:?}: {version}");
            let refused = wires.apply(wire, &document, "other", false).await;
            assert_eq!(reason(refused), "Conflict", "{wire:?}: {version}");
        }
    }
    for path in [
        "?resourceVersion=elsewhere",
        "?watch=1&resourceVersion=elsewhere",
    ] {
        let refused = get(&wires.world, &format!("{JAILS}{path}")).await.refusal();
        assert_eq!(
            refused,
            ("Invalid".to_owned(), vec!["resourceVersion".to_owned()])
        );
    }
}

/// Who names the uid would not make anew what was deleted under it.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_of_an_object_that_is_gone() {
    let mut wires = wires().await;
    let mut document = jail("www");
    document["metadata"]["uid"] = "6f5e".into();
    for wire in BOTH {
        let refused = wires.apply(wire, &document, "test", true).await;
        let refused = refused.expect_err("there is none");
        assert_eq!(refused.reason, "Conflict", "{wire:?}");
    }
    nothing_is_there(&mut wires).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selector_that_does_not_parse() {
    let mut wires = wires().await;
    wires
        .create(Wire::Rest, &jail("www"))
        .await
        .expect("created");
    for labels in ["a===b", "a in b", "=", "a,,b=(", "ä=b", "a=b c"] {
        for wire in BOTH {
            let refused = wires.list(wire, labels, 0, "").await;
            assert_eq!(reason(refused), "BadRequest", "{wire:?}: {labels}");
        }
    }
    for (method, query) in [
        ("GET", "labelSelector=a%3D%3D%3Db"),
        ("GET", "watch=1&labelSelector=a%3D%3D%3Db"),
        ("GET", "fieldSelector=metadata.name"),
        ("GET", "watch=1&fieldSelector=spec.root%3Da"),
        // Nothing is removed when it is not understood what.
        ("DELETE", "labelSelector=a%3D%3D%3Db"),
        ("DELETE", "fieldSelector=metadata.name%3D%3D%3Da"),
    ] {
        let answer = ask(&wires.world, method, &format!("{JAILS}?{query}"), &[], "").await;
        assert_eq!(
            (answer.code, answer.refusal().0.as_str()),
            (400, "BadRequest"),
            "{method} {query}"
        );
    }
    wires
        .get(Wire::Grpc, "www")
        .await
        .expect("it is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_and_a_list_from_the_future() {
    let mut wires = wires().await;
    for wire in BOTH {
        let refused = wires.watch(wire, 1 << 40, "nothing").await;
        assert_eq!(reason(refused), "Expired", "{wire:?}");
    }
    for matching in [
        "",
        "&resourceVersionMatch=NotOlderThan",
        "&resourceVersionMatch=Exact",
    ] {
        let path = format!("{JAILS}?resourceVersion=99999999{matching}");
        let answer = get(&wires.world, &path).await;
        assert_eq!(
            (answer.code, answer.refusal().0.as_str()),
            (504, "Timeout"),
            "{}",
            answer.body
        );
        // By this client-go sees that it has to list without one (apimachinery, `api/errors`, `IsTooLargeResourceVersion`).
        assert_eq!(
            answer.json()["details"]["causes"][0]["reason"],
            "ResourceVersionTooLarge"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_3_mb() {
    let mut wires = wires().await;
    for bytes in [2 << 20, 3 << 20] {
        let mut document = jail("www");
        document["metadata"]["annotations"] = json!({"example.org/words": "x".repeat(bytes)});
        for wire in BOTH {
            let refused = wires.create(wire, &document).await;
            assert_eq!(reason(refused), "TooLarge", "{wire:?}");
            let refused = wires.apply(wire, &document, "test", false).await;
            assert_eq!(reason(refused), "TooLarge", "{wire:?}");
        }
    }
    nothing_is_there(&mut wires).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_labels() {
    let mut wires = wires().await;
    let labels = (0..100_000).map(|n| (format!("l{n}"), json!("x")));
    let labels: serde_json::Map<_, _> = labels.collect();
    let mut document = jail("www");
    document["metadata"]["labels"] = labels.clone().into();
    for wire in BOTH {
        let refused = wires.create(wire, &document).await;
        assert_eq!(reason(refused), "TooLarge", "{wire:?}");
    }
    nothing_is_there(&mut wires).await;
    wires
        .create(Wire::Rest, &jail("www"))
        .await
        .expect("created");
    for wire in BOTH {
        let patch = json!({"metadata": {"labels": labels}});
        let refused = wires.patch(wire, "www", Patch::Merge, &patch, false).await;
        assert_eq!(reason(refused), "TooLarge", "{wire:?}");
    }
}

/// As Go's and Python's clients do it over HTTP/1.1: they write all, and read then. With an answer that comes before, the connection must
/// not be reset.
#[tokio::test(flavor = "multi_thread")]
async fn who_writes_before_he_reads_is_told_why_he_is_refused() {
    let wires = wires().await;
    let address = wires.world.controller.address();
    for (path, media, megabytes, code) in [
        (JAILS, JSON, 8, "413"),
        (JAILS, "text/plain", 4, "415"),
        ("/nowhere", JSON, 2, "404"),
        (
            JAILS,
            "application/json\r\nOrigin: http://example.org",
            2,
            "403",
        ),
    ] {
        for _ in 0..10 {
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n",
                megabytes << 20
            );
            let answered = tokio::task::spawn_blocking(move || {
                use std::io::{Read as _, Write as _};
                let mut stream = std::net::TcpStream::connect(address)?;
                stream.set_read_timeout(Some(common::DEADLINE))?;
                stream.set_write_timeout(Some(common::DEADLINE))?;
                stream.write_all(request.as_bytes())?;
                stream.write_all(&vec![b' '; megabytes << 20])?;
                let mut answer = [0; 12];
                stream.read_exact(&mut answer)?;
                Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
            });
            let answer = answered.await.expect("it ends").expect("nothing is reset");
            assert_eq!(answer, format!("HTTP/1.1 {code}"), "{path} {media}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_unicode_slashes_and_dots() {
    let mut wires = wires().await;
    for name in [
        "Groß", "größe", "a/b", "..", ".", "a/../b", "🦀", "a b", "a\u{0}b", "", "A", "-a",
    ] {
        for wire in BOTH {
            let refused = wires.create(wire, &jail(name)).await;
            assert_eq!(reason(refused), "Invalid", "{wire:?}: {name:?}");
        }
        let got = wires.get(Wire::Grpc, name).await;
        assert_eq!(reason(got), "NotFound", "{name:?}");
        for (done, word) in [
            (
                wires.apply(Wire::Grpc, &jail(name), "test", false).await,
                "Invalid",
            ),
            (
                wires.update(Wire::Grpc, &jail(name), false).await,
                "NotFound",
            ),
            (
                wires
                    .patch(Wire::Grpc, name, Patch::Merge, &json!({}), false)
                    .await,
                "NotFound",
            ),
        ] {
            let found = reason(done);
            assert!(
                ["Invalid", word].contains(&found.as_str()),
                "{name:?}: {found}"
            );
        }
        // In the path as far as it can stand there; a slash or dots of the path itself lead elsewhere, where nothing is.
        let path = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
        let path = wires.path(&path);
        let whole = jail(name);
        for (method, path, media, body) in [
            ("PUT", path.clone(), JSON, &whole),
            ("PATCH", path.clone(), MERGE, &json!({})),
            ("PATCH", path.clone(), JSON_PATCH, &json!([])),
            ("PATCH", format!("{path}?fieldManager=t"), APPLY, &whole),
        ] {
            let answer = send(&wires.world, method, &path, media, body).await;
            assert!(
                [400, 404, 405, 422].contains(&answer.code),
                "{method} {path} {media}: {} {}",
                answer.code,
                answer.body
            );
        }
    }
    for (path, code) in [
        ("/..", 404),
        ("/../jails/www", 404),
        ("/%2e%2e", 404),
        ("/a%2fb", 404),
        ("/..%2f..%2fhosts%2fa", 404),
        ("/gro%C3%9F", 404),
        ("/%F0%9F%A6%80", 404),
        ("/a%00b", 404),
        ("/%ff", 400),
    ] {
        for method in ["GET", "DELETE"] {
            let answer = ask(&wires.world, method, &format!("{JAILS}{path}"), &[], "").await;
            assert_eq!(answer.code, code, "{method} {path}: {}", answer.body);
        }
    }
    nothing_is_there(&mut wires).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_an_object_does_not_have() {
    let wires = wires().await;
    for (method, path, allowed) in [
        ("OPTIONS", JAILS.to_owned(), "GET, POST, DELETE"),
        ("HEAD", JAILS.to_owned(), "GET, POST, DELETE"),
        ("PUT", JAILS.to_owned(), "GET, POST, DELETE"),
        ("OPTIONS", wires.path("www"), "GET, PUT, PATCH, DELETE"),
        ("POST", wires.path("www"), "GET, PUT, PATCH, DELETE"),
        ("DELETE", wires.path("www/status"), "GET, PUT, PATCH"),
    ] {
        let answer = send(&wires.world, method, &path, JSON, &json!({})).await;
        assert_eq!(answer.code, 405, "{method} {path}");
        let head = answer.head.to_lowercase();
        let allow = format!("allow: {}", allowed.to_lowercase());
        assert!(head.contains(&allow), "{method} {path}: {head}");
    }
}
