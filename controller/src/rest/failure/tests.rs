//! What clients do by themselves on an answer.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use cellblock_store::{Error, Outcome};

use super::Failure;
use crate::status::RequestError;
use crate::writer::WriteError;

#[test]
fn a_write_that_may_have_happened_is_not_repeated() {
    for (outcome, code, retries) in [
        (Outcome::Unknown, StatusCode::GATEWAY_TIMEOUT, false),
        (Outcome::NotApplied, StatusCode::SERVICE_UNAVAILABLE, true),
    ] {
        let error = Error::Unavailable {
            location: "etcd".to_owned(),
            reason: "nobody answers".to_owned(),
            outcome,
        };
        let error = RequestError::Write(WriteError::Store(error));
        let answer = Response::<Body>::from(Failure::from(error));
        assert_eq!(answer.status(), code);
        assert_eq!(answer.headers().contains_key(header::RETRY_AFTER), retries);
    }
}
