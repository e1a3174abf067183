//! What only an etcd cluster can do to its client: certificates, passwords, crashes, full disks, several members.

mod pki;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cellblock_store::testing::{EtcdServer, EtcdServerOptions};
use cellblock_store::{
    Error, EtcdOptions, EtcdStore, HeldLease, Key, Notice, Outcome, Password, Retry, Revision,
    SharedStore, Store, StoreExt, TlsFiles, Watch, WatchRequest,
};
use etcd_client::{Client, Permission, PermissionType};

use pki::Pki;

/// How long anything may take before a test gives up.
const DEADLINE: Duration = Duration::from_secs(60);

/// A request timeout that tests of unreachable servers wait for.
const SHORT: Duration = Duration::from_secs(2);

async fn server() -> EtcdServer {
    EtcdServer::start()
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

async fn server_with(options: EtcdServerOptions) -> EtcdServer {
    EtcdServer::start_with(options)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

async fn connect(options: EtcdOptions) -> EtcdStore {
    EtcdStore::connect(options)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

async fn refused(options: EtcdOptions) -> Error {
    let begun = Instant::now();
    let timeout = options.request_timeout;
    let error = EtcdStore::connect(options)
        .await
        .expect_err("it must not work");
    assert!(
        begun.elapsed() < timeout + Duration::from_secs(5),
        "took {:?}: {error}",
        begun.elapsed()
    );
    error
}

/// The next key that a watch tells of.
async fn next_key(watch: &mut Watch) -> Key {
    let next = async {
        loop {
            match watch
                .next()
                .await
                .expect("a watch ends only with an error")
                .expect("the watch goes on")
            {
                Notice::Changes { mut events, .. } => return events.remove(0).key().clone(),
                Notice::Progress { .. } => {}
            }
        }
    };
    tokio::time::timeout(DEADLINE, next)
        .await
        .expect("the change is told in time")
}

/// Tries until it works, as callers do when an error says that it may work later.
async fn eventually_create(store: &EtcdStore, key: &str) -> Revision {
    let begun = Instant::now();
    loop {
        match store.create(key, "v").await {
            Ok(revision) => return revision,
            // An earlier attempt may have come through without an answer.
            Err(Error::Conflict(conflict)) => return conflict.revision,
            Err(error) => {
                assert_ne!(error.retry(), Retry::Never, "{error}");
                assert!(begun.elapsed() < DEADLINE, "{error}");
            }
        }
    }
}

fn with_timeout(mut options: EtcdOptions) -> EtcdOptions {
    options.request_timeout = SHORT;
    options
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_both_sides_are_checked() {
    let pki = Pki::new();
    let server = server_with(EtcdServerOptions {
        certificate: Some(pki.server.clone()),
        client_ca: Some(pki.ca.clone()),
        ..EtcdServerOptions::default()
    })
    .await;
    let good = TlsFiles {
        ca: pki.ca.clone(),
        identity: Some(pki.client.clone()),
        server_name: None,
    };
    let with = |tls: TlsFiles| {
        let mut options = with_timeout(EtcdOptions::new([server.client_url()]));
        options.tls = Some(tls);
        options
    };
    let store = connect(with(good.clone())).await;
    let mut watch = store.watch(WatchRequest::new("/", Revision(1)));
    store.create("/a", "v").await.expect("created");
    assert_eq!(next_key(&mut watch).await, Key::from("/a"));

    let named = TlsFiles {
        server_name: Some("etcd.example".to_owned()),
        ..good.clone()
    };
    connect(with(named)).await;
    let misnamed = TlsFiles {
        server_name: Some("other.example".to_owned()),
        ..good.clone()
    };
    let distrusted = TlsFiles {
        ca: Pki::new().ca.clone(),
        ..good.clone()
    };
    let anonymous = TlsFiles {
        identity: None,
        ..good
    };
    let error = refused(with(misnamed)).await;
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);
    assert!(error.to_string().contains(server.client_url()), "{error}");
    // The server's alert and its closing of the connection race.
    let error = refused(with(anonymous)).await;
    assert!(
        matches!(error, Error::Tls { .. } | Error::Unavailable { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("client certificate"), "{error}");
    // The files of the other authority are gone with it, which is another mistake worth a clear message.
    let error = refused(with(distrusted)).await;
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    let stranger = Pki::new();
    let distrusted = TlsFiles {
        ca: stranger.ca.clone(),
        identity: Some(pki.client.clone()),
        server_name: None,
    };
    let error = refused(with(distrusted)).await;
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");

    let plain = EtcdOptions::new([server.client_url().replace("https", "http")]);
    let error = refused(with_timeout(plain)).await;
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

/// Makes a user `cellblock` who may use `/cellblock/` only, and enables authentication.
async fn enable_auth(url: &str) {
    let mut client = Client::connect([url], None).await.expect("connected");
    client
        .user_add("root", "rootpw", None)
        .await
        .expect("root is added");
    client
        .user_grant_role("root", "root")
        .await
        .expect("root is root");
    client
        .role_add("cellblock")
        .await
        .expect("the role is added");
    let permission = Permission::new(PermissionType::Readwrite, "/cellblock/").with_prefix();
    client
        .role_grant_permission("cellblock", permission)
        .await
        .expect("the role is granted");
    client
        .user_add("cellblock", "secret", None)
        .await
        .expect("the user is added");
    client
        .user_grant_role("cellblock", "cellblock")
        .await
        .expect("the user has the role");
    client
        .auth_enable()
        .await
        .expect("authentication is enabled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_and_roles_are_respected() {
    let mut server = server().await;
    enable_auth(server.client_url()).await;
    let with = |user: Option<(&str, &str)>| {
        let mut options = with_timeout(EtcdOptions::new([server.client_url()]));
        options.user = user.map(|(name, password)| (name.to_owned(), Password::new(password)));
        options
    };
    for user in [
        None,
        Some(("cellblock", "wrong")),
        Some(("nobody", "secret")),
    ] {
        let error = refused(with(user)).await;
        assert!(matches!(error, Error::Denied { .. }), "{user:?}: {error:?}");
        assert_eq!(error.retry(), Retry::Never);
    }
    let mut options = with(Some(("cellblock", "secret")));
    options.request_timeout = Duration::from_secs(6);
    let store = connect(options).await;
    let start = store.create("/cellblock/a", "v").await.expect("permitted");
    store.health().await.expect("asks for no more than it may");
    let denied = store
        .create("/elsewhere", "v")
        .await
        .expect_err("not permitted");
    assert!(matches!(denied, Error::Denied { .. }), "{denied:?}");
    let mut elsewhere = store.watch(WatchRequest::new("/elsewhere", start));
    let end = tokio::time::timeout(DEADLINE, elsewhere.next())
        .await
        .expect("in time");
    assert!(matches!(end, Some(Err(Error::Denied { .. }))), "{end:?}");

    // A restart makes etcd forget every token it gave out.
    let mut watch = store.watch(WatchRequest::new("/cellblock/", start));
    store.create("/cellblock/b", "v").await.expect("permitted");
    assert_eq!(next_key(&mut watch).await, Key::from("/cellblock/b"));
    server
        .restart()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    eventually_create(&store, "/cellblock/c").await;
    assert_eq!(next_key(&mut watch).await, Key::from("/cellblock/c"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_for_a_server_without_authentication_is_told() {
    let server = server().await;
    let mut options = with_timeout(EtcdOptions::new([server.client_url()]));
    options.user = Some(("cellblock".to_owned(), Password::new("secret")));
    let error = refused(options).await;
    assert!(
        matches!(&error, Error::Denied { reason, .. } if reason.contains("not enabled")),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_down_at_start_is_told_within_the_timeout() {
    let mut server = server().await;
    let options = with_timeout(EtcdOptions::new([server.client_url()]));
    server.kill();
    let error = refused(options.clone()).await;
    assert!(
        matches!(
            error,
            Error::Unavailable {
                outcome: Outcome::NotApplied,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains(server.client_url()), "{error}");
    assert!(matches!(error.retry(), Retry::After(_)));
    server
        .restart()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    connect(options).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_down_later_is_told_and_watches_go_on_when_it_is_back() {
    let mut server = server().await;
    let store = connect(with_timeout(EtcdOptions::new([server.client_url()]))).await;
    let start = store.create("/a", "v").await.expect("created");
    let mut watch = store.watch(WatchRequest::new("/", start));
    store.create("/b", "v").await.expect("created");
    assert_eq!(next_key(&mut watch).await, Key::from("/b"));
    server.kill();
    let begun = Instant::now();
    let error = store
        .get(&Key::from("/a"), None)
        .await
        .expect_err("nobody answers");
    assert!(
        matches!(
            error,
            Error::Unavailable {
                outcome: Outcome::NotApplied,
                ..
            }
        ),
        "{error:?}"
    );
    let error = store
        .create("/never", "v")
        .await
        .expect_err("nobody answers");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(store.health().await.is_err());
    assert!(
        begun.elapsed() < 3 * SHORT + Duration::from_secs(5),
        "took {:?}",
        begun.elapsed()
    );
    server
        .restart()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    for key in ["/c", "/d"] {
        eventually_create(&store, key).await;
        assert_eq!(next_key(&mut watch).await, Key::from(key));
    }
}

/// Whoever leads under a lease must stop when etcd is out of reach for that long, without being told by anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_lease_is_lost_when_etcd_is_away_for_too_long() {
    let mut server = server().await;
    let store: SharedStore =
        Arc::new(connect(with_timeout(EtcdOptions::new([server.client_url()]))).await);
    let held = HeldLease::grant(store, SHORT).await.expect("granted");
    assert!(!held.is_lost());
    server.kill();
    tokio::time::timeout(DEADLINE, held.lost())
        .await
        .expect("the loss is noticed");
    assert!(held.is_lost());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_a_crash() {
    let mut server = server().await;
    let store = Arc::new(connect(with_timeout(EtcdOptions::new([server.client_url()]))).await);
    let mut watch = store.watch(WatchRequest::new("/", Revision(1)));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for n in 0.. {
                    let key = Key::from(format!("/{writer}/{n}"));
                    match store.create(&key, "v").await {
                        Ok(revision) => acknowledged.push((key, revision)),
                        Err(_) => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    for _ in 0..100 {
        next_key(&mut watch).await;
    }
    server.kill();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.expect("the writer ends"));
    }
    server
        .restart()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(acknowledged.len() >= 92, "{}", acknowledged.len());
    for (key, revision) in acknowledged {
        let item = store.get(&key, None).await.expect("read").item;
        assert_eq!(item.map(|item| item.modified), Some(revision), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_is_passed_over() {
    let mut members = EtcdServer::start_cluster(3, EtcdServerOptions::default())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let urls: Vec<String> = members
        .iter()
        .map(|member| member.client_url().to_owned())
        .collect();
    let store = connect(EtcdOptions::new(urls.clone())).await;
    let start = store.create("/a", "v").await.expect("created");
    let mut watch = store.watch(WatchRequest::new("/", start));
    store.create("/b", "v").await.expect("created");
    assert_eq!(next_key(&mut watch).await, Key::from("/b"));
    // The first member is the one asked so far, and it may lead the cluster.
    members[0].kill();
    store
        .get(&Key::from("/a"), None)
        .await
        .expect("read from another member");
    for key in ["/c", "/d", "/e"] {
        eventually_create(&store, key).await;
        assert_eq!(next_key(&mut watch).await, Key::from(key));
    }
    // Who starts now, with the dead member first in its list, finds the others too.
    connect(EtcdOptions::new(urls)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_room_says_so_and_still_reads() {
    let arguments = vec!["--quota-backend-bytes=200000".to_owned()];
    let server = server_with(EtcdServerOptions {
        arguments,
        ..EtcdServerOptions::default()
    })
    .await;
    let store = connect(EtcdOptions::new([server.client_url()])).await;
    let mut error = None;
    for n in 0..50 {
        error = store.create(format!("/{n}"), vec![0; 50_000]).await.err();
        if error.is_some() {
            break;
        }
        // etcd compares with the size as of its last commit, which it makes every 100 ms (`--backend-batch-interval`).
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let error = error.expect("the quota is reached");
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
    assert!(matches!(error.retry(), Retry::After(_)));
    assert!(
        store
            .get(&Key::from("/0"), None)
            .await
            .expect("read")
            .item
            .is_some()
    );
    let warnings = store.health().await.expect("it answers").warnings;
    assert!(
        warnings
            .iter()
            .any(|warning| warning.to_lowercase().contains("nospace")),
        "{warnings:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_less_than_the_default_is_named() {
    let arguments = vec!["--max-request-bytes=10000".to_owned()];
    let server = server_with(EtcdServerOptions {
        arguments,
        ..EtcdServerOptions::default()
    })
    .await;
    let store = connect(EtcdOptions::new([server.client_url()])).await;
    store
        .create("/small", vec![0; 1_000])
        .await
        .expect("created");
    let error = store
        .create("/large", vec![0; 20_000])
        .await
        .expect_err("too large for this server");
    assert!(error.to_string().contains("--max-request-bytes"), "{error}");
}
