//! What a removal of many passes over.

use axum::http::Uri;
use cellblock_controller_core::admit::Rejection;
use cellblock_schemas::Kind;
use serde_json::json;

use super::*;

fn options(said: Value) -> DeleteOptions {
    let said = serde_json::from_value(said).expect("options");
    let query = Query::read(&Uri::from_static("/")).expect("no options");
    DeleteOptions::of(said, &query).unwrap_or_else(|failure| panic!("{}", failure.status()))
}

fn refused(reason: Reason) -> RequestError {
    RequestError::Rejected(Rejection::new(reason, Kind::Jail, "www", "", "no", ""))
}

#[test]
fn a_removal_of_many_passes_over_what_somebody_created_anew() {
    let any = options(json!({}));
    assert!(any.is_over(&refused(Reason::NotFound)));
    assert!(any.is_over(&refused(Reason::Conflict)));
    assert!(!any.is_over(&refused(Reason::Invalid)));
    assert!(!any.is_over(&RequestError::ShuttingDown));
    for said in [json!({"uid": "u"}), json!({"resourceVersion": "7"})] {
        let one = options(json!({"preconditions": said}));
        assert!(!one.is_over(&refused(Reason::Conflict)));
    }
}
