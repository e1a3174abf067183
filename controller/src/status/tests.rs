//! Which code an error becomes, and what is in its details.

use cellblock_controller_core::admit::Reason;
use cellblock_schemas::Kind;
use prost::Message;

use super::*;

#[test]
fn a_refusal_carries_every_violation() {
    let rejection = Rejection::new(
        Reason::Conflict,
        Kind::Jail,
        "www",
        "metadata.uid",
        "is another",
        "look",
    );
    let status = Status::from(RequestError::from(rejection));
    assert_eq!(status.code(), Code::FailedPrecondition);
    let detail = v1::Rejection::decode(status.details()).expect("a rejection");
    assert_eq!(
        (
            detail.kind.as_str(),
            detail.name.as_str(),
            detail.reason.as_str()
        ),
        ("Jail", "www", "Conflict")
    );
    assert_eq!(detail.violations[0].help, "look");
}

#[test]
fn what_to_do_follows_from_the_code() {
    let location = || "etcd".to_owned();
    let unavailable = StoreError::Unavailable {
        location: location(),
        reason: "refused".to_owned(),
        outcome: Outcome::Unknown,
    };
    let full = StoreError::Full {
        location: location(),
        reason: "NOSPACE".to_owned(),
    };
    for (error, code) in [
        (RequestError::Store(unavailable), Code::Unavailable),
        (
            RequestError::Write(WriteError::Store(full)),
            Code::ResourceExhausted,
        ),
        (RequestError::Write(WriteError::Contended), Code::Aborted),
        (
            RequestError::Write(WriteError::Unseen(7)),
            Code::Unavailable,
        ),
        (
            RequestError::Expired(Expired {
                asked: 1,
                oldest: 2,
            }),
            Code::OutOfRange,
        ),
        (RequestError::TooSlow(5_000), Code::ResourceExhausted),
        (RequestError::ShuttingDown, Code::Unavailable),
    ] {
        let text = error.to_string();
        let status = Status::from(error);
        assert_eq!(status.code(), code, "{text}");
        assert_eq!(status.message(), text);
    }
}
