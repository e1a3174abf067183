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

#[tokio::test]
async fn a_broken_connection_says_what_may_be_wrong() {
    let plain = client("http://127.0.0.1:1").expect("it is a URL");
    let secure = client("https://127.0.0.1:1").expect("it is a URL");
    for (client, code, cause, expected) in [
        (
            &secure,
            tonic::Code::Unavailable,
            "invalid peer certificate: UnknownIssuer",
            "`ca` of the context",
        ),
        (
            &plain,
            tonic::Code::Unavailable,
            "Connection refused",
            "is cellblockd running there?",
        ),
        (
            &secure,
            tonic::Code::Cancelled,
            "connection closed",
            "may not accept the context's `certificate`",
        ),
        (
            &plain,
            tonic::Code::Internal,
            "http2 error",
            "write https://",
        ),
    ] {
        let message = client.unreachable(code, cause);
        assert!(message.contains(expected), "{message}");
    }
}
