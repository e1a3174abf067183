//! What an operator reads when a controller refuses, or is not there.

use super::*;

fn client(server: &str) -> anyhow::Result<Client> {
    Client::new(&ContextEntry {
        server: server.to_owned(),
        ..ContextEntry::default()
    })
}

#[tokio::test]
async fn a_server_without_a_scheme_is_no_url() {
    for server in ["foo", "127.0.0.1:7443", "unix:/tmp/x", ""] {
        let error = client(server).expect_err(server).to_string();
        assert!(error.contains("is no URL such as"), "{server}: {error}");
    }
    let half = ContextEntry {
        server: "https://127.0.0.1:7443".to_owned(),
        certificate: Some("operator.pem".into()),
        ..ContextEntry::default()
    };
    let error = Client::new(&half).expect_err("there is no key").to_string();
    assert!(error.contains("belong together"), "{error}");
}

#[test]
fn a_refusal_says_everything_once() {
    let violation = wire::Violation {
        field: "metadata.name".to_owned(),
        message: "there is no Jail of that name".to_owned(),
        help: String::new(),
        ..wire::Violation::default()
    };
    let rejection = |reason: &str| wire::Rejection {
        kind: "Jail".to_owned(),
        name: "nope".to_owned(),
        reason: reason.to_owned(),
        violations: vec![violation.clone()],
    };
    assert_eq!(
        rejected(rejection("NotFound"), "all of it").to_string(),
        "there is no Jail `nope`"
    );
    assert_eq!(
        rejected(rejection("Invalid"), "all of it").to_string(),
        "Jail `nope` was refused:\n  metadata.name: there is no Jail of that name"
    );
    let expired = wire::Rejection {
        reason: "Expired".to_owned(),
        ..wire::Rejection::default()
    };
    assert_eq!(
        rejected(expired, "list again and watch from there").to_string(),
        "list again and watch from there"
    );
}

#[tokio::test]
async fn a_connection_that_breaks_counts_as_a_controller_that_is_away() {
    let client = client("http://127.0.0.1:1").expect("it is a URL");
    let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let broken = client.refused(&tonic::Status::from_error(Box::new(reset)));
    assert!(broken.is_unavailable(), "{broken:?}");
    let answered = client.refused(&tonic::Status::unknown("the controller says no"));
    assert!(!answered.is_unavailable(), "{answered:?}");
}

#[test]
fn a_broken_connection_says_what_may_be_wrong() {
    let (plain, secure) = ("http://127.0.0.1:1", "https://127.0.0.1:1");
    for (server, has_answered, code, cause, expected) in [
        (
            secure,
            false,
            tonic::Code::Unavailable,
            "invalid peer certificate: UnknownIssuer",
            "`ca` of the context",
        ),
        (
            secure,
            false,
            tonic::Code::Unavailable,
            "invalid peer certificate: certificate not valid for name \"127.0.0.2\"; certificate is only valid for DnsName(\"localhost\")",
            "it is of another name",
        ),
        (
            secure,
            false,
            tonic::Code::Unavailable,
            "invalid peer certificate: certificate expired: verification time 1 (UNIX), but certificate is not valid after 0",
            "renew it there",
        ),
        (
            secure,
            false,
            tonic::Code::Cancelled,
            "connection closed",
            "it may ask for a certificate",
        ),
        (
            plain,
            false,
            tonic::Code::Internal,
            "http2 error",
            "write https://",
        ),
        (
            plain,
            true,
            tonic::Code::Unknown,
            "stream closed because of a broken pipe",
            "broke off in the middle of a request (stream closed because of a broken pipe); it was stopped or has died",
        ),
    ] {
        let who = broken::Who::default();
        let refused = broken::explained(server, has_answered, code, &[cause.to_owned()], &who);
        assert!(refused.message.contains(expected), "{refused}");
        assert!(
            !has_answered || !refused.message.contains("https://"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_port_that_is_none_is_told_before_anybody_is_asked() {
    for port in ["99999", "0", "65536", "x", ""] {
        let error = client(&format!("http://127.0.0.1:{port}"))
            .expect_err(port)
            .to_string();
        assert!(error.contains("is no port"), "{error}");
    }
    for server in ["http://[::1]", "http://[::1]:7443/", "https://a.example"] {
        assert!(client(server).is_ok(), "{server}");
    }
}

/// What a request to `server` fails with.
async fn asked(server: &str) -> Refused {
    let mut client = client(server).expect("it is a URL");
    client
        .get(Kind::Jail, "www")
        .await
        .expect_err("no controller")
}

#[tokio::test]
async fn the_cause_is_told_and_what_to_do() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let here = listener.local_addr().expect("it has an address");
    drop(listener);
    let nobody = asked(&format!("http://{here}")).await;
    assert!(nobody.is_unsent(), "{nobody:?}");
    let text = nobody.to_string();
    assert!(
        text.contains("(Connection refused") && text.contains("is cellblockd running there?"),
        "{text}"
    );
    // RFC 6761: no name below `invalid` ever has an address.
    let nowhere = asked("http://controller.invalid:7443").await.to_string();
    assert!(
        nowhere.contains("its name has no address here (failed to lookup"),
        "{nowhere}"
    );
}

#[tokio::test]
async fn a_controller_in_clear_text_is_told_from_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = cellblock_controller::Config::embedded(folder.path().join("store.redb"));
    let controller = cellblock_controller::Controller::start(config)
        .await
        .expect("it starts");
    controller.ready().await;
    let text = asked(&format!("https://{}", controller.address()))
        .await
        .to_string();
    controller.stop().await;
    assert!(
        text.contains("does not answer in TLS") && text.contains("write http://"),
        "{text}"
    );
}

#[test]
fn who_is_turned_away_learns_what_may_be_wrong_with_what_was_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("olga.pem");
    let said = |who: &broken::Who| {
        let cause = ["received fatal alert: CertificateExpired".to_owned()];
        let code = tonic::Code::Unavailable;
        let refused = broken::explained("https://a:1", false, code, &cause, who);
        assert!(refused.message.contains(&cause[0]), "{refused}");
        refused.message
    };
    let who = broken::Who {
        certificate: Some(path),
        has_token: false,
    };
    let text = said(&who);
    assert!(
        text.contains("may not accept the context's `certificate`"),
        "{text}"
    );
    let token = broken::Who {
        certificate: None,
        has_token: true,
    };
    let text = said(&token);
    assert!(text.contains("`token_file`"), "{text}");
}

#[tokio::test]
async fn a_token_is_shown_and_never_in_clear_text_to_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    let client = |server: &str| {
        Client::new(&ContextEntry {
            server: server.to_owned(),
            token_file: Some(path.clone()),
            ..ContextEntry::default()
        })
        .map_err(|error| format!("{error:#}"))
    };
    let missing = client("https://a.example:1").expect_err("there is no file");
    assert!(missing.contains("could not be read"), "{missing}");
    for (text, expected) in [
        ("", "holds no token"),
        ("s3cret,olga,1,x\n", "holds no token"),
    ] {
        std::fs::write(&path, text).expect("written");
        let error = client("https://a.example:1").expect_err(text);
        assert!(error.contains(expected), "{error}");
    }
    std::fs::write(&path, "s3cret==\n").expect("written");
    for server in [
        "https://a.example:1",
        "http://127.0.0.1:1",
        "http://localhost:1",
        "http://[::1]:1",
    ] {
        let client = client(server).expect(server);
        assert!(!format!("{client:?}").contains("s3cret"), "it is a secret");
    }
    let clear = client("http://a.example:1").expect_err("in clear text");
    assert!(clear.contains("write https://"), "{clear}");
}

#[tokio::test]
async fn what_is_no_controller_is_told_as_such() {
    let client = client("http://127.0.0.1:1").expect("it is a URL");
    let other = tonic::Status::unimplemented("unknown service cellblock.v1.Objects");
    let text = client.refused(&other).to_string();
    assert!(
        text.starts_with("what answers at http://127.0.0.1:1 is no cellblockd"),
        "{text}"
    );
    let older = client.refused(&tonic::Status::unimplemented(""));
    assert_eq!(older.reason, UNIMPLEMENTED);
}
