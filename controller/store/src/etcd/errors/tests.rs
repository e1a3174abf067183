//! etcd's words, as its `rpctypes/error.go` has them, and what they mean here.

use super::*;

fn said(code: Code, message: &str) -> Failure {
    classify(&etcd_client::Error::GRpcStatus(Status::new(code, message)))
}

#[test]
fn what_may_have_happened_is_told_from_what_did_not() {
    assert!(matches!(
        said(Code::Unavailable, "etcdserver: request timed out"),
        Failure::Lost(_)
    ));
    assert!(matches!(
        said(Code::Unavailable, "etcdserver: leader changed"),
        Failure::Lost(_)
    ));
    assert!(matches!(
        said(Code::Unavailable, "etcdserver: no leader"),
        Failure::Unsent(_)
    ));
    assert!(matches!(
        said(Code::ResourceExhausted, "etcdserver: too many requests"),
        Failure::Unsent(_)
    ));
}

#[test]
fn answers_are_told_apart() {
    let cases = [
        (
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
            Answer::Compacted,
        ),
        (
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
            Answer::FutureRevision,
        ),
        (
            Code::NotFound,
            "etcdserver: requested lease not found",
            Answer::LeaseNotFound,
        ),
        (
            Code::InvalidArgument,
            "etcdserver: request is too large",
            Answer::RequestTooLarge,
        ),
        (
            Code::InvalidArgument,
            "etcdserver: too many operations in txn request",
            Answer::RequestTooLarge,
        ),
        (
            Code::ResourceExhausted,
            "etcdserver: mvcc: database space exceeded",
            Answer::Full("mvcc: database space exceeded".to_owned()),
        ),
        (
            Code::InvalidArgument,
            "etcdserver: authentication failed, invalid user ID or password",
            Answer::Denied("authentication failed, invalid user ID or password".to_owned()),
        ),
        (
            Code::PermissionDenied,
            "etcdserver: permission denied",
            Answer::Denied("permission denied".to_owned()),
        ),
    ];
    for (code, message, answer) in cases {
        assert_eq!(said(code, message), Failure::Answered(answer), "{message}");
    }
}

#[test]
fn a_full_store_says_how_to_make_room() {
    let error = Answer::Full("mvcc: database space exceeded".to_owned())
        .into_error("etcd at http://a:2379");
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
    assert!(
        error.to_string().contains("etcdctl alarm disarm"),
        "{error}"
    );
}
